//! Finding what a subscriber missed: merging the chains of its topics from a position on.
//!
//! Costs as much as was missed, however much else passed. The next search begins where the last one ended: at a record
//! of the topic itself, or, with several topics, where hints in the memberships say; one that went stale only costs
//! time.

use super::log::{Chain, Reader, Seq};
use super::topics::{Seat, Topics};

/// Scratch for one search after another, so that none allocates.
#[derive(Default)]
pub struct Missed {
    /// The next record of each chain that has one, with its link and, for the hint, its membership.
    heads: Vec<Head>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    seq: Seq,
    link: u64,
    membership: Option<u32>,
}

impl Missed {
    /// Visits the records from `from` on, among those that `reader` has seen, that concern the holder of `seat`:
    /// each once, in order, until `visit` declines one. Returns the position to go on from: the record declined, or
    /// what was seen in all (`from` itself, when that lies beyond).
    pub fn visit(
        &mut self,
        reader: &Reader,
        topics: &mut Topics,
        seat: Seat,
        from: Seq,
        mut visit: impl FnMut(Seq) -> bool,
    ) -> Seq {
        self.find_heads(reader, topics, seat, from);
        let mut visited = None;
        while let Some(at) = self.least() {
            let head = self.heads[at];
            if visited != Some(head.seq) && !visit(head.seq) {
                self.keep_hints(topics);
                return head.seq;
            }
            visited = Some(head.seq);
            self.advance(reader, topics, at);
        }
        reader.seen().max(from)
    }

    /// The first record from `from` on that concerns the holder of `seat`.
    pub fn first(&mut self, reader: &Reader, topics: &mut Topics, seat: Seat, from: Seq) -> Option<Seq> {
        let next = self.visit(reader, topics, seat, from, |_| false);
        (next < reader.seen()).then_some(next)
    }

    /// Forgets where the last search of this subscriber ended: it has been up to date since.
    pub fn forget(topics: &mut Topics, seat: Seat) {
        topics.forget_hints(seat);
    }

    fn find_heads(&mut self, reader: &Reader, topics: &mut Topics, seat: Seat, from: Seq) {
        self.heads.clear();
        if from >= reader.seen() {
            return;
        }
        if let Some((seq, link)) = reader.first_of(Chain::Everyone, None, from) {
            self.heads.push(Head { seq, link, membership: None });
        }
        for (topic, membership) in topics.list(seat) {
            let (hash, name) = topics.name(topic);
            let hint = membership.and_then(|membership| reader.expand(topics.hint(membership)));
            if let Some((seq, link)) = reader.first_of(Chain::Topic { hash, name }, hint, from) {
                self.heads.push(Head { seq, link, membership });
            }
        }
        // The least comes last, where it is cheap to take and to put back.
        self.heads.sort_unstable_by_key(|head| std::cmp::Reverse(head.seq));
    }

    fn least(&self) -> Option<usize> {
        self.heads.len().checked_sub(1)
    }

    /// Moves the least head on to its successor, to its new place in the order.
    fn advance(&mut self, reader: &Reader, topics: &mut Topics, at: usize) {
        let head = self.heads[at];
        self.heads.truncate(at);
        match reader.following(head.link) {
            Some((seq, link)) => {
                let place = self.heads.partition_point(|other| other.seq > seq);
                self.heads.insert(place, Head { seq, link, ..head });
            }
            // The next search goes on from the last link there was.
            None => keep_hint(topics, head),
        }
    }

    fn keep_hints(&self, topics: &mut Topics) {
        for &head in &self.heads {
            keep_hint(topics, head);
        }
    }
}

fn keep_hint(topics: &mut Topics, head: Head) {
    if let Some(membership) = head.membership {
        topics.set_hint(membership, (head.link + 1) as u32);
    }
}

#[cfg(test)]
mod tests;
