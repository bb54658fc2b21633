//! What an operator decides about shards.

use std::time::Duration;

use super::feed::redis;
use crate::dialect::Policy;
use crate::wire::h2::Bounds;

/// How idle clients are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// A poll is armed on each: hang-ups are seen at once, for 264 bytes of kernel memory.
    Poll,
    /// Nothing is armed; hang-ups are found by heartbeats and by looking round.
    Dense,
}

/// What happens to a stream that the log has overtaken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowConsumer {
    /// It is told what it lost and goes on from the oldest event held.
    Gap,
    /// It is ended.
    Close,
}

/// Where events come from.
#[derive(Clone, Debug)]
pub enum Upstream {
    /// Whoever publishes over HTTP.
    Memory,
    /// Made up, one every so often.
    Mock(Duration),
    /// Redis Pub/Sub.
    Redis(redis::Settings),
}

/// What concerns HTTP/2 only. Times are in ticks; 0 is never.
#[derive(Clone, Debug)]
pub struct H2 {
    /// What a connection may do.
    pub bounds: Bounds,
    /// A peer that was silent for so long is asked whether it is still there.
    pub keepalive: u32,
    /// And is gone if it has not answered after so long.
    pub keepalive_timeout: u32,
    /// A connection without a stream for so long is ended.
    pub idle_max: u32,
    /// A connection of that age is ended, give or take a tenth.
    pub age_max: u32,
}

impl Default for H2 {
    /// What holds when nothing is said.
    fn default() -> Self {
        let bounds = Bounds { streams_max: 1_000, ping_every: 100 };
        Self { bounds, keepalive: 300, keepalive_timeout: 100, idle_max: 3_000, age_max: 0 }
    }
}

impl H2 {
    /// The age that a connection may reach, `random` within a tenth of the setting.
    pub fn age_in_ticks(&self, random: u64) -> u32 {
        let spread = u64::from(self.age_max / 5) + 1;
        (self.age_max - self.age_max / 10).saturating_add((random % spread) as u32)
    }
}

/// The settings of a shard.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What requests may ask for.
    pub policy: Policy,
    /// How idle clients are watched.
    pub idle: Idle,
    /// A stream that was quiet for so long gets a comment.
    pub heartbeat: Duration,
    /// What happens to a stream that the log has overtaken.
    pub slow_consumer: SlowConsumer,
    /// A write that makes no progress for so long ends the connection.
    pub write_timeout: Duration,
    /// A request, head and body, must be there within that time.
    pub request_timeout: Duration,
    /// Farewells are spread over that time.
    pub drain: Duration,
    /// Sends from this many bytes on are made from the log's memory itself.
    pub zero_copy_from: Option<usize>,
    /// What concerns HTTP/2 only.
    pub h2: H2,
    /// Places in the ring's table of sockets.
    pub slots: u32,
    /// Where events come from.
    pub upstream: Upstream,
}
