//! How clients come, are watched, and go.

use std::net::SocketAddr;

use super::clients::Stage;
use super::requests::Request;
use super::tokens::Kind;
use super::{Due, Ending, Idle, Shard};
use crate::base::log::Level;
use crate::base::log::access;
use crate::hub::Seat;
use crate::ring::{Armed, Errno, Listener, Ring, Socket, Token};

/// How long a listener rests after an error that waiting may mend (no memory, no descriptors).
const REST: std::time::Duration = std::time::Duration::from_secs(1);

const POLLERR: u32 = libc::POLLERR as u32;
const POLLHUP: u32 = libc::POLLHUP as u32;
const POLLRDHUP: u32 = libc::POLLRDHUP as u32;

/// The listeners of a shard, and whether they are open.
pub(super) struct Door {
    listeners: u8,
    state: State,
    /// Listeners with an accept armed, one bit each.
    armed: u8,
    /// Clients at which accepting stops: a full table would close whoever comes next.
    close_at: usize,
    /// Clients at which it goes on.
    open_at: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not yet opened.
    New,
    Open,
    /// The table is nearly full; whoever comes waits in the kernel's queue.
    Full,
    /// For good.
    Shut,
}

impl Door {
    pub fn new(listeners: u8, slots: u32) -> Self {
        let slots = slots.saturating_sub(crate::ring::OUTGOING) as usize;
        Self { listeners, state: State::New, armed: 0, close_at: slots * 95 / 100, open_at: slots * 90 / 100 }
    }
}

impl<R: Ring> Shard<R> {
    /// Begins to accept. To be called once all shards have bound their listeners: the first would get everybody.
    pub fn open(&mut self) {
        self.door.state = State::Open;
        for listener in 0..self.door.listeners {
            self.listen(Listener(listener));
        }
    }

    /// Stops accepting for good.
    pub(super) fn shut(&mut self) {
        self.door.state = State::Shut;
        self.stop_listening();
    }

    pub(super) fn listen(&mut self, listener: Listener) {
        let bit = 1 << listener.0;
        if self.door.state == State::Open && self.door.armed & bit == 0 {
            self.door.armed |= bit;
            self.ring.accept(listener, Kind::Accept.token(u32::from(listener.0), 0));
        }
    }

    fn stop_listening(&mut self) {
        for listener in (0..self.door.listeners).filter(|listener| self.door.armed & 1 << listener != 0) {
            self.ring.cancel(Kind::Accept.token(u32::from(listener), 0));
        }
    }

    pub(super) fn on_accepted(&mut self, token: Token, result: Result<u32, Errno>, more: bool) {
        let listener = Listener(token.index() as u8);
        if !more {
            self.door.armed &= !(1 << listener.0);
        }
        match result {
            Ok(socket) => self.welcome(socket),
            Err(Errno::CANCELED) => {}
            // The listener was shut under us: we go.
            Err(_) if self.desk.is_draining() => {}
            Err(error) => {
                self.log.error(Level::Error, "failed to accept", |fields| fields.str("error", &error.to_string()));
                if !more {
                    self.wheel.arm(self.ring.now() + REST, Due::Listen(listener));
                }
                return;
            }
        }
        if !more {
            self.listen(listener);
        }
        if self.door.state == State::Open && self.clients.count() >= self.door.close_at {
            self.door.state = State::Full;
            self.stop_listening();
            let count = self.clients.count() as u64;
            self.log.error(Level::Warn, "the table of sockets is nearly full: accepting rests", |fields| {
                fields.uint("connections", count);
            });
        }
    }

    fn welcome(&mut self, socket: u32) {
        let alarm = self.wheel.arm(self.ring.now() + self.settings.request_timeout, Due::Request { socket });
        let request = self.requests.insert(Request::new(alarm)) as u32;
        let generation = self.clients.enter(socket, request, self.tick);
        self.counts.accepted += 1;
        self.ring.peer(Socket(socket), Kind::Peer.token(socket, generation));
        self.ring.poll(Socket(socket), Kind::Poll.token(socket, generation));
    }

    pub(super) fn on_peer(&mut self, token: Token, address: SocketAddr) {
        let Some(client) = self.clients.find(token) else { return };
        // What stays on this machine is always copied by the kernel, and held until it is read.
        if address.ip().to_canonical().is_loopback() {
            client.set_copies();
        }
        self.clients.set_peer(token.index(), address.ip());
    }

    pub(super) fn on_polled(&mut self, token: Token, result: Result<u32, Errno>, more: bool) {
        let Some(client) = self.clients.find(token) else { return };
        let (stage, socket) = (client.stage(), token.index());
        let events = match result {
            Ok(events) => events,
            // Taken back, for a client that is watched no longer.
            Err(Errno::CANCELED) => return,
            Err(error) => return self.end(socket, super::ending_of(error)),
        };
        if events & (POLLERR | POLLHUP) != 0 {
            return self.end(socket, Ending::Reset);
        }
        match stage {
            Stage::Request(key) => {
                self.requests[key as usize].note_end(events & POLLRDHUP != 0);
                self.receive(socket);
            }
            Stage::H2(key) => {
                self.note_h2_end(key, events & POLLRDHUP != 0);
                self.receive(socket);
            }
            // On a stream even half a hang-up is one: nobody could tell us anything more.
            _ if events & POLLRDHUP != 0 => return self.end(socket, Ending::Closed),
            _ => self.receive(socket),
        }
        let watched = self.settings.idle == Idle::Poll || matches!(stage, Stage::Request(_) | Stage::H2(_));
        if !more && watched {
            self.ring.poll(Socket(socket), token);
        }
    }

    /// A subscriber needs no poll when idle clients are not watched.
    pub(super) fn stop_watching(&mut self, socket: u32) {
        if self.settings.idle == Idle::Dense {
            let generation = self.clients.at(socket).generation();
            self.ring.cancel(Kind::Poll.token(socket, generation));
        }
    }

    /// The client goes. Everything it holds is given back at once, but for what the kernel still reads.
    pub(super) fn end(&mut self, socket: u32, ending: Ending) {
        self.log_stream_end(socket, ending);
        let client = self.clients.at(socket);
        let (stage, generation, profile) = (client.stage(), client.generation(), client.profile);
        let seat = std::mem::replace(&mut client.seat, Seat::NONE);
        debug_assert_ne!(stage, Stage::Free);
        if stage != Stage::Free {
            self.leave_topics(seat);
        }
        let flight = self.flight_of(stage);
        // Memory that the client has been sent without a copy stays with the kernel until it has it; when it goes, or
        // is sent away, nobody may wait for that. A send that the close cuts short may have gone in part.
        let mut in_place = self.unreleased.values().any(|sent| sent.socket == Some(socket));
        match stage {
            Stage::Request(key) => self.drop_request(key),
            Stage::H2(key) => {
                if let Some(outbox) = self.drop_connection(key, ending) {
                    self.orphan_outbox(outbox);
                }
            }
            Stage::Behind(key) => {
                in_place |= self.is_sending_in_place(key);
                self.orphan_outbox(key);
            }
            Stage::Live { .. } | Stage::Free => {}
        }
        self.profiles.release(profile);
        self.clients.go(socket);
        let reset = in_place && ending != Ending::Farewell;
        for sent in self.unreleased.values_mut().filter(|sent| sent.socket == Some(socket)) {
            sent.socket = None;
        }
        let armed = Armed::Only { poll: Kind::Poll.token(socket, generation), flight };
        self.ring.close(Socket(socket), armed, reset, Kind::Close.token(socket, generation));
        if self.door.state == State::Full && self.clients.count() <= self.door.open_at {
            self.open();
        }
    }

    /// One line for each stream that ends.
    fn log_stream_end(&mut self, socket: u32, ending: Ending) {
        let client = self.clients.at(socket).clone();
        if !matches!(client.stage(), Stage::Live { .. } | Stage::Behind(_)) {
            return;
        }
        self.counts.delivered += u64::from(client.events);
        if !self.log.takes_access() {
            return;
        }
        let Some(profile) = self.profiles.profile(client.profile) else { return };
        let remote = remote_addr(profile.forwarded, self.clients.peer(socket));
        let duration = super::ticks_for(self.tick - client.since);
        let reason = ending.to_string();
        self.log.access("sse", |fields| {
            let (events, bytes) = (u64::from(client.events), self.clients.bytes(socket));
            access::Request { events, duration, bytes, ..profile.line(&remote, 200, &reason) }.write(fields);
        });
    }
}

/// Who is at the other end, for the log; empty where the kernel could not tell.
pub(super) fn remote_addr(forwarded: &[u8], peer: Option<std::net::IpAddr>) -> String {
    let unspecified = std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
    match (forwarded, peer) {
        (b"", None) => String::new(),
        (forwarded, peer) => access::remote_addr(Some(forwarded), SocketAddr::new(peer.unwrap_or(unspecified), 0)),
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => to.write_str("closed by client"),
            Self::Reset => to.write_str("reset"),
            Self::Answered => to.write_str("answered"),
            Self::RequestTimeout => to.write_str("request timeout"),
            Self::WriteTimeout => to.write_str("write timeout"),
            Self::Lapped => to.write_str("lapped"),
            Self::Chatter => to.write_str("client kept sending"),
            Self::Protocol => to.write_str("protocol error"),
            Self::KeepAlive => to.write_str("keepalive timeout"),
            Self::Lost => to.write_str("events lost upstream"),
            Self::Farewell => to.write_str("shutdown"),
            Self::Failed(error) => error.fmt(to),
        }
    }
}
