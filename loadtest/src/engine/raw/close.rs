//! The way down: what is in flight is called off, and when that has come back the socket is closed.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::super::{Close, Reading};
use super::Engine;
use super::seat::{Seat, Stage};
use super::table::Op;
use crate::Failure;
use crate::books::Books;
use crate::wire::stream::Stream;

/// Longest time for all connections to be closed at the end.
const FINISH_FOR_MAX: Duration = Duration::from_secs(60);

impl Engine<'_> {
    /// Cuts these off, to come back later.
    pub(super) fn cut(&mut self, range: Range<u32>) -> io::Result<()> {
        self.waiting.retain(|who| !range.contains(who));
        for who in range {
            if matches!(self.seat(who).stage, Stage::Coming { .. } | Stage::Open) {
                self.books.on_cut(who);
            }
            self.close(who)?;
        }
        Ok(())
    }

    /// Has these leave for good.
    pub(super) fn leave(&mut self, range: Range<u32>) -> io::Result<()> {
        self.waiting.retain(|who| !range.contains(who));
        for who in range {
            self.books.on_leave(who);
            self.close(who)?;
        }
        Ok(())
    }

    /// The connection of `who` is over, and not by our will.
    pub(super) fn fail(&mut self, who: u32, reason: String) -> io::Result<()> {
        if matches!(self.seat(who).stage, Stage::Closing { .. }) {
            return Ok(());
        }
        self.books.on_failure(who, reason);
        self.close(who)
    }

    /// Closes everything, and the work is done. What is open then stays so in the books.
    pub(super) fn finish(mut self, how: Close) -> Result<Books, Failure> {
        self.farewell = how;
        self.waiting.clear();
        for who in self.books.subscribers() {
            self.close(who)?;
        }
        let deadline = Instant::now() + FINISH_FOR_MAX;
        while self.sockets > 0 {
            if Instant::now() > deadline {
                return Err(format!("{} connections do not close", self.sockets).into());
            }
            self.turn()?;
        }
        Ok(self.books)
    }

    /// Begins to close the connection of `who`, if there is one, and forgets that another one was wanted.
    fn close(&mut self, who: u32) -> io::Result<()> {
        let seat = self.seat(who);
        let lane = match seat.stage {
            Stage::Away => return Ok(()),
            Stage::Waiting => {
                seat.stage = Stage::Away;
                return Ok(());
            }
            Stage::Closing { lane, .. } => {
                seat.stage = Stage::Closing { lane, again: false };
                return Ok(());
            }
            Stage::Coming { lane } => Some(lane),
            Stage::Open => None,
        };
        seat.stage = Stage::Closing { lane, again: false };
        seat.stream = Stream::default();
        match seat.flight {
            Some(op) => self.cancel(who, op),
            None => self.close_if_landed(who),
        }
    }

    /// Closes the socket of `who` unless something is still in flight.
    pub(super) fn close_if_landed(&mut self, who: u32) -> io::Result<()> {
        if self.seat(who).flight.is_some() {
            return Ok(());
        }
        self.seat(who).flight = Some(Op::Close);
        let (table, slot) = self.slot(who);
        self.tables[table].close(slot, self.farewell == Close::Reset)
    }

    pub(super) fn cancel(&mut self, who: u32, op: Op) -> io::Result<()> {
        let (table, slot) = self.slot(who);
        self.tables[table].cancel(slot, op)
    }

    /// What was to be called off could not be found: it may have been on its way from one op of a chain to the next, or
    /// have come back meanwhile.
    pub(super) fn on_cancel_missed(&mut self, who: u32) -> io::Result<()> {
        let Seat { stage, flight, reading, .. } = *self.seat(who);
        match (stage, flight) {
            (_, None | Some(Op::Close)) => Ok(()),
            (Stage::Closing { .. }, Some(op)) => self.cancel(who, op),
            (_, Some(Op::Stream)) if reading != Reading::Full => self.cancel(who, Op::Stream),
            _ => Ok(()),
        }
    }

    /// The slot of `who` is free. A chain that failed to open its socket had nothing to close, which is as good.
    pub(super) fn on_closed(&mut self, who: u32) {
        self.sockets -= 1;
        let seat = self.seat(who);
        seat.flight = None;
        let Stage::Closing { lane, again } = seat.stage else { return };
        seat.stage = if again { Stage::Waiting } else { Stage::Away };
        if again {
            self.waiting.push_back(who);
        }
        if let Some(lane) = lane {
            self.lanes.release(lane);
        }
    }
}
