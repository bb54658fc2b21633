//! gRPC streams as `fanout` needs them: a client without a library, and a server written with tonic.
//!
//! The client says the same to every server: the preface, large windows, and one call of `proto.StreamService/Events`
//! per stream, all in one piece. What comes back is counted by frame heads and otherwise thrown away.

mod connection;
pub mod footprint;
mod reader;
pub mod served;
mod stream_service;
mod tonic_server;

use plasma::wire::grpc::proto::plasma::{EventType, Payload, Request};
use plasma::wire::{grpc, h2};

pub use connection::Connection;
pub use reader::Reader;
pub use stream_service::StreamService;
pub use tonic_server::TonicServer;

/// What all streams subscribe to.
pub const TOPIC: &str = "t00000";

/// Bytes of a message, its prefix included.
pub const MESSAGE_LEN: usize = 150;

/// The largest window there is: what we take in is counted and gone.
const WINDOW: u32 = (1 << 31) - 1;

/// What a client says on a new connection to have `streams` streams of `topic`.
pub fn request(streams: u32, topic: &str) -> Vec<u8> {
    use h2::frame::{END_HEADERS, Kind, setting, write, write_settings, write_window_update};

    let mut out = h2::PREFACE.to_vec();
    write_settings(&[(setting::ENABLE_PUSH, 0), (setting::INITIAL_WINDOW_SIZE, WINDOW)], &mut out);
    // Connections begin with 65,535 (RFC 9113 §6.9.2).
    write_window_update(0, WINDOW - 65_535, &mut out);
    let events = vec![EventType { r#type: topic.to_owned() }];
    let mut message = Vec::new();
    grpc::message(&Request { events, force_close: false }, &mut message);
    for index in 0..streams {
        let stream = 2 * index + 1;
        write(Kind::Headers, END_HEADERS, stream, &fields(), &mut out);
        write(Kind::Data, 0, stream, &message, &mut out);
    }
    out
}

/// The head of a call, without Huffman coding and without a table (RFC 7541 §6.2.2): names by their index where the
/// static table has them.
fn fields() -> Vec<u8> {
    // :method POST, :scheme http
    let mut block = vec![0x83, 0x86];
    let mut literal = |name: &[u8], value: &str| {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).expect("the values below are short"));
        block.extend_from_slice(value.as_bytes());
    };
    literal(&[0x04], "/proto.StreamService/Events");
    literal(&[0x01], "bench");
    literal(&[0x0f, 31 - 15], "application/grpc");
    literal(b"\0\x02te", "trailers");
    block
}

/// An event as it is sent: with the data that makes its message [`MESSAGE_LEN`] bytes long.
pub fn payload() -> Payload {
    let mut payload = Payload {
        event_type: Some(EventType { r#type: TOPIC.to_owned() }),
        data: "\"\"".to_owned(),
        id: String::new(),
    };
    while message_len(&payload) < MESSAGE_LEN {
        payload.data.insert(1, 'x');
    }
    payload
}

fn message_len(payload: &Payload) -> usize {
    let mut message = Vec::new();
    grpc::message(payload, &mut message);
    message.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_makes_a_message_of_the_wanted_length() {
        let payload = payload();
        assert_eq!(message_len(&payload), MESSAGE_LEN);
        assert!(payload.data.starts_with("\"x") && payload.data.ends_with("x\""));
    }

    #[test]
    fn a_request_is_frames_to_its_end() {
        let request = request(3, TOPIC);
        let mut rest = request.strip_prefix(h2::PREFACE).expect("it begins with the preface");
        let mut streams = Vec::new();
        while let Some(head) = h2::frame::Head::parse(rest) {
            streams.push(head.stream);
            rest = &rest[h2::frame::HEAD_LEN + head.len..];
        }
        assert!(rest.is_empty());
        assert_eq!(streams, [0, 0, 1, 1, 3, 3, 5, 5]);
    }
}
