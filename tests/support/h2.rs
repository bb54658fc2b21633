//! An HTTP/2 peer (RFC 9113) that sends whatever a test wants to be sent, right or wrong, and holds the server to the
//! letter: what it receives is checked before a test sees it.
//!
//! Frames are values ([`Frame`]), received ones are [`Event`]s. Every wait has a deadline, and ends in vain with
//! everything that went to and fro. That nothing more comes is shown by two PINGs and their answers: what was due
//! before the first one has been sent before the second is answered.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::hpack::{self, Decoder, Field};
use super::wait::Deadline;

/// What a client says first (§3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long the server may take for what it does at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest payload that either side takes without having said otherwise (§4.2).
pub const FRAME_LEN_MAX: usize = 16_384;

/// Flow-control windows until somebody says otherwise (§6.9.2).
pub const WINDOW: usize = 65_535;

/// Largest window (§6.9.1).
pub const WINDOW_MAX: u32 = (1 << 31) - 1;

/// How much of the conversation a failure tells.
const TOLD: usize = 40;

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

    fn number(self) -> u32 {
        match self {
            Self::Unknown(number) => number,
            known => Self::KNOWN.iter().position(|code| *code == known).expect("every code but one is listed") as u32,
        }
    }

    fn of(number: u32) -> Self {
        Self::KNOWN.get(number as usize).copied().unwrap_or(Self::Unknown(number))
    }
}

/// A field section, in order.
pub type Fields<'a> = &'a [(&'a str, &'a str)];

/// Answered with 404 and [`BODY`].
pub const ROOT: Fields = &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "localhost")];

/// Answered with 200 and no body.
pub const HC: Fields = &[(":method", "GET"), (":scheme", "http"), (":path", "/hc"), (":authority", "localhost")];

/// Answered with 202 when a body like [`EVENT`] follows.
pub const PUBLISH: Fields =
    &[(":method", "POST"), (":scheme", "http"), (":path", "/events"), (":authority", "localhost")];

/// Answered with a stream that does not end.
pub const SUBSCRIBE: Fields = &[
    (":method", "GET"),
    (":scheme", "http"),
    (":path", "/?eventType=a"),
    (":authority", "localhost"),
    ("accept", "text/event-stream"),
];

/// The only body that the server has for [`ROOT`]: every case of flow control counts its octets.
pub const BODY: &[u8] = b"404 page not found\n";

/// What may be published.
pub const EVENT: &str = r#"{"meta":{"type":"a"},"data":1}"#;

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

/// What the server did.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Headers {
        stream: u32,
        fields: Vec<Field>,
        end: bool,
    },
    Data {
        stream: u32,
        bytes: Vec<u8>,
        end: bool,
    },
    Reset {
        stream: u32,
        code: Code,
    },
    Settings(Vec<(u16, u32)>),
    SettingsAck,
    /// Is answered before anybody sees it.
    Ping([u8; 8]),
    Pong([u8; 8]),
    Goaway {
        last: u32,
        code: Code,
        debug: String,
    },
    WindowUpdate {
        stream: u32,
        increment: u32,
    },
    Closed,
}

impl Event {
    /// The stream that it belongs to, 0 where it is the connection's.
    pub fn stream(&self) -> u32 {
        match self {
            Self::Headers { stream, .. }
            | Self::Data { stream, .. }
            | Self::Reset { stream, .. }
            | Self::WindowUpdate { stream, .. } => *stream,
            _ => 0,
        }
    }

    /// In a few words.
    fn told(&self) -> String {
        match self {
            Self::Data { stream, bytes, end } => {
                format!("Data {{ stream: {stream}, {} bytes, end: {end} }}", bytes.len())
            }
            other => format!("{other:?}"),
        }
    }
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub fields: Vec<Field>,
    pub body: Vec<u8>,
}

impl Answer {
    /// Value of the only field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(known, _)| known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands twice: {self:?}");
        value
    }
}

/// What a wait makes of an event.
pub enum Verdict<T> {
    /// This is it.
    Take(T),
    /// For somebody else, or for later.
    Leave,
    /// This must not be.
    Wrong,
}

/// The client's side of a connection.
pub struct Peer {
    stream: TcpStream,
    /// Received and not understood yet, from `at` on.
    buffer: Vec<u8>,
    at: usize,
    /// Received and not asked for yet.
    inbox: VecDeque<Event>,
    closed: bool,
    decoder: Decoder,
    /// What the server announced.
    pub settings: Vec<(u16, u32)>,
    /// Whether the next field block has to begin with a size update (RFC 7541 §4.2).
    owes_size_update: bool,
    highest: u32,
    pings: u64,
    told: VecDeque<String>,
}

impl Peer {
    /// Connects and says nothing.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts");
        Self::over(stream)
    }

    /// On a connection that stands.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a TCP socket");
        Self {
            stream,
            buffer: Vec::new(),
            at: 0,
            inbox: VecDeque::new(),
            closed: false,
            decoder: Decoder::default(),
            settings: Vec::new(),
            owes_size_update: false,
            highest: 0,
            pings: 0,
            told: VecDeque::new(),
        }
    }

    /// Connects and exchanges prefaces: SETTINGS of both sides are acknowledged.
    pub fn open(address: SocketAddr) -> Self {
        Self::open_with(address, &[])
    }

    /// The same with settings.
    pub fn open_with(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut peer = Self::open_unacknowledged(address, settings);
        peer.acknowledge();
        peer
    }

    /// The same, except that the server's settings are left unacknowledged, so that its defaults still hold.
    pub fn open_unacknowledged(address: SocketAddr, own: &[(u16, u32)]) -> Self {
        let mut peer = Self::connect(address);
        peer.send_raw([PREFACE.to_vec(), settings(own).bytes()].concat());
        peer.expect_settings();
        peer.expect_settings_ack();
        peer
    }

    /// Acknowledges the server's settings.
    pub fn acknowledge(&mut self) -> &mut Self {
        let table = self.setting(HEADER_TABLE_SIZE).unwrap_or(hpack::TABLE_SIZE as u32);
        self.owes_size_update |= (table as usize) < hpack::TABLE_SIZE;
        self.send(settings_ack())
    }

    /// What the server announced for a setting.
    pub fn setting(&self, id: u16) -> Option<u32> {
        self.settings.iter().rev().find(|(known, _)| *known == id).map(|(_, value)| *value)
    }

    /// Sends a frame.
    pub fn send(&mut self, frame: Frame) -> &mut Self {
        self.send_all([frame])
    }

    /// Sends several frames at once.
    pub fn send_all(&mut self, frames: impl IntoIterator<Item = Frame>) -> &mut Self {
        let mut bytes = Vec::new();
        for frame in frames {
            let Frame { kind, flags, stream, payload } = &frame;
            self.tell(format!("> type {kind} flags {flags:#x} stream {stream}, {} octets", payload.len()));
            if frame.kind == HEADERS {
                self.highest = self.highest.max(stream & WINDOW_MAX);
            }
            bytes.extend(frame.bytes());
        }
        self.try_send_raw(&bytes);
        self
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.tell(format!("> {} raw octets", bytes.as_ref().len()));
        self.try_send_raw(bytes.as_ref());
        self
    }

    /// Sends bytes to a server that may have hung up; what it said before is still to be read.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The socket itself.
    pub fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// A field block for these fields, with the size update that may be due.
    pub fn block(&mut self, fields: Fields) -> Vec<u8> {
        self.raw_block(hpack::plain(fields))
    }

    /// A field block as it stands, behind the size update that may be due.
    pub fn raw_block(&mut self, block: impl Into<Vec<u8>>) -> Vec<u8> {
        let mut block = block.into();
        if std::mem::take(&mut self.owes_size_update) {
            block.splice(0..0, hpack::size_update(0));
        }
        block
    }

    /// HEADERS for these fields, whole, of a request whose body is still to come.
    pub fn head(&mut self, stream: u32, fields: Fields) -> Frame {
        headers(stream, self.block(fields)).end_headers()
    }

    /// Sends a request without a body.
    pub fn request(&mut self, stream: u32, fields: Fields) -> &mut Self {
        let frame = self.head(stream, fields).end_stream();
        self.send(frame)
    }

    /// Sends the head of a request whose body is still to come.
    pub fn begin(&mut self, stream: u32, fields: Fields) -> &mut Self {
        let frame = self.head(stream, fields);
        self.send(frame)
    }

    /// Waits for what `judge` takes, in the order of arrival.
    pub fn wait<T>(&mut self, what: &str, mut judge: impl FnMut(&Event) -> Verdict<T>) -> T {
        let deadline = Deadline::after(PATIENCE);
        let mut index = 0;
        loop {
            while let Some(event) = self.inbox.get(index) {
                match judge(event) {
                    Verdict::Take(found) => {
                        self.inbox.remove(index);
                        return found;
                    }
                    Verdict::Leave => index += 1,
                    Verdict::Wrong => {
                        let wrong = event.told();
                        self.fail(&format!("{what} was due, this came instead: {wrong}"));
                    }
                }
            }
            if self.closed {
                self.fail(&format!("{what} was due, the connection has ended"));
            }
            self.receive(what, deadline);
        }
    }

    /// Waits for the server's settings, which must come first of all.
    pub fn expect_settings(&mut self) {
        let settings = self.wait("the server's preface", |event| match event {
            Event::Settings(settings) => Verdict::Take(settings.clone()),
            _ => Verdict::Wrong,
        });
        self.settings = settings;
    }

    /// Waits for the server to acknowledge settings of ours.
    pub fn expect_settings_ack(&mut self) -> &mut Self {
        self.wait("the acknowledgement of our settings", |event| match event {
            Event::SettingsAck => Verdict::Take(()),
            Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        self
    }

    /// Waits for a whole answer.
    pub fn expect_answer(&mut self, stream: u32) -> Answer {
        let (fields, mut ended) = self.expect_head(stream);
        let status = fields[0].1.parse().unwrap_or_else(|_| self.fail(&format!("no status: {fields:?}")));
        let mut body = Vec::new();
        while !ended {
            let (bytes, end) = self.expect_data(stream);
            body.extend(bytes);
            ended = end;
        }
        Answer { status, fields, body }
    }

    /// Counts a stream as used that was opened by raw bytes.
    pub fn note_stream(&mut self, stream: u32) -> &mut Self {
        self.highest = self.highest.max(stream);
        self
    }

    /// Asks for [`ROOT`] and checks the answer, by which the connection proves to work in both directions.
    pub fn serves(&mut self, stream: u32) -> &mut Self {
        self.request(stream, ROOT).expect_root(stream)
    }

    /// Checks the answer to [`ROOT`].
    pub fn expect_root(&mut self, stream: u32) -> &mut Self {
        let answer = self.expect_status(stream, 404);
        assert_eq!(String::from_utf8_lossy(&answer.body), String::from_utf8_lossy(BODY), "{answer:?}");
        self
    }

    /// Checks that the answer to [`ROOT`] comes, or else a RST_STREAM with this code.
    pub fn expect_root_or_reset(&mut self, stream: u32, code: Code) -> &mut Self {
        let was_reset = self.wait(&format!("an answer or RST_STREAM {code:?} on {stream}"), |event| match event {
            Event::Headers { stream: of, .. } if *of == stream => Verdict::Take(None),
            Event::Reset { stream: of, code: with } if *of == stream && *with == code => Verdict::Take(Some(())),
            Event::Reset { .. } | Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        if was_reset.is_none() {
            assert_eq!(self.expect_data(stream).0, BODY);
        }
        self
    }

    /// Waits for a whole answer with this status.
    pub fn expect_status(&mut self, stream: u32, status: u16) -> Answer {
        let answer = self.expect_answer(stream);
        // Another server may have its own mind about what is to be found, and a file instead of a publisher.
        let oracle = std::env::var_os("PLASMA_H2_ORACLE").is_some();
        assert!(answer.status == status || oracle && answer.status == 200, "no {status}: {answer:?}");
        answer
    }

    /// Waits for a refusal: an answer that says so (4xx or 5xx) or RST_STREAM with this code.
    pub fn expect_refusal(&mut self, stream: u32, code: Code) {
        self.wait(&format!("a refusal on stream {stream}"), |event| match event {
            Event::Headers { stream: of, fields, .. } if *of == stream => match fields[0].1.as_bytes()[0] {
                b'4' | b'5' => Verdict::Take(()),
                _ => Verdict::Wrong,
            },
            Event::Reset { stream: of, code: with } if *of == stream && *with == code => Verdict::Take(()),
            Event::Reset { .. } | Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        self.expect_alive();
    }

    /// Waits for an answer or a RST_STREAM, whichever.
    pub fn expect_something(&mut self, stream: u32) {
        self.wait(&format!("anything on stream {stream}"), |event| match event {
            Event::Headers { stream: of, .. } | Event::Reset { stream: of, .. } if *of == stream => Verdict::Take(()),
            Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        self.expect_alive();
    }

    /// Waits for the head of an answer, and says whether it was the end of it.
    pub fn expect_head(&mut self, stream: u32) -> (Vec<Field>, bool) {
        self.wait(&format!("HEADERS on stream {stream}"), |event| match event {
            Event::Headers { stream: of, fields, end } if *of == stream => Verdict::Take((fields.clone(), *end)),
            Event::Data { stream: of, .. } | Event::Reset { stream: of, .. } if *of == stream => Verdict::Wrong,
            Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        })
    }

    /// Waits for one DATA frame, and says whether it was the last.
    pub fn expect_data(&mut self, stream: u32) -> (Vec<u8>, bool) {
        self.wait(&format!("DATA on stream {stream}"), |event| match event {
            Event::Data { stream: of, bytes, end } if *of == stream => Verdict::Take((bytes.clone(), *end)),
            Event::Headers { stream: of, .. } | Event::Reset { stream: of, .. } if *of == stream => Verdict::Wrong,
            Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        })
    }

    /// Waits for credit, and says how much.
    pub fn expect_window_update(&mut self, stream: u32) -> u32 {
        self.wait(&format!("WINDOW_UPDATE on stream {stream}"), |event| match event {
            Event::WindowUpdate { stream: of, increment } if *of == stream => Verdict::Take(*increment),
            Event::Reset { stream: of, .. } if *of == stream => Verdict::Wrong,
            Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        })
    }

    /// Waits for RST_STREAM with this code and nothing else on the stream, and checks that the connection goes on.
    pub fn expect_reset(&mut self, stream: u32, code: Code) -> &mut Self {
        self.expect_reset_of(stream, &[code]);
        self
    }

    /// Waits for RST_STREAM with this code, whatever came on the stream before.
    pub fn wait_for_reset(&mut self, stream: u32, code: Code) -> &mut Self {
        self.wait(&format!("RST_STREAM {code:?} on stream {stream}"), |event| match event {
            Event::Reset { stream: of, code: with } if *of == stream && *with == code => Verdict::Take(()),
            Event::Reset { .. } | Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        self.expect_alive()
    }

    /// Receives DATA on a stream until this many octets have come, and checks that no more of it comes.
    pub fn receive_until_window(&mut self, stream: u32, len: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < len {
            body.extend(self.expect_data(stream).0);
        }
        body.extend(self.settled_data(stream).0);
        if body.len() != len {
            self.fail(&format!("{len} octets were due on stream {stream}, {} came", body.len()));
        }
        body
    }

    /// [`Self::expect_reset`] where the RFC leaves a choice of codes.
    pub fn expect_reset_of(&mut self, stream: u32, codes: &[Code]) -> Code {
        let code = self.wait(&format!("RST_STREAM {codes:?} on stream {stream}"), |event| match event {
            Event::Reset { stream: of, code } if *of == stream && codes.contains(code) => Verdict::Take(*code),
            Event::Headers { stream: of, .. } | Event::Data { stream: of, .. } if *of == stream => Verdict::Wrong,
            Event::Reset { .. } | Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        self.expect_alive();
        code
    }

    /// Waits for GOAWAY with this code and for the end of the connection; returns the last stream that it names.
    pub fn expect_goaway(&mut self, code: Code) -> u32 {
        self.expect_goaway_of(&[code]).0
    }

    /// The same where the RFC leaves a choice of codes.
    pub fn expect_goaway_of(&mut self, codes: &[Code]) -> (u32, Code) {
        let found = self.read_goaway(codes);
        let _ = self.stream.shutdown(Shutdown::Write);
        self.expect_close();
        found
    }

    /// Waits for GOAWAY with one of these codes and leaves it to the server to end the connection.
    pub fn read_goaway(&mut self, codes: &[Code]) -> (u32, Code) {
        let highest = self.highest;
        self.wait(&format!("GOAWAY {codes:?} for at most stream {highest}"), |event| match event {
            Event::Goaway { last, code, .. } if codes.contains(code) && *last <= highest => {
                Verdict::Take((*last, *code))
            }
            Event::Goaway { .. } | Event::Reset { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        })
    }

    /// Waits for an error with one of these codes, of the stream or of the connection: for the few cases in which
    /// RFC 9113 leaves that open.
    pub fn expect_error_of(&mut self, stream: u32, codes: &[Code]) {
        let highest = self.highest;
        let of_stream = self.wait(&format!("RST_STREAM on {stream} or GOAWAY, {codes:?}"), |event| match event {
            Event::Reset { stream: of, code } if *of == stream && codes.contains(code) => Verdict::Take(true),
            Event::Goaway { last, code, .. } if codes.contains(code) && *last <= highest => Verdict::Take(false),
            Event::Headers { stream: of, .. } | Event::Data { stream: of, .. } if *of == stream => Verdict::Wrong,
            Event::Goaway { .. } | Event::Reset { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        if of_stream {
            self.expect_alive();
        } else {
            let _ = self.stream.shutdown(Shutdown::Write);
            self.expect_close();
        }
    }

    /// Waits for the end of the connection.
    pub fn expect_close(&mut self) {
        self.wait("the end of the connection", |event| match event {
            Event::Closed => Verdict::Take(()),
            Event::Goaway { .. } => Verdict::Wrong,
            _ => Verdict::Leave,
        });
    }

    /// The same, for a connection on which an id was used that is none.
    pub fn expect_goaway_below(&mut self, stream: u32, code: Code) {
        let last = self.expect_goaway(code);
        assert!(last < stream, "stream {stream} was no stream, and GOAWAY names {last}");
    }

    /// Waits for the end of the connection, with or without a word.
    pub fn expect_end(&mut self) {
        self.wait("the end of the connection", |event| match event {
            Event::Closed => Verdict::Take(()),
            _ => Verdict::Leave,
        });
    }

    /// Checks that everything that came was asked for, but for credit.
    pub fn expect_no_events(&self) {
        if let Some(event) = self.inbox.iter().find(|event| !matches!(event, Event::WindowUpdate { .. })) {
            self.fail(&format!("nobody asked for this: {}", event.told()));
        }
    }

    /// Waits for the answer to a PING.
    pub fn expect_pong(&mut self, opaque: [u8; 8]) -> &mut Self {
        self.wait(&format!("PING with ACK and {opaque:?}"), |event| match event {
            Event::Pong(echoed) if *echoed == opaque => Verdict::Take(()),
            Event::Pong(_) | Event::Goaway { .. } | Event::Reset { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        self
    }

    /// Checks that the connection goes on, and that no stream has been reset that was not expected to be.
    pub fn expect_alive(&mut self) -> &mut Self {
        for _ in 0..2 {
            self.pings += 1;
            let opaque = (0xB0B0_0000_0000_0000 | self.pings).to_be_bytes();
            self.send(ping(opaque)).expect_pong(opaque);
        }
        self
    }

    /// Everything on a stream that came and was not asked for, once nothing more comes. Credit is left out.
    pub fn settled(&mut self, stream: u32) -> Vec<Event> {
        self.expect_alive();
        let is_it = |event: &Event| event.stream() == stream && !matches!(event, Event::WindowUpdate { .. });
        let found = self.inbox.iter().filter(|event| stream != 0 && is_it(event)).cloned().collect();
        self.inbox.retain(|event| !is_it(event) || stream == 0);
        found
    }

    /// All DATA of a stream that came and was not asked for, once nothing more comes, and whether it ended.
    pub fn settled_data(&mut self, stream: u32) -> (Vec<u8>, bool) {
        let (mut body, mut ended) = (Vec::new(), false);
        for event in self.settled(stream) {
            match event {
                Event::Data { bytes, end, .. } if !ended => {
                    body.extend(bytes);
                    ended = end;
                }
                other => self.fail(&format!("only DATA was due on stream {stream}, {} came", other.told())),
            }
        }
        (body, ended)
    }

    /// Checks that nothing comes on a stream.
    pub fn expect_nothing(&mut self, stream: u32) -> &mut Self {
        let came = self.settled(stream);
        if !came.is_empty() {
            self.fail(&format!("nothing was due on stream {stream}, this came: {came:?}"));
        }
        self
    }

    /// Whether the connection has ended or something has arrived that says it will; never waits long.
    pub fn is_over(&mut self) -> bool {
        let deadline = Deadline::after(Duration::from_millis(1));
        while !self.closed && self.try_receive(deadline) {}
        self.inbox.iter().any(|event| matches!(event, Event::Goaway { .. } | Event::Closed))
    }

    /// Receives until something has been understood.
    fn receive(&mut self, what: &str, deadline: Deadline) {
        if !self.try_receive(deadline) {
            self.fail(&format!("in vain: {what}"));
        }
    }

    /// Receives until something has been understood; false when the deadline comes first.
    fn try_receive(&mut self, deadline: Deadline) -> bool {
        loop {
            if let Some(event) = self.take_event() {
                self.tell(format!("< {}", event.told()));
                if let Event::Ping(opaque) = event {
                    self.send(ping(opaque).flag(ACK));
                    continue;
                }
                self.inbox.push_back(event);
                return true;
            }
            match self.read(deadline) {
                Some(true) => {}
                Some(false) => {
                    let rest = self.buffer.len() - self.at;
                    if rest > 0 {
                        self.fail(&format!("the connection ended within a frame, after {rest} octets of it"));
                    }
                    self.closed = true;
                    self.tell("< closed".to_owned());
                    self.inbox.push_back(Event::Closed);
                    return true;
                }
                None => return false,
            }
        }
    }

    /// Reads once; false at the end, by close or by reset, `None` at the deadline.
    fn read(&mut self, deadline: Deadline) -> Option<bool> {
        let mut bytes = [0; 65_536];
        loop {
            self.stream.set_read_timeout(Some(deadline.remaining()?)).expect("a TCP socket");
            match self.stream.read(&mut bytes) {
                Ok(got) => {
                    self.buffer.drain(..self.at);
                    self.at = 0;
                    self.buffer.extend_from_slice(&bytes[..got]);
                    return Some(got > 0);
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => {}
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => return Some(false),
                    _ => self.fail(&format!("reading: {error}")),
                },
            }
        }
    }

    /// The next frame as an event; HEADERS and CONTINUATION are one.
    fn take_event(&mut self) -> Option<Event> {
        let (frame, mut at) = parse(&self.buffer, self.at)?;
        let event = if frame.kind == HEADERS {
            let (mut block, mut done) = (unpadded(&frame).to_vec(), frame.flags & END_HEADERS != 0);
            while !done {
                let (next, after) = parse(&self.buffer, at)?;
                if next.kind != CONTINUATION || next.stream != frame.stream {
                    self.fail(&format!("a field block was cut by {next:?}"));
                }
                block.extend(next.payload);
                (done, at) = (next.flags & END_HEADERS != 0, after);
            }
            let fields =
                self.decoder.decode(&block).unwrap_or_else(|error| self.fail(&format!("{error} in {block:x?}")));
            let end = frame.flags & END_STREAM != 0;
            self.check_fields(&fields, end);
            Event::Headers { stream: frame.stream, fields, end }
        } else {
            self.understand(&frame)
        };
        self.at = at;
        Some(event)
    }

    fn understand(&self, frame: &Frame) -> Event {
        let Frame { kind, flags, stream, ref payload } = *frame;
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().expect("four octets"));
        if payload.len() > FRAME_LEN_MAX || stream % 2 == 0 && stream > 0 {
            self.fail(&format!("a server must not send this: type {kind} on {stream}, {} octets", payload.len()));
        }
        match (kind, payload.len(), stream) {
            (DATA, _, 1..) => Event::Data { stream, bytes: unpadded(frame).to_vec(), end: flags & END_STREAM != 0 },
            (RST_STREAM, 4, 1..) => Event::Reset { stream, code: Code::of(number(0)) },
            (SETTINGS, 0, 0) if flags & ACK != 0 => Event::SettingsAck,
            (SETTINGS, len, 0) if flags & ACK == 0 && len % 6 == 0 => {
                let pair = |pair: &[u8]| (u16::from_be_bytes([pair[0], pair[1]]), number_of(&pair[2..]));
                Event::Settings(payload.chunks(6).map(pair).collect())
            }
            (PING, 8, 0) => {
                let opaque = payload[..].try_into().expect("eight octets");
                if flags & ACK == 0 { Event::Ping(opaque) } else { Event::Pong(opaque) }
            }
            (GOAWAY, 8.., 0) => Event::Goaway {
                last: number(0) & WINDOW_MAX,
                code: Code::of(number(4)),
                debug: String::from_utf8_lossy(&payload[8..]).into_owned(),
            },
            (WINDOW_UPDATE, 4, _) if (1..=WINDOW_MAX).contains(&number(0)) => {
                Event::WindowUpdate { stream, increment: number(0) }
            }
            _ => self.fail(&format!("a server must not send this: {frame:?}")),
        }
    }

    /// Checks what §8.1, §8.2 and §8.3.2 say about the fields of an answer. Trailers have no status and are the end.
    fn check_fields(&self, fields: &[Field], end: bool) {
        let pseudo = fields.iter().filter(|(name, _)| name.starts_with(':')).count();
        let begins = fields.first().is_some_and(|(name, value)| name == ":status" && value.len() == 3);
        let shape = if begins { pseudo == 1 } else { pseudo == 0 && end };
        let forbidden = ["connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "te"];
        let is_good = |(name, value): &Field| {
            !name.is_empty()
                && !name.contains(|letter: char| letter.is_ascii_uppercase() || !letter.is_ascii_graphic())
                && !forbidden.contains(&name.as_str())
                && value.trim() == value
                && !value.contains(['\0', '\r', '\n'])
        };
        if !shape || !fields.iter().all(is_good) {
            self.fail(&format!("no fields of an answer: {fields:?}"));
        }
    }

    fn tell(&mut self, what: String) {
        if self.told.len() == TOLD {
            self.told.pop_front();
        }
        self.told.push_back(what);
    }

    /// Fails with the end of the conversation.
    pub fn fail(&self, why: &str) -> ! {
        let told: Vec<&str> = self.told.iter().map(String::as_str).collect();
        panic!("{why}\nthe conversation, > ours, < the server's:\n{}", told.join("\n"))
    }
}

/// The frame that begins at `at`, and where it ends.
fn parse(buffer: &[u8], at: usize) -> Option<(Frame, usize)> {
    let head = buffer.get(at..at + 9)?;
    let end = at + 9 + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let payload = buffer.get(at + 9..end)?;
    Some((Frame::new(head[3], head[4], number_of(&head[5..]), payload), end))
}

fn number_of(octets: &[u8]) -> u32 {
    u32::from_be_bytes(octets.try_into().expect("four octets"))
}

/// The payload without padding and deprecated priority.
fn unpadded(frame: &Frame) -> &[u8] {
    let payload = &frame.payload[..];
    let payload = match frame.flags & PADDED {
        0 => payload,
        _ => &payload[1..payload.len() - usize::from(payload[0])],
    };
    if frame.kind == HEADERS && frame.flags & WITH_PRIORITY != 0 { &payload[5..] } else { payload }
}
