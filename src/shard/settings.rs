//! What an operator decides about shards.

use std::time::Duration;

use super::feed::redis;
use crate::dialect::Policy;

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
    /// Places in the ring's table of sockets.
    pub slots: u32,
    /// Where events come from.
    pub upstream: Upstream,
}
