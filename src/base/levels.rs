//! Topics are hierarchical: which prefixes of an event's type are topics that get it.

/// The lengths of the prefixes of `name` that are topics of an event of that type, shortest first, itself last. A name
/// that starts with `/` is split at `/`, any other at `:`.
pub fn levels(name: &[u8]) -> impl Iterator<Item = usize> + Clone + '_ {
    let rooted = name.first() == Some(&b'/');
    let separator = if rooted { b'/' } else { b':' };
    let inner = memchr::memchr_iter(separator, name).filter(move |&at| !(rooted && at == 0));
    inner.chain(std::iter::once(name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(name: &str) -> Vec<&str> {
        levels(name.as_bytes()).map(|len| &name[..len]).collect()
    }

    #[test]
    fn an_event_reaches_every_level_of_its_type() {
        assert_eq!(topics("program:1234:views"), ["program", "program:1234", "program:1234:views"]);
        assert_eq!(topics("a"), ["a"]);
        assert_eq!(topics(""), [""]);
        assert_eq!(topics(":a"), ["", ":a"]);
        assert_eq!(topics("a::b"), ["a", "a:", "a::b"]);
        assert_eq!(topics("a:"), ["a", "a:"]);
        assert_eq!(topics("/pets/dogs:x"), ["/pets", "/pets/dogs:x"]);
        assert_eq!(topics("/"), ["/"]);
    }
}
