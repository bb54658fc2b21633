//! When to connect again, and when to give up.
//!
//! Counts failures in a row: of connecting, of the greeting, of an established link. Silence is no failure as long as
//! probes are answered.
//!
//! Invariant: between two attempts there is always a pause, whatever the settings say.

use std::time::Duration;

use super::settings::{Behavior, Settings};

/// The pause after the first failure: a Redis that restarts is back within a few of these.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// The shortest pause, for retry intervals near 0: a hundred attempts a second at most.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The attempts of one link.
#[derive(Clone, Debug)]
pub struct Retry {
    behavior: Behavior,
    failures_max: u32,
    pause_max: Duration,
    /// Failures in a row since the last success, or since the count last started over.
    failures: u32,
    /// The next pause, before jitter.
    pause: Duration,
}

/// What follows a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Connect again after the pause.
    Again {
        /// The pause.
        after: Duration,
        /// That was one failure too many, and the count has started over: to be logged as
        /// `reset error count and retry`.
        started_over: bool,
    },
    /// That was one failure too many, and the process should end: `over max retry count`.
    GiveUp,
}

impl Retry {
    /// No failures yet.
    pub fn new(settings: &Settings) -> Self {
        let pause_max = settings.retry_interval.max(PAUSE_MIN);
        Self {
            behavior: settings.behavior,
            // 1 and everything below mean the same: the first failure is too many.
            failures_max: u32::try_from(settings.max_retry.clamp(1, i64::from(u32::MAX))).unwrap_or(u32::MAX),
            pause_max,
            failures: 0,
            pause: PAUSE_FIRST.min(pause_max),
        }
    }

    /// An attempt failed, or an established link ended. `random` spreads the attempts of many nodes: pauses differ by
    /// up to a fifth either way.
    pub fn failed(&mut self, random: u64) -> Verdict {
        self.failures = self.failures.saturating_add(1);
        let too_many = self.failures >= self.failures_max;
        if too_many && self.behavior == Behavior::Die {
            return Verdict::GiveUp;
        }
        if too_many {
            self.failures = 0;
        }
        let after = jittered(self.pause, random);
        self.pause = self.pause.saturating_mul(2).min(self.pause_max);
        Verdict::Again { after, started_over: too_many }
    }

    /// The link is established (subscribed, not just connected): all is forgiven.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.pause = PAUSE_FIRST.min(self.pause_max);
    }

    /// Failures in a row so far. Above 1 they are worth a line in the log.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// How many are too many.
    pub fn failures_max(&self) -> u32 {
        self.failures_max
    }
}

/// Between 80 and 120 percent of `pause`.
fn jittered(pause: Duration, random: u64) -> Duration {
    let permille = 800 + (random % 401) as u32;
    pause.saturating_mul(permille) / 1000
}

#[cfg(test)]
mod tests {
    use super::super::settings::tests::plain;
    use super::*;

    /// The random number that leaves a pause as it is.
    const EVEN: u64 = 200;

    fn pauses(settings: &Settings, count: usize) -> Vec<u128> {
        let mut retry = Retry::new(settings);
        let pause = |verdict| match verdict {
            Verdict::Again { after, .. } => after.as_millis(),
            Verdict::GiveUp => panic!("never gives up"),
        };
        (0..count).map(|_| pause(retry.failed(EVEN))).collect()
    }

    #[test]
    fn pauses_double_up_to_the_retry_interval() {
        assert_eq!(pauses(&plain(), 8), [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        let short = Settings { retry_interval: Duration::from_millis(50), ..plain() };
        assert_eq!(pauses(&short, 3), [50, 50, 50]);
    }

    #[test]
    fn no_setting_makes_a_hot_loop() {
        for interval in [Duration::ZERO, Duration::from_nanos(1)] {
            for max_retry in [i64::MIN, -1, 0, 1, i64::MAX] {
                let settings = Settings { retry_interval: interval, max_retry, ..plain() };
                assert_eq!(pauses(&settings, 1000), vec![10; 1000]);
            }
        }
        let forever = Settings { retry_interval: Duration::MAX, ..plain() };
        assert_eq!(pauses(&forever, 1000).len(), 1000);
    }

    #[test]
    fn jitter_is_a_fifth_either_way() {
        let after = |random| match Retry::new(&plain()).failed(random) {
            Verdict::Again { after, .. } => after.as_millis(),
            Verdict::GiveUp => 0,
        };
        assert_eq!([after(0), after(200), after(400), after(401)], [80, 100, 120, 80]);
        assert!((0..2000).chain([u64::MAX]).all(|random| (80..=120).contains(&after(random))));
    }

    #[test]
    fn three_attempts_a_tenth_of_a_second_apart_die_after_a_fifth() {
        let settings =
            Settings { behavior: Behavior::Die, max_retry: 3, retry_interval: Duration::from_millis(100), ..plain() };
        let mut retry = Retry::new(&settings);
        let again = Verdict::Again { after: Duration::from_millis(100), started_over: false };
        assert_eq!([retry.failed(EVEN), retry.failed(EVEN), retry.failed(EVEN)], [again, again, Verdict::GiveUp]);
        assert_eq!((retry.failures(), retry.failures_max()), (3, 3));
    }

    #[test]
    fn one_failure_is_enough_to_die_when_one_is_too_many() {
        for max_retry in [1, 0, -5] {
            let mut retry = Retry::new(&Settings { behavior: Behavior::Die, max_retry, ..plain() });
            assert_eq!(retry.failed(EVEN), Verdict::GiveUp);
        }
    }

    #[test]
    fn staying_alive_starts_the_count_over_but_not_the_pauses() {
        let mut retry = Retry::new(&Settings { max_retry: 2, ..plain() });
        let verdicts: Vec<Verdict> = (0..4).map(|_| retry.failed(EVEN)).collect();
        let again = |millis, started_over| Verdict::Again { after: Duration::from_millis(millis), started_over };
        assert_eq!(verdicts, [again(100, false), again(200, true), again(400, false), again(800, true)]);
    }

    #[test]
    fn success_forgives_all_failures() {
        let mut retry = Retry::new(&Settings { behavior: Behavior::Die, max_retry: 3, ..plain() });
        for _ in 0..100 {
            assert!(matches!(retry.failed(EVEN), Verdict::Again { .. }));
            assert!(matches!(retry.failed(EVEN), Verdict::Again { .. }));
            retry.succeeded();
            assert_eq!(retry.failures(), 0);
        }
    }
}
