//! The command line: which measurement, with which numbers.

use std::ffi::OsString;
use std::time::Duration;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};

use crate::Failure;
use crate::codecs;
use crate::compare;
use crate::fanout::{self, Only, Shape, Which};
use crate::grpc::served;
use crate::ingest;
use crate::peers;
use crate::ring_ops;

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Print this text.
    Help(&'static str),
    /// A shard next to the bare send loop.
    Fanout(fanout::Options),
    /// Events on their way into the log.
    Ingest(ingest::Options),
    /// Single operations of the server's codecs.
    Codecs(codecs::Options),
    /// Single operations of the server's ring.
    Ring(ring_ops::Options),
    /// Servers next to each other.
    Compare(compare::Options),
    /// One of those servers.
    Serve(peers::Options),
    /// The process at the other end of idle gRPC streams; started by `fanout`, not by people.
    Streams(served::Server, u32),
}

const HELP: &str = "\
Measures Plasma next to what the kernel alone can do, on this machine, in the same run.

Usage: bench COMMAND [OPTIONS]

Commands:
  fanout  deliveries per second of CPU: a shard of Plasma next to a loop that does nothing but send
  ingest  events per second of CPU from Redis and HTTP into the log, next to a loop that only receives
  codecs  time or instructions per operation of the server's codecs
  ring    time per operation of the server's io_uring loop, next to bare system calls
  compare Plasma, nginx with nchan, axum and tonic through the same scenarios, with tables and plots
  serve   one of the servers that Plasma is compared with

`bench COMMAND --help` explains each. The first four print a table, or JSON with --json.
";

/// Words of a subcommand into a [`Command`].
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Command, Failure> {
    let mut parser = Parser::from_args(words);
    match parser.next()? {
        None | Some(Long("help") | Short('h')) => Ok(Command::Help(HELP)),
        Some(Value(name)) => match name.to_str() {
            Some("fanout") => fanout(&mut parser),
            Some("ingest") => ingest::parse(&mut parser),
            Some("codecs") => codecs::parse(&mut parser),
            Some("ring") => ring_ops::parse(&mut parser),
            Some("compare") => compare::parse(&mut parser),
            Some("serve") => peers::parse(&mut parser),
            Some("streams") => streams(&mut parser),
            Some("help") => Ok(Command::Help(HELP)),
            _ => Err(format!("there is no command {name:?}").into()),
        },
        Some(other) => Err(other.unexpected().into()),
    }
}

fn fanout(parser: &mut Parser) -> Result<Command, Failure> {
    let mut options = fanout::Options::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("connections") | Short('n') => options.connections = count(parser, 1)?,
            Long("scenarios") => {
                let words = parser.value()?.string()?;
                let named = words.split(',').map(Which::named).collect::<Option<_>>();
                options.scenarios = named
                    .ok_or_else(|| format!("--scenarios {words:?}: there are bursts, alternating, topics, grpc"))?;
            }
            Long("topics") => options.topics = count(parser, 1)?,
            Long("only") => {
                let word = parser.value()?.string()?;
                options.only =
                    Only::named(&word).ok_or_else(|| format!("--only takes bare, tonic or plasma, not {word:?}"))?;
            }
            Long("shapes") => {
                let words = parser.value()?.string()?;
                let shapes = words.split(',').map(shape).collect::<Option<_>>();
                options.shapes = shapes.ok_or_else(|| format!("{words:?} is not a list of shapes like 10x100"))?;
            }
            Long("events") => {
                options.events = counts(parser)?;
                options.grpc_events.clone_from(&options.events);
            }
            Long("sizes") => options.sizes = counts(parser)?,
            Long("windows") => options.window_count = count(parser, 1)?,
            Long("window-ms") => options.window = Duration::from_millis(count(parser, 1)?.into()),
            Long("cpus") => match counts(parser)?[..] {
                [server, reader] => options.cpus = (server as usize, reader as usize),
                _ => return Err("--cpus takes two numbers: the sender's, the reader's".into()),
            },
            Long("json") => options.json = true,
            Long("help") | Short('h') => return Ok(Command::Help(fanout::HELP)),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Fanout(options))
}

fn streams(parser: &mut Parser) -> Result<Command, Failure> {
    let word = parser.value()?.string()?;
    let server = served::Server::named(&word).ok_or_else(|| format!("{word:?} is neither plasma nor tonic"))?;
    Ok(Command::Streams(server, count(parser, 1)?))
}

/// Connections and streams on each, as `10x100`.
fn shape(word: &str) -> Option<Shape> {
    let (connections, streams) = word.split_once('x')?;
    let (connections, streams) = (number(connections)?, number(streams)?);
    (connections > 0 && streams > 0).then_some(Shape { connections, streams })
}

/// The value of an option as a number of at least `min`.
pub fn count(parser: &mut Parser, min: u32) -> Result<u32, Failure> {
    let word = parser.value()?.string()?;
    match number(&word) {
        Some(number) if number >= min => Ok(number),
        _ => Err(format!("{word:?} is not a whole number of at least {min}").into()),
    }
}

/// The value of an option as numbers with commas between them.
pub fn counts(parser: &mut Parser) -> Result<Vec<u32>, Failure> {
    let words = parser.value()?.string()?;
    let numbers = words.split(',').map(number).collect::<Option<Vec<u32>>>();
    numbers.ok_or_else(|| format!("{words:?} is not a list of whole numbers like 1,8,64").into())
}

/// Digits, with `_` between them and `k` for thousands as people like.
fn number(word: &str) -> Option<u32> {
    let (digits, factor) = word.strip_suffix('k').map_or((word, 1), |digits| (digits, 1000));
    digits.replace('_', "").parse::<u32>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_may_have_thousands_and_underscores() {
        assert_eq!(number("100k"), Some(100_000));
        assert_eq!(number("100_000"), Some(100_000));
        for bad in ["", "k", "-1", "1.5", "1M", "5000000k"] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn help_is_there_at_every_place() {
        for line in ["", "--help", "help", "fanout -n 5 -h", "fanout --help", "codecs -h", "ring -h", "ingest -h"] {
            assert!(matches!(parsed(line), Ok(Command::Help(_))), "{line:?}");
        }
    }

    #[test]
    fn options_land_where_they_belong() {
        let line = "fanout -n 2k --events 1,64 --sizes=150 --cpus 1,0 --json --scenarios topics,bursts --only plasma";
        let Ok(Command::Fanout(options)) = parsed(line) else {
            panic!("fanout is a command");
        };
        assert_eq!((options.scenarios, options.only), (vec![Which::Topics, Which::Bursts], Only::Plasma));
        assert_eq!((options.connections, options.cpus, options.json), (2_000, (1, 0), true));
        assert_eq!((options.events, options.sizes), (vec![1, 64], vec![150]));
        assert_eq!(options.grpc_events, [1, 64]);

        let Ok(Command::Fanout(options)) = parsed("fanout --scenarios grpc --shapes 10x100,2kx1 --only tonic") else {
            panic!("fanout is a command");
        };
        assert_eq!((options.scenarios, options.only), (vec![Which::Grpc], Only::Tonic));
        assert_eq!(options.shapes, [(10, 100), (2_000, 1)].map(Shape::from));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, word) in [
            ("fly", "fly"),
            ("fanout --cpus 1", "--cpus"),
            ("fanout --events 1,x", "1,x"),
            ("fanout --colour", "--colour"),
            ("fanout --scenarios bursts,storms", "storms"),
            ("fanout --only nobody", "nobody"),
            ("fanout --shapes 10x0", "10x0"),
            ("fanout --shapes 10", "\"10\""),
            ("ingest --only tonic", "tonic"),
            ("ingest --scenarios redis,kafka", "kafka"),
            ("ingest --sizes 10,x", "10,x"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(word), "{line:?}: {error}");
        }
    }
}
