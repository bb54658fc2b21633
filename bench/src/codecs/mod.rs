//! What the server's codecs cost, one operation at a time, through the same functions that the server calls.
//!
//! Operations are sorted by subject, a file for each. They are measured in one of two ways: by the clock (`timing`), or
//! by counting instructions (`instructions`), which a busy machine does not disturb.

mod baseline;
mod envelope;
mod events;
mod framing;
mod h2;
mod hpack;
mod http1;
mod instructions;
mod operation;
mod resp;
mod timing;
mod topics;
mod vectors;

use std::time::Duration;

use lexopt::Arg::{Long, Short};
use lexopt::{Parser, ValueExt};

use crate::Failure;
use crate::args::{Command, count};
use crate::selection::Selection;
use crate::turns::Windows;
use operation::Operation;

/// What `--help` says.
const HELP: &str = "\
What the server's codecs cost, one operation at a time: parsing heads, frames, replies and events, writing answers and
frames, finding topics. Requests are those of real clients, as they were recorded.

Usage: bench codecs [OPTIONS]

      --only NAME,NAME,..  these operations: names as in the table, or what stands before their slash
      --instructions       count instructions instead of time: steady where the machine is not. Runs this program under
                           valgrind's callgrind, each operation on its own, and compares with bench/instructions.txt
      --write              with --instructions: put the counts there
      --windows W          measurements per operation (25); many short ones even out a busy machine
      --window-ms MS       CPU time per measurement in milliseconds (4)
      --repeat N           measure nothing, do each operation N times: for a profiler
      --json               print JSON instead of the table
  -h, --help               this text

Time is that of the thread's CPU clock; operations take turns, window by window, and each figure is the median of the
windows, with [smallest..largest]. `bytes` is what an operation reads, or writes where it only writes; it finds them,
its code and its tables in the nearest caches, as it would in a burst.
Counts are the difference between a run of N operations and one of twice as many, so starting up does not count. They
move with the compiler: a change is told and never a failure.
";

/// What to measure, and how.
#[derive(Debug, PartialEq)]
pub struct Options {
    selection: Selection,
    way: Way,
    windows: Windows,
    json: bool,
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// By the clock.
    Time,
    /// By instructions.
    Instructions { write: bool },
    /// Not at all, only done so many times.
    Repeat(u64),
}

/// The words after `codecs`.
pub fn parse(parser: &mut Parser) -> Result<Command, Failure> {
    let windows = Windows { count: 25, length: Duration::from_millis(4) };
    let mut options = Options { selection: Selection::default(), way: Way::Time, windows, json: false };
    let (mut instructions, mut write) = (false, false);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("only") => options.selection = Selection::named(&parser.value()?.string()?),
            Long("instructions") => instructions = true,
            Long("write") => write = true,
            Long("windows") => options.windows.count = count(parser, 1)?,
            Long("window-ms") => options.windows.length = Duration::from_millis(count(parser, 1)?.into()),
            Long("repeat") => options.way = Way::Repeat(count(parser, 1)?.into()),
            Long("json") => options.json = true,
            Long("help") | Short('h') => return Ok(Command::Help(HELP)),
            other => return Err(other.unexpected().into()),
        }
    }
    if write && !instructions {
        return Err("--write is for --instructions".into());
    }
    if write && !options.selection.is_all() {
        return Err("--write counts everything: leave out --only".into());
    }
    if instructions {
        options.way = Way::Instructions { write };
    }
    Ok(Command::Codecs(options))
}

/// Measures and prints the result.
pub fn run(options: &Options) -> Result<(), Failure> {
    let mut operations = all()?;
    let names: Vec<&str> = operations.iter().map(|operation| operation.name).collect();
    options.selection.check(&names)?;
    operations.retain(|operation| options.selection.takes(operation.name));
    match options.way {
        Way::Time => timing::run(operations, options.windows, options.json),
        Way::Instructions { write } => instructions::run(&operations, write, options.json),
        Way::Repeat(count) => {
            operations.iter_mut().for_each(|operation| operation.repeat(count));
            Ok(())
        }
    }
}

/// Everything that can be measured, in the order of the table.
fn all() -> Result<Vec<Operation>, Failure> {
    let groups = [
        http1::operations(),
        h2::operations(),
        hpack::operations(),
        resp::operations(),
        envelope::operations(),
        framing::operations()?,
        topics::operations()?,
    ];
    Ok(groups.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(&mut Parser::from_args(line.split_whitespace())).map_err(|error| error.to_string())
    }

    #[test]
    fn every_operation_can_be_done_more_than_once_and_has_a_name_of_its_own() {
        let mut operations = all().expect("the log has memory");
        operations.iter_mut().for_each(|operation| operation.repeat(3));
        let names: HashSet<_> = operations.iter().map(|operation| operation.name).collect();
        assert_eq!(names.len(), operations.len());
        assert!(operations.iter().all(|operation| operation.len > 0 && operation.name.contains('/')));
    }

    #[test]
    fn options_land_where_they_belong() {
        let Ok(Command::Codecs(options)) = parsed("--only hpack,resp/message --windows 3 --window-ms 2 --json") else {
            panic!("these are good options");
        };
        assert!(options.selection.takes("hpack/decode-chrome") && !options.selection.takes("h2/head-chrome"));
        assert_eq!((options.windows.count, options.windows.length), (3, Duration::from_millis(2)));
        assert_eq!((options.way, options.json), (Way::Time, true));
        let Ok(Command::Codecs(options)) = parsed("--write --instructions") else {
            panic!("the order of options does not matter");
        };
        assert_eq!(options.way, Way::Instructions { write: true });
    }

    #[test]
    fn mistakes_are_named() {
        for (line, word) in [
            ("--write", "--instructions"),
            ("--instructions --write --only hpack", "--only"),
            ("--windows 0", "\"0\""),
            ("--colour", "--colour"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(word), "{line:?}: {error}");
        }
        assert!(matches!(parsed("--help"), Ok(Command::Help(_))));
    }
}
