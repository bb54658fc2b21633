//! The way up: socket, connect, request, answer.
//!
//! Who is on it holds a lane. Their number paces the connects, so that the listener's backlog never overflows.

use std::io::{self, Write as _};
use std::time::Instant;

use rustix::net::SocketAddrAny;

use super::super::Plan;
use super::seat::Stage;
use super::table::Op;
use super::{Engine, named};
use crate::books::Books;

/// What a connection on its way up needs. The kernel reads it, so it stays put.
struct Lane {
    /// Who is on it, if anybody.
    who: Option<u32>,
    until: Instant,
    address: SocketAddrAny,
    request: Vec<u8>,
}

/// All lanes.
pub(super) struct Lanes {
    lanes: Box<[Lane]>,
    free: Vec<u32>,
}

impl Lanes {
    /// As many as connections may be on their way up at a time.
    pub(super) fn new(plan: &Plan) -> Self {
        let lane =
            || Lane { who: None, until: Instant::now(), address: plan.destination_of(0).into(), request: Vec::new() };
        let count = plan.pace.max(1);
        Self { lanes: std::iter::repeat_with(lane).take(count as usize).collect(), free: (0..count).collect() }
    }

    /// A lane is free for the next one.
    pub(super) fn release(&mut self, lane: u32) {
        self.lanes[lane as usize].who = None;
        self.free.push(lane);
    }
}

impl Engine<'_> {
    /// Sends as many of those who wait on their way as there are lanes for.
    pub(super) fn bring_up(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            let Some(lane) = self.lanes.free.pop() else { break };
            if let Some(who) = self.waiting.pop_front() {
                self.connect(who, lane)?;
            }
        }
        Ok(())
    }

    fn connect(&mut self, who: u32, lane: u32) -> io::Result<()> {
        let seat = self.seat(who);
        seat.stage = Stage::Coming { lane };
        seat.flight = Some(Op::Connect);
        seat.life = seat.life.wrapping_add(1);
        self.sockets += 1;
        let place = &mut self.lanes.lanes[lane as usize];
        place.who = Some(who);
        place.until = Instant::now() + self.plan.answer_for_max;
        place.address = self.plan.destination_of(who).into();
        let (table, slot) = self.slot(who);
        let address = &self.lanes.lanes[lane as usize].address;
        // SAFETY: lanes never move, and this one is not used again before the socket is closed.
        unsafe { self.tables[table].connect(slot, address) }
    }

    pub(super) fn on_connect(&mut self, who: u32, lane: u32, result: i32) -> io::Result<()> {
        if result < 0 {
            return self.fail(who, named("connect", result));
        }
        if self.plan.bare {
            self.books.on_open(who);
            self.stand(who, lane);
            return self.read_on(who);
        }
        let request = &mut self.lanes.lanes[lane as usize].request;
        request.clear();
        write_request(self.plan, &self.books, who, request);
        self.seat(who).flight = Some(Op::Send);
        self.books.on_ask(who);
        let (table, slot) = self.slot(who);
        // SAFETY: the lane keeps the request as it is until somebody else is on it, after this socket is closed or
        // answered.
        unsafe { self.tables[table].send(slot, &self.lanes.lanes[lane as usize].request) }
    }

    pub(super) fn on_sent(&mut self, who: u32, lane: u32, result: i32) -> io::Result<()> {
        if usize::try_from(result) != Ok(self.lanes.lanes[lane as usize].request.len()) {
            return self.fail(who, named("request", result));
        }
        self.await_answer(who)
    }

    /// Receives until the answer's head is whole.
    pub(super) fn await_answer(&mut self, who: u32) -> io::Result<()> {
        self.seat(who).flight = Some(Op::Answer);
        let (table, slot) = self.slot(who);
        self.tables[table].await_answer(slot)
    }

    /// The subscription stands, so the way up is free for the next one.
    pub(super) fn stand(&mut self, who: u32, lane: u32) {
        self.seat(who).stage = Stage::Open;
        self.lanes.release(lane);
    }

    /// Fails those who have not been answered in time.
    pub(super) fn end_late_lanes(&mut self, now: Instant) -> io::Result<()> {
        for lane in 0..self.lanes.lanes.len() {
            let Lane { who: Some(who), until, .. } = self.lanes.lanes[lane] else { continue };
            if now >= until && matches!(self.seat(who).stage, Stage::Coming { .. }) {
                self.fail(who, format!("no answer within {:?}", self.plan.answer_for_max))?;
            }
        }
        Ok(())
    }
}

fn write_request(plan: &Plan, books: &Books, who: u32, out: &mut Vec<u8>) {
    let path = plan.path_of(books.topic_of(who));
    // Writing to a vector cannot fail.
    let _ = write!(out, "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n", plan.authority);
    for (name, value) in &plan.headers {
        let _ = write!(out, "{name}: {value}\r\n");
    }
    if let Some(id) = books.last_id(who) {
        out.extend_from_slice(b"Last-Event-ID: ");
        out.extend_from_slice(&id);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
}
