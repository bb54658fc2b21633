//! SETTINGS (§6.5): layout, values, and that they hold from the moment of their acknowledgement.

use super::{HC, ROOT, Server, open, open_with};
use crate::support::h2::{
    ACK, Code, ENABLE_PUSH, FRAME_LEN_MAX, Frame, HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE, Peer, SETTINGS, WINDOW_MAX, settings,
};

/// Checks that a setting is refused with this code, in the preface and later.
fn refused(setting: (u16, u32), code: Code) {
    let server = Server::start();
    Peer::open(server.address).send(settings(&[setting])).expect_goaway(code);
    let mut peer = Peer::connect(server.address);
    peer.send_raw(crate::support::h2::PREFACE).send(settings(&[setting]));
    peer.expect_settings();
    peer.expect_goaway(code);
    // What stands before it does not save it.
    let hidden = settings(&[(MAX_CONCURRENT_STREAMS, 1), setting, (MAX_CONCURRENT_STREAMS, 2)]);
    Peer::open(server.address).send(hidden).expect_goaway(code);
}

/// Checks that a setting is taken.
fn taken(setting: (u16, u32)) {
    open().send(settings(&[setting])).expect_settings_ack().serves(1);
}

#[test]
fn rfc9113_6_5_an_ack_with_a_payload_is_a_connection_error() {
    for payload in [vec![0], vec![0, 4, 0, 0, 0, 1]] {
        open().send(Frame::new(SETTINGS, ACK, 0, payload)).expect_goaway(Code::FrameSizeError);
    }
}

#[test]
fn rfc9113_6_5_settings_on_a_stream_are_a_connection_error() {
    let mut session = open();
    session.begin(1, ROOT);
    let mut frame = settings(&[(MAX_CONCURRENT_STREAMS, 1)]);
    frame.stream = 1;
    session.send(frame).expect_goaway(Code::ProtocolError);
    open().send(Frame::new(SETTINGS, ACK, 1, [])).expect_goaway(Code::ProtocolError);
}

#[test]
fn rfc9113_6_5_settings_of_another_length_are_a_connection_error() {
    for len in [1, 3, 5, 7] {
        open().send(Frame::new(SETTINGS, 0, 0, vec![0; len])).expect_goaway(Code::FrameSizeError);
    }
}

#[test]
fn rfc9113_6_5_2_enable_push_is_0_or_1() {
    refused((ENABLE_PUSH, 2), Code::ProtocolError);
    refused((ENABLE_PUSH, u32::MAX), Code::ProtocolError);
    taken((ENABLE_PUSH, 0));
    taken((ENABLE_PUSH, 1));
}

#[test]
fn rfc9113_6_5_2_a_window_has_31_bits() {
    refused((INITIAL_WINDOW_SIZE, WINDOW_MAX + 1), Code::FlowControlError);
    refused((INITIAL_WINDOW_SIZE, u32::MAX), Code::FlowControlError);
    taken((INITIAL_WINDOW_SIZE, WINDOW_MAX));
}

#[test]
fn rfc9113_6_5_2_a_frame_size_below_the_first_is_refused() {
    refused((MAX_FRAME_SIZE, FRAME_LEN_MAX as u32 - 1), Code::ProtocolError);
    refused((MAX_FRAME_SIZE, 0), Code::ProtocolError);
}

#[test]
fn rfc9113_6_5_2_a_frame_size_above_the_largest_is_refused() {
    refused((MAX_FRAME_SIZE, 1 << 24), Code::ProtocolError);
    refused((MAX_FRAME_SIZE, u32::MAX), Code::ProtocolError);
}

#[test]
fn rfc9113_6_5_2_frame_sizes_in_between_are_taken() {
    taken((MAX_FRAME_SIZE, FRAME_LEN_MAX as u32));
    taken((MAX_FRAME_SIZE, (1 << 24) - 1));
}

#[test]
fn rfc9113_6_5_2_settings_without_bounds_take_anything() {
    for id in [HEADER_TABLE_SIZE, MAX_CONCURRENT_STREAMS, MAX_HEADER_LIST_SIZE] {
        for value in [0, 1, u32::MAX] {
            taken((id, value));
        }
    }
}

#[test]
fn rfc9113_6_5_2_unknown_settings_are_ignored() {
    // Extended CONNECT and the end of priorities have names, and mean nothing here; the latter must come first.
    for setting in [(0xFF, 1), (0, 0), (8, 1)] {
        taken(setting);
    }
    open_with(&[(8, 1), (9, 1)]).serves(1);
}

#[test]
fn rfc9113_6_5_3_settings_are_acknowledged() {
    open().send(settings(&[(ENABLE_PUSH, 0)])).expect_settings_ack().expect_alive();
}

#[test]
fn rfc9113_6_5_3_empty_settings_are_acknowledged() {
    open().send(settings(&[])).expect_settings_ack().expect_alive().expect_no_events();
}

#[test]
fn rfc9113_6_5_3_every_frame_of_settings_is_acknowledged_once() {
    let mut session = open();
    session.send_all((0..20).map(|count| settings(&[(INITIAL_WINDOW_SIZE, count)])));
    for _ in 0..20 {
        session.expect_settings_ack();
    }
    session.expect_alive().expect_no_events();
}

#[test]
fn rfc9113_6_5_3_an_acknowledgement_is_not_acknowledged() {
    open().expect_alive().expect_no_events();
}

#[test]
fn rfc9113_6_5_3_of_several_values_the_last_holds() {
    let mut session = open();
    session.send(settings(&[(INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)])).expect_settings_ack();
    session.request(1, ROOT).expect_head(1);
    assert_eq!(session.settled_data(1), (b"4".to_vec(), false));
}

#[test]
fn rfc9113_6_5_3_values_hold_for_what_is_asked_in_the_same_flight() {
    let mut session = open();
    let request = session.head(1, ROOT).end_stream();
    session.send_all([settings(&[(INITIAL_WINDOW_SIZE, 3)]), request]).expect_settings_ack().expect_head(1);
    assert_eq!(session.settled_data(1), (b"404".to_vec(), false));
}

#[test]
fn rfc9113_6_5_3_values_of_the_preface_hold_for_the_first_request() {
    let mut session = open_with(&[(INITIAL_WINDOW_SIZE, 3)]);
    session.request(1, ROOT).expect_head(1);
    assert_eq!(session.settled_data(1), (b"404".to_vec(), false));
}

#[test]
fn rfc9113_6_5_2_a_client_without_a_table_can_read_the_answers() {
    let mut session = open_with(&[(HEADER_TABLE_SIZE, 0)]);
    session.serves(1).request(3, HC).expect_status(3, 200);
    session.send(settings(&[(HEADER_TABLE_SIZE, 4096)])).expect_settings_ack().serves(5);
    session.send(settings(&[(HEADER_TABLE_SIZE, 0)])).expect_settings_ack().serves(7);
}
