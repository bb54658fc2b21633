//! Publishers over links that answer as they are told.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::*;
use crate::board::Board;

/// What the nth batch is answered, and all batches there were.
#[derive(Clone)]
struct Scripted {
    answer: fn(usize, &[Event]) -> Result<Answer, Failure>,
    batches: Arc<Mutex<Vec<Vec<Event>>>>,
}

impl Link for Scripted {
    fn publish(&mut self, batch: &[Event]) -> Result<Answer, Failure> {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        batches.push(batch.to_vec());
        (self.answer)(batches.len(), batch)
    }
}

fn accept(_: usize, batch: &[Event]) -> Result<Answer, Failure> {
    Ok(Answer::all(batch))
}

fn plan(pace: Pace, extent: Extent) -> Plan {
    Plan { pace, extent, batch: 10, data_len: 100, topic_prefix: "t".to_owned() }
}

fn run(publishers: u32, topics: u32) -> Run {
    Run { tag: 7, began: Instant::now(), board: Arc::new(Board::new(publishers, topics)), unrecorded: 0..0 }
}

/// Publishes to the end, and returns the findings and all events by publisher.
fn publish(answer: fn(usize, &[Event]) -> Result<Answer, Failure>, plan: &Plan, run: &Run) -> (Findings, Vec<Event>) {
    let link = Scripted { answer, batches: Arc::default() };
    let links = (0..run.board.publishers).map(|_| Box::new(link.clone()) as Box<dyn Link>).collect();
    let findings = Publishers::start_with(links, plan, run).expect("threads").join().expect("findings");
    let events = link.batches.lock().unwrap_or_else(PoisonError::into_inner).concat();
    (findings, events)
}

fn stamps(events: &[Event]) -> Vec<Stamp> {
    events.iter().map(|event| Stamp::find(7, &event.data).expect("a stamp")).collect()
}

#[test]
fn streams_are_taken_in_turn_and_numbers_have_no_holes() {
    let run = run(2, 5);
    let (findings, events) = publish(accept, &plan(Pace::Max, Extent::Events(50)), &run);
    assert_eq!((findings.accepted, findings.refused, events.len()), (50, 0, 50));
    assert_eq!(run.board.begun_in_all(), 50);
    for stream in 0..run.board.stream_count() {
        let of_stream: Vec<u32> = stamps(&events).iter().filter(|at| at.stream == stream).map(|at| at.number).collect();
        assert_eq!(of_stream, (0..run.board.begun(stream)).collect::<Vec<_>>());
    }
    // 25 events over three streams and over two.
    assert_eq!((0..5).map(|stream| run.board.begun(stream)).collect::<Vec<_>>(), [9, 13, 8, 12, 8]);
    for (event, stamp) in events.iter().zip(stamps(&events)) {
        assert_eq!((event.topic.as_str(), event.data.len()), (&*format!("t-{}", stamp.stream), 100));
    }
}

#[test]
fn an_event_is_due_at_its_moment_however_late_it_is_sent() {
    let run = run(1, 1);
    let slow = |nth: usize, batch: &[Event]| {
        if nth == 1 {
            thread::sleep(Duration::from_millis(50));
        }
        accept(nth, batch)
    };
    let (findings, events) = publish(slow, &plan(Pace::Rate(1_000.0), Extent::Events(100)), &run);
    let due: Vec<u64> = stamps(&events).iter().map(|stamp| stamp.due_at).collect();
    assert_eq!(due, (0..100).map(|index| due[0] + index * 1_000_000).collect::<Vec<_>>());
    assert!(findings.lag.max() > 40_000_000, "the second batch was late");
    assert!(findings.batches < 100 && findings.batches >= 10, "what is late goes out in batches of at most ten");
    assert!(findings.took >= Duration::from_millis(99));
}

#[test]
fn what_is_due_in_the_time_is_published() {
    let run = run(3, 1);
    let time = Extent::For(Duration::from_millis(100));
    let (findings, events) = publish(accept, &plan(Pace::Rate(500.0), time), &run);
    assert_eq!((findings.accepted, events.len()), (50, 50));
}

#[test]
fn whatever_was_begun_is_accepted_or_refused() {
    let run = run(1, 1);
    let moody = |nth: usize, batch: &[Event]| match nth {
        2 => Ok(Answer::refused_after(4, "busy".to_owned())),
        3 => Err("broken".into()),
        _ => accept(nth, batch),
    };
    let (findings, _) = publish(moody, &plan(Pace::Max, Extent::Events(45)), &run);
    assert_eq!((findings.accepted, findings.refused), (29, 16));
    assert_eq!((findings.batches, findings.broken), (5, 1));
    assert_eq!(findings.refusals, BTreeMap::from([("busy".to_owned(), 6), ("broken".to_owned(), 10)]));
    assert_eq!(run.board.begun_in_all(), findings.accepted + findings.refused);
    assert_eq!((run.board.refused_in(0, 14, 30), run.board.refused_count()), (16, 16));
}

#[test]
fn a_stop_ends_the_longest_wait() {
    let run = run(1, 1);
    let link = Scripted { answer: accept, batches: Arc::default() };
    let forever = plan(Pace::Rate(0.001), Extent::For(Duration::MAX));
    let publishers = Publishers::start_with(vec![Box::new(link)], &forever, &run).expect("threads");
    while publishers.counters.accepted.load(Ordering::Relaxed) == 0 {
        thread::yield_now();
    }
    assert!(!publishers.is_done());
    publishers.stop();
    assert_eq!(publishers.join().expect("findings").accepted, 1);
}

#[test]
fn reasons_are_not_told_apart_for_ever() {
    let mut findings = Findings::none();
    for at in 0..100 {
        findings.note(format!("refused at {at}"), 2);
    }
    assert_eq!((findings.refused, findings.refusals.len()), (200, REASONS_MAX + 1));
    assert_eq!(findings.refusals["other reasons"], 2 * (100 - REASONS_MAX as u64));
}
