//! Rings of memory with one writer: bytes, and tables of plain values.
//!
//! Positions count up for ever; a position's place is its remainder. What may be read and what may be written at any
//! time is the log's protocol (see its head); here it is only relied upon.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use super::Span;
use crate::base::region::Region;

/// A ring of bytes. Whatever is put in lies in one piece.
pub(super) struct Bytes {
    region: Arc<Region>,
}

impl Bytes {
    pub(super) fn new(len: usize) -> io::Result<Self> {
        Ok(Self { region: Arc::new(Region::new(len)?) })
    }

    pub(super) fn region(&self) -> &Arc<Region> {
        &self.region
    }

    pub(super) fn len(&self) -> u64 {
        self.region.len() as u64
    }

    /// Where `len` bytes go that are put in after position `at`: there, or at the next turn of the ring.
    pub(super) fn fit(&self, at: u64, len: usize) -> u64 {
        let left = self.len() - at % self.len();
        if (len as u64) <= left { at } else { at + left }
    }

    pub(super) fn span(&self, at: u64, len: u32) -> Span {
        Span { at: at % self.len(), len }
    }

    /// # Safety
    /// `at` is a position that was put in, `len` its length, and it is not given up.
    pub(super) unsafe fn read(&self, at: u64, len: usize) -> &[u8] {
        // SAFETY: nothing below the least floor is read and nothing above it is written, by contract.
        unsafe { self.region.bytes((at % self.len()) as usize, len) }
    }

    /// # Safety
    /// The caller is the writer, `at` comes from [`Bytes::fit`], and what was there lies below every floor.
    pub(super) unsafe fn put(&self, at: u64, bytes: &[u8]) {
        // SAFETY: as above.
        unsafe { self.region.write((at % self.len()) as usize, bytes) }
    }
}

/// A ring of plain values, by position.
pub(super) struct Table<T> {
    region: Region,
    mask: u64,
    values: PhantomData<T>,
}

// SAFETY: the values are plain memory; who reads and writes which of them is the log's protocol.
unsafe impl<T: Send> Send for Table<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Table<T> {}

impl<T> Table<T> {
    /// Room for `count` values, a power of two. `T` is valid when all zero.
    pub(super) fn new(count: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two() && align_of::<T>() <= 4096 && !std::mem::needs_drop::<T>());
        Ok(Self { region: Region::new(count * size_of::<T>())?, mask: count as u64 - 1, values: PhantomData })
    }

    pub(super) fn count(&self) -> u64 {
        self.mask + 1
    }

    fn place(&self, at: u64) -> *mut T {
        let index = (at & self.mask) as usize;
        self.region.as_ptr().cast::<T>().wrapping_add(index)
    }

    /// # Safety
    /// The value at `at` has been put in and lies at or above the caller's floor.
    pub(super) unsafe fn read(&self, at: u64) -> &T {
        // SAFETY: in bounds by the mask, initialised and unwritten by contract.
        unsafe { &*self.place(at) }
    }

    /// # Safety
    /// The caller is the writer and what was there lies below every floor.
    pub(super) unsafe fn put(&self, at: u64, value: T) {
        // SAFETY: in bounds by the mask, alone by contract.
        unsafe { self.place(at).write(value) }
    }
}
