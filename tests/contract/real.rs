//! The script's world on this machine: io_uring, and clients over loopback.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use plasma::base::region::Region;
use plasma::base::time::Instant;
use plasma::ring::uring::{Bells, Options, Uring};
use plasma::ring::{OUTGOING, Ring};

use super::{Harness, Read};

/// A ring, another one to ring bells with, and a server outside.
pub struct Real {
    ring: Uring,
    other: Uring,
    addr: SocketAddr,
    server: TcpListener,
    /// Both ends of a connection of the test's own.
    courier: (TcpStream, TcpStream),
}

fn listener() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).unwrap()
}

fn client(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    stream.set_nodelay(true).unwrap();
    // A buffer that does not grow while we look on: what is not read stays with the sender.
    rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 64 * 1024).unwrap();
    stream
}

impl Harness for Real {
    type Ring = Uring;
    type Client = TcpStream;

    fn new(slots: usize, region: Arc<Region>) -> Self {
        let bells = Arc::new(Bells::new(2).unwrap());
        let own = listener();
        let addr = own.local_addr().unwrap();
        let build = |shard, slots, listeners, regions| {
            let slots = OUTGOING + slots as u32;
            Uring::new(Options { slots, listeners, regions, shard, bells: Arc::clone(&bells) }).unwrap()
        };
        let ring = build(0, slots, vec![own.into()], vec![region]);
        let server = listener();
        let near = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let courier = (client(near), client(server.accept().unwrap().0));
        Self { ring, other: build(1, 1, vec![], vec![]), addr, server, courier }
    }

    fn ring(&mut self) -> &mut Uring {
        &mut self.ring
    }

    fn wait(&mut self, until: Instant) {
        self.ring.wait(Some(until)).unwrap();
    }

    /// Loopback is one queue per processor: what was sent before a round trip has arrived after it.
    fn settle(&mut self) {
        let (near, far) = &mut self.courier;
        for _ in 0..2 {
            near.write_all(b".").unwrap();
            far.read_exact(&mut [0]).unwrap();
            far.write_all(b".").unwrap();
            near.read_exact(&mut [0]).unwrap();
        }
    }

    fn dial(&mut self) -> TcpStream {
        client(TcpStream::connect(self.addr).unwrap())
    }

    fn addr_of(&self, client: &TcpStream) -> SocketAddr {
        client.local_addr().unwrap()
    }

    fn write(&mut self, client: &mut TcpStream, bytes: &[u8]) {
        client.write_all(bytes).unwrap();
    }

    fn read(&mut self, client: &mut TcpStream) -> Read {
        let mut bytes = vec![0; 1 << 16];
        match client.read(&mut bytes) {
            Ok(0) => Read::End,
            Ok(len) => {
                bytes.truncate(len);
                Read::Bytes(bytes)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Read::Nothing,
            Err(_) => Read::Reset,
        }
    }

    fn shut_down(&mut self, client: &mut TcpStream) {
        client.shutdown(std::net::Shutdown::Write).unwrap();
    }

    fn reset(&mut self, client: TcpStream) {
        rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
    }

    fn server(&mut self) -> SocketAddr {
        self.server.local_addr().unwrap()
    }

    fn accept(&mut self) -> TcpStream {
        client(self.server.accept().unwrap().0)
    }

    fn nobody(&mut self) -> SocketAddr {
        listener().local_addr().unwrap()
    }

    fn ring_bell(&mut self) {
        self.other.ring_bell(0);
        self.other.submit().unwrap();
    }
}
