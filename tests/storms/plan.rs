//! What a seed decides about a storm besides the weather: the settings, who is there, what they do.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use plasma::dialect::{Policy, Publish};
use plasma::ring::OUTGOING;
use plasma::shard::feed::redis;
use plasma::shard::{H2, Idle, Settings, SlowConsumer, Upstream};
use plasma::wire::h2::Bounds;

use crate::sim::peers::{Kind, Pace, RedisPlan};
use crate::sim::{Dice, Expected, MILLIS, SECONDS};

/// Where clients come to.
pub fn door() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

/// Where Redis is.
pub fn redis_addr() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 9], 6379))
}

/// Topics of events: few, nested, of both kinds.
const TOPICS: [&str; 9] = ["a", "a:b", "a:b:c", "a:d", "b", "/x", "/x/y", "/x/y/z", "/w"];

/// Types of the events that the server makes up.
const MADE_UP: [&str; 3] = ["poll", "program", "other"];

/// Where events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Memory,
    Mock,
    Redis,
}

/// A storm as its seed has drawn it.
#[derive(Debug)]
pub struct Plan {
    pub source: Source,
    pub shards: usize,
    pub history_len: usize,
    pub settings: Settings,
    /// Connections that fit on one shard.
    pub slots: usize,
    /// Sends in a slice and records in a batch.
    pub slices: (u32, u64),
    /// Whether the logs are formatted.
    pub talks: bool,
    pub subscribers: Vec<Rc<[String]>>,
    /// Of those, every so many stays and reads all there is.
    pub steady_every: usize,
    pub publishers: Vec<(Pace, u32)>,
    pub redis: Option<RedisPlan>,
    pub redis_events: u32,
    /// Length of the storm.
    pub rages_for: Duration,
    /// Whether the shards are drained while clients are there, rather than after they have left.
    pub drains_crowd: bool,
    /// Clients over HTTP/2: what each of their streams is for.
    pub h2: Vec<Vec<(Kind, Rc<[String]>)>>,
    /// Whether those stop reading when the shards are drained.
    pub sleeps_at_drain: bool,
}

impl Plan {
    /// `others` decides who speaks HTTP/2, and nothing else: a storm without them is what it was before there were any.
    pub fn draw(dice: &mut Dice, others: &mut Dice) -> Self {
        let source = match dice.below(10) {
            0..6 => Source::Memory,
            6 => Source::Mock,
            _ => Source::Redis,
        };
        let history_len = dice.spread(16 * 1024, 96 * 1024) as usize;
        // What the configuration allows at most.
        let event_max = history_len / 8;
        let slots = if dice.one_in(6) { dice.between(4, 16) as usize } else { 64 };
        let publishers = publishers(dice, event_max as u64);
        let redis = (source == Source::Redis).then(|| redis_plan(dice, event_max as u64));
        let upstream = match (source, &redis) {
            (Source::Redis, Some(plan)) => Upstream::Redis(redis_settings(dice, plan)),
            (Source::Mock, _) => Upstream::Mock(Duration::from_millis(dice.spread(20, 2_000))),
            _ => Upstream::Memory,
        };
        let mut settings = settings(dice, event_max, slots, upstream);
        let h2 = if others.coin() { h2_clients(others, source) } else { Vec::new() };
        if !h2.is_empty() {
            settings.h2 = h2_settings(others);
        }
        let subscribers = (0..dice.between(10, 30)).map(|_| some_topics(dice, source)).collect();
        Self {
            source,
            shards: dice.between(1, 4) as usize,
            history_len,
            settings,
            slots,
            slices: (dice.spread(1, 512) as u32, dice.spread(1, 4_096)),
            talks: dice.one_in(8),
            subscribers,
            steady_every: dice.between(2, 6) as usize,
            publishers,
            redis,
            redis_events: dice.spread(300, 4_000) as u32,
            rages_for: Duration::from_secs(dice.between(60, 180)),
            drains_crowd: dice.coin(),
            h2,
            sleeps_at_drain: others.one_in(4),
        }
    }

    /// How the ledger puts events in order.
    pub fn expected(&self) -> Expected {
        if self.source == Source::Redis { Expected::ByPlace } else { Expected::ById }
    }

    /// Whether everybody finds a place, however chance spreads the clients over the shards.
    pub fn is_roomy(&self) -> bool {
        self.slots == 64
    }

    /// Topics that publishers use.
    pub fn topics() -> Rc<[String]> {
        TOPICS.map(str::to_owned).into()
    }
}

fn some_topics(dice: &mut Dice, source: Source) -> Rc<[String]> {
    let all: Vec<&str> = match source {
        Source::Mock => TOPICS.into_iter().chain(MADE_UP).collect(),
        _ => TOPICS.to_vec(),
    };
    let count = dice.spread(1, 5);
    let mut topics: Vec<String> = (0..count).map(|_| dice.pick(&all).to_owned()).collect();
    topics.sort();
    topics.dedup();
    topics.into()
}

fn h2_clients(dice: &mut Dice, source: Source) -> Vec<Vec<(Kind, Rc<[String]>)>> {
    (0..dice.between(1, 6))
        .map(|_| {
            let streams = dice.spread(1, 8);
            (0..streams).map(|_| (kind(dice, source), some_topics(dice, source))).collect()
        })
        .collect()
}

fn kind(dice: &mut Dice, source: Source) -> Kind {
    // Nobody would know an event without an id that the server has made up.
    let ids = source == Source::Mock;
    match dice.below(3) {
        0 => Kind::Sse,
        1 => Kind::Grpc { ids: true },
        _ => Kind::Grpc { ids },
    }
}

fn h2_settings(dice: &mut Dice) -> H2 {
    // A PING goes behind every change of topics.
    let bounds = Bounds { streams_max: if dice.one_in(4) { dice.between(8, 12) as u32 } else { 1_000 }, ping_every: 0 };
    H2 {
        bounds,
        keepalive: dice.spread(10, 300) as u32,
        keepalive_timeout: dice.spread(10, 100) as u32,
        idle_max: if dice.coin() { 0 } else { dice.spread(10, 3_000) as u32 },
        age_max: if dice.coin() { 0 } else { dice.spread(50, 3_000) as u32 },
    }
}

fn publishers(dice: &mut Dice, event_max: u64) -> Vec<(Pace, u32)> {
    let count = dice.between(1, 4);
    (0..count)
        .map(|_| {
            // Besides the padding an event has a frame of its own around it.
            let longest = event_max - 160;
            let padding = match dice.below(4) {
                0 => (1, longest),
                1 => (longest / 2, longest),
                _ => (1, 400),
            };
            let most = dice.pick(&[8, 8, 8, 8, 12, 12, 12, 100, 300, 3_000]);
            let pause = dice.spread(200_000, SECONDS);
            let pace =
                Pace { pause: (pause.min(MILLIS), pause.max(MILLIS)), events: (1, dice.spread(1, most)), padding };
            (pace, dice.spread(50, 1_500).min(30_000 / most) as u32)
        })
        .collect()
}

fn settings(dice: &mut Dice, event_max: usize, slots: usize, upstream: Upstream) -> Settings {
    let millis = |low, high, dice: &mut Dice| Duration::from_millis(dice.spread(low, high));
    Settings {
        policy: Policy {
            origin: dice.coin().then(|| "https://example.org".to_owned()),
            event_query: "eventType".into(),
            retry_millis: 2_000,
            debug: dice.coin(),
            publish: Publish::Open,
            event_max,
            publish_max: 16 << 20,
            reflection: true,
        },
        idle: if dice.one_in(3) { Idle::Dense } else { Idle::Poll },
        heartbeat: millis(800, 15_000, dice),
        slow_consumer: if dice.one_in(3) { SlowConsumer::Close } else { SlowConsumer::Gap },
        write_timeout: millis(500, 30_000, dice),
        request_timeout: millis(1_000, 10_000, dice),
        drain: if dice.one_in(5) { Duration::ZERO } else { millis(200, 10_000, dice) },
        h2: H2::default(),
        zero_copy_from: match dice.below(3) {
            0 => None,
            1 => Some(dice.spread(1, 1_000) as usize),
            _ => Some(dice.spread(1_000, 16_384) as usize),
        },
        slots: OUTGOING + slots as u32,
        upstream,
    }
}

fn redis_plan(dice: &mut Dice, event_max: u64) -> RedisPlan {
    let pause = dice.spread(MILLIS, 300 * MILLIS);
    RedisPlan {
        addr: redis_addr(),
        password: dice.coin().then(|| "secret".to_owned()),
        source: (!dice.one_in(4)).then(|| ((pause, pause * 4), dice.pick(&["events", "more"]).to_owned())),
        padding: if dice.one_in(3) { (1, event_max - 160) } else { (1, 400) },
        topics: Plan::topics(),
        moods: (!dice.one_in(4)).then_some((300 * MILLIS, 20 * SECONDS)),
    }
}

fn redis_settings(dice: &mut Dice, plan: &RedisPlan) -> redis::Settings {
    redis::Settings {
        addr: dice.pick(&["10.0.0.9:6379", "redis:6379"]).to_owned(),
        username: String::new(),
        password: plan.password.clone().unwrap_or_default(),
        db: dice.below(2) as i64,
        channels: vec!["events".into(), "more".into()],
        max_retry: 3,
        timeout: Duration::from_millis(dice.spread(200, 5_000)),
        retry_interval: Duration::from_millis(dice.spread(100, 10_000)),
        behavior: redis::Behavior::Alive,
    }
}
