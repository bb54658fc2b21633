//! The body of an HTTP/1.1 answer: until the close, of a length, or chunked (RFC 9112 §6).

/// How the rest of a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The body lasts as long as the connection.
    UntilClose,
    /// So many bytes are left.
    Length(u64),
    /// Chunks, of which this one is being read.
    Chunked(Chunk),
}

/// Where in a chunk a reader stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// In the digits of a size, which so far is this, none of them seen yet if `false`.
    Size(u32, bool),
    /// After the digits: an extension, which is skipped up to the line's end.
    Extension(u32),
    /// In the data, with so many bytes left.
    Data(u32),
    /// In the line end after the data.
    DataEnd,
    /// In the trailer section, at the start of a line or not.
    Trailer(bool),
}

/// What a piece of a body was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more.
    More,
    /// The body has ended.
    End,
    /// This is not a chunked body.
    Malformed,
}

/// Largest chunk that is believed: more is not an event stream.
const CHUNK_LEN_MAX: u32 = 1 << 30;

impl Body {
    /// A chunked body at its beginning.
    pub const CHUNKED: Self = Self::Chunked(Chunk::Size(0, false));

    /// Hands the data in `bytes` to `on_data`, in as many pieces as it comes.
    pub fn feed(&mut self, mut bytes: &[u8], mut on_data: impl FnMut(&[u8])) -> Progress {
        match self {
            Self::UntilClose => {
                on_data(bytes);
                Progress::More
            }
            Self::Length(left) => {
                let len = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                on_data(&bytes[..len]);
                *left -= len as u64;
                if *left == 0 { Progress::End } else { Progress::More }
            }
            Self::Chunked(chunk) => {
                while let Some((&first, rest)) = bytes.split_first() {
                    if let Chunk::Data(left) = chunk {
                        let len = bytes.len().min(*left as usize);
                        on_data(&bytes[..len]);
                        bytes = &bytes[len..];
                        *left -= len as u32;
                        if *left == 0 {
                            *chunk = Chunk::DataEnd;
                        }
                        continue;
                    }
                    match chunk.after(first) {
                        Ok(next) => *chunk = next,
                        Err(progress) => return progress,
                    }
                    bytes = rest;
                }
                Progress::More
            }
        }
    }
}

impl Chunk {
    /// Where one byte outside of the data leads.
    fn after(self, byte: u8) -> Result<Self, Progress> {
        match (self, byte) {
            (Self::Size(size, _), digit) if digit.is_ascii_hexdigit() => {
                let value = (digit as char).to_digit(16).ok_or(Progress::Malformed)?;
                let size = size * 16 + value;
                if size > CHUNK_LEN_MAX { Err(Progress::Malformed) } else { Ok(Self::Size(size, true)) }
            }
            (Self::Size(_, false), _) => Err(Progress::Malformed),
            (Self::Size(size, true) | Self::Extension(size), b'\n') => {
                Ok(if size == 0 { Self::Trailer(true) } else { Self::Data(size) })
            }
            (Self::Size(size, true), b'\r' | b';' | b' ' | b'\t') | (Self::Extension(size), _) => {
                Ok(Self::Extension(size))
            }
            (Self::DataEnd, b'\r') => Ok(Self::DataEnd),
            (Self::DataEnd, b'\n') => Ok(Self::Size(0, false)),
            (Self::Trailer(true), b'\n') => Err(Progress::End),
            (Self::Trailer(at_start), b'\r') => Ok(Self::Trailer(at_start)),
            (Self::Trailer(_), byte) => Ok(Self::Trailer(byte == b'\n')),
            (Self::Size(..) | Self::DataEnd | Self::Data(_), _) => Err(Progress::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Body, pieces: &[&[u8]]) -> (Vec<u8>, Progress) {
        let (mut body, mut data, mut progress) = (body, Vec::new(), Progress::More);
        for piece in pieces {
            if progress == Progress::More {
                progress = body.feed(piece, |bytes| data.extend_from_slice(bytes));
            }
        }
        (data, progress)
    }

    fn at_every_cut(body: Body, bytes: &str, data: &str, progress: Progress) {
        for cut in 0..=bytes.len() {
            let (before, after) = bytes.as_bytes().split_at(cut);
            let got = read(body, &[before, after]);
            assert_eq!((String::from_utf8_lossy(&got.0).as_ref(), got.1), (data, progress), "cut at {cut}");
        }
    }

    #[test]
    fn chunks_are_joined_and_their_frame_is_left_out() {
        let chunks = "5\r\nhello\r\n6;name=value\r\n world\r\n0\r\nTrailer: x\r\n\r\n";
        at_every_cut(Body::CHUNKED, chunks, "hello world", Progress::End);
        at_every_cut(
            Body::CHUNKED,
            "1A\r\nabcdefghijklmnopqrstuvwxyz\r\n",
            "abcdefghijklmnopqrstuvwxyz",
            Progress::More,
        );
    }

    #[test]
    fn what_is_not_chunked_is_malformed() {
        for bytes in ["\r\n", "x\r\n", "5 hello", "2\r\nabc\r\n", "ffffffffff\r\n"] {
            let (_, progress) = read(Body::CHUNKED, &[bytes.as_bytes(), b"\r\n"]);
            assert_ne!(progress, Progress::End, "{bytes:?}");
        }
        assert_eq!(read(Body::CHUNKED, &[b"2\r\nabc"]).1, Progress::Malformed);
    }

    #[test]
    fn a_length_ends_the_body() {
        at_every_cut(Body::Length(5), "hello", "hello", Progress::End);
        assert_eq!(read(Body::Length(5), &[b"hello, world"]), (b"hello".to_vec(), Progress::End));
    }
}
