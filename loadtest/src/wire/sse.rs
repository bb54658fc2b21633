//! Event streams by the HTML Standard, section 9.2.6: lines, fields, events.
//!
//! Only whole events are taken, so what a stream has to keep between two reads is the beginning of the next event and
//! nothing else.

use std::borrow::Cow;

use memchr::memchr2;

/// One event as it was dispatched, or a comment's worth of nothing: an event without data has only its id to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'b> {
    /// The `event` field; empty where there was none, which means `message`.
    pub name: &'b [u8],
    /// The `data` fields, with a line feed between them.
    pub data: Cow<'b, [u8]>,
    /// The `id` field, if there was one without NUL in it.
    pub id: Option<&'b [u8]>,
}

/// Calls `on_event` for each event that is whole in `bytes`, and returns how many bytes were taken. The rest belongs in
/// front of what comes next. `is_start` says that `bytes` begin the stream, where a byte order mark may stand.
pub fn parse(bytes: &[u8], is_start: bool, mut on_event: impl FnMut(&Event<'_>)) -> usize {
    let mut at = if is_start && bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let (mut taken, mut block) = (at, Block::default());
    while let Some((line, next)) = line(bytes, at) {
        at = next;
        if line.is_empty() {
            if let Some(event) = block.take() {
                on_event(&event);
            }
        } else {
            block.on_line(line);
        }
        // Comments are nothing to keep either.
        if block.is_empty() {
            taken = at;
        }
    }
    taken
}

/// The line at `at` without its end, and where the next one begins. `None` if its end is not there.
fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let end = at + memchr2(b'\n', b'\r', &bytes[at..])?;
    // A carriage return at the very end may be half of a pair. Taking it for a whole line end is right all the same:
    // only after an empty line is anything left behind, and the line feed that may come then is an empty line too.
    let pair = bytes[end..].starts_with(b"\r\n");
    Some((&bytes[at..end], end + 1 + usize::from(pair)))
}

/// The fields since the last empty line.
#[derive(Default)]
struct Block<'b> {
    name: &'b [u8],
    data: Option<Cow<'b, [u8]>>,
    id: Option<&'b [u8]>,
}

impl<'b> Block<'b> {
    fn on_line(&mut self, line: &'b [u8]) {
        let (field, value) = match memchr::memchr(b':', line) {
            Some(at) => (&line[..at], line[at + 1..].strip_prefix(b" ").unwrap_or(&line[at + 1..])),
            None => (line, &[][..]),
        };
        match field {
            b"event" => self.name = value,
            b"id" if !value.contains(&0) => self.id = Some(value),
            b"data" => match &mut self.data {
                None => self.data = Some(Cow::Borrowed(value)),
                Some(data) => {
                    let data = data.to_mut();
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            },
            // Comments, `retry`, and fields that nobody knows.
            _ => {}
        }
    }

    fn is_empty(&self) -> bool {
        self.name.is_empty() && self.data.is_none() && self.id.is_none()
    }

    fn take(&mut self) -> Option<Event<'b>> {
        let Self { name, data, id } = std::mem::take(self);
        (data.is_some() || id.is_some()).then(|| Event { name, data: data.unwrap_or_default(), id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Words = (String, String, Option<String>);

    fn words(event: &Event<'_>) -> Words {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(event.name), text(&event.data), event.id.map(text))
    }

    /// As a reader would: whatever was not taken stands in front of the next bytes.
    fn read(pieces: &[&[u8]]) -> Vec<Words> {
        let (mut kept, mut got, mut is_start) = (Vec::new(), Vec::new(), true);
        for piece in pieces {
            kept.extend_from_slice(piece);
            let taken = parse(&kept, is_start, |event| got.push(words(event)));
            is_start &= taken == 0;
            kept.drain(..taken);
        }
        got
    }

    /// Where the bytes were cut must not matter.
    fn at_every_cut(stream: &str, want: &[(&str, &str, Option<&str>)]) {
        let want: Vec<Words> =
            want.iter().map(|(name, data, id)| (name.to_string(), data.to_string(), id.map(str::to_owned))).collect();
        for cut in 0..=stream.len() {
            let (before, after) = stream.as_bytes().split_at(cut);
            assert_eq!(read(&[before, after]), want, "{stream:?} cut at {cut}");
        }
    }

    #[test]
    fn examples_of_the_standard() {
        at_every_cut("data: YHOO\ndata: +2\ndata: 10\n\n", &[("", "YHOO\n+2\n10", None)]);
        at_every_cut(
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            &[("", "first event", Some("1")), ("", "second event", Some("")), ("", " third event", None)],
        );
        at_every_cut("data\n\ndata\ndata\n\ndata:", &[("", "", None), ("", "\n", None)]);
        at_every_cut("data:test\n\ndata: test\n\n", &[("", "test", None), ("", "test", None)]);
    }

    #[test]
    fn a_line_ends_with_cr_lf_or_both() {
        for end in ["\n", "\r", "\r\n"] {
            let stream = format!("event: add{end}data: 1{end}data: 2{end}id: 7{end}{end}data: 3{end}{end}");
            at_every_cut(&stream, &[("add", "1\n2", Some("7")), ("", "3", None)]);
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_at_the_start_only() {
        at_every_cut("\u{feff}data: 1\n\ndata: 2\n\n", &[("", "1", None), ("", "2", None)]);
        at_every_cut("data: 1\n\n\u{feff}data: 2\n\n", &[("", "1", None)]);
    }

    #[test]
    fn an_event_that_is_not_ended_is_not_told() {
        at_every_cut("data: 1\n", &[]);
        at_every_cut("data: 1", &[]);
    }

    #[test]
    fn fields_have_exact_names() {
        at_every_cut("Data: 1\n data: 2\ndata2: 3\ndata : 4\nevents: x\n\n", &[]);
    }

    #[test]
    fn an_id_with_nul_is_no_id() {
        at_every_cut("id: a\0b\ndata: 1\n\n", &[("", "1", None)]);
    }

    #[test]
    fn an_id_without_data_is_told() {
        at_every_cut("id: 5\n\n", &[("", "", Some("5"))]);
    }
}
