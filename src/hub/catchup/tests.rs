use std::sync::Arc;

use super::*;
use crate::hub::Subscriber;
use crate::hub::log::{Frames, Log, Writer};

const START: u64 = 1_790_000_000_000;

const FRAMES: Frames<'_> = Frames { sse: b"frame", grpc: b"message" };

struct Hub {
    writer: Writer,
    reader: Reader,
    topics: Topics,
    missed: Missed,
}

impl Hub {
    fn new() -> Self {
        let (log, writer) = Log::new(64 * 1024, 1, START, 3).expect("memory for a small log");
        let reader = Reader::new(Arc::clone(&log), 0);
        Self { writer, reader, topics: Topics::default(), missed: Missed::default() }
    }

    fn events(&mut self, names: &[&str]) {
        for name in names {
            let id = self.writer.next_id(START);
            self.writer.append(id, name.as_bytes(), FRAMES).expect("there is room");
        }
        self.writer.publish();
        self.reader.take(1_000);
    }

    fn join(&mut self, names: &[&str]) -> Seat {
        let log = Arc::clone(self.reader.log());
        self.topics.join(Subscriber(1), names.iter().map(|name| (log.hash(name.as_bytes()), name.as_bytes())))
    }

    fn missed(&mut self, seat: Seat, from: u64, count: usize) -> (Vec<u64>, u64) {
        let mut found = Vec::new();
        let end = self.missed.visit(&self.reader, &mut self.topics, seat, Seq(from), |seq| {
            let more = found.len() < count;
            if more {
                found.push(seq.0);
            }
            more
        });
        (found, end.0)
    }
}

#[test]
fn chains_are_merged_in_order_and_each_event_comes_once() {
    let mut hub = Hub::new();
    hub.events(&["a:b", "x", "a", "c", "a:b:d", "c", "x"]);
    let seat = hub.join(&["a", "a:b", "c"]);
    assert_eq!(hub.missed(seat, 0, 100), (vec![0, 2, 3, 4, 5], 7));
    assert_eq!(hub.missed(seat, 3, 100), (vec![3, 4, 5], 7));
}

#[test]
fn a_search_goes_on_where_the_last_one_ended() {
    let mut hub = Hub::new();
    let seat = hub.join(&["a", "b"]);
    hub.events(&["a", "b", "a", "x", "b", "a"]);
    assert_eq!(hub.missed(seat, 0, 2), (vec![0, 1], 2));
    assert_eq!(hub.missed(seat, 2, 2), (vec![2, 4], 5));
    assert_eq!(hub.missed(seat, 5, 2), (vec![5], 6));
    assert_eq!(hub.missed(seat, 6, 2), (vec![], 6));
    hub.events(&["x", "a", "b"]);
    assert_eq!(hub.missed(seat, 6, 9), (vec![7, 8], 9));
    Missed::forget(&mut hub.topics, seat);
    assert_eq!(hub.missed(seat, 8, 9), (vec![8], 9));
}

#[test]
fn notices_concern_everyone() {
    let mut hub = Hub::new();
    let seat = hub.join(&["a"]);
    hub.events(&["x", "a"]);
    hub.writer.append_notice(FRAMES).expect("there is room");
    hub.events(&["x", "a"]);
    assert_eq!(hub.missed(seat, 0, 9), (vec![1, 2, 4], 5));
    assert_eq!(hub.missed(Seat::NONE, 0, 9), (vec![2], 5));
}

/// However the search is cut into pieces, together they find what a plain filter finds.
#[test]
fn pieces_of_a_search_make_up_the_whole() {
    let names = ["a", "b", "c", "a:1", "a:2", "b:1", "z"];
    let mut random = 9u64;
    let mut dice = |sides: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % sides
    };
    for _ in 0..300 {
        let mut hub = Hub::new();
        let mine = ["a", "b", "a:1"];
        let seat = hub.join(&mine);
        let (mut all, mut found, mut from) = (Vec::new(), Vec::new(), 0);
        for _ in 0..8 {
            let batch: Vec<&str> = (0..dice(12)).map(|_| names[dice(names.len())]).collect();
            hub.events(&batch);
            all.extend(batch);
            let (part, end) = hub.missed(seat, from, dice(6));
            found.extend(part);
            from = end;
        }
        found.extend(hub.missed(seat, from, 1_000).0);
        let mine = |name: &str| matches!(name.split(':').next(), Some("a" | "b"));
        let want: Vec<u64> = (0..all.len()).filter(|&seq| mine(all[seq])).map(|seq| seq as u64).collect();
        assert_eq!(found, want);
    }
}
