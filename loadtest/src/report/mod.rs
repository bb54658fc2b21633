//! What a run found, for people and for machines: every figure is noted once, with its words and its value.

mod latency;
mod table;

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};

pub use latency::{QUANTILES, latency, write_hdr};
pub use table::Table;

/// The figures of one subject, in sections.
#[derive(Debug, Default)]
pub struct Report {
    figures: Vec<Figure>,
}

#[derive(Debug)]
struct Figure {
    section: &'static str,
    name: String,
    label: String,
    text: String,
    value: Value,
}

impl Report {
    /// Notes a figure: `section` and `name` are its place in the object, `label` and `text` its line in the table. One
    /// without a label is for machines only.
    pub fn note(
        &mut self,
        section: &'static str,
        name: impl Into<String>,
        label: impl Into<String>,
        text: impl Into<String>,
        value: impl Into<Value>,
    ) {
        let (name, label, text, value) = (name.into(), label.into(), text.into(), value.into());
        self.figures.push(Figure { section, name, label, text, value });
    }

    /// Notes a number that is written as it is.
    pub fn count(&mut self, section: &'static str, name: &str, label: &str, count: u64) {
        self.note(section, name, label, grouped(count), count);
    }

    /// Notes a length of time, in seconds.
    pub fn time(&mut self, section: &'static str, name: &str, label: &str, time: Duration) {
        self.note(section, name, label, seconds(time), time.as_secs_f64());
    }

    /// Adds another report's figures at the end.
    pub fn append(&mut self, other: Self) {
        self.figures.extend(other.figures);
    }

    /// The object of sections.
    pub fn to_json(&self) -> Value {
        let mut sections = Map::new();
        for Figure { section, name, value, .. } in &self.figures {
            let section = sections.entry(*section).or_insert_with(|| json!({}));
            if let Value::Object(section) = section {
                section.insert(name.clone(), value.clone());
            }
        }
        Value::Object(sections)
    }
}

/// The table of several subjects, with a column for each, under its name.
pub fn to_text(subjects: &[(String, &Report)]) -> String {
    let headings: Vec<&str> = std::iter::once("").chain(subjects.iter().map(|(name, _)| name.as_str())).collect();
    let mut table = Table::new(&headings);
    let mut told: Vec<(&str, &str)> = Vec::new();
    // The last subject is the one that the run is about, and has most to tell.
    for (_, report) in subjects.iter().rev() {
        for figure in report.figures.iter().filter(|figure| !figure.label.is_empty()) {
            let key = (figure.section, figure.name.as_str());
            if told.contains(&key) {
                continue;
            }
            told.push(key);
            let cell = |report: &Report| {
                let found = report.figures.iter().find(|figure| (figure.section, figure.name.as_str()) == key);
                found.map_or_else(|| "-".to_owned(), |figure| figure.text.clone())
            };
            let cells = subjects.iter().map(|(_, report)| cell(report));
            table.row(std::iter::once(figure.label.clone()).chain(cells).collect());
        }
    }
    table.render()
}

/// Digits in groups of three.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time in the unit that suits it, with three digits.
pub fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (value, unit) = match seconds {
        _ if seconds >= 1.0 => (seconds, "s"),
        _ if seconds >= 1e-3 => (seconds * 1e3, "ms"),
        _ => (seconds * 1e6, "us"),
    };
    let decimals = match value {
        _ if value >= 100.0 => 0,
        _ if value >= 10.0 => 1,
        _ => 2,
    };
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(text, "{value:.decimals$} {unit}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_a_line_and_a_value() {
        let mut report = Report::default();
        report.count("events", "lost", "lost", 1_234_567);
        report.time("connect", "seconds", "connected within", Duration::from_millis(1_500));
        report.note("connect", "quiet", "", "", 7);
        assert_eq!(
            to_text(&[("it".to_owned(), &report)]),
            "                         it\nlost              1,234,567\nconnected within     1.50 s\n"
        );
        assert_eq!(
            report.to_json(),
            json!({ "events": { "lost": 1_234_567 }, "connect": { "seconds": 1.5, "quiet": 7 } })
        );
    }

    #[test]
    fn subjects_stand_side_by_side() {
        let (mut bare, mut whole) = (Report::default(), Report::default());
        bare.count("a", "x", "x", 1);
        whole.count("a", "x", "x", 2);
        whole.count("a", "y", "y", 3);
        let text = to_text(&[("bare".to_owned(), &bare), ("server".to_owned(), &whole)]);
        assert_eq!(text, "   bare  server\nx     1       2\ny     -       3\n");
    }

    #[test]
    fn times_are_written_in_their_own_unit() {
        let written =
            [0, 1, 15, 150, 1_500, 2_000_000, 100_000_000].map(|micros| seconds(Duration::from_micros(micros)));
        assert_eq!(written, ["0.00 us", "1.00 us", "15.0 us", "150 us", "1.50 ms", "2.00 s", "100 s"]);
    }
}
