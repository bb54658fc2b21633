//! The floor: a server with one ring that does what every server has to do, and nothing else.
//!
//! Whoever sends a GET becomes a subscriber of everything; what is published goes to all of them, that of one turn in
//! one send to each. No topics, no ids, no history. Who cannot take a send whole, and at once, is dropped and counted:
//! there is nowhere to keep the rest.
//!
//! Invariant: a slot is closed only after the last completion of its receive, so that no completion is taken for one of
//! the slot's next owner.

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::{io, mem};

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::{Counts, Place};
use crate::{Failure, machine, ring};

/// Sends per system call: what the bare loop of `fanout` has found to do.
const BATCH: u32 = 512;

/// Completions that the queue holds: a burst of requests from everybody who has just connected.
const COMPLETIONS: u32 = 16 * 1024;

/// Received bytes lie in these until they are looked at, which is at once.
const BUFFER_COUNT: u16 = 256;
const BUFFER_LEN: usize = 16 * 1024;

/// The group that the buffers form.
const GROUP: u16 = 0;

/// Longest request, body included; the server's own limit.
const REQUEST_LEN_MAX: usize = 16 << 20;

/// Sends are over when their submission returns, and a short one is not a success.
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_WAITALL;

const OPENING: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:ok\n\n";
const ACCEPTED: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

/// What a completion is of; the upper half of its user data, whose lower half is the slot.
#[derive(Clone, Copy)]
#[repr(u64)]
enum Op {
    Accept = 0,
    Recv = 1,
    Send = 2,
    /// A shutdown, a close or a buffer given back, of which only trouble of ours would be told.
    Chore = 3,
}

/// The life of a slot in the ring's table.
#[derive(Default)]
enum Client {
    /// Nobody is there.
    #[default]
    Free,
    /// Sends requests; these are the bytes of an incomplete one.
    Asking(Vec<u8>),
    /// Listens, and is at this place in the list of those who do.
    Subscribed { at: usize },
    /// Is shut down; the slot is closed once the receive has noticed.
    Leaving,
}

/// A request at the beginning of some bytes.
#[derive(Debug, PartialEq)]
enum Request<'b> {
    Subscribe,
    Publish { body: &'b [u8], len: usize },
    Incomplete,
    Nonsense,
}

/// The server.
pub struct Bare {
    ring: IoUring,
    listener: TcpListener,
    clients: Vec<Client>,
    subscribers: Vec<u32>,
    /// Who published in this turn, and is to be told once everybody has been sent it.
    publishers: Vec<u32>,
    /// The buffers of the group. Those that the kernel has are not looked at.
    buffers: Box<[u8]>,
    /// What has been published in this turn.
    frames: Vec<u8>,
    counts: Arc<Counts>,
}

impl Bare {
    /// One that listens. The ring belongs to the calling thread.
    pub fn start(port: u16, counts: Arc<Counts>) -> Result<(Self, Place), Failure> {
        let slots = ring::SLOTS_MAX.min(machine::file_limit());
        let ring = ring::build(BATCH, COMPLETIONS, slots)?;
        let listener = super::listen(port)?;
        let port = listener.local_addr()?.port();
        let mut bare = Self {
            ring,
            listener,
            clients: Vec::new(),
            subscribers: Vec::new(),
            publishers: Vec::new(),
            buffers: vec![0; usize::from(BUFFER_COUNT) * BUFFER_LEN].into(),
            frames: Vec::new(),
            counts,
        };
        bare.provide(0, BUFFER_COUNT)?;
        bare.accept()?;
        Ok((bare, Place::of(port)))
    }

    /// Serves for ever.
    pub fn run(&mut self) -> Result<(), Failure> {
        let mut done = Vec::new();
        loop {
            self.sleep()?;
            done.extend(self.ring.completion());
            for completion in done.drain(..) {
                self.on_completion(&completion)?;
            }
            self.flush()?;
        }
    }

    /// Hands over what is queued and waits for something to happen.
    fn sleep(&self) -> Result<(), Failure> {
        match self.ring.submit_and_wait(1) {
            Ok(_) => Ok(()),
            // A signal came, or completions wait to be taken first: the loop goes on either way.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn on_completion(&mut self, completion: &cqueue::Entry) -> Result<(), Failure> {
        let slot = completion.user_data() as u32;
        match completion.user_data() >> 32 {
            op if op == Op::Accept as u64 => self.on_accept(completion),
            op if op == Op::Recv as u64 => self.on_recv(slot, completion),
            op if op == Op::Send as u64 => self.on_trouble(slot),
            _ => Err(format!("a chore failed: {}", io::Error::from_raw_os_error(-completion.result())).into()),
        }
    }

    fn on_accept(&mut self, completion: &cqueue::Entry) -> Result<(), Failure> {
        match completion.result() {
            slot if slot >= 0 => {
                let slot = slot.unsigned_abs();
                if self.clients.len() <= slot as usize {
                    self.clients.resize_with(slot as usize + 1, Client::default);
                }
                self.clients[slot as usize] = Client::Asking(Vec::new());
                self.receive(slot)?;
            }
            // A client that was gone again before it was accepted.
            error if -error == libc::ECONNABORTED => {}
            error => return Err(format!("accept: {}", io::Error::from_raw_os_error(-error)).into()),
        }
        if cqueue::more(completion.flags()) { Ok(()) } else { self.accept() }
    }

    fn on_recv(&mut self, slot: u32, completion: &cqueue::Entry) -> Result<(), Failure> {
        if let (Ok(len), Some(buffer)) =
            (usize::try_from(completion.result()), cqueue::buffer_select(completion.flags()))
        {
            self.feed(slot, buffer, len)?;
            self.provide(buffer, 1)?;
        }
        if cqueue::more(completion.flags()) {
            return Ok(());
        }
        match completion.result() {
            // All buffers were taken, or the kernel wanted a pause.
            error if error > 0 || -error == libc::ENOBUFS => self.receive(slot),
            _ => self.close(slot),
        }
    }

    /// A send that was not whole. Whoever has begun to leave may have had several on the way.
    fn on_trouble(&mut self, slot: u32) -> Result<(), Failure> {
        if matches!(self.clients[slot as usize], Client::Subscribed { .. }) {
            self.counts.missed.fetch_add(1, Ordering::Relaxed);
        }
        self.leave(slot)
    }

    /// Takes in what a client has sent: `len` bytes in this buffer.
    fn feed(&mut self, slot: u32, buffer: u16, len: usize) -> Result<(), Failure> {
        let Client::Asking(carried) = &mut self.clients[slot as usize] else {
            // Subscribers have nothing to say.
            return Ok(());
        };
        let mut bytes = mem::take(carried);
        let start = usize::from(buffer) * BUFFER_LEN;
        bytes.extend_from_slice(&self.buffers[start..start + len]);
        let mut from = 0;
        loop {
            match parse(&bytes[from..]) {
                Request::Publish { body, len } => {
                    frame(body, &mut self.frames);
                    self.publishers.push(slot);
                    from += len;
                }
                Request::Subscribe => {
                    self.clients[slot as usize] = Client::Subscribed { at: self.subscribers.len() };
                    self.subscribers.push(slot);
                    self.counts.subscribed.fetch_add(1, Ordering::Relaxed);
                    return self.send(slot, OPENING);
                }
                Request::Incomplete if bytes.len() - from <= REQUEST_LEN_MAX => {
                    bytes.drain(..from);
                    self.clients[slot as usize] = Client::Asking(bytes);
                    return Ok(());
                }
                Request::Incomplete | Request::Nonsense => return self.leave(slot),
            }
        }
    }

    /// Sends what was published to everybody, and tells who did.
    fn flush(&mut self) -> Result<(), Failure> {
        if !self.frames.is_empty() {
            for &slot in &self.subscribers {
                // SAFETY: a send is over when its submission returns, which `push` and `submit` wait for; until the
                // latter `frames` is left alone.
                unsafe { ring::push(&mut self.ring, &send(slot, &self.frames)) }?;
            }
            self.ring.submit()?;
            self.frames.clear();
        }
        while let Some(slot) = self.publishers.pop() {
            self.send(slot, ACCEPTED)?;
        }
        Ok(())
    }

    fn send(&mut self, slot: u32, bytes: &'static [u8]) -> Result<(), Failure> {
        // SAFETY: what is static stays put.
        unsafe { ring::push(&mut self.ring, &send(slot, bytes)) }?;
        Ok(())
    }

    /// Takes a client off the list and ends its connection.
    fn leave(&mut self, slot: u32) -> Result<(), Failure> {
        match mem::replace(&mut self.clients[slot as usize], Client::Leaving) {
            Client::Subscribed { at } => self.unsubscribe(at),
            Client::Asking(_) => {}
            // Has been told to already.
            gone @ (Client::Free | Client::Leaving) => {
                self.clients[slot as usize] = gone;
                return Ok(());
            }
        }
        let entry = opcode::Shutdown::new(types::Fixed(slot), libc::SHUT_RDWR).build();
        // A client that has reset the connection cannot be shut down, and need not be.
        self.push(&entry.user_data(user_data(Op::Send, slot)))
    }

    fn unsubscribe(&mut self, at: usize) {
        self.subscribers.swap_remove(at);
        if let Some(&moved) = self.subscribers.get(at) {
            self.clients[moved as usize] = Client::Subscribed { at };
        }
    }

    /// Gives the slot back. Nothing is under way on it any more.
    fn close(&mut self, slot: u32) -> Result<(), Failure> {
        if let Client::Subscribed { at } = mem::take(&mut self.clients[slot as usize]) {
            self.unsubscribe(at);
        }
        self.push(&opcode::Close::new(types::Fixed(slot)).build().user_data(user_data(Op::Chore, slot)))
    }

    fn accept(&mut self) -> Result<(), Failure> {
        let entry = opcode::AcceptMulti::new(types::Fd(self.listener.as_raw_fd())).allocate_file_index(true).build();
        self.push_told(&entry.user_data(user_data(Op::Accept, 0)))
    }

    fn receive(&mut self, slot: u32) -> Result<(), Failure> {
        let entry = opcode::RecvMulti::new(types::Fixed(slot), GROUP).build();
        self.push_told(&entry.user_data(user_data(Op::Recv, slot)))
    }

    /// Lends the kernel `count` buffers from `first` on.
    fn provide(&mut self, first: u16, count: u16) -> Result<(), Failure> {
        let start = self.buffers[usize::from(first) * BUFFER_LEN..].as_mut_ptr();
        let entry = opcode::ProvideBuffers::new(start, BUFFER_LEN as i32, count, GROUP, first).build();
        self.push(&entry.user_data(user_data(Op::Chore, 0)))
    }

    /// Queues what tells nothing unless it fails.
    fn push(&mut self, entry: &squeue::Entry) -> Result<(), Failure> {
        self.push_told(&entry.clone().flags(squeue::Flags::SKIP_SUCCESS))
    }

    fn push_told(&mut self, entry: &squeue::Entry) -> Result<(), Failure> {
        // SAFETY: the entry names no memory but buffers of the group, which are boxed, live as long as the ring and are
        // read only between their completion and their being provided again.
        unsafe { ring::push(&mut self.ring, entry) }?;
        Ok(())
    }
}

fn user_data(op: Op, slot: u32) -> u64 {
    ((op as u64) << 32) | u64::from(slot)
}

fn send(slot: u32, bytes: &[u8]) -> squeue::Entry {
    let entry = opcode::Send::new(types::Fixed(slot), bytes.as_ptr(), bytes.len() as u32).flags(SEND_FLAGS).build();
    entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(user_data(Op::Send, slot))
}

/// Adds each line of `body` as an event.
fn frame(body: &[u8], frames: &mut Vec<u8>) {
    for line in body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        frames.extend_from_slice(b"data: ");
        frames.extend_from_slice(line);
        frames.extend_from_slice(b"\n\n");
    }
}

/// The request at the beginning of `bytes`. Looks for no more than it needs.
fn parse(bytes: &[u8]) -> Request<'_> {
    let Some(blank) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Request::Incomplete;
    };
    let (head, rest) = (&bytes[..blank], &bytes[blank + 4..]);
    if head.starts_with(b"GET ") {
        return Request::Subscribe;
    }
    let len = head.starts_with(b"POST ").then(|| content_length(head)).flatten();
    match len {
        Some(len) if len > REQUEST_LEN_MAX => Request::Nonsense,
        Some(len) if rest.len() < len => Request::Incomplete,
        Some(len) => Request::Publish { body: &rest[..len], len: blank + 4 + len },
        None => Request::Nonsense,
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_complete_with_its_body() {
        let bytes = b"POST /events HTTP/1.1\r\ncontent-length: 5\r\n\r\nhelloPOST";
        assert_eq!(parse(bytes), Request::Publish { body: b"hello", len: bytes.len() - 4 });
        for cut in 0..bytes.len() - 4 {
            assert_eq!(parse(&bytes[..cut]), Request::Incomplete, "cut at {cut}");
        }
    }

    #[test]
    fn any_get_subscribes_and_the_rest_is_nonsense() {
        assert_eq!(parse(b"GET /x HTTP/1.1\r\n\r\n"), Request::Subscribe);
        for bad in
            ["PUT / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"]
        {
            assert_eq!(parse(bad.as_bytes()), Request::Nonsense, "{bad:?}");
        }
    }
}
