//! An event as a message: `proto.Payload` of `proto/plasma.proto`, written by hand so that no event costs an
//! allocation.
//!
//! Invariant: the fields stand in the order of their numbers and the id is the last, so the message of a client that
//! asked for ids is that of any other, a few bytes longer.

use prost::{encode_length_delimiter, length_delimiter_len};
use smallvec::SmallVec;

use super::{PREFIX_LEN, prefix};
use crate::base::id::EventId;

/// Keys of the fields: the number, then 2 for bytes whose length precedes them.
const EVENT_TYPE: u8 = (1 << 3) | 2;
const DATA: u8 = (2 << 3) | 2;
const ID: u8 = (3 << 3) | 2;
/// The only field of `EventType`.
const TYPE: u8 = (1 << 3) | 2;

/// Appends the message of an event. `eventType` is always there, even when the type is empty: old clients stop reading
/// where it is missing. Without data there is no field of it, which reads as the empty string.
pub fn payload(kind: &str, data: Option<&str>, out: &mut Vec<u8>) {
    let data = data.unwrap_or_default();
    let kind_len = string_len(kind);
    let len = 1 + length_delimiter_len(kind_len) + kind_len + string_len(data);
    out.reserve(PREFIX_LEN + len);
    out.extend_from_slice(&prefix(len));
    out.push(EVENT_TYPE);
    write_len(kind_len, out);
    write_string(TYPE, kind, out);
    write_string(DATA, data, out);
}

/// Appends `message`, which [`payload`] wrote, with the id of its event.
///
/// # Panics
/// When `message` is shorter than any message.
pub fn with_id(message: &[u8], id: EventId, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(id.get());
    let body = &message[PREFIX_LEN..];
    let len = body.len() + string_len(digits);
    out.reserve(PREFIX_LEN + len);
    out.extend_from_slice(&prefix(len));
    out.extend_from_slice(body);
    write_string(ID, digits, out);
}

/// What [`with_id`] puts before and behind the body of a message that [`payload`] wrote, whose length with its prefix
/// is `message_len`: the prefix, and the field of the id.
///
/// # Panics
/// When that is shorter than any message.
pub fn around_with_id(message_len: usize, id: EventId) -> ([u8; PREFIX_LEN], SmallVec<[u8; 24]>) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(id.get());
    let mut field = SmallVec::new();
    // At most twenty digits, whose length is one byte.
    field.extend([ID, digits.len() as u8]);
    field.extend_from_slice(digits.as_bytes());
    (prefix(message_len - PREFIX_LEN + field.len()), field)
}

/// Length of a string field. The empty string is the one that is not there.
fn string_len(text: &str) -> usize {
    if text.is_empty() { 0 } else { 1 + length_delimiter_len(text.len()) + text.len() }
}

fn write_string(key: u8, text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() {
        out.push(key);
        write_len(text.len(), out);
        out.extend_from_slice(text.as_bytes());
    }
}

fn write_len(len: usize, out: &mut Vec<u8>) {
    encode_length_delimiter(len, out).expect("a vector grows as it is written");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::super::proto::plasma::{EventType, Payload};
    use super::*;

    /// The message of a client from before there were ids.
    #[derive(Clone, PartialEq, Message)]
    struct OldPayload {
        #[prost(message, optional, tag = "1")]
        event_type: Option<EventType>,
        #[prost(string, tag = "2")]
        data: String,
    }

    fn framed(kind: &str, data: Option<&str>) -> Vec<u8> {
        let mut out = Vec::new();
        payload(kind, data, &mut out);
        out
    }

    fn with(message: &[u8], id: EventId) -> Vec<u8> {
        let mut out = Vec::new();
        with_id(message, id, &mut out);
        out
    }

    #[test]
    fn the_type_is_always_there_and_absent_data_is_not() {
        assert_eq!(framed("", None), b"\0\0\0\0\x02\x0a\x00");
        assert_eq!(framed("", Some("")), b"\0\0\0\0\x02\x0a\x00");
        assert_eq!(framed("a", None), b"\0\0\0\0\x05\x0a\x03\x0a\x01a");
        assert_eq!(framed("a", Some("null")), b"\0\0\0\0\x0b\x0a\x03\x0a\x01a\x12\x04null");
    }

    #[test]
    fn case_17_data_is_as_it_was_published() {
        let data = "{\"x\": \"<b>\" ,\r\n \"y\":1}";
        let payload = Payload::decode(&framed("a", Some(data))[PREFIX_LEN..]).unwrap();
        assert_eq!(payload.data, data);
    }

    #[test]
    fn an_id_is_appended_and_nothing_else_changes() {
        let plain = framed("a", Some("1"));
        assert_eq!(with(&plain, EventId::from_raw(42)), b"\0\0\0\0\x0c\x0a\x03\x0a\x01a\x12\x011\x1a\x0242");
        for raw in [0, 9, 10, 99, 100, u64::MAX] {
            let id = EventId::from_raw(raw);
            let (prefix, field) = around_with_id(plain.len(), id);
            assert_eq!(with(&plain, id), [&prefix[..], &plain[PREFIX_LEN..], &field].concat());
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_prost_reads_and_writes(
            kind in "(\\PC|:){0,200}",
            data in proptest::option::of("(\\PC|\n){0,300}"),
            raw in 1u64..,
        ) {
            let id = EventId::from_raw(raw);
            let plain = framed(&kind, data.as_deref());
            let event_type = Some(EventType { r#type: kind });
            let data = data.unwrap_or_default();
            let mut want = Payload { event_type, data, id: String::new() };
            prop_assert_eq!(&Payload::decode(&plain[PREFIX_LEN..]).unwrap(), &want);
            let mut out = Vec::new();
            super::super::message(&want, &mut out);
            // prost writes the fields in the same order, so even the bytes are the same.
            prop_assert_eq!(&out, &plain);
            let longer = with(&plain, id);
            let old = OldPayload::decode(&longer[PREFIX_LEN..]).unwrap();
            prop_assert_eq!((&old.event_type, &old.data), (&want.event_type, &want.data));
            want.id = raw.to_string();
            prop_assert_eq!(&Payload::decode(&longer[PREFIX_LEN..]).unwrap(), &want);
            out.clear();
            super::super::message(&want, &mut out);
            prop_assert_eq!(&out, &longer);
        }
    }
}
