//! Figures with their spread, in the unit that suits them.

use crate::stats::{Spread, significant};

/// How figures are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number.
    Count,
    /// Bytes.
    Bytes,
    /// Microseconds.
    Micros,
    /// Seconds.
    Seconds,
}

/// From how much on a unit suits, which is also its size, and its name.
type Steps = &'static [(f64, &'static str)];

impl Unit {
    /// `median [min..max] unit`, without the brackets where all are the same.
    pub fn write(self, spread: Spread) -> String {
        let (size, name) = self.step(spread.median);
        let [median, min, max] = [spread.median, spread.min, spread.max].map(|value| digits(value / size));
        let range = if min == max { String::new() } else { format!(" [{min}..{max}]") };
        format!("{median}{range}{name}")
    }

    fn step(self, value: f64) -> (f64, &'static str) {
        let steps: Steps = match self {
            Self::Count => &[(1e6, " M"), (1e3, " k"), (1.0, "")],
            Self::Bytes => &[(1_048_576.0, " MiB"), (1_024.0, " KiB"), (1.0, " B")],
            Self::Micros => &[(1e6, " s"), (1e3, " ms"), (1.0, " µs")],
            Self::Seconds => &[(1.0, " s"), (1e-3, " ms"), (1e-6, " µs")],
        };
        let suiting = steps.iter().find(|(size, _)| value.abs() >= *size);
        *suiting.unwrap_or(&steps[steps.len() - 1])
    }
}

fn digits(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { significant(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_unit_of_their_median() {
        let spread = |median, min, max| Spread { median, min, max };
        for (unit, spread, written) in [
            (Unit::Count, spread(2e6, 1.5e6, 2.1e6), "2.00 [1.50..2.10] M"),
            (Unit::Count, spread(0.0, 0.0, 0.0), "0"),
            (Unit::Bytes, spread(81.0, 80.0, 82.0), "81.0 [80.0..82.0] B"),
            (Unit::Bytes, spread(2_048.0, 2_048.0, 2_048.0), "2.00 KiB"),
            (Unit::Micros, spread(1_500.0, 1_000.0, 2_000.0), "1.50 [1.00..2.00] ms"),
            (Unit::Seconds, spread(0.25, 0.25, 0.25), "250 ms"),
        ] {
            assert_eq!(unit.write(spread), written);
        }
    }
}
