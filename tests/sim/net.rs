//! The network: connections as two bounded streams of bytes, with latency, FIN and reset.
//!
//! Follows Linux where it shows: data before a reset can still be read, unread data turns a close into a reset, data
//! for an end that is gone is answered with one, the first call after a reset gets its error and later ones do not.

use std::net::SocketAddr;

use plasma::ring::Errno;

use super::core::{Core, Event};
use super::kernel::Sleep;
use super::pipe::Pipe;
use super::weather::Weather;

/// One end of a connection. Connections are never reused, so an end always means the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct End {
    pub(super) conn: u32,
    pub(super) side: u8,
}

impl End {
    /// The opposite end.
    pub fn other(self) -> Self {
        Self { conn: self.conn, side: 1 - self.side }
    }
}

/// Who has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Waits in a listener's backlog, or for its SYN to arrive.
    Nobody,
    /// A shard's socket.
    Socket { shard: usize, slot: u32 },
    /// A scripted peer.
    Peer(usize),
    /// Closed by whoever had it.
    Closed,
}

/// How a connection attempt to an address fares while nobody listens there, or in spite of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    /// Refused at once.
    Refused,
    /// Never answered.
    Lost,
}

/// Who listens at an address.
#[derive(Debug)]
pub enum Place {
    /// Shards and the numbers of their listeners; the kernel picks one by hash.
    Shards(Vec<(usize, u8)>),
    /// A scripted server.
    Peer(usize),
    /// Nobody.
    Road(Road),
}

/// One end as its kernel sees it.
#[derive(Debug)]
pub struct Side {
    pub holder: Holder,
    pub addr: SocketAddr,
    /// The error that the next call gets.
    error: Option<Errno>,
    /// Reset, refused or timed out.
    dead: bool,
    fin_sent: bool,
    fin_came: bool,
}

/// A connection from side 0 to side 1. `pipes[s]` holds what side `s` sent.
#[derive(Debug)]
pub struct Conn {
    pub sides: [Side; 2],
    pub pipes: [Pipe; 2],
    pub up: bool,
    latency: u64,
}

impl Core {
    /// Starts to connect; the answer comes as [`Event::Answered`].
    pub(super) fn dial(&mut self, holder: Holder, to: SocketAddr) -> End {
        self.port_next += 1;
        let port = 1024 + (self.port_next % 60_000) as u16;
        let from = SocketAddr::from(([10, (self.port_next >> 16) as u8, 0, 1], port));
        let side = |holder, addr| Side { holder, addr, error: None, dead: false, fin_sent: false, fin_came: false };
        let pipes = [(); 2].map(|()| Pipe::new(self.draw(self.weather.pipe_len) as usize));
        let latency = self.draw(self.weather.latency);
        let sides = [side(holder, from), side(Holder::Nobody, to)];
        let conn = self.conns.len() as u32;
        self.conns.push(Conn { sides, pipes, up: false, latency });
        self.after(latency, Event::Syn(conn));
        End { conn, side: 0 }
    }

    /// The SYN has arrived: somebody takes the connection, or nobody.
    pub(super) fn on_syn(&mut self, conn: u32) {
        let there = &self.conns[conn as usize];
        let (to, latency) = (there.sides[1].addr, there.latency);
        if there.sides[0].holder == Holder::Closed {
            return;
        }
        let end = End { conn, side: 1 };
        let lost = self.dice.one_in(self.weather.connect_lost);
        let failed = match self.places.get(&to) {
            _ if lost => Some((Errno::TIMEDOUT, Weather::CONNECT_TIMEOUT)),
            Some(Place::Road(Road::Lost)) => Some((Errno::TIMEDOUT, Weather::CONNECT_TIMEOUT)),
            Some(Place::Peer(peer)) => {
                let peer = *peer;
                self.conns[conn as usize].sides[1].holder = Holder::Peer(peer);
                self.desks[peer].accepted.push_back(end);
                self.poke_peer(peer, 0);
                None
            }
            Some(Place::Shards(shards)) if !shards.is_empty() => {
                let (shard, listener) = shards[self.dice.below(shards.len() as u64) as usize];
                self.on_backlog(shard, listener, conn);
                None
            }
            _ => Some((Errno::CONNREFUSED, latency)),
        };
        match failed {
            Some((error, delay)) => {
                let side = &mut self.conns[conn as usize].sides[0];
                (side.error, side.dead) = (Some(error), true);
                self.after(delay, Event::Answered(conn));
            }
            None => {
                self.conns[conn as usize].up = true;
                let at = self.now + latency;
                self.conns[conn as usize].pipes[1].last_at = at;
                self.at(at, Event::Answered(conn));
            }
        }
    }

    /// From now on the network is fast and roomy, also for connections that exist.
    pub(super) fn widen(&mut self) {
        let (latency, room) = (self.draw(self.weather.latency), self.draw(self.weather.pipe_len) as usize);
        for conn in 0..self.conns.len() as u32 {
            self.conns[conn as usize].latency = latency;
            for side in 0..2 {
                let pipe = &mut self.conns[conn as usize].pipes[side as usize];
                pipe.widen(room);
                if std::mem::take(&mut pipe.wanting) {
                    self.after(latency, Event::Room(End { conn, side }));
                }
            }
        }
    }

    /// Sends up to `limit` of `bytes`: how many went, `EAGAIN` for none, or the connection's error.
    pub(super) fn write<'a>(
        &mut self,
        end: End,
        limit: usize,
        bytes: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<usize, Errno> {
        let conn = &mut self.conns[end.conn as usize];
        let side = &mut conn.sides[end.side as usize];
        if side.dead {
            return Err(side.error.take().unwrap_or(Errno::PIPE));
        }
        if side.fin_sent {
            return Err(Errno::PIPE);
        }
        let pipe = &mut conn.pipes[end.side as usize];
        if end.side == 0 && !conn.up {
            pipe.wanting = true;
            return Err(Errno::AGAIN);
        }
        let most = pipe.room().min(limit);
        let mut len = 0;
        for piece in bytes {
            let piece = &piece[..piece.len().min(most - len)];
            pipe.push(piece);
            len += piece.len();
            if len == most {
                pipe.wanting = most < limit;
                break;
            }
        }
        if len == 0 {
            return Err(Errno::AGAIN);
        }
        let at = self.travel(end);
        self.at(at, Event::Arrive(end.other(), len as u32));
        Ok(len)
    }

    /// When something sent now reaches the other end: after all that went before.
    fn travel(&mut self, from: End) -> u64 {
        let conn = &mut self.conns[from.conn as usize];
        let jitter = self.dice.below(conn.latency / 4 + 1);
        let pipe = &mut conn.pipes[from.side as usize];
        pipe.last_at = (self.now + conn.latency + jitter).max(pipe.last_at + 1);
        pipe.last_at
    }

    /// Reads up to `max` bytes: how many, 0 at the end, `EAGAIN` for none yet, or the connection's error.
    pub(super) fn read(&mut self, end: End, max: usize, take: impl FnMut(&[u8])) -> Result<usize, Errno> {
        let conn = &mut self.conns[end.conn as usize];
        let pipe = &mut conn.pipes[1 - end.side as usize];
        if pipe.readable() > 0 {
            let len = pipe.pull(max, take);
            if pipe.wanting && pipe.roomy() {
                pipe.wanting = false;
                let latency = conn.latency;
                self.after(latency, Event::Room(end.other()));
            }
            return Ok(len);
        }
        let side = &mut conn.sides[end.side as usize];
        match side.error.take() {
            _ if side.fin_came => Ok(0),
            Some(error) => Err(error),
            None if side.dead => Ok(0),
            None => Err(Errno::AGAIN),
        }
    }

    /// What [`Core::read`] would say, taking no bytes; but an error is told once, here as there.
    pub(super) fn peek(&mut self, end: End) -> Result<usize, Errno> {
        match self.conns[end.conn as usize].pipes[1 - end.side as usize].readable() {
            0 => self.read(end, 0, |_| ()),
            len => Ok(len),
        }
    }

    /// `POLL*` bits that a poll for input and hang-ups would report.
    pub(super) fn poll_bits(&self, end: End) -> u32 {
        let conn = &self.conns[end.conn as usize];
        let side = &conn.sides[end.side as usize];
        let over = side.fin_came || side.dead;
        let mut bits = 0;
        for (set, bit) in [
            (over || conn.pipes[1 - end.side as usize].readable() > 0, libc::POLLIN),
            (over, libc::POLLRDHUP),
            (side.dead || side.fin_came && side.fin_sent, libc::POLLHUP),
            (side.error.is_some(), libc::POLLERR),
        ] {
            bits |= if set { bit as u32 } else { 0 };
        }
        bits
    }

    /// The address of the opposite end.
    pub(super) fn peer_of(&self, end: End) -> Result<SocketAddr, Errno> {
        let conn = &self.conns[end.conn as usize];
        if conn.sides[end.side as usize].dead || !conn.up {
            return Err(Errno::NOTCONN);
        }
        Ok(conn.sides[1 - end.side as usize].addr)
    }

    /// The address of this end.
    pub fn addr_of(&self, end: End) -> SocketAddr {
        self.conns[end.conn as usize].sides[end.side as usize].addr
    }

    /// Whether a connection attempt has been answered well, or how it failed. `None` while it is under way.
    pub(super) fn answer_of(&self, end: End) -> Option<Result<(), Errno>> {
        let conn = &self.conns[end.conn as usize];
        if conn.sides[0].dead && !conn.up {
            return Some(Err(conn.sides[0].error.unwrap_or(Errno::CONNREFUSED)));
        }
        conn.up.then_some(Ok(()))
    }

    /// Sends a FIN and goes on reading.
    pub(super) fn shut_down(&mut self, end: End) {
        let side = &mut self.conns[end.conn as usize].sides[end.side as usize];
        if !side.dead && !side.fin_sent {
            side.fin_sent = true;
            let at = self.travel(end);
            self.at(at, Event::Fin(end.other()));
        }
    }

    /// Gives the end up: with a FIN, or with a reset when bytes were left unread or `abort` asks for it.
    pub(super) fn hang_up(&mut self, end: End, abort: bool) {
        let conn = &mut self.conns[end.conn as usize];
        conn.sides[end.side as usize].holder = Holder::Closed;
        let unread = conn.pipes[1 - end.side as usize].readable() > 0;
        conn.pipes[1 - end.side as usize].empty_out();
        if conn.sides[end.side as usize].dead {
            return;
        }
        if !unread && !abort {
            return self.shut_down(end);
        }
        conn.sides[end.side as usize].dead = true;
        if self.dice.coin() {
            // What had not left yet never will.
            conn.pipes[end.side as usize].cut();
        }
        let at = self.travel(end);
        self.at(at, Event::Reset(end.other()));
    }

    /// Bytes arrive.
    pub(super) fn on_arrive(&mut self, end: End, len: u32) {
        let conn = &mut self.conns[end.conn as usize];
        if conn.sides[end.side as usize].dead {
            return;
        }
        if conn.pipes[1 - end.side as usize].arrive(len as usize) {
            return self.notify(end);
        }
        conn.sides[end.side as usize].dead = true;
        let at = self.travel(end);
        self.at(at, Event::Reset(end.other()));
    }

    /// The other side's FIN arrives.
    pub(super) fn on_fin(&mut self, end: End) {
        let conn = &mut self.conns[end.conn as usize];
        let side = &mut conn.sides[end.side as usize];
        if !side.dead && !conn.pipes[1 - end.side as usize].is_cut() {
            side.fin_came = true;
            self.notify(end);
        }
    }

    /// A reset arrives.
    pub(super) fn on_reset(&mut self, end: End) {
        let conn = &mut self.conns[end.conn as usize];
        let side = &mut conn.sides[end.side as usize];
        if side.dead {
            return;
        }
        side.dead = true;
        side.error = Some(if side.fin_came { Errno::PIPE } else { Errno::CONNRESET });
        conn.pipes.iter_mut().for_each(Pipe::cut);
        self.notify(end);
    }

    /// Tells whoever has the end that something changed there.
    pub(super) fn notify(&mut self, end: End) {
        match self.conns[end.conn as usize].sides[end.side as usize].holder {
            Holder::Socket { shard, slot } => self.stir_socket(shard, slot),
            Holder::Peer(peer) => {
                let lag = self.lag();
                self.poke_peer(peer, lag);
            }
            Holder::Nobody | Holder::Closed => {}
        }
    }

    /// A shard's ring is gone.
    pub(super) fn bury(&mut self, shard: usize) {
        self.kernels[shard].sleep = Sleep::Done;
        for place in self.places.values_mut() {
            if let Place::Shards(shards) = place {
                shards.retain(|&(of, _)| of != shard);
            }
        }
        let waiting: Vec<u32> =
            self.kernels[shard].backlogs.iter_mut().flat_map(|(waits, _)| waits.drain(..)).collect();
        for conn in waiting {
            self.hang_up(End { conn, side: 1 }, true);
        }
        for conn in 0..self.conns.len() {
            for side in 0..2 {
                let holder = self.conns[conn].sides[side].holder;
                if matches!(holder, Holder::Socket { shard: of, .. } if of == shard) {
                    self.hang_up(End { conn: conn as u32, side: side as u8 }, false);
                }
            }
        }
    }
}
