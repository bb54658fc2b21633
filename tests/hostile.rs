//! Clients that mean harm, or behave as if: whatever they do, a subscriber beside them receives every event in order,
//! and when they are gone the memory that they took is back.

mod support;

use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use rustix::net::sockopt;
use rustix::process::Signal;
use support::http::{Connection, head};
use support::lines::json;
use support::sse::Stream;
use support::stage::event;
use support::wait::{Deadline, pass};
use support::witness::{MIB, Witness, memory_returns, stage_with, warm};

/// From here on the connection ends with a reset.
fn reset(connection: &Connection) {
    sockopt::set_socket_linger(connection.socket(), Some(Duration::ZERO)).expect("a TCP socket");
}

#[test]
fn ten_thousand_that_say_nothing_are_sent_away() {
    const SILENT: usize = 10_000;
    let stage = stage_with(&[("PLASMA_REQUEST_TIMEOUT", "3s")]);
    let before = warm(&stage);
    let witness = Witness::of(&stage);
    let mut silent: Vec<Connection> = (0..SILENT).map(|_| Connection::open(stage.plasma.http())).collect();
    let during = stage.plasma.resident();
    assert!(during < before + 16 * MIB, "{before} bytes before, {during} with {SILENT} clients");
    for connection in &mut silent {
        connection.expect_end();
    }
    witness.finish();
    memory_returns(&stage, before);
}

#[test]
fn a_head_that_trickles_in_is_not_waited_for() {
    let stage = stage_with(&[("PLASMA_REQUEST_TIMEOUT", "1s")]);
    let witness = Witness::of(&stage);
    let mut connection = Connection::open(stage.plasma.http());
    // Every byte is news, and yet the whole takes too long.
    connection.send("GET /hc HTTP/1.1\r\nX: ");
    let deadline = Deadline::patient();
    while connection.try_receive(Deadline::after(Duration::from_millis(50))).is_none() {
        assert!(deadline.remaining().is_some(), "in vain: an answer");
        connection.try_send("y");
    }
    assert_eq!(connection.read_head().status, 408);
    witness.finish();
}

#[test]
fn a_body_that_stops_is_not_waited_for_and_one_that_trickles_is() {
    let stage = stage_with(&[("PLASMA_REQUEST_TIMEOUT", "1s")]);
    let witness = Witness::of(&stage);
    let mut stopped = Connection::open(stage.plasma.http());
    stopped.send(head("POST", "/events", &[], Some(1_000))).send("[");
    assert_eq!(stopped.read_head().status, 408);
    let mut slow = Connection::open(stage.plasma.http());
    let body = format!("{:>30}", event("a", "1"));
    slow.send(head("POST", "/events", &[], Some(body.len())));
    for byte in body.bytes() {
        pass(Deadline::after(Duration::from_millis(50)));
        slow.send([byte]);
    }
    assert_eq!(slow.read_answer().status(), 202);
    witness.finish();
}

#[test]
fn resets_in_the_middle_of_everything_leave_nothing_behind() {
    let stage = stage_with(&[]);
    let address = stage.plasma.http();
    let before = warm(&stage);
    let witness = Witness::of(&stage);
    let large = event("a", &format!("\"{}\"", "x".repeat(200_000)));
    for round in 0..50 {
        // In a send, in a head, in a body, before an answer, in a stream that is up to date.
        let behind = Stream::begin(Connection::open_narrow(address), "/?eventType=a", &[]);
        let mut reading = stage.subscribe("eventType=b");
        for _ in 0..4 {
            stage.say("b", &round.to_string());
            stage.publish(&large);
            assert_eq!(reading.next_event().payload(), round);
        }
        let mut in_head = Connection::open(address);
        in_head.send("GET /?eventType=a HTTP/1.1\r\nHo");
        let mut in_body = Connection::open(address);
        in_body.send(head("POST", "/events", &[], Some(100_000))).send("[".repeat(50_000));
        let mut unanswered = Connection::open(address);
        unanswered.send(head("GET", "/hc", &[], None).repeat(20));
        for connection in [&behind.connection, &reading.connection, &in_head, &in_body, &unanswered] {
            reset(connection);
        }
    }
    stage.plasma.wait_for_access("sse", 101);
    witness.finish();
    memory_returns(&stage, before);
}

#[test]
fn bodies_that_never_end_are_bounded_together() {
    const GREEDY: usize = 300;
    let stage = stage_with(&[("PLASMA_SHARDS", "1"), ("PLASMA_REQUEST_TIMEOUT", "5m")]);
    let address = stage.plasma.http();
    let before = warm(&stage);
    let witness = Witness::of(&stage);
    let part = " ".repeat(1_000_000);
    let mut greedy: Vec<Connection> = (0..GREEDY).map(|_| Connection::open(address)).collect();
    for connection in &mut greedy {
        // The last of them are refused before they have said everything.
        connection.try_send(head("POST", "/events", &[], Some(10_000_000)));
        connection.try_send(&part);
    }
    let during = stage.plasma.resident();
    assert!(during < before + 100 * MIB, "{before} bytes before, {during} during");
    // What is held already leaves no room for one of the largest that are allowed.
    let mut late = Connection::open(address);
    late.try_send(head("POST", "/events", &[], Some(10_000_000)));
    (0..10).take_while(|_| late.try_send(&part)).for_each(drop);
    assert_eq!(late.read_head().status, 503);
    witness.finish();
    drop(greedy);
    memory_returns(&stage, before);
}

#[test]
fn who_keeps_talking_on_a_stream_is_ended() {
    let stage = stage_with(&[]);
    let witness = Witness::of(&stage);
    let mut talker = stage.subscribe("eventType=a");
    let deadline = Deadline::patient();
    while talker.connection.try_send("blah ".repeat(1_000)) {
        assert!(deadline.remaining().is_some(), "in vain: an end");
    }
    let line = json(&stage.plasma.wait_for_access("sse", 1));
    assert_eq!(line["reason"], "client kept sending");
    witness.finish();
}

#[test]
fn topics_that_nobody_shares_leave_nothing_behind() {
    let stage = stage_with(&[]);
    let before = warm(&stage);
    let witness = Witness::of(&stage);
    for round in 0..20 {
        let streams: Vec<Stream> = (0..100)
            .map(|client| {
                let topics: Vec<String> = (0..200).map(|topic| format!("{round}:{client}:{topic}")).collect();
                stage.subscribe(&format!("eventType={}", topics.join(",")))
            })
            .collect();
        drop(streams);
    }
    stage.plasma.wait_for_access("sse", 2_001);
    witness.finish();
    memory_returns(&stage, before);
}

#[test]
fn who_hangs_up_halfway_with_the_request_is_not_kept() {
    let stage = stage_with(&[]);
    let witness = Witness::of(&stage);
    let subscription = head("GET", "/?eventType=a", &[("Accept", "text/event-stream")], None);
    let behind_another = [head("GET", "/hc", &[], None), subscription.clone()].concat();
    for bytes in [subscription, behind_another] {
        for _ in 0..50 {
            let mut connection = Connection::open(stage.plasma.http());
            connection.send(&bytes);
            let _ = connection.socket().shutdown(Shutdown::Write);
            connection.read_to_end();
        }
    }
    witness.finish();
}

/// Bytes that differ from round to round and are the same in every run.
fn dice(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 33) as usize
}

#[test]
fn mutilated_requests_harm_nobody() {
    let stage = stage_with(&[("PLASMA_DEBUG", "true")]);
    let address: SocketAddr = stage.plasma.http();
    let before = warm(&stage);
    let witness = Witness::of(&stage);
    let body = event("a", "{\"b\":[1,\"\\u00e9\"]}");
    let chunked = format!(
        "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let subscription =
        head("GET", "/?eventType=a,b:c&lastEventId=1", &[("Accept", "text/event-stream"), ("Cookie", "x=y")], None);
    let published = [head("POST", "/events", &[], Some(body.len())), body.clone().into_bytes()].concat();
    let debugged = [head("POST", "/debug", &[], Some(body.len())), body.into_bytes()].concat();
    let whole = [subscription, published, debugged, chunked.into_bytes()];
    let mut state = 0x9E37_79B9_7F4A_7C15;
    for round in 0..3_000 {
        let mut bytes = whole[round % whole.len()].clone();
        for _ in 0..1 + dice(&mut state) % 4 {
            if bytes.is_empty() {
                break;
            }
            let at = dice(&mut state) % bytes.len();
            match dice(&mut state) % 5 {
                0 => bytes[at] = dice(&mut state) as u8,
                1 => bytes.insert(at, dice(&mut state) as u8),
                2 => drop(bytes.remove(at)),
                3 => bytes.truncate(at + 1),
                _ => {
                    let piece = bytes[at..bytes.len().min(at + 20)].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        let mut connection = Connection::open(address);
        connection.try_send(&bytes);
        let _ = connection.socket().shutdown(Shutdown::Write);
        // Whatever is answered, it is HTTP, and the connection ends.
        let answer = connection.read_to_end();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "round {round}: {bytes:?}");
    }
    witness.finish();
    memory_returns(&stage, before);
}

#[test]
fn a_dense_server_finds_out_who_has_gone() {
    let stage = stage_with(&[("PLASMA_IDLE", "dense"), ("PLASMA_SSE_HEARTBEAT", "1s")]);
    let witness = Witness::of(&stage);
    let mut streams: Vec<Stream> = (0..200).map(|_| stage.subscribe("eventType=a")).collect();
    for number in 0..10 {
        stage.say("a", &number.to_string());
        for stream in &mut streams {
            assert_eq!(stream.next_event().payload(), number);
        }
    }
    // Nobody watches them: the next heartbeats find them gone.
    drop(streams);
    stage.plasma.wait_for_access("sse", 200);
    witness.finish();
}

#[test]
fn sixty_shards_on_a_few_cores_keep_order_and_end() {
    let mut stage = stage_with(&[("PLASMA_SHARDS", "60"), ("PLASMA_DRAIN", "2s")]);
    let witness = Witness::of(&stage);
    let mut streams: Vec<Stream> = (0..300).map(|_| stage.subscribe("eventType=a")).collect();
    // From connections of their own, so from many shards.
    for number in 0..100 {
        stage.say("a", &number.to_string());
    }
    for stream in &mut streams {
        for number in 0..100 {
            assert_eq!(stream.next_event().payload(), number);
        }
    }
    witness.finish();
    stage.plasma.signal(Signal::TERM);
    for stream in &mut streams {
        let frames = stream.read_to_end(Duration::from_secs(20));
        assert!(frames.last().is_some_and(|frame| frame.retry.is_some()), "{frames:?}");
    }
    assert_eq!(stage.plasma.wait_exit(Deadline::patient()), 0);
}

#[test]
fn one_byte_a_second_is_read_as_well_as_any() {
    let stage = stage_with(&[]);
    let witness = Witness::of(&stage);
    let mut slow = Connection::open(stage.plasma.http());
    let bytes = b"GET /hc HTTP/1.0\r\n\r\n";
    // Most of it at once: the request timeout is for the whole.
    let (start, rest) = bytes.split_at(bytes.len() - 4);
    slow.send(start);
    for byte in rest {
        pass(Deadline::after(Duration::from_secs(1)));
        slow.send([*byte]);
    }
    assert_eq!(slow.read_answer().status(), 200);
    slow.expect_end();
    witness.finish();
}
