//! One direction of a connection: bytes on their way and bytes that wait to be read.
//!
//! Bounded like the two socket buffers it stands for; the network around it decides when bytes arrive.

use std::collections::VecDeque;

/// What one end sent and the other has not read.
#[derive(Debug)]
pub struct Pipe {
    bytes: VecDeque<u8>,
    /// How many of `bytes` have arrived.
    arrived: usize,
    room_max: usize,
    /// When the last byte or the FIN arrives: nothing overtakes.
    pub last_at: u64,
    /// A writer found no room and wants to be told.
    pub wanting: bool,
    /// The reader is gone: bytes vanish, and their arrival is answered with a reset.
    void: bool,
    /// The connection was torn down: arrivals mean nothing any more.
    cut: bool,
}

impl Pipe {
    /// An empty pipe for `room_max` bytes.
    pub fn new(room_max: usize) -> Self {
        let bytes = VecDeque::new();
        Self { bytes, arrived: 0, room_max, last_at: 0, wanting: false, void: false, cut: false }
    }

    /// Bytes that fit now.
    pub fn room(&self) -> usize {
        self.room_max.saturating_sub(self.bytes.len())
    }

    /// Makes room for `room_max` bytes at least.
    pub fn widen(&mut self, room_max: usize) {
        self.room_max = self.room_max.max(room_max);
    }

    /// Whether the kernel would wake a writer: a third is free, as in `sk_stream_write_space`.
    pub fn roomy(&self) -> bool {
        self.room() * 3 >= self.room_max
    }

    /// Whether so little is left unread that the reader's side has taken hold of most of it.
    pub fn mostly_through(&self) -> bool {
        self.void || self.cut || self.bytes.len() * 2 <= self.room_max
    }

    /// Takes bytes in; the caller has looked at the room.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.void {
            self.bytes.extend(bytes);
        }
    }

    /// `len` more bytes have arrived. False when there is nobody to read them.
    pub fn arrive(&mut self, len: usize) -> bool {
        if self.cut {
            return true;
        }
        if self.void {
            return false;
        }
        self.arrived += len;
        debug_assert!(self.arrived <= self.bytes.len());
        true
    }

    /// Bytes that can be read.
    pub fn readable(&self) -> usize {
        self.arrived
    }

    /// Takes up to `max` arrived bytes out, in up to two slices.
    pub fn pull(&mut self, max: usize, mut take: impl FnMut(&[u8])) -> usize {
        let len = self.arrived.min(max);
        let (front, back) = self.bytes.as_slices();
        let first = front.len().min(len);
        take(&front[..first]);
        if len > first {
            take(&back[..len - first]);
        }
        self.bytes.drain(..len);
        self.arrived -= len;
        len
    }

    /// The reader closed.
    pub fn empty_out(&mut self) {
        self.void = true;
        self.arrived = 0;
        self.bytes = VecDeque::new();
    }

    /// What is still on its way is lost; what has arrived can be read.
    pub fn cut(&mut self) {
        self.cut = true;
        self.bytes.truncate(self.arrived);
    }

    /// Whether the connection was torn down.
    pub fn is_cut(&self) -> bool {
        self.cut
    }
}
