//! Publishing over HTTP/1.1, on one connection that is kept alive.

use httparse::{EMPTY_HEADER, Response, Status};

use super::connection::Connection;
use super::{Answer, Event, Link};
use crate::Failure;
use crate::target::Url;
use crate::wire::body::{Body, Progress};

/// Most headers in an answer.
const HEADERS_MAX: usize = 64;

/// Longest excerpt of an answer's body in the words of a refusal.
const EXCERPT_LEN_MAX: usize = 160;

/// What a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A batch in one request, an event per line, as Plasma takes them.
    Plasma,
    /// A request per event with its data as the body. `{topic}` in the path stands for the name of the topic.
    Raw,
}

/// A link over HTTP.
pub struct Http {
    url: Url,
    format: Format,
    /// The header with the token, or nothing.
    authorization: String,
    connection: Option<Connection>,
}

/// An answer as far as it matters here.
#[derive(Debug, PartialEq)]
struct Reply {
    status: u16,
    /// Status and reason, and how the body begins.
    words: String,
    keeps_alive: bool,
}

impl Http {
    /// Connects to the server of a URL, which has the path to post to.
    pub fn connect(url: &Url, format: Format, token: Option<&str>) -> Result<Self, Failure> {
        let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let connection = Some(Connection::connect(url.address)?);
        Ok(Self { url: url.clone(), format, authorization, connection })
    }

    fn post(&mut self, path: &str, kind: &str, body: &[u8]) -> Result<Reply, Failure> {
        let Self { url, authorization, .. } = self;
        let mut request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{authorization}\r\n",
            if path.is_empty() { "/" } else { path },
            url.authority,
            body.len(),
        )
        .into_bytes();
        request.extend_from_slice(body);
        let mut connection = match self.connection.take().filter(Connection::is_usable) {
            Some(connection) => connection,
            None => Connection::connect(self.url.address)?,
        };
        let reply = connection.ask(&request, reply)?;
        self.connection = reply.keeps_alive.then_some(connection);
        Ok(reply)
    }

    fn post_lines(&mut self, batch: &[Event]) -> Result<Answer, Failure> {
        let mut lines = Vec::new();
        for event in batch {
            event.write_json(&mut lines);
            lines.push(b'\n');
        }
        let path = self.url.path.clone();
        let reply = self.post(&path, "application/x-ndjson", &lines)?;
        Ok(if reply.is_accepted() { Answer::all(batch) } else { Answer::refused_after(0, reply.words) })
    }

    fn post_each(&mut self, batch: &[Event]) -> Result<Answer, Failure> {
        for (index, event) in batch.iter().enumerate() {
            let path = self.url.path.replace("{topic}", &event.topic);
            let reply = self.post(&path, "text/plain", &event.data)?;
            if !reply.is_accepted() {
                return Ok(Answer::refused_after(index, reply.words));
            }
        }
        Ok(Answer::all(batch))
    }
}

impl Link for Http {
    fn publish(&mut self, batch: &[Event]) -> Result<Answer, Failure> {
        match self.format {
            Format::Plasma => self.post_lines(batch),
            Format::Raw => self.post_each(batch),
        }
    }
}

impl Reply {
    fn is_accepted(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// The answer in these bytes, if it is whole.
fn reply(mut bytes: &[u8]) -> Result<Option<Reply>, Failure> {
    loop {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut response = Response::new(&mut headers);
        let head_len = match response.parse(bytes) {
            Ok(Status::Complete(len)) => len,
            Ok(Status::Partial) => return Ok(None),
            Err(error) => return Err(format!("the answer is not HTTP/1.1: {error}").into()),
        };
        let rest = &bytes[head_len..];
        match response.code.unwrap_or(0) {
            // RFC 9110 §15.2: any number of these may come before the answer.
            100..=199 => bytes = rest,
            status => return reply_with(status, &response, rest),
        }
    }
}

fn reply_with(status: u16, head: &Response<'_, '_>, bytes: &[u8]) -> Result<Option<Reply>, Failure> {
    let (mut body, mut keeps_alive) = (Body::UntilClose, head.version == Some(1));
    for header in head.headers.iter() {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim().to_ascii_lowercase();
        if header.name.eq_ignore_ascii_case("transfer-encoding") && value.ends_with("chunked") {
            body = Body::CHUNKED;
        } else if header.name.eq_ignore_ascii_case("content-length") && body == Body::UntilClose {
            body = Body::Length(value.parse().map_err(|_| format!("content-length is {value:?}"))?);
        } else if header.name.eq_ignore_ascii_case("connection") && value == "close" {
            keeps_alive = false;
        }
    }
    // RFC 9112 §6.3: these have no body, whatever their head says.
    if matches!(status, 204 | 304) {
        body = Body::Length(0);
    }
    // Nobody needs to wait for the close to know what the answer was.
    keeps_alive &= body != Body::UntilClose;
    let mut text = Vec::new();
    let progress = body.feed(bytes, |data| {
        let room = EXCERPT_LEN_MAX.saturating_sub(text.len());
        text.extend_from_slice(&data[..data.len().min(room)]);
    });
    match progress {
        Progress::More if body != Body::UntilClose => return Ok(None),
        Progress::More | Progress::End => {}
        Progress::Malformed => return Err("the answer's body is not chunked as it says".into()),
    }
    let text = String::from_utf8_lossy(&text);
    let words = format!("{status} {}: {}", head.reason.unwrap_or_default(), text.lines().next().unwrap_or_default());
    Ok(Some(Reply { status, words: words.trim_end_matches([':', ' ']).to_owned(), keeps_alive }))
}

#[cfg(test)]
mod tests;
