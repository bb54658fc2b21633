//! Reads one value: text in, a typed value or one clause that says what is wrong and what is allowed.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::duration::{self, Wrong};
use super::{HostPort, Secret};
use crate::base::log::Level;

/// The value, or the rest of a sentence that begins with the setting and its text.
pub type Parsed<T> = Result<T, String>;

/// Go's `strconv.ParseBool`.
pub fn boolean(text: &str) -> Parsed<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("not a truth value; allowed are 1 t T TRUE true True 0 f F FALSE false False".to_owned()),
    }
}

/// Decimal, hexadecimal after `0x`, octal after `0`.
pub fn int(text: &str, allowed: RangeInclusive<i64>) -> Parsed<i64> {
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    let expected = || format!("allowed is a whole number from {} to {}", allowed.start(), allowed.end());
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(format!("not a whole number; {}", expected()));
    }
    // The digits are digits, so the only way to fail is to be too large for 64 bits.
    let value = i64::from_str_radix(digits, radix).ok().map(|value| sign * value);
    value.filter(|value| allowed.contains(value)).ok_or_else(|| format!("out of range; {}", expected()))
}

/// Like [`int`], for a narrower type that holds all that is allowed.
pub fn small<T: TryFrom<i64>>(text: &str, allowed: RangeInclusive<i64>) -> Parsed<T> {
    T::try_from(int(text, allowed)?).map_err(|_| "out of range".to_owned())
}

/// A TCP port; 0 lets the kernel choose.
pub fn port(text: &str) -> Parsed<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let hint = if text.starts_with("tcp://") {
        " (Kubernetes sets this variable for a Service named plasma: set it yourself, or enableServiceLinks: false)"
    } else {
        ""
    };
    let port = digits.then(|| text.parse().ok()).flatten();
    port.ok_or_else(|| format!("not a port; allowed is 0 to 65535, where 0 lets the kernel choose{hint}"))
}

const KIB: u64 = 1024;
/// The units of sizes, largest first.
const UNITS: [(&str, u64); 3] = [("GiB", KIB * KIB * KIB), ("MiB", KIB * KIB), ("KiB", KIB)];

/// Bytes: a plain number, or one with KiB, MiB or GiB.
pub fn bytes(text: &str, allowed: RangeInclusive<u64>) -> Parsed<usize> {
    let (number, unit) = UNITS
        .into_iter()
        .find_map(|(name, unit)| text.strip_suffix(name).map(|number| (number, unit)))
        .unwrap_or((text, 1));
    let expected = || {
        let (least, most) = (show_bytes(*allowed.start()), show_bytes(*allowed.end()));
        format!("allowed is {least} to {most}, in bytes or with KiB, MiB or GiB")
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("not a size; {}", expected()));
    }
    let value = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let value = value.filter(|value| allowed.contains(value)).and_then(|value| usize::try_from(value).ok());
    value.ok_or_else(|| format!("out of range; {}", expected()))
}

/// In the largest unit that divides it.
pub fn show_bytes(bytes: u64) -> String {
    let unit = UNITS.into_iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// A Go duration.
pub fn duration(text: &str, allowed: RangeInclusive<Duration>) -> Parsed<Duration> {
    let expected =
        || format!("allowed is {:?} to {:?}, written like 300ms, 1.5h or 2h45m", allowed.start(), allowed.end());
    let nanos = duration::parse(text).map_err(|wrong| {
        let what = match wrong {
            Wrong::Shape => "not a duration".to_owned(),
            Wrong::NoUnit => "a duration without a unit".to_owned(),
            Wrong::Unit(unit) => format!("no unit of time is called {unit:?}"),
            Wrong::Range => "out of range".to_owned(),
        };
        format!("{what}; {}", expected())
    })?;
    let value = u64::try_from(nanos).ok().map(Duration::from_nanos).filter(|value| allowed.contains(value));
    value.ok_or_else(|| format!("out of range; {}", expected()))
}

/// One of a few words.
pub fn choice<T: Copy>(text: &str, options: &[(&str, T)]) -> Parsed<T> {
    let found = options.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| format!("unknown; allowed is {}", words(options)))
}

/// Like [`choice`], where some words are known and have to wait.
pub fn choice_or_later<T: Copy>(text: &str, options: &[(&str, T)], later: &[&str]) -> Parsed<T> {
    if later.contains(&text) {
        Err(format!("not supported yet; allowed is {}", words(options)))
    } else {
        choice(text, options)
    }
}

/// `a, b or c`; without words that are empty.
pub fn words<T>(options: &[(&str, T)]) -> String {
    let names: Vec<&str> = options.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
    match names.as_slice() {
        [] => "only an empty value".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// Every piece between commas, as it is.
pub fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

/// A text that will stand in a header, so that it cannot end the header.
pub fn header(text: &str) -> Parsed<String> {
    let fits = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if fits {
        Ok(text.to_owned())
    } else {
        Err("not a header value; allowed are printable ASCII characters".to_owned())
    }
}

/// A bearer token, in characters that every client can send.
pub fn token(text: &str) -> Parsed<Secret> {
    let fits = text.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
    if fits {
        Ok(Secret::new(text))
    } else {
        Err("not a token; allowed are printable ASCII characters without spaces".to_owned())
    }
}

/// `host:port`; an IPv6 address in brackets; without a host this machine.
pub fn host_port(text: &str) -> Parsed<HostPort> {
    let parsed = text.rsplit_once(':').and_then(|(host, port)| {
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        let host = if host.is_empty() { "localhost" } else { host };
        let fits = !host.bytes().any(|byte| byte <= b' ' || matches!(byte, b'[' | b']' | b'/' | b'@' | 0x7f));
        let port = self::port(port).ok().filter(|&port| port > 0)?;
        fits.then(|| HostPort { host: host.to_owned(), port })
    });
    parsed.ok_or_else(|| "not an address; allowed is host:port, such as localhost:6379 or [::1]:6379".to_owned())
}

/// The least level that a log takes.
pub fn level(text: &str) -> Parsed<Level> {
    let names = Level::ALL.map(|level| (level.name(), ()));
    Level::parse(text).ok_or_else(|| format!("unknown; allowed is {}, in lower or upper case", words(&names)))
}

impl fmt::Display for HostPort {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(to, "[{}]:{}", self.host, self.port)
        } else {
            write!(to, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truths_are_read_as_go_reads_them() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["yes", "no", "on", "tRUE", "", " true", "2"] {
            assert!(boolean(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn whole_numbers_are_decimal_hexadecimal_or_octal() {
        for (text, want) in [
            ("0", 0),
            ("42", 42),
            ("-7", -7),
            ("+7", 7),
            ("0x1F", 31),
            ("0Xff", 255),
            ("010", 8),
            ("-0x10", -16),
            ("00", 0),
        ] {
            assert_eq!(int(text, -100..=300), Ok(want), "{text}");
        }
        for text in ["", "-", "0x", "08", "1.5", "1e3", "1_000", " 1", "0b1", "--1", "0x-1", "ff"] {
            assert!(int(text, -100..=300).unwrap_err().starts_with("not a whole number; allowed is"), "{text:?}");
        }
        for text in ["301", "-101", "99999999999999999999", "0xffffffffffffffffffff"] {
            assert!(int(text, -100..=300).unwrap_err().starts_with("out of range; allowed is"), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_plain_or_in_binary_units() {
        for (text, want) in [("0", 0), ("16384", 16_384), ("16KiB", 16_384), ("64MiB", 64 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(bytes(text, 0..=1 << 40), Ok(want), "{text}");
        }
        for text in ["", "KiB", "1KB", "1.5MiB", "1 MiB", "-1", "1mib", "0x10"] {
            assert!(bytes(text, 0..=1 << 40).unwrap_err().starts_with("not a size"), "{text:?}");
        }
        assert_eq!(
            bytes("1023", 1024..=1 << 30).unwrap_err(),
            "out of range; allowed is 1KiB to 1GiB, in bytes or with KiB, MiB or GiB"
        );
        assert!(bytes("99999999999GiB", 0..=u64::MAX).is_err());
    }

    #[test]
    fn ports_are_numbers() {
        assert_eq!(port("0"), Ok(0));
        assert_eq!(port("65535"), Ok(65_535));
        for text in ["65536", "-1", "+80", "http", ":80", "", " 80", "0x50"] {
            assert!(port(text).is_err(), "{text:?}");
        }
        assert!(port("tcp://10.0.0.1:8080").unwrap_err().contains("enableServiceLinks"));
    }

    #[test]
    fn addresses_need_a_port() {
        for (text, host, port) in [
            ("localhost:6379", "localhost", 6379),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("[::1]:6379", "::1", 6379),
            (":6379", "localhost", 6379),
        ] {
            let got = host_port(text).unwrap();
            assert_eq!((got.host.as_str(), got.port), (host, port));
            assert_eq!(host_port(&got.to_string()), Ok(got), "{text}");
        }
        for text in [
            "localhost",
            "localhost:",
            "localhost:0",
            "::1:6379",
            "[::1]",
            "redis://h:6379",
            "h h:1",
            "[::1:6379",
            "localhost:x",
        ] {
            assert!(host_port(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_header_value_cannot_end_its_header() {
        assert_eq!(header("https://a.example"), Ok("https://a.example".to_owned()));
        for text in ["a\r\nb: c", "a\nb", "a\0", "ä"] {
            assert!(header(text).is_err(), "{text:?}");
        }
        for text in ["a b", "a\tb", "ä"] {
            assert!(token(text).is_err(), "{text:?}");
        }
    }
}
