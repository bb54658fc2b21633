//! Which topics an event reaches, and who wants them.

use std::hint::black_box;

use plasma::base::levels::levels;
use plasma::hub::{Frames, Log, Reader, Subscriber, TopicId, Topics};

use super::events::KIND;
use super::operation::Operation;
use crate::Failure;

/// Topics that somebody wants, besides those of the event.
const TOPIC_COUNT: u32 = 1_000;

/// A log of one small event.
const LOG_LEN: usize = 64 * 1024;

/// What is measured here.
pub fn operations() -> Result<Vec<Operation>, Failure> {
    Ok(vec![expanding(), finding()?, joining()?])
}

/// From an event type to the names of its topics.
fn expanding() -> Operation {
    Operation::new("topics/expand", KIND.len(), || {
        levels(black_box(KIND.as_bytes())).for_each(|len| {
            black_box(len);
        });
    })
}

/// From a record of the log to its topics, as a fan-out looks them up: the log knows their hashes.
fn finding() -> Result<Operation, Failure> {
    let (log, mut writer) = Log::new(LOG_LEN, 1, 1, 1)?;
    let mut topics = crowd(&log);
    join(&log, &mut topics, &[b"program", b"program:1234", b"program:1234:views"]);
    let frames = Frames { sse: b"id", grpc: b"id" };
    writer.append(writer.next_id(1), KIND.as_bytes(), frames).map_err(|_| "an empty log has room")?;
    writer.publish();
    let mut reader = Reader::new(log, 0);
    let seq = reader.take(1).start;
    let record = *reader.record(seq);
    Ok(Operation::new("topics/find", KIND.len(), move || {
        let found = reader.topics(black_box(&record)).filter_map(|(hash, name)| topics.find(hash, name));
        let found: [Option<TopicId>; 3] = collected(found);
        assert!(black_box(&found).iter().all(Option::is_some));
    }))
}

/// A subscriber of three topics comes and goes.
fn joining() -> Result<Operation, Failure> {
    const NAMES: [&[u8]; 3] = [b"program:1234", b"channel:55", b"notifications"];
    let (log, _) = Log::new(LOG_LEN, 1, 1, 1)?;
    let mut topics = crowd(&log);
    let len = NAMES.iter().map(|name| name.len()).sum();
    Ok(Operation::new("topics/join-leave", len, move || {
        let names = black_box(&NAMES).iter().map(|name| (log.hash(name), *name));
        let seat = topics.join(Subscriber(0), names);
        topics.leave(black_box(seat), |_, _| {});
    }))
}

/// Topics with one member each.
fn crowd(log: &Log) -> Topics {
    let mut topics = Topics::default();
    for number in 1..=TOPIC_COUNT {
        let name = format!("crowd:{number}");
        topics.join(Subscriber(number), [(log.hash(name.as_bytes()), name.as_bytes())].into_iter());
    }
    topics
}

fn join(log: &Log, topics: &mut Topics, names: &[&[u8]]) {
    topics.join(Subscriber(0), names.iter().map(|name| (log.hash(name), *name)));
}

/// The first few of them, without an allocation.
fn collected<const N: usize>(mut from: impl Iterator<Item = TopicId>) -> [Option<TopicId>; N] {
    std::array::from_fn(|_| from.next())
}
