//! One shard's door into the simulated kernel.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use plasma::base::region::Region;
use plasma::base::time::Instant;
use plasma::ring::{
    Armed, Buffer, Completion, Errno, Flight, GATHER_MAX, Gather, Gathered, Listener, Part, Piece, Ring, Socket, Token,
};
use plasma::ring::{OUTGOING, RECV_LEN_MAX};
use slab::Slab;

use super::core::{Core, Event};
use super::dice::Dice;
use super::kernel::{Kernel, Sleep, Slot, SlotState};
use super::net::Place;

/// Bytes that can be staged: as many as the real ring takes.
const STAGED_LEN_MAX: usize = 256 * 1024;

/// What a ring is built with.
pub struct RingSpec {
    /// Addresses of its listeners; shards may share them.
    pub listeners: Vec<SocketAddr>,
    /// Memory that pieces name.
    pub regions: Vec<Arc<Region>>,
    /// How many accepted connections fit in the table of sockets; [`OUTGOING`] more for those it opens itself.
    pub slots: usize,
}

/// A simulated ring. Ops wait in it until a submission, as they would in the submission queue.
pub struct SimRing {
    core: Rc<RefCell<Core>>,
    shard: usize,
    now: Instant,
    unix_millis: u64,
    dice: Dice,
    queue: Vec<Op>,
    gathers: Vec<Vec<Piece>>,
    flight_next: u32,
    staged: usize,
}

/// An op that waits for the next submission.
enum Op {
    Accept(Listener, Token),
    Peer(Socket, Token),
    Resolve(String, u16, Token),
    Connect(Socket, SocketAddr, Token),
    Poll(Socket, Token),
    Recv(Socket, bool, Token),
    Peek(Socket, Token),
    SendNow(Socket, Gathered, Token),
    Send(Socket, Vec<Part>, bool, Token, u32),
    CancelSend(u32),
    Cancel(Token),
    Close(Socket, Armed, bool, Token),
    RingBell(usize),
}

impl SimRing {
    /// The next shard's ring in this world; its listeners are open from now on.
    pub(super) fn new(core: &Rc<RefCell<Core>>, spec: RingSpec) -> Self {
        let mut world = core.borrow_mut();
        let shard = world.kernels.len();
        let slots = OUTGOING + spec.slots as u32;
        let count = world.weather.recv_buffers;
        let staging = Arc::new(Region::new(STAGED_LEN_MAX).expect("memory for staged bytes"));
        world.kernels.push(Kernel {
            slots: (0..slots).map(|_| Slot::default()).collect(),
            free: [(OUTGOING..slots).map(Reverse).collect(), (0..OUTGOING).map(Reverse).collect()],
            ops: Slab::new(),
            serial: 0,
            posted: VecDeque::new(),
            late: Slab::new(),
            backlogs: spec.listeners.iter().map(|_| (VecDeque::new(), None)).collect(),
            regions: spec.regions.into_iter().chain([staging]).collect(),
            area: Rc::new(Region::new(usize::from(count) * RECV_LEN_MAX).expect("memory for receive buffers")),
            buffers_free: (0..count).collect(),
            buffer_count: usize::from(count),
            flights: Vec::new(),
            batch: 1,
            sleep: Sleep::Awake,
            sleeps: 0,
            bell: false,
            bells_coming: 0,
            submitted: 0,
            taken: 0,
        });
        for (number, addr) in spec.listeners.into_iter().enumerate() {
            match world.places.entry(addr).or_insert_with(|| Place::Shards(Vec::new())) {
                Place::Shards(shards) => shards.push((shard, number as u8)),
                other => panic!("{addr} is taken by {other:?}"),
            }
        }
        let (now, unix_millis, dice) = (Instant::from_nanos(world.now), world.unix_millis(), world.dice.fork());
        drop(world);
        let core = Rc::clone(core);
        Self { core, shard, now, unix_millis, dice, queue: Vec::new(), gathers: Vec::new(), flight_next: 0, staged: 0 }
    }

    /// Which shard's it is.
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// Carries out what is queued.
    fn enter(&mut self) {
        let mut core = self.core.borrow_mut();
        // Bells are no deeds: who only rings does nothing.
        let deeds = self.queue.iter().filter(|op| !matches!(op, Op::RingBell(_))).count();
        core.kernels[self.shard].submitted += deeds as u64;
        for op in self.queue.drain(..) {
            match op {
                Op::Accept(listener, token) => core.accept(self.shard, listener.0, token),
                Op::Peer(socket, token) => core.peer(self.shard, socket, token),
                Op::Resolve(host, port, token) => core.resolve(self.shard, host, port, token),
                Op::Connect(socket, to, token) => core.connect(self.shard, socket, to, token),
                Op::Poll(socket, token) => core.poll(self.shard, socket, token),
                Op::Recv(socket, wait, token) => core.recv(self.shard, socket, wait, token),
                Op::Peek(socket, token) => core.peek_at(self.shard, socket, token),
                Op::SendNow(socket, Gathered::One(piece), token) => {
                    core.send_now(self.shard, socket, &[piece], token);
                }
                Op::SendNow(socket, Gathered::Many(list), token) => {
                    core.send_now(self.shard, socket, &self.gathers[list as usize], token);
                }
                Op::Send(socket, parts, zero_copy, token, flight) => {
                    core.send(self.shard, socket, parts, zero_copy, (token, flight));
                }
                Op::CancelSend(flight) => core.cancel_send(self.shard, flight),
                Op::Cancel(token) => core.cancel(self.shard, token),
                Op::Close(socket, armed, reset, token) => core.close(self.shard, socket, armed, reset, token),
                Op::RingBell(shard) => core.ring_bell(shard),
            }
        }
        core.kernels[self.shard].batch += 1;
        self.gathers.clear();
        self.staged = 0;
    }

    /// Whether a wait until `until` is over; if not, the shard sleeps from now on.
    fn woken(&mut self, until: Option<Instant>) -> bool {
        let mut core = self.core.borrow_mut();
        let now = core.now;
        let kernel = &mut core.kernels[self.shard];
        let rung = std::mem::take(&mut kernel.bell);
        if rung || !kernel.posted.is_empty() || until.is_some_and(|until| until.as_nanos() <= now) {
            self.now = Instant::from_nanos(now);
            self.unix_millis = core.unix_millis();
            return true;
        }
        kernel.sleep = Sleep::Asleep;
        kernel.sleeps += 1;
        let alarm = Event::Alarm(self.shard, kernel.sleeps);
        if let Some(until) = until {
            core.at(until.as_nanos(), alarm);
        }
        false
    }
}

impl Ring for SimRing {
    fn now(&self) -> Instant {
        self.now
    }

    fn unix_millis(&self) -> u64 {
        self.unix_millis
    }

    fn random(&mut self) -> u64 {
        self.dice.next()
    }

    fn accept(&mut self, listener: Listener, token: Token) {
        self.queue.push(Op::Accept(listener, token));
    }

    fn peer(&mut self, socket: Socket, token: Token) {
        self.queue.push(Op::Peer(socket, token));
    }

    fn resolve(&mut self, host: &str, port: u16, token: Token) {
        self.queue.push(Op::Resolve(host.to_owned(), port, token));
    }

    fn open(&mut self, _to: &SocketAddr) -> io::Result<Socket> {
        let mut core = self.core.borrow_mut();
        let fails = core.weather.open_fails;
        if core.dice.one_in(fails) {
            return Err(Errno::MFILE.into());
        }
        core.take_slot(self.shard, SlotState::Fresh).map(Socket).ok_or_else(|| Errno::NFILE.into())
    }

    fn connect(&mut self, socket: Socket, to: SocketAddr, token: Token) {
        self.queue.push(Op::Connect(socket, to, token));
    }

    fn poll(&mut self, socket: Socket, token: Token) {
        self.queue.push(Op::Poll(socket, token));
    }

    fn recv(&mut self, socket: Socket, wait: bool, token: Token) {
        self.queue.push(Op::Recv(socket, wait, token));
    }

    fn peek(&mut self, socket: Socket, token: Token) {
        self.queue.push(Op::Peek(socket, token));
    }

    fn give_back(&mut self, buffer: Buffer) {
        let mut core = self.core.borrow_mut();
        let kernel = &mut core.kernels[self.shard];
        assert!(!kernel.buffers_free.contains(&buffer.id()), "a buffer comes back once");
        kernel.buffers_free.push(buffer.id());
    }

    fn stage(&mut self, bytes: &[u8]) -> Option<Piece> {
        let core = self.core.borrow();
        let regions = &core.kernels[self.shard].regions;
        let (index, region) = (regions.len() - 1, regions.last().expect("the staging is the last region"));
        if bytes.len() > region.len() - self.staged {
            return None;
        }
        // SAFETY: nothing that was staged before and not submitted yet is written over.
        unsafe { region.write(self.staged, bytes) };
        let piece = Piece { region: index as u8, at: self.staged as u64, len: bytes.len() as u32 };
        self.staged += bytes.len();
        Some(piece)
    }

    fn gather(&mut self, pieces: &[Piece]) -> Gather {
        if pieces.is_empty() || pieces.len() > GATHER_MAX || pieces.iter().any(|piece| piece.len == 0) {
            self.core.borrow().broken(format_args!("gather of {} pieces, or with an empty one", pieces.len()));
        }
        let len = pieces.iter().map(|piece| piece.len).sum();
        if let [piece] = pieces {
            return Gather::new(Gathered::One(*piece), len);
        }
        self.gathers.push(pieces.to_vec());
        Gather::new(Gathered::Many(self.gathers.len() as u32 - 1), len)
    }

    fn send_now(&mut self, socket: Socket, gather: Gather, token: Token) {
        self.queue.push(Op::SendNow(socket, gather.what(), token));
    }

    fn send(&mut self, socket: Socket, parts: Vec<Part>, zero_copy: bool, token: Token) -> Flight {
        let flight = self.flight_next;
        self.flight_next += 1;
        self.queue.push(Op::Send(socket, parts, zero_copy, token, flight));
        Flight(flight)
    }

    fn cancel_send(&mut self, flight: Flight) {
        self.queue.push(Op::CancelSend(flight.0));
    }

    fn cancel(&mut self, token: Token) {
        self.queue.push(Op::Cancel(token));
    }

    fn close(&mut self, socket: Socket, armed: Armed, reset: bool, token: Token) {
        self.queue.push(Op::Close(socket, armed, reset, token));
    }

    fn ring_bell(&mut self, shard: usize) {
        // From now on it is only a matter of time that the bell is heard.
        let mut core = self.core.borrow_mut();
        if let Some(kernel) = core.kernels.get_mut(shard) {
            kernel.bells_coming += 1;
            self.queue.push(Op::RingBell(shard));
        }
    }

    fn submit(&mut self) -> io::Result<()> {
        self.enter();
        Ok(())
    }

    /// Submits. Fails with `WouldBlock` where the real one would sleep: the world calls the turn again when it is time.
    fn wait(&mut self, until: Option<Instant>) -> io::Result<()> {
        self.enter();
        if self.woken(until) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    fn next(&mut self) -> Option<Completion> {
        let mut core = self.core.borrow_mut();
        let posted = core.kernels[self.shard].posted.pop_front()?;
        core.kernels[self.shard].taken += 1;
        core.on_seen(self.shard, posted.seen);
        Some(posted.completion)
    }
}

impl Drop for SimRing {
    /// The shard's process is gone: listeners close, and so does every connection.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let Ok(mut core) = self.core.try_borrow_mut() else { return };
        core.bury(self.shard);
    }
}
