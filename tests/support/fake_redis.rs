//! A Redis that does what a test tells it, down to the byte, and remembers everything it was asked.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::resp::{self, Reply, encode};
use super::wait::Deadline;

/// One command as it arrived.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Which connection, counted from 0 in the order of their arrival.
    pub connection: usize,
    pub at: Instant,
    pub words: Vec<String>,
}

impl Asked {
    /// The command's name in capitals.
    pub fn name(&self) -> String {
        self.words[0].to_ascii_uppercase()
    }
}

/// What a test makes of a command.
pub enum Answer {
    /// As Redis would.
    Usual,
    /// These bytes and no others.
    Bytes(Vec<u8>),
    /// None.
    Silence,
    /// The end of the connection.
    Close,
}

/// Listens until dropped.
pub struct FakeRedis {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    asked: Vec<Asked>,
    connections: Vec<Connection>,
    closing: bool,
}

struct Connection {
    opened_at: Instant,
    sink: TcpStream,
    subscribed: bool,
}

impl FakeRedis {
    /// One that behaves.
    pub fn start() -> Self {
        Self::start_with(|_| Answer::Usual)
    }

    /// One that answers each command as `answer` says.
    pub fn start_with(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared { seen: Mutex::default(), changed: Condvar::new() });
        let (accepting, answer) = (shared.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Some(index) = accepting.on_accept(&stream) else { return };
                let (shared, answer) = (accepting.clone(), answer.clone());
                thread::spawn(move || shared.serve(index, stream, answer.as_ref()));
            }
        });
        Self { address, shared }
    }

    /// As a setting.
    pub fn addr(&self) -> String {
        self.address.to_string()
    }

    /// Everything asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.lock().asked.clone()
    }

    /// When each connection so far was opened.
    pub fn opened(&self) -> Vec<Instant> {
        self.shared.lock().connections.iter().map(|connection| connection.opened_at).collect()
    }

    /// Waits until `count` commands of this name have been asked and returns the last of them.
    pub fn wait_for(&self, name: &str, count: usize) -> Asked {
        self.wait(&format!("{count} times {name}"), |seen| {
            seen.asked.iter().filter(|asked| asked.name() == name).nth(count - 1).cloned()
        })
    }

    /// Waits until so many connections have been opened in all.
    pub fn wait_opened(&self, count: usize) -> Vec<Instant> {
        self.wait(&format!("{count} connections"), |seen| (seen.connections.len() >= count).then_some(()));
        self.opened()
    }

    /// Sends bytes to every connection that subscribed.
    pub fn push(&self, bytes: &[u8]) {
        let mut seen = self.shared.lock();
        let subscribed = seen.connections.iter_mut().filter(|connection| connection.subscribed);
        let sent = subscribed.filter_map(|connection| connection.sink.write_all(bytes).ok()).count();
        assert!(sent > 0, "nobody has subscribed");
    }

    /// Sends a message to every connection that subscribed.
    pub fn publish(&self, channel: &str, payload: &str) {
        self.push(&resp::message(channel, payload.as_bytes()));
    }

    /// Ends every connection; new ones are welcome.
    pub fn hang_up(&self) {
        self.shared.hang_up();
    }

    fn wait<T>(&self, what: &str, mut look: impl FnMut(&Seen) -> Option<T>) -> T {
        let deadline = Deadline::patient();
        let mut seen = self.shared.lock();
        loop {
            if let Some(found) = look(&seen) {
                return found;
            }
            let Some(left) = deadline.remaining() else { panic!("in vain: {what}; asked were {:?}", seen.asked) };
            seen = self.shared.changed.wait_timeout(seen, left).expect("nobody panics with the lock").0;
        }
    }
}

impl Drop for FakeRedis {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.hang_up();
        // Wakes the thread that accepts, which then ends and closes the port.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        // Whoever waited in vain panicked with the lock, and left everything as it was.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_accept(&self, stream: &TcpStream) -> Option<usize> {
        let mut seen = self.lock();
        if seen.closing {
            return None;
        }
        let sink = stream.try_clone().expect("a socket can be cloned");
        seen.connections.push(Connection { opened_at: Instant::now(), sink, subscribed: false });
        self.changed.notify_all();
        Some(seen.connections.len() - 1)
    }

    fn hang_up(&self) {
        for connection in &mut self.lock().connections {
            connection.subscribed = false;
            let _ = connection.sink.shutdown(Shutdown::Both);
        }
    }

    fn serve(&self, index: usize, stream: TcpStream, answer: &(impl Fn(&Asked) -> Answer + ?Sized)) {
        let mut source = BufReader::new(stream);
        while let Ok(Reply::Array(words)) = resp::read(&mut source) {
            let asked = Asked { connection: index, at: Instant::now(), words: words.iter().map(Reply::text).collect() };
            let answer = answer(&asked);
            let closes = matches!(answer, Answer::Close);
            let mut seen = self.lock();
            let connection = &mut seen.connections[index];
            let bytes = match answer {
                Answer::Usual => usual(&asked, connection.subscribed),
                Answer::Bytes(bytes) => bytes,
                Answer::Silence | Answer::Close => Vec::new(),
            };
            let _ = connection.sink.write_all(&bytes);
            connection.subscribed |= asked.name() == "SUBSCRIBE";
            if closes {
                let _ = connection.sink.shutdown(Shutdown::Both);
            }
            seen.asked.push(asked);
            self.changed.notify_all();
        }
        self.lock().connections[index].subscribed = false;
    }
}

/// What Redis would answer, on a connection that has subscribed or on one that has not.
fn usual(asked: &Asked, subscribed: bool) -> Vec<u8> {
    match asked.name().as_str() {
        "AUTH" | "SELECT" | "CLIENT" => b"+OK\r\n".to_vec(),
        "PING" if !subscribed => b"+PONG\r\n".to_vec(),
        "PING" => b"*2\r\n$4\r\npong\r\n$0\r\n\r\n".to_vec(),
        "PUBLISH" => b":1\r\n".to_vec(),
        "SUBSCRIBE" => {
            let acks = asked.words[1..].iter().enumerate().map(|(index, channel)| {
                let mut ack = encode(&[b"subscribe", channel.as_bytes()]);
                ack[1] = b'3';
                ack.extend_from_slice(format!(":{}\r\n", index + 1).as_bytes());
                ack
            });
            acks.flatten().collect()
        }
        _ => format!("-ERR unknown command '{}'\r\n", asked.words[0]).into_bytes(),
    }
}
