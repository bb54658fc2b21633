//! The common engine: a task for each subscriber on the runtime tokio-uring.
//!
//! ```text
//! mod → { sse, h2 → { adapter, grpc } } → line → valve
//! ```
//!
//! A task owns its part of a connection: it ends with the reason why the subscription did, or is aborted when an order
//! says so, and either way the connection goes with the last of its tasks. Orders change valves and tasks, and note in
//! the books what they did; tasks note what was done to them.

mod adapter;
mod grpc;
mod h2;
mod line;
mod sse;
#[cfg(test)]
mod tests;
mod valve;

use std::cell::RefCell;
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;

use self::line::Line;
use self::valve::{Gate, Valve};
use super::{Close, Order, Plan, Protocol, Reading, next_order, shared};
use crate::Failure;
use crate::books::Books;

/// Entries of the ring: a burst to thousands of connections is submitted in a few system calls.
const RING_ENTRIES: u32 = 4096;

/// How often orders are looked for.
const ORDERS_EVERY: Duration = Duration::from_millis(5);

/// How long reads whose sockets were closed are given to complete. The runtime must not be dropped before: it lets go
/// of buffers first and of the operations that fill them afterwards.
const SETTLE_FOR: Duration = Duration::from_millis(50);

/// Takes orders until it is told to finish, and returns the books.
pub fn run(plan: Plan, orders: Receiver<Order>, books: Books) -> Result<Books, Failure> {
    let runtime = tokio_uring::Runtime::new(tokio_uring::builder().entries(RING_ENTRIES))?;
    let shared = runtime.block_on(Engine::new(plan, books).serve(&orders));
    let shared = Rc::into_inner(shared).expect("all tasks have ended");
    Ok(shared.books.into_inner())
}

/// What all tasks look at.
struct Shared {
    plan: Plan,
    books: RefCell<Books>,
    /// One permit for each subscriber on its way up. They take turns in their order, so those of a connection come up
    /// together.
    pace: Semaphore,
    first: u32,
    valves: Rc<[Valve]>,
}

impl Shared {
    fn valve(&self, who: u32) -> &Valve {
        &self.valves[(who - self.first) as usize]
    }

    /// Waits until one more may be on its way up.
    async fn turn(&self) -> SemaphorePermit<'_> {
        self.pace.acquire().await.expect("the semaphore is never closed")
    }

    /// Gives an attempt up, and its connection with it, when it takes too long.
    async fn in_time<T>(&self, attempt: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        let answer_for_max = self.plan.answer_for_max;
        let outcome = tokio::time::timeout(answer_for_max, attempt).await;
        outcome.unwrap_or_else(|_| Err(format!("not answered within {answer_for_max:?}")))
    }
}

/// A subscriber's task, and the connection it is on for as long as that lasts.
struct Seat {
    task: JoinHandle<()>,
    line: Weak<Line>,
}

impl Seat {
    fn is_taken(&self) -> bool {
        !self.task.is_finished()
    }
}

struct Engine {
    shared: Rc<Shared>,
    /// Subscribers of one connection.
    party: usize,
    seats: Vec<Option<Seat>>,
}

impl Engine {
    fn new(plan: Plan, books: Books) -> Self {
        let party = if plan.protocol == Protocol::Sse { 1 } else { plan.streams.max(1) as usize };
        let own = books.subscribers();
        let shared = Shared {
            pace: Semaphore::new((plan.pace.max(1) as usize).saturating_mul(party).min(Semaphore::MAX_PERMITS)),
            first: own.start,
            valves: own.clone().map(|_| Valve::default()).collect(),
            books: RefCell::new(books),
            plan,
        };
        Self { shared: Rc::new(shared), party, seats: own.map(|_| None).collect() }
    }

    /// Follows orders to the last.
    async fn serve(mut self, orders: &Receiver<Order>) -> Rc<Shared> {
        loop {
            while let Some(order) = next_order(orders) {
                match order {
                    Order::Open(range) => self.open(&range),
                    Order::Cut(range) => self.end(&range, |books, who, is_there| {
                        if is_there {
                            books.on_cut(who);
                        }
                    }),
                    Order::Leave(range) => self.end(&range, |books, who, _| books.on_leave(who)),
                    Order::Read(range, reading) => self.read(&range, reading),
                    Order::Sweep(_) => {}
                    Order::Phase => self.shared.books.borrow_mut().begin_phase(),
                    Order::Finish(close) => return self.finish(close).await,
                }
            }
            tokio::time::sleep(ORDERS_EVERY).await;
        }
    }

    fn open(&mut self, range: &Range<u32>) {
        for (seat, who) in self.places(range) {
            if self.seats[seat].as_ref().is_some_and(Seat::is_taken) {
                continue;
            }
            let line = self.line_for(seat);
            let (shared, own) = (Rc::clone(&self.shared), Rc::clone(&line));
            let task = tokio_uring::spawn(async move {
                let outcome = match shared.plan.protocol {
                    Protocol::Sse => sse::subscribe(&shared, who, &own).await,
                    Protocol::Sse2 | Protocol::Grpc => h2::subscribe(&shared, who, &own).await,
                };
                let Err(reason) = outcome;
                shared.books.borrow_mut().on_failure(who, reason);
            });
            self.seats[seat] = Some(Seat { task, line: Rc::downgrade(&line) });
        }
    }

    /// The connection that others of the party are on, or a new one.
    fn line_for(&self, seat: usize) -> Rc<Line> {
        let begin = seat - seat % self.party;
        let party = begin..self.seats.len().min(begin + self.party);
        let mut lines = self.seats[party.clone()].iter().flatten().filter_map(|seat| seat.line.upgrade());
        let usable = lines.find(|line| !line.is_over());
        usable.unwrap_or_else(|| Rc::new(Line::new(Gate::new(Rc::clone(&self.shared.valves), party))))
    }

    /// Ends subscriptions; `note` learns whether there was one or an attempt at one.
    fn end(&mut self, range: &Range<u32>, note: impl Fn(&mut Books, u32, bool)) {
        for (seat, who) in self.places(range) {
            let taken = self.seats[seat].take().filter(Seat::is_taken);
            if let Some(seat) = &taken {
                seat.task.abort();
            }
            note(&mut self.shared.books.borrow_mut(), who, taken.is_some());
        }
    }

    fn read(&self, range: &Range<u32>, reading: Reading) {
        for (seat, who) in self.places(range) {
            self.shared.valve(who).set(reading);
            if let Some(line) = self.seats[seat].as_ref().and_then(|seat| seat.line.upgrade()) {
                line.gate.look_again();
            }
        }
    }

    async fn finish(self, close: Close) -> Rc<Shared> {
        for seat in self.seats.iter().flatten() {
            if let Some(line) = seat.line.upgrade() {
                line.close_with(close);
            }
            seat.task.abort();
        }
        for seat in self.seats.into_iter().flatten() {
            // That it was aborted is no news.
            let _ = seat.task.await;
        }
        tokio::time::sleep(SETTLE_FOR).await;
        self.shared
    }

    /// Seats and numbers of our own subscribers in a range.
    fn places(&self, range: &Range<u32>) -> impl Iterator<Item = (usize, u32)> + use<> {
        let first = self.shared.first;
        let own = first..first + self.seats.len() as u32;
        shared(range, &own).map(move |who| ((who - first) as usize, who))
    }
}
