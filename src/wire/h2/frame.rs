//! Frames: nine bytes of head, then what the kind says (RFC 9113 §4.1, §6).

/// Bytes of a frame's head.
pub const HEAD_LEN: usize = 9;

/// Longest payload that we take, and the longest that every peer takes (RFC 9113 §4.2).
pub const PAYLOAD_LEN_MAX: usize = 16_384;

/// Largest window there is (RFC 9113 §6.9.1).
pub const WINDOW_MAX: u32 = (1 << 31) - 1;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of RFC 9113 §6")]
pub enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// One that we do not know and ignore (RFC 9113 §5.5).
    Unknown(u8),
}

const KINDS: [Kind; 10] = [
    Kind::Data,
    Kind::Headers,
    Kind::Priority,
    Kind::RstStream,
    Kind::Settings,
    Kind::PushPromise,
    Kind::Ping,
    Kind::GoAway,
    Kind::WindowUpdate,
    Kind::Continuation,
];

impl Kind {
    fn of(byte: u8) -> Self {
        KINDS.get(usize::from(byte)).copied().unwrap_or(Self::Unknown(byte))
    }

    fn byte(self) -> u8 {
        match self {
            Self::Unknown(byte) => byte,
            known => KINDS.iter().position(|kind| *kind == known).expect("every known kind is listed") as u8,
        }
    }

    /// Whether it carries a field block, so that a mistake in it concerns the whole connection.
    pub fn has_block(self) -> bool {
        matches!(self, Self::Headers | Self::PushPromise | Self::Continuation)
    }
}

/// No more of this stream follows: DATA and HEADERS.
pub const END_STREAM: u8 = 0x1;
/// An answer: SETTINGS and PING.
pub const ACK: u8 = 0x1;
/// No CONTINUATION follows.
pub const END_HEADERS: u8 = 0x4;
/// The payload begins with a length of padding and ends with that.
pub const PADDED: u8 = 0x8;
/// Five bytes of priority come before the block.
pub const PRIORITY: u8 = 0x20;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Length of the payload in bytes.
    pub len: usize,
    /// What it is.
    pub kind: Kind,
    /// Flags that have no meaning for the kind are ignored.
    pub flags: u8,
    /// The stream; 0 is the connection.
    pub stream: u32,
}

impl Head {
    /// Reads the head that `bytes` begin with; `None` when there are too few.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = *bytes.first_chunk::<HEAD_LEN>()?;
        Some(Self {
            len: u32::from_be_bytes([0, a, b, c]) as usize,
            kind: Kind::of(kind),
            flags,
            // The reserved bit is ignored.
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
        })
    }

    /// The head as bytes.
    pub fn to_bytes(self) -> [u8; HEAD_LEN] {
        let [_, a, b, c] = (self.len as u32).to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [a, b, c, self.kind.byte(), self.flags, s0, s1, s2, s3]
    }

    /// Whether `flag` is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Appends a frame.
pub fn write(kind: Kind, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&Head { len: payload.len(), kind, flags, stream }.to_bytes());
    out.extend_from_slice(payload);
}

/// What went wrong (RFC 9113 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[expect(missing_docs, reason = "the names are those of RFC 9113 §7")]
pub enum Code {
    NoError = 0,
    ProtocolError = 1,
    InternalError = 2,
    FlowControlError = 3,
    SettingsTimeout = 4,
    StreamClosed = 5,
    FrameSizeError = 6,
    RefusedStream = 7,
    Cancel = 8,
    CompressionError = 9,
    ConnectError = 10,
    EnhanceYourCalm = 11,
    InadequateSecurity = 12,
    Http11Required = 13,
}

/// The settings that somebody here cares about (RFC 9113 §6.5.2).
pub mod setting {
    /// Bytes of the decoder's table.
    pub const HEADER_TABLE_SIZE: u16 = 1;
    /// Whether the server may push.
    pub const ENABLE_PUSH: u16 = 2;
    /// Streams open at a time.
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    /// Bytes that a new stream may be sent.
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    /// Longest payload.
    pub const MAX_FRAME_SIZE: u16 = 5;
    /// Longest field list.
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// Appends SETTINGS.
pub fn write_settings(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(settings.len() * 6);
    for (id, value) in settings {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    write(Kind::Settings, 0, 0, &payload, out);
}

/// Identifiers and values of a SETTINGS payload, whose length is a multiple of six.
pub fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> {
    payload.chunks_exact(6).map(|entry| {
        (u16::from_be_bytes([entry[0], entry[1]]), u32::from_be_bytes([entry[2], entry[3], entry[4], entry[5]]))
    })
}

/// Appends RST_STREAM.
pub fn write_reset(stream: u32, code: Code, out: &mut Vec<u8>) {
    write(Kind::RstStream, 0, stream, &(code as u32).to_be_bytes(), out);
}

/// Appends WINDOW_UPDATE for a stream, or for the connection (0).
pub fn write_window_update(stream: u32, increment: u32, out: &mut Vec<u8>) {
    write(Kind::WindowUpdate, 0, stream, &increment.to_be_bytes(), out);
}

/// Appends GOAWAY: streams up to `last` are or were served.
pub fn write_go_away(last: u32, code: Code, words: &[u8], out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(8 + words.len());
    payload.extend_from_slice(&last.to_be_bytes());
    payload.extend_from_slice(&(code as u32).to_be_bytes());
    payload.extend_from_slice(words);
    write(Kind::GoAway, 0, 0, &payload, out);
}

/// The 31 bits that a payload of four bytes carries.
pub fn word(payload: &[u8]) -> u32 {
    payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes) & WINDOW_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_nine_bytes_and_reads_back() {
        let head = Head { len: 0x012345, kind: Kind::Headers, flags: 0x25, stream: 0x7fff_fffe };
        let bytes = head.to_bytes();
        assert_eq!(bytes, [0x01, 0x23, 0x45, 1, 0x25, 0x7f, 0xff, 0xff, 0xfe]);
        assert_eq!(Head::parse(&bytes), Some(head));
        assert_eq!(Head::parse(&bytes[..8]), None);
    }

    #[test]
    fn the_reserved_bit_is_ignored_and_unknown_kinds_pass() {
        let head = Head::parse(&[0, 0, 0, 0xfa, 0, 0x80, 0, 0, 1]).unwrap();
        assert_eq!((head.kind, head.stream), (Kind::Unknown(0xfa), 1));
        assert_eq!(head.to_bytes()[3], 0xfa);
    }

    #[test]
    fn settings_read_back() {
        let mut out = Vec::new();
        write_settings(&[(setting::HEADER_TABLE_SIZE, 0), (setting::INITIAL_WINDOW_SIZE, 70_000)], &mut out);
        let read: Vec<(u16, u32)> = settings(&out[HEAD_LEN..]).collect();
        assert_eq!(read, [(1, 0), (4, 70_000)]);
    }
}
