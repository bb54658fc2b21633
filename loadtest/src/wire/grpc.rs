//! Plasma's gRPC streams as bytes: length-prefixed messages, the two kinds of message, and how a call ends.
//!
//! The protobuf is written out by hand, on purpose: the server's messages come from a generator.
//!
//! Keeps bytes only while a message is incomplete.

use memchr::memchr;

/// Longest message: what is longer is taken for a stream that lost its place.
const MESSAGE_LEN_MAX: usize = 64 << 20;

/// Before each message: whether it is compressed, and its length.
pub const PREFIX_LEN: usize = 5;

/// What the status codes of gRPC are called, from 0 on.
const STATUS_NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// One event. What was not sent is empty, as protobuf has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload<'b> {
    /// The type of the event.
    pub kind: &'b [u8],
    /// Its data.
    pub data: &'b [u8],
    /// Its id.
    pub id: &'b [u8],
}

/// The messages of one answer, as far as they have come.
#[derive(Debug, Default)]
pub struct Payloads {
    /// The beginning of a message.
    kept: Vec<u8>,
}

impl Payloads {
    /// Takes received bytes.
    ///
    /// # Errors
    /// Why these are not messages with payloads.
    pub fn feed(&mut self, bytes: &[u8], on_payload: impl FnMut(&Payload<'_>)) -> Result<(), String> {
        if self.kept.is_empty() {
            let taken = take(bytes, on_payload)?;
            self.kept.extend_from_slice(&bytes[taken..]);
        } else {
            self.kept.extend_from_slice(bytes);
            let taken = take(&self.kept, on_payload)?;
            self.kept.drain(..taken);
        }
        if self.kept.is_empty() {
            self.kept = Vec::new();
        }
        Ok(())
    }
}

/// A `Request` for one topic, as a message on the wire.
pub fn subscription(topic: &str) -> Vec<u8> {
    let mut kind = Vec::new();
    push_field(1, topic.as_bytes(), &mut kind);
    let mut request = Vec::new();
    push_field(1, &kind, &mut request);
    framed(&request)
}

/// A message with its prefix: not compressed, and how long.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(PREFIX_LEN + message.len());
    framed.push(0);
    framed.extend_from_slice(&(message.len() as u32).to_be_bytes());
    framed.extend_from_slice(message);
    framed
}

/// How a call ended, in words: its `grpc-status` and its `grpc-message`.
pub fn outcome(status: Option<&[u8]>, message: Option<&[u8]>) -> String {
    let Some(status) = status else { return "the call has ended without a grpc-status".to_owned() };
    let status = String::from_utf8_lossy(status);
    let name = status.parse().ok().and_then(|code: usize| STATUS_NAMES.get(code).copied());
    let mut words = format!("grpc-status {status}");
    for word in [name.unwrap_or_default(), &percent_decoded(message.unwrap_or_default())] {
        if !word.is_empty() {
            words.push(' ');
            words.push_str(word);
        }
    }
    words
}

/// Calls `on_payload` for each message that is whole, and returns how many bytes were taken.
fn take(bytes: &[u8], mut on_payload: impl FnMut(&Payload<'_>)) -> Result<usize, String> {
    let mut taken = 0;
    while let Some((prefix, rest)) = bytes[taken..].split_first_chunk::<PREFIX_LEN>() {
        let [compressed, a, b, c, d] = *prefix;
        if compressed != 0 {
            return Err("a message is compressed, which nobody asked for".to_owned());
        }
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if len > MESSAGE_LEN_MAX {
            return Err(format!("a message is longer than {MESSAGE_LEN_MAX} bytes"));
        }
        let Some(message) = rest.get(..len) else { break };
        on_payload(&payload(message).ok_or("a message is not a Payload")?);
        taken += PREFIX_LEN + len;
    }
    Ok(taken)
}

fn payload(message: &[u8]) -> Option<Payload<'_>> {
    let mut payload = Payload::default();
    each_field(message, |number, value| {
        match number {
            1 => {
                // A message that comes twice is merged, so an empty one changes nothing.
                return each_field(value, |number, value| {
                    if number == 1 {
                        payload.kind = value;
                    }
                    Some(())
                });
            }
            2 => payload.data = value,
            3 => payload.id = value,
            _ => {}
        }
        Some(())
    })?;
    Some(payload)
}

/// Calls `on_field` for each field that has a length, and skips numbers. `None` if this is no message.
fn each_field<'b>(mut bytes: &'b [u8], mut on_field: impl FnMut(u64, &'b [u8]) -> Option<()>) -> Option<()> {
    while !bytes.is_empty() {
        let key = take_varint(&mut bytes)?;
        match key & 7 {
            0 => {
                take_varint(&mut bytes)?;
            }
            1 => bytes = bytes.get(8..)?,
            2 => {
                let len = usize::try_from(take_varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(len)?;
                on_field(key >> 3, value)?;
                bytes = rest;
            }
            5 => bytes = bytes.get(4..)?,
            // Groups are long gone, and the rest was never given out.
            _ => return None,
        }
    }
    Some(())
}

/// Seven bits per byte, the lowest first, ten bytes at most.
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Adds a field whose value has a length: of wire type 2.
pub fn push_field(number: u8, value: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    let mut len = value.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(value);
}

/// What `grpc-message` says, whose odd bytes are written `%XX`. What is not written so stands for itself.
pub fn percent_decoded(mut text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    while let Some(at) = memchr(b'%', text) {
        bytes.extend_from_slice(&text[..at]);
        let digits = text.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                text = &text[at + 3..];
            }
            None => {
                bytes.push(b'%');
                text = &text[at + 1..];
            }
        }
    }
    bytes.extend_from_slice(text);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Words = (String, String, String);

    fn message(fields: &[u8]) -> Vec<u8> {
        [&[0][..], &(fields.len() as u32).to_be_bytes(), fields].concat()
    }

    fn read(pieces: &[&[u8]]) -> Result<Vec<Words>, String> {
        let (mut payloads, mut got) = (Payloads::default(), Vec::new());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for piece in pieces {
            payloads.feed(piece, |payload| got.push((text(payload.kind), text(payload.data), text(payload.id))))?;
        }
        Ok(got)
    }

    fn words(kind: &str, data: &str, id: &str) -> Words {
        (kind.to_owned(), data.to_owned(), id.to_owned())
    }

    #[test]
    fn payloads_are_heard_wherever_they_are_cut() {
        let long = "x".repeat(300);
        let mut fields = Vec::new();
        push_field(2, long.as_bytes(), &mut fields);
        let stream = [
            message(b"\x0a\x06\x0a\x04load\x12\x05{\"a\"}\x1a\x027\x37"),
            message(b""),
            message(b"\x0a\x00\x12\x01a"),
            message(&fields),
        ]
        .concat();
        let want = [words("load", "{\"a\"}", "77"), words("", "", ""), words("", "a", ""), words("", &long, "")];
        for cut in 0..=stream.len() {
            let (before, after) = stream.split_at(cut);
            assert_eq!(read(&[before, after]).as_deref(), Ok(&want[..]), "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(read(&bytes).as_deref(), Ok(&want[..]));
    }

    #[test]
    fn a_quiet_stream_keeps_nothing() {
        let message = message(b"\x12\x01a");
        let mut payloads = Payloads::default();
        payloads.feed(&message[..3], |_| {}).expect("the beginning of a message");
        payloads.feed(&message[3..], |_| {}).expect("the end of it");
        assert_eq!(payloads.kept.capacity(), 0);
    }

    #[test]
    fn fields_that_nobody_knows_are_skipped() {
        let fields = b"\x20\x96\x01\x29abcdefgh\x35abcd\x3a\x03abc\xfa\x07\x01a\x12\x02ok\x0a\x05\x10\x01\x0a\x01k";
        assert_eq!(read(&[&message(fields)]), Ok(vec![words("k", "ok", "")]));
    }

    #[test]
    fn what_is_no_payload_is_an_error() {
        for fields in [
            &b"\x12"[..],
            b"\x12\x05abc",
            b"\x08\x80",
            b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
            b"\x13\x14",
            b"\x16",
            b"\x29abc",
            b"\x35abc",
            b"\x0a\x02\x0a\x09",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert!(read(&[&message(fields)]).is_err(), "{fields:x?}");
        }
        assert!(read(&[b"\x01\x00\x00\x00\x00"]).expect_err("compressed").contains("compressed"));
        assert!(read(&[b"\x00\xff\xff\xff\xff"]).expect_err("too long").contains("longer"));
    }

    #[test]
    fn a_subscription_is_a_request_with_one_event_type() {
        assert_eq!(subscription("load-0"), b"\x00\x00\x00\x00\x0a\x0a\x08\x0a\x06load-0");
        let topic = "t".repeat(200);
        let long = subscription(&topic);
        assert_eq!(long[..5], [0, 0, 0, 0, 206]);
        assert_eq!(long[5..11], [0x0a, 0xcb, 0x01, 0x0a, 0xc8, 0x01]);
        assert_eq!(long[11..], *topic.as_bytes());
    }

    #[test]
    fn the_end_of_a_call_is_told_in_words() {
        let said = |status: &str, message: &str| outcome(Some(status.as_bytes()), Some(message.as_bytes()));
        assert_eq!(said("14", "going%20away: 100%25"), "grpc-status 14 UNAVAILABLE going away: 100%");
        assert_eq!(said("0", ""), "grpc-status 0 OK");
        assert_eq!(said("99", "%zz%4"), "grpc-status 99 %zz%4");
        assert_eq!(said("x", "%c3%a9"), "grpc-status x \u{e9}");
        assert_eq!(outcome(None, None), "the call has ended without a grpc-status");
    }
}
