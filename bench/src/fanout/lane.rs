//! Subjects taking turns on one clock.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bare::{Bare, Layout};
use super::plasma::Plasma;
use super::reader::Reader;
use super::{Burst, Only, Options, Scenario, Sent};
use crate::stats::{Spread, ratios};
use crate::{Failure, machine};

/// Messages that every connection gets before the clock starts: TCP acknowledges the first ones singly.
const WARM_UP_ROUNDS: u32 = 20;

/// Longest time for a round to arrive: a hundred times what the largest takes.
const ROUND_FOR_MAX: Duration = Duration::from_secs(10);

/// A window ends at the latest after this many times its length, by the clock on the wall.
const WINDOW_STRETCH_MAX: u32 = 50;

/// Who sends.
enum Subject {
    /// The loop that only sends.
    Bare(Box<Bare>),
    /// A shard of the server.
    Plasma(Box<Plasma>),
}

impl Subject {
    /// Sends one burst to everyone, on the calling thread, and returns when the kernel has all of it.
    fn round(&mut self, burst: Burst) -> Result<Sent, Failure> {
        match self {
            Self::Bare(bare) => bare.round(burst),
            Self::Plasma(plasma) => plasma.round(burst),
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

/// What one subject achieved in one scenario.
pub struct Achieved {
    /// Deliveries per CPU second.
    pub rate: Spread,
    /// CPU time by time on the wall.
    pub share: Spread,
    /// Sends that took less than they should.
    pub short: u64,
}

impl Achieved {
    /// As an object.
    pub fn to_json(&self) -> Value {
        json!({
            "deliveries_per_cpu_second": self.rate.to_json(),
            "on_cpu": self.share.to_json(),
            "short_sends": self.short,
        })
    }
}

/// One scenario, measured.
pub struct Row {
    /// What was measured.
    pub scenario: Scenario,
    /// With how many connections each.
    pub connections: u32,
    /// The bare loop.
    pub bare: Option<Achieved>,
    /// The bare loop that gathers, where Plasma has to.
    pub gathering: Option<Achieved>,
    /// The shard.
    pub plasma: Option<Achieved>,
    /// Each window of the shard by the mean of the bare loop's before and after it.
    pub ratio: Option<Spread>,
    /// The same with the loop that gathers.
    pub ratio_gathering: Option<Spread>,
}

/// All windows of all subjects for one scenario. Where the bare loop takes part, it has a window before each window of
/// the shard and one after the last.
pub fn measure(scenario: Scenario, options: &Options) -> Result<Row, Failure> {
    let Scenario { burst, topics } = scenario;
    let connections = scenario.connections(options);
    let start_bare = |layout| -> Result<Lane, Failure> {
        let (bare, clients) = Bare::start(connections, layout)?;
        Ok(Lane::new(Subject::Bare(Box::new(bare)), Reader::start(clients, options.cpus.1)?))
    };
    let mut lanes: Vec<Lane> = Vec::new();
    let with_bare = options.only.takes(Only::Bare);
    let with_gathering = with_bare && scenario.is_scattered();
    if with_bare {
        lanes.push(start_bare(Layout::Contiguous)?);
    }
    if with_gathering {
        lanes.push(start_bare(Layout::Scattered)?);
    }
    let reference_count = lanes.len();
    if options.only.takes(Only::Plasma) {
        let (plasma, clients) = Plasma::start(connections, topics.count(connections))?;
        lanes.push(Lane::new(Subject::Plasma(Box::new(plasma)), Reader::start(clients, options.cpus.1)?));
    }
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
    let is_compared = reference_count < lanes.len();
    if is_compared {
        for lane in &mut lanes[..reference_count] {
            lane.window(burst, options.window)?;
        }
    }
    let plasma = is_compared.then(|| lanes.pop()).flatten();
    let gathering = if with_gathering { lanes.pop() } else { None };
    let bare = lanes.pop();
    let ratio = |of: &Option<Lane>| Spread::of(&ratios(&plasma.as_ref()?.rates, &of.as_ref()?.rates));
    let (ratio, ratio_gathering) = (ratio(&bare), ratio(&gathering));
    let [bare, gathering, plasma] = [bare, gathering, plasma].map(|lane| lane.map(|lane| lane.achieved()));
    Ok(Row { scenario, connections, bare, gathering, plasma, ratio, ratio_gathering })
}

impl Lane {
    fn new(subject: Subject, reader: Reader) -> Self {
        Self { bytes: reader.bytes(), subject, reader, short: 0, rates: Vec::new(), shares: Vec::new() }
    }

    fn achieved(self) -> Achieved {
        let [rate, share] =
            [&self.rates, &self.shares].map(|all| Spread::of(all).expect("there is at least one window"));
        Achieved { rate, share, short: self.short }
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
