//! The receive buffers of one ring: a few large ones, lent out by the kernel at the moment something arrives.
//!
//! Registered as a provided-buffer ring, so that an idle socket holds none.
//!
//! Invariant: a buffer is either in the kernel's ring or lent out, never both.

use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::base::region::Region;
use crate::ring::{Buffer, RECV_BUFFERS, RECV_LEN_MAX};

/// The only buffer group.
pub(super) const GROUP: u16 = 0;

/// Bytes per buffer: four of the longest request heads, and a good gulp of a Redis link.
const BUFFER_LEN: usize = RECV_LEN_MAX;

const _: () = assert!(RECV_BUFFERS.is_power_of_two());

pub(super) struct Buffers {
    area: Rc<Region>,
    entries: Region,
    tail: u16,
}

impl Buffers {
    pub(super) fn register(ring: &IoUring) -> io::Result<Self> {
        let area = Rc::new(Region::new(usize::from(RECV_BUFFERS) * BUFFER_LEN)?);
        let entries = Region::new(usize::from(RECV_BUFFERS) * size_of::<BufRingEntry>())?;
        // SAFETY: both regions live as long as the ring: `Uring` drops its ring first.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(entries.as_ptr() as u64, RECV_BUFFERS, GROUP, 0)?;
        }
        let mut buffers = Self { area, entries, tail: 0 };
        for id in 0..RECV_BUFFERS {
            buffers.provide(id);
        }
        Ok(buffers)
    }

    /// The first `len` bytes of buffer `id`, which the kernel has just filled.
    pub(super) fn lend(&self, id: u16, len: usize) -> Buffer {
        // SAFETY: the kernel took the buffer out of its ring; it writes again only after `provide`.
        unsafe { Buffer::lend(Rc::clone(&self.area), id, usize::from(id) * BUFFER_LEN, len) }
    }

    /// Puts a buffer back into the kernel's ring.
    pub(super) fn provide(&mut self, id: u16) {
        let base: *mut BufRingEntry = self.entries.as_ptr().cast();
        // SAFETY: the slot at `tail` is not the kernel's to read before the tail is published below.
        unsafe {
            let entry = &mut *base.add(usize::from(self.tail & (RECV_BUFFERS - 1)));
            entry.set_addr(self.area.as_ptr().add(usize::from(id) * BUFFER_LEN) as u64);
            entry.set_len(BUFFER_LEN as u32);
            entry.set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in our mapping, is aligned, and only this thread writes it.
        let tail = unsafe { &*BufRingEntry::tail(base).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }
}
