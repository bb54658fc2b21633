//! Request targets: escapes of paths, pairs of queries, paths that walk in circles.

use std::borrow::Cow;

/// The path with its escapes resolved; `None` when one is malformed. A plus sign is itself here.
pub fn decode_path(raw: &str) -> Option<Cow<'_, [u8]>> {
    unescape(raw.as_bytes(), b'+')
}

/// The first value of `key` in a form-encoded query: `+` is a blank, pairs end at `&` or `;`, a pair with a malformed
/// escape does not exist, and one without `=` has an empty value.
pub fn first_value<'q>(query: &'q str, key: &[u8]) -> Option<Cow<'q, [u8]>> {
    pairs(query).find(|(known, _)| **known == *key).map(|(_, value)| value)
}

/// Keys and values of a form-encoded query, in order, by the rules of [`first_value`].
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, [u8]>, Cow<'_, [u8]>)> {
    query.as_bytes().split(|byte| matches!(byte, b'&' | b';')).filter(|pair| !pair.is_empty()).filter_map(|pair| {
        let equals = memchr::memchr(b'=', pair);
        let (key, value) = equals.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]));
        Some((unescape(key, b' ')?, unescape(value, b' ')?))
    })
}

/// Where a client should have asked: the path without empty, `.` and `..` segments, with its query, both escaped.
/// `None` when the path is clean already. A trailing slash means something and stays.
pub fn redirect(path: &[u8], query: &str) -> Option<String> {
    let clean = clean_path(path);
    if clean == path {
        return None;
    }
    let mut location = escape_path(&clean);
    if !query.is_empty() {
        location.push('?');
        location.push_str(query);
    }
    Some(location)
}

fn clean_path(path: &[u8]) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    let mut clean = vec![b'/'];
    clean.extend_from_slice(&segments.join(&b'/'));
    if path.ends_with(b"/") && clean.len() > 1 {
        clean.push(b'/');
    }
    clean
}

/// Escapes all but the unreserved characters and those that mean nothing special in a path (RFC 3986 §3.3).
fn escape_path(path: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut escaped = String::with_capacity(path.len());
    for byte in path {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(byte) {
            escaped.push(char::from(*byte));
        } else {
            escaped.push('%');
            escaped.push(char::from(DIGITS[usize::from(byte >> 4)]));
            escaped.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    escaped
}

/// Resolves `%xx` and turns each plus sign into `plus`. `None` when an escape is malformed.
fn unescape(raw: &[u8], plus: u8) -> Option<Cow<'_, [u8]>> {
    if !raw.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(raw));
    }
    let mut bytes = raw.iter();
    let mut plain = Vec::with_capacity(raw.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => hex_digit(*bytes.next()?)? << 4 | hex_digit(*bytes.next()?)?,
            b'+' => plus,
            _ => *byte,
        });
    }
    Some(Cow::Owned(plain))
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(query: &str) -> Option<String> {
        first_value(query, b"eventType").map(|value| String::from_utf8(value.into_owned()).unwrap())
    }

    #[test]
    fn the_first_value_of_a_key_counts() {
        assert_eq!(value("eventType=a&eventType=b").as_deref(), Some("a"));
        assert_eq!(value("eventType=&eventType=a").as_deref(), Some(""));
        assert_eq!(value("x=1&eventType").as_deref(), Some(""));
        assert_eq!(value("a=1;eventType=b;c").as_deref(), Some("b"));
        assert_eq!(value("event%54ype=a=b").as_deref(), Some("a=b"));
        for absent in ["", "&&", "eventtype=a", "x=eventType", "=a"] {
            assert_eq!(value(absent), None, "{absent:?}");
        }
    }

    #[test]
    fn queries_are_form_decoded() {
        assert_eq!(value("eventType=a+b%2Cc%3ad").as_deref(), Some("a b,c:d"));
        assert_eq!(value("eventType=%2B%26%3b%3D%25").as_deref(), Some("+&;=%"));
        assert_eq!(first_value("k=%00%ff", b"k").as_deref(), Some(&b"\0\xff"[..]));
    }

    #[test]
    fn a_pair_with_a_malformed_escape_does_not_exist() {
        for bad in
            ["eventType=%zz", "eventType=%", "eventType=%1", "event%Type=a", "eventType=a%-1", "%g&eventType=%+1"]
        {
            assert_eq!(value(bad), None, "{bad:?}");
        }
        assert_eq!(value("eventType=%zz&eventType=a").as_deref(), Some("a"));
    }

    #[test]
    fn paths_keep_their_plus_signs() {
        assert_eq!(decode_path("/a+b%20c%2F").as_deref(), Some(&b"/a+b c/"[..]));
        assert_eq!(decode_path("/%4"), None);
    }

    #[test]
    fn unclean_paths_lead_to_the_clean_one() {
        for (path, location) in [
            ("//hc", "/hc"),
            ("/./hc", "/hc"),
            ("/a/../hc", "/hc"),
            ("/../../hc", "/hc"),
            ("/hc/.", "/hc"),
            ("/hc//", "/hc/"),
            ("/a/..", "/"),
            ("//", "/"),
            ("///evil.example//x", "/evil.example/x"),
            ("//a b\r\n?\\\u{e9}", "/a%20b%0D%0A%3F%5C%C3%A9"),
        ] {
            assert_eq!(redirect(path.as_bytes(), "").as_deref(), Some(location), "{path:?}");
        }
        assert_eq!(redirect(b"//hc", "a=%20&b").as_deref(), Some("/hc?a=%20&b"));
        for clean in ["/", "/hc", "/hc/", "/a/.b/..c"] {
            assert_eq!(redirect(clean.as_bytes(), "a"), None, "{clean:?}");
        }
    }

    proptest! {
        #[test]
        fn a_redirect_leads_to_a_path_that_stays(path in "/[a./%+\\x00-\\xff]{0,24}") {
            if let Some(location) = redirect(path.as_bytes(), "") {
                let clean = decode_path(&location).unwrap();
                prop_assert!(clean.starts_with(b"/") && !clean.starts_with(b"//"));
                prop_assert_eq!(redirect(&clean, ""), None);
            }
        }

        #[test]
        fn random_queries_never_panic(query in "\\PC{0,64}") {
            let _ = pairs(&query).count();
        }
    }
}
