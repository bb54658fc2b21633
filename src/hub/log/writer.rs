//! The one who appends: numbers events, chains them by topic, makes room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{EVERYONE, Format, Frames, Kind, Link, Log, Record, Seq};
use crate::base::id::EventId;
use crate::base::levels::levels;

/// There is no room yet: some shard has not taken leave of the oldest part. It will in its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The writing end of the log. One per process.
pub struct Writer {
    log: Arc<Log>,
    head: Seq,
    tail: Seq,
    /// Least floor of all shards when last looked at. Links from it on are in the index.
    floor: Seq,
    ends: Ends,
    last_id: EventId,
}

/// The positions after the newest entry of each ring.
#[derive(Clone, Copy, Default)]
struct Ends {
    /// By format.
    frame: [u64; 2],
    link: u64,
    name: u64,
}

impl Writer {
    pub(super) fn new(log: Arc<Log>) -> Self {
        let last_id = log.began;
        Self { log, head: Seq(0), tail: Seq(0), floor: Seq(0), ends: Ends::default(), last_id }
    }

    /// The log it writes.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The id that the next event shall carry when the clock shows `unix_millis`.
    pub fn next_id(&self, unix_millis: u64) -> EventId {
        self.last_id.next(unix_millis)
    }

    /// The newest id; the one before the first when there is none.
    pub fn last_id(&self) -> EventId {
        self.last_id
    }

    /// How many records were ever appended.
    pub fn count(&self) -> u64 {
        self.head.0
    }

    /// Appends an event of type `name` (at most `TOPIC_LEN_MAX` bytes), framed as `frames`, under `id` (from
    /// [`Writer::next_id`]). Readers see it after [`Writer::publish`].
    pub fn append(&mut self, id: EventId, name: &[u8], frames: Frames<'_>) -> Result<(), Full> {
        debug_assert!(id > self.last_id);
        self.put(id, Kind::Event, name, frames)?;
        self.last_id = id;
        Ok(())
    }

    /// Appends a notice for every subscriber. It has no id of its own.
    pub fn append_notice(&mut self, frames: Frames<'_>) -> Result<(), Full> {
        self.put(self.last_id, Kind::Everyone, b"", frames)
    }

    /// Shows the readers everything appended so far.
    pub fn publish(&mut self) {
        self.log.head.0.store(self.head.0, Ordering::Release);
    }

    fn put(&mut self, id: EventId, kind: Kind, name: &[u8], frames: Frames<'_>) -> Result<(), Full> {
        let lens = levels(name);
        let levels = if kind == Kind::Event { lens.clone().count() as u16 } else { 1 };
        let at = Ends {
            frame: Format::ALL.map(|f| self.log.frames(f).fit(self.ends.frame[f as usize], frames.of(f).len())),
            link: self.ends.link,
            name: self.log.names.fit(self.ends.name, name.len()),
        };
        let ends = Ends {
            frame: Format::ALL.map(|f| at.frame[f as usize] + frames.of(f).len() as u64),
            link: at.link + u64::from(levels),
            name: at.name + name.len() as u64,
        };
        self.make_room(at, ends)?;
        // SAFETY: we are the writer, and `make_room` has seen that these places lie below every floor.
        unsafe {
            for format in Format::ALL {
                self.log.frames(format).put(at.frame[format as usize], frames.of(format));
            }
            self.log.names.put(at.name, name);
            let record = Record {
                id,
                frame_at: at.frame,
                link_at: at.link,
                name_at: at.name,
                frame_len: Format::ALL.map(|format| frames.of(format).len() as u32),
                name_len: name.len() as u16,
                levels: if kind == Kind::Event { levels } else { levels | EVERYONE },
            };
            self.log.records.put(self.head.0, record);
        }
        match kind {
            Kind::Event => {
                for (link, len) in (at.link..).zip(lens) {
                    self.chain(link, &name[..len]);
                }
            }
            Kind::Everyone => self.chain_everyone(at.link),
        }
        self.ends = ends;
        self.head = self.head.next();
        Ok(())
    }

    /// Hangs the link at `link` to the end of the chain of topic `name`.
    fn chain(&self, link: u64, name: &[u8]) {
        let hash = self.log.hash(name);
        let index = &self.log.index;
        let (place, before) = index.place_of(hash, |other| self.same_topic(other, hash, name));
        // The link is written before the index names it.
        self.write_link(link, before, hash, name.len());
        index.put(place, link);
        self.point_forth(before, link);
    }

    fn chain_everyone(&self, link: u64) {
        let before = self.log.everyone.load(Ordering::Relaxed);
        self.write_link(link, before, 0, 0);
        self.log.everyone.store(link + 1, Ordering::Release);
        self.point_forth(before, link);
    }

    fn write_link(&self, at: u64, before: u64, hash: u64, name_len: usize) {
        let back = if before == 0 { 0 } else { u32::try_from(at - (before - 1)).unwrap_or(0) };
        let record = self.head.0 as u32;
        let link = Link { hash, record, back, forth: AtomicU32::new(0), name_len: name_len as u16 };
        // SAFETY: we are the writer, and `put` has made room.
        unsafe { self.log.links.put(at, link) };
    }

    /// Tells the predecessor (plus 1; 0 is none) who follows it. Readers may be walking the chain.
    fn point_forth(&self, before: u64, link: u64) {
        if before > 0 {
            // SAFETY: links in the index lie at or above the least floor.
            let predecessor = unsafe { self.log.links.read(before - 1) };
            predecessor.forth.store((link - (before - 1)) as u32, Ordering::Release);
        }
    }

    fn same_topic(&self, link: u64, hash: u64, name: &[u8]) -> bool {
        // SAFETY: links in the index lie at or above the least floor, and so do their records and names.
        unsafe {
            let link = self.log.links.read(link);
            if link.hash != hash || usize::from(link.name_len) != name.len() {
                return false;
            }
            let record = self.log.records.read(Log::record_of(link, self.tail).0);
            self.log.names.read(record.name_at, name.len()) == name
        }
    }

    /// Sees to it that everything from `at` to `ends` may be written.
    fn make_room(&mut self, at: Ends, ends: Ends) -> Result<(), Full> {
        // An eighth stays free, so that the shards have time to take leave of what is given up.
        if !self.fits(at, ends, self.tail, 14) {
            while self.tail < self.head && !self.fits(at, ends, self.tail, 13) {
                self.tail = self.tail.next();
            }
            self.log.tail.0.store(self.tail.0, Ordering::Release);
        }
        if !self.fits(at, ends, self.floor, 16) {
            self.forget_before(self.least_floor());
        }
        if self.fits(at, ends, self.floor, 16) { Ok(()) } else { Err(Full) }
    }

    /// Whether everything from record `oldest` up to `ends`, the newcomer that begins at `at` included, takes at most
    /// `parts` sixteenths of each.
    fn fits(&self, at: Ends, ends: Ends, oldest: Seq, parts: u64) -> bool {
        let within = |used: u64, of: u64| used <= of / 16 * parts;
        let log = &self.log;
        if oldest == self.head {
            // Nothing is kept: only the newcomer itself counts, wherever it has to begin.
            let fits = |f: Format| ends.frame[f as usize] - at.frame[f as usize] <= log.frames(f).len();
            return Format::ALL.into_iter().all(fits) && ends.name - at.name <= log.names.len();
        }
        // SAFETY: records from the least floor on are intact, and `oldest` is at least that.
        let oldest_record = unsafe { log.records.read(oldest.0) };
        let used = |f: Format| ends.frame[f as usize] - oldest_record.frame_at[f as usize];
        Format::ALL.into_iter().all(|format| within(used(format), log.frames(format).len()))
            && within(ends.link - oldest_record.link_at, log.links.count())
            && within(ends.name - oldest_record.name_at, log.names.len())
            && within(self.head.0 + 1 - oldest.0, log.records.count())
    }

    /// Takes what lies before `floor` out of the index. Not as soon as it is given up: a shard that has not taken leave
    /// yet still walks the chains there, and one without its newest link could not be continued.
    fn forget_before(&mut self, floor: Seq) {
        while self.floor < floor {
            // SAFETY: records from the last least floor on are intact.
            let record = *unsafe { self.log.records.read(self.floor.0) };
            for at in record.links() {
                // SAFETY: the links of an intact record are intact.
                let hash = unsafe { self.log.links.read(at) }.hash;
                if record.kind() == Kind::Event {
                    // SAFETY: links in the index lie at or above the last least floor.
                    self.log.index.forget(hash, at, |other| unsafe { self.log.links.read(other) }.hash);
                } else {
                    let _ = self.log.everyone.compare_exchange(at + 1, 0, Ordering::Release, Ordering::Relaxed);
                }
            }
            self.floor = self.floor.next();
        }
    }

    fn least_floor(&self) -> Seq {
        let floors = self.log.floors.iter().map(|floor| floor.0.load(Ordering::Acquire));
        Seq(floors.min().unwrap_or(self.head.0))
    }

    /// Wishes that the oldest records be given up although there is room, so that a reader meets the situation in a
    /// test.
    #[cfg(test)]
    pub(super) fn give_up(&mut self, records: u64) {
        self.tail = Seq(self.tail.0 + records);
        self.log.tail.0.store(self.tail.0, Ordering::Release);
    }
}
