//! A client that speaks HTTP/2: one connection with several streams, over SSE and gRPC, which it opens and gives up as
//! it pleases, with windows that it closes and opens, until it goes away and comes back.
//!
//! It minds that the server keeps the rules: no DATA beyond a window or the agreed length of a frame, nothing on a
//! stream after its end, every event whole. It keeps them too, so the server has nothing to accuse it of.

mod call;
mod wire;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use plasma::ring::Errno;

pub use self::call::Kind;
use self::call::{Call, Stage};
use self::wire::Frame;
use super::{Link, Reading};
use crate::sim::dice::Dice;
use crate::sim::ledger::{Ending, Ledger};
use crate::sim::net::End;
use crate::sim::site::{Peer, Site};
use crate::sim::{MICROS, MILLIS, SECONDS};

/// What windows begin with (RFC 9113 §6.9.2).
const WINDOW: i64 = 65_535;

/// Less than an event or two.
const WINDOW_SMALL: i64 = 256;

/// Frames that are cheap to send: below what the server puts up with, at once and in a second.
const CONTROLS_MAX: u64 = 1_500;
const CONTROLS_PER_SECOND: u64 = 150;

/// Somebody who wants a stream, again and again. Its number is the ledger's client.
#[derive(Debug)]
struct Seat {
    client: usize,
    kind: Kind,
    topics: Rc<[String]>,
    /// Its stream; else when it wants one.
    on: Option<u32>,
    until: u64,
    resume: Option<u64>,
    /// Longest silence since [`H2Client::mind_silence`].
    silence_max: u64,
}

/// How windows are opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Granting {
    /// As soon as bytes were read.
    AtOnce,
    /// Everything that was read, every so often.
    Late { every: u64 },
    /// A byte here and a byte there.
    Crumbs { every: u64 },
    /// Not at all.
    Never,
}

/// What a PING or SETTINGS was sent behind.
#[derive(Clone, Debug)]
enum Mark {
    /// A change of topics.
    Change {
        stream: u32,
        number: usize,
    },
    /// RST_STREAM.
    GivenUp {
        stream: u32,
    },
    Nothing,
}

/// Settings that the server has not acknowledged.
#[derive(Debug, Default)]
struct Unsettled {
    /// Windows become smaller by so much.
    less: i64,
    of: Vec<u32>,
    frame_max: usize,
}

struct Conn {
    link: Link,
    inbox: Vec<u8>,
    calls: BTreeMap<u32, Call>,
    next_id: u32,
    window: i64,
    owed: u32,
    /// What new streams begin with.
    initial: i64,
    frame_max: usize,
    unsettled: VecDeque<Unsettled>,
    marks: VecDeque<Mark>,
    /// The server wants no new streams, or we do not.
    is_leaving: bool,
    /// It was we.
    said_so: bool,
    /// It will never say more than it has.
    is_mute: bool,
    /// The field block that goes on.
    block: Option<(u32, u8, Vec<u8>)>,
    controls: (u64, u64),
    /// What it lets windows grow to again in calm weather. Small ones run dry where a byte is not given back.
    wide: i64,
    read_at: u64,
    push_at: u64,
    grant_at: u64,
    act_at: u64,
}

enum State {
    Away { until: u64 },
    Dialing(End),
    Talking(Box<Conn>),
    Gone,
}

/// The client.
pub struct H2Client {
    to: SocketAddr,
    ledger: Rc<RefCell<Ledger>>,
    dice: Dice,
    state: State,
    seats: Vec<Seat>,
    all_topics: Rc<[String]>,
    reading: Reading,
    granting: Granting,
    change_at: Option<u64>,
    leaving: bool,
}

impl H2Client {
    /// One with `seats`, numbered from `client` on, that arrives at `arrives_at`.
    pub fn new(
        client: usize,
        seats: &[(Kind, Rc<[String]>)],
        to: SocketAddr,
        all_topics: Rc<[String]>,
        ledger: Rc<RefCell<Ledger>>,
        dice: Dice,
        arrives_at: u64,
    ) -> Self {
        let seats = seats.iter().enumerate().map(|(nth, (kind, topics))| Seat {
            client: client + nth,
            kind: *kind,
            topics: Rc::clone(topics),
            on: None,
            until: arrives_at,
            resume: None,
            silence_max: 0,
        });
        Self {
            to,
            ledger,
            dice,
            state: State::Away { until: arrives_at },
            seats: seats.collect(),
            all_topics,
            reading: Reading::Eager,
            granting: Granting::AtOnce,
            change_at: None,
            leaving: false,
        }
    }

    /// From now on it changes its ways at random.
    pub fn be_fickle(&mut self, now: u64) {
        self.change_at = Some(now + self.dice.spread(MILLIS, 20 * SECONDS));
    }

    /// From now on it stays, reads all there is, and keeps its windows open. Wake it afterwards.
    pub fn settle_down(&mut self) {
        (self.change_at, self.reading, self.granting) = (None, Reading::Eager, Granting::AtOnce);
        if let State::Talking(conn) = &mut self.state {
            (conn.read_at, conn.act_at, conn.grant_at) = (0, 0, 0);
        }
    }

    /// It hangs up for good. Wake it afterwards.
    pub fn leave(&mut self) {
        self.leaving = true;
    }

    /// From now on it reads nothing.
    pub fn fall_asleep(&mut self) {
        self.reading = Reading::Nothing;
    }

    fn conn(&self) -> Option<&Conn> {
        match &self.state {
            State::Talking(conn) => Some(conn),
            _ => None,
        }
    }

    /// Whether any of its streams is open.
    pub fn has_stream(&self) -> bool {
        self.conn().is_some_and(|conn| conn.calls.values().any(|call| call.stage == Stage::Open))
    }

    /// Whether everybody has a stream.
    pub fn is_streaming(&self) -> bool {
        let is_on =
            |seat: &Seat| self.conn().is_some_and(|conn| seat.on.is_some_and(|id| conn.calls[&id].is_streaming()));
        self.seats.iter().all(is_on)
    }

    /// What it is up to, for those who wonder.
    pub fn describe(&self) -> String {
        let conn = self.conn().map(|conn| {
            let calls: Vec<&Call> = conn.calls.values().filter(|call| call.stage != Stage::Gone).collect();
            format!("window {}, owed {}, leaving {}, {calls:?}", conn.window, conn.owed, conn.is_leaving)
        });
        format!("{:?} {conn:?}", self.seats)
    }

    /// From now on it minds how long event streams are silent. The topics asked for last must count by now.
    pub fn mind_silence(&mut self, now: u64) {
        if let State::Talking(conn) = &mut self.state {
            for call in conn.calls.values_mut().filter(|call| call.is_streaming()) {
                call.heard_at = now;
                if let (Some(number), true) = (call.number, call.changes > 0) {
                    self.ledger.borrow_mut().on_change_due(number);
                }
            }
        }
        self.seats.iter_mut().for_each(|seat| seat.silence_max = 0);
    }

    /// The longest that any of its event streams was silent, in nanoseconds.
    pub fn silence(&self, now: u64) -> u64 {
        let silence_of = |seat: &Seat| match (self.conn(), seat.on) {
            (Some(conn), Some(id)) if seat.kind == Kind::Sse && conn.calls[&id].is_streaming() => {
                seat.silence_max.max(now - conn.calls[&id].heard_at)
            }
            _ => seat.silence_max,
        };
        self.seats.iter().map(silence_of).max().unwrap_or(0)
    }

    /// Hangs up, and comes back later.
    fn go_away(&mut self, site: &mut Site<'_>, ending: Ending) {
        let end = match std::mem::replace(&mut self.state, State::Gone) {
            State::Dialing(end) => Some(end),
            State::Talking(mut conn) => {
                for call in conn.calls.values_mut() {
                    call.end(ending, &self.ledger);
                }
                for seat in &mut self.seats {
                    if let Some(id) = seat.on.take() {
                        seat.note_end(&conn.calls[&id]);
                    }
                }
                Some(conn.link.end)
            }
            State::Away { .. } | State::Gone => None,
        };
        if let Some(end) = end {
            if self.dice.one_in(3) { site.reset(end) } else { site.close(end) }
        }
        let until = site.now() + self.dice.spread(MILLIS, 3 * SECONDS);
        self.seats.iter_mut().for_each(|seat| seat.until = until);
        self.state = State::Away { until };
    }

    fn dial(&mut self, site: &mut Site<'_>, end: End) {
        match site.answer(end) {
            None => {}
            Some(Err(_)) => self.go_away(site, Ending::Reset),
            Some(Ok(())) => self.greet(site, end),
        }
    }

    fn greet(&mut self, site: &mut Site<'_>, end: End) {
        let now = site.now();
        let fickle = self.change_at.is_some();
        let mut conn = Conn {
            link: Link::new(end),
            inbox: Vec::new(),
            calls: BTreeMap::new(),
            next_id: 1,
            window: WINDOW,
            owed: 0,
            initial: WINDOW,
            frame_max: 16_384,
            unsettled: VecDeque::new(),
            marks: VecDeque::new(),
            is_leaving: false,
            said_so: false,
            is_mute: false,
            block: None,
            controls: (CONTROLS_MAX, now),
            wide: if self.seats[0].client.is_multiple_of(3) { WINDOW_SMALL } else { WINDOW },
            read_at: 0,
            push_at: 0,
            grant_at: 0,
            act_at: 0,
        };
        conn.link.waiting = wire::PREFACE.to_vec();
        conn.send_settings(&mut self.dice, fickle);
        if fickle && self.dice.one_in(12) {
            // It begins to greet and never ends.
            let len = self.dice.below(conn.link.waiting.len() as u64) as usize;
            conn.link.waiting.truncate(len);
            conn.is_mute = true;
        }
        self.state = State::Talking(Box::new(conn));
    }

    /// Everything that it does when awake.
    fn talk(&mut self, site: &mut Site<'_>) -> Result<(), Ending> {
        let now = site.now();
        self.read(site)?;
        if self.change_at.is_none() && self.conn().is_some_and(|conn| conn.said_so) {
            return Err(Ending::Left);
        }
        self.act(now);
        self.grant(now);
        let fickle = self.change_at.is_some();
        let State::Talking(conn) = &mut self.state else { return Ok(()) };
        if conn.link.backlog() > 0 && conn.push_at <= now {
            let most = if fickle && self.dice.coin() { self.dice.spread(1, 200) } else { 1 << 20 };
            if conn.link.push(site, most as usize).is_err() {
                return Err(Ending::Reset);
            }
            conn.push_at = now + if fickle { self.dice.spread(10 * MICROS, 50 * MILLIS) } else { 10 * MICROS };
        }
        Ok(())
    }

    /// Reads on, in its way.
    fn read(&mut self, site: &mut Site<'_>) -> Result<(), Ending> {
        let State::Talking(conn) = &mut self.state else { return Ok(()) };
        let now = site.now();
        let most = match self.reading {
            _ if conn.read_at > now => return Ok(()),
            Reading::Eager => usize::MAX,
            Reading::Trickle { bytes, .. } => bytes,
            Reading::Nothing => return Ok(()),
        };
        let mut ending = None;
        loop {
            match site.read(conn.link.end, most, |bytes| conn.inbox.extend_from_slice(bytes)) {
                Ok(0) => ending = Some(Ending::Closed),
                Ok(_) => {
                    if let Reading::Trickle { every, .. } = self.reading {
                        conn.read_at = now + every;
                        break;
                    }
                    continue;
                }
                Err(Errno::AGAIN) => {}
                Err(_) => ending = Some(Ending::Reset),
            }
            break;
        }
        if conn.is_mute || conn.inbox.starts_with(b"HTTP/1.1 ") {
            // Whoever was not heard out, or finds no place, is told so in words that all understand.
            (conn.is_mute, conn.inbox) = (true, Vec::new());
        }
        let frame_max = conn.frame_max;
        while let Some(frame) = wire::take_frame(&mut conn.inbox, frame_max) {
            conn.on_frame(&frame, now, &mut self.seats, &self.ledger);
        }
        for seat in &mut self.seats {
            if let Some(id) = seat.on.filter(|id| !conn.calls[id].is_on()) {
                seat.note_end(&conn.calls[&id]);
                seat.on = None;
                seat.until = now + self.dice.spread(MILLIS, 3 * SECONDS);
            }
        }
        // A server that goes closes when nothing is left.
        ending.map_or(Ok(()), Err)
    }

    /// Opens streams, and when fickle does something with one of them.
    fn act(&mut self, now: u64) {
        let fickle = self.change_at.is_some();
        let State::Talking(conn) = &mut self.state else { return };
        if conn.is_mute || conn.act_at > now {
            return;
        }
        conn.act_at = now + if fickle { self.dice.spread(MILLIS, 3 * SECONDS) } else { 100 * MILLIS };
        for (nth, seat) in self.seats.iter_mut().enumerate() {
            if seat.on.is_none() && seat.until <= now && !conn.is_leaving {
                conn.open(nth, seat, &mut self.dice, &self.ledger, fickle);
                conn.calls.values_mut().last().expect("just opened").heard_at = now;
            }
        }
        if fickle {
            self.do_something();
        }
    }

    fn do_something(&mut self) {
        let State::Talking(conn) = &mut self.state else { return };
        let dice = &mut self.dice;
        let on: Vec<u32> = conn.calls.iter().filter(|(_, call)| call.is_on()).map(|(id, _)| *id).collect();
        let Some(&id) = on.get(dice.below(on.len().max(1) as u64) as usize) else { return };
        let is_call = conn.calls[&id].kind != Kind::Sse;
        match dice.below(16) {
            0..5 if is_call && conn.calls[&id].may_send() => {
                let count = dice.spread(1, 5);
                let mut topics: Vec<String> = (0..count)
                    .map(|_| self.all_topics[dice.below(self.all_topics.len() as u64) as usize].clone())
                    .collect();
                topics.sort();
                topics.dedup();
                conn.change_topics(id, &topics.into(), dice, &self.ledger);
            }
            5 if is_call && conn.calls[&id].may_send() => {
                // The end of the call, or of what we have to say, which is the same.
                let ends = dice.coin();
                let message = if ends { Vec::new() } else { wire::request(&[], true) };
                conn.send_data(id, &message, ends, dice);
                let call = conn.calls.get_mut(&id).expect("just found");
                (call.is_leaving, call.is_half_closed) = (true, ends);
            }
            6 => conn.give_up(id, &self.ledger, &mut self.seats),
            7 | 8 => conn.send_settings(dice, true),
            9 => conn.ping(Mark::Nothing),
            10 if dice.one_in(8) => {
                wire::put_frame(wire::GOAWAY, 0, 0, &[0; 8], &mut conn.link.waiting);
                (conn.is_leaving, conn.said_so) = (true, true);
            }
            _ => {}
        }
    }

    /// Opens windows, in its way.
    fn grant(&mut self, now: u64) {
        let settled = self.change_at.is_none();
        let State::Talking(conn) = &mut self.state else { return };
        if conn.is_mute || conn.grant_at > now {
            return;
        }
        conn.refill(now);
        match self.granting {
            Granting::AtOnce => {
                conn.grant_all(settled);
                conn.grant_at = now + MILLIS;
            }
            Granting::Late { every } => {
                conn.grant_all(false);
                conn.grant_at = now + every;
            }
            Granting::Crumbs { every } => {
                conn.grant_crumbs(&mut self.dice);
                conn.grant_at = now + every;
            }
            Granting::Never => {}
        }
    }

    /// Whether it changes its ways, or hangs up.
    fn change(&mut self, site: &mut Site<'_>) {
        self.be_fickle(site.now());
        self.reading = match self.dice.below(8) {
            0..4 => Reading::Eager,
            4 | 5 => {
                let every = self.dice.spread(100 * MICROS, SECONDS);
                Reading::Trickle { bytes: self.dice.spread(1, 4096) as usize, every }
            }
            6 => Reading::Nothing,
            _ => return self.go_away(site, Ending::Left),
        };
        self.granting = match self.dice.below(6) {
            0..3 => Granting::AtOnce,
            3 => Granting::Late { every: self.dice.spread(MILLIS, 5 * SECONDS) },
            4 => Granting::Crumbs { every: self.dice.spread(10 * MILLIS, 300 * MILLIS) },
            _ => Granting::Never,
        };
        let State::Talking(conn) = &mut self.state else { return };
        (conn.read_at, conn.grant_at) = (0, 0);
        // Now and then in the middle of a frame.
        if !conn.inbox.is_empty() && self.dice.one_in(4) {
            let end = conn.link.end;
            self.go_away(site, Ending::Left);
            site.reset(end);
        }
    }
}

impl Seat {
    /// Its stream is over: where would another one begin?
    fn note_end(&mut self, call: &Call) {
        self.resume = match self.kind {
            Kind::Grpc { ids: false } => call.sent_away,
            _ => call.sent_away.or(call.last_id).or(self.resume),
        };
    }
}

impl Conn {
    /// Refills what it may spend on small frames.
    fn refill(&mut self, now: u64) {
        let more = (now - self.controls.1) * CONTROLS_PER_SECOND / SECONDS;
        if more > 0 {
            self.controls = ((self.controls.0 + more).min(CONTROLS_MAX), now);
        }
    }

    /// Whether a small frame may be sent.
    fn may_control(&mut self) -> bool {
        let may = self.controls.0 > 0;
        self.controls.0 -= u64::from(may);
        may
    }

    fn put(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        wire::put_frame(kind, flags, stream, payload, &mut self.link.waiting);
    }

    /// Another set of settings, the usual ones unless `fickle`.
    fn send_settings(&mut self, dice: &mut Dice, fickle: bool) {
        let (mut initial, mut frame_max) = (self.initial, self.frame_max);
        if fickle {
            initial = match dice.below(8) {
                0 => 0,
                1 => 1,
                2 | 3 => WINDOW,
                _ => dice.spread(1, 100_000) as i64,
            };
            frame_max = if dice.coin() { 16_384 } else { dice.between(16_384, 40_000) as usize };
        }
        if fickle && !self.may_control() {
            return;
        }
        let settings = [(wire::INITIAL_WINDOW_SIZE, initial as u32), (wire::MAX_FRAME_SIZE, frame_max as u32)];
        wire::put_settings(&settings, &mut self.link.waiting);
        // More room counts from now on, less when the server has heard of it.
        let delta = initial - self.initial;
        self.calls.values_mut().for_each(|call| call.window += delta.max(0));
        let of = self.calls.keys().copied().collect();
        self.unsettled.push_back(Unsettled { less: (-delta).max(0), of, frame_max });
        self.frame_max = self.frame_max.max(frame_max);
        self.initial = initial;
    }

    fn ping(&mut self, mark: Mark) {
        if self.may_control() {
            self.marks.push_back(mark);
            let number = (self.marks.len() as u64).to_be_bytes();
            self.put(wire::PING, 0, 0, &number);
        }
    }

    /// Sends a field block, in one frame or several.
    fn send_fields(&mut self, id: u32, block: &[u8], ends: bool, dice: &mut Dice) {
        let flags = if ends { wire::END_STREAM } else { 0 };
        if dice.one_in(4) {
            let (first, rest) = block.split_at(dice.below(block.len() as u64) as usize);
            self.put(wire::HEADERS, flags, id, first);
            self.put(wire::CONTINUATION, wire::END_HEADERS, id, rest);
        } else {
            self.put(wire::HEADERS, flags | wire::END_HEADERS, id, block);
        }
    }

    /// Sends part of a call, in one frame or several, padded or not. The server's windows are far from full.
    fn send_data(&mut self, id: u32, mut bytes: &[u8], ends: bool, dice: &mut Dice) {
        loop {
            let len = if dice.one_in(3) { dice.below(bytes.len() as u64 + 1) as usize } else { bytes.len() };
            let (part, rest) = bytes.split_at(len);
            bytes = rest;
            let end = if ends && bytes.is_empty() { wire::END_STREAM } else { 0 };
            if dice.one_in(4) {
                let padding = dice.below(256) as u8;
                let payload = [&[padding][..], part, &vec![0; usize::from(padding)]].concat();
                self.put(wire::DATA, end | wire::PADDED, id, &payload);
            } else {
                self.put(wire::DATA, end, id, part);
            }
            if bytes.is_empty() {
                return;
            }
        }
    }

    fn open(&mut self, nth: usize, seat: &mut Seat, dice: &mut Dice, ledger: &RefCell<Ledger>, fickle: bool) {
        let id = self.next_id;
        // Now and then it leaves out a number, and now and then it has forgotten where it was.
        self.next_id += if fickle && dice.one_in(10) { 4 } else { 2 };
        let resume = if fickle && dice.one_in(10) { None } else { seat.resume };
        let text = resume.map(|id| id.to_string());
        let resume_field = text.as_deref().map(|id| ("last-event-id", id));
        let call = Call::new(nth, seat.client, seat.kind, self.initial, Rc::clone(&seat.topics), resume);
        self.calls.insert(id, call);
        seat.on = Some(id);
        match seat.kind {
            Kind::Sse => {
                let path = format!("/?eventType={}", seat.topics.join(","));
                let mut fields = vec![(":method", "GET"), (":scheme", "http"), (":path", &path), (":authority", "sim")];
                fields.push(("accept", "text/event-stream"));
                fields.extend(resume_field);
                self.send_fields(id, &wire::block(&fields), true, dice);
            }
            Kind::Grpc { ids } => {
                let mut fields =
                    vec![(":method", "POST"), (":scheme", "http"), (":path", "/proto.StreamService/Events")];
                fields.extend([("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", "sim")]);
                fields.extend(ids.then_some(("plasma-ids", "1")));
                fields.extend(resume_field);
                self.send_fields(id, &wire::block(&fields), false, dice);
                let number = ledger.borrow_mut().call_begins(seat.client, resume, !ids);
                self.calls.get_mut(&id).expect("just inserted").number = Some(number);
                self.change_topics(id, &Rc::clone(&seat.topics), dice, ledger);
            }
        }
    }

    /// Asks for another set of topics, and sends a PING behind it.
    fn change_topics(&mut self, id: u32, topics: &Rc<[String]>, dice: &mut Dice, ledger: &RefCell<Ledger>) {
        self.send_data(id, &wire::request(topics, false), false, dice);
        let call = self.calls.get_mut(&id).expect("an open call");
        let number = ledger.borrow_mut().topics_change(call.number.expect("it has begun"), topics);
        call.changes = number + 1;
        self.ping(Mark::Change { stream: id, number });
    }

    /// Cancels a stream.
    fn give_up(&mut self, id: u32, ledger: &RefCell<Ledger>, seats: &mut [Seat]) {
        let call = self.calls.get_mut(&id).expect("an open call");
        call.stage = Stage::GivenUp;
        call.end(Ending::Left, ledger);
        let seat = &mut seats[call.seat];
        seat.note_end(call);
        seat.on = None;
        self.put(wire::RST_STREAM, 0, id, &8u32.to_be_bytes());
        self.ping(Mark::GivenUp { stream: id });
    }

    /// Gives back everything that was read; when `wide`, windows that were small become large.
    fn grant_all(&mut self, wide: bool) {
        let more = if wide { (self.wide - self.window).max(0) } else { i64::from(self.owed) };
        self.grant_to(0, more);
        let ids: Vec<u32> = self.calls.iter().filter(|(_, call)| call.is_on()).map(|(id, _)| *id).collect();
        for id in ids {
            let call = &self.calls[&id];
            let more = if wide { (self.wide - call.window).max(0) } else { i64::from(call.owed) };
            self.grant_to(id, more);
        }
    }

    /// A byte for the connection, a byte for some streams.
    fn grant_crumbs(&mut self, dice: &mut Dice) {
        if self.owed > 0 {
            self.grant_to(0, dice.between(1, i64::from(self.owed).min(40) as u64) as i64);
        }
        let ids: Vec<u32> =
            self.calls.iter().filter(|(_, call)| call.is_on() && call.owed > 0).map(|(id, _)| *id).collect();
        for id in ids {
            if dice.coin() {
                self.grant_to(id, 1);
            }
        }
    }

    /// Opens a window.
    fn grant_to(&mut self, id: u32, more: i64) {
        if more <= 0 || !self.may_control() {
            return;
        }
        let (window, owed) = match self.calls.get_mut(&id) {
            Some(call) => (&mut call.window, &mut call.owed),
            None => (&mut self.window, &mut self.owed),
        };
        *window += more;
        *owed = owed.saturating_sub(more as u32);
        self.put(wire::WINDOW_UPDATE, 0, id, &(more as u32).to_be_bytes());
    }

    fn on_frame(&mut self, frame: &Frame, now: u64, seats: &mut [Seat], ledger: &RefCell<Ledger>) {
        if let Some((id, ..)) = self.block {
            assert_eq!((frame.kind, frame.stream), (wire::CONTINUATION, id), "a field block goes on");
        }
        match frame.kind {
            wire::DATA => self.on_data(frame, now, seats, ledger),
            wire::HEADERS => {
                assert!(!frame.has(wire::PADDED), "nobody needs that");
                let parts = (frame.stream, frame.flags, frame.payload.clone());
                if frame.has(wire::END_HEADERS) { self.on_fields(parts, now, ledger) } else { self.block = Some(parts) }
            }
            wire::CONTINUATION => {
                let mut parts = self.block.take().expect("a field block that goes on");
                parts.2.extend_from_slice(&frame.payload);
                if frame.has(wire::END_HEADERS) { self.on_fields(parts, now, ledger) } else { self.block = Some(parts) }
            }
            wire::RST_STREAM => self.on_reset(frame, ledger),
            wire::SETTINGS if frame.has(wire::ACK) => self.on_settled(),
            wire::SETTINGS => {
                assert_eq!((frame.stream, frame.payload.len() % 6), (0, 0));
                self.put(wire::SETTINGS, wire::ACK, 0, b"");
            }
            wire::PING => {
                assert_eq!((frame.stream, frame.payload.len()), (0, 8));
                if frame.has(wire::ACK) {
                    self.on_pong(ledger);
                } else {
                    self.put(wire::PING, wire::ACK, 0, &frame.payload);
                }
            }
            wire::GOAWAY => {
                let (code, words) = (&frame.payload[4..8], String::from_utf8_lossy(&frame.payload[8..]));
                assert_eq!(code, [0; 4], "the server accuses us: {words}");
                self.is_leaving = true;
            }
            wire::WINDOW_UPDATE => assert!(frame.word() > 0 && frame.payload.len() == 4),
            kind => panic!("a frame of kind {kind}"),
        }
    }

    fn on_data(&mut self, frame: &Frame, now: u64, seats: &mut [Seat], ledger: &RefCell<Ledger>) {
        assert!(!frame.has(wire::PADDED), "nobody needs that");
        let len = frame.payload.len() as i64;
        let call = self.calls.get_mut(&frame.stream).expect("DATA on a stream that we opened");
        self.window -= len;
        call.window -= len;
        // An empty frame needs no window.
        let is_within = len == 0 || self.window >= 0 && call.window >= 0;
        assert!(is_within, "{len} bytes of DATA leave windows of {} and {} bytes", self.window, call.window);
        self.owed += len as u32;
        call.owed += len as u32;
        match call.stage {
            Stage::GivenUp => return,
            Stage::Ended | Stage::Gone => panic!("DATA after the end: {call:?}"),
            Stage::Asked | Stage::Open => {}
        }
        if call.kind == Kind::Sse {
            let seat = &mut seats[call.seat];
            seat.silence_max = seat.silence_max.max(now - call.heard_at);
        }
        call.heard_at = now;
        call.on_data(&frame.payload, frame.has(wire::END_STREAM), ledger);
    }

    fn on_fields(&mut self, (id, flags, block): (u32, u8, Vec<u8>), now: u64, ledger: &RefCell<Ledger>) {
        let call = self.calls.get_mut(&id).expect("HEADERS on a stream that we opened");
        let fields = wire::fields(&block);
        match call.stage {
            Stage::GivenUp => return,
            Stage::Ended | Stage::Gone => panic!("HEADERS after the end: {call:?}"),
            Stage::Asked | Stage::Open => {}
        }
        call.heard_at = now;
        call.on_fields(&fields, flags & wire::END_STREAM != 0, ledger);
    }

    fn on_reset(&mut self, frame: &Frame, ledger: &RefCell<Ledger>) {
        let code = frame.word();
        let call = self.calls.get_mut(&frame.stream).expect("RST_STREAM of a stream that we opened");
        match call.stage {
            // Refused, or an event stream given up in the middle of an event.
            Stage::Asked => assert_eq!(code, 7, "{call:?}"),
            Stage::Open => assert!(code == 8 && call.kind == Kind::Sse, "reset with {code}: {call:?}"),
            Stage::Ended => assert_eq!(code, 0, "{call:?}"),
            Stage::GivenUp => {}
            Stage::Gone => panic!("RST_STREAM after the end: {call:?}"),
        }
        call.end(Ending::Reset, ledger);
        call.stage = Stage::Gone;
    }

    /// The server has our settings.
    fn on_settled(&mut self) {
        let settled = self.unsettled.pop_front().expect("as many acknowledgements as SETTINGS");
        for id in settled.of {
            self.calls.get_mut(&id).expect("calls are not forgotten").window -= settled.less;
        }
        self.frame_max = self.unsettled.iter().map(|later| later.frame_max).max().unwrap_or(0).max(settled.frame_max);
    }

    fn on_pong(&mut self, ledger: &RefCell<Ledger>) {
        match self.marks.pop_front().expect("as many answers as PINGs") {
            Mark::Change { stream, number } => {
                let call = &self.calls[&stream];
                if let (Some(of), true) = (call.number, call.is_on() && call.is_between()) {
                    ledger.borrow_mut().on_change_heard(of, number);
                }
            }
            Mark::GivenUp { stream } => self.calls.get_mut(&stream).expect("a call").stage = Stage::Gone,
            Mark::Nothing => {}
        }
    }
}

impl Peer for H2Client {
    fn wake(&mut self, site: &mut Site<'_>) {
        let now = site.now();
        self.ledger.borrow_mut().now_millis = site.unix_millis();
        if self.leaving {
            self.go_away(site, Ending::Left);
            self.state = State::Gone;
            return;
        }
        if self.change_at.is_some_and(|at| at <= now) {
            self.change(site);
        }
        match &self.state {
            State::Away { until } if *until <= now => self.state = State::Dialing(site.connect(self.to)),
            State::Dialing(end) => {
                let end = *end;
                self.dial(site, end);
            }
            _ => {}
        }
        if let Err(ending) = self.talk(site) {
            self.go_away(site, ending);
        }
        let next_at = match &self.state {
            State::Away { until } => Some(*until),
            State::Talking(conn) => conn.next_at(self.granting, now),
            State::Dialing(_) | State::Gone => None,
        };
        if let Some(at) = [next_at, self.change_at].into_iter().flatten().min() {
            site.wake_in(at.saturating_sub(now).max(1));
        }
    }
}

impl Conn {
    /// When there is something to do that nobody will tell of.
    fn next_at(&self, granting: Granting, now: u64) -> Option<u64> {
        let push = (self.link.backlog() > 0).then_some(self.push_at);
        let read = (self.read_at > now).then_some(self.read_at);
        let act = (!self.is_mute).then_some(self.act_at);
        let is_owing = self.owed > 0 || self.calls.values().any(|call| call.is_on() && call.owed > 0);
        let grant = (is_owing && granting != Granting::Never && !self.is_mute).then_some(self.grant_at);
        [push, read, act, grant].into_iter().flatten().min()
    }
}
