//! gRPC calls on streams: messages in, messages and a status out.
//!
//! A stream takes one message at a time. While a publication awaits its outcome, or a change of topics the end of what
//! was sent before, further messages wait, and with them the window that would let more of them come.

use std::time::Duration;

use prost::Message;

use super::super::mail::{Events, Outcome, Publication, Reply};
use super::super::tokens::Kind;
use super::super::{Due, Ending, Shard};
use super::streams::{End, Role};
use crate::base::limits::{BODIES_LEN_MAX, PUBLISH_EVENTS_MAX, TOPIC_LEN_MAX};
use crate::dialect::calls::{Call, CallRoute, REQUEST_LEN_MAX, SERVICES, topics};
use crate::dialect::plasma;
use crate::ring::{Ring, Token};
use crate::wire::grpc::proto::health::health_check_response::ServingStatus;
use crate::wire::grpc::proto::health::{HealthCheckRequest, HealthCheckResponse, HealthListResponse};
use crate::wire::grpc::proto::plasma::Request;
use crate::wire::grpc::proto::publish::{PublishRequest, PublishResponse};
use crate::wire::grpc::{Code, Fault, Status, message, parse_timeout, reflection};
use crate::wire::h2::hpack::encode;
use crate::wire::http1::Head;

/// What becomes of a stream after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// It takes the next one.
    Next,
    /// The next one has to wait.
    Wait,
    /// It has ended.
    Over,
}

impl<R: Ring> Shard<R> {
    /// A call begins.
    pub(super) fn start_call(&mut self, stream: u32, head: &Head<'_>, route: CallRoute) {
        let going = || Status::new(Code::Unavailable, "the server is shutting down");
        let found = self.streams.at(stream);
        match route {
            CallRoute::Events { ids, .. } => found.role = Role::Events { ids },
            CallRoute::Call(call) => found.role = Role::Call(call),
            CallRoute::Refused(status) => {
                found.role = Role::Call(Call::Reflection);
                return self.end_call(stream, status);
            }
            CallRoute::Answer(_) => return,
        }
        let always = matches!(route, CallRoute::Call(Call::HealthCheck | Call::HealthList));
        if self.drain.is_active() && !always {
            return self.end_call(stream, going());
        }
        if let Some(timeout) = head.field("grpc-timeout") {
            let Some(timeout) = parse_timeout(timeout) else {
                return self.end_call(stream, Status::new(Code::Internal, "malformed grpc-timeout"));
            };
            self.arm_stream(stream, timeout);
        }
        if let CallRoute::Events { resume, .. } = route {
            // At once, so that the client knows that it is connected.
            self.say_head(stream);
            self.start_events(stream, resume);
        }
    }

    fn arm_stream(&mut self, stream: u32, timeout: Duration) {
        let due = self.now_plus(timeout.min(Duration::from_secs(365 * 24 * 3600)));
        let generation = self.streams.at(stream).generation();
        let alarm = self.wheel.arm(due, Due::Stream { key: stream, generation, lost: false });
        if let Some(before) = self.streams.at(stream).extra().alarm.replace(alarm) {
            self.wheel.disarm(before);
        }
    }

    /// The head of every call that says anything.
    fn say_head(&mut self, stream: u32) {
        let found = self.streams.at(stream);
        if std::mem::replace(&mut found.has_head, true) {
            return;
        }
        let (socket, id) = self.address_of(stream);
        let mut block = Vec::with_capacity(64);
        write_head(&mut block);
        self.write_block(socket, id, false, &block);
    }

    /// Bytes of messages came.
    pub(super) fn on_messages(&mut self, stream: u32, bytes: &[u8], ends: bool) {
        let found = self.streams.at(stream);
        let waits = found.extra.as_ref().is_some_and(|extra| extra.has_to_wait() || extra.has_waiting());
        if waits {
            let extra = found.extra();
            extra.inbox.extend_from_slice(bytes);
            extra.inbox_ends |= ends;
            return;
        }
        self.read_messages(stream, bytes, ends);
    }

    /// What had to wait goes on.
    pub(super) fn go_on_reading(&mut self, stream: u32) {
        let Some(extra) = self.streams.find(stream).and_then(|found| found.extra.as_mut()) else { return };
        if extra.has_to_wait() {
            return;
        }
        let (inbox, ends) = (std::mem::take(&mut extra.inbox), std::mem::take(&mut extra.inbox_ends));
        if ends || !inbox.is_empty() {
            self.read_messages(stream, &inbox, ends);
        }
    }

    fn read_messages(&mut self, stream: u32, mut input: &[u8], ends: bool) {
        let found = self.streams.at(stream);
        let (role, generation) = (found.role, found.generation());
        let max = match role {
            Role::Call(call) => call.message_len_max(&self.settings.policy),
            _ => REQUEST_LEN_MAX,
        };
        let mut deframer = found.extra.as_mut().map(|extra| std::mem::take(&mut extra.deframer)).unwrap_or_default();
        let before = input.len();
        let then = loop {
            match deframer.next(&mut input, max) {
                Ok(None) => break Then::Next,
                Ok(Some(message)) => match self.on_message(stream, role, &message) {
                    Then::Next => {}
                    then => break then,
                },
                Err(fault) => {
                    self.end_call(stream, status_of(fault, role));
                    break Then::Over;
                }
            }
        };
        if then == Then::Over || self.streams.find_of(stream, generation).is_none() {
            return;
        }
        self.use_up(stream, before - input.len());
        let is_between = deframer.is_between_messages();
        let held = deframer.held_len();
        if !is_between || !input.is_empty() || then == Then::Wait {
            let extra = self.streams.at(stream).extra();
            extra.deframer = deframer;
            extra.inbox = input.to_vec();
            extra.inbox_ends = ends;
        } else {
            self.tidy_extra(stream);
        }
        self.account_for(stream, held);
        if then == Then::Next && ends && self.streams.find_of(stream, generation).is_some() {
            self.on_messages_end(stream, role, is_between);
        }
    }

    /// Half a message is held: within what all of them may take.
    fn account_for(&mut self, stream: u32, held: usize) {
        let Some(extra) = self.streams.find(stream).and_then(|found| found.extra.as_mut()) else { return };
        let before = std::mem::replace(&mut extra.held, held);
        self.bodies_len = self.bodies_len + held - before;
        if held > before && self.bodies_len > BODIES_LEN_MAX {
            let words = "too many messages are on their way in";
            self.end_call(stream, Status::new(Code::ResourceExhausted, words));
        }
    }

    /// The client has said everything.
    fn on_messages_end(&mut self, stream: u32, role: Role, is_between: bool) {
        if !is_between {
            let status = match role {
                Role::Events { .. } => plasma::receive_failed(&Status::new(Code::Internal, "unexpected EOF")),
                _ => Status::new(Code::Internal, "the last message is not whole"),
            };
            return self.end_call(stream, status);
        }
        match role {
            Role::Events { .. } => self.finish_call(stream),
            Role::Call(Call::Reflection) => self.end_after(stream, Status::OK),
            Role::Call(Call::PublishStream) => self.answer_published(stream),
            // Answered already, or watching; without any message there is nothing to answer.
            Role::Call(_) => {
                let found = self.streams.at(stream);
                if !found.has_head {
                    self.end_call(stream, Status::new(Code::Internal, "a unary call without its message"));
                }
            }
            _ => {}
        }
    }

    fn on_message(&mut self, stream: u32, role: Role, bytes: &[u8]) -> Then {
        let result = match role {
            Role::Events { .. } => return self.on_subscribe(stream, bytes),
            Role::Call(Call::Publish | Call::PublishStream) => self.on_publish(stream, bytes),
            Role::Call(Call::HealthCheck) => self.on_health_check(stream, bytes),
            Role::Call(Call::HealthWatch) => self.on_health_watch(stream, bytes),
            Role::Call(Call::HealthList) => {
                let answer = HealthListResponse {
                    statuses: SERVICES.map(|name| (name.to_owned(), self.health_of(name))).into_iter().collect(),
                };
                self.answer_call(stream, &answer);
                Ok(Then::Next)
            }
            Role::Call(Call::Reflection) => self.on_reflection(stream, bytes),
            _ => Ok(Then::Next),
        };
        result.unwrap_or_else(|status| {
            self.end_call(stream, status);
            Then::Over
        })
    }

    /// A set of topics, in place of the one before.
    fn on_subscribe(&mut self, stream: u32, bytes: &[u8]) -> Then {
        let request = match Request::decode(bytes) {
            Ok(request) => request,
            Err(error) => {
                self.end_call(stream, plasma::receive_failed(&Status::malformed(&error)));
                return Then::Over;
            }
        };
        if request.force_close {
            self.finish_call(stream);
            return Then::Over;
        }
        self.log_subscribe(&request);
        match topics(request) {
            Ok(topics) => {
                let generation = self.streams.at(stream).generation();
                self.change_topics(stream, topics);
                match self.streams.find_of(stream, generation) {
                    None => Then::Over,
                    Some(found) if found.extra.as_ref().is_some_and(|extra| extra.change.is_some()) => Then::Wait,
                    Some(_) => Then::Next,
                }
            }
            Err(status) => {
                self.end_call(stream, status);
                Then::Over
            }
        }
    }

    fn on_publish(&mut self, stream: u32, bytes: &[u8]) -> Result<Then, Status> {
        let request = PublishRequest::decode(bytes).map_err(|error| Status::malformed(&error))?;
        let found = self.streams.at(stream);
        let generation = found.generation();
        let held = found.extra.as_ref().map_or(0, |extra| extra.accepted as usize);
        if held + request.events.len() > PUBLISH_EVENTS_MAX {
            let words = format!("more than {PUBLISH_EVENTS_MAX} events in one call");
            return Err(Status::new(Code::InvalidArgument, words));
        }
        let event_max = self.settings.policy.event_max;
        let mut events = Events::with_room(request.events.len(), bytes.len());
        for (index, event) in request.events.iter().enumerate() {
            events.push(&event.r#type, checked_data(index, event, event_max)?);
        }
        if events.is_empty() {
            self.on_published(stream, &Outcome::Ids(Vec::new()));
            return Ok(Then::Next);
        }
        self.streams.at(stream).extra().is_publishing = true;
        let token = Kind::Stream.token(stream, generation);
        if self.publish(Publication { shard: self.desk.shard(), token, events }) {
            Ok(Then::Wait)
        } else {
            Err(Status::new(Code::ResourceExhausted, "too many publish requests at once"))
        }
    }

    /// Something became of a publication that a call made, if it was one.
    pub(in super::super) fn on_call_outcome(&mut self, reply: &Reply) -> bool {
        let token = reply.token;
        let Some(found) = self.streams.find_of(token.index(), token.generation()) else { return false };
        if !matches!(found.role, Role::Call(_)) {
            return false;
        }
        found.extra().is_publishing = false;
        self.on_published(token.index(), &reply.outcome);
        self.go_on_reading_of(token);
        true
    }

    fn go_on_reading_of(&mut self, token: Token) {
        if self.streams.find_of(token.index(), token.generation()).is_some() {
            self.go_on_reading(token.index());
        }
    }

    fn on_published(&mut self, stream: u32, outcome: &Outcome) {
        let found = self.streams.at(stream);
        let is_unary = found.role == Role::Call(Call::Publish);
        let extra = found.extra();
        match outcome {
            Outcome::Unreachable => {
                return self.end_call(stream, Status::new(Code::Unavailable, "the upstream did not take the events"));
            }
            Outcome::Accepted(count) => extra.accepted += *count as u64,
            Outcome::Ids(ids) => {
                extra.accepted += ids.len() as u64;
                extra.ids.extend(ids.iter().map(|id| id.get().to_string()));
            }
        }
        if is_unary {
            self.answer_published(stream);
        }
    }

    fn answer_published(&mut self, stream: u32) {
        let extra = self.streams.at(stream).extra();
        let answer =
            PublishResponse { ids: std::mem::take(&mut extra.ids), accepted: std::mem::take(&mut extra.accepted) };
        self.answer_call(stream, &answer);
    }

    /// The one message that answers a call, and its end.
    fn answer_call(&mut self, stream: u32, answer: &impl Message) {
        let mut bytes = Vec::new();
        message(answer, &mut bytes);
        self.say_head(stream);
        self.say(stream, &bytes);
        self.end_after(stream, Status::OK);
    }

    fn health_of(&self, service: &str) -> HealthCheckResponse {
        let status = match (SERVICES.contains(&service), self.is_healthy()) {
            (false, _) => ServingStatus::ServiceUnknown,
            (true, true) => ServingStatus::Serving,
            (true, false) => ServingStatus::NotServing,
        };
        HealthCheckResponse { status: status as i32 }
    }

    fn on_health_check(&mut self, stream: u32, bytes: &[u8]) -> Result<Then, Status> {
        let request = HealthCheckRequest::decode(bytes).map_err(|error| Status::malformed(&error))?;
        if !SERVICES.contains(&request.service.as_str()) {
            return Err(Status::new(Code::NotFound, "unknown service"));
        }
        let answer = self.health_of(&request.service);
        self.answer_call(stream, &answer);
        Ok(Then::Next)
    }

    fn on_health_watch(&mut self, stream: u32, bytes: &[u8]) -> Result<Then, Status> {
        let request = HealthCheckRequest::decode(bytes).map_err(|error| Status::malformed(&error))?;
        if self.streams.at(stream).has_head {
            return Err(Status::new(Code::Internal, "a second message in a unary request"));
        }
        let answer = self.health_of(&request.service);
        if answer.status != ServingStatus::ServiceUnknown as i32 {
            self.watches.push(stream);
        }
        let mut bytes = Vec::new();
        message(&answer, &mut bytes);
        self.say_head(stream);
        self.say(stream, &bytes);
        Ok(Then::Next)
    }

    /// Tells those who watch when the health has changed.
    pub(in super::super) fn tell_watches(&mut self) {
        let healthy = self.is_healthy();
        if std::mem::replace(&mut self.watched_healthy, healthy) == healthy || self.watches.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        message(&self.health_of(""), &mut bytes);
        for stream in self.watches.clone() {
            self.say(stream, &bytes);
        }
    }

    fn on_reflection(&mut self, stream: u32, bytes: &[u8]) -> Result<Then, Status> {
        let request = Message::decode(bytes).map_err(|error| Status::malformed(&error))?;
        let mut bytes = Vec::new();
        message(&reflection::answer(request), &mut bytes);
        self.say_head(stream);
        self.say(stream, &bytes);
        // One answer at a time: who asks without reading does not pile them up here.
        Ok(Then::Wait)
    }

    /// Ends a call because its client wants that, once the message that it is in the middle of is whole.
    fn finish_call(&mut self, stream: u32) {
        if self.streams.at(stream).is_between() {
            self.end_call(stream, Status::OK);
        } else {
            self.end_after(stream, Status::OK);
        }
    }

    /// Ends a watch. Who was told that all is well and it is not hears that first.
    pub(super) fn end_watch(&mut self, stream: u32, words: &str) {
        let (is_healthy, count) = (self.is_healthy(), self.watches.len());
        self.watches.retain(|watch| *watch != stream);
        if self.watches.len() < count && self.watched_healthy && !is_healthy {
            let mut bytes = Vec::new();
            message(&self.health_of(""), &mut bytes);
            self.say(stream, &bytes);
        }
        self.end_after(stream, Status::new(Code::Unavailable, words.to_owned()));
    }

    /// Ends a call when everything before is out.
    pub(super) fn end_after(&mut self, stream: u32, status: Status) {
        let extra = self.streams.at(stream).extra();
        extra.end = Some(End::Status(status));
        self.continue_stream(stream);
    }

    /// Ends a call now; what it has not been sent is dropped.
    pub(super) fn end_call(&mut self, stream: u32, status: Status) {
        let found = self.streams.at(stream);
        let (has_head, events) = (found.has_head, found.role);
        let (socket, id) = self.address_of(stream);
        let mut block = Vec::with_capacity(128);
        if !has_head {
            // RFC 9113 §8.1 and "Trailers-Only": one block is head and trailers.
            write_head(&mut block);
        }
        encode::field(b"grpc-status", itoa::Buffer::new().format(status.code.number()).as_bytes(), &mut block);
        if !status.message.is_empty() {
            let mut text = Vec::new();
            status.write_message(&mut text);
            text.truncate(4 * 1024);
            encode::field(b"grpc-message", &text, &mut block);
        }
        if status.code == Code::Unimplemented {
            encode::field(b"grpc-accept-encoding", b"identity", &mut block);
        }
        self.write_block(socket, id, true, &block);
        if let Some(connection) = self.connection_at(socket) {
            connection.session.stop(id);
        }
        if matches!(events, Role::Events { .. }) {
            self.log_call_end(stream, &status);
        }
        self.drop_stream(stream, None);
    }

    /// The deadline that a caller gave has come.
    pub(super) fn on_call_late(&mut self, stream: u32) {
        self.end_call(stream, Status::new(Code::DeadlineExceeded, "the deadline given with the call has passed"));
    }

    /// A stream that lost events upstream and is not told otherwise ends.
    pub(super) fn on_call_lost(&mut self, stream: u32) {
        self.counts.gaps += 1;
        self.send_away(stream, Ending::Lost, "events may have been lost upstream");
    }
}

fn write_head(block: &mut Vec<u8>) {
    encode::status(200, block);
    encode::field(b"content-type", b"application/grpc", block);
}

/// The status for a stream whose messages cannot be told apart.
fn status_of(fault: Fault, role: Role) -> Status {
    let status = fault.status();
    match (fault, role) {
        (Fault::Compressed, _) => Status::new(Code::Unimplemented, "messages may not be compressed"),
        // Today's clients know what this code means, and its words are the original's too.
        (Fault::TooLarge { .. }, Role::Events { .. }) => {
            Status { code: status.code, ..plasma::receive_failed(&status) }
        }
        (_, Role::Events { .. }) => plasma::receive_failed(&status),
        _ => status,
    }
}

/// The data of an event that may be published, or why it may not.
fn checked_data(
    index: usize,
    event: &crate::wire::grpc::proto::publish::Event,
    event_max: usize,
) -> Result<Option<&str>, Status> {
    let refused = |code, what: String| Err(Status::new(code, format!("event {index}: {what}")));
    if event.r#type.len() > TOPIC_LEN_MAX {
        return refused(Code::InvalidArgument, format!("the event type is longer than {TOPIC_LEN_MAX} bytes"));
    }
    if event.r#type.len() + event.data.len() > event_max {
        return refused(Code::ResourceExhausted, format!("the event is larger than {event_max} bytes"));
    }
    if event.data.is_empty() {
        return Ok(None);
    }
    match serde_json::from_str::<&serde_json::value::RawValue>(&event.data) {
        Ok(_) => Ok(Some(&event.data)),
        Err(reason) => refused(Code::InvalidArgument, format!("data is no JSON: {reason}")),
    }
}
