//! The world around the shards: what happens next, and to whom.

use std::cell::{Ref, RefCell, RefMut};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::MILLIS;
use super::core::{Core, DAWN, Event};
use super::dice::Dice;
use super::kernel::Sleep;
use super::net::End;
use super::ring::{RingSpec, SimRing};
use super::site::{Peer, PeerDesk, PeerId, Site};
use super::weather::Weather;

type Turn = Box<dyn FnMut() -> io::Result<bool>>;
type Scene = Box<dyn FnOnce(&mut Core)>;

/// Turns in a row in which nothing is asked for and nothing taken: so many, over so many nanoseconds, are a livelock.
/// Some are normal: a cancellation or another shard may be waited for, and a shard without subscribers may read a whole
/// log record by record (seed 100031 of the storm took 1,001 turns for that).
const IDLE_TURNS_MAX: u32 = 4_000;
const IDLE_TIME_MAX: u64 = 25 * MILLIS;

/// The simulated world.
pub struct World {
    core: Rc<RefCell<Core>>,
    turns: Vec<Option<Turn>>,
    peers: Vec<Rc<RefCell<dyn Peer>>>,
    /// Per shard: whether there is work that a sleeping shard has not been told of.
    work: Vec<Option<Box<dyn Fn() -> bool>>>,
    scenes: Vec<Option<Scene>>,
    /// Per shard: turns without any effect since it last slept, and when they began.
    idle: Vec<(u32, u64)>,
    trace: bool,
    seed: u64,
    /// Events so far.
    pub steps: u64,
}

impl World {
    /// A world in which `seed` decides everything, the weather included.
    pub fn storm(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let weather = Weather::storm(&mut dice);
        Self::new(seed, weather)
    }

    /// A world with the given weather.
    pub fn new(seed: u64, weather: Weather) -> Self {
        let core = Rc::new(RefCell::new(Core::new(seed, weather, Dice::new(!seed))));
        let trace = std::env::var_os("SIM_TRACE").is_some();
        Self { core, turns: vec![], peers: vec![], work: vec![], scenes: vec![], idle: vec![], trace, seed, steps: 0 }
    }

    /// The shared state, for tests that look or meddle.
    pub fn core(&self) -> Ref<'_, Core> {
        self.core.borrow()
    }

    /// As [`World::core`].
    pub fn core_mut(&self) -> RefMut<'_, Core> {
        self.core.borrow_mut()
    }

    /// A sequence of chance for whoever sets up the scene.
    pub fn dice(&self) -> Dice {
        self.core.borrow_mut().dice.fork()
    }

    /// Virtual nanoseconds.
    pub fn now(&self) -> u64 {
        self.core.borrow().now
    }

    /// A ring for the next shard, numbered from 0.
    pub fn ring(&mut self, spec: RingSpec) -> SimRing {
        self.turns.push(None);
        self.work.push(None);
        self.idle.push((0, 0));
        SimRing::new(&self.core, spec)
    }

    /// `turn` is the shard's; it waits once, at its start, passes up `WouldBlock`, and says whether it wants another.
    pub fn run_shard(&mut self, shard: usize, turn: impl FnMut() -> io::Result<bool> + 'static) {
        self.turns[shard] = Some(Box::new(turn));
        self.core.borrow_mut().after(0, Event::Turn(shard));
    }

    /// `has_work` must be false whenever the shard sleeps and no bell is on its way.
    pub fn lost_wakeup_check(&mut self, shard: usize, has_work: impl Fn() -> bool + 'static) {
        self.work[shard] = Some(Box::new(has_work));
    }

    /// Adds a peer, which is woken at once.
    pub fn add_peer(&mut self, peer: Rc<RefCell<dyn Peer>>) -> PeerId {
        self.peers.push(peer);
        let mut core = self.core.borrow_mut();
        core.desks.push(PeerDesk::default());
        let id = core.desks.len() - 1;
        core.poke_peer(id, 0);
        id
    }

    /// Wakes a peer that a test has just changed.
    pub fn poke(&mut self, peer: PeerId) {
        self.core.borrow_mut().poke_peer(peer, 0);
    }

    /// Rings a shard's bell from outside.
    pub fn ring_bell(&mut self, shard: usize) {
        let mut core = self.core.borrow_mut();
        core.kernels[shard].bells_coming += 1;
        core.ring_bell(shard);
    }

    /// Lets `scene` happen after `delay` nanoseconds.
    pub fn later(&mut self, delay: u64, scene: impl FnOnce(&mut Core) + 'static) {
        self.scenes.push(Some(Box::new(scene)));
        let number = self.scenes.len() as u32 - 1;
        self.core.borrow_mut().after(delay, Event::Script(number));
    }

    /// The storm is over: nothing fails any more, and the network is fast and roomy.
    pub fn calm_down(&mut self) {
        let mut core = self.core.borrow_mut();
        core.weather = Weather::calm();
        core.widen();
    }

    /// Whether the shard has stopped taking turns.
    pub fn is_done(&self, shard: usize) -> bool {
        self.core.borrow().kernels[shard].sleep == Sleep::Done
    }

    /// Whether the shard would be asleep in its wait.
    pub fn is_waiting(&self, shard: usize) -> bool {
        self.core.borrow().kernels[shard].sleep == Sleep::Asleep
    }

    /// The next thing happens. False when nothing ever will.
    pub fn step(&mut self) -> bool {
        let next = self.core.borrow().coming.peek().map(|timed| timed.at);
        let Some(at) = next else { return false };
        if at > self.now() {
            self.check_sleepers();
        }
        let mut core = self.core.borrow_mut();
        let timed = core.coming.pop().expect("just seen");
        core.now = at;
        drop(core);
        self.steps += 1;
        if self.trace {
            eprintln!("{:.6} {:?}", (at - DAWN) as f64 / 1e9, timed.event);
        }
        self.happen(timed.event);
        true
    }

    /// Lets everything happen that happens within `span`.
    pub fn run_for(&mut self, span: Duration) {
        let until = self.now() + span.as_nanos() as u64;
        while self.core.borrow().coming.peek().is_some_and(|timed| timed.at <= until) {
            self.step();
        }
        self.core.borrow_mut().now = until;
    }

    /// Runs until `done`, for `patience` at most. Returns whether it came to be.
    pub fn run_until(&mut self, patience: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let until = self.now() + patience.as_nanos() as u64;
        while !done(self) {
            if self.core.borrow().coming.peek().is_none_or(|timed| timed.at > until) {
                return false;
            }
            self.step();
        }
        true
    }

    fn happen(&mut self, event: Event) {
        let mut core = self.core.borrow_mut();
        match event {
            Event::Syn(conn) => core.on_syn(conn),
            Event::Arrive(end, len) => core.on_arrive(end, len),
            Event::Fin(end) => core.on_fin(end),
            Event::Reset(end) => core.on_reset(end),
            Event::Answered(conn) => core.notify(End { conn, side: 0 }),
            Event::Room(end) => core.on_room(end),
            Event::Attempt(shard, key) => core.attempt(shard, key),
            Event::Cancel(shard, key) => core.on_cancel(shard, key),
            Event::Post(shard, index) => core.on_post(shard, index),
            Event::Bell(shard) => core.on_bell(shard),
            Event::Alarm(shard, sleep) => core.on_alarm(shard, sleep),
            Event::Turn(shard) => {
                drop(core);
                self.take_turn(shard);
            }
            Event::Peer(peer) => {
                let now = core.now;
                // A wake that an earlier one has replaced.
                if core.desks[peer].wake_at != Some(now) {
                    return;
                }
                core.desks[peer].wake_at = None;
                self.peers[peer].borrow_mut().wake(&mut Site { core: &mut core, me: peer });
            }
            Event::Script(number) => {
                let scene = self.scenes[number as usize].take().expect("a scene happens once");
                scene(&mut core);
            }
        }
    }

    fn take_turn(&mut self, shard: usize) {
        // Without a turn of its own the ring belongs to a test, which looks by itself.
        let Some(turn) = &mut self.turns[shard] else { return };
        let deeds = |core: &Core| (core.kernels[shard].submitted, core.kernels[shard].taken);
        let before = deeds(&self.core.borrow());
        match turn() {
            Ok(true) => {
                let mut core = self.core.borrow_mut();
                // 200 ns per op on top of what a turn costs anyway.
                let range = core.weather.turn_cost;
                let after = deeds(&core);
                let cost = core.draw(range) + 200 * (after.0 - before.0);
                core.after(cost, Event::Turn(shard));
                let idle = &mut self.idle[shard];
                *idle = if after == before { (idle.0 + 1, idle.1) } else { (0, core.now) };
                if idle.0 > IDLE_TURNS_MAX && core.now - idle.1 > IDLE_TIME_MAX {
                    core.broken(format_args!("livelock: shard {shard} has turned {} times for nothing", idle.0));
                }
            }
            Ok(false) => {
                self.core.borrow_mut().kernels[shard].sleep = Sleep::Done;
                self.turns[shard] = None;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.idle[shard] = (0, self.now());
                assert!(self.is_waiting(shard), "only a wait may say that a turn would block");
            }
            Err(error) => self.core.borrow().broken(format_args!("shard {shard} failed: {error}")),
        }
    }

    /// Time is about to pass: nobody may sleep beside work that no bell will tell of.
    fn check_sleepers(&self) {
        for (shard, work) in self.work.iter().enumerate() {
            let Some(has_work) = work else { continue };
            let core = self.core.borrow();
            let kernel = &core.kernels[shard];
            if kernel.sleep == Sleep::Asleep && kernel.bells_coming == 0 && !kernel.bell && has_work() {
                core.broken(format_args!("lost wake-up: shard {shard} sleeps, and its mail waits"));
            }
        }
    }

    /// Panics unless every socket, op, buffer and completion is back.
    pub fn assert_all_returned(&self) {
        let core = self.core.borrow();
        for shard in 0..core.kernels.len() {
            core.check_returned(shard, 0);
        }
    }

    /// The same for what clients had: links to an upstream may stand.
    pub fn assert_clients_returned(&self) {
        let core = self.core.borrow();
        for shard in 0..core.kernels.len() {
            core.check_returned(shard, plasma::ring::OUTGOING);
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed of this world was {}", self.seed);
        }
    }
}
