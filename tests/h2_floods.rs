//! HTTP/2 clients that mean harm: what each of them costs is bounded, and a subscriber beside them receives every
//! event.
//!
//! Floods of frames that cost their sender next to nothing end in GOAWAY with ENHANCE_YOUR_CALM (RFC 9113 §10.5), and a
//! line of the error log says which flood it was. What is large instead of frequent (headers, waiting answers, streams)
//! is bounded, and given back in the end.

mod support;

use std::net::Shutdown;
use std::time::{Duration, Instant};

use support::h2::{
    Code, EVENT, Event, Fields, Frame, INITIAL_WINDOW_SIZE, PUBLISH, Peer, ROOT, SUBSCRIBE, Verdict, WINDOW_MAX,
    continuation, data, headers, ping, priority, reset, settings, window_update,
};
use support::hpack::{self, INDEXING};
use support::http::Connection;
use support::sse::Stream;
use support::stage::Stage;
use support::wait::Deadline;
use support::witness::{MIB, Witness, memory_returns, stage_with, warm};

/// Frames in a flood: ten times what a connection has to its credit.
const FLOOD: u32 = 20_000;

/// Frames that are sent at once.
const FLIGHT: u32 = 100;

/// A flood must have ended by then, and be it on a busy machine.
const FLOOD_FOR: Duration = Duration::from_secs(20);

/// Streams that a connection may have at once.
const STREAMS_MAX: u32 = 1000;

/// The id of the stream that a client opens after `count` others.
fn nth(count: u32) -> u32 {
    1 + 2 * count
}

/// A line of a log in lower case, with blanks for everything that is no letter or digit.
fn words(line: &str) -> String {
    line.to_lowercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), " ")
}

/// A server, a witness, and a connection on which a flood is under way.
struct Flood {
    name: &'static str,
    stage: Stage,
    before: u64,
    witness: Witness,
    /// Lines of the error log that had the flood's name before it began.
    said: usize,
    peer: Peer,
}

impl Flood {
    /// `name` is what the log is to call it, in lower case and without any dashes.
    fn of(name: &'static str) -> Self {
        let stage = stage_with(&[]);
        let before = warm(&stage);
        let witness = Witness::of(&stage);
        let said = stage.plasma.stderr.count(|line| words(line).contains(name));
        let peer = Peer::open(stage.plasma.http());
        Self { name, stage, before, witness, said, peer }
    }

    /// Sends what `frames` makes of each round, until the server has enough.
    fn flow(mut self, frames: impl Fn(&mut Peer, u32) -> Vec<Frame>) {
        let until = Instant::now() + FLOOD_FOR;
        for flight in 0..FLOOD / FLIGHT {
            self.send(flight, &frames);
            if self.peer.is_over() {
                break;
            }
            assert!(Instant::now() < until, "the flood of {} has not ended after {FLOOD_FOR:?}", self.name);
        }
        self.ends();
    }

    /// Sends one flight.
    fn send(&mut self, flight: u32, frames: &impl Fn(&mut Peer, u32) -> Vec<Frame>) {
        let rounds = flight * FLIGHT..(flight + 1) * FLIGHT;
        let flight: Vec<Frame> = rounds.flat_map(|round| frames(&mut self.peer, round)).collect();
        self.peer.send_all(flight);
    }

    /// Checks that the connection ends for it, that the log names it, and that nobody else has noticed.
    fn ends(mut self) {
        self.peer.wait("GOAWAY with ENHANCE_YOUR_CALM", |event| match event {
            Event::Goaway { code: Code::EnhanceYourCalm, .. } => Verdict::Take(()),
            Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        let _ = self.peer.socket().shutdown(Shutdown::Write);
        self.peer.expect_end();
        let (name, what) = (self.name, format!("a line of the error log that names the flood: {}", self.name));
        let named = |line: &str| words(line).contains(name);
        self.stage.plasma.stderr.wait_for_nth(&what, self.said + 1, Deadline::patient(), named);
        self.witness.finish();
        drop(self.peer);
        memory_returns(&self.stage, self.before);
        serves(&self.stage);
    }
}

/// Checks that a new client is served.
fn serves(stage: &Stage) {
    Peer::open(stage.plasma.http()).serves(1);
}

/// From here on the connection ends with a reset.
fn abandon(peer: Peer) {
    rustix::net::sockopt::set_socket_linger(peer.socket(), Some(Duration::ZERO)).expect("a TCP socket");
}

#[test]
fn a_flood_of_rapid_resets_ends() {
    Flood::of("reset").flow(|peer, round| {
        let stream = nth(round);
        vec![peer.head(stream, ROOT), reset(stream, Code::Cancel)]
    });
}

#[test]
fn a_flood_of_resets_after_whole_requests_ends() {
    Flood::of("reset").flow(|peer, round| {
        let stream = nth(round);
        vec![peer.head(stream, SUBSCRIBE).end_stream(), reset(stream, Code::Cancel)]
    });
}

#[test]
fn a_flood_that_makes_the_server_reset_ends() {
    // Cheap to ask for, and each stream is over at once: what rapid resets do, done by the other side.
    Flood::of("reset").flow(|peer, round| {
        let stream = nth(round);
        vec![peer.head(stream, ROOT), window_update(stream, 0)]
    });
}

#[test]
fn a_flood_of_continuations_ends() {
    let mut flood = Flood::of("continuation");
    let block = flood.peer.block(ROOT);
    flood.peer.send(headers(1, block).end_stream());
    flood.flow(|_, _| vec![continuation(1, [])]);
}

#[test]
fn a_flood_of_continuations_with_fields_ends() {
    let mut flood = Flood::of("continuation");
    let block = flood.peer.block(ROOT);
    flood.peer.send(headers(1, block).end_stream());
    flood.flow(|_, _| vec![continuation(1, hpack::plain(&[("a", "b"); 3]))]);
}

#[test]
fn a_flood_of_settings_ends() {
    Flood::of("settings").flow(|_, round| vec![settings(&[(INITIAL_WINDOW_SIZE, round)])]);
}

#[test]
fn a_flood_of_pings_ends() {
    Flood::of("ping").flow(|_, round| vec![ping(u64::from(round).to_be_bytes())]);
}

#[test]
fn a_flood_of_pings_that_reads_nothing_ends() {
    let mut flood = Flood::of("ping");
    for flight in 0..FLOOD / FLIGHT {
        flood.send(flight, &|_: &mut Peer, round: u32| vec![ping(u64::from(round).to_be_bytes())]);
    }
    flood.ends();
}

#[test]
fn a_flood_of_empty_data_ends() {
    let mut flood = Flood::of("data");
    flood.peer.begin(1, PUBLISH);
    flood.flow(|_, _| vec![data(1, [])]);
}

#[test]
fn a_flood_of_data_that_is_all_padding_ends() {
    let mut flood = Flood::of("data");
    flood.peer.begin(1, PUBLISH);
    flood.flow(|_, _| vec![data(1, []).padded(0)]);
}

#[test]
fn a_flood_of_small_updates_of_the_connection_ends() {
    Flood::of("window update").flow(|_, _| vec![window_update(0, 1)]);
}

#[test]
fn a_flood_of_small_updates_of_a_stream_ends() {
    let mut flood = Flood::of("window update");
    flood.peer.begin(1, ROOT);
    flood.flow(|_, _| vec![window_update(1, 1)]);
}

#[test]
fn a_flood_of_priorities_ends() {
    Flood::of("priority").flow(|_, round| vec![priority(nth(round), 0, 16)]);
}

#[test]
fn pings_whose_answers_nobody_reads_are_bounded() {
    let stage = stage_with(&[]);
    let before = warm(&stage);
    let witness = Witness::of(&stage);
    let narrow = Connection::open_narrow(stage.plasma.http());
    let mut peer = Peer::over(narrow.socket().try_clone().expect("a socket can be cloned"));
    peer.send_raw([support::h2::PREFACE.to_vec(), settings(&[]).bytes()].concat());
    let flight: Vec<u8> = (0..FLIGHT).flat_map(|count| ping(u64::from(count).to_be_bytes()).bytes()).collect();
    // A server that stops reading is as good as one that ends it: the next write would wait.
    peer.socket().set_write_timeout(Some(Duration::from_secs(2))).expect("a TCP socket");
    for _ in 0..20 * FLOOD / FLIGHT {
        if !peer.try_send_raw(&flight) {
            break;
        }
    }
    let during = stage.plasma.resident();
    assert!(during < before + 24 * MIB, "{before} bytes before, {during} with answers that nobody reads");
    witness.finish();
    abandon(peer);
    drop(narrow);
    memory_returns(&stage, before);
    serves(&stage);
}

#[test]
fn few_control_frames_are_no_flood() {
    let stage = stage_with(&[]);
    let mut peer = Peer::open(stage.plasma.http());
    peer.begin(1, ROOT);
    for round in 0..100 {
        peer.send_all([
            ping([0; 8]),
            settings(&[]),
            window_update(0, 1),
            priority(1, 0, 1),
            data(1, []),
            data(1, [b'x']),
        ]);
        let stream = nth(round + 1);
        let head = peer.head(stream, ROOT);
        peer.send_all([head, reset(stream, Code::Cancel)]);
    }
    peer.send(data(1, []).end_stream()).expect_root(1);
}

#[test]
fn requests_are_no_flood_however_many() {
    let stage = stage_with(&[]);
    let mut peer = Peer::open(stage.plasma.http());
    let mut unacknowledged = 0;
    for hundred in 0..200 {
        let streams = (hundred * 100..hundred * 100 + 100).map(nth);
        for stream in streams.clone() {
            peer.begin(stream, PUBLISH).send(data(stream, EVENT).end_stream());
        }
        for stream in streams {
            let answer = peer.expect_answer(stream);
            assert_eq!(answer.status, 202);
            unacknowledged += answer.body.len() as u32;
        }
        // As clients do: half a window at a time.
        if unacknowledged > 30_000 {
            peer.send(window_update(0, unacknowledged));
            unacknowledged = 0;
        }
    }
}

#[test]
fn subscriptions_that_come_and_go_are_no_flood() {
    let stage = stage_with(&[]);
    let mut peer = Peer::open(stage.plasma.http());
    // A page that is left and opened again and again.
    for count in 0..300 {
        let stream = nth(count);
        peer.request(stream, SUBSCRIBE).expect_head(stream);
        peer.expect_data(stream);
        peer.send(reset(stream, Code::Cancel));
    }
    peer.serves(nth(300));
}

/// A request whose block is small and whose fields are not, by naming the same field again and again.
fn bomb(peer: &mut Peer, stream: u32, field: usize) -> Frame {
    let block = [hpack::plain(ROOT), hpack::indexed(field).repeat(16_000)].concat();
    headers(stream, peer.raw_block(block)).end_headers().end_stream()
}

#[test]
fn bombs_of_fields_are_answered_with_431_and_cost_nothing() {
    let stage = stage_with(&[]);
    let before = warm(&stage);
    let witness = Witness::of(&stage);
    let address = stage.plasma.http();
    // Of 60 octets each, from the static table; and of 4 KiB each, from a table that the client fills before it knows
    // that there is none: 64 MiB in a block.
    let mut fixed = Peer::open(address);
    let mut filled = Peer::open_unacknowledged(address, &[]);
    let entry = hpack::literal(INDEXING, "x", "v".repeat(4_000));
    let block = [hpack::plain(ROOT), entry].concat();
    filled.send(headers(1, block).end_headers().end_stream()).expect_root(1);
    for count in 1..50 {
        for (peer, field) in [(&mut fixed, 16), (&mut filled, 62)] {
            let frame = bomb(peer, nth(count), field);
            assert_eq!(peer.send(frame).expect_answer(nth(count)).status, 431);
        }
    }
    let during = stage.plasma.resident();
    assert!(during < before + 24 * MIB, "{before} bytes before, {during} during");
    fixed.serves(nth(50));
    filled.serves(nth(50));
    witness.finish();
    drop((fixed, filled));
    memory_returns(&stage, before);
}

#[test]
fn streams_that_are_abandoned_give_their_memory_back() {
    let stage = stage_with(&[]);
    let before = warm(&stage);
    let witness = Witness::of(&stage);
    let heads: [Fields; 3] = [ROOT, PUBLISH, SUBSCRIBE];
    for round in 0..12 {
        let mut peer = Peer::open(stage.plasma.http());
        for count in 0..STREAMS_MAX {
            let (stream, fields) = (nth(count), heads[round % heads.len()]);
            // The last kind is whole, and a subscription; the others wait for a body.
            if fields == SUBSCRIBE {
                peer.request(stream, fields);
            } else {
                peer.begin(stream, fields).send(data(stream, *b"["));
            }
        }
        peer.expect_alive();
        if round % 2 == 0 {
            abandon(peer);
        }
    }
    witness.finish();
    memory_returns(&stage, before);
    serves(&stage);
}

#[test]
fn readers_without_a_window_are_bounded() {
    let stage = stage_with(&[]);
    let before = warm(&stage);
    let witness = Witness::of(&stage);
    let mut peers: Vec<Peer> = (0..10)
        .map(|_| {
            let mut peer = Peer::open_with(stage.plasma.http(), &[(INITIAL_WINDOW_SIZE, 0)]);
            for count in 0..STREAMS_MAX / 2 {
                peer.request(nth(count), ROOT);
            }
            peer.expect_alive();
            peer
        })
        .collect();
    let during = stage.plasma.resident();
    assert!(during < before + 32 * MIB, "{before} bytes before, {during} with 5,000 answers that wait");
    // They are still to be had.
    let last = nth(STREAMS_MAX / 2 - 1);
    for peer in &mut peers {
        peer.send(window_update(last, 100)).expect_root(last);
    }
    witness.finish();
    drop(peers);
    memory_returns(&stage, before);
}

#[test]
fn subscriptions_without_a_window_hold_nothing_back() {
    let stage = stage_with(&[]);
    let before = warm(&stage);
    let witness = Witness::of(&stage);
    let mut stuck = Peer::open_with(stage.plasma.http(), &[(INITIAL_WINDOW_SIZE, 0)]);
    let mut well = Peer::open_with(stage.plasma.http(), &[(INITIAL_WINDOW_SIZE, WINDOW_MAX)]);
    well.send(window_update(0, WINDOW_MAX - 65_535));
    for count in 0..100 {
        stuck.request(nth(count), SUBSCRIBE).expect_head(nth(count));
    }
    well.request(1, SUBSCRIBE).expect_head(1);
    let mut beside = Stream::open(stage.plasma.http(), "/?eventType=a");
    // Far more than is kept for anybody who is behind: 40 MB for each of a hundred.
    let text = format!("\"{}\"", "x".repeat(100_000));
    let mut received = 0;
    for round in 0..400 {
        stage.say("a", &text);
        assert_eq!(beside.next_event().payload().as_str().map(str::len), Some(100_000), "{round}");
        while received < (round + 1) * 100_000 {
            received += well.expect_data(1).0.len();
        }
    }
    let during = stage.plasma.resident();
    assert!(during < before + 40 * MIB, "{before} bytes before, {during} with a hundred that stand still");
    // A stream may have been ended for it, the connection is not.
    let opaque = *b"still me";
    stuck.send(ping(opaque));
    stuck.wait("PING with ACK", |event| match event {
        Event::Pong(echoed) if *echoed == opaque => Verdict::Take(()),
        Event::Closed => Verdict::Wrong,
        _ => Verdict::Leave,
    });
    witness.finish();
    drop((stuck, well, beside));
    memory_returns(&stage, before);
}
