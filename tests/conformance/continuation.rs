//! CONTINUATION (§6.10).

use super::{EVENT, HC, PUBLISH, ROOT, open, open_ours, with};
use crate::support::h2::{Code, FRAME_LEN_MAX, continuation, data, headers, ping, priority};

#[test]
fn rfc9113_6_10_a_block_may_be_continued_several_times() {
    let mut session = open();
    let block = session.block(ROOT);
    let [one, two, three] = [&block[..7], &block[7..20], &block[20..]];
    session.send(headers(1, one).end_stream()).send(continuation(1, two)).send(continuation(1, three).end_headers());
    session.expect_root(1);
}

#[test]
fn rfc9113_6_10_a_block_may_be_cut_anywhere() {
    let mut session = open();
    for cut in 0..=session.block(ROOT).len() {
        let stream = 1 + 2 * cut as u32;
        let block = session.block(ROOT);
        let cut = cut.min(block.len());
        session
            .send_all([headers(stream, &block[..cut]).end_stream(), continuation(stream, &block[cut..]).end_headers()]);
        session.expect_root(stream);
    }
}

#[test]
fn rfc9113_6_10_the_end_of_the_stream_waits_for_the_end_of_the_block() {
    let mut session = open();
    let block = session.block(ROOT);
    session.send(headers(1, block).end_stream()).send(continuation(1, []).end_headers()).expect_root(1);
    let block = session.block(PUBLISH);
    session.send(headers(3, &block[..9])).send(continuation(3, &block[9..]).end_headers());
    session.send(data(3, EVENT).end_stream()).expect_status(3, 202);
}

#[test]
fn rfc9113_6_10_padding_and_priority_belong_to_the_first_frame() {
    let mut session = open();
    let block = session.block(HC);
    let first = headers(1, &block[..5]).depending(0, 7).padded(11).end_stream();
    session.send(first).send(continuation(1, &block[5..]).end_headers()).expect_status(1, 200);
}

#[test]
fn rfc9113_6_10_trailers_may_be_continued() {
    let mut session = open();
    session.begin(1, PUBLISH).send(data(1, EVENT));
    let block = session.block(&[("x-trailer", "after the body")]);
    session.send(headers(1, &block[..4]).end_stream()).send(continuation(1, &block[4..]).end_headers());
    session.expect_status(1, 202);
}

#[test]
fn rfc9113_6_10_another_frame_before_the_end_is_a_connection_error() {
    for frame in [data(1, *b"test"), ping(*b"anything"), priority(1, 0, 0)] {
        let mut session = open();
        let block = session.block(ROOT);
        session.send_all([headers(1, &block[..5]).end_stream(), continuation(1, &block[5..]), frame]);
        session.expect_goaway(Code::ProtocolError);
    }
}

#[test]
fn rfc9113_6_10_continuation_on_stream_0_is_a_connection_error() {
    let mut session = open();
    let block = session.block(ROOT);
    session.send_all([headers(1, &block[..5]).end_stream(), continuation(0, &block[5..]).end_headers()]);
    session.expect_goaway(Code::ProtocolError);
    open().send(continuation(0, []).end_headers()).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_6_10_continuation_of_another_stream_is_a_connection_error() {
    let mut session = open();
    let block = session.block(ROOT);
    session.begin(1, ROOT);
    session.send_all([headers(3, &block[..5]).end_stream(), continuation(1, &block[5..]).end_headers()]);
    session.expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_6_10_continuation_after_a_whole_block_is_a_connection_error() {
    let mut session = open();
    session.begin(1, ROOT);
    let more = session.block(&[("x", "y")]);
    session.send(continuation(1, more).end_headers()).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_6_10_continuation_after_the_last_continuation_is_a_connection_error() {
    let mut session = open();
    let block = session.block(ROOT);
    session.send(headers(1, &block[..5])).send(continuation(1, &block[5..]).end_headers());
    session.send(continuation(1, [0x00, 0x01, b'x', 0x01, b'y']).end_headers()).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_6_10_continuation_after_data_is_a_connection_error() {
    let mut session = open();
    session.begin(1, ROOT).send(data(1, *b"test"));
    session.send(continuation(1, [0x00, 0x01, b'x', 0x01, b'y']).end_headers()).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_10_5_1_a_block_larger_than_any_request_ends_the_connection() {
    let Some(mut session) = open_ours() else { return };
    let long = "x".repeat(2 * FRAME_LEN_MAX);
    let block = session.block(&with(ROOT, &[("x", &long)]));
    let mut pieces = block.chunks(FRAME_LEN_MAX);
    session.send(headers(1, pieces.next().unwrap()).end_stream());
    for piece in pieces {
        session.send(continuation(1, piece));
    }
    session.expect_goaway(Code::EnhanceYourCalm);
}

#[test]
fn rfc9113_10_5_1_a_block_that_does_not_end_ends_the_connection() {
    let Some(mut session) = open_ours() else { return };
    let block = session.block(ROOT);
    session.send(headers(1, block).end_stream());
    for _ in 0..10_000 {
        session.send(continuation(1, []));
        if session.is_over() {
            break;
        }
    }
    session.expect_goaway(Code::EnhanceYourCalm);
}
