//! Cases 42 and 60 to 68 of the compatibility checklist: Redis as it should be, missing, locked, silent.

mod support;

use std::time::{Duration, Instant};

use support::fake_redis::{Answer, FakeRedis};
use support::http::get;
use support::lines::says;
use support::plasma::Plasma;
use support::redis::Redis;
use support::sse::Stream;
use support::stage::{CHANNEL, Stage, event, expect_data, with_redis};
use support::wait::{Deadline, until};

/// Where nobody listens.
const NOWHERE: &str = "127.0.0.1:1";

/// The variable that says what comes after too many failures.
const BEHAVIOR: &str = "PLASMA_SUBSCRIBER_REDIS_OVER_MAX_RETRY_BEHAVIOR";

/// How many failed attempts to connect count as spinning is seen by.
const ATTEMPTS: usize = 10;

fn health(plasma: &Plasma) -> u16 {
    get(plasma.http(), "/hc").status()
}

fn wait_health(plasma: &Plasma, status: u16) {
    until(&format!("/hc to say {status}"), Deadline::patient(), || (health(plasma) == status).then_some(()));
}

#[test]
fn case_42_health_is_that_of_the_link() {
    let Some(mut stage) = Stage::redis() else { return };
    stage.wait_health(200, Deadline::patient());
    stage.broker().kill();
    stage.wait_health(500, Deadline::patient());
    assert_eq!(get(stage.plasma.http(), "/hc").text(), "");
    stage.broker().restart();
    stage.wait_health(200, Deadline::patient());
}

#[test]
fn case_60_one_subscribe_names_all_channels() {
    let fake = FakeRedis::start();
    let _plasma = with_redis(&fake.addr()).set("PLASMA_SUBSCRIBER_REDIS_CHANNELS", "p,q").start();
    assert_eq!(fake.wait_for("SUBSCRIBE", 1).words, ["SUBSCRIBE", "p", "q"]);
}

#[test]
fn case_60_events_come_from_every_channel() {
    let Some(redis) = Redis::start() else { return };
    let plasma = with_redis(&redis.addr()).set("PLASMA_SUBSCRIBER_REDIS_CHANNELS", "p,q").start();
    redis.wait_subscribers("q", 1);
    wait_health(&plasma, 200);
    let mut stream = Stream::open(plasma.http(), "/?eventType=a");
    redis.publish("p", event("a", "1"));
    redis.publish("q", event("a", "2"));
    assert_eq!([stream.next_event().payload(), stream.next_event().payload()], [1, 2]);
}

#[test]
fn case_61_a_restarted_redis_is_subscribed_again() {
    let Some(mut stage) = Stage::redis() else { return };
    let mut stream = stage.subscribe("eventType=a");
    stage.say("a", "1");
    stream.next_event();
    stage.broker().restart();
    stage.broker().wait_subscribers(CHANNEL, 1);
    stage.say("a", "2");
    assert_eq!(stream.next_gap().reason, "upstream");
    assert_eq!(stream.next_event().payload(), 2);
}

#[test]
fn case_62_die_ends_the_process_after_so_many_failures() {
    let setup = with_redis(NOWHERE).set(BEHAVIOR, "die").set("PLASMA_SUBSCRIBER_REDIS_RETRY_INTERVAL", "100ms");
    let begun = Instant::now();
    let ended = setup.set("PLASMA_SUBSCRIBER_REDIS_MAXRETRY", "3").run();
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let last = ended.stderr.lines().find(|line| says(line, "over max retry count")).expect("the fatal line");
    let last = support::lines::json(last);
    assert_eq!(last["level"], "fatal");
    assert!(last["error"].is_string(), "{last}");
    assert_eq!(last["config"]["Addr"], NOWHERE);
}

#[test]
fn case_63_behaviour_unset_stays_up_but_is_not_healthy() {
    for unset in [None, Some("")] {
        let setup = Plasma::setup().set_all(&[
            ("PLASMA_SUBSCRIBER_TYPE", "redis"),
            ("PLASMA_SUBSCRIBER_REDIS_ADDR", NOWHERE),
            ("PLASMA_SUBSCRIBER_REDIS_CHANNELS", CHANNEL),
            ("PLASMA_SUBSCRIBER_REDIS_MAXRETRY", "2"),
            ("PLASMA_SUBSCRIBER_REDIS_RETRY_INTERVAL", "50ms"),
        ]);
        let setup = unset.map_or_else(|| setup.clone(), |value| setup.clone().set(BEHAVIOR, value));
        let mut plasma = setup.start();
        let warned = |line: &str| support::lines::json(line)["level"] == "warn" && line.contains(BEHAVIOR);
        plasma.stderr.wait_for("a warning that names the variable", Deadline::patient(), warned);
        let over = |line: &str| says(line, "reset error count and retry");
        plasma.stderr.wait_for_nth("the retries to begin anew", 2, Deadline::patient(), over);
        assert!(plasma.is_running());
        assert_eq!(health(&plasma), 500);
    }
}

#[test]
fn case_64_an_unknown_behaviour_ends_before_listening() {
    let ended = with_redis(NOWHERE).set(BEHAVIOR, "foo").run();
    assert_eq!(ended.code, 2);
    for part in [BEHAVIOR, "foo", "alive", "die"] {
        assert!(ended.stderr.contains(part), "{part} in {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("listening"), "{}", ended.stderr);
}

#[test]
fn case_65_an_idle_redis_is_no_failure() {
    let fake = FakeRedis::start();
    let setup = with_redis(&fake.addr()).set(BEHAVIOR, "die").set("PLASMA_SUBSCRIBER_REDIS_TIMEOUT", "50ms");
    let mut plasma = setup.set("PLASMA_SUBSCRIBER_REDIS_MAXRETRY", "1").start();
    // Each is one time-out that the first Plasma would have died of.
    fake.wait_for("PING", 20);
    assert!(plasma.is_running());
    let subscribed = fake.asked().iter().filter(|asked| asked.name() == "SUBSCRIBE").count();
    assert_eq!(subscribed, 1, "one link all the time");
    assert_eq!(health(&plasma), 200);
}

#[test]
fn case_66_an_event_after_a_long_silence_comes_at_once() {
    let fake = FakeRedis::start();
    let plasma = with_redis(&fake.addr()).set("PLASMA_SUBSCRIBER_REDIS_TIMEOUT", "100ms").start();
    wait_health(&plasma, 200);
    let mut stream = Stream::open(plasma.http(), "/?eventType=a");
    // One of a few must be quick: the machine may be busy, the server may not be deaf.
    let quickest = (1..=4).map(|round| {
        fake.wait_for("PING", 3 * round);
        let published = Instant::now();
        fake.publish(CHANNEL, &event("a", "1"));
        stream.next_event();
        published.elapsed()
    });
    let quickest = quickest.min().expect("some were tried");
    assert!(quickest < Duration::from_millis(50), "{quickest:?}");
}

#[test]
fn case_67_a_wrong_password_is_tried_slowly_and_never_logged() {
    const SECRET: &str = "hunter2-wrong";
    let fake = FakeRedis::start_with(|asked| match asked.name().as_str() {
        "AUTH" => Answer::Bytes(b"-WRONGPASS invalid username-password pair or user is disabled.\r\n".to_vec()),
        _ => Answer::Bytes(b"-NOAUTH Authentication required.\r\n".to_vec()),
    });
    let setup = with_redis(&fake.addr()).set("PLASMA_SUBSCRIBER_REDIS_RETRY_INTERVAL", "5s");
    let plasma = setup.set("PLASMA_SUBSCRIBER_REDIS_PASSWORD", SECRET).start();
    let opened = fake.wait_opened(ATTEMPTS);
    let spread = opened[ATTEMPTS - 1] - opened[0];
    assert!(spread > Duration::from_millis(700), "{ATTEMPTS} attempts within {spread:?}");
    assert_eq!(health(&plasma), 500);
    for connection in 0..ATTEMPTS {
        let first = fake.asked().into_iter().find(|asked| asked.connection == connection);
        assert!(first.is_none_or(|asked| asked.name() == "AUTH"), "nothing goes out before the login");
    }
    let logged = plasma.stderr.all().join("\n");
    assert!(!logged.contains(SECRET), "{logged}");
    assert!(logged.contains("WRONGPASS"), "the log says why: {logged}");
}

#[test]
fn case_67_a_real_redis_with_another_password() {
    let Some(redis) = Redis::start_with_password("right") else { return };
    for password in ["wrong", ""] {
        let plasma = with_redis(&redis.addr()).set("PLASMA_SUBSCRIBER_REDIS_PASSWORD", password).start();
        wait_health(&plasma, 500);
        let failed = |line: &str| line.contains("WRONGPASS") || line.contains("NOAUTH");
        plasma.stderr.wait_for("why the login failed", Deadline::patient(), failed);
        assert_eq!(health(&plasma), 500);
    }
    let plasma = with_redis(&redis.addr()).set("PLASMA_SUBSCRIBER_REDIS_PASSWORD", "right").start();
    wait_health(&plasma, 200);
    redis.wait_subscribers(CHANNEL, 1);
    wait_health(&plasma, 200);
    let mut stream = Stream::open(plasma.http(), "/?eventType=a");
    redis.publish(CHANNEL, event("a", "1"));
    expect_data(&mut stream, &event("a", "1"));
    assert!(!plasma.stderr.all().join("\n").contains("\"right\""), "the password is in the log");
}

/// What was asked before and with the subscription, on the connection that subscribed.
fn greeting(settings: &[(&str, &str)]) -> Vec<Vec<String>> {
    let fake = FakeRedis::start();
    let _plasma = with_redis(&fake.addr()).set_all(settings).start();
    let last = fake.wait_for("SUBSCRIBE", 1);
    let mine = fake.asked().into_iter().filter(|asked| asked.connection == last.connection);
    // Naming the connection is a courtesy that may stand anywhere.
    mine.map(|asked| asked.words).filter(|words| words[0] != "CLIENT").collect()
}

#[test]
fn case_68_password_then_database_then_channels() {
    let password = ("PLASMA_SUBSCRIBER_REDIS_PASSWORD", "secret");
    let database = ("PLASMA_SUBSCRIBER_REDIS_DB", "3");
    let user = ("PLASMA_SUBSCRIBER_REDIS_USERNAME", "bob");
    let subscribe = ["SUBSCRIBE", CHANNEL].as_slice();
    assert_eq!(greeting(&[]), [subscribe]);
    assert_eq!(greeting(&[password, database]), [&["AUTH", "secret"], &["SELECT", "3"], subscribe]);
    assert_eq!(greeting(&[("PLASMA_SUBSCRIBER_REDIS_DB", "0"), password]), [&["AUTH", "secret"], subscribe]);
    assert_eq!(greeting(&[user, password]), [&["AUTH", "bob", "secret"], subscribe]);
}

#[test]
fn case_68_every_reconnect_greets_anew() {
    let fake = FakeRedis::start();
    let settings = [("PLASMA_SUBSCRIBER_REDIS_PASSWORD", "secret"), ("PLASMA_SUBSCRIBER_REDIS_DB", "2")];
    let _plasma = with_redis(&fake.addr()).set_all(&settings).start();
    fake.wait_for("SUBSCRIBE", 1);
    fake.hang_up();
    let second = fake.wait_for("SUBSCRIBE", 2);
    let mine = fake.asked().into_iter().filter(|asked| asked.connection == second.connection);
    let names: Vec<_> = mine.map(|asked| asked.name()).filter(|name| name != "CLIENT").collect();
    assert_eq!(names, ["AUTH", "SELECT", "SUBSCRIBE"]);
}

#[test]
fn case_68_an_acl_user_logs_in() {
    let user = ["--user", "bob", "on", ">secret", "~*", "&*", "+@all", "--user", "default", "off"];
    let Some(redis) = Redis::start_with(&user, &["AUTH", "bob", "secret"]) else { return };
    let settings = [("PLASMA_SUBSCRIBER_REDIS_USERNAME", "bob"), ("PLASMA_SUBSCRIBER_REDIS_PASSWORD", "secret")];
    let stage = Stage::over(redis, &settings);
    let mut stream = stage.subscribe("eventType=a");
    stage.say("a", "1");
    stream.next_event();
    assert_eq!(stage.post(event("a", "2")).json()["accepted"], 1);
    assert_eq!(stream.next_event().payload(), 2);
}
