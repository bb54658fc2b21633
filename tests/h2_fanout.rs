//! Many event streams on one HTTP/2 connection: what several are sent alike, each is sent whole, once and in order.

mod support;

use support::h2::{INITIAL_WINDOW_SIZE, Peer, WINDOW, window_update};
use support::stage::{Stage, event};

/// What streams subscribe to, over and over.
const TOPICS: [&str; 4] = ["a", "b", "a,b", "c"];

/// Streams of the connection.
const STREAMS: usize = 40;

/// Rounds, of as many events as their number says.
const ROUNDS: usize = 17;

/// The numbers in the data of events, as published below.
fn numbers(text: &str) -> Vec<usize> {
    let marked = text.split("number-").skip(1);
    marked.map(|rest| rest.split('-').next().and_then(|digits| digits.parse().ok()).expect("a whole mark")).collect()
}

/// Publishes round after round, and compares what every stream has got after each.
fn play(initial_window: u32) {
    let stage = Stage::memory();
    let mut peer = Peer::open_with(stage.plasma.http(), &[(INITIAL_WINDOW_SIZE, initial_window)]);
    let streams: Vec<(u32, &str)> =
        (0..STREAMS).map(|index| (1 + 2 * index as u32, TOPICS[index % TOPICS.len()])).collect();
    for (stream, topics) in &streams {
        let path = format!("/?eventType={topics}");
        let fields = [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", &path),
            (":authority", "localhost"),
            ("accept", "text/event-stream"),
        ];
        peer.request(*stream, &fields);
        assert!(!peer.expect_head(*stream).1);
    }
    let (mut published, mut texts) = (Vec::new(), vec![String::new(); STREAMS]);
    for round in 0..ROUNDS {
        let first = published.len();
        published.extend((0..round).map(|nth| ["a", "b", "a", "c", "a"][(round + nth) % 5]));
        let numbered = published.iter().enumerate().skip(first);
        let events: Vec<String> =
            numbered.map(|(number, topic)| event(topic, &format!("\"number-{number}-{}\"", "x".repeat(150)))).collect();
        if !events.is_empty() {
            stage.post_for_ids(format!("[{}]", events.join(",")));
        }
        for ((stream, topics), text) in streams.iter().zip(&mut texts) {
            let is_for = |topic: &str| topics.split(',').any(|of| of == topic);
            let wanted: Vec<usize> =
                published.iter().enumerate().filter(|(_, topic)| is_for(topic)).map(|(number, _)| number).collect();
            while text.matches("-xxx").count() < wanted.len() || !text.ends_with("\n\n") {
                let (bytes, ends) = peer.expect_data(*stream);
                assert!(!ends);
                text.push_str(str::from_utf8(&bytes).expect("an event stream is text"));
                let len = bytes.len() as u32;
                peer.send_all([window_update(*stream, len), window_update(0, len)]);
            }
            assert_eq!(numbers(text), wanted, "stream {stream} of {topics} after round {round}");
        }
    }
}

#[test]
fn streams_of_one_topic_get_the_same_each() {
    play(WINDOW as u32);
}

#[test]
fn streams_whose_windows_shut_in_the_middle_of_it_do_too() {
    play(700);
}
