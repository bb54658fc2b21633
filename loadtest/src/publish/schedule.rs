//! When which event is due: at a fixed moment, whatever happens.

/// The schedule of one publisher among several, who take turns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The moment of the first event of all, in nanoseconds since the run began.
    pub start: u64,
    /// Events per second over all publishers.
    pub rate: f64,
    /// Which publisher.
    pub publisher: u32,
    /// How many there are.
    pub publishers: u32,
}

impl Schedule {
    /// When this publisher's event of that index is due, in nanoseconds since the run began. Never decreases.
    pub fn due(&self, index: u64) -> u64 {
        let turn = index * u64::from(self.publishers) + u64::from(self.publisher);
        // A rate of nothing has its second event at the end of time.
        self.start.saturating_add((turn as f64 * 1e9 / self.rate) as u64)
    }
}

/// This publisher's part of a number of events.
pub fn share(events: u64, publisher: u32, publishers: u32) -> u64 {
    let (publisher, publishers) = (u64::from(publisher), u64::from(publishers));
    events / publishers + u64::from(publisher < events % publishers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_take_turns_at_even_distances() {
        let (publishers, rate) = (3, 1_000.0);
        let mut moments: Vec<u64> = (0..publishers)
            .map(|publisher| Schedule { start: 5, rate, publisher, publishers })
            .flat_map(|schedule| (0..10).map(move |index| schedule.due(index)))
            .collect();
        moments.sort_unstable();
        assert_eq!(moments, (0..30).map(|turn| 5 + turn * 1_000_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_schedule_does_not_drift() {
        let schedule = Schedule { start: 0, rate: 3.0, publisher: 0, publishers: 1 };
        assert_eq!([1, 2, 3].map(|index| schedule.due(index)), [333_333_333, 666_666_666, 1_000_000_000]);
        // A day of three events per second.
        assert_eq!(schedule.due(3 * 86_400), 86_400 * 1_000_000_000);
        let slow = Schedule { rate: 0.1, ..schedule };
        assert_eq!(slow.due(1), 10_000_000_000);
        let never = Schedule { start: 5, rate: 0.0, ..schedule };
        assert_eq!((never.due(0), never.due(1)), (5, u64::MAX));
    }

    #[test]
    fn shares_add_up() {
        for (events, publishers) in [(0, 1), (10, 3), (2, 5), (1_000_003, 7)] {
            let sum: u64 = (0..publishers).map(|publisher| share(events, publisher, publishers)).sum();
            assert_eq!(sum, events);
        }
    }
}
