//! Frames (RFC 9113 §4, §6), one builder for each, right or wrong.

/// Longest payload that either side takes without having said otherwise (§4.2).
pub const FRAME_LEN_MAX: usize = 16_384;

/// Flow-control windows until somebody says otherwise (§6.9.2).
pub const WINDOW: usize = 65_535;

/// Largest window (§6.9.1).
pub const WINDOW_MAX: u32 = (1 << 31) - 1;

/// Frame types (§6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags.
pub const ACK: u8 = 0x1;
pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
pub const WITH_PRIORITY: u8 = 0x20;

/// Settings (§6.5.2).
pub const HEADER_TABLE_SIZE: u16 = 1;
pub const ENABLE_PUSH: u16 = 2;
pub const MAX_CONCURRENT_STREAMS: u16 = 3;
pub const INITIAL_WINDOW_SIZE: u16 = 4;
pub const MAX_FRAME_SIZE: u16 = 5;
pub const MAX_HEADER_LIST_SIZE: u16 = 6;

/// Error codes (§7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    NoError,
    ProtocolError,
    InternalError,
    FlowControlError,
    SettingsTimeout,
    StreamClosed,
    FrameSizeError,
    RefusedStream,
    Cancel,
    CompressionError,
    ConnectError,
    EnhanceYourCalm,
    InadequateSecurity,
    Http11Required,
    Unknown(u32),
}

impl Code {
    const KNOWN: [Self; 14] = [
        Self::NoError,
        Self::ProtocolError,
        Self::InternalError,
        Self::FlowControlError,
        Self::SettingsTimeout,
        Self::StreamClosed,
        Self::FrameSizeError,
        Self::RefusedStream,
        Self::Cancel,
        Self::CompressionError,
        Self::ConnectError,
        Self::EnhanceYourCalm,
        Self::InadequateSecurity,
        Self::Http11Required,
    ];

    pub fn number(self) -> u32 {
        match self {
            Self::Unknown(number) => number,
            known => Self::KNOWN.iter().position(|code| *code == known).expect("every code but one is listed") as u32,
        }
    }

    pub fn of(number: u32) -> Self {
        Self::KNOWN.get(number as usize).copied().unwrap_or(Self::Unknown(number))
    }
}

/// A frame to be sent.
#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Any frame at all.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// More flags.
    pub fn flag(mut self, flags: u8) -> Self {
        self.flags |= flags;
        self
    }

    /// The last of its stream.
    pub fn end_stream(self) -> Self {
        self.flag(END_STREAM)
    }

    /// The last of its field block.
    pub fn end_headers(self) -> Self {
        self.flag(END_HEADERS)
    }

    /// With so much padding.
    pub fn padded(mut self, len: u8) -> Self {
        self.payload.insert(0, len);
        self.payload.resize(self.payload.len() + usize::from(len), 0);
        self.flag(PADDED)
    }

    /// With the fields of a deprecated priority in front of the field block; to be padded afterwards, if at all.
    pub fn depending(mut self, on: u32, weight: u8) -> Self {
        self.payload.splice(0..0, dependency(on, weight));
        self.flag(WITH_PRIORITY)
    }

    /// As it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = frame_head(self.payload.len(), self.kind, self.flags, self.stream);
        bytes.extend_from_slice(&self.payload);
        bytes
    }
}

/// The nine octets before a payload.
pub fn frame_head(len: usize, kind: u8, flags: u8, stream: u32) -> Vec<u8> {
    let mut head = (len as u32).to_be_bytes()[1..].to_vec();
    head.extend([kind, flags]);
    head.extend(stream.to_be_bytes());
    head
}

pub fn data(stream: u32, bytes: impl Into<Vec<u8>>) -> Frame {
    Frame::new(DATA, 0, stream, bytes)
}

pub fn headers(stream: u32, block: impl Into<Vec<u8>>) -> Frame {
    Frame::new(HEADERS, 0, stream, block)
}

pub fn continuation(stream: u32, block: impl Into<Vec<u8>>) -> Frame {
    Frame::new(CONTINUATION, 0, stream, block)
}

pub fn priority(stream: u32, on: u32, weight: u8) -> Frame {
    Frame::new(PRIORITY, 0, stream, dependency(on, weight))
}

pub fn reset(stream: u32, code: Code) -> Frame {
    Frame::new(RST_STREAM, 0, stream, code.number().to_be_bytes())
}

pub fn settings(settings: &[(u16, u32)]) -> Frame {
    let pairs = settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    Frame::new(SETTINGS, 0, 0, pairs.collect::<Vec<u8>>())
}

pub fn settings_ack() -> Frame {
    settings(&[]).flag(ACK)
}

pub fn ping(opaque: [u8; 8]) -> Frame {
    Frame::new(PING, 0, 0, opaque)
}

pub fn goaway(last: u32, code: Code) -> Frame {
    Frame::new(GOAWAY, 0, 0, [last.to_be_bytes(), code.number().to_be_bytes()].concat())
}

pub fn window_update(stream: u32, increment: u32) -> Frame {
    Frame::new(WINDOW_UPDATE, 0, stream, increment.to_be_bytes())
}

pub fn push_promise(stream: u32, promised: u32, block: &[u8]) -> Frame {
    Frame::new(PUSH_PROMISE, 0, stream, [&promised.to_be_bytes()[..], block].concat())
}

fn dependency(on: u32, weight: u8) -> Vec<u8> {
    [&on.to_be_bytes()[..], &[weight]].concat()
}

/// The frame that begins at `at`, and where it ends.
pub fn parse(buffer: &[u8], at: usize) -> Option<(Frame, usize)> {
    let head = buffer.get(at..at + 9)?;
    let end = at + 9 + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let payload = buffer.get(at + 9..end)?;
    Some((Frame::new(head[3], head[4], number_of(&head[5..]), payload), end))
}

pub fn number_of(octets: &[u8]) -> u32 {
    u32::from_be_bytes(octets.try_into().expect("four octets"))
}

/// The payload without padding and deprecated priority.
pub fn unpadded(frame: &Frame) -> &[u8] {
    let payload = &frame.payload[..];
    let payload = match frame.flags & PADDED {
        0 => payload,
        _ => &payload[1..payload.len() - usize::from(payload[0])],
    };
    if frame.kind == HEADERS && frame.flags & WITH_PRIORITY != 0 { &payload[5..] } else { payload }
}
