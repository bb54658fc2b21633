//! Request bodies: so many bytes, or chunks (RFC 9112 §7.1).
//!
//! Extensions and trailers are read past and forgotten. Nothing is buffered but the body itself, and that only as far
//! as it has arrived: an announced length reserves no memory.

use super::Refusal;
use crate::base::limits::{CHUNK_LINE_LEN_MAX, TRAILER_LEN_MAX};

/// How a request says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body.
    None,
    /// That many bytes.
    Exactly(u64),
    /// In chunks, until one of size zero.
    Chunked,
}

/// What [`Body::feed`] did with its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that belong to the body; what follows is the next request's.
    pub used: usize,
    /// Whether the body is complete.
    pub done: bool,
}

/// Decoder of one request body.
#[derive(Debug)]
pub struct Body {
    state: State,
    /// Bytes that the body may still grow by.
    room: usize,
}

/// Where in the body the next byte is.
#[derive(Clone, Copy, Debug)]
enum State {
    /// In a body or chunk of which `left` bytes are still to come.
    Data { left: usize, chunked: bool },
    /// In the digits of a chunk's size.
    Size { line_len: usize, size: usize },
    /// In the blanks that may stand before an extension.
    Blank { line_len: usize, size: usize },
    /// In an extension.
    Extension { line_len: usize, size: usize },
    /// After the carriage return of a size line.
    SizeEnd { size: usize },
    /// Before the carriage return that ends a chunk.
    DataCr,
    /// Before the line feed that ends a chunk.
    DataLf,
    /// In the trailer section, `line_len` bytes into a line.
    Trailer { trailer_len: usize, line_len: usize },
    /// After a carriage return there.
    TrailerLf { trailer_len: usize, line_len: usize },
    /// After the last byte.
    Done,
}

const TOO_LARGE: Refusal = Refusal::new(413, "the body is too large");
const BAD_CHUNK: Refusal = Refusal::malformed("malformed chunk");

impl Body {
    /// A decoder for a body of `length` that holds at most `max` bytes. An announced length beyond that is refused
    /// before anything is read.
    pub fn new(length: BodyLength, max: usize) -> Result<Self, Refusal> {
        let state = match length {
            BodyLength::None | BodyLength::Exactly(0) => State::Done,
            BodyLength::Exactly(len) => match usize::try_from(len) {
                Ok(left) if left <= max => State::Data { left, chunked: false },
                _ => return Err(TOO_LARGE),
            },
            BodyLength::Chunked => State::Size { line_len: 0, size: 0 },
        };
        Ok(Self { state, room: max })
    }

    /// Takes what arrived and appends the body's bytes to `out`. After a refusal the body is of no further use.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Progress, Refusal> {
        let mut used = 0;
        while used < input.len() && !matches!(self.state, State::Done) {
            if let State::Data { left, chunked } = self.state {
                let taken = left.min(input.len() - used);
                out.extend_from_slice(&input[used..used + taken]);
                used += taken;
                self.room -= taken;
                self.state = match left - taken {
                    0 if chunked => State::DataCr,
                    0 => State::Done,
                    left => State::Data { left, chunked },
                };
            } else {
                self.state = self.after(input[used])?;
                used += 1;
            }
        }
        Ok(Progress { used, done: matches!(self.state, State::Done) })
    }

    /// The state after one byte outside the data.
    fn after(&self, byte: u8) -> Result<State, Refusal> {
        Ok(match (self.state, byte) {
            (State::Size { line_len: 1.., size }, b'\r') => State::SizeEnd { size },
            (State::Size { line_len: len @ 1.., size }, b' ' | b'\t') => State::Blank { line_len: more(len)?, size },
            (State::Size { line_len: len @ 1.., size }, b';') => State::Extension { line_len: more(len)?, size },
            (State::Size { line_len, size }, digit) => {
                State::Size { line_len: more(line_len)?, size: self.size_with(size, digit)? }
            }
            (State::Blank { line_len, size }, b' ' | b'\t') => State::Blank { line_len: more(line_len)?, size },
            (State::Blank { line_len, size }, b';') => State::Extension { line_len: more(line_len)?, size },
            (State::Extension { size, .. }, b'\r') => State::SizeEnd { size },
            (State::Extension { line_len, size }, b'\t' | b' '..=b'~' | 0x80..) => {
                State::Extension { line_len: more(line_len)?, size }
            }
            (State::SizeEnd { size: 0 }, b'\n') => State::Trailer { trailer_len: 0, line_len: 0 },
            (State::SizeEnd { size }, b'\n') => State::Data { left: size, chunked: true },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { line_len: 0, size: 0 },
            (State::Trailer { trailer_len, line_len }, b'\r') => State::TrailerLf { trailer_len, line_len },
            (State::Trailer { trailer_len, line_len }, b'\t' | b' '..=b'~' | 0x80..) => {
                if trailer_len == TRAILER_LEN_MAX {
                    return Err(Refusal::new(431, "trailer section too long"));
                }
                State::Trailer { trailer_len: trailer_len + 1, line_len: line_len + 1 }
            }
            (State::TrailerLf { line_len: 0, .. }, b'\n') => State::Done,
            (State::TrailerLf { trailer_len, .. }, b'\n') => State::Trailer { trailer_len, line_len: 0 },
            _ => return Err(BAD_CHUNK),
        })
    }

    /// `size` with one more hexadecimal digit, as long as such a chunk still fits.
    fn size_with(&self, size: usize, digit: u8) -> Result<usize, Refusal> {
        let digit = char::from(digit).to_digit(16).ok_or(BAD_CHUNK)? as usize;
        let size = size.checked_mul(16).and_then(|size| size.checked_add(digit)).ok_or(TOO_LARGE)?;
        if size > self.room { Err(TOO_LARGE) } else { Ok(size) }
    }
}

/// One byte more of a size line.
fn more(line_len: usize) -> Result<usize, Refusal> {
    if line_len == CHUNK_LINE_LEN_MAX { Err(Refusal::malformed("chunk size line too long")) } else { Ok(line_len + 1) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The body's bytes and how many of the input were its own; `None` while it is incomplete.
    fn decode(length: BodyLength, max: usize, parts: &[&[u8]]) -> Result<Option<(Vec<u8>, usize)>, Refusal> {
        let (mut body, mut out, mut total) = (Body::new(length, max)?, Vec::new(), 0);
        let mut done = false;
        for part in parts {
            let progress = body.feed(part, &mut out)?;
            total += progress.used;
            done = progress.done;
        }
        Ok(done.then_some((out, total)))
    }

    /// Where the kernel happened to cut the stream must not matter.
    fn every_cut(length: BodyLength, max: usize, input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Refusal> {
        let whole = decode(length, max, &[input]);
        for cut in 0..=input.len() {
            assert_eq!(decode(length, max, &[&input[..cut], &input[cut..]]), whole, "cut at {cut}");
        }
        whole
    }

    fn chunked(input: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Refusal> {
        every_cut(BodyLength::Chunked, 64, input)
    }

    #[test]
    fn a_counted_body_ends_where_it_says() {
        let all = every_cut(BodyLength::Exactly(5), 5, b"helloGET /");
        assert_eq!(all, Ok(Some((b"hello".to_vec(), 5))));
        assert_eq!(every_cut(BodyLength::Exactly(5), 5, b"hell"), Ok(None));
        assert_eq!(every_cut(BodyLength::None, 5, b"GET /"), Ok(Some((Vec::new(), 0))));
        assert_eq!(every_cut(BodyLength::Exactly(0), 0, b"GET /"), Ok(Some((Vec::new(), 0))));
    }

    #[test]
    fn a_body_that_announces_too_much_is_refused_unread() {
        assert!(Body::new(BodyLength::Exactly(64), 64).is_ok());
        assert_eq!(Body::new(BodyLength::Exactly(65), 64).map(|_| ()), Err(TOO_LARGE));
        assert_eq!(Body::new(BodyLength::Exactly(u64::MAX), usize::MAX - 1).map(|_| ()), Err(TOO_LARGE));
    }

    #[test]
    fn chunks_are_joined_and_extensions_and_trailers_forgotten() {
        let input =
            b"4\r\nWiki\r\n6 ;a=\"b\";c\r\npedia \r\n00D;x\r\nin \r\n\r\nchunks\r\n0\r\nDigest: x\r\nY:\r\n\r\nGET";
        assert_eq!(chunked(input), Ok(Some((b"Wikipedia in \r\n\r\nchunks".to_vec(), input.len() - 3))));
        assert_eq!(chunked(b"0\r\n\r\n"), Ok(Some((Vec::new(), 5))));
        assert_eq!(chunked(b"0\r\n"), Ok(None));
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for bad in [
            "\r\n",
            ";\r\n",
            " 1\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            "g\r\n",
            "1\n",
            "1\r1",
            "1 2\r\n",
            "1 \r\n",
            "1;\n",
            "1;\x01\r\n",
            "1\r\nab\r\n",
            "1\r\na\n",
            "1\r\na\rb",
            "0\r\n\n",
            "0\r\nA: b\n\r\n",
            "0\r\n\rX",
            "0\r\nA\0\r\n",
        ] {
            assert_eq!(chunked(bad.as_bytes()).map_err(|refusal| refusal.status), Err(400), "{bad:?}");
        }
    }

    #[test]
    fn chunks_may_fill_the_bound_and_no_more() {
        let fits = [b"3f\r\n", &[b'x'; 63][..], b"\r\n1\r\ny\r\n0\r\n\r\n"].concat();
        assert_eq!(chunked(&fits).map(|body| body.map(|(body, _)| body.len())), Ok(Some(64)));
        assert_eq!(chunked(b"41\r\n"), Err(TOO_LARGE));
        let over = [b"3f\r\n", &[b'x'; 63][..], b"\r\n2\r\n"].concat();
        assert_eq!(chunked(&over), Err(TOO_LARGE));
        assert_eq!(chunked(b"ffffffffffffffffffff\r\n"), Err(TOO_LARGE));
        let unbounded = decode(BodyLength::Chunked, usize::MAX, &[b"10000000000000000\r\n"]);
        assert_eq!(unbounded, Err(TOO_LARGE));
    }

    #[test]
    fn size_lines_and_trailers_are_bounded() {
        let line = |len: usize| format!("{}1;{}\r\nx\r\n0\r\n\r\n", "0".repeat(10), "e".repeat(len - 12)).into_bytes();
        assert!(matches!(chunked(&line(CHUNK_LINE_LEN_MAX)), Ok(Some(_))));
        assert_eq!(chunked(&line(CHUNK_LINE_LEN_MAX + 1)).map_err(|refusal| refusal.status), Err(400));
        let trailer = |len: usize| format!("0\r\n{}\r\n\r\n", "t".repeat(len)).into_bytes();
        assert!(matches!(decode(BodyLength::Chunked, 0, &[&trailer(TRAILER_LEN_MAX)]), Ok(Some(_))));
        let over = decode(BodyLength::Chunked, 0, &[&trailer(TRAILER_LEN_MAX + 1)]);
        assert_eq!(over.map_err(|refusal| refusal.status), Err(431));
    }

    proptest! {
        #[test]
        fn random_cuts_equal_the_whole(
            input in "([0-9a-f;\r\n]|1\r\nx\r\n|0\r\n\r\n){0,12}",
            cuts in proptest::collection::vec(0usize..64, 0..4),
        ) {
            let whole = decode(BodyLength::Chunked, 64, &[input.as_bytes()]);
            let mut at: Vec<_> = cuts.into_iter().map(|cut| cut.min(input.len())).chain([0, input.len()]).collect();
            at.sort_unstable();
            let parts: Vec<_> = at.windows(2).map(|pair| &input.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode(BodyLength::Chunked, 64, &parts), whole);
        }

        #[test]
        fn random_bytes_never_panic(input in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode(BodyLength::Chunked, 64, &[&input]);
        }
    }
}
