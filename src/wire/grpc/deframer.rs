//! Messages out of a stream of bytes that may be cut anywhere.
//!
//! A message that lies whole in the input is lent from there. Of one that does not, the bytes that came are kept, and
//! no room is made for what a peer merely announces.
//!
//! Invariant: between messages nothing is kept and nothing is allocated; within one, what is kept begins with its
//! prefix and is shorter than the whole.

use std::borrow::Cow;
use std::fmt;

use super::{Code, PREFIX_LEN, Status};

/// Cuts a stream into messages. The stream ends at the first fault: what follows it cannot be told apart.
#[derive(Debug, Default)]
pub struct Deframer {
    /// The beginning of a message, prefix included.
    kept: Vec<u8>,
}

// Every idle gRPC stream holds one.
const _: () = assert!(size_of::<Deframer>() <= 32);

/// What a peer got wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The message is compressed; no compression was agreed on.
    Compressed,
    /// The first byte of the prefix is neither 0 nor 1.
    BadFlag(u8),
    /// The message is longer than allowed.
    TooLarge {
        /// Its length, as announced.
        len: usize,
        /// The longest allowed.
        max: usize,
    },
}

impl Deframer {
    /// Takes the next message of at most `max` bytes from `input`, without its prefix. `None` when the input ends
    /// first; then all of it was taken, and the rest of the message is to follow.
    pub fn next<'a>(&mut self, input: &mut &'a [u8], max: usize) -> Result<Option<Cow<'a, [u8]>>, Fault> {
        if self.kept.is_empty() {
            match message_len(input, max)? {
                Some(len) if len <= input.len() - PREFIX_LEN => {
                    let (message, rest) = input[PREFIX_LEN..].split_at(len);
                    *input = rest;
                    return Ok(Some(Cow::Borrowed(message)));
                }
                _ => {
                    self.keep(input, input.len());
                    return Ok(None);
                }
            }
        }
        self.keep(input, PREFIX_LEN.saturating_sub(self.kept.len()));
        let Some(len) = message_len(&self.kept, max)? else { return Ok(None) };
        self.keep(input, PREFIX_LEN + len - self.kept.len());
        if self.kept.len() < PREFIX_LEN + len {
            return Ok(None);
        }
        let mut message = std::mem::take(&mut self.kept);
        message.drain(..PREFIX_LEN);
        Ok(Some(Cow::Owned(message)))
    }

    /// Whether the stream may end here: no message has begun that is not complete.
    pub fn is_between_messages(&self) -> bool {
        self.kept.is_empty()
    }

    /// Bytes held for a message that is not complete.
    pub fn held_len(&self) -> usize {
        self.kept.capacity()
    }

    /// Keeps `len` bytes of the input, or as many as there are.
    fn keep(&mut self, input: &mut &[u8], len: usize) {
        let (taken, rest) = input.split_at(len.min(input.len()));
        self.kept.extend_from_slice(taken);
        *input = rest;
    }
}

/// The length that the prefix at the start of `bytes` announces, if it is all there.
fn message_len(bytes: &[u8], max: usize) -> Result<Option<usize>, Fault> {
    match bytes {
        [] | [0] | [0, _] | [0, _, _] | [0, _, _, _] => Ok(None),
        [0, a, b, c, d, ..] => match u32::from_be_bytes([*a, *b, *c, *d]) as usize {
            len if len > max => Err(Fault::TooLarge { len, max }),
            len => Ok(Some(len)),
        },
        [1, ..] => Err(Fault::Compressed),
        [flag, ..] => Err(Fault::BadFlag(*flag)),
    }
}

impl Fault {
    /// The status that ends the stream.
    pub fn status(self) -> Status {
        let code = match self {
            Self::Compressed | Self::BadFlag(_) => Code::Internal,
            Self::TooLarge { .. } => Code::ResourceExhausted,
        };
        Status::new(code, self.to_string())
    }
}

/// As Go says it.
impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compressed => to.write_str("grpc: compressed flag set with identity or empty encoding"),
            Self::BadFlag(flag) => write!(to, "grpc: received unexpected payload format {flag}"),
            Self::TooLarge { len, max } => {
                write!(to, "grpc: received message larger than max ({len} vs. {max})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a deframer that is fed `pieces` says.
    fn deframed(pieces: &[&[u8]], max: usize) -> (Vec<Vec<u8>>, Result<bool, Fault>) {
        let (mut deframer, mut got) = (Deframer::default(), Vec::new());
        for mut input in pieces.iter().copied() {
            loop {
                match deframer.next(&mut input, max) {
                    Ok(Some(message)) => got.push(message.into_owned()),
                    Ok(None) => break,
                    Err(fault) => return (got, Err(fault)),
                }
            }
            assert!(input.is_empty(), "all of the input is taken");
        }
        (got, Ok(deframer.is_between_messages()))
    }

    fn every_cut(input: &[u8], want: &[&[u8]], end: Result<bool, Fault>) {
        let want: Vec<Vec<u8>> = want.iter().map(|message| message.to_vec()).collect();
        for first in 0..=input.len() {
            for second in first..=input.len() {
                let got = deframed(&[&input[..first], &input[first..second], &input[second..]], 9);
                assert_eq!(got, (want.clone(), end), "cuts at {first} and {second}");
            }
        }
    }

    #[test]
    fn cuts_do_not_matter() {
        every_cut(b"\0\0\0\0\x03abc\0\0\0\0\0\0\0\0\0\x01d", &[b"abc", b"", b"d"], Ok(true));
        every_cut(b"\0\0\0\0\x09123456789", &[b"123456789"], Ok(true));
        every_cut(b"\0\0\0\0\x01a\0\0\0\0\x04bcd", &[b"a"], Ok(false));
        every_cut(b"\0\0\0\0\x01a\0\0", &[b"a"], Ok(false));
        every_cut(b"", &[], Ok(true));
    }

    #[test]
    fn faults_are_told_wherever_the_cut() {
        every_cut(b"\0\0\0\0\x01a\x01\0\0\0\x01b", &[b"a"], Err(Fault::Compressed));
        every_cut(b"\x02\0\0\0\x01b", &[], Err(Fault::BadFlag(2)));
        every_cut(b"\0\0\0\0\x00\0\0\0\0\x0a1234567890", &[b""], Err(Fault::TooLarge { len: 10, max: 9 }));
        every_cut(b"\0\xff\xff\xff\xff", &[], Err(Fault::TooLarge { len: u32::MAX as usize, max: 9 }));
        let message = Fault::TooLarge { len: 10, max: 9 }.status().message;
        assert_eq!(message, "grpc: received message larger than max (10 vs. 9)");
    }

    #[test]
    fn a_whole_message_is_lent_and_a_cut_one_is_not_kept_longer_than_needed() {
        let (mut deframer, mut input) = (Deframer::default(), &b"\0\0\0\0\x01a\0"[..]);
        assert!(matches!(deframer.next(&mut input, 9), Ok(Some(Cow::Borrowed(b"a")))));
        assert_eq!(deframer.held_len(), 0);
        assert!(matches!(deframer.next(&mut input, 9), Ok(None)));
        assert!(deframer.held_len() > 0 && !deframer.is_between_messages());
        let mut rest = &b"\0\0\0\x01b"[..];
        assert!(matches!(deframer.next(&mut rest, 9), Ok(Some(Cow::Owned(_)))));
        assert_eq!(deframer.held_len(), 0);
    }

    #[test]
    fn no_room_is_made_for_what_is_only_announced() {
        let (mut deframer, mut input) = (Deframer::default(), &b"\0\0\x40\0\0only this"[..]);
        assert_eq!(deframer.next(&mut input, 4 << 20), Ok(None));
        assert!(deframer.held_len() < 64, "{}", deframer.held_len());
    }

    proptest! {
        #[test]
        fn any_bytes_at_any_cut_give_the_same(
            bytes in proptest::collection::vec(prop_oneof![4 => Just(0u8), 1 => 0u8..6], 0..60),
            cuts in proptest::collection::vec(0usize..60, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            prop_assert_eq!(deframed(&pieces, 9), deframed(&[&bytes], 9));
        }
    }
}
