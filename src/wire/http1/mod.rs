//! HTTP/1.1 and HTTP/1.0 as a server speaks them: request heads and bodies in, answers out.
//!
//! Strict where leniency lets two readers disagree about where a request ends (RFC 9112 §11.2), lenient elsewhere. What
//! a peer gets wrong is a [`Refusal`]: answer it and close, for what follows on that connection cannot be trusted.

mod answer;
mod body;
mod date;
mod head;

pub use answer::{Answer, CONTINUE, Manner, reason_phrase, write_stream_head};
pub use body::{Body, BodyLength, Progress};
pub use date::http_date;
pub use head::{Head, Method, is_h2_preface, parse_head};

/// Why a request is not served: the peer broke the protocol or a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status code of the answer.
    pub status: u16,
    /// One short sentence for the person who wrote the client.
    pub reason: &'static str,
}

impl Refusal {
    /// A refusal with `status`, 400 or above.
    pub const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }

    const fn malformed(reason: &'static str) -> Self {
        Self::new(400, reason)
    }
}
