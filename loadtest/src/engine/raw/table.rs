//! A ring with its table of sockets: every request that this engine makes of the kernel, and what each relies upon.
//!
//! Sockets are direct descriptors, so they do not count as open files of the process. A request and its completion are
//! matched by a [`Tag`].

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::net::SocketAddrAny;

use super::buffers::{self, Buffers};
use crate::ring;

/// Requests that are handed over in one system call: two slices of a sweep.
const ENTRIES: u32 = 512;

/// Room for completions until they are taken, which is after each system call.
const COMPLETIONS: u32 = 4096;

/// A close that resets, whatever was sent or received.
static RESET: libc::linger = libc::linger { l_onoff: 1, l_linger: 0 };

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Op {
    /// A socket. Completes only if it fails, and a connect follows all the same.
    Socket,
    /// A connection.
    Connect,
    /// To send a request.
    Send,
    /// To receive once, as soon as there is something.
    Answer,
    /// To receive whenever there is something.
    Stream,
    /// To receive what is there now.
    Look,
    /// To call off one of the above. Completes only if it fails.
    Cancel,
    /// To be reset by the close that follows. Completes only if it fails.
    Linger,
    /// To be closed.
    Close,
}

const OPS: [Op; 9] =
    [Op::Socket, Op::Connect, Op::Send, Op::Answer, Op::Stream, Op::Look, Op::Cancel, Op::Linger, Op::Close];

/// Whom a request is for. A later socket in the same slot has another `life`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) op: Op,
    pub(super) life: u16,
    pub(super) slot: u32,
}

impl Tag {
    fn to_bits(self) -> u64 {
        (self.op as u64) << 48 | u64::from(self.life) << 32 | u64::from(self.slot)
    }

    fn from_bits(bits: u64) -> Self {
        Self { op: OPS[(bits >> 48) as usize], life: (bits >> 32) as u16, slot: bits as u32 }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    pub(super) tag: Tag,
    pub(super) result: i32,
    /// Where the received bytes are, if any.
    pub(super) buffer: Option<u16>,
    /// Whether the request goes on.
    pub(super) goes_on: bool,
    /// Whether there are more bytes to receive.
    pub(super) has_more: bool,
}

/// A socket in the table, and which one of those that were there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) index: u32,
    pub(super) life: u16,
}

impl Slot {
    fn socket(self) -> types::Fixed {
        types::Fixed(self.index)
    }

    fn bits(self, op: Op) -> u64 {
        Tag { op, life: self.life, slot: self.index }.to_bits()
    }
}

/// A ring and its sockets.
pub(super) struct Table {
    /// Before the buffers: dropped first, so that the kernel has let go of them.
    ring: IoUring,
    buffers: Buffers,
    /// Completions that came while requests were queued.
    early: Vec<Completion>,
}

impl Table {
    /// A table of so many slots, which rings `bell` when it has something to do.
    pub(super) fn new(slots: u32, bell: &OwnedFd) -> io::Result<Self> {
        let ring = ring::build(ENTRIES, COMPLETIONS, slots)?;
        ring.submitter().register_eventfd(bell.as_raw_fd())?;
        // SAFETY: the ring is dropped before the buffers.
        let buffers = unsafe { Buffers::register(&ring) }?;
        Ok(Self { ring, buffers, early: Vec::new() })
    }

    /// Opens a socket and connects it.
    ///
    /// # Safety
    /// The address stays put until the connect has completed.
    pub(super) unsafe fn connect(&mut self, slot: Slot, address: &SocketAddrAny) -> io::Result<()> {
        let place = types::DestinationSlot::try_from_slot_target(slot.index)
            .map_err(|_| io::Error::other("no table has so many slots"))?;
        let socket = opcode::Socket::new(address.address_family().as_raw().into(), libc::SOCK_STREAM, 0)
            .file_index(Some(place))
            .build()
            .flags(squeue::Flags::IO_HARDLINK | squeue::Flags::SKIP_SUCCESS)
            .user_data(slot.bits(Op::Socket));
        let connect = opcode::Connect::new(slot.socket(), address.as_ptr().cast(), address.addr_len()).build();
        // A chain must not be torn by a submission.
        self.make_room(2)?;
        // SAFETY: the socket names no memory, the connect an address that stays put by our own contract.
        unsafe {
            self.push(&socket)?;
            self.push(&connect.user_data(slot.bits(Op::Connect)))
        }
    }

    /// Sends a whole request.
    ///
    /// # Safety
    /// The request stays put until this has completed.
    pub(super) unsafe fn send(&mut self, slot: Slot, request: &[u8]) -> io::Result<()> {
        let send = opcode::Send::new(slot.socket(), request.as_ptr(), request.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build();
        // SAFETY: passed on to the caller.
        unsafe { self.push(&send.user_data(slot.bits(Op::Send))) }
    }

    /// Receives once, as soon as there is something.
    pub(super) fn await_answer(&mut self, slot: Slot) -> io::Result<()> {
        self.receive(slot, Op::Answer, buffers::LEN, 0)
    }

    /// Receives up to `len` bytes of what is there now.
    pub(super) fn look(&mut self, slot: Slot, len: usize) -> io::Result<()> {
        self.receive(slot, Op::Look, len, libc::MSG_DONTWAIT)
    }

    fn receive(&mut self, slot: Slot, op: Op, len: usize, flags: i32) -> io::Result<()> {
        let receive = opcode::Recv::new(slot.socket(), std::ptr::null_mut(), len as u32)
            .buf_group(buffers::GROUP)
            .flags(flags)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        // SAFETY: the entry names no memory; buffers live as long as the ring.
        unsafe { self.push(&receive.user_data(slot.bits(op))) }
    }

    /// Receives whenever there is something.
    pub(super) fn arm(&mut self, slot: Slot) -> io::Result<()> {
        let receive = opcode::RecvMulti::new(slot.socket(), buffers::GROUP).build();
        // SAFETY: as above.
        unsafe { self.push(&receive.user_data(slot.bits(Op::Stream))) }
    }

    /// Calls off the request `op`, which then completes soon. By its tag: to look for a socket's requests is to look
    /// through those of all sockets.
    pub(super) fn cancel(&mut self, slot: Slot, op: Op) -> io::Result<()> {
        let cancel = opcode::AsyncCancel::new(slot.bits(op)).build().flags(squeue::Flags::SKIP_SUCCESS);
        // SAFETY: the entry names no memory.
        unsafe { self.push(&cancel.user_data(slot.bits(Op::Cancel))) }
    }

    /// Closes a socket on which nothing is in flight: an armed request would keep it open.
    pub(super) fn close(&mut self, slot: Slot, with_reset: bool) -> io::Result<()> {
        let linger = opcode::SetSockOpt::new(
            slot.socket(),
            libc::SOL_SOCKET as u32,
            libc::SO_LINGER as u32,
            (&raw const RESET).cast(),
            size_of::<libc::linger>() as u32,
        );
        let linger = linger.build().flags(squeue::Flags::IO_HARDLINK | squeue::Flags::SKIP_SUCCESS);
        let close = opcode::Close::new(slot.socket()).build();
        self.make_room(2)?;
        // SAFETY: the option's value is a static, the close names no memory.
        unsafe {
            if with_reset {
                self.push(&linger.user_data(slot.bits(Op::Linger)))?;
            }
            self.push(&close.user_data(slot.bits(Op::Close)))
        }
    }

    /// The bytes of a completion.
    pub(super) fn received(&self, buffer: u16, len: usize) -> &[u8] {
        self.buffers.received(buffer, len)
    }

    /// Gives back the buffer of a completion.
    pub(super) fn give_back(&mut self, buffer: u16) {
        self.buffers.give_back(buffer);
    }

    /// Hands over what is queued, and appends what has completed. Returns whether there was anything to do.
    pub(super) fn take(&mut self, done: &mut Vec<Completion>) -> io::Result<bool> {
        let queue = self.ring.submission();
        let is_idle = queue.is_empty() && !queue.taskrun() && !queue.cq_overflow();
        drop(queue);
        if is_idle && self.early.is_empty() && self.ring.completion().is_empty() {
            return Ok(false);
        }
        self.enter()?;
        done.append(&mut self.early);
        Ok(true)
    }

    /// Completions are taken at once: a ring that overflows ends what it has armed.
    fn enter(&mut self) -> io::Result<()> {
        ring::enter(&mut self.ring)?;
        self.early.extend(self.ring.completion().map(|entry| Completion {
            tag: Tag::from_bits(entry.user_data()),
            result: entry.result(),
            buffer: cqueue::buffer_select(entry.flags()),
            goes_on: cqueue::more(entry.flags()),
            has_more: cqueue::sock_nonempty(entry.flags()),
        }));
        Ok(())
    }

    fn make_room(&mut self, count: usize) -> io::Result<()> {
        let queue = self.ring.submission();
        let room = queue.capacity() - queue.len();
        drop(queue);
        if room < count { self.enter() } else { Ok(()) }
    }

    /// # Safety
    /// Memory that `entry` names stays put until its last completion.
    unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        self.make_room(1)?;
        // SAFETY: passed on to the caller.
        unsafe { ring::push(&mut self.ring, entry) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_survives_the_kernel() {
        for op in OPS {
            let tag = Tag { op, life: u16::MAX, slot: 18_999 };
            assert_eq!(Tag::from_bits(tag.to_bits()), tag);
        }
    }
}
