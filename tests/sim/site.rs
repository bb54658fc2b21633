//! Where the scripted parties stand: their view of the network and the clock.

use std::collections::VecDeque;
use std::net::SocketAddr;

use plasma::ring::Errno;

use super::core::{Core, Event};
use super::net::{End, Holder, Place, Road};

/// A scripted party outside the server. It is woken when something happens at one of its ends, when somebody connects
/// to it, and when its time has come; spurious wakes are normal.
pub trait Peer {
    /// Looks around and acts.
    fn wake(&mut self, site: &mut Site<'_>);
}

/// A peer's number.
pub type PeerId = usize;

/// What the world keeps for a peer.
#[derive(Debug, Default)]
pub struct PeerDesk {
    /// Connections that arrived at its address.
    pub accepted: VecDeque<End>,
    /// When it will be woken; earlier wakes replace later ones.
    pub wake_at: Option<u64>,
}

/// Where a peer stands while it acts: its view of the network and the clock.
pub struct Site<'a> {
    pub(super) core: &'a mut Core,
    pub(super) me: PeerId,
}

impl Site<'_> {
    /// Virtual nanoseconds.
    pub fn now(&self) -> u64 {
        self.core.now
    }

    /// The wall clock.
    pub fn unix_millis(&self) -> u64 {
        self.core.unix_millis()
    }

    /// Wakes this peer after `delay` nanoseconds at the latest.
    pub fn wake_in(&mut self, delay: u64) {
        self.core.poke_peer(self.me, delay);
    }

    /// Starts to connect.
    pub fn connect(&mut self, to: SocketAddr) -> End {
        self.core.dial(Holder::Peer(self.me), to)
    }

    /// How the attempt went; `None` while it is under way.
    pub fn answer(&self, end: End) -> Option<Result<(), Errno>> {
        self.core.answer_of(end)
    }

    /// Connections to `addr` come to this peer from now on.
    pub fn listen(&mut self, addr: SocketAddr) {
        self.core.places.insert(addr, Place::Peer(self.me));
    }

    /// Nobody is at `addr` any more.
    pub fn unlisten(&mut self, addr: SocketAddr, road: Road) {
        self.core.places.insert(addr, Place::Road(road));
    }

    /// The next connection that somebody made to this peer.
    pub fn accept(&mut self) -> Option<End> {
        self.core.desks[self.me].accepted.pop_front()
    }

    /// Sends what fits; 0 for nothing, errors once the connection is gone. The peer is woken when there is room again.
    pub fn write(&mut self, end: End, bytes: &[u8]) -> Result<usize, Errno> {
        if bytes.is_empty() {
            return Ok(0);
        }
        match self.core.write(end, bytes.len(), [bytes]) {
            Err(Errno::AGAIN) => Ok(0),
            other => other,
        }
    }

    /// Reads up to `max` bytes: `EAGAIN` for none yet, 0 at the end.
    pub fn read(&mut self, end: End, max: usize, take: impl FnMut(&[u8])) -> Result<usize, Errno> {
        self.core.read(end, max, take)
    }

    /// Reads all there is. True at the end, false when more may come; an error once the connection is gone.
    pub fn read_all(&mut self, end: End, mut take: impl FnMut(&[u8])) -> Result<bool, Errno> {
        loop {
            match self.core.read(end, usize::MAX, &mut take) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends no more, reads on.
    pub fn shut_down(&mut self, end: End) {
        self.core.shut_down(end);
    }

    /// Closes: a FIN, or a reset when there are unread bytes, as the kernel does it.
    pub fn close(&mut self, end: End) {
        self.core.hang_up(end, false);
    }

    /// Resets.
    pub fn reset(&mut self, end: End) {
        self.core.hang_up(end, true);
    }
}

impl Core {
    /// Wakes a peer within `delay`.
    pub(super) fn poke_peer(&mut self, peer: PeerId, delay: u64) {
        let at = self.now + delay;
        if self.desks[peer].wake_at.is_none_or(|planned| at < planned) {
            self.desks[peer].wake_at = Some(at);
            self.at(at, Event::Peer(peer));
        }
    }
}
