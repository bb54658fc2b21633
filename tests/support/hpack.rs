//! HPACK (RFC 7541) for a peer under a test's control: writes any representation on demand, right or wrong, and reads
//! whatever a server may write.

use std::collections::{HashMap, VecDeque};

/// Name and value.
pub type Field = (String, String);

/// Size of the dynamic table until somebody says otherwise.
pub const TABLE_SIZE: usize = 4096;

/// What a field counts for in a table and in a list, beside its letters.
pub const FIELD_OVERHEAD: usize = 32;

/// First bits of each representation and how many bits of the same octet are left for a number.
pub const INDEXED: (u8, u32) = (0x80, 7);
pub const INDEXING: (u8, u32) = (0x40, 6);
pub const SIZE_UPDATE: (u8, u32) = (0x20, 5);
pub const NEVER_INDEXED: (u8, u32) = (0x10, 4);
pub const WITHOUT_INDEXING: (u8, u32) = (0x00, 4);

/// A number behind the first bits of a representation (§5.1).
pub fn integer((first, prefix): (u8, u32), value: usize) -> Vec<u8> {
    let max = (1 << prefix) - 1;
    if value < max {
        return vec![first | value as u8];
    }
    let (mut bytes, mut rest) = (vec![first | max as u8], value - max);
    while rest >= 128 {
        bytes.push(0x80 | (rest % 128) as u8);
        rest /= 128;
    }
    bytes.push(rest as u8);
    bytes
}

/// A string as it stands (§5.2).
pub fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [integer((0, 7), text.len()), text.to_vec()].concat()
}

/// A string in the Huffman code.
pub fn huffman_string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let code = huffman(text.as_ref());
    [integer((0x80, 7), code.len()), code].concat()
}

/// A field that both sides know by this index (§6.1).
pub fn indexed(index: usize) -> Vec<u8> {
    integer(INDEXED, index)
}

/// A literal field in one of the three representations (§6.2), with a new name.
pub fn literal(kind: (u8, u32), name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Vec<u8> {
    [integer(kind, 0), string(name), string(value)].concat()
}

/// A literal field with a name that both sides know by this index.
pub fn literal_named(kind: (u8, u32), name: usize, value: impl AsRef<[u8]>) -> Vec<u8> {
    [integer(kind, name), string(value)].concat()
}

/// The next blocks need a table of this size (§6.3).
pub fn size_update(size: usize) -> Vec<u8> {
    integer(SIZE_UPDATE, size)
}

/// Fields one after the other, each with a new name and without indexing: needs no table on either side.
pub fn plain(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| literal(WITHOUT_INDEXING, name, value)).collect()
}

/// What SETTINGS_MAX_HEADER_LIST_SIZE counts.
pub fn list_size(fields: &[(&str, &str)]) -> usize {
    fields.iter().map(|(name, value)| name.len() + value.len() + FIELD_OVERHEAD).sum()
}

/// Octets in the Huffman code, filled up with ones (§5.2).
pub fn huffman(text: &[u8]) -> Vec<u8> {
    let codes = codes();
    let bits = text.iter().flat_map(|octet| bits_of(codes[usize::from(*octet)]));
    let mut bits: Vec<bool> = bits.collect();
    bits.resize(bits.len().next_multiple_of(8), true);
    bits.chunks(8).map(|octet| octet.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit))).collect()
}

/// Octets out of the Huffman code, with every fault that §5.2 names.
pub fn unhuffman(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let symbols: HashMap<(u32, u8), usize> =
        codes().into_iter().enumerate().map(|(symbol, code)| (code, symbol)).collect();
    let (mut text, mut code, mut len) = (Vec::new(), 0, 0);
    for bit in bytes.iter().flat_map(|octet| bits_of((u32::from(*octet), 8))) {
        (code, len) = (code << 1 | u32::from(bit), len + 1);
        if let Some(symbol) = symbols.get(&(code, len)) {
            text.push(u8::try_from(*symbol).map_err(|_| "EOS in a string")?);
            (code, len) = (0, 0);
        }
    }
    if len > 7 || code + 1 != 1 << len {
        return Err(format!("{len} bits of padding, {code:#b}"));
    }
    Ok(text)
}

/// Reads blocks.
pub struct Decoder {
    entries: VecDeque<Field>,
    size_max: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size_max: TABLE_SIZE }
    }
}

impl Decoder {
    /// Every field of a block.
    pub fn decode(&mut self, block: &[u8]) -> Result<Vec<Field>, String> {
        let (mut rest, mut fields) = (block, Vec::new());
        while let Some(first) = rest.first().copied() {
            match first {
                0x80.. => {
                    let index = take_integer(&mut rest, 7)?;
                    fields.push(self.entry(index)?);
                }
                0x40.. => {
                    let field = self.take_literal(&mut rest, 6)?;
                    self.entries.push_front(field.clone());
                    self.evict();
                    fields.push(field);
                }
                0x20.. => {
                    let size = take_integer(&mut rest, 5)?;
                    if !fields.is_empty() || size > TABLE_SIZE {
                        return Err(format!("a size update to {size} after {} fields", fields.len()));
                    }
                    self.size_max = size;
                    self.evict();
                }
                _ => fields.push(self.take_literal(&mut rest, 4)?),
            }
        }
        Ok(fields)
    }

    fn take_literal(&self, rest: &mut &[u8], prefix: u32) -> Result<Field, String> {
        let name = match take_integer(rest, prefix)? {
            0 => take_string(rest)?,
            index => self.entry(index)?.0,
        };
        Ok((name, take_string(rest)?))
    }

    fn entry(&self, index: usize) -> Result<Field, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let found = match index.checked_sub(STATIC.len() + 1) {
            Some(dynamic) => self.entries.get(dynamic).cloned(),
            None => index.checked_sub(1).map(|index| own(&STATIC[index])),
        };
        found.ok_or_else(|| format!("nothing at index {index}"))
    }

    fn evict(&mut self) {
        let size = |(name, value): &Field| name.len() + value.len() + FIELD_OVERHEAD;
        while self.entries.iter().map(size).sum::<usize>() > self.size_max {
            self.entries.pop_back();
        }
    }
}

fn take_integer(rest: &mut &[u8], prefix: u32) -> Result<usize, String> {
    let max = (1 << prefix) - 1;
    let mut value = usize::from(take_octet(rest)?) & max;
    if value < max {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21] {
        let octet = usize::from(take_octet(rest)?);
        value += (octet & 0x7F) << shift;
        if octet < 0x80 {
            return Ok(value);
        }
    }
    Err("an integer of more than five octets".to_owned())
}

fn take_string(rest: &mut &[u8]) -> Result<String, String> {
    let coded = rest.first().is_some_and(|first| *first >= 0x80);
    let len = take_integer(rest, 7)?;
    let (text, after) = rest.split_at_checked(len).ok_or("a string beyond the end of its block")?;
    *rest = after;
    let text = if coded { unhuffman(text)? } else { text.to_vec() };
    String::from_utf8(text).map_err(|error| error.to_string())
}

fn take_octet(rest: &mut &[u8]) -> Result<u8, String> {
    let (octet, after) = rest.split_first().ok_or("a block that ends in a number")?;
    *rest = after;
    Ok(*octet)
}

fn bits_of((code, len): (u32, u8)) -> impl Iterator<Item = bool> {
    (0..len).rev().map(move |at| code >> at & 1 == 1)
}

/// The code of every symbol, EOS last, and its length. Codes are numbered by length, then by symbol.
fn codes() -> Vec<(u32, u8)> {
    let mut order: Vec<usize> = (0..CODE_LENS.len()).collect();
    order.sort_by_key(|symbol| CODE_LENS[*symbol]);
    let (mut codes, mut next, mut last) = (vec![(0, 0); CODE_LENS.len()], 0, 0);
    for symbol in order {
        let len = CODE_LENS[symbol];
        next <<= len - last;
        codes[symbol] = (next, len);
        (next, last) = (next + 1, len);
    }
    codes
}

/// How many bits each symbol takes (Appendix B).
#[rustfmt::skip]
const CODE_LENS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28,
    28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23,
    23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21,
    23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19,
    22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
    27, 27, 27, 26, 30,
];

/// Appendix A; the first has index 1.
#[rustfmt::skip]
pub const STATIC: [(&str, &str); 61] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
];
