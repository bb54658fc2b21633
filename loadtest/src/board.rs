//! What has been published so far: the publishers' side of the books, which subscribers' ledgers are held against.
//!
//! Every event has a number in a *stream*. A stream belongs to one publisher and to one topic, so its numbers have an
//! order that a server must keep. There are as many streams as publishers or topics, whichever are more: with more
//! topics each publisher takes turns over its own, with more publishers a topic has several streams.
//!
//! Written by publishers, read by engines, all without locks but for what was refused.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// The streams of a run.
#[derive(Debug)]
pub struct Board {
    /// How many publish.
    pub publishers: u32,
    /// How many topics there are.
    pub topics: u32,
    streams: Vec<Stream>,
    /// Events that a publisher could not get accepted: they may arrive or not.
    refused: Mutex<BTreeSet<(u32, u32)>>,
}

#[derive(Debug, Default)]
struct Stream {
    /// Events whose publishing has begun: the next number.
    begun: AtomicU32,
}

impl Board {
    /// A board of which nothing is published yet.
    pub fn new(publishers: u32, topics: u32) -> Self {
        let streams = std::iter::repeat_with(Stream::default).take(publishers.max(topics) as usize).collect();
        Self { publishers, topics, streams, refused: Mutex::default() }
    }

    /// How many streams there are.
    pub fn stream_count(&self) -> u32 {
        self.streams.len() as u32
    }

    /// The topic of a stream.
    pub fn topic_of(&self, stream: u32) -> u32 {
        stream % self.topics
    }

    /// The streams of a publisher.
    pub fn of_publisher(&self, publisher: u32) -> impl Iterator<Item = u32> + use<> {
        (publisher..self.stream_count()).step_by(self.publishers as usize)
    }

    /// The streams of a topic.
    pub fn of_topic(&self, topic: u32) -> impl Iterator<Item = u32> + use<> {
        (topic..self.stream_count()).step_by(self.topics as usize)
    }

    /// Most streams that one topic has.
    pub fn width(&self) -> u32 {
        self.stream_count().div_ceil(self.topics)
    }

    /// Takes the next number of a stream, before the event is sent anywhere. From then on it may arrive, and a
    /// subscriber whose connection stood before this moment has to get it.
    pub fn begin(&self, stream: u32) -> u32 {
        self.streams[stream as usize].begun.fetch_add(1, Ordering::AcqRel)
    }

    /// The number that a stream's next event will have.
    pub fn begun(&self, stream: u32) -> u32 {
        self.streams[stream as usize].begun.load(Ordering::Acquire)
    }

    /// All events whose publishing has begun.
    pub fn begun_in_all(&self) -> u64 {
        (0..self.stream_count()).map(|stream| u64::from(self.begun(stream))).sum()
    }

    /// Notes an event that was not accepted, or of which nobody knows: it may arrive or not.
    pub fn refuse(&self, stream: u32, number: u32) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert((stream, number));
    }

    /// How many of a stream's numbers in `from..to` were refused.
    pub fn refused_in(&self, stream: u32, from: u32, to: u32) -> u32 {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.range((stream, from)..(stream, to.max(from))).count() as u32
    }

    /// How many events were refused.
    pub fn refused_count(&self) -> u64 {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }
}

/// The name of a topic.
pub fn topic_name(prefix: &str, topic: u32) -> String {
    format!("{prefix}-{topic}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_has_one_publisher_and_one_topic() {
        for (publishers, topics) in [(1, 1), (1, 10), (4, 1), (3, 7), (7, 3), (4, 4)] {
            let board = Board::new(publishers, topics);
            let mut by_publisher: Vec<u32> = (0..publishers).flat_map(|who| board.of_publisher(who)).collect();
            by_publisher.sort_unstable();
            assert_eq!(by_publisher, (0..board.stream_count()).collect::<Vec<_>>());
            let mut by_topic: Vec<u32> = (0..topics).flat_map(|topic| board.of_topic(topic)).collect();
            by_topic.sort_unstable();
            assert_eq!(by_topic, by_publisher);
            for topic in 0..topics {
                assert!(board.of_topic(topic).all(|stream| board.topic_of(stream) == topic));
                assert!(board.of_topic(topic).count() <= board.width() as usize);
            }
        }
    }

    #[test]
    fn refused_events_are_counted_by_range() {
        let board = Board::new(1, 2);
        board.refuse(1, 5);
        board.refuse(1, 6);
        board.refuse(0, 5);
        assert_eq!(board.refused_in(1, 0, 6), 1);
        assert_eq!(board.refused_in(1, 5, 7), 2);
        assert_eq!(board.refused_in(1, 7, 5), 0);
        assert_eq!(board.refused_count(), 3);
    }
}
