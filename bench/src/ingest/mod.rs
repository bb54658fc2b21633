//! Events per second of CPU on their way into the log: a shard of the server next to loops that only receive.
//!
//! The measured thread is this one, pinned to a CPU of its own; on another CPU a thread plays Redis, or publishers over
//! HTTP, with bytes built beforehand. Both ends are real sockets, so what is measured is everything from the kernel's
//! receive to a record in the log that readers may see, or to the answer that a publisher waits for.
//!
//! Subjects take turns, window by window, and a ratio compares a window only with its neighbours. After the last one
//! everything that was published has to be in the log, to the event.

mod bare;
mod events;
mod lane;
mod plasma;
mod source;

use std::time::Duration;

use lexopt::Arg::{Long, Short};
use lexopt::{Parser, ValueExt};
use serde_json::{Value, json};

use crate::args::{Command, count, counts};
use crate::fanout::{Only, plasma::HISTORY_LEN};
use crate::machine::{self, Machine};
use crate::report::Table;
use crate::stats::{Spread, bytes};
use crate::{Failure, args};
use lane::{Achieved, Row};

/// What `--help` says.
const HELP: &str = "\
Events per second of CPU of one shard of Plasma, from a socket into its log, next to a bare loop that receives the same
bytes, finds the ends of their lines and copies them once.

Both run in this process on one thread, pinned to one CPU, and take turns: bare, plasma, bare, plasma, …, bare. Each has
its own peer on another CPU: a thread that plays Redis and pushes as fast as the socket takes it, or publishers that
write their next request when the last one is answered. The log has the server's default length and is full before the
clock starts. After the last window every event that was published must have arrived.

Usage: bench ingest [OPTIONS]

      --scenarios S,S,..  which ones (all):
                            redis        one topic, nobody subscribed
                            subscriber   one topic, one SSE subscriber, which reads
                            topics       10,000 topics, nobody subscribed
                            levels       one topic of three levels, nobody subscribed
                            http-lines   POST /events, 1,000 events on lines, 4 publishers
                            http-single  POST /events, one event, 1 publisher
                            http-many    POST /events, one event, 64 publishers
      --sizes S,S,..      bytes of JSON per event, for redis, subscriber and http-lines (150,1024); else the first one
      --windows W         measurements per line and subject (25); many short ones even out a busy machine
      --window-ms MS      CPU time per measurement in milliseconds (50)
      --only WHO          bare or plasma alone, for a profiler
      --cpus S,P          the measured thread's CPU and its peers' (0,1)
      --json              print JSON instead of the table
  -h, --help              this text

Each figure is the median of the windows, with [smallest..largest]. `ratio` is a window of Plasma by the mean of the
bare windows before and after it. `on CPU` is the share of the wall time that each was on the clock: where it is low the
peer was slower, turns were short, and what a turn costs was shared by few events.
";

/// Most JSON of one event: the server's default.
const SIZE_MAX: u32 = 1 << 20;

/// What to measure.
#[derive(Debug, PartialEq)]
pub struct Options {
    scenarios: Vec<Which>,
    sizes: Vec<u32>,
    window_count: u32,
    window: Duration,
    only: Only,
    cpus: (usize, usize),
    json: bool,
    /// Bytes of the log in each format; smaller in tests only.
    history_len: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scenarios: Which::ALL.to_vec(),
            sizes: vec![150, 1024],
            window_count: 25,
            window: Duration::from_millis(50),
            only: Only::Nobody,
            cpus: (0, 1),
            json: false,
            history_len: HISTORY_LEN,
        }
    }
}

/// The words after `ingest`.
pub fn parse(parser: &mut Parser) -> Result<Command, Failure> {
    let mut options = Options::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("scenarios") => {
                let words = parser.value()?.string()?;
                let named = words.split(',').map(Which::named).collect::<Option<_>>();
                let names = Which::ALL.map(Which::name).join(", ");
                options.scenarios = named.ok_or_else(|| format!("--scenarios {words:?}: there are {names}"))?;
            }
            Long("sizes") => options.sizes = counts(parser)?,
            Long("windows") => options.window_count = count(parser, 1)?,
            Long("window-ms") => options.window = Duration::from_millis(count(parser, 1)?.into()),
            Long("only") => {
                let word = parser.value()?.string()?;
                let only = Only::named(&word).filter(|only| *only != Only::Tonic);
                options.only = only.ok_or_else(|| format!("--only takes bare or plasma, not {word:?}"))?;
            }
            Long("cpus") => match counts(parser)?[..] {
                [measured, peers] => options.cpus = (measured as usize, peers as usize),
                _ => return Err("--cpus takes two numbers: the measured thread's, its peers'".into()),
            },
            Long("json") => options.json = true,
            Long("help") | Short('h') => return Ok(args::Command::Help(HELP)),
            other => return Err(other.unexpected().into()),
        }
    }
    if let Some(size) = options.sizes.iter().find(|size| **size > SIZE_MAX) {
        return Err(format!("--sizes: an event of {size} bytes is more than the server takes, {SIZE_MAX}").into());
    }
    Ok(Command::Ingest(options))
}

/// A kind of scenario.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Which {
    Redis,
    Subscriber,
    Topics,
    Levels,
    HttpLines,
    HttpSingle,
    HttpMany,
}

/// How events come in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// Over one link.
    Redis,
    /// From so many publishers, so many events in each of their requests.
    Http { publishers: u32, events: u32 },
}

impl Which {
    const ALL: [Self; 7] =
        [Self::Redis, Self::Subscriber, Self::Topics, Self::Levels, Self::HttpLines, Self::HttpSingle, Self::HttpMany];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|which| which.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Subscriber => "subscriber",
            Self::Topics => "topics",
            Self::Levels => "levels",
            Self::HttpLines => "http-lines",
            Self::HttpSingle => "http-single",
            Self::HttpMany => "http-many",
        }
    }

    fn way(self) -> Way {
        match self {
            Self::Redis | Self::Subscriber | Self::Topics | Self::Levels => Way::Redis,
            Self::HttpLines => Way::Http { publishers: 4, events: 1_000 },
            Self::HttpSingle => Way::Http { publishers: 1, events: 1 },
            Self::HttpMany => Way::Http { publishers: 64, events: 1 },
        }
    }

    fn topics(self) -> Vec<String> {
        let count = if self == Self::Topics { 10_000 } else { 1 };
        match self {
            Self::Levels => vec!["program:1234:views".to_owned()],
            _ => (0..count).map(|index| format!("t{index:05}")).collect(),
        }
    }

    fn subscribers(self) -> u32 {
        u32::from(self == Self::Subscriber)
    }

    fn has_sizes(self) -> bool {
        matches!(self, Self::Redis | Self::Subscriber | Self::HttpLines)
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scenario {
    which: Which,
    size: u32,
}

/// Measures every scenario and prints the result.
pub fn run(options: &Options) -> Result<(), Failure> {
    let machine = Machine::look();
    // The peers will need theirs; whether it exists is better known now.
    machine::pin(options.cpus.1)?;
    machine::pin(options.cpus.0)?;
    let rows = scenarios(options).map(|scenario| lane::measure(scenario, options));
    let rows: Vec<Row> = rows.collect::<Result<_, _>>()?;
    if options.json {
        println!("{:#}", to_json(&rows, options, &machine));
        return Ok(());
    }
    let windows = format!("{} windows of {:?} of CPU", options.window_count, options.window);
    print!("{}\n{windows}, median [smallest..largest]\n\n{}", machine.line(), to_text(&rows));
    Ok(())
}

fn scenarios(options: &Options) -> impl Iterator<Item = Scenario> {
    options.scenarios.iter().flat_map(|&which| {
        let size_count = if which.has_sizes() { usize::MAX } else { 1 };
        options.sizes.iter().take(size_count).map(move |&size| Scenario { which, size })
    })
}

fn to_text(rows: &[Row]) -> String {
    let headings =
        ["scenario", "event", "bare, per CPU second", "plasma, per CPU second", "ns each", "ratio", "on CPU", "events"];
    let mut table = Table::new(&headings);
    let rate = |achieved: &Option<Achieved>| achieved.as_ref().map_or_else(String::new, |it| it.rate.to_string());
    for row in rows {
        let both = [&row.bare, &row.plasma].map(|subject| subject.as_ref());
        let shares = both.into_iter().flatten().map(|it| format!("{:.0} %", it.share.median * 100.0));
        table.row(vec![
            row.scenario.which.name().to_owned(),
            bytes(row.scenario.size.into()),
            rate(&row.bare),
            rate(&row.plasma),
            row.plasma.as_ref().map_or_else(String::new, |it| format!("{:.0}", 1e9 / it.rate.median)),
            row.ratio.map_or_else(String::new, |ratio| ratio.to_string()),
            shares.collect::<Vec<_>>().join(", "),
            row.plasma.as_ref().map_or_else(String::new, |it| it.events.to_string()),
        ]);
    }
    table.render()
}

fn to_json(rows: &[Row], options: &Options, machine: &Machine) -> Value {
    let row = |row: &Row| {
        json!({
            "scenario": row.scenario.which.name(),
            "event_bytes": row.scenario.size,
            "bare": row.bare.as_ref().map(Achieved::to_json),
            "plasma": row.plasma.as_ref().map(Achieved::to_json),
            "ratio": row.ratio.map(Spread::to_json),
        })
    };
    json!({
        "machine": machine.to_json(),
        "windows": options.window_count,
        "window_ms": options.window.as_millis(),
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_belong_to_the_scenarios_that_have_them() {
        let options = Options { sizes: vec![150, 1024, 4096], ..Options::default() };
        let count = |which| scenarios(&options).filter(|scenario| scenario.which == which).count();
        assert_eq!(Which::ALL.map(count), [3, 3, 1, 1, 3, 1, 1]);
    }

    #[test]
    fn every_way_brings_every_event_into_the_log() {
        let cpu = rustix::thread::sched_getcpu();
        let options = Options {
            sizes: vec![150],
            window_count: 1,
            window: Duration::from_millis(1),
            cpus: (cpu, cpu),
            history_len: 1 << 20,
            ..Options::default()
        };
        for scenario in scenarios(&options) {
            // Whoever is measured finds out by itself whether all of them have come.
            let row = lane::measure(scenario, &options).expect("nothing is lost");
            assert!(row.bare.is_some_and(|it| it.events > 0) && row.plasma.is_some_and(|it| it.events > 0));
        }
    }
}
