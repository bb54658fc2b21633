//! Cases 36 to 40 of the compatibility checklist: what must hold when many come, go, or stop reading.

mod support;

use std::thread;
use std::time::{Duration, Instant};

use support::http::{Connection, head};
use support::lines::{json, says};
use support::sse::assert_increasing;
use support::stage::{Stage, event};
use support::wait::{Deadline, until};

#[test]
fn case_36_a_disconnect_is_noticed_and_logged_once() {
    let stage = Stage::memory();
    let stream = stage.subscribe("eventType=a");
    let left = Instant::now();
    drop(stream);
    let line = stage.plasma.wait_for_access("sse", 1);
    assert!(left.elapsed() < Duration::from_secs(1), "noticed after {:?}", left.elapsed());
    assert_eq!(json(&line)["status"], 200);
    stage.say("a", "1");
    assert_eq!(stage.plasma.stdout.count(|line| says(line, "sse")), 1);
}

#[test]
fn case_36_a_half_close_ends_the_stream() {
    let stage = Stage::memory();
    let mut stream = stage.subscribe("eventType=a");
    stream.connection.socket().shutdown(std::net::Shutdown::Write).expect("an open socket");
    stream.connection.expect_end();
    stage.plasma.wait_for_access("sse", 1);
}

#[test]
fn case_37_the_opening_comes_at_once() {
    let stage = Stage::memory();
    // One of a few must be quick: the machine may be busy with other tests, the server may not wait for a timer.
    let quickest = (0..5).map(|_| {
        let asked = Instant::now();
        stage.subscribe("eventType=a");
        asked.elapsed()
    });
    let quickest = quickest.min().expect("some were tried");
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
}

#[test]
fn case_38_five_thousand_events_arrive_in_order() {
    Stage::each(|stage| {
        let mut streams: Vec<_> = (0..8).map(|_| stage.subscribe("eventType=a")).collect();
        let events: Vec<String> = (0..5_000).map(|number| event("a", &number.to_string())).collect();
        stage.publish_all(&events);
        let read = |stream: &mut support::sse::Stream| {
            let seen = stream.events(events.len());
            assert_increasing(&seen);
            for (number, event) in seen.iter().enumerate() {
                assert_eq!(event.payload(), number);
            }
        };
        thread::scope(|scope| {
            for stream in &mut streams {
                scope.spawn(|| read(stream));
            }
        });
    });
}

#[test]
fn case_39_one_that_never_reads_changes_nothing_for_the_others() {
    let stage = Stage::memory_with(&[("PLASMA_WRITE_TIMEOUT", "2s"), ("PLASMA_HISTORY_BYTES", "16777216")]);
    let mut stalled = Connection::open_narrow(stage.plasma.http());
    stalled.send(head("GET", "/stalled?eventType=a", &[("Accept", "text/event-stream")], None));
    let mut others: Vec<_> = (0..4).map(|_| stage.subscribe("eventType=a")).collect();
    let data = format!("\"{}\"", "x".repeat(60_000));
    let batch = vec![event("a", &data); 20];
    // More than the log and every socket buffer on the way can hold.
    let mut slowest = Duration::ZERO;
    for _ in 0..60 {
        let published = Instant::now();
        stage.publish_all(&batch);
        for stream in &mut others {
            assert_increasing(&stream.events(batch.len()));
        }
        slowest = slowest.max(published.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "the others waited {slowest:?}");
    let is_end = |line: &str| says(line, "sse");
    stage.plasma.stdout.wait_for("the end of the one that never reads", Deadline::patient(), is_end);
    for stream in &mut others {
        stage.say("a", "1");
        stream.next_event();
    }
    assert_eq!(stage.plasma.stdout.count(is_end), 1, "only the stalled one was ended");
}

#[test]
fn case_40_clients_may_come_and_go_under_load() {
    let stage = Stage::memory();
    let until_done = Deadline::after(Duration::from_secs(5));
    let topics = ["a", "b", "c", "d", "e", "f", "g", "h"];
    thread::scope(|scope| {
        for topic in topics {
            let stage = &stage;
            scope.spawn(move || {
                while until_done.remaining().is_some() {
                    let mut stream = stage.subscribe(&format!("eventType={topic}"));
                    let leave = Deadline::after(Duration::from_millis(20));
                    while stream.connection.try_receive(leave) == Some(true) {}
                    let left = leave.remaining();
                    assert!(left.is_none(), "the stream ended by itself");
                    // What has come is whole events of this topic, up to the cut.
                    while let Some(raw) = stream.connection.take_block(b"\n\n") {
                        let text = String::from_utf8(raw).expect("a stream is text");
                        let mine = format!("\"type\":\"{topic}\"");
                        assert!(text.starts_with("id: ") && text.contains(&mine), "foreign bytes: {text:?}");
                    }
                }
            });
        }
        scope.spawn(|| {
            let data = format!("\"{}\"", "x".repeat(500));
            let all: Vec<String> = topics.iter().map(|topic| event(topic, &data)).collect();
            while until_done.remaining().is_some() {
                stage.publish_all(&all);
            }
        });
    });
    let mut stream = stage.subscribe("eventType=a");
    stage.say("a", "\"last\"");
    until("the last event", Deadline::patient(), || (stream.next_event().payload() == "last").then_some(()));
}
