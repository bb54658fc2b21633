//! Waking a shard: from another shard with a message between rings, from any other thread through an eventfd.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::{io, iter};

use rustix::event::{EventfdFlags, eventfd};

/// One bell per shard. Shared by all threads of the process.
#[derive(Debug)]
pub struct Bells {
    bells: Vec<Bell>,
}

#[derive(Debug)]
struct Bell {
    /// For threads that have no ring.
    event: OwnedFd,
    /// The shard's ring, -1 until it exists and again once it is gone.
    ring: AtomicI32,
}

impl Bells {
    /// Bells for `shards` shards. Costs one file descriptor each.
    pub fn new(shards: usize) -> io::Result<Self> {
        let bell = || {
            let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            Ok(Bell { event, ring: AtomicI32::new(-1) })
        };
        Ok(Self { bells: iter::repeat_with(bell).take(shards).collect::<io::Result<_>>()? })
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.bells.len()
    }

    /// Wakes `shard` from a thread that is no shard.
    pub fn ring(&self, shard: usize) {
        // A counter that is full has rung often enough.
        let _ = rustix::io::write(&self.bells[shard].event, &1u64.to_ne_bytes());
    }

    pub(super) fn event(&self, shard: usize) -> BorrowedFd<'_> {
        self.bells[shard].event.as_fd()
    }

    pub(super) fn hang(&self, shard: usize, ring: &impl AsRawFd) {
        self.bells[shard].ring.store(ring.as_raw_fd(), Ordering::Release);
    }

    pub(super) fn take_down(&self, shard: usize) {
        self.bells[shard].ring.store(-1, Ordering::Release);
    }

    pub(super) fn ring_fd(&self, shard: usize) -> Option<RawFd> {
        let fd = self.bells[shard].ring.load(Ordering::Acquire);
        (fd >= 0).then_some(fd)
    }
}
