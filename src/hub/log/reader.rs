//! One shard's view of the log: what it has seen, what it still holds on to.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Format, Kind, Link, Log, Record, Seq, Span};
use crate::base::id::EventId;

/// Where an id that a client named lies in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Right before this record, nothing between.
    Before(Seq),
    /// Not all that came after it is held: it is of an earlier process, or something was given up.
    Expired,
    /// No id that this process gave: another node's.
    Unknown,
}

/// The reading end of one shard. Records from its tail to what it has seen are its to read.
pub struct Reader {
    log: Arc<Log>,
    shard: usize,
    tail: Seq,
    seen: Seq,
    /// Id of the newest record that this reader took leave of.
    lost_through: EventId,
    /// Whether that was a notice: whoever knows this id may have missed it.
    lost_notice: bool,
}

impl Reader {
    /// The reader of `shard`. Must exist before anything is published, once per shard.
    pub fn new(log: Arc<Log>, shard: usize) -> Self {
        let lost_through = log.began;
        Self { log, shard, tail: Seq(0), seen: Seq(0), lost_through, lost_notice: false }
    }

    /// The log it reads.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The first record not taken in yet.
    pub fn seen(&self) -> Seq {
        self.seen
    }

    /// The oldest record that may still be read here.
    pub fn tail(&self) -> Seq {
        self.tail
    }

    /// Whether there is anything that was not taken in yet.
    pub fn has_news(&self) -> bool {
        self.log.head() > self.seen
    }

    /// Whether the writer wants back what this reader has not taken leave of.
    pub fn is_asked_to_leave(&self) -> bool {
        self.log.tail() > self.tail
    }

    /// Takes in new records, at most `count`; returns them.
    pub fn take(&mut self, count: u64) -> std::ops::Range<Seq> {
        let from = self.seen;
        self.seen = Seq(self.log.head().0.min(from.0 + count));
        from..self.seen
    }

    /// Takes in only what lies before `until`, the rest comes again.
    pub fn untake(&mut self, until: Seq) {
        debug_assert!(until <= self.seen);
        self.seen = until;
    }

    /// The tail that the writer asks for, if that is beyond ours. Never beyond what was taken in.
    pub fn leaving(&self) -> Option<Seq> {
        let tail = self.log.tail().min(self.seen);
        (tail > self.tail).then_some(tail)
    }

    /// Takes leave of everything before `tail`: nothing there is read any more, but what lies from `pinned` on may
    /// still be sent by the kernel.
    pub fn leave(&mut self, tail: Seq, pinned: Seq) {
        debug_assert!(self.tail <= tail && tail <= self.seen);
        if self.tail < tail {
            let last = self.record(Seq(tail.0 - 1));
            (self.lost_through, self.lost_notice) = (last.id, last.kind() == Kind::Everyone);
            self.tail = tail;
        }
        self.log.floors[self.shard].0.store(pinned.min(tail).0, Ordering::Release);
    }

    /// The record numbered `seq`.
    ///
    /// # Panics
    /// When it was not taken in, or left behind.
    pub fn record(&self, seq: Seq) -> &Record {
        assert!(self.tail <= seq && seq < self.seen, "record {seq:?} is not in {:?}..{:?}", self.tail, self.seen);
        // SAFETY: published, since it was seen; at or above our floor, since that never passes our tail.
        unsafe { self.log.records.read(seq.0) }
    }

    /// Where its frame lies.
    pub fn span(&self, record: &Record, format: Format) -> Span {
        self.log.frames(format).span(record.frame_at[format as usize], record.frame_len(format))
    }

    /// The frame of record `seq`, for whoever sends it changed.
    ///
    /// # Panics
    /// As [`Reader::record`].
    pub fn frame(&self, seq: Seq, format: Format) -> &[u8] {
        let record = self.record(seq);
        // SAFETY: the record may be read, and the floor that protects it is not raised while `self` is borrowed.
        unsafe { self.log.frames(format).read(record.frame_at[format as usize], record.frame_len(format) as usize) }
    }

    /// A copy of `len` bytes at `at` of the region of a format, part of a frame that may still be read.
    pub fn copy(&self, format: Format, at: u64, len: u32) -> bytes::Bytes {
        // SAFETY: part of a frame at or above our floor.
        bytes::Bytes::copy_from_slice(unsafe { self.log.region(format).bytes(at as usize, len as usize) })
    }

    /// The topics it belongs to: hash and name, outermost first.
    pub fn topics<'a>(&'a self, record: &Record) -> impl Iterator<Item = (u64, &'a [u8])> + use<'a> {
        // SAFETY: a record that may be read has its name and links.
        let name = unsafe { self.log.names.read(record.name_at, usize::from(record.name_len)) };
        record.links().map(move |at| {
            let link = self.link(at);
            (link.hash, &name[..usize::from(link.name_len)])
        })
    }

    /// Id of the event before record `seq`.
    pub fn id_before(&self, seq: Seq) -> EventId {
        if seq == self.tail { self.lost_through } else { self.record(Seq(seq.0 - 1)).id }
    }

    /// Where `id` lies in the log, what was not taken in yet included: another shard's client may know it already.
    pub fn locate(&self, id: EventId) -> Place {
        let is_lost = id < self.lost_through || id == self.lost_through && self.lost_notice;
        if is_lost || id <= self.log.began {
            return Place::Expired;
        }
        // The first record with a greater id; notices share the id of the event before them and come after it.
        // SAFETY: published, and at or above our floor, since that never passes our tail.
        let id_of = |seq: u64| unsafe { self.log.records.read(seq) }.id;
        let head = self.log.head().0;
        let (mut low, mut high) = (self.tail.0, head);
        while low < high {
            let middle = low + (high - low) / 2;
            if id_of(middle) < id {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if id == self.lost_through {
            Place::Before(self.tail)
        } else if low < head && id_of(low) == id {
            Place::Before(Seq(low + 1))
        } else {
            Place::Unknown
        }
    }

    /// The link at `at`, which lies between the first link of the tail and the last of what was seen.
    fn link(&self, at: u64) -> &Link {
        // SAFETY: callers hold positions from records, chains or the index, none below our floor.
        unsafe { self.log.links.read(at) }
    }

    /// Positions of links that belong to what may be read.
    fn held_links(&self) -> std::ops::Range<u64> {
        self.record(self.tail).links().start..self.record(Seq(self.seen.0 - 1)).links().end
    }

    /// The first record of the topic from `from` on, among what was seen, and its link: `from` itself, when that is of
    /// the topic. Otherwise the walk begins at `hint`, a link of the same topic, or else at the newest, and costs what
    /// lies between.
    pub fn first_of(&self, topic: Chain<'_>, hint: Option<u64>, from: Seq) -> Option<(Seq, u64)> {
        if self.tail == self.seen {
            return None;
        }
        let held = self.held_links();
        if let Some(at) = self.link_at(from, topic, held.start) {
            return Some((from, at));
        }
        match hint.filter(|at| held.contains(at)) {
            Some(at) if Log::record_of(self.link(at), self.tail) < from => self.walk_forth(at, from, &held),
            Some(at) => self.walk_back(at, from, &held),
            None => self.walk_back(self.newest_of(topic, held.start)?, from, &held),
        }
    }

    /// The link of a topic that belongs to record `seq`, if that is held and of the topic.
    fn link_at(&self, seq: Seq, topic: Chain<'_>, start: u64) -> Option<u64> {
        let Chain::Topic { hash, name } = topic else { return None };
        let is_held = self.tail <= seq && seq < self.seen;
        let mut links = if is_held { self.record(seq).links() } else { 0..0 };
        links.find(|&at| self.same_topic(at, hash, name, start))
    }

    /// The newest link of a topic, which may lie beyond what was seen.
    fn newest_of(&self, topic: Chain<'_>, start: u64) -> Option<u64> {
        let newest = match topic {
            Chain::Topic { hash, name } => self.log.index.find(hash, |at| self.same_topic(at, hash, name, start)),
            Chain::Everyone => self.log.everyone.load(Ordering::Acquire),
        };
        newest.checked_sub(1)
    }

    /// The position whose low half plus 1 is `hint`; 0 is none. May be no position that is held.
    pub fn expand(&self, hint: u32) -> Option<u64> {
        if hint == 0 || self.tail == self.seen {
            return None;
        }
        let start = self.held_links().start;
        Some(start + u64::from((hint - 1).wrapping_sub(start as u32)))
    }

    /// The record that follows link `at` in its chain, among what was seen.
    pub fn following(&self, at: u64) -> Option<(Seq, u64)> {
        let held = self.held_links();
        debug_assert!(held.contains(&at));
        let next = self.forth(at).filter(|next| held.contains(next))?;
        Some((Log::record_of(self.link(next), self.tail), next))
    }

    fn forth(&self, at: u64) -> Option<u64> {
        match self.link(at).forth.load(Ordering::Acquire) {
            0 => None,
            distance => Some(at + u64::from(distance)),
        }
    }

    fn walk_forth(&self, mut at: u64, from: Seq, held: &std::ops::Range<u64>) -> Option<(Seq, u64)> {
        loop {
            let seq = Log::record_of(self.link(at), self.tail);
            if seq >= from {
                return Some((seq, at));
            }
            at = self.forth(at).filter(|next| held.contains(next))?;
        }
    }

    fn walk_back(&self, mut at: u64, from: Seq, held: &std::ops::Range<u64>) -> Option<(Seq, u64)> {
        let mut found = None;
        // What the writer appended since we looked comes first; it is walked over.
        while at >= held.start {
            let link = self.link(at);
            let seq = Log::record_of(link, self.tail);
            if seq < from {
                break;
            }
            if at < held.end {
                found = Some((seq, at));
            }
            match link.back {
                0 => break,
                back => at -= u64::from(back),
            }
        }
        found
    }

    fn same_topic(&self, at: u64, hash: u64, name: &[u8], start: u64) -> bool {
        // An entry that was removed a moment ago may lie below our tail: then it is not for us to read.
        if at < start {
            return false;
        }
        let link = self.link(at);
        if link.hash != hash || usize::from(link.name_len) != name.len() {
            return false;
        }
        // SAFETY: the index names a link only after it, its record and its name were written.
        unsafe {
            let record = self.log.records.read(Log::record_of(link, self.tail).0);
            self.log.names.read(record.name_at, name.len()) == name
        }
    }
}

/// Which chain of links to walk.
#[derive(Clone, Copy, Debug)]
pub enum Chain<'a> {
    /// The events of one topic.
    Topic {
        /// [`Log::hash`] of the name.
        hash: u64,
        /// The topic's name.
        name: &'a [u8],
    },
    /// The notices to everyone.
    Everyone,
}
