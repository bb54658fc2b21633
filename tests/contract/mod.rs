//! The script's parts, and what it needs of a world around the ring.

pub mod accepting;
pub mod connecting;
pub mod real;
pub mod receiving;
pub mod sending;
pub mod simulated;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use plasma::base::region::Region;
use plasma::base::time::Instant;
use plasma::ring::{Armed, Attached, Buffer, Completion, Errno, Listener, Piece, Ring, Socket, Token};

/// A ring in its world: the kernel with real clients, or the simulation with scripted ones.
pub trait Harness: Sized {
    /// The ring under test.
    type Ring: Ring;
    /// A party outside, over TCP.
    type Client;

    /// A ring with one listener, room for `slots` clients, and one region.
    fn new(slots: usize, region: Arc<Region>) -> Self;
    /// The ring.
    fn ring(&mut self) -> &mut Self::Ring;
    /// Waits once: until something completes, the bell rings, or `until`.
    fn wait(&mut self, until: Instant);
    /// Lets everything under way outside arrive.
    fn settle(&mut self);
    /// Connects to the listener.
    fn dial(&mut self) -> Self::Client;
    /// Its address.
    fn addr_of(&self, client: &Self::Client) -> SocketAddr;
    /// Sends all of `bytes`, which are few.
    fn write(&mut self, client: &mut Self::Client, bytes: &[u8]);
    /// What there is to read within a moment.
    fn read(&mut self, client: &mut Self::Client) -> Read;
    /// Sends no more.
    fn shut_down(&mut self, client: &mut Self::Client);
    /// Resets the connection.
    fn reset(&mut self, client: Self::Client);
    /// The address of somebody outside who listens.
    fn server(&mut self) -> SocketAddr;
    /// The next connection made to [`Harness::server`].
    fn accept(&mut self) -> Self::Client;
    /// An address where nobody is.
    fn nobody(&mut self) -> SocketAddr;
    /// Rings the ring's bell from another shard.
    fn ring_bell(&mut self);
}

/// What a client read.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// Something.
    Bytes(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// The end.
    End,
    /// A reset.
    Reset,
}

/// Long enough for anything that will happen.
const PATIENCE: Duration = Duration::from_secs(5);

/// The only listener.
pub const LISTENER: Listener = Listener(0);

/// A harness and the completions that nobody has asked for yet.
pub struct Stage<H: Harness> {
    pub world: H,
    heard: Vec<Completion>,
    tokens: u32,
}

impl<H: Harness> Stage<H> {
    /// A ring with room for `slots` clients, and a megabyte of memory to send from.
    pub fn new(slots: usize) -> Self {
        let bytes: Vec<u8> = (0..1 << 20).map(byte_at).collect();
        let region = Arc::new(Region::holding(&bytes).unwrap());
        Self { world: H::new(slots, region), heard: Vec::new(), tokens: 0 }
    }

    /// The ring.
    pub fn ring(&mut self) -> &mut H::Ring {
        self.world.ring()
    }

    /// A token that nobody has used.
    pub fn token(&mut self) -> Token {
        self.tokens += 1;
        Token::new(1, self.tokens, 7)
    }

    /// Submits, and notes what completed at once.
    pub fn submit(&mut self) {
        self.ring().submit().unwrap();
        self.take_all();
    }

    /// Moves what the ring has to say to the notes.
    pub fn take_all(&mut self) {
        while let Some(completion) = self.world.ring().next() {
            self.heard.push(completion);
        }
    }

    /// The next completion under `token`.
    pub fn hear(&mut self, token: Token) -> Completion {
        let deadline = self.ring().now() + PATIENCE;
        loop {
            self.take_all();
            if let Some(nth) = self.heard.iter().position(|heard| heard.token == token) {
                return self.heard.remove(nth);
            }
            assert!(self.ring().now() < deadline, "nothing came for {token:?}; heard {:?}", self.heard);
            self.world.wait(deadline);
        }
    }

    /// The last completion under `token`.
    pub fn hear_last(&mut self, token: Token) -> Completion {
        loop {
            let completion = self.hear(token);
            if !completion.more {
                return completion;
            }
        }
    }

    /// What came under `token` once the world has settled.
    pub fn heard_by_now(&mut self, token: Token) -> Option<Completion> {
        self.world.settle();
        let soon = self.ring().now() + Duration::from_millis(50);
        while self.ring().now() < soon {
            self.world.wait(soon);
            self.take_all();
        }
        let nth = self.heard.iter().position(|heard| heard.token == token)?;
        Some(self.heard.remove(nth))
    }

    /// A client, and its socket here.
    pub fn connected(&mut self) -> (H::Client, Socket) {
        let token = self.token();
        self.ring().accept(LISTENER, token);
        self.submit();
        let client = self.world.dial();
        let accepted = self.hear(token);
        if accepted.more {
            self.ring().cancel(token);
            self.hear_last(token);
        }
        (client, Socket(accepted.result.unwrap()))
    }

    /// Closes a socket and waits until that is done.
    pub fn close(&mut self, socket: Socket) {
        let token = self.token();
        self.ring().close(socket, Armed::Anything, false, token);
        assert_eq!(self.hear(token).result, Ok(0));
    }

    /// Receives once without waiting; the bytes, and the buffer they lie in.
    pub fn recv(&mut self, socket: Socket) -> Completion {
        let token = self.token();
        self.ring().recv(socket, false, token);
        self.hear(token)
    }

    /// What a client reads until it has `len` bytes, or nothing more comes.
    pub fn read(&mut self, client: &mut H::Client, len: usize) -> Vec<u8> {
        let mut got = Vec::new();
        while got.len() < len {
            match self.world.read(client) {
                Read::Bytes(bytes) => got.extend(bytes),
                _ => break,
            }
        }
        got
    }

    /// Fills the socket until nothing goes any more, and says how much went.
    pub fn stuff(&mut self, socket: Socket) -> usize {
        let (mut all, mut quiet) = (0, 0);
        // Windows and send buffers open step by step: full is what stays full for a while.
        while quiet < 5 {
            let went = self.stuff_once(socket);
            quiet = if went == 0 { quiet + 1 } else { 0 };
            all += went;
            let soon = self.ring().now() + Duration::from_millis(20);
            self.world.wait(soon);
            self.take_all();
        }
        all
    }

    /// Sends until `EAGAIN`.
    fn stuff_once(&mut self, socket: Socket) -> usize {
        let mut went = 0;
        loop {
            let (token, all) = (self.token(), piece(0, 1 << 20));
            let gather = self.ring().gather(&[all]);
            self.ring().send_now(socket, gather, token);
            self.submit();
            match self.heard.iter().position(|heard| heard.token == token).map(|nth| self.heard.remove(nth).result) {
                None => went += 1 << 20,
                Some(Ok(len)) => went += len as usize,
                Some(Err(Errno::AGAIN)) => return went,
                Some(Err(error)) => panic!("{error}"),
            }
        }
    }
}

/// Bytes of the region.
pub fn piece(at: usize, len: usize) -> Piece {
    Piece { region: 0, len: len as u32, at: at as u64 }
}

/// What the region holds at `at`: long patterns, so that an offset gone wrong shows.
pub fn byte_at(at: usize) -> u8 {
    (at ^ at >> 8 ^ at >> 16) as u8
}

/// The region's bytes in a range.
pub fn bytes_at(at: usize, len: usize) -> Vec<u8> {
    (at..at + len).map(byte_at).collect()
}

/// The buffer that came along.
pub fn buffer_of(completion: Completion) -> Buffer {
    match completion.attached {
        Attached::Buffer(buffer) => buffer,
        other => panic!("a buffer expected, not {other:?}"),
    }
}
