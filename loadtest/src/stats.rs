//! Medians with their spread, and numbers as people read them.

use std::fmt;

use serde_json::{Value, json};

/// The middle of some measurements and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one; the mean of the two middle ones when their count is even.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// `None` without samples.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Self { median, min, max })
    }

    /// As an object with `median`, `min` and `max`.
    pub fn to_json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

/// Each of `samples` by the mean of its two neighbours in `references`, of which one was taken before it and one after.
pub fn ratios(samples: &[f64], references: &[f64]) -> Vec<f64> {
    samples.iter().zip(references.windows(2)).map(|(sample, near)| sample / f64::midpoint(near[0], near[1])).collect()
}

/// `median [min..max]`, all three in the unit that suits the median.
impl fmt::Display for Spread {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (divisor, unit) = scale(self.median);
        let [median, min, max] = [self.median, self.min, self.max].map(|value| significant(value / divisor));
        write!(to, "{median}{unit} [{min}..{max}]")
    }
}

/// The power of a thousand that leaves one to three digits before the point, and its letter.
fn scale(value: f64) -> (f64, &'static str) {
    match value.abs() {
        size if size >= 1e9 => (1e9, " G"),
        size if size >= 1e6 => (1e6, " M"),
        size if size >= 1e3 => (1e3, " k"),
        _ => (1.0, ""),
    }
}

/// Three significant digits: more would be noise here.
pub fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// A length in bytes as `150 B`, `16 KiB` or `1.5 MiB`.
pub fn bytes(len: u64) -> String {
    const KIB: f64 = 1024.0;
    let value = len as f64;
    let (value, unit) = match value {
        size if size >= KIB * KIB => (value / KIB / KIB, "MiB"),
        size if size >= KIB => (value / KIB, "KiB"),
        _ => return format!("{len} B"),
    };
    if value.fract() == 0.0 { format!("{value} {unit}") } else { format!("{value:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_the_sorted_samples() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[7.0]), Some(Spread { median: 7.0, min: 7.0, max: 7.0 }));
        assert_eq!(Spread::of(&[9.0, 1.0, 5.0]), Some(Spread { median: 5.0, min: 1.0, max: 9.0 }));
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 100.0]), Some(Spread { median: 3.0, min: 1.0, max: 100.0 }));
    }

    #[test]
    fn a_ratio_knows_its_neighbours_only() {
        assert_eq!(ratios(&[3.0, 8.0], &[2.0, 4.0, 12.0]), [1.0, 1.0]);
        assert_eq!(ratios(&[3.0], &[2.0]), [0.0; 0]);
    }

    #[test]
    fn a_spread_is_written_in_one_unit() {
        let spread = Spread { median: 294_321.0, min: 287_000.0, max: 1_306_000.0 };
        assert_eq!(spread.to_string(), "294 k [287..1306]");
        assert_eq!(Spread { median: 0.957, min: 0.93, max: 1.01 }.to_string(), "0.96 [0.93..1.01]");
        assert_eq!(Spread { median: 4_178_000.0, min: 4e6, max: 4.25e6 }.to_string(), "4.18 M [4.00..4.25]");
    }

    #[test]
    fn lengths_are_written_in_their_own_unit() {
        let written = [150, 1024, 16 * 1024, 1536, 1 << 20].map(bytes);
        assert_eq!(written, ["150 B", "1 KiB", "16 KiB", "1.5 KiB", "1 MiB"]);
    }
}
