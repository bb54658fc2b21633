//! The kernel, through io_uring: one ring per shard, used by its thread only.
//!
//! Sockets are direct descriptors: they live in the ring's table and take no number of the process. The first
//! [`OUTGOING`](super::OUTGOING) places of the table are for connections that we open, the rest for those we accept.
//!
//! What each op needs to know about this kernel interface stands beside it. `unsafe` here always rests on one of two
//! facts: memory named by an op stays put until its last completion (`ops`), or until the submission for what the
//! kernel copies while preparing.

mod bells;
mod buffers;
mod ops;
mod resolver;
mod setup;
mod staging;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::time::{ClockId, clock_gettime};
use slab::Slab;

pub use self::bells::Bells;
use self::buffers::Buffers;
use self::ops::{Message, Op, address};
use self::resolver::Resolver;
use self::setup::Abilities;
pub use self::setup::{Unfit, check};
use self::staging::Staging;
use super::{
    Armed, Attached, Buffer, Completion, Errno, Flight, Gather, Gathered, Listener, OUTGOING, Part, Piece, Ring,
    Socket, Token,
};
use crate::base::region::Region;
use crate::base::time::Instant;

/// Completions nobody wants to hear of.
const IGNORED: u64 = 0xF0 << 56;
/// Completions of an entry in `ops`, by its key.
const OWN: u64 = 0xF1 << 56;
/// Another thread rang.
const BELL: u64 = 0xF2 << 56;
const KEY: u64 = 0xFFFF_FFFF;

const NOW: i32 = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_WAITALL;
/// Without `MSG_WAITALL`: each completion then shows that a slow reader moves on.
const PENDING: i32 = libc::MSG_NOSIGNAL;
/// `IORING_SEND_ZC_REPORT_USAGE` and the bit it sets in the notification.
const REPORT_USAGE: u16 = 1 << 3;
const USAGE_COPIED: u32 = 1 << 31;
/// `IORING_REGISTER_FILE_ALLOC_RANGE`, which the crate does not name.
const REGISTER_FILE_ALLOC_RANGE: u32 = 25;
const ENTER_GETEVENTS: u32 = 1;
/// How often the kernel is offered what it has no memory for; some seconds of a machine that has nothing else to do.
const OFFERS_MAX: u32 = 1_000_000;
/// The address that takes a connection apart (connect(2), `AF_UNSPEC`).
static NOWHERE: libc::sockaddr = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };

/// What a ring is built from.
pub struct Options {
    /// Places in the table of sockets: at most the limit of open files.
    pub slots: u32,
    /// Listening sockets, named by [`Listener`] in this order.
    pub listeners: Vec<OwnedFd>,
    /// Memory that pieces may name, by index.
    pub regions: Vec<Arc<Region>>,
    /// Which shard this ring belongs to.
    pub shard: usize,
    /// The bells of all shards.
    pub bells: Arc<Bells>,
}

/// The kernel's side of a shard.
pub struct Uring {
    // Dropped first: the kernel lets go of everything below before it is freed.
    ring: IoUring,
    buffers: Buffers,
    ops: Slab<Op>,
    gathers: Vec<Message>,
    gathers_used: usize,
    staging: Staging,
    #[expect(clippy::vec_box, reason = "the kernel reads each where it lies, and a growing list moves")]
    addresses: Vec<Box<rustix::net::SocketAddrAny>>,
    ready: VecDeque<Completion>,
    resolver: Resolver,
    listeners: Vec<OwnedFd>,
    regions: Vec<Arc<Region>>,
    registered: Vec<Registration>,
    abilities: Abilities,
    outgoing: u8,
    shard: usize,
    bells: Arc<Bells>,
    now: Instant,
    unix_millis: u64,
    peeked: Box<u8>,
    random: u64,
    /// Whether the bell that threads without a ring use would wake us.
    bell_armed: bool,
}

/// Whether a region is known to the kernel as a fixed buffer. Pinning touches every page, so it waits for the first
/// need.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Registration {
    NotYet,
    Done,
    Refused,
}

impl Uring {
    /// Sets up the ring for the calling thread, the only one that may use it.
    pub fn new(options: Options) -> io::Result<Self> {
        let Options { slots, listeners, mut regions, shard, bells } = options;
        let ring = setup::build().map_err(io::Error::other)?;
        let abilities = setup::probe(&ring).map_err(io::Error::other)?;
        let submitter = ring.submitter();
        submitter.register_files_sparse(slots)?;
        reserve_outgoing(&ring, slots)?;
        let zero_copy = abilities.zero_copy && ring.submitter().register_buffers_sparse(regions.len() as u32).is_ok();
        let registered = vec![if zero_copy { Registration::NotYet } else { Registration::Refused }; regions.len()];
        let staging = Staging::new(regions.len() as u8)?;
        regions.push(Arc::clone(staging.region()));
        let buffers = Buffers::register(&ring)?;
        bells.hang(shard, &ring);
        let mut random = [0; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let mut uring = Self {
            ring,
            buffers,
            ops: Slab::new(),
            gathers: Vec::new(),
            gathers_used: 0,
            staging,
            addresses: Vec::new(),
            ready: VecDeque::new(),
            resolver: Resolver::new(shard, Arc::clone(&bells)),
            listeners,
            regions,
            registered,
            abilities,
            outgoing: 0,
            shard,
            bells,
            now: Instant::default(),
            unix_millis: 0,
            peeked: Box::new(0),
            random: u64::from_ne_bytes(random),
            bell_armed: false,
        };
        uring.read_clocks();
        Ok(uring)
    }

    fn read_clocks(&mut self) {
        self.now = monotonic();
        let real = clock_gettime(ClockId::Realtime);
        self.unix_millis = real.tv_sec as u64 * 1_000 + real.tv_nsec as u64 / 1_000_000;
    }

    /// Queues an op; sends out what is queued when there is no room.
    fn push(&mut self, entry: &Entry) {
        loop {
            // SAFETY: every caller sees to it that the memory named by its op stays put (see the module's head).
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return;
            }
            self.flush();
        }
    }

    /// Sends out what is queued; prepared gathers stay as they are.
    fn flush(&mut self) {
        if let Err(error) = enter(&self.ring, 0, None).and_then(|()| self.submit_rest()) {
            // The kernel takes submissions unless it is out of memory for long or we broke its rules.
            panic!("io_uring_enter failed: {error}");
        }
    }

    /// Offers the kernel again what it did not take for want of memory: nothing of one turn is left to the next, or one
    /// socket might be named twice in a submission.
    fn submit_rest(&mut self) -> io::Result<()> {
        for _ in 0..OFFERS_MAX {
            if self.ring.submission().is_empty() {
                return Ok(());
            }
            // It may be waiting for us to take completions first.
            loop {
                let Some(entry) = self.ring.completion().next() else { break };
                let completion = self.translate(entry.user_data(), entry.result(), entry.flags());
                self.ready.extend(completion);
            }
            std::thread::yield_now();
            enter(&self.ring, 0, None)?;
        }
        Err(Errno::NOMEM.into())
    }

    fn push_cancel(&mut self, what: CancelBuilder, flags: Flags) {
        self.push(&opcode::AsyncCancel2::new(what).build().flags(flags).user_data(IGNORED));
    }

    fn own(&mut self, op: Op) -> u64 {
        OWN | self.ops.insert(op) as u64
    }

    /// Pins `region` for zero-copy sends if that is still to be done; says whether it is.
    fn pinned(&mut self, region: u8) -> bool {
        let index = usize::from(region);
        if self.registered[index] == Registration::NotYet {
            let memory = &self.regions[index];
            let iov = libc::iovec { iov_base: memory.as_ptr().cast(), iov_len: memory.len() };
            // SAFETY: the region lives as long as `self.regions`, which outlives the ring.
            let done = unsafe { self.ring.submitter().register_buffers_update(u32::from(region), &[iov], None) };
            self.registered[index] = if done.is_ok() { Registration::Done } else { Registration::Refused };
        }
        self.registered[index] == Registration::Done
    }

    fn send_one(&mut self, socket: Socket, part: &Part, zero_copy: bool) -> Entry {
        let (base, len) = match part {
            Part::Shared(piece) => (address(&self.regions, *piece), piece.len as usize),
            Part::Own(bytes) => (bytes.as_ptr(), bytes.len()),
        };
        match part {
            Part::Shared(piece) if zero_copy && self.pinned(piece.region) => {
                opcode::SendZc::new(Fixed(socket.0), base, len as u32)
                    .buf_index(Some(u16::from(piece.region)))
                    .flags(PENDING)
                    .zc_flags(REPORT_USAGE)
                    .build()
            }
            _ => opcode::Send::new(Fixed(socket.0), base, len as u32).flags(PENDING).build(),
        }
    }

    fn send_many(&mut self, socket: Socket, parts: &[Part], message: &mut Message, zero_copy: bool) -> Entry {
        for part in parts {
            match part {
                Part::Shared(piece) => message.push(address(&self.regions, *piece), piece.len as usize),
                Part::Own(bytes) => message.push(bytes.as_ptr(), bytes.len()),
            }
        }
        let header = message.header();
        if zero_copy && self.abilities.zero_copy {
            opcode::SendMsgZc::new(Fixed(socket.0), header).flags(PENDING as u32).ioprio(REPORT_USAGE).build()
        } else {
            opcode::SendMsg::new(Fixed(socket.0), header).flags(PENDING as u32).build()
        }
    }

    /// Turns the kernel's completion into ours; `None` for those that only concern the ring.
    fn translate(&mut self, user_data: u64, result: i32, flags: u32) -> Option<Completion> {
        let more = cqueue::more(flags);
        // A notification's result is a set of bits, the highest among them.
        let notification = cqueue::notif(flags);
        let failed = result < 0 && !notification;
        let outcome = if failed { Err(Errno::from_raw_os_error(-result)) } else { Ok(result as u32) };
        match user_data & !KEY {
            IGNORED => None,
            BELL => {
                self.bell_armed &= more;
                None
            }
            OWN => self.take_own((user_data & KEY) as usize, outcome, more, notification),
            _ => {
                let attached = match (cqueue::buffer_select(flags), outcome) {
                    (Some(id), Ok(len)) => Attached::Buffer(self.buffers.lend(id, len as usize)),
                    (Some(id), Err(_)) => {
                        self.buffers.provide(id);
                        Attached::Nothing
                    }
                    (None, _) => Attached::Nothing,
                };
                Some(Completion { token: Token::from_bits(user_data), result: outcome, more, attached })
            }
        }
    }

    fn take_own(
        &mut self,
        key: usize,
        result: Result<u32, Errno>,
        more: bool,
        notification: bool,
    ) -> Option<Completion> {
        let completion = |token, result, attached| Some(Completion { token, result, more, attached });
        let op = if more { self.ops.get(key)? } else { &self.ops.remove(key) };
        match *op {
            Op::Flight { token, .. } if notification => {
                let copied = result.is_ok_and(|usage| usage & USAGE_COPIED != 0);
                completion(token, Ok(0), Attached::Released { copied })
            }
            Op::Flight { token, .. } => completion(token, result, Attached::Nothing),
            Op::CloseOut { token, socket } => {
                self.outgoing &= !(1 << socket.0);
                completion(token, result, Attached::Nothing)
            }
            Op::Peer { token } => match result.and_then(peer_of) {
                Ok(address) => completion(token, Ok(0), Attached::Peer(address)),
                Err(error) => completion(token, Err(error), Attached::Nothing),
            },
        }
    }

    fn arm_bell(&mut self) {
        let event = Fd(self.bells.event(self.shard).as_raw_fd());
        self.push(&opcode::PollAdd::new(event, libc::POLLIN as u32).multi(true).build().user_data(BELL));
    }

    fn forget_submitted(&mut self) {
        self.gathers_used = 0;
        self.staging.clear();
        self.addresses.clear();
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        self.bells.take_down(self.shard);
    }
}

impl Ring for Uring {
    fn now(&self) -> Instant {
        self.now
    }

    fn unix_millis(&self) -> u64 {
        self.unix_millis
    }

    /// SplitMix64 over a seed from the kernel: for spreading things in time, not for secrets.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn accept(&mut self, listener: Listener, token: Token) {
        let fd = Fd(self.listeners[usize::from(listener.0)].as_raw_fd());
        let accept = opcode::AcceptMulti::new(fd).allocate_file_index(true).build();
        self.push(&accept.user_data(token.to_bits()));
    }

    fn peer(&mut self, socket: Socket, token: Token) {
        if !self.abilities.fd_install {
            let attached = Attached::Nothing;
            self.ready.push_back(Completion { token, result: Err(Errno::OPNOTSUPP), more: false, attached });
            return;
        }
        let user_data = self.own(Op::Peer { token });
        self.push(&opcode::FixedFdInstall::new(Fixed(socket.0), 0).build().user_data(user_data));
    }

    fn resolve(&mut self, host: &str, port: u16, token: Token) {
        self.resolver.ask(host, port, token);
    }

    fn open(&mut self, to: &SocketAddr) -> io::Result<Socket> {
        let place = (!self.outgoing).trailing_zeros();
        if place >= OUTGOING {
            return Err(Errno::NFILE.into());
        }
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let fd = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        rustix::net::sockopt::set_tcp_nodelay(&fd, true)?;
        self.ring.submitter().register_files_update(place, &[fd.as_raw_fd()])?;
        self.outgoing |= 1 << place;
        Ok(Socket(place))
    }

    fn connect(&mut self, socket: Socket, to: SocketAddr, token: Token) {
        let address = Box::new(rustix::net::SocketAddrAny::from(to));
        let connect = opcode::Connect::new(Fixed(socket.0), address.as_ptr().cast(), address.addr_len());
        self.push(&connect.build().user_data(token.to_bits()));
        // The kernel copies the address while preparing the op, so it must last until the submission only.
        self.addresses.push(address);
    }

    fn poll(&mut self, socket: Socket, token: Token) {
        let events = (libc::POLLIN | libc::POLLRDHUP) as u32;
        let poll = opcode::PollAdd::new(Fixed(socket.0), events).multi(true).build();
        self.push(&poll.user_data(token.to_bits()));
    }

    fn recv(&mut self, socket: Socket, wait: bool, token: Token) {
        let flags = if wait { 0 } else { libc::MSG_DONTWAIT };
        let recv = opcode::Recv::new(Fixed(socket.0), std::ptr::null_mut(), 0).buf_group(buffers::GROUP).flags(flags);
        self.push(&recv.build().flags(Flags::BUFFER_SELECT).user_data(token.to_bits()));
    }

    fn peek(&mut self, socket: Socket, token: Token) {
        let peek = opcode::Recv::new(Fixed(socket.0), &raw mut *self.peeked, 1);
        let peek = peek.flags(libc::MSG_DONTWAIT | libc::MSG_PEEK).build();
        self.push(&peek.user_data(token.to_bits()));
    }

    fn give_back(&mut self, buffer: Buffer) {
        self.buffers.provide(buffer.id());
    }

    fn stage(&mut self, bytes: &[u8]) -> Option<Piece> {
        self.staging.put_bytes(bytes)
    }

    fn gather(&mut self, pieces: &[Piece]) -> Gather {
        let len = pieces.iter().map(|piece| piece.len).sum();
        if let [piece] = *pieces {
            return Gather::new(Gathered::One(piece), len);
        }
        if let Some(piece) = self.staging.put(&self.regions, pieces) {
            return Gather::new(Gathered::One(piece), len);
        }
        if self.gathers_used == self.gathers.len() {
            self.gathers.push(Message::default());
        }
        let message = &mut self.gathers[self.gathers_used];
        message.clear();
        for &piece in pieces {
            message.push(address(&self.regions, piece), piece.len as usize);
        }
        self.gathers_used += 1;
        Gather::new(Gathered::Many(self.gathers_used as u32 - 1), len)
    }

    fn send_now(&mut self, socket: Socket, gather: Gather, token: Token) {
        let send = match gather.what() {
            Gathered::One(piece) => {
                opcode::Send::new(Fixed(socket.0), address(&self.regions, piece), piece.len).flags(NOW).build()
            }
            Gathered::Many(index) => {
                let header = self.gathers[index as usize].header();
                opcode::SendMsg::new(Fixed(socket.0), header).flags(NOW as u32).build()
            }
        };
        // WAITALL is what makes a short send post its completion in spite of SKIP_SUCCESS.
        self.push(&send.flags(Flags::SKIP_SUCCESS).user_data(token.to_bits()));
    }

    fn send(&mut self, socket: Socket, parts: Vec<Part>, zero_copy: bool, token: Token) -> Flight {
        let mut message = Message::default();
        let entry = match parts.as_slice() {
            [part] => self.send_one(socket, part, zero_copy),
            parts => self.send_many(socket, parts, &mut message, zero_copy),
        };
        let user_data = self.own(Op::Flight { token, _held: (message, parts) });
        self.push(&entry.user_data(user_data));
        Flight((user_data & KEY) as u32)
    }

    fn cancel_send(&mut self, flight: Flight) {
        self.push_cancel(CancelBuilder::user_data(OWN | u64::from(flight.0)), Flags::empty());
    }

    fn cancel(&mut self, token: Token) {
        self.push_cancel(CancelBuilder::user_data(token.to_bits()), Flags::empty());
    }

    fn close(&mut self, socket: Socket, armed: Armed, reset: bool, token: Token) {
        let user_data = if socket.0 < OUTGOING { self.own(Op::CloseOut { token, socket }) } else { token.to_bits() };
        // A chain must not be cut by a submission in between.
        let queue = self.ring.submission();
        let room = queue.capacity() - queue.len();
        drop(queue);
        if room < 4 {
            self.flush();
        }
        // A close alone would leave armed requests behind, and they keep the socket open.
        match armed {
            Armed::Anything => self.push_cancel(CancelBuilder::fd(Fixed(socket.0)).all(), Flags::IO_HARDLINK),
            Armed::Only { poll, flight } => {
                self.push_cancel(CancelBuilder::user_data(poll.to_bits()), Flags::IO_HARDLINK);
                if let Some(flight) = flight {
                    self.push_cancel(CancelBuilder::user_data(OWN | u64::from(flight.0)), Flags::IO_HARDLINK);
                }
            }
        }
        if reset {
            // Connecting to no address family at all takes a connection apart: a reset, and an empty send queue.
            let nowhere = (&raw const NOWHERE).cast();
            let part = opcode::Connect::new(Fixed(socket.0), nowhere, size_of_val(&NOWHERE) as u32).build();
            self.push(&part.flags(Flags::IO_HARDLINK).user_data(IGNORED));
        }
        self.push(&opcode::Close::new(Fixed(socket.0)).build().user_data(user_data));
    }

    fn ring_bell(&mut self, shard: usize) {
        let Some(fd) = self.bells.ring_fd(shard) else { return };
        let bell = opcode::MsgRingData::new(Fd(fd), 0, IGNORED, None).build();
        self.push(&bell.flags(Flags::SKIP_SUCCESS).user_data(IGNORED));
    }

    fn submit(&mut self) -> io::Result<()> {
        enter(&self.ring, 0, None)?;
        self.submit_rest()?;
        self.forget_submitted();
        Ok(())
    }

    fn wait(&mut self, until: Option<Instant>) -> io::Result<()> {
        if !std::mem::replace(&mut self.bell_armed, true) {
            self.arm_bell();
        }
        let waiting = self.ready.is_empty() && self.ring.completion().is_empty();
        let left = until.map(|until| until.since(monotonic()));
        if waiting && left != Some(Duration::ZERO) {
            enter(&self.ring, 1, left)?;
        } else {
            enter(&self.ring, 0, None)?;
        }
        self.submit_rest()?;
        self.forget_submitted();
        self.read_clocks();
        while let Some(completion) = self.resolver.take() {
            self.ready.push_back(completion);
        }
        Ok(())
    }

    fn next(&mut self) -> Option<Completion> {
        if let Some(completion) = self.ready.pop_front() {
            return Some(completion);
        }
        loop {
            let entry = self.ring.completion().next()?;
            let completion = self.translate(entry.user_data(), entry.result(), entry.flags());
            if completion.is_some() {
                return completion;
            }
        }
    }
}

fn monotonic() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    Instant::from_nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Submits everything, then waits for `want` completions for at most `wait_for`. Deferred work runs in here and nowhere
/// else, hence `GETEVENTS` even when nothing is waited for.
fn enter(ring: &IoUring, want: usize, wait_for: Option<Duration>) -> io::Result<()> {
    let done = match wait_for {
        Some(time) => {
            let timespec = Timespec::new().sec(time.as_secs()).nsec(time.subsec_nanos());
            ring.submitter().submit_with_args(want, &SubmitArgs::new().timespec(&timespec))
        }
        None if want > 0 => ring.submit_and_wait(want),
        None => {
            // SAFETY: no argument is passed, and the crate's queue publishes its tail whenever it is dropped.
            let queued = unsafe { ring.submission_shared().len() };
            // SAFETY: as above.
            unsafe { ring.submitter().enter::<libc::sigset_t>(queued as u32, 0, ENTER_GETEVENTS, None) }
        }
    };
    match done.map_err(|error| error.raw_os_error().map(Errno::from_raw_os_error).ok_or(error)) {
        // Time is up, a signal came, or completions must be taken before more can be submitted: all in order.
        Ok(_) | Err(Ok(Errno::TIME | Errno::INTR | Errno::BUSY | Errno::AGAIN)) => Ok(()),
        Err(Ok(errno)) => Err(errno.into()),
        Err(Err(error)) => Err(error),
    }
}

/// Keeps the kernel from handing out the first places of the table to accepted connections.
fn reserve_outgoing(ring: &IoUring, slots: u32) -> io::Result<()> {
    #[repr(C)]
    struct Range {
        off: u32,
        len: u32,
        reserved: u64,
    }
    let range = Range { off: OUTGOING, len: slots.saturating_sub(OUTGOING), reserved: 0 };
    // SAFETY: the kernel reads one `struct io_uring_file_index_range`, which is laid out like `Range`.
    let done = unsafe {
        libc::syscall(libc::SYS_io_uring_register, ring.as_raw_fd(), REGISTER_FILE_ALLOC_RANGE, &raw const range, 0)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Asks the lent descriptor `fd` for its peer and gives it up again.
fn peer_of(fd: u32) -> Result<SocketAddr, Errno> {
    // SAFETY: the kernel has just installed this descriptor for us alone.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    let address = rustix::net::getpeername(&fd)?.ok_or(Errno::NOTCONN)?;
    SocketAddr::try_from(address).map_err(|_| Errno::AFNOSUPPORT)
}
