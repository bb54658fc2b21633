//! Connections that are up: looking for what arrived, and closing them.
//!
//! A sweep is a receive that does not wait on each connection, some hundreds per system call; about a microsecond each.

use std::time::Instant;

use io_uring::{cqueue, opcode, squeue, types};

use super::Close;
use super::client::{BATCH, Client, RECV_LEN, STALL_FOR_MAX, Slot, Tally, WAIT_FOR, named};
use crate::{Failure, ring};

/// Receives on one connection within one sweep: a server that writes without end has its bound here.
const ROUNDS_MAX: usize = 64;

impl Client {
    /// Receives from every live connection until it has nothing more. One whose bytes contain `mark` is reached, and
    /// not looked at again before [`Client::forget`]. Returns how many were reached, or had anything when there is no
    /// mark.
    pub fn sweep(&mut self, mark: Option<&[u8]>, tally: &mut Tally) -> Result<u32, Failure> {
        let mut buffers = vec![[0; RECV_LEN]; BATCH];
        let mut found = 0;
        for first in (0..self.slots.len()).step_by(BATCH) {
            let last = self.slots.len().min(first + BATCH);
            let is_live = |&at: &usize| self.slots[at] == Slot::Live;
            let mut todo: Vec<u32> = (first..last).filter(is_live).map(|at| at as u32).collect();
            for _ in 0..ROUNDS_MAX {
                if todo.is_empty() {
                    break;
                }
                todo = self.sweep_batch(&todo, &mut buffers, mark, tally, &mut found)?;
            }
        }
        Ok(found)
    }

    /// One receive for each of `slots`; returns those that may have more.
    fn sweep_batch(
        &mut self,
        slots: &[u32],
        buffers: &mut [[u8; RECV_LEN]],
        mark: Option<&[u8]>,
        tally: &mut Tally,
        found: &mut u32,
    ) -> Result<Vec<u32>, Failure> {
        for (&slot, (at, buffer)) in slots.iter().zip(buffers.iter_mut().enumerate()) {
            let recv = opcode::Recv::new(types::Fixed(slot), buffer.as_mut_ptr(), RECV_LEN as u32)
                .flags(libc::MSG_DONTWAIT)
                .build();
            // SAFETY: with DONTWAIT it completes in the submission, and all completions are awaited below.
            unsafe { ring::push(&mut self.ring, &recv.user_data(at as u64)) }?;
        }
        let mut more = Vec::new();
        for completion in self.collect(slots.len())? {
            let at = completion.user_data() as usize;
            let slot = slots[at];
            match completion.result() {
                len if len > 0 => {
                    let got = &buffers[at][..len.unsigned_abs() as usize];
                    let marked = mark.is_none_or(|mark| got.windows(mark.len()).any(|piece| piece == mark));
                    *found += u32::from(marked);
                    if mark.is_some() && marked {
                        self.slots[slot as usize] = Slot::Reached;
                    } else if got.len() == RECV_LEN {
                        more.push(slot);
                    }
                }
                error if -error == libc::EAGAIN => {}
                result => {
                    self.slots[slot as usize] = Slot::Ended;
                    tally.live -= 1;
                    tally.fail(if result == 0 { "ended by the server".to_owned() } else { named("idle", result) });
                }
            }
        }
        Ok(more)
    }

    /// Makes the reached connections live again, for the next sweep.
    pub fn forget(&mut self) {
        for slot in &mut self.slots {
            if *slot == Slot::Reached {
                *slot = Slot::Live;
            }
        }
    }

    /// Closes all that is open.
    pub fn close(&mut self, how: Close, tally: &mut Tally) -> Result<(), Failure> {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let open: Vec<u32> =
            (0..self.slots.len() as u32).filter(|&at| self.slots[at as usize] != Slot::Empty).collect();
        for batch in open.chunks(BATCH) {
            for &slot in batch {
                let socket = types::Fixed(slot);
                let option = opcode::SetSockOpt::new(
                    socket,
                    libc::SOL_SOCKET as u32,
                    libc::SO_LINGER as u32,
                    std::ptr::from_ref(&linger).cast(),
                    size_of::<libc::linger>() as u32,
                );
                let option = option.build().flags(squeue::Flags::IO_HARDLINK | squeue::Flags::SKIP_SUCCESS);
                let close = opcode::Close::new(socket).build();
                // SAFETY: the option's value lives until all completions of the batch are taken below.
                unsafe {
                    if how == Close::Reset {
                        ring::push(&mut self.ring, &option)?;
                    }
                    ring::push(&mut self.ring, &close)?;
                }
                let was = std::mem::replace(&mut self.slots[slot as usize], Slot::Empty);
                tally.live -= u32::from(was != Slot::Ended);
            }
            // A chain that failed to open its socket has nothing to close.
            let refused = |completion: &&cqueue::Entry| completion.result() < 0 && -completion.result() != libc::EBADF;
            if let Some(completion) = self.collect(batch.len())?.iter().find(refused) {
                return Err(named("close", completion.result()).into());
            }
        }
        Ok(())
    }

    /// Submits, and takes `count` completions of ops that do not wait.
    fn collect(&mut self, count: usize) -> Result<Vec<cqueue::Entry>, Failure> {
        let deadline = Instant::now() + STALL_FOR_MAX;
        let mut done = Vec::with_capacity(count);
        while done.len() < count {
            if Instant::now() > deadline {
                return Err(format!("{} ops that should not wait did not end", count - done.len()).into());
            }
            ring::wait(&self.ring, count - done.len(), WAIT_FOR)?;
            done.extend(self.ring.completion());
        }
        Ok(done)
    }
}
