//! The original Plasma: topics in a query on any path, events as JSON in `data:` lines.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{Policy, Route};
use crate::base::id::EventId;
use crate::base::limits::{TOPIC_LEN_MAX, TOPICS_MAX};
use crate::wire::http1::{Answer, Head, Method, write_stream_head};
use crate::wire::{grpc, json, sse, target};

/// What a quiet stream says, and what an event of the type `heartbeat` becomes. The blank is the original's.
pub const HEARTBEAT: &[u8] = b":heartbeat \n\n";

/// Fields of every event stream. nginx would keep events until its buffer is full if the last one did not forbid it.
const STREAM_FIELDS: [(&str, &str); 3] = [
    ("Cache-Control", "no-cache, no-store, no-transform"),
    ("Content-Type", "text/event-stream"),
    ("X-Accel-Buffering", "no"),
];

/// What a client wants to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Topics without duplicates, in the order in which they were named. The empty topic is one like any other.
    pub topics: Vec<Vec<u8>>,
    /// Where to begin.
    pub resume: Resume,
}

/// Where a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// With what happens from now on.
    Live,
    /// With what followed this event.
    After(EventId),
}

/// The route of a request that accepts an event stream.
pub(super) fn subscribe(head: &Head<'_>, policy: &Policy) -> Route {
    let topics = match topics(head.query(), policy) {
        Ok(topics) => topics,
        Err(answer) => return Route::Answer(answer),
    };
    if head.method() == Method::Head {
        let answer = STREAM_FIELDS.iter().fold(Answer::new(200), |answer, (name, value)| answer.with(name, *value));
        return Route::Answer(answer.uncounted());
    }
    Route::Subscribe(Subscription { topics, resume: resume_of(head) })
}

/// The topics that a query lists: the first value of its event query, split at commas.
fn topics(query: &str, policy: &Policy) -> Result<Vec<Vec<u8>>, Answer> {
    let Some(list) = target::first_value(query, policy.event_query.as_bytes()) else {
        return Err(Answer::text(400, "specify event queries\n"));
    };
    if list.is_empty() {
        return Err(Answer::text(400, "event query can't be empty\n"));
    }
    let (mut topics, mut seen) = (Vec::new(), HashSet::new());
    for topic in list.split(|byte| *byte == b',') {
        if topic.len() > TOPIC_LEN_MAX {
            return Err(Answer::text(400, format!("a topic is longer than {TOPIC_LEN_MAX} bytes\n")));
        }
        if !seen.insert(topic) {
            continue;
        }
        if topics.len() == TOPICS_MAX {
            return Err(Answer::text(400, format!("more than {TOPICS_MAX} topics in one subscription\n")));
        }
        topics.push(topic.to_vec());
    }
    Ok(topics)
}

/// Where a client left off. The first place that says anything decides: a value there that is no id of ours means live,
/// even if a later place has one, for it is the newest thing that the client knows.
pub(super) fn resume_of(head: &Head<'_>) -> Resume {
    let fields = ["last-event-id", "http_last_event_id"].into_iter().map(|name| head.field(name).map(Cow::Borrowed));
    let queries = ["lastEventId", "last_event_id"].into_iter();
    let queries = queries.map(|name| target::first_value(head.query(), name.as_bytes()));
    let said = fields.chain(queries).flatten().find(|value| !value.is_empty());
    said.and_then(|value| EventId::parse(&value)).map_or(Resume::Live, Resume::After)
}

/// Fields of an event stream's head, but for those of the connection.
pub fn stream_fields(policy: &Policy) -> Vec<(&'static str, Cow<'_, str>)> {
    policy.cors_fields().chain(STREAM_FIELDS.map(|(name, value)| (name, Cow::Borrowed(value)))).collect()
}

/// Appends what a stream begins with, sent at once so that the client knows it is connected.
pub fn write_opening(policy: &Policy, out: &mut Vec<u8>) {
    sse::retry(policy.retry_millis, out);
    sse::comment(b"ok", out);
    sse::end(out);
}

/// Everything that an HTTP/1 event stream begins with: its head and its opening.
pub fn stream_head(policy: &Policy, version_minor: u8, date: &[u8; 29]) -> Vec<u8> {
    let mut out = Vec::with_capacity(384);
    write_stream_head(version_minor, &stream_fields(policy), date, &mut out);
    write_opening(policy, &mut out);
    out
}

/// Appends a gap notice in a wire format.
pub fn gap(grpc: bool, lost_from: Option<EventId>, lost_to: Option<EventId>, reason: sse::Reason, out: &mut Vec<u8>) {
    if grpc { gap_message(lost_from, lost_to, reason, out) } else { sse::gap(lost_from, lost_to, reason, out) }
}

/// Appends the frame of an event; `data` is its JSON text as it was published.
pub fn frame(kind: &str, data: Option<&str>, id: EventId, out: &mut Vec<u8>) {
    if kind == "heartbeat" {
        return out.extend_from_slice(HEARTBEAT);
    }
    sse::id(id, out);
    // The JSON has no line breaks, so it is one line as it stands.
    out.extend_from_slice(b"data: ");
    redis_json(kind, data, out);
    out.push(b'\n');
    sse::end(out);
}

/// Appends the message of an event for a gRPC stream: its data as it was published, and `heartbeat` is a type like any
/// other there.
pub fn message(kind: &str, data: Option<&str>, out: &mut Vec<u8>) {
    grpc::payload(kind, data, out);
}

/// Appends the gap notice for a gRPC stream whose client asked for ids; see [`sse::gap`].
pub fn gap_message(lost_from: Option<EventId>, lost_to: Option<EventId>, reason: sse::Reason, out: &mut Vec<u8>) {
    let mut data = Vec::with_capacity(96);
    sse::gap_json(lost_from, lost_to, reason, &mut data);
    grpc::payload("plasma.gap", str::from_utf8(&data).ok(), out);
}

/// How a stream ends whose client sent what cannot be taken in: in the original's words, which its clients' logs know.
pub fn receive_failed(status: &grpc::Status) -> grpc::Status {
    grpc::Status::new(grpc::Code::Unknown, format!("Recv error: {status}"))
}

/// Bytes that the frame of an event of `event_max` published bytes may take: each may become an escape of six, and the
/// id and the keys around take fewer than 128.
pub const fn frame_len_max(event_max: usize) -> usize {
    event_max.saturating_mul(6).saturating_add(128)
}

/// Appends an event as JSON: what is in its frame, and what is published to Redis.
pub fn redis_json(kind: &str, data: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"meta\":{\"type\":");
    json::write_string(kind, out);
    out.extend_from_slice(b"},\"data\":");
    match data {
        Some(data) => json::compact(data, out),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;

    use super::*;
    use crate::wire::envelope;
    use crate::wire::grpc::proto::plasma::Payload;
    use crate::wire::sse::reader::read;

    /// The frame of what a publisher sent.
    fn framed(published: impl AsRef<[u8]>) -> String {
        let envelope = envelope::parse(published.as_ref()).unwrap();
        let mut out = Vec::new();
        frame(&envelope.kind, envelope.data.as_deref(), EventId::from_raw(7), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn data_line(json: &str) -> String {
        format!("id: 7\ndata: {json}\n\n")
    }

    #[test]
    fn case_12_data_is_compact_and_html_safe() {
        assert_eq!(
            framed(r#"{"meta":{"type":"a"},"data":{"x": "<b>&", "y" : [1, 2.50,1e3]} }"#),
            data_line(r#"{"meta":{"type":"a"},"data":{"x":"\u003cb\u003e\u0026","y":[1,2.50,1e3]}}"#)
        );
    }

    #[test]
    fn case_13_line_separators_are_escaped() {
        assert_eq!(
            framed("{\"meta\":{\"type\":\"\u{2029}\"},\"data\":\"\u{2028}\"}"),
            data_line(r#"{"meta":{"type":"\u2029"},"data":"\u2028"}"#)
        );
    }

    #[test]
    fn cases_14_to_17_data_may_be_absent_null_text_or_pretty() {
        assert_eq!(framed(r#"{"meta":{"type":"a"}}"#), data_line(r#"{"meta":{"type":"a"},"data":null}"#));
        assert_eq!(framed(r#"{"meta":{"type":"a"},"data":null}"#), data_line(r#"{"meta":{"type":"a"},"data":null}"#));
        assert_eq!(framed(r#"{"meta":{"type":"a"},"data":"str"}"#), data_line(r#"{"meta":{"type":"a"},"data":"str"}"#));
        assert_eq!(
            framed("{\n\"meta\":{\"type\":\"a\"},\r\n\t\"data\": [\n1\r\n]\n}"),
            data_line(r#"{"meta":{"type":"a"},"data":[1]}"#)
        );
    }

    /// The message of what a publisher sent.
    fn payload(published: impl AsRef<[u8]>) -> Payload {
        let envelope = envelope::parse(published.as_ref()).unwrap();
        let mut out = Vec::new();
        message(&envelope.kind, envelope.data.as_deref(), &mut out);
        Payload::decode(&out[grpc::PREFIX_LEN..]).unwrap()
    }

    #[test]
    fn cases_14_to_17_on_grpc_data_is_the_text_that_was_published() {
        assert_eq!(payload(r#"{"meta":{"type":"a"}}"#).data, "");
        assert_eq!(payload(r#"{"meta":{"type":"a"},"data":null}"#).data, "null");
        assert_eq!(payload(r#"{"meta":{"type":"a"},"data":"str"}"#).data, "\"str\"");
        let pretty = "[\n1 ,\t\"<b>&\"\r\n]";
        assert_eq!(payload(format!("{{\"meta\":{{\"type\":\"a\"}},\"data\":{pretty}}}")).data, pretty);
    }

    #[test]
    fn case_56_on_grpc_the_empty_type_is_there_and_heartbeat_is_like_any_other() {
        let event = payload(r#"{"meta":{"type":"heartbeat"},"data":5}"#);
        assert_eq!((event.event_type.unwrap().r#type.as_str(), event.data.as_str()), ("heartbeat", "5"));
        assert_eq!(payload("null").event_type.unwrap().r#type, "");
    }

    #[test]
    fn on_grpc_a_gap_notice_is_an_event_of_its_own_type() {
        let mut out = Vec::new();
        gap_message(Some(EventId::from_raw(7)), None, sse::Reason::Upstream, &mut out);
        let notice = Payload::decode(&out[grpc::PREFIX_LEN..]).unwrap();
        assert_eq!(notice.event_type.unwrap().r#type, "plasma.gap");
        assert_eq!(notice.data, r#"{"lost_from":"7","lost_to":null,"reason":"upstream"}"#);
        assert_eq!(notice.id, "");
    }

    #[test]
    fn case_54_a_stream_that_cannot_be_read_ends_in_the_words_of_the_original() {
        let error = Payload::decode(&b"\xff"[..]).unwrap_err();
        let status = receive_failed(&grpc::Status::malformed(&error));
        assert_eq!(status.code, grpc::Code::Unknown);
        let beginning = "Recv error: rpc error: code = Internal desc = grpc: failed to unmarshal the received message";
        assert!(status.message.starts_with(beginning), "{}", status.message);
    }

    #[test]
    fn case_23_null_is_an_event_of_the_empty_type() {
        assert_eq!(framed("null"), data_line(r#"{"meta":{"type":""},"data":null}"#));
        assert_eq!(framed("{}"), data_line(r#"{"meta":{"type":""},"data":null}"#));
    }

    #[test]
    fn case_30_only_the_exact_type_heartbeat_is_the_comment() {
        assert_eq!(framed(r#"{"meta":{"type":"heartbeat"},"data":5}"#), ":heartbeat \n\n");
        assert_eq!(
            framed(r#"{"meta":{"type":"heartbeat:x"},"data":5}"#),
            data_line(r#"{"meta":{"type":"heartbeat:x"},"data":5}"#)
        );
    }

    #[test]
    fn case_31_only_the_two_keys_are_left() {
        assert_eq!(
            framed(r#"{"META":{"Type":"a","z":1},"DATA":7,"x":[]}"#),
            data_line(r#"{"meta":{"type":"a"},"data":7}"#)
        );
    }

    #[test]
    fn case_33_types_are_escaped_and_bad_bytes_replaced() {
        assert_eq!(
            framed(b"{\"meta\":{\"type\":\"<\\u0001\\n\xff\"},\"data\":\"\xff\"}"),
            data_line("{\"meta\":{\"type\":\"\\u003c\\u0001\\n\u{fffd}\"},\"data\":\"\u{fffd}\"}")
        );
    }

    #[test]
    fn case_45_a_debug_text_is_escaped() {
        assert_eq!(
            framed(r#"{"meta":{"type":"a"},"data":"<q>"}"#),
            data_line(r#"{"meta":{"type":"a"},"data":"\u003cq\u003e"}"#)
        );
    }

    #[test]
    fn a_frame_grows_sixfold_at_most() {
        let published = format!("{{\"data\":\"{}\",\"meta\":{{\"type\":\"<<<\"}}}}", "<".repeat(1000));
        let envelope = envelope::parse(published.as_bytes()).unwrap();
        let mut out = Vec::new();
        frame(&envelope.kind, envelope.data.as_deref(), EventId::from_raw(u64::MAX), &mut out);
        assert!((6 * 1003..=frame_len_max(published.len())).contains(&out.len()));
        assert!(frame_len_max(0) >= framed("{}").len() + 20);
    }

    proptest! {
        #[test]
        fn every_event_is_one_block_and_parses_back(
            kind in "\\PC{0,20}|[\\x00-\\x7f]{0,20}",
            text in "\\PC{0,20}|[\\x00-\\x7f]{0,20}",
        ) {
            prop_assume!(kind != "heartbeat");
            let event = serde_json::json!({ "meta": { "type": kind }, "data": [text] });
            let stream = framed(serde_json::to_string_pretty(&event).unwrap());
            let blocks = read(stream.as_bytes());
            prop_assert_eq!(blocks.len(), 1);
            prop_assert_eq!((&*blocks[0].event, &*blocks[0].last_id), ("message", "7"));
            let value: serde_json::Value = serde_json::from_str(&blocks[0].data).unwrap();
            prop_assert_eq!(value, serde_json::json!({ "meta": { "type": kind }, "data": [text] }));
        }
    }
}
