//! Events into the server.
//!
//! A publisher is a thread with one link and its own streams of the board. On a schedule its events are due at fixed
//! moments, and what is due when it is its turn goes out in one batch; without one it publishes as fast as the server
//! accepts.
//!
//! - `schedule`: when which event is due.
//! - `publisher`: the thread, and [`Publishers`] for all of them.
//! - `http`, `redis`, `grpc`: the links, the first two over a `connection`.

mod connection;
pub mod grpc;
pub mod http;
#[cfg(test)]
mod peer;
mod publisher;
pub mod redis;
pub mod schedule;

pub use publisher::{Counters, Extent, Findings, Pace, Plan, Publishers};

use crate::Failure;
use crate::target::Url;

/// One event on its way to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The name of its topic.
    pub topic: String,
    /// Its data: a stamp, filled up.
    pub data: Vec<u8>,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How many events at its beginning were accepted.
    pub accepted: usize,
    /// Why the rest was not, in the server's words.
    pub refusal: Option<String>,
}

/// A way to publish: one connection to the server, or to the broker in front of it. When it is lost, the next batch has
/// a new one.
pub trait Link: Send {
    /// Publishes a batch, and returns once the server has accepted or refused it.
    ///
    /// # Errors
    /// The connection broke, or could not be made: nobody knows about the batch.
    fn publish(&mut self, batch: &[Event]) -> Result<Answer, Failure>;
}

/// Where events go, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// POST requests to a URL with a path, with a bearer token if there is one.
    Http(Url, http::Format, Option<String>),
    /// PUBLISH to a channel of Redis.
    Redis(redis::Place),
    /// Plasma's `PublishService`, with a bearer token if there is one.
    Grpc(Url, Option<String>),
}

impl Way {
    /// Connects, so that the first event need not wait for it.
    pub fn connect(&self) -> Result<Box<dyn Link>, Failure> {
        Ok(match self {
            Self::Http(url, format, token) => Box::new(http::Http::connect(url, *format, token.as_deref())?),
            Self::Redis(place) => Box::new(redis::Redis::connect(place)?),
            Self::Grpc(url, token) => Box::new(grpc::Grpc::connect(url, token.as_deref())?),
        })
    }
}

impl Event {
    /// Writes the event as Plasma takes it from HTTP and from Redis, the data as a JSON string.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"meta\":{\"type\":");
        out.extend_from_slice(&json_string(self.topic.as_bytes()));
        out.extend_from_slice(b"},\"data\":");
        out.extend_from_slice(&json_string(&self.data));
        out.push(b'}');
    }
}

/// A text as JSON.
fn json_string(text: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&String::from_utf8_lossy(text)).expect("a text is always JSON")
}

impl Answer {
    /// All of a batch was accepted.
    fn all(batch: &[Event]) -> Self {
        Self { accepted: batch.len(), refusal: None }
    }

    /// Only the first events were accepted.
    fn refused_after(accepted: usize, words: String) -> Self {
        Self { accepted, refusal: Some(words) }
    }
}
