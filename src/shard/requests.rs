//! From bytes to an answer or a stream: requests over HTTP/1.1, one after another on each connection.
//!
//! An incomplete request is kept here and nowhere else, bounded by its head's limit and the body's; while an answer is
//! awaited or on its way, what the client sends further waits, and past a bound is not even received.

use bytes::Bytes;

use super::clients::Stage;
use super::outbox::{Outbox, Then};
use super::profiles::Profile;
use super::tokens::Kind;
use super::{Due, Ending, Shard};
use crate::base::limits::{BODIES_LEN_MAX, HEAD_LEN_MAX};
use crate::base::log::access;
use crate::base::wheel::Alarm;
use crate::dialect::{Route, route};
use crate::ring::{Errno, Part, RECV_BUFFERS, RECV_LEN_MAX, Ring, Socket, Token};
use crate::wire::http1::{Answer, Body, BodyLength, Head, Manner, Refusal, http_date, is_h2_preface, parse_head};

/// How long a connection that is to be closed may still talk: closing under unread bytes would reset it, and the answer
/// would be lost with it.
const LINGER_FOR: std::time::Duration = std::time::Duration::from_secs(2);

/// Most bytes it may say meanwhile.
const LINGER_LEN_MAX: usize = 1024 * 1024;

/// A connection between accept and stream, or between short answers.
pub(super) struct Request {
    /// Received and not yet understood.
    input: Vec<u8>,
    phase: Phase,
    alarm: Option<Alarm>,
    outbox: Option<u32>,
    receiving: bool,
    /// The client will send nothing more.
    ended: bool,
    /// The kernel has said that there is an end to what the client sends; it may still have to be read.
    half_closed: bool,
    /// There may be more to receive than was asked for.
    paused: bool,
    /// Not everything that the client sends will be read.
    lingers: bool,
    /// A request was taken on this connection already.
    served: bool,
}

enum Phase {
    /// In the head, or before it.
    Head,
    /// The client waits for `100 Continue`, which is on its way.
    Continuing(Box<Incoming>),
    /// In the body.
    Body(Box<Incoming>),
    /// The body is with the publishers.
    Publishing(Publishing),
    /// The answer is on its way.
    Answering,
    /// Answered; this many bytes were heard since, and not listened to.
    Lingering(usize),
}

/// A body on its way in.
struct Incoming {
    body: Body,
    collected: Vec<u8>,
    publishing: Publishing,
}

/// A publish request that awaits its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Publishing {
    pub manner: Manner,
    /// Through `/debug`, whose answers are the original's.
    pub debug: bool,
}

/// What follows a short answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterAnswer {
    /// The body of the request that was told to go on.
    Body,
    /// The next request.
    Next,
    /// The end.
    End,
    /// The end, once the client has said everything: bytes that nobody reads would reset the connection.
    Linger,
}

impl Request {
    pub fn new(alarm: Alarm) -> Self {
        Self {
            input: Vec::new(),
            phase: Phase::Head,
            alarm: Some(alarm),
            outbox: None,
            receiving: false,
            ended: false,
            half_closed: false,
            paused: false,
            lingers: false,
            served: false,
        }
    }

    /// The outbox of its answer, while that is on its way.
    pub fn outbox(&self) -> Option<u32> {
        self.outbox
    }

    /// Something happened on the socket, which may have been the end of what the client sends.
    pub fn note_end(&mut self, is_end: bool) {
        self.half_closed |= is_end;
    }

    /// Whether that end is known to come, or has come.
    pub fn is_half_closed(&self) -> bool {
        self.half_closed || self.ended
    }
}

impl<R: Ring> Shard<R> {
    fn request_key(&mut self, socket: u32) -> Option<usize> {
        match self.clients.stage(socket) {
            Stage::Request(key) => Some(key as usize),
            _ => None,
        }
    }

    /// Asks for what the client has sent, when it is its turn.
    pub(super) fn receive(&mut self, socket: u32) {
        if self.receives < RECV_BUFFERS && self.starved.is_empty() {
            self.receive_now(socket);
        } else {
            self.starved.push_back(socket);
        }
    }

    /// Asks for what the client has sent.
    pub(super) fn receive_now(&mut self, socket: u32) {
        match self.clients.stage(socket) {
            Stage::Free => return,
            Stage::Request(key) => {
                let request = &mut self.requests[key as usize];
                let waits = matches!(request.phase, Phase::Publishing(_) | Phase::Answering | Phase::Continuing(_));
                if waits && request.input.len() >= HEAD_LEN_MAX {
                    request.paused = true;
                    return;
                }
                if std::mem::replace(&mut request.receiving, true) {
                    return;
                }
            }
            Stage::H2(key) => {
                if !self.begin_h2_receive(key) {
                    return;
                }
            }
            Stage::Live { .. } | Stage::Behind(_) => {}
        }
        let token = Kind::Recv.token(socket, self.clients.at(socket).generation());
        self.receives += 1;
        self.ring.recv(Socket(socket), false, token);
    }

    /// A buffer came; an empty one is the end.
    pub(super) fn on_received(&mut self, token: Token, bytes: &[u8]) {
        let socket = token.index();
        let Some(client) = self.clients.find(token) else { return };
        if bytes.is_empty() {
            return self.on_nothing_received(token, Ok(0));
        }
        // A full buffer says that there may be more, and no further report may come. Nor does one of an end that was
        // reported together with these bytes.
        let mut is_more = bytes.len() == RECV_LEN_MAX;
        match client.stage() {
            Stage::Request(key) => {
                let request = &mut self.requests[key as usize];
                request.receiving = false;
                is_more |= request.half_closed;
                self.take_bytes(socket, bytes);
            }
            Stage::H2(_) => is_more |= self.on_h2_received(socket, bytes),
            _ => self.on_chatter(socket),
        }
        if is_more && self.clients.find(token).is_some() {
            self.receive(socket);
        }
    }

    /// A receive brought no bytes.
    pub(super) fn on_nothing_received(&mut self, token: Token, result: Result<u32, Errno>) {
        let socket = token.index();
        let Some(client) = self.clients.find(token) else { return };
        let stage = client.stage();
        if let Stage::Request(key) = stage {
            self.requests[key as usize].receiving = false;
        }
        if let Stage::H2(key) = stage {
            self.end_h2_receive(key);
        }
        match (result, stage) {
            (Ok(_), Stage::Request(_)) => self.on_input_ended(socket),
            (Ok(_), _) => self.end(socket, Ending::Closed),
            (Err(Errno::AGAIN), _) => {}
            (Err(Errno::NOBUFS), _) => self.starved.push_back(socket),
            (Err(error), _) => self.end(socket, super::ending_of(error)),
        }
    }

    /// The client has half-closed. Whoever awaits an answer still gets it.
    fn on_input_ended(&mut self, socket: u32) {
        let Some(key) = self.request_key(socket) else { return };
        let request = &mut self.requests[key];
        match request.phase {
            Phase::Head | Phase::Body(_) | Phase::Lingering(_) => self.end(socket, Ending::Closed),
            Phase::Continuing(_) | Phase::Publishing(_) | Phase::Answering => request.ended = true,
        }
    }

    /// Takes in what came, behind what was left of earlier.
    fn take_bytes(&mut self, socket: u32, bytes: &[u8]) {
        let Some(key) = self.request_key(socket) else { return };
        let mut input = std::mem::take(&mut self.requests[key].input);
        if input.is_empty() {
            let used = self.advance(socket, bytes);
            if let Some(key) = self.request_key(socket) {
                self.requests[key].input.extend_from_slice(&bytes[used..]);
            }
        } else {
            input.extend_from_slice(bytes);
            self.advance_with(socket, input);
        }
    }

    /// Goes on with `input`, which is kept as far as it is not used.
    fn advance_with(&mut self, socket: u32, mut input: Vec<u8>) {
        let used = self.advance(socket, &input);
        if let Some(key) = self.request_key(socket) {
            input.drain(..used);
            self.requests[key].input = input;
        }
    }

    /// Understands as much of `input` as the phase allows; returns how much that was.
    fn advance(&mut self, socket: u32, input: &[u8]) -> usize {
        let mut used = 0;
        while let Some(key) = self.request_key(socket) {
            let rest = &input[used..];
            let is_first = !self.requests[key].served;
            let step = match &mut self.requests[key].phase {
                Phase::Head if rest.is_empty() => break,
                Phase::Head if is_first && is_h2_preface(rest) != Some(false) => {
                    // Part of a preface may look like a whole request of a version that nobody speaks.
                    if is_h2_preface(rest).is_none() {
                        break;
                    }
                    self.begin_h2(socket, rest);
                    return input.len();
                }
                Phase::Head => self.advance_head(socket, rest),
                Phase::Body(_) => self.advance_body(socket, key, rest),
                Phase::Lingering(heard) => {
                    *heard += rest.len();
                    if *heard > LINGER_LEN_MAX {
                        self.end(socket, Ending::Answered);
                    }
                    return input.len();
                }
                Phase::Continuing(_) | Phase::Publishing(_) | Phase::Answering => break,
            };
            match step {
                Some(step) => used += step,
                None => break,
            }
        }
        used
    }

    /// Tries to read a head; `None` when it is incomplete.
    fn advance_head(&mut self, socket: u32, input: &[u8]) -> Option<usize> {
        match parse_head(input) {
            Ok(None) => None,
            Ok(Some((head, len))) => {
                self.take_request(socket, &head);
                Some(len)
            }
            Err(refusal) => {
                // A head that is whole and has nothing behind it was all that the client had to say.
                if !input.ends_with(b"\r\n\r\n") {
                    self.linger(socket);
                }
                let answer = self.settings.policy.with_cors(refusal.into());
                self.answer(socket, &answer, Manner::LAST);
                None
            }
        }
    }

    fn advance_body(&mut self, socket: u32, key: usize, input: &[u8]) -> Option<usize> {
        let Phase::Body(incoming) = &mut self.requests[key].phase else { return None };
        let before = incoming.collected.len();
        let fed = incoming.body.feed(input, &mut incoming.collected);
        self.bodies_len += incoming.collected.len() - before;
        match fed {
            Err(refusal) => {
                self.refuse(socket, refusal);
                None
            }
            Ok(_) if self.bodies_len > BODIES_LEN_MAX => {
                self.refuse(socket, Refusal::new(503, "too many publish requests are on their way in"));
                None
            }
            Ok(progress) if progress.done => {
                let phase = std::mem::replace(&mut self.requests[key].phase, Phase::Answering);
                if let Phase::Body(incoming) = phase {
                    self.bodies_len -= incoming.collected.len();
                    self.requests[key].phase = Phase::Publishing(incoming.publishing);
                    let token = Kind::Recv.token(socket, self.clients.at(socket).generation());
                    self.publish_body(token, &incoming.collected, incoming.publishing);
                }
                Some(progress.used)
            }
            Ok(progress) => {
                // The deadline is for the head; a body may take long as long as it comes.
                let due = self.ring.now() + self.settings.request_timeout;
                if let Some(alarm) = self.requests[key].alarm.replace(self.wheel.arm(due, Due::Request { socket })) {
                    self.wheel.disarm(alarm);
                }
                (progress.used > 0).then_some(progress.used)
            }
        }
    }

    /// A whole head is here.
    fn take_request(&mut self, socket: u32, head: &Head<'_>) {
        self.clients.at(socket).since = self.tick;
        if let Some(key) = self.request_key(socket) {
            self.requests[key].served = true;
        }
        let body = match head.body() {
            Ok(body) => body,
            Err(refusal) => return self.refuse(socket, refusal),
        };
        let mut manner = Manner::of(head);
        let route = route(head, &self.settings.policy);
        if let (Route::Publish | Route::DebugPublish, body) = (&route, body) {
            let debug = route == Route::DebugPublish;
            return self.take_publish(socket, head, body, Publishing { manner, debug });
        }
        // Nobody will read the body of any other request, so nothing can follow it.
        if !matches!(body, BodyLength::None | BodyLength::Exactly(0)) {
            manner.keep_alive = false;
            self.linger(socket);
        }
        match route {
            Route::Subscribe(subscription) if !self.drain.is_active() => {
                self.start_stream(socket, head, &subscription);
            }
            Route::Subscribe(_) => {
                let answer = Answer::text(503, "shutting down\n").with("Retry-After", "1");
                manner.keep_alive = false;
                let answer = self.settings.policy.with_cors(answer);
                self.log_request(socket, head, "sse", 503);
                self.answer(socket, &answer, manner);
            }
            Route::Answer(answer) => {
                if head.accepts_event_stream() {
                    self.log_request(socket, head, "sse", answer.status());
                }
                self.answer(socket, &answer, manner);
            }
            Route::Health => {
                let status = if self.is_healthy() { 200 } else { 500 };
                self.log_request(socket, head, "healthCheck", status);
                self.answer(socket, &Answer::new(status), manner);
            }
            Route::DebugPage => self.answer(socket, &super::publish::debug_page(&self.settings.policy), manner),
            Route::Preflight => {
                let answer = self.settings.policy.preflight();
                self.answer(socket, &answer, manner);
            }
            Route::Publish | Route::DebugPublish => unreachable!("handled above"),
        }
    }

    fn take_publish(&mut self, socket: u32, head: &Head<'_>, length: BodyLength, publishing: Publishing) {
        let body = match Body::new(length, self.settings.policy.publish_max) {
            Ok(body) => body,
            Err(refusal) => return self.refuse(socket, refusal),
        };
        let Some(key) = self.request_key(socket) else { return };
        let incoming = Box::new(Incoming { body, collected: Vec::new(), publishing });
        if head.expects_continue() && length != BodyLength::None {
            self.requests[key].phase = Phase::Continuing(incoming);
            let go_on = Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n");
            return self.send_answer(socket, go_on, AfterAnswer::Body);
        }
        self.requests[key].phase = Phase::Body(incoming);
        // A request without a body is complete already.
        if matches!(length, BodyLength::None | BodyLength::Exactly(0)) {
            self.requests[key].phase = Phase::Publishing(publishing);
            let token = Kind::Recv.token(socket, self.clients.at(socket).generation());
            self.publish_body(token, b"", publishing);
        }
    }

    fn refuse(&mut self, socket: u32, refusal: Refusal) {
        let answer = self.settings.policy.with_cors(refusal.into());
        self.linger(socket);
        self.answer(socket, &answer, Manner::LAST);
    }

    /// Not all that the client sends will be read.
    fn linger(&mut self, socket: u32) {
        if let Some(key) = self.request_key(socket) {
            self.requests[key].lingers = true;
        }
    }

    /// The answer to a publish request that `token` (of kind `Recv` or `Stream`) was made for.
    pub(super) fn answer_publish(&mut self, token: Token, answer: impl FnOnce(&Self, Publishing) -> Answer) {
        if Kind::of(token) == Kind::Stream {
            return self.answer_stream_publish(token, answer);
        }
        if self.clients.find(token).is_none() {
            return;
        }
        let Some(key) = self.request_key(token.index()) else { return };
        let Phase::Publishing(publishing) = self.requests[key].phase else { return };
        let answer = self.settings.policy.with_cors(answer(self, publishing));
        self.answer(token.index(), &answer, publishing.manner);
    }

    /// Sends a short answer.
    pub(super) fn answer(&mut self, socket: u32, answer: &Answer, mut manner: Manner) {
        manner.keep_alive &= !self.drain.is_active();
        let bytes = answer.to_bytes(manner, &http_date(self.ring.unix_millis() / 1_000));
        if let Some(key) = self.request_key(socket) {
            let after = match manner.keep_alive {
                true => AfterAnswer::Next,
                false if self.requests[key].lingers => AfterAnswer::Linger,
                false => AfterAnswer::End,
            };
            let phase = std::mem::replace(&mut self.requests[key].phase, Phase::Answering);
            self.forget_body(&phase);
            if let Some(alarm) = self.requests[key].alarm.take() {
                self.wheel.disarm(alarm);
            }
            self.send_answer(socket, bytes.into(), after);
        }
    }

    fn send_answer(&mut self, socket: u32, bytes: Bytes, after: AfterAnswer) {
        let Some(key) = self.request_key(socket) else { return };
        let mut outbox = Outbox::new(socket, self.reader.seen(), Then::Answer(after));
        outbox.rest = smallvec::smallvec![Part::Own(bytes)];
        let outbox = self.outboxes.insert(outbox) as u32;
        self.requests[key].outbox = Some(outbox);
        self.pump(outbox);
    }

    /// A short answer is out.
    pub(super) fn answered(&mut self, socket: u32, after: AfterAnswer) {
        let Some(key) = self.request_key(socket) else { return };
        let due =
            self.ring.now() + if after == AfterAnswer::Linger { LINGER_FOR } else { self.settings.request_timeout };
        let request = &mut self.requests[key];
        request.outbox = None;
        match (after, std::mem::replace(&mut request.phase, Phase::Head)) {
            (AfterAnswer::Body, Phase::Continuing(incoming)) => request.phase = Phase::Body(incoming),
            (AfterAnswer::Linger, _) if !request.ended => request.phase = Phase::Lingering(0),
            (AfterAnswer::End | AfterAnswer::Linger, _) => return self.end(socket, Ending::Answered),
            (_, _) => {}
        }
        if request.alarm.is_none() {
            request.alarm = Some(self.wheel.arm(due, Due::Request { socket }));
        }
        let (paused, ended) = (std::mem::take(&mut request.paused), request.ended);
        let input = std::mem::take(&mut request.input);
        self.advance_with(socket, input);
        if ended && self.request_key(socket).is_some_and(|key| matches!(self.requests[key].phase, Phase::Head)) {
            return self.end(socket, Ending::Closed);
        }
        if paused && self.request_key(socket).is_some() {
            self.receive(socket);
        }
    }

    /// The request did not come in time.
    pub(super) fn on_request_late(&mut self, socket: u32) {
        let Some(key) = self.request_key(socket) else { return };
        let request = &mut self.requests[key];
        request.alarm = None;
        match request.phase {
            Phase::Head if request.input.is_empty() => self.end(socket, Ending::RequestTimeout),
            Phase::Head | Phase::Body(_) => {
                self.refuse(socket, Refusal::new(408, "the request took too long"));
            }
            Phase::Lingering(_) => self.end(socket, Ending::Answered),
            // Not the client's turn: the write and the upstream have deadlines of their own.
            Phase::Continuing(_) | Phase::Publishing(_) | Phase::Answering => {}
        }
    }

    /// The client goes or becomes a stream.
    pub(super) fn drop_request(&mut self, key: u32) {
        let request = self.requests.remove(key as usize);
        self.forget_body(&request.phase);
        if let Some(alarm) = request.alarm {
            self.wheel.disarm(alarm);
        }
        if let Some(outbox) = request.outbox {
            self.orphan_outbox(outbox);
        }
        if self.requests.is_empty() {
            self.requests = slab::Slab::new();
        }
    }

    /// Whether nothing of a request has come yet, so that nobody misses its answer.
    pub(super) fn is_idle_request(&self, key: u32) -> bool {
        let request = &self.requests[key as usize];
        matches!(request.phase, Phase::Head | Phase::Lingering(_)) && request.input.is_empty()
    }

    fn forget_body(&mut self, phase: &Phase) {
        if let Phase::Body(incoming) | Phase::Continuing(incoming) = phase {
            self.bodies_len -= incoming.collected.len();
        }
    }

    /// One line for a request that is answered at once.
    fn log_request(&mut self, socket: u32, head: &Head<'_>, msg: &str, status: u16) {
        if !self.log.takes_access() {
            return;
        }
        let profile = Profile::of(head);
        let remote = super::accept::remote_addr(profile.forwarded, self.clients.peer(socket));
        let content_length = match head.body() {
            Ok(BodyLength::Exactly(len)) => i64::try_from(len).unwrap_or(i64::MAX),
            Ok(BodyLength::Chunked) => -1,
            _ => 0,
        };
        self.log.access(msg, |fields| {
            access::Request { content_length, ..profile.line(&remote, status, "answered") }.write(fields);
        });
    }
}
