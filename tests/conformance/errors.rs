//! Errors (§5.4), extensions (§5.5), error codes that nobody knows (§7).

use std::net::Shutdown;

use super::{EVENT, HC, PUBLISH, ROOT, SUBSCRIBE, Server, open, open_ours, with};
use crate::support::h2::{
    Code, Event, Frame, Peer, Verdict, continuation, data, goaway, headers, reset, settings, window_update,
};

#[test]
fn rfc9113_5_4_1_the_server_closes_after_a_connection_error() {
    let mut session = open();
    session.send(data(0, *b"x")).read_goaway(&[Code::ProtocolError]);
    // Without waiting for the client to do it.
    session.expect_close();
}

#[test]
fn rfc9113_5_4_1_goaway_names_the_last_stream_that_was_served() {
    let mut session = open();
    session.serves(1).serves(5);
    assert_eq!(session.send(data(0, *b"x")).expect_goaway(Code::ProtocolError), 5);
}

#[test]
fn rfc9113_5_4_1_nothing_is_served_after_a_connection_error() {
    let mut session = open();
    let request = session.head(1, ROOT).end_stream();
    session.send_all([data(0, *b"x"), request]);
    session.wait("GOAWAY and nothing else", |event| match event {
        Event::Goaway { last: 0, code: Code::ProtocolError, .. } => Verdict::Take(()),
        Event::WindowUpdate { .. } => Verdict::Leave,
        _ => Verdict::Wrong,
    });
    let _ = session.socket().shutdown(Shutdown::Write);
    session.expect_close();
    session.expect_no_events();
}

#[test]
fn rfc9113_5_4_1_goaway_arrives_before_an_end_that_comes_early() {
    let mut session = open();
    // More than the server will read once it has seen the fault: unread octets must not turn its farewell into a reset.
    let mut bytes = data(0, *b"x").bytes();
    bytes.extend(vec![0xAA; 300_000]);
    session.send_raw(bytes).read_goaway(&[Code::ProtocolError]);
    session.expect_close();
}

#[test]
fn rfc9113_5_4_1_other_connections_do_not_suffer() {
    let mut session = open();
    let mut beside = session.beside();
    beside.begin(1, ROOT);
    session.send(data(0, *b"x")).expect_goaway(Code::ProtocolError);
    beside.send(data(1, []).end_stream()).expect_root(1).serves(3);
}

#[test]
fn rfc9113_5_4_2_rst_stream_is_not_answered() {
    let mut session = open();
    session.begin(1, ROOT).send(reset(1, Code::InternalError)).expect_nothing(1).serves(3);
}

#[test]
fn rfc9113_5_4_2_other_streams_do_not_suffer() {
    let mut session = open();
    session.begin(1, PUBLISH).request(3, &with(ROOT, &[("Upper", "case")])).expect_reset(3, Code::ProtocolError);
    session.send(data(1, EVENT).end_stream()).expect_status(1, 202);
}

#[test]
fn rfc9113_5_4_2_a_subscription_survives_the_error_of_its_neighbour() {
    let Some(mut session) = open_ours() else { return };
    session.request(1, SUBSCRIBE).expect_head(1);
    session.expect_data(1);
    session.request(3, &with(ROOT, &[("Upper", "case")])).expect_reset(3, Code::ProtocolError);
    session.server.stage().say("a", "1");
    let (bytes, end) = session.expect_data(1);
    assert!(!end && String::from_utf8_lossy(&bytes).contains("\"data\":1"), "{:?}", String::from_utf8_lossy(&bytes));
}

#[test]
fn rfc9113_5_4_3_a_client_that_vanishes_harms_nobody() {
    let server = Server::start();
    for how in [Shutdown::Write, Shutdown::Both] {
        let mut peer = Peer::open(server.address);
        peer.begin(1, PUBLISH).request(3, SUBSCRIBE).expect_head(3);
        let _ = peer.socket().shutdown(how);
        peer.expect_end();
    }
    Peer::open(server.address).serves(1);
}

#[test]
fn rfc9113_5_5_unknown_frames_do_not_disturb_a_request() {
    let mut session = open();
    let extension = |stream| Frame::new(0xFA, 0xFF, stream, *b"extended");
    session.begin(1, PUBLISH).send_all([extension(1), data(1, &EVENT[..5]), extension(1), extension(0)]);
    session.send(data(1, &EVENT[5..]).end_stream()).expect_status(1, 202);
}

#[test]
fn rfc9113_5_5_extensions_of_others_are_ignored() {
    let mut session = open();
    // ALTSVC, ORIGIN, PRIORITY_UPDATE and what browsers send to keep everybody used to unknown frames.
    for kind in [0x0A, 0x0C, 0x10, 0x0B, 0x2A, 0x1F * 7 + 2] {
        session.send(Frame::new(kind, 0, 0, *b"\0\0\0\x01u=3"));
    }
    session.serves(1);
}

#[test]
fn rfc9113_5_5_an_unknown_frame_within_a_field_block_is_a_connection_error() {
    let mut session = open();
    let block = session.block(ROOT);
    let extension = Frame::new(0xFA, 0, 1, *b"extended");
    session.send_all([headers(1, &block[..3]).end_stream(), extension, continuation(1, &block[3..]).end_headers()]);
    session.expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_5_5_unknown_settings_are_ignored() {
    let mut session = open();
    session.send(settings(&[(0x00FF, 1), (0xFAFA, u32::MAX), (0, 0)])).expect_settings_ack().serves(1);
}

#[test]
fn rfc9113_7_unknown_codes_in_goaway_are_not_special() {
    let mut session = open();
    session.begin(1, ROOT).send(goaway(0, Code::Unknown(0xFF))).send(data(1, []).end_stream());
    // The client says that it goes; what it asked for is answered all the same, unless the server is done with it.
    session.expect_root(1);
}

#[test]
fn rfc9113_7_unknown_codes_in_rst_stream_are_not_special() {
    let mut session = open();
    session.begin(1, ROOT).send(reset(1, Code::Unknown(0xFF))).expect_nothing(1).serves(3);
}

#[test]
fn rfc9113_5_4_errors_in_one_flight_are_told_one_by_one() {
    let mut session = open();
    let bad = with(ROOT, &[("Upper", "case")]);
    for stream in [1, 3, 5] {
        session.request(stream, &bad);
    }
    session.request(7, HC).send(window_update(0, 1));
    for stream in [1, 3, 5] {
        session.wait("three resets", |event| match event {
            Event::Reset { stream: of, code: Code::ProtocolError } if *of == stream => Verdict::Take(()),
            Event::Goaway { .. } | Event::Closed => Verdict::Wrong,
            _ => Verdict::Leave,
        });
    }
    session.expect_status(7, 200);
}
