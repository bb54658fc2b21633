//! The levels of a hierarchical event type: which topics an event reaches.
//!
//! A type that starts with `/` is split at `/`, any other at `:`. The type itself is always the last level.

use memchr::memchr;

/// Lengths of the prefixes of `kind` that are topics of an event of this type, shortest first.
///
/// `a:b:c` yields `a`, `a:b` and `a:b:c`; `/a/b` yields `/a` and `/a/b`. Empty segments are levels like any other, so
/// `:a` reaches the empty topic, except before the slash that a path starts with.
pub fn levels(kind: &[u8]) -> Levels<'_> {
    let is_path = kind.first() == Some(&b'/');
    Levels { kind, separator: if is_path { b'/' } else { b':' }, search_from: Some(usize::from(is_path)) }
}

/// Iterator of [`levels`].
#[derive(Clone, Debug)]
pub struct Levels<'a> {
    kind: &'a [u8],
    separator: u8,
    /// Where the search for the next separator starts; `None` after the whole type was yielded.
    search_from: Option<usize>,
}

impl Iterator for Levels<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let from = self.search_from?;
        match memchr(self.separator, &self.kind[from..]) {
            Some(at) => {
                self.search_from = Some(from + at + 1);
                Some(from + at)
            }
            None => {
                self.search_from = None;
                Some(self.kind.len())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topics(kind: &str) -> Vec<&str> {
        levels(kind.as_bytes()).map(|len| &kind[..len]).collect()
    }

    #[test]
    fn every_prefix_before_a_colon_is_a_topic() {
        assert_eq!(topics("program:1234:views"), ["program", "program:1234", "program:1234:views"]);
        assert_eq!(topics("a"), ["a"]);
        assert_eq!(topics("a/b:c"), ["a/b", "a/b:c"]);
    }

    #[test]
    fn empty_segments_are_levels() {
        assert_eq!(topics(""), [""]);
        assert_eq!(topics(":a"), ["", ":a"]);
        assert_eq!(topics("a::b"), ["a", "a:", "a::b"]);
        assert_eq!(topics("a:"), ["a", "a:"]);
    }

    #[test]
    fn a_type_that_starts_with_a_slash_is_split_at_slashes() {
        assert_eq!(topics("/a/b"), ["/a", "/a/b"]);
        assert_eq!(topics("/a:b/c"), ["/a:b", "/a:b/c"]);
        assert_eq!(topics("/"), ["/"]);
        assert_eq!(topics("//a"), ["/", "//a"]);
        assert_eq!(topics("/a/"), ["/a", "/a/"]);
    }

    proptest! {
        #[test]
        fn levels_grow_and_end_with_the_type(kind in proptest::collection::vec(any::<u8>(), 0..64)) {
            let lengths: Vec<_> = levels(&kind).collect();
            prop_assert!(lengths.is_sorted_by(|a, b| a < b));
            prop_assert_eq!(lengths.last(), Some(&kind.len()));
        }
    }
}
