//! Subjects taking turns on one clock, each with a source of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::bare::{BareLink, BareServer};
use super::events;
use super::plasma::{LINKS, Plasma};
use super::source::Source;
use super::{Options, Scenario, Way};
use crate::fanout::{Only, reader::Reader};
use crate::stats::{Spread, ratios};
use crate::{Failure, machine};

/// Turns between two looks at the clock, and before a window begins.
const TURNS: u32 = 8;

/// A window ends at the latest after this many times its length, by the clock on the wall.
const WINDOW_STRETCH_MAX: u32 = 50;

/// Longest time for what was published to arrive after the last window.
const ARRIVE_FOR_MAX: Duration = Duration::from_secs(10);

/// Who takes events in.
enum Subject {
    /// The loop that only receives what Redis pushes.
    Link(Box<BareLink>),
    /// The one that only receives and answers requests.
    Server(Box<BareServer>),
    /// A shard of the server.
    Plasma(Box<Plasma>),
}

impl Subject {
    fn turn(&mut self) -> Result<(), Failure> {
        match self {
            Self::Link(link) => link.turn(),
            Self::Server(server) => server.turn(),
            Self::Plasma(plasma) => plasma.turn(),
        }
    }

    fn events(&self) -> u64 {
        match self {
            Self::Link(link) => link.events(),
            Self::Server(server) => server.events(),
            Self::Plasma(plasma) => plasma.events(),
        }
    }
}

/// A subject, its source, and what it has achieved. The subject goes first: that ends the writes of its source.
struct Lane {
    subject: Subject,
    source: Source,
    /// Reads what the subject's subscribers get.
    _reader: Option<Reader>,
    /// Events per CPU second, one per window.
    rates: Vec<f64>,
    /// CPU time by time on the wall, one per window.
    shares: Vec<f64>,
}

/// What one subject achieved in one scenario.
pub struct Achieved {
    /// Events per CPU second.
    pub rate: Spread,
    /// CPU time by time on the wall.
    pub share: Spread,
    /// Events in all, none of which was lost.
    pub events: u64,
}

impl Achieved {
    /// As an object.
    pub fn to_json(&self) -> Value {
        json!({
            "events_per_cpu_second": self.rate.to_json(),
            "on_cpu": self.share.to_json(),
            "events": self.events,
        })
    }
}

/// One scenario, measured.
pub struct Row {
    /// What was measured.
    pub scenario: Scenario,
    /// The bare loop.
    pub bare: Option<Achieved>,
    /// The shard.
    pub plasma: Option<Achieved>,
    /// Each window of the shard by the mean of the bare loop's before and after it.
    pub ratio: Option<Spread>,
}

/// All windows of both subjects for one scenario: one of the bare loop before each of the shard, and one after the
/// last.
pub fn measure(scenario: Scenario, options: &Options) -> Result<Row, Failure> {
    let topics = scenario.which.topics();
    let events = events::events(&topics, scenario.size)?;
    let mut bare = match options.only.takes(Only::Bare) {
        true => Some(start_bare(scenario, &events, options.cpus.1)?),
        false => None,
    };
    let mut plasma = match options.only.takes(Only::Plasma) {
        true => Some(start_plasma(scenario, &topics, &events, options)?),
        false => None,
    };
    for _ in 0..options.window_count {
        for lane in bare.iter_mut().chain(&mut plasma) {
            lane.window(options.window)?;
        }
    }
    if let (Some(bare), Some(_)) = (&mut bare, &plasma) {
        bare.window(options.window)?;
    }
    let ratio = match (&bare, &plasma) {
        (Some(bare), Some(plasma)) => Spread::of(&ratios(&plasma.rates, &bare.rates)),
        _ => None,
    };
    let achieved = |lane: Option<Lane>| lane.map(Lane::finish).transpose();
    Ok(Row { scenario, bare: achieved(bare)?, plasma: achieved(plasma)?, ratio })
}

fn start_bare(scenario: Scenario, events: &[String], cpu: usize) -> Result<Lane, Failure> {
    match scenario.which.way() {
        Way::Redis => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let address = listener.local_addr()?;
            let source = Source::redis(listener, 1, events, cpu)?;
            let link = BareLink::subscribe(address)?;
            Ok(Lane::new(Subject::Link(Box::new(link)), source, None))
        }
        Way::Http { publishers, events: each } => {
            let request = request(events, each);
            let (mut server, port) = BareServer::listen(request.len(), each)?;
            let source = Source::http(port, request, each, publishers, cpu)?;
            server.accept(publishers)?;
            Ok(Lane::new(Subject::Server(Box::new(server)), source, None))
        }
    }
}

fn start_plasma(scenario: Scenario, topics: &[String], events: &[String], options: &Options) -> Result<Lane, Failure> {
    let &Options { cpus: (_, cpu), history_len, .. } = options;
    let (mut plasma, source) = match scenario.which.way() {
        Way::Redis => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let mut plasma = Plasma::start(Some(listener.local_addr()?), history_len)?;
            let source = Source::redis(listener, LINKS, events, cpu)?;
            plasma.fill(topics, scenario.size)?;
            plasma.await_link()?;
            (plasma, source)
        }
        Way::Http { publishers, events: each } => {
            let mut plasma = Plasma::start(None, history_len)?;
            plasma.fill(topics, scenario.size)?;
            let source = Source::http(plasma.port(), request(events, each), each, publishers, cpu)?;
            (plasma, source)
        }
    };
    let clients = (0..scenario.which.subscribers()).map(|_| plasma.subscribe(&topics[0]));
    let clients: Vec<_> = clients.collect::<Result<_, _>>()?;
    let reader = if clients.is_empty() { None } else { Some(Reader::start(clients, cpu)?) };
    Ok(Lane::new(Subject::Plasma(Box::new(plasma)), source, reader))
}

/// A request with so many of these events, which go round.
fn request(events: &[String], count: u32) -> Vec<u8> {
    let body: Vec<String> = events.iter().cycle().take(count as usize).cloned().collect();
    events::request(&body)
}

impl Lane {
    fn new(subject: Subject, source: Source, reader: Option<Reader>) -> Self {
        source.go();
        Self { subject, source, _reader: reader, rates: Vec::new(), shares: Vec::new() }
    }

    /// Turns until `length` of CPU time is used.
    fn window(&mut self, length: Duration) -> Result<(), Failure> {
        // Another subject was here meanwhile; these turns bring our memory back into the caches.
        self.turn_a_little()?;
        let (start, before, cpu) = (Instant::now(), self.subject.events(), machine::thread_cpu_time());
        let mut spent = Duration::ZERO;
        while spent < length && start.elapsed() < length * WINDOW_STRETCH_MAX {
            self.turn_a_little()?;
            spent = machine::thread_cpu_time() - cpu;
        }
        let events = self.subject.events() - before;
        if events == 0 {
            return Err("nothing has arrived in a whole window".into());
        }
        self.rates.push(events as f64 / spent.as_secs_f64());
        self.shares.push(spent.as_secs_f64() / start.elapsed().as_secs_f64());
        Ok(())
    }

    fn turn_a_little(&mut self) -> Result<(), Failure> {
        self.source.check()?;
        (0..TURNS).try_for_each(|_| self.subject.turn())
    }

    /// Takes in the rest. Fails when one event has not arrived, or has come twice.
    fn finish(mut self) -> Result<Achieved, Failure> {
        self.source.stop();
        let deadline = Instant::now() + ARRIVE_FOR_MAX;
        loop {
            let (is_done, announced) = (self.source.is_done(), self.source.announced());
            match self.subject.events() {
                events if events > announced => return Err("more events arrived than were published".into()),
                events if events == announced && is_done => break,
                events if Instant::now() > deadline => {
                    return Err(format!("{} of {announced} events have not arrived", announced - events).into());
                }
                // An answer goes out with the next turn; a link without news would only sleep.
                events if events < announced || self.source.awaits_answers() => self.subject.turn()?,
                _ => thread::yield_now(),
            }
        }
        let [rate, share] =
            [&self.rates, &self.shares].map(|all| Spread::of(all).expect("there is at least one window"));
        Ok(Achieved { rate, share, events: self.subject.events() })
    }
}
