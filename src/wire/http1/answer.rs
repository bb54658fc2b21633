//! Complete answers: everything but event streams.

use std::borrow::Cow;

use super::{Head, Method, Refusal};

/// What a client that expects `100-continue` is told before it sends its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// An answer in words: status, fields and body. How it is delimited is decided when it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: u16,
    fields: Vec<(&'static str, Cow<'static, str>)>,
    body: Cow<'static, [u8]>,
    /// Whether there is a `Content-Length`.
    is_counted: bool,
}

/// What the request has to say about the form of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// Minor version of HTTP/1 that the client speaks.
    pub version_minor: u8,
    /// Whether the connection goes on after the answer.
    pub keep_alive: bool,
    /// Whether the request was a `HEAD`: length and type of the body, but no body.
    pub head_only: bool,
}

impl Manner {
    /// The manner that the client asked for.
    pub fn of(head: &Head<'_>) -> Self {
        Self {
            version_minor: head.version_minor(),
            keep_alive: head.keep_alive(),
            head_only: head.method() == Method::Head,
        }
    }

    /// The manner for a request that could not be read: whatever follows it cannot be trusted.
    pub const LAST: Self = Self { version_minor: 1, keep_alive: false, head_only: false };
}

impl Answer {
    /// An answer without fields and body.
    pub fn new(status: u16) -> Self {
        Self { status, fields: Vec::new(), body: Cow::Borrowed(b""), is_counted: true }
    }

    /// A plain text for people, which no browser may take for anything else.
    pub fn text(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        let body = match body.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        let mut answer = Self::new(status).with_body("text/plain; charset=utf-8", body);
        answer.fields.push(("X-Content-Type-Options", "nosniff".into()));
        answer
    }

    /// The same answer with one field more. Never `Content-Length`, `Connection` or `Date`: those are written anyway.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The same answer with that body.
    #[must_use]
    pub fn with_body(mut self, content_type: &'static str, body: impl Into<Cow<'static, [u8]>>) -> Self {
        self.fields.push(("Content-Type", content_type.into()));
        self.body = body.into();
        self
    }

    /// The same answer without a length: to a `HEAD` request for a stream, whose length nobody knows.
    #[must_use]
    pub fn uncounted(mut self) -> Self {
        self.is_counted = false;
        self
    }

    /// Status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether its length is told.
    pub fn is_counted(&self) -> bool {
        self.is_counted
    }

    /// Names and values, in the order in which they are written.
    pub fn fields(&self) -> &[(&'static str, Cow<'static, str>)] {
        &self.fields
    }

    /// Value of the first field of that name, in any case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_ref())
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The answer as HTTP/1 bytes. `date` is an [`http_date`](super::http_date).
    pub fn write(&self, manner: Manner, date: &[u8; 29], out: &mut Vec<u8>) {
        out.reserve(256 + self.body.len());
        write_status_line(manner.version_minor, self.status, out);
        for (name, value) in &self.fields {
            write_field(name, value.as_bytes(), out);
        }
        // RFC 9110 §8.6: neither a 1xx nor a 204 has a length.
        if self.is_counted && self.status >= 200 && self.status != 204 {
            write_field("Content-Length", itoa::Buffer::new().format(self.body.len()).as_bytes(), out);
        }
        write_field("Date", date, out);
        match (manner.keep_alive, manner.version_minor) {
            (false, _) => write_field("Connection", b"close", out),
            (true, 0) => write_field("Connection", b"keep-alive", out),
            (true, _) => {}
        }
        out.extend_from_slice(b"\r\n");
        if !manner.head_only && self.status != 204 {
            out.extend_from_slice(&self.body);
        }
    }

    /// The answer as HTTP/1 bytes of their own.
    pub fn to_bytes(&self, manner: Manner, date: &[u8; 29]) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(manner, date, &mut out);
        out
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::text(refusal.status, format!("{}\n", refusal.reason))
    }
}

/// Appends the head of a `200` whose body ends when the connection does.
pub fn write_stream_head(
    version_minor: u8,
    fields: &[(&'static str, Cow<'_, str>)],
    date: &[u8; 29],
    out: &mut Vec<u8>,
) {
    write_status_line(version_minor, 200, out);
    for (name, value) in fields {
        write_field(name, value.as_bytes(), out);
    }
    write_field("Date", date, out);
    write_field("Connection", b"close", out);
    out.extend_from_slice(b"\r\n");
}

/// `HTTP/1.1 200 OK`, with the client's own minor version: HTTP/1.0 tools read on until close when they see it.
fn write_status_line(version_minor: u8, status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(if version_minor == 0 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// One field line. Bytes that would end the line become blanks: a value may come from a setting or from a peer.
fn write_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend(value.iter().map(|byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { *byte }));
    out.extend_from_slice(b"\r\n");
}

/// The standard phrase for a status; empty for one that we never send.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";
    const PLAIN: Manner = Manner { version_minor: 1, keep_alive: true, head_only: false };

    fn written(answer: &Answer, manner: Manner) -> String {
        String::from_utf8(answer.to_bytes(manner, DATE)).unwrap()
    }

    #[test]
    fn an_error_text_is_plain_counted_and_not_sniffed() {
        let answer = Answer::text(404, "404 page not found\n");
        assert_eq!(
            written(&answer, PLAIN),
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\
             Content-Length: 19\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n404 page not found\n"
        );
    }

    #[test]
    fn a_head_request_gets_the_length_and_no_body() {
        let answer = written(&Answer::text(404, "gone\n"), Manner { head_only: true, ..PLAIN });
        assert!(answer.contains("Content-Length: 5\r\n") && answer.ends_with("\r\n\r\n"));
    }

    #[test]
    fn no_content_has_no_length() {
        let answer = written(&Answer::new(204).with("Allow", "GET"), PLAIN);
        assert_eq!(answer, "HTTP/1.1 204 No Content\r\nAllow: GET\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
    }

    #[test]
    fn the_connection_field_follows_the_client() {
        let answer = Answer::new(200);
        assert!(!written(&answer, PLAIN).contains("Connection"));
        assert!(written(&answer, Manner::LAST).contains("\r\nConnection: close\r\n"));
        let old = written(&answer, Manner { version_minor: 0, ..PLAIN });
        assert!(old.starts_with("HTTP/1.0 200 OK\r\n") && old.contains("\r\nConnection: keep-alive\r\n"));
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        let answer = written(&Answer::new(301).with("Location", "/a\r\nSet-Cookie: b\0"), PLAIN);
        assert!(answer.contains("\r\nLocation: /a  Set-Cookie: b \r\n"));
    }

    #[test]
    fn a_refusal_becomes_its_reason() {
        let answer = Answer::from(Refusal { status: 413, reason: "the body is too large" });
        assert_eq!((answer.status(), answer.body()), (413, &b"the body is too large\n"[..]));
        assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
    }
}
