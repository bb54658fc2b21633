//! Operations by the clock.

use std::time::Duration;

use serde_json::{Value, json};

use super::operation::Operation;
use crate::Failure;
use crate::machine::Machine;
use crate::report::Table;
use crate::stats::{Spread, bytes};
use crate::turns::{Round, Subject, Windows, on_clock};

/// Shortest round: reading the clock takes less than a hundredth of it.
const ROUND: Duration = Duration::from_micros(100);

/// One operation, measured.
struct Row {
    name: &'static str,
    len: usize,
    /// Per operation.
    nanos: Spread,
    /// Millions per second.
    bytes: Spread,
}

/// Measures and prints.
pub fn run(operations: Vec<Operation>, windows: Windows, json: bool) -> Result<(), Failure> {
    let machine = Machine::look();
    let rows = measure(operations, windows)?;
    if json {
        println!("{:#}", to_json(&rows, windows, &machine));
        return Ok(());
    }
    let Windows { count, length } = windows;
    println!("{}\n{count} windows of {length:?} of CPU, median [smallest..largest]", machine.line());
    if cfg!(debug_assertions) {
        println!("built without optimization: these figures mean little");
    }
    print!("\n{}", to_text(&rows));
    Ok(())
}

fn measure(operations: Vec<Operation>, windows: Windows) -> Result<Vec<Row>, Failure> {
    let mut lanes: Vec<(&'static str, usize, Subject)> =
        operations.into_iter().map(|operation| (operation.name, operation.len, subject(operation))).collect();
    for _ in 0..windows.count {
        for (_, _, subject) in &mut lanes {
            subject.window(windows.length)?;
        }
    }
    Ok(lanes.into_iter().map(|(name, len, subject)| Row::new(name, len, subject.nanos())).collect())
}

/// An operation in rounds of so many that reading the clock does not matter.
fn subject(mut operation: Operation) -> Subject {
    let mut count = 1;
    Subject::new(move || {
        loop {
            let (spent, ()) = on_clock(|| {
                operation.repeat(count);
                Ok(())
            })?;
            if spent >= ROUND {
                return Ok(Round { count, spent });
            }
            count *= 2;
        }
    })
}

impl Row {
    fn new(name: &'static str, len: usize, nanos: &[f64]) -> Self {
        let bytes: Vec<f64> = nanos.iter().map(|nanos| len as f64 / nanos * 1e3).collect();
        let [nanos, bytes] = [nanos, &bytes].map(|all| Spread::of(all).expect("there is at least one window"));
        Self { name, len, nanos, bytes }
    }
}

fn to_text(rows: &[Row]) -> String {
    let mut table = Table::new(&["operation", "bytes", "ns", "MB/s"]);
    for row in rows {
        table.row(vec![row.name.to_owned(), bytes(row.len as u64), row.nanos.to_string(), row.bytes.to_string()]);
    }
    table.render()
}

fn to_json(rows: &[Row], windows: Windows, machine: &Machine) -> Value {
    let row = |row: &Row| {
        json!({
            "operation": row.name,
            "bytes": row.len,
            "ns": row.nanos.to_json(),
            "mb_per_second": row.bytes.to_json(),
        })
    };
    json!({
        "machine": machine.to_json(),
        "windows": windows.count,
        "window_ms": windows.length.as_millis(),
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_time_and_throughput_of_the_same_windows() {
        let row = Row::new("a/b", 500, &[200.0, 100.0, 400.0]);
        assert_eq!(row.nanos, Spread { median: 200.0, min: 100.0, max: 400.0 });
        assert_eq!(row.bytes, Spread { median: 2_500.0, min: 1_250.0, max: 5_000.0 });
        let text = to_text(&[row]);
        assert!(text.ends_with("a/b        500 B  200 [100..400]  2.50 k [1.25..5.00]\n"), "{text}");
    }
}
