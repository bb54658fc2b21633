//! Header compression of HTTP/2 (HPACK, RFC 7541): a whole decoder and the smallest encoder.
//!
//! We advertise a table of zero bytes, so a peer's table lives from its first block to its acknowledgement of our
//! settings; a connection then keeps a few bytes of state. Our own blocks use no table at all.
//!
//! Never judges a field: which names are allowed, and in which order, is for whoever reads them.

mod decode;
pub mod encode;
mod huffman;
mod table;

use std::fmt;

pub use decode::Decoder;

/// What each field counts on top of its name and value, in tables (RFC 7541 §4.1) and in lists (RFC 9113 §6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// Decoded fields of one block: one buffer of bytes, reused between blocks.
#[derive(Default)]
pub struct Fields {
    bytes: Vec<u8>,
    /// Where each name and each value ends in `bytes`; a name begins where the value before it ended.
    ends: Vec<(usize, usize)>,
    list_len: usize,
    list_len_max: usize,
}

impl Fields {
    /// Forgets all fields; the memory stays.
    pub fn clear(&mut self) {
        self.begin(0);
    }

    /// Names and values, in the order they came.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone + '_ {
        (0..self.ends.len()).map(|index| {
            let (name_end, value_end) = self.ends[index];
            let start = index.checked_sub(1).map_or(0, |before| self.ends[before].1);
            (&self.bytes[start..name_end], &self.bytes[name_end..value_end])
        })
    }

    /// How many fields are here; those left out are not counted.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether no field is here.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Sum of name + value + 32 of all fields of the block, those left out included (RFC 9113 §6.5.2).
    pub fn list_len(&self) -> usize {
        self.list_len
    }

    /// Whether the list is longer than the limit: then fields are missing here.
    pub fn is_too_large(&self) -> bool {
        self.list_len > self.list_len_max
    }

    fn begin(&mut self, list_len_max: usize) {
        self.bytes.clear();
        self.ends.clear();
        self.list_len = 0;
        self.list_len_max = list_len_max;
    }

    /// Adds a field whose bytes are elsewhere. Past the limit it is counted and not copied.
    fn push(&mut self, name: &[u8], value: &[u8]) {
        self.list_len += name.len() + value.len() + FIELD_OVERHEAD;
        if !self.is_too_large() {
            self.bytes.extend_from_slice(name);
            let name_end = self.bytes.len();
            self.bytes.extend_from_slice(value);
            self.ends.push((name_end, self.bytes.len()));
        }
    }

    /// Where the next field begins.
    fn next_start(&self) -> usize {
        self.ends.last().map_or(0, |ends| ends.1)
    }

    /// Makes a field of what was appended to `bytes` since the last one. Past the limit it is taken away again.
    fn commit(&mut self, name_end: usize) {
        let start = self.next_start();
        self.list_len += self.bytes.len() - start + FIELD_OVERHEAD;
        if self.is_too_large() {
            self.bytes.truncate(start);
        } else {
            self.ends.push((name_end, self.bytes.len()));
        }
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |(name, value)| (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        out.debug_map().entries(self.iter().map(text)).finish()
    }
}

/// Why a block cannot be decoded. The table is then lost, and with it the connection: all of these are
/// COMPRESSION_ERROR (RFC 9113 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The block ends inside an integer or a string.
    Truncated,
    /// An integer of more than five bytes.
    Integer,
    /// Index zero, or one past both tables.
    Index,
    /// A size update after a field, or a third one (RFC 7541 §4.2).
    UpdateMisplaced,
    /// A size update above the limit (RFC 7541 §6.3).
    UpdateTooLarge,
    /// No size update although we lowered the limit under a table in use (RFC 9113 §4.3.1).
    UpdateMissing,
    /// The end-of-string symbol within a Huffman string (RFC 7541 §5.2).
    EndOfString,
    /// Huffman padding of more than seven bits, or of other bits than ones (RFC 7541 §5.2).
    Padding,
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Truncated => "header block is cut short",
            Self::Integer => "integer too long in a header block",
            Self::Index => "header index out of range",
            Self::UpdateMisplaced => "table size update in the wrong place",
            Self::UpdateTooLarge => "table size update above the limit",
            Self::UpdateMissing => "no table size update after the limit was lowered",
            Self::EndOfString => "end-of-string symbol in a Huffman string",
            Self::Padding => "bad padding of a Huffman string",
        })
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests;
