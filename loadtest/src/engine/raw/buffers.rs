//! The buffers that a ring receives into: the kernel takes one when bytes are there, so who waits for bytes has none.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// Buffers of one ring: a page of entries, and as many as are received into before they are given back.
pub(super) const COUNT: u16 = 256;

/// Bytes of a buffer: an answer's head with the first comment, or some events of a broadcast.
pub(super) const LEN: usize = 2048;

/// The only group of buffers in a ring.
pub(super) const GROUP: u16 = 0;

/// What the kernel reads of free buffers. Its alignment is that of a page, as the kernel asks for.
#[repr(C, align(4096))]
struct Entries([BufRingEntry; COUNT as usize]);

const _: () = assert!(size_of::<Entries>() == 4096);
const _: () = assert!(COUNT.is_power_of_two());

/// The buffers of one ring.
pub(super) struct Buffers {
    entries: Box<Entries>,
    memory: Box<[u8]>,
    /// Buffers given so far, wrapping: the next entry is at this place.
    tail: u16,
}

impl Buffers {
    /// Gives a ring all its buffers.
    ///
    /// # Safety
    /// They live as long as the ring.
    pub(super) unsafe fn register(ring: &IoUring) -> io::Result<Self> {
        // SAFETY: entries are plain numbers, for which zero is a value.
        let entries = unsafe { Box::<Entries>::new_zeroed().assume_init() };
        let mut buffers = Self { entries, memory: vec![0; usize::from(COUNT) * LEN].into_boxed_slice(), tail: 0 };
        let address = buffers.entries.0.as_mut_ptr() as u64;
        // SAFETY: the entries are a whole page, stay put in their box, and live as long as the ring by our own
        // contract.
        unsafe { ring.submitter().register_buf_ring_with_flags(address, COUNT, GROUP, 0) }?;
        for id in 0..COUNT {
            buffers.give_back(id);
        }
        Ok(buffers)
    }

    /// The bytes received into a buffer that was not given back yet.
    pub(super) fn received(&self, id: u16, len: usize) -> &[u8] {
        let start = usize::from(id) * LEN;
        &self.memory[start..start + len]
    }

    /// The kernel may receive into this buffer again.
    pub(super) fn give_back(&mut self, id: u16) {
        let address = self.memory[usize::from(id) * LEN..][..LEN].as_mut_ptr() as u64;
        let entry = &mut self.entries.0[usize::from(self.tail % COUNT)];
        entry.set_addr(address);
        entry.set_len(LEN as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the entries are initialised and this is the first one, in which the kernel has the tail; it is
        // aligned and nobody else writes it.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.0.as_mut_ptr()).cast_mut()) };
        // The entry is complete before the kernel learns of it.
        tail.store(self.tail, Ordering::Release);
    }
}
