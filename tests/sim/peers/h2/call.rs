//! One stream of a connection: what it brings, and whether it may.

use std::cell::RefCell;
use std::rc::Rc;

use super::wire::{self, take_payload};
use crate::sim::ledger::{Ending, Ledger, Notice};
use crate::sim::peers::sse::{Block, Reader};

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sse,
    /// gRPC; whether with ids.
    Grpc {
        ids: bool,
    },
}

/// Where it stands. Arrows point down only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No head yet.
    Asked,
    Open,
    /// We gave it up; the server may not have heard of it yet.
    GivenUp,
    /// The server ended it. It may still ask us to stop.
    Ended,
    /// Nothing more may come.
    Gone,
}

/// Words of a server that ends a call.
#[derive(Debug, Default)]
pub struct Status {
    code: Option<u32>,
    message: String,
}

impl Status {
    fn of(fields: &[(String, String)]) -> Self {
        let field = |name: &str| fields.iter().find(|field| field.0 == name).map(|field| field.1.clone());
        Self {
            code: field("grpc-status").map(|code| code.parse().expect("a status is a number")),
            message: field("grpc-message").unwrap_or_default(),
        }
    }

    /// What to resume from, as its words say.
    fn resume(&self) -> Option<u64> {
        let (_, id) = self.message.split_once("resume from ")?;
        Some(id.parse().expect("an id is a number"))
    }
}

/// A stream.
#[derive(Debug)]
pub struct Call {
    pub seat: usize,
    /// The ledger's number of whoever it is for.
    pub client: usize,
    pub kind: Kind,
    pub stage: Stage,
    /// What we let the server send, at most.
    pub window: i64,
    /// Bytes that came and were not given back.
    pub owed: u32,
    /// The ledger's number.
    pub number: Option<usize>,
    /// Changes of topics asked for.
    pub changes: usize,
    /// We have said our last.
    pub is_half_closed: bool,
    /// We asked for the end.
    pub is_leaving: bool,
    /// Answered with something else than a stream.
    pub is_refused: bool,
    /// The id of the last whole event.
    pub last_id: Option<u64>,
    /// What a server that sends us away says to resume from.
    pub sent_away: Option<u64>,
    /// When it last said anything.
    pub heard_at: u64,
    resume: Option<u64>,
    topics: Rc<[String]>,
    sse: Reader,
    messages: Vec<u8>,
}

impl Call {
    pub fn new(seat: usize, client: usize, kind: Kind, window: i64, topics: Rc<[String]>, resume: Option<u64>) -> Self {
        Self {
            seat,
            client,
            kind,
            stage: Stage::Asked,
            window,
            owed: 0,
            number: None,
            changes: 0,
            is_half_closed: kind == Kind::Sse,
            is_leaving: false,
            is_refused: false,
            last_id: None,
            sent_away: None,
            heard_at: 0,
            resume,
            topics,
            sse: Reader::default(),
            messages: Vec::new(),
        }
    }

    /// Whether it has not ended, as far as we know.
    pub fn is_on(&self) -> bool {
        matches!(self.stage, Stage::Asked | Stage::Open)
    }

    /// Whether we may still send on it.
    pub fn may_send(&self) -> bool {
        self.is_on() && !self.is_half_closed
    }

    /// Whether it stands between two messages.
    pub fn is_between(&self) -> bool {
        self.sse.is_between() && self.messages.is_empty()
    }

    /// Whether it brings events.
    pub fn is_streaming(&self) -> bool {
        self.stage == Stage::Open && !self.is_refused && (self.kind == Kind::Sse || self.changes > 0)
    }

    /// A head, an answer, or trailers.
    pub fn on_fields(&mut self, fields: &[(String, String)], ends: bool, ledger: &RefCell<Ledger>) {
        let field = |name: &str| fields.iter().find(|field| field.0 == name).map(|field| field.1.as_str());
        if self.stage == Stage::Open {
            assert!(ends, "trailers end a stream: {fields:?}");
            assert_eq!(field(":status"), None, "trailers have no status line");
            assert!(!self.is_refused && self.kind != Kind::Sse, "trailers are gRPC's");
            return self.on_status(&Status::of(fields), ledger);
        }
        self.stage = Stage::Open;
        let status = field(":status").expect("an answer has its status");
        match self.kind {
            Kind::Sse => {
                self.is_refused = status != "200";
                assert!(self.is_refused || field("content-type") == Some("text/event-stream"), "{fields:?}");
                assert!(self.is_refused || !ends, "an event stream does not end with its head");
                if !self.is_refused {
                    let number = ledger.borrow_mut().stream_begins(self.client, &self.topics, self.resume);
                    self.number = Some(number);
                }
                if ends {
                    self.stage = Stage::Ended;
                }
            }
            Kind::Grpc { .. } => {
                assert_eq!((status, field("content-type")), ("200", Some("application/grpc")));
                if ends {
                    self.on_status(&Status::of(fields), ledger);
                }
            }
        }
    }

    /// A call is over.
    fn on_status(&mut self, status: &Status, ledger: &RefCell<Ledger>) {
        self.stage = Stage::Ended;
        let code = status.code.expect("a call ends with its status");
        assert!(code == 14 || code == 0 && self.is_leaving, "{self:?} ends with {status:?}");
        // Only what the log has taken back cannot be sent to its end.
        let is_cut_off = status.message.starts_with("overtaken");
        assert!(self.is_between() || is_cut_off, "in the middle of a message: {self:?} ends with {status:?}");
        if code == 0 {
            return self.end(Ending::Left, ledger);
        }
        self.sent_away = status.resume();
        if std::env::var_os("SIM_CALLS").is_some() {
            eprintln!("{:?} {} {:?}", self.number, self.client, status);
        }
        if let (Some(number), Some(from)) = (self.number, self.sent_away)
            && !status.message.starts_with("what followed")
        {
            ledger.borrow_mut().on_sent_away(number, from);
        }
        self.end(Ending::Closed, ledger);
    }

    /// The stream is over, one way or another.
    pub fn end(&mut self, ending: Ending, ledger: &RefCell<Ledger>) {
        if let Some(number) = self.number.take() {
            ledger.borrow_mut().stream_ends(number, ending);
        }
    }

    /// Part of what it brings.
    pub fn on_data(&mut self, bytes: &[u8], ends: bool, ledger: &RefCell<Ledger>) {
        assert_eq!(self.stage, Stage::Open, "DATA before the head: {self:?}");
        let ledger_cell = ledger;
        let mut ledger = ledger_cell.borrow_mut();
        match (self.kind, self.number) {
            _ if self.is_refused => {}
            (_, None) => assert!(bytes.is_empty(), "DATA for a stream without topics"),
            (Kind::Sse, Some(number)) => {
                let last_id = &mut self.last_id;
                self.sse.feed(bytes, |block| match block {
                    Block::Comment(text) => ledger.on_comment(number, text),
                    Block::Event { name: b"plasma.gap", id, data } => {
                        assert_eq!(id, None, "a notice has no id");
                        ledger.on_notice(number, Notice::parse(data));
                    }
                    Block::Event { name, id, data } => {
                        assert!(name.is_empty(), "events are nameless");
                        let id = id.and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
                        let id = id.expect("an event has its id");
                        ledger.on_event(number, id, data);
                        *last_id = Some(id);
                    }
                });
            }
            (Kind::Grpc { ids }, Some(number)) => {
                self.messages.extend_from_slice(bytes);
                while let Some(wire::Payload { kind, data, id }) = take_payload(&mut self.messages) {
                    let kind = kind.expect("the type is always there");
                    if kind == "plasma.gap" {
                        assert_eq!((ids, id.as_str()), (true, ""), "a notice, and without an id");
                        ledger.on_notice(number, Notice::parse(data.as_bytes()));
                        continue;
                    }
                    let id = ids.then(|| id.parse().expect("an event has its id"));
                    ledger.on_message(number, id, &kind, &data);
                    self.last_id = id.or(self.last_id);
                }
            }
        }
        drop(ledger);
        if ends {
            assert!(self.kind == Kind::Sse, "a call ends with trailers");
            assert!(self.is_refused || self.sse.is_between(), "a stream ends between two events");
            self.stage = Stage::Ended;
            self.end(Ending::Closed, ledger_cell);
        }
    }
}
