//! Where events come from: what is published here, what is made up, what Redis says. On the first shard only.
//!
//! Everything ends in the log, framed once per wire and in the order of its ids. A turn takes in all there is before
//! the readers are shown any of it, so bursts become batches by themselves. When the log has no room for a moment,
//! intake pauses and nothing is lost: what was received waits here, what was not waits in its socket.

mod link;
pub mod redis;
mod source;

use std::collections::VecDeque;
use std::time::Duration;

use self::source::RedisFeed;
use super::mail::{Outcome, Publication};
use super::tokens::Kind;
use super::{Settings, Shard, Upstream};
use crate::base::id::EventId;
use crate::base::time::Instant;
use crate::dialect::plasma;
use crate::hub::log::Full;
use crate::hub::{Frames, Writer};
use crate::ring::{Attached, Errno, Ring, Token};
use crate::wire::sse;

/// How soon a full log is tried again: a turn of the slowest shard is about as long.
const FULL_FOR: Duration = Duration::from_millis(1);

/// The events of one process on their way into the log.
pub struct Feed {
    intake: Intake,
    source: Source,
    /// Publications waiting for the log or for Redis, in order.
    queue: VecDeque<Publication>,
    /// Ids of the first one's events that are in the log already.
    ids: Vec<EventId>,
    /// Publications wait for the log or for Redis: one more letter changes nothing.
    blocked: bool,
    given_up: bool,
}

enum Source {
    Memory,
    Mock { every: Duration, next_at: Instant },
    Redis(Box<RedisFeed>),
}

/// The way into the log.
pub(super) struct Intake {
    writer: Writer,
    frame: Vec<u8>,
    message: Vec<u8>,
    unix_millis: u64,
    /// Something was appended that the readers have not been shown.
    grown: bool,
    /// Since when there has been no room.
    full_since: Option<Instant>,
}

impl Intake {
    /// Numbers an event, frames it for every wire, appends it.
    fn append(&mut self, kind: &str, data: Option<&str>) -> Result<EventId, Full> {
        let id = self.writer.next_id(self.unix_millis);
        self.frame.clear();
        self.message.clear();
        plasma::frame(kind, data, id, &mut self.frame);
        plasma::message(kind, data, &mut self.message);
        self.writer.append(id, kind.as_bytes(), Frames { sse: &self.frame, grpc: &self.message })?;
        self.grown = true;
        Ok(id)
    }

    /// Tells every stream that the upstream was away and nobody knows what it said meanwhile.
    fn append_loss(&mut self) -> Result<(), Full> {
        let last = self.writer.last_id();
        let from = (self.writer.count() > 0).then_some(last);
        self.frame.clear();
        self.message.clear();
        sse::gap(from, None, sse::Reason::Upstream, &mut self.frame);
        plasma::gap_message(from, None, sse::Reason::Upstream, &mut self.message);
        self.writer.append_notice(Frames { sse: &self.frame, grpc: &self.message })?;
        self.grown = true;
        Ok(())
    }
}

impl Feed {
    pub(super) fn new(writer: Writer, settings: &Settings, now: Instant) -> Self {
        let source = match &settings.upstream {
            Upstream::Memory => Source::Memory,
            Upstream::Mock(every) => Source::Mock { every: *every, next_at: now + *every },
            Upstream::Redis(redis) => Source::Redis(Box::new(RedisFeed::new(redis, settings.policy.event_max))),
        };
        let (frame, message) = (Vec::new(), Vec::new());
        let intake = Intake { writer, frame, message, unix_millis: 0, grown: false, full_since: None };
        Self { intake, source, queue: VecDeque::new(), ids: Vec::new(), blocked: false, given_up: false }
    }

    pub(super) fn has_given_up(&self) -> bool {
        self.given_up
    }

    /// Whether events that happen upstream would arrive.
    pub(super) fn is_up(&self, now: Instant) -> bool {
        match &self.source {
            Source::Memory | Source::Mock { .. } => true,
            Source::Redis(redis) => redis.is_healthy(now),
        }
    }

    /// When to look again although nothing happens.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let full = self.intake.full_since.map(|since| since + FULL_FOR);
        let source = match &self.source {
            Source::Memory => None,
            Source::Mock { next_at, .. } => Some(*next_at),
            Source::Redis(redis) => redis.next_deadline(),
        };
        [full, source].into_iter().flatten().min()
    }

    /// Whether letters are left where they are until time passes or Redis answers.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether there is something that the readers have not been shown.
    pub(super) fn has_grown(&self) -> bool {
        self.intake.grown
    }

    /// Appends an event as if it had just been published: for measurements. `None` when there is no room.
    pub fn inject(&mut self, kind: &str, data: Option<&str>, unix_millis: u64) -> Option<EventId> {
        self.intake.unix_millis = unix_millis;
        self.intake.append(kind, data).ok()
    }
}

impl<R: Ring> Shard<R> {
    /// Takes in everything that upstream and publishers have, then shows it to all shards.
    pub(super) fn run_feed(&mut self) {
        let Some(mut feed) = self.feed.take() else { return };
        // An outcome may be what the next publication of a call has waited for: that one's turn comes later.
        feed.queue.extend(self.own_publications.drain(..));
        let now = self.ring.now();
        feed.intake.unix_millis = self.ring.unix_millis();
        feed.intake.full_since = None;
        feed.blocked = false;
        let taken = self.run_source(&mut feed, now).and_then(|()| self.take_publications(&mut feed));
        if taken.is_err() {
            feed.intake.full_since = Some(now);
            feed.blocked = true;
        }
        if std::mem::take(&mut feed.intake.grown) {
            feed.intake.writer.publish();
            self.ring_all();
        } else if taken.is_err() {
            // Whoever sleeps has to wake up to make room.
            self.ring_all();
        }
        self.desk.set_upstream_up(feed.is_up(now));
        self.feed = Some(feed);
    }

    fn ring_all(&mut self) {
        for shard in (0..self.desk.shards()).filter(|&shard| shard != self.desk.shard()) {
            if self.desk.must_ring(shard) {
                self.ring.ring_bell(shard);
            }
        }
    }

    fn run_source(&mut self, feed: &mut Feed, now: Instant) -> Result<(), Full> {
        match &mut feed.source {
            Source::Memory => Ok(()),
            Source::Mock { every, next_at } => {
                if now >= *next_at {
                    *next_at = now + *every;
                    mock_event(&mut feed.intake, self.ring.random())?;
                }
                Ok(())
            }
            Source::Redis(redis) => {
                redis.note_awaited(self.desk.is_upstream_awaited());
                let outcomes = redis.run(&mut self.ring, &mut feed.intake, &self.log, now);
                feed.given_up |= redis.has_given_up();
                self.tell_outcomes(outcomes);
                redis.take_waiting(&mut self.ring, &mut feed.intake)
            }
        }
    }

    fn tell_outcomes(&mut self, outcomes: Vec<(usize, Token, Outcome)>) {
        for (shard, token, outcome) in outcomes {
            self.tell_outcome(shard, token, outcome);
        }
    }

    /// Takes publications as long as there is room for them.
    fn take_publications(&mut self, feed: &mut Feed) -> Result<(), Full> {
        loop {
            if feed.queue.is_empty() {
                match self.desk.take_publication() {
                    Some(publication) => feed.queue.push_back(publication),
                    None => return Ok(()),
                }
            }
            let first = feed.queue.front().expect("the queue was filled above");
            if let Source::Redis(redis) = &mut feed.source
                && redis.has_channel()
            {
                let now = self.ring.now();
                match redis.publish(first, now) {
                    source::Publish::Taken => {}
                    // Answers from Redis make room, and they wake us.
                    source::Publish::Later => {
                        feed.blocked = true;
                        return Ok(());
                    }
                    source::Publish::Failed => self.tell_outcome(first.shard, first.token, Outcome::Unreachable),
                }
                redis.flush(&mut self.ring);
                feed.queue.pop_front();
                continue;
            }
            for (kind, data) in first.events.iter().skip(feed.ids.len()) {
                feed.ids.push(feed.intake.append(kind, data)?);
            }
            let ids = std::mem::take(&mut feed.ids);
            let (shard, token) = (first.shard, first.token);
            feed.queue.pop_front();
            self.tell_outcome(shard, token, Outcome::Ids(ids));
        }
    }

    /// Something happened on a link to the upstream.
    pub(super) fn on_link(&mut self, kind: Kind, token: Token, result: Result<u32, Errno>, attached: Attached) {
        let Some(mut feed) = self.feed.take() else { return };
        feed.intake.unix_millis = self.ring.unix_millis();
        if let Source::Redis(redis) = &mut feed.source {
            redis.note_awaited(self.desk.is_upstream_awaited());
            let outcomes = redis.on_link(&mut self.ring, &mut feed.intake, &self.log, (kind, token, result, attached));
            feed.given_up |= redis.has_given_up();
            self.tell_outcomes(outcomes);
        }
        self.feed = Some(feed);
    }

    /// Whether the subscribing path works.
    pub(super) fn is_healthy(&self) -> bool {
        self.desk.is_upstream_up() && !self.drain.is_active()
    }
}

/// One of the original's three made-up events.
fn mock_event(intake: &mut Intake, random: u64) -> Result<EventId, Full> {
    match random % 3 {
        0 => intake.append("poll", Some(r#"{"1": "One", "2":"Two", "3":"Three", "4":"Four"}"#)),
        1 => intake.append("program", Some(&format!("{{\"programId\": {}}}", (random >> 8) % 100_000))),
        _ => intake.append("other", None),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::hub::{Format, Log, Reader, Seq};

    #[test]
    fn what_comes_in_is_in_the_log_in_every_format() {
        let (log, writer) = Log::new(64 * 1024, 1, 1_790_000_000_000, 7).unwrap();
        let mut reader = Reader::new(Arc::clone(&log), 0);
        let (frame, message) = (Vec::new(), Vec::new());
        let mut intake = Intake { writer, frame, message, unix_millis: 0, grown: false, full_since: None };
        let id = intake.append("a", Some("[1, 2]")).unwrap();
        intake.append_loss().unwrap();
        intake.writer.publish();
        reader.take(9);
        let frames = |format| [0, 1].map(|seq| str::from_utf8(reader.frame(Seq(seq), format)).unwrap());
        let notice = format!("{{\"lost_from\":\"{id}\",\"lost_to\":null,\"reason\":\"upstream\"}}");
        let event = format!("id: {id}\ndata: {{\"meta\":{{\"type\":\"a\"}},\"data\":[1,2]}}\n\n");
        let gap = format!("event: plasma.gap\ndata: {notice}\n\n");
        assert_eq!(frames(Format::Sse), [event, gap]);
        let gap_len = 2 + 12 + 2 + notice.len();
        let [len, data_len] = [gap_len, notice.len()].map(|len| char::from(len as u8));
        let gap = format!("\0\0\0\0{len}\x0a\x0c\x0a\x0aplasma.gap\x12{data_len}{notice}");
        assert_eq!(frames(Format::Grpc), ["\0\0\0\0\x0d\x0a\x03\x0a\x01a\x12\x06[1, 2]".to_owned(), gap]);
    }
}
