//! The books against a server whose mistakes are known: what they say was lost, repeated or out of order is what was.
//!
//! No engine takes part: a subscriber here is a thread with a socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use loadtest::board::{Board, topic_name};
use loadtest::books::{Books, Counters, Findings, Run};
use loadtest::ledger::Totals;
use loadtest::publish::http::Format;
use loadtest::publish::{self, Extent, Pace, Plan, Publishers, Way};
use loadtest::reference::{Done, Server};
use loadtest::wire::stream::{Heard, Stream};

const TOPIC_PREFIX: &str = "t";

/// Longest time for anything here.
const WAIT_FOR_MAX: Duration = Duration::from_secs(30);

/// A server, and subscribers that are all connected.
struct Scene {
    server: Server,
    run: Run,
    counters: Arc<Counters>,
    subscribers: Vec<JoinHandle<Findings>>,
}

impl Scene {
    fn open(faults: &str, subscribers: u32, topics: u32) -> Self {
        let server = Server::start(faults.parse().expect("good words")).expect("a server");
        // No more publishers than topics: each topic has one stream, and any two of its events have an order.
        let board = Arc::new(Board::new(2, topics));
        let run = Run { tag: 0x7e57, began: Instant::now(), board, unrecorded: 0..0 };
        let counters = Arc::<Counters>::default();
        let subscribe = |who: u32| {
            let (address, books) = (server.address(), Books::new(&run, who..who + 1, Arc::clone(&counters)));
            thread::spawn(move || subscribe(address, who, books))
        };
        let threads = (0..subscribers).map(subscribe).collect();
        wait_for(|| counters.open.load(Ordering::Acquire) == subscribers);
        Self { server, run, counters, subscribers: threads }
    }

    fn publish(&self, events: u64) -> publish::Findings {
        let url = format!("http://{}/events", self.server.address()).parse().expect("a good URL");
        let plan = Plan {
            pace: Pace::Rate(10_000.0),
            extent: Extent::Events(events),
            batch: 10,
            data_len: 150,
            topic_prefix: TOPIC_PREFIX.to_owned(),
        };
        let way = Way::Http(url, Format::Plasma, None);
        Publishers::start(&way, &plan, &self.run).expect("publishers").join().expect("findings")
    }

    /// What the books say, and what was done.
    fn close(self) -> (Totals, Done) {
        let done = self.server.stop();
        let mut totals = Totals::default();
        for subscriber in self.subscribers {
            totals.add(&subscriber.join().expect("a subscriber").totals);
        }
        (totals, done)
    }
}

/// Listens, and resumes when the stream ends, until nobody is there any more.
fn subscribe(address: SocketAddr, who: u32, mut books: Books) -> Findings {
    while let Ok(mut socket) = TcpStream::connect(address) {
        let topic = topic_name(TOPIC_PREFIX, books.topic_of(who));
        let mut request = format!("GET /?eventType={topic} HTTP/1.1\r\nHost: {address}\r\n").into_bytes();
        if let Some(id) = books.last_id(who) {
            request.extend([b"Last-Event-ID: ", id.as_slice(), b"\r\n"].concat());
        }
        request.extend_from_slice(b"\r\n");
        books.on_ask(who);
        let mut stream = Stream::default();
        if socket.write_all(&request).is_ok() {
            while listen(&mut socket, &mut stream, who, &mut books).is_continue() {}
        }
        books.on_cut(who);
    }
    books.on_failure(who, "the server is gone".to_owned());
    books.close()
}

/// Takes what has come.
fn listen(socket: &mut TcpStream, stream: &mut Stream, who: u32, books: &mut Books) -> ControlFlow<()> {
    let mut bytes = [0; 4096];
    let len = socket.read(&mut bytes).unwrap_or(0);
    if len == 0 {
        return ControlFlow::Break(());
    }
    let now = books.now();
    let taken = stream.feed(&bytes[..len], |heard| match heard {
        Heard::Open => books.on_open(who),
        Heard::Event(event) => books.on_event(who, &event, now),
    });
    taken.expect("a stream of events");
    ControlFlow::Continue(())
}

fn wait_for(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < WAIT_FOR_MAX, "waited for too long");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Publishes to 20 subscribers of 4 topics. 150 events per topic make 3,000 deliveries.
fn reconcile(faults: &str) -> (Totals, Done) {
    let scene = Scene::open(faults, 20, 4);
    let published = scene.publish(600);
    assert_eq!((published.accepted, published.refused), (600, 0));
    let (totals, done) = scene.close();
    assert_eq!(done.deliveries, 3_000);
    (totals, done)
}

#[test]
fn a_faithful_server_is_clean() {
    let (totals, _) = reconcile("");
    assert_eq!(totals, Totals { delivered: 3_000, ..Totals::default() });
}

#[test]
fn a_late_event_is_not_a_lost_one() {
    let (totals, done) = reconcile("stall=1000,stall-ms=50");
    assert_eq!(done.stalled, 3);
    assert_eq!(totals, Totals { delivered: 3_000, ..Totals::default() });
}

#[test]
fn every_lost_event_is_found() {
    let (totals, done) = reconcile("lose=7");
    assert_eq!(done.lost, 3_000 / 7);
    assert_eq!(totals, Totals { delivered: 3_000 - done.lost, lost: done.lost, ..Totals::default() });
}

#[test]
fn every_repeated_event_is_found() {
    let (totals, done) = reconcile("repeat=7");
    assert_eq!(done.repeated, 3_000 / 7);
    assert_eq!(totals, Totals { delivered: 3_000, duplicated: done.repeated, ..Totals::default() });
}

#[test]
fn every_swapped_pair_is_found() {
    let (totals, done) = reconcile("swap=7");
    assert!(done.swapped > 3_000 / 14, "{done:?}");
    assert_eq!(totals, Totals { delivered: 3_000, out_of_order: done.swapped, ..Totals::default() });
}

#[test]
fn mistakes_of_all_kinds_are_told_apart() {
    let (totals, done) = reconcile("lose=11,repeat=13,swap=17");
    assert!(done.lost > 0 && done.repeated > 0 && done.swapped > 0, "{done:?}");
    let want = Totals {
        delivered: 3_000 - done.lost,
        lost: done.lost,
        duplicated: done.repeated,
        out_of_order: done.swapped,
        ..Totals::default()
    };
    assert_eq!(totals, want);
}

#[test]
fn a_gap_that_was_told_is_counted_and_its_events_with_it() {
    let (totals, done) = reconcile("gap=100");
    assert_eq!(done.gaps, 30);
    assert_eq!(totals, Totals { delivered: 2_970, told: 30, gaps: 30, ..Totals::default() });
}

#[test]
fn who_was_cut_off_and_resumes_has_lost_nothing() {
    let scene = Scene::open("cut=100", 20, 4);
    scene.publish(600);
    wait_for(|| scene.counters.events.load(Ordering::Acquire) >= 3_000);
    let (totals, done) = scene.close();
    assert!(done.cut >= 10, "{done:?}");
    assert_eq!(done.opened, 20 + done.cut);
    assert_eq!(totals, Totals { delivered: 3_000, ..Totals::default() });
}

#[test]
fn refused_events_are_not_lost() {
    let scene = Scene::open("refuse=3", 20, 4);
    let published = scene.publish(600);
    let begun = scene.run.board.begun_in_all();
    let (totals, done) = scene.close();
    assert!(published.refused > 0);
    assert_eq!((published.accepted + published.refused, published.refused), (begun, done.refused));
    assert_eq!(published.refusals["503 Service Unavailable: refused on request"], done.refused);
    assert_eq!(totals, Totals { delivered: done.deliveries, ..Totals::default() });
}
