//! Deliveries per second of CPU of the sending thread: a shard of the server next to a loop that only sends.
//!
//! The sending thread is this one, pinned to a CPU of its own; readers are threads on another CPU. A round sends a
//! burst of waiting events to every connection, and the next one starts when the readers have seen every byte of it: a
//! full socket never counts as a delivery, and no round pays for another one's backlog. Only the rounds are on the
//! clock, and the clock is the thread's CPU time: another process on the machine costs patience, not deliveries.
//!
//! Subjects take turns, window by window, so that what disturbs the machine disturbs all of them; a ratio compares a
//! window only with its neighbours. Not measured: latency, how events come into the server, and what a network card
//! would do: on loopback the sender's CPU pays for the receiver's half of TCP as well.

mod bare;
mod lane;
pub mod plasma;
pub mod reader;
mod streams;

use std::time::Duration;

use serde_json::{Value, json};

use crate::machine::{self, Machine};
use crate::report::Table;
use crate::stats::{Spread, bytes};
use crate::{Failure, ring};
use lane::{Achieved, Row};
pub use streams::Shape;
use streams::Streams;

/// What `--help` says.
pub const HELP: &str = "\
Deliveries (events x connections) per second of CPU of the sending thread: a shard of Plasma next to a bare loop that
does nothing but send, and, for gRPC, next to a server written with tonic.

Both run in this process on one thread, pinned to one CPU, and take turns: bare, plasma, bare, plasma, …, bare. Each has
N loopback connections of its own. A round makes K events wait for every connection, sends them, and lasts off the clock
until a reader on another CPU has seen every byte. The bare loop sends one buffer with all K to each socket (io_uring,
direct descriptors, 512 sends per system call); Plasma numbers, frames, logs and fans them out. On loopback the sender's
CPU also pays for the receiver's half of TCP.

Usage: bench fanout [OPTIONS]

  -n, --connections N    connections (1000); fewer where a round would exceed 64 MiB, as the table shows
      --scenarios S,S,.. which ones (bursts,alternating,topics,grpc):
                           bursts       one topic that everybody has
                           alternating  two topics, each with half of the connections, whose events alternate, so that
                                        what waits for a connection does not lie in one piece; 150 bytes
                           topics       as many topics as connections, one event in each; 150 bytes
                           grpc         streams of proto.StreamService/Events, all of one topic; 150 bytes a message
      --events K,K,..    events waiting per round, for bursts and alternating (1,8,16,64), for grpc (1,16)
      --sizes S,S,..     bytes per event, framed, for bursts (150,1024,16384)
      --topics N         connections of the scenario `topics` (10000, or what the limit of open files allows)
      --shapes CxS,..    connections and streams on each, for grpc (1000x1,10x100,100x100,10000x1)
      --windows W        measurements per line and subject (25); many short ones even out a busy machine
      --window-ms MS     CPU time per measurement in milliseconds (50)
      --only WHO         bare, tonic or plasma alone, for a profiler
      --cpus S,R         the sender's CPU and the reader's (0,1)
      --json             print JSON instead of the table
  -h, --help             this text

Each figure is the median of the windows, with [smallest..largest]. `ratio` is a window of Plasma by the mean of the
bare windows before and after it; `by gather` the same, by a bare loop that gathers its events from as many places as
Plasma has to. `on CPU` is the share of the wall time that the sender was on the clock: where it is low without long
waits for the reader (large events), other processes had the CPU, left cold caches behind, and the rate is too low as
well. `short` counts sends that a full socket cut short: of the bare loop, of Plasma.

With gRPC the reader looks at the head of every frame and counts the bytes of each stream; a line takes at most seconds,
with fewer windows where a round is long. Memory is that of a child process before and with so many idle streams.
";

/// Bytes that one round may put into sockets: far below what TCP may use before it presses back (`tcp_mem`).
const ROUND_LEN_MAX: u64 = 64 << 20;

/// Bytes of an event where the size is not the question.
const SIZE: u32 = 150;

/// Descriptors for everything but the readers' ends of connections.
const SPARE_FILES: u32 = 64;

/// What to measure.
#[derive(Debug, PartialEq)]
pub struct Options {
    /// Connections, at most.
    pub connections: u32,
    /// Which scenarios.
    pub scenarios: Vec<Which>,
    /// Events waiting per round.
    pub events: Vec<u32>,
    /// Bytes per event.
    pub sizes: Vec<u32>,
    /// Connections of the scenario with a topic for each.
    pub topics: u32,
    /// Events waiting per round on gRPC streams.
    pub grpc_events: Vec<u32>,
    /// Connections of gRPC streams, and streams on each.
    pub shapes: Vec<Shape>,
    /// Windows per subject and scenario.
    pub window_count: u32,
    /// CPU time per window.
    pub window: Duration,
    /// Who takes part.
    pub only: Only,
    /// The sender's CPU and the readers'.
    pub cpus: (usize, usize),
    /// JSON instead of a table.
    pub json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 1000,
            scenarios: Which::ALL.to_vec(),
            events: vec![1, 8, 16, 64],
            sizes: vec![SIZE, 1024, 16 * 1024],
            topics: 10_000,
            grpc_events: vec![1, 16],
            shapes: [(1_000, 1), (10, 100), (100, 100), (10_000, 1)].map(Shape::from).to_vec(),
            window_count: 25,
            window: Duration::from_millis(50),
            only: Only::Nobody,
            cpus: (0, 1),
            json: false,
        }
    }
}

/// A kind of scenario, by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Which {
    /// One topic for all.
    Bursts,
    /// Two topics whose events alternate.
    Alternating,
    /// A topic for each.
    Topics,
    /// gRPC streams, one topic for all.
    Grpc,
}

impl Which {
    const ALL: [Self; 4] = [Self::Bursts, Self::Alternating, Self::Topics, Self::Grpc];

    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|which| which.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Bursts => "bursts",
            Self::Alternating => "alternating",
            Self::Topics => "topics",
            Self::Grpc => "grpc",
        }
    }
}

/// Who is measured alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Only {
    /// All take part.
    Nobody,
    /// The bare loop.
    Bare,
    /// The server written with tonic.
    Tonic,
    /// The shard.
    Plasma,
}

impl Only {
    /// By its name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "bare" => Some(Self::Bare),
            "tonic" => Some(Self::Tonic),
            "plasma" => Some(Self::Plasma),
            _ => None,
        }
    }

    /// Whether `who` takes part.
    pub fn takes(self, who: Self) -> bool {
        self == Self::Nobody || self == who
    }
}

/// What waits for every connection when a round starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burst {
    /// How many events.
    pub events: u32,
    /// Bytes of each, framing included.
    pub size: u32,
}

impl Burst {
    /// Bytes in all, for one connection.
    pub fn len(self) -> u32 {
        self.events * self.size
    }
}

/// A burst and how it comes about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scenario {
    /// What each connection gets.
    pub burst: Burst,
    /// From which topics.
    pub topics: Which,
}

impl Scenario {
    /// With how many connections it is measured.
    fn connections(self, options: &Options) -> u32 {
        let wanted = if self.topics == Which::Topics { options.topics } else { options.connections };
        // Each subject's readers are in this process.
        let subjects = if options.only == Only::Nobody { 2 + u32::from(self.is_scattered()) } else { 1 };
        let files = machine::file_limit().saturating_sub(SPARE_FILES) / subjects;
        let fitting = u32::try_from(ROUND_LEN_MAX / u64::from(self.burst.len())).unwrap_or(u32::MAX);
        wanted.min(fitting).min(files).min(ring::SLOTS_MAX)
    }

    /// Whether the events of one connection lie apart from each other in Plasma's log.
    fn is_scattered(self) -> bool {
        self.topics == Which::Alternating && self.burst.events > 1
    }
}

impl Which {
    /// Topics among `connections` connections.
    fn count(self, connections: u32) -> u32 {
        match self {
            Self::Bursts | Self::Grpc => 1,
            Self::Alternating => 2,
            Self::Topics => connections,
        }
    }
}

/// What a round did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Whole events that went out, over all connections.
    pub deliveries: u64,
    /// Sends that took less than they should.
    pub short: u64,
    /// Bytes that went out.
    pub bytes: u64,
}

/// Measures every scenario and prints the result.
pub fn run(options: &Options) -> Result<(), Failure> {
    let machine = Machine::look();
    check(options)?;
    // The readers will need theirs; whether it exists is better known now.
    machine::pin(options.cpus.1)?;
    machine::pin(options.cpus.0)?;
    let rows = scenarios(options).into_iter().map(|scenario| lane::measure(scenario, options));
    let rows: Vec<Row> = rows.collect::<Result<_, _>>()?;
    let streams = if options.scenarios.contains(&Which::Grpc) { Some(streams::measure(options)?) } else { None };
    if options.json {
        println!("{:#}", to_json(&rows, streams.as_ref(), options, &machine));
        return Ok(());
    }
    let windows = format!("{} windows of {:?} of CPU", options.window_count, options.window);
    println!("{}\n{windows}, median [smallest..largest]", machine.line());
    let tables = [(!rows.is_empty()).then(|| to_text(&rows)), streams.as_ref().map(Streams::to_text)];
    for table in tables.into_iter().flatten() {
        print!("\n{table}");
    }
    Ok(())
}

fn check(options: &Options) -> Result<(), Failure> {
    let longest = |numbers: &[u32]| numbers.iter().copied().max().map(u64::from).unwrap_or(0);
    if longest(&options.events) * longest(&options.sizes) > ROUND_LEN_MAX {
        return Err(format!("a burst of more than {} does not fit a round", bytes(ROUND_LEN_MAX)).into());
    }
    if options.events.contains(&0) || options.sizes.contains(&0) {
        return Err("bursts and events have a length of at least 1".into());
    }
    Ok(())
}

/// Everything to measure, in this order.
fn scenarios(options: &Options) -> Vec<Scenario> {
    let mut all = Vec::new();
    let without_streams = options.scenarios.iter().filter(|which| **which != Which::Grpc);
    for &topics in without_streams {
        let sizes = if topics == Which::Bursts { options.sizes.as_slice() } else { &[SIZE] };
        let events = if topics == Which::Topics { &[1] } else { options.events.as_slice() };
        for &size in sizes {
            all.extend(events.iter().map(|&events| Scenario { burst: Burst { events, size }, topics }));
        }
    }
    all
}

fn to_text(rows: &[Row]) -> String {
    let mut table = Table::new(&[
        "scenario",
        "event",
        "waiting",
        "connections",
        "bare, per CPU second",
        "plasma, per CPU second",
        "ratio",
        "by gather",
        "on CPU",
        "short",
    ]);
    let rate = |achieved: &Option<Achieved>| achieved.as_ref().map_or_else(String::new, |it| it.rate.to_string());
    let ratio = |ratio: &Option<Spread>| ratio.map_or_else(String::new, |ratio| ratio.to_string());
    for row in rows {
        let both = [&row.bare, &row.plasma].map(|subject| subject.as_ref());
        let told = |word: fn(&Achieved) -> String| both.into_iter().flatten().map(word).collect::<Vec<_>>().join(", ");
        table.row(vec![
            row.scenario.topics.name().to_owned(),
            bytes(row.scenario.burst.size.into()),
            row.scenario.burst.events.to_string(),
            row.connections.to_string(),
            rate(&row.bare),
            rate(&row.plasma),
            ratio(&row.ratio),
            ratio(&row.ratio_gathering),
            told(|it| format!("{:.0} %", it.share.median * 100.0)),
            told(|it| it.short.to_string()),
        ]);
    }
    table.render()
}

fn to_json(rows: &[Row], streams: Option<&Streams>, options: &Options, machine: &Machine) -> Value {
    let achieved = |achieved: &Option<Achieved>| achieved.as_ref().map(Achieved::to_json);
    let row = |row: &Row| {
        json!({
            "scenario": row.scenario.topics.name(),
            "event_bytes": row.scenario.burst.size,
            "events_waiting": row.scenario.burst.events,
            "connections": row.connections,
            "bare": achieved(&row.bare),
            "bare_gathering": achieved(&row.gathering),
            "plasma": achieved(&row.plasma),
            "ratio": row.ratio.map(Spread::to_json),
            "ratio_gathering": row.ratio_gathering.map(Spread::to_json),
        })
    };
    json!({
        "machine": machine.to_json(),
        "windows": options.window_count,
        "window_ms": options.window.as_millis(),
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
        "grpc": streams.map(Streams::to_json),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bursts_come_in_all_sizes_and_topics_get_one_event() {
        let options = Options { events: vec![1, 8], sizes: vec![150, 1024], ..Options::default() };
        let all = scenarios(&options);
        let count = |which| all.iter().filter(|scenario| scenario.topics == which).count();
        assert_eq!([Which::Bursts, Which::Alternating, Which::Topics].map(count), [4, 2, 1]);
    }

    #[test]
    fn a_round_never_exceeds_its_bound() {
        let burst = Burst { events: 64, size: 16 * 1024 };
        let scenario = Scenario { burst, topics: Which::Bursts };
        assert_eq!(scenario.connections(&Options::default()), 64);
        assert!(!scenario.is_scattered());
    }
}
