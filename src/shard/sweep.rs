//! Walking round the table of clients, a little each tick: heartbeats for the quiet, and in dense mode a look whether
//! they are still there. No client has a timer for this.

use std::time::Duration;

use super::clients::{Stage, quiet_for};
use super::outbox::{Outbox, Then, cut};
use super::tokens::Kind;
use super::{COMMENT, Ending, Idle, Settings, Shard};
use crate::base::wheel::TICK;
use crate::ring::{Errno, Part, Ring, Socket, Token};

/// Visits of each client per heartbeat period. One that was quiet for all but one of them gets its comment, so none is
/// quiet for longer than the period.
const VISITS: u32 = 8;

/// How long a client that is not watched may be gone unnoticed.
const PROBE_EVERY: Duration = Duration::from_secs(60);

/// Places looked at in one turn: the table of a million clients takes 60 turns.
const PLACES_MAX: u32 = 16 * 1024;

/// One hand that walks round the table.
struct Hand {
    /// Ticks for one round.
    round: u32,
    place: u32,
    /// Places it should have visited by now.
    owed: u32,
    /// What a tick is owed in fractions of a place.
    fraction: u64,
}

impl Hand {
    fn new(round: u32) -> Self {
        Self { round: round.max(1), place: 0, owed: 0, fraction: 0 }
    }

    /// `ticks` have passed; the table has `places`.
    fn wind(&mut self, ticks: u32, places: u32) {
        self.fraction += u64::from(ticks) * u64::from(places);
        let owed = self.fraction / u64::from(self.round);
        self.fraction %= u64::from(self.round);
        self.owed = (u64::from(self.owed) + owed).min(u64::from(places)) as u32;
    }

    /// The next place to visit.
    fn step(&mut self, places: u32) -> Option<u32> {
        if self.owed == 0 || places == 0 {
            self.owed = 0;
            return None;
        }
        self.owed -= 1;
        if self.place >= places {
            self.place = 0;
        }
        self.place += 1;
        Some(self.place - 1)
    }
}

/// Both hands.
pub(super) struct Sweep {
    hearts: Hand,
    probes: Option<Hand>,
    /// Ticks of silence after which a comment is due.
    quiet: u32,
    wound_at: u32,
}

impl Sweep {
    pub fn new(settings: &Settings) -> Self {
        let period = ticks(settings.heartbeat);
        let round = (period / VISITS).max(1);
        let probes = (settings.idle == Idle::Dense).then(|| Hand::new(ticks(PROBE_EVERY)));
        Self { hearts: Hand::new(round), probes, quiet: period.saturating_sub(round + 1).max(1), wound_at: 0 }
    }

    /// Whether it has places left to visit.
    pub fn is_behind(&self) -> bool {
        self.hearts.owed > 0 || self.probes.as_ref().is_some_and(|probes| probes.owed > 0)
    }
}

fn ticks(time: Duration) -> u32 {
    u32::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX)
}

impl<R: Ring> Shard<R> {
    /// Goes on sweeping where that is due; whether anything was sent.
    pub(super) fn sweep_if_due(&mut self) -> bool {
        let places = self.clients.places();
        let passed = self.tick - self.sweep.wound_at;
        self.sweep.wound_at = self.tick;
        if passed > 0 {
            self.sweep.hearts.wind(passed, places);
            if let Some(probes) = &mut self.sweep.probes {
                probes.wind(passed, places);
            }
        }
        if !self.sweep.is_behind() {
            return false;
        }
        self.probe_some(places);
        self.hearten_some(places) > 0
    }

    /// Comments for the quiet; how many.
    fn hearten_some(&mut self, places: u32) -> u32 {
        let gather = self.ring.gather(&[COMMENT]);
        let (mut sent, mut seen) = (0, 0);
        while sent < self.slice_max && seen < PLACES_MAX {
            let Some(place) = self.sweep.hearts.step(places) else { break };
            seen += 1;
            match self.clients.stage(place) {
                Stage::Live { quiet_since } if quiet_for(quiet_since, self.tick) < self.sweep.quiet => continue,
                Stage::Live { .. } => {
                    self.clients.note_sent(place, self.tick, 0, COMMENT.len);
                    let token = Kind::Comment.token(place, self.clients.at(place).generation());
                    self.ring.send_now(Socket(place), gather, token);
                    sent += 1;
                }
                Stage::H2(_) => self.care_for(place, self.sweep.quiet),
                _ => {}
            }
        }
        sent
    }

    /// Looks whether unwatched clients are still there.
    fn probe_some(&mut self, places: u32) {
        let Some(probes) = &mut self.sweep.probes else { return };
        for _ in 0..self.slice_max {
            let Some(place) = probes.step(places) else { break };
            if matches!(self.clients.stage(place), Stage::Live { .. } | Stage::Behind(_)) {
                let token = Kind::Peek.token(place, self.clients.at(place).generation());
                self.ring.peek(Socket(place), token);
            }
        }
    }

    pub(super) fn on_peeked(&mut self, token: Token, result: Result<u32, Errno>) {
        if self.clients.find(token).is_none() {
            return;
        }
        match result {
            Ok(0) => self.end(token.index(), Ending::Closed),
            Ok(_) => self.receive(token.index()),
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => {}
            Err(error) => self.end(token.index(), super::ending_of(error)),
        }
    }

    /// A comment did not go out whole: what is left of it must, before anything else.
    pub(super) fn on_comment_cut(&mut self, token: Token, result: Result<u32, Errno>) {
        let socket = token.index();
        if self.clients.find(token).is_none() {
            return;
        }
        match result {
            // No room for a comment means that there is enough to read already.
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) | Ok(0) => {
                self.clients.account(socket, 0, -i64::from(COMMENT.len));
            }
            Err(error) => self.end(socket, super::ending_of(error)),
            Ok(sent) => {
                let rest = cut(COMMENT, sent as usize);
                self.clients.account(socket, 0, -i64::from(rest.len));
                let mut outbox = Outbox::new(socket, self.reader.seen(), Then::Stream);
                outbox.rest = smallvec::smallvec![Part::Shared(rest)];
                self.put_behind(socket, outbox);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_visits_every_place_once_a_round_however_the_ticks_come() {
        for places in [1, 7, 100, 1_003] {
            for step in [1, 3, 10] {
                let mut hand = Hand::new(30);
                let mut visits = vec![0u32; places as usize];
                for _ in 0..60 / step {
                    hand.wind(step, places);
                    while let Some(place) = hand.step(places) {
                        visits[place as usize] += 1;
                    }
                }
                assert!(visits.iter().all(|&count| count == 2), "{places} places, {step} ticks at a time: {visits:?}");
            }
        }
    }
}
