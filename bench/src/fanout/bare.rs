//! The reference: a loop that does nothing but send.
//!
//! One send per connection and round, from one contiguous buffer, on a direct descriptor, without a completion unless
//! something went wrong. No topics, no ids, no clients: what is left is the kernel's own cost.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use io_uring::{IoUring, opcode, squeue, types};

use super::{Burst, Sent};
use crate::{Failure, ring};

/// Sends per system call, as many as the server's ring takes: 2 or 3 % better than 128, and no worse than more.
const BATCH: u32 = 512;

/// Bytes between the events of a gathered send, where those of other topics would lie.
const HOLE_LEN: usize = 64;

/// How the waiting events lie in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layout {
    /// One after another: one `SEND` takes them all.
    Contiguous,
    /// With others between them: one `SENDMSG` gathers them.
    Scattered,
}

/// N accepted sockets in a ring's table and the bytes that they are sent.
pub struct Bare {
    ring: IoUring,
    connections: u32,
    layout: Layout,
    payload: Vec<u8>,
    pieces: Vec<libc::iovec>,
}

impl Bare {
    /// Accepts `connections` of its own and returns the other ends of them.
    pub fn start(connections: u32, layout: Layout) -> Result<(Self, Vec<TcpStream>), Failure> {
        let ring = ring::build(BATCH, BATCH * 8, connections)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let mut clients = Vec::with_capacity(connections as usize);
        for slot in 0..connections {
            let client = TcpStream::connect(address)?;
            client.set_nonblocking(true)?;
            clients.push(client);
            let (accepted, _) = listener.accept()?;
            accepted.set_nodelay(true)?;
            // The table holds the socket from here on; the process's own descriptor goes with `accepted`.
            ring.submitter().register_files_update(slot, &[accepted.as_raw_fd()])?;
        }
        Ok((Self { ring, connections, layout, payload: Vec::new(), pieces: Vec::new() }, clients))
    }

    /// Sends a burst to every connection, as one message of its whole length.
    pub fn round(&mut self, burst: Burst) -> Result<Sent, Failure> {
        self.lay_out(burst);
        let mut sent = Sent {
            deliveries: u64::from(self.connections) * u64::from(burst.events),
            short: 0,
            bytes: u64::from(self.connections) * u64::from(burst.len()),
        };
        // SAFETY: all-zero is a valid msghdr: no name, no control data, no pieces.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        (header.msg_iov, header.msg_iovlen) = (self.pieces.as_mut_ptr(), self.pieces.len());
        // Without WAITALL a short send would count as a success and post nothing.
        const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_WAITALL;
        for first in (0..self.connections).step_by(BATCH as usize) {
            for slot in first..self.connections.min(first + BATCH) {
                let socket = types::Fixed(slot);
                let entry = match self.layout {
                    Layout::Contiguous => {
                        opcode::Send::new(socket, self.payload.as_ptr(), burst.len()).flags(FLAGS).build()
                    }
                    Layout::Scattered => opcode::SendMsg::new(socket, &raw const header).flags(FLAGS as u32).build(),
                };
                let entry = entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(slot.into());
                // SAFETY: with DONTWAIT the send is over when the submission returns; payload, pieces and header are
                // left alone until then.
                unsafe { ring::push(&mut self.ring, &entry) }?;
            }
            self.ring.submit()?;
            self.take_trouble(burst, &mut sent)?;
        }
        Ok(sent)
    }

    /// Puts the events of a burst into memory.
    fn lay_out(&mut self, burst: Burst) {
        let size = burst.size as usize;
        let step = size + if self.layout == Layout::Scattered { HOLE_LEN } else { 0 };
        let len = step * burst.events as usize;
        if self.payload.len() == len {
            return;
        }
        self.payload = vec![b'x'; len];
        let piece = |event: &mut [u8]| libc::iovec { iov_base: event.as_mut_ptr().cast(), iov_len: size };
        self.pieces = self.payload.chunks_exact_mut(step).map(piece).collect();
    }

    /// A completion means that not all was sent: what is missing is not a delivery.
    fn take_trouble(&mut self, burst: Burst, sent: &mut Sent) -> Result<(), Failure> {
        for completion in self.ring.completion() {
            let moved = match completion.result() {
                moved if moved >= 0 => moved.unsigned_abs(),
                error if -error == libc::EAGAIN => 0,
                error => return Err(format!("a send failed: {}", std::io::Error::from_raw_os_error(-error)).into()),
            };
            sent.short += 1;
            sent.deliveries -= u64::from(burst.events - moved / burst.size);
            sent.bytes -= u64::from(burst.len() - moved);
        }
        Ok(())
    }
}
