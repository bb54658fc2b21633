//! Deadlines: how long a test is willing to wait for something that should happen at once.

use std::thread;
use std::time::{Duration, Instant};

/// For whatever should happen at once: long enough for a busy machine, short enough to end a hung test.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at something that cannot be waited for otherwise.
const PAUSE: Duration = Duration::from_millis(5);

/// The end of a wait.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// `wait` from now.
    pub fn after(wait: Duration) -> Self {
        Self(Instant::now() + wait)
    }

    /// [`PATIENCE`] from now.
    pub fn patient() -> Self {
        Self::after(PATIENCE)
    }

    /// What is left of it, `None` when it has passed.
    pub fn remaining(self) -> Option<Duration> {
        self.0.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}

/// Looks again and again until `look` finds something; fails when the deadline comes first.
pub fn until<T>(what: &str, deadline: Deadline, mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(deadline.remaining().is_some(), "in vain: {what}");
        thread::park_timeout(PAUSE);
    }
}

/// Lets time pass, for tests of how the server bears a peer that is slow on purpose.
pub fn pass(deadline: Deadline) {
    while let Some(left) = deadline.remaining() {
        thread::park_timeout(left);
    }
}
