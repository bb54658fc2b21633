//! One subscriber's stream over HTTP/1.1: the answer's head, the body, its events.
//!
//! Keeps bytes only while something is incomplete: a quiet stream has no memory on the heap.

use httparse::{EMPTY_HEADER, Response, Status};

use super::body::{Body, Progress};
use super::sse::{self, Event};

/// Longest head of an answer.
const HEAD_LEN_MAX: usize = 16 * 1024;

/// Most headers in it.
const HEADERS_MAX: usize = 64;

/// Longest event: what is longer is taken for a stream that lost its line ends.
const EVENT_LEN_MAX: usize = 64 << 20;

/// What was heard.
#[derive(Debug, PartialEq)]
pub enum Heard<'b> {
    /// The answer's head with status 200: the subscription stands.
    Open,
    /// An event.
    Event(Event<'b>),
}

/// A stream as far as it has come.
#[derive(Debug)]
pub struct Stream {
    stage: Stage,
    /// What is incomplete: of the head, or of an event.
    kept: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Head,
    /// The body; `true` until its first event.
    Body(Body, bool),
}

impl Default for Stream {
    fn default() -> Self {
        Self { stage: Stage::Head, kept: Vec::new() }
    }
}

impl Stream {
    /// A stream whose head was read by somebody else, and whose body has no frame of HTTP/1.1: as in HTTP/2.
    pub fn of_body() -> Self {
        Self { stage: Stage::Body(Body::UntilClose, true), kept: Vec::new() }
    }

    /// Takes received bytes.
    ///
    /// # Errors
    /// Why the stream is over: another status than 200, the end of the body, bytes that no server should send.
    pub fn feed(&mut self, bytes: &[u8], mut on_heard: impl FnMut(Heard<'_>)) -> Result<(), String> {
        if let Stage::Body(body, is_start) = &mut self.stage {
            return events(body, is_start, &mut self.kept, bytes, &mut on_heard);
        }
        self.kept.extend_from_slice(bytes);
        let Some((mut body, head_len)) = head(&self.kept)? else { return Ok(()) };
        on_heard(Heard::Open);
        let head = std::mem::take(&mut self.kept);
        let mut is_start = true;
        let outcome = events(&mut body, &mut is_start, &mut self.kept, &head[head_len..], &mut on_heard);
        self.stage = Stage::Body(body, is_start);
        outcome
    }
}

/// The body's frame and the length of the head, if it is whole.
fn head(bytes: &[u8]) -> Result<Option<(Body, usize)>, String> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    let len = match response.parse(bytes) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) if bytes.len() < HEAD_LEN_MAX => return Ok(None),
        Ok(Status::Partial) => return Err(format!("the answer's head is longer than {HEAD_LEN_MAX} bytes")),
        Err(error) => return Err(format!("the answer is not HTTP/1.1: {error}")),
    };
    let status = response.code.unwrap_or(0);
    if status != 200 {
        return Err(format!("answered {status} {}", response.reason.unwrap_or_default()));
    }
    let mut body = Body::UntilClose;
    for header in response.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default();
        if header.name.eq_ignore_ascii_case("transfer-encoding") && value.to_ascii_lowercase().ends_with("chunked") {
            body = Body::CHUNKED;
        } else if header.name.eq_ignore_ascii_case("content-length") && body == Body::UntilClose {
            body = Body::Length(value.trim().parse().map_err(|_| format!("content-length is {value:?}"))?);
        } else if header.name.eq_ignore_ascii_case("content-type") && !value.starts_with("text/event-stream") {
            return Err(format!("answered with {value:?} and not with text/event-stream"));
        }
    }
    Ok(Some((body, len)))
}

/// Takes a piece of the body.
fn events(
    body: &mut Body,
    is_start: &mut bool,
    kept: &mut Vec<u8>,
    bytes: &[u8],
    on_heard: &mut impl FnMut(Heard<'_>),
) -> Result<(), String> {
    let progress = body.feed(bytes, |data| {
        let mut take = |data: &[u8]| {
            let taken = sse::parse(data, *is_start, |event| on_heard(Heard::Event(event.clone())));
            *is_start &= taken == 0;
            taken
        };
        if kept.is_empty() {
            let taken = take(data);
            kept.extend_from_slice(&data[taken..]);
        } else {
            kept.extend_from_slice(data);
            let taken = take(kept);
            kept.drain(..taken);
        }
        if kept.is_empty() {
            *kept = Vec::new();
        }
    });
    match progress {
        Progress::More if kept.len() <= EVENT_LEN_MAX => Ok(()),
        Progress::More => Err(format!("an event is longer than {EVENT_LEN_MAX} bytes")),
        Progress::End => Err("the body has ended".to_owned()),
        Progress::Malformed => Err("the body is not chunked as it says".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(pieces: &[&[u8]]) -> (Vec<String>, Result<(), String>) {
        let (mut stream, mut words, mut outcome) = (Stream::default(), Vec::new(), Ok(()));
        for piece in pieces {
            outcome = stream.feed(piece, |heard| match heard {
                Heard::Open => words.push("open".to_owned()),
                Heard::Event(event) => words.push(String::from_utf8_lossy(&event.data).into_owned()),
            });
        }
        (words, outcome)
    }

    #[test]
    fn a_stream_is_heard_wherever_it_is_cut() {
        let plain = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\
                     retry: 2000\n:ok\n\nid: 1\ndata: a\n\ndata: b\n\n";
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
                       Content-Type: text/event-stream; charset=utf-8\r\n\r\n\
                       4\r\n:ok\n\r\n9\r\n\ndata: a\n\r\n9\r\n\ndata: b\n\r\n1\r\n\n\r\n";
        for stream in [plain, chunked] {
            for cut in 0..=stream.len() {
                let (before, after) = stream.as_bytes().split_at(cut);
                let (words, outcome) = heard(&[before, after]);
                assert_eq!(words, ["open", "a", "b"], "cut at {cut}");
                assert_eq!(outcome, Ok(()));
            }
        }
    }

    #[test]
    fn a_quiet_stream_keeps_nothing() {
        let mut stream = Stream::default();
        for piece in [&b"HTTP/1.1 200 OK\r\n\r\n:ok\n\nda"[..], b"ta: 1\n\n"] {
            stream.feed(piece, |_| {}).expect("a good stream");
        }
        assert_eq!(stream.kept.capacity(), 0);
    }

    #[test]
    fn refusals_are_named() {
        for (answer, word) in [
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", "503 Service Unavailable"),
            ("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n", "text/html"),
            ("SSH-2.0-OpenSSH\r\n", "not HTTP/1.1"),
            ("HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", "many"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n:\n", "ended"),
        ] {
            let error = heard(&[answer.as_bytes()]).1.expect_err(answer);
            assert!(error.contains(word), "{answer:?}: {error}");
        }
        let endless = vec![b'a'; HEAD_LEN_MAX];
        let head = [b"HTTP/1.1 200 OK\r\na: ", endless.as_slice()].concat();
        assert!(heard(&[&head]).1.expect_err("too long").contains("longer"));
    }
}
