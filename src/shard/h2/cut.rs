//! A send of a connection did not go out whole: what has begun must go on, what has not is undone.
//!
//! Heads and control frames are kept, since they were promised in that order. A DATA frame of which nothing went out
//! is as if it had never been: its stream stands where it stood and its windows have their bytes back, so nothing is
//! kept for it. One that was cut goes on first, from the log's memory where it is large, and so does one whose stream
//! has ended behind it in the same send.

use bytes::Bytes;
use smallvec::SmallVec;

use super::super::Shard;
use super::super::clients::Stage;
use super::super::outbox::{self, Outbox, Then};
use super::compose::{Bit, Composed};
use crate::hub::Seq;
use crate::ring::{Errno, Part, Ring, Token};
use crate::wire::h2::frame::HEAD_LEN;

impl<R: Ring> Shard<R> {
    /// `result` bytes of a send went out.
    pub(in super::super) fn on_frames_cut(&mut self, token: Token, result: Result<u32, Errno>) {
        let Some(composed) = self.connections.composition.sends.get(token.index() as usize).cloned() else { return };
        if self.clients.find(composed.client).is_none() {
            return;
        }
        let socket = composed.client.index();
        let Stage::H2(key) = self.clients.stage(socket) else { return };
        let sent = match result {
            Ok(len) => len as usize,
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => 0,
            Err(error) => return self.end(socket, super::super::ending_of(error)),
        };
        self.counts.cut += 1;
        let (rest, rest_of, kept) = self.sort_cut(key, &composed, sent);
        self.clients.account(socket, 0, (sent + kept) as i64 - composed.len as i64);
        let connection = &mut self.connections.slab[key as usize];
        connection.is_blocked = true;
        if rest.is_empty() {
            return self.mark_dirty(socket);
        }
        let mut outbox = Outbox::new(socket, self.reader.seen(), Then::Connection);
        (outbox.rest, outbox.rest_of) = (rest, rest_of);
        self.wait_for_room(key, outbox);
    }

    /// Undoes the frames of which nothing went out; returns what is left of the others, the oldest record that this
    /// names, and its length.
    fn sort_cut(&mut self, key: u32, composed: &Composed, sent: usize) -> (SmallVec<[Part; 1]>, Option<Seq>, usize) {
        let frames = self.connections.composition.frames[composed.frames.clone()].to_vec();
        let mut rest_of = None;
        let mut undone = Vec::new();
        for frame in &frames {
            let end = frame.begin + HEAD_LEN + frame.len;
            if frame.begin >= sent && self.streams.find_of(frame.stream, frame.generation).is_some() {
                undone.push(frame.begin..end);
            } else if end > sent {
                // Cut, or its stream has ended behind it, and the end is kept as well.
                rest_of = rest_of.min(Some(frame.at)).or(Some(frame.at));
            }
        }
        for frame in frames.iter().rev().filter(|frame| frame.begin >= sent) {
            self.undo(key, frame);
        }
        let composition = &self.connections.composition;
        let (mut rest, mut at, mut kept) = (SmallVec::<[Part; 1]>::new(), 0, 0);
        for bit in &composition.bits[composed.bits.clone()] {
            let end = at + bit.len();
            let mut from = at.max(sent);
            while from < end {
                // Up to the next frame that was undone, and on behind it.
                if let Some(gone) = undone.iter().find(|gone| gone.contains(&from)) {
                    from = gone.end;
                    continue;
                }
                let until = undone
                    .iter()
                    .map(|gone| gone.start)
                    .filter(|start| *start > from)
                    .min()
                    .map_or(end, |it| it.min(end));
                let (skip, len) = (from - at, until - from);
                kept += len;
                rest.push(match bit {
                    Bit::Own(range) => {
                        let bytes = &composition.arena[range.start + skip..range.start + skip + len];
                        Part::Own(Bytes::copy_from_slice(bytes))
                    }
                    Bit::Shared(piece) => {
                        let mut piece = outbox::cut(*piece, skip);
                        piece.len = len as u32;
                        Part::Shared(piece)
                    }
                });
                from = until;
            }
            at = end;
        }
        // What is all our own needs nothing of the log.
        let rest_of = rest_of.filter(|_| rest.iter().any(|part| matches!(part, Part::Shared(_))));
        (rest, rest_of, kept)
    }

    /// A frame did not go out at all: its stream stands where it stood, first in the queue.
    fn undo(&mut self, key: u32, frame: &super::compose::Frame) {
        let Some(stream) = self.streams.find_of(frame.stream, frame.generation) else { return };
        let id = stream.id;
        (stream.at, stream.offset, stream.topic) = (frame.at, frame.offset, None);
        stream.events = stream.events.wrapping_sub(frame.events);
        stream.bytes -= frame.len as u64;
        self.connections.slab[key as usize].session.refund(id, frame.len);
        self.streams.set_live(frame.stream, false);
        self.queue_stream(key, frame.stream, true);
    }
}
