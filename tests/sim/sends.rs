//! Sends in the simulated kernel: at once, pending, zero-copy; and the rules that they must keep.

use std::rc::Rc;

use plasma::ring::{Attached, Errno, GATHER_MAX, Part, Piece, Socket, Token};

use super::core::{Core, Event};
use super::kernel::{FlightState, OpKey, Posted, Seen, Sending, SlotState, What};
use super::net::End;
use super::ops::plain;
use super::{MICROS, MILLIS, SECONDS};

impl Core {
    /// Sends what fits; says so only if not all went.
    pub(super) fn send_now(&mut self, shard: usize, socket: Socket, pieces: &[Piece], token: Token) {
        let end = self.end_of(shard, socket, "send_now");
        self.claim_for_send(shard, socket);
        let regions = Rc::clone(&self.kernels[shard].regions);
        let len: usize = pieces.iter().map(|piece| piece.len as usize).sum();
        let limit =
            if self.dice.one_in(self.weather.short_send) { self.dice.below(len as u64 + 1) as usize } else { len };
        let result = if limit == 0 || self.dice.one_in(self.weather.no_room) {
            Err(Errno::AGAIN)
        } else {
            // SAFETY: one thread runs the whole world, and nobody writes while the simulated kernel reads.
            let bytes =
                |piece: &Piece| unsafe { regions[piece.region as usize].bytes(piece.at as usize, piece.len as usize) };
            self.write(end, limit, pieces.iter().map(bytes))
        };
        if result == Ok(len) {
            return;
        }
        let slot = &mut self.kernels[shard].slots[socket.0 as usize];
        slot.troubles += 1;
        let seen = Seen::Trouble { slot: socket.0, holder: slot.holder };
        let result = result.map(|len| len as u32);
        // Inline, never late: it completes within the submission.
        self.show(shard, Posted { completion: plain(token, result), seen });
    }

    /// Checks the rules of sending.
    fn claim_for_send(&mut self, shard: usize, socket: Socket) {
        let batch = self.kernels[shard].batch;
        let slot = &mut self.kernels[shard].slots[socket.0 as usize];
        let twice = std::mem::replace(&mut slot.sent_in, batch) == batch;
        let (sending, troubles) = (slot.sending, slot.troubles);
        if twice {
            self.broken(format_args!("two sends on {socket:?} of shard {shard} in one submission"));
        }
        if sending {
            self.broken(format_args!("a send on {socket:?} of shard {shard} while another is pending"));
        }
        if troubles > 0 {
            self.broken(format_args!("a send on {socket:?} of shard {shard} behind one that was cut short, unseen"));
        }
    }

    /// Sends, waiting for room.
    pub(super) fn send(&mut self, shard: usize, socket: Socket, parts: Vec<Part>, zero_copy: bool, at: (Token, u32)) {
        let (token, flight) = at;
        self.end_of(shard, socket, "send");
        self.claim_for_send(shard, socket);
        if parts.is_empty() || parts.len() > GATHER_MAX || parts.iter().any(Part::is_empty) {
            self.broken(format_args!("a send of {} parts, or with an empty one", parts.len()));
        }
        self.kernels[shard].slots[socket.0 as usize].sending = true;
        let sending = Sending::new(parts, zero_copy, flight, &self.kernels[shard].regions);
        let key = self.begin(shard, token, Some(socket.0), What::Send(Box::new(sending)));
        let flights = &mut self.kernels[shard].flights;
        debug_assert_eq!(flights.len(), flight as usize);
        flights.push(FlightState::Pending(key));
        self.attempt(shard, key);
    }

    /// A pending send tries. Any bytes that go end it, as without `MSG_WAITALL`; what did not go is the shard's again.
    pub(super) fn send_on(&mut self, shard: usize, key: OpKey, end: End) {
        if self.dice.one_in(self.weather.no_buffers) {
            return self.send_ends(shard, key, Err(Errno::NOBUFS));
        }
        let regions = Rc::clone(&self.kernels[shard].regions);
        let op = &mut self.kernels[shard].ops[key.index as usize];
        // Taken out while the network is written to; nothing looks at the op meanwhile.
        let What::Send(sending) = std::mem::replace(&mut op.what, What::Poll) else { unreachable!("a send") };
        let short = self.dice.one_in(self.weather.short_send);
        let limit = if short { self.dice.spread(1, sending.len as u64) as usize } else { sending.len };
        let moved = self.write(end, limit, sending.bytes(&regions));
        self.kernels[shard].ops[key.index as usize].what = What::Send(sending);
        if moved != Err(Errno::AGAIN) {
            self.send_ends(shard, key, moved.map(|len| len as u32));
        }
    }

    /// The memory of a pending send must be what it was when it was queued.
    fn check_memory(&self, shard: usize, sending: &Sending) {
        if !sending.unchanged(&self.kernels[shard].regions) {
            let (flight, parts) = (sending.flight, &sending.parts);
            self.broken(format_args!("memory under pending send {flight} of shard {shard} was overwritten: {parts:?}"));
        }
    }

    /// A pending send has its result; its memory may be needed for longer.
    pub(super) fn send_ends(&mut self, shard: usize, key: OpKey, result: Result<u32, Errno>) {
        let slot = self.kernels[shard].ops[key.index as usize].slot.expect("a send belongs to a socket");
        let entry = &self.kernels[shard].slots[slot as usize];
        let (holder, state) = (entry.holder, entry.state);
        let What::Send(sending) = &self.kernels[shard].ops[key.index as usize].what else { unreachable!("a send") };
        self.check_memory(shard, sending);
        let flight = sending.flight;
        if !sending.zero_copy || self.dice.one_in(self.weather.zero_copy_single) {
            self.kernels[shard].flights[flight as usize] = FlightState::Over;
            self.end_op(shard, key, result, Attached::Nothing, Seen::Sent { slot, holder, flight, last: true });
            return;
        }
        self.report(shard, key, result, Seen::Sent { slot, holder, flight, last: false });
        self.detach(shard, key);
        let SlotState::Open(end) = state else { unreachable!("an open socket") };
        let op = &mut self.kernels[shard].ops[key.index as usize];
        let What::Send(sending) = std::mem::replace(&mut op.what, What::Poll) else { unreachable!("a send") };
        op.what = What::Release { sending, end, pause: 100 * MICROS };
        op.stirred = true;
        let delay = self.dice.spread(1, 5 * MILLIS);
        self.after(delay, Event::Attempt(shard, key));
    }

    /// Lets go of the memory of a zero-copy send once most of it is through: a reader who does not read holds it, even
    /// when the socket has been closed since.
    pub(super) fn release(&mut self, shard: usize, key: OpKey) {
        let op = &mut self.kernels[shard].ops[key.index as usize];
        let What::Release { sending, end, pause } = &mut op.what else { unreachable!("a release") };
        if !self.conns[end.conn as usize].pipes[end.side as usize].mostly_through() {
            *pause = (*pause * 2).min(SECONDS);
            let pause = *pause;
            op.stirred = true;
            return self.after(pause, Event::Attempt(shard, key));
        }
        let flight = sending.flight;
        let What::Release { sending, .. } = &self.kernels[shard].ops[key.index as usize].what else { unreachable!() };
        self.check_memory(shard, sending);
        self.kernels[shard].flights[flight as usize] = FlightState::Over;
        let copied = self.dice.one_in(self.weather.zero_copy_copied);
        self.end_op(shard, key, Ok(0), Attached::Released { copied }, Seen::Released(flight));
    }

    /// Nothing of what was sent at `end` is needed any more.
    pub(super) fn let_go(&mut self, shard: usize, end: End) {
        let holds = |what: &What| matches!(what, What::Release { end: of, .. } if *of == end);
        let ops = self.kernels[shard].ops.iter().filter(|(_, op)| holds(&op.what));
        let keys: Vec<OpKey> = ops.map(|(index, op)| OpKey { index: index as u32, serial: op.serial }).collect();
        for key in keys {
            let lag = self.lag();
            self.after(lag, Event::Attempt(shard, key));
        }
    }

    /// Asks a pending send to end.
    pub(super) fn cancel_send(&mut self, shard: usize, flight: u32) {
        match self.kernels[shard].flights.get(flight as usize) {
            Some(FlightState::Pending(key)) => self.cancel_op(shard, *key),
            Some(FlightState::Over) => {}
            Some(FlightState::Seen) => self
                .broken(format_args!("flight {flight} of shard {shard} cancelled after its last completion was seen")),
            None => self.broken(format_args!("flight {flight} of shard {shard} never took off")),
        }
    }
}
