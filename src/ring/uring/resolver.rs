//! Name resolution on a thread of its own: the C library's resolver blocks, and a shard never does.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::bells::Bells;
use crate::ring::{Attached, Completion, Errno, Token};

type Answer = (Token, io::Result<Vec<SocketAddr>>);

/// Asks on behalf of one shard. Questions are rare (one per connection attempt), so each gets a thread that ends with
/// it.
pub(super) struct Resolver {
    shard: usize,
    bells: Arc<Bells>,
    sender: Sender<Answer>,
    answers: Receiver<Answer>,
}

impl Resolver {
    pub(super) fn new(shard: usize, bells: Arc<Bells>) -> Self {
        let (sender, answers) = channel();
        Self { shard, bells, sender, answers }
    }

    pub(super) fn ask(&self, host: &str, port: u16, token: Token) {
        let (host, sender, bells, shard) = (host.to_owned(), self.sender.clone(), Arc::clone(&self.bells), self.shard);
        let refused = self.sender.clone();
        let started = thread::Builder::new().name("resolver".into()).stack_size(256 * 1024).spawn(move || {
            let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
            // A shard that is gone needs no answer.
            let _ = sender.send((token, found));
            bells.ring(shard);
        });
        if let Err(error) = started {
            let _ = refused.send((token, Err(error)));
            self.bells.ring(self.shard);
        }
    }

    pub(super) fn take(&self) -> Option<Completion> {
        let (token, found) = self.answers.try_recv().ok()?;
        let (result, attached) = match found {
            Ok(addresses) if !addresses.is_empty() => (Ok(0), Attached::Addresses(addresses)),
            Ok(_) => (Err(Errno::HOSTUNREACH), Attached::Nothing),
            Err(error) => (Err(errno(&error)), Attached::Nothing),
        };
        Some(Completion { token, result, more: false, attached })
    }
}

/// The resolver's own errors carry no number: they all mean that the name leads nowhere now.
fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::HOSTUNREACH, Errno::from_raw_os_error)
}
