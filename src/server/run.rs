//! From a configuration to a serving process and its exit code.
//!
//! The main thread only waits: for a signal, or for a shard that has come to its end. It owns nothing that a client's
//! byte passes through.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, SystemTime};
use std::{io, iter};

use super::config::{self, Config};
use super::logs::Logs;
use super::machine;
use super::signals::{Signal, Signals};
use crate::base::log::{Level, Log};
use crate::base::region::Region;
use crate::base::wheel::TICK;
use crate::dialect;
use crate::hub::{self, Reader, Writer};
use crate::net::listen;
use crate::ring::Ring;
use crate::ring::uring::{self, Bells, Uring};
use crate::shard::feed::redis;
use crate::shard::mail::{Desk, Office};
use crate::shard::{self, Settings, Shard, Turn};
use crate::wire::h2::Bounds;

/// Serves until a signal ends it. 0 after a drain, 1 when something could not be started or the upstream was given up.
pub fn run(config: Config, logs: Logs, signals: Signals) -> ExitCode {
    let log = logs.log();
    let code = match start(&config, &log, signals) {
        Ok(house) => house.attend(&log),
        Err(error) => {
            log.announce(Level::Fatal, "failed to start", |fields| fields.str("error", &error));
            // The log may go to a file, and whoever started us looks at the terminal.
            // One write: the log's thread may be writing there too.
            let _ = io::stderr().write_all(format!("plasma: {error}\n").as_bytes());
            ExitCode::FAILURE
        }
    };
    drop(log);
    logs.close();
    code
}

/// Listeners of each shard: both client ports.
const LISTENERS: u8 = 2;

/// What the main thread waits for.
enum Happening {
    Signal(Signal),
    /// A shard has come to its end: why.
    Ended(Result<Turn, io::Error>),
}

/// A process that serves.
struct House {
    office: Arc<Office>,
    bells: Arc<Bells>,
    happenings: Receiver<Happening>,
    /// Second handles, to close the door of all shards at once.
    listeners: Vec<OwnedFd>,
    shards: usize,
}

/// What one shard's thread takes along.
struct Luggage {
    settings: Arc<Settings>,
    desk: Desk,
    reader: Reader,
    writer: Option<Writer>,
    listeners: Vec<OwnedFd>,
    regions: Vec<Arc<Region>>,
    bells: Arc<Bells>,
    cpu: Option<usize>,
    log: Log,
    /// All rings stand before anybody is let in.
    ready: Arc<Barrier>,
    happenings: Sender<Happening>,
}

fn start(config: &Config, log: &Log, signals: Signals) -> Result<House, String> {
    uring::check().map_err(|unfit| unfit.to_string())?;
    machine::give_memory_back();
    let slots = machine::slots();
    let shards = config.shards;
    let (listeners, port) = listen::open(config.port, shards, config.write_timeout)
        .map_err(|error| format!("failed to http(https) listen on port {}: {error}", config.port))?;
    let (grpc_listeners, grpc_port) = listen::open(config.grpc_port, shards, config.write_timeout)
        .map_err(|error| format!("failed to grpc listen on port {}: {error}", config.grpc_port))?;
    let doors = listeners.iter().chain(&grpc_listeners).map(OwnedFd::try_clone).collect::<io::Result<Vec<_>>>();
    let doors = doors.map_err(|error| format!("no descriptors for the listeners: {error}"))?;
    let memory = |error: io::Error| format!("the event log's memory cannot be mapped: {error}");
    let millis = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let (event_log, writer) = hub::Log::new(config.history_bytes, shards, millis, seed()).map_err(memory)?;
    let constants = Arc::new(Region::holding(shard::constants()).map_err(memory)?);
    let bells = Arc::new(Bells::new(shards).map_err(|error| format!("no descriptors for the bells: {error}"))?);
    let (office, desks) = Office::new(shards);
    let settings = Arc::new(settings_of(config, slots));
    let (sender, happenings) = channel();
    let ready = Arc::new(Barrier::new(shards + 1));
    let cpus = machine::cpus();
    let mut writers = iter::once(writer);
    for (desk, listeners) in desks.into_iter().zip(listeners.into_iter().zip(grpc_listeners)) {
        let luggage = Luggage {
            settings: Arc::clone(&settings),
            reader: Reader::new(Arc::clone(&event_log), desk.shard()),
            writer: writers.next(),
            listeners: vec![listeners.0, listeners.1],
            regions: shard::regions(&event_log, &constants),
            bells: Arc::clone(&bells),
            cpu: cpus.get(desk.shard() % cpus.len().max(1)).copied(),
            log: log.clone(),
            ready: Arc::clone(&ready),
            happenings: sender.clone(),
            desk,
        };
        let name = format!("shard-{}", luggage.desk.shard());
        let started = thread::Builder::new().name(name).spawn(move || serve(luggage));
        started.map_err(|error| format!("a shard's thread cannot be started: {error}"))?;
    }
    wait_for_signals(signals, sender).map_err(|error| format!("the signal thread cannot be started: {error}"))?;
    ready.wait();
    // A shard that could not set up its ring has said so before it came to the barrier.
    if let Some(Happening::Ended(Err(error))) = happenings.try_iter().find(|what| matches!(what, Happening::Ended(_))) {
        return Err(format!("a shard cannot be set up: {error}"));
    }
    announce(config, (port, grpc_port), slots, log);
    Ok(House { office, bells, happenings, listeners: doors, shards })
}

fn wait_for_signals(signals: Signals, sender: Sender<Happening>) -> io::Result<()> {
    let wait = move || while sender.send(Happening::Signal(signals.wait())).is_ok() {};
    thread::Builder::new().name("signals".into()).stack_size(64 * 1024).spawn(wait).map(drop)
}

/// The life of one shard's thread.
fn serve(luggage: Luggage) {
    let Luggage { settings, desk, reader, writer, listeners, regions, bells, cpu, log, ready, happenings } = luggage;
    if let Some(cpu) = cpu {
        machine::pin(cpu);
    }
    let options = uring::Options { slots: settings.slots, listeners, regions, shard: desk.shard(), bells };
    let ring = match Uring::new(options) {
        Ok(ring) => ring,
        Err(error) => {
            let _ = happenings.send(Happening::Ended(Err(error)));
            ready.wait();
            return;
        }
    };
    let watch = Watch(happenings);
    let mut shard = Shard::new(ring, settings, desk, reader, writer, LISTENERS, log.clone());
    ready.wait();
    shard.open();
    let end = turn_until_the_end(&mut shard);
    let counts = shard.counts();
    log.announce(Level::Info, "shard stopped", |fields| {
        fields.uint("accepted", counts.accepted);
        fields.uint("streams", counts.streams);
        fields.uint("delivered", counts.delivered);
        fields.uint("gaps", counts.gaps);
        fields.uint("stalled", counts.stalled);
    });
    let _ = watch.0.send(Happening::Ended(end));
}

/// Tells the main thread when a shard panics: one with a broken invariant serves nobody, and neither do the others. A
/// release build aborts by itself.
struct Watch(Sender<Happening>);

impl Drop for Watch {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(Happening::Ended(Err(io::Error::other("it broke an invariant"))));
        }
    }
}

fn turn_until_the_end<R: Ring>(shard: &mut Shard<R>) -> io::Result<Turn> {
    loop {
        match shard.turn()? {
            Turn::Goes => {}
            end => return Ok(end),
        }
    }
}

impl House {
    /// Waits for the end, and begins it when asked to.
    fn attend(self, log: &Log) -> ExitCode {
        let (mut left, mut draining) = (self.shards, false);
        while left > 0 {
            match self.happenings.recv() {
                Ok(Happening::Signal(Signal::Reload)) => {
                    log.announce(Level::Info, "reload: nothing of the configuration can be reloaded", |_| {});
                }
                Ok(Happening::Signal(Signal::End)) if draining => {
                    log.announce(Level::Warn, "second signal: ending at once", |_| {});
                    return ExitCode::FAILURE;
                }
                Ok(Happening::Signal(Signal::End)) => {
                    draining = true;
                    log.announce(Level::Info, "shutdown httpServer gracefully...", |_| {});
                    self.office.drain();
                    // Whoever comes from now on is refused and finds another node, instead of waiting for an accept.
                    self.listeners.iter().for_each(listen::shut);
                    (0..self.shards).for_each(|shard| self.bells.ring(shard));
                }
                Ok(Happening::Ended(Ok(Turn::Drained | Turn::Goes))) => left -= 1,
                Ok(Happening::Ended(Ok(Turn::GivenUp))) => return ExitCode::FAILURE,
                Ok(Happening::Ended(Err(error))) => {
                    let error = error.to_string();
                    log.announce(Level::Fatal, "a shard has failed", |fields| fields.str("error", &error));
                    return ExitCode::FAILURE;
                }
                // Every thread is gone without a word: one of them broke an invariant.
                Err(_) => return ExitCode::FAILURE,
            }
        }
        log.announce(Level::Info, "stopped", |_| {});
        ExitCode::SUCCESS
    }
}

/// The line that says that clients may come.
fn announce(config: &Config, (port, grpc_port): (u16, u16), slots: u32, log: &Log) {
    let connections_max = u64::from(slots) * 95 / 100 * config.shards as u64;
    log.announce(Level::Info, "non TLS mode", |_| {});
    log.announce(Level::Info, "listening", |fields| {
        fields.uint("http_port", u64::from(port));
        fields.uint("grpc_port", u64::from(grpc_port));
        fields.uint("shards", config.shards as u64);
        fields.str(
            "upstream",
            match config.upstream {
                config::Upstream::Memory => "memory",
                config::Upstream::Redis => "redis",
                config::Upstream::Mock => "mock",
            },
        );
        fields.uint("connections_max", connections_max);
        fields.uint("connections_max_per_shard", u64::from(slots) * 95 / 100);
        fields.str("version", env!("CARGO_PKG_VERSION"));
    });
}

/// An unguessable seed for the hash of topics.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(_) => u64::from_ne_bytes(bytes),
        // The kernel has had entropy since long before io_uring.
        Err(_) => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64),
    }
}

/// A time in ticks, at least one unless it is none.
fn ticks(time: Duration) -> u32 {
    let ticks = time.as_millis().div_ceil(TICK.as_millis());
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// What the shards need to know of the configuration.
fn settings_of(config: &Config, slots: u32) -> Settings {
    let publish = match &config.publish {
        config::Publish { open: true, .. } => dialect::Publish::Open,
        config::Publish { token: Some(token), .. } => dialect::Publish::Token(token.expose().to_owned()),
        config::Publish { .. } => dialect::Publish::Closed,
    };
    Settings {
        policy: dialect::Policy {
            origin: config.origin.clone(),
            event_query: config.sse.event_query.clone(),
            retry_millis: i64::from(config.sse.retry_millis),
            debug: config.debug,
            publish,
            event_max: config.event_max_bytes,
            publish_max: config.publish.max_bytes,
            reflection: config.http2.reflection,
        },
        idle: match config.idle {
            config::Idle::Poll => shard::Idle::Poll,
            config::Idle::Dense => shard::Idle::Dense,
        },
        heartbeat: config.sse.heartbeat,
        slow_consumer: match config.slow_consumer {
            config::SlowConsumer::Gap => shard::SlowConsumer::Gap,
            config::SlowConsumer::Close => shard::SlowConsumer::Close,
        },
        write_timeout: config.write_timeout,
        request_timeout: config.request_timeout,
        drain: config.drain,
        zero_copy_from: config.zerocopy_bytes,
        h2: shard::H2 {
            bounds: Bounds { streams_max: config.http2.max_streams, ping_every: ticks(config.http2.keepalive_min) },
            keepalive: ticks(config.http2.keepalive),
            keepalive_timeout: ticks(config.http2.keepalive_timeout),
            idle_max: ticks(config.http2.max_idle),
            age_max: ticks(config.http2.max_age),
        },
        slots,
        upstream: match config.upstream {
            config::Upstream::Memory => shard::Upstream::Memory,
            config::Upstream::Mock => shard::Upstream::Mock(config.mock_interval),
            config::Upstream::Redis => shard::Upstream::Redis(redis_of(&config.redis)),
        },
    }
}

fn redis_of(config: &config::Redis) -> redis::Settings {
    redis::Settings {
        addr: config.addr.to_string(),
        username: config.username.clone().unwrap_or_default(),
        password: config.password.as_ref().map(|secret| secret.expose().to_owned()).unwrap_or_default(),
        db: i64::from(config.db),
        channels: config.channels.clone(),
        max_retry: i64::from(config.max_retry),
        timeout: config.timeout,
        retry_interval: config.retry_interval,
        behavior: match config.over_max_retry {
            config::OverMaxRetry::Alive => redis::Behavior::Alive,
            config::OverMaxRetry::Die => redis::Behavior::Die,
        },
    }
}
