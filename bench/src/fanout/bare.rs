//! The reference: a loop that does nothing but send.
//!
//! One `SEND` per connection and round, from one contiguous buffer, on a direct descriptor, without a completion unless
//! something went wrong. No topics, no ids, no clients: what is left is the kernel's own cost.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use io_uring::{IoUring, opcode, squeue, types};

use super::{Burst, Sent};
use crate::{Failure, ring};

/// Sends per system call: from 32 on bigger batches gain nothing, and they delay looking at what failed.
const BATCH: u32 = 128;

/// N accepted sockets in a ring's table and the bytes that they are sent.
pub struct Bare {
    ring: IoUring,
    connections: u32,
    payload: Vec<u8>,
}

impl Bare {
    /// Accepts `connections` of its own and returns the other ends of them.
    pub fn start(connections: u32) -> Result<(Self, Vec<TcpStream>), Failure> {
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
        Ok((Self { ring, connections, payload: Vec::new() }, clients))
    }

    /// Sends a burst to every connection, as one message of its whole length.
    pub fn round(&mut self, burst: Burst) -> Result<Sent, Failure> {
        let len = burst.len();
        if self.payload.len() != len as usize {
            self.payload = vec![b'x'; len as usize];
        }
        let mut sent = Sent {
            deliveries: u64::from(self.connections) * u64::from(burst.events),
            short: 0,
            bytes: u64::from(self.connections) * u64::from(len),
        };
        for first in (0..self.connections).step_by(BATCH as usize) {
            for slot in first..self.connections.min(first + BATCH) {
                let entry = opcode::Send::new(types::Fixed(slot), self.payload.as_ptr(), len)
                    // Without WAITALL a short send would count as a success and post nothing.
                    .flags(libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_WAITALL)
                    .build()
                    .flags(squeue::Flags::SKIP_SUCCESS)
                    .user_data(slot.into());
                // SAFETY: with DONTWAIT the send is over when the submission returns, and the payload is left alone
                // until then.
                unsafe { ring::push(&mut self.ring, &entry) }?;
            }
            self.ring.submit()?;
            self.take_trouble(burst, &mut sent)?;
        }
        Ok(sent)
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
