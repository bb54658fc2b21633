//! What is on its way to one client that is not simply up to date: an answer, the head of a stream, the rest of a send
//! that was cut short, a notice, and then whatever its cursor has yet to pass.
//!
//! One send is under way at a time. When it completes, what it carried is taken off in the order in which it was put
//! together; when nothing is left, a subscriber is a plain member again and the outbox goes.
//!
//! Invariant: while a send is under way, nothing from `pinned` on is given up in the log.

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

use super::Shard;
use super::clients::Stage;
use super::requests::AfterAnswer;
use super::tokens::Kind;
use crate::base::id::EventId;
use crate::base::wheel::Alarm;
use crate::hub::{Format, Missed, Seq};
use crate::ring::{Errno, Flight, GATHER_MAX, Part, Piece, Ring, Socket, Token};
use crate::wire::sse;

/// Most bytes in one pending send: enough to fill any socket buffer, little enough that cancelling loses no work.
const WRITE_LEN_MAX: usize = 256 * 1024;

/// What follows when everything is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// A stream: its cursor goes on.
    Stream,
    /// A short answer: the request's turn.
    Answer(AfterAnswer),
    /// The last words: the socket is closed.
    Close,
    /// HTTP/2: its connection goes on.
    Connection,
}

/// Events that a stream lost, to be told in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub from: EventId,
    pub reason: sse::Reason,
}

pub(super) struct Outbox {
    /// Whose it is; `None` once that client has gone and only the kernel still has to let go.
    pub socket: Option<u32>,
    /// Goes first: a head, an answer, the rest of something cut short.
    pub rest: SmallVec<[Part; 1]>,
    /// The record that `rest` is the end of, or the oldest.
    pub rest_of: Option<Seq>,
    pub gap: Option<Gap>,
    /// The next record to send.
    pub at: Seq,
    pub then: Then,
    pub flight: Option<Sending>,
    /// Whether the send under way was asked to end.
    pub recalled: bool,
    /// Fires when nothing has moved for half the time allowed, then when nothing has for all of it.
    pub alarm: Option<Alarm>,
    /// Whether it has fired once.
    pub doubted: bool,
    /// Tick of the last bytes sent.
    pub quiet_since: u32,
}

/// A send under way.
pub(super) struct Sending {
    flight: Flight,
    /// Distinguishes it from earlier ones of the same outbox.
    serial: u32,
    rest_len: usize,
    notice: Option<Bytes>,
    zero_copy: bool,
    len: usize,
    /// The position when all of it is out.
    until: Seq,
}

impl Sending {
    /// To cancel it by.
    pub fn flight(&self) -> Flight {
        self.flight
    }
}

/// A zero-copy send that is through as far as the socket is concerned, while the kernel still reads what it named.
pub(super) struct Unreleased {
    /// The oldest record it named.
    pub pinned: Option<Seq>,
    /// Whose it was, as long as that client is here.
    pub socket: Option<u32>,
}

impl Outbox {
    pub fn new(socket: u32, at: Seq, then: Then) -> Self {
        Self {
            socket: Some(socket),
            rest: SmallVec::new(),
            rest_of: None,
            gap: None,
            at,
            then,
            flight: None,
            recalled: false,
            alarm: None,
            doubted: false,
            quiet_since: 0,
        }
    }

    /// The oldest record it needs, if it needs any.
    pub fn pinned(&self) -> Option<Seq> {
        self.rest_of.or((self.then == Then::Stream).then_some(self.at))
    }

    /// Takes `len` bytes off the front of `rest`; whether all of it is gone.
    fn shorten_rest(&mut self, len: usize) -> bool {
        let mut left = len;
        while let Some(part) = self.rest.first_mut() {
            if left < part.len() {
                match part {
                    Part::Own(bytes) => *bytes = bytes.slice(left..),
                    Part::Shared(piece) => *piece = cut(*piece, left),
                }
                return false;
            }
            left -= part.len();
            self.rest.remove(0);
        }
        self.rest_of = None;
        true
    }
}

/// What is left of `piece` after `len` bytes.
pub(super) fn cut(piece: Piece, len: usize) -> Piece {
    Piece { region: piece.region, at: piece.at + len as u64, len: piece.len - len as u32 }
}

impl<R: Ring> Shard<R> {
    /// Gives the client at `socket` an outbox in place of whatever it had.
    pub(super) fn put_behind(&mut self, socket: u32, outbox: Outbox) {
        let key = self.outboxes.insert(outbox) as u32;
        let client = self.clients.at(socket);
        client.set_stage(Stage::Behind(key));
        Missed::forget(&mut self.topics, client.seat);
        self.pump(key);
    }

    /// Sends what the outbox holds, unless a send is under way.
    pub(super) fn pump(&mut self, key: u32) {
        let outbox = &self.outboxes[key as usize];
        let (Some(socket), None) = (outbox.socket, &outbox.flight) else { return };
        let (parts, mut sending) = self.assemble(key, socket);
        if parts.is_empty() {
            self.outboxes[key as usize].at = sending.until;
            return self.emptied(key, socket);
        }
        let shared = parts.iter().filter(|part| matches!(part, Part::Shared(_))).map(Part::len).sum::<usize>();
        let copies = self.clients.at(socket).copies();
        let zero_copy = !copies && self.settings.zero_copy_from.is_some_and(|least| shared >= least);
        let token = Kind::Write.token(key, sending.serial);
        sending.zero_copy = zero_copy;
        sending.flight = self.ring.send(Socket(socket), parts, zero_copy, token);
        let outbox = &mut self.outboxes[key as usize];
        outbox.flight = Some(sending);
        if outbox.alarm.is_none() {
            let due = self.now() + self.settings.write_timeout / 2;
            self.outboxes[key as usize].alarm = Some(self.wheel.arm(due, super::Due::Stalled(key)));
        }
    }

    /// Puts together what goes next: the rest, a notice, records from the cursor on.
    fn assemble(&mut self, key: u32, socket: u32) -> (Vec<Part>, Sending) {
        self.flights = self.flights.wrapping_add(1);
        let outbox = &self.outboxes[key as usize];
        let mut parts: Vec<Part> = outbox.rest.to_vec();
        let rest_len = parts.iter().map(Part::len).sum();
        let (mut len, mut until, mut notice) = (rest_len, outbox.at, None);
        if outbox.then == Then::Stream {
            if let Some(gap) = outbox.gap {
                let text = self.render_gap(gap, outbox.at);
                len += text.len();
                parts.push(Part::Own(text.clone()));
                notice = Some(text);
            }
            let seat = self.clients.at(socket).seat;
            let (reader, start) = (&self.reader, until);
            until = self.missed.visit(reader, &mut self.topics, seat, start, |seq| {
                let span = reader.span(reader.record(seq), Format::Sse);
                let fits = len + span.len as usize <= WRITE_LEN_MAX || len == 0;
                let added = fits && add_piece(&mut parts, super::piece_of(span, Format::Sse));
                len += if added { span.len as usize } else { 0 };
                added
            });
        }
        let flight = Flight(u32::MAX);
        let serial = self.flights & Token::GENERATION_MAX;
        (parts, Sending { flight, serial, rest_len, notice, zero_copy: false, len, until })
    }

    fn render_gap(&self, gap: Gap, at: Seq) -> Bytes {
        let mut text = Vec::with_capacity(128);
        sse::gap(Some(gap.from), self.first_id_from(at), gap.reason, &mut text);
        text.into()
    }

    /// A send came back: `result` bytes of it went out.
    pub(super) fn on_written(&mut self, token: Token, result: Result<u32, Errno>, more: bool) {
        let key = token.index();
        let Some(outbox) = self.outboxes.get_mut(key as usize) else { return };
        let Some(sending) = outbox.flight.take_if(|sending| sending.serial == token.generation()) else { return };
        if more {
            let sent = Unreleased { pinned: outbox.pinned(), socket: outbox.socket };
            self.unreleased.insert(token.to_bits(), sent);
        }
        let Some(socket) = outbox.socket else {
            self.remove_outbox(key);
            return;
        };
        let sent = match result {
            Ok(len) => len as usize,
            // Recalled, or nothing fitted after all.
            Err(Errno::CANCELED | Errno::INTR | Errno::AGAIN) => 0,
            Err(error) => return self.end(socket, super::ending_of(error)),
        };
        if sent < sending.len {
            // Who reads slowly would keep the log's memory for as long as it likes.
            self.clients.at(socket).set_copies();
        }
        self.take_off(key, socket, &sending, sent);
        if sent > 0 {
            let outbox = &mut self.outboxes[key as usize];
            outbox.quiet_since = self.tick;
            outbox.doubted = false;
            if let Some(alarm) = outbox.alarm.take() {
                self.wheel.disarm(alarm);
            }
        }
        // A recalled one waits for the log's oldest part to be left (see `leave`).
        if !self.outboxes[key as usize].recalled {
            self.pump(key);
        }
    }

    /// Takes what went out off the outbox, in the order in which it was put together.
    fn take_off(&mut self, key: u32, socket: u32, sending: &Sending, sent: usize) {
        let outbox = &mut self.outboxes[key as usize];
        let is_stream = outbox.then == Then::Stream;
        let mut left = sent;
        if sending.rest_len > 0 {
            if !outbox.shorten_rest(left) {
                return self.count_sent(socket, is_stream, 0, sent);
            }
            left -= sending.rest_len;
        }
        if let Some(notice) = &sending.notice {
            if left < notice.len() {
                if left > 0 {
                    outbox.gap = None;
                    outbox.rest = smallvec![Part::Own(notice.slice(left..))];
                }
                return self.count_sent(socket, is_stream, 0, sent);
            }
            left -= notice.len();
            outbox.gap = None;
        }
        let at = outbox.at;
        let seat = self.clients.at(socket).seat;
        let cut = self.cut_records(seat, at, sending.until, left);
        let outbox = &mut self.outboxes[key as usize];
        outbox.at = cut.at;
        if let Some((seq, piece)) = cut.rest {
            (outbox.rest, outbox.rest_of) = (smallvec![Part::Shared(piece)], Some(seq));
        }
        debug_assert!(sent <= sending.len);
        self.count_sent(socket, is_stream, cut.whole, sent);
    }

    fn count_sent(&mut self, socket: u32, is_stream: bool, events: u32, bytes: usize) {
        if is_stream {
            self.clients.account(socket, i64::from(events), bytes as i64);
        }
    }

    /// Nothing is left to send.
    fn emptied(&mut self, key: u32, socket: u32) {
        let outbox = &mut self.outboxes[key as usize];
        match outbox.then {
            // Whoever catches up while a batch is being fanned out, or ahead of what was read, waits until that is
            // over: members of the batch must not change under it.
            Then::Stream if self.fanout.is_active() || outbox.at > self.reader.seen() => self.arrivals.push(key),
            Then::Stream => {
                let quiet_since = outbox.quiet_since;
                self.remove_outbox(key);
                self.clients.at(socket).set_stage(Stage::Live { quiet_since });
            }
            Then::Answer(after) => {
                self.remove_outbox(key);
                self.answered(socket, after);
            }
            Then::Close => self.end(socket, super::Ending::Farewell),
            Then::Connection => {
                self.remove_outbox(key);
                self.on_h2_through(socket);
            }
        }
    }

    pub(super) fn remove_outbox(&mut self, key: u32) {
        let outbox = self.outboxes.remove(key as usize);
        if let Some(alarm) = outbox.alarm {
            self.wheel.disarm(alarm);
        }
        if self.outboxes.is_empty() {
            self.outboxes = slab::Slab::new();
        }
    }

    /// The client goes: the outbox too, unless the kernel still reads what it names.
    pub(super) fn orphan_outbox(&mut self, key: u32) {
        let outbox = &mut self.outboxes[key as usize];
        outbox.socket = None;
        if let Some(alarm) = outbox.alarm.take() {
            self.wheel.disarm(alarm);
        }
        if outbox.flight.is_none() {
            self.remove_outbox(key);
        }
    }

    /// The send that is under way for a client at this stage.
    pub(super) fn flight_of(&self, stage: Stage) -> Option<Flight> {
        let key = match stage {
            Stage::Request(key) => self.requests[key as usize].outbox()?,
            Stage::Behind(key) => key,
            Stage::H2(key) => self.outbox_of_h2(key)?,
            Stage::Live { .. } | Stage::Free => return None,
        };
        self.outboxes.get(key as usize)?.flight.as_ref().map(Sending::flight)
    }

    /// Whether the kernel reads the log's memory for it right now.
    pub(super) fn is_sending_in_place(&self, key: u32) -> bool {
        self.outboxes[key as usize].flight.as_ref().is_some_and(|sending| sending.zero_copy)
    }

    /// Asks the send of an outbox to end, once.
    pub(super) fn recall(&mut self, key: u32) {
        let outbox = &mut self.outboxes[key as usize];
        if let (Some(sending), false) = (&outbox.flight, outbox.recalled) {
            outbox.recalled = true;
            self.ring.cancel_send(sending.flight);
        }
    }

    /// A zero-copy send let go of its memory.
    pub(super) fn on_released(&mut self, token: Token, copied: bool) {
        let sent = self.unreleased.remove(&token.to_bits());
        if copied && let Some(socket) = sent.and_then(|sent| sent.socket) {
            self.clients.at(socket).set_copies();
        }
    }
}

/// Adds a frame to the parts, to the last one if it follows it in memory; `false` when the list is full.
fn add_piece(parts: &mut Vec<Part>, piece: Piece) -> bool {
    if let Some(Part::Shared(last)) = parts.last_mut()
        && last.region == piece.region
        && last.at + u64::from(last.len) == piece.at
    {
        last.len += piece.len;
        return true;
    }
    let fits = parts.len() < GATHER_MAX;
    if fits {
        parts.push(Part::Shared(piece));
    }
    fits
}
