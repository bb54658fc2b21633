//! Who may read: a valve for each subscriber, and for each HTTP/2 connection a gate that shuts when all valves have.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use crate::engine::Reading;

/// How one subscriber reads.
pub(super) struct Valve {
    reading: Cell<Reading>,
    changed: Notify,
}

impl Default for Valve {
    fn default() -> Self {
        Self { reading: Cell::new(Reading::Full), changed: Notify::new() }
    }
}

impl Valve {
    /// Whoever waits at the valve looks again.
    pub(super) fn set(&self, reading: Reading) {
        self.reading.set(reading);
        self.changed.notify_waiters();
    }

    /// Waits until so many bytes that have arrived may be used.
    pub(super) async fn pass(&self, len: usize) {
        loop {
            match self.reading.get() {
                Reading::Full => return,
                Reading::Stopped => self.changed.notified().await,
                Reading::Trickle(rate) => {
                    let takes = Duration::from_secs_f64(len as f64 / f64::from(rate.max(1)));
                    if tokio::time::timeout(takes, self.changed.notified()).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Whether anybody on an HTTP/2 connection reads: if nobody does, neither does the connection.
///
/// As long as somebody waits for an answer the gate is open: without reading there is none.
pub(super) struct Gate {
    valves: Rc<[Valve]>,
    /// The valves of the connection's subscribers.
    members: Range<usize>,
    /// How many of them wait for an answer.
    coming: Cell<u32>,
    /// Whether it stands open for good: the connection is being closed.
    released: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

impl Gate {
    pub(super) fn new(valves: Rc<[Valve]>, members: Range<usize>) -> Self {
        let (coming, released, waiting) = Default::default();
        Self { valves, members, coming, released, waiting }
    }

    /// Ready while somebody reads.
    pub(super) fn poll_open(&self, context: &Context<'_>) -> Poll<()> {
        let is_stopped = |valve: &Valve| valve.reading.get() == Reading::Stopped;
        if self.released.get() || self.coming.get() > 0 || !self.valves[self.members.clone()].iter().all(is_stopped) {
            return Poll::Ready(());
        }
        self.waiting.set(Some(context.waker().clone()));
        Poll::Pending
    }

    /// A valve has changed.
    pub(super) fn look_again(&self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Somebody waits for an answer, until the guard is dropped.
    pub(super) fn coming(&self) -> Coming<'_> {
        self.coming.update(|count| count + 1);
        self.look_again();
        Coming(self)
    }

    /// Opens for good.
    pub(super) fn release(&self) {
        self.released.set(true);
        self.look_again();
    }
}

/// One who waits for an answer.
pub(super) struct Coming<'g>(&'g Gate);

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.0.coming.update(|count| count - 1);
    }
}
