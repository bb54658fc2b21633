//! A socket of tokio-uring as h2 wants it: bytes are copied in and out of buffers that the kernel owns meanwhile.
//!
//! Invariant: at most one read and one write are in the kernel, each with its only buffer, which comes back to be used
//! again. Neither is ever given up but with the socket.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_uring::net::TcpStream;

use super::valve::Gate;

/// Bytes of one read.
const READ_LEN: usize = 16 * 1024;

/// Most bytes that wait behind a write: requests are small, and so are window updates.
const PENDING_LEN_MAX: usize = 64 * 1024;

/// An operation in the kernel, which gives its buffer back.
type InFlight<T> = Pin<Box<dyn Future<Output = (io::Result<T>, Vec<u8>)>>>;

/// A socket with a gate before it.
pub(super) struct Adapter {
    socket: Rc<TcpStream>,
    gate: Rc<Gate>,
    reading: Option<InFlight<usize>>,
    /// What was read, and how much of it was handed on.
    read: Vec<u8>,
    taken: usize,
    writing: Option<InFlight<()>>,
    /// What is written next.
    pending: Vec<u8>,
    /// The buffer of the write before.
    spare: Vec<u8>,
}

impl Adapter {
    pub(super) fn new(socket: Rc<TcpStream>, gate: Rc<Gate>) -> Self {
        let (read, pending, spare) = (Vec::with_capacity(READ_LEN), Vec::new(), Vec::new());
        Self { socket, gate, reading: None, read, taken: 0, writing: None, pending, spare }
    }

    /// Ready when there is something to hand on, or the end.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let op = self.reading.get_or_insert_with(|| {
            let (socket, mut buffer) = (Rc::clone(&self.socket), std::mem::take(&mut self.read));
            buffer.clear();
            self.taken = 0;
            Box::pin(async move { socket.read(buffer).await })
        });
        let (outcome, buffer) = ready!(op.as_mut().poll(context));
        self.reading = None;
        self.read = buffer;
        Poll::Ready(outcome.map(|_| ()))
    }

    /// Ready when everything is written.
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some(op) = &mut self.writing {
                let (outcome, buffer) = ready!(op.as_mut().poll(context));
                self.writing = None;
                self.spare = buffer;
                outcome?;
            }
            if self.pending.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.spare.clear();
            let (socket, next) = (Rc::clone(&self.socket), std::mem::take(&mut self.spare));
            let buffer = std::mem::replace(&mut self.pending, next);
            self.writing = Some(Box::pin(async move { socket.write_all(buffer).await }));
        }
    }
}

impl AsyncRead for Adapter {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.gate.poll_open(context));
        if this.taken == this.read.len() {
            ready!(this.poll_fill(context))?;
        }
        let len = out.remaining().min(this.read.len() - this.taken);
        out.put_slice(&this.read[this.taken..this.taken + len]);
        this.taken += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Adapter {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.pending.len() >= PENDING_LEN_MAX {
            ready!(this.poll_drain(context))?;
        }
        this.pending.extend_from_slice(bytes);
        // Submits it, or leaves it for when the write before is done.
        if let Poll::Ready(Err(error)) = this.poll_drain(context) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(context))?;
        Poll::Ready(this.socket.shutdown(std::net::Shutdown::Write))
    }
}
