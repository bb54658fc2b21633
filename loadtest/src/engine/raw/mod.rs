//! The engine for very many connections: one thread, and rings with direct descriptors.
//!
//! A ring's table is bounded by the limit of open files, so there are as many rings as the subscribers need. `table` is
//! a ring, and all there is of the kernel; `seat` is a subscriber; `connect`, `receive`, `sweep` and `close` are what
//! happens to one in the course of its life.
//!
//! Only SSE over HTTP/1.1. Never more in memory than a seat per subscriber, a lane per connection on its way up, and
//! the buffers of each ring.

mod buffers;
mod close;
mod connect;
mod receive;
mod seat;
mod sweep;
mod table;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use self::connect::Lanes;
use self::receive::Credits;
use self::seat::{Seat, Stage};
use self::sweep::Sweep;
use self::table::{Completion, Op, Slot, Table};
use super::{Close, Order, Plan, Protocol, next_order, shared};
use crate::books::Books;
use crate::{Failure, machine, ring};

/// Longest sleep: orders are looked for this often.
const SLEEP_FOR_MAX: Duration = Duration::from_millis(10);

/// Deadlines are looked at, and slow readers fed, this often.
const TICK: Duration = Duration::from_millis(100);

/// Takes orders until it is told to finish, and returns the books.
pub fn run(plan: &Plan, orders: &Receiver<Order>, books: Books) -> Result<Books, Failure> {
    if plan.protocol != Protocol::Sse || plan.streams != 1 {
        return Err("the raw engine speaks SSE over HTTP/1.1 only, with one subscriber per connection".into());
    }
    let mut engine = Engine::new(plan, books)?;
    loop {
        while let Some(order) = next_order(orders) {
            match order {
                Order::Finish(how) => return engine.finish(how),
                order => engine.obey(order)?,
            }
        }
        engine.turn()?;
    }
}

/// All subscribers and their rings.
struct Engine<'p> {
    plan: &'p Plan,
    books: Books,
    /// The first subscriber; `seats` begins with it.
    first: u32,
    seats: Vec<Seat>,
    /// Each has the sockets of so many seats.
    share: u32,
    /// Before the lanes: dropped first, so that the kernel has let go of what it reads there.
    tables: Vec<Table>,
    /// Rung by a table that has something to do.
    bell: OwnedFd,
    /// Those who want a connection, each once.
    waiting: VecDeque<u32>,
    lanes: Lanes,
    credits: Credits,
    sweep: Sweep,
    /// Sockets that are not closed yet.
    sockets: u32,
    /// How to close.
    farewell: Close,
    ticked_at: Instant,
    /// Completions of one table; empty between two.
    done: Vec<Completion>,
}

impl<'p> Engine<'p> {
    fn new(plan: &'p Plan, books: Books) -> Result<Self, Failure> {
        let subscribers = books.subscribers();
        let share = ring::SLOTS_MAX.min(machine::file_limit());
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let borders = (0..subscribers.len() as u32).step_by(share as usize);
        let table = |border| Table::new(share.min(subscribers.len() as u32 - border), &bell);
        Ok(Self {
            tables: borders.map(table).collect::<io::Result<_>>()?,
            plan,
            first: subscribers.start,
            seats: subscribers.map(|_| Seat::default()).collect(),
            share,
            bell,
            waiting: VecDeque::new(),
            lanes: Lanes::new(plan),
            credits: Credits::new(),
            sweep: Sweep::default(),
            sockets: 0,
            farewell: Close::Reset,
            ticked_at: Instant::now(),
            done: Vec::new(),
            books,
        })
    }

    fn obey(&mut self, order: Order) -> io::Result<()> {
        let own = self.books.subscribers();
        match order {
            Order::Open(range) => self.open(shared(&range, &own)),
            Order::Cut(range) => self.cut(shared(&range, &own))?,
            Order::Leave(range) => self.leave(shared(&range, &own))?,
            Order::Read(range, reading) => self.set_reading(shared(&range, &own), reading)?,
            Order::Sweep(period) if !self.plan.armed => self.sweep.start(period),
            Order::Phase => self.books.begin_phase(),
            Order::Sweep(_) | Order::Finish(_) => {}
        }
        Ok(())
    }

    fn open(&mut self, range: Range<u32>) {
        for who in range {
            let seat = self.seat(who);
            match seat.stage {
                Stage::Away => {
                    seat.stage = Stage::Waiting;
                    self.waiting.push_back(who);
                }
                Stage::Closing { lane, .. } => seat.stage = Stage::Closing { lane, again: true },
                Stage::Waiting | Stage::Coming { .. } | Stage::Open => {}
            }
        }
    }

    /// One turn: ask for what is to happen, take in what has happened, and sleep if there was nothing.
    fn turn(&mut self) -> io::Result<()> {
        self.bring_up()?;
        self.sweep_on()?;
        self.tick()?;
        if self.take_completions()? { Ok(()) } else { self.sleep() }
    }

    fn tick(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let passed = now - self.ticked_at;
        if passed < TICK {
            return Ok(());
        }
        self.ticked_at = now;
        self.end_late_lanes(now)?;
        self.trickle(passed)
    }

    /// Returns whether there was anything to do.
    fn take_completions(&mut self) -> io::Result<bool> {
        let mut was_busy = false;
        let mut done = std::mem::take(&mut self.done);
        for table in 0..self.tables.len() {
            was_busy |= self.tables[table].take(&mut done)?;
            if done.is_empty() {
                continue;
            }
            let now = self.books.now();
            for completion in done.drain(..) {
                self.on_completion(table, &completion, now)?;
                if let Some(buffer) = completion.buffer {
                    self.tables[table].give_back(buffer);
                }
            }
        }
        self.done = done;
        Ok(was_busy)
    }

    fn on_completion(&mut self, table: usize, completion: &Completion, now: u64) -> io::Result<()> {
        let Completion { tag, result, goes_on, .. } = *completion;
        let who = self.first + table as u32 * self.share + tag.slot;
        let seat = self.seat(who);
        if seat.life != tag.life {
            return Ok(());
        }
        match tag.op {
            Op::Socket => return self.fail(who, named("socket", result)),
            Op::Cancel => return self.on_cancel_missed(who),
            // Who cannot be reset is gone already.
            Op::Linger => return Ok(()),
            Op::Close => {
                self.on_closed(who);
                return Ok(());
            }
            Op::Connect | Op::Send | Op::Answer | Op::Stream | Op::Look => {}
        }
        if !goes_on {
            seat.flight = None;
        }
        match (seat.stage, tag.op) {
            (Stage::Closing { .. }, _) => self.close_if_landed(who),
            (Stage::Coming { lane }, Op::Connect) => self.on_connect(who, lane, result),
            (Stage::Coming { lane }, Op::Send) => self.on_sent(who, lane, result),
            _ => self.on_received(who, completion, now),
        }
    }

    /// Sleeps until a table rings, a sweep is due, or orders are to be looked for.
    fn sleep(&self) -> io::Result<()> {
        let due_for = self.sweep.due_at().map_or(SLEEP_FOR_MAX, |at| at.saturating_duration_since(Instant::now()));
        let timeout = Timespec::try_from(due_for.min(SLEEP_FOR_MAX)).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.bell, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => Ok(()),
            Ok(_) => rustix::io::read(&self.bell, &mut [0; 8]).map(drop).map_err(io::Error::from),
            Err(error) => Err(error.into()),
        }
    }

    fn seat(&mut self, who: u32) -> &mut Seat {
        &mut self.seats[(who - self.first) as usize]
    }

    /// Where the socket of `who` is: its table, and its slot there.
    fn slot(&mut self, who: u32) -> (usize, Slot) {
        let life = self.seat(who).life;
        let at = who - self.first;
        ((at / self.share) as usize, Slot { index: at % self.share, life })
    }
}

/// An op that failed, in words.
fn named(op: &str, result: i32) -> String {
    match result {
        0.. => format!("{op}: cut short"),
        error => format!("{op}: {}", io::Error::from_raw_os_error(-error)),
    }
}
