//! HTTP/2 as a server speaks it (RFC 9113), without a socket: frames and field blocks in, events out, and back.
//!
//! - `frame`: nine bytes of head and what follows them
//! - `hpack`: field blocks
//! - `session`: one connection with its streams, windows and floods
//! - `request`, `answer`: from a field list to a request head, and from an answer to a field block

mod answer;
pub mod frame;
pub mod hpack;
mod request;
mod session;

pub use answer::{write_answer, write_stream_head};
pub use request::{Malformed, head as head_of};
pub use session::{Bounds, Event, Failure, Key, PREFACE, Session};
