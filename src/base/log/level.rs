//! How much a line matters.

/// The seven levels, least first. The two panics exist because configurations name them; no line of ours has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What happens all the time: single events, single publishes.
    #[default]
    Debug,
    /// What an operator may want to know.
    Info,
    /// Works, but not as somebody meant it.
    Warn,
    /// Something failed; the server goes on.
    Error,
    /// Accepted as a threshold only.
    DPanic,
    /// Accepted as a threshold only.
    Panic,
    /// The process ends because of this.
    Fatal,
}

impl Level {
    /// All of them, least first.
    pub const ALL: [Self; 7] =
        [Self::Debug, Self::Info, Self::Warn, Self::Error, Self::DPanic, Self::Panic, Self::Fatal];

    /// The name in lines and settings.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::DPanic => "dpanic",
            Self::Panic => "panic",
            Self::Fatal => "fatal",
        }
    }

    /// Reads a name that is all lower or all upper case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| text == level.name() || text == level.name().to_ascii_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_names_are_read_in_lower_or_upper_case_only() {
        for level in Level::ALL {
            assert_eq!(Level::parse(level.name()), Some(level));
            assert_eq!(Level::parse(&level.name().to_uppercase()), Some(level));
        }
        for bad in ["", "Info", "warning", "trace", " info"] {
            assert_eq!(Level::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn levels_grow_with_what_they_mean() {
        assert!(Level::ALL.is_sorted());
    }
}
