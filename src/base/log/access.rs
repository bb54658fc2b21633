//! The lines of the access log that tell of one HTTP request: `sse` when a stream or its refusal ends, `healthCheck`.

use std::net::SocketAddr;
use std::time::Duration;

use super::Fields;

/// What is told of one request. Strings are the client's own and may be anything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// Header `User-Agent`.
    pub user_agent: &'a [u8],
    /// Header `Referer`.
    pub referer: &'a [u8],
    /// Length of the body as announced: 0 without one, -1 for a chunked one.
    pub content_length: i64,
    /// Header `Host`.
    pub host: &'a [u8],
    /// Request method.
    pub method: &'a [u8],
    /// From [`remote_addr`].
    pub remote_addr: &'a str,
    /// Status that was answered.
    pub status: u16,
    /// Path without its query, where clients may put tokens.
    pub path: &'a [u8],
    /// Events that were sent.
    pub events: u64,
    /// From the request's first byte to its end.
    pub duration: Duration,
    /// Bytes that were sent, head included.
    pub bytes: u64,
    /// Why it ended, in a word or two.
    pub reason: &'a str,
}

impl Request<'_> {
    /// Adds the fields in the order that existing consumers of the log know; those from `path` on are newer.
    pub fn write(&self, fields: &mut Fields) {
        fields.bytes("user-agent", self.user_agent);
        fields.bytes("referer", self.referer);
        fields.int("content-length", self.content_length);
        fields.bytes("host", self.host);
        fields.bytes("method", self.method);
        fields.str("remote-addr", self.remote_addr);
        fields.time("time");
        fields.uint("status", u64::from(self.status));
        fields.bytes("path", self.path);
        fields.uint("events", self.events);
        fields.millis("duration", self.duration);
        fields.uint("bytes", self.bytes);
        fields.str("reason", self.reason);
    }
}

/// Who is at the other end: the first `X-Forwarded-For` header as it came, else the peer, without a port either way.
pub fn remote_addr(x_forwarded_for: Option<&[u8]>, peer: SocketAddr) -> String {
    match x_forwarded_for {
        Some(value) if !value.is_empty() => {
            let text = String::from_utf8_lossy(value);
            without_port(&text).to_owned()
        }
        // A dual-stack listener shows IPv4 peers as mapped IPv6 addresses; nobody looks for those in a log.
        _ => match SocketAddr::new(peer.ip().to_canonical(), 0) {
            SocketAddr::V4(peer) => peer.ip().to_string(),
            SocketAddr::V6(peer) => format!("[{}]", peer.ip()),
        },
    }
}

/// Strips `:` and four or five digits from the end, but never the last group of an IPv6 address without brackets.
fn without_port(text: &str) -> &str {
    let Some((before, port)) = text.rsplit_once(':') else { return text };
    let last = before.rsplit(',').next().unwrap_or(before).trim_start();
    let is_port = matches!(port.len(), 4 | 5) && port.bytes().all(|byte| byte.is_ascii_digit());
    if is_port && (last.ends_with(']') || !last.contains(':')) { before } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remote_address_is_the_forwarded_one_or_the_peer_without_a_port() {
        for (forwarded, want) in [
            ("203.0.113.9", "203.0.113.9"),
            ("203.0.113.9:4711", "203.0.113.9"),
            ("203.0.113.9:47110", "203.0.113.9"),
            ("203.0.113.9:471", "203.0.113.9:471"),
            ("203.0.113.9:471100", "203.0.113.9:471100"),
            ("203.0.113.9, 10.0.0.1:8080", "203.0.113.9, 10.0.0.1"),
            ("203.0.113.9:4711, 10.0.0.1:8080", "203.0.113.9:4711, 10.0.0.1"),
            ("[2001:db8::1]:54321", "[2001:db8::1]"),
            ("2001:db8::1234", "2001:db8::1234"),
            ("10.0.0.1, 2001:db8::1234", "10.0.0.1, 2001:db8::1234"),
            ("unknown", "unknown"),
            ("", "192.0.2.1"),
        ] {
            let peer = "192.0.2.1:50000".parse().unwrap();
            assert_eq!(remote_addr(Some(forwarded.as_bytes()), peer), want, "{forwarded:?}");
        }
    }

    #[test]
    fn a_peer_is_shown_as_it_is_usually_written() {
        for (peer, want) in [
            ("192.0.2.1:80", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:5000", "192.0.2.1"),
            ("[2001:db8::1234]:5000", "[2001:db8::1234]"),
        ] {
            assert_eq!(remote_addr(None, peer.parse().unwrap()), want);
        }
    }
}
