//! One HTTP/2 connection, as a server has it: frames in, events out; windows, stream states, what there is to say.
//!
//! Bytes go in through [`Session::next`], which yields what they mean. Whatever the protocol itself has to answer
//! (SETTINGS, PING, errors), and the heads that the caller writes, gathers in order and is taken with
//! [`Session::take_output`]. DATA is the caller's to write, as far as [`Session::room`] lets it.
//!
//! Knows neither sockets nor clocks nor what a request is about.
//!
//! Invariants:
//! - `streams` holds every stream that is not closed, by ascending id;
//! - no window of ours is ever exceeded without an error, and none of the peer's by a byte;
//! - a stream that both sides have ended stays until the bytes that say so are taken: whatever the peer sends before it
//!   can have seen them finds it half-closed.

mod budget;
mod intake;
mod strangers;

use smallvec::SmallVec;

use self::budget::Budget;
use self::strangers::{Side, Strangers};
use super::frame::{self, Code, Head, Kind, setting};
use super::hpack::{Decoder, encode};
use crate::base::limits::HEAD_LEN_MAX;

/// What the client says first (RFC 9113 §3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What every connection's windows begin with (RFC 9113 §6.9.2).
const WINDOW_DEFAULT: u32 = 65_535;

/// What a stream may send before its bytes were used: bounds what one publisher can make us hold.
const STREAM_WINDOW: u32 = 256 * 1024;

/// What all streams of a connection may.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// The caller's own name for a stream.
pub type Key = u32;

/// No key yet.
const UNADOPTED: Key = u32::MAX;

/// What a connection was told to allow.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Streams open at a time.
    pub streams_max: u32,
    /// Shortest time between two PINGs of a client to which nothing else is sent meanwhile, in ticks.
    pub ping_every: u32,
}

/// What the peer said.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'i> {
    /// A request begins; its fields are in the list that was handed in. To be [adopted](Session::adopt), answered or
    /// reset.
    Request {
        /// The stream.
        id: u32,
        /// Whether that was all of it.
        ends: bool,
    },
    /// Part of a request's body. What was used is to be [given back](Session::give_credit).
    Data {
        /// Whose.
        key: Key,
        /// The bytes, without padding.
        bytes: &'i [u8],
        /// Whether that was all of it.
        ends: bool,
    },
    /// A request has ended with trailers.
    Ended {
        /// Whose.
        key: Key,
    },
    /// A stream is gone: the peer gave it up, or broke its rules.
    Reset {
        /// Whose.
        key: Key,
    },
    /// A stream may send again, or the connection may (`None`).
    Opened {
        /// Whose.
        key: Option<Key>,
    },
    /// The peer's settings changed: any stream may send again.
    Settled,
    /// The peer will open no stream any more.
    Leaving,
    /// The connection is over: GOAWAY is in the output, nothing more is read.
    Failed(Failure),
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// As GOAWAY says it.
    pub code: Code,
    /// In words, for the log and the peer.
    pub reason: &'static str,
}

/// A stream that is not closed. 32 bytes.
#[derive(Clone, Copy, Debug)]
struct Stream {
    /// Bytes of the body still announced; negative when nothing was.
    body_left: i64,
    id: u32,
    key: Key,
    /// What we may send. A change of the peer's settings may make it negative (RFC 9113 §6.9.2).
    send_window: i32,
    /// What the peer has sent and was not used.
    held: u32,
    /// What was used, and the peer was not told yet.
    credit: u32,
    ends: Ends,
}

const _: () = assert!(size_of::<Stream>() == 32);

/// Which sides have ended (RFC 9113 §5.1). Arrows point down only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// Neither: open.
    None,
    /// The peer: half-closed (remote).
    Remote,
    /// We: half-closed (local).
    Local,
    /// Both, and our last bytes were not taken yet.
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The preface is to come.
    Preface,
    /// SETTINGS are to come.
    Greeting,
    Open,
    /// Nothing is read any more.
    Over,
}

/// A field block on its way in.
struct Block {
    stream: u32,
    ends_stream: bool,
    /// The priority that came along was against the rules.
    depends_on_itself: bool,
    frames: u32,
    bytes: Vec<u8>,
}

/// See the head of the module.
pub struct Session {
    /// Most connections of browsers and services have a handful, those of the densest kind one.
    streams: SmallVec<[Stream; 1]>,
    output: Vec<u8>,
    decoder: Decoder,
    block: Option<Box<Block>>,
    strangers: Option<Box<Strangers>>,
    budget: Budget,
    /// Highest stream that the peer has opened.
    last_id: u32,
    send_window: i32,
    /// What the peer has sent and was not given back, and what it was given back and not told yet.
    held: u32,
    credit: u32,
    peer_window: u32,
    peer_payload_max: u32,
    /// Bytes of an oversized frame still to be skipped.
    skip: u32,
    stage: Stage,
    /// Streams that both sides have ended.
    closing: u16,
    settled: bool,
    /// Whether a field block was written: the first begins with the size of our table, which is none.
    has_written: bool,
    /// Whether new streams are refused.
    leaving: bool,
}

impl Session {
    /// A connection of which nothing was read yet. Our SETTINGS are in the output at once: some clients wait for them.
    pub fn new(bounds: &Bounds, tick: u32) -> Self {
        let mut output = Vec::with_capacity(64);
        let settings = [
            (setting::HEADER_TABLE_SIZE, 0),
            (setting::MAX_CONCURRENT_STREAMS, bounds.streams_max),
            (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (setting::MAX_HEADER_LIST_SIZE, HEAD_LEN_MAX as u32),
        ];
        frame::write_settings(&settings, &mut output);
        frame::write_window_update(0, CONNECTION_WINDOW - WINDOW_DEFAULT, &mut output);
        Self {
            streams: SmallVec::new(),
            output,
            decoder: Decoder::new(),
            block: None,
            strangers: None,
            budget: Budget::new(tick),
            last_id: 0,
            send_window: WINDOW_DEFAULT as i32,
            held: 0,
            credit: 0,
            peer_window: WINDOW_DEFAULT,
            peer_payload_max: frame::PAYLOAD_LEN_MAX as u32,
            skip: 0,
            stage: Stage::Preface,
            closing: 0,
            settled: false,
            has_written: false,
            leaving: false,
        }
    }

    /// Whether nothing is read any more.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Whether the peer has greeted us.
    pub fn is_greeted(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Over)
    }

    /// Streams that are not closed.
    pub fn stream_count(&self) -> usize {
        self.streams.len() - usize::from(self.closing)
    }

    /// The caller's keys of all streams, in the order in which they were opened.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.streams.iter().map(|stream| stream.key).filter(|key| *key != UNADOPTED)
    }

    /// The caller's name for a stream, by which events name it from now on.
    pub fn adopt(&mut self, id: u32, key: Key) {
        if let Some(at) = self.place(id) {
            self.streams[at].key = key;
        }
    }

    fn place(&self, id: u32) -> Option<usize> {
        let (first, last) = (self.streams.first()?, self.streams.last()?);
        if last.id == id {
            return Some(self.streams.len() - 1);
        }
        // Ids ascend by two at least (RFC 9113 §5.1.1): the stream is here if none in between has ended, else before.
        let bound = (id.checked_sub(first.id)? / 2) as usize;
        match self.streams.get(bound) {
            Some(stream) if stream.id == id => Some(bound),
            _ => self.streams[..bound.min(self.streams.len())].binary_search_by_key(&id, |stream| stream.id).ok(),
        }
    }

    /// Bytes of DATA that may be sent on a stream in one frame right now.
    pub fn room(&self, id: u32) -> usize {
        let Some(at) = self.place(id) else { return 0 };
        let window = self.send_window.min(self.streams[at].send_window);
        usize::try_from(window).unwrap_or(0).min(self.peer_payload_max as usize)
    }

    /// Whether the connection's own window is shut.
    pub fn is_shut(&self) -> bool {
        self.send_window <= 0
    }

    /// `len` bytes of DATA go out, as [`Session::room`] allowed.
    pub fn spend(&mut self, id: u32, len: usize) {
        debug_assert!(len <= self.room(id));
        self.send_window -= len as i32;
        if let Some(at) = self.place(id) {
            self.streams[at].send_window -= len as i32;
        }
        self.budget.note_traffic();
    }

    /// They did not go out after all.
    pub fn refund(&mut self, id: u32, len: usize) {
        self.send_window += len as i32;
        if let Some(at) = self.place(id) {
            self.streams[at].send_window += len as i32;
        }
    }

    /// `len` bytes of the body of a stream were used; so many may come again.
    pub fn give_credit(&mut self, id: u32, len: usize) {
        let len = len as u32;
        self.release(len);
        let Some(at) = self.place(id) else { return };
        let stream = &mut self.streams[at];
        stream.held = stream.held.saturating_sub(len);
        stream.credit += len;
        // Told in halves of the window: one small frame for many large ones.
        if stream.credit >= STREAM_WINDOW / 2 && matches!(stream.ends, Ends::None | Ends::Local) {
            let increment = std::mem::take(&mut stream.credit);
            frame::write_window_update(id, increment, &mut self.output);
        }
    }

    fn release(&mut self, len: u32) {
        self.held = self.held.saturating_sub(len);
        self.credit += len;
        if self.credit >= CONNECTION_WINDOW / 2 {
            frame::write_window_update(0, std::mem::take(&mut self.credit), &mut self.output);
        }
    }

    /// Appends a field block of a stream: a head, or trailers. `ends` says that nothing follows it.
    pub fn write_fields(&mut self, id: u32, ends: bool, write: impl FnOnce(&mut Vec<u8>)) {
        if self.place(id).is_none() {
            return;
        }
        let at = self.output.len();
        self.output.extend_from_slice(&[0; frame::HEAD_LEN]);
        if !std::mem::replace(&mut self.has_written, true) {
            self.output.push(encode::NO_TABLE);
        }
        write(&mut self.output);
        let len = self.output.len() - at - frame::HEAD_LEN;
        // Heads are ours and short; the longest quotes a request's path in a redirect.
        debug_assert!(len <= frame::PAYLOAD_LEN_MAX);
        let flags = frame::END_HEADERS | if ends { frame::END_STREAM } else { 0 };
        let head = Head { len, kind: Kind::Headers, flags, stream: id };
        self.output[at..at + frame::HEAD_LEN].copy_from_slice(&head.to_bytes());
        if ends {
            self.end(id);
        }
    }

    /// Appends DATA of a stream, as far as the windows allow; returns how much that was. `ends` says that nothing
    /// follows `bytes`.
    pub fn write_data(&mut self, id: u32, bytes: &[u8], ends: bool) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            let len = self.room(id).min(bytes.len() - sent);
            if len == 0 {
                return sent;
            }
            self.spend(id, len);
            let last = ends && sent + len == bytes.len();
            let flags = if last { frame::END_STREAM } else { 0 };
            frame::write(Kind::Data, flags, id, &bytes[sent..sent + len], &mut self.output);
            sent += len;
        }
        if ends {
            if bytes.is_empty() {
                frame::write(Kind::Data, frame::END_STREAM, id, b"", &mut self.output);
            }
            self.end(id);
        }
        sent
    }

    /// We have ended the stream: nothing is sent on it any more.
    fn end(&mut self, id: u32) {
        let Some(at) = self.place(id) else { return };
        self.streams[at].ends = match self.streams[at].ends {
            Ends::None | Ends::Local => Ends::Local,
            Ends::Remote | Ends::Both => {
                self.closing += u16::from(self.streams[at].ends == Ends::Remote);
                Ends::Both
            }
        };
    }

    /// Nobody here knows the stream any more. What the peer still sends on it is not listened to.
    pub fn abandon(&mut self, id: u32) {
        self.adopt(id, UNADOPTED);
    }

    /// Asks the peer to stop, if it has not ended a stream that we have (RFC 9113 §8.1).
    pub fn stop(&mut self, id: u32) {
        if self.place(id).is_some_and(|at| self.streams[at].ends == Ends::Local) {
            self.reset(id, Code::NoError);
        }
    }

    /// Gives a stream up: RST_STREAM, and everything about it is forgotten but that it was we who ended it.
    pub fn reset(&mut self, id: u32, code: Code) {
        frame::write_reset(id, code, &mut self.output);
        self.strangers.get_or_insert_default().note_reset(id, Side::Ours);
        self.forget(id);
    }

    /// Gives up a stream that breaks the rules; the whole connection, when there were too many of them.
    pub fn reset_at_cost(&mut self, id: u32, code: Code, tick: u32) -> Result<(), Failure> {
        self.reset(id, code);
        // Whoever makes us reset streams can do so cheaply.
        match self.budget.charge(tick) {
            true => Ok(()),
            false => Err(self.fail(Code::EnhanceYourCalm, "too many streams had to be reset")),
        }
    }

    fn forget(&mut self, id: u32) -> Option<Key> {
        let at = self.place(id)?;
        let Stream { key, held, ends, .. } = self.streams.remove(at);
        self.closing -= u16::from(ends == Ends::Both);
        self.release(held);
        if self.streams.is_empty() {
            self.streams = SmallVec::new();
        }
        (key != UNADOPTED).then_some(key)
    }

    /// Whether there is anything to say besides DATA.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Takes what is to be sent before any DATA that the caller puts together.
    pub fn take_output(&mut self) -> Vec<u8> {
        if self.closing > 0 {
            let both: Vec<u32> =
                self.streams.iter().filter(|stream| stream.ends == Ends::Both).map(|stream| stream.id).collect();
            for id in both {
                self.forget(id);
            }
        }
        std::mem::take(&mut self.output)
    }

    /// Asks whether the peer is still there.
    pub fn ping(&mut self) {
        frame::write(Kind::Ping, 0, 0, b"plasma\0\0", &mut self.output);
    }

    /// Says that we shall go: streams that the peer opens before it has heard of it are still served (RFC 9113 §6.8).
    pub fn announce_leave(&mut self, words: &str) {
        frame::write_go_away(frame::WINDOW_MAX, Code::NoError, words.as_bytes(), &mut self.output);
    }

    /// Says that we go: streams opened from now on are refused.
    pub fn leave(&mut self, code: Code, words: &str) {
        if !std::mem::replace(&mut self.leaving, true) {
            frame::write_go_away(self.last_id, code, words.as_bytes(), &mut self.output);
        }
    }

    /// The connection is over, for a reason of the peer's or ours.
    pub fn fail(&mut self, code: Code, reason: &'static str) -> Failure {
        frame::write_go_away(self.last_id, code, reason.as_bytes(), &mut self.output);
        self.stage = Stage::Over;
        self.block = None;
        Failure { code, reason }
    }
}

#[cfg(test)]
mod tests;
