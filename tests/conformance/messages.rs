//! Messages (§8.1): their parts, their length, their trailers, and those that are malformed (§8.1.1).

use super::{BODY, EVENT, HC, PUBLISH, ROOT, Server, open, open_ours, with};
use crate::support::h2::{Code, Peer, data, headers};
use crate::support::hpack;

/// Checks that a request whose head ends it is malformed, and that the connection goes on.
fn malformed(peer: &mut Peer, stream: u32, fields: super::Fields) {
    peer.request(stream, fields).expect_reset(stream, Code::ProtocolError);
}

#[test]
fn rfc9113_8_1_trailers_end_a_request() {
    let mut session = open();
    session.begin(1, PUBLISH).send(data(1, EVENT)).request(1, &[("x-trailer", "yes")]).expect_status(1, 202);
}

#[test]
fn rfc9113_8_1_trailers_may_follow_a_head_at_once() {
    let mut session = open();
    session.begin(1, ROOT).request(1, &[("x-trailer", "yes")]).expect_root(1);
}

#[test]
fn rfc9113_8_1_empty_trailers_are_trailers() {
    let mut session = open();
    session.begin(1, PUBLISH).send(data(1, EVENT)).request(1, &[]).expect_status(1, 202);
}

#[test]
fn rfc9113_8_1_a_second_head_that_ends_nothing_is_malformed() {
    let mut session = open();
    session.begin(1, PUBLISH).begin(1, &[("x-trailer", "not the end")]).expect_reset(1, Code::ProtocolError).serves(3);
}

#[test]
fn rfc9113_8_1_trailers_that_end_nothing_are_malformed() {
    let mut session = open();
    session.begin(1, PUBLISH).send(data(1, EVENT)).begin(1, &[("x-trailer", "not the end")]);
    session.expect_reset(1, Code::ProtocolError).serves(3);
}

#[test]
fn rfc9113_8_1_a_second_whole_head_is_malformed() {
    let mut session = open();
    session.begin(1, ROOT).begin(1, ROOT).expect_reset(1, Code::ProtocolError).serves(3);
}

#[test]
fn rfc9113_8_1_nothing_may_follow_trailers() {
    let mut session = open();
    session.begin(1, PUBLISH).send(data(1, EVENT)).request(1, &[("x-trailer", "yes")]).expect_status(1, 202);
    session.send(data(1, *b"more")).expect_reset_and_goaway(1, Code::StreamClosed);
}

#[test]
fn rfc9113_8_1_pseudo_header_fields_in_trailers_are_malformed() {
    for field in [(":method", "POST"), (":path", "/"), (":scheme", "http"), (":authority", "x"), (":status", "200")] {
        let mut session = open();
        session.begin(1, PUBLISH).send(data(1, EVENT)).request(1, &[("x-trailer", "yes"), field]);
        session.expect_reset(1, Code::ProtocolError).serves(3);
    }
}

#[test]
fn rfc9113_8_1_upper_case_in_trailers_is_malformed() {
    let mut session = open();
    session.begin(1, PUBLISH).send(data(1, EVENT)).request(1, &[("X-Trailer", "yes")]);
    session.expect_reset(1, Code::ProtocolError).serves(3);
}

#[test]
fn rfc9113_8_1_connection_specific_fields_in_trailers_are_malformed() {
    let mut session = open();
    session.begin(1, PUBLISH).send(data(1, EVENT)).request(1, &[("connection", "close")]);
    session.expect_reset(1, Code::ProtocolError).serves(3);
}

#[test]
fn rfc9113_8_1_a_malformed_request_is_not_carried_out() {
    let Some(mut session) = open_ours() else { return };
    let mut stream = session.server.stage().subscribe("eventType=a");
    session.begin(1, &with(PUBLISH, &[("content-length", "1000")])).send(data(1, EVENT).end_stream());
    session.expect_reset(1, Code::ProtocolError);
    session.begin(3, PUBLISH).send(data(3, EVENT)).request(3, &[(":status", "200")]);
    session.expect_reset(3, Code::ProtocolError);
    session.server.stage().say("a", "\"the first\"");
    assert_eq!(stream.next_event().payload(), "the first");
}

#[test]
fn rfc9113_8_1_1_a_body_shorter_than_its_length_is_malformed() {
    let mut session = open();
    session.begin(1, &with(PUBLISH, &[("content-length", "31")])).send(data(1, EVENT).end_stream());
    session.expect_reset(1, Code::ProtocolError).serves(3);
}

#[test]
fn rfc9113_8_1_1_a_body_longer_than_its_length_is_malformed() {
    let mut session = open();
    session.begin(1, &with(PUBLISH, &[("content-length", "29")])).send(data(1, EVENT).end_stream());
    session.expect_reset(1, Code::ProtocolError).serves(3);
}

#[test]
fn rfc9113_8_1_1_several_frames_shorter_than_their_length_are_malformed() {
    let mut session = open();
    session.begin(1, &with(PUBLISH, &[("content-length", "100")]));
    session.send_all([data(1, &EVENT[..9]), data(1, &EVENT[9..]).end_stream()]).expect_reset(1, Code::ProtocolError);
}

#[test]
fn rfc9113_8_1_1_several_frames_longer_than_their_length_are_malformed() {
    let mut session = open();
    session.begin(1, &with(PUBLISH, &[("content-length", "20")]));
    session.send_all([data(1, &EVENT[..9]), data(1, &EVENT[9..]).end_stream()]).expect_reset(1, Code::ProtocolError);
}

#[test]
fn rfc9113_8_1_1_a_length_without_a_body_is_malformed() {
    let mut session = open();
    malformed(&mut session, 1, &with(ROOT, &[("content-length", "1")]));
    session.begin(3, &with(PUBLISH, &[("content-length", "1")])).send(data(3, []).end_stream());
    session.expect_reset(3, Code::ProtocolError).serves(5);
}

#[test]
fn rfc9113_8_1_1_a_length_that_trailers_cut_short_is_malformed() {
    let mut session = open();
    session.begin(1, &with(PUBLISH, &[("content-length", "31")])).send(data(1, EVENT)).request(1, &[("x", "y")]);
    session.expect_reset(1, Code::ProtocolError).serves(3);
}

#[test]
fn rfc9113_8_1_1_a_body_nobody_asked_for_has_a_length_too() {
    let mut session = open();
    session.begin(1, &with(ROOT, &[("content-length", "5")])).send(data(1, *b"four").end_stream());
    session.expect_reset(1, Code::ProtocolError);
    session.begin(3, &with(ROOT, &[("content-length", "4")])).send(data(3, *b"four").end_stream()).expect_root(3);
}

#[test]
fn rfc9113_8_1_1_padding_is_no_part_of_the_length() {
    let mut session = open();
    session.begin(1, &with(PUBLISH, &[("content-length", "30")])).send(data(1, EVENT).padded(9).end_stream());
    session.expect_status(1, 202);
}

#[test]
fn rfc9113_8_1_1_a_length_that_is_no_number_is_malformed() {
    let server = Server::start();
    let mut peer = Peer::open(server.address);
    let lengths = ["", "a", "-1", "+30", "30,31", "0x1e", "3 0", "99999999999999999999999"];
    for (count, len) in lengths.iter().enumerate() {
        let stream = 1 + 4 * count as u32;
        peer.begin(stream, &with(PUBLISH, &[("content-length", len)])).send(data(stream, EVENT).end_stream());
        peer.expect_reset(stream, Code::ProtocolError).serves(stream + 2);
    }
}

#[test]
fn rfc9113_8_1_1_two_lengths_that_differ_are_malformed() {
    let mut session = open();
    let fields = with(PUBLISH, &[("content-length", "30"), ("content-length", "31")]);
    session.begin(1, &fields).send(data(1, EVENT).end_stream()).expect_reset(1, Code::ProtocolError).serves(3);
}

#[test]
fn rfc9113_8_1_1_a_length_of_0_needs_no_body() {
    let mut session = open();
    session.request(1, &with(ROOT, &[("content-length", "0")])).expect_root(1);
    session.begin(3, &with(ROOT, &[("content-length", "0")])).send(data(3, []).end_stream()).expect_root(3);
}

#[test]
fn rfc9113_8_1_1_an_empty_block_is_malformed() {
    let mut session = open();
    session.send(headers(1, []).end_headers().end_stream()).expect_reset(1, Code::ProtocolError).serves(3);
}

#[test]
fn rfc9113_8_1_answers_are_whole() {
    let mut session = open();
    let answer = session.request(1, ROOT).expect_answer(1);
    assert_eq!(answer.field("content-length").unwrap_or("19"), BODY.len().to_string());
    assert_eq!(answer.body, BODY);
    let answer = session.request(3, HC).expect_answer(3);
    assert!(answer.body.is_empty());
    assert_eq!(answer.field("content-length").unwrap_or("0"), "0");
}

#[test]
fn rfc9113_10_5_1_a_field_section_above_the_limit_is_answered_with_431() {
    let Some(mut session) = open_ours() else { return };
    // Small as a block, and yet above 16 KiB as a list: each field counts 32 octets more than it has.
    let many = vec![("a", "b"); 600];
    let fields = with(ROOT, &many);
    assert!(hpack::list_size(&fields) > 16_384 && hpack::plain(&fields).len() < 16_384);
    session.request(1, &fields);
    session.expect_status(1, 431);
    session.serves(3);
}

#[test]
fn rfc9113_10_5_1_a_field_section_at_the_limit_is_served_and_one_octet_more_is_not() {
    let Some(mut session) = open_ours() else { return };
    let room = 16_384 - hpack::list_size(&with(ROOT, &[("x", "")]));
    let value = "x".repeat(room);
    let fields = with(ROOT, &[("x", &value)]);
    assert_eq!(hpack::list_size(&fields), 16_384);
    session.request(1, &fields).expect_root(1);
    let value = "x".repeat(room + 1);
    session.request(3, &with(ROOT, &[("x", &value)]));
    session.expect_status(3, 431);
    session.serves(5);
}

#[test]
fn rfc9113_10_5_1_trailers_above_the_limit_do_not_end_the_connection() {
    let Some(mut session) = open_ours() else { return };
    session.begin(1, ROOT).request(1, &vec![("a", "b"); 600]);
    session.expect_something(1);
    session.serves(3);
}
