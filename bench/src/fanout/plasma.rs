//! The subject: a whole shard of the server, on its own ring, with its subscribers connected over TCP.
//!
//! It is put together as the server does it and driven turn by turn; events come in as if they had just been published,
//! so a round pays for numbering, framing, the log, the topics and the sends. What it does not pay for is the way of
//! events into the server, over HTTP or from a broker.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use plasma::base::id::EventId;
use plasma::base::log::Log;
use plasma::base::region::Region;
use plasma::dialect::{self, plasma::frame};
use plasma::hub::{self, Reader};
use plasma::net::listen;
use plasma::ring::Ring;
use plasma::ring::uring::{self, Bells, Uring};
use plasma::shard::mail::Office;
use plasma::shard::{self, Idle, Settings, Shard, SlowConsumer, Upstream};

use super::{Burst, Sent};
use crate::{Failure, machine};

/// The server's default: `PLASMA_HISTORY_BYTES`.
pub const HISTORY_LEN: usize = 64 << 20;

/// Connections that are on their way up at a time: far less than any listener's backlog.
const PACE: usize = 256;

/// Longest time for all subscribers to be there.
const CONNECT_FOR_MAX: Duration = Duration::from_secs(30);

/// What every stream begins with ends so.
const OPENING_END: &[u8] = b"\n\n";

/// One shard and its subscribers.
pub struct Plasma {
    shard: Shard<Uring>,
    connections: u32,
    /// Name of the n-th topic; subscribers are dealt out to them in turn.
    topics: Vec<String>,
    data: Vec<u8>,
    cut: u64,
}

impl Plasma {
    /// A shard on the calling thread with `connections` subscribers of one of `topics` topics each. Returns the other
    /// ends, with everything read that streams begin with.
    pub fn start(connections: u32, topics: u32) -> Result<(Self, Vec<TcpStream>), Failure> {
        let (mut plasma, port) = Self::listen(connections, topics)?;
        let clients = plasma.connect(port)?;
        Ok((plasma, clients))
    }

    /// A shard on the calling thread with room for `connections` and names for `topics`, and the port where it listens.
    pub fn listen(connections: u32, topics: u32) -> Result<(Self, u16), Failure> {
        let (shard, _, port) = assemble(settings(connections), HISTORY_LEN)?;
        let topics = (0..topics).map(|topic| format!("t{topic:05}")).collect();
        Ok((Self { shard, connections, topics, data: Vec::new(), cut: 0 }, port))
    }

    /// One turn of the shard.
    pub fn turn(&mut self) -> Result<(), Failure> {
        self.shard.turn()?;
        Ok(())
    }

    /// Streams begun so far.
    pub fn stream_count(&self) -> u64 {
        self.shard.counts().streams
    }

    /// What events carry from now on: JSON text.
    pub fn set_data(&mut self, data: &str) {
        self.data = data.as_bytes().to_vec();
    }

    fn connect(&mut self, port: u16) -> Result<Vec<TcpStream>, Failure> {
        let deadline = Instant::now() + CONNECT_FOR_MAX;
        let mut clients = Vec::with_capacity(self.connections as usize);
        while clients.len() < self.connections as usize {
            let first = clients.len();
            let last = (first + PACE).min(self.connections as usize);
            for index in first..last {
                let mut client = TcpStream::connect(("127.0.0.1", port))?;
                let topic = &self.topics[index % self.topics.len()];
                write!(client, "GET /?eventType={topic} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n")?;
                client.set_nonblocking(true)?;
                clients.push(client);
            }
            for client in &mut clients[first..last] {
                await_opening(&mut self.shard, client, deadline)?;
            }
        }
        self.settle()?;
        Ok(clients)
    }

    /// What has been seen by the client is not yet known to the shard: turns until nobody is on the way any more.
    pub fn settle(&mut self) -> Result<(), Failure> {
        while !self.shard.is_caught_up() {
            self.shard.turn()?;
        }
        Ok(())
    }

    /// Publishes `burst.events` events in each topic, which go round, and turns until all are sent.
    pub fn round(&mut self, burst: Burst) -> Result<Sent, Failure> {
        self.fit_data(burst.size)?;
        let short = self.publish(burst.events)?;
        let deliveries = u64::from(self.connections) * u64::from(burst.events);
        Ok(Sent { deliveries, short, bytes: deliveries * u64::from(burst.size) })
    }

    /// Publishes `events` events in each topic and turns until all are sent; returns how many sends were cut short.
    pub fn publish(&mut self, events: u32) -> Result<u64, Failure> {
        let now = unix_millis();
        for _ in 0..events {
            for index in 0..self.topics.len() {
                while !self.inject(index, now) {
                    // No room in the log: the shard has to take leave of its oldest part first.
                    self.shard.turn()?;
                }
            }
        }
        loop {
            self.shard.turn()?;
            if self.shard.is_caught_up() {
                // The last sends are queued; the turn that would submit them would also go to sleep.
                self.shard.ring().submit()?;
                break;
            }
        }
        let cut = self.shard.counts().cut;
        Ok(cut - std::mem::replace(&mut self.cut, cut))
    }

    fn inject(&mut self, topic: usize, now: u64) -> bool {
        let data = str::from_utf8(&self.data).expect("the data is ASCII");
        let feed = self.shard.feed().expect("the first shard has the feed");
        feed.inject(&self.topics[topic], Some(data), now).is_some()
    }

    /// Data with which a frame is `size` bytes long.
    fn fit_data(&mut self, size: u32) -> Result<(), Failure> {
        let bare = framed_len(&self.topics[0], "\"\"");
        let padding = (size as usize)
            .checked_sub(bare)
            .ok_or_else(|| format!("an event of {size} bytes is too small: its frame alone takes {bare}"))?;
        if self.data.len() != padding + 2 {
            self.data = vec![b'x'; padding + 2];
            self.data[0] = b'"';
            self.data[padding + 1] = b'"';
        }
        Ok(())
    }
}

/// Whether a stream's beginning is complete: the head, then a block of lines.
fn is_open(got: &[u8]) -> bool {
    let head = got.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    head.is_some_and(|at| got.len() > at + 4 && got.ends_with(OPENING_END))
}

/// Bytes of an event's frame, with an id of today.
fn framed_len(kind: &str, data: &str) -> usize {
    let mut out = Vec::new();
    frame(kind, Some(data), EventId::first_at(unix_millis()), &mut out);
    out.len()
}

/// Turns until the client, which does not block, has got its head and what follows it.
pub fn await_opening(shard: &mut Shard<Uring>, client: &mut TcpStream, deadline: Instant) -> Result<(), Failure> {
    let mut got = Vec::new();
    while !is_open(&got) {
        let mut buffer = [0; 1024];
        match client.read(&mut buffer) {
            Ok(0) => return Err("the shard has closed a subscriber".into()),
            Ok(len) => got.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                shard.turn()?;
            }
            Err(error) => return Err(error.into()),
        }
        if Instant::now() > deadline {
            return Err("the shard did not answer its subscribers in time".into());
        }
    }
    Ok(())
}

/// A shard on the calling thread, the log that it writes, of `history_len` bytes, and the port where it listens.
pub fn assemble(settings: Settings, history_len: usize) -> Result<(Shard<Uring>, Arc<hub::Log>, u16), Failure> {
    uring::check()?;
    let (listeners, port) = listen::open(0, 1, settings.write_timeout)?;
    let (log, writer) = hub::Log::new(history_len, 1, unix_millis(), 1)?;
    let (_, mut desks) = Office::new(1);
    let options = uring::Options {
        slots: settings.slots,
        listeners,
        regions: shard::regions(&log, &Arc::new(Region::holding(shard::constants())?)),
        shard: 0,
        bells: Arc::new(Bells::new(1)?),
    };
    let ring = Uring::new(options)?;
    let (desk, reader) = (desks.remove(0), Reader::new(Arc::clone(&log), 0));
    let mut shard = Shard::new(ring, Arc::new(settings), desk, reader, Some(writer), 1, Log::off());
    shard.open();
    Ok((shard, log, port))
}

/// Milliseconds since 1970.
pub fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The server's defaults, but that nobody is disturbed while another subject is measured.
pub fn settings(connections: u32) -> Settings {
    Settings {
        policy: policy(),
        idle: Idle::Poll,
        // While another subject is measured nobody here may be quiet for long enough to be sent a comment: the reader
        // counts bytes.
        heartbeat: Duration::from_secs(3600),
        slow_consumer: SlowConsumer::Gap,
        write_timeout: Duration::from_secs(30),
        request_timeout: Duration::from_secs(10),
        drain: Duration::from_secs(1),
        // For the same reason nobody is asked whether it is still there.
        h2: shard::H2 { keepalive: 0, ..shard::H2::default() },
        zero_copy_from: None,
        // A table is never filled to the brim.
        slots: (connections + connections / 10 + 64).min(machine::file_limit()),
        upstream: Upstream::Memory,
    }
}

/// What the server decides about requests where nobody told it anything.
pub fn policy() -> dialect::Policy {
    dialect::Policy {
        origin: None,
        event_query: "eventType".to_owned(),
        retry_millis: 2_000,
        debug: false,
        publish: dialect::Publish::Closed,
        event_max: 1 << 20,
        publish_max: 16 << 20,
        reflection: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_open_after_the_head_and_a_block_of_lines() {
        assert!(!is_open(b"HTTP/1.1 200 OK\r\n"));
        assert!(!is_open(b"HTTP/1.1 200 OK\r\n\r\n"));
        assert!(!is_open(b"HTTP/1.1 200 OK\r\n\r\nretry: 1\n"));
        assert!(is_open(b"HTTP/1.1 200 OK\r\n\r\nretry: 1\n:ok\n\n"));
    }

    #[test]
    fn padded_data_makes_frames_of_the_wanted_length() {
        let bare = framed_len("t00001", "\"\"");
        assert_eq!(framed_len("t99999", &format!("\"{}\"", "x".repeat(150 - bare))), 150);
    }
}
