//! HTTP/2 and gRPC as a client writes and reads them: frames, field lists, messages. No more than the server uses.

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// Of SETTINGS and PING.
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const MAX_FRAME_SIZE: u16 = 5;

/// A frame, as it came.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The number that the payload begins with.
    pub fn word(&self) -> u32 {
        u32::from_be_bytes(*self.payload.first_chunk().expect("a payload of four bytes"))
    }
}

/// Takes a whole frame off the front of `bytes`, if it is there. No frame may be longer than `max`.
pub fn take_frame(bytes: &mut Vec<u8>, max: usize) -> Option<Frame> {
    let [a, b, c, kind, flags, id @ ..] = *bytes.first_chunk::<9>()?;
    let len = u32::from_be_bytes([0, a, b, c]) as usize;
    assert!(len <= max, "a frame of {len} bytes, of kind {kind}: at most {max} were allowed");
    if bytes.len() < 9 + len {
        return None;
    }
    let payload = bytes[9..9 + len].to_vec();
    bytes.drain(..9 + len);
    Some(Frame { kind, flags, stream: u32::from_be_bytes(id), payload })
}

pub fn put_frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

pub fn put_settings(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    let payload: Vec<u8> =
        settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    put_frame(SETTINGS, 0, 0, &payload, out);
}

/// A field list: literals without indexing, whose lengths fit one byte or two.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            match text.len() {
                len @ 0..127 => out.push(len as u8),
                len => {
                    assert!(len < 127 + 128, "fields are short here");
                    out.extend_from_slice(&[127, (len - 127) as u8]);
                }
            }
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// The entries of the static table (RFC 7541, appendix A) that answers may name.
fn known(index: usize) -> (&'static str, &'static str) {
    match index {
        8 => (":status", "200"),
        9 => (":status", "204"),
        10 => (":status", "206"),
        11 => (":status", "304"),
        12 => (":status", "400"),
        13 => (":status", "404"),
        14 => (":status", "500"),
        20 => ("access-control-allow-origin", ""),
        22 => ("allow", ""),
        24 => ("cache-control", ""),
        28 => ("content-length", ""),
        31 => ("content-type", ""),
        33 => ("date", ""),
        46 => ("location", ""),
        53 => ("retry-after", ""),
        59 => ("vary", ""),
        index => panic!("entry {index} has no place in an answer"),
    }
}

/// Reads a field list of the server, which keeps no table and knows no Huffman code.
pub fn fields(mut block: &[u8]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    while let Some(&first) = block.first() {
        if first & 0x80 != 0 {
            let (name, value) = known(integer(&mut block, 7));
            assert!(!value.is_empty(), "an indexed field has a value");
            out.push((name.to_owned(), value.to_owned()));
        } else if first & 0xe0 == 0x20 {
            assert_eq!(integer(&mut block, 5), 0, "the server's table has no entries");
        } else {
            assert_eq!(first & 0xf0, 0, "literals without indexing");
            let name = match integer(&mut block, 4) {
                0 => string(&mut block),
                index => known(index).0.to_owned(),
            };
            assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()), "{name}");
            out.push((name, string(&mut block)));
        }
    }
    out
}

fn integer(block: &mut &[u8], bits: u32) -> usize {
    let max = (1usize << bits) - 1;
    let mut value = usize::from(take(block)) & max;
    if value < max {
        return value;
    }
    for shift in (0..).step_by(7) {
        let byte = usize::from(take(block));
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn string(block: &mut &[u8]) -> String {
    assert_eq!(block[0] & 0x80, 0, "no Huffman code");
    let len = integer(block, 7);
    let (text, rest) = block.split_at(len);
    *block = rest;
    String::from_utf8(text.to_vec()).expect("fields are text")
}

fn take(bytes: &mut &[u8]) -> u8 {
    let (&first, rest) = bytes.split_first().expect("a field list is whole");
    *bytes = rest;
    first
}

/// A `proto.Request` with its prefix.
pub fn request(topics: &[String], force_close: bool) -> Vec<u8> {
    let mut message = Vec::new();
    for topic in topics {
        let len = topic.len() as u8;
        message.extend_from_slice(&[0x0a, len + 2, 0x0a, len]);
        message.extend_from_slice(topic.as_bytes());
    }
    if force_close {
        message.extend_from_slice(&[0x10, 1]);
    }
    let mut out = vec![0];
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(&message);
    out
}

/// A `proto.Payload`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Payload {
    pub kind: Option<String>,
    pub data: String,
    pub id: String,
}

/// Takes a whole message off the front of `bytes`, if it is there.
pub fn take_payload(bytes: &mut Vec<u8>) -> Option<Payload> {
    let [compressed, len @ ..] = *bytes.first_chunk::<5>()?;
    assert_eq!(compressed, 0, "nothing is compressed");
    let len = u32::from_be_bytes(len) as usize;
    assert!(len < 1 << 20, "a message of {len} bytes");
    let message = bytes.get(5..5 + len)?;
    let mut payload = Payload::default();
    for (number, value) in strings(message) {
        let text = String::from_utf8(value.to_vec()).expect("fields are text");
        match number {
            1 => {
                let kind = strings(value).into_iter().find(|(number, _)| *number == 1);
                let kind = kind.map_or(String::new(), |(_, text)| String::from_utf8(text.to_vec()).expect("text"));
                payload.kind = Some(kind);
            }
            2 => payload.data = text,
            3 => payload.id = text,
            number => panic!("field {number} of a payload"),
        }
    }
    bytes.drain(..5 + len);
    Some(payload)
}

/// The fields of a message that has only texts and messages.
fn strings(mut message: &[u8]) -> Vec<(u8, &[u8])> {
    let mut out = Vec::new();
    while !message.is_empty() {
        let tag = take(&mut message);
        assert_eq!(tag & 7, 2, "every field has a length");
        let (mut len, mut shift) = (0, 0);
        loop {
            let byte = take(&mut message);
            len |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (value, rest) = message.split_at(len);
        message = rest;
        out.push((tag >> 3, value));
    }
    out
}

#[test]
fn a_field_list_is_read_as_it_was_written() {
    let written = block(&[(":status", "200"), ("grpc-message", &"x".repeat(200))]);
    let read = fields(&[&[0x20, 0x88][..], &written].concat());
    assert_eq!(read.len(), 3);
    assert_eq!(read[0], (":status".to_owned(), "200".to_owned()));
    assert_eq!((read[2].0.as_str(), read[2].1.len()), ("grpc-message", 200));
}

#[test]
fn a_payload_is_read_when_it_is_whole() {
    let whole = b"\0\0\0\0\x0b\x0a\x03\x0a\x01a\x12\x01[\x1a\x012";
    for cut in 0..whole.len() {
        assert_eq!(take_payload(&mut whole[..cut].to_vec()), None);
    }
    let want = Payload { kind: Some("a".into()), data: "[".into(), id: "2".into() };
    assert_eq!(take_payload(&mut whole.to_vec()), Some(want));
}
