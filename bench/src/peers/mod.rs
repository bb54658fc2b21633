//! The servers that are compared, each as a process of its own: `bench serve NAME`.
//!
//! The first line on standard output says where it serves: the port of subscribers, that of publishers, and the id of
//! the process that does the work, whose children work too. Every byte on standard input is answered with a line of two
//! counts: subscriptions so far, and what the server itself knows to have missed. It ends with its standard input.

mod axum;
mod bare;
pub mod nchan;
mod plasma;
#[cfg(test)]
mod tests;
mod tonic;
pub mod topics;

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, io, process, thread};

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::Failure;
use crate::args::Command;

/// How `bench serve` is used.
pub const HELP: &str = "\
Serves until its standard input ends; for looking at a server that `compare` compares.

Usage: bench serve NAME [OPTIONS]

Names: plasma, bare, nchan, axum, tonic

  --port PORT    where subscribers connect; 0, the default, lets the kernel choose
  --plasma PATH  the program to run as plasma; otherwise the one beside this program
";

/// Connections that may wait to be accepted: the usual upper bound of `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Longest time for a server to end when told to.
const END_FOR_MAX: Duration = Duration::from_secs(10);

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// The built server, from outside.
    Plasma,
    /// One ring and no manners.
    Bare,
    /// nginx with the module nchan.
    Nchan,
    /// SSE with axum.
    Axum,
    /// gRPC with tonic.
    Tonic,
}

impl Peer {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 5] = [Self::Plasma, Self::Bare, Self::Nchan, Self::Axum, Self::Tonic];

    /// As it is called on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plasma => "plasma",
            Self::Bare => "bare",
            Self::Nchan => "nchan",
            Self::Axum => "axum",
            Self::Tonic => "tonic",
        }
    }

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.name() == name)
    }
}

/// Where a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where subscribers connect.
    pub port: u16,
    /// Where events are published.
    pub publish_port: u16,
    /// The process, or the parent of the processes, that serve.
    pub pid: u32,
}

impl Place {
    /// This process, with one port for everything.
    fn of(port: u16) -> Self {
        Self { port, publish_port: port, pid: process::id() }
    }

    /// From the line that says it.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let mut port = || words.next()?.parse::<u16>().ok();
        let (port, publish_port) = (port()?, port()?);
        Some(Self { port, publish_port, pid: words.next()?.parse().ok()? })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {} {}", self.port, self.publish_port, self.pid)
    }
}

/// What a server of ours counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// Subscriptions so far.
    pub subscribed: AtomicU64,
    /// Subscribers dropped by the bare server; events skipped for laggards by those with broadcast channels.
    pub missed: AtomicU64,
}

/// Which server, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Who.
    pub peer: Peer,
    /// Where subscribers are to connect; 0 is any.
    pub port: u16,
    /// The program to run as Plasma; otherwise the one beside ours.
    pub plasma: Option<PathBuf>,
}

/// The words after `serve`.
pub fn parse(parser: &mut Parser) -> Result<Command, Failure> {
    let (mut peer, mut port, mut plasma) = (None, 0, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Value(word) if peer.is_none() => {
                let named = word.to_str().and_then(Peer::named);
                peer = Some(named.ok_or_else(|| format!("{word:?} is none of {}", names()))?);
            }
            Long("port") => port = parser.value()?.parse()?,
            Long("plasma") => plasma = Some(parser.value()?.into()),
            Long("help") | Short('h') => return Ok(Command::Help(HELP)),
            other => return Err(other.unexpected().into()),
        }
    }
    let peer = peer.ok_or_else(|| format!("serve needs one of {}", names()))?;
    Ok(Command::Serve(Options { peer, port, plasma }))
}

/// The names of all peers, with commas.
pub fn names() -> String {
    Peer::ALL.map(Peer::name).join(", ")
}

/// Serves until standard input ends.
pub fn run(options: &Options) -> Result<(), Failure> {
    let counts: Arc<Counts> = Arc::default();
    match options.peer {
        Peer::Bare => {
            let (mut bare, place) = bare::Bare::start(options.port, Arc::clone(&counts))?;
            println!("{place}");
            thread::spawn(move || {
                answer(&counts);
                process::exit(0);
            });
            bare.run()?;
        }
        Peer::Axum | Peer::Tonic => {
            // As many workers as CPUs.
            let runtime = Runtime::new()?;
            let start = if options.peer == Peer::Axum { axum::start } else { tonic::start };
            println!("{}", start(&runtime, options.port, Arc::clone(&counts))?);
            answer(&counts);
            runtime.shutdown_background();
        }
        Peer::Nchan => {
            let nginx = nchan::Nginx::start(options.port)?;
            println!("{}", nginx.place());
            answer(&counts);
        }
        Peer::Plasma => {
            let plasma = plasma::Process::start(options.plasma.as_deref(), options.port)?;
            println!("{}", plasma.place());
            answer(&counts);
        }
    }
    Ok(())
}

/// Answers questions until there are no more.
fn answer(counts: &Counts) {
    while matches!(io::stdin().read(&mut [0]), Ok(1)) {
        println!("{} {}", counts.subscribed.load(Ordering::Relaxed), counts.missed.load(Ordering::Relaxed));
    }
}

/// A socket that listens on all addresses: clients spread over those of 127.0.0.0/8.
fn listen(port: u16) -> Result<TcpListener, Failure> {
    use rustix::net::{self, AddressFamily, SocketAddrV4, SocketType, sockopt};

    let listener = net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    // Inherited by what is accepted.
    sockopt::set_tcp_nodelay(&listener, true)?;
    net::bind(&listener, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    net::listen(&listener, BACKLOG)?;
    Ok(listener.into())
}

/// Asks a server to end, so that it ends its workers as well, and makes sure of it.
fn end(child: &mut Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // The id of one that was waited for may be somebody else's by now.
    if let (Ok(None), Some(pid)) = (child.try_wait(), pid) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let deadline = Instant::now() + END_FOR_MAX;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            let _ = child.kill();
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// How many events a subscriber of a broadcast channel was too late for.
pub fn lagged_by(lag: &BroadcastStreamRecvError) -> u64 {
    let BroadcastStreamRecvError::Lagged(count) = lag;
    *count
}
