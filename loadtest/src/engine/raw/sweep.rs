//! Rounds over all connections that have nothing armed: a receive that does not wait on each, some hundreds per system
//! call, in slices so that everything else has its turn in between.

use std::io;
use std::time::{Duration, Instant};

use super::super::Reading;
use super::{Engine, buffers};

/// Connections looked at before everything else has its turn: no more than have a buffer if all have something.
const LOOKS: u32 = buffers::COUNT as u32;

/// Seats passed by within a slice, most of which may have no connection.
const SEATS: u32 = 4096;

/// Pause after a round that found nobody to look at, whatever the period.
const PAUSE: Duration = Duration::from_millis(10);

/// When and where to look.
pub(super) struct Sweep {
    /// From the beginning of one round to that of the next; none while nobody looks.
    period: Option<Duration>,
    /// When this round began, or the next one is to begin.
    begins_at: Instant,
    /// The first seat that this round has not come to.
    next: u32,
    /// Connections that this round has looked at.
    looked: u32,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { period: None, begins_at: Instant::now(), next: 0, looked: 0 }
    }
}

impl Sweep {
    /// A round begins now, and one each period.
    pub(super) fn start(&mut self, period: Duration) {
        *self = Self { period: Some(period), ..Self::default() };
    }

    /// When there is something to look at; never, for who was not told to.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.period.map(|_| self.begins_at)
    }

    fn end_round(&mut self, period: Duration) {
        let pause = if self.looked == 0 { period.max(PAUSE) } else { period };
        // A round that took longer than its period is followed by the next one at once.
        self.begins_at = (self.begins_at + pause).max(Instant::now());
        (self.next, self.looked) = (0, 0);
    }
}

impl Engine<'_> {
    /// Looks at the next slice of connections, if a round is on.
    pub(super) fn sweep_on(&mut self) -> io::Result<()> {
        let Some(period) = self.sweep.period.filter(|_| Instant::now() >= self.sweep.begins_at) else { return Ok(()) };
        let last = self.seats.len() as u32;
        let end = self.sweep.next.saturating_add(SEATS).min(last);
        let mut looks = 0;
        while self.sweep.next < end && looks < LOOKS {
            let who = self.first + self.sweep.next;
            self.sweep.next += 1;
            let seat = self.seat(who);
            if seat.is_idle() && seat.reading == Reading::Full {
                self.look(who)?;
                looks += 1;
            }
        }
        self.sweep.looked += looks;
        if self.sweep.next == last {
            self.sweep.end_round(period);
        }
        Ok(())
    }
}
