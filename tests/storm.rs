//! Whole shards in the storm: hundreds of seeds, each a simulated kernel, network, Redis and crowd at their worst.
//!
//! `STORM_SEEDS` says how many seeds, `STORM_FROM` where to begin, `STORM_TALK` prints what happened in each. A seed
//! that found something is a test of its own name below. Whoever changes what is drawn for a seed takes that meaning
//! away: undo the fix, look which seed notices now, and name that one. Those without `h2` in their names are storms
//! over HTTP/1.1 only, as they were when nothing else was spoken.

#![allow(clippy::unwrap_used)]

mod sim;
mod storms;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use storms::{storm, storm_over_http1};

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
    storm_over_http1(0);
}

/// A new event began a new chain, and a search found nothing before it.
#[test]
fn seed_3_links_were_forgotten_before_every_shard_had_left() {
    storm_over_http1(3);
}

/// For the same reason: the records of the send that was cut were not found again.
#[test]
fn seed_5_the_rest_of_an_event_that_was_cut_got_lost() {
    storm_over_http1(5);
}

/// Completions would have woken it.
#[test]
fn seed_6_a_shard_turned_for_nothing_while_sends_were_recalled() {
    storm_over_http1(6);
}

/// What was published before the first subscription never came, and nobody said so.
#[test]
fn seed_7_a_stream_was_older_than_the_first_subscription() {
    storm_over_http1(7);
}

/// It was closed, not reset, in the middle of a zero-copy send, and never read again.
#[test]
fn seed_156_a_reader_kept_the_log_full_after_it_was_gone() {
    storm_over_http1(156);
}

/// The log gave up the notice of an upstream that was away, but no event after the one it shares its id with.
#[test]
fn seed_4525_who_resumed_right_before_a_lost_notice_was_told_nothing() {
    storm_over_http1(4525);
}

/// It was due in every round of the same turn.
#[test]
fn seed_2_h2_a_change_of_topics_that_waited_kept_its_shard_busy_for_ever() {
    storm(2);
}

/// The stream had nothing to send, and was taken to be past it.
#[test]
fn seed_6_h2_a_change_of_topics_was_never_made() {
    storm(6);
}

/// Its rest had been kept, and was not sent.
#[test]
fn seed_17_h2_a_call_that_was_overtaken_resumed_behind_a_message_that_was_cut() {
    storm(17);
}

/// Its client had asked for the end.
#[test]
fn seed_20_h2_a_call_ended_in_the_middle_of_a_message() {
    storm(20);
}

/// The window had cut it.
#[test]
fn seed_21_h2_an_event_stream_ended_in_the_middle_of_a_notice() {
    storm(21);
}

/// Nor was their peer asked whether it was still there.
#[test]
fn seed_23_h2_streams_of_a_connection_that_leaves_got_no_comments() {
    storm(23);
}

/// Half of one was then read as the beginning of one.
#[test]
fn seed_26_h2_a_request_overtook_one_that_had_to_wait() {
    storm(26);
}

/// The frame was undone, and nothing remembered it.
#[test]
fn seed_33_h2_trailers_went_out_without_the_frame_before_them() {
    storm(33);
}

/// What to resume from lay behind it.
#[test]
fn seed_58_h2_a_gap_was_not_told_before_the_end_of_a_call() {
    storm(58);
}

/// From where the log had moved it meanwhile.
#[test]
fn seed_124_h2_a_call_that_was_ending_was_sent_away_again() {
    storm(124);
}

/// They would have been due at the visit that found it too old.
#[test]
fn seed_130_h2_a_connection_that_leaves_skipped_its_comments() {
    storm(130);
}

/// Its connection's turn came between two slices of a batch.
#[test]
fn seed_145_h2_a_stream_was_sent_to_before_all_its_topics_were_known() {
    storm(145);
}

/// The table of clients was empty again, and the end of the walk behind it was never met.
#[test]
fn seed_20006_a_shard_hung_when_all_left_in_the_middle_of_a_notice() {
    storm(20006);
}
