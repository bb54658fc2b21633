//! The script's world in the simulation.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use plasma::base::region::Region;
use plasma::base::time::Instant;
use plasma::ring::{Errno, Ring};

use super::{Harness, Read};
use crate::sim::{End, Peer, RingSpec, SimRing, Site, Weather, World};

/// A ring, and another one to ring bells with.
pub struct Simulated {
    world: World,
    ring: SimRing,
    other: SimRing,
    hands: Rc<RefCell<Hands>>,
    peer: usize,
}

/// What the script wants done outside.
enum Wish {
    Dial,
    Write(End, Vec<u8>),
    Read(End),
    ShutDown(End),
    Reset(End),
    Listen(SocketAddr),
    Accept,
}

/// A peer that does what the script wants, one wish at a time.
#[derive(Default)]
struct Hands {
    wishes: VecDeque<Wish>,
    end: Option<End>,
    read: Option<Read>,
}

fn here() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
}

fn there() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 6379))
}

impl Peer for Hands {
    fn wake(&mut self, site: &mut Site<'_>) {
        while let Some(wish) = self.wishes.pop_front() {
            match wish {
                Wish::Dial => self.end = Some(site.connect(here())),
                Wish::Write(end, bytes) => assert_eq!(site.write(end, &bytes), Ok(bytes.len())),
                Wish::Read(end) => {
                    let mut got = Vec::new();
                    self.read = Some(match site.read(end, 1 << 16, |bytes| got.extend_from_slice(bytes)) {
                        Ok(0) => Read::End,
                        Ok(_) => Read::Bytes(got),
                        Err(Errno::AGAIN) => Read::Nothing,
                        Err(_) => Read::Reset,
                    });
                }
                Wish::ShutDown(end) => site.shut_down(end),
                Wish::Reset(end) => site.reset(end),
                Wish::Listen(addr) => site.listen(addr),
                Wish::Accept => self.end = site.accept(),
            }
        }
    }
}

impl Simulated {
    /// Lets the peer act, without letting much else happen.
    fn wish(&mut self, wish: Wish) {
        self.hands.borrow_mut().wishes.push_back(wish);
        self.world.poke(self.peer);
        let hands = Rc::clone(&self.hands);
        assert!(self.world.run_until(Duration::from_secs(1), |_| hands.borrow().wishes.is_empty()));
    }
}

impl Harness for Simulated {
    type Ring = SimRing;
    type Client = End;

    fn new(slots: usize, region: Arc<Region>) -> Self {
        let mut world = World::new(1, Weather::calm());
        let ring = world.ring(RingSpec { listeners: vec![here()], regions: vec![region], slots });
        let other = world.ring(RingSpec { listeners: vec![], regions: vec![], slots: 1 });
        let hands = Rc::new(RefCell::new(Hands::default()));
        let peer = world.add_peer(hands.clone());
        Self { world, ring, other, hands, peer }
    }

    fn ring(&mut self) -> &mut SimRing {
        &mut self.ring
    }

    fn wait(&mut self, until: Instant) {
        while self.ring.wait(Some(until)).is_err() {
            assert!(self.world.run_until(Duration::from_secs(3600), |world| !world.is_waiting(0)));
        }
    }

    fn settle(&mut self) {
        self.world.run_for(Duration::from_millis(10));
    }

    fn dial(&mut self) -> End {
        self.wish(Wish::Dial);
        self.settle();
        self.hands.borrow_mut().end.take().unwrap()
    }

    fn addr_of(&self, client: &End) -> SocketAddr {
        self.world.core().addr_of(*client)
    }

    fn write(&mut self, client: &mut End, bytes: &[u8]) {
        self.wish(Wish::Write(*client, bytes.to_vec()));
    }

    fn read(&mut self, client: &mut End) -> Read {
        self.settle();
        self.wish(Wish::Read(*client));
        self.hands.borrow_mut().read.take().unwrap()
    }

    fn shut_down(&mut self, client: &mut End) {
        self.wish(Wish::ShutDown(*client));
    }

    fn reset(&mut self, client: End) {
        self.wish(Wish::Reset(client));
    }

    fn server(&mut self) -> SocketAddr {
        self.wish(Wish::Listen(there()));
        there()
    }

    fn accept(&mut self) -> End {
        self.settle();
        self.wish(Wish::Accept);
        self.hands.borrow_mut().end.take().unwrap()
    }

    fn nobody(&mut self) -> SocketAddr {
        there()
    }

    fn ring_bell(&mut self) {
        self.other.ring_bell(0);
        self.other.submit().unwrap();
    }
}
