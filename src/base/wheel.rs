//! A timer wheel for the few who are busy: request deadlines, stalled writes, farewells.
//!
//! Coarse on purpose (one [`TICK`]): nobody here cares for less, and arming and disarming stay a few list links.
//! Deadlines never fire early.

use std::time::Duration;

use slab::Slab;

use super::time::Instant;

/// How exact deadlines are.
pub const TICK: Duration = Duration::from_millis(100);

/// Slots of the wheel: 51 seconds at a tick each; later deadlines go round more than once.
const SLOTS: u64 = 512;

const NONE: u32 = u32::MAX;

/// A deadline that was set, to take it back with. 4 bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Alarm(u32);

struct Entry<T> {
    tick: u64,
    before: u32,
    after: u32,
    what: T,
}

/// Deadlines for things of type `T`.
pub struct Wheel<T> {
    slots: Box<[u32]>,
    entries: Slab<Entry<T>>,
    /// Everything due at this tick or before has fired.
    fired: u64,
    /// In the slot after that: the entry to look at next, once it was begun.
    scan: Option<u32>,
}

impl<T> Wheel<T> {
    /// A wheel without deadlines that begins at `now`.
    pub fn new(now: Instant) -> Self {
        Self { slots: vec![NONE; SLOTS as usize].into(), entries: Slab::new(), fired: tick_of(now), scan: None }
    }

    /// Whether no deadline is set.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sets a deadline at `at`, or at the next tick when that has passed.
    pub fn arm(&mut self, at: Instant, what: T) -> Alarm {
        // The tick at which `at` lies fully behind.
        let earliest = self.fired + if self.scan.is_some() { 2 } else { 1 };
        let tick = (tick_of(at) + 1).max(earliest);
        let slot = (tick % SLOTS) as usize;
        let after = self.slots[slot];
        let key = self.entries.insert(Entry { tick, before: NONE, after, what }) as u32;
        if after != NONE {
            self.entries[after as usize].before = key;
        }
        self.slots[slot] = key;
        Alarm(key)
    }

    /// Takes back a deadline that has not fired.
    pub fn disarm(&mut self, alarm: Alarm) -> T {
        self.remove(alarm.0)
    }

    /// Takes one thing that is due by `now`. What else is due stays until it is taken, and may still be taken back.
    pub fn take_due(&mut self, now: Instant) -> Option<T> {
        let tick = tick_of(now);
        if self.entries.is_empty() {
            (self.fired, self.scan) = (self.fired.max(tick), None);
        }
        while self.fired < tick {
            // One round visits every slot; after a longer pause the rest of the way is empty.
            let first = tick.saturating_sub(SLOTS);
            if self.fired + 1 < first {
                (self.fired, self.scan) = (first - 1, None);
            }
            let mut key = self.scan.unwrap_or(self.slots[((self.fired + 1) % SLOTS) as usize]);
            while key != NONE {
                let Entry { tick: due_at, after, .. } = self.entries[key as usize];
                self.scan = Some(after);
                if due_at <= tick {
                    return Some(self.remove(key));
                }
                key = after;
            }
            (self.fired, self.scan) = (self.fired + 1, None);
        }
        None
    }

    /// When to look again: the next tick, while there is any deadline.
    pub fn next(&self) -> Option<Instant> {
        let nanos = (self.fired + 1) * TICK.as_nanos() as u64;
        (!self.entries.is_empty()).then(|| Instant::from_nanos(nanos))
    }

    fn remove(&mut self, key: u32) -> T {
        let Entry { tick, before, after, what } = self.entries.remove(key as usize);
        if self.scan == Some(key) {
            self.scan = Some(after);
        }
        match before {
            NONE => self.slots[(tick % SLOTS) as usize] = after,
            before => self.entries[before as usize].after = after,
        }
        if after != NONE {
            self.entries[after as usize].before = before;
        }
        what
    }
}

/// The tick in which `at` lies.
pub fn tick_of(at: Instant) -> u64 {
    at.as_nanos() / TICK.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn fired(wheel: &mut Wheel<u32>, millis: u64) -> Vec<u32> {
        let mut due: Vec<u32> = std::iter::from_fn(|| wheel.take_due(at(millis))).collect();
        due.sort_unstable();
        due
    }

    #[test]
    fn deadlines_fire_once_within_a_tick_and_never_early() {
        let mut wheel = Wheel::new(at(0));
        wheel.arm(at(250), 1);
        wheel.arm(at(1_000), 2);
        assert_eq!(fired(&mut wheel, 250), [0u32; 0]);
        assert_eq!(fired(&mut wheel, 300), [1]);
        assert_eq!(fired(&mut wheel, 1_000), [0u32; 0]);
        assert_eq!(fired(&mut wheel, 5_000), [2]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn deadlines_beyond_one_round_wait_for_theirs() {
        let mut wheel = Wheel::new(at(0));
        wheel.arm(at(60_000), 1);
        assert_eq!(fired(&mut wheel, 59_900), [0u32; 0]);
        assert_eq!(fired(&mut wheel, 60_200), [1]);
        wheel.arm(at(500_000), 2);
        assert_eq!(fired(&mut wheel, 400_000), [0u32; 0], "a long pause in between");
        assert_eq!(fired(&mut wheel, 500_100), [2]);
    }

    #[test]
    fn a_deadline_taken_back_never_fires() {
        let mut wheel = Wheel::new(at(0));
        let alarms: Vec<Alarm> = (0..5).map(|what| wheel.arm(at(100), what)).collect();
        for (what, alarm) in alarms.into_iter().enumerate().filter(|(what, _)| what % 2 == 0) {
            assert_eq!(wheel.disarm(alarm), what as u32);
        }
        assert_eq!(fired(&mut wheel, 1_000), [1, 3]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn what_is_due_may_be_taken_back_until_it_is_taken() {
        let mut wheel = Wheel::new(at(0));
        let mut alarms: Vec<Alarm> = (0..6u32).map(|what| wheel.arm(at(100), what)).collect();
        let mut taken = Vec::new();
        while let Some(what) = wheel.take_due(at(1_000)) {
            taken.push(what);
            // What comes is taken last in, first out; the one that would be next is taken back.
            if let Some(next) = what.checked_sub(1) {
                assert_eq!(wheel.disarm(alarms.remove(next as usize)), next);
            }
            wheel.arm(at(1_000), 100 + what);
        }
        assert_eq!(taken, [5, 3, 1]);
        assert_eq!(fired(&mut wheel, 1_200), [101, 103, 105], "armed meanwhile, and not before the next tick");
    }
}
