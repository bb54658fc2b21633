//! What the bare loop, the clients and the bare acceptor share of io_uring: how a ring is set up and how long it waits.
//!
//! Deliberately not the server's own ring: a mistake there must not be in the reference as well.

use std::io;
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, squeue};

/// Most sockets that a ring here holds: below the common hard limit of 20,000 open files, which bounds the table.
pub const SLOTS_MAX: u32 = 19_000;

/// A ring with a table of `slots` direct descriptors. It belongs to the thread that calls this.
pub fn build(entries: u32, completions: u32, slots: u32) -> io::Result<IoUring> {
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
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

/// Hands over what is queued and waits until `want` completions are there or `longest` has passed.
pub fn wait(ring: &IoUring, want: usize, longest: Duration) -> io::Result<()> {
    let longest = Timespec::from(longest);
    match ring.submitter().submit_with_args(want, &SubmitArgs::new().timespec(&longest)) {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            // Time is up, a signal came, or completions wait to be taken first: the caller's loop goes on either way.
            Some(libc::ETIME | libc::EINTR | libc::EBUSY) => Ok(()),
            _ => Err(error),
        },
    }
}
