//! The encoder: static entries and literals, no table, no Huffman code.
//!
//! Our answers are few and the same for all, so they are encoded once; what a table would save is not worth a
//! connection's memory.

use super::table::STATIC;

/// Begins the first block of a connection: we keep no table. With its size at 0 already, no SETTINGS of the peer can
/// ask for a size update later (RFC 7541 §4.2).
pub const NO_TABLE: u8 = 0x20;

/// Appends `:status`; a status has three digits (RFC 9110 §15).
pub fn status(status: u16, out: &mut Vec<u8>) {
    debug_assert!((100..=999).contains(&status), "status {status}");
    field(b":status", itoa::Buffer::new().format(status).as_bytes(), out);
}

/// Appends a field. Its name is written in lower case (RFC 9113 §8.2.1).
pub fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    match find(name, value) {
        Found::Both(index) => integer(0x80, 7, index, out),
        Found::Name(index) => {
            integer(0x00, 4, index, out);
            string(value.iter().copied(), out);
        }
        Found::Nothing => {
            out.push(0x00);
            string(name.iter().map(u8::to_ascii_lowercase), out);
            string(value.iter().copied(), out);
        }
    }
}

/// What the static table has of a field.
enum Found {
    Both(usize),
    Name(usize),
    Nothing,
}

fn find(name: &[u8], value: &[u8]) -> Found {
    // Entries of one name stand together.
    let Some(first) = STATIC.iter().position(|known| known.0.as_bytes().eq_ignore_ascii_case(name)) else {
        return Found::Nothing;
    };
    let mut same = STATIC[first..].iter().take_while(|known| known.0 == STATIC[first].0);
    match same.position(|known| known.1.as_bytes() == value) {
        Some(offset) => Found::Both(first + offset + 1),
        None => Found::Name(first + 1),
    }
}

/// RFC 7541 §5.2.
fn string(bytes: impl ExactSizeIterator<Item = u8>, out: &mut Vec<u8>) {
    integer(0x00, 7, bytes.len(), out);
    out.extend(bytes);
}

/// RFC 7541 §5.1; `pattern` are the bits above the prefix.
pub(super) fn integer(pattern: u8, prefix_bits: u32, value: usize, out: &mut Vec<u8>) {
    let prefix_max = (1 << prefix_bits) - 1;
    if value < prefix_max {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | prefix_max as u8);
    let mut left = value - prefix_max;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}
