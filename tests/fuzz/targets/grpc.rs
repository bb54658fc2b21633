//! What a gRPC client sends: messages at any cut, any bytes as a message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plasma::wire::grpc::proto::plasma::Request;
use plasma::wire::grpc::proto::publish::PublishRequest;
use plasma::wire::grpc::proto::reflection::ServerReflectionRequest;
use plasma::wire::grpc::{self, Deframer, Fault, reflection};
use prost::Message;

/// Longest message that is taken: what a byte of length can say is both below and above it.
const MESSAGE_MAX: usize = 200;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| run(&input.0, &input.1));

/// Cuts `stream` into pieces whose lengths `cuts` lists, and once more not at all: that must not matter.
fn run(stream: &[u8], cuts: &[u8]) {
    let mut pieces = Vec::new();
    let mut rest = stream;
    for cut in cuts {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(*cut)));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    let found = deframe(&pieces);
    assert_eq!(found, deframe(&[stream]));
    for message in found.0 {
        decode(&message);
    }
    decode(stream);
}

/// The messages of a stream, and how it ends: whether between messages.
fn deframe(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Result<bool, Fault>) {
    let (mut deframer, mut messages) = (Deframer::default(), Vec::new());
    for mut piece in pieces.iter().copied() {
        loop {
            match deframer.next(&mut piece, MESSAGE_MAX) {
                Ok(Some(message)) => messages.push(message.into_owned()),
                Ok(None) => break,
                Err(fault) => return (messages, Err(fault)),
            }
        }
        assert!(piece.is_empty() && deframer.held_len() <= 2 * (MESSAGE_MAX + grpc::PREFIX_LEN));
    }
    (messages, Ok(deframer.is_between_messages()))
}

/// Whatever can be read is written and read again as the same.
fn decode(bytes: &[u8]) {
    again::<Request>(bytes);
    again::<PublishRequest>(bytes);
    if let Ok(request) = ServerReflectionRequest::decode(bytes) {
        let response = reflection::answer(request);
        assert!(response.message_response.is_some() && response.encoded_len() < 64 * 1024);
    }
}

fn again<M: Message + Default + PartialEq>(bytes: &[u8]) {
    let Ok(message) = M::decode(bytes) else { return };
    let mut framed = Vec::new();
    grpc::message(&message, &mut framed);
    assert_eq!(framed.len(), grpc::PREFIX_LEN + message.encoded_len());
    assert!(M::decode(&framed[grpc::PREFIX_LEN..]).is_ok_and(|read| read == message));
}
