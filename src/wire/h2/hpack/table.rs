//! The two tables that indices point into: the static one of RFC 7541, Appendix A, and a peer's own.
//!
//! Invariant: the entries of a [`Table`] lie one after another at the end of its bytes, oldest first; what lies before
//! them was evicted and, after every eviction, is not longer than they are.

use std::collections::VecDeque;

use super::FIELD_OVERHEAD;

/// Indices 1 to 61, in this order.
pub const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// A dynamic table (RFC 7541 §2.3.2). Knows no limit of its own: whoever inserts makes room first.
#[derive(Default)]
pub struct Table {
    bytes: Vec<u8>,
    /// How many bytes of evicted entries were dropped from the front of `bytes`: positions count from the first byte
    /// ever inserted, so that none has to change when bytes move.
    dropped_len: usize,
    /// Oldest first.
    entries: VecDeque<Entry>,
}

struct Entry {
    start: usize,
    name_len: usize,
    value_len: usize,
}

impl Table {
    /// Name and value of an entry, the newest being 0.
    pub fn entry(&self, age: usize) -> Option<(&[u8], &[u8])> {
        let entry = &self.entries[self.entries.len().checked_sub(age + 1)?];
        let bytes = &self.bytes[entry.start - self.dropped_len..][..entry.name_len + entry.value_len];
        Some(bytes.split_at(entry.name_len))
    }

    /// Whether no entry is left.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all entries with their overhead (RFC 7541 §4.1).
    pub fn size(&self) -> usize {
        self.bytes.len() - self.dead_len() + FIELD_OVERHEAD * self.entries.len()
    }

    /// Adds the newest entry.
    pub fn insert(&mut self, name: &[u8], value: &[u8]) {
        let start = self.dropped_len + self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        self.entries.push_back(Entry { start, name_len: name.len(), value_len: value.len() });
    }

    /// Evicts the oldest entries until the others have at most `size` bytes.
    pub fn evict_to(&mut self, size: usize) {
        while self.size() > size {
            self.entries.pop_front();
        }
        // Moving what lives costs no more than what died since the last move had cost to insert.
        let dead_len = self.dead_len();
        if dead_len > self.bytes.len() - dead_len {
            self.bytes.drain(..dead_len);
            self.dropped_len += dead_len;
        }
    }

    /// How many bytes at the front belong to evicted entries.
    fn dead_len(&self) -> usize {
        self.entries.front().map_or(self.bytes.len(), |oldest| oldest.start - self.dropped_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evicted_bytes_do_not_pile_up() {
        let mut table = Table::default();
        for count in 0..10_000 {
            let value = vec![count as u8; count % 300];
            table.evict_to(4096 - 4 - value.len() - FIELD_OVERHEAD);
            table.insert(b"name", &value);
            assert_eq!(table.entry(0), Some((&b"name"[..], &value[..])));
            assert!(table.size() <= 4096 && table.bytes.len() <= 2 * 4096);
        }
        assert!(table.bytes.capacity() <= 4 * 4096, "{}", table.bytes.capacity());
        assert_eq!(table.entry(table.entries.len()), None);
    }
}
