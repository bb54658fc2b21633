//! What the servers are put through: the load generator's words for each scenario, and the figures that are told of it.

use super::record::Record;
use super::unit::Unit;
use crate::peers::{Peer, Place};

/// One thing to put servers through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Everything to everybody as fast as it is taken, so many events in a request.
    Fanout { batch: u32 },
    /// The same at a rate that all of them can easily take.
    Latency,
    /// Connections on which nothing happens.
    Idle,
    /// A topic for each subscriber.
    Topics,
    /// Some subscribers stop reading.
    Slow,
    /// All are cut off and come back.
    Storm,
    /// gRPC, many streams to a connection.
    Grpc,
}

/// One publisher, who waits for an answer before the next request. A server that answers before it has delivered is
/// soon far behind; the run ends when it has caught up, so the time for publishing is short.
const AT_FULL_SPEED: &str = "--rate max --warmup 0";

/// The engine that leaves most of the machine to the server. It speaks SSE only.
const CHEAPLY: &str = "--engine raw";

/// How large scenarios are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// Subscribers where nothing else is said.
    pub subscribers: u32,
    /// Idle connections.
    pub idle: u32,
    /// Subscribers some of whom stop reading: fewer, so that they can be sent enough to fill sockets.
    pub slow: u32,
    /// Subscribers who are cut off.
    pub storm: u32,
    /// gRPC connections, and streams on each.
    pub grpc: (u32, u32),
    /// How long events are published at full speed.
    pub burst: f64,
    /// How long events are published otherwise.
    pub seconds: f64,
    /// How long before it counts.
    pub warmup: f64,
    /// After so long without an event what is missing is lost.
    pub grace: f64,
}

impl Size {
    /// For measuring.
    pub const WHOLE: Self = Self {
        subscribers: 1_000,
        idle: 10_000,
        slow: 200,
        storm: 5_000,
        grpc: (100, 100),
        burst: 0.5,
        seconds: 5.0,
        warmup: 1.0,
        grace: 3.0,
    };

    /// For seeing that it works.
    pub const QUICK: Self = Self {
        subscribers: 50,
        idle: 50,
        slow: 50,
        storm: 50,
        grpc: (5, 10),
        burst: 0.2,
        seconds: 1.0,
        warmup: 0.2,
        grace: 1.0,
    };
}

/// A figure that is told of each server.
pub struct Column {
    /// Its heading.
    pub heading: &'static str,
    /// How it is written.
    pub unit: Unit,
    /// Where it is found. `None` where it makes no sense.
    pub value: fn(&Record) -> Option<f64>,
}

const fn column(heading: &'static str, unit: Unit, value: fn(&Record) -> Option<f64>) -> Column {
    Column { heading, unit, value }
}

const PER_CPU_SECOND: Column =
    column("deliveries per second of CPU", Unit::Count, |record| record.at("/server/deliveries_per_cpu_second"));
const PER_SECOND: Column = column("per second", Unit::Count, |record| record.at("/deliveries/per_second"));
const LOST: Column = column("lost in silence", Unit::Count, |record| record.at("/events/lost"));
const TOLD: Column = column("lost and told", Unit::Count, |record| record.at("/events/told"));
const P99: Column = column("p99", Unit::Micros, |record| record.at("/latency/p99"));

const FLOW: &[Column] = &[PER_CPU_SECOND, PER_SECOND, P99, LOST, TOLD];

const LATENCY: &[Column] = &[
    column("p50", Unit::Micros, |record| record.at("/latency/p50")),
    P99,
    column("p99.9", Unit::Micros, |record| record.at("/latency/p999")),
    column("p99.99", Unit::Micros, |record| record.at("/latency/p9999")),
    column("max", Unit::Micros, |record| record.at("/latency/max")),
    PER_CPU_SECOND,
    LOST,
];

const IDLE: &[Column] = &[
    column("RSS growth per connection", Unit::Bytes, |record| record.at("/process/bytes_growth")),
    column("PSS growth per connection", Unit::Bytes, Record::pss_growth),
    column("RSS", Unit::Bytes, |record| record.at("/process/rss")),
    column("PSS", Unit::Bytes, |record| record.at("/process/pss")),
    column("PSS before", Unit::Bytes, |record| Some(record.before?.pss as f64)),
];

const SLOW: &[Column] = &[
    column("p99 of the others before", Unit::Micros, |record| record.at("/before/p99")),
    column("p99 of the others during", Unit::Micros, |record| record.at("/during/p99")),
    column("p99.9 before", Unit::Micros, |record| record.at("/before/p999")),
    column("p99.9 during", Unit::Micros, |record| record.at("/during/p999")),
    column("RSS after", Unit::Bytes, |record| record.at("/server/rss")),
    LOST,
    TOLD,
];

const STORM: &[Column] = &[
    column("all back after", Unit::Seconds, |record| record.at("/storm/back_seconds")),
    column("nothing missing after", Unit::Seconds, |record| {
        let missing = record.at("/events/lost")? + record.at("/events/told")?;
        (missing == 0.0).then(|| record.at("/storm/recovered_seconds")).flatten()
    }),
    LOST,
    TOLD,
];

impl Scenario {
    /// All of them, in the order in which they run: the first ones find out what rate the servers can take.
    pub const ALL: [Self; 8] = [
        Self::Fanout { batch: 1 },
        Self::Fanout { batch: 16 },
        Self::Latency,
        Self::Idle,
        Self::Topics,
        Self::Slow,
        Self::Storm,
        Self::Grpc,
    ];

    /// As it is called on the command line; several may share a name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fanout { .. } => "fanout",
            Self::Latency => "latency",
            Self::Idle => "idle",
            Self::Topics => "topics",
            Self::Slow => "slow",
            Self::Storm => "storm",
            Self::Grpc => "grpc",
        }
    }

    /// A name of its own.
    pub fn key(self) -> String {
        match self {
            Self::Fanout { batch } => format!("fanout-{batch}"),
            other => other.name().to_owned(),
        }
    }

    /// What it is, as a heading.
    pub fn title(self, size: &Size) -> String {
        let Size { subscribers, idle, slow, storm, grpc: (connections, streams), .. } = size;
        match self {
            Self::Fanout { batch: 1 } => {
                format!("{subscribers} subscribers of one topic, at full speed, event by event")
            }
            Self::Fanout { batch } => {
                format!("{subscribers} subscribers of one topic, at full speed, {batch} at a time")
            }
            Self::Latency => format!("Latency to {subscribers} subscribers, at a tenth of the slowest one's speed"),
            Self::Idle => format!("{idle} idle connections"),
            Self::Topics => format!("{subscribers} topics with a subscriber each, at full speed"),
            Self::Slow => format!("A tenth of {slow} subscribers stops reading"),
            Self::Storm => format!("{storm} subscribers are cut off at once and come back"),
            Self::Grpc => format!("gRPC: {connections} connections with {streams} streams each, 20 events per second"),
        }
    }

    /// The figures that are told.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Fanout { .. } | Self::Topics | Self::Grpc => FLOW,
            Self::Latency => LATENCY,
            Self::Idle => IDLE,
            Self::Slow => SLOW,
            Self::Storm => STORM,
        }
    }

    /// Whether a server has what it takes.
    pub fn suits(self, peer: Peer) -> bool {
        match self {
            Self::Grpc => matches!(peer, Peer::Plasma | Peer::Tonic),
            Self::Topics => matches!(peer, Peer::Plasma | Peer::Nchan | Peer::Axum),
            _ => peer != Peer::Tonic,
        }
    }

    /// How many subscribers there are.
    pub fn subscribers(self, size: &Size) -> u32 {
        match self {
            Self::Fanout { .. } | Self::Latency | Self::Topics => size.subscribers,
            Self::Idle => size.idle,
            Self::Slow => size.slow,
            Self::Storm => size.storm,
            Self::Grpc => size.grpc.0 * size.grpc.1,
        }
    }

    /// What the load generator is told, but for where the server is. `rate` is for scenarios at a fixed one.
    pub fn words(self, size: &Size, rate: f64) -> String {
        let Size { burst, seconds, warmup, grace, grpc: (_, streams), .. } = size;
        let subscribers = self.subscribers(size);
        let timed = format!("--duration {seconds} --warmup {warmup}");
        let (command, more) = match self {
            Self::Fanout { batch } => ("fanout", format!("{AT_FULL_SPEED} --duration {burst} --batch {batch}")),
            Self::Latency => ("fanout", format!("--rate {rate:.1} {timed}")),
            Self::Idle => ("hold", String::new()),
            // Each event is for one: nobody falls behind.
            Self::Topics => {
                ("fanout", format!("{AT_FULL_SPEED} --duration {seconds} --batch 64 --topics {subscribers}"))
            }
            // Half a megabyte per second for each: what the kernel keeps for who does not read is soon full.
            Self::Slow => ("slow", format!("--share 10 --rate 250 --size 2000 {timed}")),
            Self::Storm => ("storm", format!("--rate 10 {timed}")),
            Self::Grpc => ("fanout", format!("--rate 20 --protocol grpc --streams {streams} {timed}")),
        };
        let engine = if self == Self::Grpc { "" } else { CHEAPLY };
        format!("{command} -n {subscribers} {more} {engine} --grace {grace}")
    }
}

/// Where the server is, in the load generator's words.
pub fn place_words(peer: Peer, place: Place, pids: &[u32]) -> Vec<String> {
    let Place { port, publish_port, .. } = place;
    let (path, publish, format) = match peer {
        Peer::Nchan => ("/sub/{topic}", "/pub/{topic}", "raw"),
        _ => ("/?eventType={topic}", "/events", "plasma"),
    };
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    [
        ("--target", format!("http://127.0.0.1:{port}")),
        ("--path", path.to_owned()),
        ("--publish", format!("http://127.0.0.1:{publish_port}{publish}")),
        ("--format", format.to_owned()),
        ("--pid", pids.join(",")),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect()
}
