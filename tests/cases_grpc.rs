//! Cases 46 to 59 and 81 to 83 of the compatibility checklist, and the gRPC half of those before: what a caller sends
//! and what it gets. A name begins with the number of its case; whatever can be published both ways is played with the
//! embedded broker and with Redis.

mod support;

use std::time::Duration;

use rustix::process::Signal;
use support::grpc::{Call, EVENTS, End, Peer, data_of_all, framed, prefixed, request};
use support::lines::{json, keys, says};
use support::stage::{Stage, event, expect_data};
use support::wait::{Deadline, until};
use tonic::Code;

/// Long enough for a message that should not come, short enough to wait for.
const QUIET: Duration = Duration::from_millis(200);

fn end(code: Code, message: &str) -> End {
    End { code, message: message.to_owned() }
}

/// Publishes each text and checks the data that a caller gets.
fn delivered(cases: &[(&str, &str)]) {
    Stage::each(|stage| {
        let peer = stage.peer();
        let mut call = stage.events(&peer, &["a"], &[]);
        for (published, data) in cases {
            stage.publish(published);
            assert_eq!(call.event(), ("a".to_owned(), (*data).to_owned()));
        }
    });
}

#[test]
fn case_12_data_is_neither_compacted_nor_escaped() {
    let published = r#"{"meta":{"type":"a"},"data":{"x": "<b>&" , "y":[1, 2.50,1e3]} }"#;
    delivered(&[(published, r#"{"x": "<b>&" , "y":[1, 2.50,1e3]}"#)]);
}

#[test]
fn case_14_to_17_data_is_the_text_that_was_published() {
    delivered(&[
        (r#"{"meta":{"type":"a"}}"#, ""),
        (r#"{"meta":{"type":"a"},"data":null}"#, "null"),
        (r#"{"meta":{"type":"a"},"data":"str"}"#, r#""str""#),
        ("{\"meta\":{\"type\":\"a\"},\"data\":{\n  \"x\": [\n 1,\r\n 2 ]\n}}", "{\n  \"x\": [\n 1,\r\n 2 ]\n}"),
        ("{\"meta\":{\"type\":\"a\"},\"data\":\"\u{2028}\\u00e9\"}", "\"\u{2028}\\u00e9\""),
    ]);
}

#[test]
fn case_25_and_26_topics_match_by_segments() {
    Stage::each(|stage| {
        let peer = stage.peer();
        let mut call = stage.events(&peer, &["program", "other:12"], &[]);
        stage.say("other:1234", "0");
        stage.say("other", "1");
        stage.say("program:1234:views", "2");
        assert_eq!(call.event(), ("program:1234:views".to_owned(), "2".to_owned()));
    });
}

#[test]
fn case_30_heartbeat_is_an_event_like_any_other() {
    let stage = Stage::memory_with(&[("PLASMA_SSE_HEARTBEAT", "1s")]);
    let peer = stage.peer();
    let mut call = stage.events(&peer, &["heartbeat"], &[]);
    assert!(call.is_quiet_for(Duration::from_millis(1_500)), "there are no heartbeats on gRPC");
    stage.say("heartbeat", "5");
    assert_eq!(call.event(), ("heartbeat".to_owned(), "5".to_owned()));
}

#[test]
fn case_33_what_is_no_utf8_is_replaced() {
    let Some(stage) = Stage::redis() else { return };
    let peer = stage.peer();
    let mut call = stage.events(&peer, &["x\u{fffd}"], &[]);
    stage.publish(b"{\"meta\":{\"type\":\"x\xff\"},\"data\":\"<\xc3(>\"}");
    assert_eq!(call.event(), ("x\u{fffd}".to_owned(), "\"<\u{fffd}(>\"".to_owned()));
}

#[test]
fn case_38_five_thousand_events_arrive_in_order() {
    Stage::each(|stage| {
        let peer = stage.peer();
        let calls: Vec<_> = (0..3).map(|_| stage.events(&peer, &["a"], &[])).collect();
        let events: Vec<_> = (0..5_000).map(|number| event("a", &number.to_string())).collect();
        stage.publish_all(&events);
        for data in data_of_all(calls, 5_000) {
            assert!(data.iter().enumerate().all(|(number, data)| *data == number.to_string()));
        }
    });
}

#[test]
fn case_49_overlapping_topics_deliver_once() {
    Stage::each(|stage| {
        let peer = stage.peer();
        let mut call = stage.events(&peer, &["a", "a:b", "a"], &[]);
        stage.say("a:b", "1");
        stage.say("a:c", "2");
        assert_eq!(call.event(), ("a:b".to_owned(), "1".to_owned()));
        assert_eq!(call.event(), ("a:c".to_owned(), "2".to_owned()));
    });
}

#[test]
fn case_50_the_next_request_replaces_the_topics() {
    Stage::each(|stage| {
        let peer = stage.peer();
        let mut call = stage.events(&peer, &["a", "b"], &[]);
        stage.say("a", "1");
        assert_eq!(call.event().1, "1");
        stage.change(&mut call, &["b", "z"]);
        stage.say("a", "2");
        stage.say("z", "3");
        stage.say("b", "4");
        assert_eq!(call.event(), ("z".to_owned(), "3".to_owned()));
        assert_eq!(call.event(), ("b".to_owned(), "4".to_owned()));
    });
}

#[test]
fn case_51_an_empty_request_unsubscribes_and_the_stream_goes_on() {
    Stage::each(|stage| {
        let peer = stage.peer();
        let mut call = stage.events(&peer, &["a"], &[]);
        stage.change(&mut call, &[]);
        stage.say("a", "1");
        assert!(call.is_quiet_for(QUIET), "nothing is subscribed");
        stage.change(&mut call, &["a"]);
        stage.say("a", "2");
        assert_eq!(call.event().1, "2");
    });
}

#[test]
fn case_52_force_close_ends_with_ok() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let mut call = stage.events(&peer, &["a"], &[]);
    let mut last = request(&["b"]);
    last.force_close = true;
    call.send(&last);
    assert_eq!(call.end(), end(Code::Ok, ""));
    stage.plasma.wait_for_access("grpc", 1);
    assert_eq!(stage.plasma.stdout.count(|line| says(line, "gRPC")), 1, "the last request has no line");
}

#[test]
fn case_53_half_close_ends_with_ok() {
    let stage = Stage::memory();
    let peer = stage.peer();
    for topics in [&["a"][..], &[]] {
        let mut call = stage.events(&peer, topics, &[]);
        call.half_close();
        assert_eq!(call.end(), end(Code::Ok, ""));
    }
    let mut call = peer.events(&[]);
    call.half_close();
    assert_eq!(call.end(), end(Code::Ok, ""), "without any request");
}

#[test]
fn case_54_garbage_is_unknown() {
    let stage = Stage::memory();
    let peer = stage.peer();
    for garbage in [&b"\xff\xff\xff\xff"[..], b"\x0a\x05\x0a\x7fab", b"\x0a\x03\x0a\x01\xff"] {
        let mut call = peer.events(&[]);
        call.send_bytes(prefixed(0, garbage));
        let end = call.end();
        assert_eq!(end.code, Code::Unknown, "{end:?}");
        let beginning = "Recv error: rpc error: code = Internal desc = grpc: failed to unmarshal the received message";
        assert!(end.message.starts_with(beginning), "{end:?}");
    }
    let mut call = stage.events(&peer, &["a"], &[]);
    call.send_bytes(prefixed(9, b""));
    let end = call.end();
    assert!(end.code == Code::Unknown && end.message.starts_with("Recv error: "), "{end:?}");
    let mut call = stage.events(&peer, &["a"], &[]);
    call.send_bytes(&b"\0\0\0\0\x09abc"[..]).half_close();
    let end = call.end();
    assert!(end.code == Code::Unknown && end.message.starts_with("Recv error: "), "{end:?}");
}

#[test]
fn case_55_unknown_methods_and_services_are_unimplemented() {
    let stage = Stage::memory();
    let peer = stage.peer();
    for (path, message) in [
        ("/proto.StreamService/Nope", "unknown method Nope"),
        ("/x.Y/Z", "unknown service x.Y"),
        ("/proto.streamservice/Events", "unknown service proto.streamservice"),
        ("/plasma.v1.PublishService/Nope", "unknown method Nope"),
        ("/grpc.health.v1.Health/Nope", "unknown method Nope"),
        ("/nope", "malformed method name: \"/nope\""),
    ] {
        let mut call = peer.call(path, &[]);
        assert_eq!(call.end(), end(Code::Unimplemented, message), "{path}");
    }
}

#[test]
fn case_56_the_empty_type_is_present() {
    Stage::each(|stage| {
        let peer = stage.peer();
        let mut call = stage.events(&peer, &[""], &[]);
        stage.publish("{}");
        stage.publish("null");
        stage.say(":q", "1");
        assert_eq!(call.event(), (String::new(), String::new()));
        assert_eq!(call.event(), (String::new(), String::new()));
        assert_eq!(call.event(), (":q".to_owned(), "1".to_owned()));
    });
}

#[test]
fn case_57_large_events_arrive_and_too_large_ones_end_nothing() {
    Stage::each(|stage| {
        let peer = stage.peer();
        let mut call = stage.events(&peer, &["a"], &[]);
        let large = format!("\"{}\"", "0123456789".repeat(10_000));
        stage.say("a", &large);
        assert_eq!(call.event().1, large);
        let largest = format!("\"{}\"", "x".repeat(1_000_000));
        stage.say("a", &largest);
        assert_eq!(call.event().1, largest);
        if let Some(redis) = &stage.redis {
            redis.publish("plasma", event("a", &format!("\"{}\"", "x".repeat(5 << 20))));
        }
        stage.say("a", "1");
        assert_eq!(call.event().1, "1");
    });
}

#[test]
fn case_58_shutdown_is_unavailable() {
    let mut stage = Stage::memory();
    let peer = stage.peer();
    let mut calls = [stage.events(&peer, &["a"], &[]), stage.events(&peer, &[], &[]), peer.events(&[])];
    calls[2].head();
    stage.plasma.signal(Signal::TERM);
    for call in &mut calls {
        let end = call.end();
        assert_eq!(end.code, Code::Unavailable, "{end:?}");
    }
    peer.wait_end().expect("a connection that was left in peace");
    assert_eq!(stage.plasma.wait_exit(Deadline::patient()), 0);
}

#[test]
fn case_59_access_log_lines() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let mut call = stage.events(&peer, &["a", "b:\"c\"", "a"], &[("x-forwarded-for", "192.0.2.9")]);
    stage.change(&mut call, &[]);
    let first = stage.plasma.wait_for_access("gRPC", 1);
    assert_eq!(keys(&first), ["level", "ts", "msg", "request-events", "time"]);
    assert_eq!(json(&first)["request-events"], serde_json::json!(["a", "b:\"c\"", "a"]));
    assert_eq!(json(&first)["level"], "info");
    assert_eq!(json(&stage.plasma.wait_for_access("gRPC", 2))["request-events"], serde_json::json!([]));
    call.half_close();
    call.end();
    let line = stage.plasma.wait_for_access("grpc", 1);
    let old = ["level", "ts", "msg", "status", "code", "error", "duration", "time"];
    assert_eq!(keys(&line)[..old.len()], old, "{line}");
    let line = json(&line);
    assert_eq!((&line["status"], &line["code"], &line["error"]), (&"OK".into(), &0.into(), &"".into()), "{line}");
    assert!(line["duration"].is_u64() && line["time"].is_string(), "{line}");
    assert_eq!(line["remote-addr"], "192.0.2.9");
    let mut call = peer.events(&[]);
    call.send_bytes(prefixed(0, b"\xff"));
    let status = call.end();
    let line = json(&stage.plasma.wait_for_access("grpc", 2));
    assert_eq!((&line["status"], &line["code"]), (&"Unknown".into(), &2.into()), "{line}");
    let error = line["error"].as_str().expect("a text");
    assert!(error.ends_with(&status.message), "{error:?} tells {status:?}");
}

#[test]
fn case_59_cancelled_calls_are_ok_in_the_access_log() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let mut call = stage.events(&peer, &["a"], &[]);
    call.cancel();
    let line = json(&stage.plasma.wait_for_access("grpc", 1));
    assert_eq!((&line["status"], &line["code"]), (&"OK".into(), &0.into()), "{line}");
    let call = stage.events(&peer, &["a"], &[]);
    drop((call, peer));
    stage.plasma.wait_for_access("grpc", 2);
}

#[test]
fn case_81_the_flow_of_the_swift_client() {
    let mut stage = Stage::memory();
    let peer = stage.peer();
    let mut call = stage.events(&peer, &["a"], &[]);
    stage.say("a", "1");
    assert_eq!(call.event().1, "1");
    stage.change(&mut call, &["b"]);
    stage.say("a", "2");
    stage.say("b", "3");
    assert_eq!(call.event(), ("b".to_owned(), "3".to_owned()));
    let mut last = request(&[]);
    last.force_close = true;
    call.send(&last);
    assert_eq!(call.end().code, Code::Ok);
    let mut second = stage.events(&peer, &["a"], &[]);
    second.cancel();
    let mut third = stage.events(&peer, &["a"], &[]);
    stage.say("a", "4");
    assert_eq!(third.event().1, "4", "the connection outlives a call that was cancelled");
    stage.plasma.signal(Signal::TERM);
    assert_eq!(third.end().code, Code::Unavailable);
    assert_eq!(stage.plasma.wait_exit(Deadline::patient()), 0);
}

#[test]
fn case_83_one_publication_reaches_both_transports() {
    Stage::each(|stage| {
        let peer = stage.peer();
        let mut call = stage.events(&peer, &["a"], &[]);
        let mut stream = stage.subscribe("eventType=a");
        stage.publish(r#"{"meta":{"type":"a"},"data":{"x":"\u003cb\u003e"}}"#);
        assert_eq!(call.event().1, r#"{"x":"\u003cb\u003e"}"#);
        expect_data(&mut stream, r#"{"meta":{"type":"a"},"data":{"x":"\u003cb\u003e"}}"#);
    });
}

#[test]
fn the_head_comes_before_anything_happens() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let mut call = peer.events(&[]);
    let head = call.head();
    assert_eq!(head.status, 200);
    assert_eq!(head.headers.len(), 1, "{:?}", head.headers);
    assert_eq!(call.field("content-type").as_deref(), Some("application/grpc"));
}

#[test]
fn both_ports_speak_grpc_and_sse() {
    let stage = Stage::memory();
    let peer = Peer::open(stage.plasma.http());
    let mut call = stage.events(&peer, &["a"], &[]);
    let mut stream = support::sse::Stream::open(stage.plasma.grpc(), "/?eventType=a");
    stage.say("a", "1");
    assert_eq!(call.event().1, "1");
    assert_eq!(stream.next_event().payload(), 1);
}

const IDS: (&str, &str) = ("plasma-ids", "1");

#[test]
fn ids_come_when_they_are_asked_for() {
    Stage::each(|stage| {
        let peer = stage.peer();
        let mut plain = stage.events(&peer, &["a"], &[]);
        let mut other = stage.events(&peer, &["a"], &[("plasma-ids", "0")]);
        let mut with = stage.events(&peer, &["a"], &[IDS]);
        let mut stream = stage.subscribe("eventType=a");
        for data in ["1", "2", "3"] {
            stage.say("a", data);
            assert_eq!((plain.payload().id, other.payload().id), (String::new(), String::new()));
            let payload = with.payload();
            assert_eq!((Some(&payload.id), payload.data.as_str()), (stream.next_event().id.as_ref(), data));
        }
    });
}

#[test]
fn ids_and_plain_callers_get_the_same_large_events() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let calls = vec![stage.events(&peer, &["a"], &[IDS]), stage.events(&peer, &["a"], &[])];
    let data: Vec<_> = [1, 100, 127, 128, 16_383, 16_384, 16_385, 70_000, 200_000, 900_000, 3]
        .map(|len| format!("\"{}\"", "x".repeat(len)))
        .to_vec();
    for data in &data {
        stage.say("a", data);
    }
    assert!(data_of_all(calls, data.len()) == [data.clone(), data]);
}

#[test]
fn a_call_resumes_after_the_id_that_it_names() {
    Stage::each(|stage| {
        let peer = stage.peer();
        let mut live = stage.events(&peer, &["a", "b"], &[IDS]);
        for number in 0..10 {
            stage.say(if number % 2 == 0 { "a" } else { "b" }, &number.to_string());
        }
        let ids: Vec<_> = (0..10).map(|_| live.payload().id).collect();
        let mut call = stage.events(&peer, &["a"], &[IDS, ("last-event-id", &ids[3])]);
        assert_eq!(call.data(3), ["4", "6", "8"]);
        let mut plain = stage.events(&peer, &["a", "b"], &[("last-event-id", &ids[7])]);
        assert_eq!(plain.data(2), ["8", "9"]);
        stage.say("a", "10");
        assert_eq!((call.data(1), plain.data(1)), (vec!["10".to_owned()], vec!["10".to_owned()]));
        stage.change(&mut call, &["b"]);
        stage.say("b", "11");
        assert_eq!(call.event().1, "11", "the position counts for the first topics only");
    });
}

#[test]
fn what_is_no_id_begins_live() {
    let stage = Stage::memory();
    let peer = stage.peer();
    stage.say("a", "\"before\"");
    for id in ["41", "-3", "abc", "0", "18446744073709551616"] {
        let mut call = stage.events(&peer, &["a"], &[IDS, ("last-event-id", id)]);
        stage.say("a", "\"after\"");
        assert_eq!(call.event().1, "\"after\"", "{id}");
    }
}

/// A server with little history, all of which was written anew since the id returned.
fn forgetful() -> (Stage, u64) {
    let stage = Stage::memory_with(&[("PLASMA_HISTORY_BYTES", "1MiB"), ("PLASMA_EVENT_MAX_BYTES", "128KiB")]);
    let first = stage.post_for_ids(event("a", "1"))[0];
    let filler = format!("\"{}\"", "x".repeat(10_000));
    let events = vec![event("a", &filler); 500];
    for part in events.chunks(100) {
        stage.publish_all(part);
    }
    (stage, first)
}

#[test]
fn an_expired_id_is_told_to_those_with_ids() {
    let (stage, first) = forgetful();
    let peer = stage.peer();
    let mut call = stage.events(&peer, &["a"], &[IDS, ("last-event-id", &first.to_string())]);
    let gap = call.gap();
    assert_eq!((gap.from, gap.reason.as_str()), (Some(first.to_string()), "expired"));
    let to = gap.to.expect("there are events after the hole");
    assert_eq!(call.payload().id, to, "it goes on where the notice says");
}

#[test]
fn an_expired_id_ends_those_without() {
    let (stage, first) = forgetful();
    let peer = stage.peer();
    let mut call = peer.events(&[("last-event-id", &first.to_string())]);
    call.ask(&["a"]);
    let end = call.end();
    assert_eq!(end.code, Code::Unavailable, "{end:?}");
    assert!(end.message.contains(&first.to_string()), "{end:?}");
    let from = end.message.rsplit(' ').next().expect("an id").to_owned();
    let mut call = stage.events(&peer, &["a"], &[IDS, ("last-event-id", &from)]);
    assert!(call.payload().data.starts_with("\"xxx"), "no notice: {from} can be resumed from");
}

#[test]
fn a_future_id_is_unknown() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let future = (stage.post_for_ids(event("a", "1"))[0] + (1 << 40)).to_string();
    let mut call = stage.events(&peer, &["a"], &[IDS, ("last-event-id", &future)]);
    let gap = call.gap();
    assert_eq!((gap.from, gap.reason.as_str()), (Some(future.clone()), "unknown"));
    stage.say("a", "2");
    assert_eq!(call.event().1, "2");
    let mut call = peer.events(&[("last-event-id", &future)]);
    call.ask(&["a"]);
    assert_eq!(call.end().code, Code::Unavailable);
}

#[test]
fn a_loss_upstream_is_told_or_ends_the_call() {
    let Some(stage) = Stage::redis() else { return };
    let peer = stage.peer();
    let mut with = stage.events(&peer, &["a"], &[IDS]);
    let mut plain = stage.events(&peer, &["a"], &[]);
    let mut stream = stage.subscribe("eventType=a");
    stage.say("a", "1");
    let id = with.payload().id;
    assert_eq!(plain.event().1, "1");
    stream.next_event();
    stage.redis.as_ref().expect("this stage has one").kill_subscribers();
    let gap = with.gap();
    assert_eq!((gap.from, gap.to, gap.reason.as_str()), (Some(id), None, "upstream"));
    let end = plain.end();
    assert_eq!(end.code, Code::Unavailable, "{end:?}");
    stage.redis.as_ref().expect("as above").wait_subscribers("plasma", 1);
    stage.wait_health(200, Deadline::patient());
    stage.say("a", "2");
    assert_eq!(with.event().1, "2", "the other goes on");
}

#[test]
fn compressed_messages_are_unimplemented() {
    let stage = Stage::memory();
    let peer = stage.peer();
    for path in [EVENTS, "/plasma.v1.PublishService/Publish", "/grpc.health.v1.Health/Check"] {
        let mut call = peer.call(path, &[("grpc-encoding", "gzip")]);
        call.send_bytes(prefixed(1, b"\x1f\x8b\x08\0\0\0\0\0"));
        let end = call.end();
        assert_eq!(end.code, Code::Unimplemented, "{path}: {end:?}");
        assert_eq!(call.trailer("grpc-accept-encoding"), Some("identity"), "{path}");
    }
}

#[test]
fn too_large_messages_are_refused_before_they_came() {
    let stage = Stage::memory();
    let peer = stage.peer();
    for (path, len) in [(EVENTS, 5_u32 << 20), ("/plasma.v1.PublishService/Publish", 17 << 20)] {
        let mut call = peer.call(path, &[]);
        call.send_bytes([&[0], &len.to_be_bytes()[..]].concat());
        let end = call.end();
        assert_eq!(end.code, Code::ResourceExhausted, "{path}: {end:?}");
    }
}

#[test]
fn a_deadline_ends_the_call() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let mut calls = [
        stage.events(&peer, &["a"], &[("grpc-timeout", "300m")]),
        stage.events(&peer, &[], &[("grpc-timeout", "1S")]),
        peer.call("/grpc.health.v1.Health/Watch", &[("grpc-timeout", "100000u")]),
    ];
    for call in &mut calls {
        let end = call.end();
        assert_eq!(end.code, Code::DeadlineExceeded, "{end:?}");
    }
    let mut call = peer.events(&[("grpc-timeout", "soon")]);
    assert_eq!(call.end().code, Code::Internal);
    let mut call = stage.events(&peer, &["a"], &[("grpc-timeout", "99999999H")]);
    stage.say("a", "1");
    assert_eq!(call.event().1, "1");
}

#[test]
fn topics_have_their_limits() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let names: Vec<_> = (0..1_025).map(|number| format!("{number:0>512}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut call = stage.events(&peer, &names[..1_024], &[]);
    stage.say(names[1_023], "1");
    assert_eq!(call.event(), (names[1_023].to_owned(), "1".to_owned()));
    let refused = |topics: &[&str], limit: &str| {
        let mut call = peer.events(&[]);
        call.ask(topics);
        let end = call.end();
        assert!(end.code == Code::InvalidArgument && end.message.contains(limit), "{end:?}");
    };
    refused(&names, "1024");
    refused(&[&"t".repeat(513)], "512");
    let mut many = vec!["t"; 2_000];
    many.push("u");
    stage.change(&mut call, &many);
    stage.say("u", "2");
    assert_eq!(call.event().1, "2", "duplicates do not count");
}

#[test]
fn only_grpc_itself_is_taken_for_grpc() {
    let stage = Stage::memory();
    let peer = stage.peer();
    for content_type in ["application/grpc-web", "application/grpc-web+proto", "application/grpc+json"] {
        let mut call = peer.request("POST", EVENTS, &[("content-type", content_type), ("te", "trailers")], true);
        assert_eq!(call.head().status, 415, "{content_type}");
    }
    for method in ["GET", "PUT", "OPTIONS"] {
        let mut call = peer.request(method, EVENTS, &[("content-type", "application/grpc")], true);
        assert_eq!(call.head().status, 405, "{method}");
        assert_eq!(call.field("allow").as_deref(), Some("POST"));
    }
    for content_type in ["application/grpc+proto", "application/grpc;charset=utf-8", "Application/gRPC"] {
        let mut call = peer.request("POST", EVENTS, &[("content-type", content_type)], false);
        stage.change(&mut call, &["a"]);
        stage.say("a", "1");
        assert_eq!(call.event().1, "1", "{content_type}");
    }
}

#[test]
fn messages_may_come_in_any_pieces() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let messages = [framed(&request(&["a"])), framed(&request(&[])), framed(&request(&["b", "c:d"]))].concat();
    for piece in [1, 2, 3, 5, 7, messages.len()] {
        let known = stage.plasma.stdout.count(|line| says(line, "gRPC"));
        let mut call = peer.events(&[]);
        for piece in messages.chunks(piece) {
            call.send_bytes(piece.to_vec());
        }
        stage.plasma.wait_for_access("gRPC", known + 3);
        stage.say("a", "0");
        stage.say("c:d:e", &piece.to_string());
        assert_eq!(call.event(), ("c:d:e".to_owned(), piece.to_string()));
    }
}

#[test]
fn a_thousand_changes_are_made_in_their_order() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let mut call = peer.events(&[]);
    for number in 0..1_000 {
        call.ask(&[&format!("t{number}")]);
        if number % 10 == 0 {
            stage.say(&format!("t{number}"), "0");
        }
    }
    stage.plasma.wait_for_access("gRPC", 1_000);
    stage.say("t999", "\"last\"");
    while call.event().1 != "\"last\"" {}
}

#[test]
fn a_change_loses_nothing_that_was_published_before() {
    let stage = Stage::memory();
    let peer = stage.peer();
    let mut call = stage.events(&peer, &["a"], &[]);
    let events: Vec<_> = (0..2_000).map(|number| event("a", &format!("\"{number:0>500}\""))).collect();
    stage.publish_all(&events);
    // The window is full long before all of it was sent.
    stage.change(&mut call, &["b"]);
    stage.say("a", "\"too late\"");
    stage.say("b", "\"next\"");
    let data = call.data(2_001);
    assert!(data[..2_000].iter().enumerate().all(|(number, data)| *data == format!("\"{number:0>500}\"")));
    assert_eq!(data[2_000], "\"next\"");
}

#[test]
fn streams_are_counted_against_the_setting() {
    let stage = Stage::memory_with(&[("PLASMA_GRPC_MAX_STREAMS", "3")]);
    let peer = stage.peer();
    let mut calls: Vec<Call> = (0..3).map(|_| stage.events(&peer, &["a"], &[])).collect();
    until("the setting", Deadline::patient(), || (peer.streams_max() == 3).then_some(()));
    let mut call = peer.events(&[]);
    assert!(call.is_quiet_for(QUIET), "a fourth waits for its turn");
    calls.pop().expect("there are three").cancel();
    stage.change(&mut call, &["a"]);
    stage.say("a", "1");
    assert_eq!(call.event().1, "1");
}
