//! What everybody in the simulation shares: the clock, the dice, and what is still to come.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::dice::Dice;
use super::kernel::{Kernel, OpKey};
use super::net::{Conn, End, Place};
use super::site::PeerDesk;
use super::weather::Weather;

/// One thing that will happen.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A connection attempt reaches its goal.
    Syn(u32),
    /// Bytes reach an end.
    Arrive(End, u32),
    /// The other side's FIN reaches an end.
    Fin(End),
    /// A reset reaches an end.
    Reset(End),
    /// The answer to a connection attempt reaches who made it.
    Answered(u32),
    /// An end that wanted room learns that there is some.
    Room(End),
    /// An op looks whether it can go on.
    Attempt(usize, OpKey),
    /// A cancellation takes effect.
    Cancel(usize, OpKey),
    /// A late completion becomes visible.
    Post(usize, u32),
    /// A bell is heard.
    Bell(usize),
    /// A sleeping shard's time has come, if it still sleeps that sleep.
    Alarm(usize, u64),
    /// A shard takes a turn.
    Turn(usize),
    /// A peer acts.
    Peer(usize),
    /// A test's own moment.
    Script(u32),
}

/// An event and its time. Among equals chance decides.
#[derive(Debug)]
pub struct Timed {
    pub at: u64,
    tie: u64,
    pub event: Event,
}

impl PartialEq for Timed {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Timed {}

impl PartialOrd for Timed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timed {
    /// The earliest is the greatest: the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.tie).cmp(&(self.at, self.tie))
    }
}

/// The shared state of a world.
pub struct Core {
    /// What all chance here came from.
    pub seed: u64,
    /// Virtual nanoseconds since the world began, plus an hour: a clock that starts at 0 hides subtractions gone wrong.
    pub now: u64,
    /// Chance of the kernel and the network.
    pub dice: Dice,
    /// May be changed in mid-storm.
    pub weather: Weather,
    pub(super) coming: BinaryHeap<Timed>,
    pub(super) conns: Vec<Conn>,
    pub(super) places: BTreeMap<SocketAddr, Place>,
    pub(super) kernels: Vec<Kernel>,
    pub(super) desks: Vec<PeerDesk>,
    pub(super) port_next: u32,
    /// What names resolve to; IP addresses and `localhost` need no entry.
    pub names: BTreeMap<String, Vec<IpAddr>>,
}

/// When every world begins.
pub const DAWN: u64 = 3_600_000_000_000;

/// The Unix time at [`DAWN`], in milliseconds.
const DAWN_MILLIS: u64 = 1_790_000_000_000;

impl Core {
    pub(super) fn new(seed: u64, weather: Weather, dice: Dice) -> Self {
        Self {
            seed,
            now: DAWN,
            dice,
            weather,
            coming: BinaryHeap::new(),
            conns: Vec::new(),
            places: BTreeMap::new(),
            kernels: Vec::new(),
            desks: Vec::new(),
            port_next: 0,
            names: BTreeMap::new(),
        }
    }

    /// The wall clock.
    pub fn unix_millis(&self) -> u64 {
        DAWN_MILLIS + (self.now - DAWN) / 1_000_000
    }

    /// Lets `event` happen after `delay` nanoseconds.
    pub(super) fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    /// Lets `event` happen at `at`.
    pub(super) fn at(&mut self, at: u64, event: Event) {
        let tie = self.dice.next();
        self.coming.push(Timed { at, tie, event });
    }

    /// Draws from a range of the weather.
    pub(super) fn draw(&mut self, range: (u64, u64)) -> u64 {
        self.dice.spread(range.0.max(1), range.1.max(1))
    }

    /// How late something is that could happen at once.
    pub(super) fn lag(&mut self) -> u64 {
        if self.dice.one_in(self.weather.late) { self.dice.between(0, self.weather.late_max) } else { 0 }
    }

    /// The shard under test broke a rule of the ring.
    pub fn broken(&self, what: fmt::Arguments<'_>) -> ! {
        panic!("seed {}, {:.6} s in: {what}", self.seed, (self.now - DAWN) as f64 / 1e9)
    }
}
