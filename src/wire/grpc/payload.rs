//! An event as a message: `proto.Payload` of `proto/plasma.proto`, written by hand so that no event costs an
//! allocation.
//!
//! Invariant: the fields stand in the order of their numbers and the id is the last, so the message of a client that
//! asked for ids is that of any other, a few bytes longer.

use prost::{encode_length_delimiter, length_delimiter_len};

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

/// By how many bytes [`with_id`] makes a message longer.
pub fn id_field_len(id: EventId) -> usize {
    let digits = id.get().checked_ilog10().map_or(1, |log| log as usize + 1);
    // At most twenty digits, whose length is one byte.
    2 + digits
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
