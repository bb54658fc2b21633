use super::*;
use crate::wire::h2::frame::{HEAD_LEN, PAYLOAD_LEN_MAX, WINDOW_MAX};
use crate::wire::h2::hpack::Fields;

const BOUNDS: Bounds = Bounds { streams_max: 3, ping_every: 100 };

/// A client's side of a session, in frames.
struct Peer {
    session: Session,
    fields: Fields,
    tick: u32,
}

impl Peer {
    /// One that has sent its preface and SETTINGS with these values.
    fn greeted(settings: &[(u16, u32)]) -> Self {
        let mut peer = Self { session: Session::new(&BOUNDS, 0), fields: Fields::default(), tick: 0 };
        let mut bytes = PREFACE.to_vec();
        frame::write_settings(settings, &mut bytes);
        assert_eq!(peer.send(&bytes), ["Settled"]);
        peer.session.take_output();
        peer
    }

    /// What the server makes of `bytes`.
    fn send(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.session.next(&mut bytes, &mut self.fields, &BOUNDS, self.tick) {
            events.push(format!("{event:?}"));
        }
        assert!(bytes.is_empty(), "every frame was whole");
        events
    }

    fn frame(&mut self, kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<String> {
        let mut bytes = Vec::new();
        frame::write(kind, flags, stream, payload, &mut bytes);
        self.send(&bytes)
    }

    /// A request on `stream`, taken under its number as key.
    fn request(&mut self, stream: u32, ends: bool) {
        let flags = frame::END_HEADERS | u8::from(ends);
        let events = self.frame(Kind::Headers, flags, stream, &[0x82, 0x84, 0x86]);
        assert_eq!(events, [format!("Request {{ id: {stream}, ends: {ends} }}")]);
        self.session.adopt(stream, stream);
    }

    /// The frames that the server says.
    fn said(&mut self) -> Vec<(Kind, u8, u32, Vec<u8>)> {
        let output = self.session.take_output();
        let (mut rest, mut frames) = (&output[..], Vec::new());
        while let Some(head) = Head::parse(rest) {
            let payload = &rest[HEAD_LEN..HEAD_LEN + head.len];
            frames.push((head.kind, head.flags, head.stream, payload.to_vec()));
            rest = &rest[HEAD_LEN + head.len..];
        }
        frames
    }

    fn fails_with(&mut self, events: Vec<String>, code: Code) {
        assert!(events.last().is_some_and(|event| event.contains(&format!("code: {code:?}"))), "{events:?}");
        let last = self.said().pop().expect("a GOAWAY");
        assert_eq!((last.0, &last.3[4..8]), (Kind::GoAway, &(code as u32).to_be_bytes()[..]));
    }

    fn resets_with(&mut self, stream: u32, code: Code) {
        let said = self.said();
        let want = (Kind::RstStream, 0, stream, (code as u32).to_be_bytes().to_vec());
        assert!(said.contains(&want), "{said:?}");
    }
}

#[test]
fn settings_come_first_and_the_peers_are_acknowledged() {
    let mut peer = Peer { session: Session::new(&BOUNDS, 0), fields: Fields::default(), tick: 0 };
    let said = peer.said();
    assert_eq!(said[0].0, Kind::Settings);
    assert_eq!(frame::settings(&said[0].3).next(), Some((setting::HEADER_TABLE_SIZE, 0)));
    let mut bytes = PREFACE.to_vec();
    frame::write_settings(&[], &mut bytes);
    peer.send(&bytes);
    assert_eq!(peer.said(), [(Kind::Settings, frame::ACK, 0, Vec::new())]);
}

#[test]
fn windows_are_spent_and_refunded_to_the_byte() {
    let mut peer = Peer::greeted(&[(setting::INITIAL_WINDOW_SIZE, 10)]);
    peer.request(1, true);
    assert_eq!(peer.session.room(1), 10);
    peer.session.spend(1, 7);
    assert_eq!(peer.session.room(1), 3);
    peer.session.refund(1, 2);
    assert_eq!(peer.session.room(1), 5);
    assert_eq!(peer.frame(Kind::WindowUpdate, 0, 1, &1u32.to_be_bytes()), ["Opened { key: Some(1) }"]);
    assert_eq!(peer.session.room(1), 6);
}

#[test]
fn the_connections_window_holds_for_all_its_streams() {
    let mut peer = Peer::greeted(&[(setting::INITIAL_WINDOW_SIZE, WINDOW_MAX)]);
    peer.request(1, true);
    peer.request(3, true);
    while peer.session.room(1) > 0 {
        peer.session.spend(1, peer.session.room(1).min(PAYLOAD_LEN_MAX));
    }
    assert!(peer.session.is_shut());
    assert_eq!(peer.session.room(3), 0);
    assert_eq!(peer.frame(Kind::WindowUpdate, 0, 0, &5u32.to_be_bytes()), ["Opened { key: None }"]);
    assert_eq!(peer.session.room(3), 5);
}

#[test]
fn a_smaller_initial_window_may_leave_a_stream_below_zero() {
    let mut peer = Peer::greeted(&[(setting::INITIAL_WINDOW_SIZE, 10)]);
    peer.request(1, true);
    peer.session.spend(1, 8);
    let mut bytes = Vec::new();
    frame::write_settings(&[(setting::INITIAL_WINDOW_SIZE, 3)], &mut bytes);
    peer.send(&bytes);
    assert_eq!(peer.session.room(1), 0);
    peer.frame(Kind::WindowUpdate, 0, 1, &5u32.to_be_bytes());
    assert_eq!(peer.session.room(1), 0, "-5 and 5 are nothing");
    peer.frame(Kind::WindowUpdate, 0, 1, &1u32.to_be_bytes());
    assert_eq!(peer.session.room(1), 1);
}

#[test]
fn data_goes_out_as_far_as_the_window_allows_and_ends_with_its_last_byte() {
    let mut peer = Peer::greeted(&[(setting::INITIAL_WINDOW_SIZE, 4)]);
    peer.request(1, true);
    assert_eq!(peer.session.write_data(1, b"hello", true), 4);
    assert_eq!(peer.said(), [(Kind::Data, 0, 1, b"hell".to_vec())]);
    peer.frame(Kind::WindowUpdate, 0, 1, &9u32.to_be_bytes());
    assert_eq!(peer.session.write_data(1, b"o", true), 1);
    assert_eq!(peer.said(), [(Kind::Data, frame::END_STREAM, 1, b"o".to_vec())]);
    assert_eq!(peer.session.stream_count(), 0);
}

#[test]
fn the_first_field_block_says_that_there_is_no_table() {
    let mut peer = Peer::greeted(&[]);
    peer.request(1, true);
    peer.session.write_fields(1, false, |out| out.push(0x88));
    peer.session.write_fields(1, true, |out| out.push(0x89));
    let blocks: Vec<Vec<u8>> = peer.said().into_iter().map(|frame| frame.3).collect();
    assert_eq!(blocks, [vec![0x20, 0x88], vec![0x89]]);
}

#[test]
fn more_than_a_window_of_data_is_an_error_and_what_was_used_comes_back() {
    let mut peer = Peer::greeted(&[]);
    peer.request(1, false);
    let chunk = vec![0; PAYLOAD_LEN_MAX];
    let frames = STREAM_WINDOW as usize / PAYLOAD_LEN_MAX;
    for _ in 0..frames {
        assert_eq!(peer.frame(Kind::Data, 0, 1, &chunk).len(), 1);
    }
    peer.session.give_credit(1, STREAM_WINDOW as usize / 2);
    let want = (Kind::WindowUpdate, 0, 1, (STREAM_WINDOW / 2).to_be_bytes().to_vec());
    assert_eq!(peer.said(), [want]);
    for _ in 0..frames / 2 {
        peer.frame(Kind::Data, 0, 1, &chunk);
    }
    assert_eq!(peer.frame(Kind::Data, 0, 1, b"x"), ["Reset { key: 1 }"]);
    peer.resets_with(1, Code::FlowControlError);
}

#[test]
fn what_is_still_under_way_to_a_stream_that_we_reset_is_ignored() {
    let mut peer = Peer::greeted(&[]);
    peer.request(1, false);
    peer.session.reset(1, Code::Cancel);
    peer.said();
    assert_eq!(peer.frame(Kind::Data, 0, 1, b"late"), [""; 0]);
    assert_eq!(peer.frame(Kind::Headers, frame::END_HEADERS | frame::END_STREAM, 1, &[0x82]), [""; 0]);
    assert_eq!(peer.said(), []);
}

#[test]
fn a_stream_that_both_have_ended_is_half_closed_until_its_last_bytes_are_taken() {
    let mut peer = Peer::greeted(&[]);
    peer.request(1, true);
    peer.session.write_fields(1, true, |out| out.push(0x88));
    assert_eq!(peer.frame(Kind::Headers, frame::END_HEADERS, 1, &[0x82]), ["Reset { key: 1 }"]);
    peer.resets_with(1, Code::StreamClosed);

    peer.request(3, true);
    peer.session.write_fields(3, true, |out| out.push(0x88));
    peer.said();
    let events = peer.frame(Kind::Headers, frame::END_HEADERS, 3, &[0x82]);
    peer.fails_with(events, Code::StreamClosed);
}

#[test]
fn numbers_left_out_are_not_closed_streams() {
    let mut peer = Peer::greeted(&[]);
    peer.request(5, true);
    let events = peer.frame(Kind::Headers, frame::END_HEADERS, 3, &[0x82]);
    peer.fails_with(events, Code::ProtocolError);
}

#[test]
fn streams_over_the_limit_are_refused_and_counted_no_more() {
    let mut peer = Peer::greeted(&[]);
    for stream in [1, 3, 5] {
        peer.request(stream, true);
    }
    assert_eq!(peer.frame(Kind::Headers, frame::END_HEADERS, 7, &[0x82, 0x84, 0x86]), [""; 0]);
    peer.resets_with(7, Code::RefusedStream);
    assert_eq!(peer.frame(Kind::RstStream, 0, 3, &8u32.to_be_bytes()), ["Reset { key: 3 }"]);
    peer.request(9, true);
}

#[test]
fn floods_end_at_the_edge_of_the_bucket() {
    use crate::base::limits::H2_CONTROL_FRAMES_MAX;
    for (kind, stream, payload) in [
        (Kind::Settings, 0, vec![]),
        (Kind::Priority, 1, vec![0, 0, 0, 9, 0]),
        (Kind::WindowUpdate, 0, vec![0, 0, 0, 1]),
        (Kind::Unknown(0x77), 0, vec![]),
    ] {
        let mut peer = Peer::greeted(&[]);
        // The first SETTINGS were charged for already.
        for _ in 1..H2_CONTROL_FRAMES_MAX {
            let events = peer.frame(kind, 0, stream, &payload);
            assert!(!events.iter().any(|event| event.contains("Failed")), "{kind:?} {events:?}");
        }
        let events = peer.frame(kind, 0, stream, &payload);
        peer.fails_with(events, Code::EnhanceYourCalm);
    }
}

#[test]
fn a_block_of_too_many_frames_ends_the_connection() {
    use crate::base::limits::H2_BLOCK_FRAMES_MAX;
    let mut peer = Peer::greeted(&[]);
    peer.frame(Kind::Headers, 0, 1, &[0x82]);
    for _ in 0..H2_BLOCK_FRAMES_MAX {
        assert_eq!(peer.frame(Kind::Continuation, 0, 1, b""), [""; 0]);
    }
    let events = peer.frame(Kind::Continuation, frame::END_HEADERS, 1, &[0x84]);
    peer.fails_with(events, Code::EnhanceYourCalm);
}

#[test]
fn where_the_stream_is_cut_does_not_matter() {
    let mut bytes = PREFACE.to_vec();
    frame::write_settings(&[], &mut bytes);
    frame::write(Kind::Headers, frame::END_HEADERS, 1, &[0x82, 0x84, 0x86], &mut bytes);
    frame::write(Kind::Data, 0, 1, b"hello", &mut bytes);
    frame::write(Kind::Ping, 0, 0, b"12345678", &mut bytes);
    frame::write(Kind::RstStream, 0, 1, &8u32.to_be_bytes(), &mut bytes);
    let heard = |pieces: &[&[u8]]| {
        let (mut session, mut fields) = (Session::new(&BOUNDS, 0), Fields::default());
        let (mut events, mut kept) = (Vec::new(), Vec::new());
        for piece in pieces {
            kept.extend_from_slice(piece);
            let bytes = std::mem::take(&mut kept);
            let mut input = &bytes[..];
            while let Some(event) = session.next(&mut input, &mut fields, &BOUNDS, 0) {
                if let Event::Request { id, .. } = event {
                    session.adopt(id, 7);
                }
                events.push(format!("{event:?}"));
            }
            kept = input.to_vec();
        }
        (events, session.take_output())
    };
    let whole = heard(&[&bytes]);
    for cut in 0..=bytes.len() {
        assert_eq!(heard(&[&bytes[..cut], &bytes[cut..]]), whole, "cut at {cut}");
    }
}

#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<Session>() <= 224, "{}", size_of::<Session>());
}

#[test]
fn a_stream_that_the_peer_gave_up_is_closed_for_it() {
    let mut peer = Peer::greeted(&[]);
    peer.request(1, false);
    assert_eq!(peer.frame(Kind::RstStream, 0, 1, &8u32.to_be_bytes()), ["Reset { key: 1 }"]);
    assert_eq!(peer.frame(Kind::Data, 0, 1, b"x"), [""; 0]);
    peer.resets_with(1, Code::StreamClosed);
}

#[test]
fn data_on_a_stream_that_both_have_ended_ends_the_connection() {
    let mut peer = Peer::greeted(&[]);
    peer.request(1, true);
    peer.session.write_fields(1, true, |out| out.push(0x88));
    peer.said();
    let events = peer.frame(Kind::Data, 0, 1, b"x");
    peer.fails_with(events, Code::StreamClosed);
}

#[test]
fn how_streams_ended_is_forgotten_in_favour_of_the_peer() {
    let mut peer = Peer::greeted(&[]);
    let last = 2 * 100 + 1;
    for stream in (1..=last).step_by(2) {
        peer.request(stream, false);
        peer.session.reset(stream, Code::NoError);
    }
    peer.said();
    for stream in [1, last] {
        assert_eq!(peer.frame(Kind::Data, 0, stream, b"late"), [""; 0]);
    }
    assert_eq!(peer.said(), []);
}
