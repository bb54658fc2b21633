//! Answers as field blocks: the words of [`Answer`] are the same for every version of HTTP.

use super::hpack::encode;
use crate::wire::http1::Answer;

/// Appends the field block of a complete answer.
pub fn write_answer(answer: &Answer, date: &[u8; 29], out: &mut Vec<u8>) {
    encode::status(answer.status(), out);
    for (name, value) in answer.fields() {
        write_field(name, value.as_bytes(), out);
    }
    if answer.is_counted() && answer.status() >= 200 && answer.status() != 204 {
        encode::field(b"content-length", itoa::Buffer::new().format(answer.body().len()).as_bytes(), out);
    }
    encode::field(b"date", date, out);
}

/// Appends the field block of a `200` that goes on until its stream ends.
pub fn write_stream_head<'f>(fields: impl Iterator<Item = (&'f str, &'f str)>, date: &[u8; 29], out: &mut Vec<u8>) {
    encode::status(200, out);
    fields.for_each(|(name, value)| write_field(name, value.as_bytes(), out));
    encode::field(b"date", date, out);
}

/// One field. Bytes that no field may hold become blanks: a value may come from a setting or from a peer.
fn write_field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        let tame: Vec<u8> =
            value.iter().map(|byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { *byte }).collect();
        return encode::field(name.as_bytes(), tame.trim_ascii(), out);
    }
    encode::field(name.as_bytes(), value.trim_ascii(), out);
}
