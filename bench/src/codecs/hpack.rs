//! Header compression: requests of clients in, heads of our answers out.

use std::hint::black_box;

use plasma::dialect::plasma::stream_fields;
use plasma::wire::h2::hpack::{Decoder, Fields, encode};
use plasma::wire::h2::write_stream_head;
use plasma::wire::http1::http_date;

use super::h2::LIST_LEN_MAX;
use super::http1::SECOND;
use super::operation::Operation;
use super::vectors::{CHROME_OPENING, GRPCIO_OPENING, block};
use crate::fanout::plasma::policy;

/// What is measured here.
pub fn operations() -> Vec<Operation> {
    let date = http_date(SECOND);
    let mut stream = Vec::new();
    write_stream(&date, &mut stream);
    let mut call = Vec::new();
    write_call(&mut call);
    vec![
        decoding("hpack/decode-chrome", block(CHROME_OPENING)),
        decoding("hpack/decode-grpcio", block(GRPCIO_OPENING)),
        Operation::new("hpack/encode-stream", stream.len(), move || write_stream(&date, &mut stream)),
        Operation::new("hpack/encode-call", call.len(), move || write_call(&mut call)),
    ]
}

/// The first block of a connection; it may fill a table that goes with the connection.
fn decoding(name: &'static str, block: &'static [u8]) -> Operation {
    let mut fields = Fields::default();
    Operation::new(name, block.len(), move || {
        let mut decoder = Decoder::new();
        decoder.decode(black_box(block), LIST_LEN_MAX, &mut fields).expect("clients write good blocks");
        black_box((&decoder, &fields));
    })
}

/// The head of an event stream.
fn write_stream(date: &[u8; 29], out: &mut Vec<u8>) {
    out.clear();
    let policy = policy();
    let fields = stream_fields(&policy);
    write_stream_head(fields.iter().map(|(name, value)| (*name, &**value)), black_box(date), out);
    black_box(out);
}

/// The head of the answer to a call.
fn write_call(out: &mut Vec<u8>) {
    out.clear();
    encode::status(200, out);
    encode::field(b"content-type", black_box(b"application/grpc"), out);
    black_box(out);
}
