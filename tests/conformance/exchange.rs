//! What clients do all day: requests of every shape, several at once, and a subscription.

use super::{EVENT, Fields, HC, PUBLISH, ROOT, SUBSCRIBE, open, open_ours, with};
use crate::support::h2::{Code, data, reset};
use crate::support::http::{post, request};
use crate::support::stage::event;

/// [`ROOT`], asked for with HEAD.
const HEAD: Fields = &[(":method", "HEAD"), (":scheme", "http"), (":path", "/"), (":authority", "localhost")];

#[test]
fn get_is_answered() {
    open().request(1, HC).expect_status(1, 200);
}

#[test]
fn head_is_answered_without_a_body() {
    let mut session = open();
    let answer = session.request(1, HEAD).expect_answer(1);
    assert!(answer.status < 500 && answer.body.is_empty(), "{answer:?}");
    session.expect_nothing(1).serves(3);
}

#[test]
fn post_is_answered() {
    let mut session = open();
    session.begin(1, PUBLISH).send(data(1, EVENT).end_stream()).expect_status(1, 202);
}

#[test]
fn post_with_its_length_is_answered() {
    let mut session = open();
    let len = EVENT.len().to_string();
    let fields = with(PUBLISH, &[("content-type", "application/json"), ("content-length", &len)]);
    session.begin(1, &fields).send(data(1, EVENT).end_stream()).expect_status(1, 202);
}

#[test]
fn post_with_trailers_is_answered() {
    let mut session = open();
    session.begin(1, &with(PUBLISH, &[("trailer", "x-test")])).send(data(1, EVENT)).request(1, &[("x-test", "ok")]);
    session.expect_status(1, 202);
}

#[test]
fn nothing_is_answered_before_its_end() {
    let mut session = open();
    session.begin(1, ROOT).expect_nothing(1).send(data(1, *b"some")).expect_nothing(1);
    session.send(data(1, []).end_stream()).expect_root(1);
}

#[test]
fn many_requests_in_one_flight_are_all_answered() {
    let mut session = open();
    let frames: Vec<_> = (0..500).map(|count| session.head(1 + 2 * count, ROOT).end_stream()).collect();
    session.send_all(frames);
    for count in 0..500 {
        session.expect_root(1 + 2 * count);
    }
}

#[test]
fn requests_one_after_the_other_are_all_answered() {
    let mut session = open();
    for count in 0..300 {
        session.request(1 + 2 * count, HC).expect_status(1 + 2 * count, 200);
    }
}

#[test]
fn bodies_beside_each_other_are_kept_apart() {
    let mut session = open();
    for stream in [1, 3, 5] {
        session.begin(stream, PUBLISH);
    }
    let cuts = [0, 4, 11, 20, EVENT.len()];
    for cut in cuts.windows(2) {
        for stream in [5, 1, 3] {
            let frame = data(stream, &EVENT[cut[0]..cut[1]]);
            session.send(if cut[1] == EVENT.len() { frame.end_stream() } else { frame });
        }
    }
    for stream in [1, 3, 5] {
        session.expect_status(stream, 202);
    }
}

#[test]
fn answers_are_those_of_http_1() {
    let Some(mut session) = open_ours() else { return };
    let address = session.server.address;
    let targets = ["/", "/hc", "/nowhere", "/events", "/?eventType=", "/?eventType=a", "/%zz", "/hc?x=y"];
    let methods = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"];
    let requests = targets.iter().flat_map(|target| methods.map(|method| (method, *target)));
    for (count, (method, target)) in requests.enumerate() {
        let stream = 1 + 2 * count as u32;
        let fields = [(":method", method), (":scheme", "http"), (":path", target), (":authority", "localhost")];
        let (own, other) =
            (session.request(stream, &fields).expect_answer(stream), request(address, method, target, &[]));
        let text = String::from_utf8_lossy(&own.body).into_owned();
        assert_eq!((own.status, text.as_str()), (other.status(), other.text()), "{method} {target}");
        for name in ["content-type", "allow", "access-control-allow-origin", "cache-control"] {
            assert_eq!(own.field(name), other.header(name), "{name} of {method} {target}");
        }
    }
}

#[test]
fn what_cannot_be_published_is_refused_as_over_http_1() {
    let Some(mut session) = open_ours() else { return };
    let address = session.server.address;
    for (count, body) in ["", "{", "{\"meta\":{},\"data\":1}", "\u{FEFF}", "[1,2]"].into_iter().enumerate() {
        let stream = 1 + 2 * count as u32;
        session.begin(stream, PUBLISH).send(data(stream, body).end_stream());
        let (own, other) = (session.expect_answer(stream), post(address, "/events", &[], body));
        assert_eq!(own.status, other.status(), "{body}");
        // What was taken after all has an id of its own.
        if own.status != 202 {
            assert_eq!(String::from_utf8_lossy(&own.body), other.text(), "{body}");
        }
    }
}

#[test]
fn a_subscription_begins_as_over_http_1() {
    let Some(mut session) = open_ours() else { return };
    let (fields, ended) = session.request(1, SUBSCRIBE).expect_head(1);
    assert!(!ended);
    assert_eq!(fields[0].1, "200");
    assert!(fields.iter().any(|(name, value)| name == "content-type" && value.starts_with("text/event-stream")));
    let (opening, ended) = session.settled_data(1);
    assert_eq!((String::from_utf8_lossy(&opening).as_ref(), ended), ("retry: 2000\n:ok\n\n", false));
}

#[test]
fn events_come_in_order_to_every_subscription() {
    let Some(mut session) = open_ours() else { return };
    let streams = [1, 3, 5, 7];
    for stream in streams {
        session.request(stream, SUBSCRIBE).expect_head(stream);
        session.settled_data(stream);
    }
    for number in 0..20 {
        session.begin(101 + 2 * number, PUBLISH);
        session.send(data(101 + 2 * number, event("a", &number.to_string())).end_stream());
        session.expect_status(101 + 2 * number, 202);
    }
    for stream in streams {
        let mut text = String::new();
        while text.matches("\n\n").count() < 20 {
            text += &String::from_utf8(session.expect_data(stream).0).expect("events are text");
        }
        let numbers: Vec<usize> =
            (0..20).map(|number| text.find(&format!("\"data\":{number}}}"))).map(Option::unwrap).collect();
        assert!(numbers.is_sorted(), "{text}");
    }
}

#[test]
fn a_subscription_that_was_reset_may_be_asked_for_again() {
    let Some(mut session) = open_ours() else { return };
    for count in 0..20 {
        let stream = 1 + 2 * count;
        session.request(stream, SUBSCRIBE).expect_head(stream);
        session.expect_data(stream);
        session.send(reset(stream, Code::Cancel));
    }
    session.server.stage().plasma.wait_for_access("sse", 20);
    session.serves(101);
}
