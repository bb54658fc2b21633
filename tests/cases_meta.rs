//! Cases 41 to 45 of the compatibility checklist: `/hc` and `/debug`.

mod support;

use support::http::{Answer, Connection, get, head, post, request};
use support::stage::{Stage, event, expect_data};

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"];

#[test]
fn case_41_health_of_a_server_without_redis() {
    for kind in ["mock", "memory"] {
        let stage = Stage::memory_with(&[("PLASMA_SUBSCRIBER_TYPE", kind)]);
        for method in METHODS {
            let answer = request(stage.plasma.http(), method, "/hc", &[]);
            assert_eq!((answer.status(), answer.text()), (200, ""), "{kind} {method}");
            assert!(method == "HEAD" || answer.header("content-length") == Some("0"), "{kind} {method}");
        }
    }
}

#[test]
fn case_41_health_checks_are_in_the_access_log() {
    let stage = Stage::memory();
    let agent = [("User-Agent", "kube-probe/1.30"), ("Referer", "r"), ("X-Forwarded-For", "192.0.2.7:12345")];
    request(stage.plasma.http(), "GET", "/hc", &agent);
    let line = stage.plasma.wait_for_access("healthCheck", 1);
    let old = [
        "level",
        "ts",
        "msg",
        "user-agent",
        "referer",
        "content-length",
        "host",
        "method",
        "remote-addr",
        "time",
        "status",
    ];
    assert_eq!(support::lines::keys(&line)[..old.len()], old, "{line}");
    let line = support::lines::json(&line);
    assert_eq!(line["user-agent"], "kube-probe/1.30");
    assert_eq!(line["referer"], "r");
    assert_eq!(line["remote-addr"], "192.0.2.7");
    assert_eq!(line["content-length"], 0);
    assert_eq!(line["host"], "localhost");
    assert_eq!(line["method"], "GET");
    assert_eq!(line["status"], 200);
    assert!(line["ts"].as_f64().is_some_and(|seconds| seconds > 1e9), "{line}");
    let time = line["time"].as_str().expect("a time");
    assert!(time.len() > 20 && time.as_bytes()[10] == b'T', "RFC 3339: {time}");
}

#[test]
fn case_43_paths_are_cleaned_by_redirect() {
    let stage = Stage::memory();
    for target in ["//hc", "/./hc", "/a/../hc"] {
        let answer = get(stage.plasma.http(), target);
        assert_eq!((answer.status(), answer.header("location")), (301, Some("/hc")), "{target}");
        assert_eq!(answer.text(), "<a href=\"/hc\">Moved Permanently</a>.\n\n");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    }
    for target in ["/hc/", "/debug/", "/hcx", "/HC"] {
        assert_eq!(get(stage.plasma.http(), target).status(), 404, "{target}");
    }
}

#[test]
fn case_43_a_query_does_not_change_the_path() {
    assert_eq!(get(Stage::memory().plasma.http(), "/hc?x=1").status(), 200);
}

#[test]
fn case_44_no_debug_page_unless_asked_for() {
    let stage = Stage::memory();
    for method in ["GET", "POST", "PUT"] {
        assert_eq!(request(stage.plasma.http(), method, "/debug", &[]).status(), 404, "{method}");
    }
}

fn debugging() -> [(&'static str, &'static str); 1] {
    [("PLASMA_DEBUG", "true")]
}

fn post_debug(stage: &Stage, body: &str) -> Answer {
    post(stage.plasma.http(), "/debug", &[("Content-Type", "application/json")], body)
}

#[test]
fn case_44_the_debug_page() {
    let stage = Stage::memory_with(&debugging());
    let page = get(stage.plasma.http(), "/debug");
    assert_eq!((page.status(), page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for id in ["eventName", "eventData", "eventSubmit"] {
        assert!(page.text().contains(&format!("id=\"{id}\"")), "the page has no {id}");
    }
    assert!(!page.text().contains("http://") && !page.text().contains("https://"), "no assets from outside");
}

#[test]
fn case_44_other_methods_are_not_allowed() {
    let stage = Stage::memory_with(&debugging());
    for method in ["HEAD", "PUT", "DELETE"] {
        let answer = request(stage.plasma.http(), method, "/debug", &[]);
        assert_eq!((answer.status(), answer.text()), (405, ""), "{method}");
        let allow = answer.header("allow").expect("405 says what is allowed");
        assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    }
}

#[test]
fn case_44_debug_publishes_or_refuses() {
    Stage::each_with(&debugging(), |stage| {
        let mut stream = stage.subscribe("eventType=a");
        for body in ["", "not json", "[1]", r#"{"meta":5}"#, "{"] {
            let answer = post_debug(stage, body);
            assert_eq!((answer.status(), answer.text()), (400, ""), "{body:?}");
        }
        let answer = post_debug(stage, r#"{ "meta": {"type": "a"}, "data": {"x": 1} }"#);
        assert_eq!((answer.status(), answer.text()), (200, ""));
        expect_data(&mut stream, r#"{"meta":{"type":"a"},"data":{"x":1}}"#);
    });
}

#[test]
fn case_44_debug_publishes_compact_json_to_the_first_channel() {
    let fake = support::fake_redis::FakeRedis::start();
    let setup = support::stage::with_redis(&fake.addr());
    let plasma = setup.set_all(&debugging()).set("PLASMA_SUBSCRIBER_REDIS_CHANNELS", "first,second").start();
    fake.wait_for("SUBSCRIBE", 1);
    let answer = post(plasma.http(), "/debug", &[], r#"{ "data" : "<q>", "meta" : {"type" : "a"} }"#);
    assert_eq!(answer.status(), 200);
    let published = fake.wait_for("PUBLISH", 1);
    assert_eq!(published.words[1..], ["first", r#"{"meta":{"type":"a"},"data":"\u003cq\u003e"}"#]);
}

#[test]
fn case_44_debug_without_redis_is_an_error() {
    let Some(mut stage) = Stage::redis_with(&debugging()) else { return };
    stage.broker().kill();
    let answer = post_debug(&stage, &event("a", "1"));
    assert_eq!((answer.status(), answer.text()), (500, ""));
}

#[test]
fn case_45_debug_escapes_like_any_publisher() {
    Stage::each_with(&debugging(), |stage| {
        let mut stream = stage.subscribe("eventType=a");
        assert_eq!(post_debug(stage, &event("a", "\"<q>\"")).status(), 200);
        expect_data(&mut stream, r#"{"meta":{"type":"a"},"data":"\u003cq\u003e"}"#);
    });
}

#[test]
fn debug_does_not_open_publishing() {
    let plasma = support::plasma::Plasma::setup().set("PLASMA_DEBUG", "1").start();
    assert_eq!(post(plasma.http(), "/debug", &[], event("a", "1")).status(), 200);
    assert_eq!(post(plasma.http(), "/events", &[], event("a", "1")).status(), 403);
}

#[test]
fn streams_are_in_the_access_log_when_they_end() {
    let stage = Stage::memory();
    stage.ask("/");
    let refused = support::lines::json(&stage.plasma.wait_for_access("sse", 1));
    assert_eq!(refused["status"], 400);
    let agent = [("User-Agent", "test"), ("X-Forwarded-For", "2001:db8::1, 192.0.2.1")];
    let mut stream = stage.subscribe_with("eventType=a,b", &agent);
    stage.say("a", "1");
    stream.next_event();
    drop(stream);
    let line = stage.plasma.wait_for_access("sse", 2);
    let keys = support::lines::keys(&line);
    let old = [
        "level",
        "ts",
        "msg",
        "user-agent",
        "referer",
        "content-length",
        "host",
        "method",
        "remote-addr",
        "time",
        "status",
    ];
    assert_eq!(keys[..old.len()], old, "{line}");
    for new in ["path", "events", "duration", "bytes"] {
        assert!(keys[old.len()..].iter().any(|key| key == new), "{new} in {line}");
    }
    let line = support::lines::json(&line);
    assert_eq!((&line["status"], &line["user-agent"]), (&200.into(), &"test".into()));
    assert!(line["remote-addr"].as_str().is_some_and(|address| address.starts_with("2001:db8:")), "{line}");
}

#[test]
fn short_answers_need_no_second_connection() {
    let stage = Stage::memory();
    let mut connection = Connection::open(stage.plasma.http());
    for _ in 0..3 {
        connection.send(head("GET", "/hc", &[], None));
        assert_eq!(connection.read_answer().status(), 200);
    }
}
