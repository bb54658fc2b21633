//! The load generator against this server, in small: every scenario over every protocol, with nothing lost.
//!
//! It has protocol code of its own, so that a mistake in the server's cannot hide; what is judged is its books.

mod support;

use std::ffi::OsString;

use loadtest::command::{self, Outcome};
use loadtest::options::{self, Command};
use serde_json::Value;
use support::plasma::Plasma;
use support::stage::Stage;

fn plasma() -> Plasma {
    Plasma::setup().set("PLASMA_PUBLISH_OPEN", "true").start()
}

/// Runs a command line; `{http}`, `{grpc}` and `{pid}` are the server's.
fn load(plasma: &Plasma, line: &str) -> Outcome {
    let line = line
        .replace("{http}", &plasma.http().to_string())
        .replace("{grpc}", &plasma.grpc().to_string())
        .replace("{pid}", &plasma.pid().as_raw_nonzero().to_string());
    let words = line.split_whitespace().chain(["--quiet"]).map(OsString::from);
    match options::parse(words) {
        Ok(Command::Run(scenario, options)) => command::conduct(scenario, &options).expect("it runs to its end"),
        other => panic!("{line:?} is no command line: {other:?}"),
    }
}

/// The figures of a run that went well.
fn clean(plasma: &Plasma, line: &str) -> Value {
    let outcome = load(plasma, line);
    assert_eq!(outcome.faults, [""; 0], "{line}");
    outcome.reports.last().expect("there is a report").1.to_json()
}

/// Each event reached each subscriber.
fn assert_all_delivered(figures: &Value, subscribers: u64) {
    let events = &figures["events"];
    let published = events["published"].as_u64().expect("a count");
    assert!(published > 0);
    assert_eq!(events["delivered"], published * subscribers, "{events}");
}

#[test]
fn fanout_reaches_everybody_over_every_protocol() {
    let plasma = plasma();
    let run = "fanout -t http://{http} --rate 500 --warmup 0.2 -d 0.5 --pid {pid}";
    for how in ["", "-e raw", "-p sse2", "-p sse2 --streams 10", "-p grpc", "-p grpc --streams 50", "--threads 2"] {
        let figures = clean(&plasma, &format!("{run} -n 100 {how}"));
        assert_all_delivered(&figures, 100);
        assert!(figures["latency"]["p99"].as_f64().expect("a latency") > 0.0);
    }
}

#[test]
fn fanout_at_full_speed_loses_nothing() {
    let plasma = plasma();
    for how in ["--batch 1", "--batch 64 --publishers 3", "--publish grpc://{grpc} --batch 16"] {
        let figures = clean(&plasma, &format!("fanout -t http://{{http}} -n 20 --rate max --warmup 0 -d 0.3 {how}"));
        assert_all_delivered(&figures, 20);
    }
}

#[test]
fn many_topics_reach_their_own_subscribers_only() {
    let plasma = plasma();
    let figures = clean(&plasma, "fanout -t http://{http} -n 60 -k 30 --rate 600 --warmup 0 -d 0.5 --publishers 4");
    assert_all_delivered(&figures, 2);
}

#[test]
fn events_through_redis_reach_everybody() {
    let Some(stage) = Stage::redis() else { return };
    let redis = stage.redis.as_ref().expect("the stage has one").addr();
    for way in [format!("redis://{redis}/plasma"), "http://{http}/events".to_owned()] {
        let line = format!("fanout -t http://{{http}} --publish {way} -n 50 --rate max -d 0.3 --warmup 0");
        assert_all_delivered(&clean(&stage.plasma, &line), 50);
    }
}

#[test]
fn a_storm_is_survived_with_nothing_lost() {
    let plasma = plasma();
    for how in ["", "-e raw", "-p sse2 --streams 10", "-p grpc --streams 10", "--share 30"] {
        let line = format!("storm -t http://{{http}} -n 200 --rate 200 --warmup 0.2 -d 0.2 {how}");
        let figures = clean(&plasma, &line);
        assert_all_delivered(&figures, 200);
        assert!(figures["storm"]["recovered_seconds"].as_f64().expect("a time") > 0.0);
    }
}

#[test]
fn slow_subscribers_cost_the_others_nothing() {
    let plasma = plasma();
    for how in ["", "-e raw", "--trickle 1000", "-p sse2", "-p grpc"] {
        let line = format!("slow -t http://{{http}} -n 50 --rate 300 --warmup 0.2 -d 0.5 {how}");
        assert_all_delivered(&clean(&plasma, &line), 50);
    }
}

#[test]
fn coming_and_going_loses_nothing() {
    let plasma = plasma();
    for how in ["", "-e raw", "-p grpc", "-p sse2"] {
        let line = format!("churn -t http://{{http}} -n 100 --rate 300 --churn 200 --warmup 0.2 -d 1 {how}");
        let figures = clean(&plasma, &line);
        assert!(figures["churn"]["left"].as_u64().expect("a count") > 50);
    }
}

#[test]
fn idle_subscribers_are_all_alive_and_resume() {
    let plasma = plasma();
    for how in ["-e raw -n 500", "-n 200", "-p grpc --streams 10 -n 200", "-e raw -n 200 -k 20"] {
        let figures = clean(
            &plasma,
            &format!("hold -t http://{{http}} --publish http://{{http}}/events --storm 100 --pid {{pid}} {how}"),
        );
        assert_eq!(figures["connect"]["alive"], figures["connect"]["opened"]);
        assert_eq!(figures["broadcast"]["reached"], figures["connect"]["opened"]);
        assert_eq!(figures["second"]["reached"], figures["connect"]["opened"]);
        assert!(figures["process"]["rss"].as_u64().expect("bytes") > 0);
    }
}
