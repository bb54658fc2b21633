//! Memory per idle connection, at the server's end and in all.
//!
//! A subject is either a running server or the bare acceptor, a child process that accepts and does nothing else. All
//! are measured by the same client, one after the other: memory before, connections, memory after, a broadcast if asked
//! for, the close, memory once more.

pub mod acceptor;
mod child;
mod client;
mod outcome;
mod publish;
mod sweep;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::grpc::served::Server;
use crate::memory::Snapshot;
use crate::{Failure, grpc, machine, ring};
use child::Child;
use client::{Answer, Client, Plan, Tally};
use outcome::{Broadcast, Outcome};
use publish::Publish;

/// What `--help` says.
pub const HELP: &str = "\
Opens very many idle connections and says what each of them costs.

Usage: bench hold [--bare [--armed]] [--target ADDRESS:PORT [--pid PID] [--publish URL]] [--grpc S [--tonic]] [OPTIONS]

  -n, --connections N      connections (100000)
      --bare               measure the reference first: sockets that a child process accepts and leaves alone
      --armed              and once more with a multishot poll armed on each of them
      --target ADDR:PORT   measure this server: each connection subscribes and waits for the first byte
      --pid PID            the server's process, for its resident memory
      --publish URL        publish an event there (POST) and count the connections that it reaches
      --grpc S             open S gRPC streams on each connection, instead of one event stream over HTTP/1.1
      --tonic              measure a server written with tonic as well, in a child process
      --type NAME          event type to subscribe to and to publish (bench)
      --path PATH          what to GET (/?eventType=NAME)
      --destinations D     loopback addresses to spread over, from 127.0.0.1 on (as many as the local ports ask for);
                           the server must listen on all of them
      --pace P             connections on their way up at a time (512)
      --stay S             seconds to hold them before the close (0)
      --close HOW          reset or fin (reset: leaves no TIME_WAIT behind)
      --timeout S          seconds for connecting, at most (300)
      --json               print JSON instead of the table
  -h, --help               this text

Kernel memory is the growth of the slab caches that sockets and rings live in, both ends of a connection together,
since both are on this machine. Caches that the kernel has merged go by one name (eventpoll_epi may hold the client's
port bookkeeping), and caches for files (dentry, filp) also see what other processes do meanwhile.
With --bare the server's end of a target is told as well: half of a bare connection, plus what the target adds to both
ends, plus the growth of its resident memory.
With --grpc nobody answers a server's PINGs: what is held for longer than its keep-alive is ended.
";

/// Connections that one ring of the bare acceptor gets on average: hashing spreads them unevenly, by a tenth or so.
const ACCEPTOR_SHARE: u32 = 15_000;

/// Time for what the kernel frees late, and for the server to go to rest.
const SETTLE_FOR: Duration = Duration::from_secs(2);

/// Longest time for a broadcast to reach everybody.
const BROADCAST_FOR_MAX: Duration = Duration::from_secs(60);

/// More failures than this, and than a hundredth of the connections, end the run: something is wrong, not unlucky.
const FAILURES_MAX: u32 = 100;

/// How often connections are swept while they are held: heartbeats must not pile up in them.
const SWEEP_PERIOD: Duration = Duration::from_secs(5);

/// How connections are closed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Close {
    /// At once, with a reset.
    Reset,
    /// With a FIN; the client's end then lingers in TIME_WAIT.
    Fin,
}

/// What to measure.
#[derive(Debug, PartialEq)]
pub struct Options {
    /// Connections per subject.
    pub connections: u32,
    /// The running server.
    pub target: Option<SocketAddrV4>,
    /// What to GET there, if not the default.
    pub path: Option<String>,
    /// Event type to subscribe to and to publish.
    pub topic: String,
    /// The server's process.
    pub pid: Option<u32>,
    /// Where to publish an event.
    pub publish: Option<Publish>,
    /// gRPC streams on each connection, if they are to be such.
    pub grpc: Option<u32>,
    /// Whether to measure a server written with tonic.
    pub tonic: bool,
    /// Whether to measure bare sockets.
    pub bare: bool,
    /// Whether to measure bare sockets with a poll armed.
    pub armed: bool,
    /// Loopback addresses to spread over.
    pub destinations: Option<u32>,
    /// Connections on their way up at a time.
    pub pace: u32,
    /// How long to hold them.
    pub stay: Duration,
    /// Longest time for connecting.
    pub timeout: Duration,
    /// How to close them.
    pub close: Close,
    /// JSON instead of a table.
    pub json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 100_000,
            target: None,
            path: None,
            topic: "bench".to_owned(),
            pid: None,
            publish: None,
            grpc: None,
            tonic: false,
            bare: false,
            armed: false,
            destinations: None,
            pace: 512,
            stay: Duration::ZERO,
            timeout: Duration::from_secs(300),
            close: Close::Reset,
            json: false,
        }
    }
}

impl Options {
    /// Refuses what does not go together.
    pub fn check(&self) -> Result<(), Failure> {
        match self {
            Self { target: None, bare: false, armed: false, tonic: false, .. } => {
                Err("nothing to hold: say --target or --bare".into())
            }
            Self { tonic: true, grpc: None, .. } => Err("--tonic goes with --grpc".into()),
            Self { armed: true, bare: false, .. } => Err("--armed goes with --bare".into()),
            Self { target: None, pid: Some(_), .. } => Err("--pid goes with --target".into()),
            Self { target: None, publish: Some(_), .. } => Err("--publish goes with --target".into()),
            Self { target: Some(target), destinations: Some(2..), .. } if !target.ip().is_loopback() => {
                Err("--destinations spreads over loopback addresses only".into())
            }
            _ => Ok(()),
        }
    }

    /// Connections to one address find a free local port quickly while at most half of the ports are taken: the kernel
    /// tries those of one parity first.
    fn destination_count(&self, address: Ipv4Addr) -> u32 {
        let comfortable = machine::local_port_count() * 2 / 5;
        match self.destinations {
            Some(count) => count,
            None if address.is_loopback() => self.connections.div_ceil(comfortable.max(1)),
            None => 1,
        }
    }
}

/// Who is measured.
#[derive(Clone, Copy)]
enum Subject {
    Bare { armed: bool },
    Served(Server),
    Target(SocketAddrV4),
}

/// Measures all subjects and prints the result.
pub fn run(options: &Options) -> Result<(), Failure> {
    let machine = machine::Machine::look();
    let bare = [(options.bare, false), (options.armed, true)];
    let bare = bare.into_iter().filter(|(wanted, _)| *wanted).map(|(_, armed)| Subject::Bare { armed });
    let mut outcomes = Vec::new();
    let served = options.tonic.then_some(Subject::Served(Server::Tonic));
    for subject in bare.chain(served).chain(options.target.map(Subject::Target)) {
        outcomes.push(measure(subject, options)?);
    }
    if options.json {
        println!("{:#}", outcome::to_json(&outcomes, &machine));
    } else {
        print!("{}", outcome::to_text(&outcomes, &machine));
    }
    Ok(())
}

fn measure(subject: Subject, options: &Options) -> Result<Outcome, Failure> {
    let (name, mut child, address, pid) = match subject {
        Subject::Target(address) => (address.to_string(), None, address, options.pid),
        Subject::Bare { armed } => {
            let child = Child::acceptor(options.connections.div_ceil(ACCEPTOR_SHARE), armed)?;
            let (address, pid) = (child.address(), child.pid());
            (if armed { "bare, armed" } else { "bare" }.to_owned(), Some(child), address, Some(pid))
        }
        Subject::Served(server) => {
            let child = Child::server(server, options.connections)?;
            let (address, pid) = (child.address(), child.pid());
            (server.name().to_owned(), Some(child), address, Some(pid))
        }
    };
    let plan = plan(subject, address, options);
    let mut clients = clients(options)?;
    thread::sleep(SETTLE_FOR);
    let before = Snapshot::take(pid)?;

    let mut tally = Tally::new();
    let connect_for = connect(&name, &mut clients, &plan, &mut tally, options)?;
    settle(&mut clients, &mut tally)?;
    let idle = Snapshot::take(pid)?;
    let live = tally.live;
    let streams = if matches!(subject, Subject::Bare { .. }) { 1 } else { options.grpc.unwrap_or(1) };
    if let Some(child) = &mut child {
        check_count(child, live, streams)?;
    }
    let broadcast = match &options.publish {
        Some(publish) if child.is_none() => Some(broadcast(publish, options, &mut clients, &mut tally)?),
        _ => None,
    };
    stay(&name, &mut clients, &mut tally, options.stay)?;

    for client in &mut clients {
        client.close(options.close, &mut tally)?;
    }
    drop(clients);
    thread::sleep(SETTLE_FOR);
    let closed = Snapshot::take(pid)?;
    let after_exit = child.map(Child::stop).transpose()?.map(|()| {
        thread::sleep(SETTLE_FOR);
        Snapshot::take(None)
    });
    let closed_kernel = after_exit.transpose()?;
    Ok(Outcome { name, live, streams, connect_for, tally, broadcast, before, idle, closed, closed_kernel })
}

/// The rings of all connections, as evenly filled as can be.
fn clients(options: &Options) -> Result<Vec<Client>, Failure> {
    let slots = ring::SLOTS_MAX.min(machine::file_limit());
    let count = options.connections.div_ceil(slots);
    let share = |index| options.connections / count + u32::from(index < options.connections % count);
    let client = |index| Client::new(share(index), options.pace.min(share(index)));
    (0..count).map(client).collect::<Result<_, _>>().map_err(|error| format!("cannot set up a ring: {error}").into())
}

/// What idle streams of a server take of its memory.
pub struct Footprint {
    grown: i64,
    connections: u32,
    streams: u32,
}

impl Footprint {
    /// Resident memory per stream, its share of the connection included.
    pub fn per_stream(&self) -> f64 {
        self.per_connection() / f64::from(self.streams)
    }

    /// Resident memory per connection, its streams included.
    pub fn per_connection(&self) -> f64 {
        self.grown as f64 / f64::from(self.connections)
    }
}

/// What `streams` idle gRPC streams on each of so many connections take of the memory of a server of ours.
pub fn footprint(server: Server, connections: u32, streams: u32) -> Result<Footprint, Failure> {
    let options = Options { connections, grpc: Some(streams), ..Options::default() };
    let mut child = Child::server(server, connections)?;
    let plan = plan(Subject::Served(server), child.address(), &options);
    let (mut clients, mut tally) = (clients(&options)?, Tally::new());
    thread::sleep(SETTLE_FOR / 4);
    let before = Snapshot::take(Some(child.pid()))?;
    connect(server.name(), &mut clients, &plan, &mut tally, &options)?;
    settle(&mut clients, &mut tally)?;
    check_count(&mut child, tally.live, streams)?;
    let idle = Snapshot::take(Some(child.pid()))?;
    let rss = |snapshot: &Snapshot| snapshot.process.map_or(0, |process| process.rss as i64);
    Ok(Footprint { grown: rss(&idle) - rss(&before), connections: tally.live, streams })
}

/// Compares what a server of ours has counted with what is up.
fn check_count(child: &mut Child, live: u32, streams: u32) -> Result<(), Failure> {
    let counted = child.count()?;
    if counted == u64::from(live) * u64::from(streams) {
        return Ok(());
    }
    Err(format!("{live} connections with {streams} each are up, but the server has counted {counted}").into())
}

fn plan(subject: Subject, address: SocketAddrV4, options: &Options) -> Plan {
    let (request, answer) = match (subject, options.grpc) {
        (Subject::Bare { .. }, _) => (Vec::new(), Answer::Head),
        (Subject::Served(_), streams) => (grpc::request(streams.unwrap_or(1), grpc::TOPIC), Answer::Settings),
        (Subject::Target(_), Some(streams)) => (grpc::request(streams, &options.topic), Answer::Settings),
        (Subject::Target(_), None) => (request(options, address).into_bytes(), Answer::Head),
    };
    Plan {
        destinations: spread(address, options.destination_count(*address.ip())),
        request,
        answer,
        until: Instant::now() + options.timeout,
    }
}

fn request(options: &Options, address: SocketAddrV4) -> String {
    let path = options.path.clone().unwrap_or_else(|| format!("/?eventType={}", options.topic));
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: text/event-stream\r\n\r\n")
}

/// `count` addresses from `address` on, as the kernel wants them.
fn spread(address: SocketAddrV4, count: u32) -> Vec<libc::sockaddr_in> {
    let nth = |index: u32| {
        // 250 addresses per 256: neither .0 nor .255 is among them.
        let ip = u32::from(*address.ip()) + index / 250 * 256 + index % 250;
        libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: address.port().to_be(),
            sin_addr: libc::in_addr { s_addr: ip.to_be() },
            sin_zero: [0; 8],
        }
    };
    (0..count).map(nth).collect()
}

/// Brings all connections up, ring by ring, and says every second how far it is.
fn connect(
    name: &str,
    clients: &mut [Client],
    plan: &Plan,
    tally: &mut Tally,
    options: &Options,
) -> Result<Duration, Failure> {
    let (start, wanted) = (Instant::now(), options.connections);
    let mut told = 0;
    let bearable = FAILURES_MAX.max(wanted / 100);
    for client in clients {
        client.connect(plan, tally, |tally| {
            let second = start.elapsed().as_secs();
            if second > told {
                told = second;
                eprintln!("{name}: {} of {wanted} up, {} failed, {second} s", tally.live, tally.failure_count());
            }
            tally.failure_count() <= bearable
        })?;
        if tally.failure_count() > bearable {
            let reason = tally.failures.iter().max_by_key(|(_, count)| **count);
            let (reason, count) = reason.expect("something failed");
            return Err(format!("{name}: {} up, then too many failures; {count} times: {reason}", tally.live).into());
        }
    }
    Ok(start.elapsed())
}

/// Waits, and takes in what the server sent after the first bytes: unread data would count as memory.
fn settle(clients: &mut [Client], tally: &mut Tally) -> Result<(), Failure> {
    for _ in 0..2 {
        thread::sleep(SETTLE_FOR / 2);
        for client in &mut *clients {
            client.sweep(None, tally)?;
        }
    }
    Ok(())
}

/// Publishes one event and looks for it on every connection.
fn broadcast(
    publish: &Publish,
    options: &Options,
    clients: &mut [Client],
    tally: &mut Tally,
) -> Result<Broadcast, Failure> {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let mark = format!("arrival-{nanos:x}");
    let start = Instant::now();
    publish.send(&options.topic, &mark)?;
    let (mut reached, mut last_at) = (0, Duration::ZERO);
    while reached < tally.live && start.elapsed() < BROADCAST_FOR_MAX {
        let mut found = 0;
        for client in &mut *clients {
            found += client.sweep(Some(mark.as_bytes()), tally)?;
        }
        if found > 0 {
            reached += found;
            last_at = start.elapsed();
        } else {
            thread::sleep(Duration::from_millis(10));
        }
    }
    clients.iter_mut().for_each(Client::forget);
    Ok(Broadcast { reached, of: tally.live, within: last_at })
}

/// Holds the connections and keeps them empty.
fn stay(name: &str, clients: &mut [Client], tally: &mut Tally, stay: Duration) -> Result<(), Failure> {
    let start = Instant::now();
    while start.elapsed() < stay {
        thread::sleep(SWEEP_PERIOD.min(stay - start.elapsed().min(stay)));
        for client in &mut *clients {
            client.sweep(None, tally)?;
        }
        eprintln!("{name}: {} held, {} failed, {} s", tally.live, tally.failure_count(), start.elapsed().as_secs());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_follow_each_other_and_skip_the_ends_of_a_network() {
        let first = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8080);
        let addresses = spread(first, 252);
        let written = |index: usize| Ipv4Addr::from(u32::from_be(addresses[index].sin_addr.s_addr)).to_string();
        assert_eq!(
            [0, 1, 249, 250, 251].map(written),
            ["127.0.0.1", "127.0.0.2", "127.0.0.250", "127.0.1.1", "127.0.1.2"]
        );
        assert!(addresses.iter().all(|address| u16::from_be(address.sin_port) == 8080));
    }

    #[test]
    fn a_foreign_server_has_one_address() {
        let options = Options { connections: 1_000_000, ..Options::default() };
        assert_eq!(options.destination_count(Ipv4Addr::new(10, 0, 0, 1)), 1);
        assert!(options.destination_count(Ipv4Addr::LOCALHOST) > 30);
        assert_eq!(Options { destinations: Some(7), ..options }.destination_count(Ipv4Addr::LOCALHOST), 7);
    }
}
