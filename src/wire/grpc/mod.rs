//! gRPC as a server speaks it, above HTTP/2: messages in and out, and the words of heads and trailers.
//!
//! What travels is a sequence of messages, each after five bytes: a flag (0, for we never compress) and the length in
//! network order. Nothing here knows HTTP/2's frames: messages begin and end wherever those do.
//!
//! Names below are those of "gRPC over HTTP2" in the gRPC project's own documents.

mod deframer;
mod payload;
pub mod proto;
pub mod reflection;
mod status;

use std::time::Duration;

use prost::Message;

pub use self::deframer::{Deframer, Fault};
pub use self::payload::{around_with_id, payload, with_id};
pub use self::status::{Code, Status};

/// Bytes before each message.
pub const PREFIX_LEN: usize = 5;

/// Appends a message with its prefix.
pub fn message(message: &impl Message, out: &mut Vec<u8>) {
    let len = message.encoded_len();
    out.reserve(PREFIX_LEN + len);
    out.extend_from_slice(&prefix(len));
    message.encode(out).expect("a vector grows as it is written");
}

/// The prefix of a message of `len` bytes that is not compressed.
fn prefix(len: usize) -> [u8; PREFIX_LEN] {
    let len = u32::try_from(len).expect("what becomes a message is bounded by settings, far below 4 GiB");
    let [a, b, c, d] = len.to_be_bytes();
    [0, a, b, c, d]
}

/// Whether a request with this content type is ours: `application/grpc`, alone, as `application/grpc+proto`, or with
/// parameters after a semicolon.
///
/// Not ours, and to be answered with 415, are other encodings of messages (`application/grpc+json`, `+thrift`) and the
/// other protocols that merely begin alike (`application/grpc-web`, `application/grpc-web-text`).
pub fn is_grpc(content_type: &[u8]) -> bool {
    let kind = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    [&b"application/grpc"[..], b"application/grpc+proto"].iter().any(|ours| kind.eq_ignore_ascii_case(ours))
}

/// Reads `grpc-timeout`: one to eight digits and a unit. `None` for anything else.
pub fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    match unit {
        b'H' => Some(Duration::from_secs(count * 3600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_follows_its_prefix() {
        let mut out = b"before".to_vec();
        message(&proto::plasma::EventType { r#type: "ab".to_owned() }, &mut out);
        message(&proto::health::HealthListRequest {}, &mut out);
        assert_eq!(out, b"before\0\0\0\0\x04\x0a\x02ab\0\0\0\0\0");
    }

    #[test]
    fn only_protobuf_over_plain_grpc_is_ours() {
        for ours in [
            "application/grpc",
            "application/grpc+proto",
            "Application/GRPC",
            "application/grpc;charset=utf-8",
            "application/grpc+proto ; x",
            "application/grpc;",
        ] {
            assert!(is_grpc(ours.as_bytes()), "{ours:?}");
        }
        for other in [
            "",
            "application/grpc-web",
            "application/grpc-web-text",
            "application/grpc-web+proto",
            "application/grpc+json",
            "application/grpc+",
            "application/grpcx",
            "application/json",
            "text/event-stream;application/grpc",
        ] {
            assert!(!is_grpc(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        for (value, millis) in [
            ("1H", 3_600_000),
            ("99999999H", 359_999_996_400_000),
            ("2M", 120_000),
            ("3S", 3_000),
            ("100m", 100),
            ("5000u", 5),
            ("00000007m", 7),
            ("0S", 0),
        ] {
            assert_eq!(parse_timeout(value.as_bytes()), Some(Duration::from_millis(millis)), "{value:?}");
        }
        assert_eq!(parse_timeout(b"12n"), Some(Duration::from_nanos(12)));
        for bad in ["", "S", "1", "1s", "1h", "123456789S", "-1S", "+1S", " 1S", "1 S", "1.5S", "1SS", "\u{661}S"] {
            assert_eq!(parse_timeout(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
