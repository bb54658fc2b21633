//! The engine against servers that do as the test says. Nothing here depends on how long anything takes.

mod server;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use h2::Reason;

use self::server::{PATIENCE, Server, Visitor};
use crate::Failure;
use crate::board::Board;
use crate::books::{Books, Counters, Findings, Run};
use crate::engine::{Close, Order, Plan, Protocol, Reading};
use crate::stamp::Stamp;

const PROTOCOLS: [Protocol; 3] = [Protocol::Sse, Protocol::Sse2, Protocol::Grpc];

const TAG: u32 = 0xfeed;

/// An engine in a thread, and who gives it orders.
struct Play {
    orders: Sender<Order>,
    engine: JoinHandle<Result<Books, Failure>>,
    counters: Arc<Counters>,
    board: Arc<Board>,
}

fn plan(protocol: Protocol, server: &Server) -> Plan {
    Plan {
        protocol,
        streams: 1,
        destinations: vec![server.address],
        authority: server.address.to_string(),
        path: "/{topic}".to_owned(),
        topic_prefix: "load".to_owned(),
        headers: vec![("x-test".to_owned(), "yes".to_owned())],
        pace: 10,
        answer_for_max: PATIENCE,
        armed: true,
        bare: false,
    }
}

impl Play {
    fn begin(plan: Plan, subscribers: u32, topics: u32) -> Self {
        let board = Arc::new(Board::new(1, topics));
        let run = Run { tag: TAG, began: Instant::now(), board: Arc::clone(&board), unrecorded: 0..0 };
        let counters = Arc::<Counters>::default();
        // Numbers need not begin with 0, and orders may be of more than these.
        let books = Books::new(&run, 0..subscribers, Arc::clone(&counters));
        let (orders, taken) = mpsc::channel();
        let engine = thread::spawn(move || super::run(plan, taken, books));
        Self { orders, engine, counters, board }
    }

    fn order(&self, order: Order) {
        self.orders.send(order).expect("the engine runs");
    }

    /// Waits until so many subscriptions stand, so many have failed and so many events have come.
    fn until(&self, open: u32, failed: u32, events: u64) {
        let since = Instant::now();
        let now = || {
            let Counters { open, failed, events, .. } = &*self.counters;
            (open.load(Ordering::Acquire), failed.load(Ordering::Acquire), events.load(Ordering::Acquire))
        };
        while now() != (open, failed, events) {
            assert!(since.elapsed() < PATIENCE, "{:?} and not {:?}", now(), (open, failed, events));
            assert!(!self.engine.is_finished(), "the engine has ended");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// The next event of a topic's stream.
    fn stamp(&self, topic: u32) -> String {
        let mut stamp = Vec::new();
        let number = self.board.begin(topic);
        Stamp { stream: topic, number, due_at: 0 }.write(TAG, 0, &mut stamp);
        String::from_utf8(stamp).expect("a stamp is ASCII")
    }

    fn finish(self, close: Close) -> Findings {
        self.order(Order::Finish(close));
        let books = self.engine.join().expect("no panic").expect("no failure");
        books.close()
    }
}

/// Publishes to whoever asked for the topic.
fn publish(play: &Play, visitors: &mut [Visitor], topic: u32, id: u32) {
    let (name, stamp) = (format!("load-{topic}"), play.stamp(topic));
    for visitor in visitors.iter_mut().filter(|visitor| visitor.topic == name) {
        visitor.event(id, &stamp);
    }
}

fn welcomed(server: &Server, count: u32) -> Vec<Visitor> {
    let welcomed = |_| {
        let mut visitor = server.visitor();
        visitor.welcome();
        visitor
    };
    (0..count).map(welcomed).collect()
}

#[test]
fn every_event_comes_once_to_200_subscribers_of_3_topics() {
    for (protocol, streams) in
        [(Protocol::Sse, 1), (Protocol::Sse2, 1), (Protocol::Sse2, 8), (Protocol::Grpc, 1), (Protocol::Grpc, 16)]
    {
        let server = Server::start(protocol);
        let play = Play::begin(Plan { streams, ..plan(protocol, &server) }, 200, 3);
        play.order(Order::Open(0..u32::MAX));
        let mut visitors = welcomed(&server, 200);
        play.until(200, 0, 0);
        for id in 1..=30 {
            publish(&play, &mut visitors, id % 3, id);
        }
        play.until(200, 0, 2000);
        let connections = visitors.iter().map(|visitor| visitor.connection).max().map(|last| last + 1);
        assert_eq!(connections, Some(200_u32.div_ceil(streams)), "{protocol:?} over {streams}");
        assert!(visitors.iter().all(|visitor| visitor.request.contains("x-test") && visitor.last_id.is_none()));
        let findings = play.finish(Close::Reset);
        assert!(findings.totals.is_clean(), "{protocol:?}: {:?}", findings.totals);
        assert_eq!((findings.totals.delivered, findings.failure_count()), (2000, 0));
        assert_eq!((findings.first_byte.len(), findings.latency[0].len()), (200, 2000));
    }
}

#[test]
fn who_was_cut_resumes_from_its_last_id() {
    for protocol in PROTOCOLS {
        let server = Server::start(protocol);
        let play = Play::begin(plan(protocol, &server), 2, 2);
        play.order(Order::Open(0..2));
        let mut visitors = welcomed(&server, 2);
        play.until(2, 0, 0);
        publish(&play, &mut visitors, 0, 41);
        play.until(2, 0, 1);
        play.order(Order::Cut(0..2));
        play.until(0, 0, 1);
        publish(&play, &mut [], 0, 42);
        play.order(Order::Open(0..2));
        let mut again = welcomed(&server, 2);
        again.sort_by(|a, b| a.topic.cmp(&b.topic));
        assert_eq!(again[0].last_id.as_deref(), Some("41"), "{protocol:?}");
        assert_eq!(again[1].last_id, None);
        publish(&play, &mut again, 0, 43);
        play.until(2, 0, 2);
        let totals = play.finish(Close::Reset).totals;
        assert_eq!((totals.delivered, totals.lost, totals.duplicated), (2, 1, 0), "42 was kept from it");
    }
}

#[test]
fn who_left_comes_back_without_an_id_and_owes_nothing() {
    for protocol in PROTOCOLS {
        let server = Server::start(protocol);
        let play = Play::begin(plan(protocol, &server), 1, 1);
        play.order(Order::Open(0..1));
        let mut visitors = welcomed(&server, 1);
        publish(&play, &mut visitors, 0, 41);
        play.until(1, 0, 1);
        play.order(Order::Leave(0..1));
        play.until(0, 0, 1);
        publish(&play, &mut [], 0, 42);
        play.order(Order::Open(0..1));
        let back = welcomed(&server, 1);
        assert_eq!(back[0].last_id, None);
        play.until(1, 0, 1);
        assert!(play.finish(Close::Reset).totals.is_clean(), "{protocol:?}");
    }
}

#[test]
fn a_cut_is_a_reset_and_a_gentle_close_is_not() {
    for (close, word) in
        [(None, "connection reset"), (Some(Close::Reset), "connection reset"), (Some(Close::Fin), "0 bytes")]
    {
        let server = Server::start(Protocol::Sse);
        let play = Play::begin(plan(Protocol::Sse, &server), 1, 1);
        play.order(Order::Open(0..1));
        let mut visitors = welcomed(&server, 1);
        play.until(1, 0, 0);
        match close {
            None => play.order(Order::Cut(0..1)),
            Some(close) => drop(play.finish(close)),
        }
        assert_eq!(visitors[0].gone(), word, "{close:?}");
    }
}

#[test]
fn a_refused_subscriber_is_a_named_failure_and_may_try_again() {
    for (protocol, reason) in PROTOCOLS.into_iter().zip([
        "answered 503 Service Unavailable",
        "answered 503 Service Unavailable",
        "grpc-status 14 UNAVAILABLE full!",
    ]) {
        let server = Server::start(protocol);
        let play = Play::begin(plan(protocol, &server), 1, 1);
        play.order(Order::Open(0..1));
        server.visitor().refuse();
        play.until(0, 1, 0);
        play.order(Order::Open(0..1));
        let mut visitors = welcomed(&server, 1);
        play.until(1, 1, 0);
        publish(&play, &mut visitors, 0, 1);
        play.until(1, 1, 1);
        let failures = play.finish(Close::Reset).failures;
        assert_eq!(failures.into_iter().collect::<Vec<_>>(), [(reason.to_owned(), 1)]);
    }
}

#[test]
fn a_stream_that_the_server_ends_is_a_named_failure() {
    for (protocol, reason) in PROTOCOLS.into_iter().zip([
        "the server closed the connection",
        "the body has ended",
        "grpc-status 8 RESOURCE_EXHAUSTED too slow",
    ]) {
        let server = Server::start(protocol);
        let play = Play::begin(plan(protocol, &server), 1, 1);
        play.order(Order::Open(0..1));
        let mut visitors = welcomed(&server, 1);
        play.until(1, 0, 0);
        visitors[0].end();
        play.until(0, 1, 0);
        publish(&play, &mut [], 0, 1);
        let findings = play.finish(Close::Reset);
        assert_eq!(findings.failures.keys().collect::<Vec<_>>(), [reason]);
        assert_eq!(findings.totals.lost, 1, "who was thrown out has lost what came later");
    }
}

#[test]
fn nobody_listening_and_nobody_answering_are_failures() {
    for protocol in PROTOCOLS {
        let server = Server::start(protocol);
        let play = Play::begin(Plan { answer_for_max: Duration::from_millis(20), ..plan(protocol, &server) }, 3, 1);
        play.order(Order::Open(0..3));
        let _silent = server.visitors(3);
        play.until(0, 3, 0);
        let failures = play.finish(Close::Reset).failures;
        assert_eq!(failures.keys().collect::<Vec<_>>(), ["not answered within 20ms"], "{protocol:?}");

        // A port that is taken and does not listen.
        let taken = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
        let taken = taken.expect("a socket");
        rustix::net::bind(&taken, &std::net::SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = rustix::net::getsockname(&taken).expect("an address").try_into().expect("of IP");
        let play = Play::begin(Plan { destinations: vec![address], streams: 3, ..plan(protocol, &server) }, 3, 1);
        play.order(Order::Open(0..3));
        play.until(0, 3, 0);
        let failures = play.finish(Close::Reset).failures;
        let reasons: Vec<_> = failures.into_iter().collect();
        assert!(matches!(&reasons[..], [(reason, 3)] if reason.contains("refused")), "{protocol:?}: {reasons:?}");
    }
}

#[test]
fn stopped_subscribers_get_nothing_until_they_read_again() {
    for (protocol, streams) in
        [(Protocol::Sse, 1), (Protocol::Sse2, 1), (Protocol::Sse2, 2), (Protocol::Grpc, 1), (Protocol::Grpc, 2)]
    {
        let server = Server::start(protocol);
        let play = Play::begin(Plan { streams, ..plan(protocol, &server) }, 3, 3);
        play.order(Order::Open(0..2));
        let mut visitors = welcomed(&server, 2);
        play.until(2, 0, 0);
        play.order(Order::Read(0..1, Reading::Stopped));
        play.order(Order::Open(2..3));
        // Whoever asks now does so after the order to stop.
        visitors.extend(welcomed(&server, 1));
        play.until(3, 0, 0);
        for id in 1..=50 {
            for topic in 0..3 {
                publish(&play, &mut visitors, topic, id);
            }
        }
        play.until(3, 0, 100);
        // Nobody of the first connection reads now, and still it takes in one who comes back.
        play.order(Order::Read(1..2, Reading::Stopped));
        play.order(Order::Cut(1..2));
        play.until(2, 0, 100);
        play.order(Order::Open(1..2));
        visitors.extend(welcomed(&server, 1));
        play.until(3, 0, 100);
        play.order(Order::Read(0..2, Reading::Full));
        play.until(3, 0, 150);
        let totals = play.finish(Close::Reset).totals;
        assert!(totals.is_clean(), "{protocol:?} over {streams}: {totals:?}");
    }
}

#[test]
fn a_stopped_connection_is_not_read_and_still_ends_when_told() {
    for protocol in PROTOCOLS {
        let server = Server::start(protocol);
        let play = Play::begin(Plan { streams: 2, ..plan(protocol, &server) }, 3, 1);
        play.order(Order::Open(0..2));
        let _cut = welcomed(&server, 2);
        play.until(2, 0, 0);
        play.order(Order::Read(0..2, Reading::Stopped));
        play.order(Order::Cut(0..2));
        play.order(Order::Open(0..2));
        let mut visitors = welcomed(&server, 2);
        play.until(2, 0, 0);
        publish(&play, &mut visitors, 0, 1);
        play.order(Order::Read(0..2, Reading::Trickle(1_000_000)));
        play.until(2, 0, 2);
        play.order(Order::Read(0..2, Reading::Stopped));
        // Whoever asks now does so after the order to stop.
        play.order(Order::Open(2..3));
        let _witness = welcomed(&server, 1);
        play.until(3, 0, 2);
        publish(&play, &mut visitors, 0, 2);
        assert_eq!(play.finish(Close::Fin).totals.lost, 3, "{protocol:?}");
    }
}

#[test]
fn one_of_many_on_a_connection_is_cut_alone() {
    for protocol in [Protocol::Sse2, Protocol::Grpc] {
        let server = Server::start(protocol);
        let play = Play::begin(Plan { streams: 4, ..plan(protocol, &server) }, 4, 4);
        play.order(Order::Open(0..4));
        let mut visitors = welcomed(&server, 4);
        play.until(4, 0, 0);
        play.order(Order::Cut(1..3));
        play.until(2, 0, 0);
        visitors.sort_by(|a, b| a.topic.cmp(&b.topic));
        for mut visitor in visitors.drain(1..3) {
            assert_eq!(visitor.gone(), "CANCEL");
        }
        publish(&play, &mut visitors, 0, 1);
        publish(&play, &mut visitors, 3, 2);
        play.until(2, 0, 2);
        play.order(Order::Open(1..3));
        let back = welcomed(&server, 2);
        assert!(back.iter().all(|visitor| visitor.connection == 0), "their connection is still there");
        play.until(4, 0, 2);
        play.order(Order::Cut(0..4));
        play.order(Order::Open(0..4));
        let back = welcomed(&server, 4);
        assert!(back.iter().all(|visitor| visitor.connection == 1), "now they need another");
        play.until(4, 0, 2);
        assert!(play.finish(Close::Reset).totals.is_clean());
    }
}

#[test]
fn a_reset_stream_is_a_failure_of_that_one_only() {
    for protocol in [Protocol::Sse2, Protocol::Grpc] {
        let server = Server::start(protocol);
        let play = Play::begin(Plan { streams: 3, ..plan(protocol, &server) }, 3, 1);
        play.order(Order::Open(0..3));
        let mut visitors = welcomed(&server, 3);
        play.until(3, 0, 0);
        visitors[0].reset(Reason::ENHANCE_YOUR_CALM);
        play.until(2, 1, 0);
        publish(&play, &mut visitors[1..], 0, 1);
        play.until(2, 1, 2);
        let failures = play.finish(Close::Reset).failures;
        let reasons: Vec<_> = failures.keys().collect();
        assert!(matches!(&reasons[..], [reason] if reason.contains("excessive load")), "{reasons:?}");
    }
}

#[test]
fn goaway_is_a_failure_for_those_on_it() {
    for protocol in [Protocol::Sse2, Protocol::Grpc] {
        let server = Server::start(protocol);
        let play = Play::begin(Plan { streams: 3, ..plan(protocol, &server) }, 5, 1);
        play.order(Order::Open(0..5));
        let _visitors = welcomed(&server, 5);
        play.until(5, 0, 0);
        server.go_away(Reason::INTERNAL_ERROR);
        play.until(0, 5, 0);
        play.order(Order::Open(0..5));
        let back = welcomed(&server, 5);
        assert!(back.iter().all(|visitor| visitor.connection >= 2), "they come back on others");
        play.until(5, 5, 0);
        let failures = play.finish(Close::Reset).failures;
        let reasons: Vec<_> = failures.into_iter().collect();
        assert!(matches!(&reasons[..], [(reason, 5)] if reason.contains("internal error")), "{reasons:?}");
    }
}

#[test]
fn a_gap_is_noted_and_an_order_twice_is_obeyed_once() {
    for protocol in PROTOCOLS {
        let server = Server::start(protocol);
        let play = Play::begin(plan(protocol, &server), 2, 2);
        play.order(Order::Open(0..1));
        play.order(Order::Open(0..1));
        let mut visitors = welcomed(&server, 1);
        play.until(1, 0, 0);
        play.order(Order::Open(0..1));
        play.order(Order::Phase);
        // Whoever asks now does so in the new phase.
        play.order(Order::Open(1..2));
        visitors.extend(welcomed(&server, 1));
        play.until(2, 0, 0);
        visitors[0].gap();
        publish(&play, &mut visitors, 0, 1);
        play.until(2, 0, 1);
        assert!(server.is_quiet());
        let findings = play.finish(Close::Reset);
        assert_eq!((findings.totals.gaps, findings.totals.delivered), (1, 1), "{protocol:?}");
        assert_eq!(findings.latency.iter().map(|phase| phase.len()).collect::<Vec<_>>(), [0, 1]);
    }
}

#[test]
fn a_bare_connection_asks_nothing_and_is_missed_when_it_goes() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let server = Server::start(Protocol::Sse);
    let destinations = vec![listener.local_addr().expect("it has an address")];
    let play = Play::begin(Plan { bare: true, destinations, ..plan(Protocol::Sse, &server) }, 2, 1);
    play.order(Order::Open(0..2));
    play.until(2, 0, 0);
    let mut sockets: Vec<_> = (0..2).map(|_| listener.accept().expect("a connection").0).collect();
    drop(sockets.pop());
    play.until(1, 1, 0);
    drop(play.finish(Close::Fin));
    let mut heard = Vec::new();
    std::io::Read::read_to_end(&mut sockets[0], &mut heard).expect("a gentle end");
    assert_eq!(heard, b"");
}
