//! An SSE client that keeps every byte: a stream is read block by block, each block parsed by the rules of EventSource.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::http::{Connection, Head, head};
use super::wait::Deadline;

/// What stands between two blank lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    /// Every byte of it, the blank line included.
    pub raw: String,
    pub id: Option<String>,
    pub event: Option<String>,
    pub data: Option<String>,
    pub retry: Option<u64>,
    pub comments: Vec<String>,
}

impl Frame {
    /// Parses a block that ends with a blank line.
    pub fn parse(raw: &str) -> Self {
        assert!(!raw.contains('\r'), "lines end with LF alone: {raw:?}");
        let mut frame = Self { raw: raw.to_owned(), ..Self::default() };
        for line in raw.trim_end_matches('\n').split('\n') {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => frame.comments.push(line.strip_prefix(':').unwrap_or(line).to_owned()),
                "id" => frame.id = Some(value.to_owned()),
                "event" => frame.event = Some(value.to_owned()),
                "retry" => frame.retry = Some(value.parse().expect("a retry is a number")),
                "data" => {
                    let data = frame.data.get_or_insert_default();
                    if !data.is_empty() {
                        data.push('\n');
                    }
                    data.push_str(value);
                }
                _ => panic!("no field of SSE: {line:?} in {raw:?}"),
            }
        }
        frame
    }

    /// The event's id as a number.
    pub fn id_number(&self) -> u64 {
        let id = self.id.as_deref().unwrap_or_else(|| panic!("no id: {:?}", self.raw));
        assert!((19..=20).contains(&id.len()), "an event id has 19 or 20 digits: {id}");
        id.parse().expect("an event id is a number")
    }

    /// The data as it stands.
    pub fn data(&self) -> &str {
        self.data.as_deref().unwrap_or_else(|| panic!("no data: {:?}", self.raw))
    }

    /// What stands under `data` in the envelope.
    pub fn payload(&self) -> Value {
        self.json()["data"].clone()
    }

    /// The data as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.data()).unwrap_or_else(|error| panic!("{error}: {:?}", self.raw))
    }

    /// Whether it is nothing but the heartbeat.
    pub fn is_heartbeat(&self) -> bool {
        self.raw == HEARTBEAT
    }

    /// Whether it says that events were lost.
    pub fn is_gap(&self) -> bool {
        self.event.as_deref() == Some("plasma.gap")
    }

    /// Checks that this is a gap notice as it should be and returns what it says.
    pub fn gap(&self) -> Gap {
        assert!(self.is_gap(), "no gap notice: {:?}", self.raw);
        assert_eq!(self.id, None, "a gap notice has no id: {:?}", self.raw);
        let notice = self.json();
        let text = |name: &str| match &notice[name] {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => panic!("{name} is neither a string nor null: {other}"),
        };
        let keys = super::lines::keys(self.data());
        assert_eq!(keys, ["lost_from", "lost_to", "reason"], "{:?}", self.raw);
        Gap { from: text("lost_from"), to: text("lost_to"), reason: text("reason").expect("a gap has a reason") }
    }
}

/// What is sent to a stream on which nothing happened for a while.
pub const HEARTBEAT: &str = ":heartbeat \n\n";

/// What a gap notice says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub from: Option<String>,
    pub to: Option<String>,
    pub reason: String,
}

/// A subscription.
pub struct Stream {
    pub connection: Connection,
    pub head: Head,
}

impl Stream {
    /// Subscribes and reads up to the first comment.
    pub fn open(address: SocketAddr, target: &str) -> Self {
        Self::open_with(address, target, &[])
    }

    /// Subscribes with more headers and reads up to the first comment.
    pub fn open_with(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Self {
        Self::begin(Connection::open(address), target, headers)
    }

    /// Subscribes on a connection that is there already.
    pub fn begin(mut connection: Connection, target: &str, headers: &[(&str, &str)]) -> Self {
        let mut headers = headers.to_vec();
        headers.push(("Accept", "text/event-stream"));
        connection.send(head("GET", target, &headers, None));
        Self::join(connection)
    }

    /// Reads head and opening of a subscription that was asked for already.
    pub fn join(mut connection: Connection) -> Self {
        let head = connection.read_head();
        if head.status != 200 {
            let body = connection.read_body(&head);
            panic!("no stream: {head:?} {:?}", String::from_utf8_lossy(&body));
        }
        let mut stream = Self { connection, head };
        let opening = stream.next_frame();
        assert!(opening.raw.starts_with("retry: ") && opening.raw.ends_with("\n:ok\n\n"), "{:?}", opening.raw);
        stream
    }

    /// The next block, whatever it is; fails at the end of the stream.
    pub fn next_frame(&mut self) -> Frame {
        self.next_frame_by(Deadline::patient()).expect("the stream ended where a block should stand")
    }

    /// The next block; `None` at the end of the stream. The deadline must not pass.
    pub fn next_frame_by(&mut self, deadline: Deadline) -> Option<Frame> {
        let raw = self.connection.read_through(b"\n\n", deadline)?;
        Some(Frame::parse(std::str::from_utf8(&raw).expect("a stream is UTF-8")))
    }

    /// The next block that is no heartbeat.
    pub fn next_word(&mut self) -> Frame {
        loop {
            let frame = self.next_frame();
            if !frame.is_heartbeat() {
                return frame;
            }
        }
    }

    /// The next event; a gap notice in its place is a failure.
    pub fn next_event(&mut self) -> Frame {
        let frame = self.next_word();
        assert!(frame.data.is_some() && frame.event.is_none(), "no event: {:?}", frame.raw);
        frame.id_number();
        frame
    }

    /// The next gap notice; an event in its place is a failure.
    pub fn next_gap(&mut self) -> Gap {
        self.next_word().gap()
    }

    /// The next `count` events.
    pub fn events(&mut self, count: usize) -> Vec<Frame> {
        (0..count).map(|_| self.next_event()).collect()
    }

    /// Everything up to the end of the stream, as blocks; what follows the last blank line must be nothing.
    pub fn read_to_end(&mut self, within: Duration) -> Vec<Frame> {
        let deadline = Deadline::after(within);
        let mut frames = Vec::new();
        while let Some(frame) = self.next_frame_by(deadline) {
            frames.push(frame);
        }
        self.connection.expect_end();
        frames
    }
}

/// Checks that ids only grow and returns the last.
pub fn assert_increasing(frames: &[Frame]) -> u64 {
    let ids: Vec<u64> = frames.iter().map(Frame::id_number).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "ids grow: {ids:?}");
    *ids.last().expect("there are events")
}
