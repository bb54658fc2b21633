//! Durations as Go's `time.ParseDuration` reads them: the variables are older than this server.

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Not the shape of a duration at all.
    Shape,
    /// A number without a unit.
    NoUnit,
    /// A unit that is none of ns, us, ms, s, m, h.
    Unit(String),
    /// Beyond 292 years, where 63 bits of nanoseconds end.
    Range,
}

/// One more than the largest number of nanoseconds: reached by negative durations only.
const LIMIT: u64 = 1 << 63;

/// Nanoseconds of `text`: a sign if wanted, then numbers with units, such as `300ms`, `-1.5h`, `2h45m`, or a bare `0`.
pub fn parse(text: &str) -> Result<i64, Wrong> {
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(Wrong::Shape);
    }
    let mut sum = 0u64;
    while !rest.is_empty() {
        let part;
        (part, rest) = one(rest)?;
        sum = sum.checked_add(part).filter(|&sum| sum <= LIMIT).ok_or(Wrong::Range)?;
    }
    match (negative, i64::try_from(sum)) {
        (false, Ok(nanos)) => Ok(nanos),
        (false, Err(_)) => Err(Wrong::Range),
        (true, _) => Ok(0i64.wrapping_sub_unsigned(sum)),
    }
}

/// Nanoseconds of the first number with its unit, and what follows it.
fn one(text: &str) -> Result<(u64, &str), Wrong> {
    let (digits, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => self::digits(rest),
        None => ("", rest),
    };
    if digits.is_empty() && fraction.is_empty() {
        return Err(Wrong::Shape);
    }
    let whole = digits.bytes().try_fold(0u64, |sum, digit| {
        sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')).filter(|&sum| sum <= LIMIT)
    });
    let whole = whole.ok_or(Wrong::Range)?;

    let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let unit = match unit {
        "" => return Err(Wrong::NoUnit),
        "ns" => 1,
        // Micro is written with the micro sign, U+00B5, or with the Greek letter, U+03BC.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        other => return Err(Wrong::Unit(other.to_owned())),
    };
    let nanos = whole.checked_mul(unit).filter(|&nanos| nanos <= LIMIT).ok_or(Wrong::Range)?;
    let nanos = nanos.checked_add(fraction_of(unit, fraction)).filter(|&nanos| nanos <= LIMIT).ok_or(Wrong::Range)?;
    Ok((nanos, rest))
}

/// `unit` times the fraction whose digits these are, in floating point as Go does it, so that even the rounding agrees.
fn fraction_of(unit: u64, digits: &str) -> u64 {
    let (mut value, mut scale) = (0u64, 1.0f64);
    for digit in digits.bytes() {
        // Digits beyond what 63 bits hold cannot matter.
        let Some(more) = value.checked_mul(10).and_then(|ten| ten.checked_add(u64::from(digit - b'0'))) else { break };
        if value > (LIMIT - 1) / 10 || more > LIMIT {
            break;
        }
        value = more;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;
    const S: i64 = 1_000 * MS;
    const M: i64 = 60 * S;
    const H: i64 = 60 * M;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, want) in [
            ("0", 0),
            ("+0", 0),
            ("-0", 0),
            ("1s", S),
            ("500ms", 500 * MS),
            ("1m", M),
            ("10us", 10_000),
            ("10µs", 10_000),
            ("10μs", 10_000),
            ("1500us", 1_500_000),
            ("1m30s", 90 * S),
            ("1h2m3.5s", H + 2 * M + 3_500 * MS),
            ("2h45m", 2 * H + 45 * M),
            (".5s", 500 * MS),
            ("1.s", S),
            ("1.5h", 90 * M),
            ("-1s", -S),
            ("+5s", 5 * S),
            ("-1.5h", -90 * M),
            ("-.5s", -500 * MS),
            ("5.0s", 5 * S),
            ("5.6s", 5_600 * MS),
            ("1.004s", 1_004 * MS),
            ("1.0040s", 1_004 * MS),
            ("100.00100s", 100_001 * MS),
            ("10.5s4m", 4 * M + 10_500 * MS),
            ("1h1h", 2 * H),
            ("3ns", 3),
            ("12µs34.5ms", 34_512_000),
            ("39h9m14.425s", 39 * H + 9 * M + 14_425 * MS),
            ("52763797000ns", 52_763_797_000),
            ("0.3333333333333333333h", 20 * M),
            ("0.100000000000000000000h", 6 * M),
            ("0.830103483285477580700h", 49 * M + 48_372_539_827),
            ("9007199254740993ns", 9_007_199_254_740_993),
            ("9223372036854775807ns", i64::MAX),
            ("9223372036854775.807us", i64::MAX),
            ("9223372036s854ms775us807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("-9223372036854775.808us", i64::MIN),
            ("-2562047h47m16.854775808s", i64::MIN),
        ] {
            assert_eq!(parse(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused_with_its_reason() {
        let unit = |unit: &str| Wrong::Unit(unit.to_owned());
        for (text, want) in [
            ("", Wrong::Shape),
            ("-", Wrong::Shape),
            ("+", Wrong::Shape),
            ("s", Wrong::Shape),
            (".", Wrong::Shape),
            (".s", Wrong::Shape),
            ("-.", Wrong::Shape),
            ("+.s", Wrong::Shape),
            (" 1s", Wrong::Shape),
            ("--1s", Wrong::Shape),
            ("ten", Wrong::Shape),
            ("1", Wrong::NoUnit),
            ("5", Wrong::NoUnit),
            ("00", Wrong::NoUnit),
            ("1.5", Wrong::NoUnit),
            ("1s1", Wrong::NoUnit),
            ("1d", unit("d")),
            ("1 s", unit(" s")),
            ("1e3s", unit("e")),
            ("1S", unit("S")),
            ("1s ", unit("s ")),
            ("1µ", unit("µ")),
            ("9223372036854775808ns", Wrong::Range),
            ("9223372036854775.808us", Wrong::Range),
            ("9223372036854ms775us808ns", Wrong::Range),
            ("-9223372036854775809ns", Wrong::Range),
            ("3000000h", Wrong::Range),
            ("92233720368547758080ns", Wrong::Range),
        ] {
            assert_eq!(parse(text), Err(want), "{text:?}");
        }
    }
}
