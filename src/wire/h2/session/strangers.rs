//! What is remembered of streams that are closed, as far as it changes what their frames mean.
//!
//! Most connections never need this: it is there once we have reset a stream or the peer has left out a number.

/// Streams that were reset and are remembered. Later ones push earlier ones out.
const RESETS_MAX: usize = 64;

/// Numbers left out. A peer that jumps more often is taken to have used them.
const SKIPS_MAX: usize = 8;

/// Who gave a stream up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// What was under way when the peer learned of it is ignored (RFC 9113 §5.1).
    Ours,
    /// It knows, and may send nothing on it.
    Theirs,
}

#[derive(Default)]
pub(super) struct Strangers {
    /// The streams, and whether it was we who gave them up.
    resets: Vec<(u32, bool)>,
    /// Some were pushed out: nobody knows any more how the others ended.
    has_forgotten: bool,
    /// First and last of each run of numbers that were never used.
    skips: Vec<(u32, u32)>,
}

impl Strangers {
    pub fn note_reset(&mut self, id: u32, by: Side) {
        if self.resets.len() == RESETS_MAX {
            self.resets.remove(0);
            self.has_forgotten = true;
        }
        self.resets.push((id, by == Side::Ours));
    }

    pub fn note_skip(&mut self, first: u32, last: u32) {
        if self.skips.len() == SKIPS_MAX {
            self.skips.remove(0);
        }
        self.skips.push((first, last));
    }

    /// Who gave that stream up, if anybody did. Where that is forgotten, it was we: nothing is held against a peer that
    /// could not know.
    pub fn reset_by(&self, id: u32) -> Option<Side> {
        match self.resets.iter().find(|(known, _)| *known == id) {
            Some((_, true)) => Some(Side::Ours),
            Some((_, false)) => Some(Side::Theirs),
            None => self.has_forgotten.then_some(Side::Ours),
        }
    }

    /// Whether that stream was never opened although later ones were (RFC 9113 §5.1.1).
    pub fn was_skipped(&self, id: u32) -> bool {
        self.skips.iter().any(|&(first, last)| (first..=last).contains(&id))
    }
}
