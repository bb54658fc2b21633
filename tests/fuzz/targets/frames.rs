//! What an HTTP/2 client sends: any frames, cut anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plasma::wire::h2::frame::{HEAD_LEN, Head, Kind, PAYLOAD_LEN_MAX};
use plasma::wire::h2::hpack::Fields;
use plasma::wire::h2::{Bounds, Event, PREFACE, Session, head_of};

const BOUNDS: Bounds = Bounds { streams_max: 4, ping_every: 10 };

fuzz_target!(|input: (bool, Vec<u8>, Vec<u8>)| run(input.0, &input.1, &input.2));

/// Cuts a connection's bytes into pieces whose lengths `cuts` lists, and once more not at all: that must not matter.
fn run(greeted: bool, frames: &[u8], cuts: &[u8]) {
    let mut stream = Vec::new();
    if greeted {
        stream.extend_from_slice(PREFACE);
        stream.extend_from_slice(&Head { len: 0, kind: Kind::Settings, flags: 0, stream: 0 }.to_bytes());
    }
    stream.extend_from_slice(frames);
    let (mut pieces, mut rest) = (Vec::new(), &stream[..]);
    for cut in cuts {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(*cut)));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    assert_eq!(serve(&pieces), serve(&[&stream]));
}

/// A server that answers whatever it can and reads every body: what it heard, and what it said.
fn serve(pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let (mut session, mut fields) = (Session::new(&BOUNDS, 0), Fields::default());
    let (mut heard, mut said, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    let mut ids = Vec::new();
    for piece in pieces {
        kept.extend_from_slice(piece);
        let bytes = std::mem::take(&mut kept);
        let mut input = &bytes[..];
        while let Some(event) = session.next(&mut input, &mut fields, &BOUNDS, 0) {
            heard.push(format!("{event:?}"));
            match event {
                Event::Request { id, ends } => answer(&mut session, id, ends, &fields, &mut ids),
                Event::Data { key, bytes, ends } => {
                    let id = ids[key as usize];
                    session.give_credit(id, bytes.len());
                    if ends {
                        session.write_data(id, b"done", true);
                    }
                }
                Event::Ended { key } => drop(session.write_data(ids[key as usize], b"trailers", true)),
                Event::Reset { .. } | Event::Opened { .. } | Event::Settled | Event::Leaving => {}
                Event::Failed(_) => assert!(session.is_over()),
            }
            assert!(session.stream_count() <= BOUNDS.streams_max as usize);
            said.extend(session.take_output());
        }
        // Never more than a frame is kept.
        assert!(input.len() < HEAD_LEN + PAYLOAD_LEN_MAX);
        kept = input.to_vec();
    }
    said.extend(session.take_output());
    check(&said);
    (heard, said)
}

fn answer(session: &mut Session, id: u32, ends: bool, fields: &Fields, ids: &mut Vec<u32>) {
    session.adopt(id, ids.len() as u32);
    ids.push(id);
    if let Ok((_, Some(len))) = head_of(fields) {
        session.expect_body(id, len, ends);
    }
    session.write_fields(id, false, |out| out.push(0x88));
    let sent = session.write_data(id, b"hello", ends);
    assert!(sent <= 5);
}

/// What a server says is whole frames, and nothing follows a GOAWAY that ends it all.
fn check(mut said: &[u8]) {
    while let Some(head) = Head::parse(said) {
        assert!(head.len <= PAYLOAD_LEN_MAX && said.len() >= HEAD_LEN + head.len);
        assert!(!matches!(head.kind, Kind::Unknown(_) | Kind::PushPromise | Kind::Priority | Kind::Continuation));
        said = &said[HEAD_LEN + head.len..];
    }
    assert!(said.is_empty());
}
