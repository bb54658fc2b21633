//! Sends of one small message to many sockets, as a fan-out does them: without a completion where all went well.

use std::cell::RefCell;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;

use plasma::base::region::Region;
use plasma::ring::{Piece, Ring, Socket};
use rustix::net::SendFlags;

use super::Pair;
use super::site::{Site, kind, token};
use crate::Failure;
use crate::turns::{Round, Subject, on_clock};

/// An event of usual length, framed.
const MESSAGE: [u8; 150] = [b'x'; 150];

/// Sends per submission.
const BATCHES: [(&str, usize); 5] =
    [("send/1", 1), ("send/8", 8), ("send/32", 32), ("send/128", 128), ("send/512", 512)];

/// What is measured here.
pub fn pairs(connections: u32) -> Result<Vec<Pair>, Failure> {
    // All batches go to the same sockets, and so do all their references.
    let sender = Rc::new(RefCell::new(Sender::start(connections)?));
    let bare = Rc::new(RefCell::new(Bare::start(connections)?));
    let pair = |(name, batch)| {
        let (sender, bare) = (Rc::clone(&sender), Rc::clone(&bare));
        Pair {
            reference: ("send", Subject::new(move || bare.borrow_mut().round())),
            subject: (name, Subject::new(move || sender.borrow_mut().round(batch))),
        }
    };
    Ok(BATCHES.map(pair).into_iter().collect())
}

/// A ring's sockets and their other ends.
struct Sender {
    site: Site,
    sockets: Vec<Socket>,
    clients: Vec<TcpStream>,
}

impl Sender {
    fn start(connections: u32) -> Result<Self, Failure> {
        let mut site = Site::new(connections, vec![Arc::new(Region::holding(&MESSAGE)?)])?;
        let clients = site.dial(connections)?;
        let sockets = site.accept(connections)?;
        Ok(Self { site, sockets, clients })
    }

    /// A message to every socket; then, off the clock, the other ends read it.
    fn round(&mut self, batch: usize) -> Result<Round, Failure> {
        let (ring, message) = (&mut self.site.ring, Piece { region: 0, len: MESSAGE.len() as u32, at: 0 });
        let (spent, ()) = on_clock(|| {
            for sockets in self.sockets.chunks(batch) {
                let gather = ring.gather(&[message]);
                sockets.iter().for_each(|&socket| ring.send_now(socket, gather, token(kind::SEND, socket)));
                ring.submit()?;
            }
            Ok(())
        })?;
        if let Some(trouble) = ring.next() {
            return Err(format!("a send was cut short: {:?}", trouble.result).into());
        }
        read_all(&mut self.clients)?;
        Ok(Round { count: self.sockets.len() as u64, spent })
    }
}

/// The same by a system call for each.
struct Bare {
    sockets: Vec<TcpStream>,
    clients: Vec<TcpStream>,
}

impl Bare {
    fn start(connections: u32) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (mut sockets, mut clients) = (Vec::new(), Vec::new());
        for _ in 0..connections {
            clients.push(TcpStream::connect(address)?);
            let socket = listener.accept()?.0;
            socket.set_nodelay(true)?;
            sockets.push(socket);
        }
        Ok(Self { sockets, clients })
    }

    fn round(&mut self) -> Result<Round, Failure> {
        let (spent, ()) = on_clock(|| {
            for socket in &self.sockets {
                let sent = rustix::net::send(socket, &MESSAGE, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
                if sent < MESSAGE.len() {
                    return Err("a send was cut short".into());
                }
            }
            Ok(())
        })?;
        read_all(&mut self.clients)?;
        Ok(Round { count: self.sockets.len() as u64, spent })
    }
}

/// One message from each.
fn read_all(clients: &mut [TcpStream]) -> Result<(), Failure> {
    let mut message = [0; MESSAGE.len()];
    clients.iter_mut().try_for_each(|client| client.read_exact(&mut message))?;
    Ok(())
}
