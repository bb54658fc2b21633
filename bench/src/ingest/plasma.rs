//! The subject: a whole shard of the server with its link to Redis or its publishers, and perhaps a subscriber.
//!
//! Its log is written over once before the clock starts, so that every window pays for making room.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use plasma::dialect::Publish;
use plasma::hub::Log;
use plasma::ring::uring::Uring;
use plasma::shard::feed::redis::{Behavior, Settings as Redis};
use plasma::shard::{Settings, Shard, Upstream};

use super::events;
use crate::Failure;
use crate::fanout::plasma::{assemble, await_opening, settings, unix_millis};

/// Connections that a shard has room for.
const CONNECTIONS: u32 = 200;

/// Links to Redis: one that subscribes, and one for what is published over HTTP, which has nothing to do here.
pub const LINKS: usize = 2;

/// Longest time for the link or a subscriber to stand.
const CONNECT_FOR_MAX: Duration = Duration::from_secs(10);

/// A shard and what it has taken in.
pub struct Plasma {
    shard: Shard<Uring>,
    log: Arc<Log>,
    port: u16,
    /// Events that the log was filled with.
    filled: u64,
}

impl Plasma {
    /// A shard on the calling thread whose events come from the Redis at `redis`, or over HTTP.
    pub fn start(redis: Option<SocketAddr>, history_len: usize) -> Result<Self, Failure> {
        let mut settings = Settings { upstream: redis.map_or(Upstream::Memory, upstream), ..settings(CONNECTIONS) };
        settings.policy.publish = Publish::Open;
        let (shard, log, port) = assemble(settings, history_len)?;
        Ok(Self { shard, log, port, filled: 0 })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// One turn, which may sleep.
    pub fn turn(&mut self) -> Result<(), Failure> {
        self.shard.turn()?;
        Ok(())
    }

    /// Events taken in.
    pub fn events(&self) -> u64 {
        self.log.head().0 - self.filled
    }

    /// Turns until the first event is here.
    pub fn await_link(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + CONNECT_FOR_MAX;
        while self.events() == 0 {
            self.shard.turn()?;
            if Instant::now() > deadline {
                return Err("the shard's link to Redis did not come up in time".into());
            }
        }
        Ok(())
    }

    /// Connects a subscriber of `topic`, which has read what its stream begins with.
    pub fn subscribe(&mut self, topic: &str) -> Result<TcpStream, Failure> {
        let mut client = TcpStream::connect(("127.0.0.1", self.port))?;
        write!(client, "GET /?eventType={topic} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n")?;
        client.set_nonblocking(true)?;
        await_opening(&mut self.shard, &mut client, Instant::now() + CONNECT_FOR_MAX)?;
        Ok(client)
    }

    /// Writes the log over once, with events of `size` bytes.
    pub fn fill(&mut self, topics: &[String], size: u32) -> Result<(), Failure> {
        let data = format!("{:?}", "x".repeat(size as usize));
        let mut topics = topics.iter().cycle();
        while self.log.tail().0 * 2 <= self.log.head().0 {
            for topic in topics.by_ref().take(1_000) {
                let feed = self.shard.feed().expect("the first shard has the feed");
                if feed.inject(topic, Some(&data), unix_millis()).is_none() {
                    break;
                }
                self.filled += 1;
            }
            self.shard.turn()?;
        }
        Ok(())
    }
}

fn upstream(address: SocketAddr) -> Upstream {
    Upstream::Redis(Redis {
        addr: address.to_string(),
        username: String::new(),
        password: String::new(),
        db: 0,
        channels: vec![events::CHANNEL.to_owned()],
        max_retry: 1,
        // Silence is another subject's turn: nobody is to be asked whether it is there.
        timeout: Duration::from_secs(3600),
        retry_interval: Duration::from_secs(1),
        behavior: Behavior::Alive,
    })
}
