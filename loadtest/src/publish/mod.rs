//! Events into the server.
//!
//! A publisher is a thread with one link and its own streams of the board. On a schedule its events are due at fixed
//! moments, and what is due when it is its turn goes out in one batch; without one it publishes as fast as the server
//! accepts.

use crate::Failure;

/// One event on its way to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The name of its topic.
    pub topic: String,
    /// Its data: a stamp, filled up.
    pub data: Vec<u8>,
}

/// A way to publish: one connection to the server, or to the broker in front of it.
pub trait Link: Send {
    /// Publishes a batch, and returns once all of it is accepted, or how many at its beginning were when the server
    /// refused the rest. An error says that the link is of no use any more, and that nobody knows about the batch.
    fn publish(&mut self, batch: &[Event]) -> Result<usize, Failure>;
}
