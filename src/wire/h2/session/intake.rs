//! Frames in: each kind's rules, and what breaking them costs (RFC 9113 §5, §6).

use super::strangers::Side;
use super::{
    Block, Bounds, CONNECTION_WINDOW, Ends, Event, Failure, PREFACE, STREAM_WINDOW, Session, Stage, Stream, UNADOPTED,
};
use crate::base::limits::{H2_BLOCK_FRAMES_MAX, H2_BLOCK_LEN_MAX, HEAD_LEN_MAX};
use crate::wire::h2::frame::{self, Code, HEAD_LEN, Head, Kind, PAYLOAD_LEN_MAX, WINDOW_MAX, setting};
use crate::wire::h2::hpack::Fields;
use crate::wire::h2::request::check_trailers;

/// A window update below this is charged for: nobody needs a frame to say so little.
const INCREMENT_MIN: u32 = 256;

/// What a frame was wrong about.
enum Fault {
    /// The stream is reset.
    Stream(u32, Code),
    /// The connection is over.
    Connection(Code, &'static str),
}

type Taken<'i> = Result<Option<Event<'i>>, Fault>;

fn protocol<T>(reason: &'static str) -> Result<T, Fault> {
    Err(Fault::Connection(Code::ProtocolError, reason))
}

fn frame_size<T>(reason: &'static str) -> Result<T, Fault> {
    Err(Fault::Connection(Code::FrameSizeError, reason))
}

fn flood<T>(reason: &'static str) -> Result<T, Fault> {
    Err(Fault::Connection(Code::EnhanceYourCalm, reason))
}

impl Session {
    /// Goes on with `input`, from which whole frames are taken, until one means something to the caller. `None` when
    /// more bytes are needed: what is left then has to come again with them. `fields` is filled for
    /// [`Event::Request`]. `tick` counts tenths of a second.
    pub fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
        fields: &mut Fields,
        bounds: &Bounds,
        tick: u32,
    ) -> Option<Event<'i>> {
        loop {
            let taken = match self.stage {
                Stage::Over => {
                    *input = b"";
                    return None;
                }
                Stage::Preface => {
                    let (known, rest) = input.split_at_checked(PREFACE.len())?;
                    *input = rest;
                    match known == PREFACE {
                        true => {
                            self.stage = Stage::Greeting;
                            continue;
                        }
                        false => protocol("this is no connection preface"),
                    }
                }
                Stage::Greeting | Stage::Open => {
                    self.skip_some(input);
                    let head = Head::parse(input)?;
                    let whole = head.len.min(PAYLOAD_LEN_MAX + 1) + HEAD_LEN;
                    if head.len > PAYLOAD_LEN_MAX {
                        *input = &input[HEAD_LEN..];
                        self.on_oversized(head)
                    } else {
                        let (known, rest) = input.split_at_checked(whole)?;
                        *input = rest;
                        self.on_frame(head, &known[HEAD_LEN..], fields, bounds, tick)
                    }
                }
            };
            match taken {
                Ok(None) => {}
                Ok(Some(event)) => return Some(event),
                Err(Fault::Stream(id, code)) => {
                    let key = self.place(id).map(|at| self.streams[at].key);
                    if let Err(failure) = self.reset_at_cost(id, code, tick) {
                        return Some(Event::Failed(failure));
                    }
                    if let Some(key) = key.filter(|key| *key != UNADOPTED) {
                        return Some(Event::Reset { key });
                    }
                }
                Err(Fault::Connection(code, reason)) => return Some(self.failed(code, reason)),
            }
        }
    }

    fn failed<'i>(&mut self, code: Code, reason: &'static str) -> Event<'i> {
        let failure: Failure = self.fail(code, reason);
        Event::Failed(failure)
    }

    /// Skips what is left of a frame that was too long.
    fn skip_some(&mut self, input: &mut &[u8]) {
        let len = input.len().min(self.skip as usize);
        *input = &input[len..];
        self.skip -= len as u32;
    }

    /// A frame longer than was agreed on (RFC 9113 §4.2).
    fn on_oversized<'i>(&mut self, head: Head) -> Taken<'i> {
        let concerns_all = head.stream == 0 || head.kind.has_block() || head.kind == Kind::Settings;
        if concerns_all || self.stage == Stage::Greeting || self.block.is_some() || self.is_idle(head.stream) {
            return frame_size("a frame longer than SETTINGS_MAX_FRAME_SIZE");
        }
        self.skip = head.len as u32;
        if head.kind == Kind::Data {
            self.charge_window(head.len as u32)?;
            self.release(head.len as u32);
        }
        Err(Fault::Stream(head.stream, Code::FrameSizeError))
    }

    fn on_frame<'i>(
        &mut self,
        head: Head,
        payload: &'i [u8],
        fields: &mut Fields,
        bounds: &Bounds,
        tick: u32,
    ) -> Taken<'i> {
        if self.stage == Stage::Greeting && (head.kind != Kind::Settings || head.has(frame::ACK)) {
            return protocol("the first frame has to be SETTINGS");
        }
        if self.block.is_some() && head.kind != Kind::Continuation {
            return protocol("a field block has to go on");
        }
        match head.kind {
            Kind::Data => self.on_data(head, payload, tick),
            Kind::Headers => self.on_headers(head, payload, fields, bounds, tick),
            Kind::Continuation => self.on_continuation(head, payload, fields, bounds, tick),
            Kind::Priority => self.on_priority(head, payload, tick),
            Kind::RstStream => self.on_rst_stream(head, payload, tick),
            Kind::Settings => self.on_settings(head, payload, tick),
            Kind::PushPromise => protocol("only servers push"),
            Kind::Ping => self.on_ping(head, payload, bounds, tick),
            Kind::GoAway => self.on_go_away(head, payload, tick),
            Kind::WindowUpdate => self.on_window_update(head, payload, tick),
            Kind::Unknown(_) => self.charge(tick, "too many frames of unknown kinds").map(|()| None),
        }
    }

    fn charge(&mut self, tick: u32, reason: &'static str) -> Result<(), Fault> {
        if self.budget.charge(tick) { Ok(()) } else { flood(reason) }
    }

    /// Whether a stream was not opened yet; ours never are.
    fn is_idle(&self, id: u32) -> bool {
        id.is_multiple_of(2) || id > self.last_id
    }

    /// What it costs to send on a stream that is closed: nothing, if it was we who gave it up, and the connection,
    /// where both sides have ended it (RFC 9113 §5.1).
    fn on_closed(&self, id: u32) -> Result<(), Fault> {
        match self.strangers.as_ref().and_then(|strangers| strangers.reset_by(id)) {
            Some(Side::Ours) => Ok(()),
            Some(Side::Theirs) => Err(Fault::Stream(id, Code::StreamClosed)),
            None => Err(Fault::Connection(Code::StreamClosed, "a frame on a closed stream")),
        }
    }

    fn charge_window(&mut self, len: u32) -> Result<(), Fault> {
        if self.held + self.credit + len > CONNECTION_WINDOW {
            return Err(Fault::Connection(Code::FlowControlError, "more DATA than the connection's window allows"));
        }
        self.held += len;
        Ok(())
    }

    /// RFC 9113 §6.1.
    fn on_data<'i>(&mut self, head: Head, payload: &'i [u8], tick: u32) -> Taken<'i> {
        if head.stream == 0 {
            return protocol("DATA on stream 0");
        }
        let bytes = unpadded(head, payload)?;
        if self.is_idle(head.stream) {
            return protocol("DATA on an idle stream");
        }
        let (len, ends) = (payload.len() as u32, head.has(frame::END_STREAM));
        // Padding and frames of closed streams count too.
        self.charge_window(len)?;
        if bytes.is_empty() && !ends {
            self.charge(tick, "too many empty DATA frames")?;
        }
        let Some(at) = self.place(head.stream) else {
            self.release(len);
            let closed = self.on_closed(head.stream);
            if let Err(Fault::Connection(..)) = closed {
                // For DATA the RFC asks for a stream's error too (§6.1).
                frame::write_reset(head.stream, Code::StreamClosed, &mut self.output);
            }
            closed?;
            return self.charge(tick, "too much DATA on closed streams").map(|()| None);
        };
        let stream = &mut self.streams[at];
        if matches!(stream.ends, Ends::Remote | Ends::Both) {
            self.release(len);
            return Err(Fault::Stream(head.stream, Code::StreamClosed));
        }
        if stream.held + stream.credit + len > STREAM_WINDOW {
            self.release(len);
            return Err(Fault::Stream(head.stream, Code::FlowControlError));
        }
        stream.held += len;
        if stream.body_left >= 0 {
            stream.body_left -= bytes.len() as i64;
            // RFC 9113 §8.1.1: more or less than was announced makes the request malformed.
            if stream.body_left < 0 || ends && stream.body_left > 0 {
                return Err(Fault::Stream(head.stream, Code::ProtocolError));
            }
        }
        let key = stream.key;
        if ends {
            self.end_remote(at);
        }
        let used = if key == UNADOPTED { payload.len() } else { payload.len() - bytes.len() };
        self.give_credit(head.stream, used);
        if key == UNADOPTED || bytes.is_empty() && !ends {
            return Ok(None);
        }
        Ok(Some(Event::Data { key, bytes, ends }))
    }

    fn end_remote(&mut self, at: usize) {
        let ends = &mut self.streams[at].ends;
        match *ends {
            Ends::None => *ends = Ends::Remote,
            Ends::Local => {
                *ends = Ends::Both;
                self.closing += 1;
            }
            Ends::Remote | Ends::Both => {}
        }
    }

    /// RFC 9113 §6.2.
    fn on_headers<'i>(
        &mut self,
        head: Head,
        payload: &[u8],
        fields: &mut Fields,
        bounds: &Bounds,
        tick: u32,
    ) -> Taken<'i> {
        let id = head.stream;
        if id.is_multiple_of(2) {
            return protocol("HEADERS on a stream that is no client's");
        }
        let mut fragment = unpadded(head, payload)?;
        let mut depends_on_itself = false;
        if head.has(frame::PRIORITY) {
            let Some((priority, rest)) = fragment.split_at_checked(5) else {
                return match head.has(frame::PADDED) {
                    true => protocol("more padding than payload"),
                    false => frame_size("HEADERS without their priority"),
                };
            };
            (depends_on_itself, fragment) = (frame::word(priority) == id, rest);
        }
        if id <= self.last_id && self.place(id).is_none() {
            if self.strangers.as_ref().is_some_and(|strangers| strangers.was_skipped(id)) {
                return protocol("stream numbers have to rise");
            }
            // For one stream's sake the block is still read: it changes what the next one means.
            if let Err(fault @ Fault::Connection(..)) = self.on_closed(id) {
                return Err(fault);
            }
        }
        let ends_stream = head.has(frame::END_STREAM);
        if head.has(frame::END_HEADERS) {
            return self.on_block(id, ends_stream, depends_on_itself, fragment, fields, bounds, tick);
        }
        let bytes = fragment.to_vec();
        self.block = Some(Box::new(Block { stream: id, ends_stream, depends_on_itself, frames: 0, bytes }));
        Ok(None)
    }

    /// RFC 9113 §6.10.
    fn on_continuation<'i>(
        &mut self,
        head: Head,
        payload: &[u8],
        fields: &mut Fields,
        bounds: &Bounds,
        tick: u32,
    ) -> Taken<'i> {
        let Some(mut block) = self.block.take() else { return protocol("CONTINUATION without HEADERS") };
        if block.stream != head.stream {
            return protocol("CONTINUATION of another stream");
        }
        block.frames += 1;
        block.bytes.extend_from_slice(payload);
        if block.bytes.len() > H2_BLOCK_LEN_MAX || block.frames > H2_BLOCK_FRAMES_MAX {
            return flood("a field block of too many CONTINUATION frames or bytes");
        }
        if head.has(frame::END_HEADERS) {
            let Block { stream, ends_stream, depends_on_itself, bytes, .. } = *block;
            return self.on_block(stream, ends_stream, depends_on_itself, &bytes, fields, bounds, tick);
        }
        self.block = Some(block);
        Ok(None)
    }

    /// A whole field block: whatever becomes of it, it changes what the next one means.
    #[expect(clippy::too_many_arguments, reason = "a block is all of these, and they come from two places")]
    fn on_block<'i>(
        &mut self,
        id: u32,
        ends: bool,
        depends_on_itself: bool,
        block: &[u8],
        fields: &mut Fields,
        bounds: &Bounds,
        tick: u32,
    ) -> Taken<'i> {
        if let Err(_malformed) = self.decoder.decode(block, HEAD_LEN_MAX, fields) {
            return Err(Fault::Connection(Code::CompressionError, "a field block that cannot be decoded"));
        }
        if depends_on_itself {
            self.last_id = self.last_id.max(id);
            return Err(Fault::Stream(id, Code::ProtocolError));
        }
        match self.place(id) {
            Some(at) => self.on_trailers(at, ends, fields),
            None if id <= self.last_id => {
                self.on_closed(id)?;
                self.charge(tick, "too many HEADERS on closed streams").map(|()| None)
            }
            None => self.on_request(id, ends, bounds),
        }
    }

    fn on_request<'i>(&mut self, id: u32, ends: bool, bounds: &Bounds) -> Taken<'i> {
        if id > self.last_id + 2 {
            // The first stream of a client is 1 (RFC 9113 §5.1.1).
            let first = if self.last_id == 0 { 1 } else { self.last_id + 2 };
            if first < id {
                self.strangers.get_or_insert_default().note_skip(first, id - 2);
            }
        }
        self.last_id = id;
        self.budget.note_traffic();
        if self.leaving || self.streams.len() >= bounds.streams_max as usize {
            return Err(Fault::Stream(id, Code::RefusedStream));
        }
        let ends_by_now = if ends { Ends::Remote } else { Ends::None };
        let send_window = self.peer_window as i32;
        self.streams.push(Stream {
            body_left: -1,
            id,
            key: UNADOPTED,
            send_window,
            held: 0,
            credit: 0,
            ends: ends_by_now,
        });
        Ok(Some(Event::Request { id, ends }))
    }

    /// RFC 9113 §8.1: a second field block ends the request.
    fn on_trailers<'i>(&mut self, at: usize, ends: bool, fields: &Fields) -> Taken<'i> {
        let stream = self.streams[at];
        if matches!(stream.ends, Ends::Remote | Ends::Both) {
            return Err(Fault::Stream(stream.id, Code::StreamClosed));
        }
        if !ends || stream.body_left > 0 || check_trailers(fields).is_err() {
            return Err(Fault::Stream(stream.id, Code::ProtocolError));
        }
        self.end_remote(at);
        Ok((stream.key != UNADOPTED).then_some(Event::Ended { key: stream.key }))
    }

    /// A request announced the length of its body, which has ended already if `ends`; whether that can be true.
    pub fn expect_body(&mut self, id: u32, len: u64, ends: bool) -> bool {
        if let Some(at) = self.place(id) {
            self.streams[at].body_left = i64::try_from(len).unwrap_or(i64::MAX);
        }
        !ends || len == 0
    }

    /// Priorities are read over (RFC 9113 §5.3), but for what was never allowed.
    fn on_priority<'i>(&mut self, head: Head, payload: &[u8], tick: u32) -> Taken<'i> {
        if head.stream == 0 {
            return protocol("PRIORITY on stream 0");
        }
        self.charge(tick, "too many PRIORITY frames")?;
        if payload.len() != 5 {
            return Err(Fault::Stream(head.stream, Code::FrameSizeError));
        }
        if frame::word(payload) == head.stream {
            return Err(Fault::Stream(head.stream, Code::ProtocolError));
        }
        Ok(None)
    }

    /// RFC 9113 §6.4.
    fn on_rst_stream<'i>(&mut self, head: Head, payload: &[u8], tick: u32) -> Taken<'i> {
        if head.stream == 0 || self.is_idle(head.stream) {
            return protocol("RST_STREAM on stream 0 or an idle one");
        }
        if payload.len() != 4 {
            return frame_size("RST_STREAM of a wrong length");
        }
        // Opening a stream and giving it up costs the peer less than us (CVE-2023-44487).
        self.charge(tick, "too many streams opened and reset")?;
        if self.place(head.stream).is_some() {
            self.strangers.get_or_insert_default().note_reset(head.stream, Side::Theirs);
        }
        Ok(self.forget(head.stream).map(|key| Event::Reset { key }))
    }

    /// RFC 9113 §6.5.
    fn on_settings<'i>(&mut self, head: Head, payload: &[u8], tick: u32) -> Taken<'i> {
        if head.stream != 0 {
            return protocol("SETTINGS on a stream");
        }
        if head.has(frame::ACK) {
            if !payload.is_empty() {
                return frame_size("an acknowledgement of SETTINGS with a payload");
            }
            if !std::mem::replace(&mut self.settled, true) {
                self.decoder.set_limit(0);
            }
            return self.charge(tick, "too many SETTINGS").map(|()| None);
        }
        if !payload.len().is_multiple_of(6) {
            return frame_size("SETTINGS of a wrong length");
        }
        self.charge(tick, "too many SETTINGS")?;
        for (id, value) in frame::settings(payload) {
            self.on_setting(id, value)?;
        }
        self.stage = Stage::Open;
        frame::write(Kind::Settings, frame::ACK, 0, b"", &mut self.output);
        Ok(Some(Event::Settled))
    }

    fn on_setting(&mut self, id: u16, value: u32) -> Result<(), Fault> {
        match id {
            setting::ENABLE_PUSH if value > 1 => protocol("SETTINGS_ENABLE_PUSH is 0 or 1"),
            setting::MAX_FRAME_SIZE if !(16_384..=16_777_215).contains(&value) => {
                protocol("SETTINGS_MAX_FRAME_SIZE out of its range")
            }
            setting::MAX_FRAME_SIZE => {
                self.peer_payload_max = value;
                Ok(())
            }
            setting::INITIAL_WINDOW_SIZE if value > WINDOW_MAX => {
                Err(Fault::Connection(Code::FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE out of its range"))
            }
            setting::INITIAL_WINDOW_SIZE => {
                let delta = value as i32 - self.peer_window as i32;
                self.peer_window = value;
                for stream in &mut self.streams {
                    // RFC 9113 §6.9.2: what is open changes by the difference, and may be below zero then.
                    let Some(window) = stream.send_window.checked_add(delta) else {
                        return Err(Fault::Connection(Code::FlowControlError, "a window grew over its limit"));
                    };
                    stream.send_window = window;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// RFC 9113 §6.7.
    fn on_ping<'i>(&mut self, head: Head, payload: &[u8], bounds: &Bounds, tick: u32) -> Taken<'i> {
        if head.stream != 0 {
            return protocol("PING on a stream");
        }
        if payload.len() != 8 {
            return frame_size("PING of a wrong length");
        }
        self.charge(tick, "too many PINGs")?;
        if head.has(frame::ACK) {
            return Ok(None);
        }
        if !self.budget.take_ping(tick, bounds.ping_every) {
            // The words that gRPC clients know and slow down for.
            return flood("too_many_pings");
        }
        frame::write(Kind::Ping, frame::ACK, 0, payload, &mut self.output);
        Ok(None)
    }

    /// RFC 9113 §6.8.
    fn on_go_away<'i>(&mut self, head: Head, payload: &[u8], tick: u32) -> Taken<'i> {
        if head.stream != 0 {
            return protocol("GOAWAY on a stream");
        }
        if payload.len() < 8 {
            return frame_size("GOAWAY of a wrong length");
        }
        self.charge(tick, "too many GOAWAYs")?;
        Ok(Some(Event::Leaving))
    }

    /// RFC 9113 §6.9.
    fn on_window_update<'i>(&mut self, head: Head, payload: &[u8], tick: u32) -> Taken<'i> {
        if payload.len() != 4 {
            return frame_size("WINDOW_UPDATE of a wrong length");
        }
        let increment = frame::word(payload);
        if (1..INCREMENT_MIN).contains(&increment) {
            self.charge(tick, "too many small WINDOW_UPDATEs")?;
        }
        if head.stream == 0 {
            if increment == 0 {
                return protocol("WINDOW_UPDATE of nothing");
            }
            let Some(window) = self.send_window.checked_add_unsigned(increment) else {
                return Err(Fault::Connection(Code::FlowControlError, "the connection's window grew over its limit"));
            };
            self.send_window = window;
            return Ok(Some(Event::Opened { key: None }));
        }
        if self.is_idle(head.stream) {
            return protocol("WINDOW_UPDATE on an idle stream");
        }
        let Some(at) = self.place(head.stream) else {
            return self.charge(tick, "too many WINDOW_UPDATEs of closed streams").map(|()| None);
        };
        if increment == 0 {
            return Err(Fault::Stream(head.stream, Code::ProtocolError));
        }
        let stream = &mut self.streams[at];
        let Some(window) = stream.send_window.checked_add_unsigned(increment) else {
            return Err(Fault::Stream(head.stream, Code::FlowControlError));
        };
        stream.send_window = window;
        let key = stream.key;
        Ok((key != UNADOPTED).then_some(Event::Opened { key: Some(key) }))
    }
}

/// What is left of a payload without its padding (RFC 9113 §6.1, §6.2).
fn unpadded(head: Head, payload: &[u8]) -> Result<&[u8], Fault> {
    if !head.has(frame::PADDED) {
        return Ok(payload);
    }
    let Some((&padding, rest)) = payload.split_first() else {
        return frame_size("a frame without its padding's length");
    };
    match rest.len().checked_sub(usize::from(padding)) {
        Some(len) => Ok(&rest[..len]),
        None => protocol("more padding than payload"),
    }
}
