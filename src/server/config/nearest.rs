//! What somebody who mistyped a name probably meant.

/// The candidate that takes the fewest letters added or removed. A letter replaced counts as two: who leaves out a word
/// of a long name means that name rather than another one of the same length.
pub fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates.into_iter().min_by_key(|candidate| distance(typed.as_bytes(), candidate.as_bytes()))
}

/// Edit distance, one row at a time.
fn distance(from: &[u8], to: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, a) in from.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (at, b) in to.iter().enumerate() {
            let cost = diagonal + 2 * usize::from(a != b);
            diagonal = row[at + 1];
            row[at + 1] = cost.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_letters_added_or_removed() {
        for (from, to, want) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("kitten", "sitting", 5),
            ("PORT", "PROT", 2),
        ] {
            assert_eq!(distance(from.as_bytes(), to.as_bytes()), want, "{from} {to}");
        }
    }
}
