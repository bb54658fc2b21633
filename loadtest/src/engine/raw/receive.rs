//! What arrives, and who reads how.
//!
//! With everything armed, whoever reads in full has a receive in the kernel for as long as the connection stands. All
//! others are looked at: by a sweep, or in small pieces from time to time.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::time::Duration;

use super::super::Reading;
use super::seat::Stage;
use super::table::{Completion, Op};
use super::{Engine, buffers, named};
use crate::wire::stream::Heard;

/// Bytes that those who read slowly may take by now, in millionths.
pub(super) type Credits = BTreeMap<u32, u64>;

const MILLIONTHS: u64 = 1_000_000;

impl Engine<'_> {
    /// A receive of whatever kind has come back. `now` is when the batch was taken.
    pub(super) fn on_received(&mut self, who: u32, completion: &Completion, now: u64) -> io::Result<()> {
        let outcome = match completion.result {
            0 => Err("ended by the server".to_owned()),
            len if len > 0 => self.hear(who, completion, now),
            error => match -error {
                // Nothing was there, or no buffer was left before those of this batch are given back, or the receive
                // was called off.
                libc::EAGAIN | libc::ENOBUFS | libc::ECANCELED => Ok(()),
                _ => Err(named("receive", error)),
            },
        };
        if let Err(reason) = outcome {
            return self.fail(who, reason);
        }
        let is_cut_short = completion.has_more || completion.result == -libc::ENOBUFS;
        match completion.tag.op {
            Op::Look if is_cut_short => self.look(who),
            _ => self.read_on(who),
        }
    }

    /// Takes received bytes to the books.
    fn hear(&mut self, who: u32, completion: &Completion, now: u64) -> Result<(), String> {
        let (Some(buffer), Ok(len)) = (completion.buffer, usize::try_from(completion.result)) else { return Ok(()) };
        if let Some(credit) = self.credits.get_mut(&who) {
            *credit = credit.saturating_sub(len as u64 * MILLIONTHS);
        }
        if self.plan.bare {
            return Ok(());
        }
        let (table, _) = self.slot(who);
        let Self { tables, seats, books, first, .. } = self;
        let seat = &mut seats[(who - *first) as usize];
        seat.stream.feed(tables[table].received(buffer, len), |heard| match heard {
            Heard::Open => books.on_open(who),
            Heard::Event(event) => books.on_event(who, &event, now),
        })?;
        if let Stage::Coming { lane } = seat.stage
            && books.is_open(who)
        {
            self.stand(who, lane);
        }
        Ok(())
    }

    /// Asks for what comes next, if nothing is asked for already.
    pub(super) fn read_on(&mut self, who: u32) -> io::Result<()> {
        let is_armed = self.plan.armed;
        let seat = self.seat(who);
        match seat.stage {
            Stage::Coming { .. } => self.await_answer(who),
            Stage::Open if seat.flight.is_none() && is_armed && seat.reading == Reading::Full => {
                seat.flight = Some(Op::Stream);
                let (table, slot) = self.slot(who);
                self.tables[table].arm(slot)
            }
            _ => Ok(()),
        }
    }

    /// Receives what is there now, as far as `who` may.
    pub(super) fn look(&mut self, who: u32) -> io::Result<()> {
        let len = match self.seat(who).reading {
            Reading::Full => buffers::LEN,
            Reading::Stopped => 0,
            Reading::Trickle(_) => self.credits.get(&who).map_or(0, |credit| credit / MILLIONTHS) as usize,
        };
        // To ask for nothing is to ask for a whole buffer.
        if len == 0 {
            return Ok(());
        }
        self.seat(who).flight = Some(Op::Look);
        let (table, slot) = self.slot(who);
        self.tables[table].look(slot, len.min(buffers::LEN))
    }

    /// These read so from now on.
    pub(super) fn set_reading(&mut self, range: Range<u32>, reading: Reading) -> io::Result<()> {
        for who in range {
            match reading {
                Reading::Trickle(_) => drop(self.credits.entry(who).or_default()),
                Reading::Full | Reading::Stopped => drop(self.credits.remove(&who)),
            }
            let seat = self.seat(who);
            seat.reading = reading;
            match seat.flight {
                Some(Op::Stream) if reading != Reading::Full => self.cancel(who, Op::Stream)?,
                Some(_) => {}
                None => self.read_on(who)?,
            }
        }
        Ok(())
    }

    /// Looks at those who read slowly, `passed` after the last time.
    pub(super) fn trickle(&mut self, passed: Duration) -> io::Result<()> {
        let micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        let slow: Vec<u32> = self.credits.keys().copied().collect();
        for who in slow {
            let Reading::Trickle(rate) = self.seat(who).reading else { continue };
            let rate = u64::from(rate);
            if let Some(credit) = self.credits.get_mut(&who) {
                // Who had nothing to read for a while does not catch up on more than a second.
                *credit = credit.saturating_add(rate.saturating_mul(micros)).min(rate * MILLIONTHS);
            }
            if self.seat(who).is_idle() {
                self.look(who)?;
            }
        }
        Ok(())
    }
}
