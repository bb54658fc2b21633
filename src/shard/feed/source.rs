//! Redis as a source: two links, their sessions, and the retries between them.
//!
//! The subscribing link feeds the log; the publishing one carries what was published here. They fail apart from each
//! other, and only the first one's health is the server's.

use std::collections::VecDeque;

use slab::Slab;

use super::Intake;
use super::link::{Event as LinkEvent, Link};
use super::redis::publisher::Declined;
use super::redis::{Publisher, Retry, Settings, Subscriber, Verdict, publisher, subscriber};
use crate::base::log::{Level, Log};
use crate::base::time::Instant;
use crate::dialect::plasma;
use crate::hub::log::Full;
use crate::ring::{Attached, Errno, Ring, Token};
use crate::shard::mail::{Outcome, Publication};
use crate::shard::tokens::Kind;
use crate::wire::envelope;

/// What became of publications, and whose they were.
type Outcomes = Vec<(usize, Token, Outcome)>;

/// What waits for room in the log.
enum Waiting {
    Event {
        kind: String,
        data: Option<String>,
    },
    /// The upstream was away.
    Loss,
}

/// A publication whose events are with Redis.
struct Pending {
    shard: usize,
    token: Token,
    count: usize,
    left: usize,
    failed: bool,
}

/// Whether Redis takes a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publish {
    Taken,
    /// Too much is under way.
    Later,
    /// The link is down.
    Failed,
}

pub(super) struct RedisFeed {
    settings: Settings,
    event_max: usize,
    subscribing: Link,
    subscriber: Option<Subscriber>,
    retry: Retry,
    publishing: Link,
    publisher: Option<Publisher>,
    publisher_retry: Retry,
    waiting: VecDeque<Waiting>,
    /// Bytes are not asked for while something waits.
    held: bool,
    /// There may be somebody who has missed something: a stream that began before the subscription stood, or any after
    /// it was lost.
    lost: bool,
    subscribed_once: bool,
    pending: Slab<Pending>,
    given_up: bool,
}

impl RedisFeed {
    pub fn new(settings: &Settings, event_max: usize) -> Self {
        Self {
            settings: settings.clone(),
            event_max,
            subscribing: Link::new(0),
            subscriber: None,
            retry: Retry::new(settings),
            publishing: Link::new(1),
            publisher: None,
            publisher_retry: Retry::new(settings),
            waiting: VecDeque::new(),
            held: false,
            subscribed_once: false,
            lost: false,
            pending: Slab::new(),
            given_up: false,
        }
    }

    pub fn has_channel(&self) -> bool {
        !self.settings.channels.is_empty()
    }

    /// Says whether any stream began before the subscription stood.
    pub fn note_awaited(&mut self, awaited: bool) {
        self.lost |= awaited && !self.subscribed_once;
    }

    pub fn has_given_up(&self) -> bool {
        self.given_up
    }

    pub fn is_healthy(&self, now: Instant) -> bool {
        self.subscriber.as_ref().is_some_and(|subscriber| subscriber.healthy(now))
    }

    pub fn next_deadline(&self) -> Option<Instant> {
        let sessions = [
            self.subscriber.as_ref().and_then(Subscriber::next_deadline),
            self.publisher.as_ref().and_then(Publisher::next_deadline),
        ];
        let links = [self.subscribing.next_deadline(), self.publishing.next_deadline()];
        sessions.into_iter().chain(links).flatten().min()
    }

    /// Looks after all deadlines.
    pub fn run(&mut self, ring: &mut impl Ring, intake: &mut Intake, log: &Log, now: Instant) -> Outcomes {
        let mut outcomes = Outcomes::new();
        // The address was checked when the configuration was read.
        let Ok(address) = self.settings.host_port() else { return outcomes };
        let links = [&mut self.subscribing, &mut self.publishing];
        let [subscribing, publishing] = links.map(|link| link.on_time(ring, address, now));
        match subscribing {
            LinkEvent::Failed(reason) => self.on_subscribing_failed(ring, log, now, &reason),
            _ => self.run_subscriber(ring, intake, log, now, None),
        }
        match publishing {
            LinkEvent::Failed(reason) => self.on_publishing_failed(ring, log, now, &reason),
            _ => self.run_publisher(ring, log, now, None, &mut outcomes),
        }
        outcomes
    }

    /// Takes in a completion of one of the links.
    pub fn on_link(
        &mut self,
        ring: &mut impl Ring,
        intake: &mut Intake,
        log: &Log,
        completion: (Kind, Token, Result<u32, Errno>, Attached),
    ) -> Outcomes {
        let now = ring.now();
        let mut outcomes = Outcomes::new();
        if self.subscribing.owns(completion.1) {
            match self.subscribing.on(ring, now, completion) {
                LinkEvent::Connected => {
                    self.subscriber = Some(Subscriber::started(&self.settings, self.event_max, now));
                }
                LinkEvent::Received(buffer) => {
                    self.run_subscriber(ring, intake, log, now, Some(&buffer));
                    ring.give_back(buffer);
                    self.held = !self.waiting.is_empty();
                    if !self.held {
                        self.subscribing.receive(ring);
                    }
                }
                LinkEvent::Failed(reason) => self.on_subscribing_failed(ring, log, now, &reason),
                LinkEvent::Nothing | LinkEvent::Sent => {}
            }
        } else {
            match self.publishing.on(ring, now, completion) {
                LinkEvent::Connected => self.publisher = Some(Publisher::started(&self.settings, now)),
                LinkEvent::Received(buffer) => {
                    self.run_publisher(ring, log, now, Some(&buffer), &mut outcomes);
                    ring.give_back(buffer);
                    self.publishing.receive(ring);
                }
                LinkEvent::Failed(reason) => self.close_publisher(ring, log, now, &reason, &mut outcomes),
                LinkEvent::Nothing | LinkEvent::Sent => {}
            }
        }
        self.flush(ring);
        outcomes
    }

    /// Sends what the sessions have to say.
    pub fn flush(&mut self, ring: &mut impl Ring) {
        if let Some(subscriber) = self.subscriber.as_mut().filter(|_| self.subscribing.can_send()) {
            let output = subscriber.take_output();
            if !output.is_empty() {
                self.subscribing.send(ring, output.into());
            }
        }
        if let Some(publisher) = self.publisher.as_mut().filter(|_| self.publishing.can_send()) {
            let output = publisher.take_output();
            if !output.is_empty() {
                self.publishing.send(ring, output.into());
            }
        }
    }

    /// Appends what waited for room; then bytes are asked for again.
    pub fn take_waiting(&mut self, ring: &mut impl Ring, intake: &mut Intake) -> Result<(), Full> {
        while let Some(first) = self.waiting.front() {
            match first {
                Waiting::Event { kind, data } => drop(intake.append(kind, data.as_deref())?),
                Waiting::Loss => intake.append_loss()?,
            }
            self.waiting.pop_front();
        }
        if std::mem::take(&mut self.held) {
            self.subscribing.receive(ring);
        }
        Ok(())
    }

    /// Feeds the subscribing session, or lets it look at the clock.
    fn run_subscriber(
        &mut self,
        ring: &mut impl Ring,
        intake: &mut Intake,
        log: &Log,
        now: Instant,
        bytes: Option<&[u8]>,
    ) {
        let Some(subscriber) = &mut self.subscriber else { return };
        let (mut failure, mut subscribed) = (None, false);
        let (waiting, lost) = (&mut self.waiting, self.lost);
        let on = |happening: subscriber::Happening<'_>| match happening {
            subscriber::Happening::Subscribed => {
                subscribed = true;
                if lost && (!waiting.is_empty() || intake.append_loss().is_err()) {
                    waiting.push_back(Waiting::Loss);
                }
            }
            subscriber::Happening::Message { channel, payload } => take_message(intake, waiting, log, channel, payload),
            subscriber::Happening::TooLarge { channel, len } => {
                log.error(Level::Error, "an event from redis is too large", |fields| {
                    fields.bytes("channel", channel.unwrap_or_default());
                    fields.uint("length", len);
                });
            }
            subscriber::Happening::Failed(reason) => failure = Some(reason.to_string()),
        };
        match bytes {
            Some(bytes) => subscriber.feed(bytes, now, on),
            None => subscriber.on_time(now, on),
        }
        if subscribed {
            (self.subscribed_once, self.lost) = (true, false);
            self.retry.succeeded();
            log.error(Level::Info, "subscribed to redis", |fields| {
                fields.strs("channels", self.settings.channels.iter().map(String::as_bytes));
            });
        }
        match failure {
            Some(reason) => self.on_subscribing_failed(ring, log, now, &reason),
            None => self.flush(ring),
        }
    }

    fn on_subscribing_failed(&mut self, ring: &mut impl Ring, log: &Log, now: Instant, reason: &str) {
        self.subscriber = None;
        // Whatever waits for room was received before the loss, and stays ahead of its notice.
        self.held = false;
        self.lost |= self.subscribed_once;
        let verdict = self.retry.failed(ring.random());
        let (count, max) = (self.retry.failures(), self.retry.failures_max());
        let message = "failed to receive message from redis continuously";
        log.error(if count > 1 { Level::Error } else { Level::Warn }, message, |fields| {
            fields.str("error", reason);
            fields.uint("errorCount", u64::from(count));
            fields.uint("maxErrorCount", u64::from(max));
        });
        match verdict {
            Verdict::Again { after, started_over } => {
                if started_over {
                    log.error(Level::Info, "reset error count and retry", |fields| {
                        fields.str("error", reason);
                        self.settings.show("config", fields);
                    });
                }
                self.subscribing.rest(ring, now + after);
            }
            Verdict::GiveUp => {
                self.given_up = true;
                self.subscribing.rest(ring, Instant::from_nanos(u64::MAX));
                log.error(Level::Fatal, "over max retry count", |fields| {
                    fields.str("error", reason);
                    self.settings.show("config", fields);
                });
            }
        }
    }

    /// Hands a publication to Redis.
    pub fn publish(&mut self, publication: &Publication, now: Instant) -> Publish {
        let Some(publisher) = &mut self.publisher else { return Publish::Failed };
        let Some(channel) = self.settings.channels.first() else { return Publish::Failed };
        let waits = publisher.awaited_count();
        if waits > 0 && waits + publication.events.len() > crate::base::limits::REDIS_PIPELINE_MAX {
            return Publish::Later;
        }
        let count = publication.events.len();
        let (shard, token) = (publication.shard, publication.token);
        let ticket = self.pending.insert(Pending { shard, token, count, left: count, failed: false });
        let mut json = Vec::new();
        for (index, (kind, data)) in publication.events.iter().enumerate() {
            json.clear();
            plasma::redis_json(kind, data, &mut json);
            match publisher.publish(ticket as u64, channel.as_bytes(), &json, now) {
                Ok(()) => {}
                Err(Declined::Full | Declined::Over) if index == 0 => {
                    self.pending.remove(ticket);
                    return if waits > 0 { Publish::Later } else { Publish::Failed };
                }
                Err(_) => {
                    // More than one pipeline holds: the rest was not taken, and the publisher must know.
                    let pending = &mut self.pending[ticket];
                    (pending.left, pending.failed) = (index, true);
                    break;
                }
            }
        }
        Publish::Taken
    }

    fn run_publisher(
        &mut self,
        ring: &mut impl Ring,
        log: &Log,
        now: Instant,
        bytes: Option<&[u8]>,
        outcomes: &mut Outcomes,
    ) {
        let Some(publisher) = &mut self.publisher else { return };
        let mut happenings = Vec::new();
        match bytes {
            Some(bytes) => publisher.feed(bytes, now, |happening| happenings.push(happening)),
            None => publisher.on_time(now, |happening| happenings.push(happening)),
        }
        self.take_happenings(ring, log, now, happenings, outcomes);
        self.flush(ring);
    }

    fn close_publisher(
        &mut self,
        ring: &mut impl Ring,
        log: &Log,
        now: Instant,
        reason: &str,
        outcomes: &mut Outcomes,
    ) {
        let mut happenings = Vec::new();
        match &mut self.publisher {
            Some(publisher) => publisher.closed(reason, |happening| happenings.push(happening)),
            None => return self.on_publishing_failed(ring, log, now, reason),
        }
        self.take_happenings(ring, log, now, happenings, outcomes);
    }

    fn take_happenings(
        &mut self,
        ring: &mut impl Ring,
        log: &Log,
        now: Instant,
        happenings: Vec<publisher::Happening>,
        outcomes: &mut Outcomes,
    ) {
        for happening in happenings {
            match happening {
                publisher::Happening::Ready => self.publisher_retry.succeeded(),
                publisher::Happening::Published { ticket } => self.settle(ticket, None, log, outcomes),
                publisher::Happening::Refused { ticket, text } => self.settle(ticket, Some(&text), log, outcomes),
                publisher::Happening::Unsent { ticket } => {
                    self.settle(ticket, Some("the link was lost before the event left"), log, outcomes);
                }
                publisher::Happening::Unknown { ticket } => {
                    self.settle(ticket, Some("the link was lost before the answer came"), log, outcomes);
                }
                publisher::Happening::Failed(reason) => {
                    self.on_publishing_failed(ring, log, now, &reason.to_string());
                }
            }
        }
    }

    fn on_publishing_failed(&mut self, ring: &mut impl Ring, log: &Log, now: Instant, reason: &str) {
        self.publisher = None;
        log.error(Level::Warn, "the publishing link to redis failed", |fields| fields.str("error", reason));
        // Giving up is the subscribing link's to say.
        let after = match self.publisher_retry.failed(ring.random()) {
            Verdict::Again { after, .. } => after,
            Verdict::GiveUp => self.settings.retry_interval,
        };
        self.publishing.rest(ring, now + after);
    }

    /// One event of a publication has its answer.
    fn settle(&mut self, ticket: u64, error: Option<&str>, log: &Log, outcomes: &mut Outcomes) {
        let pending = &mut self.pending[ticket as usize];
        pending.left -= 1;
        if let Some(error) = error {
            pending.failed = true;
            log.error(Level::Error, "failed to publlish to redis", |fields| {
                fields.str("error", error);
                self.settings.show("redis", fields);
            });
        }
        if pending.left == 0 {
            let Pending { shard, token, count, failed, .. } = self.pending.remove(ticket as usize);
            let outcome = if failed { Outcome::Unreachable } else { Outcome::Accepted(count) };
            outcomes.push((shard, token, outcome));
        }
    }
}

/// One message of a channel: into the log, or to those who wait for room there.
fn take_message(intake: &mut Intake, waiting: &mut VecDeque<Waiting>, log: &Log, channel: &[u8], payload: &[u8]) {
    let envelope = match envelope::parse(payload) {
        Ok(envelope) => envelope,
        Err(error) => {
            log.error(Level::Info, "failed to unmarhsal to json when subscribing redis", |fields| {
                fields.str("error", &error.0);
                fields.bytes("channel", channel);
            });
            return;
        }
    };
    if log.takes(Level::Debug) {
        log.error(Level::Debug, "publish plasma event payload", |fields| fields.bytes("channel", channel));
    }
    let data = envelope.data.as_deref();
    if !waiting.is_empty() || intake.append(&envelope.kind, data).is_err() {
        let (kind, data) = (envelope.kind.into_owned(), envelope.data.map(std::borrow::Cow::into_owned));
        waiting.push_back(Waiting::Event { kind, data });
    }
}
