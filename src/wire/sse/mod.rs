//! Server-Sent Events: the lines of an event stream (WHATWG HTML, "Server-sent events").
//!
//! A block is any of [`id`], [`event`], [`data`] and [`comment`], closed by [`end`]. Nothing here can break out of its
//! line: what would is split or dropped.

#[cfg(test)]
pub(crate) mod reader;

use memchr::memchr2;

use crate::base::id::EventId;

/// Why events may be missing from a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The client was too slow, and what it had not read yet was overwritten.
    Lapped,
    /// The id to resume from is older than what is held.
    Expired,
    /// The link to the broker was lost for a while.
    Upstream,
    /// The id to resume from is newer than the newest event: another process gave it.
    Unknown,
}

impl Reason {
    /// Its name on the wire and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lapped => "lapped",
            Self::Expired => "expired",
            Self::Upstream => "upstream",
            Self::Unknown => "unknown",
        }
    }
}

/// Appends how long a client is to wait before it connects again. Belongs to whatever block follows.
pub fn retry(millis: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"retry: ");
    out.extend_from_slice(itoa::Buffer::new().format(millis).as_bytes());
    out.push(b'\n');
}

/// Appends a comment, of several lines if `text` has them. There is no blank after the colon but that of `text`.
pub fn comment(text: &[u8], out: &mut Vec<u8>) {
    write_lines(b":", text, out);
}

/// Appends the id that a client is to resume from.
pub fn id(id: EventId, out: &mut Vec<u8>) {
    out.extend_from_slice(b"id: ");
    out.extend_from_slice(itoa::Buffer::new().format(id.get()).as_bytes());
    out.push(b'\n');
}

/// Appends an id that is none of ours. Line breaks and NUL, which a client would not take, are dropped.
pub fn foreign_id(id: &[u8], out: &mut Vec<u8>) {
    write_single_line(b"id: ", id, out);
}

/// Appends the name of an event. Line breaks are dropped.
pub fn event(name: &[u8], out: &mut Vec<u8>) {
    write_single_line(b"event: ", name, out);
}

/// Appends data, a line of it per `data:` line; CR, LF and CRLF each break a line, and a client joins them by LF.
pub fn data(text: &[u8], out: &mut Vec<u8>) {
    write_lines(b"data: ", text, out);
}

/// Closes a block.
pub fn end(out: &mut Vec<u8>) {
    out.push(b'\n');
}

/// Appends the notice that events are missing between `lost_from` and `lost_to`, both exclusive, `None` where unknown.
/// It has no id: a client resumes from where it was.
pub fn gap(lost_from: Option<EventId>, lost_to: Option<EventId>, reason: Reason, out: &mut Vec<u8>) {
    event(b"plasma.gap", out);
    out.extend_from_slice(b"data: ");
    gap_json(lost_from, lost_to, reason, out);
    out.push(b'\n');
    end(out);
}

/// Appends the data of a gap notice. Ids are strings: JavaScript has no integers beyond 2^53.
pub fn gap_json(lost_from: Option<EventId>, lost_to: Option<EventId>, reason: Reason, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"lost_from\":");
    write_json_id(lost_from, out);
    out.extend_from_slice(b",\"lost_to\":");
    write_json_id(lost_to, out);
    out.extend_from_slice(b",\"reason\":\"");
    out.extend_from_slice(reason.as_str().as_bytes());
    out.extend_from_slice(b"\"}");
}

fn write_json_id(id: Option<EventId>, out: &mut Vec<u8>) {
    let Some(id) = id else { return out.extend_from_slice(b"null") };
    out.push(b'"');
    out.extend_from_slice(itoa::Buffer::new().format(id.get()).as_bytes());
    out.push(b'"');
}

fn write_lines(name: &[u8], text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    loop {
        let len = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let (line, after) = rest.split_at(len);
        out.extend_from_slice(name);
        out.extend_from_slice(line);
        out.push(b'\n');
        rest = match after {
            [b'\r', b'\n', rest @ ..] | [b'\r' | b'\n', rest @ ..] => rest,
            _ => return,
        };
    }
}

fn write_single_line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::reader::{Block, read};
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_written_as_the_original_does() {
        assert_eq!(written(|out| retry(2000, out)), "retry: 2000\n");
        assert_eq!(written(|out| retry(-1, out)), "retry: -1\n");
        assert_eq!(written(|out| comment(b"heartbeat ", out)), ":heartbeat \n");
        assert_eq!(written(|out| id(EventId::from_raw(7), out)), "id: 7\n");
        assert_eq!(written(|out| event(b"a\r\nid: 1\0", out)), "event: aid: 1\n");
        assert_eq!(written(|out| foreign_id(b"a-1\n", out)), "id: a-1\n");
    }

    #[test]
    fn data_is_split_at_every_kind_of_line_break() {
        assert_eq!(
            written(|out| data(b"a\nb\rc\r\nd\n\re", out)),
            "data: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\n"
        );
        assert_eq!(written(|out| data(b"", out)), "data: \n");
        assert_eq!(written(|out| data(b"a\n", out)), "data: a\ndata: \n");
        assert_eq!(written(|out| comment(b"a\nb", out)), ":a\n:b\n");
    }

    #[test]
    fn a_gap_notice_names_what_is_known() {
        let (from, to) = (EventId::from_raw(123), EventId::from_raw(u64::MAX));
        assert_eq!(
            written(|out| gap(Some(from), Some(to), Reason::Lapped, out)),
            "event: plasma.gap\n\
             data: {\"lost_from\":\"123\",\"lost_to\":\"18446744073709551615\",\"reason\":\"lapped\"}\n\n"
        );
        for (reason, name) in
            [(Reason::Expired, "expired"), (Reason::Upstream, "upstream"), (Reason::Unknown, "unknown")]
        {
            assert_eq!(
                written(|out| gap(None, None, reason, out)),
                format!("event: plasma.gap\ndata: {{\"lost_from\":null,\"lost_to\":null,\"reason\":\"{name}\"}}\n\n")
            );
        }
    }

    proptest! {
        #[test]
        fn blocks_are_read_back(
            number in 1u64..,
            name in "[a-z\u{e9}.]{1,9}",
            text in "([a: \u{e9}]|\r|\n|\r\n){0,24}",
            note in "[a:\r\n]{0,9}",
        ) {
            let mut out = Vec::new();
            comment(note.as_bytes(), &mut out);
            id(EventId::from_raw(number), &mut out);
            event(name.as_bytes(), &mut out);
            data(text.as_bytes(), &mut out);
            end(&mut out);
            gap(None, None, Reason::Lapped, &mut out);
            let read = read(&out);
            prop_assert_eq!(read.len(), 2);
            let data = text.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(&read[0], &Block { event: name, data, last_id: number.to_string() });
            prop_assert_eq!(&read[1].event, "plasma.gap");
            prop_assert_eq!(&read[1].last_id, &number.to_string());
        }
    }
}
