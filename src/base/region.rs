//! A fixed stretch of memory that the kernel may read while we go on: the event log's bytes, constants, receive
//! buffers.
//!
//! Mapped anonymously, so untouched pages cost nothing. Never moves and never shrinks while anybody holds it.
//!
//! Invariant: who writes a range is alone with it; the owner of the region (the log, a ring) sees to that.

use std::io;
use std::ptr::{self, NonNull};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// A mapping of `len` bytes, page-aligned, zeroed at first touch.
#[derive(Debug)]
pub struct Region {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the region is plain memory; every access goes through an unsafe method whose contract excludes races.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `len` bytes (at least 1). Fails when the address space or the memory limit is exhausted.
    pub fn new(len: usize) -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new anonymous mapping at an address that the kernel chooses touches no existing memory.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags)? };
        let start = NonNull::new(start.cast()).expect("mmap never returns null without MAP_FIXED");
        Ok(Self { start, len })
    }

    /// A region that holds exactly `bytes`, for constants.
    pub fn holding(bytes: &[u8]) -> io::Result<Self> {
        let region = Self::new(bytes.len().max(1))?;
        // SAFETY: nobody else knows the region yet.
        unsafe { region.write(0, bytes) };
        Ok(region)
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// A region is never empty.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Where it lies, for the kernel.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The bytes from `at`.
    ///
    /// # Safety
    /// Nobody writes to that range as long as the slice lives.
    ///
    /// # Panics
    /// When the range leaves the region.
    pub unsafe fn bytes(&self, at: usize, len: usize) -> &[u8] {
        assert!(at <= self.len && len <= self.len - at, "range {at}+{len} leaves a region of {} bytes", self.len);
        // SAFETY: in bounds by the assertion, initialised by mmap, unwritten by contract.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(at), len) }
    }

    /// Copies `bytes` to `at`.
    ///
    /// # Safety
    /// Nobody reads or writes that range meanwhile, the kernel included.
    ///
    /// # Panics
    /// When the range leaves the region.
    pub unsafe fn write(&self, at: usize, bytes: &[u8]) {
        let len = bytes.len();
        assert!(at <= self.len && len <= self.len - at, "range {at}+{len} leaves a region of {} bytes", self.len);
        // SAFETY: in bounds by the assertion, alone by contract, and a mapping never overlaps a foreign slice.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr().add(at), len) };
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and no borrow can outlive `self`. An error leaves it mapped, which harms nobody.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}
