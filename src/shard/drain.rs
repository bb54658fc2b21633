//! The end: nobody is let in any more, everybody is told when to come back, spread over the time there is.

use bytes::Bytes;

use super::clients::Stage;
use super::outbox::{Outbox, Then};
use super::{Ending, Shard};
use crate::base::time::Instant;
use crate::ring::{Part, Ring};
use crate::wire::sse;

/// Places of the table at least, per second: a handful of clients need no long good-bye.
const PLACES_PER_SECOND: f64 = 1_000.0;

/// Longest that a client is told to stay away, in milliseconds, besides the usual: a crowd does not come back at once.
pub(super) const JITTER_MAX: u64 = 2_000;

/// Where the farewells stand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drain {
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    NotYet,
    /// Since then, up to this place of the table, and whether more are due already.
    Going {
        since: Instant,
        place: u32,
        behind: bool,
    },
    Over,
}

impl Drain {
    pub fn is_active(self) -> bool {
        !matches!(self.state, State::NotYet)
    }

    /// Whether farewells are due that a turn had no room for.
    pub fn is_behind(self) -> bool {
        matches!(self.state, State::Going { behind: true, .. })
    }

    pub fn is_over(self) -> bool {
        matches!(self.state, State::Over)
    }
}

impl<R: Ring> Shard<R> {
    /// Begins or goes on with the end, when that has come; whether anything was sent.
    pub(super) fn say_farewells(&mut self) -> bool {
        if matches!(self.drain.state, State::NotYet) && self.desk.is_draining() {
            self.shut();
            self.drain.state = State::Going { since: self.now(), place: 0, behind: false };
        }
        let State::Going { since, place: begin, .. } = self.drain.state else { return false };
        let mut place = begin;
        // The last word is said early enough to be heard, and whoever is still busy then is cut off at the end.
        let passed = self.now().since(since);
        let window = self.settings.drain.mul_f32(0.8);
        let places = self.clients.places();
        let share = if window.is_zero() { 1.0 } else { passed.as_secs_f64() / window.as_secs_f64() };
        let due = (f64::from(places) * share).max(PLACES_PER_SECOND * (passed.as_secs_f64() + 0.1));
        let due = if due < f64::from(places) { due as u32 } else { places };
        let until = due.min(place + self.slice_max);
        while place < until {
            self.say_farewell(place);
            place += 1;
        }
        self.drain.state = State::Going { since, place, behind: place < due };
        if place >= places && (self.clients.count() == 0 || passed >= self.settings.drain) {
            for place in 0..places {
                if self.clients.stage(place) != Stage::Free {
                    self.end(place, Ending::Farewell);
                }
            }
            self.drain.state = State::Over;
        }
        place > begin
    }

    fn say_farewell(&mut self, socket: u32) {
        match self.clients.stage(socket) {
            Stage::Live { .. } => {
                let millis = self.settings.policy.retry_millis + (self.ring.random() % JITTER_MAX) as i64;
                let mut words = Vec::with_capacity(32);
                sse::retry(millis, &mut words);
                sse::end(&mut words);
                let mut outbox = Outbox::new(socket, self.reader.seen(), Then::Close);
                outbox.rest = smallvec::smallvec![Part::Own(Bytes::from(words))];
                self.put_behind(socket, outbox);
            }
            // In the middle of something: it ends with that, or with the time there is.
            Stage::Request(key) if self.is_idle_request(key) => self.end(socket, Ending::Farewell),
            Stage::H2(_) => self.say_farewell_h2(socket),
            Stage::Free | Stage::Request(_) | Stage::Behind(_) => {}
        }
    }
}
