//! A connection to play a case on, and what most cases say on it.

mod compression;
mod continuation;
mod errors;
mod exchange;
mod fields;
mod flow;
mod frames;
mod framing;
mod messages;
mod peer;
mod settings;
mod starting;
mod states;
mod streams;

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::thread;

use rustix::process::Signal;

use crate::support::h2::Peer;
pub use crate::support::h2::{BODY, EVENT, Fields, HC, PUBLISH, ROOT, SUBSCRIBE};
use crate::support::http::request;
use crate::support::skip;
use crate::support::stage::Stage;
use crate::support::wait::Deadline;

/// A server, ours or the oracle's.
pub struct Server {
    stage: Option<Stage>,
    pub address: SocketAddr,
}

impl Server {
    /// Starts ours, unless there is an oracle to ask.
    pub fn start() -> Self {
        match std::env::var("PLASMA_H2_ORACLE") {
            Ok(address) => Self { stage: None, address: address.parse().expect("the oracle is an address") },
            Err(_) => Self::ours(),
        }
    }

    /// Starts ours, for cases that no other server could pass; `None`, said aloud, where there is an oracle to ask.
    pub fn only_ours() -> Option<Self> {
        if std::env::var_os("PLASMA_H2_ORACLE").is_some() {
            skip("the oracle knows no events and no limits of ours");
            return None;
        }
        Some(Self::ours())
    }

    fn ours() -> Self {
        let stage = Stage::memory_with(&[("PLASMA_HISTORY_BYTES", "8MiB")]);
        let address = stage.plasma.http();
        Self { stage: Some(stage), address }
    }

    /// Ours, with its broker.
    pub fn stage(&mut self) -> &mut Stage {
        self.stage.as_mut().expect("the case is for our server only")
    }

    /// Ends ours as an operator would, and checks that it ends well once `meanwhile` is over.
    pub fn terminate(&mut self, meanwhile: impl FnOnce()) {
        let mut stage = self.stage.take().expect("the case is for our server only");
        stage.plasma.signal(Signal::TERM);
        meanwhile();
        assert_eq!(stage.plasma.wait_exit(Deadline::patient()), 0);
    }

    /// Connects and says nothing.
    pub fn connect(self) -> Session {
        Session { peer: Peer::connect(self.address), server: self }
    }

    /// Connects and exchanges settings.
    pub fn open(self) -> Session {
        self.open_with(&[])
    }

    /// Connects and exchanges settings of which ours are these.
    pub fn open_with(self, settings: &[(u16, u32)]) -> Session {
        Session { peer: Peer::open_with(self.address, settings), server: self }
    }
}

/// Whatever a client did, the server still serves.
impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stage) = self.stage.as_mut().filter(|_| !thread::panicking()) {
            assert!(stage.plasma.is_running(), "the server did not survive this");
            assert_eq!(request(self.address, "GET", "/hc", &[]).status(), 200);
        }
    }
}

/// A connection and the server at its other end.
pub struct Session {
    pub peer: Peer,
    pub server: Server,
}

impl Deref for Session {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Peer {
        &mut self.peer
    }
}

/// A connection on which both prefaces have been exchanged.
pub fn open() -> Session {
    Server::start().open()
}

/// The same, where the client announced these settings.
pub fn open_with(settings: &[(u16, u32)]) -> Session {
    Server::start().open_with(settings)
}

/// The same, where the client has not acknowledged the server's settings: HPACK tables have their first size.
pub fn open_unacknowledged() -> Session {
    let server = Server::start();
    Session { peer: Peer::open_unacknowledged(server.address, &[]), server }
}

/// A connection to ours, or nothing.
pub fn open_ours() -> Option<Session> {
    Server::only_ours().map(Server::open)
}

impl Session {
    /// A second connection to the same server.
    pub fn beside(&self) -> Peer {
        Peer::open(self.server.address)
    }
}

/// These fields and more.
pub fn with<'a>(fields: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [fields, more].concat()
}

/// These fields but for one.
pub fn without<'a>(fields: &[(&'a str, &'a str)], name: &str) -> Vec<(&'a str, &'a str)> {
    fields.iter().copied().filter(|(known, _)| *known != name).collect()
}
