//! Stream states (§5.1): what each of them takes, ignores and refuses.

use super::{EVENT, HC, PUBLISH, ROOT, SUBSCRIBE, Session, open, open_ours, open_with, with};
use crate::support::h2::{Code, INITIAL_WINDOW_SIZE, continuation, data, priority, reset, window_update};

/// A connection whose stream 1 is half-closed (remote): asked, and answered but for the body, which has no window.
fn half_closed() -> Session {
    let mut session = open_with(&[(INITIAL_WINDOW_SIZE, 0)]);
    session.request(1, ROOT);
    assert!(!session.expect_head(1).1, "the body is still to come");
    session
}

/// A connection whose stream 1 is closed: asked and answered.
fn closed() -> Session {
    let mut session = open();
    session.request(1, HC).expect_status(1, 200);
    session
}

/// A connection whose stream 1 was closed by a RST_STREAM of ours.
fn closed_by_us() -> Session {
    let mut session = open();
    session.begin(1, ROOT).send(reset(1, Code::Cancel)).expect_nothing(1);
    session
}

/// A connection whose stream 1 was closed by a RST_STREAM of the server, in the middle of a request.
fn closed_by_server() -> Session {
    let mut session = open();
    session.begin(1, &with(ROOT, &[("Upper", "case")])).expect_reset(1, Code::ProtocolError);
    session
}

#[test]
fn rfc9113_5_1_idle_data_is_a_connection_error() {
    open().send(data(1, *b"test").end_stream()).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_5_1_idle_rst_stream_is_a_connection_error() {
    open().send(reset(1, Code::Cancel)).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_5_1_idle_window_update_is_a_connection_error() {
    open().send(window_update(1, 100)).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_5_1_idle_continuation_is_a_connection_error() {
    let mut session = open();
    let block = session.block(ROOT);
    session.send(continuation(1, block).end_headers()).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_5_1_idle_priority_is_ignored() {
    let mut session = open();
    session.send(priority(1, 0, 255)).send(priority(7, 1, 0)).serves(1).serves(3);
}

#[test]
fn rfc9113_5_1_idle_streams_above_used_ones_are_idle_still() {
    for frame in [data(5, *b"test"), reset(5, Code::Cancel), window_update(5, 1)] {
        let mut session = closed();
        session.send(frame).expect_goaway(Code::ProtocolError);
    }
}

#[test]
fn rfc9113_5_1_streams_of_the_server_are_idle_for_ever() {
    for frame in [data(2, *b"test"), reset(2, Code::Cancel), window_update(2, 1)] {
        let mut session = closed();
        session.send(frame).expect_goaway(Code::ProtocolError);
    }
}

#[test]
fn rfc9113_5_1_half_closed_remote_data_is_a_stream_error() {
    half_closed().send(data(1, *b"test").end_stream()).expect_reset(1, Code::StreamClosed).expect_nothing(1);
}

#[test]
fn rfc9113_5_1_half_closed_remote_empty_data_is_a_stream_error() {
    half_closed().send(data(1, []).end_stream()).expect_reset(1, Code::StreamClosed).expect_nothing(1);
}

#[test]
fn rfc9113_5_1_half_closed_remote_headers_are_a_stream_error() {
    let mut session = half_closed();
    session.request(1, ROOT).expect_reset(1, Code::StreamClosed).request(3, HC).expect_status(3, 200);
}

#[test]
fn rfc9113_5_1_half_closed_remote_trailers_are_a_stream_error() {
    let mut session = half_closed();
    session.request(1, &[("x-after", "the end")]).expect_reset(1, Code::StreamClosed);
}

#[test]
fn rfc9113_5_1_half_closed_remote_continuation_is_a_connection_error() {
    let mut session = half_closed();
    let block = session.block(&[("x", "y")]);
    session.send(continuation(1, block).end_headers()).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_5_1_half_closed_remote_window_update_is_taken() {
    let mut session = half_closed();
    session.send(window_update(1, 100));
    assert_eq!(session.expect_data(1).0, super::BODY);
}

#[test]
fn rfc9113_5_1_half_closed_remote_priority_is_ignored() {
    let mut session = half_closed();
    session.send(priority(1, 0, 255)).expect_nothing(1).send(window_update(1, 100));
    assert_eq!(session.expect_data(1).0, super::BODY);
}

#[test]
fn rfc9113_5_1_half_closed_remote_rst_stream_ends_it() {
    let mut session = half_closed();
    session.send(reset(1, Code::Cancel)).expect_nothing(1);
    // Too late for the body.
    session.send(window_update(1, 100)).expect_nothing(1).request(3, HC).expect_status(3, 200);
}

#[test]
fn rfc9113_5_1_an_endless_answer_is_half_closed_too() {
    let mut session = open();
    session.request(1, SUBSCRIBE).expect_head(1);
    session.send(data(1, *b"test"));
    session.wait_for_reset(1, Code::StreamClosed);
}

#[test]
fn rfc9113_5_1_closed_data_costs_the_stream_and_the_connection() {
    let mut session = closed();
    session.send(data(1, *b"test").end_stream()).expect_reset_and_goaway(1, Code::StreamClosed);
}

#[test]
fn rfc9113_5_1_closed_headers_are_a_connection_error() {
    let mut session = closed();
    session.request(1, ROOT).expect_goaway(Code::StreamClosed);
}

#[test]
fn rfc9113_5_1_closed_trailers_are_a_connection_error() {
    let mut session = closed();
    session.request(1, &[("x-after", "the end")]);
    session.expect_goaway(Code::StreamClosed);
}

#[test]
fn rfc9113_5_1_closed_continuation_is_a_connection_error() {
    let mut session = closed();
    let block = session.block(ROOT);
    session.send(continuation(1, block).end_headers()).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_5_1_closed_window_update_is_ignored() {
    closed().send(window_update(1, 100)).expect_nothing(1).serves(3);
}

#[test]
fn rfc9113_5_1_closed_priority_is_ignored() {
    closed().send(priority(1, 0, 255)).expect_nothing(1).serves(3);
}

#[test]
fn rfc9113_5_1_closed_rst_stream_is_ignored() {
    closed().send(reset(1, Code::Cancel)).expect_nothing(1).serves(3);
}

#[test]
fn rfc9113_5_1_closed_by_our_reset_data_is_a_stream_error() {
    closed_by_us().send(data(1, *b"test").end_stream()).expect_reset(1, Code::StreamClosed).serves(3);
}

#[test]
fn rfc9113_5_1_closed_by_our_reset_headers_are_an_error() {
    let mut session = closed_by_us();
    // §5.1 lets the server choose how far the error reaches.
    session.request(1, ROOT).expect_error_of(1, &[Code::StreamClosed]);
}

#[test]
fn rfc9113_5_1_closed_by_our_reset_continuation_is_a_connection_error() {
    let mut session = closed_by_us();
    let block = session.block(ROOT);
    session.send(continuation(1, block).end_headers()).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_5_1_closed_by_our_reset_other_frames_are_ignored() {
    let mut session = closed_by_us();
    session.send_all([window_update(1, 1), priority(1, 0, 0), reset(1, Code::Cancel)]).expect_nothing(1).serves(3);
}

#[test]
fn rfc9113_5_1_after_the_servers_reset_everything_is_ignored() {
    let mut session = closed_by_server();
    session.send_all([data(1, *b"test"), window_update(1, 1), priority(1, 0, 0), data(1, *b"more")]);
    let trailers = session.head(1, &[("x-trailer", "y")]).end_stream();
    session.send(trailers).send(reset(1, Code::Cancel)).expect_nothing(1).serves(3);
}

#[test]
fn rfc9113_5_1_after_the_servers_reset_data_still_counts_for_the_connection() {
    let mut session = closed_by_server();
    // All that the connection's window takes at least: unless it is given back, there is none left.
    for _ in 0..4 {
        session.send(data(1, [b'x'; 16_383]));
    }
    let credit = session.expect_window_update(0);
    assert!(credit > 0);
    session.expect_nothing(1).begin(3, PUBLISH).send(data(3, EVENT).end_stream()).expect_status(3, 202);
}

#[test]
fn rfc9113_5_1_a_stream_that_was_reset_says_nothing_more() {
    let Some(mut session) = open_ours() else { return };
    session.request(1, SUBSCRIBE).expect_head(1);
    session.expect_data(1);
    session.server.stage().say("a", "1");
    session.expect_data(1);
    session.send(reset(1, Code::Cancel)).expect_alive();
    session.server.stage().say("a", "2");
    // The publisher's answer says that every shard has the event.
    session.expect_nothing(1).serves(3);
}

#[test]
fn rfc9113_5_1_a_request_that_was_reset_before_its_end_is_not_answered() {
    let mut session = open();
    session.begin(1, PUBLISH).send_all([data(1, EVENT), reset(1, Code::Cancel)]).expect_nothing(1).serves(3);
}

#[test]
fn rfc9113_5_1_headers_without_the_end_of_the_stream_leave_it_open() {
    let mut session = open();
    let head = session.head(1, ROOT);
    session.send(head).expect_nothing(1).send(data(1, *b"x")).expect_nothing(1);
    session.send(data(1, []).end_stream()).expect_root(1);
}
