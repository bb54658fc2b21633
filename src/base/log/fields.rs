//! Writes one log line as JSON, key by key, straight into its bytes.

use std::io::Write;
use std::time::Duration;

use super::{Level, stamp};

/// Longest string of one field in bytes: clients choose some of them, and a queue of lines must stay small. A longer
/// one ends in `…`.
const TEXT_LEN_MAX: usize = 1_024;

/// Bytes reserved for a line: most fit, so a line is one allocation.
const LINE_LEN_USUAL: usize = 384;

/// The fields of one line, in the order in which they are given.
pub struct Fields {
    line: Vec<u8>,
    now: u64,
}

impl Fields {
    /// A whole line: level, time and message, then what `fill` adds, then the newline.
    pub(super) fn line(level: Level, msg: &str, now: u64, fill: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut fields = Self { line: Vec::with_capacity(LINE_LEN_USUAL), now };
        fields.line.push(b'{');
        fields.str("level", level.name());
        fields.key("ts");
        // Shortest text that reads back as the same double, never with an exponent: writing to a Vec cannot fail.
        let _ = write!(fields.line, "{}", now as f64 / 1e9);
        fields.str("msg", msg);
        fill(&mut fields);
        fields.line.extend_from_slice(b"}\n");
        fields.line
    }

    /// A string.
    pub fn str(&mut self, key: &str, value: &str) {
        self.bytes(key, value.as_bytes());
    }

    /// A string from outside: what is no UTF-8 becomes U+FFFD.
    pub fn bytes(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.string(value);
    }

    /// A number that may be negative.
    pub fn int(&mut self, key: &str, value: i64) {
        self.key(key);
        self.line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A number.
    pub fn uint(&mut self, key: &str, value: u64) {
        self.key(key);
        self.line.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// A truth.
    pub fn bool(&mut self, key: &str, value: bool) {
        self.key(key);
        self.line.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Whole milliseconds.
    pub fn millis(&mut self, key: &str, value: Duration) {
        self.uint(key, u64::try_from(value.as_millis()).unwrap_or(u64::MAX));
    }

    /// An array of strings, `[]` when there are none.
    pub fn strs<'a>(&mut self, key: &str, values: impl IntoIterator<Item = &'a [u8]>) {
        self.key(key);
        self.line.push(b'[');
        for (at, value) in values.into_iter().enumerate() {
            if at > 0 {
                self.line.push(b',');
            }
            self.string(value);
        }
        self.line.push(b']');
    }

    /// An object of its own.
    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        self.line.push(b'{');
        fill(self);
        self.line.push(b'}');
    }

    /// The time of the line itself, in UTC with nanoseconds.
    pub fn time(&mut self, key: &str) {
        let now = stamp::rfc3339_nano(self.now);
        self.str(key, &now);
    }

    /// The time of the line itself, in UTC with whole seconds.
    pub fn time_seconds(&mut self, key: &str) {
        let now = stamp::rfc3339(self.now);
        self.str(key, &now);
    }

    fn key(&mut self, key: &str) {
        if self.line.last() != Some(&b'{') {
            self.line.push(b',');
        }
        self.string(key.as_bytes());
        self.line.push(b':');
    }

    fn string(&mut self, value: &[u8]) {
        self.line.push(b'"');
        for chunk in value[..value.len().min(TEXT_LEN_MAX)].utf8_chunks() {
            self.escaped(chunk.valid());
            // A character that the limit cut in two is left out; the ellipsis says enough.
            if !chunk.invalid().is_empty() && (value.len() <= TEXT_LEN_MAX || !at_end(value, chunk.invalid())) {
                self.line.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        if value.len() > TEXT_LEN_MAX {
            self.line.extend_from_slice("…".as_bytes());
        }
        self.line.push(b'"');
    }

    fn escaped(&mut self, text: &str) {
        for &byte in text.as_bytes() {
            match byte {
                b'"' => self.line.extend_from_slice(b"\\\""),
                b'\\' => self.line.extend_from_slice(b"\\\\"),
                b'\n' => self.line.extend_from_slice(b"\\n"),
                b'\r' => self.line.extend_from_slice(b"\\r"),
                b'\t' => self.line.extend_from_slice(b"\\t"),
                // 0x7f is legal in JSON but moves a terminal's cursor.
                0..0x20 | 0x7f => {
                    let _ = write!(self.line, "\\u{byte:04x}");
                }
                _ => self.line.push(byte),
            }
        }
    }
}

/// Whether `piece`, taken from the first [`TEXT_LEN_MAX`] bytes of `value`, is the last of them.
fn at_end(value: &[u8], piece: &[u8]) -> bool {
    value[..TEXT_LEN_MAX].as_ptr_range().end == piece.as_ptr_range().end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(fill: impl FnOnce(&mut Fields)) -> String {
        String::from_utf8(Fields::line(Level::Info, "m", 1_500_000_000, fill)).unwrap()
    }

    fn value(fill: impl FnOnce(&mut Fields)) -> serde_json::Value {
        let mut value: serde_json::Value = serde_json::from_str(&line(fill)).unwrap();
        value["v"].take()
    }

    #[test]
    fn a_line_is_level_ts_msg_and_the_fields_in_their_order() {
        let got = line(|fields| {
            fields.str("b", "x");
            fields.int("a", -7);
            fields.object("o", |inner| {
                inner.bool("t", true);
                inner.strs("n", []);
            });
            fields.strs("s", [b"1".as_slice(), b"2"]);
            fields.millis("ms", Duration::from_micros(1_999));
        });
        let want = r#"{"level":"info","ts":1.5,"msg":"m","b":"x","a":-7,"o":{"t":true,"n":[]},"s":["1","2"],"ms":1}"#;
        assert_eq!(got, format!("{want}\n"));
    }

    #[test]
    fn no_byte_from_outside_breaks_a_line() {
        let all: Vec<u8> = (0..=255).collect();
        let got = line(|fields| fields.bytes("v", &all));
        assert_eq!(got.bytes().filter(|&byte| byte < 0x20 || byte == 0x7f).count(), 1, "only the newline at the end");
        let mut want: String = (0..128u8).map(char::from).collect();
        want.extend(std::iter::repeat_n('\u{fffd}', 128));
        assert_eq!(value(|fields| fields.bytes("v", &all)), want);
    }

    #[test]
    fn long_strings_are_cut_between_characters() {
        assert_eq!(value(|fields| fields.str("v", &"a".repeat(1_024))), "a".repeat(1_024));
        assert_eq!(value(|fields| fields.str("v", &"a".repeat(1_025))), format!("{}…", "a".repeat(1_024)));
        assert_eq!(value(|fields| fields.str("v", &"é".repeat(513))), format!("{}…", "é".repeat(512)));
        let odd = format!("a{}", "é".repeat(600));
        assert_eq!(value(|fields| fields.str("v", &odd)), format!("a{}…", "é".repeat(511)));
    }
}
