//! Very many client connections in one thread: a ring with its share of them.
//!
//! Sockets are direct descriptors. A connection that is up has nothing armed and no memory here beyond a byte of state:
//! what it costs is what a socket costs. `sweep.rs` finds its data.
//!
//! Only connections on their way up hold a lane, with a buffer for the head of the answer; the number of lanes paces
//! the connects, so that the listener's backlog never overflows.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use plasma::wire::h2::frame::{Head, Kind};

use crate::{Failure, ring};

/// Bytes of one receive: an answer's head with the first comment, or an event of the broadcast.
pub(super) const RECV_LEN: usize = 2048;

/// Receives or closes per system call while sweeping.
pub(super) const BATCH: usize = 128;

/// Longest sleep in the ring: the caller's clock and its progress line are looked at this often.
pub(super) const WAIT_FOR: Duration = Duration::from_millis(100);

/// A ring makes no progress for this long: the server is stuck, or its backlog dropped what we sent.
pub(super) const STALL_FOR_MAX: Duration = Duration::from_secs(15);

/// What is asked of every connection.
pub struct Plan {
    /// Where to connect, in turn.
    pub destinations: Vec<libc::sockaddr_in>,
    /// What to send once connected; empty for a connection that stays silent.
    pub request: Vec<u8>,
    /// What an answer is recognised by.
    pub answer: Answer,
    /// When to give up.
    pub until: Instant,
}

/// What a server says first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// The head of an event stream.
    Head,
    /// SETTINGS of HTTP/2.
    Settings,
}

impl Answer {
    fn is_begun_by(self, bytes: &[u8]) -> bool {
        match self {
            Self::Head => bytes.starts_with(b"HTTP/1.1 200"),
            Self::Settings => Head::parse(bytes).is_some_and(|head| head.kind == Kind::Settings),
        }
    }
}

/// What has happened so far, over all rings.
pub struct Tally {
    /// Connections that are up.
    pub live: u32,
    /// Connections that failed on their way up or ended later, by reason.
    pub failures: BTreeMap<String, u32>,
    /// From the request to the first byte of the answer, in microseconds.
    pub first_byte: Histogram<u32>,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Self {
        // Up to a minute with two digits; what takes longer counts as a minute.
        let first_byte = Histogram::new_with_bounds(1, 60_000_000, 2).expect("the bounds are constants");
        Self { live: 0, failures: BTreeMap::new(), first_byte }
    }

    /// How many failed or ended.
    pub fn failure_count(&self) -> u32 {
        self.failures.values().sum()
    }

    pub(super) fn fail(&mut self, reason: String) {
        *self.failures.entry(reason).or_default() += 1;
    }
}

/// Where a slot of the table stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Slot {
    /// No socket.
    Empty,
    /// A socket that failed on its way up or that the server has ended; closed with the others.
    Ended,
    /// Connected, and answered if something was asked.
    Live,
    /// As before, and the bytes that were looked for have arrived.
    Reached,
}

/// A connection on its way up.
struct Lane {
    slot: u32,
    buffer: Box<[u8; RECV_LEN]>,
    asked_at: Instant,
    /// What went wrong earlier in the chain of ops: the end of the chain only knows that it was cancelled.
    error: Option<String>,
}

/// One ring and its share of the connections.
pub struct Client {
    pub(super) ring: IoUring,
    pub(super) slots: Vec<Slot>,
    lanes: Vec<Lane>,
    free: Vec<u32>,
    started: u32,
    ended: u32,
}

/// The ops of a connection on its way up, in the upper half of the user data; the lane is in the lower.
const SOCKET: u64 = 1 << 32;
const CONNECT: u64 = 2 << 32;
const SEND: u64 = 3 << 32;
const RECV: u64 = 4 << 32;

impl Client {
    /// A ring for `share` connections, of which at most `pace` are on their way up at a time.
    pub fn new(share: u32, pace: u32) -> io::Result<Self> {
        // A lane has at most two ops queued and four completions waiting.
        let entries = (2 * pace).max(2 * BATCH as u32).next_power_of_two();
        let lane = || Lane { slot: 0, buffer: Box::new([0; RECV_LEN]), asked_at: Instant::now(), error: None };
        Ok(Self {
            ring: ring::build(entries, entries * 4, share)?,
            slots: vec![Slot::Empty; share as usize],
            lanes: std::iter::repeat_with(lane).take(pace as usize).collect(),
            free: (0..pace).collect(),
            started: 0,
            ended: 0,
        })
    }

    /// Brings up the whole share. Calls `progress` about ten times a second; ends early when it returns false.
    pub fn connect(
        &mut self,
        plan: &Plan,
        tally: &mut Tally,
        mut progress: impl FnMut(&Tally) -> bool,
    ) -> Result<(), Failure> {
        let share = self.slots.len() as u32;
        let (mut moved_at, mut told_at) = (Instant::now(), Instant::now());
        while self.ended < share {
            while self.started < share && !self.free.is_empty() {
                self.start(plan)?;
            }
            ring::wait(&self.ring, 1, WAIT_FOR)?;
            if self.take_completions(plan, tally)? > 0 {
                moved_at = Instant::now();
            }
            if told_at.elapsed() >= WAIT_FOR {
                told_at = Instant::now();
                if !progress(tally) {
                    return Ok(());
                }
            }
            let stuck = moved_at.elapsed() > STALL_FOR_MAX;
            if stuck || Instant::now() > plan.until {
                let why = if stuck { "nothing moved for 15 s" } else { "the time is up" };
                return Err(format!("{why} with {} of {share} connections of a ring up", self.ended).into());
            }
        }
        Ok(())
    }

    /// Opens the next slot's socket and connects it: one chain of two ops.
    fn start(&mut self, plan: &Plan) -> io::Result<()> {
        let (Some(lane), slot) = (self.free.pop(), self.started) else { return Ok(()) };
        self.started += 1;
        self.lanes[lane as usize].slot = slot;
        let table_slot = types::DestinationSlot::try_from_slot_target(slot).map_err(|_| io::Error::other("slot"))?;
        let socket = opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0)
            .file_index(Some(table_slot))
            .build()
            .flags(squeue::Flags::IO_HARDLINK | squeue::Flags::SKIP_SUCCESS)
            .user_data(SOCKET | u64::from(lane));
        let to = &plan.destinations[slot as usize % plan.destinations.len()];
        let connect = opcode::Connect::new(
            types::Fixed(slot),
            std::ptr::from_ref(to).cast(),
            size_of::<libc::sockaddr_in>() as libc::socklen_t,
        );
        // SAFETY: the first entry names no memory, the second one an address of `plan`, which outlives this ring's
        // work.
        unsafe {
            ring::push(&mut self.ring, &socket)?;
            ring::push(&mut self.ring, &connect.build().user_data(CONNECT | u64::from(lane)))
        }
    }

    /// Returns how many completions there were.
    fn take_completions(&mut self, plan: &Plan, tally: &mut Tally) -> Result<usize, Failure> {
        let done: Vec<cqueue::Entry> = self.ring.completion().collect();
        for completion in &done {
            let (op, lane) = (completion.user_data() & !u64::from(u32::MAX), completion.user_data() as u32);
            let result = completion.result();
            match op {
                SOCKET => self.lanes[lane as usize].error = Some(named("socket", result)),
                CONNECT if result < 0 => self.end(lane, Err(named("connect", result)), tally),
                CONNECT if plan.request.is_empty() => self.end(lane, Ok(()), tally),
                CONNECT => self.ask(lane, plan)?,
                SEND => self.lanes[lane as usize].error = Some(named("request", result)),
                RECV => {
                    let outcome = self.judge(lane, result, plan.answer, tally);
                    self.end(lane, outcome, tally);
                }
                _ => {}
            }
        }
        Ok(done.len())
    }

    /// Sends the request and waits for the first bytes of the answer: one chain of two ops.
    fn ask(&mut self, lane: u32, plan: &Plan) -> io::Result<()> {
        let Lane { slot, buffer, asked_at, .. } = &mut self.lanes[lane as usize];
        *asked_at = Instant::now();
        let socket = types::Fixed(*slot);
        let send = opcode::Send::new(socket, plan.request.as_ptr(), plan.request.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .flags(squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS)
            .user_data(SEND | u64::from(lane));
        let recv = opcode::Recv::new(socket, buffer.as_mut_ptr(), RECV_LEN as u32).build();
        // SAFETY: the request outlives this ring's work, the buffer belongs to the lane, and the lane is not used again
        // before the receive has completed.
        unsafe {
            ring::push(&mut self.ring, &send)?;
            ring::push(&mut self.ring, &recv.user_data(RECV | u64::from(lane)))
        }
    }

    /// Whether the first bytes of the answer are those of a stream.
    fn judge(&self, lane: u32, result: i32, answer: Answer, tally: &mut Tally) -> Result<(), String> {
        let lane = &self.lanes[lane as usize];
        match result {
            0 => Err("closed without an answer".to_owned()),
            error if error < 0 => Err(named("answer", error)),
            len => {
                let micros = u64::try_from(lane.asked_at.elapsed().as_micros()).unwrap_or(u64::MAX);
                tally.first_byte.saturating_record(micros);
                let head = &lane.buffer[..len.unsigned_abs() as usize];
                if answer.is_begun_by(head) {
                    return Ok(());
                }
                let line = head.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
                Err(format!("answered {:?}", String::from_utf8_lossy(line)))
            }
        }
    }

    /// A connection is up, or failed; either way its lane is free for the next one.
    fn end(&mut self, lane: u32, outcome: Result<(), String>, tally: &mut Tally) {
        let Lane { slot, error, .. } = &mut self.lanes[lane as usize];
        match (error.take(), outcome) {
            (None, Ok(())) => {
                self.slots[*slot as usize] = Slot::Live;
                tally.live += 1;
            }
            (Some(reason), _) | (None, Err(reason)) => {
                self.slots[*slot as usize] = Slot::Ended;
                tally.fail(reason);
            }
        }
        self.free.push(lane);
        self.ended += 1;
    }
}

/// An op that failed, in words.
pub(super) fn named(op: &str, result: i32) -> String {
    match result {
        0.. => format!("{op}: cut short"),
        error => format!("{op}: {}", io::Error::from_raw_os_error(-error)),
    }
}
