//! Readers that do not keep up: what they are told, when they are ended, and that nobody else notices.

mod support;

use std::time::{Duration, Instant};

use support::http::{Connection, head};
use support::lines::{json, says};
use support::sse::Stream;
use support::stage::{Stage, event};
use support::wait::Deadline;

/// A log that a reader who stops is soon lapped by.
const SMALL_LOG: &[(&str, &str)] = &[("PLASMA_HISTORY_BYTES", "2097152"), ("PLASMA_EVENT_MAX_BYTES", "65536")];

/// More than the log and every socket buffer between can hold.
const FLOOD: usize = 20_000_000;

/// Data of an event that is sent from the memory of the log itself, unless that was switched off.
const LARGE: usize = 50_000;

/// Data of an event that a reader who got half of it is still given the rest of when the log takes it back.
const SMALL: usize = 3_000;

fn narrow(stage: &Stage) -> Stream {
    Stream::begin(Connection::open_narrow(stage.plasma.http()), "/slow?eventType=a", &[])
}

/// Publishes `bytes` in events of `len` bytes that name their number, in batches, and returns all ids.
fn flood(stage: &Stage, bytes: usize, len: usize) -> Vec<u64> {
    let padding = "x".repeat(len);
    let (count, batch) = (bytes / len, 1_000_000 / len);
    let mut ids = Vec::new();
    while ids.len() < count {
        let numbers = ids.len()..count.min(ids.len() + batch);
        let events: Vec<String> = numbers.map(|number| event("a", &format!("[{number},\"{padding}\"]"))).collect();
        ids.extend(stage.post_for_ids(format!("[{}]", events.join(","))));
    }
    ids
}

#[test]
fn a_lapped_reader_is_told_what_it_lost_and_gets_the_rest() {
    let stage = Stage::memory_with(SMALL_LOG);
    let mut slow = narrow(&stage);
    let mut quick = stage.subscribe("eventType=b");
    let ids = flood(&stage, FLOOD, SMALL);
    let (mut next, mut gaps) = (0, 0);
    while next < ids.len() {
        let mut frame = slow.next_word();
        if frame.is_gap() {
            let gap = frame.gap();
            assert_eq!(gap.reason, "lapped");
            let before = next.checked_sub(1).map(|index| ids[index].to_string());
            assert!(gap.from == before || next == 0, "{gap:?} after {before:?}");
            frame = slow.next_event();
            assert_eq!(gap.to, frame.id, "the notice names the event that follows it");
            gaps += 1;
        }
        let at = ids.binary_search(&frame.id_number()).expect("an event that was published");
        assert!(at == next || gaps > 0 && at > next, "event {at} where {next} should stand, without a notice");
        assert_eq!(frame.payload()[0], at);
        next = at + 1;
    }
    assert!(gaps > 0, "the log was meant to be too small");
    stage.say("a", "1");
    assert_eq!(slow.next_event().payload(), 1);
    stage.say("b", "2");
    assert_eq!(quick.next_event().payload(), 2);
}

#[test]
fn a_lapped_reader_is_ended_where_that_is_the_policy() {
    let settings = [SMALL_LOG, &[("PLASMA_SLOW_CONSUMER", "close")]].concat();
    let stage = Stage::memory_with(&settings);
    let mut slow = narrow(&stage);
    let mut quick = stage.subscribe("eventType=b");
    flood(&stage, FLOOD, SMALL);
    stage.plasma.wait_for_access("sse", 1);
    let mut last = 0;
    while let Some(frame) = slow.next_frame_by(Deadline::patient()) {
        assert!(!frame.is_gap(), "{frame:?}");
        let number = frame.payload()[0].as_u64().expect("a number");
        assert!(number == last || number == last + 1, "{number} after {last}");
        last = number;
    }
    stage.say("b", "1");
    assert_eq!(quick.next_event().payload(), 1);
}

#[test]
fn readers_who_pin_the_log_hold_up_nobody() {
    let stage = Stage::memory_with(SMALL_LOG);
    let _slow: Vec<Stream> = (0..4).map(|_| narrow(&stage)).collect();
    let mut quick = stage.subscribe("eventType=a");
    for round in 0..FLOOD / 1_000_000 {
        for id in flood(&stage, 1_000_000, LARGE) {
            assert_eq!(quick.next_event().id_number(), id, "round {round}");
        }
    }
}

#[test]
fn a_write_without_progress_ends_the_connection() {
    let stage = Stage::memory_with(&[("PLASMA_WRITE_TIMEOUT", "1s")]);
    let begun = Instant::now();
    let slow = narrow(&stage);
    flood(&stage, 10_000_000, LARGE);
    let line = stage.plasma.wait_for_access("sse", 1);
    assert!(json(&line)["path"].as_str().is_some_and(|path| path.starts_with("/slow")), "{line}");
    assert!(begun.elapsed() >= Duration::from_secs(1), "given up after {:?}", begun.elapsed());
    drop(slow);
    assert_eq!(stage.plasma.stdout.count(|line| says(line, "sse")), 1);
}

#[test]
fn a_slow_reader_that_makes_progress_is_kept() {
    // Nobody reads while the flood lasts, which on a busy machine takes more than a second.
    let stage = Stage::memory_with(&[("PLASMA_WRITE_TIMEOUT", "4s")]);
    let mut slow = narrow(&stage);
    let ids = flood(&stage, 10_000_000, LARGE);
    // So little is taken at a time that the server would wait for minutes until the kernel calls the socket writable.
    let enough = Deadline::after(Duration::from_secs(10));
    for id in ids {
        if enough.remaining().is_none() {
            return;
        }
        assert_eq!(slow.next_event().id_number(), id);
    }
}

#[test]
fn one_byte_at_a_time_harms_nobody() {
    let stage = Stage::memory();
    let mut drip = Connection::open(stage.plasma.http());
    let mut quick = stage.subscribe("eventType=a");
    let bytes = head("GET", "/?eventType=a", &[("Accept", "text/event-stream")], None);
    let (last, others) = bytes.split_last().expect("a head");
    for (number, byte) in others.iter().enumerate() {
        drip.send([*byte]);
        stage.say("a", &number.to_string());
        assert_eq!(quick.next_event().payload(), number);
    }
    drip.send([*last]);
    let mut stream = Stream::join(drip);
    stage.say("a", "\"end\"");
    assert_eq!(stream.next_event().payload(), "end");
}

#[test]
fn resets_in_the_middle_of_a_send_harm_nobody() {
    let stage = Stage::memory();
    let mut quick = stage.subscribe("eventType=a");
    for round in 0..20 {
        // Closed with unread bytes in the buffer, a socket is reset.
        let slow = narrow(&stage);
        let ids = flood(&stage, 1_000_000, LARGE);
        drop(slow);
        for id in ids {
            assert_eq!(quick.next_event().id_number(), id, "round {round}");
        }
    }
    stage.plasma.wait_for_access("sse", 20);
    assert_eq!(stage.health(), 200);
}

#[test]
fn thousands_that_say_nothing_cost_nothing_and_are_sent_away() {
    const SILENT: usize = 3_000;
    let stage = Stage::memory_with(&[("PLASMA_REQUEST_TIMEOUT", "1s")]);
    let mut stream = stage.subscribe("eventType=a");
    stage.say("a", "1");
    stream.next_event();
    let before = stage.plasma.resident();
    let mut silent: Vec<Connection> = (0..SILENT).map(|_| Connection::open(stage.plasma.http())).collect();
    stage.say("a", "2");
    assert_eq!(stream.next_event().payload(), 2);
    for connection in &mut silent {
        connection.read_to_end();
    }
    let after = stage.plasma.resident();
    assert!(after < before + (8 << 20), "{before} bytes before, {after} after");
    stage.say("a", "3");
    assert_eq!(stream.next_event().payload(), 3);
}
