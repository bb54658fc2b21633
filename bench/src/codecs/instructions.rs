//! Operations by the instructions that they take, which do not depend on what else the machine does.
//!
//! Each operation is done N times and 2 N times, in processes of their own under callgrind; the difference is N of them
//! without whatever comes before and after. No name of a function has to be found for that, and nothing be inlined or
//! not.

use std::io::ErrorKind;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::baseline::{Baseline, COMPILER};
use super::operation::Operation;
use crate::Failure;
use crate::report::Table;

/// Operations in the shorter run: what a process does besides differs by less than one instruction in each.
const COUNT: u64 = 1_000;

/// One operation, counted.
struct Row {
    name: &'static str,
    count: f64,
    /// What it took when the baseline was written.
    before: Option<f64>,
}

/// Counts and prints; with `write`, the counts are the baseline from now on.
pub fn run(operations: &[Operation], write: bool, json: bool) -> Result<(), Failure> {
    if write && cfg!(debug_assertions) {
        return Err("built without optimization: counts worth keeping need `cargo run --release`".into());
    }
    let baseline = Baseline::read()?.unwrap_or_default();
    let rows = operations.iter().map(|operation| Row::count(operation.name, &baseline));
    let rows: Vec<Row> = rows.collect::<Result<_, _>>()?;
    if write {
        Baseline::new(rows.iter().map(|row| (row.name.to_owned(), row.count))).write()?;
    }
    if json {
        println!("{:#}", to_json(&rows, &baseline));
        return Ok(());
    }
    println!("{COMPILER}, compared with instructions.txt of {}", baseline.compiler);
    if cfg!(debug_assertions) {
        println!("built without optimization: these figures mean little");
    }
    print!("\n{}", to_text(&rows));
    Ok(())
}

impl Row {
    fn count(name: &'static str, baseline: &Baseline) -> Result<Self, Failure> {
        // Both at once: neither disturbs the other's count.
        let [once, twice] = [start(name, COUNT)?, start(name, 2 * COUNT)?].map(finish);
        let difference = twice?.checked_sub(once?).ok_or("twice as many operations took fewer instructions")?;
        Ok(Self { name, count: difference as f64 / COUNT as f64, before: baseline.count(name) })
    }

    /// By how much the count has changed, in percent.
    fn change(&self) -> Option<f64> {
        // Rounded here, for a hair's breadth less is no change; adding zero takes the sign from it.
        self.before.map(|before| ((self.count / before - 1.0) * 1e3).round() / 10.0 + 0.0)
    }
}

/// This program under callgrind, doing one operation again and again.
fn start(name: &str, count: u64) -> Result<Child, Failure> {
    Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["codecs", "--only", name, "--repeat", &count.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => "--instructions needs valgrind, which is not installed (Debian: apt install \
                                    valgrind); without --instructions, time is measured"
                .into(),
            _ => format!("valgrind cannot be started: {error}").into(),
        })
}

fn finish(child: Child) -> Result<u64, Failure> {
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    match collected(&said) {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("valgrind ended with {} and counted nothing:\n{said}", output.status).into()),
    }
}

/// The total in callgrind's last words: `==42== Collected : 1234`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.split_whitespace().next()?.parse().ok()
}

fn to_text(rows: &[Row]) -> String {
    let mut table = Table::new(&["operation", "instructions", "before", "change"]);
    for row in rows {
        table.row(vec![
            row.name.to_owned(),
            format!("{:.1}", row.count),
            row.before.map_or_else(String::new, |before| format!("{before:.1}")),
            row.change().map_or_else(|| "new".to_owned(), |change| format!("{change:+.1} %")),
        ]);
    }
    table.render()
}

fn to_json(rows: &[Row], baseline: &Baseline) -> Value {
    let row = |row: &Row| {
        json!({
            "operation": row.name,
            "instructions": row.count,
            "before": row.before,
            "change_percent": row.change(),
        })
    };
    json!({
        "compiler": COMPILER,
        "compiler_before": baseline.compiler,
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found_among_the_words_of_callgrind() {
        let said = "==7== Callgrind, a call-graph generating cache profiler\n==7== \n==7== Events    : Ir\n\
                    ==7== Collected : 477783\n==7== \n==7== I   refs:      477,783\n";
        assert_eq!(collected(said), Some(477_783));
        assert_eq!(collected("==7== Events    : Ir\n"), None);
        assert_eq!(collected("==7== Collected : \n"), None);
    }

    #[test]
    fn a_change_is_told_in_percent_and_a_new_operation_as_such() {
        let rows = [
            Row { name: "a/b", count: 110.0, before: Some(100.0) },
            Row { name: "a/c", count: 99.0, before: Some(100.0) },
            Row { name: "a/d", count: 99.999, before: Some(100.0) },
            Row { name: "a/e", count: 5.0, before: None },
        ];
        let text = to_text(&rows);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines[0], "a/b               110.0   100.0  +10.0 %");
        assert_eq!(lines[1], "a/c                99.0   100.0   -1.0 %");
        assert_eq!(lines[2], "a/d               100.0   100.0   +0.0 %");
        assert_eq!(lines[3], "a/e                 5.0              new");
    }
}
