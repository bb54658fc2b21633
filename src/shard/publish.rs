//! Publishing over HTTP: from a request's body to the first shard, and back with what became of it.

use super::Shard;
use super::mail::{Events, Outcome, Publication, Reply};
use super::requests::Publishing;
use super::tokens::Kind;
use crate::base::log::Level;
use crate::dialect::Policy;
use crate::ring::{Ring, Token};
use crate::wire::envelope::{self, BadEvent, Envelope};
use crate::wire::http1::Answer;

/// The page for people: subscribes with `EventSource`, publishes with `fetch`, needs nothing from elsewhere.
const DEBUG_PAGE: &str = include_str!("debug.html");

/// The page as an answer.
pub(super) fn debug_page(policy: &Policy) -> Answer {
    // The setting is put into a script: as JSON text in which no tag can begin.
    let mut query = Vec::new();
    crate::wire::json::write_string(&policy.event_query, &mut query);
    let page = DEBUG_PAGE.replace("\"EVENT_QUERY\"", &String::from_utf8_lossy(&query));
    let answer = Answer::new(200).with_body("text/html; charset=utf-8", page.into_bytes());
    policy.with_cors(answer.with("Cache-Control", "no-store"))
}

impl<R: Ring> Shard<R> {
    /// A whole body is here.
    pub(super) fn publish_body(&mut self, token: Token, body: &[u8], publishing: Publishing) {
        let event_max = self.settings.policy.event_max;
        let parsed =
            if publishing.debug { debug_event(body, event_max) } else { envelope::publish_body(body, event_max) };
        match parsed {
            Ok(events) if events.is_empty() => {
                self.answer_publish(token, |_, publishing| taken(&Outcome::Ids(Vec::new()), publishing));
            }
            Ok(envelopes) => {
                let mut events = Events::with_room(envelopes.len(), body.len());
                for Envelope { kind, data } in &envelopes {
                    events.push(kind, data.as_deref());
                }
                if !self.publish(Publication { shard: self.desk.shard(), token, events }) {
                    let busy = Answer::text(503, "too many publish requests at once\n").with("Retry-After", "1");
                    self.answer_publish(token, |_, _| busy);
                }
            }
            Err(bad) => {
                if publishing.debug {
                    self.log.error(Level::Info, "failed to decode json in debug endpoint", |fields| {
                        fields.str("error", &bad.reason);
                    });
                }
                self.answer_publish(token, |_, publishing| refused(&bad, publishing));
            }
        }
    }

    /// Hands events to the first shard; `false` when too many publications await their outcome.
    pub(super) fn publish(&mut self, publication: Publication) -> bool {
        if !self.desk.expect() {
            return false;
        }
        match self.desk.send(publication) {
            Some(own) => self.own_publications.push(own),
            None if self.desk.must_ring(0) => self.ring.ring_bell(0),
            None => {}
        }
        true
    }

    /// Takes in what other shards wrote.
    pub(super) fn take_mail(&mut self) {
        while let Some(reply) = self.desk.take_reply() {
            self.on_outcome(reply);
        }
    }

    /// Something became of a publication of ours.
    pub(super) fn on_outcome(&mut self, reply: Reply) {
        self.desk.fulfil();
        if Kind::of(reply.token) == Kind::Stream && self.on_call_outcome(&reply) {
            return;
        }
        self.answer_publish(reply.token, |_, publishing| taken(&reply.outcome, publishing));
    }

    /// Tells the shard that asked what became of its publication.
    pub(super) fn tell_outcome(&mut self, shard: usize, token: Token, outcome: Outcome) {
        let reply = Reply { token, outcome };
        if shard == self.desk.shard() {
            return self.on_outcome(reply);
        }
        self.desk.reply(shard, reply);
        if self.desk.must_ring(shard) {
            self.ring.ring_bell(shard);
        }
    }
}

/// What `/debug` takes: the first JSON value of the body.
fn debug_event(body: &[u8], event_max: usize) -> Result<Vec<Envelope<'_>>, BadEvent> {
    if body.len() > event_max {
        let reason = format!("the event is longer than {event_max} bytes");
        return Err(BadEvent { index: 0, reason, too_large: true });
    }
    match envelope::parse_first(body) {
        Ok(envelope) => Ok(vec![envelope]),
        Err(malformed) => Err(BadEvent { index: 0, reason: malformed.0, too_large: false }),
    }
}

fn refused(bad: &BadEvent, publishing: Publishing) -> Answer {
    let status = if bad.too_large { 413 } else { 400 };
    if publishing.debug {
        return Answer::new(status);
    }
    Answer::text(status, format!("event {}: {}\n", bad.index, bad.reason))
}

fn taken(outcome: &Outcome, publishing: Publishing) -> Answer {
    if publishing.debug {
        return Answer::new(if *outcome == Outcome::Unreachable { 500 } else { 200 });
    }
    let mut body = Vec::new();
    match outcome {
        Outcome::Unreachable => return Answer::text(502, "the upstream did not take the events\n"),
        Outcome::Accepted(count) => {
            body.extend_from_slice(b"{\"accepted\":");
            body.extend_from_slice(itoa::Buffer::new().format(*count).as_bytes());
        }
        Outcome::Ids(ids) => {
            body.extend_from_slice(b"{\"ids\":[");
            for (index, id) in ids.iter().enumerate() {
                body.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
                body.extend_from_slice(itoa::Buffer::new().format(id.get()).as_bytes());
                body.push(b'"');
            }
            body.push(b']');
        }
    }
    body.push(b'}');
    body.push(b'\n');
    Answer::new(202).with_body("application/json", body)
}
