//! RESP2, the language of Redis: replies in, commands out.
//!
//! [`Decoder`] takes bytes as they were received and hands out [`Reply`]s that borrow them. What decodes is the crate
//! `redis-protocol`, by ranges, so that nothing is copied; but it starts each attempt at the first byte of a reply, and
//! recurses without a bound. So it is only shown replies that a scanner (`scan`) of our own found to be whole, shallow
//! and within limits; the scanner goes on where it stopped, and each byte is looked at once however the stream was cut.
//! What most replies are, three strings in one piece, is recognised before and needs neither.
//!
//! Only the incomplete last reply of a receive is carried over, never more than [`Limits`] allow. A bulk string that is
//! too long passes by unkept, and the reply is handed out without it: one oversized message does not end the link.
//!
//! Never guesses: bytes that are no RESP2 end in a [`ProtocolError`], and the decoder stays with it.

mod decode;
mod scan;
#[cfg(test)]
mod tests;

use std::fmt;

use redis_protocol::resp2::types::RangeFrame;

pub use decode::Decoder;

/// How much of a reply is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest bulk string in bytes; longer ones are skipped.
    pub bulk_max: usize,
    /// Longest reply in bytes, headers included. A bulk string that would not fit any more is skipped.
    pub reply_max: usize,
}

/// What the decoder hands out.
#[derive(Clone, Copy, Debug)]
pub enum Word<'a> {
    /// A reply as it was sent.
    Reply(Reply<'a>),
    /// A reply in which [`Reply::Nil`] stands for each bulk string that was too long.
    Clipped {
        /// What is left of it.
        reply: Reply<'a>,
        /// Length in bytes of the longest one left out.
        len: u64,
    },
}

/// One reply, or one element of an array.
#[derive(Clone, Copy, Debug)]
pub enum Reply<'a> {
    /// A status line, such as `OK`.
    Simple(&'a [u8]),
    /// An error line, its code first.
    Error(&'a [u8]),
    /// A number.
    Integer(i64),
    /// A string of any bytes.
    Bulk(&'a [u8]),
    /// The absent string or array.
    Nil,
    /// An array.
    Array(Items<'a>),
}

/// The elements of an array.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    frames: &'a [RangeFrame],
    bytes: &'a [u8],
}

impl<'a> Reply<'a> {
    /// Names the ranges of `frame` by the bytes they were found in.
    fn new(frame: &'a RangeFrame, bytes: &'a [u8]) -> Self {
        match frame {
            RangeFrame::SimpleString((from, to)) => Self::Simple(&bytes[*from..*to]),
            RangeFrame::Error((from, to)) => Self::Error(&bytes[*from..*to]),
            RangeFrame::Integer(number) => Self::Integer(*number),
            RangeFrame::BulkString((from, to)) => Self::Bulk(&bytes[*from..*to]),
            RangeFrame::Array(frames) => Self::Array(Items { frames, bytes }),
            RangeFrame::Null => Self::Nil,
        }
    }
}

impl<'a> Items<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The one at `index`.
    pub fn get(&self, index: usize) -> Option<Reply<'a>> {
        self.frames.get(index).map(|frame| Reply::new(frame, self.bytes))
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Reply<'a>> + use<'a> {
        let Self { frames, bytes } = *self;
        frames.iter().map(move |frame| Reply::new(frame, bytes))
    }
}

/// Why bytes are not RESP2, or not of a size we accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// No reply starts with this byte.
    Kind(u8),
    /// The length of a string or an array is not a number of ours.
    Length,
    /// `\r\n` is missing where it must stand.
    LineEnd,
    /// A line is longer than [`RESP_LINE_LEN_MAX`](crate::base::limits::RESP_LINE_LEN_MAX).
    LongLine,
    /// Arrays are nested deeper than [`RESP_DEPTH_MAX`](crate::base::limits::RESP_DEPTH_MAX).
    Depth,
    /// A reply has more elements than [`RESP_ELEMENTS_MAX`](crate::base::limits::RESP_ELEMENTS_MAX).
    Elements,
    /// A reply is longer than [`Limits::reply_max`] even without its long strings.
    LongReply,
    /// A bulk string announces more than [`RESP_SKIPPED_LEN_MAX`](crate::base::limits::RESP_SKIPPED_LEN_MAX).
    LongString,
    /// Well framed, but not decodable: a number that is none.
    Malformed,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Kind(byte) => return write!(to, "no Redis reply starts with {:?}", char::from(*byte)),
            Self::Length => "a length is not a number",
            Self::LineEnd => "a line or string does not end in CRLF",
            Self::LongLine => "a line is too long",
            Self::Depth => "arrays are nested too deep",
            Self::Elements => "a reply has too many elements",
            Self::LongReply => "a reply is too long",
            Self::LongString => "a string announces an absurd length",
            Self::Malformed => "a number is malformed",
        };
        to.write_str(text)
    }
}

impl std::error::Error for ProtocolError {}

/// Appends a command to `out`: an array of bulk strings, so that no argument needs escaping.
pub fn command(out: &mut Vec<u8>, args: &[&[u8]]) {
    header(out, b'*', args.len());
    for arg in args {
        header(out, b'$', arg.len());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

fn header(out: &mut Vec<u8>, kind: u8, len: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
    out.extend_from_slice(b"\r\n");
}
