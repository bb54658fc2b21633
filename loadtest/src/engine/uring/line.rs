//! A connection and how it is closed.
//!
//! The tasks of its subscribers own it together. When the last of them is gone, whatever became of it, the connection
//! is closed: a read that its task left behind in the kernel then ends too.

use std::cell::{Cell, RefCell};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;

use tokio::sync::OnceCell;
use tokio_uring::net::TcpStream;

use super::h2::Requests;
use super::valve::Gate;
use crate::engine::Close;

/// A connection, or the place for one.
pub(super) struct Line {
    /// Whether it is read; only asked in HTTP/2.
    pub(super) gate: Rc<Gate>,
    /// Where requests go, in HTTP/2; or why there was no connection.
    pub(super) requests: OnceCell<Result<Requests, String>>,
    /// How the connection ended, in HTTP/2: what its streams cannot tell.
    pub(super) farewell: Rc<RefCell<Option<String>>>,
    /// Whether it takes no more subscribers.
    is_over: Cell<bool>,
    socket: RefCell<Option<Rc<TcpStream>>>,
    close: Cell<Close>,
}

impl Line {
    pub(super) fn new(gate: Gate) -> Self {
        Self {
            gate: Rc::new(gate),
            requests: OnceCell::new(),
            farewell: Rc::default(),
            is_over: Cell::new(false),
            socket: RefCell::default(),
            close: Cell::new(Close::Reset),
        }
    }

    /// Connects. If the task goes meanwhile, the kernel's attempt ends by itself.
    pub(super) async fn connect(&self, destination: SocketAddr) -> Result<Rc<TcpStream>, String> {
        let stream = TcpStream::connect(destination).await.map_err(|error| format!("connect: {error}"))?;
        let stream = Rc::new(stream);
        self.socket.replace(Some(Rc::clone(&stream)));
        Ok(stream)
    }

    /// Whoever comes next needs another.
    pub(super) fn retire(&self) {
        self.is_over.set(true);
    }

    /// Whether whoever comes next needs another.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.get() || matches!(self.requests.get(), Some(Err(_)))
    }

    /// How it is to be closed in the end.
    pub(super) fn close_with(&self, close: Close) {
        self.close.set(close);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.gate.release();
        let Some(socket) = self.socket.get_mut().take() else { return };
        // What fails here is closed already.
        let _ = match self.close.get() {
            Close::Fin => socket.shutdown(Shutdown::Both),
            Close::Reset => reset(&socket).map_err(Into::into),
        };
    }
}

/// Resets a connection at once. Closing would do it only when the last operation in the kernel has let go of the
/// socket.
fn reset(socket: &TcpStream) -> rustix::io::Result<()> {
    // SAFETY: the descriptor is the socket's, which outlives this call.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    rustix::net::connect_unspec(fd)
}
