//! One shard's share of the kernel: its table of sockets, its ops under way, its completions, its sleep.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use plasma::base::region::Region;
use plasma::ring::{Attached, Completion, Errno, Part, Socket, Token};
use slab::Slab;

use super::core::{Core, Event};
use super::net::End;

/// An op under way; the serial tells it from a later one with the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpKey {
    pub index: u32,
    pub serial: u32,
}

/// An op that has not completed for the last time.
#[derive(Debug)]
pub struct Op {
    pub token: Token,
    pub serial: u32,
    /// The socket it belongs to; none for accepts, names and sends that only hold memory.
    pub slot: Option<u32>,
    pub what: What,
    /// When its latest completion becomes visible: an op's completions stay in order.
    pub posted_at: u64,
    /// An [`Event::Attempt`] is coming already.
    pub stirred: bool,
}

/// What an op waits for.
#[derive(Debug)]
pub enum What {
    /// Connections.
    Accept { listener: u8 },
    /// Anything to report.
    Poll,
    /// Bytes.
    Recv,
    /// An answer.
    Connect,
    /// Its turn.
    Peer,
    /// Its turn.
    Resolve { host: String, port: u16 },
    /// Room.
    Send(Box<Sending>),
    /// The network to let go of the memory of a zero-copy send.
    Release { sending: Box<Sending>, end: End, pause: u64 },
}

/// A pending send.
#[derive(Debug)]
pub struct Sending {
    pub parts: Vec<Part>,
    pub flight: u32,
    pub zero_copy: bool,
    pub len: usize,
    /// The shared bytes as they were when the send was queued: they must still be the same when it ends.
    pub copy: Vec<u8>,
}

/// Where a pending send stands in the eyes of the shard.
#[derive(Clone, Copy, Debug)]
pub enum FlightState {
    /// Under way.
    Pending(OpKey),
    /// Its last completion is on its way to the shard.
    Over,
    /// The shard has seen its last completion: its name must not be used again.
    Seen,
}

/// An entry of the table of direct descriptors.
#[derive(Debug, Default)]
pub struct Slot {
    pub state: SlotState,
    /// Counts the holders of this entry.
    pub holder: u32,
    /// Ops under way on it.
    pub ops: Vec<u32>,
    /// A pending send whose result the shard has not seen.
    pub sending: bool,
    /// The last batch in which a send named it.
    pub sent_in: u64,
    /// Results of [`plasma::ring::Ring::send_now`] that the shard has not seen.
    pub troubles: u32,
}

/// The life of a table entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlotState {
    /// Nobody's.
    #[default]
    Free,
    /// Opened, not yet connecting.
    Fresh,
    /// Accepted, but the shard does not know yet.
    Unseen(End),
    /// In use.
    Open(End),
}

/// A completion, and what changes once the shard has seen it.
#[derive(Debug)]
pub struct Posted {
    pub completion: Completion,
    pub seen: Seen,
}

/// What the shard learns from a completion.
#[derive(Clone, Copy, Debug)]
pub enum Seen {
    /// Nothing that a rule depends on.
    Nothing,
    /// That it has a socket.
    Accepted(u32),
    /// That a send did not go through.
    Trouble { slot: u32, holder: u32 },
    /// The result of a pending send, perhaps the end of its flight too.
    Sent { slot: u32, holder: u32, flight: u32, last: bool },
    /// The end of a flight.
    Released(u32),
}

/// Whether a shard runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sleep {
    /// A turn is coming, or it is in one.
    Awake,
    /// It waits for a completion, a bell, or a time.
    Asleep,
    /// It will take no more turns.
    Done,
}

/// One ring's kernel side.
pub struct Kernel {
    pub slots: Vec<Slot>,
    /// Free places for accepted connections, and for those we open.
    pub free: [BinaryHeap<Reverse<u32>>; 2],
    pub ops: Slab<Op>,
    pub serial: u32,
    pub posted: VecDeque<Posted>,
    pub late: Slab<Posted>,
    /// Per listener: connections that wait, and the accept that takes them.
    pub backlogs: Vec<(VecDeque<u32>, Option<OpKey>)>,
    pub regions: Rc<[Arc<Region>]>,
    pub area: Rc<Region>,
    pub buffers_free: Vec<u16>,
    pub buffer_count: usize,
    pub flights: Vec<FlightState>,
    /// Counts submissions.
    pub batch: u64,
    pub sleep: Sleep,
    /// Counts sleeps, so that an old alarm wakes nobody.
    pub sleeps: u64,
    pub bell: bool,
    /// Bells on their way.
    pub bells_coming: u32,
    /// Ops submitted, for those who measure.
    pub submitted: u64,
    /// Completions that the shard has taken.
    pub taken: u64,
}

impl Core {
    /// Puts an op under way.
    pub(super) fn begin(&mut self, shard: usize, token: Token, slot: Option<u32>, what: What) -> OpKey {
        let kernel = &mut self.kernels[shard];
        kernel.serial = kernel.serial.wrapping_add(1);
        let op = Op { token, serial: kernel.serial, slot, what, posted_at: 0, stirred: false };
        let index = kernel.ops.insert(op) as u32;
        if let Some(slot) = slot {
            kernel.slots[slot as usize].ops.push(index);
        }
        OpKey { index, serial: kernel.serial }
    }

    /// The op, unless it has ended.
    pub(super) fn op(&mut self, shard: usize, key: OpKey) -> Option<&mut Op> {
        self.kernels[shard].ops.get_mut(key.index as usize).filter(|op| op.serial == key.serial)
    }

    /// Detaches the op from its socket: closing that one no longer concerns it.
    pub(super) fn detach(&mut self, shard: usize, key: OpKey) {
        let kernel = &mut self.kernels[shard];
        if let Some(slot) = kernel.ops[key.index as usize].slot.take() {
            kernel.slots[slot as usize].ops.retain(|&op| op != key.index);
        }
    }

    /// Ends the op: its last completion goes out.
    pub(super) fn end_op(
        &mut self,
        shard: usize,
        key: OpKey,
        result: Result<u32, Errno>,
        attached: Attached,
        seen: Seen,
    ) -> Op {
        self.detach(shard, key);
        let mut op = self.kernels[shard].ops.remove(key.index as usize);
        let completion = Completion { token: op.token, result, more: false, attached };
        op.posted_at = self.post(shard, op.posted_at, Posted { completion, seen });
        op
    }

    /// A completion of an op that goes on.
    pub(super) fn report(&mut self, shard: usize, key: OpKey, result: Result<u32, Errno>, seen: Seen) {
        let op = &self.kernels[shard].ops[key.index as usize];
        let completion = Completion { token: op.token, result, more: true, attached: Attached::Nothing };
        let at = self.post(shard, op.posted_at, Posted { completion, seen });
        self.kernels[shard].ops[key.index as usize].posted_at = at;
    }

    /// Shows a completion to the shard, at once or late, but after `earliest`. Returns when.
    pub(super) fn post(&mut self, shard: usize, earliest: u64, posted: Posted) -> u64 {
        let at = (self.now + self.lag()).max(earliest);
        // One that is due this very moment may not have been shown yet.
        if at <= self.now && earliest < self.now {
            self.show(shard, posted);
            return at;
        }
        let index = self.kernels[shard].late.insert(posted) as u32;
        // One more than the one before, so that chance cannot swap the two.
        self.at(at + 1, Event::Post(shard, index));
        at + 1
    }

    /// A late completion is due.
    pub(super) fn on_post(&mut self, shard: usize, index: u32) {
        let posted = self.kernels[shard].late.remove(index as usize);
        self.show(shard, posted);
    }

    /// Makes a completion visible and wakes who waits for it.
    pub(super) fn show(&mut self, shard: usize, posted: Posted) {
        self.kernels[shard].posted.push_back(posted);
        self.rouse(shard);
    }

    /// Ends a shard's sleep.
    pub(super) fn rouse(&mut self, shard: usize) {
        if self.kernels[shard].sleep == Sleep::Asleep {
            self.kernels[shard].sleep = Sleep::Awake;
            let lag = self.draw(self.weather.wake_lag);
            self.after(lag, Event::Turn(shard));
        }
    }

    /// A bell is heard.
    pub(super) fn on_bell(&mut self, shard: usize) {
        let kernel = &mut self.kernels[shard];
        kernel.bells_coming -= 1;
        kernel.bell = true;
        self.rouse(shard);
    }

    /// A sleeping shard's time has come.
    pub(super) fn on_alarm(&mut self, shard: usize, sleep: u64) {
        if self.kernels[shard].sleeps == sleep {
            self.rouse(shard);
        }
    }

    /// Takes a slot, lowest number first: one that was just freed is the likeliest.
    pub(super) fn take_slot(&mut self, shard: usize, state: SlotState) -> Option<u32> {
        let kernel = &mut self.kernels[shard];
        let Reverse(index) = kernel.free[usize::from(state == SlotState::Fresh)].pop()?;
        let slot = &mut kernel.slots[index as usize];
        debug_assert!(slot.state == SlotState::Free && slot.ops.is_empty());
        *slot = Slot { state, holder: slot.holder + 1, ops: std::mem::take(&mut slot.ops), ..Slot::default() };
        Some(index)
    }

    /// The end behind a socket that the shard has a right to use.
    pub(super) fn end_of(&self, shard: usize, socket: Socket, op: &str) -> End {
        match self.kernels[shard].slots.get(socket.0 as usize).map(|slot| slot.state) {
            Some(SlotState::Open(end)) => end,
            Some(SlotState::Unseen(_)) => {
                self.broken(format_args!("{op} on {socket:?} of shard {shard}, closed and not yet accepted anew"))
            }
            other => self.broken(format_args!("{op} on {socket:?} of shard {shard}, which is {other:?}")),
        }
    }

    /// The shard has taken a completion: from now on it may act on it.
    pub(super) fn on_seen(&mut self, shard: usize, seen: Seen) {
        let kernel = &mut self.kernels[shard];
        match seen {
            Seen::Nothing => {}
            Seen::Accepted(slot) => {
                let slot = &mut kernel.slots[slot as usize];
                if let SlotState::Unseen(end) = slot.state {
                    slot.state = SlotState::Open(end);
                }
            }
            Seen::Trouble { slot, holder } => {
                let slot = &mut kernel.slots[slot as usize];
                slot.troubles -= u32::from(slot.holder == holder);
            }
            Seen::Sent { slot, holder, flight, last } => {
                let slot = &mut kernel.slots[slot as usize];
                slot.sending &= slot.holder != holder;
                if last {
                    kernel.flights[flight as usize] = FlightState::Seen;
                }
            }
            Seen::Released(flight) => kernel.flights[flight as usize] = FlightState::Seen,
        }
    }

    /// Everything that shards got must be back, but for the sockets below `from` and what goes on there.
    pub(super) fn check_returned(&self, shard: usize, from: u32) {
        let kernel = &self.kernels[shard];
        for (index, slot) in kernel.slots.iter().enumerate().skip(from as usize) {
            if slot.state != SlotState::Free {
                self.broken(format_args!("shard {shard} leaks socket {index}: {slot:?}"));
            }
        }
        let held = kernel
            .ops
            .iter()
            .find(|(_, op)| !matches!(op.what, What::Resolve { .. }) && op.slot.is_none_or(|slot| slot >= from));
        if let Some((_, op)) = held {
            self.broken(format_args!("shard {shard} leaves an op under way: {op:?}"));
        }
        if kernel.buffers_free.len() != kernel.buffer_count {
            let lent = kernel.buffer_count - kernel.buffers_free.len();
            self.broken(format_args!("shard {shard} did not give back {lent} receive buffers"));
        }
        if let Some(posted) = kernel.posted.front().or_else(|| kernel.late.iter().next().map(|(_, posted)| posted)) {
            self.broken(format_args!("shard {shard} has not seen {:?}", posted.completion));
        }
    }
}

impl Sending {
    /// A send of `parts`, with a copy of its shared bytes to compare with later.
    pub fn new(parts: Vec<Part>, zero_copy: bool, flight: u32, regions: &[Arc<Region>]) -> Self {
        let len = parts.iter().map(Part::len).sum();
        let mut copy = Vec::new();
        for part in &parts {
            if let Part::Shared(_) = part {
                copy.extend_from_slice(bytes_of(part, regions));
            }
        }
        Self { parts, flight, zero_copy, len, copy }
    }

    /// Whether the shared bytes are still what they were.
    pub fn unchanged(&self, regions: &[Arc<Region>]) -> bool {
        let mut rest = &self.copy[..];
        self.parts.iter().filter(|part| matches!(part, Part::Shared(_))).all(|part| {
            let (now, then) = (bytes_of(part, regions), rest);
            rest = &rest[now.len()..];
            now == &then[..now.len()]
        })
    }

    /// Its bytes as they are now.
    pub fn bytes<'a>(&'a self, regions: &'a [Arc<Region>]) -> impl Iterator<Item = &'a [u8]> {
        self.parts.iter().map(|part| bytes_of(part, regions))
    }
}

/// A part's bytes as they are now.
fn bytes_of<'a>(part: &'a Part, regions: &'a [Arc<Region>]) -> &'a [u8] {
    match part {
        Part::Own(bytes) => bytes,
        // SAFETY: one thread runs the whole world, and nobody writes while the simulated kernel reads.
        Part::Shared(piece) => unsafe { regions[piece.region as usize].bytes(piece.at as usize, piece.len as usize) },
    }
}
