//! What the simulated kernel does with the ops that a shard submits.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use plasma::ring::OUTGOING;
use plasma::ring::{Armed, Attached, Buffer, Completion, Errno, Flight, RECV_LEN_MAX, Socket, Token};

use super::core::{Core, Event};
use super::kernel::{OpKey, Posted, Seen, SlotState, What};
use super::net::{End, Holder};
use super::{MICROS, MILLIS};

impl Core {
    /// Arms an accept and serves it from the backlog.
    pub(super) fn accept(&mut self, shard: usize, listener: u8, token: Token) {
        let key = self.begin(shard, token, None, What::Accept { listener });
        if self.kernels[shard].backlogs[listener as usize].1.replace(key).is_some() {
            self.broken(format_args!("shard {shard} accepts twice from listener {listener}"));
        }
        while self.op(shard, key).is_some() && !self.kernels[shard].backlogs[listener as usize].0.is_empty() {
            self.accept_one(shard, key, listener);
        }
    }

    /// A connection is ready to be accepted.
    pub(super) fn on_backlog(&mut self, shard: usize, listener: u8, conn: u32) {
        let backlog = &mut self.kernels[shard].backlogs[listener as usize];
        backlog.0.push_back(conn);
        if let Some(key) = backlog.1 {
            self.stir(shard, key);
        }
    }

    /// Hands one waiting connection to an armed accept.
    fn accept_one(&mut self, shard: usize, key: OpKey, listener: u8) {
        let Some(conn) = self.kernels[shard].backlogs[listener as usize].0.pop_front() else { return };
        let end = End { conn, side: 1 };
        let Some(slot) = self.take_slot(shard, SlotState::Unseen(end)) else {
            self.hang_up(end, false);
            return self.accept_ends(shard, key, Err(Errno::NFILE), Seen::Nothing);
        };
        self.conns[conn as usize].sides[1].holder = Holder::Socket { shard, slot };
        if self.dice.one_in(self.weather.accept_ends) {
            self.accept_ends(shard, key, Ok(slot), Seen::Accepted(slot));
        } else {
            self.report(shard, key, Ok(slot), Seen::Accepted(slot));
        }
    }

    fn accept_ends(&mut self, shard: usize, key: OpKey, result: Result<u32, Errno>, seen: Seen) {
        let op = self.end_op(shard, key, result, Attached::Nothing, seen);
        if let What::Accept { listener } = op.what {
            self.kernels[shard].backlogs[listener as usize].1 = None;
        }
    }

    /// Arms a poll; what is already there is reported at once.
    pub(super) fn poll(&mut self, shard: usize, socket: Socket, token: Token) {
        self.end_of(shard, socket, "poll");
        let key = self.begin(shard, token, Some(socket.0), What::Poll);
        self.attempt(shard, key);
    }

    /// Receives, now or when something comes.
    pub(super) fn recv(&mut self, shard: usize, socket: Socket, wait: bool, token: Token) {
        let end = self.end_of(shard, socket, "recv");
        let (result, attached) = self.take_bytes(shard, end);
        if wait && result == Err(Errno::AGAIN) {
            self.begin(shard, token, Some(socket.0), What::Recv);
        } else {
            self.complete(shard, token, result, attached);
        }
    }

    /// Fills a receive buffer.
    fn take_bytes(&mut self, shard: usize, end: End) -> (Result<u32, Errno>, Attached) {
        match self.conns[end.conn as usize].pipes[1 - end.side as usize].readable() {
            0 => (self.read(end, 0, |_| ()).map(|len| len as u32), Attached::Nothing),
            readable => {
                let Some(id) = self.kernels[shard].buffers_free.pop() else {
                    return (Err(Errno::NOBUFS), Attached::Nothing);
                };
                let mut most = RECV_LEN_MAX.min(readable);
                if self.dice.one_in(self.weather.short_recv) {
                    // As if the rest came just now: it is reported anew, since a short receive means an empty socket.
                    most = self.dice.spread(1, most as u64) as usize;
                    self.notify(end);
                }
                let area = Rc::clone(&self.kernels[shard].area);
                let start = id as usize * RECV_LEN_MAX;
                let mut at = start;
                let len = self.read(end, most, |bytes| {
                    // SAFETY: the buffer was free, so nobody holds a view of it.
                    unsafe { area.write(at, bytes) };
                    at += bytes.len();
                });
                let len = len.expect("readable bytes can be read");
                // SAFETY: it is written to again only after it has come back.
                (Ok(len as u32), Attached::Buffer(unsafe { Buffer::lend(area, id, start, len) }))
            }
        }
    }

    /// Looks whether something could be received.
    pub(super) fn peek_at(&mut self, shard: usize, socket: Socket, token: Token) {
        let end = self.end_of(shard, socket, "peek");
        let result = self.peek(end).map(|len| len.min(1) as u32);
        self.complete(shard, token, result, Attached::Nothing);
    }

    /// Begins to connect a fresh socket.
    pub(super) fn connect(&mut self, shard: usize, socket: Socket, to: SocketAddr, token: Token) {
        let state = self.kernels[shard].slots.get(socket.0 as usize).map(|slot| slot.state);
        if state != Some(SlotState::Fresh) {
            self.broken(format_args!("connect of {socket:?} of shard {shard}, which is {state:?}"));
        }
        let end = self.dial(Holder::Socket { shard, slot: socket.0 }, to);
        self.kernels[shard].slots[socket.0 as usize].state = SlotState::Open(end);
        self.begin(shard, token, Some(socket.0), What::Connect);
    }

    /// Asks who is there.
    pub(super) fn peer(&mut self, shard: usize, socket: Socket, token: Token) {
        self.end_of(shard, socket, "peer");
        let key = self.begin(shard, token, Some(socket.0), What::Peer);
        self.stir(shard, key);
    }

    /// Looks a name up.
    pub(super) fn resolve(&mut self, shard: usize, host: String, port: u16, token: Token) {
        let key = self.begin(shard, token, None, What::Resolve { host, port });
        let delay = self.dice.spread(10 * MICROS, 50 * MILLIS);
        self.after(delay, Event::Attempt(shard, key));
    }

    fn addresses(&mut self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Errno> {
        let found = match host.parse::<IpAddr>() {
            Ok(ip) => vec![ip],
            Err(_) if host == "localhost" => vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            Err(_) => self.names.get(host).cloned().unwrap_or_default(),
        };
        if found.is_empty() || self.dice.one_in(self.weather.resolve_fails) {
            return Err(Errno::NOENT);
        }
        Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }

    /// Something may have changed for this op; it looks soon.
    pub(super) fn stir(&mut self, shard: usize, key: OpKey) {
        let lag = self.lag();
        let Some(op) = self.op(shard, key) else { return };
        if !std::mem::replace(&mut op.stirred, true) {
            self.after(lag, Event::Attempt(shard, key));
        }
    }

    /// Something may have changed for all ops of this socket.
    pub(super) fn stir_socket(&mut self, shard: usize, slot: u32) {
        for nth in 0..self.kernels[shard].slots[slot as usize].ops.len() {
            let index = self.kernels[shard].slots[slot as usize].ops[nth];
            let serial = self.kernels[shard].ops[index as usize].serial;
            self.stir(shard, OpKey { index, serial });
        }
    }

    /// There is room again: only a pending send cares.
    pub(super) fn on_room(&mut self, end: End) {
        let Holder::Socket { shard, slot } = self.conns[end.conn as usize].sides[end.side as usize].holder else {
            return self.notify(end);
        };
        let kernel = &self.kernels[shard];
        let mut ops = kernel.slots[slot as usize].ops.iter().map(|&index| (index, &kernel.ops[index as usize]));
        let send = ops.find(|(_, op)| matches!(op.what, What::Send(_)));
        if let Some((index, op)) = send {
            let key = OpKey { index, serial: op.serial };
            self.stir(shard, key);
        }
    }

    /// An op looks whether it can go on.
    pub(super) fn attempt(&mut self, shard: usize, key: OpKey) {
        let Some(op) = self.op(shard, key) else { return };
        op.stirred = false;
        let slot = op.slot;
        let end = slot.and_then(|slot| match self.kernels[shard].slots[slot as usize].state {
            SlotState::Open(end) | SlotState::Unseen(end) => Some(end),
            SlotState::Fresh | SlotState::Free => None,
        });
        match (&self.kernels[shard].ops[key.index as usize].what, end) {
            (What::Accept { listener }, _) => {
                let listener = *listener;
                self.accept_one(shard, key, listener);
                if !self.kernels[shard].backlogs[listener as usize].0.is_empty() {
                    self.stir(shard, key);
                }
            }
            (What::Poll, Some(end)) => self.report_readiness(shard, key, end),
            (What::Recv, Some(end)) => {
                let (result, attached) = self.take_bytes(shard, end);
                if result != Err(Errno::AGAIN) {
                    self.end_op(shard, key, result, attached, Seen::Nothing);
                }
            }
            (What::Connect, Some(end)) => {
                if let Some(answer) = self.answer_of(end) {
                    self.end_op(shard, key, answer.map(|()| 0), Attached::Nothing, Seen::Nothing);
                }
            }
            (What::Peer, Some(end)) => {
                let unknown = self.dice.one_in(self.weather.peer_fails);
                let (result, attached) = match self.peer_of(end) {
                    Ok(_) if unknown => (Err(Errno::OPNOTSUPP), Attached::Nothing),
                    Ok(addr) => (Ok(0), Attached::Peer(addr)),
                    Err(error) => (Err(error), Attached::Nothing),
                };
                self.end_op(shard, key, result, attached, Seen::Nothing);
            }
            (What::Resolve { host, port }, _) => {
                let (host, port) = (host.clone(), *port);
                let (result, attached) = match self.addresses(&host, port) {
                    Ok(found) => (Ok(0), Attached::Addresses(found)),
                    Err(error) => (Err(error), Attached::Nothing),
                };
                self.end_op(shard, key, result, attached, Seen::Nothing);
            }
            (What::Send(_), Some(end)) => self.send_on(shard, key, end),
            (What::Release { .. }, _) => self.release(shard, key),
            (what, None) => unreachable!("{what:?} without a connection"),
        }
    }

    /// Reports what a poll can see, if there is anything, sometimes twice.
    fn report_readiness(&mut self, shard: usize, key: OpKey, end: End) {
        let bits = self.poll_bits(end);
        if bits != 0 {
            self.report(shard, key, Ok(bits), Seen::Nothing);
            if self.dice.one_in(self.weather.duplicate_poll) {
                self.report(shard, key, Ok(bits), Seen::Nothing);
            }
        }
    }

    /// Asks the ops under `token` to end.
    pub(super) fn cancel(&mut self, shard: usize, token: Token) {
        let cancellable = |what: &What| matches!(what, What::Accept { .. } | What::Poll | What::Recv | What::Connect);
        let ops = self.kernels[shard].ops.iter();
        let hit = ops.filter(|(_, op)| op.token == token && cancellable(&op.what));
        let keys: Vec<OpKey> = hit.map(|(index, op)| OpKey { index: index as u32, serial: op.serial }).collect();
        for key in keys {
            self.cancel_op(shard, key);
        }
    }

    pub(super) fn cancel_op(&mut self, shard: usize, key: OpKey) {
        match self.lag() {
            0 => self.on_cancel(shard, key),
            lag => self.after(lag, Event::Cancel(shard, key)),
        }
    }

    /// A cancellation takes effect, unless the op was faster.
    pub(super) fn on_cancel(&mut self, shard: usize, key: OpKey) {
        let Some(op) = self.op(shard, key) else { return };
        match &op.what {
            What::Send(_) => self.send_ends(shard, key, Err(Errno::CANCELED)),
            What::Release { .. } => {}
            What::Accept { .. } => self.accept_ends(shard, key, Err(Errno::CANCELED), Seen::Nothing),
            What::Poll | What::Recv | What::Connect | What::Peer | What::Resolve { .. } => {
                self.end_op(shard, key, Err(Errno::CANCELED), Attached::Nothing, Seen::Nothing);
            }
        }
    }

    /// Panics when anything is armed on the socket that `armed` leaves out: it would keep the socket open.
    fn expect_armed(&self, shard: usize, socket: Socket, armed: Armed) {
        let Armed::Only { poll, flight } = armed else { return };
        for &index in &self.kernels[shard].slots[socket.0 as usize].ops {
            let op = &self.kernels[shard].ops[index as usize];
            let named = match &op.what {
                What::Poll => op.token == poll,
                What::Send(sending) => flight == Some(Flight(sending.flight)),
                // Neither keeps the socket open: one is the network's, the other ends by itself.
                What::Release { .. } | What::Peer => true,
                _ => false,
            };
            if !named {
                self.broken(format_args!("close of {socket:?} of shard {shard} leaves {:?} armed", op.what));
            }
        }
    }

    /// Ends every op of the socket and frees its slot; a reset frees what its zero-copy sends hold, too.
    pub(super) fn close(&mut self, shard: usize, socket: Socket, armed: Armed, reset: bool, token: Token) {
        let state = self.kernels[shard].slots.get(socket.0 as usize).map(|slot| slot.state);
        let end = match state {
            Some(SlotState::Fresh) => None,
            Some(SlotState::Open(end)) => Some(end),
            _ => self.broken(format_args!("close of {socket:?} of shard {shard}, which is {state:?}")),
        };
        self.expect_armed(shard, socket, armed);
        while let Some(&index) = self.kernels[shard].slots[socket.0 as usize].ops.last() {
            let serial = self.kernels[shard].ops[index as usize].serial;
            self.on_cancel(shard, OpKey { index, serial });
        }
        if let Some(end) = end {
            self.hang_up(end, reset);
            if reset {
                self.conns[end.conn as usize].pipes[end.side as usize].cut();
                self.let_go(shard, end);
            }
        }
        let kernel = &mut self.kernels[shard];
        kernel.slots[socket.0 as usize].state = SlotState::Free;
        kernel.free[usize::from(socket.0 < OUTGOING)].push(Reverse(socket.0));
        self.post(shard, 0, Posted { completion: plain(token, Ok(0)), seen: Seen::Nothing });
    }

    /// Rings at another shard's door. It counts as coming already.
    pub(super) fn ring_bell(&mut self, to: usize) {
        let lag = self.draw(self.weather.bell_lag);
        self.after(lag, Event::Bell(to));
    }

    /// The one completion of an op that was over at once.
    fn complete(&mut self, shard: usize, token: Token, result: Result<u32, Errno>, attached: Attached) {
        // A receive that does not wait, and whatever else is over inside the submission, is seen there.
        let completion = Completion { attached, ..plain(token, result) };
        self.show(shard, Posted { completion, seen: Seen::Nothing });
    }
}

/// The only completion of an op, with nothing attached.
pub(super) fn plain(token: Token, result: Result<u32, Errno>) -> Completion {
    Completion { token, result, more: false, attached: Attached::Nothing }
}
