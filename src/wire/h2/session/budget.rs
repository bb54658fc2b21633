//! How much a peer may ask for that gets nobody anything: floods of frames that are cheap to send.

use crate::base::limits::{H2_CONTROL_FRAMES_MAX, H2_CONTROL_FRAMES_PER_TICK};

/// PINGs that come too early and are forgiven until there is other traffic: a client may look for a sign of life in a
/// hurry, or measure the way, but not for ever.
const PING_STRIKES_MAX: u8 = 60;

/// A bucket of frames, and the PINGs. 16 bytes.
pub(super) struct Budget {
    left: u16,
    filled_at: u32,
    pinged_at: u32,
    strikes: u8,
}

impl Budget {
    pub fn new(tick: u32) -> Self {
        Self { left: H2_CONTROL_FRAMES_MAX, filled_at: tick, pinged_at: tick, strikes: 0 }
    }

    /// Takes one from the bucket; whether there was one left.
    pub fn charge(&mut self, tick: u32) -> bool {
        let passed = tick.wrapping_sub(self.filled_at);
        if passed > 0 {
            let more = passed.saturating_mul(H2_CONTROL_FRAMES_PER_TICK);
            self.left = (u32::from(self.left).saturating_add(more)).min(u32::from(H2_CONTROL_FRAMES_MAX)) as u16;
            self.filled_at = tick;
        }
        let had = self.left > 0;
        self.left -= u16::from(had);
        had
    }

    /// A PING came, that should not come more often than `every` so many ticks; whether that is still bearable.
    pub fn take_ping(&mut self, tick: u32, every: u32) -> bool {
        let early = tick.wrapping_sub(self.pinged_at) < every;
        self.pinged_at = tick;
        self.strikes = if early { self.strikes + 1 } else { 0 };
        self.strikes <= PING_STRIKES_MAX
    }

    /// DATA goes out or a request comes: PINGs that go with that are not counted, gRPC clients measure their windows
    /// with them.
    pub fn note_traffic(&mut self) {
        self.strikes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_empty_at_its_edge_and_fills_with_time() {
        let mut budget = Budget::new(7);
        assert!((0..H2_CONTROL_FRAMES_MAX).all(|_| budget.charge(7)));
        assert!(!budget.charge(7));
        assert!((0..H2_CONTROL_FRAMES_PER_TICK).all(|_| budget.charge(8)));
        assert!(!budget.charge(8));
        assert!((0..H2_CONTROL_FRAMES_MAX).all(|_| budget.charge(1_000_000)));
        assert!(!budget.charge(1_000_000));
    }

    #[test]
    fn pings_are_forgiven_when_they_are_rare_or_answer_data() {
        let mut budget = Budget::new(0);
        assert!((1..100).all(|n| budget.take_ping(n * 10, 10)));
        assert!((0..PING_STRIKES_MAX).all(|_| budget.take_ping(990, 10)));
        budget.note_traffic();
        assert!((0..PING_STRIKES_MAX).all(|_| budget.take_ping(991, 10)));
        assert!(!budget.take_ping(992, 10));
    }
}
