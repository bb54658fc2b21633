//! Streams that the log overtakes: told what they lost, or ended with the place to resume from.

use super::super::outbox::Gap;
use super::super::{Ending, Shard, SlowConsumer};
use super::streams::Role;
use crate::base::limits::CUT_LEN_MAX;
use crate::hub::Seq;
use crate::ring::Ring;
use crate::wire::sse::Reason;

/// What a stream is told that ends for that reason.
const OVERTAKEN: &str = "overtaken by the event log";

impl<R: Ring> Shard<R> {
    /// Moves every stream that stands before `tail` there.
    pub(in super::super) fn overtake_streams(&mut self, tail: Seq) {
        let lapped: Vec<u32> = self.streams.laggards().to_vec();
        for stream in lapped {
            if self.streams.find(stream).is_some_and(|found| found.role.is_subscription() && found.at < tail) {
                self.overtake(stream, tail);
            }
        }
    }

    fn overtake(&mut self, stream: u32, tail: Seq) {
        if self.streams.at(stream).offset > 0 && !self.keep_rest(stream) {
            return;
        }
        let found = self.streams.at(stream);
        if found.extra.as_ref().is_some_and(|extra| extra.end.is_some()) {
            // Nothing of the log is sent on it any more.
            found.at = found.at.max(tail);
        }
        if found.at >= tail {
            return;
        }
        self.change_before_loss(stream);
        let found = self.streams.at(stream);
        let (seat, at, role) = (found.seat, found.at, found.role);
        if at >= tail {
            return;
        }
        match self.missed.first(&self.reader, &mut self.topics, seat, at) {
            None => self.streams.at(stream).at = self.limit_of(stream),
            Some(seq) if seq >= tail => self.streams.at(stream).at = seq.min(self.limit_of(stream)).max(tail),
            Some(seq) => {
                let from = self.reader.id_before(seq);
                let may_tell = matches!(role, Role::Events { ids: true })
                    || role == Role::Sse && self.settings.slow_consumer == SlowConsumer::Gap;
                let socket = self.streams.at(stream).socket;
                if may_tell {
                    self.note_lapped(socket, "notice");
                    self.note_gap(stream, Gap { from, reason: Reason::Lapped }, tail);
                } else {
                    self.note_lapped(socket, "close");
                    self.streams.at(stream).at = seq;
                    self.send_away(stream, Ending::Lapped, OVERTAKEN);
                }
            }
        }
    }

    /// Where a stream with nothing to send may stand: what was seen, or where its next set of topics begins.
    pub(super) fn limit_of(&mut self, stream: u32) -> Seq {
        let seen = self.reader.seen();
        let change = self.streams.at(stream).extra.as_ref().and_then(|extra| extra.change.as_ref());
        change.map_or(seen, |change| change.1.min(seen))
    }

    /// Copies the rest of the event that a stream is in the middle of, if that is little; else the stream ends here.
    fn keep_rest(&mut self, stream: u32) -> bool {
        let found = self.streams.at(stream);
        let (at, offset, role) = (found.at, found.offset as usize, found.role);
        let mut record = Vec::new();
        self.render_record(at, role, &mut record);
        if record.len() - offset > CUT_LEN_MAX {
            let socket = self.streams.at(stream).socket;
            self.note_lapped(socket, "close");
            match role.is_grpc() {
                true => self.cut_off(stream, at, OVERTAKEN),
                false => self.send_away(stream, Ending::Lapped, OVERTAKEN),
            }
            return false;
        }
        let found = self.streams.at(stream);
        (found.at, found.offset) = (at.next(), 0);
        let extra = found.extra();
        (extra.own, extra.is_cut) = ([&record[offset..], &extra.own].concat().into(), true);
        true
    }
}
