//! Event streams and requests over HTTP/2: the same words as over HTTP/1.1, and clients that do not read.

mod support;

use std::time::Duration;

use h2::client::Builder;
use plasma::wire::grpc::proto::plasma::Payload;
use prost::Message as _;
use support::grpc::{Call, Peer, wait, within};
use support::http::{Connection, request};
use support::sse::{Frame, Gap, HEARTBEAT, assert_increasing};
use support::stage::{Stage, event};
use support::wait::Deadline;
use tonic::Code;

const OPENING: &str = "retry: 2000\n:ok\n\n";

const ACCEPT: (&str, &str) = ("accept", "text/event-stream");

fn peer(stage: &Stage) -> Peer {
    Peer::open(stage.plasma.http())
}

/// An event stream, its opening read.
fn subscribe(peer: &Peer, query: &str, fields: &[(&str, &str)]) -> Call {
    let mut call = peer.request("GET", &format!("/?{query}"), &[&[ACCEPT], fields].concat(), true);
    assert_eq!(call.head().status, 200);
    assert_eq!(call.read_through("\n\n"), OPENING);
    call
}

fn frame(call: &mut Call) -> Frame {
    loop {
        let frame = Frame::parse(&call.read_through("\n\n"));
        if !frame.is_heartbeat() {
            return frame;
        }
    }
}

fn frames(call: &mut Call, count: usize) -> Vec<Frame> {
    (0..count).map(|_| frame(call)).collect()
}

#[test]
fn a_stream_is_the_same_over_both_versions() {
    Stage::each(|stage| {
        let peer = peer(stage);
        let mut new = subscribe(&peer, "eventType=a,b:c", &[]);
        let mut old = stage.subscribe("eventType=a,b:c");
        let large = format!("\"{}\"", "x".repeat(100_000));
        for (topic, data) in [
            ("a", "1"),
            ("a:x", "{\"x\": \"<b>\u{2028}\" , \"y\":[1, 2.50]}"),
            ("b", "2"),
            ("b:c:d", "\"\\n\""),
            ("a", large.as_str()),
            ("a", "null"),
        ] {
            stage.say(topic, data);
        }
        let old: String = old.events(5).iter().map(|frame| frame.raw.clone()).collect();
        let new: String = frames(&mut new, 5).iter().map(|frame| frame.raw.clone()).collect();
        assert!(old == new, "{old:?}\n{new:?}");
    });
}

#[test]
fn heads_have_no_fields_of_a_connection() {
    let stage = Stage::memory();
    let peer = peer(&stage);
    let mut call = subscribe(&peer, "eventType=a", &[]);
    let mut names: Vec<_> = call.head().headers.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    let mut old = stage.subscribe("eventType=a").head.names();
    old.retain(|name| name != "connection");
    assert_eq!(names, old);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-store, no-transform"),
        ("x-accel-buffering", "no"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(call.field(name).as_deref(), Some(value));
    }
}

#[test]
fn answers_are_the_same_over_both_versions() {
    let stage = Stage::memory_with(&[("PLASMA_DEBUG", "true")]);
    let peer = peer(&stage);
    for (method, target, accept) in [
        ("GET", "/", ""),
        ("GET", "/", "text/event-stream"),
        ("GET", "/?eventType=", "text/event-stream"),
        ("GET", "/nowhere", "*/*"),
        ("GET", "//hc", ""),
        ("GET", "/hc", ""),
        ("HEAD", "/hc", ""),
        ("HEAD", "/nowhere", ""),
        ("OPTIONS", "/", ""),
        ("OPTIONS", "/events", ""),
        ("GET", "/debug", ""),
        ("PUT", "/debug", ""),
        ("GET", "/events", ""),
        ("DELETE", "/events", ""),
    ] {
        let fields = if accept.is_empty() { vec![] } else { vec![("accept", accept)] };
        let old = request(stage.plasma.http(), method, target, &fields);
        let mut new = peer.request(method, target, &fields, true);
        let what = format!("{method} {target} {accept}");
        assert_eq!(new.head().status.as_u16(), old.status(), "{what}");
        for (name, value) in &old.head.headers {
            if !["connection", "date"].contains(&name.to_ascii_lowercase().as_str()) {
                assert_eq!(new.field(name).as_deref(), Some(value.as_str()), "{what}: {name}");
            }
        }
        assert_eq!(String::from_utf8(new.body()).expect("text"), old.text(), "{what}");
    }
}

#[test]
fn a_stream_resumes_by_header_and_by_query() {
    Stage::each(|stage| {
        let peer = peer(stage);
        let mut live = subscribe(&peer, "eventType=a", &[]);
        for data in ["1", "2", "3"] {
            stage.say("a", data);
        }
        let seen = frames(&mut live, 3);
        assert_increasing(&seen);
        let first = seen[0].id.clone().expect("an event has an id");
        let by_header = subscribe(&peer, "eventType=a", &[("last-event-id", &first)]);
        let by_query = subscribe(&peer, &format!("eventType=a&lastEventId={first}"), &[]);
        for mut call in [by_header, by_query] {
            assert_eq!(frames(&mut call, 2), seen[1..]);
        }
    });
}

#[test]
fn gaps_are_told() {
    let stage = Stage::memory_with(&[("PLASMA_HISTORY_BYTES", "1MiB"), ("PLASMA_EVENT_MAX_BYTES", "128KiB")]);
    let seen = stage.post_for_ids(event("a", "1"))[0];
    let first = seen.to_string();
    let filler = event("a", &format!("\"{}\"", "x".repeat(10_000)));
    for _ in 0..5 {
        stage.publish_all(&vec![filler.clone(); 100]);
    }
    let peer = peer(&stage);
    let mut call = subscribe(&peer, "eventType=a", &[("last-event-id", &first)]);
    let gap = frame(&mut call).gap();
    assert_eq!((gap.from, gap.reason.as_str()), (Some(first), "expired"));
    assert_eq!(frame(&mut call).id, gap.to, "it goes on where the notice says");
    let future = (seen + (1 << 40)).to_string();
    // On the same connection the stream above, which nobody reads on, would be in the way.
    let peer = self::peer(&stage);
    let mut call = subscribe(&peer, "eventType=a", &[("last-event-id", &future)]);
    stage.say("a", "2");
    let gap = frame(&mut call).gap();
    assert_eq!(gap, Gap { from: Some(future), to: gap.to.clone(), reason: "unknown".to_owned() });
    assert_eq!(frame(&mut call).payload(), 2);
}

#[test]
fn quiet_streams_get_heartbeats() {
    let stage = Stage::memory_with(&[("PLASMA_SSE_HEARTBEAT", "1s")]);
    let peer = peer(&stage);
    let mut calls: Vec<_> = (0..5).map(|_| subscribe(&peer, "eventType=a", &[])).collect();
    for call in &mut calls {
        assert_eq!(call.read_through("\n\n"), HEARTBEAT);
        assert_eq!(call.read_through("\n\n"), HEARTBEAT);
    }
    stage.say("a", "1");
    for call in &mut calls {
        assert_eq!(frame(call).payload(), 1);
    }
}

#[test]
fn a_cancelled_stream_is_logged_and_the_connection_goes_on() {
    let stage = Stage::memory();
    let peer = peer(&stage);
    let mut call = subscribe(&peer, "eventType=a", &[]);
    stage.say("a", "1");
    frame(&mut call);
    call.cancel();
    let line = support::lines::json(&stage.plasma.wait_for_access("sse", 1));
    assert_eq!((&line["status"], &line["events"]), (&200.into(), &1.into()), "{line}");
    let mut call = subscribe(&peer, "eventType=a", &[]);
    stage.say("a", "2");
    assert_eq!(frame(&mut call).payload(), 2);
}

#[test]
fn a_farewell_ends_the_stream_as_it_should() {
    let mut stage = Stage::memory();
    let peer = peer(&stage);
    let mut call = subscribe(&peer, "eventType=a", &[]);
    stage.plasma.signal(rustix::process::Signal::TERM);
    let last = Frame::parse(std::str::from_utf8(&call.body()).expect("text"));
    assert!(last.retry.is_some_and(|retry| (2_000..=4_000).contains(&retry)), "{last:?}");
    peer.wait_end().expect("an end without an error");
    assert_eq!(stage.plasma.wait_exit(Deadline::patient()), 0);
}

#[test]
fn requests_with_bodies() {
    Stage::each_with(&[("PLASMA_DEBUG", "true")], |stage| {
        let peer = peer(stage);
        let mut events = subscribe(&peer, "eventType=a", &[]);
        let body = format!("[{},{}]", event("a", "1"), event("a", "2"));
        let mut call = peer.request("POST", "/events", &[("content-type", "application/json")], false);
        for piece in body.as_bytes().chunks(7) {
            call.send_bytes(piece.to_vec());
        }
        call.half_close();
        assert_eq!(call.head().status, 202);
        assert!(serde_json::from_slice::<serde_json::Value>(&call.body()).is_ok());
        let mut call = peer.request("POST", "/debug", &[], false);
        call.send_bytes(event("a", "3")).half_close();
        assert_eq!(call.head().status, 200);
        let mut call = peer.request("POST", "/events", &[], false);
        call.send_bytes("{").half_close();
        assert_eq!(call.head().status, 400);
        let data: Vec<_> = frames(&mut events, 3).iter().map(Frame::payload).collect();
        assert_eq!(data, [1, 2, 3]);
    });
}

#[test]
fn a_body_that_is_too_large_is_answered_before_its_end() {
    let stage = Stage::memory_with(&[("PLASMA_PUBLISH_MAX_BYTES", "2MiB")]);
    let peer = peer(&stage);
    let mut call = peer.request("POST", "/events", &[], false);
    call.send_bytes(vec![b' '; 3 << 20]);
    assert_eq!(call.head().status, 413);
    let mut call = peer.request("POST", "/events", &[], false);
    call.send_bytes(event("a", "1")).half_close();
    assert_eq!(call.head().status, 202, "the connection goes on");
}

#[test]
fn who_expects_to_be_asked_is_asked() {
    let stage = Stage::memory();
    let peer = peer(&stage);
    let mut call = peer.request("POST", "/events", &[("expect", "100-continue")], false);
    assert!(call.is_quiet_for(Duration::from_millis(100)));
    call.send_bytes(event("a", "1")).half_close();
    assert_eq!(call.head().status, 202);
}

#[test]
fn a_head_request_for_a_stream_has_no_body() {
    let stage = Stage::memory();
    let old = request(stage.plasma.http(), "HEAD", "/?eventType=a", &[("Accept", "text/event-stream")]);
    let peer = peer(&stage);
    let mut call = peer.request("HEAD", "/?eventType=a", &[ACCEPT], true);
    assert_eq!(call.head().status.as_u16(), old.status());
    assert_eq!(call.body(), b"");
}

#[test]
fn one_stream_that_is_not_read_does_not_stop_its_neighbour() {
    let stage = Stage::memory();
    // Enough for the connection, so that only the stream's window is closed.
    let peer = Peer::open_with(stage.plasma.http(), Builder::new().initial_connection_window_size(8 << 20));
    let mut unread = subscribe(&peer, "eventType=a", &[]);
    let mut read = subscribe(&peer, "eventType=a", &[]);
    let events: Vec<_> = (0..1_000).map(|number| event("a", &format!("\"{number:0>1000}\""))).collect();
    stage.publish_all(&events);
    let seen = frames(&mut read, 1_000);
    assert_increasing(&seen);
    // What was behind goes on where it was: nothing is lost and nothing comes twice.
    assert_eq!(frames(&mut unread, 1_000), seen);
}

/// The frames of a client that opens streams and then does nothing: preface, settings with `window`, requests.
fn raw_streams(count: u32, window: u32, grpc: bool) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame_bytes(4, 0, 0, &[&[0, 4], &window.to_be_bytes()[..]].concat()));
    for number in 0..count {
        let id = 2 * number + 1;
        let literal = |block: &mut Vec<u8>, index: u8, value: &str| {
            block.extend([index, value.len() as u8]);
            block.extend(value.as_bytes());
        };
        // Methods and scheme from the static table, the others as literals that are not indexed (RFC 7541 §6.2.2).
        let mut block = vec![if grpc { 0x83 } else { 0x82 }, 0x86];
        literal(&mut block, 0x01, "localhost");
        if grpc {
            literal(&mut block, 0x04, "/proto.StreamService/Events");
            block.extend([0x0f, 0x10]);
            block.push(16);
            block.extend(b"application/grpc");
            bytes.extend(frame_bytes(1, 4, id, &block));
            bytes.extend(frame_bytes(0, 0, id, b"\0\0\0\0\x05\x0a\x03\x0a\x01a"));
        } else {
            literal(&mut block, 0x04, "/?eventType=a");
            block.extend([0x0f, 0x04]);
            block.push(17);
            block.extend(b"text/event-stream");
            bytes.extend(frame_bytes(1, 5, id, &block));
        }
    }
    bytes
}

fn frame_bytes(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &id.to_be_bytes()[..], payload].concat()
}

/// A connection of a hundred streams that reads nothing changes nothing for a witness beside it.
fn is_harmless(open: impl Fn(&Stage) -> Connection) {
    let stage = Stage::memory_with(&[("PLASMA_HISTORY_BYTES", "16MiB"), ("PLASMA_WRITE_TIMEOUT", "1h")]);
    let stalled = open(&stage);
    let mut witness = stage.subscribe("eventType=a");
    let peer = stage.peer();
    let mut grpc = stage.events(&peer, &["a"], &[]);
    let events: Vec<_> = (0..500).map(|number| event("a", &format!("\"{number:0>1000}\""))).collect();
    let mut before = None;
    for round in 0..100 {
        stage.publish_all(&events);
        assert_increasing(&witness.events(500));
        assert_eq!(grpc.data(500).last(), Some(&format!("\"{:0>1000}\"", 499)));
        if round == 40 {
            before = Some(stage.plasma.resident());
        }
    }
    let (before, after) = (before.expect("it was measured"), stage.plasma.resident());
    assert!(after < before + (8 << 20), "memory grows: {before} bytes, then {after}");
    drop(stalled);
}

#[test]
fn a_hundred_streams_without_a_window_are_harmless() {
    for grpc in [false, true] {
        is_harmless(|stage| {
            let mut connection = Connection::open(stage.plasma.http());
            connection.send(raw_streams(100, 0, grpc));
            connection.read_exact(9);
            connection
        });
    }
}

#[test]
fn a_hundred_streams_that_nobody_reads_are_harmless() {
    for grpc in [false, true] {
        is_harmless(|stage| {
            let mut connection = Connection::open_narrow(stage.plasma.http());
            let wide = frame_bytes(8, 0, 0, &(1_u32 << 30).to_be_bytes());
            connection.send([raw_streams(100, 1 << 30, grpc), wide].concat());
            connection.read_exact(9);
            connection
        });
    }
}

#[test]
fn a_call_that_the_log_overtakes_ends_and_resumes_where_it_was() {
    let stage = Stage::memory_with(&[("PLASMA_HISTORY_BYTES", "1MiB"), ("PLASMA_EVENT_MAX_BYTES", "16KiB")]);
    let peer = stage.peer();
    let mut slow = stage.events(&peer, &["a"], &[]);
    let witness = stage.peer();
    let mut all = stage.events(&witness, &["a"], &[("plasma-ids", "1")]);
    let mut ids = Vec::new();
    let mut publish = |first: usize, count: usize| {
        let events: Vec<_> = (first..first + count).map(|number| event("a", &format!("\"{number:0>1000}\""))).collect();
        stage.publish_all(&events);
        ids.extend((0..count).map(|_| all.payload().id));
    };
    // More than the window and the log together hold.
    for round in 0..20 {
        publish(100 * round, 100);
    }
    let (messages, end) = slow.rest();
    assert_eq!(end.code, Code::Unavailable, "{end:?}");
    let from = end.message.rsplit(' ').next().expect("the message ends with an id").to_owned();
    let got = messages.len();
    assert!(got > 10 && got < 2_000, "{got}");
    assert_eq!(ids.get(got - 1), Some(&from), "the id is that of the last message that came");
    // Back at once, while what follows is held no more: said plainly.
    let mut late = peer.events(&[("last-event-id", &from)]);
    late.ask(&["a"]);
    assert_eq!(late.end().code, Code::Unavailable);
    let mut told = stage.events(&peer, &["a"], &[("plasma-ids", "1"), ("last-event-id", &from)]);
    let gap = told.gap();
    assert_eq!((gap.from, gap.reason.as_str()), (Some(from), "expired"));
    let next = told.payload().id;
    assert_eq!(gap.to, Some(next.clone()));
    let at = ids.iter().position(|id| *id == next).expect("an id of ours");
    let rest: Vec<_> = (at + 1..2_000).map(|_| told.payload().id).collect();
    assert_eq!(rest, ids[at + 1..]);
}

#[test]
fn a_call_that_the_server_ends_resumes_from_the_id_it_is_told() {
    let stage = Stage::memory_with(&[("PLASMA_GRPC_MAX_AGE", "1s")]);
    let mut peer = stage.peer();
    let mut call = stage.events(&peer, &["a"], &[]);
    let (mut got, mut resumed) = (Vec::new(), 0);
    let mut published = 0;
    while resumed < 3 {
        let events: Vec<_> = (published..published + 20).map(|number| event("a", &format!("\"{number}\""))).collect();
        stage.publish_all(&events);
        published += events.len();
        while got.len() < published {
            match wait("a message", call.next_raw()).expect("an open stream") {
                Some(raw) => got.push(Payload::decode(&*raw).expect("a payload").data),
                None => {
                    let end = call.end();
                    assert_eq!(end.code, Code::Unavailable, "{end:?}");
                    let from = end.message.rsplit(' ').next().expect("an id").to_owned();
                    // In between, nobody is there.
                    stage.say("a", &format!("\"{published}\""));
                    published += 1;
                    peer = stage.peer();
                    call = stage.events(&peer, &["a"], &[("last-event-id", &from)]);
                    resumed += 1;
                }
            }
        }
    }
    let expected: Vec<_> = (0..published).map(|number| format!("\"{number}\"")).collect();
    assert_eq!(got, expected, "nothing is lost and nothing comes twice");
}

/// A server with room for some hundred events of a thousand bytes, and one that knows all their ids.
fn small(settings: &[(&str, &str)]) -> Stage {
    let history = [("PLASMA_HISTORY_BYTES", "1MiB"), ("PLASMA_EVENT_MAX_BYTES", "16KiB")];
    Stage::memory_with(&[&history, settings].concat())
}

/// Publishes two thousand events, many more than a window and the log hold, and returns their ids.
fn flood(stage: &Stage) -> Vec<String> {
    let events: Vec<_> = (0..2_000).map(|number| event("a", &format!("\"{number:0>1000}\""))).collect();
    events.chunks(100).flat_map(|events| stage.post_for_ids(format!("[{}]", events.join(",")))).map(text).collect()
}

fn text(id: u64) -> String {
    id.to_string()
}

#[test]
fn a_call_with_ids_is_told_what_the_log_took() {
    let stage = small(&[]);
    let peer = stage.peer();
    let mut call = stage.events(&peer, &["a"], &[("plasma-ids", "1")]);
    let ids = flood(&stage);
    let mut got = Vec::new();
    let payload = loop {
        let payload = call.payload();
        if payload.id.is_empty() {
            break payload;
        }
        got.push(payload.id);
    };
    assert_eq!(got, ids[..got.len()], "everything up to the hole");
    let notice: serde_json::Value = serde_json::from_str(&payload.data).expect("a notice");
    assert_eq!((&notice["lost_from"], &notice["reason"]), (&ids[got.len() - 1].as_str().into(), &"lapped".into()));
    let at = ids.iter().position(|id| notice["lost_to"] == id.as_str()).expect("an id of ours");
    assert!(at > got.len(), "there is a hole");
    let rest: Vec<_> = (at..ids.len()).map(|_| call.payload().id).collect();
    assert_eq!(rest, ids[at..], "and everything after it");
    stage.say("a", "1");
    assert_eq!(call.event().1, "1");
}

#[test]
fn a_notice_that_waits_comes_before_the_end() {
    let stage = small(&[]);
    let peer = stage.peer();
    let mut call = stage.events(&peer, &["a"], &[("plasma-ids", "1")]);
    let ids = flood(&stage);
    stage.plasma.signal(rustix::process::Signal::TERM);
    // The server says so, and then waits for this one to read.
    let other = within(Duration::from_millis(300), call.next_raw());
    let (rest, end) = call.rest();
    let messages: Vec<_> = other.into_iter().flat_map(|raw| raw.expect("an open stream")).chain(rest).collect();
    assert_eq!(end.code, Code::Unavailable, "{end:?}");
    let payloads: Vec<_> = messages.iter().map(|raw| Payload::decode(&**raw).expect("a payload")).collect();
    let from = end.message.rsplit(' ').next().expect("an id");
    let gap = payloads.iter().position(|payload| payload.id.is_empty());
    match gap {
        // Everything up to the notice came, and the id is that of the last event before what it says is there.
        Some(at) => {
            assert!(payloads[..at].iter().map(|payload| &payload.id).eq(&ids[..at]));
            let notice: serde_json::Value = serde_json::from_str(&payloads[at].data).expect("a notice");
            assert_eq!(notice["lost_from"], ids[at - 1].as_str());
            let last = payloads[at + 1..].last().map_or(from, |payload| payload.id.as_str());
            assert_eq!(last, from);
        }
        None => assert_eq!(payloads.last().expect("some came").id, from, "no notice, no hole"),
    }
}

#[test]
fn an_event_stream_is_told_what_the_log_took() {
    let stage = small(&[]);
    let peer = peer(&stage);
    let mut call = subscribe(&peer, "eventType=a", &[]);
    let ids = flood(&stage);
    let mut got = Vec::new();
    let gap = loop {
        let frame = frame(&mut call);
        if frame.is_gap() {
            break frame.gap();
        }
        got.push(frame.id.expect("an id"));
    };
    assert_eq!(got, ids[..got.len()], "everything up to the hole");
    assert_eq!((gap.from.as_ref(), gap.reason.as_str()), (got.last(), "lapped"));
    let at = ids.iter().position(|id| gap.to.as_ref() == Some(id)).expect("an id of ours");
    let rest: Vec<_> = frames(&mut call, ids.len() - at).into_iter().map(|frame| frame.id.expect("an id")).collect();
    assert_eq!(rest, ids[at..], "and everything after it");
}

#[test]
fn an_event_stream_that_the_log_overtakes_is_closed_where_that_is_wanted() {
    let stage = small(&[("PLASMA_SLOW_CONSUMER", "close")]);
    let peer = peer(&stage);
    let mut call = subscribe(&peer, "eventType=a", &[]);
    let ids = flood(&stage);
    let mut seen = String::new();
    // Cut in the middle of an event: a reset, or the end of what came.
    while let Some(bytes) = wait("the end", call.next_bytes()).ok().flatten() {
        seen.push_str(std::str::from_utf8(&bytes).expect("ASCII"));
    }
    let whole = seen.rfind("\n\n").map_or("", |end| &seen[..end]);
    let got: Vec<_> = whole.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert!(!got.is_empty() && got == ids[..got.len()], "{} events", got.len());
    let last = got.last().expect("some came");
    let mut again = subscribe(&self::peer(&stage), "eventType=a", &[("last-event-id", last)]);
    assert_eq!(frame(&mut again).gap().from.as_deref(), Some(*last), "what is lost is told to who comes back");
}

#[test]
fn a_witness_sees_no_delay_while_a_thousand_streams_come_and_go() {
    let stage = Stage::memory();
    let witness = stage.peer();
    let mut seen = stage.events(&witness, &["a"], &[]);
    let peer = stage.peer();
    for round in 0..20 {
        let mut calls: Vec<_> = (0..50).map(|_| peer.events(&[])).collect();
        for (number, call) in calls.iter_mut().enumerate() {
            call.ask(&["a", "b"]);
            if number % 2 == 0 {
                call.cancel();
            }
        }
        drop(calls);
        stage.say("a", &round.to_string());
        assert_eq!(seen.event().1, round.to_string());
    }
    stage.plasma.wait_for_access("grpc", 1_000);
}
