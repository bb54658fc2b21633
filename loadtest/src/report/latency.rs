//! Latencies: percentiles in a report, and whole histograms in a file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use serde_json::{Value, json};

use super::{Report, seconds};
use crate::Failure;

/// The percentiles that are told: name in the object, words, share.
pub const QUANTILES: [(&str, &str, f64); 6] = [
    ("p50", "median", 0.5),
    ("p90", "p90", 0.9),
    ("p99", "p99", 0.99),
    ("p999", "p99.9", 0.999),
    ("p9999", "p99.99", 0.9999),
    ("max", "max", 1.0),
];

/// Notes the percentiles of a histogram of nanoseconds; in the object they are microseconds. An empty one says nothing.
pub fn latency(report: &mut Report, section: &'static str, label: &str, histogram: &Histogram<u64>) {
    if histogram.is_empty() {
        return;
    }
    for (name, words, quantile) in QUANTILES {
        let nanos = histogram.value_at_quantile(quantile);
        let text = seconds(Duration::from_nanos(nanos));
        report.note(section, name, format!("{label}, {words}"), text, micros(nanos));
    }
    report.note(section, "count", "", "", histogram.len());
}

fn micros(nanos: u64) -> Value {
    json!(nanos as f64 / 1_000.0)
}

/// Writes histograms of nanoseconds with their names as an HdrHistogram interval log, which common viewers read.
pub fn write_hdr(path: &Path, histograms: &[(&str, &Histogram<u64>)], lasted: Duration) -> Result<(), Failure> {
    let write = || -> Result<(), Failure> {
        let mut file = BufWriter::new(File::create(path)?);
        let mut serializer = V2DeflateSerializer::new();
        let mut log = IntervalLogWriterBuilder::new()
            .with_start_time(SystemTime::now())
            .with_max_value_divisor(1.0)
            .begin_log_with(&mut file, &mut serializer)?;
        for (name, histogram) in histograms {
            let tag = Tag::new(name).ok_or_else(|| format!("{name:?} cannot be the name of a histogram"))?;
            log.write_histogram(*histogram, Duration::ZERO, lasted, Some(tag)).map_err(|error| format!("{error:?}"))?;
        }
        file.flush()?;
        Ok(())
    };
    write().map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::books::histogram;

    #[test]
    fn percentiles_are_told_in_microseconds() {
        let mut histogram = histogram();
        for micros in 1..=100 {
            histogram.record(micros * 1_000).expect("in bounds");
        }
        let mut report = Report::default();
        latency(&mut report, "latency", "latency", &histogram);
        let told = &report.to_json()["latency"];
        assert_eq!(told["count"], 100);
        assert!((told["p50"].as_f64().expect("a number") - 50.0).abs() < 0.1);
        assert!((told["max"].as_f64().expect("a number") - 100.0).abs() < 0.1);
    }

    #[test]
    fn an_empty_histogram_says_nothing() {
        let mut report = Report::default();
        latency(&mut report, "latency", "latency", &histogram());
        assert_eq!(report.to_json(), json!({}));
    }

    #[test]
    fn a_histogram_comes_back_from_its_file() {
        let path = std::env::temp_dir().join(format!("loadtest-{}.hlog", std::process::id()));
        let mut before = histogram();
        before.record_n(5_000, 7).expect("in bounds");
        write_hdr(&path, &[("during", &before)], Duration::from_secs(1)).expect("a file");
        let bytes = std::fs::read(&path).expect("it is there");
        std::fs::remove_file(&path).expect("it can go");
        let entry = IntervalLogIterator::new(&bytes).find_map(|entry| match entry {
            Ok(LogEntry::Interval(interval)) => Some(interval.encoded_histogram().to_owned()),
            _ => None,
        });
        let encoded = base64(&entry.expect("an interval"));
        let after: Histogram<u64> = Deserializer::new().deserialize(&mut encoded.as_slice()).expect("a histogram");
        assert_eq!((after.len(), after.max()), (before.len(), before.max()));
    }

    fn base64(text: &str) -> Vec<u8> {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digit = |byte: u8| DIGITS.iter().position(|&digit| digit == byte).expect("a digit") as u32;
        let mut bytes = Vec::new();
        for four in text.trim_end_matches('=').as_bytes().chunks(4) {
            let word = four.iter().fold(0, |word, &byte| word << 6 | digit(byte)) << (6 * (4 - four.len()));
            bytes.extend_from_slice(&word.to_be_bytes()[1..four.len()]);
        }
        bytes
    }
}
