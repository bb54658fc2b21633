//! DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, PING and GOAWAY (§6.1 to §6.4, §6.6 to §6.8).

use super::{EVENT, HC, PUBLISH, ROOT, SUBSCRIBE, Server, Session, open, open_ours, open_with};
use crate::support::h2::{
    self, ACK, Code, Event, Frame, GOAWAY, INITIAL_WINDOW_SIZE, PADDED, PING, PRIORITY, Peer, RST_STREAM, Verdict,
    WITH_PRIORITY, data, goaway, headers, ping, push_promise, reset,
};
use crate::support::stage::event;

/// What a frame may be answered with that is too short for what its flags announce: too small for §4.2, or padded
/// beyond its end for §6.1 and §6.2.
const TOO_SHORT: &[Code] = &[Code::FrameSizeError, Code::ProtocolError];

#[test]
fn rfc9113_6_1_data_on_stream_0_is_a_connection_error() {
    open().send(data(0, *b"test").end_stream()).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_6_1_data_on_a_stream_that_is_neither_open_nor_half_closed_is_a_stream_error() {
    let mut session = open();
    session.serves(1).send(data(1, *b"test")).expect_reset_and_goaway(1, Code::StreamClosed);
}

#[test]
fn rfc9113_6_1_padding_as_long_as_the_payload_is_a_connection_error() {
    for (payload, what) in [(vec![6, b'x', 0, 0, 0, 0], "as long"), (vec![0xFF, b'x', 0, 0], "longer")] {
        let mut session = open();
        session.begin(1, PUBLISH).send(Frame::new(h2::DATA, PADDED, 1, payload));
        let last = session.expect_goaway(Code::ProtocolError);
        assert!(last <= 1, "{what}");
    }
}

#[test]
fn rfc9113_6_1_padding_may_be_all_there_is() {
    let mut session = open();
    session.begin(1, PUBLISH).send_all([data(1, []).padded(5), data(1, EVENT), data(1, []).padded(0)]);
    session.send(data(1, []).padded(255).end_stream()).expect_status(1, 202);
}

#[test]
fn rfc9113_6_1_a_padded_frame_without_a_length_is_an_error() {
    let mut session = open();
    session.begin(1, PUBLISH).send(Frame::new(h2::DATA, PADDED, 1, []));
    session.expect_error_of(1, TOO_SHORT);
}

#[test]
fn rfc9113_6_1_padding_is_no_part_of_a_body() {
    let Some(mut session) = open_ours() else { return };
    let stage = session.server.stage();
    let mut stream = stage.subscribe("eventType=padded");
    let body = event("padded", "\"whole\"");
    let (start, end) = body.split_at(10);
    session.begin(1, PUBLISH).send_all([data(1, start).padded(7), data(1, end).padded(255).end_stream()]);
    session.expect_status(1, 202);
    assert_eq!(stream.next_event().payload(), "whole");
}

#[test]
fn rfc9113_6_1_padding_counts_for_flow_control() {
    let mut session = open();
    // One octet in each frame is body, 256 are padding: what is not given back for them is missing soon.
    let (mut window, mut of_stream) = (h2::WINDOW, session.setting(INITIAL_WINDOW_SIZE).unwrap_or(65_535) as usize);
    session.begin(1, PUBLISH);
    let spaces = " ".repeat(400);
    for octet in spaces.bytes() {
        while window < 257 {
            window += session.expect_window_update(0) as usize;
        }
        while of_stream < 257 {
            of_stream += session.expect_window_update(1) as usize;
        }
        (window, of_stream) = (window - 257, of_stream - 257);
        session.send(data(1, [octet]).padded(255));
    }
    session.send(data(1, EVENT).end_stream()).expect_status(1, 202);
}

#[test]
fn rfc9113_6_1_empty_data_may_end_a_stream() {
    let mut session = open();
    session.begin(1, ROOT).send(data(1, []).end_stream()).expect_root(1);
}

#[test]
fn rfc9113_6_1_empty_data_in_between_is_nothing() {
    let mut session = open();
    session.begin(1, PUBLISH).send_all([data(1, []), data(1, &EVENT[..3]), data(1, []), data(1, &EVENT[3..])]);
    session.send(data(1, []).end_stream()).expect_status(1, 202);
}

#[test]
fn rfc9113_6_1_a_body_may_come_octet_by_octet() {
    let mut session = open();
    session.begin(1, PUBLISH).send_all(EVENT.bytes().map(|octet| data(1, [octet])));
    session.send(data(1, []).end_stream()).expect_status(1, 202);
}

#[test]
fn rfc9113_6_2_headers_on_stream_0_are_a_connection_error() {
    open().request(0, ROOT).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_6_2_padding_longer_than_the_payload_is_a_connection_error() {
    for over in [0, 1, 100] {
        let mut session = open();
        let mut frame = session.head(1, ROOT).end_stream().flag(PADDED);
        let len = frame.payload.len() as u8;
        frame.payload.insert(0, len + 1 + over);
        session.send(frame).expect_goaway(Code::ProtocolError);
    }
}

#[test]
fn rfc9113_6_2_padding_and_priority_are_no_part_of_the_block() {
    let mut session = open();
    for (stream, padding) in [(1, 0), (3, 1), (5, 255)] {
        let block = session.block(ROOT);
        let frame = headers(stream, block).depending(0, 15).padded(padding);
        session.send(frame.end_headers().end_stream()).expect_root(stream);
    }
    let block = session.block(HC);
    session.send(headers(7, block).padded(9).end_headers().end_stream()).expect_status(7, 200);
}

#[test]
fn rfc9113_6_2_headers_too_short_for_their_flags_are_a_connection_error() {
    let server = Server::start();
    for (flags, payload) in
        [(PADDED, &[][..]), (WITH_PRIORITY, &[0, 0, 0, 0]), (PADDED | WITH_PRIORITY, &[1, 0, 0, 0, 0])]
    {
        let mut peer = Peer::open(server.address);
        peer.send(Frame::new(h2::HEADERS, flags, 1, payload).end_headers().end_stream()).expect_goaway_of(TOO_SHORT);
    }
}

#[test]
fn rfc9113_6_2_padding_that_reaches_into_the_priority_is_a_connection_error() {
    let mut session = open();
    // Six octets after the length: five of priority, one of block; two of padding are too many.
    let frame = Frame::new(h2::HEADERS, PADDED | WITH_PRIORITY, 1, [2, 0, 0, 0, 0, 15, 0x82]);
    session.send(frame.end_headers().end_stream()).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_6_3_priority_on_stream_0_is_a_connection_error() {
    open().send(h2::priority(0, 0, 0)).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_6_3_a_priority_of_another_length_is_a_stream_error() {
    for len in [0, 4, 6] {
        let mut session = open();
        session.begin(1, ROOT).send(Frame::new(PRIORITY, 0, 1, vec![0; len]));
        session.expect_reset(1, Code::FrameSizeError).serves(3);
    }
}

#[test]
fn rfc9113_6_4_rst_stream_on_stream_0_is_a_connection_error() {
    open().send(reset(0, Code::Cancel)).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_6_4_rst_stream_on_an_idle_stream_is_a_connection_error() {
    open().send(reset(1, Code::Cancel)).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_6_4_a_rst_stream_of_another_length_is_a_connection_error() {
    for len in [0, 3, 5] {
        let mut session = open();
        session.begin(1, ROOT).send(Frame::new(RST_STREAM, 0, 1, vec![0; len])).expect_goaway(Code::FrameSizeError);
    }
}

#[test]
fn rfc9113_6_4_rst_stream_ends_a_subscription() {
    let Some(mut session) = open_ours() else { return };
    session.request(1, SUBSCRIBE).expect_head(1);
    session.expect_data(1);
    session.send(reset(1, Code::Cancel)).expect_alive();
    session.server.stage().plasma.wait_for_access("sse", 1);
    session.serves(3);
}

#[test]
fn rfc9113_6_6_push_promise_of_a_client_is_a_connection_error() {
    let mut session = open();
    let block = session.block(ROOT);
    session.begin(1, ROOT).send(push_promise(1, 2, &block).end_headers()).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_6_6_push_promise_on_an_idle_stream_is_a_connection_error() {
    let mut session = open();
    let block = session.block(ROOT);
    session.send(push_promise(1, 3, &block).end_headers()).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_6_7_a_ping_is_answered_with_its_octets() {
    let mut session = open();
    for opaque in [[0; 8], [0xFF; 8], *b"\x00\x01\x02\x03\xFC\xFD\xFE\xFF"] {
        session.send(ping(opaque)).expect_pong(opaque);
    }
}

#[test]
fn rfc9113_6_7_pings_are_answered_each() {
    let mut session = open();
    session.send_all((0..50).map(|count| ping([count; 8])));
    for count in 0..50 {
        session.expect_pong([count; 8]);
    }
    session.expect_alive();
}

#[test]
fn rfc9113_6_7_a_ping_with_ack_is_not_answered() {
    let mut session = open();
    session.send(ping(*b"invalid!").flag(ACK)).send(ping(*b"heard me")).expect_pong(*b"heard me").serves(1);
}

#[test]
fn rfc9113_6_7_a_ping_is_answered_when_nothing_else_may_be_sent() {
    let mut session = open_with(&[(INITIAL_WINDOW_SIZE, 0)]);
    session.request(1, ROOT).expect_head(1);
    session.send(ping(*b"no space")).expect_pong(*b"no space").expect_nothing(1);
}

#[test]
fn rfc9113_6_7_a_ping_on_a_stream_is_a_connection_error() {
    for stream in [1, 2] {
        let mut session = open();
        session.send(Frame::new(PING, 0, stream, *b"test\0\0\0\0")).expect_goaway(Code::ProtocolError);
    }
}

#[test]
fn rfc9113_6_7_a_ping_of_another_length_is_a_connection_error() {
    for len in [0, 6, 7, 9] {
        open().send(Frame::new(PING, 0, 0, vec![0; len])).expect_goaway(Code::FrameSizeError);
    }
    open().send(Frame::new(PING, ACK, 0, [0; 7])).expect_goaway(Code::FrameSizeError);
}

#[test]
fn rfc9113_6_8_goaway_on_a_stream_is_a_connection_error() {
    let mut frame = goaway(0, Code::NoError);
    frame.stream = 1;
    open().send(frame).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_6_8_a_goaway_that_is_too_short_is_a_connection_error() {
    for len in [0, 4, 7] {
        open().send(Frame::new(GOAWAY, 0, 0, vec![0; len])).expect_goaway(Code::FrameSizeError);
    }
}

#[test]
fn rfc9113_6_8_after_a_goaway_of_the_client_its_streams_go_on() {
    let mut session = open();
    session.begin(1, PUBLISH).send(goaway(0, Code::NoError)).send(data(1, EVENT).end_stream());
    session.expect_status(1, 202);
}

#[test]
fn rfc9113_6_8_a_subscription_outlives_a_goaway_of_the_client() {
    let Some(mut session) = open_ours() else { return };
    session.request(1, SUBSCRIBE).expect_head(1);
    session.expect_data(1);
    let mut farewell = goaway(0, Code::NoError);
    farewell.payload.extend(b"with a word to the log");
    session.send(farewell).expect_alive();
    session.server.stage().say("a", "1");
    assert!(!session.expect_data(1).0.is_empty());
}

#[test]
fn rfc9113_6_8_a_server_that_ends_says_so() {
    let Some(mut session) = open_ours() else { return };
    session.request(1, SUBSCRIBE).expect_head(1);
    let Session { peer, server } = &mut session;
    server.terminate(|| {
        let last = peer.wait("GOAWAY", |event| match event {
            Event::Goaway { last, code: Code::NoError, .. } => Verdict::Take(*last),
            Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
        assert!(last >= 1, "stream 1 was served");
        peer.expect_end();
    });
}
