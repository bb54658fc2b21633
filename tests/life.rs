//! Start and end of the process: signals, drain, exit codes, and what becomes of the streams.

mod support;

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::http::{Connection, head};
use support::lines::{json, says};
use support::plasma::Plasma;
use support::sse::{Frame, Stream};
use support::stage::{Stage, event};
use support::wait::{Deadline, until};

/// Long enough to be seen, short enough for a test.
const DRAIN: Duration = Duration::from_secs(2);

/// What ending may take beyond the drain.
const MARGIN: Duration = Duration::from_secs(5);

fn draining() -> Stage {
    Stage::memory_with(&[("PLASMA_DRAIN", "2s")])
}

/// Checks that a stream ended as it should: with a retry, after whatever events, and nothing cut.
fn said_farewell(frames: &[Frame]) {
    let last = frames.last().expect("a farewell");
    assert!(last.retry.is_some() && last.data.is_none() && last.id.is_none(), "{:?}", last.raw);
}

#[test]
fn case_80_a_thousand_streams_end_cleanly_within_the_drain() {
    let mut stage = draining();
    let mut streams: Vec<Stream> = (0..1_000).map(|_| stage.subscribe("eventType=a")).collect();
    stage.say("a", "1");
    for stream in &mut streams {
        stream.next_event();
    }
    let begun = Instant::now();
    stage.plasma.signal(Signal::TERM);
    let mut retries = Vec::new();
    for stream in &mut streams {
        let frames = stream.read_to_end(DRAIN + MARGIN);
        said_farewell(&frames);
        retries.extend(frames.last().and_then(|frame| frame.retry));
    }
    let code = stage.plasma.wait_exit(Deadline::after(MARGIN));
    assert_eq!(code, 0);
    assert!(begun.elapsed() < DRAIN + MARGIN, "{:?}", begun.elapsed());
    retries.sort();
    retries.dedup();
    assert!(retries.len() > 10, "retries are spread so that not all come back at once: {retries:?}");
    let ended = stage.plasma.take_end(code);
    let logged = ended.stdout.lines().filter(|line| says(line, "sse") && json(line)["status"] == 200);
    assert_eq!(logged.count(), 1_000, "every stream is in the access log");
}

#[test]
fn case_80_these_signals_end_it_and_hangup_does_not() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let mut stage = Stage::memory_with(&[("PLASMA_DRAIN", "500ms")]);
        let mut stream = stage.subscribe("eventType=a");
        stage.plasma.signal(Signal::HUP);
        stage.say("a", "1");
        stream.next_event();
        assert!(stage.plasma.is_running());
        stage.plasma.signal(signal);
        said_farewell(&stream.read_to_end(MARGIN));
        assert_eq!(stage.plasma.wait_exit(Deadline::after(MARGIN)), 0, "{signal:?}");
    }
}

#[test]
fn without_streams_it_ends_at_once() {
    let mut stage = Stage::memory_with(&[("PLASMA_DRAIN", "60s")]);
    stage.plasma.signal(Signal::TERM);
    assert_eq!(stage.plasma.wait_exit(Deadline::after(MARGIN)), 0);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let mut stage = Stage::memory_with(&[("PLASMA_DRAIN", "60s"), ("PLASMA_WRITE_TIMEOUT", "60s")]);
    // Somebody whose bytes are still on their way is given all the time there is.
    let stalled = stalled_reader(&stage);
    stage.plasma.signal(Signal::TERM);
    let refused = || TcpStream::connect(stage.plasma.http()).is_err().then_some(());
    until("new connections to be refused", Deadline::patient(), refused);
    assert!(stage.plasma.is_running(), "a drain of a minute is not over yet");
    stage.plasma.signal(Signal::TERM);
    stage.plasma.wait_exit(Deadline::after(MARGIN));
    drop(stalled);
}

/// A stream that has been sent more than all buffers between hold, and of which nobody reads.
fn stalled_reader(stage: &Stage) -> Stream {
    let stalled = Stream::begin(Connection::open_narrow(stage.plasma.http()), "/?eventType=a", &[]);
    let data = format!("\"{}\"", "x".repeat(50_000));
    let batch = vec![event("a", &data); 100];
    for _ in 0..3 {
        stage.publish_all(&batch);
    }
    stalled
}

#[test]
fn while_it_drains_it_is_not_healthy_and_takes_nobody_new() {
    let stage = Stage::memory_with(&[("PLASMA_DRAIN", "10s")]);
    let _streams: Vec<Stream> = (0..200).map(|_| stage.subscribe("eventType=a")).collect();
    let mut kept = Connection::open(stage.plasma.http());
    kept.send(head("GET", "/hc", &[], None));
    assert_eq!(kept.read_answer().status(), 200);
    stage.plasma.signal(Signal::TERM);
    let refused = || TcpStream::connect(stage.plasma.http()).is_err().then_some(());
    until("new connections to be refused", Deadline::patient(), refused);
    // A connection of before may have been closed; if it is not, it hears that the server is going.
    if kept.try_send(head("GET", "/hc", &[], None))
        && let Some(answer) = kept.read_through(b"\r\n\r\n", Deadline::patient())
    {
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[test]
fn events_published_before_the_signal_arrive_before_the_farewell() {
    let mut stage = draining();
    let mut streams: Vec<Stream> = (0..20).map(|_| stage.subscribe("eventType=a")).collect();
    let events: Vec<String> = (0..500).map(|number| event("a", &number.to_string())).collect();
    stage.publish_all(&events);
    stage.plasma.signal(Signal::TERM);
    for stream in &mut streams {
        let frames = stream.read_to_end(DRAIN + MARGIN);
        let (farewell, seen) = frames.split_last().expect("events and a farewell");
        said_farewell(std::slice::from_ref(farewell));
        assert_eq!(seen.iter().filter(|frame| frame.data.is_some()).count(), events.len());
    }
    assert_eq!(stage.plasma.wait_exit(Deadline::after(MARGIN)), 0);
}

#[test]
fn a_reader_that_does_not_read_cannot_hold_up_the_end() {
    let mut stage = Stage::memory_with(&[("PLASMA_DRAIN", "1s")]);
    let _stalled = stalled_reader(&stage);
    stage.plasma.signal(Signal::TERM);
    assert_eq!(stage.plasma.wait_exit(Deadline::after(Duration::from_secs(1) + MARGIN)), 0);
}

#[test]
fn the_end_is_clean_while_events_pour_in() {
    let mut stage = draining();
    let address = stage.plasma.http();
    let mut streams: Vec<Stream> = (0..50).map(|_| stage.subscribe("eventType=a")).collect();
    let publisher = thread::spawn(move || {
        let body = event("a", "1");
        let mut connection = Connection::open(address);
        let mut request = head("POST", "/events", &[], Some(body.len()));
        request.extend(body.as_bytes());
        while connection.try_send(&request) && connection.read_through(b"]}", Deadline::patient()).is_some() {}
    });
    for stream in &mut streams {
        stream.next_event();
    }
    stage.plasma.signal(Signal::TERM);
    for stream in &mut streams {
        said_farewell(&stream.read_to_end(DRAIN + MARGIN));
    }
    assert_eq!(stage.plasma.wait_exit(Deadline::after(MARGIN)), 0);
    publisher.join().expect("the publisher saw the end");
}

#[test]
fn the_start_up_line_says_what_runs() {
    let plasma = Plasma::setup().set("PLASMA_SHARDS", "3").start();
    let line = &plasma.listening;
    assert_eq!((&line["level"], &line["shards"], &line["upstream"]), (&"info".into(), &3.into(), &"memory".into()));
    assert!(line["ts"].as_f64().is_some_and(|seconds| seconds > 1e9), "{line}");
    let capacity = line.as_object().expect("an object").iter().filter(|(key, _)| key.contains("connections"));
    assert!(capacity.into_iter().any(|(_, value)| value.as_u64().is_some_and(|count| count > 100)), "{line}");
}

#[test]
fn every_line_of_both_logs_is_json() {
    let mut stage = Stage::memory_with(&[("PLASMA_DRAIN", "100ms"), ("PLASMA_UNKNOWN_SETTING", "1")]);
    let stream = stage.subscribe_with("eventType=a", &[("User-Agent", "quote \" backslash \\ tab \t end")]);
    stage.say("a", "1");
    drop(stream);
    stage.plasma.wait_for_access("sse", 1);
    stage.plasma.signal(Signal::TERM);
    let code = stage.plasma.wait_exit(Deadline::after(MARGIN));
    let ended = stage.plasma.take_end(code);
    for line in ended.stdout.lines().chain(ended.stderr.lines()) {
        let keys = support::lines::keys(line);
        assert_eq!(keys[..3], ["level", "ts", "msg"], "{line}");
    }
    assert!(ended.stdout.contains("quote \\\" backslash \\\\ tab \\t end"), "{}", ended.stdout);
}

#[test]
fn more_shards_than_cpus_work() {
    let stage = Stage::memory_with(&[("PLASMA_SHARDS", "16")]);
    let mut streams: Vec<Stream> = (0..100).map(|_| stage.subscribe("eventType=a")).collect();
    for number in 0..20 {
        stage.say("a", &number.to_string());
    }
    for stream in &mut streams {
        for number in 0..20 {
            assert_eq!(stream.next_event().payload(), number);
        }
    }
}
