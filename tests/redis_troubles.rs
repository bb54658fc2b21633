//! Redis killed, restarted, halted, talking nonsense: subscribers stay, are told of the hole, and get what follows.

mod support;

use std::time::Duration;

use support::fake_redis::{Answer, FakeRedis};
use support::http::{get, post};
use support::lines::json;
use support::plasma::Plasma;
use support::redis::Redis;
use support::resp::message;
use support::sse::{Frame, Stream};
use support::stage::{CHANNEL, Stage, event, with_redis};
use support::wait::{Deadline, until};

/// The settings under which a silent Redis is noticed soon: asked after 300 ms, given up a second later.
const WATCHFUL: &[(&str, &str)] = &[("PLASMA_SUBSCRIBER_REDIS_TIMEOUT", "300ms"), ("PLASMA_SSE_HEARTBEAT", "1s")];

/// How long a Redis is halted.
const HALT: Duration = Duration::from_secs(10);

/// The next event, past any gap notice.
fn event_past_gaps(stream: &mut Stream) -> Frame {
    loop {
        let frame = stream.next_word();
        if !frame.is_gap() {
            return frame;
        }
    }
}

#[test]
fn a_killed_link_is_a_gap_from_the_last_event_on() {
    let Some(stage) = Stage::redis() else { return };
    let redis = stage.redis.as_ref().expect("a stage with Redis");
    let mut stream = stage.subscribe("eventType=a");
    let mut other = stage.subscribe("eventType=b");
    stage.say("a", "1");
    let before = stream.next_event();
    redis.kill_subscribers();
    redis.wait_subscribers(CHANNEL, 1);
    let gap = stream.next_gap();
    assert_eq!((gap.from, gap.to, gap.reason.as_str()), (before.id.clone(), None, "upstream"));
    assert_eq!(other.next_gap().reason, "upstream");
    stage.say("a", "2");
    let after = stream.next_event();
    assert!(after.id_number() > before.id_number());

    // The notice has its place in the history, word for word: nobody knew then what would follow.
    let resumed = stage.subscribe_with("eventType=a", &[("Last-Event-ID", before.id.as_deref().expect("an id"))]);
    let mut stream = resumed;
    let gap = stream.next_gap();
    assert_eq!((gap.from, gap.to, gap.reason.as_str()), (before.id, None, "upstream"));
    assert_eq!(stream.next_event(), after);
}

#[test]
fn who_subscribes_after_the_hole_hears_nothing_of_it() {
    // With one shard the hole is behind everybody as soon as the witness has heard of it.
    let Some(stage) = Stage::redis_with(&[("PLASMA_SHARDS", "1")]) else { return };
    let redis = stage.redis.as_ref().expect("a stage with Redis");
    let mut witness = stage.subscribe("eventType=a");
    redis.kill_subscribers();
    assert_eq!(witness.next_gap().reason, "upstream");
    redis.wait_subscribers(CHANNEL, 1);
    stage.wait_health(200, Deadline::patient());
    let mut stream = stage.subscribe("eventType=a");
    stage.say("a", "1");
    assert_eq!(stream.next_event().payload(), 1);
}

#[test]
fn a_killed_redis_keeps_its_subscribers_waiting() {
    let Some(mut stage) = Stage::redis() else { return };
    let mut stream = stage.subscribe("eventType=a");
    stage.broker().kill();
    stage.wait_health(500, Deadline::after(Duration::from_secs(5)));
    let refused = post(stage.plasma.http(), "/events", &[], event("a", "1"));
    assert_eq!(refused.status(), 502, "{refused:?}");
    let mut late = stage.subscribe("eventType=a");
    stage.broker().restart();
    stage.wait_health(200, Deadline::patient());
    stage.wait_publishing();
    stage.say("a", "2");
    assert_eq!(stream.next_gap().reason, "upstream");
    assert_eq!(stream.next_event().payload(), 2);
    assert_eq!(event_past_gaps(&mut late).payload(), 2);
    assert_eq!(stage.post(event("a", "3")).json()["accepted"], 1);
    assert_eq!(stream.next_event().payload(), 3);
}

#[test]
fn a_halted_redis_is_noticed_and_outlasted() {
    let Some(stage) = Stage::redis_with(WATCHFUL) else { return };
    let mut stream = stage.subscribe("eventType=a");
    stage.say("a", "1");
    stream.next_event();
    let redis = stage.redis.as_ref().expect("a stage with Redis");
    redis.stop();
    let halted = Deadline::after(HALT);
    stage.wait_health(500, Deadline::after(Duration::from_secs(5)));
    let refused = post(stage.plasma.http(), "/events", &[], event("a", "2"));
    assert_eq!(refused.status(), 502, "{refused:?}");
    // Nothing but heartbeats until the halt is over.
    while let Some(open) = stream.connection.try_receive(halted) {
        assert!(open, "the stream was ended");
    }
    while let Some(raw) = stream.connection.take_block(b"\n\n") {
        assert_eq!(raw, support::sse::HEARTBEAT.as_bytes());
    }
    assert_eq!(stage.health(), 500);
    redis.cont();
    stage.wait_health(200, Deadline::patient());
    assert_eq!(stream.next_gap().reason, "upstream");
    stage.say("a", "3");
    let next = stream.next_event();
    // What was given to the halted Redis may have been published after all, once.
    let after = if next.payload() == 2 { stream.next_event() } else { next };
    assert_eq!(after.payload(), 3);
}

/// Sends bytes that are no RESP, or none that a subscriber may be sent, and sees the link made anew.
fn recovers_from(bytes: &[u8]) {
    let fake = FakeRedis::start();
    let plasma = with_redis(&fake.addr()).start();
    fake.wait_for("SUBSCRIBE", 1);
    // A stream that begins before the answer is heard gets a notice: nobody knows what was said until then.
    until("/hc to say 200", Deadline::patient(), || (get(plasma.http(), "/hc").status() == 200).then_some(()));
    let mut stream = Stream::open(plasma.http(), "/?eventType=a");
    fake.publish(CHANNEL, &event("a", "1"));
    assert_eq!(stream.next_event().payload(), 1, "before");
    fake.push(bytes);
    fake.wait_for("SUBSCRIBE", 2);
    assert_eq!(stream.next_gap().reason, "upstream");
    fake.publish(CHANNEL, &event("a", "2"));
    assert_eq!(stream.next_event().payload(), 2, "after");
    until("/hc to say 200", Deadline::patient(), || (get(plasma.http(), "/hc").status() == 200).then_some(()));
}

#[test]
fn nonsense_from_redis_ends_the_link_and_nothing_else() {
    recovers_from(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    recovers_from(b"*3\r\n$7\r\nmessage\r\n$-7\r\n");
    recovers_from(b"$abc\r\n");
    recovers_from(b"\x00\x01\x02\xff\xfe\r\n\r\n");
}

#[test]
fn a_reply_that_claims_to_be_huge_is_not_believed() {
    recovers_from(b"*2147483647\r\n");
    recovers_from(b"$9223372036854775807\r\n");
    recovers_from(&b"*1\r\n".repeat(10_000));
}

#[test]
fn a_reply_that_answers_nothing_ends_the_link() {
    recovers_from(b"*3\r\n$9\r\nsubscribe\r\n$6\r\nplasma\r\n:1\r\n");
    recovers_from(b":5\r\n");
}

#[test]
fn nonsense_instead_of_a_greeting_is_retried() {
    let fake = FakeRedis::start_with(|asked| match asked.connection {
        0 => Answer::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        1 => Answer::Close,
        2 => Answer::Bytes(b"-LOADING Redis is loading the dataset in memory\r\n".to_vec()),
        _ => Answer::Usual,
    });
    let plasma = with_redis(&fake.addr()).start();
    fake.wait_opened(4);
    let healthy = || (get(plasma.http(), "/hc").status() == 200).then_some(());
    until("/hc to say 200", Deadline::patient(), healthy);
    let mut stream = Stream::open(plasma.http(), "/?eventType=a");
    fake.publish(CHANNEL, &event("a", "1"));
    assert_eq!(event_past_gaps(&mut stream).payload(), 1);
}

#[test]
fn a_redis_that_accepts_and_says_nothing_is_given_up() {
    let fake = FakeRedis::start_with(|asked| match asked.connection {
        0 => Answer::Silence,
        _ => Answer::Usual,
    });
    let plasma = with_redis(&fake.addr()).set_all(WATCHFUL).start();
    fake.wait_opened(2);
    let healthy = || (get(plasma.http(), "/hc").status() == 200).then_some(());
    until("/hc to say 200", Deadline::patient(), healthy);
}

#[test]
fn messages_may_come_in_any_pieces() {
    let fake = FakeRedis::start();
    let plasma = with_redis(&fake.addr()).start();
    fake.wait_for("SUBSCRIBE", 1);
    until("/hc to say 200", Deadline::patient(), || (get(plasma.http(), "/hc").status() == 200).then_some(()));
    let mut stream = Stream::open(plasma.http(), "/?eventType=a");
    let bytes: Vec<u8> = (0..3).flat_map(|n| message(CHANNEL, event("a", &n.to_string()).as_bytes())).collect();
    for byte in &bytes {
        fake.push(std::slice::from_ref(byte));
    }
    fake.push(&bytes);
    let seen: Vec<_> = stream.events(6).iter().map(|event| event.payload().as_i64()).collect();
    assert_eq!(seen, [0, 1, 2, 0, 1, 2].map(Some));
}

#[test]
fn what_is_no_message_is_ignored() {
    let fake = FakeRedis::start();
    let plasma = with_redis(&fake.addr()).start();
    fake.wait_for("SUBSCRIBE", 1);
    until("/hc to say 200", Deadline::patient(), || (get(plasma.http(), "/hc").status() == 200).then_some(()));
    let mut stream = Stream::open(plasma.http(), "/?eventType=a");
    fake.push(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    // A Redis that loads or is busy declines a PING, and the subscription stands.
    fake.push(b"-LOADING Redis is loading the dataset in memory\r\n");
    fake.publish(CHANNEL, &event("a", "1"));
    assert_eq!(stream.next_event().payload(), 1);
}

#[test]
fn an_event_over_the_limit_is_logged_and_the_stream_goes_on() {
    let Some(stage) = Stage::redis_with(&[("PLASMA_EVENT_MAX_BYTES", "65536")]) else { return };
    let mut stream = stage.subscribe("eventType=a");
    for len in [100_000, 5_000_000] {
        stage.say("a", &format!("\"{}\"", "x".repeat(len)));
        stage.say("a", "1");
        assert_eq!(event_past_gaps(&mut stream).payload(), 1, "after {len} bytes");
    }
    let names = |line: &str| json(line)["channel"] == CHANNEL && !line.contains("xxxxxxxx");
    stage.plasma.stderr.wait_for_nth("a line that names the channel", 2, Deadline::patient(), names);
}

#[test]
fn redis_may_come_later_than_plasma() {
    let Some(mut redis) = Redis::start() else { return };
    redis.kill();
    let plasma = with_redis(&redis.addr()).start();
    assert_eq!(get(plasma.http(), "/hc").status(), 500);
    let mut stream = Stream::open(plasma.http(), "/?eventType=a");
    redis.restart();
    redis.wait_subscribers(CHANNEL, 1);
    redis.publish(CHANNEL, event("a", "1"));
    assert_eq!(event_past_gaps(&mut stream).payload(), 1);
}

#[test]
fn redis_may_be_named() {
    let Some(redis) = Redis::start() else { return };
    let plasma = with_redis(&format!("localhost:{}", redis.address().port())).start();
    redis.wait_subscribers(CHANNEL, 1);
    let healthy = || (get(plasma.http(), "/hc").status() == 200).then_some(());
    until("/hc to say 200", Deadline::patient(), healthy);
}

#[test]
fn two_nodes_on_one_redis_see_the_same_events() {
    let Some(stage) = Stage::redis() else { return };
    let redis = stage.redis.as_ref().expect("a stage with Redis");
    let second: Plasma = with_redis(&redis.addr()).start();
    redis.wait_subscribers(CHANNEL, 2);
    let mut here = stage.subscribe("eventType=a");
    let mut there = Stream::open(second.http(), "/?eventType=a");
    let events: Vec<String> = (0..100).map(|number| event("a", &number.to_string())).collect();
    let answer = stage.post(format!("[{}]", events.join(",")));
    assert_eq!(answer.json(), serde_json::json!({"accepted": 100}));
    for stream in [&mut here, &mut there] {
        for number in 0..100 {
            assert_eq!(stream.next_event().payload(), number);
        }
    }
}

#[test]
fn a_publish_without_redis_is_a_bad_gateway() {
    let plasma = with_redis("127.0.0.1:1").start();
    let answer = post(plasma.http(), "/events", &[], event("a", "1"));
    assert_eq!(answer.status(), 502, "{answer:?}");
}

#[test]
fn a_refused_publish_is_a_bad_gateway() {
    let fake = FakeRedis::start_with(|asked| match asked.name().as_str() {
        "PUBLISH" => Answer::Bytes(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n".to_vec()),
        _ => Answer::Usual,
    });
    let plasma = with_redis(&fake.addr()).start();
    fake.wait_for("SUBSCRIBE", 1);
    let answer = post(plasma.http(), "/events", &[], event("a", "1"));
    assert_eq!(answer.status(), 502, "{answer:?}");
}

#[test]
fn what_is_published_goes_to_redis_in_order_and_in_plain_form() {
    let fake = FakeRedis::start();
    let plasma = with_redis(&fake.addr()).start();
    fake.wait_for("SUBSCRIBE", 1);
    let body = "{\"meta\": {\"type\": \"a\"}, \"data\": \"<\"}\n{\"META\":{\"type\":\"b\"},\"data\":[ 1 ]}\n";
    let answer = post(plasma.http(), "/events", &[("Content-Type", "application/x-ndjson")], body);
    assert_eq!((answer.status(), answer.json()), (202, serde_json::json!({"accepted": 2})));
    fake.wait_for("PUBLISH", 2);
    let published = fake.asked().into_iter().filter(|asked| asked.name() == "PUBLISH");
    let payloads: Vec<_> = published.map(|asked| asked.words[2].clone()).collect();
    let plain = [r#"{"meta":{"type":"a"},"data":"\u003c"}"#, r#"{"meta":{"type":"b"},"data":[1]}"#];
    assert_eq!(payloads, plain);
}
