//! An HTTP/2 peer (RFC 9113) that sends whatever a test wants to be sent, right or wrong, and holds the server to the
//! letter: what it receives is checked before a test sees it.
//!
//! Frames are values ([`Frame`]), received ones are [`Event`]s. Every wait has a deadline, and ends in vain with
//! everything that went to and fro. That nothing more comes is shown by two PINGs and their answers: what was due
//! before the first one has been sent before the second is answered.

mod expect;
mod frame;

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub use self::frame::*;
use super::hpack::{self, Decoder, Field};
use super::wait::Deadline;

/// What a client says first (§3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long the server may take for what it does at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of the conversation a failure tells.
const TOLD: usize = 40;

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

    /// Counts a stream as used that was opened by raw bytes.
    pub fn note_stream(&mut self, stream: u32) -> &mut Self {
        self.highest = self.highest.max(stream);
        self
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
