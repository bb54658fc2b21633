//! Keeps a message that comes thousands of times a second from being thousands of lines.

use super::{Level, REPEATS_MAX};

const SECOND: u64 = 1_000_000_000;

/// One message within the second it was last seen in.
struct Seen {
    msg: &'static str,
    level: Level,
    second: u64,
    said: u32,
    held: u64,
}

/// Messages are texts of the program, so their number is bounded by its source.
#[derive(Default)]
pub struct Repeats {
    seen: Vec<Seen>,
}

impl Repeats {
    /// Whether `msg` may be a line now; if not, it is counted.
    pub fn admit(&mut self, msg: &'static str, level: Level, now: u64) -> bool {
        let second = now / SECOND;
        let Some(seen) = self.seen.iter_mut().find(|seen| seen.msg == msg) else {
            self.seen.push(Seen { msg, level, second, said: 1, held: 0 });
            return true;
        };
        if seen.second != second {
            (seen.second, seen.said) = (second, 0);
        }
        seen.level = level;
        if seen.said < REPEATS_MAX {
            seen.said += 1;
            return true;
        }
        seen.held += 1;
        false
    }

    /// A message that was held back, and how often: in an earlier second, or in `any`.
    pub fn take_held(&mut self, now: u64, any: bool) -> Option<(&'static str, Level, u64)> {
        let second = now / SECOND;
        let seen = self.seen.iter_mut().find(|seen| seen.held > 0 && (any || seen.second != second))?;
        Some((seen.msg, seen.level, std::mem::take(&mut seen.held)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_ten_lines_a_second_and_a_count() {
        let mut repeats = Repeats::default();
        let admitted = (0..1_000).filter(|_| repeats.admit("bad message", Level::Warn, 5 * SECOND)).count();
        assert_eq!(admitted, 10);
        assert_eq!(repeats.take_held(5 * SECOND, false), None, "the second is not over");
        assert!(repeats.admit("another", Level::Warn, 5 * SECOND), "messages are limited one by one");
        assert_eq!(repeats.take_held(6 * SECOND, false), Some(("bad message", Level::Warn, 990)));
        assert_eq!(repeats.take_held(6 * SECOND, false), None);
        assert!(repeats.admit("bad message", Level::Warn, 6 * SECOND));
    }
}
