//! HTTP/1.1 on the wire: requests in any pieces, bodies in both framings, limits, and everything a smuggler would try.

mod support;

use std::net::{Ipv6Addr, Shutdown, SocketAddr};
use std::time::Duration;

use support::http::{Connection, head, post, request};
use support::plasma::Plasma;
use support::sse::Stream;
use support::stage::{Stage, event, ids};
use support::wait::Deadline;

fn connect(stage: &Stage) -> Connection {
    Connection::open(stage.plasma.http())
}

/// Sends bytes on a new connection, reads one answer, and checks that the server closes after it and is well.
fn refused(stage: &Stage, bytes: impl AsRef<[u8]>) -> u16 {
    let mut connection = connect(stage);
    connection.try_send(bytes);
    let answer = connection.read_answer();
    assert_eq!(answer.header("connection"), Some("close"), "{answer:?}");
    end(&mut connection);
    assert_eq!(stage.health(), 200);
    answer.status()
}

/// Says that nothing more will be sent, which spares the server its wait for it, and checks that it closes.
fn end(connection: &mut Connection) {
    let _ = connection.socket().shutdown(Shutdown::Write);
    connection.expect_end();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let stage = Stage::memory();
    let mut connection = connect(&stage);
    let mut bytes = Vec::new();
    let event = event("a", "1");
    for _ in 0..20 {
        bytes.extend(head("GET", "/hc", &[], None));
        bytes.extend(head("GET", "/nowhere", &[], None));
        bytes.extend(head("POST", "/events", &[], Some(event.len())));
        bytes.extend(event.as_bytes());
    }
    connection.send(bytes);
    let mut last = 0;
    for round in 0..20 {
        assert_eq!(connection.read_answer().status(), 200, "{round}");
        assert_eq!(connection.read_answer().status(), 404, "{round}");
        let published = connection.read_answer();
        let id = ids(&published)[0];
        assert!(id > last);
        last = id;
    }
}

#[test]
fn a_subscription_may_follow_short_requests() {
    let stage = Stage::memory();
    let mut connection = connect(&stage);
    let mut bytes = head("GET", "/hc", &[], None);
    bytes.extend(head("GET", "/?eventType=a", &[("Accept", "text/event-stream")], None));
    bytes.extend(b"GET /hc HTTP/1.1\r\nwhat follows a subscription is ignored");
    connection.send(bytes);
    assert_eq!(connection.read_answer().status(), 200);
    let mut stream = Stream::join(connection);
    stream.connection.send("and this too\r\n\r\n");
    stage.say("a", "1");
    assert_eq!(stream.next_event().payload(), 1);
}

#[test]
fn a_request_may_come_in_any_two_pieces() {
    let stage = Stage::memory();
    let mut stream = stage.subscribe("eventType=a");
    let body = event("a", "1");
    let mut bytes = head("POST", "/events", &[("X-Long", &"y".repeat(200))], Some(body.len()));
    bytes.extend(body.as_bytes());
    let mut connection = connect(&stage);
    for cut in 1..bytes.len() {
        connection.send(&bytes[..cut]);
        // Another connection's answer shows that the first piece has been seen; mostly, which is enough for many cuts.
        if cut % 16 == 0 {
            assert_eq!(stage.health(), 200);
        }
        connection.send(&bytes[cut..]);
        assert_eq!(connection.read_answer().status(), 202, "cut at {cut}");
        assert_eq!(stream.next_event().payload(), 1);
    }
}

#[test]
fn short_answers_keep_the_connection_unless_told_otherwise() {
    let stage = Stage::memory();
    let mut connection = connect(&stage);
    for target in ["/hc", "/nowhere", "/hc"] {
        connection.send(head("GET", target, &[], None));
        connection.read_answer();
    }
    connection.send(head("GET", "/hc", &[("Connection", "close")], None));
    assert_eq!(connection.read_answer().status(), 200);
    connection.expect_end();

    let mut old = connect(&stage);
    old.send("GET /hc HTTP/1.0\r\n\r\n");
    assert_eq!(old.read_answer().status(), 200);
    old.expect_end();

    let mut kept = connect(&stage);
    kept.send("GET /hc HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(kept.read_answer().status(), 200);
}

#[test]
fn a_refused_subscription_keeps_the_connection() {
    let stage = Stage::memory();
    let mut connection = connect(&stage);
    connection.send(head("GET", "/", &[("Accept", "text/event-stream")], None));
    assert_eq!(connection.read_answer().status(), 400);
    connection.send(head("GET", "/hc", &[], None));
    assert_eq!(connection.read_answer().status(), 200);
}

#[test]
fn head_has_the_same_head_and_no_body() {
    let stage = Stage::memory();
    let mut connection = connect(&stage);
    connection.send(head("HEAD", "/nowhere", &[], None)).send(head("GET", "/nowhere", &[], None));
    let (alone, whole) = (connection.read_head(), connection.read_answer());
    assert_eq!((alone.status, alone.names()), (404, whole.head.names()));
    assert_eq!(whole.text(), "404 page not found\n");

    let mut connection = connect(&stage);
    connection.send(head("HEAD", "/?eventType=a", &[("Accept", "text/event-stream")], None));
    let head = connection.read_head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    connection.expect_end();
}

#[test]
fn options_tells_a_browser_what_it_may_do() {
    let stage = Stage::memory_with(&[("PLASMA_ORIGIN", "https://example.org")]);
    let asked = [
        ("Origin", "https://example.org"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ];
    for target in ["/events", "/", "/?eventType=a"] {
        let mut connection = connect(&stage);
        connection.send(head("OPTIONS", target, &asked, None));
        let answer = connection.read_answer();
        assert_eq!(answer.status(), 204, "{target}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://example.org"));
        let methods = answer.header("access-control-allow-methods").expect("methods").to_ascii_uppercase();
        assert!(methods.contains("GET") && methods.contains("POST"), "{methods}");
        let headers = answer.header("access-control-allow-headers").expect("headers").to_ascii_lowercase();
        for name in ["authorization", "content-type", "last-event-id"] {
            assert!(headers == "*" && name != "authorization" || headers.contains(name), "{name} in {headers}");
        }
        assert!(answer.header("content-length").is_none(), "a 204 has no length: {answer:?}");
    }
}

#[test]
fn bodies_by_length_and_by_chunks_are_the_same() {
    let stage = Stage::memory();
    let mut stream = stage.subscribe("eventType=a");
    let body = event("a", "\"0123456789\"");
    let chunked = |text: String| {
        let mut connection = connect(&stage);
        let start = "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        connection.send(start.to_owned() + &text);
        let answer = connection.read_answer();
        // Whatever was read as the body, the connection still stands at a request.
        connection.send(head("GET", "/hc", &[], None));
        assert_eq!(connection.read_answer().status(), 200);
        answer
    };
    let mut texts = vec![
        format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        format!("{:X};name=value;x=\"y\"\r\n{body}\r\n0;last\r\n\r\n", body.len()),
        format!("000{:x}\r\n{body}\r\n000\r\n\r\n", body.len()),
        format!("{:x}\r\n{body}\r\n0\r\nTrailer: ignored\r\nAnother: one\r\n\r\n", body.len()),
    ];
    texts.push(body.bytes().map(|byte| format!("1\r\n{}\r\n", byte as char)).collect::<String>() + "0\r\n\r\n");
    for text in texts {
        let answer = chunked(text.clone());
        assert_eq!(answer.status(), 202, "{text:?}: {answer:?}");
        assert_eq!(stream.next_event().payload(), "0123456789");
    }
}

#[test]
fn a_chunked_body_may_come_in_any_two_pieces() {
    let stage = Stage::memory();
    let mut stream = stage.subscribe("eventType=a");
    let body = event("a", "1");
    let (left, right) = body.split_at(9);
    let bytes = format!(
        "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{left}\r\n{:x};e\r\n{right}\r\n0\r\nT: x\r\n\r\n",
        left.len(),
        right.len()
    );
    let start = bytes.find("\r\n\r\n").expect("a head");
    let mut connection = connect(&stage);
    for cut in start..bytes.len() {
        connection.send(&bytes[..cut]);
        assert_eq!(stage.health(), 200);
        connection.send(&bytes[cut..]);
        assert_eq!(connection.read_answer().status(), 202, "cut at {cut}");
        assert_eq!(stream.next_event().payload(), 1);
    }
}

#[test]
fn expect_continue_is_answered_before_the_body() {
    let stage = Stage::memory();
    let body = event("a", "1");
    for expectation in ["100-continue", "100-Continue"] {
        let mut connection = connect(&stage);
        connection.send(head("POST", "/events", &[("Expect", expectation)], Some(body.len())));
        let interim = connection.read_head();
        assert_eq!((interim.status, interim.headers.len()), (100, 0));
        connection.send(&body);
        assert_eq!(connection.read_answer().status(), 202);
    }
    let mut chunked = connect(&stage);
    let start = "POST /events HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    chunked.send(start);
    assert_eq!(chunked.read_head().status, 100);
    chunked.send(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    assert_eq!(chunked.read_answer().status(), 202);
    // Who is going to be refused need not send the body first.
    let mut large = connect(&stage);
    large.send(head("POST", "/events", &[("Expect", "100-continue")], Some(1 << 30)));
    assert_eq!(large.read_answer().status(), 413);
    let closed = Plasma::setup().start();
    let mut closed = Connection::open(closed.http());
    closed.send(head("POST", "/events", &[("Expect", "100-continue")], Some(body.len())));
    assert_eq!(closed.read_answer().status(), 403);
}

#[test]
fn a_body_over_the_limit_is_refused_in_both_framings() {
    let stage = Stage::memory_with(&[("PLASMA_PUBLISH_MAX_BYTES", "70000"), ("PLASMA_EVENT_MAX_BYTES", "60000")]);
    assert_eq!(refused(&stage, head("POST", "/events", &[], Some(70_001))), 413);
    assert_eq!(refused(&stage, head("POST", "/events", &[], Some(usize::MAX))), 413);
    let beyond = "POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999999\r\n\r\n";
    assert_eq!(refused(&stage, beyond), 413);
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    let chunks = "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned() + &chunk.repeat(5);
    assert_eq!(refused(&stage, chunks), 413);
    let at_once = "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n";
    assert_eq!(refused(&stage, at_once), 413);
    let beyond = "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n";
    assert_eq!(refused(&stage, beyond), 413);
}

#[test]
fn long_heads_are_refused_by_name() {
    let stage = Stage::memory();
    let target = format!("/?eventType={}", "a,".repeat(20_000));
    assert_eq!(refused(&stage, format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n")), 414);
    let long = "y".repeat(20_000);
    assert_eq!(refused(&stage, format!("GET /hc HTTP/1.1\r\nHost: h\r\nX: {long}\r\n\r\n")), 431);
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    assert_eq!(refused(&stage, format!("GET /hc HTTP/1.1\r\nHost: h\r\n{many}\r\n")), 431);
    // Without an end the limit is reached all the same.
    assert_eq!(refused(&stage, format!("GET /hc HTTP/1.1\r\nHost: h\r\nX: {long}")), 431);
    assert_eq!(refused(&stage, format!("GET /{}", "y".repeat(40_000))), 414);
}

#[test]
fn a_head_just_below_the_limit_passes() {
    let stage = Stage::memory();
    // A target may take half of it.
    let names: String = (0..).map(|number| format!("topic-{number:06},")).take(600).collect();
    let mut stream = stage.subscribe(&format!("eventType={names}a"));
    stage.say("topic-000599", "1");
    assert_eq!(stream.next_event().payload(), 1);
    let header = "y".repeat(15_000);
    assert_eq!(request(stage.plasma.http(), "GET", "/hc", &[("X", &header)]).status(), 200);
}

#[test]
fn who_does_not_finish_a_request_is_sent_away() {
    let stage = Stage::memory_with(&[("PLASMA_REQUEST_TIMEOUT", "500ms")]);
    assert_eq!(refused(&stage, "GET /hc HTTP/1.1\r\nHost:"), 408);
    // Who has not begun is owed no answer.
    let mut silent = connect(&stage);
    let rest = silent.read_to_end();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408 "), "{:?}", String::from_utf8_lossy(&rest));
}

#[test]
fn who_was_refused_and_stays_is_closed_all_the_same() {
    let stage = Stage::memory();
    let mut connection = connect(&stage);
    connection.send("hello\r\n\r\n");
    assert_eq!(connection.read_answer().status(), 400);
    connection.expect_end();
}

#[test]
fn a_subscription_outlives_the_request_timeout() {
    let stage = Stage::memory_with(&[("PLASMA_REQUEST_TIMEOUT", "300ms")]);
    let mut stream = stage.subscribe("eventType=a");
    assert_eq!(stream.connection.try_receive(Deadline::after(Duration::from_secs(1))), None);
    stage.say("a", "1");
    assert_eq!(stream.next_event().payload(), 1);
}

/// What must be answered 400 and end the connection, so that nothing behind it is taken for a request.
const MALFORMED: &[&str] = &[
    // No HTTP at all.
    "\r\n\r\n\0\0",
    "hello\r\n\r\n",
    "GET\r\n\r\n",
    "GET /hc\r\n\r\n",
    "GET /hc HTTP/1.1 x\r\nHost: h\r\n\r\n",
    "GET hc HTTP/1.1\r\nHost: h\r\n\r\n",
    "G\u{e9}T /hc HTTP/1.1\r\nHost: h\r\n\r\n",
    // No host, or two.
    "GET /hc HTTP/1.1\r\n\r\n",
    "GET /hc HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    // Header lines that others read differently.
    "GET /hc HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n",
    "GET /hc HTTP/1.1\r\nHost: h\r\n X: a\r\n\r\n",
    "GET /hc HTTP/1.1\r\nHost: h\r\nX : a\r\n\r\n",
    "GET /hc HTTP/1.1\r\nHost: h\r\nX\r\n\r\n",
    "GET /hc HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n",
    "GET /hc HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
    "GET /hc HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
    // Two framings, or one that is not clear.
    "POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456",
    "POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 6\r\n\r\n123456",
    "POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n12345",
    "POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n12345",
    "POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\n12345",
    "POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: 5 \t6\r\n\r\n12345",
    "POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: \r\n\r\n",
    "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /events HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    // Chunks.
    "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\r\n{}\r\n0\r\n\r\n",
    "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n",
    "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2 2\r\n{}\r\n0\r\n\r\n",
    "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n",
];

#[test]
fn malformed_requests_are_refused_and_nothing_behind_them_is_read() {
    let stage = Stage::memory();
    let mut witness = stage.subscribe("eventType=smuggled");
    let body = event("smuggled", "1");
    let smuggled = format!("POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    for malformed in MALFORMED {
        let mut connection = connect(&stage);
        connection.try_send([malformed, smuggled.as_str()].concat());
        let answer = connection.read_answer();
        assert_eq!(answer.status(), 400, "{malformed:?}: {answer:?}");
        end(&mut connection);
    }
    stage.say("smuggled", "\"end\"");
    assert_eq!(witness.next_event().payload(), "end");
}

#[test]
fn encodings_that_are_not_known_are_not_implemented() {
    let stage = Stage::memory();
    for encoding in ["gzip", "gzip, chunked", "identity", "xchunked", "chunked\x0b"] {
        let bytes = format!("POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: {encoding}\r\n\r\n0\r\n\r\n");
        let status = refused(&stage, bytes);
        assert!(status == 501 || encoding.contains('\x0b') && status == 400, "{encoding:?}: {status}");
    }
}

#[test]
fn versions_that_are_not_known_are_refused() {
    let stage = Stage::memory();
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/11", "http/1.1"] {
        let status = refused(&stage, format!("GET /hc {version}\r\nHost: h\r\n\r\n"));
        assert!([400, 505].contains(&status), "{version}: {status}");
    }
}

#[test]
fn bytes_of_other_protocols_are_no_harm() {
    let stage = Stage::memory();
    let others: [&[u8]; 4] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        b"*1\r\n$4\r\nPING\r\n",
        &[0xff; 4096],
    ];
    for bytes in others {
        let mut connection = connect(&stage);
        connection.try_send(bytes);
        let _ = connection.socket().shutdown(Shutdown::Write);
        connection.read_to_end();
        assert_eq!(stage.health(), 200);
    }
}

#[test]
fn an_absolute_target_is_read_by_its_path() {
    let stage = Stage::memory();
    let mut connection = connect(&stage);
    connection.send("GET http://example.org/hc HTTP/1.1\r\nHost: example.org\r\n\r\n");
    assert_eq!(connection.read_answer().status(), 200);
}

#[test]
fn a_body_that_nobody_asked_for_is_no_request_and_ends_the_connection() {
    let stage = Stage::memory();
    let mut connection = connect(&stage);
    let body = "GET /inside HTTP/1.1\r\nHost: h\r\n\r\n";
    connection.send(head("PUT", "/hc", &[], Some(body.len()))).send(body).send(head("GET", "/hc", &[], None));
    let answer = connection.read_answer();
    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
    end(&mut connection);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_body_publishes_nothing() {
    let stage = Stage::memory();
    let mut stream = stage.subscribe("eventType=a");
    let body = event("a", "\"half\"");
    let mut connection = connect(&stage);
    connection.send(head("POST", "/events", &[], Some(body.len() + 1))).send(&body);
    drop(connection);
    stage.say("a", "\"whole\"");
    assert_eq!(stream.next_event().payload(), "whole");
}

#[test]
fn it_listens_on_ipv6_too() {
    let plasma = Plasma::setup().start();
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, plasma.http_port()));
    assert_eq!(request(address, "GET", "/hc", &[]).status(), 200);
    assert_eq!(post(address, "/events", &[], event("a", "1")).status(), 403);
}

#[test]
fn every_answer_has_a_date_and_a_length() {
    let stage = Stage::memory();
    for target in ["/hc", "/nowhere", "//hc", "/events"] {
        let answer = request(stage.plasma.http(), "GET", target, &[]);
        assert!(answer.header("date").is_some(), "{target}: {answer:?}");
        assert!(answer.header("content-length").is_some(), "{target}: {answer:?}");
        assert_eq!(answer.head.version, "HTTP/1.1");
    }
}
