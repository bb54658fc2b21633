//! The table of streams: what each one holds, counted in bytes.
//!
//! An idle subscription is a [`Stream`] of 96 bytes, 4 in the list of its topic, and 32 bytes in its session.
//! Everything else is in [`Extra`], which a stream has only while it is in the middle of something.

use bytes::Bytes;
use slab::Slab;

use super::super::outbox::Gap;
use super::super::profiles::ProfileId;
use super::super::requests::Publishing;
use crate::base::id::EventId;
use crate::base::wheel::Alarm;
use crate::dialect::Subscription;
use crate::dialect::calls::Call;
use crate::hub::log::Format;
use crate::hub::{Seat, Seq};
use crate::ring::Token;
use crate::wire::grpc::{Deframer, Status};
use crate::wire::http1::Answer;

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// An HTTP request whose body is awaited, or whose answer is.
    Request,
    /// An HTTP answer on its way.
    Answer,
    /// An event stream.
    Sse,
    /// `proto.StreamService/Events`; whether the client asked for ids.
    Events { ids: bool },
    /// Any other gRPC call.
    Call(Call),
}

impl Role {
    /// Whether events of the log go out on it.
    pub fn is_subscription(self) -> bool {
        matches!(self, Self::Sse | Self::Events { .. })
    }

    pub fn is_grpc(self) -> bool {
        matches!(self, Self::Events { .. } | Self::Call(_))
    }

    /// The format in which its events lie in the log.
    pub fn format(self) -> Format {
        if self.is_grpc() { Format::Grpc } else { Format::Sse }
    }
}

/// One stream of one connection.
pub(super) struct Stream {
    pub socket: u32,
    pub id: u32,
    generation: u32,
    pub seat: Seat,
    pub profile: ProfileId,
    pub role: Role,
    /// In its connection's queue.
    pub is_queued: bool,
    /// A head was written.
    pub has_head: bool,
    /// The request was a `HEAD`.
    pub head_only: bool,
    /// The request accepts an event stream.
    pub wants_events: bool,
    /// Everything that was published for it so far has been sent, but for the batch under way.
    is_live: bool,
    /// The next record to send; of one that is live, a lower bound.
    pub at: Seq,
    /// Bytes of that record that went out already.
    pub offset: u32,
    /// Its place among the laggards, while it is one.
    place: u32,
    /// The only topic of the batch under way that concerns it, as far as is known.
    pub topic: Option<u32>,
    /// Ticks.
    pub since: u32,
    pub quiet_since: u32,
    /// What was sent.
    pub events: u32,
    pub bytes: u64,
    pub extra: Option<Box<Extra>>,
}

const _: () = assert!(size_of::<Stream>() <= 96);

/// What a busy stream has besides.
#[derive(Default)]
pub(super) struct Extra {
    /// Goes out before anything else: the rest of an answer, an opening, a comment, messages.
    pub own: Bytes,
    /// Part of that, or of the record that it is the rest of, went out already.
    pub is_cut: bool,
    /// Events that it lost, to be told in their place.
    pub gap: Option<Gap>,
    /// What follows when all of that is out.
    pub end: Option<End>,
    /// Where a gRPC stream wants to begin, once it has topics.
    pub resume: Option<EventId>,
    /// The next set of topics, which counts from that record on.
    pub change: Option<(Vec<Vec<u8>>, Seq)>,
    pub asked: Option<Asked>,
    /// Its body is with the publishers.
    pub publishing: Option<Publishing>,
    /// Messages on their way in.
    pub deframer: Deframer,
    /// Messages that have to wait, and whether the last one is among them.
    pub inbox: Vec<u8>,
    pub inbox_ends: bool,
    /// Ids that a publisher was given so far.
    pub ids: Vec<String>,
    pub accepted: u64,
    /// Bytes of half a message that are accounted for.
    pub held: usize,
    /// Awaiting what becomes of its publication.
    pub is_publishing: bool,
    pub alarm: Option<Alarm>,
    /// It has lost events upstream, and is ended soon.
    pub is_lost: bool,
}

/// How a stream ends once everything before is out.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// With its last byte.
    Plain,
    /// With a gRPC status.
    Status(Status),
}

/// What becomes of a request when its body has ended.
pub(super) enum Asked {
    /// It is answered; the body does not matter.
    Answer(Box<Answer>),
    /// It is told how the upstream is.
    Health,
    /// It becomes an event stream.
    Subscribe(Box<Subscription>),
    /// Its body is published.
    Publish { collected: Vec<u8>, publishing: Publishing },
}

/// All streams of a shard.
#[derive(Default)]
pub(in super::super) struct Streams {
    slab: Slab<Stream>,
    generation: u32,
    laggards: Vec<u32>,
}

/// Not among the laggards.
const NOWHERE: u32 = u32::MAX;

impl Streams {
    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// A new stream, which has nothing to send.
    pub(super) fn enter(&mut self, socket: u32, id: u32, role: Role, at: Seq, tick: u32) -> u32 {
        self.generation = (self.generation + 1) & Token::GENERATION_MAX;
        self.slab.insert(Stream {
            socket,
            id,
            generation: self.generation,
            seat: Seat::NONE,
            profile: ProfileId::NONE,
            role,
            is_queued: false,
            has_head: false,
            head_only: false,
            wants_events: false,
            is_live: true,
            at,
            offset: 0,
            place: NOWHERE,
            topic: None,
            since: tick,
            quiet_since: tick,
            events: 0,
            bytes: 0,
            extra: None,
        }) as u32
    }

    pub(super) fn remove(&mut self, key: u32) -> Option<Stream> {
        self.set_live(key, true);
        let stream = self.slab.try_remove(key as usize)?;
        if self.slab.is_empty() {
            *self = Self { generation: self.generation, ..Self::default() };
        }
        Some(stream)
    }

    pub(super) fn find(&mut self, key: u32) -> Option<&mut Stream> {
        self.slab.get_mut(key as usize)
    }

    /// A subscribed stream has another seat now.
    pub fn set_seat(&mut self, key: u32, seat: Seat) {
        self.at(key).seat = seat;
    }

    /// The stream under `key`, if it is still the one of that generation.
    pub(super) fn find_of(&mut self, key: u32, generation: u32) -> Option<&mut Stream> {
        self.find(key).filter(|stream| stream.generation == generation)
    }

    pub(super) fn at(&mut self, key: u32) -> &mut Stream {
        &mut self.slab[key as usize]
    }

    /// Whether any is not known to be up to date.
    pub fn has_laggards(&self) -> bool {
        !self.laggards.is_empty()
    }

    /// Those not known to be up to date.
    pub(super) fn laggards(&self) -> &[u32] {
        &self.laggards
    }

    /// Whether everything that was published for the stream has been sent.
    pub(super) fn set_live(&mut self, key: u32, live: bool) {
        let Some(stream) = self.slab.get_mut(key as usize) else { return };
        if std::mem::replace(&mut stream.is_live, live) == live {
            return;
        }
        if !live {
            stream.place = self.laggards.len() as u32;
            return self.laggards.push(key);
        }
        let place = std::mem::replace(&mut stream.place, NOWHERE);
        self.laggards.swap_remove(place as usize);
        if let Some(&moved) = self.laggards.get(place as usize) {
            self.slab[moved as usize].place = place;
        }
    }
}

impl Stream {
    pub fn generation(&self) -> u32 {
        self.generation
    }

    pub fn is_live(&self) -> bool {
        self.is_live
    }

    /// Whether it wants events of any topic.
    pub fn is_subscribed(&self) -> bool {
        self.role.is_subscription() && self.seat != Seat::NONE
    }

    pub fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Whether everything that it has begun to send is out.
    pub fn is_between(&self) -> bool {
        self.offset == 0 && self.extra.as_ref().is_none_or(|extra| !extra.is_cut)
    }

    /// Whether it is in the middle of something, or has own bytes that say what cannot be said again.
    pub fn has_begun(&self) -> bool {
        self.offset > 0 || self.extra.as_ref().is_some_and(|extra| !extra.own.is_empty())
    }

    /// Whether own bytes, a notice or an end wait to go out.
    pub fn has_own(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| !extra.own.is_empty() || extra.gap.is_some() || extra.end.is_some())
    }
}

impl Extra {
    /// Whether nothing is in it.
    pub fn is_idle(&self) -> bool {
        self.own.is_empty()
            && self.gap.is_none()
            && self.end.is_none()
            && self.resume.is_none()
            && self.change.is_none()
            && self.asked.is_none()
            && self.publishing.is_none()
            && self.held == 0
            && self.deframer.is_between_messages()
            && self.inbox.is_empty()
            && !self.inbox_ends
            && self.ids.is_empty()
            && self.accepted == 0
            && !self.is_publishing
            && self.alarm.is_none()
            && !self.is_lost
    }

    /// Bytes of a body or of messages that it holds.
    pub fn held_len(&self) -> usize {
        match &self.asked {
            Some(Asked::Publish { collected, .. }) => collected.len(),
            _ => self.held,
        }
    }

    /// Whether messages wait that have come.
    pub fn has_waiting(&self) -> bool {
        !self.inbox.is_empty() || self.inbox_ends
    }

    /// Whether the next message has to wait: for an outcome, for the end of what was sent before, or for the client to
    /// take its answers.
    pub fn has_to_wait(&self) -> bool {
        self.is_publishing || self.change.is_some() || !self.own.is_empty() || self.end.is_some()
    }
}
