//! The other end of all streams, of both servers: one thread that counts what arrives on each and throws it away.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use tokio::sync::Notify;

use super::Connection;
use crate::{Failure, machine};

/// Most sockets that one wait reports.
const READY_MAX: usize = 512;

/// Most bytes of one receive: a burst for a hundred streams.
const RECV_LEN: usize = 256 * 1024;

/// How often a reader without work looks whether it may stop.
const STOP_PERIOD: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// How long the sender spins for the reader before it sleeps: a wake-up costs about as much.
const SPIN_FOR: Duration = Duration::from_micros(100);

/// A reading thread and what it has seen so far.
pub struct Reader {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Vec<(usize, Connection)>>>,
}

struct Shared {
    groups: Vec<Group>,
    stop: AtomicBool,
}

/// The connections to one server. On a cache line of its own: the sender looks at it between rounds.
#[repr(align(128))]
#[derive(Default)]
struct Group {
    /// Bytes of DATA so far.
    bytes: AtomicU64,
    /// How many of them are waited for.
    awaited: AtomicU64,
    /// Rung when they are there, or never will be.
    bell: Notify,
    failed: AtomicBool,
}

impl Reader {
    /// Reads from all connections, group by group, on `cpu` until it is stopped.
    pub fn start(groups: Vec<Vec<Connection>>, cpu: usize) -> Result<Self, Failure> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let shared = Shared { groups: groups.iter().map(|_| Group::default()).collect(), stop: AtomicBool::new(false) };
        let numbered = groups.into_iter().enumerate();
        let mut connections: Vec<(usize, Connection)> =
            numbered.flat_map(|(group, all)| all.into_iter().map(move |connection| (group, connection))).collect();
        for (index, (_, connection)) in connections.iter().enumerate() {
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, connection.socket(), data, epoll::EventFlags::IN)?;
        }
        let shared = Arc::new(shared);
        let seen = Arc::clone(&shared);
        let body = move || {
            // A reader on the wrong CPU would spoil the figures; one that never reads ends the run.
            if machine::pin(cpu).is_ok() {
                read_all(&epoll, &mut connections, &seen);
            }
            connections
        };
        let thread = thread::Builder::new().name("reader".to_owned()).spawn(body)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Rings when `bytes` of DATA have arrived in a group since the start.
    pub fn await_bytes(&self, group: usize, bytes: u64) {
        self.shared.groups[group].awaited.store(bytes, Ordering::Release);
    }

    /// Returns when they have arrived, or never will.
    pub async fn arrived(&self, group: usize) {
        let group = &self.shared.groups[group];
        while !group.has_arrived() && !group.failed.load(Ordering::Relaxed) {
            group.bell.notified().await;
        }
    }

    /// Waits until they have arrived. Fails after `longest`, and when a stream has ended.
    pub fn wait_for(&self, group: usize, longest: Duration) -> Result<(), Failure> {
        let start = Instant::now();
        let group = &self.shared.groups[group];
        while !group.has_arrived() {
            if group.failed.load(Ordering::Relaxed) {
                return Err("a stream or a connection ended while it was measured".into());
            }
            match start.elapsed() {
                waited if waited > longest => {
                    let left = group.awaited.load(Ordering::Relaxed) - group.bytes.load(Ordering::Relaxed);
                    return Err(format!("{left} bytes did not arrive within {longest:?}").into());
                }
                waited if waited > SPIN_FOR => thread::sleep(SPIN_FOR),
                _ => std::hint::spin_loop(),
            }
        }
        Ok(())
    }

    /// Ends the thread and returns what each stream of each group has got.
    pub fn stop(mut self) -> Vec<Vec<u64>> {
        let mut totals = vec![Vec::new(); self.shared.groups.len()];
        for (group, connection) in self.join() {
            totals[group].extend_from_slice(connection.totals());
        }
        totals
    }

    fn join(&mut self) -> Vec<(usize, Connection)> {
        self.shared.stop.store(true, Ordering::Relaxed);
        // It cannot panic, and there is nothing to add if it did.
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.join();
    }
}

impl Group {
    fn has_arrived(&self) -> bool {
        self.bytes.load(Ordering::Acquire) >= self.awaited.load(Ordering::Acquire)
    }
}

fn read_all(epoll: &OwnedFd, connections: &mut [(usize, Connection)], shared: &Shared) {
    let mut buffer = vec![0; RECV_LEN];
    let mut ready = Vec::with_capacity(READY_MAX);
    let mut rung = vec![0; shared.groups.len()];
    while !shared.stop.load(Ordering::Relaxed) {
        ready.clear();
        if epoll::wait(epoll, rustix::buffer::spare_capacity(&mut ready), Some(&STOP_PERIOD)).is_err() {
            continue;
        }
        for event in &ready {
            let (group, connection) = &mut connections[event.data.u64() as usize];
            let group = &shared.groups[*group];
            match connection.receive(&mut buffer) {
                Ok(Some(len)) => drop(group.bytes.fetch_add(len, Ordering::Release)),
                Ok(None) => {}
                Err(error) => {
                    eprintln!("reader: {error}");
                    let _ = epoll::delete(epoll, connection.socket());
                    group.failed.store(true, Ordering::Relaxed);
                    group.bell.notify_one();
                }
            }
        }
        for (group, rung) in shared.groups.iter().zip(&mut rung) {
            let awaited = group.awaited.load(Ordering::Acquire);
            if *rung != awaited && group.has_arrived() {
                *rung = awaited;
                group.bell.notify_one();
            }
        }
    }
}
