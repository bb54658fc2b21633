//! Frames (§4): layout, sizes, field blocks that may not be cut.

use super::{EVENT, HC, PUBLISH, ROOT, Server, open, open_ours, open_unacknowledged, with};
use crate::support::h2::{
    self, Code, DATA, END_HEADERS, FRAME_LEN_MAX, Frame, HEADERS, PING, PUSH_PROMISE, Peer, SETTINGS, continuation,
    data, frame_head, headers, ping, priority, reset, settings, window_update,
};
use crate::support::hpack::{self, INDEXING, WITHOUT_INDEXING};

/// A frame type that nobody knows.
const UNKNOWN: u8 = 0x42;

/// GET, http and a host, to which a path makes a request.
fn asks() -> Vec<u8> {
    [hpack::indexed(2), hpack::indexed(6), hpack::literal_named(WITHOUT_INDEXING, 1, "localhost")].concat()
}

#[test]
fn rfc9113_4_1_frames_of_unknown_types_are_ignored() {
    let mut session = open();
    session.send(Frame::new(UNKNOWN, 0xFF, 0, *b"whatever"));
    session.send(Frame::new(UNKNOWN, 0, 0, []));
    // On an idle stream, on an open one and on one that is over.
    session.send(Frame::new(UNKNOWN, 0, 1, *b"whatever"));
    session.begin(1, ROOT).send(Frame::new(UNKNOWN, 0xFF, 1, *b"whatever"));
    session.send(data(1, []).end_stream()).expect_root(1);
    session.send(Frame::new(UNKNOWN, 0, 1, *b"whatever")).expect_nothing(1);
    session.serves(3);
}

#[test]
fn rfc9113_4_1_undefined_flags_are_ignored_on_ping() {
    let mut session = open();
    session.send(ping(*b"allflags").flag(0xFE)).expect_pong(*b"allflags");
    session.serves(1);
}

#[test]
fn rfc9113_4_1_undefined_flags_are_ignored_on_every_frame() {
    let mut session = open();
    session.send(settings(&[]).flag(0xFE)).expect_settings_ack();
    session.send(window_update(0, 1).flag(0xFF));
    session.send(priority(1, 0, 0).flag(0xFF));
    // All but END_STREAM, END_HEADERS, PADDED and PRIORITY, which mean something.
    let head = session.head(1, PUBLISH).flag(0xD2);
    session.send(head).send(data(1, EVENT).end_stream().flag(0xF6)).expect_status(1, 202);
    let block = session.block(HC);
    session.send(headers(3, &block[..5]).end_stream()).send(continuation(3, &block[5..]).flag(0xFF));
    session.expect_status(3, 200);
    session.begin(5, ROOT).send(reset(5, Code::Cancel).flag(0xFF)).expect_nothing(5);
    session.serves(7);
}

#[test]
fn rfc9113_4_1_the_reserved_bit_is_ignored() {
    let mut session = open();
    let reserved = 1 << 31;
    session.send(Frame::new(PING, 0, reserved, *b"reserved")).expect_pong(*b"reserved");
    let mut head = session.head(1, ROOT);
    head.stream |= reserved;
    session.send(head).send(data(1 | reserved, []).end_stream()).expect_root(1);
    session.send(Frame::new(SETTINGS, 0, reserved, [])).expect_settings_ack();
    session.serves(3);
}

#[test]
fn rfc9113_4_2_data_of_the_largest_size_is_taken() {
    let mut session = open();
    session.begin(1, ROOT).send(data(1, [b'x'; FRAME_LEN_MAX]).end_stream()).expect_root(1);
}

#[test]
fn rfc9113_4_2_unknown_frames_of_the_largest_size_are_ignored() {
    let mut session = open();
    session.send(Frame::new(UNKNOWN, 0, 0, [0; FRAME_LEN_MAX])).serves(1);
}

#[test]
fn rfc9113_4_2_data_that_is_too_long_is_a_stream_error() {
    let mut session = open();
    session.begin(1, ROOT).send(data(1, [b'x'; FRAME_LEN_MAX + 1]).end_stream());
    session.expect_reset(1, Code::FrameSizeError).serves(3);
}

#[test]
fn rfc9113_4_2_headers_that_are_too_long_are_a_connection_error() {
    let mut session = open();
    let long = "x".repeat(FRAME_LEN_MAX);
    let mut block = session.block(&with(ROOT, &[("x", &long)]));
    block.truncate(FRAME_LEN_MAX + 1);
    session.send(headers(1, block).end_headers().end_stream()).expect_goaway(Code::FrameSizeError);
}

#[test]
fn rfc9113_4_2_trailers_that_are_too_long_are_a_connection_error() {
    let mut session = open();
    session.begin(1, ROOT).send(headers(1, [0; FRAME_LEN_MAX + 1]).end_headers().end_stream());
    session.expect_goaway(Code::FrameSizeError);
}

#[test]
fn rfc9113_4_2_a_continuation_that_is_too_long_is_a_connection_error() {
    let mut session = open();
    let block = session.block(ROOT);
    session.send(headers(1, block).end_stream()).send(continuation(1, [0; FRAME_LEN_MAX + 1]).end_headers());
    session.expect_goaway(Code::FrameSizeError);
}

#[test]
fn rfc9113_4_2_settings_that_are_too_long_are_a_connection_error() {
    let mut session = open();
    let many = vec![(h2::MAX_CONCURRENT_STREAMS, 1); FRAME_LEN_MAX / 6 + 1];
    session.send(settings(&many)).expect_goaway(Code::FrameSizeError);
}

#[test]
fn rfc9113_4_2_any_frame_on_stream_0_that_is_too_long_is_a_connection_error() {
    let server = Server::start();
    for kind in [PING, DATA, UNKNOWN] {
        let mut peer = Peer::open(server.address);
        peer.send(Frame::new(kind, 0, 0, [0; FRAME_LEN_MAX + 1])).expect_goaway(Code::FrameSizeError);
    }
}

#[test]
fn rfc9113_4_2_an_unknown_frame_on_a_stream_that_is_too_long_is_a_stream_error() {
    let mut session = open();
    session.begin(1, ROOT).send(Frame::new(UNKNOWN, 0, 1, [0; FRAME_LEN_MAX + 1]));
    session.expect_reset(1, Code::FrameSizeError).serves(3);
}

#[test]
fn rfc9113_4_2_a_frame_that_announces_too_much_is_refused_at_once() {
    let server = Server::start();
    for (kind, stream) in [(HEADERS, 1), (SETTINGS, 0), (PUSH_PROMISE, 1), (PING, 0)] {
        let mut peer = Peer::open(server.address);
        peer.begin(1, ROOT).send_raw(frame_head(0xFF_FFFF, kind, END_HEADERS, stream));
        peer.expect_goaway(Code::FrameSizeError);
    }
}

#[test]
fn rfc9113_4_3_a_field_block_that_cannot_be_decoded_is_a_connection_error() {
    let server = Server::start();
    // A literal without a value, one whose name ends too late, a number that does not end, an index of nothing.
    let blocks: [&[u8]; 4] = [&[0x00, 0x01, b'a'], &[0x40, 0x05, b'a'], &[0xFF, 0x80], &[0xFF, 0x7F]];
    for block in blocks {
        let mut peer = Peer::open(server.address);
        let block = peer.raw_block(block);
        peer.send(headers(1, block).end_headers().end_stream()).expect_goaway(Code::CompressionError);
    }
}

#[test]
fn rfc9113_4_3_trailers_that_cannot_be_decoded_are_a_connection_error() {
    let mut session = open();
    session.begin(1, ROOT).send(headers(1, [0x00, 0x01, b'a']).end_headers().end_stream());
    session.expect_goaway(Code::CompressionError);
}

#[test]
fn rfc9113_4_3_a_field_block_may_not_be_cut_by_another_frame() {
    let server = Server::start();
    let cuts = [
        ("PRIORITY", priority(1, 0, 0)),
        ("PRIORITY on another stream", priority(3, 0, 0)),
        ("DATA", data(1, [])),
        ("RST_STREAM", reset(1, Code::Cancel)),
        ("SETTINGS", settings(&[])),
        ("PING", ping(*b"cutcutcu")),
        ("GOAWAY", h2::goaway(0, Code::NoError)),
        ("WINDOW_UPDATE", window_update(0, 1)),
        ("WINDOW_UPDATE on the stream", window_update(1, 1)),
        ("HEADERS", headers(1, []).end_headers()),
        ("CONTINUATION on another stream", continuation(3, []).end_headers()),
        ("an unknown frame", Frame::new(UNKNOWN, 0, 1, [])),
        ("an unknown frame on stream 0", Frame::new(UNKNOWN, 0, 0, [])),
    ];
    for (what, cut) in cuts {
        let mut peer = Peer::open(server.address);
        let block = peer.block(ROOT);
        let first = headers(1, &block[..5]).end_stream();
        peer.send_all([first, cut, continuation(1, &block[5..]).end_headers()]);
        let (last, _) = peer.expect_goaway_of(&[Code::ProtocolError]);
        assert!(last <= 1, "{what}");
    }
}

#[test]
fn rfc9113_4_3_a_field_block_may_not_be_cut_by_headers_of_another_stream() {
    let mut session = open();
    let block = session.block(ROOT);
    session.send(headers(1, &block[..5]).end_stream());
    session.request(3, ROOT).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_4_3_a_field_block_may_not_be_cut_inside_of_trailers_either() {
    let mut session = open();
    session.begin(1, ROOT).send_all([headers(1, []).end_stream(), ping(*b"cutcutcu")]);
    session.expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_4_3_field_blocks_of_streams_that_were_reset_still_count() {
    let mut session = open_unacknowledged();
    // No request: upper case. The server resets the stream; what follows on it was under way already.
    session.begin(1, &with(ROOT, &[("Upper", "case")])).expect_reset(1, Code::ProtocolError);
    let entry = hpack::literal_named(INDEXING, 4, "/hc");
    session.send(headers(1, entry).end_headers().end_stream()).expect_nothing(1);
    // The path is what the trailers left behind.
    let block = [asks(), hpack::indexed(62)].concat();
    session.send(headers(3, block).end_headers().end_stream()).expect_status(3, 200);
}

#[test]
fn rfc9113_4_3_field_blocks_of_malformed_requests_still_count() {
    let mut session = open_unacknowledged();
    let entry = hpack::literal_named(INDEXING, 4, "/hc");
    let bad = [hpack::literal(WITHOUT_INDEXING, "Upper", "case"), entry].concat();
    session.send(headers(1, bad).end_headers().end_stream()).expect_reset(1, Code::ProtocolError);
    let block = [asks(), hpack::indexed(62)].concat();
    session.send(headers(3, block).end_headers().end_stream()).expect_status(3, 200);
}

#[test]
fn rfc9113_4_3_1_a_table_that_was_lowered_has_to_be_lowered() {
    let Some(_) = open_ours() else { return };
    let mut session = open_unacknowledged();
    let entry = hpack::literal_named(INDEXING, 4, "/hc");
    let block = [asks(), entry].concat();
    session.send(headers(1, block).end_headers().end_stream()).expect_status(1, 200);
    // There is an entry, its table must go, and the next block does not begin with that.
    session.send(h2::settings_ack());
    session.send(headers(3, hpack::plain(ROOT)).end_headers().end_stream());
    session.expect_goaway(Code::CompressionError);
}

#[test]
fn rfc9113_4_3_1_a_table_that_was_lowered_in_time_is_gone() {
    let Some(_) = open_ours() else { return };
    let mut session = open_unacknowledged();
    let entry = hpack::literal_named(INDEXING, 4, "/hc");
    let block = [asks(), entry].concat();
    session.send(headers(1, block).end_headers().end_stream()).expect_status(1, 200);
    session.acknowledge();
    session.serves(3);
    session.send(headers(5, [hpack::indexed(62)].concat()).end_headers().end_stream());
    session.expect_goaway(Code::CompressionError);
}

#[test]
fn rfc9113_4_3_1_a_client_without_a_table_has_nothing_to_lower() {
    let mut session = open_unacknowledged();
    session.send(h2::settings_ack());
    // Neither an entry before nor one after: the size of the table was 0 all the time.
    session.send(headers(1, hpack::plain(ROOT)).end_headers().end_stream()).expect_root(1);
}

#[test]
fn rfc9113_4_1_frames_may_come_octet_by_octet() {
    let mut session = open();
    let mut bytes = session.head(1, PUBLISH).bytes();
    bytes.extend(data(1, EVENT).padded(3).end_stream().bytes());
    bytes.extend(window_update(0, 1).bytes());
    for octet in bytes {
        session.send_raw([octet]);
    }
    session.note_stream(1);
    session.expect_status(1, 202);
}

#[test]
fn rfc9113_4_1_frames_may_come_in_any_two_pieces() {
    let mut session = open();
    let (mut stream, mut cut) = (1, 1);
    loop {
        let bytes = [session.head(stream, ROOT).bytes(), data(stream, *b"ab").padded(1).end_stream().bytes()].concat();
        if cut >= bytes.len() {
            break;
        }
        session.send_raw(&bytes[..cut]).send_raw(&bytes[cut..]);
        session.expect_root(stream);
        (stream, cut) = (stream + 2, cut + 1);
    }
}

#[test]
fn rfc9113_4_1_a_connection_that_ends_within_a_frame_harms_nobody() {
    let mut session = open();
    let frame = session.head(1, PUBLISH).bytes();
    session.send_raw(&frame[..frame.len() - 1]);
    let _ = session.socket().shutdown(std::net::Shutdown::Both);
    session.beside().expect_alive();
    let mut beside = session.beside();
    beside.request(1, HC);
    assert_eq!(beside.expect_answer(1).status, 200);
}
