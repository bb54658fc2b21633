//! `POST /events`: who may, what is taken, what is refused, and that all or nothing of a request is taken.

mod support;

use support::http::{Answer, post, request};
use support::plasma::Plasma;
use support::stage::{Stage, event, ids};

fn publish(plasma: &Plasma, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
    post(plasma.http(), "/events", headers, body)
}

#[test]
fn one_event_is_numbered_and_delivered_under_that_number() {
    let stage = Stage::memory();
    let mut stream = stage.subscribe("eventType=a");
    let answer = stage.post(event("a", "1"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let ids = ids(&answer);
    assert_eq!(answer.text().trim_end(), format!("{{\"ids\":[\"{}\"]}}", ids[0]));
    assert_eq!(stream.next_event().id_number(), ids[0]);
}

#[test]
fn ids_tell_the_time() {
    let stage = Stage::memory();
    let id = stage.post_for_ids(event("a", "1"))[0];
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    assert!(now.abs_diff(id >> 20) < 60_000, "{} and {now} ms", id >> 20);
}

#[test]
fn an_array_is_taken_in_order() {
    let stage = Stage::memory();
    let mut stream = stage.subscribe("eventType=a,b");
    let ids = stage.post_for_ids(format!("[{}, {},\n{}]", event("a", "1"), event("b", "2"), event("c", "3")));
    assert_eq!(ids.len(), 3);
    assert!(ids.is_sorted() && ids[0] < ids[1] && ids[1] < ids[2]);
    let seen: Vec<_> = stream.events(2).iter().map(|event| (event.id_number(), event.payload())).collect();
    assert_eq!(seen, [(ids[0], 1.into()), (ids[1], 2.into())]);
}

#[test]
fn lines_are_taken_in_order() {
    let stage = Stage::memory();
    let mut stream = stage.subscribe("eventType=a");
    for end in ["", "\n", "\r\n"] {
        let body = format!("{}\n{}{end}", event("a", "1"), event("a", "2"));
        let answer = publish(&stage.plasma, &[("Content-Type", "application/x-ndjson")], body);
        assert_eq!((answer.status(), ids(&answer).len()), (202, 2), "{answer:?}");
        assert_eq!([stream.next_event().payload(), stream.next_event().payload()], [1, 2]);
    }
}

#[test]
fn a_bad_event_is_named_by_its_index_and_nothing_is_taken() {
    let stage = Stage::memory();
    let mut stream = stage.subscribe("eventType=a");
    let good = event("a", "\"no\"");
    for (bad, index) in [("5", 7), (r#"{"meta":{"type":5}}"#, 7), (r#"{"meta":"x"}"#, 0), ("\"a\"", 3), ("[1]", 2)] {
        let mut events = [good.as_str(); 9];
        events[index] = bad;
        for (kind, body) in
            [("application/json", format!("[{}]", events.join(","))), ("application/x-ndjson", events.join("\n"))]
        {
            let answer = publish(&stage.plasma, &[("Content-Type", kind)], body);
            assert_eq!(answer.status(), 400, "{bad}: {answer:?}");
            let digits = answer.text().chars().filter(char::is_ascii_digit).collect::<String>();
            assert!(digits.contains(&index.to_string()), "the index {index} in {:?}", answer.text());
        }
    }
    stage.say("a", "\"yes\"");
    assert_eq!(stream.next_event().payload(), "yes");
}

#[test]
fn what_is_no_json_is_refused() {
    let stage = Stage::memory();
    for body in ["", " ", "not json", "{", "[", r#"{"meta":{"type":"a"}}x"#, "{\"meta\":{\"type\":\"a\u{0}\"}}"] {
        let answer = publish(&stage.plasma, &[], body);
        assert_eq!(answer.status(), 400, "{body:?}: {answer:?}");
    }
}

#[test]
fn deep_nesting_is_no_way_in() {
    let stage = Stage::memory();
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let answer = publish(&stage.plasma, &[], event("a", &deep));
    assert!([202, 400].contains(&answer.status()), "{}", answer.status());
    assert_eq!(stage.health(), 200);
}

#[test]
fn publishing_is_closed_unless_opened_and_says_how_to() {
    let plasma = Plasma::setup().start();
    let answer = publish(&plasma, &[], event("a", "1"));
    assert_eq!(answer.status(), 403);
    for name in ["PLASMA_PUBLISH_TOKEN", "PLASMA_PUBLISH_OPEN"] {
        assert!(answer.text().contains(name), "{name} in {:?}", answer.text());
    }
}

#[test]
fn a_token_opens_to_its_bearer() {
    let plasma = Plasma::setup().set("PLASMA_PUBLISH_TOKEN", "s3cret-token").start();
    for headers in [
        &[][..],
        &[("Authorization", "Bearer wrong")],
        &[("Authorization", "Bearer s3cret-tokem")],
        &[("Authorization", "Bearer s3cret-token2")],
        &[("Authorization", "Bearer ")],
        &[("Authorization", "Basic s3cret-token")],
        &[("Authorization", "s3cret-token")],
    ] {
        let answer = publish(&plasma, headers, event("a", "1"));
        assert_eq!((answer.status(), answer.header("www-authenticate")), (401, Some("Bearer")), "{headers:?}");
    }
    for scheme in ["Bearer", "bearer"] {
        let answer = publish(&plasma, &[("Authorization", &format!("{scheme} s3cret-token"))], event("a", "1"));
        assert_eq!(answer.status(), 202, "{scheme}");
    }
    assert!(!plasma.stderr.all().join("\n").contains("s3cret-token"), "the token is in the log");
}

#[test]
fn an_event_at_the_limit_passes_and_one_over_it_does_not() {
    let stage = Stage::memory_with(&[("PLASMA_EVENT_MAX_BYTES", "10000")]);
    let mut stream = stage.subscribe("eventType=a");
    let of_len = |len: usize| event("a", &format!("\"{}\"", "x".repeat(len - event("a", "\"\"").len())));
    assert_eq!(of_len(500).len(), 500);
    // The limit may count what was sent or what is stored; a quarter more than the limit is over both ways.
    assert_eq!(publish(&stage.plasma, &[], of_len(9_000)).status(), 202);
    let over = publish(&stage.plasma, &[], of_len(12_500));
    assert_eq!(over.status(), 413, "{over:?}");
    let mixed = publish(&stage.plasma, &[], format!("[{},{}]", event("a", "\"none of it\""), of_len(12_500)));
    assert_eq!(mixed.status(), 413);
    stage.say("a", "\"end\"");
    assert_eq!(stream.next_event().data().len(), 9_000);
    assert_eq!(stream.next_event().payload(), "end");
}

#[test]
fn a_request_over_the_limit_is_refused_and_none_of_it_taken() {
    let stage = Stage::memory_with(&[("PLASMA_PUBLISH_MAX_BYTES", "100000"), ("PLASMA_EVENT_MAX_BYTES", "50000")]);
    let mut stream = stage.subscribe("eventType=a");
    let some = vec![event("a", &format!("\"{}\"", "x".repeat(1_000))); 150].join("\n");
    let answer = publish(&stage.plasma, &[("Content-Type", "application/x-ndjson")], some);
    assert_eq!(answer.status(), 413);
    stage.say("a", "\"end\"");
    assert_eq!(stream.next_event().payload(), "end");
}

#[test]
fn a_large_event_arrives_whole() {
    Stage::each(|stage| {
        let mut stream = stage.subscribe("eventType=a");
        let data = format!("\"{}\"", "0123456789".repeat(100_000));
        stage.say("a", &data);
        assert_eq!(stream.next_event().data(), event("a", &data));
        stage.say("a", "1");
        assert_eq!(stream.next_event().payload(), 1);
    });
}

#[test]
fn only_post_is_allowed() {
    let stage = Stage::memory();
    for method in ["GET", "HEAD", "PUT", "DELETE"] {
        let answer = request(stage.plasma.http(), method, "/events", &[]);
        assert_eq!(answer.status(), 405, "{method}");
        assert!(answer.header("allow").is_some_and(|allow| allow.contains("POST")), "{answer:?}");
    }
}

#[test]
fn types_and_topics_have_a_longest() {
    let stage = Stage::memory();
    let longest = "t".repeat(512);
    let mut stream = stage.subscribe(&format!("eventType={longest}"));
    stage.say(&longest, "1");
    assert_eq!(stream.next_event().payload(), 1);
    let answer = publish(&stage.plasma, &[], event(&format!("{longest}t"), "1"));
    assert_eq!(answer.status(), 400, "{answer:?}");
    let answer = stage.ask(&format!("/?eventType={longest}t"));
    assert_eq!(answer.status(), 400);
    assert!(answer.text().contains("512"), "the limit is named: {:?}", answer.text());
    let most = vec!["t"; 1_024].join(",");
    stage.subscribe(&format!("eventType={most}"));
    let distinct = |count: usize| (0..count).map(|number| format!("{number:x}")).collect::<Vec<_>>().join(",");
    let answer = stage.ask(&format!("/?eventType={}", distinct(1_025)));
    assert_eq!(answer.status(), 400);
    assert!(answer.text().contains("1024") || answer.text().contains("1,024"), "{:?}", answer.text());
    let mut stream = stage.subscribe(&format!("eventType={}", distinct(1_024)));
    stage.say("3ff", "2");
    assert_eq!(stream.next_event().payload(), 2);
}

#[test]
fn every_shard_gets_what_any_shard_was_given() {
    let stage = Stage::memory_with(&[("PLASMA_SHARDS", "4")]);
    assert_eq!(stage.plasma.listening["shards"], 4);
    // So many that the kernel leaves no shard out.
    let mut streams: Vec<_> = (0..64).map(|_| stage.subscribe("eventType=a")).collect();
    for number in 0..64 {
        stage.say("a", &number.to_string());
    }
    let first: Vec<_> = streams[0].events(64).iter().map(|event| (event.id_number(), event.payload())).collect();
    assert!(first.iter().enumerate().all(|(number, (_, payload))| *payload == number));
    for stream in &mut streams[1..] {
        let seen: Vec<_> = stream.events(64).iter().map(|event| (event.id_number(), event.payload())).collect();
        assert_eq!(seen, first, "all see the same order under the same ids");
    }
}
