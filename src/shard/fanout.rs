//! From new records to everybody who wants them: each socket once, with all that is new for it.
//!
//! A batch is what the log has grown by since the last one. For each topic it touches, the frames are put together once
//! and sent to every member; who has several of the topics gets one send with their union. Batches are worked off in
//! slices, so that a million members never keep a newcomer waiting.
//!
//! Invariants:
//! - all completions of one submission are taken before the next batch begins, so a send that was cut short is always
//!   of the current batch;
//! - who is live when a batch begins is sent all of it; who becomes live later waits until it is over.

use std::ops::Range;

use super::Shard;
use super::clients::Stage;
use super::h2;
use super::outbox::{Outbox, Then, cut};
use super::tokens::Kind;
use crate::hub::topics::Met;
use crate::hub::{Format, Kind as Whom, Reader, Seat, Seq, TopicId};
use crate::ring::{Errno, GATHER_MAX, Gather, Part, Piece, Ring, Socket, Token};

/// Noting that a stream has something to send costs a fraction of a send.
const STRIDES_PER_SEND: u32 = 16;

/// One topic of the batch.
#[derive(Default)]
struct Touched {
    topic: Option<TopicId>,
    /// Its records, counted from the start of the batch.
    records: Vec<u32>,
    pieces: Vec<Piece>,
    len: u32,
    /// The pieces as prepared for this submission.
    gather: Option<Gather>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Idle,
    /// Members of the n-th topic.
    Topic(usize),
    /// Members of several topics, from the n-th entry on.
    Several(usize),
    /// Everyone, from this place on.
    Everyone(u32),
    /// Connections whose streams were met, from the n-th on.
    Connections(usize),
}

/// The batch under way and its scratch.
pub(super) struct Fanout {
    step: Step,
    range: Range<Seq>,
    touched: Vec<Touched>,
    used: usize,
    /// Members of more than one topic, with the topic of the batch that they were met in.
    several: Vec<(u32, u32)>,
    /// HTTP/2 connections that streams met belong to, by socket.
    connections: Vec<u32>,
    /// Streams met so far.
    strides: u32,
    union: Vec<u32>,
    union_pieces: Vec<Piece>,
}

impl Default for Fanout {
    fn default() -> Self {
        Self {
            step: Step::Idle,
            range: Seq(0)..Seq(0),
            touched: Vec::new(),
            used: 0,
            several: Vec::new(),
            connections: Vec::new(),
            strides: 0,
            union: Vec::new(),
            union_pieces: Vec::new(),
        }
    }
}

impl Fanout {
    pub fn is_active(&self) -> bool {
        self.step != Step::Idle
    }

    /// Where the batch under way begins and ends.
    pub fn range(&self) -> Option<(Seq, Seq)> {
        self.is_active().then_some((self.range.start, self.range.end))
    }

    /// The batch under way, and those of its records, counted from its start, that are for its n-th topic.
    ///
    /// Not before all topics were walked: a stream may turn out to be in another one as well.
    pub fn records_of(&self, topic: u32) -> Option<(Range<Seq>, &[u32])> {
        let is_walked = matches!(self.step, Step::Connections(_));
        let touched = self.touched[..self.used].get(topic as usize).filter(|_| is_walked)?;
        Some((self.range.clone(), &touched.records))
    }

    /// The n-th topic of the batch under way.
    pub fn topic(&self, topic: u32) -> Option<TopicId> {
        self.touched[..self.used].get(topic as usize)?.topic
    }

    /// A connection has something to send of this batch.
    pub fn note_connection(&mut self, socket: u32) {
        self.connections.push(socket);
    }
}

/// Where a run of records was cut.
pub(super) struct Cut {
    /// Records that went out whole.
    pub whole: u32,
    /// The first record of which nothing went out.
    pub at: Seq,
    /// The record that was cut, and what is left of it.
    pub rest: Option<(Seq, Piece)>,
}

impl<R: Ring> Shard<R> {
    /// Begins the next batch if the log has grown.
    pub(super) fn begin_batch(&mut self) {
        debug_assert!(!self.fanout.is_active());
        let range = self.reader.take(self.batch_max);
        self.fanout.range = range.clone();
        for seq in (range.start.0..range.end.0).map(Seq) {
            if self.reader.record(seq).kind() == Whom::Event {
                self.touch_topics(seq);
                continue;
            }
            // A notice to everyone is a batch of its own.
            let end = if seq == range.start { seq.next() } else { seq };
            self.reader.untake(end);
            self.fanout.range.end = end;
            break;
        }
        if self.fanout.range.is_empty() {
            return;
        }
        let notice = self.reader.record(self.fanout.range.start).kind() == Whom::Everyone;
        self.fanout.step = if notice { Step::Everyone(0) } else { Step::Topic(0) };
        for touched in &mut self.fanout.touched[..self.fanout.used] {
            put_together(&self.reader, self.fanout.range.start, &touched.records, &mut touched.pieces);
            touched.len = touched.pieces.iter().map(|piece| piece.len).sum();
        }
        if let (Step::Topic(_), Some(first)) = (self.fanout.step, self.fanout.touched[..self.fanout.used].first()) {
            self.topics.begin_walk(first.topic.expect("a touched topic has its id"));
        }
    }

    fn touch_topics(&mut self, seq: Seq) {
        let record = *self.reader.record(seq);
        let fanout = &mut self.fanout;
        for (hash, name) in self.reader.topics(&record) {
            let Some(topic) = self.topics.find(hash, name) else { continue };
            let index = self.topics.mark(topic).unwrap_or_else(|| {
                let index = fanout.used;
                if index == fanout.touched.len() {
                    fanout.touched.push(Touched::default());
                }
                let touched = &mut fanout.touched[index];
                touched.topic = Some(topic);
                touched.records.clear();
                touched.gather = None;
                fanout.used += 1;
                self.topics.set_mark(topic, Some(index as u32));
                index as u32
            });
            fanout.touched[index as usize].records.push((seq.0 - fanout.range.start.0) as u32);
        }
    }

    /// Works off a slice of the batch under way.
    pub(super) fn fan_out(&mut self) {
        // What was prepared for an earlier submission is void.
        for touched in &mut self.fanout.touched[..self.fanout.used] {
            touched.gather = None;
        }
        let mut left = self.slice_max;
        while left > 0 {
            let done = match self.fanout.step {
                Step::Idle => return,
                Step::Topic(index) => self.fan_out_topic(index, &mut left),
                Step::Several(from) => self.fan_out_several(from, &mut left),
                Step::Everyone(from) => self.fan_out_everyone(from, &mut left),
                Step::Connections(from) => self.fan_out_connections(from, &mut left),
            };
            if done {
                return self.end_batch();
            }
        }
    }

    /// Sends to members of one topic; whether the batch is done.
    fn fan_out_topic(&mut self, index: usize, left: &mut u32) -> bool {
        if index == self.fanout.used {
            self.fanout.several.sort_unstable();
            self.fanout.step = Step::Several(0);
            return false;
        }
        while *left > 0 {
            let Some(Met { subscriber, is_single }) = self.topics.walk() else {
                self.fanout.step = Step::Topic(index + 1);
                if index + 1 < self.fanout.used {
                    let next = self.fanout.touched[index + 1].topic.expect("a touched topic has its id");
                    self.topics.begin_walk(next);
                }
                return false;
            };
            if let Some(stream) = h2::stream_of(subscriber) {
                self.fanout.strides += 1;
                let is_new = self.touch_stream(stream, Some(index as u32));
                *left -= u32::from(is_new || self.fanout.strides.is_multiple_of(STRIDES_PER_SEND));
                continue;
            }
            if !self.clients.at(subscriber.0).is_live() {
                continue;
            }
            if is_single {
                *left -= 1;
                self.deliver_topic(subscriber.0, index);
            } else {
                self.fanout.several.push((subscriber.0, index as u32));
            }
        }
        false
    }

    /// Sends to members of several topics, each once; whether the batch is done.
    fn fan_out_several(&mut self, mut from: usize, left: &mut u32) -> bool {
        while *left > 0 && from < self.fanout.several.len() {
            let (socket, index) = self.fanout.several[from];
            let same = self.fanout.several[from..].iter().take_while(|entry| entry.0 == socket).count();
            if matches!(self.clients.stage(socket), Stage::Live { .. }) {
                *left -= 1;
                if same == 1 {
                    self.deliver_topic(socket, index as usize);
                } else {
                    self.deliver_union(socket, from..from + same);
                }
            }
            from += same;
        }
        let done = from == self.fanout.several.len();
        self.fanout.step = if done { Step::Connections(0) } else { Step::Several(from) };
        false
    }

    /// Sends the only record of the batch to every stream; whether the batch is done.
    fn fan_out_everyone(&mut self, mut place: u32, left: &mut u32) -> bool {
        let span = self.reader.span(self.reader.record(self.fanout.range.start), Format::Sse);
        let gather = self.ring.gather(&[super::piece_of(span, Format::Sse)]);
        while *left > 0 && place < self.clients.places() {
            match self.clients.stage(place) {
                Stage::Live { .. } => {
                    *left -= 1;
                    self.send_now(place, gather, 1);
                }
                Stage::H2(_) => {
                    *left -= 1;
                    self.touch_streams(place);
                }
                _ => {}
            }
            place += 1;
        }
        // With the last client the whole table goes, the places that were visited included.
        let done = place >= self.clients.places();
        self.fanout.step = if done { Step::Connections(0) } else { Step::Everyone(place) };
        false
    }

    /// Sends to connections whose streams were met; whether the batch is done.
    fn fan_out_connections(&mut self, mut from: usize, left: &mut u32) -> bool {
        while *left > 0 && from < self.fanout.connections.len() {
            if self.is_composition_full() {
                *left = 0;
                break;
            }
            let socket = self.fanout.connections[from];
            self.flush_connection(socket);
            *left -= 1;
            from += 1;
        }
        self.fanout.step = Step::Connections(from);
        from == self.fanout.connections.len()
    }

    fn deliver_topic(&mut self, socket: u32, index: usize) {
        let touched = &self.fanout.touched[index];
        let (len, count, pieces) = (touched.len, touched.records.len(), touched.pieces.len());
        if self.goes_slow(socket, len, pieces) {
            return;
        }
        let touched = &mut self.fanout.touched[index];
        let gather = *touched.gather.get_or_insert_with(|| self.ring.gather(&touched.pieces));
        self.send_now(socket, gather, count as u32);
    }

    fn deliver_union(&mut self, socket: u32, entries: Range<usize>) {
        let fanout = &mut self.fanout;
        fanout.union.clear();
        for &(_, index) in &fanout.several[entries] {
            fanout.union.extend_from_slice(&fanout.touched[index as usize].records);
        }
        fanout.union.sort_unstable();
        fanout.union.dedup();
        put_together(&self.reader, fanout.range.start, &fanout.union, &mut fanout.union_pieces);
        let len = fanout.union_pieces.iter().map(|piece| piece.len).sum();
        let (count, pieces) = (fanout.union.len(), fanout.union_pieces.len());
        if !self.goes_slow(socket, len, pieces) {
            let gather = self.ring.gather(&self.fanout.union_pieces);
            self.send_now(socket, gather, count as u32);
        }
    }

    /// What is too scattered for one send, or large enough to be sent from the memory itself, goes the way of those who
    /// are behind; whether that was so.
    fn goes_slow(&mut self, socket: u32, len: u32, pieces: usize) -> bool {
        let copies = self.clients.at(socket).copies();
        let zero_copy = !copies && self.settings.zero_copy_from.is_some_and(|least| len as usize >= least);
        let slow = pieces > GATHER_MAX || zero_copy;
        if slow {
            self.put_behind(socket, Outbox::new(socket, self.fanout.range.start, Then::Stream));
        }
        slow
    }

    fn send_now(&mut self, socket: u32, gather: Gather, events: u32) {
        self.clients.note_sent(socket, self.tick, events, gather.len);
        let token = Kind::Deliver.token(socket, self.clients.at(socket).generation());
        self.ring.send_now(Socket(socket), gather, token);
    }

    /// A send of the batch did not go out whole: the client continues as a cursor.
    pub(super) fn on_delivered(&mut self, token: Token, result: Result<u32, Errno>) {
        let Some(client) = self.clients.find(token) else { return };
        let sent = match result {
            Ok(len) => len as usize,
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => 0,
            Err(error) => return self.end(token.index(), super::ending_of(error)),
        };
        let seat = client.seat;
        self.counts.cut += 1;
        let range = self.fanout.range.clone();
        let (mut events, mut bytes) = (0, 0);
        let reader = &self.reader;
        self.missed.visit(reader, &mut self.topics, seat, range.start, |seq| {
            events += 1;
            bytes += i64::from(reader.record(seq).frame_len(Format::Sse));
            true
        });
        let cut = self.cut_records(seat, range.start, range.end, sent);
        self.clients.account(token.index(), i64::from(cut.whole) - events, sent as i64 - bytes);
        let mut outbox = Outbox::new(token.index(), cut.at, Then::Stream);
        if let Some((seq, piece)) = cut.rest {
            (outbox.rest, outbox.rest_of) = (smallvec::smallvec![Part::Shared(piece)], Some(seq));
        }
        self.put_behind(token.index(), outbox);
    }

    /// Finds where `sent` bytes end among the records of a client in `from..until`.
    pub(super) fn cut_records(&mut self, seat: Seat, from: Seq, until: Seq, sent: usize) -> Cut {
        let mut left = sent;
        let mut found = Cut { whole: 0, at: until, rest: None };
        if from >= until {
            return found;
        }
        let reader = &self.reader;
        let end = self.missed.visit(reader, &mut self.topics, seat, from, |seq| {
            let span = reader.span(reader.record(seq), Format::Sse);
            if seq >= until || left == 0 {
                return false;
            }
            if left < span.len as usize {
                found.rest = Some((seq, cut(super::piece_of(span, Format::Sse), left)));
                left = 0;
                return true;
            }
            left -= span.len as usize;
            found.whole += 1;
            true
        });
        found.at = end.min(until);
        found
    }

    /// Everybody has got the batch, or is a cursor now.
    fn end_batch(&mut self) {
        for index in 0..self.fanout.used {
            if let Some(topic) = self.fanout.touched[index].topic.take() {
                self.topics.set_mark(topic, None);
            }
        }
        self.fanout.used = 0;
        self.fanout.several.clear();
        self.fanout.connections.clear();
        self.fanout.step = Step::Idle;
        self.welcome_arrivals();
    }

    /// Those who waited for the end of the batch go on.
    pub(super) fn welcome_arrivals(&mut self) {
        for key in std::mem::take(&mut self.arrivals) {
            // Its client may have gone, and the key may be another's by now, for whom this is no harm.
            if self.outboxes.contains(key as usize) {
                self.pump(key);
            }
        }
    }
}

/// The frames of `records` (counted from `start`) as few pieces as possible.
fn put_together(reader: &Reader, start: Seq, records: &[u32], pieces: &mut Vec<Piece>) {
    pieces.clear();
    for &offset in records {
        let record = reader.record(Seq(start.0 + u64::from(offset)));
        let piece = super::piece_of(reader.span(record, Format::Sse), Format::Sse);
        match pieces.last_mut() {
            Some(last) if last.at + u64::from(last.len) == piece.at => last.len += piece.len,
            _ => pieces.push(piece),
        }
    }
}
