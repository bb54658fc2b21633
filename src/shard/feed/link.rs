//! One connection to an upstream over the shard's ring: find the name, connect, move bytes, close, rest, again.
//!
//! Knows no protocol. What is sent is kept by the ring until it is out; one send at a time.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::super::tokens::Kind;
use crate::base::time::Instant;
use crate::ring::{Armed, Attached, Buffer, Errno, Part, Ring, Socket, Token};

/// How long a name may be looked up and a connection be opened, for each of its addresses.
const CONNECT_FOR: Duration = Duration::from_secs(5);

/// The life of one attempt. The next one begins where this ended.
enum State {
    /// Until then nothing is tried.
    Resting(Instant),
    /// The name is looked up.
    Resolving {
        until: Instant,
    },
    /// The last address is being tried, the others after it.
    Connecting {
        socket: Socket,
        until: Instant,
        others: Vec<SocketAddr>,
    },
    Open(Socket),
}

pub(super) struct Link {
    index: u32,
    attempt: u32,
    state: State,
    /// What is on its way out.
    sending: Option<Bytes>,
}

/// What happened on a link.
pub(super) enum Event {
    /// Nothing that matters.
    Nothing,
    /// The connection stands.
    Connected,
    /// Bytes came. Give the buffer back, then ask for more.
    Received(Buffer),
    /// What was sent is out: there may be more.
    Sent,
    /// The attempt or the connection has failed; the link is closed.
    Failed(String),
}

impl Link {
    pub fn new(index: u32) -> Self {
        Self { index, attempt: 0, state: State::Resting(Instant::default()), sending: None }
    }

    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether `token` was made for this link at all.
    pub fn owns(&self, token: Token) -> bool {
        token.index() == self.index
    }

    fn token(&self, kind: Kind) -> Token {
        kind.token(self.index, self.attempt)
    }

    /// When something has to be done although nothing happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Resting(until) | State::Resolving { until } | State::Connecting { until, .. } => Some(until),
            State::Open(_) => None,
        }
    }

    /// Starts an attempt when the rest is over; ends one that takes too long.
    pub fn on_time(&mut self, ring: &mut impl Ring, (host, port): (&str, u16), now: Instant) -> Event {
        match self.state {
            State::Resting(until) if now >= until => {
                self.attempt = (self.attempt + 1) & Token::GENERATION_MAX;
                self.state = State::Resolving { until: now + CONNECT_FOR };
                ring.resolve(host, port, self.token(Kind::LinkResolve));
                Event::Nothing
            }
            State::Resolving { until } if now >= until => self.fail(ring, "the name was not found in time".into()),
            State::Connecting { until, socket, .. } if now >= until => {
                self.try_next(ring, socket, now, "the connection was not opened in time".into())
            }
            _ => Event::Nothing,
        }
    }

    /// Takes in a completion of this link.
    pub fn on(
        &mut self,
        ring: &mut impl Ring,
        now: Instant,
        (kind, token, result, attached): (Kind, Token, Result<u32, Errno>, Attached),
    ) -> Event {
        if token.generation() != self.attempt {
            if let Attached::Buffer(buffer) = attached {
                ring.give_back(buffer);
            }
            return Event::Nothing;
        }
        match (kind, &mut self.state, attached) {
            (Kind::LinkResolve, State::Resolving { .. }, Attached::Addresses(addresses)) => {
                // Tried from the back.
                let others = addresses.into_iter().rev().collect();
                self.connect(ring, now, others, "no address".into())
            }
            (Kind::LinkResolve, State::Resolving { .. }, _) => self.fail(ring, "the name leads nowhere".into()),
            (Kind::LinkConnect, State::Connecting { socket, .. }, _) => {
                let socket = *socket;
                match result {
                    Ok(_) => {
                        self.state = State::Open(socket);
                        self.receive(ring);
                        Event::Connected
                    }
                    Err(error) => self.try_next(ring, socket, now, error.to_string()),
                }
            }
            (Kind::LinkRecv, State::Open(_), Attached::Buffer(buffer)) if !buffer.is_empty() => Event::Received(buffer),
            (Kind::LinkRecv, State::Open(_), attached) => {
                if let Attached::Buffer(buffer) = attached {
                    ring.give_back(buffer);
                }
                match result {
                    Err(Errno::NOBUFS | Errno::INTR | Errno::AGAIN) => {
                        self.receive(ring);
                        Event::Nothing
                    }
                    Err(error) => self.fail(ring, error.to_string()),
                    Ok(_) => self.fail(ring, "closed by the other end".into()),
                }
            }
            (Kind::LinkSend, State::Open(_), _) => self.on_sent(ring, result),
            (_, _, Attached::Buffer(buffer)) => {
                ring.give_back(buffer);
                Event::Nothing
            }
            _ => Event::Nothing,
        }
    }

    fn on_sent(&mut self, ring: &mut impl Ring, result: Result<u32, Errno>) -> Event {
        let Some(sending) = self.sending.take() else { return Event::Nothing };
        match result {
            Ok(sent) if (sent as usize) < sending.len() => {
                self.send(ring, sending.slice(sent as usize..));
                Event::Nothing
            }
            Ok(_) => Event::Sent,
            Err(Errno::INTR | Errno::AGAIN) => {
                self.send(ring, sending);
                Event::Nothing
            }
            Err(error) => self.fail(ring, error.to_string()),
        }
    }

    /// Whether [`Link::send`] may be called.
    pub fn can_send(&self) -> bool {
        self.is_open() && self.sending.is_none()
    }

    /// Sends `bytes`, which are not empty.
    pub fn send(&mut self, ring: &mut impl Ring, bytes: Bytes) {
        if let State::Open(socket) = self.state {
            ring.send(socket, vec![Part::Own(bytes.clone())], false, self.token(Kind::LinkSend));
            self.sending = Some(bytes);
        }
    }

    /// Asks for the next bytes.
    pub fn receive(&mut self, ring: &mut impl Ring) {
        if let State::Open(socket) = self.state {
            ring.recv(socket, true, self.token(Kind::LinkRecv));
        }
    }

    /// Ends the connection, if there is one, and rests until `until`.
    pub fn rest(&mut self, ring: &mut impl Ring, until: Instant) {
        if let State::Open(socket) | State::Connecting { socket, .. } = self.state {
            ring.close(socket, Armed::Anything, false, self.token(Kind::LinkClose));
        }
        // What still comes of this attempt concerns nobody.
        self.attempt = (self.attempt + 1) & Token::GENERATION_MAX;
        self.sending = None;
        self.state = State::Resting(until);
    }

    /// Closes; the caller says until when to rest.
    fn fail(&mut self, ring: &mut impl Ring, reason: String) -> Event {
        self.rest(ring, Instant::from_nanos(u64::MAX));
        Event::Failed(reason)
    }

    fn connect(&mut self, ring: &mut impl Ring, now: Instant, mut others: Vec<SocketAddr>, mut why: String) -> Event {
        while let Some(address) = others.pop() {
            match ring.open(&address) {
                Ok(socket) => {
                    self.state = State::Connecting { socket, until: now + CONNECT_FOR, others };
                    ring.connect(socket, address, self.token(Kind::LinkConnect));
                    return Event::Nothing;
                }
                Err(error) => why = error.to_string(),
            }
        }
        self.fail(ring, why)
    }

    /// One address does not answer: the next.
    fn try_next(&mut self, ring: &mut impl Ring, socket: Socket, now: Instant, why: String) -> Event {
        let State::Connecting { others, .. } = &mut self.state else { return Event::Nothing };
        let others = std::mem::take(others);
        ring.close(socket, Armed::Anything, false, self.token(Kind::LinkClose));
        self.attempt = (self.attempt + 1) & Token::GENERATION_MAX;
        self.state = State::Resolving { until: now };
        self.connect(ring, now, others, why)
    }
}
