//! What each subscriber has received, held against what was published: delivered, lost, repeated, out of order.
//!
//! Per subscriber and stream there is one number, the next one to come. Holes are kept aside, since a healthy server
//! makes none. A subscriber owes nothing to what was begun before its connection stood: such events may arrive or not.
//!
//! Invariant: an event is counted once, as delivered, repeated or stray; a hole is lost until it is filled.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use crate::board::Board;
use crate::stamp::Stamp;

/// The bit of a next number that says that nothing has come yet: what is below the rest of the number may still come.
const JOINING: u32 = 1 << 31;

/// Counts over all subscribers of a ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events that arrived for the first time.
    pub delivered: u64,
    /// Events that never arrived, and nobody said so.
    pub lost: u64,
    /// Events that never arrived where a notice of a gap stood in their place.
    pub told: u64,
    /// Events that had arrived before.
    pub duplicated: u64,
    /// Events that arrived after a later one of their stream.
    pub out_of_order: u64,
    /// Events of a topic that was not asked for, or that nobody published.
    pub strays: u64,
    /// Notices of a gap: a server's own word that it lost something.
    pub gaps: u64,
}

impl Totals {
    /// Whether every event came once and in order, but for losses that were told.
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.out_of_order + self.strays == 0
    }

    /// Adds another ledger's counts.
    pub fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.told += other.told;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.strays += other.strays;
        self.gaps += other.gaps;
    }
}

/// The subscribers of one engine.
#[derive(Debug)]
pub struct Ledger {
    board: Arc<Board>,
    /// The first subscriber: all of them are `first..`.
    first: u32,
    /// Streams per subscriber.
    width: u32,
    /// Per subscriber and stream the next number.
    next: Vec<u32>,
    /// The id that a subscriber saw last, if it is a number; 0 is none.
    ids: Vec<u64>,
    /// The same for ids that are no number.
    odd_ids: HashMap<u32, Box<[u8]>>,
    /// Numbers that were jumped over, by place in `next`.
    holes: HashMap<u32, BTreeSet<u32>>,
    /// Places whose subscriber was told of a gap and has had no event since.
    gaps: HashSet<u32>,
    /// The sum of all next numbers.
    positions: u64,
    totals: Totals,
}

impl Ledger {
    /// A ledger of these subscribers, none of whom has a connection yet.
    pub fn new(board: Arc<Board>, subscribers: Range<u32>) -> Self {
        let (width, count) = (board.width(), subscribers.len());
        Self {
            first: subscribers.start,
            width,
            next: vec![JOINING; count * width as usize],
            ids: vec![0; count],
            odd_ids: HashMap::new(),
            holes: HashMap::new(),
            gaps: HashSet::new(),
            positions: 0,
            totals: Totals::default(),
            board,
        }
    }

    /// The topic that a subscriber asks for.
    pub fn topic_of(&self, who: u32) -> u32 {
        who % self.board.topics
    }

    /// The connection of `who` stands: what is begun from now on has to arrive, and what it missed if it resumed.
    pub fn on_open(&mut self, who: u32) {
        for (place, stream) in self.places(who) {
            if self.next[place as usize] & JOINING != 0 {
                self.move_to(place, JOINING | self.board.begun(stream));
            }
        }
    }

    /// An event arrived.
    pub fn on_event(&mut self, who: u32, stamp: Stamp) {
        let Stamp { stream, number, .. } = stamp;
        let is_ours = |stream| self.board.topic_of(stream) == self.topic_of(who) && number < self.board.begun(stream);
        if stream >= self.board.stream_count() || !is_ours(stream) {
            self.totals.strays += 1;
            return;
        }
        let place = self.place(who, stream);
        let next = self.next[place as usize];
        // What was begun before the connection stood is owed to nobody.
        let owed = if next & JOINING != 0 { (next & !JOINING).min(number) } else { next };
        if number >= owed {
            if !self.gaps.is_empty() && self.gaps.remove(&place) {
                let refused = self.board.refused_in(stream, owed, number);
                self.totals.told += u64::from(number - owed - refused);
            } else if number > owed {
                self.holes.entry(place).or_default().extend(owed..number);
            }
            self.move_to(place, number + 1);
            self.totals.delivered += 1;
        } else if self.fill(place, number) {
            self.totals.out_of_order += 1;
            self.totals.delivered += 1;
        } else {
            self.totals.duplicated += 1;
        }
    }

    /// The id of the last event, to resume from.
    pub fn on_id(&mut self, who: u32, id: &[u8]) {
        let number =
            std::str::from_utf8(id).ok().filter(|id| !id.starts_with(['0', '+'])).and_then(|id| id.parse().ok());
        self.ids[(who - self.first) as usize] = number.unwrap_or(0);
        match number {
            Some(_) => {
                if !self.odd_ids.is_empty() {
                    self.odd_ids.remove(&who);
                }
            }
            None => {
                self.odd_ids.insert(who, id.into());
            }
        }
    }

    /// The id to resume from, if any came.
    pub fn last_id(&self, who: u32) -> Option<Vec<u8>> {
        match self.ids[(who - self.first) as usize] {
            0 => self.odd_ids.get(&who).map(|id| id.to_vec()),
            id => Some(id.to_string().into_bytes()),
        }
    }

    /// A server's word that it lost something for this subscriber: what is missing before the next event.
    pub fn on_gap(&mut self, who: u32) {
        self.totals.gaps += 1;
        self.gaps.extend(self.places(who).map(|(place, _)| place));
    }

    /// `who` leaves for good: what was begun and has not come yet is not waited for. It may come back as somebody new.
    pub fn on_leave(&mut self, who: u32) {
        for (place, stream) in self.places(who) {
            self.write_off_holes(place, stream);
            self.gaps.remove(&place);
            self.move_to(place, JOINING);
        }
        self.ids[(who - self.first) as usize] = 0;
        self.odd_ids.remove(&who);
    }

    /// The final counts, when everything published had the time to arrive: what those who `remain` have not got is lost.
    pub fn close(mut self, remain: impl Fn(u32) -> bool) -> Totals {
        for who in self.first..self.first + self.ids.len() as u32 {
            for (place, stream) in self.places(who) {
                self.write_off_holes(place, stream);
                if remain(who) {
                    let (from, to) = (self.next[place as usize] & !JOINING, self.board.begun(stream));
                    let missing = to.saturating_sub(from) - self.board.refused_in(stream, from, to);
                    let told = self.gaps.contains(&place);
                    *(if told { &mut self.totals.told } else { &mut self.totals.lost }) += u64::from(missing);
                }
            }
        }
        self.totals
    }

    /// How far all subscribers are, as one sum: equal to what the ends of their streams add up to when nobody waits for
    /// anything.
    pub fn positions(&self) -> u64 {
        self.positions
    }

    fn move_to(&mut self, place: u32, next: u32) {
        let before = std::mem::replace(&mut self.next[place as usize], next);
        self.positions = self.positions + u64::from(next & !JOINING) - u64::from(before & !JOINING);
    }

    fn write_off_holes(&mut self, place: u32, stream: u32) {
        if let Some(holes) = self.holes.remove(&place) {
            let refused = holes.iter().filter(|&&hole| self.board.refused_in(stream, hole, hole + 1) > 0).count();
            self.totals.lost += (holes.len() - refused) as u64;
        }
    }

    fn fill(&mut self, place: u32, number: u32) -> bool {
        self.holes.get_mut(&place).is_some_and(|holes| holes.remove(&number))
    }

    fn place(&self, who: u32, stream: u32) -> u32 {
        (who - self.first) * self.width + stream / self.board.topics
    }

    /// Where the streams of a subscriber have their next numbers.
    fn places(&self, who: u32) -> impl Iterator<Item = (u32, u32)> + use<> {
        let begin = (who - self.first) * self.width;
        (begin..).zip(self.board.of_topic(self.topic_of(who)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(publishers: u32, topics: u32, subscribers: Range<u32>) -> Ledger {
        Ledger::new(Arc::new(Board::new(publishers, topics)), subscribers)
    }

    fn publish(ledger: &Ledger, stream: u32, count: u32) {
        for _ in 0..count {
            ledger.board.begin(stream);
        }
    }

    fn event(stream: u32, number: u32) -> Stamp {
        Stamp { stream, number, due_at: 0 }
    }

    #[test]
    fn what_came_once_and_in_order_is_clean() {
        let mut ledger = ledger(2, 1, 5..6);
        ledger.on_open(5);
        publish(&ledger, 0, 2);
        publish(&ledger, 1, 1);
        for stamp in [event(0, 0), event(1, 0), event(0, 1)] {
            ledger.on_event(5, stamp);
        }
        let totals = ledger.close(|_| true);
        assert_eq!(totals, Totals { delivered: 3, ..Totals::default() });
        assert!(totals.is_clean());
    }

    #[test]
    fn what_never_came_is_lost_in_the_middle_and_at_the_end() {
        let mut ledger = ledger(1, 1, 0..1);
        ledger.on_open(0);
        publish(&ledger, 0, 6);
        for number in [0, 1, 3] {
            ledger.on_event(0, event(0, number));
        }
        assert_eq!(ledger.close(|_| true), Totals { delivered: 3, lost: 3, ..Totals::default() });
    }

    #[test]
    fn one_who_got_nothing_lost_everything_begun_since() {
        let mut ledger = ledger(1, 1, 0..1);
        publish(&ledger, 0, 2);
        ledger.on_open(0);
        publish(&ledger, 0, 3);
        assert_eq!(ledger.close(|_| true).lost, 3);
    }

    #[test]
    fn what_was_begun_before_the_connection_stood_may_come_or_not() {
        for (first, lost) in [(1, 0), (2, 0), (3, 1)] {
            let mut ledger = ledger(1, 1, 0..1);
            publish(&ledger, 0, 2);
            ledger.on_open(0);
            publish(&ledger, 0, 2);
            for number in first..4 {
                ledger.on_event(0, event(0, number));
            }
            assert_eq!(ledger.close(|_| true).lost, lost, "the first to come is {first}");
        }
    }

    #[test]
    fn a_repeated_event_is_a_duplicate() {
        let mut ledger = ledger(1, 1, 0..1);
        ledger.on_open(0);
        publish(&ledger, 0, 1);
        ledger.on_event(0, event(0, 0));
        ledger.on_event(0, event(0, 0));
        assert_eq!(ledger.close(|_| true), Totals { delivered: 1, duplicated: 1, ..Totals::default() });
    }

    #[test]
    fn a_late_event_fills_its_hole_and_is_out_of_order() {
        let mut ledger = ledger(1, 1, 0..1);
        ledger.on_open(0);
        publish(&ledger, 0, 3);
        for number in [0, 2, 1] {
            ledger.on_event(0, event(0, number));
        }
        assert_eq!(ledger.close(|_| true), Totals { delivered: 3, out_of_order: 1, ..Totals::default() });
    }

    #[test]
    fn an_event_of_another_topic_or_of_nobody_is_a_stray() {
        let mut ledger = ledger(1, 3, 0..3);
        ledger.on_open(1);
        publish(&ledger, 1, 1);
        publish(&ledger, 2, 1);
        for stamp in [event(2, 0), event(9, 0), event(1, 1)] {
            ledger.on_event(1, stamp);
        }
        assert_eq!(ledger.close(|_| false).strays, 3);
    }

    #[test]
    fn a_loss_that_is_told_is_not_silent() {
        let mut ledger = ledger(1, 1, 0..1);
        ledger.on_open(0);
        publish(&ledger, 0, 9);
        ledger.on_event(0, event(0, 0));
        ledger.on_gap(0);
        for number in [3, 5] {
            ledger.on_event(0, event(0, number));
        }
        ledger.on_gap(0);
        let totals = ledger.close(|_| true);
        assert_eq!(totals, Totals { delivered: 3, lost: 1, told: 2 + 3, gaps: 2, ..Totals::default() });
    }

    #[test]
    fn who_resumes_owes_what_came_while_away() {
        let mut ledger = ledger(1, 1, 0..1);
        ledger.on_open(0);
        publish(&ledger, 0, 1);
        ledger.on_event(0, event(0, 0));
        publish(&ledger, 0, 2);
        ledger.on_open(0);
        ledger.on_event(0, event(0, 2));
        assert_eq!(ledger.close(|_| true).lost, 1);
    }

    #[test]
    fn who_left_owes_its_holes_and_nothing_later() {
        let mut ledger = ledger(1, 1, 0..1);
        ledger.on_open(0);
        publish(&ledger, 0, 3);
        ledger.on_event(0, event(0, 0));
        ledger.on_event(0, event(0, 2));
        publish(&ledger, 0, 5);
        ledger.on_leave(0);
        assert_eq!(ledger.last_id(0), None);
        assert_eq!(ledger.close(|_| false).lost, 1);
    }

    #[test]
    fn positions_add_up_to_the_ends_when_nobody_waits() {
        let mut ledger = ledger(1, 2, 0..3);
        publish(&ledger, 0, 4);
        (0..3).for_each(|who| ledger.on_open(who));
        assert_eq!(ledger.positions(), 4 + 4);
        ledger.on_event(0, event(0, 2));
        assert_eq!(ledger.positions(), 3 + 4);
        publish(&ledger, 1, 1);
        ledger.on_event(0, event(0, 3));
        ledger.on_event(1, event(1, 0));
        assert_eq!(ledger.positions(), 4 + 1 + 4);
        ledger.on_leave(2);
        assert_eq!(ledger.positions(), 4 + 1);
    }

    #[test]
    fn refused_events_are_not_lost() {
        let mut ledger = ledger(1, 1, 0..1);
        ledger.on_open(0);
        publish(&ledger, 0, 4);
        ledger.board.refuse(0, 1);
        ledger.board.refuse(0, 3);
        for number in [0, 2] {
            ledger.on_event(0, event(0, number));
        }
        assert_eq!(ledger.close(|_| true).lost, 0);
    }

    #[test]
    fn ids_are_kept_whatever_they_look_like() {
        let mut ledger = ledger(1, 1, 3..5);
        for id in ["1882487666810814464", "1700000000:0", "007", "+5", "18446744073709551616", "x"] {
            ledger.on_id(4, id.as_bytes());
            assert_eq!(ledger.last_id(4).as_deref(), Some(id.as_bytes()));
        }
        ledger.on_id(4, b"12");
        assert_eq!(ledger.last_id(4).as_deref(), Some(&b"12"[..]));
        assert_eq!(ledger.last_id(3), None);
    }
}
