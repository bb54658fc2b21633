//! Between shards: what is published on one goes to the first, which owns the log's writer, and the answer comes back.
//!
//! A queue per direction and pair, written by one thread and read by one. The kernel only rings: a shard that is about
//! to sleep says so, looks once more, and whoever has something for it then rings its bell.
//!
//! Invariant: after `falls_asleep`, either the sleeper sees what was sent before, or the sender sees it asleep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::base::id::EventId;
use crate::base::limits::MAIL_MAX;
use crate::ring::Token;

/// The events of one publish request, all their texts in one piece of memory.
#[derive(Debug, Default)]
pub struct Events {
    texts: String,
    /// Where the type of each ends and where its data does, which may be missing.
    ends: Vec<(usize, Option<usize>)>,
}

impl Events {
    /// Room for `count` events of `len` bytes in all.
    pub fn with_room(count: usize, len: usize) -> Self {
        Self { texts: String::with_capacity(len), ends: Vec::with_capacity(count) }
    }

    /// Adds an event: its type and the JSON text of its data.
    pub fn push(&mut self, kind: &str, data: Option<&str>) {
        self.texts.push_str(kind);
        let kind_end = self.texts.len();
        let data_end = data.map(|data| {
            self.texts.push_str(data);
            self.texts.len()
        });
        self.ends.push((kind_end, data_end));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Type and data of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let mut from = 0;
        self.ends.iter().map(move |&(kind_end, data_end)| {
            let kind = &self.texts[std::mem::replace(&mut from, data_end.unwrap_or(kind_end))..kind_end];
            (kind, data_end.map(|data_end| &self.texts[kind_end..data_end]))
        })
    }
}

/// Events of one publish request, and who awaits their outcome.
#[derive(Debug)]
pub struct Publication {
    /// The shard that waits for the outcome.
    pub shard: usize,
    /// Its client.
    pub token: Token,
    /// At least one, at most `PUBLISH_EVENTS_MAX`.
    pub events: Events,
}

/// What became of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All are in the log, under these ids.
    Ids(Vec<EventId>),
    /// The upstream has taken all of them.
    Accepted(usize),
    /// The upstream did not take them all.
    Unreachable,
}

/// Outcome and client.
#[derive(Debug)]
pub struct Reply {
    /// Whose.
    pub token: Token,
    /// What.
    pub outcome: Outcome,
}

/// What all threads of the process share besides the log.
pub struct Office {
    shards: Box<[Flags]>,
    /// The subscribing link stands and was heard from.
    upstream_up: AtomicBool,
    /// A stream began while it did not.
    awaited: AtomicBool,
    draining: AtomicBool,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Flags {
    asleep: AtomicBool,
}

impl Office {
    /// The office and the desks of `shards` shards.
    pub fn new(shards: usize) -> (Arc<Self>, Vec<Desk>) {
        let office = Arc::new(Self {
            shards: std::iter::repeat_with(Flags::default).take(shards).collect(),
            upstream_up: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        });
        let desk = |shard| Desk { office: Arc::clone(&office), shard, post: Post::First(Vec::new()), awaited: 0 };
        let mut desks: Vec<Desk> = (0..shards).map(desk).collect();
        for shard in 1..shards {
            let (to_first, from_other) = RingBuffer::new(MAIL_MAX);
            let (to_other, from_first) = RingBuffer::new(MAIL_MAX);
            desks[shard].post = Post::Other { out: to_first, inbox: from_first };
            if let Post::First(pairs) = &mut desks[0].post {
                pairs.push((from_other, to_other));
            }
        }
        (office, desks)
    }

    /// Asks all shards to end. Their bells must be rung.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the upstream is subscribed and fresh.
    pub fn is_upstream_up(&self) -> bool {
        self.upstream_up.load(Ordering::Relaxed)
    }
}

/// One shard's place in the office.
pub struct Desk {
    office: Arc<Office>,
    shard: usize,
    post: Post,
    /// Publications of this shard that await their outcome.
    awaited: usize,
}

enum Post {
    /// The first shard: from and to each other.
    First(Vec<(Consumer<Publication>, Producer<Reply>)>),
    Other {
        out: Producer<Publication>,
        inbox: Consumer<Reply>,
    },
}

impl Desk {
    /// Which shard sits here.
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// The office.
    pub fn office(&self) -> &Arc<Office> {
        &self.office
    }

    /// From now on whoever has something for us rings. Look once more before you sleep.
    pub fn falls_asleep(&self) {
        self.office.shards[self.shard].asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// No bells needed.
    pub fn awake(&self) {
        self.office.shards[self.shard].asleep.store(false, Ordering::Relaxed);
    }

    /// Whether `shard` sleeps and has to be rung after what was just written for it. Says so to one caller only.
    pub fn must_ring(&self, shard: usize) -> bool {
        fence(Ordering::SeqCst);
        let asleep = &self.office.shards[shard].asleep;
        asleep.load(Ordering::Relaxed) && asleep.swap(false, Ordering::Relaxed)
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.office.shards.len()
    }

    /// Whether the end was asked for.
    pub fn is_draining(&self) -> bool {
        self.office.draining.load(Ordering::Acquire)
    }

    /// Whether the upstream is subscribed and fresh.
    pub fn is_upstream_up(&self) -> bool {
        self.office.is_upstream_up()
    }

    /// A stream begins: whatever the upstream says before it is subscribed is lost to it.
    pub fn note_stream(&self) {
        if !self.office.is_upstream_up() {
            self.office.awaited.store(true, Ordering::Relaxed);
        }
    }

    /// Whether any stream began before the upstream was subscribed.
    pub fn is_upstream_awaited(&self) -> bool {
        self.office.awaited.load(Ordering::Relaxed)
    }

    /// Says whether the upstream is subscribed and fresh. First shard only.
    pub fn set_upstream_up(&self, up: bool) {
        if self.office.is_upstream_up() != up {
            self.office.upstream_up.store(up, Ordering::Relaxed);
        }
    }

    /// Whether any letter lies here.
    pub fn has_mail(&self) -> bool {
        match &self.post {
            Post::First(pairs) => pairs.iter().any(|(inbox, _)| !inbox.is_empty()),
            Post::Other { inbox, .. } => !inbox.is_empty(),
        }
    }

    /// Takes the place of one publication that awaits its outcome; `false` when there are too many.
    pub fn expect(&mut self) -> bool {
        let room = self.awaited < MAIL_MAX;
        self.awaited += usize::from(room);
        room
    }

    /// An outcome has come.
    pub fn fulfil(&mut self) {
        self.awaited -= 1;
    }

    /// Sends a publication that was [expected](Self::expect) to the first shard; gives it back where this is the first.
    pub fn send(&mut self, publication: Publication) -> Option<Publication> {
        match &mut self.post {
            Post::First(_) => Some(publication),
            Post::Other { out, .. } => {
                out.push(publication).expect("no more are under way than were expected");
                None
            }
        }
    }

    /// The next publication of another shard. First shard only.
    pub fn take_publication(&mut self) -> Option<Publication> {
        let Post::First(pairs) = &mut self.post else { return None };
        pairs.iter_mut().find_map(|(inbox, _)| inbox.pop().ok())
    }

    /// Sends an outcome to another shard. First shard only.
    pub fn reply(&mut self, shard: usize, reply: Reply) {
        if let Post::First(pairs) = &mut self.post {
            let (_, out) = &mut pairs[shard - 1];
            assert!(out.push(reply).is_ok(), "no more outcomes than publications");
        }
    }

    /// The next outcome. Shards but the first.
    pub fn take_reply(&mut self) -> Option<Reply> {
        match &mut self.post {
            Post::First(_) => None,
            Post::Other { inbox, .. } => inbox.pop().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_as_they_were_put_in() {
        let all = [("a", Some("1")), ("", None), ("b:c", None), ("", Some("")), ("d", Some("{\"\u{e9}\":2}"))];
        let mut events = Events::with_room(2, 3);
        assert!(events.is_empty());
        all.iter().for_each(|&(kind, data)| events.push(kind, data));
        assert_eq!(events.len(), all.len());
        assert!(events.iter().eq(all));
    }
}
