//! A storm around whole shards, from one seed: clients, publishers and a Redis at their worst, then calm, then
//! judgement.

mod plan;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use plasma::base::log;
use plasma::base::region::Region;
use plasma::hub::{Log, Reader};
use plasma::shard::mail::Office;
use plasma::shard::{Shard, Turn, constants, regions};

use crate::sim::peers::{H2Client, Publisher, Redis, Subscriber};
use crate::sim::{Dice, Ledger, MILLIS, PeerId, RingSpec, SECONDS, SimRing, World};
use plan::{Plan, Source, door, redis_addr};

/// Events of the world, at most: a storm that takes more is stuck somewhere.
const STEPS_MAX: u64 = 10_000_000;

/// How much later than the heartbeat a comment may be heard in calm weather: a tick, and the way.
const SLACK: u64 = 110 * MILLIS;

/// Longest that the log may be full without anything being appended: some turns of the slowest shard. Whoever does not
/// read must never hold it for longer.
const FULL_MAX: u64 = 2 * SECONDS;

/// A shard, and what became of it.
struct House {
    shard: Rc<RefCell<Shard<SimRing>>>,
    /// Set when it says that it is drained.
    drained_at: Rc<Cell<Option<u64>>>,
}

/// A storm under way.
struct Storm {
    seed: u64,
    plan: Plan,
    world: World,
    ledger: Rc<RefCell<Ledger>>,
    office: Arc<Office>,
    houses: Vec<House>,
    /// Lets drained shards end.
    stop: Rc<Cell<bool>>,
    subscribers: Vec<(PeerId, Rc<RefCell<Subscriber>>)>,
    publishers: Vec<(PeerId, Rc<RefCell<Publisher>>)>,
    h2_clients: Vec<(PeerId, Rc<RefCell<H2Client>>)>,
    redis: Option<(PeerId, Rc<RefCell<Redis>>)>,
}

/// The whole storm of a seed; what happened, in a line. Panics where a promise is broken.
pub fn storm(seed: u64) -> String {
    Storm::brew(seed, true).pass()
}

/// The storm of a seed as it is without anybody who speaks HTTP/2.
pub fn storm_over_http1(seed: u64) -> String {
    Storm::brew(seed, false).pass()
}

impl Storm {
    /// From the first cloud to the last drop.
    fn pass(mut self) -> String {
        self.rage();
        self.calm_down();
        self.check_the_calm();
        self.ledger.borrow().judge();
        if self.plan.drains_crowd {
            self.drain();
            self.see_off();
        } else {
            self.see_off();
            self.drain();
        }
        self.check_all_is_back();
        let gaps: u64 = self.houses.iter().map(|house| house.shard.borrow().counts().gaps).sum();
        let stalled: u64 = self.houses.iter().map(|house| house.shard.borrow().counts().stalled).sum();
        let (steps, summary) = (self.world.steps, self.ledger.borrow().summary());
        let (source, shards) = (self.plan.source, self.plan.shards);
        format!("{source:?}, {shards} shards, {steps} steps, {summary}, {gaps} gaps, {stalled} stalled")
    }

    fn brew(seed: u64, with_h2: bool) -> Self {
        let mut world = World::storm(seed);
        let mut others = Dice::new(seed.rotate_left(32) ^ 2);
        let plan = Plan::draw(&mut world.dice(), with_h2.then_some(&mut others));
        let ledger = Rc::new(RefCell::new(Ledger::new(seed, plan.expected())));
        ledger.borrow_mut().made_up = plan.source == Source::Mock;
        world.core_mut().names.insert("redis".into(), vec![[10, 0, 0, 8].into(), redis_addr().ip()]);
        let (office, houses, stop) = build(&mut world, &plan);
        let mut storm = Self {
            seed,
            world,
            ledger,
            office,
            houses,
            stop,
            subscribers: vec![],
            publishers: vec![],
            h2_clients: vec![],
            redis: None,
            plan,
        };
        storm.invite();
        storm
    }

    /// Everybody outside.
    fn invite(&mut self) {
        if let Some(plan) = self.plan.redis.clone() {
            let (ledger, dice) = (Rc::clone(&self.ledger), self.world.dice());
            let redis = Redis::new(plan, ledger, dice, self.world.now(), self.plan.redis_events);
            let redis = Rc::new(RefCell::new(redis));
            self.redis = Some((self.world.add_peer(redis.clone()), redis));
        }
        for (number, topics) in self.plan.subscribers.iter().enumerate() {
            let mut dice = self.world.dice();
            let arrives_at = self.world.now() + dice.spread(MILLIS, 5 * SECONDS);
            let (topics, ledger) = (Rc::clone(topics), Rc::clone(&self.ledger));
            let mut subscriber = Subscriber::new(number, door(), topics, ledger, dice, arrives_at);
            if !number.is_multiple_of(self.plan.steady_every) {
                subscriber.be_fickle(arrives_at);
            }
            let subscriber = Rc::new(RefCell::new(subscriber));
            self.subscribers.push((self.world.add_peer(subscriber.clone()), subscriber));
        }
        for &(pace, requests) in &self.plan.publishers {
            let (ledger, dice) = (Rc::clone(&self.ledger), self.world.dice());
            let publisher = Publisher::new(door(), Plan::topics(), ledger, dice, pace, requests);
            let publisher = Rc::new(RefCell::new(publisher));
            self.publishers.push((self.world.add_peer(publisher.clone()), publisher));
        }
        self.invite_h2();
    }

    /// Those who speak HTTP/2, with chance of their own.
    fn invite_h2(&mut self) {
        let mut dice = Dice::new(self.seed.rotate_left(32) ^ 3);
        for (number, seats) in self.plan.h2.iter().enumerate() {
            let (mut own, ledger) = (dice.fork(), Rc::clone(&self.ledger));
            let arrives_at = self.world.now() + own.spread(MILLIS, 5 * SECONDS);
            let first = 1_000 * (number + 1);
            let mut client = H2Client::new(first, seats, door(), Plan::topics(), ledger, own, arrives_at);
            client.be_fickle(arrives_at);
            let client = Rc::new(RefCell::new(client));
            self.h2_clients.push((self.world.add_peer(client.clone()), client));
        }
    }

    fn run_for(&mut self, span: Duration) {
        self.run_until(span, |_| false);
    }

    fn run_until(&mut self, patience: Duration, mut done: impl FnMut(&mut World) -> bool) -> bool {
        let seed = self.seed;
        let until = self.world.now() + patience.as_nanos() as u64;
        let came = self.world.run_until(patience, |world| {
            assert!(world.steps < STEPS_MAX, "seed {seed}: no end of it");
            done(world)
        });
        if !came {
            self.world.core_mut().now = until;
        }
        came
    }

    fn rage(&mut self) {
        self.run_for(self.plan.rages_for);
    }

    /// The weather turns fair, and everybody behaves; until nobody has anything left over from the storm.
    fn calm_down(&mut self) {
        if let Some((id, redis)) = &self.redis {
            redis.borrow_mut().settle_down();
            redis.borrow_mut().left = 0;
            self.world.poke(*id);
        }
        for (id, subscriber) in &self.subscribers {
            subscriber.borrow_mut().settle_down();
            self.world.poke(*id);
        }
        for (id, client) in &self.h2_clients {
            client.borrow_mut().settle_down();
            self.world.poke(*id);
        }
        for (id, publisher) in &self.publishers {
            publisher.borrow_mut().left = 0;
            self.world.poke(*id);
        }
        self.world.calm_down();
        // The longest that anything may take now: a lost connection attempt, and the round that finds the half-closed.
        self.run_for(Duration::from_secs(150));
        if self.plan.is_roomy() {
            let lost = self.subscribers.iter().position(|(_, subscriber)| !subscriber.borrow().is_streaming());
            assert_eq!(lost, None, "seed {}: a subscriber is not back in calm weather", self.seed);
            for (_, client) in &self.h2_clients {
                let (seed, client) = (self.seed, client.borrow());
                // Where connections have to end early, there is always one on its way back.
                let is_back = client.is_streaming() || self.plan.settings.h2.age_max > 0;
                assert!(is_back, "seed {seed}: a stream is not back in calm weather: {}", client.describe());
            }
            let busy = self.publishers.iter().position(|(_, publisher)| !publisher.borrow().is_done());
            assert_eq!(busy, None, "seed {}: a publisher still waits for its answer", self.seed);
        }
    }

    /// In calm weather nobody loses anything, and nobody waits for a comment for longer than the heartbeat.
    fn check_the_calm(&mut self) {
        // Connections that have to end early come back from where their last event was, long ago perhaps, and are told
        // of every hole since.
        let ages = self.plan.settings.h2.age_max > 0;
        let (notices, now) = (self.ledger.borrow().notices, self.world.now());
        for (_, subscriber) in &self.subscribers {
            subscriber.borrow_mut().mind_silence(now);
        }
        for (_, client) in &self.h2_clients {
            client.borrow_mut().mind_silence(now);
        }
        for (id, publisher) in &self.publishers {
            publisher.borrow_mut().publish_little(3);
            self.world.poke(*id);
        }
        let heartbeat = self.plan.settings.heartbeat;
        self.run_for(heartbeat * 3 + Duration::from_secs(5));
        let (seed, now) = (self.seed, self.world.now());
        if !ages {
            assert_eq!(self.ledger.borrow().notices, notices, "seed {seed}: something was lost in calm weather");
        }
        for (number, (_, subscriber)) in self.subscribers.iter().enumerate() {
            let silence = subscriber.borrow().silence(now);
            let limit = heartbeat.as_nanos() as u64 + SLACK;
            assert!(silence <= limit, "seed {seed}: subscriber {number} heard nothing for {silence} of {limit} ns");
        }
        for (number, (_, client)) in self.h2_clients.iter().enumerate() {
            let silence = client.borrow().silence(now);
            let limit = heartbeat.as_nanos() as u64 + SLACK;
            let what = client.borrow().describe();
            assert!(
                silence <= limit,
                "seed {seed}: a stream of {number} heard nothing for {silence} of {limit} ns: {what}"
            );
        }
        if self.plan.is_roomy() {
            for (_, publisher) in &self.publishers {
                let publisher = publisher.borrow();
                let well = publisher.is_done() && publisher.answers.ends_with(&[202, 202, 202]);
                assert!(well, "seed {seed}: publishing fails in calm weather: {:?}", publisher.answers);
            }
        }
    }

    /// Ends the shards; they are through in the time there is.
    fn drain(&mut self) {
        for (_, client) in self.h2_clients.iter().filter(|_| self.plan.sleeps_at_drain) {
            client.borrow_mut().fall_asleep();
        }
        self.office.drain();
        (0..self.houses.len()).for_each(|shard| self.world.ring_bell(shard));
        let began = self.world.now();
        let window = self.plan.settings.drain + Duration::from_millis(500);
        self.run_for(window);
        for (number, house) in self.houses.iter().enumerate() {
            let drained = house.drained_at.get().is_some_and(|at| at - began <= window.as_nanos() as u64);
            assert!(drained, "seed {}: shard {number} is not drained after {window:?}", self.seed);
            assert_eq!(house.shard.borrow().client_count(), 0, "seed {}: drained means empty", self.seed);
        }
        if self.plan.drains_crowd {
            let left = self.subscribers.iter().position(|(_, subscriber)| subscriber.borrow().is_streaming());
            self.run_for(Duration::from_secs(1));
            let is_awake = !self.plan.sleeps_at_drain;
            let over = !self.h2_clients.iter().any(|(_, client)| is_awake && client.borrow().has_stream());
            assert!(over, "seed {}: a stream over HTTP/2 outlives its server", self.seed);
            assert_eq!(left, None, "seed {}: a stream outlives its server", self.seed);
        }
    }

    /// All clients go.
    fn see_off(&mut self) {
        for (id, subscriber) in &self.subscribers {
            subscriber.borrow_mut().leave();
            self.world.poke(*id);
        }
        for (id, client) in &self.h2_clients {
            client.borrow_mut().leave();
            self.world.poke(*id);
        }
        for (id, publisher) in &self.publishers {
            publisher.borrow_mut().left = 0;
            self.world.poke(*id);
        }
        self.run_for(Duration::from_secs(130));
    }

    fn check_all_is_back(&mut self) {
        for (number, house) in self.houses.iter().enumerate() {
            let shard = house.shard.borrow();
            assert_eq!(shard.client_count(), 0, "seed {}: shard {number} still has clients", self.seed);
            assert!(shard.is_clean(), "seed {}: shard {number} keeps something of clients that went", self.seed);
        }
        self.stop.set(true);
        let shards = self.houses.len();
        (0..shards).for_each(|shard| self.world.ring_bell(shard));
        let ended = self.run_until(Duration::from_secs(5), |world| (0..shards).all(|shard| world.is_done(shard)));
        assert!(ended, "seed {}: a shard never ends", self.seed);
        self.world.assert_clients_returned();
    }
}

/// The shards, each with its ring.
fn build(world: &mut World, plan: &Plan) -> (Arc<Office>, Vec<House>, Rc<Cell<bool>>) {
    let millis = world.core().unix_millis();
    let (event_log, writer) = Log::new(plan.history_len, plan.shards, millis, world.dice().next()).unwrap();
    let constants = Arc::new(Region::holding(constants()).unwrap());
    let (office, desks) = Office::new(plan.shards);
    let settings = Arc::new(plan.settings.clone());
    let levels = log::Levels { error: Some(log::Level::Debug), access: Some(log::Level::Info) };
    let lines = if plan.talks { log::channel(levels, || 0).0 } else { log::Log::off() };
    let (stop, mut writer, mut houses) = (Rc::new(Cell::new(false)), Some(writer), Vec::new());
    for desk in desks {
        let number = desk.shard();
        let regions = regions(&event_log, &constants);
        let ring = world.ring(RingSpec { listeners: vec![door()], regions, slots: plan.slots });
        let reader = Reader::new(Arc::clone(&event_log), number);
        let mut shard = Shard::new(ring, Arc::clone(&settings), desk, reader, writer.take(), 1, lines.clone());
        shard.work_in_slices(plan.slices.0, plan.slices.1);
        shard.open();
        let house = House { shard: Rc::new(RefCell::new(shard)), drained_at: Rc::default() };
        let (shard, drained_at, stop) = (Rc::clone(&house.shard), Rc::clone(&house.drained_at), Rc::clone(&stop));
        let (event_log, mut moved) = (Arc::clone(&event_log), (event_log.head(), 0));
        let may_block = plan.source == Source::Redis;
        world.run_shard(number, move || {
            let mut shard = shard.borrow_mut();
            let turn = shard.turn()?;
            assert_ne!(turn, Turn::GivenUp, "nothing here gives up");
            if turn == Turn::Drained && drained_at.get().is_none() {
                drained_at.set(Some(plasma::ring::Ring::now(shard.ring()).as_nanos()));
            }
            let (head, now) = (event_log.head(), plasma::ring::Ring::now(shard.ring()).as_nanos());
            let blocked = !may_block && shard.feed().is_some_and(|feed| feed.is_blocked());
            if !blocked || head != moved.0 {
                moved = (head, now);
            }
            assert!(now - moved.1 < FULL_MAX, "the log is full, and nobody makes room");
            Ok(!stop.get())
        });
        let shard = Rc::clone(&house.shard);
        world.lost_wakeup_check(number, move || shard.borrow().has_work());
        houses.push(house);
    }
    (office, houses, stop)
}
