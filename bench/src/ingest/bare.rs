//! The reference: loops that receive the same bytes, find the ends of their lines and copy them once, into a ring of
//! memory as long as the server's log. Nothing is parsed, numbered or framed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::events;
use crate::Failure;
use crate::fanout::plasma::HISTORY_LEN;

/// Bytes per receive, as many as the server's.
const RECV_LEN: usize = plasma::ring::RECV_LEN_MAX;

/// Longest silence of a link.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How long a turn without requests lasts.
const IDLE_FOR: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Where the bytes go.
struct Sink {
    memory: Vec<u8>,
    at: usize,
    lines: u64,
}

impl Sink {
    fn new() -> Self {
        // Every page is touched now: none of it is paid for on the clock.
        Self { memory: vec![1; HISTORY_LEN], at: 0, lines: 0 }
    }

    fn take(&mut self, bytes: &[u8]) {
        for _ in memchr::memchr_iter(b'\n', bytes) {
            self.lines += 1;
        }
        if self.memory.len() - self.at < bytes.len() {
            self.at = 0;
        }
        self.memory[self.at..][..bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

/// Receives what Redis pushes.
pub struct BareLink {
    stream: TcpStream,
    buffer: Vec<u8>,
    sink: Sink,
}

impl BareLink {
    /// Connects and subscribes.
    pub fn subscribe(address: SocketAddr) -> Result<Self, Failure> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        let mut command = Vec::new();
        plasma::wire::resp::command(&mut command, &[b"SUBSCRIBE", events::CHANNEL.as_bytes()]);
        stream.write_all(&command)?;
        stream.read_exact(&mut vec![0; events::ACKNOWLEDGEMENT.len()])?;
        Ok(Self { stream, buffer: vec![0; RECV_LEN], sink: Sink::new() })
    }

    /// One receive.
    pub fn turn(&mut self) -> Result<(), Failure> {
        match self.stream.read(&mut self.buffer) {
            Ok(0) => Err("the bare loop's link was closed".into()),
            Ok(len) => {
                self.sink.take(&self.buffer[..len]);
                Ok(())
            }
            // The server's ring lives on this thread too, and its completions interrupt whoever waits with a time-out.
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Events received.
    pub fn events(&self) -> u64 {
        self.sink.lines / events::PUSH_LINES
    }
}

/// Receives requests of one length and gives all of them the same answer.
pub struct BareServer {
    listener: TcpListener,
    epoll: OwnedFd,
    publishers: Vec<Publisher>,
    request_len: usize,
    answer: Vec<u8>,
    buffer: Vec<u8>,
    sink: Sink,
    requests: u64,
    events_each: u32,
}

struct Publisher {
    stream: TcpStream,
    /// Bytes of its request that have come.
    got: usize,
}

impl BareServer {
    /// A server of requests of `request_len` bytes with `events` events each, and where it listens.
    pub fn listen(request_len: usize, events: u32) -> Result<(Self, u16), Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let server = Self {
            listener,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            publishers: Vec::new(),
            request_len,
            answer: events::answer(events),
            buffer: vec![0; RECV_LEN],
            sink: Sink::new(),
            requests: 0,
            events_each: events,
        };
        Ok((server, port))
    }

    /// Accepts so many publishers.
    pub fn accept(&mut self, count: u32) -> Result<(), Failure> {
        for index in 0..count {
            let (stream, _) = self.listener.accept()?;
            stream.set_nodelay(true)?;
            epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(index.into()), epoll::EventFlags::IN)?;
            self.publishers.push(Publisher { stream, got: 0 });
        }
        Ok(())
    }

    /// Waits once and receives from everybody who has sent something.
    pub fn turn(&mut self) -> Result<(), Failure> {
        let mut ready = Vec::with_capacity(self.publishers.len());
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), Some(&IDLE_FOR)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in ready {
            let publisher = &mut self.publishers[event.data.u64() as usize];
            let len = publisher.stream.read(&mut self.buffer)?;
            if len == 0 {
                return Err("a publisher's connection was closed".into());
            }
            self.sink.take(&self.buffer[..len]);
            publisher.got += len;
            if publisher.got == self.request_len {
                publisher.got = 0;
                self.requests += 1;
                publisher.stream.write_all(&self.answer)?;
            }
        }
        Ok(())
    }

    /// Events received.
    pub fn events(&self) -> u64 {
        self.requests * u64::from(self.events_each)
    }
}
