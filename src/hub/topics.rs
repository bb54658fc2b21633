//! The topics of one shard and who wants them.
//!
//! A topic exists as long as it has a member. Its members stand densely in one list; whoever is in it knows its place
//! there, so joining and leaving cost as much as the client has topics. Nearly everybody has one: such a subscriber
//! keeps topic and place itself, in its [`Seat`], and is told when its place changes.
//!
//! Invariants: the member at a seat's place, or at that of a membership, is its subscriber or that membership; while a
//! fan-out walks a list, the members before its cursor have been visited and those from it on have not.

use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;

/// Whoever is subscribed: a number below 2^31 that the shard chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscriber(pub u32);

/// A topic of this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(u32);

/// Where a subscriber stands, for it to keep. 8 bytes; with the 4 of its [`Member`] that is all for one topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The only topic, or [`SEVERAL`], or [`NOTHING`].
    topic: u32,
    /// The place in its list; of several topics the first membership.
    at: u32,
}

const NOTHING: u32 = u32::MAX;
const SEVERAL: u32 = u32::MAX - 1;

/// What a seat says.
enum Held {
    Nothing,
    One { topic: u32, at: u32 },
    Several { first: u32 },
}

impl Seat {
    /// Of somebody who is in no topic.
    pub const NONE: Self = Self { topic: NOTHING, at: NOTHING };

    /// Whether it is in exactly one.
    pub fn is_single(self) -> bool {
        matches!(self.held(), Held::One { .. })
    }

    fn held(self) -> Held {
        match self.topic {
            NOTHING => Held::Nothing,
            SEVERAL => Held::Several { first: self.at },
            topic => Held::One { topic, at: self.at },
        }
    }
}

/// One entry in a topic's list: a subscriber that has no other topic, or the membership of one that has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member(u32);

/// Marks memberships among the members.
const MEMBERSHIP: u32 = 1 << 31;

/// One of several topics of a subscriber: 20 bytes, besides the 4 of its [`Member`].
struct Membership {
    subscriber: Subscriber,
    topic: u32,
    /// Place in the topic's list.
    at: u32,
    /// The subscriber's next one; in a free entry the next free one.
    next: u32,
    /// Low half of a link's position plus 1, to start the next search for missed records from; 0 is none.
    hint: u32,
}

/// A member met on a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// Who.
    pub subscriber: Subscriber,
    /// Whether it has no other topic.
    pub is_single: bool,
}

/// What is known of one topic.
struct Topic {
    name: Box<[u8]>,
    hash: u64,
    members: SmallVec<[Member; 4]>,
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
    member_count: usize,
    walk: Option<Walk>,
}

/// A fan-out under way through one list.
#[derive(Clone, Copy)]
struct Walk {
    topic: u32,
    at: u32,
}

impl Topics {
    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// How many members all of them have together.
    pub fn member_count(&self) -> usize {
        self.member_count
    }

    /// Makes `subscriber` a member of the topics with these hashes and names, which are all different.
    pub fn join<'a>(
        &mut self,
        subscriber: Subscriber,
        topics: impl DoubleEndedIterator<Item = (u64, &'a [u8])> + ExactSizeIterator,
    ) -> Seat {
        debug_assert!(subscriber.0 < MEMBERSHIP);
        let is_single = topics.len() == 1;
        let mut seat = Seat::NONE;
        for (hash, name) in topics.rev() {
            let topic = self.find_or_make(hash, name);
            let at = self.topics[topic as usize].members.len() as u32;
            let member = if is_single {
                seat = Seat { topic, at };
                Member(subscriber.0)
            } else {
                let membership = Membership { subscriber, topic, at, next: seat.at, hint: 0 };
                seat = Seat { topic: SEVERAL, at: self.new_membership(membership) };
                Member(MEMBERSHIP | seat.at)
            };
            self.topics[topic as usize].members.push(member);
            self.member_count += 1;
        }
        seat
    }

    /// Ends all that the subscriber with this seat has joined. Topics without members go. Others may move up: `moved`
    /// hears of those that have to keep a new seat.
    pub fn leave(&mut self, seat: Seat, mut moved: impl FnMut(Subscriber, Seat)) {
        match seat.held() {
            Held::Nothing => {}
            Held::One { topic, at } => self.remove_member(topic, at, &mut moved),
            Held::Several { first } => {
                let mut membership = first;
                while membership != NOTHING {
                    let Membership { topic, at, next, .. } = self.memberships[membership as usize];
                    self.remove_member(topic, at, &mut moved);
                    self.memberships[membership as usize].next = self.free.replace(membership).unwrap_or(NOTHING);
                    membership = next;
                }
            }
        }
        if self.member_count == 0 {
            self.give_memory_back();
        }
    }

    /// The topic with this hash and name, if anybody wants it.
    pub fn find(&self, hash: u64, name: &[u8]) -> Option<TopicId> {
        self.table.find(hash, |&topic| *self.topics[topic as usize].name == *name).map(|&topic| TopicId(topic))
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
    pub fn walk(&mut self) -> Option<Met> {
        let walk = self.walk.as_mut()?;
        let member = self.topics.get(walk.topic as usize).and_then(|topic| topic.members.get(walk.at as usize));
        match member {
            Some(&member) => {
                walk.at += 1;
                Some(self.met(member))
            }
            None => {
                self.walk = None;
                None
            }
        }
    }

    fn met(&self, member: Member) -> Met {
        if member.0 & MEMBERSHIP == 0 {
            return Met { subscriber: Subscriber(member.0), is_single: true };
        }
        let membership = &self.memberships[(member.0 & !MEMBERSHIP) as usize];
        Met { subscriber: membership.subscriber, is_single: false }
    }

    /// The only topic of a subscriber, if it has just one.
    pub fn single(&self, seat: Seat) -> Option<TopicId> {
        match seat.held() {
            Held::One { topic, .. } => Some(TopicId(topic)),
            _ => None,
        }
    }

    /// The topics of a subscriber, those of several with the membership, for the search of what it missed.
    pub(super) fn list(&self, seat: Seat) -> impl Iterator<Item = (TopicId, Option<u32>)> + '_ {
        let (one, first) = match seat.held() {
            Held::Nothing => (None, None),
            Held::One { topic, .. } => (Some((TopicId(topic), None)), None),
            Held::Several { first } => (None, Some(first)),
        };
        let several = std::iter::successors(first, |&at| {
            let next = self.memberships[at as usize].next;
            (next != NOTHING).then_some(next)
        });
        let topic_of = |at: u32| (TopicId(self.memberships[at as usize].topic), Some(at));
        one.into_iter().chain(several.map(topic_of))
    }

    pub(super) fn hint(&self, membership: u32) -> u32 {
        self.memberships[membership as usize].hint
    }

    pub(super) fn set_hint(&mut self, membership: u32, hint: u32) {
        self.memberships[membership as usize].hint = hint;
    }

    /// Forgets the hints of a subscriber.
    pub(super) fn forget_hints(&mut self, seat: Seat) {
        let Held::Several { first } = seat.held() else { return };
        let mut next = first;
        while next != NOTHING {
            let membership = &mut self.memberships[next as usize];
            membership.hint = 0;
            next = membership.next;
        }
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
        if let Some(at) = self.free {
            let next = self.memberships[at as usize].next;
            self.free = (next != NOTHING).then_some(next);
            self.memberships[at as usize] = membership;
            return at;
        }
        self.memberships.push(membership);
        self.memberships.len() as u32 - 1
    }

    fn remove_member(&mut self, topic: u32, mut place: u32, moved: &mut impl FnMut(Subscriber, Seat)) {
        let Self { topics, memberships, walk, .. } = self;
        let members = &mut topics[topic as usize].members;
        let mut move_up = |member: Member, at: u32| match member.0 & MEMBERSHIP {
            0 => moved(Subscriber(member.0), Seat { topic, at }),
            _ => memberships[(member.0 & !MEMBERSHIP) as usize].at = at,
        };
        // A visited place must be filled by a visited member, or the walk would miss the one that moves there.
        if let Some(walk) = walk.as_mut().filter(|walk| walk.topic == topic && place < walk.at) {
            walk.at -= 1;
            members.swap(place as usize, walk.at as usize);
            if place != walk.at {
                move_up(members[place as usize], place);
            }
            place = walk.at;
        }
        members.swap_remove(place as usize);
        if let Some(&member) = members.get(place as usize) {
            move_up(member, place);
        }
        self.member_count -= 1;
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
        self.memberships = Vec::new();
        self.free = None;
    }
}

#[cfg(test)]
mod tests;
