//! JSON as the original server renders it, safe to embed in HTML: `<`, `>`, `&`, U+2028 and U+2029 are always escaped.
//!
//! Never parses: [`compact`] trusts that its input is one valid JSON text. Both writers scan for the next byte that is
//! not plain and copy what lies before it in one go.

/// Appends `text` as a JSON string.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = next_of(Class::Escaped, rest) {
        out.extend_from_slice(&rest[..at]);
        let used = match short_escape(rest[at]) {
            Some(letter) => {
                out.extend_from_slice(&[b'\\', letter]);
                1
            }
            None => write_escaped(&rest[at..], out),
        };
        rest = &rest[at + used..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends the JSON text `raw` without white space between its tokens. What its strings hold keeps its spelling, but
/// for the characters that must not appear in HTML.
///
/// PERF: a text that is compact and safe already, as most are, is copied in one go.
pub fn compact(raw: &str, out: &mut Vec<u8>) {
    out.reserve(raw.len());
    let text = raw.as_bytes();
    let (mut at, mut copied, mut class) = (0, 0, Class::Between);
    while let Some(near) = next_of(class, &text[at..]) {
        at += near;
        match (class, text[at]) {
            (Class::Between, b'"') => {
                class = Class::Within;
                at += 1;
            }
            (Class::Between, _) => {
                out.extend_from_slice(&text[copied..at]);
                at += 1;
                copied = at;
            }
            (_, b'"') => {
                class = Class::Between;
                at += 1;
            }
            // The character after a backslash cannot end the string.
            (_, b'\\') => at = text.len().min(at + 2),
            (_, _) => {
                out.extend_from_slice(&text[copied..at]);
                at += write_escaped(&text[at..], out);
                copied = at;
            }
        }
    }
    out.extend_from_slice(&text[copied..]);
}

/// Escapes the character at the start of `text` by number if it has to be, else copies its first byte. Returns the
/// bytes it stood in.
fn write_escaped(text: &[u8], out: &mut Vec<u8>) -> usize {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    match text {
        [0xE2, 0x80, last @ (0xA8 | 0xA9), ..] => {
            out.extend_from_slice(if *last == 0xA8 { b"\\u2028" } else { b"\\u2029" });
            3
        }
        [byte @ (..0x20 | b'<' | b'>' | b'&'), ..] => {
            let digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digits[0], digits[1]]);
            1
        }
        _ => {
            out.extend_from_slice(&text[..1]);
            1
        }
    }
}

fn short_escape(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' => Some(byte),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        b'\t' => Some(b't'),
        _ => None,
    }
}

/// What a scan stops at. The values are bits of [`CLASSES`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Must be escaped in a string; 0xE2 may begin U+2028.
    Escaped = 1,
    /// Ends a plain run within a string of a JSON text.
    Within = 2,
    /// Ends a plain run between strings.
    Between = 4,
}

const CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if byte < 0x20 || matches!(byte as u8, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xE2) {
            classes[byte] |= Class::Escaped as u8;
        }
        if matches!(byte as u8, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xE2) {
            classes[byte] |= Class::Within as u8;
        }
        if matches!(byte as u8, b'"' | b' ' | b'\t' | b'\n' | b'\r') {
            classes[byte] |= Class::Between as u8;
        }
        byte += 1;
    }
    classes
};

/// Where the first byte of that class is.
///
/// PERF: eight look-ups and one branch a step take half the time of a branch per byte on plain text; the bytes before
/// that serve texts of many short tokens.
#[inline]
fn next_of(class: Class, text: &[u8]) -> Option<usize> {
    let stops = |byte: &u8| CLASSES[usize::from(*byte)] & class as u8 != 0;
    let mut at = text.len().min(8);
    if let Some(near) = text[..at].iter().position(stops) {
        return Some(near);
    }
    for eight in text[at..].chunks_exact(8) {
        let any = eight.iter().fold(0, |sum, byte| sum | CLASSES[usize::from(*byte)]);
        if any & class as u8 != 0 {
            break;
        }
        at += 8;
    }
    text[at..].iter().position(stops).map(|more| at + more)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn string(text: &str) -> String {
        let mut out = Vec::new();
        write_string(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn compacted(raw: &str) -> String {
        let mut out = Vec::new();
        compact(raw, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_escaped_for_html() {
        assert_eq!(string(""), r#""""#);
        assert_eq!(string("plain text, é and \u{1f600} raw \u{7f}"), "\"plain text, é and \u{1f600} raw \u{7f}\"");
        assert_eq!(string("\"\\\n\r\t\u{8}\u{c}\0\u{1f}"), r#""\"\\\n\r\t\u0008\u000c\u0000\u001f""#);
        assert_eq!(string("<a&b>"), r#""\u003ca\u0026b\u003e""#);
        assert_eq!(string("\u{2028}\u{2029}\u{2027}\u{20a8}"), "\"\\u2028\\u2029\u{2027}\u{20a8}\"");
    }

    #[test]
    fn white_space_goes_and_spelling_stays() {
        assert_eq!(
            compacted(r#"{"x": "<b>&", "y" : [1, 2.50,1e3]} "#),
            r#"{"x":"\u003cb\u003e\u0026","y":[1,2.50,1e3]}"#
        );
        assert_eq!(
            compacted("\t{\r\n  \"a b\" : \"c \\\" d\\\\\" ,\n\"a b\":null\n}\n"),
            r#"{"a b":"c \" d\\","a b":null}"#
        );
        assert_eq!(compacted("\"\u{2028}\\u2028\\/\u{e9}\\u00e9\""), "\"\\u2028\\u2028\\/\u{e9}\\u00e9\"");
        assert_eq!(compacted("12"), "12");
    }

    proptest! {
        #[test]
        fn strings_mean_what_they_were(text in "(\\PC|[\\x00-\\x7f\u{2026}-\u{202a}]){0,40}") {
            prop_assert_eq!(serde_json::from_str::<String>(&string(&text)).unwrap(), text);
        }

        #[test]
        fn compact_texts_mean_what_they_were(
            text in "[ab<>&\"\\\\\n\u{2028}\u{e9} ]{0,40}",
            blank in "[ \t\r\n]{0,9}",
        ) {
            let quoted = serde_json::to_string(&text).unwrap();
            let raw = format!("{blank}{{{blank}{quoted}{blank}:{blank}[{quoted},{blank}1.0{blank}]}}{blank}");
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            let compact = compacted(&raw);
            prop_assert_eq!(value(&compact), value(&raw));
            let is_safe = !compact.contains(['<', '>', '&', '\n', '\u{2028}']);
            prop_assert!(is_safe);
            prop_assert_eq!(compacted(&compact), compact.clone());
        }

        #[test]
        fn no_text_makes_compact_panic(text in "[\"\\\\{} a\u{2028}<]{0,24}") {
            let _ = compacted(&text);
        }
    }
}
