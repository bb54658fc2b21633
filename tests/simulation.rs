//! The simulation itself under test: it is repeatable, fast, and catches what it is there to catch.
//!
//! The server here is a toy of one shard and one topic, with bugs to be switched on; the real one has its own storms.

#![allow(clippy::unwrap_used)]

mod sim;
mod toy;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use sim::peers::Subscriber;
use sim::{Expected, Ledger, MILLIS, RingSpec, SECONDS, Weather, World};
use toy::{Bug, Toy, region};

fn addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

/// A minute of storm around the toy; what happened, in a line.
fn storm(seed: u64, bug: Option<Bug>) -> String {
    let mut world = World::storm(seed);
    let ledger = Rc::new(RefCell::new(Ledger::new(seed, Expected::ById)));
    let region = region();
    let ring = world.ring(RingSpec { listeners: vec![addr()], regions: vec![region.clone()], slots: 12 });
    let mut toy = Toy::new(ring, region, Rc::clone(&ledger), bug);
    let (hush, stop) = (Rc::clone(&toy.hush), Rc::clone(&toy.stop));
    world.run_shard(0, move || toy.turn());
    let topics: Rc<[String]> = vec!["a".to_owned()].into();
    let mut subscribers = Vec::new();
    for number in 0..12 {
        let mut dice = world.dice();
        let arrives_at = world.now() + dice.spread(MILLIS, SECONDS);
        let mut subscriber = Subscriber::new(number, addr(), Rc::clone(&topics), Rc::clone(&ledger), dice, arrives_at);
        if number > 0 {
            subscriber.be_fickle(arrives_at);
        }
        let subscriber = Rc::new(RefCell::new(subscriber));
        subscribers.push((world.add_peer(subscriber.clone()), subscriber));
    }
    world.run_for(Duration::from_secs(60));
    for (id, subscriber) in &subscribers {
        subscriber.borrow_mut().settle_down();
        world.poke(*id);
    }
    world.calm_down();
    hush.set(true);
    world.run_for(Duration::from_secs(300));
    ledger.borrow().judge();
    stop.set(true);
    assert!(world.run_until(Duration::from_secs(600), |world| world.is_done(0)), "seed {seed}: the toy never ends");
    world.assert_all_returned();
    let (steps, now) = (world.steps, world.now());
    format!("{steps} steps until {now}, {}", ledger.borrow().summary())
}

/// What the storm of the first seed that notices says, among a hundred.
fn caught(bug: Bug) -> String {
    for seed in 0..100 {
        let outcome = catch_unwind(AssertUnwindSafe(|| storm(seed, Some(bug))));
        if let Err(panic) = outcome {
            return *panic.downcast::<String>().unwrap();
        }
    }
    panic!("nobody noticed {bug:?}");
}

#[test]
fn the_same_seed_is_the_same_storm() {
    assert_eq!(storm(7, None), storm(7, None));
    assert_ne!(storm(7, None), storm(8, None));
}

#[test]
fn a_server_without_bugs_weathers_every_storm() {
    let seeds = std::env::var("SIM_SEEDS").map_or(100, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let summary = storm(seed, None);
        if std::env::var_os("SIM_TALK").is_some() {
            eprintln!("{seed}: {summary}");
        }
    }
}

#[test]
fn an_event_skipped_behind_a_short_send_is_noticed() {
    let what = caught(Bug::SkipsWhatWasCut);
    let signs = ["in silence", "nobody published", "got", "has its id"];
    assert!(signs.iter().any(|sign| what.contains(sign)), "{what}");
}

#[test]
fn memory_overwritten_under_a_pending_send_is_noticed() {
    let what = caught(Bug::ReusesMemory);
    assert!(what.contains("was overwritten"), "{what}");
}

#[test]
fn a_socket_closed_twice_is_noticed() {
    let what = caught(Bug::ClosesTwice);
    assert!(what.contains("close of Socket"), "{what}");
}

#[test]
fn a_buffer_kept_is_noticed() {
    let what = caught(Bug::KeepsBuffers);
    assert!(what.contains("receive buffers") || what.contains("in silence"), "{what}");
}

#[test]
fn two_sends_at_once_are_noticed() {
    let what = caught(Bug::SendsTwice);
    assert!(what.contains("two sends on") || what.contains("while another is pending"), "{what}");
}

#[test]
#[should_panic(expected = "lost wake-up: shard 0 sleeps")]
fn a_wake_up_that_is_lost_is_noticed() {
    let mut world = World::new(1, Weather::calm());
    let mut ring = world.ring(RingSpec { listeners: vec![], regions: vec![], slots: 1 });
    let mail = Rc::new(Cell::new(false));
    world.run_shard(0, move || plasma::ring::Ring::wait(&mut ring, None).map(|()| true));
    let letter = Rc::clone(&mail);
    world.lost_wakeup_check(0, move || mail.get());
    world.later(SECONDS, move |_| letter.set(true));
    world.later(2 * SECONDS, |_| ());
    world.run_for(Duration::from_secs(3));
}
