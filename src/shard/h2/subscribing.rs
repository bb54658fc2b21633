//! The life of a subscription on a stream of HTTP/2: begun, changed, ended.

use bytes::Bytes;

use super::super::outbox::Gap;
use super::super::profiles::{Profile, ProfileId};
use super::super::{Due, Ending, Shard};
use super::streams::{End, Role};
use super::subscriber_of;
use crate::base::id::EventId;
use crate::dialect::calls::Call;
use crate::dialect::{Resume, Subscription, plasma};
use crate::hub::{Seat, Seq};
use crate::ring::Ring;
use crate::wire::grpc::{Code, Status};
use crate::wire::h2::write_stream_head;
use crate::wire::http1::{Head, http_date};

/// Streams that lost events upstream and cannot be told are ended within this time: no crowd shall come back at once.
const SPREAD_FOR_MILLIS: u64 = 5_000;

impl<R: Ring> Shard<R> {
    /// Turns a request into an event stream.
    pub(super) fn start_sse(&mut self, stream: u32, subscription: &Subscription) {
        let second = self.ring.unix_millis() / 1_000;
        let mut block = Vec::with_capacity(256);
        let fields = plasma::stream_fields(&self.settings.policy);
        let fields = fields.iter().map(|(name, value)| (*name, value.as_ref()));
        write_stream_head(fields, &http_date(second), &mut block);
        let (socket, id) = self.address_of(stream);
        self.write_block(socket, id, false, &block);
        let mut opening = Vec::with_capacity(32);
        plasma::write_opening(&self.settings.policy, &mut opening);
        let found = self.streams.at(stream);
        found.role = Role::Sse;
        found.extra().own = opening.into();
        self.counts.streams += 1;
        self.desk.note_stream();
        let (at, gap) = self.place_of(subscription.resume);
        self.set_topics(stream, &subscription.topics, at);
        self.counts.gaps += u64::from(gap.is_some());
        self.streams.at(stream).extra().gap = gap;
        self.continue_stream(stream);
    }

    /// A gRPC stream of events begins: without topics, until its first message names some. A position to resume from
    /// counts for those.
    pub(super) fn start_events(&mut self, stream: u32, resume: Resume) {
        if let Resume::After(id) = resume {
            self.streams.at(stream).extra().resume = Some(id);
        }
        self.counts.streams += 1;
        self.desk.note_stream();
    }

    pub(super) fn address_of(&mut self, stream: u32) -> (u32, u32) {
        let found = self.streams.at(stream);
        (found.socket, found.id)
    }

    pub(super) fn write_block(&mut self, socket: u32, id: u32, ends: bool, block: &[u8]) {
        if let Some(connection) = self.connection_at(socket) {
            connection.session.write_fields(id, ends, |out| out.extend_from_slice(block));
        }
        self.mark_dirty(socket);
    }

    /// Gives a stream its topics, from record `at` on.
    fn set_topics(&mut self, stream: u32, topics: &[Vec<u8>], at: Seq) {
        let before = std::mem::replace(&mut self.streams.at(stream).seat, Seat::NONE);
        self.leave_topics(before);
        let log = self.reader.log();
        let named = topics.iter().map(|name| (log.hash(name), name.as_slice()));
        let seat = self.topics.join(subscriber_of(stream), named);
        let found = self.streams.at(stream);
        (found.seat, found.at, found.offset, found.topic) = (seat, at, 0, None);
    }

    /// Where a stream stands: the first record that it was not sent.
    fn position_of(&mut self, stream: u32) -> Seq {
        let seen = self.reader.seen();
        let batch = self.fanout.range();
        let found = self.streams.at(stream);
        match (found.is_live(), batch) {
            // What the batch under way has for it may be yet to come.
            (true, Some((start, _))) => found.at.max(start),
            (true, None) => seen,
            (false, _) => found.at,
        }
    }

    /// Replaces the topics of a stream: what was published before this moment is still sent for the old ones, what
    /// comes after it for the new ones. Only one change can wait at a time.
    pub(super) fn change_topics(&mut self, stream: u32, topics: Vec<Vec<u8>>) {
        if let Some(id) = self.streams.at(stream).extra.as_mut().and_then(|extra| extra.resume.take()) {
            return self.resume_events(stream, &topics, id);
        }
        let seen = self.reader.seen();
        let at = self.position_of(stream);
        let found = self.streams.at(stream);
        if found.seat == Seat::NONE || found.offset == 0 && at >= seen {
            self.set_topics(stream, &topics, seen);
        } else {
            (found.at, found.topic) = (at, None);
            found.extra().change = Some((topics, seen));
        }
        self.continue_stream(stream);
    }

    fn resume_events(&mut self, stream: u32, topics: &[Vec<u8>], id: EventId) {
        let (at, gap) = self.place_of(Resume::After(id));
        self.set_topics(stream, topics, at);
        match (gap, self.streams.at(stream).role) {
            (None, _) => self.continue_stream(stream),
            (Some(gap), Role::Events { ids: true }) => {
                self.counts.gaps += 1;
                self.note_gap(stream, gap, at);
            }
            (Some(gap), _) => {
                self.counts.gaps += 1;
                // It stands at the first event that is held, not at the newest: that is what it is told.
                self.streams.set_live(stream, false);
                let words = format!("what followed {} is not held any more ({})", id.get(), gap.reason.as_str());
                self.send_away(stream, Ending::Lapped, &words);
            }
        }
    }

    /// Whether a change of topics has to be made before the stream goes on. It is made in the next turn, when nothing
    /// that was sent for the old ones can come back any more.
    pub(super) fn apply_change(&mut self, stream: u32) -> bool {
        let found = self.streams.at(stream);
        let is_due =
            found.extra.as_ref().and_then(|extra| extra.change.as_ref()).is_some_and(|change| found.at >= change.1);
        if is_due {
            self.connections.changing.push((stream, self.streams.at(stream).generation()));
        }
        is_due
    }

    /// Makes the changes that were waiting for the turn to end, and reads the messages that were.
    pub(in super::super) fn make_changes(&mut self) {
        for (stream, generation) in std::mem::take(&mut self.connections.changing) {
            let Some(found) = self.streams.find_of(stream, generation) else { continue };
            if found.offset == 0 {
                self.make_change(stream);
            }
            self.go_on_reading(stream);
        }
    }

    /// Makes the change of a stream that has come to where it counts.
    fn make_change(&mut self, stream: u32) {
        let found = self.streams.at(stream);
        let at = found.at;
        let Some(extra) = &mut found.extra else { return };
        if let Some((topics, _)) = extra.change.take_if(|change| at >= change.1) {
            // Further on already only if it was told of what lies between.
            self.set_topics(stream, &topics, at);
            self.tidy_extra(stream);
            self.continue_stream(stream);
        }
    }

    /// A stream is about to lose what comes next: from where its next topics count it is those that lose it.
    pub(super) fn change_before_loss(&mut self, stream: u32) {
        let found = self.streams.at(stream);
        let (at, seat, generation) = (found.at, found.seat, found.generation());
        let Some(until) = found.extra.as_ref().and_then(|extra| extra.change.as_ref()).map(|change| change.1) else {
            return;
        };
        if self.missed.first(&self.reader, &mut self.topics, seat, at).is_none_or(|seq| seq >= until) {
            let found = self.streams.at(stream);
            found.at = found.at.max(until);
            self.make_change(stream);
            // Messages that waited for it are read in the next turn.
            self.connections.changing.push((stream, generation));
        }
    }

    /// Lets a stream send what it has.
    pub(super) fn continue_stream(&mut self, stream: u32) {
        let socket = self.streams.at(stream).socket;
        let super::super::clients::Stage::H2(key) = self.clients.stage(socket) else { return };
        self.streams.set_live(stream, false);
        self.queue_stream(key, stream, false);
        self.mark_dirty(socket);
    }

    /// A stream may send again.
    pub(super) fn wake_stream(&mut self, stream: u32) {
        if self.streams.find(stream).is_some_and(|found| !found.is_live()) {
            self.continue_stream(stream);
        }
    }

    /// All streams of a connection may.
    pub(super) fn wake_streams(&mut self, socket: u32) {
        let Some(connection) = self.connection_at(socket) else { return };
        if connection.session.is_shut() {
            return;
        }
        let keys: Vec<u32> = connection.session.keys().collect();
        for key in keys {
            self.wake_stream(key);
        }
        self.mark_dirty(socket);
    }

    /// Gives back what a stream needed only while it was busy.
    pub(super) fn tidy_extra(&mut self, stream: u32) {
        if let Some(found) = self.streams.find(stream)
            && found.extra.as_ref().is_some_and(|extra| extra.is_idle())
        {
            found.extra = None;
        }
    }

    /// Sends own bytes, a notice, an end, as far as the windows allow; whether all of it is out.
    pub(super) fn say_own(&mut self, stream: u32) -> bool {
        if !self.say_bytes(stream) {
            return false;
        }
        let (socket, id) = self.address_of(stream);
        if self.streams.at(stream).extra.as_ref().is_some_and(|extra| extra.gap.is_some()) {
            // Put into words when it can go: until then it may come to tell of more.
            if self.connection_at(socket).is_none_or(|connection| connection.session.room(id) == 0) {
                return false;
            }
            self.render_gap_of(stream);
            if !self.say_bytes(stream) {
                return false;
            }
        }
        match self.streams.at(stream).extra.as_ref().and_then(|extra| extra.end.clone()) {
            None => self.tidy_extra(stream),
            Some(End::Plain) => self.drop_stream(stream, Some(Ending::Answered)),
            Some(End::Status(status)) => self.end_call(stream, status),
        }
        true
    }

    /// Sends own bytes, and the end of an answer with the last of them; whether all of them are out.
    fn say_bytes(&mut self, stream: u32) -> bool {
        let (socket, id) = self.address_of(stream);
        let (tick, found) = (self.tick, self.streams.at(stream));
        let Some(extra) = &mut found.extra else { return true };
        let own = std::mem::take(&mut extra.own);
        let ends = matches!(extra.end, Some(End::Plain)) && extra.gap.is_none();
        let Some(connection) = self.connection_at(socket) else { return false };
        let sent = if own.is_empty() && !ends { 0 } else { connection.session.write_data(id, &own, ends) };
        let found = self.streams.at(stream);
        found.bytes += sent as u64;
        found.quiet_since = tick;
        if sent < own.len() {
            let extra = found.extra();
            extra.own = own.slice(sent..);
            extra.is_cut |= sent > 0;
            return false;
        }
        let (generation, extra) = (found.generation(), found.extra());
        extra.is_cut = false;
        if extra.has_waiting() {
            // The client has taken its answers: its next message's turn comes with the next of ours.
            self.connections.changing.push((stream, generation));
        }
        true
    }

    /// Puts a notice into words, when its turn has come.
    fn render_gap_of(&mut self, stream: u32) {
        let found = self.streams.at(stream);
        let (at, role) = (found.at, found.role);
        let Some(extra) = &mut found.extra else { return };
        let Some(gap) = extra.gap.take() else { return };
        let before = std::mem::take(&mut extra.own);
        let to = self.first_id_from(at);
        let mut text = Vec::from(before);
        plasma::gap(role.is_grpc(), Some(gap.from), to, gap.reason, &mut text);
        self.streams.at(stream).extra().own = Bytes::from(text);
    }

    /// Appends own bytes to what a stream sends before anything else.
    pub(super) fn say(&mut self, stream: u32, bytes: &[u8]) {
        let extra = self.streams.at(stream).extra();
        extra.own =
            if extra.own.is_empty() { Bytes::copy_from_slice(bytes) } else { [&extra.own[..], bytes].concat().into() };
        self.continue_stream(stream);
    }

    /// Upstream was away, and this stream cannot be told in a message: it is ended, sometime soon.
    pub(super) fn on_loss_for(&mut self, stream: u32) {
        let after = std::time::Duration::from_millis(self.ring.random() % SPREAD_FOR_MILLIS);
        let due = self.now_plus(after);
        let found = self.streams.at(stream);
        found.at = found.at.next();
        if std::mem::replace(&mut found.extra().is_lost, true) {
            return;
        }
        let generation = found.generation();
        let alarm = self.wheel.arm(due, Due::Stream { key: stream, generation, lost: true });
        // A deadline that the client gave matters no more.
        if let Some(deadline) = self.streams.at(stream).extra().alarm.replace(alarm) {
            self.wheel.disarm(deadline);
        }
    }

    /// A stream loses something that it is to be told of, and goes on at `at`.
    pub(super) fn note_gap(&mut self, stream: u32, gap: Gap, at: Seq) {
        let found = self.streams.at(stream);
        (found.at, found.topic) = (at, None);
        found.extra().gap.get_or_insert(gap);
        self.continue_stream(stream);
    }

    /// Ends a stream of events for a reason of ours, at once: what it has not been sent yet it will ask for again.
    pub(super) fn send_away(&mut self, stream: u32, ending: Ending, words: &str) {
        let at = self.position_of(stream);
        let found = self.streams.at(stream);
        match found.role {
            // It ends already, as soon as it may, and was told where it stood then.
            Role::Events { .. } if found.extra.as_ref().is_some_and(|extra| extra.end.is_some()) => {}
            Role::Events { .. } if !found.has_begun() => self.cut_off(stream, at, words),
            Role::Events { .. } => {
                // What it is in the middle of, and what it has to be told, is still sent, and need not be sent again.
                let next = if found.offset > 0 { at.next() } else { at };
                let status = self.unavailable(next, words);
                self.end_after(stream, status);
            }
            Role::Call(_) => {
                self.end_call(stream, Status::new(Code::Unavailable, words.to_owned()));
            }
            Role::Sse if found.is_between() => {
                let (socket, id) = self.address_of(stream);
                if let Some(connection) = self.connection_at(socket) {
                    connection.session.write_data(id, b"", true);
                }
                self.drop_stream(stream, Some(ending));
                self.mark_dirty(socket);
            }
            _ => self.reset_stream(stream, crate::wire::h2::frame::Code::Cancel, ending),
        }
    }

    /// Ends a call at once; it is to be resumed with the record `at`.
    pub(super) fn cut_off(&mut self, stream: u32, at: Seq, words: &str) {
        let gap = self.streams.at(stream).extra.as_ref().and_then(|extra| extra.gap);
        // Events lost before `at` that nobody was told of: whoever resumes before them is.
        let status = match gap {
            Some(gap) => Status::new(Code::Unavailable, format!("{words}; resume from {}", gap.from.get())),
            None => self.unavailable(at, words),
        };
        self.end_call(stream, status);
    }

    fn unavailable(&self, at: Seq, words: &str) -> Status {
        let from = self.reader.id_before(at.max(self.reader.tail()));
        Status::new(Code::Unavailable, format!("{words}; resume from {}", from.get()))
    }

    /// Gives a stream up in the middle.
    pub(super) fn reset_stream(&mut self, stream: u32, code: crate::wire::h2::frame::Code, ending: Ending) {
        let (socket, id) = self.address_of(stream);
        if let Some(connection) = self.connection_at(socket) {
            connection.session.reset(id, code);
        }
        self.drop_stream(stream, Some(ending));
        self.mark_dirty(socket);
    }

    /// Forgets a stream that has ended, with its line in the access log.
    pub(super) fn drop_stream(&mut self, stream: u32, ending: Option<Ending>) {
        if let Some(ending) = ending {
            self.log_h2_stream(stream, ending);
        }
        let Some(gone) = self.streams.remove(stream) else { return };
        self.leave_topics(gone.seat);
        self.profiles.release(gone.profile);
        if gone.role == Role::Call(Call::HealthWatch) {
            self.watches.retain(|watch| *watch != stream);
        }
        if let Some(mut extra) = gone.extra {
            if let Some(alarm) = extra.alarm.take() {
                self.wheel.disarm(alarm);
            }
            self.bodies_len -= extra.held_len();
        }
        let tick = self.tick;
        if let Some(connection) = self.connection_at(gone.socket) {
            connection.session.abandon(gone.id);
            connection.idle_since = tick;
        }
    }

    /// All streams of a connection end.
    pub(super) fn drop_streams(&mut self, socket: u32, ending: Ending) {
        let Some(connection) = self.connection_at(socket) else { return };
        let keys: Vec<u32> = connection.session.keys().collect();
        for key in keys {
            if self.streams.find(key).is_some_and(|found| found.socket == socket) {
                self.drop_stream(key, Some(ending));
            }
        }
    }

    /// The profile of a request.
    pub(super) fn hold_profile(&mut self, head: &Head<'_>) -> ProfileId {
        self.profiles.hold(&Profile::of(head))
    }
}
