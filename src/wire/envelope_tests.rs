use proptest::prelude::*;

use super::*;

fn event<'a>(kind: &'a str, data: Option<&'a str>) -> Envelope<'a> {
    Envelope { kind: kind.into(), data: data.map(Cow::Borrowed) }
}

fn parsed(text: &str) -> Envelope<'_> {
    parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(body: &str) -> BadEvent {
    publish_body(body.as_bytes(), 64).expect_err(body)
}

#[test]
fn type_and_data_are_taken_as_they_came() {
    let text = r#" {"meta":{"type":"a:b"},"data":{"x": "<b>" , "y":[1, 2.50,1e3]} } "#;
    let envelope = parsed(text);
    assert_eq!(envelope, event("a:b", Some(r#"{"x": "<b>" , "y":[1, 2.50,1e3]}"#)));
    assert!(matches!((envelope.kind, envelope.data), (Cow::Borrowed(_), Some(Cow::Borrowed(_)))));
    assert_eq!(parsed(r#"{"meta":{"type":"a"}}"#), event("a", None));
    assert_eq!(parsed(r#"{"meta":{"type":"a"},"data":null}"#), event("a", Some("null")));
    assert_eq!(parsed(r#"{"data":"str","meta":{"type":"a"}}"#), event("a", Some("\"str\"")));
    assert_eq!(parsed(r#"{"data":1e999,"meta":{}}"#), event("", Some("1e999")));
}

#[test]
fn what_publishers_usually_write_is_recognised() {
    let usual = [r#"{"meta":{"type":"a:b"},"data":[1, {"x":"}"}]}"#, r#"{"meta": {"type": "a:b"}, "data": null} "#];
    assert!(usual.iter().all(|text| plain(text).is_some_and(|event| event.kind == "a:b")));
    assert!(plain_lines(&usual.join("\r\n"), 64).is_some_and(|events| events.len() == 2));
    for other in [
        r#"{"meta":{"type":"a"},"data":1,"data":2}"#,
        r#"{"meta":{"type":"\u0061"},"data":1}"#,
        r#"{"meta":{"type":"a"},"data":01}"#,
        r#"{"meta":{"type":"a"},"data":}"#,
        r#"{"meta":{"type":"a"},"data":1}}"#,
        r#"{"meta":{"type":"a"},"data":1"#,
        "{\"meta\":{\"type\":\"\t\"},\"data\":1}",
        r#"{"data":1,"meta":{"type":"a"}}"#,
    ] {
        assert_eq!(plain(other), None, "{other}");
    }
}

#[test]
fn null_and_empty_objects_are_events() {
    for text in ["null", "{}", r#"{"meta":null}"#, r#"{"meta":{}}"#, r#"{"meta":{"type":null}}"#, " {\r\n\t} "] {
        assert_eq!(parsed(text), event("", None), "{text}");
    }
}

#[test]
fn keys_are_matched_in_any_case_and_unknown_ones_ignored() {
    assert_eq!(parsed(r#"{"META":{"Type":"a","z":1},"DATA":7,"x":[]}"#), event("a", Some("7")));
    assert_eq!(parsed(r#"{"\u006deta":{"t\u0079pe":"a"},"d\u0041ta":7}"#), event("a", Some("7")));
    assert_eq!(parsed(r#"{"\ud800":"\udfff","meta":{"\ud800\u0041":[{}],"type":"a"}}"#), event("a", None));
}

#[test]
fn of_duplicate_keys_the_last_wins() {
    assert_eq!(parsed(r#"{"meta":{"type":"a","TYPE":"b"},"data":1,"Data":2}"#), event("b", Some("2")));
    assert_eq!(parsed(r#"{"meta":{"type":"a"},"meta":{"type":"b"}}"#), event("b", None));
    assert_eq!(parsed(r#"{"meta":{"type":"a","type":null},"meta":{},"meta":null}"#), event("a", None));
    assert_eq!(parsed(r#"{"data":1,"data":null}"#), event("", Some("null")));
}

#[test]
fn what_is_no_event_is_refused() {
    for bad in [
        "",
        " ",
        "[1]",
        "1",
        "\"a\"",
        "true",
        "not json",
        "{",
        "{\"meta\"}",
        r#"{"meta":{"type":5}}"#,
        r#"{"meta":"x"}"#,
        r#"{"meta":[]}"#,
        r#"{"meta":{"type":{}}}"#,
        r#"{"meta":{"type":"a"}} x"#,
        "{} {}",
        "{,}",
        "{\"data\":}",
        "{\"data\":1,}",
        "{\"data\":01}",
        "{\"data\":\"\n\"}",
        "{\"data\":\"\\x\"}",
        "{\"data\":\"\\u12g4\"}",
        "\u{feff}{}",
        "{\"data\":1}\0",
        "{'data':1}",
        "{\"data\":NaN}",
    ] {
        assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

#[test]
fn escapes_in_a_type_are_resolved() {
    assert_eq!(
        parsed(r#"{"meta":{"type":"\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00"}}"#).kind,
        "\"\\/\u{8}\u{c}\n\r\tA\u{e9}\u{1f600}"
    );
    assert_eq!(
        parsed(r#"{"meta":{"type":"\ud800x\udc00\ud800\ud800\udc00"}}"#).kind,
        "\u{fffd}x\u{fffd}\u{fffd}\u{10000}"
    );
}

#[test]
fn each_byte_that_is_no_utf_8_is_replaced() {
    let text = b"{\"meta\":{\"type\":\"a\xff\xe2\x80x\"},\"data\":\"\xc3\x28\xf0\x9f\x98\"}";
    let envelope = parse(text).unwrap();
    assert_eq!(envelope, event("a\u{fffd}\u{fffd}\u{fffd}x", Some("\"\u{fffd}(\u{fffd}\u{fffd}\u{fffd}\"")));
    assert!(parse(b"{}\xff").is_err());
}

#[test]
fn a_type_may_be_as_long_as_a_topic_and_no_longer() {
    let text = |len: usize| format!(r#"{{"meta":{{"type":"{}"}}}}"#, "t".repeat(len));
    assert_eq!(parsed(&text(TOPIC_LEN_MAX)).kind.len(), TOPIC_LEN_MAX);
    let error = parse(text(TOPIC_LEN_MAX + 1).as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "the event type is longer than 512 bytes");
    let replaced = [&b"{\"meta\":{\"type\":\""[..], &[0xff; TOPIC_LEN_MAX / 3 + 1], b"\"}}"].concat();
    assert!(parse(&replaced).is_err());
}

#[test]
fn deep_nesting_does_not_exhaust_the_stack() {
    const DEPTH: usize = 100_000;
    let nested = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let objects = format!("{}1{}", "{\"a\":".repeat(DEPTH), "}".repeat(DEPTH));
    for value in [&nested, &objects] {
        let data = format!(r#"{{"data":{value}}}"#);
        assert_eq!(parsed(&data).data.as_deref(), Some(value.as_str()));
        assert_eq!(parsed(&format!(r#"{{"x":{value},"meta":{{"x":{value}}}}}"#)), event("", None));
        // Objects of unknown keys are events and metas like any other; arrays are neither, and none is a type.
        let is_object = value.starts_with('{');
        assert_eq!(parse(value.as_bytes()).is_ok(), is_object);
        assert_eq!(parse(format!(r#"{{"meta":{value}}}"#).as_bytes()).is_ok(), is_object);
        assert!(parse(format!(r#"{{"meta":{{"type":{value}}}}}"#).as_bytes()).is_err());
        assert_eq!(publish_body(data.as_bytes(), usize::MAX).unwrap().len(), 1);
    }
    assert!(publish_body("[".repeat(DEPTH).as_bytes(), usize::MAX).is_err());
}

#[test]
fn the_first_value_may_be_followed_by_anything() {
    assert_eq!(parse_first(b"{\"data\":1} x").unwrap(), event("", Some("1")));
    assert_eq!(parse_first(b"{\"data\":1}{").unwrap(), event("", Some("1")));
    assert_eq!(parse_first(b"{\"data\":\"\xff\"}\xff").unwrap(), event("", Some("\"\u{fffd}\"")));
    for bad in ["", " ", "[1]", "{", "x{}"] {
        assert!(parse_first(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

#[test]
fn a_request_holds_one_event_an_array_or_lines() {
    let kinds = |body: &str| {
        let events = publish_body(body.as_bytes(), 64).unwrap_or_else(|bad| panic!("{body}: {bad:?}"));
        events.into_iter().map(|event| event.kind.into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(r#"{"meta":{"type":"a"}}"#), ["a"]);
    assert_eq!(kinds("\n{\n  \"meta\": {\n    \"type\": \"a\"\n  }\n}\n"), ["a"]);
    assert_eq!(kinds(r#" [{"meta":{"type":"a"}} , {"meta":{"type":"b"}},null] "#), ["a", "b", ""]);
    assert_eq!(kinds(" [ ] "), Vec::<String>::new());
    assert_eq!(kinds("{\"meta\":{\"type\":\"a\"}}\r\n\r\n \n{\"meta\":\n{\"type\":\"b\"}}\n{}\n"), ["a", "b", ""]);
    assert_eq!(publish_body(b"{}\n{\"data\":\"\xff\"}", 64).unwrap()[1], event("", Some("\"\u{fffd}\"")));
}

#[test]
fn the_first_bad_event_is_named_by_its_index() {
    for (body, index) in [
        ("", 0),
        ("\n \r\n", 0),
        ("x", 0),
        ("{}\n5\nx", 1),
        ("{}\n\n{}\n{", 2),
        ("{} {}", 1),
        ("{}{}", 1),
        ("{}\n]", 1),
        ("[{},{},5,x]", 2),
        ("[{},", 1),
        ("[{}] {}", 1),
        ("[{}]\n[]", 1),
        ("[[]]", 0),
        ("{}\n[{}]", 1),
        ("[{\"meta\":1}", 0),
    ] {
        let bad = refused(body);
        assert_eq!((bad.index, bad.too_large), (index, false), "{body:?}: {bad:?}");
    }
}

#[test]
fn an_event_may_fill_its_bound_and_no_more() {
    let event = |len: usize| format!("{{\"data\":\"{}\"}}", "d".repeat(len - 11));
    for body in [event(64), format!("[{{}}, {}]", event(64)), format!("{{}}\n{}\n", event(64))] {
        assert!(publish_body(body.as_bytes(), 64).is_ok(), "{body}");
    }
    for (body, index) in [(event(65), 0), (format!("[{{}},{}]", event(65)), 1), (format!("{{}}\n{}", event(65)), 1)] {
        let bad = refused(&body);
        assert_eq!((bad.index, bad.too_large), (index, true), "{body}");
        assert_eq!(bad.reason, "the event is larger than 64 bytes");
    }
}

#[test]
fn a_request_may_hold_so_many_events_and_no_more() {
    let array = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
    assert_eq!(publish_body(array(PUBLISH_EVENTS_MAX).as_bytes(), 64).unwrap().len(), PUBLISH_EVENTS_MAX);
    let lines = "{}\n".repeat(PUBLISH_EVENTS_MAX + 1);
    for body in [array(PUBLISH_EVENTS_MAX + 1), lines] {
        let bad = publish_body(body.as_bytes(), 64).unwrap_err();
        assert_eq!((bad.index, bad.too_large), (PUBLISH_EVENTS_MAX, true));
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = (parse(&bytes), parse_first(&bytes), publish_body(&bytes, 32));
    }

    #[test]
    fn json_like_text_never_panics(
        text in "([\\[\\]{}:,\n ]|\"meta\":|\"type\":|\"data\":|\"\\\\u[d8c0]{4}\"|null|1|\"\\\\\"){0,16}",
    ) {
        let _ = (parse(text.as_bytes()), parse_first(text.as_bytes()), publish_body(text.as_bytes(), 32));
    }

    #[test]
    fn the_short_way_says_what_the_long_way_does(
        lines in proptest::collection::vec(
            "( |\\{ ?\"meta\" ?:\\{\"type\": ?\"(\\PC|[a\\\\\"\t]){0,3}\"\\},\"data\" ?: ?\
             (1|\"[x\\\\]\"|\\[1, 2\\]|\\{\"a\":\\{\\}\\}|1,\"data\":2|2\\}|)[ \r]?\\} ?)",
            1..4,
        ),
        end in "\n?",
    ) {
        for line in &lines {
            if let Some(short) = plain(line) {
                let long = serde_json::from_str::<Parts>(line).map_err(Malformed::from).and_then(Parts::envelope);
                prop_assert_eq!(Ok(short), long);
            }
        }
        let text = lines.join("\n") + &end;
        if let Some(short) = plain_lines(&text, 40) {
            let mut long = Batch { events: Vec::new(), event_max: 40 };
            prop_assert_eq!(long.take_lines(&text), Ok(()));
            prop_assert_eq!(short, long.events);
        }
    }

    #[test]
    fn any_type_is_read_back(kind in "\\PC{0,40}|[\\x00-\\x7f]{0,40}", data in "\\PC{0,40}") {
        let text = serde_json::json!({ "meta": { "type": kind }, "data": data }).to_string();
        let envelope = parse(text.as_bytes()).unwrap();
        prop_assert_eq!(&envelope.kind, &kind);
        let read: String = serde_json::from_str(envelope.data.as_deref().unwrap()).unwrap();
        prop_assert_eq!(read, data);
    }
}
