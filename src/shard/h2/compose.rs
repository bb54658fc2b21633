//! What goes out in one send of a connection: control frames and heads first, then DATA of the streams whose turn it
//! is, a frame each, round and round while windows and the send have room.
//!
//! Small pieces of the log are copied together, large ones are named where they lie. What streams of one topic are sent
//! is put together for the first of them and copied as one for the others. What is put together here goes out
//! inside the next submission; what of it did not is told in `cut`, which needs the journal kept here until then.

use std::ops::Range;

use bytes::Bytes;

use super::super::clients::Stage;
use super::super::outbox::{Outbox, Then};
use super::super::tokens::Kind as What;
use super::super::{Shard, fanout::Fanout, piece_of};
use super::streams::{Role, Stream};
use crate::base::id::EventId;
use crate::hub::{Kind as Whom, Reader, Seq, Span, TopicId, Topics};
use crate::ring::{GATHER_MAX, Part, Piece, Ring, Socket, Token};
use crate::wire::grpc;
use crate::wire::h2::Session;
use crate::wire::h2::frame::{HEAD_LEN, Head, Kind};

/// Most bytes in one send.
const SEND_LEN_MAX: usize = 128 * 1024;

/// Most bytes put together in one turn: as many as the ring can hold beside the kernel's own copies.
const TURN_LEN_MAX: usize = 192 * 1024;

/// Pieces of the log from here on are named, smaller ones are copied: the kernel takes longer to look at a name.
const NAMED_LEN_MIN: usize = 4 * 1024;

/// DATA of a connection whose socket is full: one frame, large enough for its head not to matter, small enough to be
/// kept by the hundred thousand.
const WAITING_LEN_MAX: usize = 4 * 1024;

/// Part of a send.
#[derive(Clone, Debug)]
pub(super) enum Bit {
    /// Bytes of the arena.
    Own(Range<usize>),
    Shared(Piece),
}

impl Bit {
    pub fn len(&self) -> usize {
        match self {
            Self::Own(range) => range.len(),
            Self::Shared(piece) => piece.len as usize,
        }
    }
}

/// A DATA frame of a send, with what it takes to undo it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub stream: u32,
    pub generation: u32,
    /// Where it begins in the send.
    pub begin: usize,
    /// Bytes of DATA.
    pub len: usize,
    /// Where its stream stood.
    pub at: Seq,
    pub offset: u32,
    pub events: u32,
}

/// One send.
#[derive(Clone, Debug)]
pub(super) struct Composed {
    /// Whose it is.
    pub client: Token,
    pub bits: Range<usize>,
    pub frames: Range<usize>,
    pub len: usize,
}

/// Everything that was put together since the last submission.
#[derive(Default)]
pub(super) struct Composition {
    pub arena: Vec<u8>,
    pub bits: Vec<Bit>,
    pub frames: Vec<Frame>,
    pub sends: Vec<Composed>,
    /// Where the send being put together begins.
    bits_at: usize,
    frames_at: usize,
    /// Its length so far.
    len: usize,
    /// What the last stream was sent.
    last: Option<(Alike, Range<usize>, u32)>,
}

/// Streams of which this is equal are sent the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Alike {
    /// The only topic in which records wait for the stream.
    topic: TopicId,
    role: Role,
    /// Where it stands, and where it will when all of them are sent.
    from: Seq,
    until: Seq,
}

impl Composition {
    pub fn clear(&mut self) {
        self.last = None;
        self.arena.clear();
        self.bits.clear();
        self.frames.clear();
        self.sends.clear();
    }

    /// Whether the next send has to wait for the next turn.
    pub fn is_full(&self) -> bool {
        self.arena.len() >= TURN_LEN_MAX
    }

    fn begin(&mut self) {
        (self.bits_at, self.frames_at, self.len) = (self.bits.len(), self.frames.len(), 0);
    }

    fn has_room(&self) -> bool {
        self.len < SEND_LEN_MAX && !self.is_full() && self.bits.len() - self.bits_at < GATHER_MAX - 8
    }

    /// Appends bytes of our own.
    fn put(&mut self, bytes: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        self.len += bytes.len();
        match self.bits[self.bits_at..].last_mut() {
            Some(Bit::Own(range)) if range.end == start => range.end += bytes.len(),
            _ => self.bits.push(Bit::Own(start..start + bytes.len())),
        }
    }

    fn name(&mut self, piece: Piece) {
        self.len += piece.len as usize;
        self.bits.push(Bit::Shared(piece));
    }

    /// Appends what the last stream was sent, if this one is alike and all of it fits; the head is there already.
    fn repeat(&mut self, alike: Alike, room: usize) -> Option<Filled> {
        let (last, content, events) = self.last.clone()?;
        let len = content.len();
        if last != alike || len > room || self.len + len > SEND_LEN_MAX {
            return None;
        }
        self.arena.extend_from_within(content);
        self.len += len;
        if let Some(Bit::Own(range)) = self.bits.last_mut() {
            range.end += len;
        }
        Some(Filled { len, at: alike.until, offset: 0, events, end: alike.until, notice: false })
    }

    /// Remembers the content of a frame for the streams that are alike, if it is all that they are sent and lies here.
    fn remember(&mut self, alike: Alike, content_at: usize, filled: &Filled) {
        let content = content_at..self.arena.len();
        let is_whole = filled.offset == 0 && !filled.notice && filled.end >= alike.until;
        if is_whole && filled.len > 0 && filled.len == content.len() {
            self.last = Some((alike, content, filled.events));
        }
    }

    fn put_output(&mut self, session: &mut Session) {
        if session.has_output() {
            self.put(&session.take_output());
        }
    }
}

/// What became of a stream's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turned {
    /// It has nothing more to send, or is gone.
    Done,
    /// It goes on when its turn comes again.
    More,
    /// Its own window is shut.
    Blocked,
    /// The connection's is.
    Shut,
}

/// Fills one DATA frame from the log.
struct Filler<'a> {
    composition: &'a mut Composition,
    reader: &'a Reader,
    role: Role,
    left: usize,
    /// Records from here on are for another set of topics.
    limit: Seq,
    /// Where the stream stands after it.
    at: Seq,
    offset: u32,
    events: u32,
    /// A notice that this stream is not told: it is ended instead.
    notice: bool,
}

/// What a frame was filled with.
#[derive(Clone, Copy, Debug)]
struct Filled {
    len: usize,
    /// Where the stream stands in the record that it got last.
    at: Seq,
    offset: u32,
    events: u32,
    /// Before this nothing else waits for it.
    end: Seq,
    notice: bool,
}

impl Filler<'_> {
    /// Takes as much as fits of what waits: of the records that a shortcut knows, or of those that `visit` finds.
    fn fill(mut self, known: Option<(Range<Seq>, &[u32])>, visit: impl FnOnce(&mut Self) -> Seq) -> Filled {
        let room = self.left;
        let end = match known {
            Some((range, records)) => {
                let all = records.iter().all(|&record| self.take(Seq(range.start.0 + u64::from(record))));
                if all { range.end } else { self.at }
            }
            None => visit(&mut self),
        };
        let Self { left, at, offset, events, notice, .. } = self;
        Filled { len: room - left, at, offset, events, end, notice }
    }

    /// Takes as much of a record as fits; whether that was all of it.
    fn take(&mut self, seq: Seq) -> bool {
        if seq >= self.limit || self.left == 0 || !self.composition.has_room() {
            return false;
        }
        let record = self.reader.record(seq);
        if record.kind() == Whom::Everyone && self.role == (Role::Events { ids: false }) {
            self.notice = true;
            return false;
        }
        if seq != self.at {
            (self.at, self.offset) = (seq, 0);
        }
        let span = self.reader.span(record, self.role.format());
        let (id, kind) = (record.id, record.kind());
        let whole = match self.role {
            Role::Events { ids: true } if kind == Whom::Event => self.take_with_id(seq, span, id),
            _ => self.take_span(seq, span, 0, span.len),
        };
        if whole {
            self.events += 1;
            (self.at, self.offset) = (seq.next(), 0);
        }
        whole
    }

    /// The record with its id as one field more: a prefix and an end of our own round the shared message.
    fn take_with_id(&mut self, seq: Seq, span: Span, id: EventId) -> bool {
        let (prefix, field) = grpc::around_with_id(span.len as usize, id);
        let body = span.len - grpc::PREFIX_LEN as u32;
        self.take_own(&prefix, 0)
            && self.take_span(
                seq,
                Span { at: span.at + grpc::PREFIX_LEN as u64, len: body },
                grpc::PREFIX_LEN as u32,
                body,
            )
            && self.take_own(&field, span.len)
    }

    /// Bytes of our own that lie at `from` in the record as it is sent.
    fn take_own(&mut self, bytes: &[u8], from: u32) -> bool {
        let skipped = (self.offset.saturating_sub(from) as usize).min(bytes.len());
        let rest = &bytes[skipped..];
        let len = rest.len().min(self.left);
        if len > 0 {
            self.composition.put(&rest[..len]);
            self.left -= len;
            self.offset = from + (skipped + len) as u32;
        }
        len == rest.len()
    }

    /// Bytes of the log that lie at `from` in the record as it is sent.
    fn take_span(&mut self, seq: Seq, span: Span, from: u32, span_len: u32) -> bool {
        let skipped = self.offset.saturating_sub(from).min(span_len);
        let rest = span_len - skipped;
        let len = (rest as usize).min(self.left) as u32;
        if len > 0 {
            let format = self.role.format();
            if len as usize >= NAMED_LEN_MIN {
                self.composition.name(piece_of(Span { at: span.at + u64::from(skipped), len }, format));
            } else {
                let frame = self.reader.frame(seq, format);
                let begin = frame.len() - span_len as usize + skipped as usize;
                self.composition.put(&frame[begin..begin + len as usize]);
            }
            self.left -= len as usize;
            self.offset = from + skipped + len;
        }
        len == rest
    }
}

impl<R: Ring> Shard<R> {
    /// Whether no more can be put together in this turn.
    pub(in super::super) fn is_composition_full(&self) -> bool {
        self.connections.composition.is_full()
    }

    /// The batch under way has something for a stream, in its n-th topic or (`None`) in any; whether its connection was
    /// not met before.
    pub(in super::super) fn touch_stream(&mut self, stream: u32, topic: Option<u32>) -> bool {
        let Some((start, end)) = self.fanout.range() else { return false };
        let found = self.streams.at(stream);
        if !found.is_live() {
            // Met in another topic as well, or behind since before the batch.
            found.topic = None;
            return false;
        }
        if found.at >= end {
            return false;
        }
        (found.at, found.topic) = (found.at.max(start), topic);
        let socket = found.socket;
        self.streams.set_live(stream, false);
        let Stage::H2(key) = self.clients.stage(socket) else { return false };
        self.queue_stream(key, stream, false);
        let connection = &mut self.connections.slab[key as usize];
        if std::mem::replace(&mut connection.in_batch, true) {
            return false;
        }
        self.fanout.note_connection(socket);
        true
    }

    /// The batch under way is for everyone who has topics.
    pub(in super::super) fn touch_streams(&mut self, socket: u32) {
        let Some(connection) = self.connection_at(socket) else { return };
        let keys: Vec<u32> = connection.session.keys().collect();
        for key in keys {
            if self.streams.find(key).is_some_and(|found| found.is_subscribed()) {
                self.touch_stream(key, None);
            }
        }
    }

    /// The bytes of a record as a stream of that role is sent them.
    pub(super) fn render_record(&self, seq: Seq, role: Role, out: &mut Vec<u8>) {
        let record = self.reader.record(seq);
        let frame = self.reader.frame(seq, role.format());
        match role {
            Role::Events { ids: true } if record.kind() == Whom::Event => grpc::with_id(frame, record.id, out),
            _ => out.extend_from_slice(frame),
        }
    }

    /// Sends everything that the connection at `socket` has to say and may, once per turn.
    pub(in super::super) fn flush_connection(&mut self, socket: u32) {
        let Stage::H2(key) = self.clients.stage(socket) else { return };
        let turns = self.turns;
        let connection = &mut self.connections.slab[key as usize];
        connection.in_batch = false;
        if connection.outbox.is_some() {
            return;
        }
        if connection.sent_in == turns {
            return self.mark_dirty(socket);
        }
        let one = connection.is_blocked;
        self.connections.composition.begin();
        let more = self.compose(key, socket, one);
        if self.connections.composition.len > 0 {
            self.connections.slab[key as usize].sent_in = turns;
            if one || !self.send_composed(socket) {
                self.send_waiting(key, socket);
            } else if more {
                self.mark_dirty(socket);
            }
        }
        self.settle(socket);
    }

    /// Puts one send together; whether there is more that could go now.
    fn compose(&mut self, key: u32, socket: u32, one: bool) -> bool {
        let connections = &mut self.connections;
        connections.composition.put_output(&mut connections.slab[key as usize].session);
        while self.connections.composition.has_room() {
            let Some(stream) = self.connections.slab[key as usize].ready.pop_front() else { return false };
            // Its stream may be gone, and the key another's.
            match self.streams.find(stream) {
                Some(found) if found.socket == socket && found.is_queued => found.is_queued = false,
                _ => continue,
            }
            let turned = self.compose_stream(key, stream, one);
            match turned {
                Turned::Done | Turned::Blocked => {}
                Turned::More => self.queue_stream(key, stream, false),
                Turned::Shut => {
                    self.queue_stream(key, stream, true);
                    return false;
                }
            }
            let composition = &self.connections.composition;
            if one && composition.frames.len() > composition.frames_at {
                break;
            }
        }
        !self.connections.slab[key as usize].ready.is_empty()
    }

    /// Puts a stream in the queue of its connection.
    pub(super) fn queue_stream(&mut self, key: u32, stream: u32, first: bool) {
        let Some(found) = self.streams.find(stream) else { return };
        if std::mem::replace(&mut found.is_queued, true) {
            return;
        }
        let ready = &mut self.connections.slab[key as usize].ready;
        if first { ready.push_front(stream) } else { ready.push_back(stream) }
    }

    fn compose_stream(&mut self, key: u32, stream: u32, one: bool) -> Turned {
        let found = self.streams.at(stream);
        let id = found.id;
        if found.offset == 0 && found.has_own() {
            let all = self.say_own(stream);
            let connections = &mut self.connections;
            connections.composition.put_output(&mut connections.slab[key as usize].session);
            if !all {
                return self.blocked(key);
            }
        }
        match self.streams.find(stream) {
            Some(found) if found.role.is_subscription() => {}
            Some(_) => {
                self.streams.set_live(stream, true);
                return Turned::Done;
            }
            None => return Turned::Done,
        }
        let room = self.connections.slab[key as usize].session.room(id);
        if room == 0 {
            let has_more = self.streams.at(stream).offset > 0 || self.has_missed(stream);
            return if has_more { self.blocked(key) } else { self.caught_up(stream) };
        }
        self.compose_frame(key, stream, if one { room.min(WAITING_LEN_MAX) } else { room })
    }

    fn blocked(&self, key: u32) -> Turned {
        if self.connections.slab[key as usize].session.is_shut() { Turned::Shut } else { Turned::Blocked }
    }

    fn caught_up(&mut self, stream: u32) -> Turned {
        // Not past the place where its next set of topics begins.
        let at = self.limit_of(stream);
        let found = self.streams.at(stream);
        found.at = found.at.max(at);
        if self.apply_change(stream) {
            // The next turn makes it, and lets the stream go on.
            return Turned::Done;
        }
        self.streams.set_live(stream, true);
        Turned::Done
    }

    /// Whether records wait for a stream.
    fn has_missed(&mut self, stream: u32) -> bool {
        let found = self.streams.at(stream);
        let (seat, at) = (found.seat, found.at);
        self.missed.first(&self.reader, &mut self.topics, seat, at).is_some()
    }

    /// One DATA frame of a stream, of at most `room` bytes.
    fn compose_frame(&mut self, key: u32, stream: u32, room: usize) -> Turned {
        let Self { connections, streams, reader, topics, missed, fanout, tick, .. } = self;
        let (composition, session) = (&mut connections.composition, &mut connections.slab[key as usize].session);
        let found = streams.at(stream);
        let (start, before) = (composition.len, (found.at, found.offset));
        composition.put(&[0; HEAD_LEN]);
        let head_at = composition.arena.len() - HEAD_LEN;
        let change = found.extra.as_ref().and_then(|extra| extra.change.as_ref()).map(|change| change.1);
        // Own bytes are next when the record under way is whole.
        let limit = if found.has_own() { Some(found.at.next()) } else { change }.unwrap_or(Seq(u64::MAX));
        let shortcut = found.topic.take().filter(|topic| is_shortcut(fanout, *topic, found, limit));
        let alike = alike(fanout, shortcut, topics, found, limit, reader.seen());
        let filled = alike.and_then(|alike| composition.repeat(alike, room)).unwrap_or_else(|| {
            let (role, at, offset) = (found.role, found.at, found.offset);
            let filler = Filler { composition, reader, role, left: room, limit, at, offset, events: 0, notice: false };
            let known = shortcut.and_then(|topic| fanout.records_of(topic));
            let filled =
                filler.fill(known, |filler| missed.visit(reader, topics, found.seat, found.at, |seq| filler.take(seq)));
            if let Some(alike) = alike {
                composition.remember(alike, head_at + HEAD_LEN, &filled);
            }
            filled
        });
        let Filled { len, at, offset, events, end, notice } = filled;
        if len == 0 {
            // Nothing but its head: as if it had not been begun.
            composition.undo_head(start, head_at);
        } else {
            let head = Head { len, kind: Kind::Data, flags: 0, stream: found.id };
            composition.arena[head_at..head_at + HEAD_LEN].copy_from_slice(&head.to_bytes());
            session.spend(found.id, len);
            composition.frames.push(Frame {
                stream,
                generation: found.generation(),
                begin: start,
                len,
                at: before.0,
                offset: before.1,
                events,
            });
            found.quiet_since = *tick;
            found.events = found.events.wrapping_add(events);
            found.bytes += len as u64;
        }
        (found.at, found.offset) = if offset > 0 { (at, offset) } else { (end.max(at).min(limit.max(at)), 0) };
        if notice {
            self.on_loss_for(stream);
            return Turned::More;
        }
        let found = self.streams.at(stream);
        if found.offset == 0 && found.has_own() {
            return Turned::More;
        }
        if found.offset == 0 && found.at >= self.reader.seen().min(limit) {
            return self.caught_up(stream);
        }
        match self.connections.slab[key as usize].session.room(self.streams.at(stream).id) {
            0 => self.blocked(key),
            _ => Turned::More,
        }
    }

    /// Sends what was put together with the next submission; `false` when the ring has no room for that.
    fn send_composed(&mut self, socket: u32) -> bool {
        let composition = &mut self.connections.composition;
        let bits = composition.bits_at..composition.bits.len();
        let mut pieces: smallvec::SmallVec<[Piece; 8]> = smallvec::SmallVec::new();
        for bit in &composition.bits[bits.clone()] {
            match bit {
                Bit::Own(range) => match self.ring.stage(&composition.arena[range.clone()]) {
                    Some(piece) => pieces.push(piece),
                    None => return false,
                },
                Bit::Shared(piece) => pieces.push(*piece),
            }
        }
        let gather = self.ring.gather(&pieces);
        let generation = self.clients.at(socket).generation();
        let token = What::Frames.token(composition.sends.len() as u32, generation);
        let frames = composition.frames_at..composition.frames.len();
        let client = What::Frames.token(socket, generation);
        composition.sends.push(Composed { client, bits, frames, len: composition.len });
        self.clients.account(socket, 0, composition.len as i64);
        self.ring.send_now(Socket(socket), gather, token);
        true
    }

    /// Sends what was put together as soon as there is room.
    fn send_waiting(&mut self, key: u32, socket: u32) {
        let composition = &mut self.connections.composition;
        let parts = composition.bits[composition.bits_at..].iter().map(|bit| match bit {
            Bit::Own(range) => Part::Own(Bytes::copy_from_slice(&composition.arena[range.clone()])),
            Bit::Shared(piece) => Part::Shared(*piece),
        });
        let mut outbox = Outbox::new(socket, self.reader.seen(), Then::Connection);
        outbox.rest = parts.collect();
        if outbox.rest.iter().any(|part| matches!(part, Part::Shared(_))) {
            outbox.rest_of = composition.frames[composition.frames_at..].iter().map(|frame| frame.at).min();
        }
        let len = composition.len as i64;
        composition.frames.truncate(composition.frames_at);
        self.clients.account(socket, 0, len);
        self.wait_for_room(key, outbox);
    }

    /// Gives a connection a send that waits for room.
    pub(super) fn wait_for_room(&mut self, key: u32, outbox: Outbox) {
        let outbox = self.outboxes.insert(outbox) as u32;
        self.connections.slab[key as usize].outbox = Some(outbox);
        self.pump(outbox);
    }
}

impl Composition {
    /// Takes back the head of a frame that has no content.
    fn undo_head(&mut self, len: usize, head_at: usize) {
        self.arena.truncate(head_at);
        self.len = len;
        match self.bits.last_mut() {
            Some(Bit::Own(range)) if range.start == head_at => drop(self.bits.pop()),
            Some(Bit::Own(range)) => range.end = head_at,
            _ => {}
        }
    }
}

/// Whether all that a stream waits for are the records of the batch under way in its n-th topic: it is up to date but
/// for those.
fn is_shortcut(fanout: &Fanout, topic: u32, stream: &Stream, limit: Seq) -> bool {
    fanout
        .records_of(topic)
        .is_some_and(|(range, _)| stream.at == range.start && stream.offset == 0 && limit >= range.end)
}

/// What a stream has in common with others, if all that it waits for is of one topic.
fn alike(
    fanout: &Fanout,
    shortcut: Option<u32>,
    topics: &Topics,
    stream: &Stream,
    limit: Seq,
    seen: Seq,
) -> Option<Alike> {
    if stream.offset > 0 || limit < seen {
        return None;
    }
    let topic = match shortcut {
        Some(topic) => fanout.topic(topic),
        None => topics.single(stream.seat),
    };
    topic.map(|topic| Alike { topic, role: stream.role, from: stream.at, until: seen })
}
