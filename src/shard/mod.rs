//! One thread, one ring, and everything its clients need: where sockets, codecs, the log and the dialects meet.
//!
//! Read [`Shard::turn`] first. A turn sleeps until something happens, takes in everything that did, then answers all of
//! it at once; whatever it queues goes out with the next turn's first call into the kernel.
//!
//! - `clients`: the table of clients; `accept`: how they come and go
//! - `requests`: from bytes to an answer or a stream; `streams`: the life of a subscription
//! - `h2`: connections of many streams, requests and subscriptions alike
//! - `fanout`: from new records to all who want them; `outbox`: to one who is not up to date
//! - `leave`: taking leave of the log's oldest part, and of whoever was still there
//! - `sweep`: heartbeats and the search for the dead; `drain`: the end
//! - `mail`: between shards; `feed`: where events come from (on the first shard, which owns the log's writer)

mod accept;
mod clients;
mod drain;
mod fanout;
pub mod feed;
mod h2;
mod leave;
pub mod mail;
mod outbox;
mod profiles;
mod publish;
mod requests;
mod settings;
mod streams;
mod sweep;
mod tokens;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use self::accept::Door;
use self::clients::Clients;
use self::drain::Drain;
use self::fanout::Fanout;
use self::feed::Feed;
use self::mail::Desk;
use self::outbox::Outbox;
use self::profiles::Profiles;
use self::requests::Request;
pub use self::settings::{H2, Idle, Settings, SlowConsumer, Upstream};
use self::sweep::Sweep;
use self::tokens::Kind;
use crate::base::log::Log;
use crate::base::region::Region;
use crate::base::time::Instant;
use crate::base::wheel::{TICK, Wheel, tick_of};
use crate::dialect::plasma;
use crate::hub::{self, Format, Missed, Reader, Span, Topics, Writer};
use crate::ring::{Attached, Completion, Errno, Listener, Piece, RECV_BUFFERS, Ring};

/// The ring's regions, in this order: the log's frames for event streams.
pub const FRAMES: u8 = 0;
/// The log's frames for gRPC streams.
pub const MESSAGES: u8 = 1;
/// Bytes that never change: [`constants`].
pub const CONSTANTS: u8 = 2;

/// The regions of a shard's ring; `constants` holds [`constants`].
pub fn regions(log: &hub::Log, constants: &Arc<Region>) -> Vec<Arc<Region>> {
    vec![Arc::clone(log.region(Format::Sse)), Arc::clone(log.region(Format::Grpc)), Arc::clone(constants)]
}

/// What the last region holds.
pub fn constants() -> &'static [u8] {
    plasma::HEARTBEAT
}

/// The comment for quiet streams.
const COMMENT: Piece = Piece { region: CONSTANTS, at: 0, len: plasma::HEARTBEAT.len() as u32 };

fn piece_of(span: Span, format: Format) -> Piece {
    let region = match format {
        Format::Sse => FRAMES,
        Format::Grpc => MESSAGES,
    };
    Piece { region, at: span.at, len: span.len }
}

/// The format of a piece of the log.
fn format_of(piece: Piece) -> Format {
    debug_assert_ne!(piece.region, CONSTANTS);
    if piece.region == FRAMES { Format::Sse } else { Format::Grpc }
}

/// Sends in one slice of a fan-out, a sweep or the farewells: some 2 ms of a core, the longest that an accept or a
/// publisher waits for one.
const SLICE_MAX: u32 = 512;

/// Rounds of receives in one turn: some 250 requests, about a millisecond.
const ROUNDS_MAX: usize = 32;

/// Most records in one batch: bounds the scratch, and 4,096 small events are already one send of half a megabyte.
const BATCH_MAX: u64 = 4_096;

/// How a shard's turn left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There will be another.
    Goes,
    /// Drained: everybody was told and has gone.
    Drained,
    /// The upstream is given up (`PLASMA_SUBSCRIBER_REDIS_OVER_MAX_RETRY_BEHAVIOR=die`): the process ends.
    GivenUp,
}

/// Deadlines of the busy few.
#[derive(Clone, Copy, Debug)]
enum Due {
    /// A request, or what lingers after one: its client.
    Request { socket: u32 },
    /// An outbox of which nothing moves.
    Stalled(u32),
    /// A listener rests after an error.
    Listen(Listener),
    /// A connection's greeting, its leave, its end.
    Connection { socket: u32 },
    /// A stream's request or deadline; `lost` says that it has lost events and cannot be told.
    Stream { key: u32, generation: u32, lost: bool },
}

/// Why a client is ended; the access log says it in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// It went.
    Closed,
    /// It went without a word.
    Reset,
    /// A short answer was all it wanted.
    Answered,
    /// It did not finish its request in time.
    RequestTimeout,
    /// It took nothing for too long.
    WriteTimeout,
    /// It was overtaken by the log, and that ends a stream here.
    Lapped,
    /// It kept talking although nobody listens on a stream.
    Chatter,
    /// It broke the rules of HTTP/2.
    Protocol,
    /// It did not answer a PING.
    KeepAlive,
    /// Events were lost upstream, and it could not be told.
    Lost,
    /// We go.
    Farewell,
    /// The kernel said something else.
    Failed(Errno),
}

fn ending_of(error: Errno) -> Ending {
    match error {
        Errno::PIPE | Errno::CONNRESET | Errno::CONNABORTED | Errno::TIMEDOUT => Ending::Reset,
        error => Ending::Failed(error),
    }
}

/// What a shard has counted, for its last words and for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Connections accepted.
    pub accepted: u64,
    /// Streams begun.
    pub streams: u64,
    /// Events sent to streams that have ended.
    pub delivered: u64,
    /// Sends of a fan-out that did not go out whole.
    pub cut: u64,
    /// Gap notices written and streams closed instead of one.
    pub gaps: u64,
    /// Streams ended because nothing moved.
    pub stalled: u64,
}

/// A shard on any ring: the kernel's or a simulated one.
pub struct Shard<R: Ring> {
    ring: R,
    settings: Arc<Settings>,
    desk: Desk,
    log: Log,
    clients: Clients,
    requests: Slab<Request>,
    /// Bytes of request bodies being collected.
    bodies_len: usize,
    profiles: Profiles,
    topics: Topics,
    reader: Reader,
    missed: Missed,
    fanout: Fanout,
    outboxes: Slab<Outbox>,
    /// Outboxes that wait for the end of the batch.
    arrivals: Vec<u32>,
    /// Zero-copy sends that are through but still read the log, by token.
    unreleased: BTreeMap<u64, outbox::Unreleased>,
    /// Sends that name what the log wants back are on their way home: their completions wake us.
    recalling: bool,
    /// Numbers pending sends.
    flights: u32,
    wheel: Wheel<Due>,
    sweep: Sweep,
    /// The current tick, counted from the shard's start.
    tick: u32,
    began: Instant,
    door: Door,
    /// Receives from clients under way.
    receives: u16,
    /// Clients to receive from as soon as there are buffers again, who came first first.
    starved: VecDeque<u32>,
    feed: Option<Feed>,
    drain: Drain,
    heads: streams::Heads,
    connections: h2::Connections,
    streams: h2::Streams,
    /// Publications of this shard's own clients, on the shard that has the feed.
    own_publications: Vec<mail::Publication>,
    /// Streams that watch the health, and what they were told.
    watches: Vec<u32>,
    watched_healthy: bool,
    /// Turns so far.
    turns: u32,
    slice_max: u32,
    batch_max: u64,
    counts: Counts,
}

impl<R: Ring> Shard<R> {
    /// A shard that accepts from the first `listeners` listeners of its ring. `writer` goes to the first shard.
    pub fn new(
        ring: R,
        settings: Arc<Settings>,
        desk: Desk,
        reader: Reader,
        writer: Option<Writer>,
        listeners: u8,
        log: Log,
    ) -> Self {
        let began = ring.now();
        let feed = writer.map(|writer| Feed::new(writer, &settings, began));
        if let Some(feed) = &feed {
            // The first turn may be long in coming, and other shards are asked already.
            desk.set_upstream_up(feed.is_up(began));
        }
        Self {
            door: Door::new(listeners, settings.slots),
            sweep: Sweep::new(&settings),
            drain: Drain::default(),
            heads: streams::Heads::default(),
            connections: h2::Connections::default(),
            streams: h2::Streams::default(),
            own_publications: Vec::new(),
            watches: Vec::new(),
            watched_healthy: false,
            turns: 0,
            clients: Clients::new(settings.slots),
            requests: Slab::new(),
            bodies_len: 0,
            profiles: Profiles::default(),
            topics: Topics::default(),
            missed: Missed::default(),
            fanout: Fanout::default(),
            outboxes: Slab::new(),
            arrivals: Vec::new(),
            unreleased: BTreeMap::new(),
            recalling: false,
            flights: 0,
            wheel: Wheel::new(began),
            tick: 0,
            receives: 0,
            starved: VecDeque::new(),
            slice_max: SLICE_MAX,
            batch_max: BATCH_MAX,
            counts: Counts::default(),
            ring,
            settings,
            desk,
            log,
            reader,
            began,
            feed,
        }
    }

    /// One turn: sleep, take in everything that happened, then answer all of it at once. Fails when the kernel does.
    pub fn turn(&mut self) -> io::Result<Turn> {
        let until = self.sleep_until();
        self.ring.wait(until)?;
        self.desk.awake();
        self.tick = self.tick_at(self.now());
        self.turns = self.turns.wrapping_add(1);
        self.take_completions();
        self.feed_starved()?;
        self.hear_connections();
        self.take_mail();
        self.fire_alarms();
        self.run_feed();
        self.make_changes();
        self.tell_watches();
        self.read_log();
        self.flush_connections();
        Ok(self.verdict())
    }

    /// Until when nothing needs us; now, if there is something to do.
    fn sleep_until(&mut self) -> Option<Instant> {
        let now = self.now();
        if self.is_busy() {
            return Some(now);
        }
        self.desk.falls_asleep();
        // Whoever publishes or writes between our last look and now has either seen us asleep, or is seen here.
        if self.has_work() {
            return Some(now);
        }
        let tick = (self.clients.count() > 0 || self.drain.is_active()).then(|| self.next_tick());
        let feed = self.feed.as_ref().and_then(Feed::next_deadline);
        [tick, self.wheel.next(), feed].into_iter().flatten().min()
    }

    /// Whether there is work that no completion will announce.
    fn is_busy(&self) -> bool {
        self.fanout.is_active()
            || self.sweep.is_behind()
            || !self.starved.is_empty()
            || self.connections.are_dirty()
            || !self.own_publications.is_empty()
            || self.drain.is_behind()
            || self.feed.as_ref().is_some_and(Feed::has_grown)
    }

    fn now(&self) -> Instant {
        self.ring.now()
    }

    fn tick_at(&self, at: Instant) -> u32 {
        (tick_of(at) - tick_of(self.began)) as u32
    }

    fn next_tick(&self) -> Instant {
        Instant::from_nanos((tick_of(self.now()) + 1) * TICK.as_nanos() as u64)
    }

    fn take_completions(&mut self) {
        while let Some(completion) = self.ring.next() {
            self.take_completion(completion);
        }
    }

    /// Receives from those who found no buffer, as many at a time as there are. A slice of a broadcast takes longer
    /// than all of these: in a storm of clients nobody should wait for one per handful of buffers.
    fn feed_starved(&mut self) -> io::Result<()> {
        for _ in 0..ROUNDS_MAX {
            while self.receives < RECV_BUFFERS
                && let Some(socket) = self.starved.pop_front()
            {
                self.receive_now(socket);
            }
            if self.starved.is_empty() {
                break;
            }
            self.ring.wait(Some(self.now()))?;
            self.take_completions();
        }
        Ok(())
    }

    fn take_completion(&mut self, completion: Completion) {
        let Completion { token, result, more, attached } = completion;
        match (Kind::of(token), attached) {
            (Kind::Accept, _) => self.on_accepted(token, result, more),
            (Kind::Peer, Attached::Peer(address)) => self.on_peer(token, address),
            (Kind::Poll, _) => self.on_polled(token, result, more),
            (Kind::Recv, Attached::Buffer(buffer)) => {
                self.receives -= 1;
                self.on_received(token, &buffer);
                self.ring.give_back(buffer);
            }
            (Kind::Recv, _) => {
                self.receives -= 1;
                self.on_nothing_received(token, result);
            }
            (Kind::Peek, _) => self.on_peeked(token, result),
            (Kind::Deliver, _) => self.on_delivered(token, result),
            (Kind::Comment, _) => self.on_comment_cut(token, result),
            (Kind::Frames, _) => self.on_frames_cut(token, result),
            (Kind::Write, Attached::Released { copied }) => self.on_released(token, copied),
            (Kind::Write, _) => self.on_written(token, result, more),
            // The place was given up when the close was asked for; nobody knows a peer that could not be told.
            (Kind::Close | Kind::Peer | Kind::Stream, _) => {}
            (
                kind @ (Kind::LinkResolve | Kind::LinkConnect | Kind::LinkRecv | Kind::LinkSend | Kind::LinkClose),
                attached,
            ) => self.on_link(kind, token, result, attached),
        }
    }

    fn fire_alarms(&mut self) {
        // One after another: what one of them ends takes back the others that it had.
        while let Some(due) = self.wheel.take_due(self.ring.now()) {
            match due {
                Due::Request { socket } => self.on_request_late(socket),
                Due::Stalled(key) => self.on_stalled(key),
                Due::Listen(listener) => self.listen(listener),
                Due::Connection { socket } => self.on_connection_due(socket),
                Due::Stream { key, generation, lost } => self.on_stream_due(key, generation, lost),
            }
        }
    }

    /// Takes in what the log has grown by and sends it on. Between two batches heartbeats and farewells have their
    /// turn: what they send must be through before the same sockets may be sent to again.
    fn read_log(&mut self) {
        if self.fanout.is_active() {
            return self.fan_out();
        }
        self.take_leave();
        if self.sweep_if_due() || self.say_farewells() {
            return;
        }
        self.begin_batch();
        self.fan_out();
        if !self.fanout.is_active() && !self.arrivals.is_empty() {
            self.welcome_arrivals();
        }
    }

    fn verdict(&self) -> Turn {
        if self.feed.as_ref().is_some_and(Feed::has_given_up) {
            Turn::GivenUp
        } else if self.drain.is_over() {
            Turn::Drained
        } else {
            Turn::Goes
        }
    }

    /// Whether something waits that a sleeping shard is rung for.
    pub fn has_work(&self) -> bool {
        let blocked = self.feed.as_ref().is_some_and(Feed::is_blocked);
        self.reader.has_news() || self.reader.is_asked_to_leave() && !self.recalling || self.desk.has_mail() && !blocked
    }

    /// Works in slices of so many sends and batches of so many records from now on: for tests, in which a few clients
    /// shall take as many turns as a million.
    pub fn work_in_slices(&mut self, sends: u32, records: u64) {
        (self.slice_max, self.batch_max) = (sends, records);
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Clients connected now.
    pub fn client_count(&self) -> usize {
        self.clients.count()
    }

    /// Whether everything that a client may have held was given back: for tests, after all have gone.
    pub fn is_clean(&self) -> bool {
        self.clients.count() == 0
            && self.requests.is_empty()
            && self.outboxes.is_empty()
            && self.unreleased.is_empty()
            && self.topics.topic_count() == 0
            && self.topics.member_count() == 0
            && self.bodies_len == 0
            && self.profiles.is_empty()
            && self.connections.is_empty()
            && self.streams.is_empty()
            && self.watches.is_empty()
    }

    /// Whether everything that was published so far has been sent, but for what is queued in the ring: for
    /// measurements.
    pub fn is_caught_up(&self) -> bool {
        !self.is_busy() && !self.has_work() && self.outboxes.is_empty() && !self.streams.has_laggards()
    }

    /// The ring, for tests and measurements.
    pub fn ring(&mut self) -> &mut R {
        &mut self.ring
    }

    /// The feed of the first shard, for measurements.
    pub fn feed(&mut self) -> Option<&mut Feed> {
        self.feed.as_mut()
    }
}

/// Time since the shard's tick `since`.
fn ticks_for(ticks: u32) -> Duration {
    TICK * ticks
}
