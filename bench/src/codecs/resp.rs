//! Redis: a message of a subscribed channel, which holds an event.

use std::hint::black_box;

use plasma::wire::resp::{Decoder, Limits, Word, command};

use super::events::published;
use super::operation::Operation;

const LIMITS: Limits = Limits { bulk_max: 1 << 20, reply_max: (1 << 20) + 4096 };

/// What is measured here.
pub fn operations() -> Vec<Operation> {
    let message = message(150);
    let (len, cut) = (message.len(), message.len() / 2);
    let again = message.clone();
    let (mut whole_decoder, mut cut_decoder) = (Decoder::new(LIMITS), Decoder::new(LIMITS));
    vec![
        Operation::new("resp/message", len, move || feed(&mut whole_decoder, &[&message])),
        Operation::new("resp/message-cut", len, move || feed(&mut cut_decoder, &[&again[..cut], &again[cut..]])),
        publishing(150),
    ]
}

/// A message as RESP2 pushes it: an array of three strings, laid out like a command.
fn message(event_len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    command(&mut out, &[b"message", b"plasma", &published(event_len)]);
    out
}

/// One reply in so many parts.
fn feed(decoder: &mut Decoder, parts: &[&[u8]]) {
    let mut count = 0;
    for part in parts {
        let fed = decoder.feed(black_box(part), |word| {
            assert!(matches!(black_box(&word), Word::Reply(_)));
            count += 1;
        });
        fed.expect("Redis writes good replies");
    }
    assert_eq!(count, 1, "replies in a message");
}

/// The command that publishes an event.
fn publishing(event_len: usize) -> Operation {
    let event = published(event_len);
    let mut out = Vec::new();
    command(&mut out, &[b"PUBLISH", b"plasma", &event]);
    Operation::new("resp/publish", out.len(), move || {
        out.clear();
        command(&mut out, &[b"PUBLISH", b"plasma", black_box(&event)]);
        black_box(&out);
    })
}
