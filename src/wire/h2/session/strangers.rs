//! What is remembered of streams that are closed, as far as it changes what their frames mean.
//!
//! Most connections never need this: it is there once we have reset a stream or the peer has left out a number.

/// Streams that we reset and still hear of: what was under way when the peer learned of it is ignored (RFC 9113 §5.1).
/// Later ones push earlier ones out.
const RESETS_MAX: usize = 32;

/// Numbers left out. A peer that jumps more often is taken to have used them.
const SKIPS_MAX: usize = 8;

#[derive(Default)]
pub(super) struct Strangers {
    resets: Vec<u32>,
    /// First and last of each run of numbers that were never used.
    skips: Vec<(u32, u32)>,
}

impl Strangers {
    pub fn note_reset(&mut self, id: u32) {
        if self.resets.len() == RESETS_MAX {
            self.resets.remove(0);
        }
        self.resets.push(id);
    }

    pub fn note_skip(&mut self, first: u32, last: u32) {
        if self.skips.len() == SKIPS_MAX {
            self.skips.remove(0);
        }
        self.skips.push((first, last));
    }

    /// Whether it was we who gave that stream up.
    pub fn was_reset(&self, id: u32) -> bool {
        self.resets.contains(&id)
    }

    /// Whether that stream was never opened although later ones were (RFC 9113 §5.1.1).
    pub fn was_skipped(&self, id: u32) -> bool {
        self.skips.iter().any(|&(first, last)| (first..=last).contains(&id))
    }
}
