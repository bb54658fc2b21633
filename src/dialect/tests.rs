use proptest::prelude::*;

use super::*;
use crate::base::id::EventId;
use crate::base::limits::{TOPIC_LEN_MAX, TOPICS_MAX};
use crate::wire::http1::{Manner, parse_head};

const DATE: &[u8; 29] = b"Sun, 06 Nov 1994 08:49:37 GMT";
const SSE: &str = "Accept: text/event-stream\r\n";
const ID: &str = "1876951040000000007";

fn policy() -> Policy {
    Policy {
        origin: None,
        event_query: "eventType".into(),
        retry_millis: 2000,
        debug: false,
        publish: Publish::Closed,
        event_max: 1 << 20,
        publish_max: 1 << 24,
        reflection: true,
    }
}

/// Where a request of that start and those field lines leads.
fn routed(policy: &Policy, start: &str, lines: &str) -> Route {
    let text = format!("{start} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let (head, len) = parse_head(text.as_bytes()).unwrap().unwrap();
    assert_eq!(len, text.len());
    route(&head, policy)
}

fn answered(policy: &Policy, start: &str, lines: &str) -> Answer {
    match routed(policy, start, lines) {
        Route::Answer(answer) => answer,
        other => panic!("{start}: {other:?}"),
    }
}

fn subscribed(start: &str, lines: &str) -> Subscription {
    match routed(&policy(), start, &format!("{SSE}{lines}")) {
        Route::Subscribe(subscription) => subscription,
        other => panic!("{start}: {other:?}"),
    }
}

fn topics(start: &str) -> Vec<String> {
    subscribed(start, "").topics.into_iter().map(|topic| String::from_utf8(topic).unwrap()).collect()
}

/// Where the stream begins, with `{}` standing for an id of ours.
fn resumed(query: &str, lines: &str) -> bool {
    let start = format!("GET /?eventType=a{}", query.replace("{}", ID));
    match subscribed(&start, &lines.replace("{}", ID)).resume {
        Resume::Live => false,
        Resume::After(id) => {
            assert_eq!(Some(id), EventId::parse(ID.as_bytes()));
            true
        }
    }
}

fn assert_text(answer: &Answer, status: u16, body: &str) {
    assert_eq!((answer.status(), str::from_utf8(answer.body())), (status, Ok(body)));
    assert_eq!(answer.field("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.field("X-Content-Type-Options"), Some("nosniff"));
}

#[test]
fn cases_1_and_2_without_accept_nothing_is_found() {
    for (start, lines) in [
        ("GET /", ""),
        ("GET /?eventType=a", "Accept: */*\r\n"),
        ("OPTIONS /", ""),
        ("DELETE /x/y", ""),
        ("GET /hc/", ""),
        ("GET /debug/", ""),
        ("GET /HC", ""),
    ] {
        assert_text(&answered(&policy(), start, lines), 404, "404 page not found\n");
    }
}

#[test]
fn cases_3_to_6_the_event_query_must_say_something() {
    for start in ["GET /", "GET /?eventType=%zz", "GET /?EVENTTYPE=a", "GET /hc", "POST /events"] {
        let answer = answered(&policy(), start, SSE);
        assert_text(&answer, 400, "specify event queries\n");
        assert_eq!(answer.body().len(), 22);
    }
    for start in ["GET /?eventType=", "GET /?eventType", "GET /?eventType=&eventType=a"] {
        let answer = answered(&policy(), start, SSE);
        assert_text(&answer, 400, "event query can't be empty\n");
        assert_eq!(answer.body().len(), 27);
    }
}

#[test]
fn case_7_errors_carry_cors_only_when_an_origin_is_set() {
    for origin in [None, Some(String::new())] {
        let answer = answered(&Policy { origin, ..policy() }, "GET /", SSE);
        assert_eq!((answer.field("Access-Control-Allow-Origin"), answer.field("Vary")), (None, None));
    }
    let any = Policy { origin: Some("*".into()), ..policy() };
    for (start, lines) in [("GET /", SSE), ("GET /", ""), ("POST /events", "")] {
        let answer = answered(&any, start, lines);
        assert_eq!((answer.field("Access-Control-Allow-Origin"), answer.field("Vary")), (Some("*"), None));
    }
    let one = Policy { origin: Some("https://a.example".into()), ..policy() };
    let answer = answered(&one, "GET /", "");
    assert_eq!(answer.field("Access-Control-Allow-Origin"), Some("https://a.example"));
    assert_eq!(answer.field("Vary"), Some("Origin"));
}

#[test]
fn case_9_a_stream_begins_at_once() {
    let head = |policy: &Policy, minor| String::from_utf8(plasma::stream_head(policy, minor, DATE)).unwrap();
    assert_eq!(
        head(&policy(), 1),
        "HTTP/1.1 200 OK\r\nCache-Control: no-cache, no-store, no-transform\r\nContent-Type: text/event-stream\r\n\
         X-Accel-Buffering: no\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\r\nretry: 2000\n:ok\n\n"
    );
    let other = Policy { origin: Some("https://a.example".into()), retry_millis: 500, ..policy() };
    let head = head(&other, 0);
    assert!(head.starts_with(
        "HTTP/1.0 200 OK\r\nAccess-Control-Allow-Origin: https://a.example\r\nVary: Origin\r\nCache-Control: "
    ));
    assert!(head.ends_with("\r\n\r\nretry: 500\n:ok\n\n"), "case 35");
}

#[test]
fn case_11_any_path_and_method_subscribes() {
    for start in ["GET /hc", "POST /any/path", "GET //x/../%zz", "DELETE /events", "OPTIONS /", "GET http://b/debug"] {
        assert_eq!(topics(&format!("{start}?eventType=a")), ["a"], "{start}");
    }
    let listed = routed(&policy(), "GET /?eventType=a", "Accept: */*, TEXT/event-stream;q=0.1\r\n");
    assert!(matches!(listed, Route::Subscribe(_)));
}

#[test]
fn a_head_request_for_a_stream_gets_its_fields() {
    let answer = answered(&Policy { origin: Some("*".into()), ..policy() }, "HEAD /?eventType=a", SSE);
    let manner = Manner { version_minor: 1, keep_alive: true, head_only: true };
    let text = String::from_utf8(answer.to_bytes(manner, DATE)).unwrap();
    assert!(text.contains("Content-Type: text/event-stream\r\n") && !text.contains("Content-Length"));
    assert_eq!(text.matches("Access-Control-Allow-Origin: *\r\n").count(), 1);
}

#[test]
fn cases_18_to_20_streams_resume_where_the_client_says() {
    for (query, lines) in [
        ("", "Last-Event-ID: {}\r\n"),
        ("", "HTTP_LAST_EVENT_ID: {}\r\n"),
        ("&lastEventId={}", ""),
        ("&last_event_id={}", ""),
        ("&lastEventId={}", "Last-Event-ID:\r\n"),
        ("&lastEventId=&last_event_id={}", "HTTP_LAST_EVENT_ID: \r\n"),
        ("&lastEventId=7", "last-event-id: {}\r\nHTTP_LAST_EVENT_ID: abc\r\n"),
        ("&lastEventId=41", "HTTP_LAST_EVENT_ID: {}\r\n"),
    ] {
        assert!(resumed(query, lines), "{query} {lines:?}");
    }
}

#[test]
fn case_19_the_first_place_that_says_anything_decides() {
    for (query, lines) in [
        ("", ""),
        ("&lastEventId={}", "HTTP_LAST_EVENT_ID: abc\r\n"),
        ("&lastEventId={}", "Last-Event-ID: 7\r\n"),
        ("", "Last-Event-ID: x\r\nHTTP_LAST_EVENT_ID: {}\r\n"),
        ("&lastEventId=41&last_event_id={}", ""),
        ("&lastEventId=7&lastEventId={}", ""),
    ] {
        assert!(!resumed(query, lines), "{query} {lines:?}");
    }
}

#[test]
fn case_20_what_is_no_id_of_ours_means_live() {
    for value in ["-3", "%2B5", "+5", "1.5", "+{}", "{}x", "%00"] {
        assert!(!resumed(&format!("&lastEventId={value}"), ""), "{value}");
    }
}

#[test]
fn cases_21_to_23_topics_are_split_and_kept_as_they_are() {
    assert_eq!(topics("GET /?eventType=a&eventType=b"), ["a"]);
    assert_eq!(topics("GET /?eventType=a+b%2Cc%3Ad"), ["a b", "c:d"]);
    assert_eq!(topics("GET /?eventType=x,"), ["x", ""]);
    assert_eq!(topics("GET /?eventType=,"), [""]);
    assert_eq!(topics("GET /?eventType=%20x"), [" x"]);
    assert_eq!(subscribed("GET /?eventType=%ff%00", "").topics, [b"\xff\0"]);
}

#[test]
fn case_24_topics_are_taken_once() {
    assert_eq!(topics("GET /?eventType=a,a:b,a,,a:b,"), ["a", "a:b", ""]);
}

#[test]
fn case_33_too_many_or_too_long_topics_are_refused_by_name() {
    let list = |count: usize| (0..count).map(|topic| format!("{topic:x}")).collect::<Vec<_>>().join(",");
    let many = |count| format!("GET /?eventType={},0,1", list(count));
    assert_eq!(topics(&many(TOPICS_MAX)).len(), TOPICS_MAX);
    let answer = answered(&policy(), &many(TOPICS_MAX + 1), SSE);
    assert_text(&answer, 400, "more than 1024 topics in one subscription\n");
    let long = |len| format!("GET /?eventType=a,{}", "t".repeat(len));
    assert_eq!(topics(&long(TOPIC_LEN_MAX))[1].len(), TOPIC_LEN_MAX);
    assert_text(&answered(&policy(), &long(TOPIC_LEN_MAX + 1), SSE), 400, "a topic is longer than 512 bytes\n");
}

#[test]
fn case_35_the_event_query_has_the_name_it_was_given() {
    let policy = Policy { event_query: "q".into(), ..policy() };
    assert!(matches!(routed(&policy, "GET /?q=a", SSE), Route::Subscribe(_)));
    assert_text(&answered(&policy, "GET /?eventType=a", SSE), 400, "specify event queries\n");
}

#[test]
fn case_41_health_answers_any_method() {
    for method in ["GET", "HEAD", "POST", "OPTIONS", "BREW"] {
        assert_eq!(routed(&policy(), &format!("{method} /hc?x=y"), ""), Route::Health, "{method}");
    }
}

#[test]
fn case_43_unclean_paths_are_redirected() {
    for path in ["//hc", "/./hc", "/a/../hc", "/%2e/hc", "/%2Fhc"] {
        let answer = answered(&policy(), &format!("GET {path}"), "");
        assert_eq!((answer.status(), answer.field("Location")), (301, Some("/hc")), "{path}");
        assert_eq!(answer.body(), b"<a href=\"/hc\">Moved Permanently</a>.\n\n");
        assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"));
    }
    let answer = answered(&policy(), "GET //hc?a&b=\"<i>'", "");
    assert_eq!(answer.field("Location"), Some("/hc?a&b=\"<i>'"));
    assert_eq!(answer.body(), b"<a href=\"/hc?a&amp;b=&#34;&lt;i&gt;&#39;\">Moved Permanently</a>.\n\n");
    let posted = answered(&policy(), "POST //hc", "");
    assert_eq!((posted.status(), posted.body().len(), posted.field("Content-Type")), (301, 0, None));
    assert_text(&answered(&policy(), "GET /%zz", ""), 400, "malformed path\n");
}

#[test]
fn case_44_debug_exists_when_it_is_switched_on() {
    assert_text(&answered(&policy(), "GET /debug", ""), 404, "404 page not found\n");
    let debug = Policy { debug: true, ..policy() };
    assert_eq!(routed(&debug, "GET /debug", "Accept: text/html\r\n"), Route::DebugPage);
    assert_eq!(routed(&debug, "POST /debug", ""), Route::DebugPublish);
    for method in ["HEAD", "PUT", "OPTIONS"] {
        let answer = answered(&debug, &format!("{method} /debug"), "");
        assert_eq!((answer.status(), answer.body().len(), answer.field("Allow")), (405, 0, Some("GET, POST")));
    }
}

#[test]
fn publishing_is_closed_unless_somebody_opened_it() {
    let answer = answered(&policy(), "POST /events", "Authorization: Bearer x\r\n");
    let body = String::from_utf8(answer.body().to_vec()).unwrap();
    assert_eq!(answer.status(), 403);
    assert!(body.contains("PLASMA_PUBLISH_TOKEN") && body.contains("PLASMA_PUBLISH_OPEN"));
    let open = Policy { publish: Publish::Open, ..policy() };
    assert_eq!(routed(&open, "POST /events?x=y", ""), Route::Publish);
    for method in ["GET", "HEAD", "PUT", "OPTIONS"] {
        let answer = answered(&open, &format!("{method} /events"), "");
        assert_eq!((answer.status(), answer.field("Allow")), (405, Some("POST")), "{method}");
    }
}

#[test]
fn a_token_opens_publishing_for_who_knows_it() {
    let policy = Policy { publish: Publish::Token("s3cret".into()), ..policy() };
    for lines in ["Authorization: Bearer s3cret\r\n", "authorization: bearer   s3cret \r\n"] {
        assert_eq!(routed(&policy, "POST /events", lines), Route::Publish, "{lines:?}");
    }
    for lines in [
        "",
        "Authorization: s3cret\r\n",
        "Authorization: Basic s3cret\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer s3cre\r\n",
        "Authorization: Bearer s3creT\r\n",
        "Authorization: Bearer s3crets3cret\r\n",
        "Authorization: Bearer s3cret x\r\n",
        "Authorization: x\r\nAuthorization: Bearer s3cret\r\n",
    ] {
        let answer = answered(&policy, "POST /events", lines);
        assert_eq!((answer.status(), answer.field("WWW-Authenticate")), (401, Some("Bearer")), "{lines:?}");
    }
    let nobody = Policy { publish: Publish::Token(String::new()), ..policy };
    assert_eq!(answered(&nobody, "POST /events", "Authorization: Bearer \r\n").status(), 401);
}

#[test]
fn a_preflight_is_answered_when_an_origin_is_set() {
    let policy = Policy { origin: Some("*".into()), ..policy() };
    for (start, lines) in [("OPTIONS /events", ""), ("OPTIONS /?eventType=a", SSE), ("OPTIONS *", "")] {
        assert_eq!(routed(&policy, start, lines), Route::Preflight, "{start}");
    }
    let answer = policy.preflight();
    assert_eq!((answer.status(), answer.field("Access-Control-Allow-Origin")), (204, Some("*")));
    let headers = answer.field("Access-Control-Allow-Headers").unwrap();
    assert!(["Authorization", "Content-Type", "Last-Event-ID"].iter().all(|name| headers.contains(name)));
    assert!(answer.field("Access-Control-Allow-Methods").unwrap().contains("POST"));
    assert!(answer.field("Access-Control-Max-Age").is_some());
    assert_eq!(answered(&self::policy(), "OPTIONS *", "").status(), 204);
}

proptest! {
    #[test]
    fn no_target_panics(
        path in "(/|//|[.]|%2[ef]|%|hc|debug|events|[!-~]){0,6}",
        query in "(eventType=|lastEventId=|[,&;+%=]|[!-~]){0,9}",
    ) {
        let policy = Policy { origin: Some("*".into()), publish: Publish::Token("t".into()), debug: true, ..policy() };
        for (method, lines) in [("GET", SSE), ("GET", ""), ("POST", "")] {
            let text = format!("{method} /{path}?{query} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
            let (head, _) = parse_head(text.as_bytes()).unwrap().unwrap();
            let _ = route(&head, &policy);
        }
    }
}
