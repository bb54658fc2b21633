//! A subscriber and a publisher beside whatever a test does to the server, and the memory that it must give back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::http::{Connection, head};
use super::sse::Stream;
use super::stage::{Stage, event};
use super::wait::{Deadline, pass};

/// 2^20.
pub const MIB: u64 = 1 << 20;

/// What the process may keep of memory that it needed for a moment: the allocator's arenas, tables at their full size,
/// and the log, which the witness fills: two formats of it, and its records.
const KEPT_BYTES: u64 = 8 * MIB + 3 * HISTORY_BYTES;

/// The smallest log for events of the usual size.
const HISTORY_BYTES: u64 = 8 * MIB;

/// A server with the embedded broker and a small log.
pub fn stage_with(settings: &[(&str, &str)]) -> Stage {
    Stage::memory_with(&[&[("PLASMA_HISTORY_BYTES", "8MiB")], settings].concat())
}

/// A subscriber and a publisher of its own: each event must arrive, in order, before the next is published.
pub struct Witness {
    done: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Witness {
    /// Begins to watch.
    pub fn of(stage: &Stage) -> Self {
        let address = stage.plasma.http();
        let done = Arc::new(AtomicBool::new(false));
        let watched = done.clone();
        let mut stream = Stream::open(address, "/?eventType=witness");
        let thread = thread::spawn(move || {
            let mut publisher = Connection::open(address);
            let mut number = 0;
            while !watched.load(Ordering::Relaxed) {
                let body = event("witness:x", &number.to_string());
                publisher.send(head("POST", "/events", &[], Some(body.len()))).send(body);
                assert_eq!(publisher.read_answer().status(), 202, "event {number}");
                assert_eq!(stream.next_event().payload(), number);
                number += 1;
            }
            number
        });
        Self { done, thread }
    }

    /// Checks that nothing was missed.
    pub fn finish(self) {
        self.done.store(true, Ordering::Relaxed);
        let seen = self.thread.join().expect("the witness missed nothing");
        assert!(seen > 0, "the witness saw something at all");
    }
}

/// Checks that memory returns to what it was `before`, but for what may be kept.
pub fn memory_returns(stage: &Stage, before: u64) {
    let deadline = Deadline::patient();
    while stage.plasma.resident() > before + KEPT_BYTES {
        let now = stage.plasma.resident();
        assert!(deadline.remaining().is_some(), "memory was {} KiB and is {}", before / 1024, now / 1024);
        pass(Deadline::after(Duration::from_millis(50)));
    }
}

/// Resident memory once everything that is set up at first use is.
pub fn warm(stage: &Stage) -> u64 {
    let mut stream = stage.subscribe("eventType=warm");
    stage.say("warm", &format!("\"{}\"", "x".repeat(100_000)));
    stream.next_event();
    drop(stream);
    stage.plasma.wait_for_access("sse", 1);
    stage.plasma.resident()
}
