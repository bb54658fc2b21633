//! From received bytes to replies, whatever the cuts.

use redis_protocol::resp2::decode::decode_range;
use redis_protocol::resp2::types::RangeFrame;

use crate::base::limits::RESP_LINE_LEN_MAX;

use super::scan::{Header, Scan, Scanner, header};
use super::{Items, Limits, ProtocolError, Reply, Word};

/// Decodes one connection's replies.
///
/// Invariant: `carry` holds the bytes of one incomplete reply from its first one and nothing of the next, so it never
/// outgrows the limit on replies by more than a line.
pub struct Decoder {
    limits: Limits,
    scanner: Scanner,
    carry: Vec<u8>,
    /// Left of a string that is too long, its `\r\n` included; 0 when none is passing by.
    passing: u64,
    /// Longest string left out of the reply in `carry`.
    clipped: Option<u64>,
    broken: Option<ProtocolError>,
}

/// What stands in a reply for a string that was left out.
const NIL: &[u8] = b"$-1\r\n";

impl Decoder {
    /// A decoder at the start of a connection.
    pub fn new(limits: Limits) -> Self {
        let scanner = Scanner::new(limits);
        Self { limits, scanner, carry: Vec::new(), passing: 0, clipped: None, broken: None }
    }

    /// Takes the next bytes and hands each reply that they complete to `on`, in order. The words borrow `input` (or the
    /// bytes carried over) and live as long as the call to `on`. After an error there is nothing more to decode.
    pub fn feed(&mut self, input: &[u8], mut on: impl FnMut(Word<'_>)) -> Result<(), ProtocolError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let mut rest = input;
        while !rest.is_empty() {
            let step = if self.passing > 0 {
                self.pass_by(rest, &mut on)
            } else if self.carry.is_empty() {
                self.take_in_place(rest, &mut on)
            } else {
                self.top_up(rest, &mut on)
            };
            match step {
                Ok(left) => rest = left,
                Err(error) => {
                    self.broken = Some(error);
                    self.carry = Vec::new();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Bytes of an incomplete reply that are held.
    pub fn carried_len(&self) -> usize {
        self.carry.len()
    }

    /// A reply starts with `rest`: decodes it where it lies if it is all there.
    fn take_in_place<'a>(&mut self, rest: &'a [u8], on: &mut impl FnMut(Word<'_>)) -> Result<&'a [u8], ProtocolError> {
        if let Some((frames, len)) = three_strings(rest, self.limits) {
            on(Word::Reply(Reply::Array(Items { frames: &frames, bytes: rest })));
            return Ok(&rest[len..]);
        }
        match self.scanner.scan(rest)? {
            Scan::Whole(len) => {
                self.scanner = Scanner::new(self.limits);
                decode(&rest[..len], self.limits, None, on)?;
                Ok(&rest[len..])
            }
            Scan::Partial => {
                self.carry.extend_from_slice(rest);
                Ok(&[])
            }
            Scan::TooLong { header_at, len } => {
                self.carry.extend_from_slice(&rest[..header_at]);
                let left = &rest[self.scanner.at()..];
                self.leave_out(len);
                Ok(left)
            }
        }
    }

    /// Takes only as much of `rest` as the carried reply surely needs: the rest of a string, or of a line.
    fn top_up<'a>(&mut self, rest: &'a [u8], on: &mut impl FnMut(Word<'_>)) -> Result<&'a [u8], ProtocolError> {
        let wanted = self.scanner.lacks(self.carry.len()).unwrap_or_else(|| {
            // One byte over the longest line is enough for the scanner to refuse it.
            let line = &rest[..rest.len().min(RESP_LINE_LEN_MAX + 3)];
            memchr::memchr(b'\n', line).map_or(line.len(), |end| end + 1)
        });
        let (taken, left) = rest.split_at(wanted.min(rest.len()));
        self.carry.extend_from_slice(taken);
        match self.scanner.scan(&self.carry)? {
            Scan::Whole(_) => self.hand_out_carried(on)?,
            Scan::Partial => {}
            Scan::TooLong { header_at, len } => {
                self.carry.truncate(header_at);
                self.leave_out(len);
            }
        }
        Ok(left)
    }

    /// From here on a string of `len` bytes passes by.
    fn leave_out(&mut self, len: u64) {
        self.carry.extend_from_slice(NIL);
        self.passing = len + 2;
        self.clipped = self.clipped.max(Some(len));
    }

    /// Drops what `rest` holds of a string that is too long.
    fn pass_by<'a>(&mut self, rest: &'a [u8], on: &mut impl FnMut(Word<'_>)) -> Result<&'a [u8], ProtocolError> {
        let body = usize::try_from(self.passing.saturating_sub(2)).unwrap_or(usize::MAX).min(rest.len());
        self.passing -= body as u64;
        let mut left = &rest[body..];
        while let ([first, tail @ ..], 1..=2) = (left, self.passing) {
            let want = if self.passing == 2 { b'\r' } else { b'\n' };
            if *first != want {
                return Err(ProtocolError::LineEnd);
            }
            self.passing -= 1;
            left = tail;
        }
        if self.passing == 0 && self.scanner.replaced(self.carry.len()) {
            self.hand_out_carried(on)?;
        }
        Ok(left)
    }

    fn hand_out_carried(&mut self, on: &mut impl FnMut(Word<'_>)) -> Result<(), ProtocolError> {
        self.scanner = Scanner::new(self.limits);
        let clipped = self.clipped.take();
        let result = decode(&self.carry, self.limits, clipped, on);
        self.carry.clear();
        result
    }
}

/// The reply that `bytes` begin with and its length, if it is three strings, whole and within limits. Of anything else
/// this says nothing: the scanner and the decoder judge.
///
/// PERF: every message of a channel is three strings. Scanning and decoding them, with a list for each, was a sixth of
/// what an event cost on its way into the log (`bench ingest --scenarios redis`).
fn three_strings(bytes: &[u8], limits: Limits) -> Option<([RangeFrame; 3], usize)> {
    let mut at = bytes.starts_with(b"*3\r\n").then_some(4)?;
    let mut frames = [const { RangeFrame::Null }; 3];
    for frame in &mut frames {
        let (from, to) = string(bytes, at).filter(|(from, to)| to - from <= limits.bulk_max)?;
        *frame = RangeFrame::BulkString((from, to));
        at = to + 2;
    }
    (at <= limits.reply_max).then_some((frames, at))
}

/// Where the string at `at` begins and ends, if that is what is there, with its `\r\n`.
fn string(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let Ok(Header::Len(len, from)) = (bytes.get(at) == Some(&b'$')).then(|| header(bytes, at))? else { return None };
    let to = from.checked_add(usize::try_from(len).ok()?)?;
    (bytes.get(to..)?.starts_with(b"\r\n")).then_some((from, to))
}

/// Decodes the one reply that `bytes` are.
fn decode(
    bytes: &[u8],
    limits: Limits,
    clipped: Option<u64>,
    on: &mut impl FnMut(Word<'_>),
) -> Result<(), ProtocolError> {
    if let (Some((frames, _)), None) = (three_strings(bytes, limits), clipped) {
        on(Word::Reply(Reply::Array(Items { frames: &frames, bytes })));
        return Ok(());
    }
    // Incomplete or too short would be a disagreement about framing; as a value it ends the link, not the process.
    let (frame, _) =
        decode_range(bytes).ok().flatten().filter(|(_, len)| *len == bytes.len()).ok_or(ProtocolError::Malformed)?;
    let reply = Reply::new(&frame, bytes);
    on(match clipped {
        None => Word::Reply(reply),
        Some(len) => Word::Clipped { reply, len },
    });
    Ok(())
}
