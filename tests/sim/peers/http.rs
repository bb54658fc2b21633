//! The answers of an HTTP/1.1 server as a client reads them: a head, then a body by length or until the end.

/// A head, as far as these clients care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// Length of the body; `None` for one that lasts until the connection ends.
    pub body_len: Option<usize>,
    /// Whether the server will close the connection.
    pub closes: bool,
    /// Whether the body is an event stream.
    pub events: bool,
}

/// Takes a whole head off the front of `bytes`, if it is there.
pub fn take_head(bytes: &mut Vec<u8>) -> Option<Head> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..end]).expect("a head is text");
    let mut lines = text.split("\r\n");
    let start = lines.next().unwrap_or_default();
    let status = start.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status line: {start:?}"));
    let mut head = Head { status, body_len: None, closes: false, events: false };
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        match name.to_ascii_lowercase().as_str() {
            "content-length" => head.body_len = Some(value.parse().expect("a length is a number")),
            "connection" => head.closes = value.eq_ignore_ascii_case("close"),
            "content-type" => head.events = value == "text/event-stream",
            _ => {}
        }
    }
    bytes.drain(..end);
    Some(head)
}
