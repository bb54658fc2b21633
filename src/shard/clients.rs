//! The clients of one shard: one entry per place in the ring's table of sockets.
//!
//! What an idle client holds is counted here: [`Client`] is 48 bytes, a membership 16 and its entry in the topic's list
//! 8. Everything else belongs to those who are in a request or have fallen behind.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use slab::Slab;

use super::profiles::ProfileId;
use crate::hub::topics::Memberships;
use crate::ring::Token;

/// The life of a client socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody is here, or the socket is being closed.
    Free,
    /// Between accept and the start of a stream, or between two short answers: key of its request.
    Request(u32),
    /// Subscribed and up to date: nothing is pending, nothing is kept.
    Live,
    /// Subscribed, with bytes still to be sent: key of its outbox.
    Behind(u32),
}

/// Which address a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Unknown,
    V4(u32),
    /// Index into the table of the rarer, longer ones.
    V6(u32),
}

/// One client. Hot: fan-out touches it for every delivery.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub stage: Stage,
    peer: Peer,
    /// 24 bits, counted over all places; tells the holder of a place from its predecessors.
    pub generation: u32,
    pub memberships: Memberships,
    pub profile: ProfileId,
    /// Tick of the last bytes sent.
    pub quiet_since: u32,
    /// Tick of the accept, then of the request.
    pub since: u32,
    /// Events sent.
    pub events: u32,
    /// Bytes sent, low half first: a `u64` would cost padding.
    bytes: [u32; 2],
    /// Receives whose bytes nobody wanted.
    pub strikes: u8,
    /// Zero-copy sends gained nothing here.
    pub copies: bool,
}

const _: () = assert!(size_of::<Client>() <= 56);

impl Client {
    const FREE: Self = Self {
        stage: Stage::Free,
        peer: Peer::Unknown,
        generation: 0,
        memberships: Memberships::NONE,
        profile: ProfileId::NONE,
        quiet_since: 0,
        since: 0,
        events: 0,
        bytes: [0, 0],
        strikes: 0,
        copies: false,
    };

    /// Bytes sent on the stream.
    pub fn bytes(&self) -> u64 {
        u64::from(self.bytes[1]) << 32 | u64::from(self.bytes[0])
    }

    /// Counts what was sent, or takes back what was not.
    pub fn count(&mut self, events: i64, bytes: i64) {
        self.events = self.events.saturating_add_signed(events as i32);
        let sum = self.bytes().saturating_add_signed(bytes);
        self.bytes = [sum as u32, (sum >> 32) as u32];
    }
}

/// All clients of a shard, by socket.
pub(super) struct Clients {
    table: Vec<Client>,
    count: usize,
    generation: u32,
    wide: Slab<Ipv6Addr>,
}

impl Clients {
    /// Room for clients at `slots` sockets. Address space is all that it takes; a table that grew by and by would leave
    /// its earlier, smaller selves behind in the allocator.
    pub fn new(slots: u32) -> Self {
        Self { table: Vec::with_capacity(slots as usize), count: 0, generation: 0, wide: Slab::new() }
    }

    /// Clients present.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Places that were ever used: all clients lie below.
    pub fn places(&self) -> u32 {
        self.table.len() as u32
    }

    /// A new client at `socket`, with its generation.
    pub fn enter(&mut self, socket: u32, request: u32, tick: u32) -> u32 {
        let index = socket as usize;
        if index >= self.table.len() {
            self.table.resize(index + 1, Client::FREE);
        }
        debug_assert_eq!(self.table[index].stage, Stage::Free);
        self.generation = (self.generation + 1) & Token::GENERATION_MAX;
        let (stage, generation) = (Stage::Request(request), self.generation);
        self.table[index] = Client { stage, generation, since: tick, quiet_since: tick, ..Client::FREE };
        self.count += 1;
        generation
    }

    /// The client at `socket` goes.
    pub fn go(&mut self, socket: u32) {
        let client = &mut self.table[socket as usize];
        if let Peer::V6(key) = client.peer {
            self.wide.remove(key as usize);
        }
        *client = Client::FREE;
        self.count -= 1;
        // With nobody left, nothing is kept for the next crowd: memory returns to where it was.
        if self.count == 0 {
            self.table = Vec::with_capacity(self.table.capacity());
            self.wide = Slab::new();
        }
    }

    /// The client at `socket`, if it is the one that `token` was made for.
    pub fn find(&mut self, token: Token) -> Option<&mut Client> {
        let client = self.table.get_mut(token.index() as usize)?;
        (client.generation == token.generation() && client.stage != Stage::Free).then_some(client)
    }

    /// The stage of whoever is at `socket`, if anybody is.
    pub fn stage(&self, socket: u32) -> Stage {
        self.table.get(socket as usize).map_or(Stage::Free, |client| client.stage)
    }

    /// The client at `socket`, which is there.
    pub fn at(&mut self, socket: u32) -> &mut Client {
        &mut self.table[socket as usize]
    }

    /// Remembers where a client comes from.
    pub fn set_peer(&mut self, socket: u32, address: IpAddr) {
        let peer = match address.to_canonical() {
            IpAddr::V4(address) => Peer::V4(address.to_bits()),
            IpAddr::V6(address) => Peer::V6(self.wide.insert(address) as u32),
        };
        if let Peer::V6(key) = std::mem::replace(&mut self.table[socket as usize].peer, peer) {
            self.wide.remove(key as usize);
        }
    }

    /// Where a client comes from, if that is known.
    pub fn peer(&self, socket: u32) -> Option<IpAddr> {
        match self.table[socket as usize].peer {
            Peer::Unknown => None,
            Peer::V4(bits) => Some(Ipv4Addr::from_bits(bits).into()),
            Peer::V6(key) => Some(self.wide[key as usize].into()),
        }
    }
}
