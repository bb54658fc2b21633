//! The parties outside: subscribers over SSE, clients of many streams over HTTP/2, publishers over HTTP, a Redis.
//!
//! They speak the protocols by code of their own, so that a mistake in the server's codecs cannot hide, and tell the
//! ledger what they saw.

mod h2;
mod http;
mod publisher;
mod redis;
mod resp;
mod sse;
mod subscriber;

pub use h2::{H2Client, Kind};
pub use publisher::{Pace, Publisher};
pub use redis::{Redis, RedisPlan};
pub use subscriber::{Reading, Subscriber};

use plasma::ring::Errno;

use super::net::End;
use super::site::Site;

/// A connection and the bytes that wait to be sent over it.
#[derive(Debug)]
struct Link {
    end: End,
    waiting: Vec<u8>,
    sent: usize,
}

impl Link {
    fn new(end: End) -> Self {
        Self { end, waiting: Vec::new(), sent: 0 }
    }

    /// Bytes that have not left.
    fn backlog(&self) -> usize {
        self.waiting.len() - self.sent
    }

    /// Sends up to `max` of what waits. False when there is more.
    fn push(&mut self, site: &mut Site<'_>, max: usize) -> Result<bool, Errno> {
        let until = self.waiting.len().min(self.sent + max);
        self.sent += site.write(self.end, &self.waiting[self.sent..until])?;
        if self.sent < self.waiting.len() {
            return Ok(false);
        }
        self.waiting.clear();
        self.sent = 0;
        Ok(true)
    }
}
