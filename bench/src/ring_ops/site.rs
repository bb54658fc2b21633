//! A ring of the server's own with a listener, and clients that connect to it from the same thread.

use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use plasma::base::region::Region;
use plasma::net::listen;
use plasma::ring::uring::{self, Bells, Uring};
use plasma::ring::{Completion, Listener, OUTGOING, Ring, Socket, Token};

use crate::Failure;

/// What tokens are for.
pub mod kind {
    /// The listener's accept.
    pub const ACCEPT: u8 = 1;
    /// A socket's poll.
    pub const POLL: u8 = 2;
    /// A socket's close.
    pub const CLOSE: u8 = 3;
    /// A send that went wrong.
    pub const SEND: u8 = 4;
}

/// Places in the table besides those of open connections: of closed ones that are still about.
const SPARE: u32 = 128;

/// Longest time for connections to arrive, or for ops to end.
const WAIT_FOR_MAX: Duration = Duration::from_secs(10);

/// What the server allows a peer to leave unacknowledged.
const UNACKNOWLEDGED_FOR: Duration = Duration::from_secs(30);

/// A ring that accepts.
pub struct Site {
    /// The ring.
    pub ring: Uring,
    port: u16,
}

impl Site {
    /// A ring for so many connections, with this memory to send from.
    pub fn new(connections: u32, regions: Vec<Arc<Region>>) -> Result<Self, Failure> {
        uring::check()?;
        let (listeners, port) = listen::open(0, 1, UNACKNOWLEDGED_FOR)?;
        let (slots, bells) = (OUTGOING + connections + SPARE, Arc::new(Bells::new(1)?));
        let mut ring = Uring::new(uring::Options { slots, listeners, regions, shard: 0, bells })?;
        ring.accept(Listener(0), Token::new(kind::ACCEPT, 0, 0));
        ring.submit()?;
        Ok(Self { ring, port })
    }

    /// Connects `count` clients; the ring has not been asked for them yet.
    pub fn dial(&self, count: u32) -> Result<Vec<TcpStream>, Failure> {
        let dial = |_| {
            let client = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            client.set_nodelay(true)?;
            Ok(client)
        };
        (0..count).map(dial).collect()
    }

    /// Takes in `count` connections.
    pub fn accept(&mut self, count: u32) -> Result<Vec<Socket>, Failure> {
        let mut sockets = Vec::with_capacity(count as usize);
        while sockets.len() < count as usize {
            self.wait()?;
            while let Some(Completion { token, result, more, .. }) = self.ring.next() {
                // Of connections that were closed before, a poll's end may come as late as now.
                if token.kind() != kind::ACCEPT {
                    continue;
                }
                sockets.push(Socket(result?));
                if !more {
                    self.ring.accept(Listener(0), Token::new(kind::ACCEPT, 0, 0));
                }
            }
        }
        Ok(sockets)
    }

    /// Takes completions until `count` of a kind were among them.
    pub fn await_kind(&mut self, kind: u8, count: usize) -> Result<(), Failure> {
        let mut seen = 0;
        self.ring.submit()?;
        loop {
            while let Some(completion) = self.ring.next() {
                seen += usize::from(completion.token.kind() == kind);
            }
            if seen >= count {
                return Ok(());
            }
            self.wait()?;
        }
    }

    /// A turn that ends when something has happened.
    fn wait(&mut self) -> Result<(), Failure> {
        let began = Instant::now();
        // The ring's own clock stands still between turns, so the first one may come back early.
        let until = self.ring.now() + WAIT_FOR_MAX;
        self.ring.wait(Some(until))?;
        if began.elapsed() >= WAIT_FOR_MAX {
            return Err("the kernel did not complete what it was asked for".into());
        }
        Ok(())
    }
}

/// The token of a socket's op.
pub fn token(kind: u8, socket: Socket) -> Token {
    Token::new(kind, socket.0, 0)
}
