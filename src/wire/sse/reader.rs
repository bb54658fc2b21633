//! A reader of event streams, written from the standard alone, for tests.

/// One event as a browser dispatches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// `message` unless it was named.
    pub(crate) event: String,
    pub(crate) data: String,
    /// What the client would send as `Last-Event-ID` from now on.
    pub(crate) last_id: String,
}

/// All complete events of `stream`. Blocks without data dispatch nothing; an id of theirs counts.
pub(crate) fn read(stream: &[u8]) -> Vec<Block> {
    let text = String::from_utf8_lossy(stream).replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<_> = text.split('\n').collect();
    lines.pop(); // a line counts once it has ended
    let (mut blocks, mut event, mut data, mut last_id) = (Vec::new(), "", None::<String>, String::new());
    for line in lines {
        if line.is_empty() {
            if let Some(data) = data.take() {
                let event = if event.is_empty() { "message" } else { event }.to_owned();
                blocks.push(Block { event, data, last_id: last_id.clone() });
            }
            event = "";
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => event = value,
            "data" => match &mut data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => data = Some(value.to_owned()),
            },
            "id" if !value.contains('\0') => last_id = value.to_owned(),
            _ => {}
        }
    }
    blocks
}

#[test]
fn the_examples_of_the_standard_are_read_as_it_says() {
    let block = |event: &str, data: &str, last_id: &str| Block {
        event: event.into(),
        data: data.into(),
        last_id: last_id.into(),
    };
    assert_eq!(read(b"data: YHOO\ndata: +2\ndata: 10\n\n"), [block("message", "YHOO\n+2\n10", "")]);
    assert_eq!(
        read(b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event"),
        [block("message", "first event", "1"), block("message", "second event", "")]
    );
    assert_eq!(read(b"data\n\ndata\ndata\n\ndata:"), [block("message", "", ""), block("message", "\n", "")]);
    assert_eq!(read(b"event: add\r\ndata: 1\r\rdata:x\r\n\r\n"), [block("add", "1", ""), block("message", "x", "")]);
}
