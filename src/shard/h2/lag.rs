//! Streams that the log overtakes: told what they lost, or ended with the place to resume from.

use super::super::outbox::Gap;
use super::super::{Ending, Shard, SlowConsumer};
use super::streams::Role;
use crate::base::limits::CUT_LEN_MAX;
use crate::hub::Seq;
use crate::ring::Ring;
use crate::wire::sse::Reason;

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
        let found = self.streams.at(stream);
        let (memberships, role) = (found.memberships, found.role);
        if found.extra.as_ref().is_some_and(|extra| extra.end.is_some()) {
            // It ends as soon as it takes what is left, and is sent no more events.
            found.at = tail;
            return;
        }
        let may_tell = matches!(role, Role::Events { ids: true })
            || role == Role::Sse && self.settings.slow_consumer == SlowConsumer::Gap;
        if found.offset > 0 {
            let next = found.at.next();
            let loses = self.missed.first(&self.reader, &mut self.topics, memberships, next).is_some_and(|s| s < tail);
            if loses && !may_tell {
                // It did not get the event that it is in the middle of, and is told to resume before it.
                return self.send_away_lapped(stream);
            }
            if !self.keep_rest(stream) {
                return;
            }
        }
        let at = self.streams.at(stream).at;
        if at >= tail {
            return;
        }
        match self.missed.first(&self.reader, &mut self.topics, memberships, at) {
            None => self.streams.at(stream).at = self.limit_of(stream),
            Some(seq) if seq >= tail => self.streams.at(stream).at = seq.min(self.limit_of(stream)).max(tail),
            Some(seq) => {
                let from = self.reader.id_before(seq);
                if may_tell {
                    let socket = self.streams.at(stream).socket;
                    self.note_lapped(socket, "notice");
                    self.note_gap(stream, Gap { from, reason: Reason::Lapped }, tail);
                } else {
                    self.streams.at(stream).at = seq;
                    self.send_away_lapped(stream);
                }
            }
        }
    }

    fn send_away_lapped(&mut self, stream: u32) {
        let socket = self.streams.at(stream).socket;
        self.note_lapped(socket, "close");
        self.send_away(stream, Ending::Lapped, "overtaken by the event log");
    }

    /// Where a stream with nothing to send may stand: what was seen, or where its next set of topics begins.
    fn limit_of(&mut self, stream: u32) -> Seq {
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
            self.send_away_lapped(stream);
            return false;
        }
        let found = self.streams.at(stream);
        (found.at, found.offset) = (at.next(), 0);
        let extra = found.extra();
        extra.own = record.split_off(offset).into();
        true
    }
}
