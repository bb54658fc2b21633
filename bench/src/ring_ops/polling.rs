//! Polls of quiet sockets: what each connection has armed, and what is taken from it before it is closed.

use std::cell::RefCell;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use plasma::ring::{Ring, Socket};
use rustix::event::epoll;

use super::site::{Site, kind, token};
use super::{Halves, Pair};
use crate::Failure;
use crate::turns::{Subject, on_clock};

/// What is measured here.
pub fn pairs(connections: u32) -> Result<Vec<Pair>, Failure> {
    // Both halves are done in every round; one of them is on the clock.
    let poller = Rc::new(RefCell::new(Poller::start(connections)?));
    let (arming, cancelling) = (Rc::clone(&poller), poller);
    let bare = Rc::new(RefCell::new(Bare::start(connections)?));
    let (adding, deleting) = (Rc::clone(&bare), bare);
    Ok(vec![
        Pair {
            reference: ("epoll_ctl ADD", Subject::new(move || Ok(adding.borrow_mut().round()?.first))),
            subject: ("poll/arm", Subject::new(move || Ok(arming.borrow_mut().round()?.first))),
        },
        Pair {
            reference: ("epoll_ctl DEL", Subject::new(move || Ok(deleting.borrow_mut().round()?.second))),
            subject: ("poll/cancel", Subject::new(move || Ok(cancelling.borrow_mut().round()?.second))),
        },
    ])
}

/// A ring's sockets; the other ends are only kept open.
struct Poller {
    site: Site,
    sockets: Vec<Socket>,
    _clients: Vec<TcpStream>,
}

impl Poller {
    fn start(connections: u32) -> Result<Self, Failure> {
        let mut site = Site::new(connections, Vec::new())?;
        let clients = site.dial(connections)?;
        let sockets = site.accept(connections)?;
        Ok(Self { site, sockets, _clients: clients })
    }

    fn round(&mut self) -> Result<Halves, Failure> {
        let (site, sockets) = (&mut self.site, &self.sockets);
        let (arming, ()) = on_clock(|| {
            sockets.iter().for_each(|&socket| site.ring.poll(socket, token(kind::POLL, socket)));
            Ok(site.ring.submit()?)
        })?;
        let (cancelling, ()) = on_clock(|| {
            sockets.iter().for_each(|&socket| site.ring.cancel(token(kind::POLL, socket)));
            site.await_kind(kind::POLL, sockets.len())
        })?;
        Ok(Halves::new(sockets.len(), arming, cancelling))
    }
}

/// The same with epoll.
struct Bare {
    epoll: OwnedFd,
    sockets: Vec<TcpStream>,
    _site: Site,
}

impl Bare {
    fn start(connections: u32) -> Result<Self, Failure> {
        let mut site = Site::new(connections, Vec::new())?;
        let sockets = site.dial(connections)?;
        site.accept(connections)?;
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, sockets, _site: site })
    }

    fn round(&mut self) -> Result<Halves, Failure> {
        let Self { epoll, sockets, .. } = self;
        let (adding, ()) = on_clock(|| {
            for (index, socket) in sockets.iter().enumerate() {
                let data = epoll::EventData::new_u64(index as u64);
                epoll::add(&*epoll, socket, data, epoll::EventFlags::IN | epoll::EventFlags::ET)?;
            }
            Ok(())
        })?;
        let (deleting, ()) = on_clock(|| Ok(sockets.iter().try_for_each(|socket| epoll::delete(&*epoll, socket))?))?;
        Ok(Halves::new(sockets.len(), adding, deleting))
    }
}
