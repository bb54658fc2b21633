//! The one door to the kernel, the clock and chance.
//!
//! [`Ring`] is what a shard asks of the outside world. [`Uring`](uring::Uring) is the kernel; the simulation under
//! `tests/` is the other one. Ops are queued by the methods here and go out together in [`Ring::wait`] or
//! [`Ring::submit`]; what happened comes back as [`Completion`]s in [`Ring::next`].
//!
//! Knows nothing of protocols, topics or clients: it moves bytes between sockets and memory that stays put.
//!
//! Invariants of its use:
//! - between two submissions a socket is named by one send at most, and while a [`Ring::send`] is pending by no other
//!   send at all: the kernel would interleave them;
//! - a [`Piece`] that a pending send names is not overwritten before that send's last completion;
//! - what a [`Token`] of an ended op meant may be forgotten only with a completion whose `more` is false.

pub mod uring;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
pub use rustix::io::Errno;

use crate::base::region::Region;
use crate::base::time::Instant;

/// Where the kernel keeps a connection: an index into the ring's table of direct descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Socket(pub u32);

/// Index into the listeners that a ring was built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listener(pub u8);

/// What an op was for; comes back with its completions. 8 bits of kind, 24 of generation, 32 of index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(u64);

impl Token {
    /// Generations wrap here.
    pub const GENERATION_MAX: u32 = (1 << 24) - 1;

    /// Kinds from this one on belong to the ring itself.
    pub const KIND_MAX: u8 = 0xEF;

    /// A token of `kind` (at most [`Token::KIND_MAX`]) for the holder of `index` in its `generation` (24 bits).
    pub fn new(kind: u8, index: u32, generation: u32) -> Self {
        debug_assert!(kind <= Self::KIND_MAX && generation <= Self::GENERATION_MAX);
        Self(u64::from(kind) << 56 | u64::from(generation) << 32 | u64::from(index))
    }

    /// The kind it was made with.
    pub fn kind(self) -> u8 {
        (self.0 >> 56) as u8
    }

    /// The index it was made with.
    pub fn index(self) -> u32 {
        self.0 as u32
    }

    /// The generation it was made with.
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32 & Self::GENERATION_MAX
    }

    /// As the kernel carries it.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The token that `bits` were made from.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// Bytes in one of the regions that a ring was built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Index into the ring's regions.
    pub region: u8,
    /// Length in bytes, at least 1.
    pub len: u32,
    /// First byte, counted from the region's start.
    pub at: u64,
}

/// What a pending send is made of.
#[derive(Clone, Debug)]
pub enum Part {
    /// Bytes of a region; the caller keeps them unchanged until the last completion.
    Shared(Piece),
    /// Bytes that the ring keeps alive until the last completion.
    Own(Bytes),
}

impl Part {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Shared(piece) => piece.len as usize,
            Self::Own(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Pieces prepared by [`Ring::gather`] for any number of [`Ring::send_now`] until the next submission.
#[derive(Clone, Copy, Debug)]
pub struct Gather {
    /// The only piece, or an index of the ring's own.
    pub(crate) what: Gathered,
    /// Bytes in all.
    pub len: u32,
}

impl Gather {
    /// For implementations of [`Ring`] outside this crate: one piece, or the ring's own index of a prepared list.
    pub fn new(what: Gathered, len: u32) -> Self {
        Self { what, len }
    }

    /// What it was made of.
    pub fn what(&self) -> Gathered {
        self.what
    }
}

/// The two ways to say what a [`Gather`] holds.
#[derive(Clone, Copy, Debug)]
pub enum Gathered {
    /// A single piece: a plain send.
    One(Piece),
    /// The n-th list that was prepared since the last submission.
    Many(u32),
}

/// A pending [`Ring::send`], to cancel it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight(pub u32);

/// What may be armed on a socket that is to be closed. An op that is left out would keep the socket open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// Anything. To find it the kernel looks at the ops of all sockets: for those that are few.
    Anything,
    /// This poll and this send, or what has not ended of the two: found at once, by name.
    Only {
        /// The token of the poll.
        poll: Token,
        /// The pending send, if its last completion was not seen.
        flight: Option<Flight>,
    },
}

/// Received bytes, lent by the ring. Give it back with [`Ring::give_back`]; there are few.
#[derive(Debug)]
pub struct Buffer {
    area: Rc<Region>,
    id: u16,
    at: usize,
    len: usize,
}

impl Buffer {
    /// For implementations of [`Ring`]: `len` bytes at `at` in `area`, lent out under `id`.
    ///
    /// # Safety
    /// Nobody writes to that range before the buffer comes back.
    pub unsafe fn lend(area: Rc<Region>, id: u16, at: usize, len: usize) -> Self {
        assert!(at <= area.len() && len <= area.len() - at, "a lent buffer lies inside its area");
        Self { area, id, at, len }
    }

    /// The ring's name for it.
    pub fn id(&self) -> u16 {
        self.id
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `lend` promises that the range is left alone until this value is given back.
        unsafe { self.area.bytes(self.at, self.len) }
    }
}

/// One thing that happened.
#[derive(Debug)]
pub struct Completion {
    /// The op's token.
    pub token: Token,
    /// Bytes moved, a socket's index, poll events (`POLL*` bits) or 0; or what went wrong.
    pub result: Result<u32, Errno>,
    /// Whether this op will complete again.
    pub more: bool,
    /// What came along.
    pub attached: Attached,
}

/// What came along with a completion.
#[derive(Debug)]
pub enum Attached {
    /// Nothing.
    Nothing,
    /// The bytes of a [`Ring::recv`].
    Buffer(Buffer),
    /// The answer to [`Ring::peer`].
    Peer(SocketAddr),
    /// The answer to [`Ring::resolve`]: at least one address.
    Addresses(Vec<SocketAddr>),
    /// A zero-copy send let go of its memory; `copied` says that the kernel had to copy after all.
    Released {
        /// Zero-copy gained nothing on this socket.
        copied: bool,
    },
}

/// A door to the outside. Methods queue; nothing happens before [`Ring::submit`] or [`Ring::wait`].
pub trait Ring {
    /// The monotonic time, read when the last [`Ring::wait`] returned.
    fn now(&self) -> Instant;

    /// Milliseconds since 1970, read when the last [`Ring::wait`] returned.
    fn unix_millis(&self) -> u64;

    /// A random number, for jitter and seeds.
    fn random(&mut self) -> u64;

    /// Accepts from `listener` until cancelled: one completion each, with the [`Socket`]'s index as result. Ends
    /// (`more` false) on errors and may end on success too; whoever wants more arms it again. A full table closes the
    /// client that came last and ends with `ENFILE`.
    fn accept(&mut self, listener: Listener, token: Token);

    /// Asks who is at the other end: [`Attached::Peer`], or an error (also where the kernel cannot tell).
    fn peer(&mut self, socket: Socket, token: Token);

    /// Finds the addresses of `host:port` away from the shard: [`Attached::Addresses`] or an error.
    fn resolve(&mut self, host: &str, port: u16, token: Token);

    /// A new TCP socket to connect with. Fails at once when there is none to be had.
    fn open(&mut self, to: &SocketAddr) -> io::Result<Socket>;

    /// Connects a socket from [`Ring::open`].
    fn connect(&mut self, socket: Socket, to: SocketAddr, token: Token);

    /// Reports readable bytes and hang-ups until cancelled; results are `POLL*` bits. Edge-like: after one report read
    /// until `EAGAIN` or a short receive. The poll stays armed on a dead socket.
    fn poll(&mut self, socket: Socket, token: Token);

    /// Receives once. With `wait` it completes when something has come, else at once, `EAGAIN` for nothing. 0 is the
    /// end. Bytes come as [`Attached::Buffer`]; `ENOBUFS` when all buffers are lent out: give back, then try again.
    fn recv(&mut self, socket: Socket, wait: bool, token: Token);

    /// Looks whether anything could be received, and takes nothing: `EAGAIN` for nothing, 0 for a hang-up, 1 for bytes.
    fn peek(&mut self, socket: Socket, token: Token);

    /// Returns a received buffer.
    fn give_back(&mut self, buffer: Buffer);

    /// Copies `bytes` (at least 1) to memory of the ring's own, where they stay until the next submission; `None` when
    /// there is no room for them before that.
    fn stage(&mut self, bytes: &[u8]) -> Option<Piece>;

    /// Prepares `pieces` (1 to [`GATHER_MAX`]) for [`Ring::send_now`], until the next submission.
    fn gather(&mut self, pieces: &[Piece]) -> Gather;

    /// Sends what fits right now. Completes inside the submission and says so **only if not all went**: a short count,
    /// `EAGAIN` for nothing, or an error.
    fn send_now(&mut self, socket: Socket, gather: Gather, token: Token);

    /// Sends, waiting for room: completes with a count of bytes, possibly short, or an error. The parts (1 to
    /// [`GATHER_MAX`]) stay alive until the last completion. `zero_copy` asks the kernel to send from the memory
    /// itself; then `more` may be true and a completion with [`Attached::Released`] follows.
    fn send(&mut self, socket: Socket, parts: Vec<Part>, zero_copy: bool, token: Token) -> Flight;

    /// Asks a pending send to end: it completes with what it had sent, or `ECANCELED`. Too late is no error.
    fn cancel_send(&mut self, flight: Flight);

    /// Asks the accept, poll, recv or connect under `token` to end; its last completion still comes.
    fn cancel(&mut self, token: Token);

    /// Ends what is armed on the socket, then closes it and completes. The index may be handed out again before that
    /// completion is seen: generations tell the two apart. With `reset` the other end is told rudely and what it has
    /// not received is thrown away; only that makes the kernel let go of memory that was sent without a copy.
    fn close(&mut self, socket: Socket, armed: Armed, reset: bool, token: Token);

    /// Wakes another shard out of its [`Ring::wait`].
    fn ring_bell(&mut self, shard: usize);

    /// Sends out what is queued and collects what completed at once. Never sleeps.
    fn submit(&mut self) -> io::Result<()>;

    /// Like [`Ring::submit`], then sleeps until something completes, the bell rings, or `until` has come.
    fn wait(&mut self, until: Option<Instant>) -> io::Result<()>;

    /// Takes the next completion.
    fn next(&mut self) -> Option<Completion>;
}

/// Places at the start of the table of sockets that are never handed out to accepted connections but kept for
/// [`Ring::open`]: two links to an upstream, and their successors while they are being closed.
pub const OUTGOING: u32 = 8;

/// Longest [`Ring::recv`] in bytes. A shorter one has emptied the socket.
pub const RECV_LEN_MAX: usize = 64 * 1024;

/// Receive buffers of a ring: how many receives in one submission find one, but for what a link holds at that moment.
/// Each one that was ever touched costs a page for good.
pub const RECV_BUFFERS: u16 = 8;

/// Most pieces or parts in one send: the kernel's `UIO_MAXIOV`.
pub const GATHER_MAX: usize = 1024;
