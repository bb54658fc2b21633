//! Deliveries per second of CPU of the sending thread.
//!
//! The sending thread is this one, pinned to a CPU of its own; readers are threads on another CPU. A round sends a
//! burst of waiting events to every connection, and the next one starts when the readers have seen every byte of it: a
//! full socket never counts as a delivery, and no round pays for another one's backlog. Only the rounds are on the
//! clock, and the clock is the thread's CPU time: another process on the machine costs patience, not deliveries.
//!
//! Subjects take turns, window by window, so that what disturbs the machine disturbs all of them.

mod bare;
mod reader;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::machine::{self, Machine};
use crate::report::Table;
use crate::stats::{Spread, bytes};
use crate::{Failure, ring};
use bare::Bare;
use reader::Reader;

/// What `--help` says.
pub const HELP: &str = "\
Deliveries (events x connections) per second of CPU of a thread that does nothing but send.

The thread is pinned to one CPU, sends one buffer with all waiting events to each of N loopback connections
(io_uring, direct descriptors, 128 sends per system call), and waits off the clock until a reader on another CPU
has seen every byte. On loopback the sender's CPU also pays for the receiver's half of TCP.

Usage: bench fanout-bare [OPTIONS]

  -n, --connections N    connections (1000); fewer where a round would exceed 64 MiB, as the table shows
      --events K,K,..    events waiting per round (1,8,16,64)
      --sizes S,S,..     bytes per event (150,1024,16384)
      --windows W        measurements per line (5)
      --window-ms MS     CPU time per measurement in milliseconds (200)
      --cpus S,R         the sender's CPU and the reader's (0,1)
      --json             print JSON instead of the table
  -h, --help             this text

Each figure is the median of the windows, with [smallest..largest]. `on CPU` is the share of the wall time that the
sender was on the clock: where it is low without long waits for the reader (large events), other processes had the CPU,
left cold caches behind, and the rate is too low as well.
";

/// Bytes that one round may put into sockets: far below what TCP may use before it presses back (`tcp_mem`).
const ROUND_LEN_MAX: u64 = 64 << 20;

/// Messages that every connection gets before the clock starts: TCP acknowledges the first ones singly.
const WARM_UP_ROUNDS: u32 = 20;

/// Longest time for a round to arrive: a hundred times what the largest takes.
const ROUND_FOR_MAX: Duration = Duration::from_secs(10);

/// A window ends at the latest after this many times its length, by the clock on the wall.
const WINDOW_STRETCH_MAX: u32 = 50;

/// What to measure.
#[derive(Debug, PartialEq)]
pub struct Options {
    /// Connections, at most.
    pub connections: u32,
    /// Events waiting per round.
    pub events: Vec<u32>,
    /// Bytes per event.
    pub sizes: Vec<u32>,
    /// Windows per subject and scenario.
    pub window_count: u32,
    /// CPU time per window.
    pub window: Duration,
    /// The sender's CPU and the readers'.
    pub cpus: (usize, usize),
    /// JSON instead of a table.
    pub json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 1000,
            events: vec![1, 8, 16, 64],
            sizes: vec![150, 1024, 16 * 1024],
            window_count: 5,
            window: Duration::from_millis(200),
            cpus: (0, 1),
            json: false,
        }
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

/// Who sends.
enum Subject {
    /// The loop that only sends.
    Bare(Bare),
}

impl Subject {
    fn name(&self) -> &'static str {
        match self {
            Self::Bare(_) => "bare",
        }
    }

    /// Sends one burst to everyone, on the calling thread, and returns when the kernel has all of it.
    fn round(&mut self, burst: Burst) -> Result<Sent, Failure> {
        match self {
            Self::Bare(bare) => bare.round(burst),
        }
    }
}

/// A subject, the reader at its other end, and what it has achieved.
struct Lane {
    subject: Subject,
    reader: Reader,
    /// Bytes that the reader must have seen before the next round.
    bytes: u64,
    short: u64,
    /// Deliveries per CPU second, one per window.
    rates: Vec<f64>,
    /// CPU time by time on the wall, one per window.
    shares: Vec<f64>,
}

/// What one subject achieved with one burst.
struct Row {
    burst: Burst,
    connections: u32,
    subject: &'static str,
    rate: Spread,
    share: Spread,
    short: u64,
}

/// Measures every burst and prints the result.
pub fn run(options: &Options) -> Result<(), Failure> {
    let machine = Machine::look();
    check(options)?;
    // The readers will need theirs; whether it exists is better known now.
    machine::pin(options.cpus.1)?;
    machine::pin(options.cpus.0)?;
    let mut rows = Vec::new();
    for &size in &options.sizes {
        for &events in &options.events {
            rows.extend(measure(Burst { events, size }, options)?);
        }
    }
    if options.json {
        println!("{:#}", to_json(&rows, options, &machine));
    } else {
        print!("{}", to_text(&rows, options, &machine));
    }
    Ok(())
}

fn check(options: &Options) -> Result<(), Failure> {
    let most = machine::file_limit().saturating_sub(64).min(ring::SLOTS_MAX);
    if options.connections > most {
        return Err(format!(
            "{} connections are more than the limit of open files allows ({most})",
            options.connections
        )
        .into());
    }
    let longest = |numbers: &[u32]| numbers.iter().copied().max().map(u64::from).unwrap_or(0);
    if longest(&options.events) * longest(&options.sizes) > ROUND_LEN_MAX {
        return Err(format!("a burst of more than {} does not fit a round", bytes(ROUND_LEN_MAX)).into());
    }
    if options.events.contains(&0) || options.sizes.contains(&0) {
        return Err("bursts and events have a length of at least 1".into());
    }
    Ok(())
}

/// All windows of all subjects for one burst.
fn measure(burst: Burst, options: &Options) -> Result<Vec<Row>, Failure> {
    let fitting = u32::try_from(ROUND_LEN_MAX / u64::from(burst.len())).unwrap_or(u32::MAX);
    let connections = options.connections.min(fitting);
    let (bare, clients) = Bare::start(connections)?;
    let mut lanes = [Lane::new(Subject::Bare(bare), Reader::start(clients, options.cpus.1)?)];
    for lane in &mut lanes {
        for _ in 0..WARM_UP_ROUNDS {
            lane.round(burst)?;
        }
        lane.short = 0;
    }
    for _ in 0..options.window_count {
        for lane in &mut lanes {
            lane.window(burst, options.window)?;
        }
    }
    let row = |lane: &Lane| {
        let [rate, share] =
            [&lane.rates, &lane.shares].map(|all| Spread::of(all).expect("there is at least one window"));
        Row { burst, connections, subject: lane.subject.name(), rate, share, short: lane.short }
    };
    Ok(lanes.iter().map(row).collect())
}

impl Lane {
    fn new(subject: Subject, reader: Reader) -> Self {
        Self { bytes: reader.bytes(), subject, reader, short: 0, rates: Vec::new(), shares: Vec::new() }
    }

    /// One round and its CPU time; then, off the clock, the reader catches up.
    fn round(&mut self, burst: Burst) -> Result<(Sent, Duration), Failure> {
        let before = machine::thread_cpu_time();
        let sent = self.subject.round(burst)?;
        let spent = machine::thread_cpu_time() - before;
        self.bytes += sent.bytes;
        self.short += sent.short;
        self.reader.wait_for(self.bytes, ROUND_FOR_MAX)?;
        Ok((sent, spent))
    }

    /// Rounds until `window` of CPU time is used.
    fn window(&mut self, burst: Burst, window: Duration) -> Result<(), Failure> {
        // Another subject was here meanwhile; this round brings our sockets back into the caches.
        self.round(burst)?;
        let (start, mut deliveries, mut spent) = (Instant::now(), 0, Duration::ZERO);
        while spent < window && start.elapsed() < window * WINDOW_STRETCH_MAX {
            let (sent, by) = self.round(burst)?;
            deliveries += sent.deliveries;
            spent += by;
        }
        self.rates.push(deliveries as f64 / spent.as_secs_f64());
        self.shares.push(spent.as_secs_f64() / start.elapsed().as_secs_f64());
        Ok(())
    }
}

fn to_text(rows: &[Row], options: &Options, machine: &Machine) -> String {
    let mut table = Table::new(&[
        "event",
        "waiting",
        "connections",
        "subject",
        "deliveries per CPU second",
        "on CPU",
        "short sends",
    ]);
    for row in rows {
        table.row(vec![
            bytes(row.burst.size.into()),
            row.burst.events.to_string(),
            row.connections.to_string(),
            row.subject.to_owned(),
            row.rate.to_string(),
            format!("{:.0} %", row.share.median * 100.0),
            row.short.to_string(),
        ]);
    }
    let windows = format!("{} windows of {:?} of CPU", options.window_count, options.window);
    format!("{}\n{windows}, median [smallest..largest]\n\n{}", machine.line(), table.render())
}

fn to_json(rows: &[Row], options: &Options, machine: &Machine) -> Value {
    let row = |row: &Row| {
        json!({
            "event_bytes": row.burst.size,
            "events_waiting": row.burst.events,
            "connections": row.connections,
            "subject": row.subject,
            "deliveries_per_cpu_second": row.rate.to_json(),
            "on_cpu": row.share.to_json(),
            "short_sends": row.short,
        })
    };
    json!({
        "machine": machine.to_json(),
        "windows": options.window_count,
        "window_ms": options.window.as_millis(),
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
    })
}
