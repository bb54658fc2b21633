//! gRPC as a server speaks it, above HTTP/2: messages in and out, and the words of heads and trailers.
//!
//! What travels is a sequence of messages, each after five bytes: a flag (0, for we never compress) and the length in
//! network order. Nothing here knows HTTP/2's frames: messages begin and end wherever those do.

mod payload;
pub mod proto;
pub mod reflection;
mod status;

pub use self::payload::{id_field_len, payload, with_id};
pub use self::status::{Code, Status};

/// Bytes before each message.
pub const PREFIX_LEN: usize = 5;

/// The prefix of a message of `len` bytes that is not compressed.
fn prefix(len: usize) -> [u8; PREFIX_LEN] {
    let len = u32::try_from(len).expect("what becomes a message is bounded by settings, far below 4 GiB");
    let [a, b, c, d] = len.to_be_bytes();
    [0, a, b, c, d]
}
