//! The publishers' threads: numbers from the board, stamps, batches, and what became of them.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::schedule::{self, Schedule};
use super::{Answer, Event, Link, Way};
use crate::Failure;
use crate::board::topic_name;
use crate::books::{Run, histogram, nanos_since};
use crate::stamp::Stamp;

/// Longest sleep at a time: an order to stop is heard this soon.
const SLEEP_FOR_MAX: Duration = Duration::from_millis(20);

/// How long a publisher without a schedule leaves a server alone that did not accept a batch.
const REFUSED_FOR: Duration = Duration::from_millis(20);

/// Most reasons that are told apart. A server that puts a moment or an id into its words has a new one every time.
const REASONS_MAX: usize = 32;

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many events per second over all publishers, each due at its moment.
    Rate(f64),
    /// As fast as they are accepted; an event is due when its sending begins.
    Max,
}

/// How long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What is due in that time, even if some of it goes out later. [`Duration::MAX`] lasts until the stop.
    For(Duration),
    /// So many events over all publishers.
    Events(u64),
}

/// What all publishers need to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How fast.
    pub pace: Pace,
    /// How long.
    pub extent: Extent,
    /// Most events in a batch; 0 is taken for 1.
    pub batch: usize,
    /// Bytes of data per event, unless its stamp is longer.
    pub data_len: usize,
    /// Names of topics begin with this.
    pub topic_prefix: String,
}

/// What everybody may look at while events are published.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events that were accepted.
    pub accepted: AtomicU64,
    /// Events that were not, or of which nobody knows.
    pub refused: AtomicU64,
    /// Batches that were sent.
    pub batches: AtomicU64,
    /// Batches whose connection broke, or could not be made.
    pub broken: AtomicU64,
}

/// What publishing has come to.
pub struct Findings {
    /// Events that were accepted.
    pub accepted: u64,
    /// Events that were not, or of which nobody knows.
    pub refused: u64,
    /// Batches that were sent.
    pub batches: u64,
    /// Batches whose connection broke, or could not be made.
    pub broken: u64,
    /// How many events were refused, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// How much later than its first event was due each batch was sent, in nanoseconds. Empty without a schedule.
    pub lag: Histogram<u64>,
    /// From the start to the last answer.
    pub took: Duration,
}

/// All publishers of a run.
pub struct Publishers {
    /// How things stand.
    pub counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Findings>>,
}

impl Publishers {
    /// Connects as many publishers as the board has, and starts them.
    ///
    /// # Errors
    /// One of them could not connect.
    pub fn start(way: &Way, plan: &Plan, run: &Run) -> Result<Self, Failure> {
        let links = (0..run.board.publishers).map(|_| way.connect()).collect::<Result<_, _>>()?;
        Self::start_with(links, plan, run)
    }

    /// Starts a publisher for each of these links, as many as the board has.
    pub fn start_with(links: Vec<Box<dyn Link>>, plan: &Plan, run: &Run) -> Result<Self, Failure> {
        let mut publishers = Self { counters: Arc::default(), stop: Arc::default(), threads: Vec::new() };
        let start = nanos_since(run.began);
        for (index, link) in (0..run.board.publishers).zip(links) {
            let publisher = Publisher {
                index,
                streams: run.board.of_publisher(index).collect(),
                plan: Plan { batch: plan.batch.max(1), ..plan.clone() },
                run: run.clone(),
                link,
                start,
                sent: 0,
                counters: Arc::clone(&publishers.counters),
                stop: Arc::clone(&publishers.stop),
                findings: Findings::none(),
            };
            let name = format!("publisher-{index}");
            publishers.threads.push(thread::Builder::new().name(name).spawn(|| publisher.run())?);
        }
        Ok(publishers)
    }

    /// Ends publishing after the batches that are on their way.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether all have published what they were to.
    pub fn is_done(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits until all are done.
    pub fn join(self) -> Result<Findings, Failure> {
        let mut sum = Findings::none();
        for thread in self.threads {
            sum.add(&thread.join().map_err(|_| "a publisher has panicked")?);
        }
        Ok(sum)
    }
}

struct Publisher {
    index: u32,
    /// Taken in turn.
    streams: Vec<u32>,
    plan: Plan,
    run: Run,
    link: Box<dyn Link>,
    /// When the publishers started, in nanoseconds since the run began.
    start: u64,
    /// Events that were begun.
    sent: u64,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    findings: Findings,
}

impl Publisher {
    fn run(mut self) -> Findings {
        // Sleeps last up to 50 us longer otherwise, which shows in the lag and does no other harm.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let publishers = self.run.board.publishers;
        let (count, end) = match self.plan.extent {
            Extent::For(time) => (u64::MAX, self.start.saturating_add(nanos(time))),
            Extent::Events(events) => (schedule::share(events, self.index, publishers), u64::MAX),
        };
        match self.plan.pace {
            Pace::Rate(rate) => {
                let schedule = Schedule { start: self.start, rate, publisher: self.index, publishers };
                self.keep(schedule, count, end);
            }
            Pace::Max => self.hurry(count, end),
        }
        self.findings.took = Duration::from_nanos(self.now() - self.start);
        self.findings
    }

    /// Publishes what is due when it is due; after a delay, all that has become due.
    fn keep(&mut self, schedule: Schedule, count: u64, end: u64) {
        let mut index = 0;
        while index < count && schedule.due(index) < end && self.sleep_until(schedule.due(index)) {
            let now = self.now();
            let is_due = |at: &u64| *at <= now && *at < end;
            let due: Vec<u64> =
                (index..count).map(|index| schedule.due(index)).take_while(is_due).take(self.plan.batch).collect();
            index += due.len() as u64;
            self.findings.lag.saturating_record(now - due[0]);
            self.send(&due);
        }
    }

    /// Publishes batch after batch.
    fn hurry(&mut self, count: u64, end: u64) {
        let mut left = count;
        while left > 0 && self.now() < end && !self.is_stopped() {
            let len = self.plan.batch.min(usize::try_from(left).unwrap_or(usize::MAX));
            left -= len as u64;
            if !self.send(&vec![self.now(); len]) {
                thread::sleep(REFUSED_FOR);
            }
        }
    }

    /// Publishes a batch of events that are due at these moments. Returns whether all of it was accepted.
    fn send(&mut self, due: &[u64]) -> bool {
        let (batch, numbers): (Vec<Event>, Vec<(u32, u32)>) = due.iter().map(|&due_at| self.begin(due_at)).unzip();
        let (accepted, words) = match self.link.publish(&batch) {
            Ok(Answer { accepted, refusal }) => (accepted.min(batch.len()), refusal),
            Err(error) => {
                self.findings.broken += 1;
                self.counters.broken.fetch_add(1, Ordering::Relaxed);
                (0, Some(error.to_string()))
            }
        };
        let refused = &numbers[accepted..];
        for &(stream, number) in refused {
            self.run.board.refuse(stream, number);
        }
        if !refused.is_empty() {
            self.findings.note(words.unwrap_or_else(|| "for no reason".to_owned()), refused.len() as u64);
        }
        self.findings.batches += 1;
        self.findings.accepted += accepted as u64;
        self.counters.batches.fetch_add(1, Ordering::Relaxed);
        self.counters.accepted.fetch_add(accepted as u64, Ordering::Relaxed);
        self.counters.refused.fetch_add(refused.len() as u64, Ordering::Relaxed);
        refused.is_empty()
    }

    /// The next event, with its stream and its number there. From now on subscribers may expect it.
    fn begin(&mut self, due_at: u64) -> (Event, (u32, u32)) {
        let stream = self.streams[(self.sent % self.streams.len() as u64) as usize];
        self.sent += 1;
        let number = self.run.board.begin(stream);
        let mut data = Vec::new();
        Stamp { stream, number, due_at }.write(self.run.tag, self.plan.data_len, &mut data);
        let topic = topic_name(&self.plan.topic_prefix, self.run.board.topic_of(stream));
        (Event { topic, data }, (stream, number))
    }

    /// Sleeps until a moment has come, and returns whether it has: not after a stop.
    fn sleep_until(&self, at: u64) -> bool {
        while !self.is_stopped() {
            let Some(left) = at.checked_sub(self.now()).filter(|&left| left > 0) else { return true };
            thread::sleep(Duration::from_nanos(left).min(SLEEP_FOR_MAX));
        }
        false
    }

    fn now(&self) -> u64 {
        nanos_since(self.run.began)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Findings {
    /// Nothing published yet.
    pub fn none() -> Self {
        Self {
            accepted: 0,
            refused: 0,
            batches: 0,
            broken: 0,
            refusals: BTreeMap::new(),
            lag: histogram(),
            took: Duration::ZERO,
        }
    }

    fn note(&mut self, reason: String, events: u64) {
        self.refused += events;
        let is_known = self.refusals.contains_key(&reason) || self.refusals.len() < REASONS_MAX;
        *self.refusals.entry(if is_known { reason } else { "other reasons".to_owned() }).or_default() += events;
    }

    /// Adds another publisher's findings.
    pub fn add(&mut self, other: &Self) {
        let refused = self.refused + other.refused;
        for (reason, &events) in &other.refusals {
            self.note(reason.clone(), events);
        }
        self.refused = refused;
        self.accepted += other.accepted;
        self.batches += other.batches;
        self.broken += other.broken;
        self.lag.add(&other.lag).expect("all histograms have the same bounds");
        self.took = self.took.max(other.took);
    }
}

#[cfg(test)]
mod tests;
