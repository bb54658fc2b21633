//! Connections that come and go.

use std::cell::RefCell;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use plasma::ring::{Armed, Ring, Socket};
use rustix::net::{SocketFlags, accept_with, sockopt};

use super::site::{Site, kind, token};
use super::{Halves, Pair};
use crate::Failure;
use crate::turns::{Subject, on_clock};

/// Connections that come at once: fewer than any listener's backlog.
const COUNT: u32 = 64;

/// What is measured here.
pub fn pairs() -> Result<Vec<Pair>, Failure> {
    // Both halves are done in every round; one of them is on the clock.
    let door = Rc::new(RefCell::new(Site::new(COUNT, Vec::new())?));
    let (entering, leaving) = (Rc::clone(&door), door);
    let bare = Rc::new(TcpListener::bind("127.0.0.1:0")?);
    let (accepting, closing) = (Rc::clone(&bare), bare);
    Ok(vec![
        Pair {
            reference: ("accept4", Subject::new(move || Ok(pass_bare(&accepting)?.first))),
            subject: ("accept", Subject::new(move || Ok(pass(&mut entering.borrow_mut())?.first))),
        },
        Pair {
            reference: ("close", Subject::new(move || Ok(pass_bare(&closing)?.second))),
            subject: ("close", Subject::new(move || Ok(pass(&mut leaving.borrow_mut())?.second))),
        },
    ])
}

/// Connections come, are polled as the server polls them, and are closed.
fn pass(site: &mut Site) -> Result<Halves, Failure> {
    let clients = site.dial(COUNT)?;
    let (accepting, sockets) = on_clock(|| site.accept(COUNT))?;
    sockets.iter().for_each(|&socket| site.ring.poll(socket, token(kind::POLL, socket)));
    site.ring.submit()?;
    let (closing, ()) = on_clock(|| close(site, &sockets))?;
    forget(clients)?;
    Ok(Halves::new(COUNT as usize, accepting, closing))
}

fn close(site: &mut Site, sockets: &[Socket]) -> Result<(), Failure> {
    for &socket in sockets {
        let armed = Armed::Only { poll: token(kind::POLL, socket), flight: None };
        site.ring.close(socket, armed, false, token(kind::CLOSE, socket));
    }
    site.await_kind(kind::CLOSE, sockets.len())
}

/// The same by system calls, without a poll.
fn pass_bare(listener: &TcpListener) -> Result<Halves, Failure> {
    let address = listener.local_addr()?;
    let clients = (0..COUNT).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
    let (accepting, sockets) = on_clock(|| {
        let accept = |_| accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
        Ok((0..COUNT).map(accept).collect::<Result<Vec<OwnedFd>, _>>()?)
    })?;
    let (closing, ()) = on_clock(|| {
        sockets.into_iter().for_each(drop);
        Ok(())
    })?;
    forget(clients)?;
    Ok(Halves::new(COUNT as usize, accepting, closing))
}

/// Ends clients with a reset: nothing of them stays in TIME_WAIT.
fn forget(clients: Vec<TcpStream>) -> Result<(), Failure> {
    clients.iter().try_for_each(|client| sockopt::set_socket_linger(client, Some(Duration::ZERO)))?;
    Ok(())
}
