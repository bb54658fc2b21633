//! What the operations of the server's ring cost on this machine, through the same type that the server uses, next to
//! the system call that does the same by itself.
//!
//! Everything happens on one thread and over loopback; the reference has sockets of its own. What only prepares or
//! cleans up is not on the clock.

mod doors;
mod polling;
mod sending;
mod site;
mod turning;

use std::time::Duration;

use lexopt::Arg::{Long, Short};
use lexopt::{Parser, ValueExt};
use serde_json::{Value, json};

use crate::Failure;
use crate::args::{Command, count};
use crate::machine::{self, Machine};
use crate::report::Table;
use crate::selection::Selection;
use crate::stats::{Spread, ratios};
use crate::turns::{Round, Subject, Windows};

/// What `--help` says.
const HELP: &str = "\
What the operations of the server's io_uring loop cost on this machine, in nanoseconds of thread CPU each, next to the
bare system call that does the same.

Usage: bench ring [OPTIONS]

      --only NAME,NAME,..  these operations, or what stands before their slash:
                             send/1 to send/512  150 bytes to a socket, so many per submission; against send(2)
                             poll/arm            a multishot poll of a quiet socket; against epoll_ctl(2)
                             poll/cancel         its end, completions included; likewise
                             accept              a connection, 64 at a time; against accept4(2)
                             close               its end, and of the poll armed on it; against close(2) without one
                             bell                ringing another ring, and its turn; against eventfd(2), write and read
                             turn                a turn in which nothing happens; against getppid(2)
  -n, --connections N      connections that are sent to, and that are polled (512)
      --windows W          measurements per operation and reference (25); many short ones even out a busy machine
      --window-ms MS       CPU time per measurement in milliseconds (10)
      --json               print JSON instead of the table
  -h, --help               this text

Each figure is the median of the windows, with [smallest..largest]. `ratio` is a window of the operation by the mean of
the system call's windows before and after it. On loopback a sender's CPU also pays for the receiver's half of TCP,
with and without a ring.
";

/// Open files for each connection: sockets of the senders, the pollers and their references.
const FILES_EACH: u32 = 5;

/// Open files besides, those of `accept` and rings included.
const FILES_SPARE: u32 = 256;

/// What to measure.
#[derive(Debug, PartialEq)]
pub struct Options {
    selection: Selection,
    connections: u32,
    windows: Windows,
    json: bool,
}

/// An operation and the system call that it is compared with. The two alternate and nobody else comes between them:
/// where one reference served all batches of sends, its sockets rested longer than the ring's, and `send` took half as
/// long again.
struct Pair {
    reference: (&'static str, Subject),
    subject: (&'static str, Subject),
}

/// A round of two halves that only come together; a subject has one of them on its clock.
struct Halves {
    first: Round,
    second: Round,
}

/// One operation, measured.
struct Row {
    name: &'static str,
    nanos: Spread,
    reference: &'static str,
    reference_nanos: Spread,
    ratio: Spread,
}

/// The words after `ring`.
pub fn parse(parser: &mut Parser) -> Result<Command, Failure> {
    let windows = Windows { count: 25, length: Duration::from_millis(10) };
    let mut options = Options { selection: Selection::default(), connections: 512, windows, json: false };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("only") => options.selection = Selection::named(&parser.value()?.string()?),
            Long("connections") | Short('n') => options.connections = count(parser, 1)?,
            Long("windows") => options.windows.count = count(parser, 1)?,
            Long("window-ms") => options.windows.length = Duration::from_millis(count(parser, 1)?.into()),
            Long("json") => options.json = true,
            Long("help") | Short('h') => return Ok(Command::Help(HELP)),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Ring(options))
}

/// Measures and prints the result.
pub fn run(options: &Options) -> Result<(), Failure> {
    check_files(options.connections)?;
    let mut pairs = all(options.connections)?;
    let names: Vec<&str> = pairs.iter().map(|pair| pair.subject.0).collect();
    options.selection.check(&names)?;
    pairs.retain(|pair| options.selection.takes(pair.subject.0));

    let machine = Machine::look();
    let rows = pairs.into_iter().map(|pair| pair.measure(options.windows));
    let rows: Vec<Row> = rows.collect::<Result<_, _>>()?;
    if options.json {
        println!("{:#}", to_json(&rows, options, &machine));
        return Ok(());
    }
    let Windows { count, length } = options.windows;
    println!("{}\n{count} windows of {length:?} of CPU, median [smallest..largest]", machine.line());
    print!("\n{}", to_text(&rows));
    Ok(())
}

fn check_files(connections: u32) -> Result<(), Failure> {
    let (limit, wanted) = (machine::file_limit(), connections.saturating_mul(FILES_EACH).saturating_add(FILES_SPARE));
    if wanted > limit {
        return Err(format!("{connections} connections take {wanted} open files, and the limit is {limit}").into());
    }
    Ok(())
}

/// Everything that can be measured, in the order of the table.
fn all(connections: u32) -> Result<Vec<Pair>, Failure> {
    let pairs = [sending::pairs(connections)?, polling::pairs(connections)?, doors::pairs()?, turning::pairs()?];
    Ok(pairs.into_iter().flatten().collect())
}

impl Halves {
    fn new(count: usize, first: Duration, second: Duration) -> Self {
        let [first, second] = [first, second].map(|spent| Round { count: count as u64, spent });
        Self { first, second }
    }
}

impl Pair {
    /// All windows of both; the reference has one before the first of the subject and one after the last.
    fn measure(mut self, windows: Windows) -> Result<Row, Failure> {
        let ((reference, bare), (name, subject)) = (&mut self.reference, &mut self.subject);
        for _ in 0..windows.count {
            bare.window(windows.length)?;
            subject.window(windows.length)?;
        }
        bare.window(windows.length)?;
        let spread = |samples: &[f64]| Spread::of(samples).expect("there is at least one window");
        Ok(Row {
            name,
            nanos: spread(subject.nanos()),
            reference,
            reference_nanos: spread(bare.nanos()),
            ratio: spread(&ratios(subject.nanos(), bare.nanos())),
        })
    }
}

fn to_text(rows: &[Row]) -> String {
    let mut table = Table::new(&["operation", "ns", "system call", "ns", "ratio"]);
    for row in rows {
        table.row(vec![
            row.name.to_owned(),
            row.nanos.to_string(),
            row.reference.to_owned(),
            row.reference_nanos.to_string(),
            row.ratio.to_string(),
        ]);
    }
    table.render()
}

fn to_json(rows: &[Row], options: &Options, machine: &Machine) -> Value {
    let row = |row: &Row| {
        json!({
            "operation": row.name,
            "ns": row.nanos.to_json(),
            "system_call": row.reference,
            "system_call_ns": row.reference_nanos.to_json(),
            "ratio": row.ratio.to_json(),
        })
    };
    json!({
        "machine": machine.to_json(),
        "connections": options.connections,
        "windows": options.windows.count,
        "window_ms": options.windows.length.as_millis(),
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(&mut Parser::from_args(line.split_whitespace())).map_err(|error| error.to_string())
    }

    /// Takes so long for each operation.
    fn steady(nanos: u64) -> Subject {
        Subject::new(move || Ok(Round { count: 10, spent: Duration::from_nanos(10 * nanos) }))
    }

    #[test]
    fn options_land_where_they_belong() {
        let Ok(Command::Ring(options)) = parsed("--only send,turn -n 1k --windows 3 --window-ms 2 --json") else {
            panic!("these are good options");
        };
        assert!(options.selection.takes("send/8") && !options.selection.takes("bell"));
        assert_eq!((options.connections, options.json), (1_000, true));
        assert_eq!(options.windows, Windows { count: 3, length: Duration::from_millis(2) });
        assert!(matches!(parsed("-h"), Ok(Command::Help(_))));
        assert!(parsed("-n 0").is_err() && parsed("--colour").is_err());
    }

    #[test]
    fn operations_are_compared_with_the_system_call_beside_them() {
        let pairs = [("a", 100), ("b", 500)]
            .map(|(name, nanos)| Pair { reference: ("read", steady(200)), subject: (name, steady(nanos)) });
        let windows = Windows { count: 2, length: Duration::ZERO };
        let rows = pairs.map(|pair| pair.measure(windows).expect("nothing fails"));
        assert_eq!(rows.each_ref().map(|row| row.ratio.median), [0.5, 2.5]);
        let text = to_text(&rows);
        let last = text.lines().last().expect("a table has lines");
        assert_eq!(last, "b          500 [500..500]         read  200 [200..200]  2.50 [2.50..2.50]");
    }

    #[test]
    fn connections_beyond_the_limit_of_open_files_are_refused_in_words() {
        let error = check_files(u32::MAX).expect_err("nobody has that many").to_string();
        assert!(error.contains("open files"), "{error}");
    }
}
