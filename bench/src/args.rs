//! The command line: which measurement, with which numbers.

use std::ffi::OsString;
use std::net::SocketAddrV4;
use std::time::Duration;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};

use crate::Failure;
use crate::fanout::{self, Only, Shape, Which};
use crate::grpc::served;
use crate::hold::{self, Close, acceptor};
use crate::ingest;

/// What to do.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Print this text.
    Help(&'static str),
    /// A shard next to the bare send loop.
    Fanout(fanout::Options),
    /// Events on their way into the log.
    Ingest(ingest::Options),
    /// Idle connections.
    Hold(hold::Options),
    /// The process at the other end of `hold --bare`; started by it, not by people.
    Acceptor(acceptor::Options),
    /// The process at the other end of idle gRPC streams; likewise.
    Serve(served::Server, u32),
}

const HELP: &str = "\
Measures Plasma next to what the kernel alone can do, on this machine, in the same run.

Usage: bench COMMAND [OPTIONS]

Commands:
  fanout  deliveries per second of CPU: a shard of Plasma next to a loop that does nothing but send
  ingest  events per second of CPU from Redis and HTTP into the log, next to a loop that only receives
  hold    memory per idle connection: of a running server, next to bare sockets

`bench COMMAND --help` explains each. All print a table, or JSON with --json.
";

/// Words of a subcommand into a [`Command`].
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Command, Failure> {
    let mut parser = Parser::from_args(words);
    match parser.next()? {
        None | Some(Long("help") | Short('h')) => Ok(Command::Help(HELP)),
        Some(Value(name)) => match name.to_str() {
            Some("fanout") => fanout(&mut parser),
            Some("ingest") => ingest::parse(&mut parser),
            Some("hold") => hold(&mut parser),
            Some("acceptor") => acceptor(&mut parser),
            Some("serve") => serve(&mut parser),
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
            Long("zero-copy") => options.zero_copy = true,
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

fn hold(parser: &mut Parser) -> Result<Command, Failure> {
    let mut options = hold::Options::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("connections") | Short('n') => options.connections = count(parser, 1)?,
            Long("target") => {
                let word = parser.value()?.string()?;
                let target = word.parse::<SocketAddrV4>();
                options.target =
                    Some(target.map_err(|_| format!("--target {word:?} is not an IPv4 address and a port"))?);
            }
            Long("path") => options.path = Some(parser.value()?.string()?),
            Long("type") => options.topic = parser.value()?.string()?,
            Long("pid") => options.pid = Some(count(parser, 1)?),
            Long("publish") => options.publish = Some(parser.value()?.string()?.parse()?),
            Long("grpc") => options.grpc = Some(count(parser, 1)?),
            Long("tonic") => options.tonic = true,
            Long("bare") => options.bare = true,
            Long("armed") => options.armed = true,
            Long("destinations") => options.destinations = Some(count(parser, 1)?),
            Long("pace") => options.pace = count(parser, 1)?,
            Long("stay") => options.stay = Duration::from_secs(count(parser, 0)?.into()),
            Long("timeout") => options.timeout = Duration::from_secs(count(parser, 1)?.into()),
            Long("close") => {
                options.close = match parser.value()?.string()?.as_str() {
                    "reset" => Close::Reset,
                    "fin" => Close::Fin,
                    other => return Err(format!("--close takes reset or fin, not {other:?}").into()),
                }
            }
            Long("json") => options.json = true,
            Long("help") | Short('h') => return Ok(Command::Help(hold::HELP)),
            other => return Err(other.unexpected().into()),
        }
    }
    options.check()?;
    Ok(Command::Hold(options))
}

fn acceptor(parser: &mut Parser) -> Result<Command, Failure> {
    let mut options = acceptor::Options { rings: 1, armed: false };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("rings") => options.rings = count(parser, 1)?,
            Long("armed") => options.armed = true,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Acceptor(options))
}

fn serve(parser: &mut Parser) -> Result<Command, Failure> {
    let word = parser.value()?.string()?;
    let server = served::Server::named(&word).ok_or_else(|| format!("{word:?} is neither plasma nor tonic"))?;
    Ok(Command::Serve(server, count(parser, 1)?))
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
        for line in ["", "--help", "help", "hold --help", "hold -n 5 -h", "fanout --help", "ingest --help"] {
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

        let Ok(Command::Hold(options)) = parsed("hold --target 127.0.0.1:8080 --bare --pid 7 --close fin") else {
            panic!("hold is a command");
        };
        assert_eq!((options.connections, options.pid, options.bare), (100_000, Some(7), true));
        assert_eq!((options.target, options.close), (Some("127.0.0.1:8080".parse().expect("an address")), Close::Fin));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, word) in [
            ("fly", "fly"),
            ("hold --target nowhere", "nowhere"),
            ("hold --bare -n 0", "\"0\""),
            ("hold --bare --close loudly", "loudly"),
            ("hold", "--target"),
            ("hold --armed", "--bare"),
            ("hold --tonic", "--grpc"),
            ("hold --target 10.0.0.1:80 --destinations 2", "loopback"),
            ("hold --bare --publish http://127.0.0.1:1/events", "--target"),
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
