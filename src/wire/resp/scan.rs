//! Finds the end of a reply without decoding it.
//!
//! Walks headers and hops over bodies; goes on where it stopped when more bytes have come.
//!
//! Invariant: what it calls whole is within the limits, at most [`RESP_DEPTH_MAX`] arrays deep, and every line and
//! string in it ends in `\r\n`, so a decoder that recurses and trusts lengths may be shown it.

use crate::base::limits::{RESP_DEPTH_MAX, RESP_ELEMENTS_MAX, RESP_LINE_LEN_MAX, RESP_SKIPPED_LEN_MAX};

use super::{Limits, ProtocolError};

/// Where in a reply the scan stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scanner {
    limits: Limits,
    /// First byte not yet understood, counted from the start of the reply.
    at: usize,
    /// Inside a bulk string: the byte after its `\r\n`.
    body_end: Option<usize>,
    /// Elements that each open array still lacks, the innermost last.
    lacking: [u32; RESP_DEPTH_MAX],
    depth: usize,
    /// Elements announced by all arrays so far.
    elements: usize,
}

/// What a scan found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// The reply ends after this many bytes.
    Whole(usize),
    /// More bytes are needed.
    Partial,
    /// A bulk string of `len` bytes, its header from `header_at` to [`Scanner::at`], is too long to be kept.
    TooLong { header_at: usize, len: u64 },
}

/// What follows the first byte of a string or an array.
pub(super) enum Header {
    /// Not all of it has come.
    Partial,
    /// `-1`: nothing. The header ends before this byte.
    Nil(usize),
    /// A length, and where the header ends.
    Len(u64, usize),
}

impl Scanner {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, at: 0, body_end: None, lacking: [0; RESP_DEPTH_MAX], depth: 0, elements: 0 }
    }

    /// First byte not yet understood.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Bytes that must follow the first `have` ones of a reply to end the bulk string it stands in. `None` on a line.
    pub(super) fn lacks(&self, have: usize) -> Option<usize> {
        self.body_end.map(|end| end.saturating_sub(have))
    }

    /// Makes it stand at `at`, behind an element that was replaced. Whether that ends the reply.
    pub(super) fn replaced(&mut self, at: usize) -> bool {
        self.at = at;
        self.end_element()
    }

    /// Goes on in `bytes`, which hold the reply from its first byte.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<Scan, ProtocolError> {
        loop {
            let ended = match self.body_end {
                Some(end) => match bytes.get(end - 2..end) {
                    Some(b"\r\n") => {
                        self.body_end = None;
                        self.at = end;
                        self.end_element()
                    }
                    Some(_) => return Err(ProtocolError::LineEnd),
                    None => return Ok(Scan::Partial),
                },
                None => match bytes.get(self.at) {
                    None => return Ok(Scan::Partial),
                    Some(b'$') => match header(bytes, self.at)? {
                        Header::Partial => return Ok(Scan::Partial),
                        Header::Nil(end) => self.pass(end)?,
                        Header::Len(len, end) => match self.enter_string(len, end)? {
                            Some(too_long) => return Ok(too_long),
                            None => false,
                        },
                    },
                    Some(b'*') => match header(bytes, self.at)? {
                        Header::Partial => return Ok(Scan::Partial),
                        Header::Nil(end) | Header::Len(0, end) => self.pass(end)?,
                        Header::Len(len, end) => self.enter_array(len, end)?,
                    },
                    Some(b'+' | b'-' | b':') => match line_end(bytes, self.at)? {
                        None => return Ok(Scan::Partial),
                        Some(end) => self.pass(end)?,
                    },
                    Some(other) => return Err(ProtocolError::Kind(*other)),
                },
            };
            if ended {
                return Ok(Scan::Whole(self.at));
            }
        }
    }

    /// An element without a body ends at `end`.
    fn pass(&mut self, end: usize) -> Result<bool, ProtocolError> {
        self.advance(end)?;
        Ok(self.end_element())
    }

    fn advance(&mut self, end: usize) -> Result<(), ProtocolError> {
        if end > self.limits.reply_max {
            return Err(ProtocolError::LongReply);
        }
        self.at = end;
        Ok(())
    }

    fn enter_string(&mut self, len: u64, end: usize) -> Result<Option<Scan>, ProtocolError> {
        if len > RESP_SKIPPED_LEN_MAX {
            return Err(ProtocolError::LongString);
        }
        let header_at = self.at;
        self.advance(end)?;
        let kept = usize::try_from(len).ok().filter(|len| *len <= self.limits.bulk_max);
        match kept.map(|len| end + len + 2).filter(|body_end| *body_end <= self.limits.reply_max) {
            None => Ok(Some(Scan::TooLong { header_at, len })),
            Some(body_end) => {
                self.body_end = Some(body_end);
                Ok(None)
            }
        }
    }

    fn enter_array(&mut self, len: u64, end: usize) -> Result<bool, ProtocolError> {
        let room = RESP_ELEMENTS_MAX - self.elements;
        let len = usize::try_from(len).ok().filter(|len| *len <= room).ok_or(ProtocolError::Elements)?;
        if self.depth == RESP_DEPTH_MAX {
            return Err(ProtocolError::Depth);
        }
        self.advance(end)?;
        self.elements += len;
        self.lacking[self.depth] = len as u32;
        self.depth += 1;
        Ok(false)
    }

    /// Counts an element that has come, and every array that it ends. Whether the reply ends with it.
    fn end_element(&mut self) -> bool {
        while self.depth > 0 {
            let lacking = &mut self.lacking[self.depth - 1];
            *lacking -= 1;
            if *lacking > 0 {
                return false;
            }
            self.depth -= 1;
        }
        true
    }
}

// Lengths of arrays are kept as `u32`.
const _: () = assert!(RESP_ELEMENTS_MAX <= u32::MAX as usize);

/// Reads the length after the first byte of a string or an array. Most are one to three digits: a plain loop.
pub(super) fn header(bytes: &[u8], at: usize) -> Result<Header, ProtocolError> {
    // Nineteen digits always fit a `u64`.
    const DIGITS_MAX: usize = 19;
    let rest = &bytes[at + 1..];
    if rest.first() == Some(&b'-') {
        let nil = b"-1\r\n";
        return match rest.get(..nil.len()) {
            Some(start) if start == nil => Ok(Header::Nil(at + 1 + nil.len())),
            None if nil.starts_with(rest) => Ok(Header::Partial),
            _ => Err(ProtocolError::Length),
        };
    }
    let mut len = 0u64;
    for (index, byte) in rest.iter().enumerate() {
        match byte {
            b'0'..=b'9' if index < DIGITS_MAX => len = len * 10 + u64::from(byte - b'0'),
            b'\r' if index > 0 => {
                return match rest.get(index + 1) {
                    None => Ok(Header::Partial),
                    Some(b'\n') => Ok(Header::Len(len, at + 1 + index + 2)),
                    Some(_) => Err(ProtocolError::LineEnd),
                };
            }
            _ => return Err(ProtocolError::Length),
        }
    }
    Ok(Header::Partial)
}

/// Where the line from `at` ends, its `\r\n` included.
fn line_end(bytes: &[u8], at: usize) -> Result<Option<usize>, ProtocolError> {
    let line = &bytes[at..];
    match memchr::memchr(b'\n', line) {
        Some(end) if end > RESP_LINE_LEN_MAX + 1 => Err(ProtocolError::LongLine),
        Some(end) if line[end - 1] != b'\r' => Err(ProtocolError::LineEnd),
        Some(end) => Ok(Some(at + end + 1)),
        None if line.len() > RESP_LINE_LEN_MAX + 1 => Err(ProtocolError::LongLine),
        None => Ok(None),
    }
}
