//! HTTP/2: a new connection up to its first request.

use std::hint::black_box;

use plasma::wire::grpc::Deframer;
use plasma::wire::h2::hpack::{Decoder, Fields};
use plasma::wire::h2::{Bounds, Event, Session, head_of};

use super::operation::Operation;
use super::vectors::{CHROME_OPENING, GRPCIO_OPENING, block, data};

const BOUNDS: Bounds = Bounds { streams_max: 100, ping_every: 3_000 };

/// Longest list of fields; far more than any here.
pub const LIST_LEN_MAX: usize = 16 * 1024;

/// What is measured here.
pub fn operations() -> Vec<Operation> {
    let (mut chrome, mut grpcio) = (Fields::default(), Fields::default());
    let request = data(GRPCIO_OPENING);
    let mut fields = Fields::default();
    Decoder::new().decode(block(CHROME_OPENING), LIST_LEN_MAX, &mut fields).expect("Chromium writes good blocks");
    vec![
        Operation::new("h2/opening-chrome", CHROME_OPENING.len(), move || open(CHROME_OPENING, &mut chrome, 1)),
        Operation::new("h2/opening-grpcio", GRPCIO_OPENING.len(), move || open(GRPCIO_OPENING, &mut grpcio, 2)),
        Operation::new("h2/head-chrome", fields.list_len(), move || {
            black_box(&head_of(black_box(&fields)).expect("Chromium asks properly"));
        }),
        Operation::new("h2/grpc-message", request.len(), move || deframe(request)),
    ]
}

/// Everything that a client says first, on a connection of its own: `meant` events come of it.
fn open(mut opening: &[u8], fields: &mut Fields, meant: u32) {
    let mut session = Session::new(&BOUNDS, 0);
    let mut count = 0;
    while let Some(event) = session.next(&mut opening, fields, &BOUNDS, 0) {
        match black_box(event) {
            Event::Request { id, .. } => session.adopt(id, 0),
            Event::Data { .. } => {}
            Event::Settled | Event::Opened { .. } => continue,
            other => panic!("an opening does not mean {other:?}"),
        }
        count += 1;
    }
    assert_eq!(count, meant, "requests and messages of an opening");
    black_box(&session.take_output());
}

/// The message of a gRPC request, which lies in one piece.
fn deframe(mut bytes: &[u8]) {
    let mut deframer = Deframer::default();
    let message = deframer.next(&mut bytes, LIST_LEN_MAX).expect("the prefix is good").expect("it is whole");
    black_box(&message);
}
