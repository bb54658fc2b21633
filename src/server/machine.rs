//! What this machine gives the process: processors to run on, descriptors to hold.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Largest table of sockets that a ring takes, whatever the limit of open files says.
const SLOTS_MAX: u64 = 1 << 20;

/// Allocations from this size on get pages of their own, and give them back: an event or a request head fits below. A
/// list that grows with the clients moves by its pages then, and leaves no hole behind for each size it had: from 128
/// KiB on, holes were an eighth of what 100,000 clients took.
#[cfg(target_env = "gnu")]
const OWN_PAGES_FROM: i32 = 32 * 1024;

/// Free memory at the end of a heap (each thread has one) from which on it goes back, and what then stays for the next
/// use. What a crowd takes while it comes or goes is soon free again, some 300 KiB on each shard; by itself glibc keeps
/// 128 KiB of that.
#[cfg(target_env = "gnu")]
const GIVEN_BACK_FROM: i32 = 64 * 1024;
#[cfg(target_env = "gnu")]
const KEPT: i32 = 16 * 1024;

/// Has large allocations given back to the machine when they are freed. Without this, glibc takes the first of them
/// that is freed for the usual size, and keeps what a crowd of publishers once needed for ever.
pub fn give_memory_back() {
    // Other allocators do so by themselves.
    #[cfg(target_env = "gnu")]
    // SAFETY: sets numbers of the allocator, under its lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_PAGES_FROM);
        libc::mallopt(libc::M_TRIM_THRESHOLD, GIVEN_BACK_FROM);
        libc::mallopt(libc::M_TOP_PAD, KEPT);
    }
}

/// The processors that the process may use, in order.
pub fn cpus() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// Keeps the calling thread on one processor. Where that is forbidden it runs on any.
pub fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    let _ = sched_setaffinity(None, &set);
}

/// Raises the limit of open files as far as it goes; returns the places that each shard's table of sockets may have.
pub fn slots() -> u32 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    current.unwrap_or(SLOTS_MAX).min(SLOTS_MAX) as u32
}
