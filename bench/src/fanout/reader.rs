//! The other end of a fan-out: a thread that takes everything in and throws it away.
//!
//! Bytes are counted and never copied out of the kernel (`MSG_TRUNC`), so that the reader is faster than the sender.

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::{Failure, machine};

/// Most sockets that one wait reports.
const READY_MAX: usize = 512;

/// Most bytes that one receive throws away.
const RECV_LEN: usize = 1 << 20;

/// How often a reader without work looks whether it may stop.
const STOP_PERIOD: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// How long the sender spins for the reader before it sleeps: a wake-up costs about as much.
const SPIN_FOR: Duration = Duration::from_micros(100);

/// A reading thread and what it has seen so far.
pub struct Reader {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// On a cache line of its own: the sender looks at it between rounds only, but its neighbours would suffer too.
#[repr(align(128))]
struct Shared {
    bytes: AtomicU64,
    stop: AtomicBool,
    ended: AtomicU64,
}

impl Reader {
    /// Reads from all `streams` on `cpu` until dropped.
    pub fn start(streams: Vec<TcpStream>, cpu: usize) -> Result<Self, Failure> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (index, stream) in streams.iter().enumerate() {
            epoll::add(&epoll, stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        }
        let shared =
            Arc::new(Shared { bytes: AtomicU64::new(0), stop: AtomicBool::new(false), ended: AtomicU64::new(0) });
        let seen = Arc::clone(&shared);
        let body = move || {
            // A reader on the wrong CPU would spoil the figures; one that never reads ends the run.
            if machine::pin(cpu).is_ok() {
                read_all(&epoll, &streams, &seen);
            }
        };
        let thread = thread::Builder::new().name("reader".to_owned()).spawn(body)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Bytes thrown away since the start.
    pub fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Acquire)
    }

    /// Waits until `bytes` have arrived since the start. Fails after `longest`, and when a connection has ended.
    pub fn wait_for(&self, bytes: u64, longest: Duration) -> Result<(), Failure> {
        let start = Instant::now();
        loop {
            let got = self.bytes();
            if got >= bytes {
                return Ok(());
            }
            if self.shared.ended.load(Ordering::Relaxed) > 0 {
                return Err("a connection ended while it was measured".into());
            }
            match start.elapsed() {
                waited if waited > longest => {
                    return Err(format!("{} bytes did not arrive within {longest:?}", bytes - got).into());
                }
                waited if waited > SPIN_FOR => thread::sleep(SPIN_FOR),
                _ => std::hint::spin_loop(),
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It cannot panic, and there is nothing to add if it did.
            let _ = thread.join();
        }
    }
}

fn read_all(epoll: &OwnedFd, streams: &[TcpStream], shared: &Shared) {
    let mut scratch = vec![0; RECV_LEN];
    let mut ready = Vec::with_capacity(READY_MAX);
    let mut total = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        ready.clear();
        let waited = epoll::wait(epoll, rustix::buffer::spare_capacity(&mut ready), Some(&STOP_PERIOD));
        if waited.is_err() {
            continue;
        }
        for event in &ready {
            let stream = &streams[event.data.u64() as usize];
            match recv(stream, &mut scratch[..], RecvFlags::TRUNC | RecvFlags::DONTWAIT) {
                Ok((_, 0)) | Err(Errno::CONNRESET) => {
                    shared.ended.fetch_add(1, Ordering::Relaxed);
                    let _ = epoll::delete(epoll, stream);
                }
                Ok((_, len)) => total += len as u64,
                Err(_) => {}
            }
        }
        shared.bytes.store(total, Ordering::Release);
    }
}
