//! The event log: bounded, append-only, one writer, many readers, no locks.
//!
//! An event is framed once per wire format; its bytes lie in a ring of memory per format that every shard's kernel ring
//! knows, so that in each of them consecutive events are consecutive bytes. Around them lie three more rings: records
//! (one per event), links (one per event and level of its topic, chained both ways through the events of that topic),
//! and the names of topics. An index leads from a topic to its newest link, so finding what somebody missed costs as
//! much as it missed.
//!
//! Old parts are given up in two steps and nobody is waited for but the shards themselves. The writer raises the
//! **tail** while there is still room; each shard, in its next turn, takes leave of what lies before it (telling the
//! clients that were still there) and raises its **floor**. Only what lies below every floor is written over.
//!
//! Invariants:
//! - floor of any shard <= its own tail <= the log's tail <= head;
//! - what lies in [least floor, head) never changes, but for the forward links, which are set once;
//! - a frame never crosses the end of its ring of bytes.

mod index;
mod memory;
mod reader;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use self::index::Index;
use self::memory::{Bytes, Table};
pub use self::reader::{Chain, Place, Reader};
pub use self::writer::{Full, Writer};
use crate::base::id::EventId;
use crate::base::region::Region;

/// The number of a record, counted from 0 in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The record after it.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A wire format that the log keeps frames in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A block of an event stream.
    Sse,
    /// A message of a gRPC stream, length prefix included.
    Grpc,
}

impl Format {
    /// Every format, each at its place.
    pub const ALL: [Self; 2] = [Self::Sse, Self::Grpc];
}

/// One event in every format.
#[derive(Clone, Copy, Debug)]
pub struct Frames<'a> {
    /// For event streams.
    pub sse: &'a [u8],
    /// For gRPC streams.
    pub grpc: &'a [u8],
}

impl<'a> Frames<'a> {
    /// The frame in one format.
    pub fn of(&self, format: Format) -> &'a [u8] {
        match format {
            Format::Sse => self.sse,
            Format::Grpc => self.grpc,
        }
    }
}

/// Where a frame lies in the region of its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte, counted from the start of the region.
    pub at: u64,
    /// Length in bytes.
    pub len: u32,
}

/// Whom a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An event: for the members of its topics.
    Event,
    /// A notice to every subscriber, such as a loss upstream.
    Everyone,
}

/// What the log keeps of an event besides its bytes. 56 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// The event's id; a notice has that of the event before it.
    pub id: EventId,
    /// By format, as the lengths.
    frame_at: [u64; 2],
    link_at: u64,
    name_at: u64,
    frame_len: [u32; 2],
    name_len: u16,
    levels: u16,
}

/// Set in `levels` of a record for everyone.
const EVERYONE: u16 = 1 << 15;

impl Record {
    /// Whom it is for.
    pub fn kind(&self) -> Kind {
        if self.levels & EVERYONE == 0 { Kind::Event } else { Kind::Everyone }
    }

    /// Length of its frame in bytes.
    pub fn frame_len(&self, format: Format) -> u32 {
        self.frame_len[format as usize]
    }

    fn links(&self) -> std::ops::Range<u64> {
        self.link_at..self.link_at + u64::from(self.levels & !EVERYONE)
    }
}

/// One event in the chain of one topic. 24 bytes; distances are in links, 0 is none.
struct Link {
    hash: u64,
    /// Low half of the record's number.
    record: u32,
    back: u32,
    forth: std::sync::atomic::AtomicU32,
    /// Which prefix of the event's name the topic is.
    name_len: u16,
}

/// A floor on a cache line of its own, since each is written by another thread.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Floor(AtomicU64);

/// The part of the log that all threads share.
pub struct Log {
    /// By format.
    frames: [Bytes; 2],
    names: Bytes,
    records: Table<Record>,
    links: Table<Link>,
    index: Index,
    /// Newest link of the notices to everyone, plus 1.
    everyone: AtomicU64,
    head: Floor,
    tail: Floor,
    floors: Box<[Floor]>,
    seed: u64,
    began: EventId,
}

impl Log {
    /// A log that keeps `len` bytes of frames in each format for `shards` readers, and its writer. Ids begin after
    /// `unix_millis`; `seed` makes the hash of topic names unguessable. Besides, records, links and names take at most
    /// about 1.2 times `len`. All of it is touched only as it fills.
    pub fn new(len: usize, shards: usize, unix_millis: u64, seed: u64) -> io::Result<(Arc<Self>, Writer)> {
        // A frame is rarely below 128 bytes (20 of them are its id), and an event of two levels is the common case.
        let records = (len / 128).next_power_of_two();
        let links = records * 2;
        let log = Arc::new(Self {
            frames: [Bytes::new(len)?, Bytes::new(len)?],
            names: Bytes::new((len / 8).max(64 * 1024))?,
            records: Table::new(records)?,
            links: Table::new(links)?,
            index: Index::new(links * 2)?,
            everyone: AtomicU64::new(0),
            head: Floor::default(),
            tail: Floor::default(),
            floors: std::iter::repeat_with(Floor::default).take(shards).collect(),
            seed,
            began: EventId::first_at(unix_millis),
        });
        let writer = Writer::new(Arc::clone(&log));
        Ok((log, writer))
    }

    /// The memory that holds the frames of one format, for the kernel.
    pub fn region(&self, format: Format) -> &Arc<Region> {
        self.frames(format).region()
    }

    fn frames(&self, format: Format) -> &Bytes {
        &self.frames[format as usize]
    }

    /// The first record not yet published.
    pub fn head(&self) -> Seq {
        Seq(self.head.0.load(Ordering::Acquire))
    }

    /// The oldest record not given up.
    pub fn tail(&self) -> Seq {
        Seq(self.tail.0.load(Ordering::Acquire))
    }

    /// The hash under which the log knows a topic's name.
    pub fn hash(&self, name: &[u8]) -> u64 {
        use std::hash::{BuildHasher, Hasher};
        let mut hasher = foldhash::quality::FixedState::with_seed(self.seed).build_hasher();
        hasher.write(name);
        hasher.finish()
    }

    /// The full number of the record whose low half is `low`, given one at most 2^32 after it.
    fn record_of(link: &Link, not_before: Seq) -> Seq {
        let ahead = link.record.wrapping_sub(not_before.0 as u32) as i32;
        Seq(not_before.0.wrapping_add_signed(i64::from(ahead)))
    }
}

#[cfg(test)]
mod tests;
