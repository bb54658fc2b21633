//! Connections that speak HTTP/2: many streams on one socket, each a subscription or a request of its own.
//!
//! What the protocol itself wants is `wire::h2`'s; here its streams meet the log, the topics and the dialects.
//!
//! - this file: connections come, are fed, and go
//! - `streams`: the table of streams; `subscribing`: the life of a subscription on one
//! - `requests`: HTTP requests and their answers; `calls`: gRPC calls
//! - `compose`: what goes out in one send; `cut`: what becomes of it when the socket had no room
//! - `care`: pings, heartbeats, ages; `lag`: streams that the log overtakes
//!
//! Invariants:
//! - a connection is sent to once per turn at most, and not at all while a send of it is pending;
//! - a stream is on the list of laggards exactly while it is not known to be up to date.

mod calls;
mod care;
mod compose;
mod cut;
mod lag;
mod requests;
mod streams;
mod subscribing;

use std::collections::VecDeque;

use slab::Slab;

use self::compose::Composition;
pub(super) use self::streams::Streams;
use super::clients::Stage;
use super::{Due, Ending, Shard};
use crate::base::log::Level;
use crate::base::time::Instant;
use crate::base::wheel::Alarm;
use crate::hub::Subscriber;
use crate::ring::{RECV_LEN_MAX, Ring};
use crate::wire::h2::hpack::Fields;
use crate::wire::h2::{Bounds, Event, Failure, Session};

/// How long a connection that was told why it ends may still hear it: closing under unread bytes would reset it, and
/// the words would be lost.
const LINGER_FOR: std::time::Duration = std::time::Duration::from_millis(500);

/// Marks subscribers that are streams; the others are sockets.
const STREAM: u32 = 1 << 30;

/// The subscriber that the stream under `key` is.
fn subscriber_of(key: u32) -> Subscriber {
    Subscriber(STREAM | key)
}

/// The stream that a subscriber is; `None` when it is a socket.
pub(super) fn stream_of(subscriber: Subscriber) -> Option<u32> {
    (subscriber.0 & STREAM != 0).then_some(subscriber.0 & !STREAM)
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Open,
    /// The peer was told that we go, once: streams that it opens meanwhile are still answered.
    Leaving,
    /// It was told twice, or there was nothing to wait for: closed when everything is out and no stream is left.
    Left,
    /// Everything is said; only the other end may still have to hear it.
    Lingering(Ending),
}

/// One connection. Its windows and stream states are the session's.
pub(super) struct Connection {
    session: Session,
    socket: u32,
    /// An incomplete frame.
    input: Vec<u8>,
    /// Streams with something to send, in the order of their turns.
    ready: VecDeque<u32>,
    /// The send that waits for room.
    outbox: Option<u32>,
    /// Its greeting, its leave, its end.
    alarm: Option<Alarm>,
    life: Life,
    /// Turn of the last send.
    sent_in: u32,
    /// Ticks: of the last bytes received, of the PING that awaits its answer, since when there is no stream.
    heard: u32,
    pinged: Option<u32>,
    idle_since: u32,
    /// How old it may become, in ticks since its accept; 0 is no limit.
    age_max: u32,
    is_dirty: bool,
    /// In the batch under way.
    in_batch: bool,
    /// The last send found no room at all.
    is_blocked: bool,
    /// There is an end to what the client sends.
    half_closed: bool,
    is_receiving: bool,
}

/// All HTTP/2 connections of a shard.
#[derive(Default)]
pub(super) struct Connections {
    slab: Slab<Connection>,
    /// Those of which bytes were received and not looked at yet, by socket.
    heard: Vec<u32>,
    /// To be sent to in this turn, by socket.
    dirty: Vec<u32>,
    composition: Composition,
    /// Streams, with their generation, that get another set of topics in the next turn, or read on.
    changing: Vec<(u32, u32)>,
    fields: Fields,
}

impl Connections {
    /// Whether any has something to say that no completion will announce.
    pub fn are_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.changing.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }
}

impl<R: Ring> Shard<R> {
    fn bounds(&self) -> Bounds {
        self.settings.h2.bounds
    }

    /// The connection at `socket`, if HTTP/2 is spoken there.
    fn connection_at(&mut self, socket: u32) -> Option<&mut Connection> {
        match self.clients.stage(socket) {
            Stage::H2(key) => self.connections.slab.get_mut(key as usize),
            _ => None,
        }
    }

    /// A client has begun with the preface; `input` is everything that it sent.
    pub(super) fn begin_h2(&mut self, socket: u32, input: &[u8]) {
        let Stage::Request(request) = self.clients.stage(socket) else { return };
        let half_closed = self.requests[request as usize].is_half_closed();
        self.drop_request(request);
        let greeting_ends = self.ring.now() + self.settings.request_timeout;
        let alarm = self.wheel.arm(greeting_ends, Due::Connection { socket });
        let age_max = self.settings.h2.age_in_ticks(self.ring.random());
        let key = self.connections.slab.insert(Connection {
            session: Session::new(&self.settings.h2.bounds, self.tick),
            socket,
            input: Vec::new(),
            ready: VecDeque::new(),
            outbox: None,
            alarm: Some(alarm),
            life: Life::Open,
            sent_in: self.turns.wrapping_sub(1),
            heard: self.tick,
            pinged: None,
            idle_since: self.tick,
            age_max,
            is_dirty: false,
            in_batch: false,
            is_blocked: false,
            half_closed,
            is_receiving: false,
        });
        self.clients.at(socket).set_stage(Stage::H2(key as u32));
        self.mark_dirty(socket);
        self.feed_h2(socket, input);
        if self.connection_at(socket).is_some_and(|connection| connection.half_closed) {
            self.receive(socket);
        }
    }

    /// Whether a receive is worth asking for; notes that it was.
    pub(super) fn begin_h2_receive(&mut self, key: u32) -> bool {
        !std::mem::replace(&mut self.connections.slab[key as usize].is_receiving, true)
    }

    pub(super) fn end_h2_receive(&mut self, key: u32) {
        self.connections.slab[key as usize].is_receiving = false;
    }

    pub(super) fn note_h2_end(&mut self, key: u32, is_end: bool) {
        self.connections.slab[key as usize].half_closed |= is_end;
    }

    /// Bytes came; whether there may be more that nothing will tell of.
    pub(super) fn on_h2_received(&mut self, socket: u32, bytes: &[u8]) -> bool {
        let (tick, turns) = (self.tick, self.turns);
        let Some(connection) = self.connection_at(socket) else { return false };
        connection.is_receiving = false;
        (connection.heard, connection.pinged) = (tick, None);
        let more = bytes.len() == RECV_LEN_MAX || connection.half_closed;
        if connection.sent_in == turns.wrapping_sub(1) {
            // What became of that send may be told after this, and must be known first: a stream that ends now ends
            // where it stands.
            connection.input.extend_from_slice(bytes);
            self.connections.heard.push(socket);
        } else {
            self.feed_h2(socket, bytes);
        }
        more
    }

    /// All completions of the last turn's sends were taken.
    pub(super) fn hear_connections(&mut self) {
        self.connections.composition.clear();
        for socket in std::mem::take(&mut self.connections.heard) {
            self.feed_h2(socket, b"");
        }
    }

    /// Understands what came, behind what was left of earlier.
    fn feed_h2(&mut self, socket: u32, bytes: &[u8]) {
        let Some(connection) = self.connection_at(socket) else { return };
        let mut kept = std::mem::take(&mut connection.input);
        if kept.is_empty() {
            let rest = self.advance_h2(socket, bytes);
            if let Some(connection) = self.connection_at(socket) {
                connection.input.extend_from_slice(rest);
            }
            return;
        }
        kept.extend_from_slice(bytes);
        let rest = self.advance_h2(socket, &kept);
        if let Some(connection) = self.connection_at(socket) {
            connection.input.extend_from_slice(rest);
        }
    }

    /// Takes whole frames off `input`; returns what is left.
    fn advance_h2<'i>(&mut self, socket: u32, mut input: &'i [u8]) -> &'i [u8] {
        let mut fields = std::mem::take(&mut self.connections.fields);
        let (bounds, tick) = (self.bounds(), self.tick);
        while let Some(connection) = self.connection_at(socket) {
            let was_greeted = connection.session.is_greeted();
            let event = connection.session.next(&mut input, &mut fields, &bounds, tick);
            if !was_greeted
                && connection.session.is_greeted()
                && let Some(alarm) = connection.alarm.take()
            {
                self.wheel.disarm(alarm);
            }
            let Some(event) = event else { break };
            self.on_h2_event(socket, event, &fields);
        }
        self.connections.fields = fields;
        if self.connection_at(socket).is_some_and(|connection| connection.session.has_output()) {
            self.mark_dirty(socket);
        }
        input
    }

    fn on_h2_event(&mut self, socket: u32, event: Event<'_>, fields: &Fields) {
        match event {
            Event::Request { id, ends } => self.on_h2_request(socket, id, ends, fields),
            Event::Data { key, bytes, ends } => self.on_h2_data(key, bytes, ends),
            Event::Ended { key } => self.on_h2_data(key, b"", true),
            Event::Reset { key } => self.drop_stream(key, Some(Ending::Reset)),
            Event::Opened { key: Some(key) } => self.wake_stream(key),
            Event::Opened { key: None } => self.mark_dirty(socket),
            Event::Settled => self.wake_streams(socket),
            Event::Leaving => {
                if let Some(connection) = self.connection_at(socket) {
                    connection.life = Life::Left;
                }
                self.mark_dirty(socket);
            }
            Event::Failed(failure) => self.on_h2_failure(socket, failure),
        }
    }

    /// The peer broke a rule of the connection: it was told so, and everything on it ends.
    fn on_h2_failure(&mut self, socket: u32, failure: Failure) {
        let peer = super::accept::remote_addr(b"", self.clients.peer(socket));
        self.log.error(Level::Warn, "an HTTP/2 connection broke the rules", |fields| {
            fields.str("remote-addr", &peer);
            fields.str("error", failure.reason);
            fields.str("code", &format!("{:?}", failure.code));
        });
        self.drop_streams(socket, Ending::Protocol);
        if let Some(connection) = self.connection_at(socket) {
            connection.life = Life::Lingering(Ending::Protocol);
        }
        self.mark_dirty(socket);
    }

    /// Something is to be sent.
    fn mark_dirty(&mut self, socket: u32) {
        let Some(connection) = self.connection_at(socket) else { return };
        if connection.outbox.is_none() && !std::mem::replace(&mut connection.is_dirty, true) {
            self.connections.dirty.push(socket);
        }
    }

    /// Sends to every connection that has something to say, in bounded slices.
    pub(super) fn flush_connections(&mut self) {
        let mut dirty = std::mem::take(&mut self.connections.dirty);
        let mut done = 0;
        for &socket in dirty.iter().take(self.slice_max as usize) {
            if self.connections.composition.is_full() {
                break;
            }
            done += 1;
            if let Some(connection) = self.connection_at(socket) {
                connection.is_dirty = false;
                self.flush_connection(socket);
            }
        }
        dirty.drain(..done);
        dirty.append(&mut self.connections.dirty);
        self.connections.dirty = dirty;
    }

    /// The pending send of a connection is through.
    pub(super) fn on_h2_through(&mut self, socket: u32) {
        if let Some(connection) = self.connection_at(socket) {
            (connection.outbox, connection.is_blocked) = (None, false);
            self.mark_dirty(socket);
        }
    }

    /// Everything is out for now: is that the end?
    fn settle(&mut self, socket: u32) {
        let due = self.ring.now() + LINGER_FOR;
        let Some(connection) = self.connection_at(socket) else { return };
        let is_idle = connection.session.stream_count() == 0;
        match connection.life {
            Life::Left if is_idle => connection.life = Life::Lingering(Ending::Closed),
            Life::Lingering(_) => {}
            Life::Open | Life::Leaving | Life::Left => return,
        }
        if connection.alarm.is_none() {
            let alarm = self.wheel.arm(due, Due::Connection { socket });
            if let Some(connection) = self.connection_at(socket) {
                connection.alarm = Some(alarm);
            }
        }
    }

    /// A deadline of a connection has come.
    pub(super) fn on_connection_due(&mut self, socket: u32) {
        let Some(connection) = self.connection_at(socket) else { return };
        connection.alarm = None;
        match connection.life {
            Life::Lingering(ending) => self.end(socket, ending),
            _ if !connection.session.is_greeted() => self.end(socket, Ending::RequestTimeout),
            Life::Leaving => self.leave_connection(socket),
            Life::Open | Life::Left => {}
        }
    }

    /// The client goes; what its streams hold is given back.
    pub(super) fn drop_connection(&mut self, key: u32, ending: Ending) -> Option<u32> {
        let socket = self.connections.slab[key as usize].socket;
        self.drop_streams(socket, ending);
        let connection = self.connections.slab.remove(key as usize);
        if let Some(alarm) = connection.alarm {
            self.wheel.disarm(alarm);
        }
        if self.connections.slab.is_empty() {
            self.connections.slab = Slab::new();
        }
        connection.outbox
    }

    /// The pending send of a connection.
    pub(super) fn outbox_of_h2(&self, key: u32) -> Option<u32> {
        self.connections.slab[key as usize].outbox
    }

    fn now_plus(&self, time: std::time::Duration) -> Instant {
        self.ring.now() + time
    }
}
