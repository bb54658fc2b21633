//! Cases 1 to 35 of the compatibility checklist: what a subscriber asks and what it reads, byte by byte. A name begins
//! with the number of its case. Whatever can be published both ways is played with the embedded broker and with Redis.

mod support;

use support::http::{Answer, Connection, head, request};
use support::sse::{HEARTBEAT, Stream, assert_increasing};
use support::stage::{CHANNEL, Stage, event, expect_data};
use support::wait::Deadline;

/// A user agent that the first Plasma took for Internet Explorer 11.
const IE_11: &str = "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko";

/// A user agent of Chromium's.
const CHROMIUM: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36";

fn assert_plain_error(answer: &Answer, status: u16, body: &str) {
    assert_eq!((answer.status(), answer.text()), (status, body));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("content-length"), Some(body.len().to_string().as_str()));
}

#[test]
fn case_01_no_accept_is_not_found() {
    let stage = Stage::memory();
    let answer = request(stage.plasma.http(), "GET", "/", &[]);
    assert_plain_error(&answer, 404, "404 page not found\n");
}

#[test]
fn case_02_accept_anything_is_not_found() {
    let stage = Stage::memory();
    let answer = request(stage.plasma.http(), "GET", "/?eventType=a", &[("Accept", "*/*")]);
    assert_plain_error(&answer, 404, "404 page not found\n");
}

#[test]
fn case_02_accept_list_with_the_stream_type_subscribes() {
    let stage = Stage::memory();
    for accept in ["text/event-stream, */*", "text/html, text/event-stream;q=0.9", "*/*;q=0.1,text/event-stream"] {
        let mut connection = Connection::open(stage.plasma.http());
        connection.send(head("GET", "/?eventType=a", &[("Accept", accept)], None));
        let mut stream = Stream::join(connection);
        stage.say("a", "1");
        stream.next_event();
    }
}

#[test]
fn case_03_no_event_query_is_refused() {
    let answer = Stage::memory().ask("/");
    assert_plain_error(&answer, 400, "specify event queries\n");
    assert_eq!(answer.header("content-length"), Some("22"));
}

#[test]
fn case_04_empty_event_query_is_refused() {
    let stage = Stage::memory();
    for target in ["/?eventType=", "/?eventType"] {
        let answer = stage.ask(target);
        assert_plain_error(&answer, 400, "event query can't be empty\n");
        assert_eq!(answer.header("content-length"), Some("27"));
    }
}

#[test]
fn case_05_only_the_first_event_query_counts_when_empty() {
    assert_plain_error(&Stage::memory().ask("/?eventType=&eventType=a"), 400, "event query can't be empty\n");
}

#[test]
fn case_06_malformed_escape_drops_the_query() {
    assert_plain_error(&Stage::memory().ask("/?eventType=%zz"), 400, "specify event queries\n");
}

#[test]
fn case_07_errors_carry_the_origin_only_when_one_is_set() {
    let unset = Stage::memory_with(&[("PLASMA_ORIGIN", "")]);
    assert_eq!(unset.ask("/").header("access-control-allow-origin"), None);
    assert_eq!(request(unset.plasma.http(), "GET", "/x", &[]).header("access-control-allow-origin"), None);
    let set = Stage::memory_with(&[("PLASMA_ORIGIN", "https://example.org")]);
    assert_eq!(set.ask("/").header("access-control-allow-origin"), Some("https://example.org"));
    let missing = request(set.plasma.http(), "GET", "/x", &[]);
    assert_eq!(missing.header("access-control-allow-origin"), Some("https://example.org"));
}

#[test]
fn case_08_first_event_follows_the_opening() {
    Stage::each(|stage| {
        let mut connection = Connection::open(stage.plasma.http());
        connection.send(head("GET", "/?eventType=a", &[("Accept", "text/event-stream")], None));
        assert_eq!(connection.read_head().status, 200);
        let opening = b"retry: 2000\n:ok\n\n";
        assert_eq!(connection.read_exact(opening.len()), opening);
        stage.publish(r#"{"meta":{"type":"a"},"data":1}"#);
        let raw = connection.read_through(b"\n\n", Deadline::patient()).expect("an event");
        let text = String::from_utf8(raw).expect("an event is text");
        let id = text.strip_prefix("id: ").and_then(|text| text.strip_suffix(EVENT)).expect("an id, then the event");
        assert!((19..=20).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit()), "{text:?}");
    });
    const EVENT: &str = "\ndata: {\"meta\":{\"type\":\"a\"},\"data\":1}\n\n";
}

#[test]
fn case_09_head_of_a_stream() {
    let names = |stream: &Stream| stream.head.names();
    let usual = ["cache-control", "connection", "content-type", "date", "x-accel-buffering"];
    let unset = Stage::memory_with(&[("PLASMA_ORIGIN", "")]);
    let stream = unset.subscribe("eventType=a");
    assert_eq!(names(&stream), usual);
    let set = Stage::memory();
    let stream = set.subscribe("eventType=a");
    assert_eq!(names(&stream), [&["access-control-allow-origin"], &usual[..]].concat());
    assert_eq!((stream.head.version.as_str(), stream.head.status), ("HTTP/1.1", 200));
    let expected = [
        ("access-control-allow-origin", "*"),
        ("cache-control", "no-cache, no-store, no-transform"),
        ("connection", "close"),
        ("content-type", "text/event-stream"),
        ("x-accel-buffering", "no"),
    ];
    for (name, value) in expected {
        assert_eq!(stream.head.header(name), Some(value), "{name}");
    }
    let date = stream.head.header("date").expect("a date");
    assert!(date.len() == 29 && date.ends_with(" GMT"), "an IMF-fixdate: {date:?}");
}

#[test]
fn case_10_second_event_has_a_greater_id_and_no_second_retry() {
    Stage::each(|stage| {
        let mut stream = stage.subscribe("eventType=a");
        stage.say("a", "1");
        stage.say("a", "2");
        let events = stream.events(2);
        assert_increasing(&events);
        for (event, data) in events.iter().zip(["1", "2"]) {
            let id = event.id_number();
            assert_eq!(event.raw, format!("id: {id}\ndata: {{\"meta\":{{\"type\":\"a\"}},\"data\":{data}}}\n\n"));
        }
    });
}

#[test]
fn case_11_the_exact_accept_streams_on_any_path_and_method() {
    let stage = Stage::memory();
    for (method, target) in
        [("GET", "/hc?eventType=a"), ("GET", "/debug?eventType=a"), ("POST", "/any/path?eventType=a")]
    {
        let mut connection = Connection::open(stage.plasma.http());
        let body = (method == "POST").then_some(0);
        connection.send(head(method, target, &[("Accept", "text/event-stream")], body));
        let mut stream = Stream::join(connection);
        stage.say("a", "1");
        expect_data(&mut stream, r#"{"meta":{"type":"a"},"data":1}"#);
    }
}

/// Publishes each text and checks what a subscriber of `a` reads.
fn rendered(cases: &[(&str, &str)]) {
    Stage::each(|stage| {
        let mut stream = stage.subscribe("eventType=a");
        for (published, read) in cases {
            stage.publish(published);
            expect_data(&mut stream, read);
        }
    });
}

#[test]
fn case_12_data_is_compacted_and_escaped_but_not_rewritten() {
    rendered(&[(
        r#"{"meta":{"type":"a"},"data":{"x": "<b>&", "y" : [1, 2.50,1e3]} }"#,
        r#"{"meta":{"type":"a"},"data":{"x":"\u003cb\u003e\u0026","y":[1,2.50,1e3]}}"#,
    )]);
}

#[test]
fn case_12_keys_escapes_and_spaces_inside_of_strings_stay() {
    rendered(&[
        (r#"{"meta":{"type":"a"},"data":{"b":1,"a":2,"b":3}}"#, r#"{"meta":{"type":"a"},"data":{"b":1,"a":2,"b":3}}"#),
        (
            r#"{"meta":{"type":"a"},"data":"\u00e9 \/ \ud83d\ude00 é"}"#,
            r#"{"meta":{"type":"a"},"data":"\u00e9 \/ \ud83d\ude00 é"}"#,
        ),
        (r#"{"meta":{"type":"a"},"data":"a  b\t\"  c"}"#, r#"{"meta":{"type":"a"},"data":"a  b\t\"  c"}"#),
    ]);
}

#[test]
fn case_13_line_separators_are_escaped() {
    rendered(&[(
        "{\"meta\":{\"type\":\"a\"},\"data\":\"x\u{2028}y\u{2029}z\"}",
        r#"{"meta":{"type":"a"},"data":"x\u2028y\u2029z"}"#,
    )]);
}

#[test]
fn case_14_missing_data_is_null() {
    rendered(&[(r#"{"meta":{"type":"a"}}"#, r#"{"meta":{"type":"a"},"data":null}"#)]);
}

#[test]
fn case_15_null_data_is_null() {
    rendered(&[(r#"{"meta":{"type":"a"},"data":null}"#, r#"{"meta":{"type":"a"},"data":null}"#)]);
}

#[test]
fn case_16_a_string_keeps_its_quotes() {
    rendered(&[(r#"{"meta":{"type":"a"},"data":"str"}"#, r#"{"meta":{"type":"a"},"data":"str"}"#)]);
}

#[test]
fn case_17_pretty_printed_data_becomes_one_line() {
    rendered(&[
        (
            "{\n  \"meta\": {\"type\": \"a\"},\n  \"data\": {\n    \"x\": [\n      1,\r\n      2\r    ]\n  }\n}\n",
            r#"{"meta":{"type":"a"},"data":{"x":[1,2]}}"#,
        ),
        (r#"{"meta":{"type":"a"},"data":"l1\nl2\r\nl3\r"}"#, r#"{"meta":{"type":"a"},"data":"l1\nl2\r\nl3\r"}"#),
    ]);
}

/// Subscribes with a position that is no id of ours: the stream is live at once, without a notice.
fn starts_live(query: &str, headers: &[(&str, &str)]) {
    let stage = Stage::memory();
    stage.say("a", "\"before\"");
    let mut stream = stage.subscribe_with(query, headers);
    stage.say("a", "\"after\"");
    expect_data(&mut stream, r#"{"meta":{"type":"a"},"data":"after"}"#);
}

#[test]
fn case_18_small_counters_of_the_first_plasma_start_live() {
    starts_live("eventType=a&lastEventId=41", &[]);
    starts_live("eventType=a", &[("Last-Event-ID", "99")]);
}

#[test]
fn case_18_a_real_id_resumes_by_header_and_by_query() {
    Stage::each(|stage| {
        let mut live = stage.subscribe("eventType=a");
        for data in ["1", "2", "3"] {
            stage.say("a", data);
        }
        let first = live.events(3)[0].id.clone().expect("an event has an id");
        let query = format!("eventType=a&lastEventId={first}");
        let by_query = stage.subscribe(&query);
        let by_header = stage.subscribe_with("eventType=a", &[("Last-Event-ID", &first)]);
        for mut stream in [by_query, by_header] {
            expect_data(&mut stream, r#"{"meta":{"type":"a"},"data":2}"#);
            expect_data(&mut stream, r#"{"meta":{"type":"a"},"data":3}"#);
        }
    });
}

#[test]
fn case_19_headers_go_before_queries() {
    let stage = Stage::memory();
    let body = format!("[{},{},{}]", event("a", "1"), event("a", "2"), event("a", "3"));
    let ids: Vec<String> = stage.post_for_ids(body).iter().map(u64::to_string).collect();
    let resumed = |headers: &[(&str, &str)], query: &str| {
        let mut stream = stage.subscribe_with(&format!("eventType=a{query}"), headers);
        stage.say("a", "\"end\"");
        let mut seen = Vec::new();
        loop {
            let payload = stream.next_event().payload();
            seen.extend(payload.as_i64());
            if payload == "end" {
                return seen;
            }
        }
    };
    let both = format!("&lastEventId={}", ids[0]);
    assert_eq!(resumed(&[("HTTP_LAST_EVENT_ID", &ids[1])], &both), [3]);
    assert_eq!(resumed(&[("Last-Event-ID", &ids[1]), ("HTTP_LAST_EVENT_ID", &ids[0])], ""), [3]);
    assert_eq!(resumed(&[("HTTP_LAST_EVENT_ID", "")], &format!("&lastEventId={}", ids[1])), [3]);
    let queries = format!("&last_event_id={}&lastEventId={}", ids[0], ids[1]);
    assert_eq!(resumed(&[], &queries), [3]);
}

#[test]
fn case_19_a_header_that_is_no_id_starts_live() {
    let stage = Stage::memory();
    let ids = stage.post_for_ids(event("a", "\"before\""));
    stage.say("a", "\"between\"");
    let mut stream =
        stage.subscribe_with(&format!("eventType=a&lastEventId={}", ids[0]), &[("HTTP_LAST_EVENT_ID", "abc")]);
    stage.say("a", "\"after\"");
    expect_data(&mut stream, r#"{"meta":{"type":"a"},"data":"after"}"#);
}

#[test]
fn case_20_odd_numbers_start_live() {
    for value in ["-3", "%2B5", "+5", "1.5", "0", "18446744073709551616", "99999999999999999999999999"] {
        starts_live(&format!("eventType=a&lastEventId={value}"), &[]);
    }
}

#[test]
fn case_21_only_the_first_event_query_counts() {
    Stage::each(|stage| {
        let mut stream = stage.subscribe("eventType=a&eventType=b");
        stage.say("b", "1");
        stage.say("a", "2");
        assert_eq!(stream.next_event().payload(), 2);
    });
}

#[test]
fn case_22_queries_are_form_encoded() {
    Stage::each(|stage| {
        let mut stream = stage.subscribe("eventType=a+b%2Cc%3Ad");
        stage.say("a+b", "0");
        stage.say("a b", "1");
        stage.say("c:d:e", "2");
        let seen: Vec<_> = stream.events(2).iter().map(|event| event.json()["meta"]["type"].clone()).collect();
        assert_eq!(seen, ["a b", "c:d:e"]);
    });
}

#[test]
fn case_22_a_semicolon_separates_queries() {
    let stage = Stage::memory();
    let mut stream = stage.subscribe("x=1;eventType=a;y=2");
    stage.say("a", "1");
    stream.next_event();
}

#[test]
fn case_23_an_empty_element_subscribes_to_the_empty_type() {
    let Some(stage) = Stage::redis() else { return };
    let mut stream = stage.subscribe("eventType=x,");
    for published in ["null", "{}"] {
        stage.publish(published);
        expect_data(&mut stream, r#"{"meta":{"type":""},"data":null}"#);
    }
    stage.say(":q", "1");
    expect_data(&mut stream, r#"{"meta":{"type":":q"},"data":1}"#);
}

#[test]
fn case_23_the_empty_type_over_http() {
    let stage = Stage::memory();
    let mut stream = stage.subscribe("eventType=,x");
    stage.say("y", "0");
    stage.publish("{}");
    expect_data(&mut stream, r#"{"meta":{"type":""},"data":null}"#);
    stage.say(":q", "1");
    expect_data(&mut stream, r#"{"meta":{"type":":q"},"data":1}"#);
}

#[test]
fn case_24_overlapping_subscriptions_deliver_once() {
    Stage::each(|stage| {
        let mut stream = stage.subscribe("eventType=a,a:b,a");
        stage.say("a:b", "1");
        stage.say("a", "2");
        let seen: Vec<_> = stream.events(2).iter().map(|event| event.payload()).collect();
        assert_eq!(seen, [1, 2]);
    });
}

#[test]
fn case_25_a_topic_is_no_prefix_of_a_longer_word() {
    Stage::each(|stage| {
        let mut stream = stage.subscribe("eventType=program:12");
        stage.say("program:1234", "1");
        stage.say("program:12", "2");
        assert_eq!(stream.next_event().payload(), 2);
    });
}

#[test]
fn case_26_a_topic_gets_what_is_below_it_and_not_what_is_above() {
    Stage::each(|stage| {
        let mut above = stage.subscribe("eventType=program");
        let mut below = stage.subscribe("eventType=program:1234:views:x");
        stage.say("program:1234:views", "1");
        stage.say("program:1234:views:x", "2");
        assert_eq!(above.next_event().payload(), 1);
        assert_eq!(below.next_event().payload(), 2);
    });
}

#[test]
fn case_26_topics_with_slashes_are_split_at_slashes() {
    Stage::each(|stage| {
        let mut above = stage.subscribe("eventType=/a");
        let mut exact = stage.subscribe("eventType=/a/b:c");
        let mut cousin = stage.subscribe("eventType=/a/b");
        stage.say("/a/b:c", "1");
        stage.say("/a/b/d", "2");
        assert_eq!(above.next_event().payload(), 1);
        assert_eq!(exact.next_event().payload(), 1);
        assert_eq!(cousin.next_event().payload(), 2);
    });
}

/// The shortest heartbeat there is.
const QUICK_HEARTBEAT: &[(&str, &str)] = &[("PLASMA_SSE_HEARTBEAT", "1s")];

#[test]
fn case_27_quiet_old_browsers_get_heartbeats() {
    let stage = Stage::memory_with(QUICK_HEARTBEAT);
    let mut stream = stage.subscribe_with("eventType=a", &[("User-Agent", IE_11)]);
    for _ in 0..3 {
        assert_eq!(stream.next_frame().raw, HEARTBEAT);
    }
}

#[test]
fn case_28_every_quiet_stream_gets_heartbeats() {
    let stage = Stage::memory_with(QUICK_HEARTBEAT);
    let chromium = stage.subscribe_with("eventType=a", &[("User-Agent", CHROMIUM)]);
    let asked = stage.subscribe_with("eventType=a,heartbeat", &[("User-Agent", CHROMIUM)]);
    let nameless = stage.subscribe("eventType=a");
    for mut stream in [chromium, asked, nameless] {
        assert_eq!(stream.next_frame().raw, HEARTBEAT);
        assert_eq!(stream.next_frame().raw, HEARTBEAT);
    }
}

#[test]
fn case_29_heartbeats_take_no_id() {
    let stage = Stage::memory_with(QUICK_HEARTBEAT);
    let mut stream = stage.subscribe("eventType=a");
    let first = stage.post_for_ids(event("a", "1"))[0];
    assert_eq!(stream.next_frame().id_number(), first);
    assert_eq!(stream.next_frame().raw, HEARTBEAT);
    let second = stage.post_for_ids(event("a", "2"))[0];
    assert!(second > first);
    assert_eq!(stream.next_word().id_number(), second);
}

#[test]
fn case_30_an_event_of_type_heartbeat_is_the_comment() {
    Stage::each(|stage| {
        let mut stream = stage.subscribe("eventType=heartbeat");
        stage.say("heartbeat", "5");
        assert_eq!(stream.next_frame().raw, HEARTBEAT);
        stage.say("heartbeat:x", "6");
        expect_data(&mut stream, r#"{"meta":{"type":"heartbeat:x"},"data":6}"#);
    });
}

#[test]
fn case_31_keys_are_read_without_case_and_others_ignored() {
    rendered(&[
        (r#"{"META":{"Type":"a","z":1},"DATA":7,"x":[]}"#, r#"{"meta":{"type":"a"},"data":7}"#),
        (r#"{"meta":{"type":"b"},"data":1,"meta":{"type":"a"},"data":2}"#, r#"{"meta":{"type":"a"},"data":2}"#),
        (r#"{"data":8,"meta":{"type":"\u0061"}}"#, r#"{"meta":{"type":"a"},"data":8}"#),
    ]);
}

#[test]
fn case_32_what_is_no_event_is_dropped_and_said_once() {
    let Some(stage) = Stage::redis() else { return };
    let redis = stage.redis.as_ref().expect("a stage with Redis");
    let mut stream = stage.subscribe("eventType=a,");
    let rejects =
        ["[1]", r#"{"meta":{"type":5}}"#, r#"{"meta":"x"}"#, r#"{"meta":{"type":"a"}} x"#, "not json", "", "5"];
    for reject in rejects {
        assert_eq!(redis.publish(CHANNEL, reject), 1);
    }
    stage.say("a", "1");
    assert_eq!(stream.next_event().payload(), 1);
    let msg = "failed to unmarhsal to json when subscribing redis";
    let wanted = |line: &str| support::lines::says(line, msg);
    stage.plasma.stderr.wait_for_nth("a line for each reject", rejects.len(), Deadline::patient(), wanted);
    assert_eq!(stage.plasma.stderr.count(wanted), rejects.len());
    let line = stage.plasma.wait_for_log(msg);
    assert_eq!(line["channel"], CHANNEL);
    assert!(line["error"].is_string(), "{line}");
    assert_eq!(redis.subscribers(CHANNEL), 1);
}

#[test]
fn case_33_types_are_escaped() {
    Stage::each(|stage| {
        let mut stream = stage.subscribe("eventType=a");
        stage.publish("{\"meta\":{\"type\":\"a:<b>&\\u0008\\f\\n\\u001f\\\"\\\\\u{2028}\u{7f}é\"},\"data\":1}");
        let escaped = concat!(r#"a:\u003cb\u003e\u0026\u0008\u000c\n\u001f\"\\\u2028"#, "\u{7f}é");
        expect_data(&mut stream, &format!(r#"{{"meta":{{"type":"{escaped}"}},"data":1}}"#));
    });
}

#[test]
fn case_33_invalid_utf8_is_replaced() {
    let Some(stage) = Stage::redis() else { return };
    let mut stream = stage.subscribe("eventType=a");
    stage.publish(b"{\"meta\":{\"type\":\"a:\xff\"},\"data\":\"x\xc3(y\"}");
    expect_data(&mut stream, "{\"meta\":{\"type\":\"a:\u{fffd}\"},\"data\":\"x\u{fffd}(y\"}");
}

#[test]
fn case_34_http_1_0_gets_the_same_body() {
    let stage = Stage::memory();
    let mut connection = Connection::open(stage.plasma.http());
    connection.send("GET /?eventType=a HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n");
    let mut stream = Stream::join(connection);
    assert_eq!(stream.head.header("transfer-encoding"), None);
    stage.say("a", "1");
    expect_data(&mut stream, r#"{"meta":{"type":"a"},"data":1}"#);
}

#[test]
fn case_35_retry_and_event_query_are_settings() {
    let stage = Stage::memory_with(&[("PLASMA_SSE_RETRY", "500"), ("PLASMA_SSE_EVENTQUERY", "q")]);
    let mut connection = Connection::open(stage.plasma.http());
    connection.send(head("GET", "/?q=a", &[("Accept", "text/event-stream")], None));
    assert_eq!(connection.read_head().status, 200);
    assert_eq!(connection.read_exact(16), b"retry: 500\n:ok\n\n");
    assert_plain_error(&stage.ask("/?eventType=a"), 400, "specify event queries\n");
}
