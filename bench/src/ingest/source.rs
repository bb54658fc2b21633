//! The other end: a thread that plays Redis, or the publishers over HTTP.
//!
//! Everything it writes was built beforehand, and it writes as fast as the sockets take it. What stands between the
//! windows of its subject are full sockets: nobody has to tell it to wait.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::events;
use crate::{Failure, machine};

/// Longest time until the subject has connected.
const ACCEPT_FOR: Duration = Duration::from_secs(10);

/// How often somebody who waits looks again.
const LOOK_PERIOD: Duration = Duration::from_micros(100);

/// Bytes that Redis writes in one go, at least: a few receives of the subject's.
const WRITE_LEN: usize = 256 * 1024;

/// A thread that publishes.
pub struct Source {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<Vec<TcpStream>, String>>>,
    awaits_answers: bool,
}

/// What both threads look at; rarely, so it may share a cache line.
#[derive(Default)]
struct Shared {
    go: AtomicBool,
    stop: AtomicBool,
    /// Events that are written, or about to be.
    announced: AtomicU64,
}

impl Source {
    /// A Redis on `listener` for one subject, which opens so many links: acknowledges the subscription, sends one
    /// event, and the others after [`Source::go`].
    pub fn redis(listener: TcpListener, links: usize, events: &[String], cpu: usize) -> Result<Self, Failure> {
        let pushes: Vec<String> = events.iter().map(|event| events::push(event)).collect();
        let mut batch = pushes.concat();
        let mut count = pushes.len() as u64;
        while batch.len() < WRITE_LEN {
            batch.push_str(&pushes[(count % pushes.len() as u64) as usize]);
            count += 1;
        }
        let first = [events::ACKNOWLEDGEMENT, pushes[0].as_bytes()].concat();
        Self::start("redis", false, cpu, move |shared| {
            let mut peers = (0..links).map(|_| accept(&listener, shared)).collect::<Result<Vec<_>, _>>()?;
            let mut subscriber = None;
            for (index, peer) in peers.iter_mut().enumerate() {
                if greet(peer)? {
                    subscriber = Some(index);
                }
            }
            let peer = &mut peers[subscriber.ok_or("no link has subscribed")?];
            shared.announced.fetch_add(1, Ordering::Release);
            peer.write_all(&first)?;
            shared.await_go();
            while !shared.stop.load(Ordering::Relaxed) {
                shared.announced.fetch_add(count, Ordering::Release);
                peer.write_all(batch.as_bytes())?;
            }
            Ok(peers)
        })
    }

    /// So many publishers, each with one request under way at a time.
    pub fn http(port: u16, request: Vec<u8>, events: u32, publishers: u32, cpu: usize) -> Result<Self, Failure> {
        Self::start("publishers", true, cpu, move |shared| {
            let connect = |_| TcpStream::connect((Ipv4Addr::LOCALHOST, port));
            let mut peers = (0..publishers).map(connect).collect::<Result<Vec<_>, _>>()?;
            let mut got = Vec::new();
            shared.await_go();
            while !shared.stop.load(Ordering::Relaxed) {
                for peer in &mut peers {
                    shared.announced.fetch_add(events.into(), Ordering::Release);
                    peer.write_all(&request)?;
                }
                for peer in &mut peers {
                    read_answer(peer, &mut got)?;
                }
            }
            Ok(peers)
        })
    }

    fn start(
        name: &str,
        awaits_answers: bool,
        cpu: usize,
        body: impl FnOnce(&Shared) -> Result<Vec<TcpStream>, Failure> + Send + 'static,
    ) -> Result<Self, Failure> {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let body = move || machine::pin(cpu).and_then(|()| body(&seen)).map_err(|error| error.to_string());
        let thread = thread::Builder::new().name(name.to_owned()).spawn(body)?;
        Ok(Self { shared, thread: Some(thread), awaits_answers })
    }

    /// Begins in earnest.
    pub fn go(&self) {
        self.shared.go.store(true, Ordering::Release);
    }

    /// Ends after what is being written. Its connections stay.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.go();
    }

    /// Events that have been written, or are about to be.
    pub fn announced(&self) -> u64 {
        self.shared.announced.load(Ordering::Acquire)
    }

    /// Whether it stops only after answers to what it has written.
    pub fn awaits_answers(&self) -> bool {
        self.awaits_answers
    }

    /// Whether everything is written.
    pub fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Fails when it had to end.
    pub fn check(&mut self) -> Result<(), Failure> {
        if !self.is_done() || self.shared.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => Err(format!("publishing failed: {error}").into()),
            _ => Err("publishing ended".into()),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // Whoever read from it is gone already, so a write that waits has failed.
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn await_go(&self) {
        while !self.go.load(Ordering::Acquire) {
            thread::sleep(LOOK_PERIOD);
        }
    }
}

/// The next connection. The listener may be left alone, so it is asked now and then.
fn accept(listener: &TcpListener, shared: &Shared) -> Result<TcpStream, Failure> {
    listener.set_nonblocking(true)?;
    let start = Instant::now();
    while start.elapsed() < ACCEPT_FOR && !shared.stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((peer, _)) => {
                peer.set_nonblocking(false)?;
                return Ok(peer);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK_PERIOD),
            Err(error) => return Err(error.into()),
        }
    }
    Err("nobody has connected".into())
}

/// Reads what a link without password and database begins with: one command. Whether it subscribes; another one only
/// asks whether anybody is there.
fn greet(peer: &mut TcpStream) -> Result<bool, Failure> {
    let mut wanted = Vec::new();
    plasma::wire::resp::command(&mut wanted, &[b"SUBSCRIBE", events::CHANNEL.as_bytes()]);
    let mut buffer = [0; 64];
    let len = peer.read(&mut buffer)?;
    match &buffer[..len] {
        got if got == wanted => Ok(true),
        b"*1\r\n$4\r\nPING\r\n" => {
            peer.write_all(b"+PONG\r\n")?;
            Ok(false)
        }
        other => Err(format!("a link says {:?}", String::from_utf8_lossy(other)).into()),
    }
}

fn read_answer(peer: &mut TcpStream, got: &mut Vec<u8>) -> Result<(), Failure> {
    got.clear();
    let mut buffer = [0; 32 * 1024];
    loop {
        let len = peer.read(&mut buffer)?;
        if len == 0 {
            return Err("a publisher's connection was closed".into());
        }
        got.extend_from_slice(&buffer[..len]);
        match events::answer_len(got)? {
            Some(whole) if got.len() > whole => return Err("there is more than one answer to a request".into()),
            Some(whole) if got.len() == whole => return Ok(()),
            _ => {}
        }
    }
}
