//! The clients of one shard: one entry per place in the ring's table of sockets.
//!
//! What an idle client holds is counted here: [`Client`] is 36 bytes, its entry in the list of its topic 4. Whoever has
//! several topics has 24 for each of them instead of the 4. Everything else belongs to those who are in a request or
//! have fallen behind.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use slab::Slab;

use super::profiles::ProfileId;
use crate::hub::Seat;
use crate::ring::Token;

/// The life of a client socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody is here, or the socket is being closed.
    Free,
    /// Between accept and the start of a stream, or between two short answers: key of its request.
    Request(u32),
    /// Subscribed and up to date: nothing is pending, nothing is kept but the tick of the last bytes sent.
    Live { quiet_since: u32 },
    /// Subscribed, with bytes still to be sent: key of its outbox.
    Behind(u32),
    /// HTTP/2, with streams of its own: key of its connection.
    H2(u32),
}

/// Which address a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Unknown,
    V4(u32),
    /// Index into the table of the rarer, longer ones.
    V6(u32),
}

/// One client, as small as can be: there may be a million. Hot: fan-out touches it for every delivery.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// The stage in the upper three bits, the key of what it has or the tick in the others.
    stage: u32,
    /// The address, or its index.
    peer: u32,
    generation: [u8; 3],
    /// What kind of `peer`, [`COPIES`], and in the other bits how often its bytes were not wanted.
    flags: u8,
    pub seat: Seat,
    pub profile: ProfileId,
    /// Tick of the accept, then of the request.
    pub since: u32,
    /// Events sent.
    pub events: u32,
    /// Low half of the bytes sent.
    bytes: u32,
}

const _: () = assert!(size_of::<Client>() == 36);

/// Keys of slabs stay below: nobody has half a billion sockets in one ring. Ticks go round in it every 20 months.
const KEY_BITS: u32 = 29;
const KEY: u32 = (1 << KEY_BITS) - 1;
const LIVE: u32 = 2;

const PEER: u8 = 0b11;
const PEER_V4: u8 = 1;
const PEER_V6: u8 = 2;
/// Zero-copy sends gained nothing here.
const COPIES: u8 = 0b100;
const STRIKE: u8 = 0b1000;

impl Client {
    const FREE: Self = Self {
        stage: 0,
        peer: 0,
        generation: [0; 3],
        flags: 0,
        seat: Seat::NONE,
        profile: ProfileId::NONE,
        since: 0,
        events: 0,
        bytes: 0,
    };

    pub fn stage(&self) -> Stage {
        let key = self.stage & KEY;
        match self.stage >> KEY_BITS {
            0 => Stage::Free,
            1 => Stage::Request(key),
            LIVE => Stage::Live { quiet_since: key },
            3 => Stage::Behind(key),
            _ => Stage::H2(key),
        }
    }

    pub fn set_stage(&mut self, stage: Stage) {
        let (tag, key) = match stage {
            Stage::Free => (0, 0),
            Stage::Request(key) => (1, key),
            Stage::Live { quiet_since } => (LIVE, quiet_since & KEY),
            Stage::Behind(key) => (3, key),
            Stage::H2(key) => (4, key),
        };
        debug_assert!(key <= KEY);
        self.stage = tag << KEY_BITS | key;
    }

    /// Whether it is subscribed and up to date.
    pub fn is_live(&self) -> bool {
        self.stage >> KEY_BITS == LIVE
    }

    /// 24 bits, counted over all places; tells the holder of a place from its predecessors.
    pub fn generation(&self) -> u32 {
        let [low, middle, high] = self.generation;
        u32::from_le_bytes([low, middle, high, 0])
    }

    fn set_generation(&mut self, generation: u32) {
        let [low, middle, high, _] = generation.to_le_bytes();
        self.generation = [low, middle, high];
    }

    fn peer(&self) -> Peer {
        match self.flags & PEER {
            PEER_V4 => Peer::V4(self.peer),
            PEER_V6 => Peer::V6(self.peer),
            _ => Peer::Unknown,
        }
    }

    fn set_peer(&mut self, peer: Peer) {
        let (kind, value) = match peer {
            Peer::Unknown => (0, 0),
            Peer::V4(bits) => (PEER_V4, bits),
            Peer::V6(key) => (PEER_V6, key),
        };
        self.flags = self.flags & !PEER | kind;
        self.peer = value;
    }

    /// Whether zero-copy sends gained nothing here.
    pub fn copies(&self) -> bool {
        self.flags & COPIES != 0
    }

    pub fn set_copies(&mut self) {
        self.flags |= COPIES;
    }

    /// Counts a receive whose bytes nobody wanted; how many there were, up to [`Client::STRIKES_MAX`].
    pub fn strike(&mut self) -> u8 {
        if self.flags / STRIKE < Self::STRIKES_MAX {
            self.flags += STRIKE;
        }
        self.flags / STRIKE
    }

    /// Counting ends here.
    pub const STRIKES_MAX: u8 = u8::MAX / STRIKE;
}

/// Ticks that a live client has been quiet for.
pub(super) fn quiet_for(quiet_since: u32, tick: u32) -> u32 {
    tick.wrapping_sub(quiet_since) & KEY
}

/// All clients of a shard, by socket.
pub(super) struct Clients {
    table: Vec<Client>,
    count: usize,
    generation: u32,
    wide: Slab<Ipv6Addr>,
    /// High half of the bytes sent, of the few who were sent so much.
    large: BTreeMap<u32, u32>,
}

impl Clients {
    /// Room for clients at `slots` sockets. Address space is all that it takes; a table that grew by and by would leave
    /// its earlier, smaller selves behind in the allocator.
    pub fn new(slots: u32) -> Self {
        Self {
            table: Vec::with_capacity(slots as usize),
            count: 0,
            generation: 0,
            wide: Slab::new(),
            large: BTreeMap::new(),
        }
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
        debug_assert_eq!(self.table[index].stage(), Stage::Free);
        self.generation = (self.generation + 1) & Token::GENERATION_MAX;
        let client = &mut self.table[index];
        *client = Client { since: tick, ..Client::FREE };
        client.set_stage(Stage::Request(request));
        client.set_generation(self.generation);
        self.count += 1;
        self.generation
    }

    /// The client at `socket` goes.
    pub fn go(&mut self, socket: u32) {
        let client = &mut self.table[socket as usize];
        if let Peer::V6(key) = client.peer() {
            self.wide.remove(key as usize);
        }
        *client = Client::FREE;
        self.large.remove(&socket);
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
        (client.generation() == token.generation() && client.stage() != Stage::Free).then_some(client)
    }

    /// The stage of whoever is at `socket`, if anybody is.
    pub fn stage(&self, socket: u32) -> Stage {
        self.table.get(socket as usize).map_or(Stage::Free, Client::stage)
    }

    /// The client at `socket`, which is there.
    pub fn at(&mut self, socket: u32) -> &mut Client {
        &mut self.table[socket as usize]
    }

    /// Counts what was sent just now to one that is up to date.
    pub fn note_sent(&mut self, socket: u32, tick: u32, events: u32, bytes: u32) {
        let client = self.at(socket);
        debug_assert!(client.is_live());
        client.set_stage(Stage::Live { quiet_since: tick });
        self.account(socket, i64::from(events), i64::from(bytes));
    }

    /// Counts what was sent, or takes back what was not.
    pub fn account(&mut self, socket: u32, events: i64, bytes: i64) {
        let client = self.at(socket);
        client.events = client.events.saturating_add_signed(events as i32);
        let sum = i64::from(client.bytes) + bytes;
        client.bytes = sum as u32;
        if sum >> 32 != 0 {
            self.carry(socket, sum >> 32);
        }
    }

    #[cold]
    fn carry(&mut self, socket: u32, carried: i64) {
        let high = self.large.entry(socket).or_default();
        debug_assert!(carried >= 0 || *high > 0, "nobody takes back what was never counted");
        *high = high.saturating_add_signed(carried as i32);
    }

    /// Bytes sent on the stream.
    pub fn bytes(&self, socket: u32) -> u64 {
        let high = self.large.get(&socket).copied().unwrap_or_default();
        u64::from(high) << 32 | u64::from(self.table[socket as usize].bytes)
    }

    /// Remembers where a client comes from.
    pub fn set_peer(&mut self, socket: u32, address: IpAddr) {
        let peer = match address.to_canonical() {
            IpAddr::V4(address) => Peer::V4(address.to_bits()),
            IpAddr::V6(address) => Peer::V6(self.wide.insert(address) as u32),
        };
        let client = &mut self.table[socket as usize];
        let before = client.peer();
        client.set_peer(peer);
        if let Peer::V6(key) = before {
            self.wide.remove(key as usize);
        }
    }

    /// Where a client comes from, if that is known.
    pub fn peer(&self, socket: u32) -> Option<IpAddr> {
        match self.table[socket as usize].peer() {
            Peer::Unknown => None,
            Peer::V4(bits) => Some(Ipv4Addr::from_bits(bits).into()),
            Peer::V6(key) => Some(self.wide[key as usize].into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shares_a_word_stays_apart() {
        let mut client = Client::FREE;
        for stage in [
            Stage::Request(0),
            Stage::Behind(KEY),
            Stage::H2(KEY),
            Stage::Live { quiet_since: KEY },
            Stage::Request(KEY),
            Stage::Free,
        ] {
            client.set_stage(stage);
            assert_eq!((client.stage(), client.is_live()), (stage, matches!(stage, Stage::Live { .. })));
        }
        client.set_generation(Token::GENERATION_MAX);
        client.set_copies();
        for peer in [Peer::V4(u32::MAX), Peer::V6(7), Peer::Unknown] {
            client.set_peer(peer);
            assert_eq!((client.peer(), client.copies()), (peer, true));
        }
        assert_eq!(client.generation(), Token::GENERATION_MAX);
    }

    #[test]
    fn silence_is_counted_over_the_end_of_the_ticks() {
        let mut clients = Clients::new(1);
        clients.enter(0, 0, 0);
        clients.at(0).set_stage(Stage::Live { quiet_since: 0 });
        clients.note_sent(0, u32::MAX - 1, 1, 1);
        let Stage::Live { quiet_since } = clients.stage(0) else { panic!("it was live") };
        assert_eq!((quiet_for(quiet_since, u32::MAX), quiet_for(quiet_since, 3)), (1, 5));
    }

    #[test]
    fn bytes_are_counted_beyond_four_gigabytes_and_taken_back() {
        let mut clients = Clients::new(2);
        clients.enter(1, 0, 0);
        let mut want = 0;
        for bytes in [1 << 31, 1 << 31, 5, -6, 1, 3 << 33, -1, -(3 << 33)] {
            clients.account(1, 0, bytes);
            want += bytes;
            assert_eq!(clients.bytes(1) as i64, want);
        }
        clients.go(1);
        clients.enter(1, 0, 0);
        assert_eq!(clients.bytes(1), 0);
    }

    #[test]
    fn strikes_are_counted_and_do_not_wrap() {
        let mut client = Client::FREE;
        client.set_peer(Peer::V6(1));
        assert_eq!([client.strike(), client.strike()], [1, 2]);
        let most = (0..100).map(|_| client.strike()).max();
        assert_eq!((most, client.peer()), (Some(Client::STRIKES_MAX), Peer::V6(1)));
    }
}
