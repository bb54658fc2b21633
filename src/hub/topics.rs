//! The topics of one shard and who wants them.
//!
//! A topic exists as long as it has a member. Its members stand densely in one list; each membership knows its place
//! there, so joining and leaving cost as much as the client has topics.
//!
//! Invariants: `members[m.at].membership == m` for every membership m; while a fan-out walks a list, the members before
//! its cursor have been visited and those from it on have not.

use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;

/// Whoever is subscribed: a number that the shard chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscriber(pub u32);

/// A topic of this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(u32);

/// A subscriber's memberships: the first of a list. 4 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memberships(u32);

impl Memberships {
    /// Of somebody who is in no topic.
    pub const NONE: Self = Self(u32::MAX);
}

/// One entry in a topic's list.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Who.
    pub subscriber: Subscriber,
    membership: u32,
}

/// 16 bytes for each topic of each subscriber, besides the 8 of [`Member`].
struct Membership {
    topic: u32,
    /// Place in the topic's list.
    at: u32,
    /// The subscriber's next one; in a free entry the next free one.
    next: u32,
    /// Low half of a link's position plus 1, to start the next search for missed records from; 0 is none.
    hint: u32,
}

/// What is known of one topic.
struct Topic {
    name: Box<[u8]>,
    hash: u64,
    members: SmallVec<[Member; 2]>,
    /// Scratch of the fan-out: which of the batch's topics this is.
    mark: u32,
}

/// No mark.
const UNMARKED: u32 = u32::MAX;

/// All topics that have a member on this shard.
#[derive(Default)]
pub struct Topics {
    table: HashTable<u32>,
    topics: Slab<Topic>,
    memberships: Vec<Membership>,
    free: Option<u32>,
    membership_count: usize,
    walk: Option<Walk>,
}

/// A fan-out under way through one list.
#[derive(Clone, Copy)]
struct Walk {
    topic: u32,
    at: u32,
}

impl Topics {
    /// Topics with room for `memberships`, before that list has to move. Address space is all that it takes.
    pub fn with_room(memberships: usize) -> Self {
        Self { memberships: Vec::with_capacity(memberships), ..Self::default() }
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// How many memberships there are.
    pub fn membership_count(&self) -> usize {
        self.membership_count
    }

    /// Makes `subscriber` a member of the topics with these hashes and names, which are all different.
    pub fn join<'a>(
        &mut self,
        subscriber: Subscriber,
        topics: impl DoubleEndedIterator<Item = (u64, &'a [u8])>,
    ) -> Memberships {
        let mut first = Memberships::NONE;
        for (hash, name) in topics.rev() {
            let topic = self.find_or_make(hash, name);
            let at = self.topics[topic as usize].members.len() as u32;
            let membership = self.new_membership(Membership { topic, at, next: first.0, hint: 0 });
            self.topics[topic as usize].members.push(Member { subscriber, membership });
            first = Memberships(membership);
        }
        first
    }

    /// Ends all memberships of one subscriber. Topics without members go.
    pub fn leave(&mut self, memberships: Memberships) {
        let mut at = memberships.0;
        while at != u32::MAX {
            let Membership { topic, at: place, next, .. } = self.memberships[at as usize];
            self.remove_member(topic, place);
            self.memberships[at as usize].next = self.free.replace(at).unwrap_or(u32::MAX);
            self.membership_count -= 1;
            at = next;
        }
        if self.membership_count == 0 {
            self.give_memory_back();
        }
    }

    /// The topic with this hash and name, if anybody wants it.
    pub fn find(&self, hash: u64, name: &[u8]) -> Option<TopicId> {
        self.table.find(hash, |&topic| *self.topics[topic as usize].name == *name).map(|&topic| TopicId(topic))
    }

    /// Its members, in no order.
    pub fn members(&self, topic: TopicId) -> &[Member] {
        &self.topics[topic.0 as usize].members
    }

    /// Hash and name of a topic.
    pub fn name(&self, topic: TopicId) -> (u64, &[u8]) {
        let topic = &self.topics[topic.0 as usize];
        (topic.hash, &topic.name)
    }

    /// The mark that a fan-out left on the topic.
    pub fn mark(&self, topic: TopicId) -> Option<u32> {
        let mark = self.topics[topic.0 as usize].mark;
        (mark != UNMARKED).then_some(mark)
    }

    /// Leaves a mark (below `u32::MAX`), or takes it away. A topic that is gone needs none taken away.
    pub fn set_mark(&mut self, topic: TopicId, mark: Option<u32>) {
        if let Some(topic) = self.topics.get_mut(topic.0 as usize) {
            topic.mark = mark.unwrap_or(UNMARKED);
        }
    }

    /// Whether a topic that was marked with `mark` is still there.
    pub fn has_mark(&self, topic: TopicId, mark: u32) -> bool {
        self.topics.get(topic.0 as usize).is_some_and(|topic| topic.mark == mark)
    }

    /// Begins to walk through the members of a topic with [`Topics::walk`].
    pub fn begin_walk(&mut self, topic: TopicId) {
        self.walk = Some(Walk { topic: topic.0, at: 0 });
    }

    /// The next member of the walk. Members that come or go meanwhile neither hide another nor show one twice.
    pub fn walk(&mut self) -> Option<Subscriber> {
        let walk = self.walk.as_mut()?;
        let member = self.topics.get(walk.topic as usize).and_then(|topic| topic.members.get(walk.at as usize));
        match member {
            Some(member) => {
                walk.at += 1;
                Some(member.subscriber)
            }
            None => {
                self.walk = None;
                None
            }
        }
    }

    /// The topics of a subscriber.
    pub fn topics_of(&self, memberships: Memberships) -> impl Iterator<Item = TopicId> + '_ {
        self.list(memberships).map(|at| TopicId(self.memberships[at as usize].topic))
    }

    /// Whether it is exactly one.
    pub fn is_single(&self, memberships: Memberships) -> bool {
        memberships.0 != u32::MAX && self.memberships[memberships.0 as usize].next == u32::MAX
    }

    /// The memberships of a subscriber with their topics and hints, for the search of what it missed.
    pub(super) fn list(&self, memberships: Memberships) -> impl Iterator<Item = u32> + '_ {
        let first = (memberships.0 != u32::MAX).then_some(memberships.0);
        std::iter::successors(first, |&at| self.next_of(at))
    }

    pub(super) fn next_of(&self, membership: u32) -> Option<u32> {
        let next = self.memberships[membership as usize].next;
        (next != u32::MAX).then_some(next)
    }

    pub(super) fn topic_of(&self, membership: u32) -> TopicId {
        TopicId(self.memberships[membership as usize].topic)
    }

    pub(super) fn hint(&self, membership: u32) -> u32 {
        self.memberships[membership as usize].hint
    }

    pub(super) fn set_hint(&mut self, membership: u32, hint: u32) {
        self.memberships[membership as usize].hint = hint;
    }

    fn find_or_make(&mut self, hash: u64, name: &[u8]) -> u32 {
        if let Some(topic) = self.find(hash, name) {
            return topic.0;
        }
        let topic = Topic { name: name.into(), hash, members: SmallVec::new(), mark: UNMARKED };
        let topic = self.topics.insert(topic) as u32;
        let topics = &self.topics;
        self.table.insert_unique(hash, topic, |&other| topics[other as usize].hash);
        topic
    }

    fn new_membership(&mut self, membership: Membership) -> u32 {
        self.membership_count += 1;
        if let Some(at) = self.free {
            let next = self.memberships[at as usize].next;
            self.free = (next != u32::MAX).then_some(next);
            self.memberships[at as usize] = membership;
            return at;
        }
        self.memberships.push(membership);
        self.memberships.len() as u32 - 1
    }

    fn remove_member(&mut self, topic: u32, mut place: u32) {
        let members = &mut self.topics[topic as usize].members;
        // A visited place must be filled by a visited member, or the walk would miss the one that moves there.
        if let Some(walk) = self.walk.as_mut().filter(|walk| walk.topic == topic && place < walk.at) {
            walk.at -= 1;
            members.swap(place as usize, walk.at as usize);
            self.memberships[members[place as usize].membership as usize].at = place;
            place = walk.at;
        }
        members.swap_remove(place as usize);
        if let Some(moved) = members.get(place as usize) {
            self.memberships[moved.membership as usize].at = place;
        }
        if members.is_empty() {
            self.remove_topic(topic);
        } else if members.len() * 4 <= members.capacity() && members.spilled() {
            members.shrink_to_fit();
        }
    }

    fn remove_topic(&mut self, topic: u32) {
        let gone = self.topics.remove(topic as usize);
        if let Ok(entry) = self.table.find_entry(gone.hash, |&other| other == topic) {
            entry.remove();
        }
        if self.walk.is_some_and(|walk| walk.topic == topic) {
            self.walk = None;
        }
    }

    /// With nobody left, nothing is kept for the next crowd: memory returns to where it was.
    fn give_memory_back(&mut self) {
        self.table = HashTable::new();
        self.topics = Slab::new();
        self.memberships = Vec::with_capacity(self.memberships.capacity());
        self.free = None;
    }
}

#[cfg(test)]
mod tests;
