use std::thread;

use super::*;

const START: u64 = 1_790_000_000_000;

fn log_of(len: usize, shards: usize) -> (Arc<Log>, Writer, Vec<Reader>) {
    let (log, writer) = Log::new(len, shards, START, 7).expect("memory for a small log");
    let readers = (0..shards).map(|shard| Reader::new(Arc::clone(&log), shard)).collect();
    (log, writer, readers)
}

fn append(writer: &mut Writer, name: &str, frame: &[u8]) -> Result<EventId, Full> {
    append_as(writer, name, Frames { sse: frame, grpc: frame })
}

fn append_as(writer: &mut Writer, name: &str, frames: Frames<'_>) -> Result<EventId, Full> {
    let id = writer.next_id(START);
    writer.append(id, name.as_bytes(), frames).map(|()| id)
}

/// The frame in both formats, if they are the same.
fn frame_of(reader: &Reader, seq: Seq) -> &[u8] {
    let [sse, grpc] = Format::ALL.map(|format| reader.frame(seq, format));
    assert_eq!(sse, grpc);
    sse
}

fn chain<'a>(log: &Log, name: &'a str) -> Chain<'a> {
    Chain::Topic { hash: log.hash(name.as_bytes()), name: name.as_bytes() }
}

/// The records of a topic from `from` on, by walking its chain.
fn walk(reader: &Reader, name: &str, from: u64) -> Vec<u64> {
    let mut found = Vec::new();
    let mut next = reader.first_of(chain(reader.log(), name), None, Seq(from));
    while let Some((seq, link)) = next {
        found.push(seq.0);
        next = reader.following(link);
    }
    found
}

#[test]
fn consecutive_events_are_consecutive_bytes() {
    let (_, mut writer, mut readers) = log_of(16 * 1024, 1);
    for frame in [&b"one"[..], b"two2", b"three"] {
        append(&mut writer, "t", frame).expect("there is room");
    }
    assert!(!readers[0].has_news(), "nothing is seen before it is published");
    writer.publish();
    assert_eq!(readers[0].take(10), Seq(0)..Seq(3));
    for format in Format::ALL {
        let span = |seq| readers[0].span(readers[0].record(Seq(seq)), format);
        let spans: Vec<Span> = (0..3).map(span).collect();
        assert!(spans.windows(2).all(|pair| pair[0].at + u64::from(pair[0].len) == pair[1].at));
    }
    assert_eq!(frame_of(&readers[0], Seq(1)), b"two2");
}

#[test]
fn each_format_has_bytes_of_its_own() {
    let (log, mut writer, mut readers) = log_of(16 * 1024, 1);
    for (sse, grpc) in [(&b"a long block"[..], &b"short"[..]), (b"", b"message")] {
        append_as(&mut writer, "t", Frames { sse, grpc }).expect("there is room");
    }
    writer.append_notice(Frames { sse: b"notice", grpc: b"a notice" }).expect("there is room");
    writer.publish();
    let reader = &mut readers[0];
    reader.take(10);
    let frames = |format| (0..3).map(|seq| reader.frame(Seq(seq), format)).collect::<Vec<_>>();
    assert_eq!(frames(Format::Sse), [&b"a long block"[..], b"", b"notice"]);
    assert_eq!(frames(Format::Grpc), [&b"short"[..], b"message", b"a notice"]);
    let last = reader.record(Seq(2));
    let (span, len) = (reader.span(last, Format::Grpc), last.frame_len(Format::Grpc));
    assert_eq!((span.at, span.len, len), (12, 8, 8));
    assert_eq!(reader.copy(Format::Grpc, span.at + 2, 6), "notice");
    assert!(!Arc::ptr_eq(log.region(Format::Sse), log.region(Format::Grpc)));
}

#[test]
fn whichever_format_fills_first_makes_the_writer_wait() {
    for large in Format::ALL {
        let (_, mut writer, mut readers) = log_of(16 * 1024, 1);
        let (kilo, tiny) = ([b'x'; 1000], [b'y'; 10]);
        let frames = match large {
            Format::Sse => Frames { sse: &kilo, grpc: &tiny },
            Format::Grpc => Frames { sse: &tiny, grpc: &kilo },
        };
        let mut written = 0;
        while append_as(&mut writer, "t", frames).is_ok() {
            writer.publish();
            written += 1;
            assert!(written < 100, "the reader never takes leave");
        }
        assert!((14..=16).contains(&written), "{written} frames of 1000 bytes fill 16 KiB");
        readers[0].take(100);
        let tail = readers[0].leaving().expect("the writer asks for room");
        readers[0].leave(tail, tail);
        append_as(&mut writer, "t", frames).expect("room again");
    }
}

#[test]
fn each_level_of_a_topic_has_its_chain() {
    let (_, mut writer, mut readers) = log_of(16 * 1024, 1);
    for name in ["a", "a:b", "b", "a:b:c", "a:x", "/a/b", "/a"] {
        append(&mut writer, name, b"frame").expect("there is room");
    }
    writer.publish();
    readers[0].take(10);
    assert_eq!(walk(&readers[0], "a", 0), [0, 1, 3, 4]);
    assert_eq!(walk(&readers[0], "a:b", 0), [1, 3]);
    assert_eq!(walk(&readers[0], "a:b", 2), [3]);
    assert_eq!(walk(&readers[0], "/a", 0), [5, 6]);
    assert_eq!(walk(&readers[0], "none", 0), [] as [u64; 0]);
}

#[test]
fn what_was_not_taken_in_is_not_found_yet() {
    let (_, mut writer, mut readers) = log_of(16 * 1024, 1);
    for _ in 0..5 {
        append(&mut writer, "t", b"frame").expect("there is room");
    }
    writer.publish();
    assert_eq!(readers[0].take(3), Seq(0)..Seq(3));
    assert_eq!(walk(&readers[0], "t", 0), [0, 1, 2]);
    assert_eq!(readers[0].take(9), Seq(3)..Seq(5));
    assert_eq!(walk(&readers[0], "t", 2), [2, 3, 4]);
}

#[test]
fn ids_lead_to_their_place_or_say_why_not() {
    let (_, mut writer, mut readers) = log_of(16 * 1024, 1);
    let first = append(&mut writer, "t", b"frame").expect("there is room");
    let second = append(&mut writer, "t", b"frame").expect("there is room");
    writer.append_notice(Frames { sse: b"notice", grpc: b"notice" }).expect("there is room");
    let third = append(&mut writer, "t", b"frame").expect("there is room");
    writer.publish();
    let reader = &mut readers[0];
    reader.take(10);
    assert_eq!(reader.locate(first), Place::Before(Seq(1)));
    assert_eq!(reader.locate(second), Place::Before(Seq(2)), "the notice comes after the event it shares the id with");
    assert_eq!(reader.locate(third), Place::Before(Seq(4)));
    assert_eq!(reader.locate(EventId::first_at(START - 5)), Place::Expired);
    assert_eq!(reader.locate(EventId::first_at(START + 5)), Place::Unknown);
    writer.give_up(2);
    let tail = reader.leaving().expect("the tail was raised");
    reader.leave(tail, tail);
    assert_eq!(reader.locate(first), Place::Expired);
    assert_eq!(reader.locate(second), Place::Before(Seq(2)), "nothing was lost after the last one given up");
    assert_eq!(reader.locate(third), Place::Before(Seq(4)));
    writer.give_up(1);
    let tail = reader.leaving().expect("the tail was raised");
    reader.leave(tail, tail);
    assert_eq!(reader.locate(second), Place::Expired, "the notice was lost, though no event was");
    assert_eq!(reader.locate(third), Place::Before(Seq(4)));
}

#[test]
fn chains_hold_until_every_shard_has_taken_leave() {
    let (log, mut writer, mut readers) = log_of(16 * 1024, 1);
    let reader = &mut readers[0];
    for _ in 0..2 {
        append(&mut writer, "t", b"frame").expect("there is room");
    }
    writer.publish();
    reader.take(10);
    let (_, hint) = reader.first_of(chain(&log, "t"), None, Seq(1)).expect("it was seen");
    writer.give_up(2);
    append(&mut writer, "t", b"frame").expect("there is room");
    writer.publish();
    reader.take(10);
    assert_eq!(walk(reader, "t", 0), [0, 1, 2], "nobody has taken leave");
    let found = reader.first_of(chain(&log, "t"), Some(hint), Seq(2));
    assert_eq!(found.map(|(seq, _)| seq), Some(Seq(2)), "an old hint leads on");
}

#[test]
fn the_writer_waits_for_the_slowest_shard_and_for_nobody_else() {
    let (_, mut writer, mut readers) = log_of(16 * 1024, 2);
    let frame = [b'x'; 1000];
    let mut written = 0;
    while append(&mut writer, "t", &frame).is_ok() {
        writer.publish();
        written += 1;
        readers[0].take(10);
        if let Some(tail) = readers[0].leaving() {
            readers[0].leave(tail, tail);
        }
        assert!(written < 100, "the second shard never takes leave");
    }
    assert!((14..=16).contains(&written), "{written} frames of 1000 bytes fill 16 KiB");
    readers[1].take(100);
    let tail = readers[1].leaving().expect("the writer asks for room");
    readers[1].leave(tail, Seq(0));
    assert_eq!(append(&mut writer, "t", &frame), Err(Full), "a pin holds its part");
    readers[1].leave(tail, tail);
    append(&mut writer, "t", &frame).expect("room again");
}

#[test]
fn an_event_as_long_as_the_log_still_fits() {
    let (_, mut writer, mut readers) = log_of(16 * 1024, 1);
    let reader = &mut readers[0];
    for round in 0..50u64 {
        let len = [8, 15, 9, 16][round as usize % 4] * 1024;
        while append(&mut writer, "t", &vec![round as u8; len]).is_err() {
            let tail = reader.leaving().expect("the writer asks for room");
            reader.leave(tail, tail);
        }
        writer.publish();
        reader.take(10);
        assert!(frame_of(reader, Seq(round)).iter().all(|&byte| byte == round as u8));
    }
}

/// Against a plain list: many topics, many turns of every ring, one reader that lags at random.
#[test]
fn chains_agree_with_a_plain_list_over_many_turns_of_the_ring() {
    let mut random = 42u64;
    let mut dice = |sides: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % sides
    };
    let (_, mut writer, mut readers) = log_of(16 * 1024, 1);
    let reader = &mut readers[0];
    let mut events: Vec<String> = Vec::new();
    for _ in 0..20_000 {
        let name = format!("t{}:{}", dice(6), dice(40));
        match append(&mut writer, &name, &vec![events.len() as u8; 1 + dice(300) as usize]) {
            Ok(_) => events.push(name),
            Err(Full) => {
                reader.take(1_000);
                let tail = reader.leaving().expect("a full log asks for room");
                reader.leave(tail, tail);
            }
        }
        writer.publish();
        if dice(10) == 0 {
            reader.take(dice(50));
        }
        if dice(20) == 0 && reader.tail() < reader.seen() {
            let (tail, seen) = (reader.tail().0, reader.seen().0);
            let from = tail + dice(seen - tail);
            let topic = if dice(2) == 0 { format!("t{}", dice(6)) } else { format!("t{}:{}", dice(6), dice(40)) };
            let inside = |name: &String| *name == topic || name.starts_with(&format!("{topic}:"));
            let want: Vec<u64> = (from..seen).filter(|&seq| inside(&events[seq as usize])).collect();
            assert_eq!(walk(reader, &topic, from), want);
            assert!(frame_of(reader, Seq(from)).iter().all(|&byte| byte == from as u8));
        }
    }
    assert!(events.len() > 10_000, "most events found room: {}", events.len());
}

/// What a reader on another thread sees is whole, in order and complete, however often the rings turn.
#[test]
fn readers_on_other_threads_see_every_event_whole_and_in_order() {
    const EVENTS: u64 = 200_000;
    let (_, mut writer, readers) = log_of(64 * 1024, 3);
    let threads: Vec<_> = readers
        .into_iter()
        .map(|mut reader| {
            thread::spawn(move || {
                let mut next = 0;
                while next < EVENTS {
                    for seq in reader.take(64).map_seq() {
                        let frame = frame_of(&reader, seq);
                        assert!(frame.iter().all(|&byte| byte == seq.0 as u8), "frame {seq:?} is whole");
                        let record = *reader.record(seq);
                        let (hash, name) = reader.topics(&record).next().expect("one level");
                        assert_eq!(hash, reader.log().hash(name));
                        let found = reader.first_of(Chain::Topic { hash, name }, None, seq);
                        assert_eq!(found.map(|(first, _)| first), Some(seq));
                        next = seq.0 + 1;
                    }
                    if let Some(tail) = reader.leaving() {
                        reader.leave(tail, tail);
                    }
                    thread::yield_now();
                }
            })
        })
        .collect();
    for event in 0..EVENTS {
        let name = format!("topic{}", event % 97);
        let frame = vec![event as u8; 1 + (event % 200) as usize];
        while append(&mut writer, &name, &frame).is_err() {
            thread::yield_now();
        }
        writer.publish();
    }
    for thread in threads {
        thread.join().expect("no reader saw anything wrong");
    }
}

trait MapSeq {
    fn map_seq(self) -> impl Iterator<Item = Seq>;
}

impl MapSeq for std::ops::Range<Seq> {
    fn map_seq(self) -> impl Iterator<Item = Seq> {
        (self.start.0..self.end.0).map(Seq)
    }
}
