//! Coming back: a subscriber that names the last event it saw misses nothing, sees nothing twice, or hears of the hole.

mod support;

use std::thread;

use support::sse::{Stream, assert_increasing};
use support::stage::{Stage, event};
use support::wait::Deadline;

/// A small log: a few hundred events of a kilobyte fit.
const SMALL_LOG: &[(&str, &str)] = &[("PLASMA_HISTORY_BYTES", "1048576"), ("PLASMA_EVENT_MAX_BYTES", "65536")];

/// An hour in the unit of ids.
const HOUR: u64 = 3_600_000 << 20;

fn resume(stage: &Stage, id: u64) -> Stream {
    stage.subscribe_with("eventType=a", &[("Last-Event-ID", &id.to_string())])
}

fn publish_numbers(stage: &Stage, topic: &str, numbers: std::ops::Range<usize>) -> Vec<u64> {
    let events: Vec<String> = numbers.map(|number| event(topic, &number.to_string())).collect();
    stage.post_for_ids(format!("[{}]", events.join(",")))
}

#[test]
fn a_resume_begins_right_after_the_named_event_and_goes_on_live() {
    let stage = Stage::memory();
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.extend(publish_numbers(&stage, "a", number..number + 1));
        publish_numbers(&stage, "b", number..number + 1);
    }
    let wanted = |stream: &mut Stream, from: usize| {
        for (number, id) in ids.iter().enumerate().skip(from) {
            let event = stream.next_event();
            assert_eq!((event.id_number(), event.payload()), (*id, number.into()));
        }
    };
    let headers = ["Last-Event-ID", "last-event-id", "HTTP_LAST_EVENT_ID"];
    let id = ids[3].to_string();
    let mut streams: Vec<Stream> =
        headers.iter().map(|name| stage.subscribe_with("eventType=a", &[(name, &id)])).collect();
    streams.push(stage.subscribe(&format!("eventType=a&lastEventId={id}")));
    streams.push(stage.subscribe(&format!("last_event_id={id}&eventType=a")));
    for stream in &mut streams {
        wanted(stream, 4);
    }
    stage.say("a", "\"live\"");
    for stream in &mut streams {
        assert_eq!(stream.next_event().payload(), "live");
    }
}

#[test]
fn a_resume_from_the_newest_event_is_live() {
    let stage = Stage::memory();
    let id = publish_numbers(&stage, "a", 0..1)[0];
    let mut stream = resume(&stage, id);
    stage.say("a", "1");
    assert_eq!(stream.next_event().payload(), 1);
}

#[test]
fn a_resume_may_name_an_event_of_another_topic() {
    let stage = Stage::memory();
    publish_numbers(&stage, "a", 0..1);
    let id = publish_numbers(&stage, "b", 0..1)[0];
    publish_numbers(&stage, "a", 1..2);
    assert_eq!(resume(&stage, id).next_event().payload(), 1);
}

#[test]
fn a_resume_knows_the_hierarchy_and_delivers_once() {
    let stage = Stage::memory();
    let id = publish_numbers(&stage, "x", 0..1)[0];
    publish_numbers(&stage, "a:b:c", 0..1);
    publish_numbers(&stage, "a:bc", 1..2);
    publish_numbers(&stage, "a:b", 2..3);
    let header = [("Last-Event-ID", id.to_string())];
    let header: Vec<(&str, &str)> = header.iter().map(|(name, id)| (*name, id.as_str())).collect();
    let mut stream = stage.subscribe_with("eventType=a:b,a:b:c,a:b", &header);
    publish_numbers(&stage, "a:b", 3..4);
    let seen: Vec<_> = stream.events(3).iter().map(|event| event.payload().as_i64()).collect();
    assert_eq!(seen, [0, 2, 3].map(Some));
}

#[test]
fn reconnecting_under_load_misses_nothing_and_repeats_nothing() {
    const EVENTS: usize = 3_000;
    let stage = Stage::memory_with(&[("PLASMA_SHARDS", "3")]);
    let first = publish_numbers(&stage, "a", 0..1)[0];
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in (1..EVENTS).step_by(5) {
                publish_numbers(&stage, "a", number..(number + 5).min(EVENTS));
            }
        });
        for reader in 0..3 {
            let stage = &stage;
            scope.spawn(move || {
                let (mut last, mut next, mut turn) = (first, 1, reader);
                while next < EVENTS {
                    let mut stream = resume(stage, last);
                    turn += 7;
                    for _ in 0..turn % 90 {
                        let event = stream.next_event();
                        assert_eq!(event.payload(), next, "after {last}");
                        (last, next) = (event.id_number(), next + 1);
                        if next == EVENTS {
                            break;
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn a_long_catch_up_arrives_in_order() {
    const EVENTS: usize = 30_000;
    let stage = Stage::memory();
    let first = publish_numbers(&stage, "a", 0..1)[0];
    for from in (1..EVENTS).step_by(1_000) {
        publish_numbers(&stage, "a", from..(from + 1_000).min(EVENTS));
        publish_numbers(&stage, "b", 0..10);
    }
    let seen = resume(&stage, first).events(EVENTS - 1);
    assert_increasing(&seen);
    for (index, event) in seen.iter().enumerate() {
        assert_eq!(event.payload(), index + 1);
    }
}

#[test]
fn an_id_of_an_earlier_process_is_a_gap() {
    let earlier = Stage::memory();
    let id = publish_numbers(&earlier, "a", 0..1)[0];
    drop(earlier);
    let stage = Stage::memory();
    let mut stream = resume(&stage, id);
    let gap = stream.next_gap();
    assert_eq!((gap.from, gap.reason.as_str()), (Some(id.to_string()), "expired"));
    let next = publish_numbers(&stage, "a", 0..1)[0];
    assert!(next > id, "ids grow across a restart");
    assert_eq!(stream.next_event().id_number(), next);
}

#[test]
fn an_id_of_an_hour_ago_is_a_gap_up_to_the_first_event_held() {
    let stage = Stage::memory();
    let ids = publish_numbers(&stage, "a", 0..2);
    let mut stream = resume(&stage, ids[0] - HOUR);
    let gap = stream.next_gap();
    assert_eq!(gap.reason, "expired");
    assert_eq!(gap.from, Some((ids[0] - HOUR).to_string()));
    assert_eq!(gap.to, Some(ids[0].to_string()));
    assert_eq!([stream.next_event().id_number(), stream.next_event().id_number()], [ids[0], ids[1]]);
}

#[test]
fn an_id_of_the_future_is_unknown_and_the_stream_live() {
    let stage = Stage::memory();
    let ids = publish_numbers(&stage, "a", 0..2);
    let future = ids[1] + HOUR;
    let mut stream = resume(&stage, future);
    let gap = stream.next_gap();
    assert_eq!((gap.from, gap.reason.as_str()), (Some(future.to_string()), "unknown"));
    let next = publish_numbers(&stage, "a", 2..3)[0];
    assert_eq!(stream.next_event().id_number(), next);
}

#[test]
fn an_event_that_has_left_the_log_is_a_gap_and_the_rest_follows() {
    let stage = Stage::memory_with(SMALL_LOG);
    let first = publish_numbers(&stage, "a", 0..1)[0];
    let data = format!("\"{}\"", "x".repeat(1_000));
    let batch = format!("[{}]", vec![event("a", &data); 500].join(","));
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.extend(stage.post_for_ids(&batch));
    }
    let mut stream = resume(&stage, first);
    let gap = stream.next_gap();
    assert_eq!((gap.from, gap.reason.as_str()), (Some(first.to_string()), "expired"));
    let event = stream.next_event();
    assert_eq!(gap.to, event.id);
    let at = ids.binary_search(&event.id_number()).expect("an event that was published");
    assert!(at > 0, "the log was meant to be too small");
    for id in &ids[at + 1..] {
        assert_eq!(stream.next_event().id_number(), *id);
    }
    stage.say("a", "\"live\"");
    assert_eq!(stream.next_event().payload(), "live");
}

#[test]
fn a_quiet_topic_is_not_told_of_what_others_lost() {
    let stage = Stage::memory_with(SMALL_LOG);
    let mut stream = stage.subscribe("eventType=a");
    let batch = format!("[{}]", vec![event("b", &format!("\"{}\"", "x".repeat(1_000))); 500].join(","));
    for _ in 0..6 {
        stage.post(&batch);
    }
    stage.say("a", "1");
    assert_eq!(stream.next_event().payload(), 1);
    assert_eq!(stream.connection.try_receive(Deadline::after(std::time::Duration::from_millis(50))), None);
}
