//! A server in a process of its own, so that its memory is its own as well: the shard that `fanout` measures, or tonic.
//!
//! Runs as a [`loadtest::child`], whose count is that of streams opened.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{io, process, thread};

use super::TonicServer;
use crate::Failure;
use crate::fanout::plasma::Plasma;

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Server {
    /// A shard of Plasma.
    Plasma,
    /// tonic.
    Tonic,
}

impl Server {
    /// As it is called on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plasma => "plasma",
            Self::Tonic => "tonic",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Plasma, Self::Tonic].into_iter().find(|server| server.name() == name)
    }
}

/// Serves up to `connections` until standard input ends.
pub fn run(server: Server, connections: u32) -> Result<(), Failure> {
    match server {
        Server::Plasma => {
            let (mut plasma, port) = Plasma::listen(connections, 1)?;
            println!("{port}");
            let opened = answer();
            loop {
                plasma.turn()?;
                opened.store(plasma.stream_count(), Ordering::Relaxed);
            }
        }
        Server::Tonic => {
            let tonic = TonicServer::start()?;
            println!("{}", tonic.address().port());
            let (asked, counts) = (answer(), tonic.counts());
            loop {
                tonic.turn();
                asked.store(counts.subscribed.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }
}

/// Answers questions from now on with the number returned, and ends the process after the last.
fn answer() -> Arc<AtomicU64> {
    let number = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&number);
    thread::spawn(move || {
        while matches!(io::stdin().read(&mut [0]), Ok(1)) {
            println!("{}", told.load(Ordering::Relaxed));
        }
        process::exit(0);
    });
    number
}
