//! Fields (§8.2) and pseudo-header fields (§8.3): whatever breaks their rules makes a request malformed.

use super::{Fields, HC, PUBLISH, ROOT, open, with, without};
use crate::support::h2::{Code, Peer, headers};
use crate::support::hpack::{self, WITHOUT_INDEXING};

/// Checks that each of these requests is malformed, and that the connection serves others in between.
fn malformed_each(requests: impl IntoIterator<Item = Vec<(&'static str, &'static str)>>) {
    let mut session = open();
    for (count, fields) in requests.into_iter().enumerate() {
        let stream = 1 + 4 * count as u32;
        session.request(stream, &fields).expect_reset(stream, Code::ProtocolError).serves(stream + 2);
    }
}

/// Checks that each of these is served as [`ROOT`] is.
fn served_each(requests: impl IntoIterator<Item = Vec<(&'static str, &'static str)>>) {
    let mut session = open();
    for (count, fields) in requests.into_iter().enumerate() {
        let stream = 1 + 2 * count as u32;
        session.request(stream, &fields).expect_root(stream);
    }
}

/// Checks that a field of these octets makes a request malformed, and that the next one is served.
fn malformed_field(peer: &mut Peer, stream: u32, name: &[u8], value: &[u8]) {
    let block = [hpack::plain(ROOT), hpack::literal(WITHOUT_INDEXING, name, value)].concat();
    let block = peer.raw_block(block);
    peer.send(headers(stream, block).end_headers().end_stream()).expect_reset(stream, Code::ProtocolError);
    peer.serves(stream + 2);
}

/// These fields with another value for one of them.
fn but(fields: Fields<'static>, name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    fields.iter().map(|field| if field.0 == name { (name, value) } else { *field }).collect()
}

#[test]
fn rfc9113_8_2_1_upper_case_in_a_name_is_malformed() {
    malformed_each([with(ROOT, &[("X-TEST", "ok")]), with(ROOT, &[("x-tesT", "ok")]), with(ROOT, &[("A", "")])]);
}

#[test]
fn rfc9113_8_2_1_octets_that_no_name_has_are_malformed() {
    let mut session = open();
    for (count, octet) in (0x00..=0x20).chain(b'A'..=b'Z').chain(0x7F..=0xFF).enumerate() {
        malformed_field(&mut session, 1 + 4 * count as u32, &[b'x', octet, b'y'], b"ok");
    }
}

#[test]
fn rfc9113_8_2_1_a_colon_within_a_name_is_malformed() {
    malformed_each([with(ROOT, &[("x:y", "ok")]), with(ROOT, &[("x:", "ok")])]);
}

#[test]
fn rfc9113_8_2_1_an_empty_name_is_malformed() {
    malformed_each([with(ROOT, &[("", "ok")]), with(ROOT, &[("", "")])]);
}

#[test]
fn rfc9113_8_2_1_octets_that_end_a_line_in_a_value_are_malformed() {
    let mut session = open();
    let values: [&[u8]; 6] = [b"\0", b"\r", b"\n", b"a\0b", b"a\r\nx: y", b"a\n"];
    for (count, value) in values.into_iter().enumerate() {
        malformed_field(&mut session, 1 + 4 * count as u32, b"x", value);
    }
}

#[test]
fn rfc9113_8_2_1_blanks_around_a_value_are_malformed() {
    malformed_each([" x", "x ", "\tx", "x\t", " "].map(|value| with(ROOT, &[("x", value)])));
}

#[test]
fn rfc9113_8_2_1_blanks_within_a_value_are_not() {
    served_each(["a b", "a\tb", "", "a, b;c=\"d\"", ":x"].map(|value| with(ROOT, &[("x", value)])));
}

#[test]
fn rfc9113_8_2_1_octets_above_ascii_in_a_value_are_taken() {
    let mut session = open();
    let value: Vec<u8> = (0x80..=0xFF).collect();
    let block = [hpack::plain(ROOT), hpack::literal(WITHOUT_INDEXING, "x", &value)].concat();
    let block = session.raw_block(block);
    session.send(headers(1, block).end_headers().end_stream()).expect_root(1);
}

#[test]
fn rfc9113_8_2_1_every_letter_of_a_token_may_stand_in_a_name() {
    served_each([with(ROOT, &[("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz", "ok")])]);
}

#[test]
fn rfc9113_8_2_2_connection_specific_fields_are_malformed() {
    let fields = [
        ("connection", "keep-alive"),
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "h2c"),
    ];
    malformed_each(fields.map(|(name, value)| [ROOT, &[(name, value)]].concat()));
}

#[test]
fn rfc9113_8_2_2_te_may_say_trailers_and_nothing_else() {
    served_each([with(ROOT, &[("te", "trailers")])]);
    malformed_each(["gzip", "trailers, deflate;q=0.5", "", "deflate"].map(|value| with(ROOT, &[("te", value)])));
}

#[test]
fn rfc9113_8_2_3_cookies_may_come_in_crumbs() {
    served_each([with(ROOT, &[("cookie", "a=b"), ("cookie", "c=d"), ("x", "y"), ("cookie", "e=f")])]);
}

#[test]
fn rfc9113_8_3_unknown_pseudo_header_fields_are_malformed() {
    let unknown = [(":test", "ok"), (":", "ok"), (":Method", "GET"), (":protocol", "websocket"), (":host", "x")];
    malformed_each(unknown.map(|field| [&[field], ROOT].concat()));
}

#[test]
fn rfc9113_8_3_pseudo_header_fields_of_answers_are_malformed() {
    malformed_each([[&[(":status", "200")], ROOT].concat(), with(ROOT, &[(":status", "200")])]);
}

#[test]
fn rfc9113_8_3_pseudo_header_fields_after_others_are_malformed() {
    let late = |name| {
        let field = *ROOT.iter().find(|(known, _)| *known == name).expect("a field of every request");
        [without(ROOT, name), vec![("x-test", "ok"), field]].concat()
    };
    malformed_each([":method", ":scheme", ":path", ":authority"].map(late));
}

#[test]
fn rfc9113_8_3_pseudo_header_fields_may_come_in_any_order() {
    let reversed: Vec<_> = ROOT.iter().rev().copied().collect();
    served_each([reversed]);
}

#[test]
fn rfc9113_8_3_1_a_request_without_its_pseudo_header_fields_is_malformed() {
    malformed_each([":method", ":scheme", ":path"].map(|name| without(ROOT, name)));
    malformed_each([vec![("x", "y")], vec![(":authority", "localhost")]]);
}

#[test]
fn rfc9113_8_3_1_a_pseudo_header_field_that_stands_twice_is_malformed() {
    malformed_each([
        [&[(":method", "GET")], ROOT].concat(),
        [&[(":method", "HEAD")], ROOT].concat(),
        [&[(":scheme", "http")], ROOT].concat(),
        [&[(":path", "/")], ROOT].concat(),
        [&[(":authority", "localhost")], ROOT].concat(),
    ]);
}

#[test]
fn rfc9113_8_3_1_an_empty_path_is_malformed() {
    malformed_each([but(ROOT, ":path", "")]);
}

#[test]
fn rfc9113_8_3_1_a_host_may_stand_for_the_authority() {
    served_each([with(&without(ROOT, ":authority"), &[("host", "localhost")])]);
}

#[test]
fn rfc9113_8_3_1_without_any_host_a_request_is_served_or_malformed() {
    // RFC 9113 knows no rule for this, RFC 9110 does; nghttp2 refuses it.
    open().request(1, &without(ROOT, ":authority")).expect_root_or_reset(1, Code::ProtocolError).serves(3);
}

#[test]
fn rfc9113_8_3_1_a_host_that_says_the_same_is_taken() {
    served_each([with(ROOT, &[("host", "localhost")])]);
}

#[test]
fn rfc9113_8_3_1_a_path_that_does_not_begin_with_a_slash_is_not_served() {
    let mut session = open();
    for (stream, path) in [(1, "hc"), (3, "http://localhost/hc"), (5, "*")] {
        session.request(stream, &but(HC, ":path", path));
        session.expect_refusal(stream, Code::ProtocolError);
    }
    session.serves(7);
}

#[test]
fn rfc9113_8_3_1_blanks_and_controls_in_a_path_are_not_served() {
    let mut session = open();
    for (stream, path) in [(1, "/hc "), (3, "/h c"), (5, "/hc\r\nx: y"), (7, "/hc\0"), (9, "/hc\x7F")] {
        session.request(stream, &but(HC, ":path", path));
        session.expect_refusal(stream, Code::ProtocolError);
    }
    session.serves(11);
}

#[test]
fn rfc9113_8_3_1_a_method_that_is_no_token_is_not_served() {
    let mut session = open();
    for (stream, method) in [(1, ""), (3, "G T"), (5, "GET\r\n"), (7, "GET /hc")] {
        session.request(stream, &but(HC, ":method", method));
        session.expect_refusal(stream, Code::ProtocolError);
    }
    session.serves(9);
}

#[test]
fn rfc9113_8_5_connect_with_a_scheme_or_a_path_is_malformed() {
    malformed_each([
        but(ROOT, ":method", "CONNECT"),
        without(&[(":method", "CONNECT"), (":scheme", "http"), (":authority", "localhost:80")], ":path"),
    ]);
}

#[test]
fn rfc9113_8_5_connect_is_refused_as_a_request() {
    let mut session = open();
    session.request(1, &[(":method", "CONNECT"), (":authority", "localhost:80")]);
    session.expect_refusal(1, Code::ConnectError);
    session.serves(3);
}

#[test]
fn rfc9113_8_3_1_a_malformed_head_is_reset_though_its_body_follows() {
    let mut session = open();
    session.begin(1, &without(PUBLISH, ":path")).expect_reset(1, Code::ProtocolError);
    session.send(crate::support::h2::data(1, *b"late").end_stream()).expect_nothing(1).serves(3);
}
