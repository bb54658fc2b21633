//! `--only`: which of the things that can be measured are wanted.

use crate::Failure;

/// Names, or the parts of names before their slash. Without any, everything is wanted.
#[derive(Debug, Default, PartialEq)]
pub struct Selection(Vec<String>);

impl Selection {
    /// From words with commas between them.
    pub fn named(words: &str) -> Self {
        Self(words.split(',').map(str::to_owned).collect())
    }

    /// Whether everything is wanted.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `name` is wanted.
    pub fn takes(&self, name: &str) -> bool {
        self.is_all() || self.0.iter().any(|word| is_meant(word, name))
    }

    /// Fails when a word means none of `names`.
    pub fn check(&self, names: &[&str]) -> Result<(), Failure> {
        match self.0.iter().find(|word| !names.iter().any(|name| is_meant(word, name))) {
            Some(word) => Err(format!("--only {word:?}: there are {}", names.join(", ")).into()),
            None => Ok(()),
        }
    }
}

/// Whether `word` is `name`, or what stands before its slash.
fn is_meant(word: &str, name: &str) -> bool {
    name.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["poll/arm", "poll/cancel", "turn"];

    #[test]
    fn nothing_said_means_everything() {
        assert!(NAMES.iter().all(|name| Selection::default().takes(name)));
    }

    #[test]
    fn a_word_means_a_name_or_all_with_that_beginning() {
        let wanted = |words| NAMES.map(|name| Selection::named(words).takes(name));
        assert_eq!(wanted("poll"), [true, true, false]);
        assert_eq!(wanted("poll/arm,turn"), [true, false, true]);
        assert_eq!(wanted("pol,tur"), [false; 3]);
    }

    #[test]
    fn a_word_that_means_nothing_is_told_with_what_there_is() {
        assert!(Selection::named("poll,turn").check(&NAMES).is_ok());
        let error = Selection::named("turn,fly").check(&NAMES).expect_err("nothing flies").to_string();
        assert!(error.contains("\"fly\"") && error.contains("poll/cancel"), "{error}");
    }
}
