//! Starting HTTP/2 (§3): prefaces, and what is none.

use super::{ROOT, Server, open, open_ours};
use crate::support::h2::{
    self, Code, Event, HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE, PREFACE, Peer, headers, ping, settings, settings_ack,
};
use crate::support::hpack;
use crate::support::http::{Connection, head};

#[test]
fn rfc9113_3_3_prior_knowledge_is_enough() {
    open().serves(1);
}

#[test]
fn rfc9113_3_1_an_upgrade_to_h2c_is_ignored() {
    let Some(server) = Server::only_ours() else { return };
    let mut connection = Connection::open(server.address);
    let upgrade = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAQAAP__")];
    connection.send(head("GET", "/hc", &upgrade, None));
    let answer = connection.read_answer();
    assert_eq!((answer.head.version.as_str(), answer.status()), ("HTTP/1.1", 200), "{answer:?}");
    assert_eq!(answer.header("upgrade"), None);
    connection.send(head("GET", "/hc", &[], None));
    assert_eq!(connection.read_answer().status(), 200);
}

#[test]
fn rfc9113_3_4_the_server_announces_its_settings_first() {
    let Some(session) = open_ours() else { return };
    assert_eq!(session.setting(HEADER_TABLE_SIZE), Some(0));
    assert_eq!(session.setting(MAX_CONCURRENT_STREAMS), Some(1000));
    assert!(session.setting(INITIAL_WINDOW_SIZE).is_some_and(|window| window >= 65_535));
    assert_eq!(session.setting(MAX_HEADER_LIST_SIZE), Some(16_384));
    assert_eq!(session.setting(MAX_FRAME_SIZE).unwrap_or(16_384), 16_384);
    assert_eq!(session.setting(h2::ENABLE_PUSH).unwrap_or(0), 0, "a server may announce nothing else");
}

#[test]
fn rfc9113_3_4_a_preface_may_come_octet_by_octet() {
    let mut session = Server::start().connect();
    for octet in [PREFACE.to_vec(), settings(&[(INITIAL_WINDOW_SIZE, 100)]).bytes()].concat() {
        session.send_raw([octet]);
    }
    session.expect_settings();
    session.expect_settings_ack().acknowledge();
    session.serves(1);
}

#[test]
fn rfc9113_3_4_a_preface_may_come_in_any_two_pieces() {
    let server = Server::start();
    let bytes = [PREFACE.to_vec(), settings(&[]).bytes()].concat();
    for cut in 1..bytes.len() {
        let mut peer = Peer::connect(server.address);
        peer.send_raw(&bytes[..cut]).send_raw(&bytes[cut..]);
        peer.expect_settings();
        peer.expect_settings_ack().expect_alive();
    }
}

#[test]
fn rfc9113_3_4_a_client_need_not_wait_for_the_servers_preface() {
    let mut session = Server::start().connect();
    let request = headers(1, hpack::plain(ROOT)).end_headers().end_stream();
    session.send_raw([PREFACE.to_vec(), settings(&[]).bytes(), request.bytes()].concat());
    session.expect_settings();
    session.expect_settings_ack().acknowledge();
    session.note_stream(1).expect_root(1).serves(3);
}

#[test]
fn rfc9113_3_4_a_broken_preface_is_not_served() {
    let server = Server::start();
    let prefaces = [
        "INVALID CONNECTION PREFACE\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n",
        "PRI /hc HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "pri * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for preface in prefaces {
        let mut connection = Connection::open(server.address);
        connection.try_send([preface.as_bytes(), &settings(&[]).bytes()].concat());
        let _ = connection.socket().shutdown(std::net::Shutdown::Write);
        let answer = connection.read_to_end();
        // Frames or nothing, and GOAWAY may be omitted: the peer may not speak HTTP/2 at all. Then a refusal is due.
        let refused = answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 5");
        let frames = !answer.starts_with(b"HTTP/");
        assert!(frames || refused, "{preface:?}: {:?}", String::from_utf8_lossy(&answer));
    }
}

#[test]
fn rfc9113_3_4_a_preface_without_settings_is_a_connection_error() {
    let server = Server::start();
    let request = headers(1, hpack::plain(ROOT)).end_headers().end_stream();
    for (what, frame) in [("PING", ping(*b"too soon")), ("HEADERS", request), ("an ACK", settings_ack())] {
        let mut peer = Peer::connect(server.address);
        peer.send_raw(PREFACE).send(frame);
        let (last, _) = peer.read_goaway(&[Code::ProtocolError]);
        assert_eq!(last, 0, "nothing was served before {what}");
        let _ = peer.socket().shutdown(std::net::Shutdown::Write);
        peer.expect_close();
    }
}

#[test]
fn rfc9113_3_4_the_servers_preface_comes_before_an_answer() {
    let mut session = Server::start().connect();
    let request = headers(1, hpack::plain(ROOT)).end_headers().end_stream();
    session.send_raw([PREFACE.to_vec(), settings(&[]).bytes(), request.bytes()].concat());
    let first = session.wait("the first frame", |event| crate::support::h2::Verdict::Take(event.clone()));
    assert!(matches!(first, Event::Settings(_)), "{first:?}");
    session.expect_root(1);
}
