//! What the raw engine and the bare acceptor share of io_uring: how a ring is set up, fed and entered.
//!
//! Deliberately not the server's own ring: a mistake there must not be in the reference as well.

use std::io;

use io_uring::{IoUring, squeue};

/// Most sockets that a ring here holds: below the common hard limit of 20,000 open files, which bounds the table.
pub const SLOTS_MAX: u32 = 19_000;

/// A ring with a table of `slots` direct descriptors. It belongs to the thread that calls this.
pub fn build(entries: u32, completions: u32, slots: u32) -> io::Result<IoUring> {
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(completions)
        .build(entries)?;
    ring.submitter().register_files_sparse(slots)?;
    Ok(ring)
}

/// Queues `entry`, handing over what is queued already when the queue is full.
///
/// # Safety
/// Memory that `entry` names stays put, and is not used otherwise, until its last completion.
pub unsafe fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    // SAFETY: passed on to the caller.
    if unsafe { ring.submission().push(entry) }.is_err() {
        ring.submit()?;
        // SAFETY: as above.
        unsafe { ring.submission().push(entry) }
            .map_err(|_| io::Error::other("a submitted queue still has no room"))?;
    }
    Ok(())
}

/// Hands over what is queued, and runs what is due: completions of such a ring appear in no other way.
pub fn enter(ring: &mut IoUring) -> io::Result<()> {
    /// `IORING_ENTER_GETEVENTS`, which the crate sets only for those who wait.
    const GET_EVENTS: u32 = 1;
    let queued = ring.submission().len() as u32;
    // SAFETY: there is no argument, and memory that entries name is the business of those who pushed them.
    match unsafe { ring.submitter().enter::<libc::sigset_t>(queued, 0, GET_EVENTS, None) } {
        Ok(_) => Ok(()),
        // A signal came, or completions wait to be taken first: the caller's loop goes on either way.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => Ok(()),
        Err(error) => Err(error),
    }
}
