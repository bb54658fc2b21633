//! The life of a subscription: begun as a cursor, a mere member while it keeps up.

use bytes::Bytes;

use super::Shard;
use super::clients::Stage;
use super::h2;
use super::outbox::{Gap, Outbox, Then};
use super::profiles::Profile;
use crate::base::id::EventId;
use crate::dialect::{Resume, Subscription, plasma};
use crate::hub::{Kind, Place, Seat, Seq, Subscriber};
use crate::ring::{Part, Ring};
use crate::wire::http1::{Head, http_date};
use crate::wire::sse::Reason;

/// The heads of streams as they go out this second, by minor version of HTTP: everybody who comes shares them.
#[derive(Default)]
pub(super) struct Heads {
    second: u64,
    heads: [Bytes; 2],
}

impl<R: Ring> Shard<R> {
    /// Turns a request into a stream.
    pub(super) fn start_stream(&mut self, socket: u32, head: &Head<'_>, subscription: &Subscription) {
        let Stage::Request(request) = self.clients.stage(socket) else { return };
        let half_closed = self.requests[request as usize].is_half_closed();
        self.drop_request(request);
        let log = self.reader.log();
        let topics = subscription.topics.iter().map(|name| (log.hash(name), name.as_slice()));
        let seat = self.topics.join(Subscriber(socket), topics);
        let profile = self.profiles.hold(&Profile::of(head));
        let client = self.clients.at(socket);
        (client.seat, client.profile) = (seat, profile);
        let (at, gap) = self.place_of(subscription.resume);
        let mut outbox = Outbox::new(socket, at, Then::Stream);
        outbox.rest = smallvec::smallvec![Part::Own(self.head_of_stream(head.version_minor()))];
        outbox.gap = gap;
        self.counts.streams += 1;
        self.desk.note_stream();
        self.counts.gaps += u64::from(gap.is_some());
        self.stop_watching(socket);
        self.put_behind(socket, outbox);
        if half_closed {
            // Behind the request lies the end of what the client says, and nothing will tell of it any more.
            self.receive(socket);
        }
    }

    /// Gives up the topics of whoever had this seat.
    pub(super) fn leave_topics(&mut self, seat: Seat) {
        let Self { topics, clients, streams, .. } = self;
        topics.leave(seat, |moved, seat| match h2::stream_of(moved) {
            Some(stream) => streams.set_seat(stream, seat),
            None => clients.at(moved.0).seat = seat,
        });
    }

    /// Where a stream begins, and what it is told of what it can't have.
    pub(super) fn place_of(&self, resume: Resume) -> (Seq, Option<Gap>) {
        let Resume::After(from) = resume else { return (self.reader.seen(), None) };
        match self.reader.locate(from) {
            Place::Before(seq) => (seq, None),
            Place::Expired => (self.reader.tail(), Some(Gap { from, reason: Reason::Expired })),
            Place::Unknown => (self.reader.seen(), Some(Gap { from, reason: Reason::Unknown })),
        }
    }

    fn head_of_stream(&mut self, version_minor: u8) -> Bytes {
        let second = self.ring.unix_millis() / 1_000;
        if self.heads.second != second || self.heads.heads[0].is_empty() {
            self.heads.second = second;
            let policy = &self.settings.policy;
            self.heads.heads = [0, 1].map(|minor| plasma::stream_head(policy, minor, &http_date(second)).into());
        }
        self.heads.heads[usize::from(version_minor.min(1))].clone()
    }

    /// The id of the first event from `at` on, if there is one yet.
    pub(super) fn first_id_from(&self, at: Seq) -> Option<EventId> {
        let mut seq = at.max(self.reader.tail());
        while seq < self.reader.seen() {
            let record = self.reader.record(seq);
            if record.kind() == Kind::Event {
                return Some(record.id);
            }
            seq = seq.next();
        }
        None
    }

    /// A client talks on a stream, where nobody listens.
    pub(super) fn on_chatter(&mut self, socket: u32) {
        /// Receives that are read over: a stray line end, the body of a request that needs none.
        const STRIKES_MAX: u8 = 16;
        let client = self.clients.at(socket);
        if client.strike() > STRIKES_MAX {
            self.end(socket, super::Ending::Chatter);
        }
    }

    /// Nothing of an outbox has moved for long.
    pub(super) fn on_stalled(&mut self, key: u32) {
        let Some(outbox) = self.outboxes.get_mut(key as usize) else { return };
        outbox.alarm = None;
        let Some(socket) = outbox.socket else { return };
        if !std::mem::replace(&mut outbox.doubted, true) {
            // A pending send is woken only when a third of a socket's buffer is free, megabytes that a slow but willing
            // reader may need minutes for. One that is made anew takes whatever room there is and so shows its
            // progress.
            let due = self.ring.now() + self.settings.write_timeout / 2;
            outbox.alarm = Some(self.wheel.arm(due, super::Due::Stalled(key)));
            if let Some(sending) = &outbox.flight {
                self.ring.cancel_send(sending.flight());
            }
            return;
        }
        self.counts.stalled += 1;
        self.end(socket, super::Ending::WriteTimeout);
    }
}
