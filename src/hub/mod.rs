//! Who wants what, and what there was: the event log, topics and their members, catch-up.
//!
//! The log is the queue, the history and the send buffer in one ([`log`]). A subscriber that keeps up is just a member
//! of its topics ([`topics`]); one that has fallen behind is a position in the log, and [`catchup`] finds what it
//! missed.
//!
//! Knows neither sockets nor clocks nor the bytes of any protocol.

pub mod catchup;
pub mod log;
pub mod topics;

pub use catchup::Missed;
pub use log::{Format, Frames, Kind, Log, Place, Reader, Record, Seq, Span, Writer};
pub use topics::{Seat, Subscriber, TopicId, Topics};
