//! A reader of event streams, written from the standard, fed piece by piece.

/// One block of a stream, borrowed from the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block<'a> {
    /// An event as a browser would dispatch it, with the id in the block itself, if there was one.
    Event { name: &'a [u8], id: Option<&'a [u8]>, data: &'a [u8] },
    /// A comment.
    Comment(&'a [u8]),
}

/// What of the stream has come but makes no whole block yet.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    name: Vec<u8>,
    id: Option<Vec<u8>>,
    data: Vec<u8>,
    has_data: bool,
}

impl Reader {
    /// Takes bytes in; `see` gets every block that they complete.
    pub fn feed(&mut self, mut bytes: &[u8], mut see: impl FnMut(Block<'_>)) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if self.line.is_empty() {
                self.take_line(&bytes[..end], &mut see);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&bytes[..end]);
                self.take_line(&line, &mut see);
                line.clear();
                self.line = line;
            }
            bytes = &bytes[end + 1..];
        }
        self.line.extend_from_slice(bytes);
    }

    /// Whether the stream stands between two blocks.
    pub fn is_between(&self) -> bool {
        self.line.is_empty() && !self.has_data && self.id.is_none() && self.name.is_empty()
    }

    fn take_line(&mut self, line: &[u8], see: &mut impl FnMut(Block<'_>)) {
        assert!(!line.contains(&b'\r'), "the server ends lines with LF and lets no CR out of its data");
        if line.is_empty() {
            if self.has_data {
                see(Block::Event { name: &self.name, id: self.id.as_deref(), data: &self.data });
            }
            (self.id, self.has_data) = (None, false);
            self.name.clear();
            self.data.clear();
            return;
        }
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let (field, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
        let text = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"" => see(Block::Comment(value)),
            b"event" => self.name = text.to_vec(),
            b"id" => self.id = Some(text.to_vec()),
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(text);
            }
            _ => {}
        }
    }
}

#[test]
fn a_stream_is_read_the_same_at_every_cut() {
    let stream =
        b"retry: 2000\n:ok\n\nid: 7\ndata: a\ndata: b\n\nevent: plasma.gap\ndata: {}\n\n:heartbeat \n\nid: 9\n";
    let want = [":ok", "event  Some([55]) [97, 10, 98]", "event plasma.gap None [123, 125]", ":heartbeat "];
    for cut in 0..=stream.len() {
        let (mut reader, mut got) = (Reader::default(), Vec::new());
        let mut see = |block: Block<'_>| {
            got.push(match block {
                Block::Comment(text) => format!(":{}", String::from_utf8_lossy(text)),
                Block::Event { name, id, data } => {
                    format!("event {} {id:?} {data:?}", String::from_utf8_lossy(name))
                }
            });
        };
        reader.feed(&stream[..cut], &mut see);
        reader.feed(&stream[cut..], &mut see);
        assert_eq!(got, want, "cut at {cut}");
        assert!(!reader.is_between());
    }
}
