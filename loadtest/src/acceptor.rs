//! The reference for memory: a process that accepts connections and does nothing else with them.
//!
//! Rings of one thread, each with a listener of its own on the same port (`SO_REUSEPORT`) and multishot accept into
//! direct descriptors. With `armed` every connection gets a multishot poll, as the server's idle clients have.
//!
//! Runs as a [`crate::child`], whose count is that of accepted connections.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::{IoUring, cqueue, opcode, types};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketType, sockopt};

use crate::{Failure, machine, ring};

/// User data of an accept; what belongs to a connection has its slot.
const ACCEPT: u64 = 1 << 32;

/// Connections that may wait to be accepted: the usual upper bound of `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Completions taken from one ring before the next one has its turn.
const COMPLETIONS_MAX: usize = 1024;

/// How to accept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Rings, each for up to [`ring::SLOTS_MAX`] connections.
    pub rings: u32,
    /// Whether a multishot poll is armed on each connection.
    pub armed: bool,
}

struct Acceptor {
    ring: IoUring,
    listener: OwnedFd,
    armed: bool,
    accepted: u64,
}

/// Accepts until standard input ends.
pub fn run(options: Options) -> Result<(), Failure> {
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    // All listeners are bound before one of them accepts: the first would get everything until the others exist.
    let first = listen(0)?;
    let port = port_of(&first)?;
    let mut listeners = vec![first];
    for _ in 1..options.rings {
        listeners.push(listen(port)?);
    }
    let mut acceptors = Vec::new();
    for listener in listeners {
        let ring = ring::build(1024, 8192, ring::SLOTS_MAX.min(machine::file_limit()))?;
        ring.submitter().register_eventfd(bell.as_raw_fd())?;
        let mut acceptor = Acceptor { ring, listener, armed: options.armed, accepted: 0 };
        acceptor.accept()?;
        acceptors.push(acceptor);
    }
    println!("{port}");
    loop {
        for acceptor in &mut acceptors {
            acceptor.turn()?;
        }
        let stdin = io::stdin();
        let mut waiting = [PollFd::new(&bell, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut waiting, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let asked = !waiting[1].revents().is_empty();
        let _ = rustix::io::read(&bell, &mut [0; 8]);
        if asked {
            if rustix::io::read(&stdin, &mut [0])? == 0 {
                return Ok(());
            }
            println!("{}", acceptors.iter().map(|acceptor| acceptor.accepted).sum::<u64>());
            io::stdout().flush()?;
        }
    }
}

fn listen(port: u16) -> Result<OwnedFd, Failure> {
    let listener = net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseport(&listener, true)?;
    sockopt::set_tcp_nodelay(&listener, true)?;
    // Clients spread over the addresses of 127.0.0.0/8.
    net::bind(&listener, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

fn port_of(listener: &OwnedFd) -> Result<u16, Failure> {
    let listener = TcpListener::from(listener.try_clone()?);
    Ok(listener.local_addr()?.port())
}

impl Acceptor {
    fn accept(&mut self) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(types::Fd(self.listener.as_raw_fd())).allocate_file_index(true);
        // SAFETY: the entry names no memory.
        unsafe { ring::push(&mut self.ring, &entry.build().user_data(ACCEPT)) }?;
        self.ring.submit().map(drop)
    }

    /// Takes in what has completed since the last turn.
    fn turn(&mut self) -> Result<(), Failure> {
        loop {
            ring::enter(&mut self.ring)?;
            let done: Vec<cqueue::Entry> = self.ring.completion().take(COMPLETIONS_MAX).collect();
            if done.is_empty() {
                return Ok(());
            }
            for completion in done {
                if completion.user_data() == ACCEPT {
                    self.on_accept(&completion)?;
                }
            }
        }
    }

    fn on_accept(&mut self, completion: &cqueue::Entry) -> Result<(), Failure> {
        match completion.result() {
            slot if slot >= 0 => {
                self.accepted += 1;
                if self.armed {
                    let events = (libc::POLLIN | libc::POLLRDHUP) as u32;
                    let slot = slot.unsigned_abs();
                    let entry = opcode::PollAdd::new(types::Fixed(slot), events).multi(true).build();
                    // SAFETY: the entry names no memory.
                    unsafe { ring::push(&mut self.ring, &entry.user_data(slot.into())) }?;
                }
            }
            error if -error == libc::ENFILE => return Err("a ring of the bare acceptor is full".into()),
            // A client that was gone again before it was accepted.
            error if -error == libc::ECONNABORTED => {}
            error => return Err(format!("accept: {}", io::Error::from_raw_os_error(-error)).into()),
        }
        if !cqueue::more(completion.flags()) {
            self.accept()?;
        }
        Ok(())
    }
}
