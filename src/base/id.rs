//! The number of an event: a hybrid timestamp.

use std::fmt;

/// `(unix milliseconds << 20) | counter`, strictly increasing in one process and across its restarts; written in
/// decimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(u64);

/// Bits of the counter: a million events within one millisecond before the clock is run ahead of.
const COUNTER_BITS: u32 = 20;

impl EventId {
    /// The first id of the millisecond `unix_millis`.
    pub const fn first_at(unix_millis: u64) -> Self {
        Self(unix_millis << COUNTER_BITS)
    }

    /// The id to give after `self` when the clock shows `unix_millis`: never smaller, whatever the clock does.
    pub fn next(self, unix_millis: u64) -> Self {
        Self(Self::first_at(unix_millis).0.max(self.0 + 1))
    }

    /// As a plain number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The id with this number.
    pub const fn from_raw(number: u64) -> Self {
        Self(number)
    }

    /// Reads decimal digits. `None` for anything else, and for numbers too small to be a timestamp of this century: the
    /// small counters of other servers are no ids of ours.
    pub fn parse(text: &[u8]) -> Option<Self> {
        const LEAST: u64 = EventId::first_at(946_684_800_000).0;
        if text.is_empty() || text.len() > 20 || !text.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let number =
            text.iter().try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
        (number >= LEAST).then_some(Self(number))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_increase_when_the_clock_stands_still_or_goes_back() {
        let first = EventId::default().next(1_000);
        assert_eq!(first, EventId::first_at(1_000));
        let second = first.next(1_000);
        let third = second.next(900);
        assert!(first < second && second < third);
        assert_eq!(third.next(2_000), EventId::first_at(2_000));
    }

    #[test]
    fn only_plausible_decimal_numbers_are_ids() {
        let id = EventId::first_at(1_790_000_000_000);
        assert_eq!(EventId::parse(id.to_string().as_bytes()), Some(id));
        for bad in ["", "7", "-3", "+5", "1.5", "abc", "99999999999999999999", "18446744073709551616", " 1"] {
            assert_eq!(EventId::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
