//! What each published event carries, so that whoever receives it can say which one it is and how old.
//!
//! A stamp is ASCII and needs no escaping in JSON: `plt1.RUN.STREAM.NUMBER.AT.`, then padding up to the wanted size.
//! Servers may wrap it in whatever they like; it is found by its beginning.

use std::io::Write as _;

use memchr::memmem;

/// How a stamp begins; the run's tag follows.
const BEGINNING: &[u8] = b"plt1.";

/// Longest stamp in bytes: four numbers with their dots.
pub const LEN_MAX: usize = 5 + 9 + 11 + 11 + 21;

/// One event of this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which stream of numbers it belongs to, see [`crate::board::Board`].
    pub stream: u32,
    /// Its number in that stream, from 0 on, without holes.
    pub number: u32,
    /// When it was due, in nanoseconds since the run began.
    pub due_at: u64,
}

impl Stamp {
    /// Writes the stamp of a run, filled up to `len` bytes if it is shorter.
    pub fn write(&self, run: u32, len: usize, out: &mut Vec<u8>) {
        let start = out.len();
        let Self { stream, number, due_at } = self;
        // Writing to a vector cannot fail.
        let _ = write!(out, "plt1.{run:08x}.{stream}.{number}.{due_at}.");
        out.resize(out.len().max(start + len), b'x');
    }

    /// The first stamp of a run in these bytes. `None` where there is none, as in what others published.
    pub fn find(run: u32, bytes: &[u8]) -> Option<Self> {
        let rest = &bytes[memmem::find(bytes, BEGINNING)? + BEGINNING.len()..];
        let mut fields = rest.splitn(5, |&byte| byte == b'.');
        let tag = std::str::from_utf8(fields.next()?).ok()?;
        if u32::from_str_radix(tag, 16).ok()? != run {
            return None;
        }
        let stream = u32::try_from(number(fields.next()?)?).ok()?;
        let at = u32::try_from(number(fields.next()?)?).ok()?;
        Some(Self { stream, number: at, due_at: number(fields.next()?)? })
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { stream: 7, number: 1_234, due_at: 5_000_000_001 };

    #[test]
    fn a_stamp_is_found_in_whatever_a_server_wraps_around_it() {
        let mut event = b"{\"meta\":{\"type\":\"load-7\"},\"data\":\"".to_vec();
        STAMP.write(0xabc, 100, &mut event);
        event.extend_from_slice(b"\"}");
        assert_eq!(Stamp::find(0xabc, &event), Some(STAMP));
    }

    #[test]
    fn a_stamp_of_another_run_is_nobodys() {
        let mut event = Vec::new();
        STAMP.write(1, 0, &mut event);
        assert_eq!(Stamp::find(2, &event), None);
    }

    #[test]
    fn a_stamp_is_filled_up_and_never_cut() {
        for len in [0, 150, 4096] {
            let mut event = Vec::new();
            STAMP.write(1, len, &mut event);
            assert!(event.len() >= len && (len == 0 || event.len() == len));
            assert_eq!(Stamp::find(1, &event), Some(STAMP));
        }
        let mut longest = Vec::new();
        Stamp { stream: u32::MAX, number: u32::MAX, due_at: u64::MAX }.write(u32::MAX, 0, &mut longest);
        assert!(longest.len() <= LEN_MAX);
    }

    #[test]
    fn what_only_begins_like_a_stamp_is_none() {
        for bytes in [
            "",
            "plt1.",
            "plt1.00000001",
            "plt1.00000001.1.2",
            "plt1.00000001.x.2.3.",
            "plt1.zz.1.2.3.",
            "plt1.00000001..2.3.",
            "plt1.00000001.1.99999999999.3.",
            "plt1.00000001.1.2.99999999999999999999999.",
        ] {
            assert_eq!(Stamp::find(1, bytes.as_bytes()), None, "{bytes}");
        }
    }
}
