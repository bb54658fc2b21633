//! Subjects that take turns on one clock: a window each, again and again, so that what disturbs the machine disturbs
//! all of them.
//!
//! The clock is the calling thread's CPU time, and a subject decides which part of a round is on it.

use std::time::{Duration, Instant};

use crate::Failure;
use crate::machine::thread_cpu_time;

/// A window ends at the latest after this many times its length, by the clock on the wall.
const STRETCH_MAX: u32 = 50;

/// How often everybody gets a turn, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Windows {
    /// Turns of each.
    pub count: u32,
    /// CPU time of a turn.
    pub length: Duration,
}

/// What a round did while it was on the clock.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Operations.
    pub count: u64,
    /// CPU time that they took.
    pub spent: Duration,
}

/// Does something on the clock.
pub fn on_clock<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(Duration, T), Failure> {
    let before = thread_cpu_time();
    let done = work()?;
    Ok((thread_cpu_time() - before, done))
}

/// Something that is measured, round by round.
pub struct Subject {
    round: Box<dyn FnMut() -> Result<Round, Failure>>,
    nanos: Vec<f64>,
}

impl Subject {
    /// A subject that does this in a round.
    pub fn new(round: impl FnMut() -> Result<Round, Failure> + 'static) -> Self {
        Self { round: Box::new(round), nanos: Vec::new() }
    }

    /// Nanoseconds per operation so far, one number per window.
    pub fn nanos(&self) -> &[f64] {
        &self.nanos
    }

    /// Rounds until `length` of CPU time is used.
    pub fn window(&mut self, length: Duration) -> Result<(), Failure> {
        // Another subject was here meanwhile; this round brings our memory back into the caches.
        (self.round)()?;
        let (start, mut sum) = (Instant::now(), Round { count: 0, spent: Duration::ZERO });
        while sum.count == 0 || sum.spent < length && start.elapsed() < length * STRETCH_MAX {
            let round = (self.round)()?;
            sum.count += round.count;
            sum.spent += round.spent;
        }
        self.nanos.push(sum.spent.as_nanos() as f64 / sum.count as f64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_divides_the_time_of_its_rounds_by_their_operations() {
        let mut subject = Subject::new(|| Ok(Round { count: 4, spent: Duration::from_micros(2) }));
        subject.window(Duration::from_micros(3)).expect("no round fails");
        subject.window(Duration::ZERO).expect("no round fails");
        assert_eq!(subject.nanos(), [500.0, 500.0]);
    }

    #[test]
    fn a_round_that_fails_ends_the_window() {
        let mut subject = Subject::new(|| Err("no such luck".into()));
        assert!(subject.window(Duration::from_micros(3)).is_err());
        assert!(subject.nanos().is_empty());
    }
}
