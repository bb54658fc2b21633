//! Everything an engine notes: who is up, what failed and why, how long things took, and the ledger.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::board::Board;
use crate::ledger::{Ledger, Totals};
use crate::stamp::Stamp;
use crate::wire::sse::Event;

/// The name of the notice by which a server says that it lost something.
pub const GAP: &[u8] = b"plasma.gap";

/// What everybody may look at while a run goes on. Written by engines only.
#[derive(Debug, Default)]
pub struct Counters {
    /// Subscriptions that stand.
    pub open: AtomicU32,
    /// Subscriptions that stood, ever.
    pub opened: AtomicU64,
    /// Attempts that failed, and subscriptions that the server ended.
    pub failed: AtomicU32,
    /// Events received, those of other runs left out.
    pub events: AtomicU64,
    /// The sum of how far all subscribers are in their streams: when it is that of the streams' ends, nobody waits for
    /// anything.
    pub positions: AtomicU64,
}

/// How a subscriber stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Has no connection, and does not want one.
    Away,
    /// Asked for one.
    Coming { since: u64 },
    /// The subscription stands.
    Open,
    /// Its connection was ended by the server, or it could not come back: what it misses is lost.
    Failed,
}

/// What one engine notes of its subscribers.
pub struct Books {
    run: u32,
    began: Instant,
    first: u32,
    states: Vec<State>,
    ledger: Ledger,
    /// What the counters know of our subscribers' positions.
    told: u64,
    counters: Arc<Counters>,
    /// Subscribers whose latency is not to be recorded: the slow ones.
    unrecorded: Range<u32>,
    /// End-to-end latency in nanoseconds, one per phase.
    latency: Vec<Histogram<u64>>,
    /// From the request to the answer in nanoseconds.
    first_byte: Histogram<u64>,
    failures: BTreeMap<String, u32>,
}

/// The sum of what all engines noted.
pub struct Findings {
    /// Events, reconciled.
    pub totals: Totals,
    /// End-to-end latency in nanoseconds, one per phase.
    pub latency: Vec<Histogram<u64>>,
    /// From the request to the answer in nanoseconds.
    pub first_byte: Histogram<u64>,
    /// What failed, by reason.
    pub failures: BTreeMap<String, u32>,
}

/// From a nanosecond to a hundred seconds with three digits; what takes longer counts as a hundred seconds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 100_000_000_000, 3).expect("the bounds are constants")
}

impl Books {
    /// The books of these subscribers in a run that began at `began` and has so many phases.
    pub fn new(run: &Run, subscribers: Range<u32>, counters: Arc<Counters>) -> Self {
        Self {
            run: run.tag,
            began: run.began,
            first: subscribers.start,
            states: vec![State::Away; subscribers.len()],
            ledger: Ledger::new(Arc::clone(&run.board), subscribers),
            told: 0,
            counters,
            unrecorded: run.unrecorded.clone(),
            latency: vec![histogram()],
            first_byte: histogram(),
            failures: BTreeMap::new(),
        }
    }

    /// The subscribers that these books are of.
    pub fn subscribers(&self) -> Range<u32> {
        self.first..self.first + self.states.len() as u32
    }

    /// Nanoseconds since the run began: the clock of stamps.
    pub fn now(&self) -> u64 {
        nanos_since(self.began)
    }

    /// The topic that a subscriber asks for.
    pub fn topic_of(&self, who: u32) -> u32 {
        self.ledger.topic_of(who)
    }

    /// The id that a subscriber resumes from.
    pub fn last_id(&self, who: u32) -> Option<Vec<u8>> {
        self.ledger.last_id(who)
    }

    /// Latencies are recorded apart from now on.
    pub fn begin_phase(&mut self) {
        self.latency.push(histogram());
    }

    /// `who` sends its request.
    pub fn on_ask(&mut self, who: u32) {
        let since = self.now();
        *self.state(who) = State::Coming { since };
    }

    /// `who` was answered: its subscription stands.
    pub fn on_open(&mut self, who: u32) {
        if let State::Coming { since } = *self.state(who) {
            let took = self.now() - since;
            self.first_byte.saturating_record(took.max(1));
        }
        *self.state(who) = State::Open;
        self.ledger.on_open(who);
        self.tell_positions();
        self.counters.open.fetch_add(1, Ordering::AcqRel);
        self.counters.opened.fetch_add(1, Ordering::AcqRel);
    }

    /// `who` received an event at `now`, over SSE.
    pub fn on_event(&mut self, who: u32, event: &Event<'_>, now: u64) {
        if event.name == GAP {
            self.ledger.on_gap(who);
            return;
        }
        if let Some(id) = event.id.filter(|id| !id.is_empty()) {
            self.ledger.on_id(who, id);
        }
        self.on_data(who, &event.data, now);
    }

    /// `who` received an event with this data at `now`, over whatever protocol.
    pub fn on_data(&mut self, who: u32, data: &[u8], now: u64) {
        let Some(stamp) = Stamp::find(self.run, data) else { return };
        self.ledger.on_event(who, stamp);
        self.tell_positions();
        if !self.unrecorded.contains(&who) {
            let latency = self.latency.last_mut().expect("there is always a phase");
            latency.saturating_record(now.saturating_sub(stamp.due_at).max(1));
        }
        self.counters.events.fetch_add(1, Ordering::AcqRel);
    }

    /// `who` was told its last event's id by a protocol other than SSE.
    pub fn on_id(&mut self, who: u32, id: &[u8]) {
        self.ledger.on_id(who, id);
    }

    /// `who` was told of a gap by a protocol other than SSE.
    pub fn on_gap(&mut self, who: u32) {
        self.ledger.on_gap(who);
    }

    /// The connection of `who` could not be made, or was ended by the server.
    pub fn on_failure(&mut self, who: u32, reason: String) {
        let was_open = self.is_open(who);
        if was_open {
            self.counters.open.fetch_sub(1, Ordering::AcqRel);
        }
        // Who never had a subscription has lost no event.
        let is_loser = was_open || self.ledger.last_id(who).is_some();
        *self.state(who) = if is_loser { State::Failed } else { State::Away };
        self.counters.failed.fetch_add(1, Ordering::AcqRel);
        *self.failures.entry(reason).or_default() += 1;
    }

    /// We cut the connection of `who`, who is to come back and resume.
    pub fn on_cut(&mut self, who: u32) {
        if std::mem::replace(self.state(who), State::Away) == State::Open {
            self.counters.open.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// `who` leaves of its own will, and if it comes back it is somebody new.
    pub fn on_leave(&mut self, who: u32) {
        self.on_cut(who);
        self.ledger.on_leave(who);
        self.tell_positions();
    }

    /// Whether the subscription of `who` stands.
    pub fn is_open(&self, who: u32) -> bool {
        self.states[(who - self.first) as usize] == State::Open
    }

    /// Closes the books: what those who did not leave have not got by now is lost.
    pub fn close(self) -> Findings {
        let Self { ledger, states, first, latency, first_byte, failures, .. } = self;
        let remain = |who: u32| matches!(states[(who - first) as usize], State::Open | State::Failed);
        Findings { totals: ledger.close(remain), latency, first_byte, failures }
    }

    fn tell_positions(&mut self) {
        let positions = self.ledger.positions();
        // Differences, since other engines tell theirs; a sum that wraps comes out right again.
        self.counters.positions.fetch_add(positions.wrapping_sub(self.told), Ordering::AcqRel);
        self.told = positions;
    }

    fn state(&mut self, who: u32) -> &mut State {
        &mut self.states[(who - self.first) as usize]
    }
}

/// What all engines of a run share.
#[derive(Clone, Debug)]
pub struct Run {
    /// Tells stamps of this run from others.
    pub tag: u32,
    /// When it began: the zero of stamps.
    pub began: Instant,
    /// What is published.
    pub board: Arc<Board>,
    /// Subscribers whose latency is not to be recorded.
    pub unrecorded: Range<u32>,
}

/// Nanoseconds that have passed since an instant.
pub fn nanos_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

impl Findings {
    /// Adds another engine's findings.
    pub fn add(&mut self, other: &Self) {
        self.totals.add(&other.totals);
        for (latency, other) in self.latency.iter_mut().zip(&other.latency) {
            latency.add(other).expect("all histograms have the same bounds");
        }
        self.first_byte.add(&other.first_byte).expect("all histograms have the same bounds");
        for (reason, count) in &other.failures {
            *self.failures.entry(reason.clone()).or_default() += count;
        }
    }

    /// How many attempts failed and subscriptions were ended.
    pub fn failure_count(&self) -> u32 {
        self.failures.values().sum()
    }
}
