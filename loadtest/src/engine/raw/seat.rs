//! How one subscriber's connection stands.
//!
//! Invariant: at most one request is in flight, its cancelling not counted, and a slot is used again only when none is.

use super::super::Reading;
use super::table::Op;
use crate::wire::stream::Stream;

/// The life of a connection. It ends where it began, and a seat has many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// There is none, and none is wanted.
    Away,
    /// One is wanted, and has to wait for a lane.
    Waiting,
    /// On its way up, from the socket to the answer.
    Coming { lane: u32 },
    /// The subscription stands.
    Open,
    /// Being closed, for the next one to follow if it is wanted `again`.
    Closing { lane: Option<u32>, again: bool },
}

/// A subscriber.
pub(super) struct Seat {
    pub(super) stage: Stage,
    /// What the kernel is busy with.
    pub(super) flight: Option<Op>,
    /// Counts connections, wrapping.
    pub(super) life: u16,
    /// How it reads once its subscription stands.
    pub(super) reading: Reading,
    pub(super) stream: Stream,
}

impl Default for Seat {
    fn default() -> Self {
        Self { stage: Stage::Away, flight: None, life: 0, reading: Reading::Full, stream: Stream::default() }
    }
}

impl Seat {
    /// Whether it stands, and nobody is reading from it.
    pub(super) fn is_idle(&self) -> bool {
        self.stage == Stage::Open && self.flight.is_none()
    }
}
