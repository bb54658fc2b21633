//! Whole shards in the storm: hundreds of seeds, each a simulated kernel, network, Redis and crowd at their worst.
//!
//! `STORM_SEEDS` says how many seeds, `STORM_FROM` where to begin, `STORM_TALK` prints what happened in each. A seed
//! that found something is a test of its own name below. Whoever changes what is drawn for a seed takes that meaning
//! away: undo the fix, look which seed notices now, and name that one.

#![allow(clippy::unwrap_used)]

mod sim;
mod storms;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use storms::storm;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().unwrap())
}

/// What a panic said.
fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned())).unwrap_or_default()
}

#[test]
fn no_storm_breaks_a_promise() {
    let (from, count) = (number("STORM_FROM").unwrap_or(0), number("STORM_SEEDS").unwrap_or(200));
    let talk = std::env::var_os("STORM_TALK").is_some();
    let (next, failures) = (AtomicU64::new(from), Mutex::new(Vec::new()));
    let weather = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count {
                return;
            }
            match catch_unwind(AssertUnwindSafe(|| storm(seed))) {
                Ok(summary) if talk => eprintln!("{seed}: {summary}"),
                Ok(_) => {}
                Err(panic) => failures.lock().unwrap().push((seed, words_of(&*panic))),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(weather);
        }
    });
    let failures = failures.into_inner().unwrap();
    let shown: Vec<String> = failures.iter().take(40).map(|(seed, words)| format!("  {seed}: {words}")).collect();
    assert!(failures.is_empty(), "{} of {count} seeds:\n{}", failures.len(), shown.join("\n"));
}

#[test]
fn the_same_seed_is_the_same_storm() {
    assert_eq!(storm(3), storm(3));
}

/// Its outbox was gone when its turn came.
#[test]
fn seed_0_who_was_sent_away_still_stood_on_the_list_of_the_lapped() {
    storm(0);
}

/// A new event began a new chain, and a search found nothing before it.
#[test]
fn seed_3_links_were_forgotten_before_every_shard_had_left() {
    storm(3);
}

/// For the same reason: the records of the send that was cut were not found again.
#[test]
fn seed_5_the_rest_of_an_event_that_was_cut_got_lost() {
    storm(5);
}

/// Completions would have woken it.
#[test]
fn seed_6_a_shard_turned_for_nothing_while_sends_were_recalled() {
    storm(6);
}

/// What was published before the first subscription never came, and nobody said so.
#[test]
fn seed_7_a_stream_was_older_than_the_first_subscription() {
    storm(7);
}

/// It was closed, not reset, in the middle of a zero-copy send, and never read again.
#[test]
fn seed_156_a_reader_kept_the_log_full_after_it_was_gone() {
    storm(156);
}

/// The log gave up the notice of an upstream that was away, but no event after the one it shares its id with.
#[test]
fn seed_4525_who_resumed_right_before_a_lost_notice_was_told_nothing() {
    storm(4525);
}

/// The table of clients was empty again, and the end of the walk behind it was never met.
#[test]
fn seed_20006_a_shard_hung_when_all_left_in_the_middle_of_a_notice() {
    storm(20006);
}
