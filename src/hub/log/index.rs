//! From a topic's hash to its newest link: open addressing over atomics, one writer, any number of readers.
//!
//! Removal closes the gap by moving entries; a version that is odd meanwhile lets readers notice and look again.
//!
//! Invariants: an entry's link lies at or above the least floor of all shards when the writer last looked; at most half
//! of the places are taken.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::memory::Table;

pub(super) struct Index {
    /// Position of a link plus 1; 0 is free.
    places: Table<AtomicU64>,
    version: AtomicU64,
}

impl Index {
    /// `count` places, a power of two, at least twice as many as there are links.
    pub(super) fn new(count: usize) -> io::Result<Self> {
        Ok(Self { places: Table::new(count)?, version: AtomicU64::new(0) })
    }

    fn place(&self, at: u64) -> &AtomicU64 {
        // SAFETY: zeroed memory is a valid atomic, and places are only ever changed through it.
        unsafe { self.places.read(at) }
    }

    /// Where the search for `hash` begins.
    fn home(&self, hash: u64) -> u64 {
        hash & (self.places.count() - 1)
    }

    /// The newest link of the topic with `hash` that `is_it` recognises, plus 1; 0 for none.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u64) -> bool) -> u64 {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let found = self.probe(hash, &is_it);
            fence(Ordering::Acquire);
            if version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version {
                return found;
            }
            std::hint::spin_loop();
        }
    }

    fn probe(&self, hash: u64, is_it: impl Fn(u64) -> bool) -> u64 {
        // A removal going on may hide the free place that ends the search, hence the bound.
        let home = self.home(hash);
        for at in home..home + self.places.count() {
            let entry = self.place(at).load(Ordering::Acquire);
            if entry == 0 || is_it(entry - 1) {
                return entry;
            }
        }
        0
    }

    /// The place of the topic with `hash` that `is_it` recognises, or where it would go, and its newest link plus 1, or
    /// 0. Writer only.
    pub(super) fn place_of(&self, hash: u64, is_it: impl Fn(u64) -> bool) -> (u64, u64) {
        for at in self.home(hash).. {
            let entry = self.place(at).load(Ordering::Relaxed);
            if entry == 0 || is_it(entry - 1) {
                return (at, entry);
            }
        }
        unreachable!("half of the places are free")
    }

    /// Makes `link`, which is written, the newest of the topic at `place`. Writer only.
    pub(super) fn put(&self, place: u64, link: u64) {
        self.place(place).store(link + 1, Ordering::Release);
    }

    /// Forgets `link` if it is still the newest of its topic. Writer only; `hash_of` tells where an entry belongs.
    pub(super) fn forget(&self, hash: u64, link: u64, hash_of: impl Fn(u64) -> u64) {
        let mut hole = self.home(hash);
        loop {
            match self.place(hole).load(Ordering::Relaxed) {
                0 => return,
                entry if entry == link + 1 => break,
                _ => hole += 1,
            }
        }
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        let mut at = hole + 1;
        loop {
            let entry = self.place(at).load(Ordering::Relaxed);
            if entry == 0 {
                break;
            }
            // An entry may move into the hole unless its own first place lies after the hole.
            let mask = self.places.count() - 1;
            let from_home = at.wrapping_sub(hash_of(entry - 1)) & mask;
            if from_home >= at.wrapping_sub(hole) & mask {
                self.place(hole).store(entry, Ordering::Relaxed);
                hole = at;
            }
            at += 1;
        }
        self.place(hole).store(0, Ordering::Relaxed);
        self.version.store(version + 2, Ordering::Release);
    }
}
