use proptest::prelude::*;

use super::*;

/// The verdict on `input`, which must be the same for a reader that saw any shorter part of it first.
fn every_cut(input: &[u8]) -> Result<Option<usize>, Refusal> {
    let verdict = |bytes| parse_head(bytes).map(|parsed| parsed.map(|(_, len)| len));
    let whole = verdict(input);
    for cut in 0..input.len() {
        match verdict(&input[..cut]) {
            Ok(None) => {}
            early => assert_eq!(early, whole, "cut at {cut}"),
        }
    }
    whole
}

fn status(input: impl AsRef<[u8]>) -> u16 {
    every_cut(input.as_ref()).expect_err("this should be refused").status
}

fn parse(input: &str) -> Head<'_> {
    let len = every_cut(input.as_bytes()).unwrap();
    assert_eq!(len, Some(input.len()));
    parse_head(input.as_bytes()).unwrap().unwrap().0
}

/// A request with those lines after its `Host`.
fn body_of(lines: &str) -> Result<BodyLength, u16> {
    parse(&format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).body().map_err(|refusal| refusal.status)
}

#[test]
fn a_browser_is_understood() {
    let head = parse(
        "GET /events/live?eventType=a%2Cb&x=? HTTP/1.1\r\nHost: example.org:8080\r\nConnection: keep-alive\r\n\
         accept: text/event-stream\r\nLast-Event-ID:  7 \t\r\nX-Utf8: \u{e9}\r\nCookie: a\r\nCOOKIE: b\r\n\r\n",
    );
    assert_eq!((head.method(), head.method_text()), (Method::Get, "GET"));
    assert_eq!(head.target(), "/events/live?eventType=a%2Cb&x=?");
    assert_eq!((head.path(), head.query()), ("/events/live", "eventType=a%2Cb&x=?"));
    assert_eq!(head.version_minor(), 1);
    assert_eq!(head.host(), Some(&b"example.org:8080"[..]));
    assert_eq!(head.field("LAST-event-id"), Some(&b"7"[..]));
    assert_eq!(head.fields("cookie").collect::<Vec<_>>(), [b"a", b"b"]);
    assert_eq!(head.field("x-utf8"), Some("\u{e9}".as_bytes()));
    assert_eq!(head.field("absent"), None);
    assert!(head.accepts_event_stream() && head.keep_alive() && !head.expects_continue());
    assert_eq!(head.body(), Ok(BodyLength::None));
}

#[test]
fn what_follows_the_head_is_left_alone() {
    let input = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /\n\n";
    assert_eq!(every_cut(input), Ok(Some(27)));
}

#[test]
fn a_few_empty_lines_before_a_request_are_forgiven() {
    let request = |lines| format!("{}GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n".repeat(lines));
    parse(&request(1));
    parse(&request(EMPTY_LINES_MAX));
    assert_eq!(status(request(EMPTY_LINES_MAX + 1)), 400);
    assert_eq!(status("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

#[test]
fn malformed_heads_are_refused() {
    for bad in [
        "GET\r\n\r\n",
        "GET /\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "G\0T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET / HTTP/11\r\nHost: a\r\n\r\n",
        "GET / http/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\tc\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA: b\rC: d\r\n\r\n",
        "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01",
    ] {
        assert_eq!(status(bad), 400, "{bad:?}");
    }
    assert_eq!(status(b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

#[test]
fn a_bare_line_feed_is_refused_as_soon_as_it_is_seen() {
    for bad in [
        "GET / HTTP/1.1\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nA: b\n\nHost: a\r\n\r\n",
    ] {
        assert_eq!(status(bad), 400, "{bad:?}");
    }
}

#[test]
fn a_request_names_one_host() {
    assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"), 400);
    assert_eq!(status("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n"), 400);
    for bad in ["a b", "a/b", "user@a", "a,b", "a?", "a\\b"] {
        assert_eq!(status(format!("GET / HTTP/1.1\r\nHost: {bad}\r\n\r\n")), 400, "{bad:?}");
    }
    assert_eq!(parse("GET / HTTP/1.0\r\n\r\n").host(), None);
    assert_eq!(parse("GET / HTTP/1.1\r\nHost:\r\n\r\n").host(), Some(&b""[..]));
    assert_eq!(parse("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n").host(), Some(&b"[::1]:80"[..]));
}

#[test]
fn the_target_may_be_absolute() {
    let head = parse("GET HTTP://b:80/hc?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((head.host(), head.path(), head.query()), (Some(&b"b:80"[..]), "/hc", "x=1"));
    assert_eq!(parse("GET https://b HTTP/1.1\r\nHost: a\r\n\r\n").path(), "/");
    for bad in ["ftp://b/", "http:///a", "http://u@b/", "http://b?x=1", "b:80", "hc", "?a", "*"] {
        assert_eq!(status(format!("GET {bad} HTTP/1.1\r\nHost: a\r\n\r\n")), 400, "{bad:?}");
    }
    assert_eq!(parse("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").path(), "*");
    assert_eq!(status("CONNECT b:80 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
}

#[test]
fn other_versions_are_told_so() {
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3.0"] {
        assert_eq!(status(format!("GET / {version}\r\nHost: a\r\n\r\n")), 505, "{version}");
    }
    assert_eq!(status(&H2_PREFACE[..18]), 505);
}

#[test]
fn the_http2_preface_is_recognised_at_every_cut() {
    for cut in 0..H2_PREFACE.len() {
        assert_eq!(is_h2_preface(&H2_PREFACE[..cut]), None, "cut at {cut}");
    }
    assert_eq!(is_h2_preface(H2_PREFACE), Some(true));
    assert_eq!(is_h2_preface(&[H2_PREFACE, b"\0\0\0"].concat()), Some(true));
    assert_eq!(is_h2_preface(b"POST"), Some(false));
    assert_eq!(is_h2_preface(b"PRI * HTTP/1.1"), Some(false));
}

#[test]
fn a_target_may_be_half_a_head_long_and_no_longer() {
    let request = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "t".repeat(len - 1));
    assert_eq!(parse_head(request(TARGET_LEN_MAX).as_bytes()).unwrap().unwrap().0.path().len(), TARGET_LEN_MAX);
    let refused = |input: &str| parse_head(input.as_bytes()).unwrap_err().status;
    assert_eq!(refused(&request(TARGET_LEN_MAX + 1)), 414);
    assert_eq!(refused(&request(2 * HEAD_LEN_MAX)), 414);
}

#[test]
fn a_head_may_fill_its_bound_and_no_more() {
    let request = |len: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(len - 32));
    let whole = request(HEAD_LEN_MAX);
    assert_eq!(parse_head(whole.as_bytes()).unwrap().unwrap().1, HEAD_LEN_MAX);
    assert_eq!(parse_head(format!("\r\n{whole}").as_bytes()).unwrap().unwrap().1, HEAD_LEN_MAX + 2);
    let over = request(HEAD_LEN_MAX + 1);
    assert_eq!(parse_head(over.as_bytes()).unwrap_err().status, 431);
    assert_eq!(parse_head(&over.as_bytes()[..HEAD_LEN_MAX]).unwrap_err().status, 431);
    assert!(parse_head(&over.as_bytes()[..HEAD_LEN_MAX - 1]).unwrap().is_none());
}

#[test]
fn a_head_may_hold_so_many_fields_and_no_more() {
    let request = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    assert_eq!(parse(&request(HEADERS_MAX)).fields("x").count(), HEADERS_MAX - 1);
    assert_eq!(status(request(HEADERS_MAX + 1)), 431);
}

#[test]
fn any_accept_field_may_list_event_streams() {
    let accepts = |lines: &str| parse(&format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).accepts_event_stream();
    assert!(accepts("Accept: text/event-stream\r\n"));
    assert!(accepts("Accept: */*, Text/Event-Stream;charset=utf-8 ; q=0.5\r\n"));
    assert!(accepts("Accept: text/html\r\nAccept: text/event-stream\r\n"));
    assert!(!accepts(""));
    assert!(!accepts("Accept: */*\r\n"));
    assert!(!accepts("Accept: text/event-streams, text/*;x=text/event-stream\r\n"));
    assert!(!accepts("Accept: text/event-stream;q=0.000, */*\r\n"));
}

#[test]
fn a_connection_persists_by_version_and_word() {
    let persists =
        |version: &str, lines: &str| parse(&format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n")).keep_alive();
    assert!(persists("1.1", ""));
    assert!(!persists("1.1", "Connection: foo, Close\r\n"));
    assert!(!persists("1.0", ""));
    assert!(persists("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!persists("1.0", "Connection: keep-alive\r\nConnection: close\r\n"));
}

#[test]
fn only_http_1_1_waits_for_a_continue() {
    assert!(parse("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n").expects_continue());
    assert!(!parse("POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expects_continue());
}

#[test]
fn a_body_is_delimited_in_one_way() {
    assert_eq!(body_of(""), Ok(BodyLength::None));
    assert_eq!(body_of("Content-Length: 0\r\n"), Ok(BodyLength::Exactly(0)));
    assert_eq!(body_of("Content-Length: 0042\r\n"), Ok(BodyLength::Exactly(42)));
    assert_eq!(body_of("Content-Length: 5\r\nContent-Length: 5, 5\r\n"), Ok(BodyLength::Exactly(5)));
    assert_eq!(body_of("Transfer-Encoding: Chunked\r\n"), Ok(BodyLength::Chunked));
}

#[test]
fn smuggling_by_length_is_refused() {
    for (lines, status) in [
        ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        ("Content-Length: 5, 6\r\n", 400),
        ("Content-Length: +5\r\n", 400),
        ("Content-Length: -5\r\n", 400),
        ("Content-Length: 0x5\r\n", 400),
        ("Content-Length: 5 5\r\n", 400),
        ("Content-Length: 5,\r\n", 400),
        ("Content-Length:\r\n", 400),
        ("Content-Length: 18446744073709551616\r\n", 413),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
        ("Transfer-Encoding: chunked, chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding:\r\n", 400),
        ("Transfer-Encoding: chunked,\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: chunked, identity\r\n", 501),
        ("Transfer-Encoding: xchunked\r\n", 501),
        ("Transfer-Encoding: \"chunked\"\r\n", 501),
        ("Transfer-Encoding: chunked;a=b\r\n", 501),
    ] {
        assert_eq!(body_of(lines), Err(status), "{lines:?}");
    }
    let old = parse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(old.body().unwrap_err().status, 400);
    assert_eq!(status("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n"), 400);
    assert_eq!(status("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding\x0b: chunked\r\n\r\n"), 400);
}

proptest! {
    #[test]
    fn random_bytes_never_panic(input in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = parse_head(&input);
    }

    #[test]
    fn random_heads_get_one_verdict_at_every_cut(
        start in "(GET|POST|\r\n|\x16)?( |  )/[a-z?%]{0,4} HTTP/[12]\\.[01](\r\n|\n|\r)",
        fields in "((Host|A|b ): ?[a-c, ]{0,3}(\r\n|\n|\r\n )){0,3}(\r\n)?x?",
    ) {
        let input = start + &fields;
        let _ = every_cut(input.as_bytes()).map(|len| {
            if let Some((head, _)) = len.and_then(|_| parse_head(input.as_bytes()).ok().flatten()) {
                let _ = (head.path(), head.query(), head.host(), head.body(), head.accepts_event_stream());
            }
        });
    }
}
