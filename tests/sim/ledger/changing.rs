//! Judging streams whose topics change.
//!
//! What was accepted before a change took effect belongs to the old set, what came after it to the new one, and when
//! that was only the server knows. So the log is walked from event to event, with all sets that may count at that place
//! at once: an event that was seen rules out the sets without its topic, one that was not seen and not told of rules
//! out those with it. When none is left, no moment for the changes explains what was seen: something was lost, or came
//! that should not have.
//!
//! A change may take effect at any place after the last event that was seen before it was asked for, in order, and no
//! later than its bound: once the server has answered a PING that was sent behind the request it has heard of it, and
//! whatever is published from then on belongs to the new set. (Not so when the request had to wait, which it does while
//! an earlier change or a notice is still on its way out; then there is no bound until the weather is calm.)
//!
//! Events without ids are known by their numbers; that suffices, for the ids of all that others saw are known.

use super::{Change, Expected, Item, Ledger, Notice, Stream, wants};

impl Ledger {
    pub(super) fn judge_call(
        &self,
        number: usize,
        stream: &Stream,
        changes: &[Change],
        accepted: &[u32],
        rank: &[Option<usize>],
    ) {
        let seed = self.seed;
        let Seen { ranks, told, earliest } = self.sort_items(number, stream, changes, rank);
        // A place that only the server knows: what was lost before it is another stream's business.
        let is_known = |id: u64| self.expected == Expected::ById || self.by_id.contains_key(&id);
        let begin = match stream.resume {
            Some(id) if is_known(id) => self.after(id, accepted, rank),
            Some(_) => ranks.first().copied().unwrap_or(accepted.len()),
            None => 0,
        };
        assert!(ranks.first().is_none_or(|&first| first >= begin), "seed {seed}: stream {number} resumes too early");
        let last = ranks.last().map_or(0, |last| last + 1);
        let end = match (stream.ending, stream.sent_away) {
            (None, _) => accepted.len(),
            (Some(_), Some(from)) if is_known(from) => {
                let end = self.after(from, accepted, rank);
                assert!(end >= last, "seed {seed}: stream {number} was told to resume from {from}, before its end");
                end
            }
            (Some(_), _) => last,
        };
        // Upstream's losses are told by the end of a stream that has no other words for it.
        let forgives = stream.is_plain && self.expected == Expected::ByPlace && stream.ending.is_some();
        // One that resumes begins with its first set, wherever that is.
        let first = usize::from(stream.resume.is_some());
        let mut may_count = vec![false; changes.len() + 1];
        match may_count.get_mut(first) {
            Some(set) => *set = true,
            None => return,
        }
        let mut seen = ranks.partition_point(|&at| at < begin);
        for (at, &serial) in accepted.iter().enumerate().take(end).skip(begin) {
            let tried = &self.tries[serial as usize];
            for (nth, change) in changes.iter().enumerate() {
                may_count[nth + 1] |= may_count[nth] && at >= earliest[nth];
                if change.bound.is_some_and(|bound| tried.is_after(serial, bound)) {
                    may_count[..=nth].fill(false);
                }
            }
            let was_seen = ranks.get(seen) == Some(&at);
            let is_excused = || forgives || told[seen].iter().any(|notice| notice.covers(tried.id));
            for (nth, may) in may_count.iter_mut().enumerate().filter(|(_, may)| **may) {
                let is_wanted = nth > 0 && wants(&changes[nth - 1].topics, &tried.topic);
                *may = if was_seen { is_wanted } else { !is_wanted || is_excused() };
            }
            if !may_count.contains(&true) {
                let what = if was_seen { "got" } else { "lost in silence" };
                let client = stream.client;
                panic!(
                    "seed {seed}: stream {number} of client {client} {what} event {serial} ({tried:?}), \
                     whichever of its {} sets of topics counted; {:?} of {:?}, {:?}",
                    changes.len(),
                    stream.ending,
                    ranks.len(),
                    changes
                );
            }
            seen += usize::from(was_seen);
        }
    }

    /// Puts what was seen in order.
    fn sort_items<'s>(
        &self,
        number: usize,
        stream: &'s Stream,
        changes: &[Change],
        rank: &[Option<usize>],
    ) -> Seen<'s> {
        let mut seen = Seen { ranks: Vec::new(), told: vec![Vec::new()], earliest: Vec::new() };
        for count in 0..=stream.items.len() {
            while changes.get(seen.earliest.len()).is_some_and(|change| change.after == count) {
                seen.earliest.push(seen.ranks.last().map_or(0, |last| last + 1));
            }
            match stream.items.get(count) {
                Some(Item::Notice(notice)) => seen.told.last_mut().expect("never empty").push(notice),
                Some(Item::Event { serial }) => {
                    // Whose id nobody was told has no place.
                    let Some(at) = rank[*serial as usize] else { continue };
                    let in_order = seen.ranks.last().is_none_or(|&last| last < at);
                    assert!(in_order, "seed {}: stream {number} got event {serial} out of order", self.seed);
                    seen.ranks.push(at);
                    seen.told.push(Vec::new());
                }
                None => {}
            }
        }
        seen
    }
}

/// What a stream saw, in order.
struct Seen<'s> {
    /// Places of its events.
    ranks: Vec<usize>,
    /// The notices before each event, and after the last.
    told: Vec<Vec<&'s Notice>>,
    /// For each change, the first place at which it may count.
    earliest: Vec<usize>,
}
