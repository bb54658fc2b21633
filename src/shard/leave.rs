//! Taking leave of the log's oldest part, and of whoever was still there.
//!
//! The writer asks by raising the log's tail. Sends that still name what lies before it are recalled; once they are
//! back, every cursor from there is moved to the tail. Who lost something by that is told so, once and by name, or
//! ended; whoever had nothing to get there loses nothing.

use super::clients::Stage;
use super::outbox::{Gap, Outbox, Then, Unreleased};
use super::{Ending, Shard, SlowConsumer};
use crate::base::limits::CUT_LEN_MAX;
use crate::base::log::Level;
use crate::hub::Seq;
use crate::ring::{Part, Ring};
use crate::wire::h2::frame::PAYLOAD_LEN_MAX;
use crate::wire::sse::Reason;

impl<R: Ring> Shard<R> {
    /// Leaves what the writer wants back, as far as nobody needs it any more.
    pub(super) fn take_leave(&mut self) {
        self.recalling = false;
        let Some(tail) = self.reader.leaving() else {
            // The kernel may have let go of what was only pinned.
            return self.reader.leave(self.reader.tail(), self.least_unreleased());
        };
        self.send_away_pinning(tail);
        // One that was recalled and is past the tail after all has to be sent on its way again too.
        let behind = |outbox: &Outbox| outbox.recalled || outbox.pinned().is_some_and(|pinned| pinned < tail);
        let lapped = self.outboxes.iter().filter(|(_, outbox)| behind(outbox)).map(|(key, _)| key as u32);
        let lapped: Vec<u32> = lapped.collect();
        for &key in &lapped {
            if self.outboxes[key as usize].flight.is_some() {
                self.recall(key);
                self.recalling = true;
            }
        }
        if self.recalling {
            return;
        }
        for &key in &lapped {
            self.fall_off(key, tail);
        }
        self.overtake_streams(tail);
        self.reader.leave(tail, self.least_unreleased());
        for key in lapped {
            if let Some(outbox) = self.outboxes.get_mut(key as usize) {
                outbox.recalled = false;
                self.pump(key);
            }
        }
    }

    /// Whoever has not received what it was sent without a copy from before `tail` is ended, whatever the policy: only
    /// that makes the kernel let go.
    fn send_away_pinning(&mut self, tail: Seq) {
        let pins = |sent: &Unreleased| sent.pinned.is_some_and(|pinned| pinned < tail);
        let pinning: Vec<u32> =
            self.unreleased.values().filter(|sent| pins(sent)).filter_map(|sent| sent.socket).collect();
        for socket in pinning {
            if self.clients.stage(socket) != Stage::Free {
                self.end_lapped(socket);
            }
        }
    }

    fn least_unreleased(&self) -> Seq {
        self.unreleased.values().filter_map(|sent| sent.pinned).min().unwrap_or(self.reader.seen())
    }

    /// Moves one cursor to `tail`, and notes what it lost by that.
    fn fall_off(&mut self, key: u32, tail: Seq) {
        let outbox = &self.outboxes[key as usize];
        let Some(socket) = outbox.socket else { return };
        let (at, is_stream) = (outbox.at, outbox.then == Then::Stream);
        if outbox.rest_of.is_some_and(|seq| seq < tail) {
            // On a connection of many streams it is one frame, and the others are not to blame.
            let max = if outbox.then == Then::Connection { PAYLOAD_LEN_MAX } else { CUT_LEN_MAX };
            let shared = outbox.rest.iter().filter(|part| matches!(part, Part::Shared(_)));
            if shared.map(Part::len).sum::<usize>() > max {
                return self.end_lapped(socket);
            }
            let outbox = &mut self.outboxes[key as usize];
            for part in &mut outbox.rest {
                if let Part::Shared(piece) = *part {
                    *part = Part::Own(self.reader.copy(super::format_of(piece), piece.at, piece.len));
                }
            }
            outbox.rest_of = None;
        }
        if !is_stream || at >= tail {
            return;
        }
        let seat = self.clients.at(socket).seat;
        match self.missed.first(&self.reader, &mut self.topics, seat, at) {
            None => self.outboxes[key as usize].at = self.reader.seen(),
            Some(seq) if seq >= tail => self.outboxes[key as usize].at = seq,
            Some(_) if self.settings.slow_consumer == SlowConsumer::Close => self.end_lapped(socket),
            Some(seq) => {
                let from = self.reader.id_before(seq);
                let outbox = &mut self.outboxes[key as usize];
                outbox.at = tail;
                // A notice that has not gone out yet already begins further back.
                outbox.gap.get_or_insert(Gap { from, reason: Reason::Lapped });
                self.note_lapped(socket, "notice");
            }
        }
    }

    fn end_lapped(&mut self, socket: u32) {
        self.note_lapped(socket, "close");
        self.end(socket, Ending::Lapped);
    }

    pub(super) fn note_lapped(&mut self, socket: u32, action: &str) {
        self.counts.gaps += 1;
        let peer = super::accept::remote_addr(b"", self.clients.peer(socket));
        self.log.error(Level::Warn, "a slow client was overtaken by the event log", |fields| {
            fields.str("remote-addr", &peer);
            fields.uint("socket", u64::from(socket));
            fields.str("action", action);
        });
    }
}
