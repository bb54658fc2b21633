//! HTTP requests on streams: the same routes and answers as over HTTP/1.1, each request with a stream of its own.
//!
//! A request is answered when it has ended; bodies that nobody wants are read over.

use super::super::publish::debug_page;
use super::super::requests::Publishing;
use super::super::tokens::Kind;
use super::super::{Due, Ending, Shard};
use super::streams::{Asked, End, Role};
use crate::base::limits::BODIES_LEN_MAX;
use crate::dialect::calls::{CallRoute, route_call};
use crate::dialect::{Route, route};
use crate::ring::{Ring, Token};
use crate::wire::h2::frame::Code;
use crate::wire::h2::hpack::{Fields, encode};
use crate::wire::h2::{head_of, write_answer};
use crate::wire::http1::{Answer, Head, Manner, Method, http_date};

impl<R: Ring> Shard<R> {
    /// A request begins.
    pub(super) fn on_h2_request(&mut self, socket: u32, id: u32, ends: bool, fields: &Fields) {
        if fields.is_too_large() {
            return self.answer_unasked(socket, id, ends, &Answer::text(431, "request head too long\n"));
        }
        let tick = self.tick;
        let Some(connection) = self.connection_at(socket) else { return };
        let mut expect =
            |length: Option<u64>| length.is_none_or(|length| connection.session.expect_body(id, length, ends));
        let head = match head_of(fields).map(|(head, length)| (head, expect(length))) {
            Ok((head, true)) => head,
            Ok((_, false)) | Err(_) => {
                if let Err(failure) = connection.session.reset_at_cost(id, Code::ProtocolError, tick) {
                    self.on_h2_failure(socket, failure);
                }
                return;
            }
        };
        let seen = self.reader.seen();
        let stream = self.streams.enter(socket, id, Role::Request, seen, self.tick);
        if let Some(connection) = self.connection_at(socket) {
            connection.session.adopt(id, stream);
        }
        let profile = self.hold_profile(&head);
        let found = self.streams.at(stream);
        (found.profile, found.wants_events) = (profile, head.accepts_event_stream());
        match route_call(&head, &self.settings.policy) {
            Some(CallRoute::Answer(answer)) => self.answer_stream(stream, &answer, false),
            Some(call) => self.start_call(stream, &head, call),
            None => self.start_request(stream, &head, ends),
        }
        if ends && self.streams.find(stream).is_some_and(|found| found.id == id) {
            self.on_h2_data(stream, b"", true);
        }
    }

    fn start_request(&mut self, stream: u32, head: &Head<'_>, ends: bool) {
        let manner = Manner { head_only: head.method() == Method::Head, ..Manner::LAST };
        let policy = &self.settings.policy;
        let asked = match route(head, policy) {
            route @ (Route::Publish | Route::DebugPublish) => {
                let debug = route == Route::DebugPublish;
                Asked::Publish { collected: Vec::new(), publishing: Publishing { manner, debug } }
            }
            Route::Subscribe(_) if self.drain.is_active() => {
                Asked::Answer(Box::new(policy.with_cors(Answer::text(503, "shutting down\n").with("Retry-After", "1"))))
            }
            Route::Subscribe(subscription) => Asked::Subscribe(Box::new(subscription)),
            Route::Answer(answer) => Asked::Answer(Box::new(answer)),
            Route::Health => Asked::Health,
            Route::DebugPage => Asked::Answer(Box::new(debug_page(policy))),
            Route::Preflight => Asked::Answer(Box::new(policy.preflight())),
        };
        let expects = !ends && head.expects_continue() && matches!(asked, Asked::Publish { .. });
        let due = self.now_plus(self.settings.request_timeout);
        let found = self.streams.at(stream);
        found.head_only = manner.head_only;
        let generation = found.generation();
        found.extra().asked = Some(asked);
        if !ends {
            let alarm = self.wheel.arm(due, Due::Stream { key: stream, generation, lost: false });
            self.streams.at(stream).extra().alarm = Some(alarm);
        }
        if expects {
            let (socket, id) = self.address_of(stream);
            let mut block = Vec::with_capacity(8);
            encode::status(100, &mut block);
            self.write_block(socket, id, false, &block);
        }
    }

    /// Part of a request's body, or of a call's messages.
    pub(super) fn on_h2_data(&mut self, stream: u32, bytes: &[u8], ends: bool) {
        let Some(found) = self.streams.find(stream) else { return };
        match found.role {
            Role::Request => self.on_body(stream, bytes, ends),
            Role::Events { .. } | Role::Call(_) => self.on_messages(stream, bytes, ends),
            // Nobody listens; the bytes are given back.
            Role::Answer | Role::Sse => self.use_up(stream, bytes.len()),
        }
    }

    /// Bytes of a stream were used: so many may come again.
    pub(super) fn use_up(&mut self, stream: u32, len: usize) {
        if len == 0 {
            return;
        }
        let (socket, id) = self.address_of(stream);
        if let Some(connection) = self.connection_at(socket) {
            connection.session.give_credit(id, len);
        }
        self.mark_dirty(socket);
    }

    fn on_body(&mut self, stream: u32, bytes: &[u8], ends: bool) {
        self.use_up(stream, bytes.len());
        let (publish_max, held) = (self.settings.policy.publish_max, self.bodies_len);
        let found = self.streams.at(stream);
        if let Some(Asked::Publish { collected, .. }) = &mut found.extra().asked {
            if collected.len() + bytes.len() > publish_max {
                return self.answer_stream(stream, &Answer::text(413, "the body is too large\n"), true);
            }
            if held + bytes.len() > BODIES_LEN_MAX {
                let busy = Answer::text(503, "too many publish requests are on their way in\n");
                return self.answer_stream(stream, &busy, true);
            }
            collected.extend_from_slice(bytes);
            self.bodies_len += bytes.len();
        }
        if ends {
            self.on_request_whole(stream);
        } else {
            self.postpone(stream);
        }
    }

    /// A body may take long as long as it comes.
    fn postpone(&mut self, stream: u32) {
        let due = self.now_plus(self.settings.request_timeout);
        let found = self.streams.at(stream);
        let generation = found.generation();
        if let Some(alarm) = found.extra().alarm.take() {
            self.wheel.disarm(alarm);
        }
        let alarm = self.wheel.arm(due, Due::Stream { key: stream, generation, lost: false });
        self.streams.at(stream).extra().alarm = Some(alarm);
    }

    /// Everything of a request is here.
    fn on_request_whole(&mut self, stream: u32) {
        let found = self.streams.at(stream);
        let generation = found.generation();
        let extra = found.extra();
        let asked = extra.asked.take();
        if let Some(alarm) = extra.alarm.take() {
            self.wheel.disarm(alarm);
        }
        match asked {
            Some(Asked::Answer(answer)) => {
                self.log_h2_request(stream, answer.status());
                self.answer_stream(stream, &answer, false);
            }
            Some(Asked::Health) => {
                let status = if self.is_healthy() { 200 } else { 500 };
                self.log_h2_health(stream, status);
                self.answer_stream(stream, &Answer::new(status), false);
            }
            Some(Asked::Subscribe(subscription)) => self.start_sse(stream, &subscription),
            Some(Asked::Publish { collected, publishing }) => {
                self.bodies_len -= collected.len();
                let extra = self.streams.at(stream).extra();
                extra.publishing = Some(publishing);
                self.publish_body(Kind::Stream.token(stream, generation), &collected, publishing);
            }
            None => {}
        }
    }

    /// The answer to a publish request that `token` (of kind `Stream`) was made for.
    pub(in super::super) fn answer_stream_publish(
        &mut self,
        token: Token,
        answer: impl FnOnce(&Self, Publishing) -> Answer,
    ) {
        let Some(found) = self.streams.find_of(token.index(), token.generation()) else { return };
        let Some(publishing) = found.extra().publishing.take() else { return };
        let answer = self.settings.policy.with_cors(answer(self, publishing));
        self.answer_stream(token.index(), &answer, false);
    }

    /// Sends an answer. `early` says that the request has not ended, and the peer is asked to stop.
    pub(super) fn answer_stream(&mut self, stream: u32, answer: &Answer, early: bool) {
        let date = http_date(self.ring.unix_millis() / 1_000);
        let found = self.streams.at(stream);
        found.role = Role::Answer;
        let (socket, id, head_only) = (found.socket, found.id, found.head_only);
        let body = if head_only || answer.status() == 204 { b"".as_slice() } else { answer.body() };
        if let Some(extra) = &mut found.extra {
            self.bodies_len -= extra.held_len();
            extra.asked = None;
            if let Some(alarm) = extra.alarm.take() {
                self.wheel.disarm(alarm);
            }
        }
        let mut block = Vec::with_capacity(256);
        write_answer(answer, &date, &mut block);
        self.write_block(socket, id, body.is_empty(), &block);
        if body.is_empty() {
            if early && let Some(connection) = self.connection_at(socket) {
                connection.session.stop(id);
            }
            return self.drop_stream(stream, None);
        }
        let extra = self.streams.at(stream).extra();
        (extra.own, extra.end) = (bytes::Bytes::copy_from_slice(body), Some(End::Plain));
        self.continue_stream(stream);
    }

    /// An answer to a request that could not even be read.
    fn answer_unasked(&mut self, socket: u32, id: u32, ends: bool, answer: &Answer) {
        let seen = self.reader.seen();
        let stream = self.streams.enter(socket, id, Role::Answer, seen, self.tick);
        if let Some(connection) = self.connection_at(socket) {
            connection.session.adopt(id, stream);
        }
        self.answer_stream(stream, answer, !ends);
    }

    /// A deadline of a stream has come: of its request, its call, or its loss.
    pub(in super::super) fn on_stream_due(&mut self, stream: u32, generation: u32, lost: bool) {
        let Some(found) = self.streams.find_of(stream, generation) else { return };
        found.extra().alarm = None;
        match found.role {
            Role::Request => self.answer_stream(stream, &Answer::text(408, "the request took too long\n"), true),
            Role::Events { .. } if lost => self.on_call_lost(stream),
            Role::Events { .. } | Role::Call(_) => self.on_call_late(stream),
            Role::Answer | Role::Sse => self.reset_stream(stream, Code::Cancel, Ending::RequestTimeout),
        }
    }
}
