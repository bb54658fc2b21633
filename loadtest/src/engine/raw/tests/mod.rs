//! The engine against a server of a few lines, in both manners of reading.

mod server;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use self::server::{ANSWER, Server};
use super::super::{Close, Crowd, Kind, Order, Plan, Protocol, Reading};
use crate::board::Board;
use crate::books::{Findings, Run};
use crate::stamp::Stamp;

/// Longest time for anything to happen: a test that gets there has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A crowd, its server, and what is published there.
struct Scene {
    server: Server,
    run: Run,
    crowd: Crowd,
}

fn plan(server: &Server, armed: bool) -> Plan {
    Plan {
        protocol: Protocol::Sse,
        streams: 1,
        destinations: vec![server.address],
        authority: server.address.to_string(),
        path: "/sse?topic={topic}".to_owned(),
        topic_prefix: "load".to_owned(),
        headers: vec![("X-Test".to_owned(), "yes".to_owned())],
        pace: 64,
        answer_for_max: PATIENCE,
        armed,
        bare: false,
    }
}

impl Scene {
    /// So many subscribers on so many topics of a server that answers with these pieces.
    fn new(armed: bool, answer: &[&[u8]], subscribers: u32, topics: u32) -> Self {
        let server = Server::start(answer);
        let plan = plan(&server, armed);
        Self::with_plan(server, &plan, subscribers, topics)
    }

    fn with_plan(server: Server, plan: &Plan, subscribers: u32, topics: u32) -> Self {
        let board = Arc::new(Board::new(1, topics));
        let run = Run { tag: 7, began: Instant::now(), board, unrecorded: 0..0 };
        let crowd = Crowd::start(Kind::Raw, plan, &run, subscribers, 1).expect("a crowd");
        if !plan.armed {
            crowd.order(&Order::Sweep(Duration::ZERO));
        }
        Self { server, run, crowd }
    }

    /// Waits until it is so.
    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            self.crowd.check().expect("the engine works");
            assert!(Instant::now() < deadline, "{what} did not come");
            thread::yield_now();
        }
    }

    fn open(&self, count: u32) {
        self.crowd.order(&Order::Open(0..u32::MAX));
        self.until("all open", |scene| scene.opened() == count);
    }

    fn opened(&self) -> u32 {
        self.crowd.counters.open.load(Ordering::Acquire)
    }

    fn failed(&self) -> u32 {
        self.crowd.counters.failed.load(Ordering::Acquire)
    }

    fn events(&self) -> u64 {
        self.crowd.counters.events.load(Ordering::Acquire)
    }

    /// The next event of a topic, as the server is to write it.
    fn event(&self, topic: u32) -> Vec<u8> {
        let number = self.run.board.begin(topic);
        let mut event = format!("id: {}\ndata: ", number + 1).into_bytes();
        Stamp { stream: topic, number, due_at: 0 }.write(self.run.tag, 150, &mut event);
        event.extend_from_slice(b"\n\n");
        event
    }

    fn publish(&self, topic: u32) {
        let event = self.event(topic);
        self.server.write(&format!("load-{topic}"), &[&event]);
    }

    /// Closes all and says what they have heard.
    fn finish(self) -> Findings {
        self.crowd.finish(Close::Reset).expect("findings")
    }
}

fn in_both_manners(test: impl Fn(bool)) {
    test(true);
    test(false);
}

#[test]
fn everybody_gets_every_event_of_its_topic_once() {
    in_both_manners(|armed| {
        let scene = Scene::new(armed, &[ANSWER], 1000, 3);
        scene.open(1000);
        for _ in 0..5 {
            (0..3).for_each(|topic| scene.publish(topic));
        }
        scene.until("five events each", |scene| scene.events() == 5000);
        let findings = scene.finish();
        assert!(findings.totals.is_clean(), "{:?}", findings.totals);
        assert_eq!((findings.totals.delivered, findings.failure_count()), (5000, 0));
        assert_eq!((findings.latency[0].len(), findings.first_byte.len()), (5000, 1000));
    });
}

#[test]
fn events_are_heard_however_their_bytes_are_cut() {
    in_both_manners(|armed| {
        let answer: Vec<&[u8]> = ANSWER.chunks(1).collect();
        let scene = Scene::new(armed, &answer, 3, 1);
        scene.open(3);
        let (event, long) = (scene.event(0), [b": ".as_slice(), &[b'x'; 10_000], b"\n\n"].concat());
        scene.server.write("load-0", &event.chunks(1).collect::<Vec<_>>());
        scene.server.write("load-0", &[&long]);
        scene.publish(0);
        scene.until("both events", |scene| scene.events() == 6);
        assert!(scene.finish().totals.is_clean());
    });
}

#[test]
fn more_than_all_buffers_hold_is_heard_by_all() {
    in_both_manners(|armed| {
        let scene = Scene::new(armed, &[ANSWER], 40, 1);
        scene.open(40);
        let long = [b": ".as_slice(), &vec![b'x'; 1 << 20], b"\n"].concat();
        scene.server.write("load-0", &[&long]);
        scene.publish(0);
        scene.until("an event each", |scene| scene.events() == 40);
        assert!(scene.finish().totals.is_clean());
    });
}

#[test]
fn requests_say_what_the_plan_wants() {
    let scene = Scene::new(true, &[ANSWER], 1, 1);
    scene.open(1);
    let host = scene.server.address;
    let want =
        format!("GET /sse?topic=load-0 HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\nX-Test: yes\r\n\r\n");
    assert_eq!(scene.server.requests(), [want]);
    scene.finish();
}

#[test]
fn who_was_cut_resumes_and_who_left_does_not() {
    in_both_manners(|armed| {
        let scene = Scene::new(armed, &[ANSWER], 3, 1);
        scene.open(3);
        scene.publish(0);
        scene.until("an event each", |scene| scene.events() == 3);
        scene.crowd.order(&Order::Cut(0..1));
        scene.crowd.order(&Order::Leave(1..2));
        scene.crowd.order(&Order::Open(0..2));
        scene.until("both back", |scene| scene.opened() == 3 && scene.server.requests().len() == 5);
        let resumed = scene.server.requests().iter().filter(|head| head.contains("Last-Event-ID: 1\r\n")).count();
        assert_eq!(resumed, 1);
        scene.publish(0);
        scene.until("an event each", |scene| scene.events() == 6);
        let findings = scene.finish();
        assert!(findings.totals.is_clean(), "{:?}", findings.totals);
        assert_eq!(findings.failure_count(), 0);
    });
}

#[test]
fn whatever_is_ordered_in_quick_succession_the_last_word_counts() {
    in_both_manners(|armed| {
        let scene = Scene::new(armed, &[ANSWER], 301, 1);
        for round in 0..20 {
            scene.crowd.order(&Order::Open(0..300));
            scene.crowd.order(&Order::Cut(round..100 + round));
            scene.crowd.order(&Order::Leave(200 - round..300));
            scene.crowd.order(&Order::Read(0..100, Reading::Stopped));
            scene.crowd.order(&Order::Read(0..100, Reading::Full));
        }
        scene.crowd.order(&Order::Cut(0..300));
        // Only now is there one more to come: with that one, everything before was obeyed.
        scene.open(301);
        scene.publish(0);
        scene.until("an event each", |scene| scene.events() == 301);
        let findings = scene.finish();
        assert!(findings.totals.is_clean(), "{:?}", findings.totals);
        assert_eq!(findings.failure_count(), 0);
    });
}

#[test]
fn a_server_that_hangs_up_is_a_named_failure() {
    in_both_manners(|armed| {
        let scene = Scene::new(armed, &[ANSWER], 5, 1);
        scene.open(5);
        scene.server.hang_up();
        scene.until("failures", |scene| scene.failed() == 5);
        assert_eq!(scene.opened(), 0);
        assert_eq!(scene.finish().failures.get("ended by the server"), Some(&5));
    });
}

#[test]
fn a_refusal_is_a_named_failure() {
    let scene = Scene::new(true, &[b"HTTP/1.1 503 Service Unavailable\r\n\r\n"], 200, 1);
    scene.crowd.order(&Order::Open(0..200));
    scene.until("failures", |scene| scene.failed() == 200);
    assert_eq!(scene.finish().failures.get("answered 503 Service Unavailable"), Some(&200));
}

#[test]
fn no_answer_and_no_listener_are_named_failures() {
    let server = Server::start(&[]);
    let silent = Plan { answer_for_max: Duration::from_millis(150), ..plan(&server, true) };
    let scene = Scene::with_plan(server, &silent, 3, 1);
    scene.crowd.order(&Order::Open(0..3));
    scene.until("failures", |scene| scene.failed() == 3);
    assert_eq!(scene.finish().failures.get("no answer within 150ms"), Some(&3));

    let server = Server::start(&[]);
    // Port 1 of this machine has no listener that a test would know of.
    let nowhere = Plan { destinations: vec![([127, 0, 0, 1], 1).into()], ..plan(&server, true) };
    let scene = Scene::with_plan(server, &nowhere, 3, 1);
    scene.crowd.order(&Order::Open(0..3));
    scene.until("failures", |scene| scene.failed() == 3);
    let failures = scene.finish().failures;
    assert!(failures.keys().all(|reason| reason.starts_with("connect: ")), "{failures:?}");
}

#[test]
fn who_stopped_reading_hears_nothing_until_it_reads_again() {
    in_both_manners(|armed| {
        let scene = Scene::new(armed, &[ANSWER], 4, 2);
        scene.open(4);
        scene.crowd.order(&Order::Read(0..1, Reading::Stopped));
        // Orders are obeyed in turn: who comes back was cut after the other one had stopped.
        scene.crowd.order(&Order::Cut(3..4));
        scene.crowd.order(&Order::Open(3..4));
        scene.until("the last one back", |scene| scene.opened() == 4 && scene.server.requests().len() == 5);
        scene.publish(0);
        scene.publish(1);
        scene.until("an event for those who read", |scene| scene.events() == 3);
        // Another event for all, which three receive after the first one was there for the fourth.
        scene.publish(0);
        scene.publish(1);
        scene.until("two events for those who read", |scene| scene.events() == 6);
        scene.crowd.order(&Order::Read(0..1, Reading::Full));
        scene.until("two events for all", |scene| scene.events() == 8);
        assert!(scene.finish().totals.is_clean());
    });
}

#[test]
fn who_reads_slowly_hears_everything_in_the_end() {
    in_both_manners(|armed| {
        let scene = Scene::new(armed, &[ANSWER], 1, 1);
        scene.crowd.order(&Order::Read(0..1, Reading::Trickle(5000)));
        scene.open(1);
        (0..4).for_each(|_| scene.publish(0));
        scene.until("all events", |scene| scene.events() == 4);
        assert!(scene.finish().totals.is_clean());
    });
}

#[test]
fn bare_connections_ask_for_nothing() {
    let server = Server::start(&[ANSWER]);
    let bare = Plan { bare: true, ..plan(&server, true) };
    let scene = Scene::with_plan(server, &bare, 1, 1);
    scene.crowd.order(&Order::Open(0..1));
    scene.until("it open", |scene| scene.opened() == 1);
    assert_eq!(scene.server.requests(), [""; 0]);
    scene.finish();
}

#[test]
fn what_the_engine_cannot_do_is_refused() {
    let server = Server::start(&[ANSWER]);
    let good = plan(&server, true);
    let shared = Plan { streams: 2, ..good.clone() };
    for plan in [shared, Plan { protocol: Protocol::Sse2, ..good.clone() }, Plan { protocol: Protocol::Grpc, ..good }] {
        let board = Arc::new(Board::new(1, 1));
        let run = Run { tag: 7, began: Instant::now(), board, unrecorded: 0..0 };
        let crowd = Crowd::start(Kind::Raw, &plan, &run, 2, 1).expect("a crowd");
        let error = crowd.finish(Close::Reset).err().expect("a refusal");
        assert!(error.to_string().contains("HTTP/1.1 only"), "{error}");
    }
}
