//! What the kernel still needs of ours while an op is under way.
//!
//! A pending send keeps its parts alive; a gather keeps its list of pieces in place until the submission.
//!
//! Invariant: an entry goes when its op's last completion has come, never before.

use std::sync::Arc;

use super::super::{Part, Piece, Socket, Token};
use crate::base::region::Region;

/// An op whose completion the ring itself has to understand.
pub(super) enum Op {
    /// A pending send.
    Flight { token: Token, _held: (Message, Vec<Part>) },
    /// The descriptor of a socket is being lent to the process, to ask for the peer's address.
    Peer { token: Token },
    /// One of the sockets for outgoing connections is being closed.
    CloseOut { token: Token, socket: Socket },
}

/// A list of pieces as `sendmsg` wants it; neither part moves while the kernel may look.
#[derive(Default)]
pub(super) struct Message {
    iovs: Vec<libc::iovec>,
    header: Option<Box<libc::msghdr>>,
}

impl Message {
    pub(super) fn clear(&mut self) {
        self.iovs.clear();
    }

    pub(super) fn push(&mut self, base: *const u8, len: usize) {
        self.iovs.push(libc::iovec { iov_base: base.cast_mut().cast(), iov_len: len });
    }

    /// The finished header; valid until the message is cleared or dropped.
    pub(super) fn header(&mut self) -> *const libc::msghdr {
        let header = self.header.get_or_insert_with(|| {
            // SAFETY: all-zero is a valid msghdr: no name, no control data, no pieces.
            Box::new(unsafe { std::mem::zeroed() })
        });
        header.msg_iov = self.iovs.as_mut_ptr();
        header.msg_iovlen = self.iovs.len();
        std::ptr::from_ref(&**header)
    }
}

/// Where `piece` lies.
///
/// # Panics
/// When it leaves its region: that is a bug of the caller, not of a client.
pub(super) fn address(regions: &[Arc<Region>], piece: Piece) -> *const u8 {
    let region = &regions[usize::from(piece.region)];
    let (at, len) = (piece.at as usize, piece.len as usize);
    assert!(at <= region.len() && len <= region.len() - at, "a piece lies inside its region");
    region.as_ptr().wrapping_add(at)
}
