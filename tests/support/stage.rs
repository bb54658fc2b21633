//! A server with its upstream, ready for a case: the same case can be played on every upstream.

use super::grpc::{Call, Peer};
use super::http::{Answer, post, request};
use super::lines::says;
use super::plasma::{Plasma, Setup};
use super::redis::Redis;
use super::sse::{Frame, Stream};
use super::wait::{Deadline, until};

/// The channel of the stages with Redis.
pub const CHANNEL: &str = "plasma";

/// Settings of every stage: publishing is open, any page may subscribe.
const USUAL: &[(&str, &str)] = &[("PLASMA_PUBLISH_OPEN", "true"), ("PLASMA_ORIGIN", "*")];

/// A running server and what feeds it.
pub struct Stage {
    pub plasma: Plasma,
    /// `None` where the server is its own broker.
    pub redis: Option<Redis>,
}

impl Stage {
    /// With the embedded broker.
    pub fn memory() -> Self {
        Self::memory_with(&[])
    }

    /// With the embedded broker and more settings.
    pub fn memory_with(settings: &[(&str, &str)]) -> Self {
        Self { plasma: Plasma::setup().set_all(USUAL).set_all(settings).start(), redis: None }
    }

    /// Subscribed to a real Redis; `None`, said aloud, where there is none.
    pub fn redis() -> Option<Self> {
        Self::redis_with(&[])
    }

    /// Subscribed to a real Redis, with more settings.
    pub fn redis_with(settings: &[(&str, &str)]) -> Option<Self> {
        Some(Self::over(Redis::start()?, settings))
    }

    /// Subscribed to this Redis.
    pub fn over(redis: Redis, settings: &[(&str, &str)]) -> Self {
        let plasma = with_redis(&redis.addr()).set_all(settings).start();
        redis.wait_subscribers(CHANNEL, 1);
        let stage = Self { plasma, redis: Some(redis) };
        // Redis knows before the server does; a stream that begins in between is told of a loss.
        stage.wait_health(200, Deadline::patient());
        stage.wait_publishing();
        stage
    }

    /// Waits until the link on which events leave has said its greeting, which ends with a PING.
    pub fn wait_publishing(&self) {
        if let Some(redis) = &self.redis {
            let is_it = |client: &str| client.contains(" sub=0 ") && client.contains(" cmd=ping ");
            let greeted = || redis.ask(&["CLIENT", "LIST"]).lines().any(is_it).then_some(());
            until("the publishing link", Deadline::patient(), greeted);
        }
    }

    /// Plays a case on every upstream.
    pub fn each(case: impl Fn(&Stage)) {
        Self::each_with(&[], case);
    }

    /// Plays a case on every upstream with more settings.
    pub fn each_with(settings: &[(&str, &str)], case: impl Fn(&Stage)) {
        case(&Self::memory_with(settings));
        if let Some(stage) = Self::redis_with(settings) {
            case(&stage);
        }
    }

    /// Publishes through the upstream: with Redis in Redis, else over HTTP.
    pub fn publish(&self, event: impl AsRef<[u8]>) {
        match &self.redis {
            Some(redis) => assert!(redis.publish(CHANNEL, event) > 0, "nobody has subscribed"),
            None => {
                self.post(event);
            }
        }
    }

    /// Publishes an event of type `topic` with `data` as it stands.
    pub fn say(&self, topic: &str, data: &str) {
        self.publish(event(topic, data));
    }

    /// Publishes many events in order.
    pub fn publish_all(&self, events: &[String]) {
        match &self.redis {
            Some(redis) => redis.publish_all(CHANNEL, events),
            None => {
                self.post(format!("[{}]", events.join(",")));
            }
        }
    }

    /// Publishes over HTTP, whatever the upstream.
    pub fn post(&self, body: impl AsRef<[u8]>) -> Answer {
        let answer = post(self.plasma.http(), "/events", &[("Content-Type", "application/json")], body);
        assert_eq!(answer.status(), 202, "{answer:?}");
        answer
    }

    /// Publishes over HTTP and returns the ids that the answer names.
    pub fn post_for_ids(&self, body: impl AsRef<[u8]>) -> Vec<u64> {
        ids(&self.post(body))
    }

    /// Subscribes: `query` is everything after the question mark.
    pub fn subscribe(&self, query: &str) -> Stream {
        Stream::open(self.plasma.http(), &format!("/?{query}"))
    }

    /// Subscribes with more headers.
    pub fn subscribe_with(&self, query: &str, headers: &[(&str, &str)]) -> Stream {
        Stream::open_with(self.plasma.http(), &format!("/?{query}"), headers)
    }

    /// Asks as an EventSource would, whatever comes of it.
    pub fn ask(&self, target: &str) -> Answer {
        request(self.plasma.http(), "GET", target, &[("Accept", "text/event-stream")])
    }

    /// A connection to the gRPC port.
    pub fn peer(&self) -> Peer {
        Peer::open(self.plasma.grpc())
    }

    /// A stream of events with these topics and more metadata, once the server knows of it.
    pub fn events(&self, peer: &Peer, topics: &[&str], fields: &[(&str, &str)]) -> Call {
        let mut call = peer.events(fields);
        self.change(&mut call, topics);
        call
    }

    /// Other topics for a stream, once the server knows of them: nothing but its log tells.
    pub fn change(&self, call: &mut Call, topics: &[&str]) {
        let known = self.plasma.stdout.count(|line| says(line, "gRPC"));
        call.ask(topics);
        self.plasma.wait_for_access("gRPC", known + 1);
    }

    /// What `/hc` says now.
    pub fn health(&self) -> u16 {
        request(self.plasma.http(), "GET", "/hc", &[]).status()
    }

    /// Waits until `/hc` says this.
    pub fn wait_health(&self, status: u16, deadline: Deadline) {
        until(&format!("/hc to say {status}"), deadline, || (self.health() == status).then_some(()));
    }

    /// The Redis of a stage that has one.
    pub fn broker(&mut self) -> &mut Redis {
        self.redis.as_mut().expect("this stage has a Redis")
    }
}

/// A server that subscribes to the Redis at `addr`, with quick retries, before it is started.
pub fn with_redis(addr: &str) -> Setup {
    Plasma::setup().set_all(USUAL).set_all(&[
        ("PLASMA_SUBSCRIBER_TYPE", "redis"),
        ("PLASMA_SUBSCRIBER_REDIS_ADDR", addr),
        ("PLASMA_SUBSCRIBER_REDIS_CHANNELS", CHANNEL),
        ("PLASMA_SUBSCRIBER_REDIS_OVER_MAX_RETRY_BEHAVIOR", "alive"),
        ("PLASMA_SUBSCRIBER_REDIS_RETRY_INTERVAL", "300ms"),
    ])
}

/// An event of type `topic` with `data` as it stands.
pub fn event(topic: &str, data: &str) -> String {
    format!(r#"{{"meta":{{"type":"{topic}"}},"data":{data}}}"#)
}

/// The ids that an answer to a publish names.
pub fn ids(answer: &Answer) -> Vec<u64> {
    let body = answer.json();
    let ids = body["ids"].as_array().unwrap_or_else(|| panic!("no ids: {body}"));
    ids.iter().map(|id| id.as_str().and_then(|id| id.parse().ok()).expect("an id is a decimal string")).collect()
}

/// Checks that the next event carries exactly this text.
pub fn expect_data(stream: &mut Stream, data: &str) -> Frame {
    let frame = stream.next_event();
    assert_eq!(frame.data(), data);
    frame
}
