//! Where many small pieces are copied together once, so that each send of them is a plain one.
//!
//! The kernel takes some 30 ns for each entry of a list of pieces, anew for every socket; a copy takes as long, once
//! for all sockets. Holds only what completes inside a submission, so the next one may use the memory again.
//!
//! Invariant: what was staged stays unchanged until [`Staging::clear`].

use std::io;
use std::sync::Arc;

use super::super::Piece;
use crate::base::region::Region;

/// Bytes staged per submission: a batch of the usual bursts. What does not fit goes out as a list.
const STAGED_LEN_MAX: usize = 256 * 1024;

/// Bytes of a piece up to which copying it costs about as much as naming it.
const PIECE_LEN_MAX: usize = 1024;

/// One region of the ring, after those of its user.
pub(super) struct Staging {
    region: Arc<Region>,
    index: u8,
    used: usize,
}

impl Staging {
    /// Memory that pieces name by `index`. Untouched, it costs nothing.
    pub(super) fn new(index: u8) -> io::Result<Self> {
        Ok(Self { region: Arc::new(Region::new(STAGED_LEN_MAX)?), index, used: 0 })
    }

    pub(super) fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Copies `pieces` of `regions` into one, if that is worth while and there is room.
    pub(super) fn put(&mut self, regions: &[Arc<Region>], pieces: &[Piece]) -> Option<Piece> {
        let len: usize = pieces.iter().map(|piece| piece.len as usize).sum();
        if len > pieces.len() * PIECE_LEN_MAX || len > STAGED_LEN_MAX - self.used {
            return None;
        }
        let whole = Piece { region: self.index, at: self.used as u64, len: len as u32 };
        for piece in pieces {
            let from = &regions[usize::from(piece.region)];
            // SAFETY: a piece to be sent is not written to meanwhile, by the contract of `Ring`; what we write to lies
            // after everything that a queued send names.
            unsafe { self.region.write(self.used, from.bytes(piece.at as usize, piece.len as usize)) };
            self.used += piece.len as usize;
        }
        Some(whole)
    }

    /// Copies `bytes`, if there is room.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) -> Option<Piece> {
        if bytes.len() > STAGED_LEN_MAX - self.used {
            return None;
        }
        // SAFETY: what we write to lies after everything that a queued send names.
        unsafe { self.region.write(self.used, bytes) };
        let piece = Piece { region: self.index, at: self.used as u64, len: bytes.len() as u32 };
        self.used += bytes.len();
        Some(piece)
    }

    /// Everything staged has been sent.
    pub(super) fn clear(&mut self) {
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(at: u64, len: u32) -> Piece {
        Piece { region: 0, at, len }
    }

    #[test]
    fn small_pieces_become_one_and_large_ones_stay() {
        let regions = [Arc::new(Region::holding(b"one two three").unwrap())];
        let mut staging = Staging::new(1).unwrap();
        let first = staging.put(&regions, &[piece(0, 4), piece(8, 5)]).unwrap();
        let second = staging.put(&regions, &[piece(4, 3), piece(0, 3)]).unwrap();
        // SAFETY: nothing is staged meanwhile.
        let bytes = |piece: Piece| unsafe { staging.region().bytes(piece.at as usize, piece.len as usize) };
        assert_eq!((first.region, bytes(first)), (1, &b"one three"[..]));
        assert_eq!(bytes(second), b"twoone");

        let large = [Arc::new(Region::new(4 * PIECE_LEN_MAX).unwrap())];
        let len = PIECE_LEN_MAX as u32;
        assert!(staging.put(&large, &[piece(0, len), piece(2 * u64::from(len), len + 1)]).is_none());
    }

    #[test]
    fn what_does_not_fit_is_not_staged() {
        let regions = [Arc::new(Region::new(PIECE_LEN_MAX).unwrap())];
        let mut staging = Staging::new(1).unwrap();
        let pieces = vec![piece(0, PIECE_LEN_MAX as u32); STAGED_LEN_MAX / PIECE_LEN_MAX];
        assert!(staging.put(&regions, &pieces).is_some());
        assert!(staging.put(&regions, &pieces[..1]).is_none());
        staging.clear();
        assert!(staging.put(&regions, &pieces[..1]).is_some());
    }
}
