//! The decoder: a whole block in, fields out, the peer's table kept.
//!
//! Work per block is linear in its length: a byte of it costs at most one copy of the largest entry, and only as long
//! as the list is within its limit or the table is written to.

use super::table::{STATIC, Table};
use super::{FIELD_OVERHEAD, Fields, Malformed, huffman};

/// Table that a peer may use before any SETTINGS (RFC 9113 §6.5.2).
const INITIAL_LIMIT: u32 = 4096;

/// A lowered limit and a raised one may be signalled together (RFC 7541 §4.2).
const UPDATES_MAX: usize = 2;

/// Longest integer: 28 bits and the prefix. Nothing that fits a block counts further.
const INTEGER_LEN_MAX: u32 = 5;

/// The decoding state of one connection: a few bytes while the table is empty.
pub struct Decoder {
    /// Only there while it has entries.
    table: Option<Box<Table>>,
    /// What the peer says its table may grow to.
    size_max: u32,
    /// What we allow it to say.
    limit: u32,
    /// The lowest limit since the last block, if the next one must begin with a size update.
    update_due: Option<u32>,
}

const _: () = assert!(size_of::<Decoder>() <= 24);

impl Decoder {
    /// The state of a new connection, where a peer may use a table of 4,096 bytes (RFC 9113 §6.5.2).
    pub fn new() -> Self {
        Self { table: None, size_max: INITIAL_LIMIT, limit: INITIAL_LIMIT, update_due: None }
    }

    /// Our SETTINGS_HEADER_TABLE_SIZE was acknowledged.
    ///
    /// If that lowers the maximum of a table in use, the next block must say so (RFC 9113 §4.3.1). While the table is
    /// empty nothing is demanded, and until the peer says a size its table is what it was: some clients never look at
    /// the limit, and are understood nevertheless, at the price of a table of 4,096 bytes at most.
    pub fn set_limit(&mut self, bytes: u32) {
        self.limit = bytes;
        if bytes < self.size_max && self.table.is_some() {
            self.update_due = Some(self.update_due.map_or(bytes, |due| due.min(bytes)));
            self.resize(bytes);
        }
    }

    /// Decodes one whole block, HEADERS and CONTINUATION joined, into `fields`; what was there goes. After an error
    /// nothing is there.
    ///
    /// Fields that make the list longer than `list_len_max` are left out, see [`Fields::is_too_large`]; the table is
    /// kept up to date all the same, so later blocks can be decoded.
    pub fn decode(&mut self, block: &[u8], list_len_max: usize, fields: &mut Fields) -> Result<(), Malformed> {
        fields.begin(list_len_max);
        let outcome = self.decode_fields(&mut Input(block), fields);
        if outcome.is_err() {
            fields.clear();
        }
        outcome
    }

    fn decode_fields(&mut self, input: &mut Input<'_>, fields: &mut Fields) -> Result<(), Malformed> {
        self.take_updates(input)?;
        while let Some(first) = input.0.first() {
            match first {
                0x80.. => {
                    let (name, value) = self.entry(input.integer(7)?)?;
                    fields.push(name, value);
                }
                0x40..0x80 => self.insert_literal(input, fields)?,
                0x20..0x40 => return Err(Malformed::UpdateMisplaced),
                // "Never indexed" is a word to proxies (RFC 7541 §6.2.3); we pass nothing on.
                0x00..0x20 => self.literal(input, fields)?,
            }
        }
        Ok(())
    }

    /// Size updates, which only stand at the beginning.
    fn take_updates(&mut self, input: &mut Input<'_>) -> Result<(), Malformed> {
        for _ in 0..UPDATES_MAX {
            let Some(0x20..0x40) = input.0.first() else { break };
            let size = input.integer(5)?;
            // The smallest limit of several is signalled first (RFC 7541 §4.2).
            if size > self.update_due.take().unwrap_or(self.limit) {
                return Err(Malformed::UpdateTooLarge);
            }
            self.resize(size);
        }
        if self.update_due.is_some() { Err(Malformed::UpdateMissing) } else { Ok(()) }
    }

    fn literal(&mut self, input: &mut Input<'_>, fields: &mut Fields) -> Result<(), Malformed> {
        match input.integer(4)? {
            0 => input.string(&mut fields.bytes)?,
            // A few bytes may name an entry of thousands: once the list is too long, names are only counted.
            index if fields.is_too_large() => fields.list_len += self.entry(index)?.0.len(),
            index => fields.bytes.extend_from_slice(self.entry(index)?.0),
        }
        let name_end = fields.bytes.len();
        input.string(&mut fields.bytes)?;
        fields.commit(name_end);
        Ok(())
    }

    fn insert_literal(&mut self, input: &mut Input<'_>, fields: &mut Fields) -> Result<(), Malformed> {
        let start = fields.next_start();
        // A name is copied before anything is evicted: it may be the name of the entry that goes (RFC 7541 §4.4).
        match input.integer(6)? {
            0 => input.string(&mut fields.bytes)?,
            index => fields.bytes.extend_from_slice(self.entry(index)?.0),
        }
        let name_end = fields.bytes.len();
        input.string(&mut fields.bytes)?;
        self.insert(&fields.bytes[start..name_end], &fields.bytes[name_end..]);
        fields.commit(name_end);
        Ok(())
    }

    /// The entry of an index, from 1 (RFC 7541 §2.3.3).
    fn entry(&self, index: u32) -> Result<(&[u8], &[u8]), Malformed> {
        let index = index.checked_sub(1).ok_or(Malformed::Index)? as usize;
        match index.checked_sub(STATIC.len()) {
            None => Ok((STATIC[index].0.as_bytes(), STATIC[index].1.as_bytes())),
            Some(age) => self.table.as_ref().and_then(|table| table.entry(age)).ok_or(Malformed::Index),
        }
    }

    /// Adds an entry; one that is larger than the table empties it, which is no error (RFC 7541 §4.4).
    fn insert(&mut self, name: &[u8], value: &[u8]) {
        match (self.size_max as usize).checked_sub(name.len() + value.len() + FIELD_OVERHEAD) {
            Some(room) => {
                let table = self.table.get_or_insert_default();
                table.evict_to(room);
                table.insert(name, value);
            }
            None => self.table = None,
        }
    }

    fn resize(&mut self, size_max: u32) {
        self.size_max = size_max;
        if let Some(table) = &mut self.table {
            table.evict_to(size_max as usize);
            if table.is_empty() {
                self.table = None;
            }
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

/// What is left of a block.
struct Input<'b>(&'b [u8]);

impl<'b> Input<'b> {
    /// An integer in the last bits of one byte and in as many more as it takes (RFC 7541 §5.1).
    fn integer(&mut self, prefix_bits: u32) -> Result<u32, Malformed> {
        let prefix_max = (1 << prefix_bits) - 1;
        let mut value = u32::from(self.byte()?) & prefix_max;
        if value < prefix_max {
            return Ok(value);
        }
        for shift in (0..INTEGER_LEN_MAX - 1).map(|count| 7 * count) {
            let byte = self.byte()?;
            value += u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::Integer)
    }

    /// Appends a string to `out` (RFC 7541 §5.2).
    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let is_huffman = self.0.first().is_some_and(|first| *first >= 0x80);
        let len = self.integer(7)? as usize;
        let (string, rest) = self.0.split_at_checked(len).ok_or(Malformed::Truncated)?;
        self.0 = rest;
        if is_huffman {
            huffman::decode(string, out)
        } else {
            out.extend_from_slice(string);
            Ok(())
        }
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(*first)
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
