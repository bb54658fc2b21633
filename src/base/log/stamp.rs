//! Unix time as text, in UTC.

const SECOND: u64 = 1_000_000_000;

/// `2026-11-21T11:42:37Z`.
pub fn rfc3339(unix_nanos: u64) -> String {
    let seconds = unix_nanos / SECOND;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `2026-11-21T11:42:37.715515603Z`: zeros at the end of the fraction are left out, and the point with them.
pub fn rfc3339_nano(unix_nanos: u64) -> String {
    let mut text = rfc3339(unix_nanos);
    let fraction = format!("{:09}", unix_nanos % SECOND);
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        text.truncate(text.len() - 1);
        text.extend([".", fraction, "Z"]);
    }
    text
}

/// Year, month and day of a day counted from 1970. Works on years that begin in March, so that the day a leap year adds
/// is their last, in cycles of 400 years, which all have the same number of days.
fn civil(unix_day: u64) -> (u64, u64, u64) {
    /// Days from 1 March of year 0 to 1970.
    const DAYS_TO_1970: u64 = 719_468;
    const CYCLE_DAYS: u64 = 146_097;
    let day = unix_day + DAYS_TO_1970;
    let (cycle, day) = (day / CYCLE_DAYS, day % CYCLE_DAYS);
    // Take out the leap days, so that years have 365: one per 4 years, but for centuries, but for the last of the
    // cycle.
    let year = (day - day / 1_460 + day / 36_524 - day / (CYCLE_DAYS - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Months from March have 31, 30, 31, 30, 31 days, twice and a bit: 153 days in five months.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (cycle * 400 + year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_are_written_as_others_write_them() {
        for (seconds, want) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_795_261_357, "2026-11-21T11:42:37Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (18_446_744_073, "2554-07-21T23:34:33Z"),
        ] {
            assert_eq!(rfc3339(seconds * SECOND), want);
        }
    }

    #[test]
    fn every_day_of_five_centuries_follows_the_one_before() {
        let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for unix_day in 0..182_622 {
            assert_eq!(civil(unix_day), (year, month, day));
            let last = match month {
                2 => 28 + u64::from(leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, day) if day == last => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
    }

    #[test]
    fn a_fraction_has_no_zeros_at_its_end() {
        let second = 1_795_261_357 * SECOND;
        for (nanos, want) in [(715_515_603, ".715515603Z"), (500_000_000, ".5Z"), (1, ".000000001Z"), (0, "Z")] {
            assert_eq!(rfc3339_nano(second + nanos), format!("2026-11-21T11:42:37{want}"));
        }
    }
}
