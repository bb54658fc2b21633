//! What completions are for: the kinds of tokens of a shard.

use crate::ring::Token;

/// Who a completion belongs to. Clients are named by socket and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Index: the listener.
    Accept,
    /// A client: who it is.
    Peer,
    /// A client: something to read, or a hang-up.
    Poll,
    /// A client: bytes.
    Recv,
    /// A client: whether it is still there.
    Peek,
    /// A client: an event did not go out whole.
    Deliver,
    /// A client: a comment did not go out whole.
    Comment,
    /// Index: an outbox; generation: the low bits of its flight's number.
    Write,
    /// Index: a send of this turn over HTTP/2 that did not go out whole; generation: its client's.
    Frames,
    /// No op: a stream of HTTP/2 that awaits an outcome.
    Stream,
    /// A client's socket was closed.
    Close,
    /// Index: a link to the upstream; generation: its attempt. So the next four.
    LinkResolve,
    LinkConnect,
    LinkRecv,
    LinkSend,
    LinkClose,
}

const KINDS: [Kind; 16] = [
    Kind::Accept,
    Kind::Peer,
    Kind::Poll,
    Kind::Recv,
    Kind::Peek,
    Kind::Deliver,
    Kind::Comment,
    Kind::Write,
    Kind::Frames,
    Kind::Stream,
    Kind::Close,
    Kind::LinkResolve,
    Kind::LinkConnect,
    Kind::LinkRecv,
    Kind::LinkSend,
    Kind::LinkClose,
];

impl Kind {
    /// A token of this kind.
    pub fn token(self, index: u32, generation: u32) -> Token {
        Token::new(self as u8, index, generation & Token::GENERATION_MAX)
    }

    /// The kind of a token that came back.
    pub fn of(token: Token) -> Self {
        KINDS[usize::from(token.kind())]
    }
}
