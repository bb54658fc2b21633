//! Stream identifiers, how many streams at once, priorities that mean nothing any more (§5.1.1, §5.1.2, §5.3).

use super::{HC, PUBLISH, ROOT, SUBSCRIBE, open, open_ours, open_with};
use crate::support::h2::{
    Code, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, WINDOW_MAX, data, headers, priority, reset, window_update,
};

/// What our server announces.
const STREAMS_MAX: u32 = 1000;

/// The id of the stream that a client opens after `count` others.
fn nth(count: u32) -> u32 {
    1 + 2 * count
}

#[test]
fn rfc9113_5_1_1_an_even_stream_of_the_client_is_a_connection_error() {
    open().request(2, ROOT).expect_goaway_below(2, Code::ProtocolError);
}

#[test]
fn rfc9113_5_1_1_stream_0_cannot_be_opened() {
    open().request(0, ROOT).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_5_1_1_a_smaller_stream_than_one_before_is_a_connection_error() {
    let mut session = open();
    session.serves(5).request(3, ROOT).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_5_1_1_a_smaller_stream_than_an_open_one_is_a_connection_error() {
    let mut session = open();
    session.begin(5, ROOT).request(3, ROOT).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_5_1_1_streams_may_be_skipped() {
    open().serves(3).serves(99).serves(101);
}

#[test]
fn rfc9113_5_1_1_the_largest_stream_is_the_last() {
    let mut session = open();
    session.serves(WINDOW_MAX).expect_alive();
    session.request(WINDOW_MAX - 2, ROOT).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_5_1_1_a_reused_stream_is_a_connection_error() {
    let mut session = open();
    session.serves(1).serves(3).request(1, ROOT).expect_goaway_of(&[Code::StreamClosed, Code::ProtocolError]);
}

#[test]
fn rfc9113_5_1_2_streams_above_the_limit_are_refused() {
    let Some(mut session) = open_ours() else { return };
    for count in 0..STREAMS_MAX {
        session.begin(nth(count), ROOT);
    }
    session.expect_alive();
    session.begin(nth(STREAMS_MAX), ROOT).expect_reset(nth(STREAMS_MAX), Code::RefusedStream);
    session.request(nth(STREAMS_MAX + 1), ROOT).expect_reset(nth(STREAMS_MAX + 1), Code::RefusedStream);
    // One ends, one may begin.
    session.send(data(1, []).end_stream()).expect_root(1).serves(nth(STREAMS_MAX + 2));
}

#[test]
fn rfc9113_5_1_2_half_closed_streams_count() {
    let Some(server) = super::Server::only_ours() else { return };
    let mut session = server.open_with(&[(INITIAL_WINDOW_SIZE, 0)]);
    for count in 0..STREAMS_MAX {
        session.request(nth(count), ROOT);
    }
    session.request(nth(STREAMS_MAX), ROOT).expect_reset(nth(STREAMS_MAX), Code::RefusedStream);
    session.expect_head(1);
    session.send(window_update(1, 19)).expect_data(1);
    session.request(nth(STREAMS_MAX + 1), HC).expect_status(nth(STREAMS_MAX + 1), 200);
}

#[test]
fn rfc9113_5_1_2_streams_that_were_reset_do_not_count() {
    let Some(mut session) = open_ours() else { return };
    for count in 0..STREAMS_MAX {
        session.begin(nth(count), ROOT);
    }
    // Few enough to be no flood.
    for count in 0..100 {
        session.send(reset(nth(count), Code::Cancel));
    }
    for count in 0..100 {
        session.begin(nth(STREAMS_MAX + count), ROOT);
    }
    session.expect_alive();
    session.begin(nth(STREAMS_MAX + 100), ROOT).expect_reset(nth(STREAMS_MAX + 100), Code::RefusedStream);
}

#[test]
fn rfc9113_5_1_2_a_refused_stream_may_go_on_talking() {
    let Some(mut session) = open_ours() else { return };
    for count in 0..STREAMS_MAX {
        session.begin(nth(count), ROOT);
    }
    let refused = nth(STREAMS_MAX);
    session.begin(refused, PUBLISH).send(data(refused, *b"{}").end_stream()).expect_reset(refused, Code::RefusedStream);
    session.expect_nothing(refused);
}

#[test]
fn rfc9113_5_1_2_the_clients_limit_is_for_pushes_alone() {
    open_with(&[(MAX_CONCURRENT_STREAMS, 0)]).serves(1);
}

#[test]
fn rfc9113_5_3_priorities_of_every_kind_are_ignored() {
    let mut session = open();
    // The least weight, the largest, a stream that depends, one that depends exclusively, one that nobody knows.
    session.send_all([
        priority(1, 0, 0),
        priority(1, 0, 255),
        priority(3, 1, 15),
        priority(3, 1 | 1 << 31, 15),
        priority(WINDOW_MAX, 77, 1),
    ]);
    session.serves(1).send(priority(1, 3, 7)).serves(3);
}

#[test]
fn rfc9113_5_3_headers_with_priority_are_taken() {
    let mut session = open();
    for (stream, on) in [(1, 0), (3, 1), (5, 1 | 1 << 31), (7, 99)] {
        let block = session.block(ROOT);
        session.send(headers(stream, block).depending(on, 255).end_headers().end_stream()).expect_root(stream);
    }
}

#[test]
fn rfc9113_5_3_a_priority_for_a_stream_above_opens_nothing() {
    open().send(priority(5, 0, 16)).serves(1).serves(3).serves(5);
}

#[test]
fn rfc9113_5_3_headers_that_depend_on_themselves_are_answered_or_reset() {
    let mut session = open();
    let block = session.block(ROOT);
    session.send(headers(1, block).depending(1, 15).end_headers().end_stream());
    // RFC 7540 §5.3.1 made a stream error of it, RFC 9113 no longer does.
    session.expect_root_or_reset(1, Code::ProtocolError).serves(3);
}

#[test]
fn rfc9113_5_3_a_priority_that_depends_on_itself_does_no_harm() {
    let mut session = open();
    session.begin(1, ROOT).send(priority(1, 1, 15)).send(data(1, []).end_stream());
    session.expect_root_or_reset(1, Code::ProtocolError).serves(3);
}

#[test]
fn rfc9113_5_2_streams_are_answered_beside_each_other() {
    let mut session = open();
    for stream in (1..200).step_by(2) {
        session.begin(stream, ROOT);
    }
    // The last first.
    for stream in (1..200).step_by(2).rev() {
        session.send(data(stream, []).end_stream()).expect_root(stream);
    }
    session.request(201, SUBSCRIBE).expect_head(201);
    session.serves(203);
}
