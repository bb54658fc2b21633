//! The counts of `bench/instructions.txt`: what each operation took when somebody last looked, and with which compiler.
//!
//! A comment on each line that begins with `#`, the compiler after `# compiler:`; then a name and a number on each.

use std::fmt::Write as _;
use std::{fs, io};

use crate::Failure;

/// Where the counts are kept.
const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");

/// The compiler of this program.
pub const COMPILER: &str = env!("RUSTC_VERSION");

const TITLE: &str = "# Instructions per operation, as `bench codecs --instructions --write` counted them.";
const COMPILER_LABEL: &str = "# compiler: ";

/// Expected counts.
#[derive(Debug, Default, PartialEq)]
pub struct Baseline {
    /// Who compiled what was counted.
    pub compiler: String,
    counts: Vec<(String, f64)>,
}

impl Baseline {
    /// Counts of this program.
    pub fn new(counts: impl Iterator<Item = (String, f64)>) -> Self {
        Self { compiler: COMPILER.to_owned(), counts: counts.collect() }
    }

    /// The checked-in ones; none where the source is not at hand.
    pub fn read() -> Result<Option<Self>, Failure> {
        match fs::read_to_string(PATH) {
            Ok(text) => Ok(Some(Self::parse(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{PATH}: {error}").into()),
        }
    }

    /// Replaces them.
    pub fn write(&self) -> Result<(), Failure> {
        fs::write(PATH, self.render()).map_err(|error| format!("{PATH}: {error}").into())
    }

    /// What the operation of this name took.
    pub fn count(&self, name: &str) -> Option<f64> {
        self.counts.iter().find(|(known, _)| known == name).map(|(_, count)| *count)
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let mut baseline = Self::default();
        for line in text.lines() {
            if let Some(compiler) = line.strip_prefix(COMPILER_LABEL) {
                baseline.compiler = compiler.to_owned();
            } else if !line.is_empty() && !line.starts_with('#') {
                let (name, count) = line.split_once(' ').unwrap_or((line, ""));
                let count = count.trim().parse().map_err(|_| format!("instructions.txt: {line:?} has no count"))?;
                baseline.counts.push((name.to_owned(), count));
            }
        }
        Ok(baseline)
    }

    fn render(&self) -> String {
        let width = self.counts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = format!("{TITLE}\n{COMPILER_LABEL}{}\n", self.compiler);
        for (name, count) in &self.counts {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<width$}  {count:>9.1}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let counts = [("a/long-name", 12_345.5), ("b/c", 7.0)];
        let baseline = Baseline::new(counts.iter().map(|(name, count)| ((*name).to_owned(), *count)));
        assert_eq!(Baseline::parse(&baseline.render()).expect("it is our own"), baseline);
        assert_eq!((baseline.count("b/c"), baseline.count("b")), (Some(7.0), None));
    }

    #[test]
    fn a_line_without_a_count_is_named() {
        let error = Baseline::parse("# compiler: rustc 1\na/b many\n").expect_err("many is no number");
        assert!(error.to_string().contains("a/b many"));
    }

    #[test]
    fn the_counts_that_are_checked_in_are_well_formed() {
        let baseline = Baseline::read().expect("they can be read").expect("they are there");
        assert!(baseline.compiler.starts_with("rustc ") && !baseline.counts.is_empty());
    }
}
