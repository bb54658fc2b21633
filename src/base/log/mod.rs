//! Two logs of JSON lines, the error log and the access log, behind one handle that never blocks.
//!
//! Whoever logs formats its line at once, and only when somebody wants it; the finished line goes through a bounded
//! queue to whoever holds [`Lines`]. What does not fit is counted, and the count becomes a line of its own.
//!
//! Never opens a file, never reads a clock of its own choice, never sees a password or a payload: callers keep them
//! out.

pub mod access;
mod fields;
mod level;
mod repeats;
pub mod stamp;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;

pub use fields::Fields;
pub use level::Level;
use repeats::Repeats;

/// Lines that may wait for the writer: some seconds of a busy server, and at a few hundred bytes each no more than a
/// few MiB while a disk hangs.
const QUEUE_MAX: usize = 8_192;

/// Lines with one message that one handle lets through per second: enough to see what happens, too few to matter.
const REPEATS_MAX: u32 = 10;

/// Nanoseconds since 1970: the server hands out the system's clock, a simulation its own.
pub type Clock = fn() -> u64;

/// The least level that each log takes; `None` switches it off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Of the error log.
    pub error: Option<Level>,
    /// Of the access log.
    pub access: Option<Level>,
}

/// Which of the two logs a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// What goes wrong, and the life of the process.
    Error,
    /// One line per request that ended.
    Access,
}

/// One finished line, its newline included.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it goes.
    pub target: Target,
    /// A JSON object and `\n`.
    pub text: Vec<u8>,
}

enum Entry {
    Line(Line),
    /// Everything before it is to be written; then the answer tells that it was.
    Close(Sender<()>),
}

struct Shared {
    levels: Levels,
    clock: Clock,
    /// Entries in the queue: a channel that bounded itself would hold memory for all of them at all times.
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

/// A handle to both logs. Each thread has its own clone; repeats are limited per clone, so no clone waits for another.
pub struct Log {
    shared: Arc<Shared>,
    queue: Sender<Entry>,
    repeats: RefCell<Repeats>,
}

impl Clone for Log {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), queue: self.queue.clone(), repeats: RefCell::default() }
    }
}

/// Both ends of a new queue.
pub fn channel(levels: Levels, clock: Clock) -> (Log, Lines) {
    let (sender, receiver) = mpsc::channel();
    let shared = Arc::new(Shared { levels, clock, waiting: AtomicUsize::new(0), dropped: AtomicU64::new(0) });
    let log = Log { shared: shared.clone(), queue: sender, repeats: RefCell::default() };
    (log, Lines { shared, queue: receiver })
}

impl Log {
    /// A handle that formats nothing and keeps nothing.
    pub fn off() -> Self {
        channel(Levels::default(), || 0).0
    }

    /// Whether the error log wants lines of `level`; for callers that would have to prepare much.
    pub fn takes(&self, level: Level) -> bool {
        self.shared.levels.error.is_some_and(|least| level >= least)
    }

    /// One line for the error log. The same message more than ten times in a second is counted instead, and the count
    /// follows as a line of its own.
    pub fn error(&self, level: Level, msg: &'static str, fields: impl FnOnce(&mut Fields)) {
        if !self.takes(level) {
            return;
        }
        let now = (self.shared.clock)();
        self.tell_repeats(now, false);
        if self.repeats.borrow_mut().admit(msg, level, now) {
            self.send(Target::Error, level, msg, now, fields);
        }
    }

    /// Like [`Log::error`] without a limit, for the lines of start and end, which are few by nature.
    pub fn announce(&self, level: Level, msg: &str, fields: impl FnOnce(&mut Fields)) {
        if self.takes(level) {
            self.send(Target::Error, level, msg, (self.shared.clock)(), fields);
        }
    }

    /// Whether the access log wants lines at all.
    pub fn takes_access(&self) -> bool {
        self.shared.levels.access.is_some_and(|least| Level::Info >= least)
    }

    /// One line for the access log, at level info.
    pub fn access(&self, msg: &str, fields: impl FnOnce(&mut Fields)) {
        if self.takes_access() {
            self.send(Target::Access, Level::Info, msg, (self.shared.clock)(), fields);
        }
    }

    /// Reports the repeats that were held back in seconds gone by. Every line does so too; a thread that may fall
    /// silent after a flood calls this now and then.
    pub fn tick(&self) {
        self.tell_repeats((self.shared.clock)(), false);
    }

    /// Lines that found the queue full and were not yet reported.
    pub fn dropped_count(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Has the writer write all that is queued and end, and waits for that no longer than `bound`. False when it did
    /// not get there in time. Lines after it are dropped.
    pub fn close(&self, bound: Duration) -> bool {
        let (done, wait) = mpsc::channel();
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        self.queue.send(Entry::Close(done)).is_ok() && wait.recv_timeout(bound).is_ok()
    }

    /// With `all`, those of the current second too.
    fn tell_repeats(&self, now: u64, all: bool) {
        while let Some((msg, level, count)) = self.repeats.borrow_mut().take_held(now, all) {
            self.send(Target::Error, level, "message repeated", now, |fields| {
                fields.str("of", msg);
                fields.uint("count", count);
            });
        }
    }

    fn send(&self, target: Target, level: Level, msg: &str, now: u64, fields: impl FnOnce(&mut Fields)) {
        let Shared { waiting, dropped, .. } = &*self.shared;
        let has_room = waiting.fetch_add(1, Ordering::Relaxed) < QUEUE_MAX;
        let entry = || Entry::Line(Line { target, text: Fields::line(level, msg, now, fields) });
        if !has_room || self.queue.send(entry()).is_err() {
            waiting.fetch_sub(1, Ordering::Relaxed);
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.tell_repeats((self.shared.clock)(), true);
    }
}

/// The writer's end of the queue.
pub struct Lines {
    shared: Arc<Shared>,
    queue: Receiver<Entry>,
}

/// What the writer finds when it looks into the queue.
pub enum Next {
    /// A line to write.
    Line(Line),
    /// Nothing now.
    Empty,
    /// Write what you hold, send the answer, end.
    Close(Sender<()>),
    /// Nobody can log any more.
    Gone,
}

impl Lines {
    /// Waits for the next entry.
    pub fn wait(&self) -> Next {
        self.queue.recv().map_or(Next::Gone, |entry| self.taken(entry))
    }

    /// Waits for the next entry, but not longer than `bound`.
    pub fn wait_for(&self, bound: Duration) -> Next {
        match self.queue.recv_timeout(bound) {
            Ok(entry) => self.taken(entry),
            Err(RecvTimeoutError::Timeout) => Next::Empty,
            Err(RecvTimeoutError::Disconnected) => Next::Gone,
        }
    }

    /// The next entry if there is one.
    pub fn take(&self) -> Next {
        match self.queue.try_recv() {
            Ok(entry) => self.taken(entry),
            Err(TryRecvError::Empty) => Next::Empty,
            Err(TryRecvError::Disconnected) => Next::Gone,
        }
    }

    fn taken(&self, entry: Entry) -> Next {
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        match entry {
            Entry::Line(line) => Next::Line(line),
            Entry::Close(done) => Next::Close(done),
        }
    }

    /// Counts lines that an output refused as dropped.
    pub fn lose(&self, count: u64) {
        self.shared.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// The line for the error log that owns up to all dropped since the last such line, and their number.
    pub fn take_dropped(&self) -> Option<(Vec<u8>, u64)> {
        let count = self.shared.dropped.swap(0, Ordering::Relaxed);
        let now = (self.shared.clock)();
        (count > 0).then(|| (Fields::line(Level::Error, "log lines dropped", now, |to| to.uint("count", count)), count))
    }
}

#[cfg(test)]
mod tests;
