//! A server of a few lines, for subscribers to be tested against: one thread takes connections and answers each request
//! as it is told, and whoever tests writes to those who asked for a topic.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A good answer, with a comment to begin the stream.
pub(super) const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:ok\n\n";

/// A connection that was answered.
struct Client {
    request: String,
    socket: TcpStream,
}

/// The server, for as long as its tests need it: its thread ends with the process.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    clients: Arc<Mutex<Vec<Client>>>,
}

impl Server {
    /// Answers each request in these pieces.
    pub(super) fn start(answer: &[&[u8]]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = Self { address: listener.local_addr().expect("it is bound"), clients: Arc::default() };
        let clients = Arc::clone(&server.clients);
        let answer: Vec<Vec<u8>> = answer.iter().map(|piece| piece.to_vec()).collect();
        thread::spawn(move || {
            for socket in listener.incoming() {
                // A client that left before it had asked is nobody.
                let Some(mut client) = socket.ok().and_then(ask) else { continue };
                // Held meanwhile: whoever was answered is among those who are written to.
                let mut clients = clients.lock().expect("nobody panics with it");
                if answer.iter().all(|piece| client.socket.write_all(piece).is_ok()) {
                    clients.push(client);
                }
            }
        });
        server
    }

    /// Writes to all who asked for a topic, each piece in a segment of its own.
    pub(super) fn write(&self, topic: &str, pieces: &[&[u8]]) {
        for client in &mut *self.clients.lock().expect("nobody panics with it") {
            if client.request.starts_with(&format!("GET /sse?topic={topic} HTTP/1.1\r\n")) {
                for piece in pieces {
                    // Those who were cut off meanwhile do not hear it.
                    let _ = client.socket.write_all(piece);
                }
            }
        }
    }

    /// Ends all connections.
    pub(super) fn hang_up(&self) {
        for client in self.clients.lock().expect("nobody panics with it").drain(..) {
            client.socket.shutdown(Shutdown::Both).expect("it is connected");
        }
    }

    /// The requests so far, in the order of their answers.
    pub(super) fn requests(&self) -> Vec<String> {
        self.clients.lock().expect("nobody panics with it").iter().map(|client| client.request.clone()).collect()
    }
}

/// Reads a request.
fn ask(mut socket: TcpStream) -> Option<Client> {
    socket.set_nodelay(true).ok()?;
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).ok()?;
        request.push(byte[0]);
    }
    Some(Client { request: String::from_utf8(request).ok()?, socket })
}
