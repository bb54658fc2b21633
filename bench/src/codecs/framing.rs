//! One event on its way into the log: framed for each wire, then appended and taken in by a reader.

use std::hint::black_box;

use plasma::base::id::EventId;
use plasma::dialect::plasma::{frame, message};
use plasma::hub::{Frames, Log, Reader, Writer};

use super::events::{KIND, data_of};
use super::operation::Operation;
use crate::Failure;

/// Bytes of each format that the log keeps: enough for its oldest part to have left the nearest caches.
const LOG_LEN: usize = 4 << 20;

/// A millisecond of this century.
const MILLIS: u64 = 1_770_000_000_000;

/// What is measured here.
pub fn operations() -> Result<Vec<Operation>, Failure> {
    Ok(vec![
        framing("framing/sse-150", 150, write_frame),
        framing("framing/sse-4k", 4096, write_frame),
        framing("framing/grpc-150", 150, write_message),
        framing("framing/grpc-4k", 4096, write_message),
        logging("framing/log-150", 150)?,
    ])
}

fn framing(name: &'static str, len: usize, write: fn(&str, &mut Vec<u8>)) -> Operation {
    let (data, mut out) = (data_of(len), Vec::new());
    Operation::new(name, len, move || {
        out.clear();
        write(black_box(&data), &mut out);
        black_box(&out);
    })
}

fn write_frame(data: &str, out: &mut Vec<u8>) {
    frame(KIND, Some(data), EventId::first_at(MILLIS), out);
}

fn write_message(data: &str, out: &mut Vec<u8>) {
    message(KIND, Some(data), out);
}

/// Appends an event that is framed already and shows it to the only reader, which keeps nothing from the writer.
fn logging(name: &'static str, len: usize) -> Result<Operation, Failure> {
    let (log, mut writer) = Log::new(LOG_LEN, 1, MILLIS, 1)?;
    let mut reader = Reader::new(log, 0);
    let (mut sse, mut grpc, data) = (Vec::new(), Vec::new(), data_of(len));
    write_frame(&data, &mut sse);
    write_message(&data, &mut grpc);
    Ok(Operation::new(name, sse.len() + grpc.len(), move || {
        let frames = Frames { sse: black_box(&sse), grpc: black_box(&grpc) };
        append(&mut writer, &mut reader, frames);
    }))
}

fn append(writer: &mut Writer, reader: &mut Reader, frames: Frames<'_>) {
    let id = writer.next_id(MILLIS);
    while writer.append(id, KIND.as_bytes(), frames).is_err() {
        let tail = reader.leaving().expect("a log without room asks its readers to leave");
        reader.leave(tail, tail);
    }
    writer.publish();
    black_box(&reader.take(1));
}
