//! Flow control (§5.2, §6.9), to the octet.

use super::{BODY, EVENT, HC, PUBLISH, ROOT, Server, Session, open, open_ours, open_with};
use crate::support::h2::{
    Code, Frame, INITIAL_WINDOW_SIZE, Peer, WINDOW, WINDOW_MAX, WINDOW_UPDATE, data, settings, window_update,
};

/// A connection on which a stream has a window of `window` octets, and whose stream 1 asked for [`ROOT`].
fn asked_with_window(window: u32) -> Session {
    let mut session = open_with(&[(INITIAL_WINDOW_SIZE, window)]);
    session.request(1, ROOT);
    assert!(!session.expect_head(1).1, "a body is to come");
    session
}

/// Checks that exactly this part of [`BODY`] comes now.
fn expect_part(session: &mut Peer, from: usize, to: usize) {
    let (bytes, ended) = session.settled_data(1);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert_eq!(text, String::from_utf8_lossy(&BODY[from..to]), "octets {from} to {to} of the body were due");
    assert_eq!(ended, to == BODY.len(), "the last octet ends the stream");
}

#[test]
fn rfc9113_6_9_an_update_of_0_on_the_connection_is_a_connection_error() {
    open().send(window_update(0, 0)).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_6_9_an_update_of_0_on_a_stream_is_a_stream_error() {
    let mut session = open();
    session.begin(1, ROOT).send(window_update(1, 0)).expect_reset(1, Code::ProtocolError).serves(3);
}

#[test]
fn rfc9113_6_9_an_update_of_0_while_a_body_waits_is_a_stream_error() {
    asked_with_window(0).send(window_update(1, 0)).expect_reset(1, Code::ProtocolError);
}

#[test]
fn rfc9113_6_9_an_update_of_another_length_is_a_connection_error() {
    for len in [0, 3, 5] {
        open().send(Frame::new(WINDOW_UPDATE, 0, 0, vec![1; len])).expect_goaway(Code::FrameSizeError);
        let mut session = open();
        session.begin(1, ROOT).send(Frame::new(WINDOW_UPDATE, 0, 1, vec![1; len]));
        session.expect_goaway(Code::FrameSizeError);
    }
}

#[test]
fn rfc9113_6_9_the_reserved_bit_of_an_increment_is_ignored() {
    let mut session = asked_with_window(0);
    session.send(window_update(1, 1 << 31 | 2));
    expect_part(&mut session, 0, 2);
    open().send(window_update(0, 1 << 31)).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_6_9_updates_on_a_stream_that_has_ended_are_no_fault() {
    let mut session = open();
    session.request(1, HC).expect_status(1, 200);
    session.send(window_update(1, 5)).expect_nothing(1).serves(3);
}

#[test]
fn rfc9113_6_9_1_no_more_is_sent_than_a_window_of_1_takes() {
    let mut session = asked_with_window(1);
    expect_part(&mut session, 0, 1);
}

#[test]
fn rfc9113_6_9_1_a_window_of_0_takes_a_head_and_no_body() {
    let mut session = asked_with_window(0);
    expect_part(&mut session, 0, 0);
}

#[test]
fn rfc9113_6_9_1_a_window_that_is_just_large_enough_ends_the_stream() {
    let mut session = asked_with_window(BODY.len() as u32);
    expect_part(&mut session, 0, BODY.len());
}

#[test]
fn rfc9113_6_9_1_a_window_that_is_one_too_small_does_not() {
    let mut session = asked_with_window(BODY.len() as u32 - 1);
    expect_part(&mut session, 0, BODY.len() - 1);
    session.send(window_update(1, 1));
    expect_part(&mut session, BODY.len() - 1, BODY.len());
}

#[test]
fn rfc9113_6_9_1_every_update_lets_out_what_it_says() {
    let mut session = asked_with_window(0);
    let mut sent = 0;
    for increment in [1, 2, 3, 5, 7] {
        session.send(window_update(1, increment as u32));
        expect_part(&mut session, sent, sent + increment);
        sent += increment;
    }
    session.send(window_update(1, 100));
    expect_part(&mut session, sent, BODY.len());
}

#[test]
fn rfc9113_6_9_1_updates_add_up() {
    let mut session = asked_with_window(0);
    session.send_all([window_update(1, 1), window_update(1, 1), window_update(1, 2)]);
    expect_part(&mut session, 0, 4);
}

#[test]
fn rfc9113_6_9_1_updates_may_come_before_they_are_needed() {
    let mut session = open_with(&[(INITIAL_WINDOW_SIZE, 0)]);
    session.begin(1, ROOT).send(window_update(1, 5)).send(data(1, []).end_stream()).expect_head(1);
    expect_part(&mut session, 0, 5);
}

#[test]
fn rfc9113_6_9_1_an_answer_without_a_body_needs_no_window() {
    let mut session = open_with(&[(INITIAL_WINDOW_SIZE, 0)]);
    session.request(1, HC).expect_status(1, 200);
}

#[test]
fn rfc9113_6_9_1_a_window_above_its_maximum_ends_the_connection() {
    open().send_all([window_update(0, WINDOW_MAX), window_update(0, WINDOW_MAX)]).expect_goaway(Code::FlowControlError);
}

#[test]
fn rfc9113_6_9_1_a_window_one_above_its_maximum_ends_the_connection() {
    let mut session = open();
    session.send(window_update(0, WINDOW_MAX - WINDOW as u32)).serves(1);
    // Nineteen octets have been spent meanwhile.
    session.send(window_update(0, BODY.len() as u32)).expect_alive();
    session.send(window_update(0, 1)).expect_goaway(Code::FlowControlError);
}

#[test]
fn rfc9113_6_9_1_a_window_above_its_maximum_resets_the_stream() {
    let mut session = open();
    session.begin(1, ROOT).send_all([window_update(1, WINDOW_MAX), window_update(1, WINDOW_MAX)]);
    session.wait_for_reset(1, Code::FlowControlError);
    session.serves(3);
}

#[test]
fn rfc9113_6_9_1_a_window_one_above_its_maximum_resets_the_stream() {
    let mut session = asked_with_window(0);
    session.begin(3, ROOT).send(window_update(3, WINDOW_MAX)).expect_nothing(3);
    session.send(window_update(3, 1)).expect_reset(3, Code::FlowControlError);
    session.send(window_update(1, 19));
    expect_part(&mut session, 0, BODY.len());
}

#[test]
fn rfc9113_6_9_1_the_connection_has_a_window_of_its_own() {
    let mut session = open();
    // Each answer takes nineteen of the 65,535 octets that there are; the last finds too few.
    let whole = (WINDOW / BODY.len()) as u32;
    for hundred in (0..whole).step_by(100) {
        let streams = (hundred..whole.min(hundred + 100)).map(|count| 1 + 2 * count);
        for stream in streams.clone() {
            session.request(stream, ROOT);
        }
        for stream in streams {
            session.expect_root(stream);
        }
    }
    let (last, left) = (1 + 2 * whole, WINDOW % BODY.len());
    session.request(last, ROOT).expect_head(last);
    assert_eq!(session.settled_data(last), (BODY[..left].to_vec(), false));
    // Credit for the stream is of no use; credit for the connection is.
    session.send(window_update(last, 1000)).expect_nothing(last);
    session.send(window_update(0, 1));
    assert_eq!(session.settled_data(last), (BODY[left..=left].to_vec(), false));
    session.send(window_update(0, 1000));
    assert_eq!(session.settled_data(last), (BODY[left + 1..].to_vec(), true));
}

#[test]
fn rfc9113_6_9_1_an_event_larger_than_the_windows_waits_for_credit() {
    let Some(server) = Server::only_ours() else { return };
    let mut session = server.open_with(&[(INITIAL_WINDOW_SIZE, 200_000)]);
    session.request(1, super::SUBSCRIBE).expect_head(1);
    let (opening, _) = session.settled_data(1);
    let text = "x".repeat(100_000);
    session.server.stage().say("a", &format!("\"{text}\""));
    session.receive_until_window(1, WINDOW - opening.len());
    session.send(window_update(0, 1));
    assert_eq!(session.settled_data(1).0.len(), 1);
    session.send(window_update(0, 1000));
    assert_eq!(session.settled_data(1).0.len(), 1000);
    session.send(window_update(0, 100_000));
    let (rest, ended) = session.settled_data(1);
    assert!(rest.ends_with(b"\n\n") && !ended, "the event is whole and the stream goes on");
}

#[test]
fn rfc9113_6_9_2_a_new_initial_window_counts_for_streams_that_stand() {
    let mut session = asked_with_window(0);
    session.send(settings(&[(INITIAL_WINDOW_SIZE, 1)])).expect_settings_ack();
    expect_part(&mut session, 0, 1);
    session.send(settings(&[(INITIAL_WINDOW_SIZE, 10)])).expect_settings_ack();
    expect_part(&mut session, 1, 10);
    session.send(settings(&[(INITIAL_WINDOW_SIZE, 100)])).expect_settings_ack();
    expect_part(&mut session, 10, BODY.len());
}

#[test]
fn rfc9113_6_9_2_a_window_may_become_negative() {
    let mut session = asked_with_window(10);
    expect_part(&mut session, 0, 10);
    // Seven have been sent too many.
    session.send(settings(&[(INITIAL_WINDOW_SIZE, 3)])).expect_settings_ack();
    session.send(window_update(1, 7)).expect_nothing(1);
    session.send(window_update(1, 1));
    expect_part(&mut session, 10, 11);
}

#[test]
fn rfc9113_6_9_2_a_negative_window_grows_with_the_initial_one() {
    let mut session = asked_with_window(3);
    expect_part(&mut session, 0, 3);
    session.send(settings(&[(INITIAL_WINDOW_SIZE, 2)])).expect_settings_ack();
    session.send(settings(&[(INITIAL_WINDOW_SIZE, 0)])).expect_settings_ack();
    session.send(settings(&[(INITIAL_WINDOW_SIZE, 3)])).expect_settings_ack().expect_nothing(1);
    session.send(settings(&[(INITIAL_WINDOW_SIZE, 5)])).expect_settings_ack();
    expect_part(&mut session, 3, 5);
}

#[test]
fn rfc9113_6_9_2_credit_is_kept_when_the_initial_window_changes() {
    let mut session = open_with(&[(INITIAL_WINDOW_SIZE, 0)]);
    session.begin(1, ROOT).send(window_update(1, 4)).send(settings(&[(INITIAL_WINDOW_SIZE, 2)]));
    session.send(data(1, []).end_stream()).expect_head(1);
    expect_part(&mut session, 0, 6);
}

#[test]
fn rfc9113_6_9_2_a_new_initial_window_is_not_the_connections() {
    let Some(mut session) = open_ours() else { return };
    session.send(settings(&[(INITIAL_WINDOW_SIZE, WINDOW_MAX)])).expect_settings_ack();
    session.request(1, super::SUBSCRIBE).expect_head(1);
    let (opening, _) = session.settled_data(1);
    session.server.stage().say("a", &format!("\"{}\"", "x".repeat(100_000)));
    session.receive_until_window(1, WINDOW - opening.len());
}

#[test]
fn rfc9113_6_9_2_an_initial_window_that_lifts_a_stream_too_high_ends_the_connection() {
    let mut session = open_with(&[(INITIAL_WINDOW_SIZE, 0)]);
    session.begin(1, ROOT).send(window_update(1, WINDOW_MAX)).expect_nothing(1);
    session.send(settings(&[(INITIAL_WINDOW_SIZE, 1)])).expect_goaway(Code::FlowControlError);
}

#[test]
fn rfc9113_6_9_2_an_initial_window_above_the_maximum_ends_the_connection() {
    open().send(settings(&[(INITIAL_WINDOW_SIZE, WINDOW_MAX + 1)])).expect_goaway(Code::FlowControlError);
}

#[test]
fn rfc9113_6_9_bodies_larger_than_the_windows_are_taken_with_their_credit() {
    let mut session = open();
    let (mut window, mut of_stream) = (WINDOW, session.setting(INITIAL_WINDOW_SIZE).unwrap_or(65_535) as usize);
    let body = format!("{}{EVENT}", " ".repeat(200_000));
    session.begin(1, PUBLISH);
    let mut rest = body.as_bytes();
    while !rest.is_empty() {
        if window == 0 {
            window += session.expect_window_update(0) as usize;
        }
        if of_stream == 0 {
            of_stream += session.expect_window_update(1) as usize;
        }
        let (now, later) = rest.split_at(rest.len().min(window).min(of_stream).min(16_384));
        (window, of_stream) = (window - now.len(), of_stream - now.len());
        session.send(data(1, now));
        rest = later;
    }
    session.send(data(1, []).end_stream()).expect_status(1, 202);
}

#[test]
fn rfc9113_6_9_bodies_that_nobody_reads_give_their_credit_back() {
    let mut session = open();
    let (mut window, mut of_stream) = (WINDOW, session.setting(INITIAL_WINDOW_SIZE).unwrap_or(65_535) as usize);
    session.begin(1, ROOT);
    for _ in 0..100 {
        while window < 2000 {
            window += session.expect_window_update(0) as usize;
        }
        while of_stream < 2000 {
            of_stream += session.expect_window_update(1) as usize;
        }
        (window, of_stream) = (window - 2000, of_stream - 2000);
        session.send(data(1, [b'x'; 2000]));
    }
    session.send(data(1, []).end_stream()).expect_root(1).serves(3);
}

#[test]
fn rfc9113_5_2_a_stream_without_a_window_does_not_stop_others() {
    let mut session = asked_with_window(0);
    session.request(3, ROOT).expect_head(3);
    session.send(window_update(3, 100));
    assert_eq!(session.settled_data(3), (BODY.to_vec(), true));
    expect_part(&mut session, 0, 0);
}
