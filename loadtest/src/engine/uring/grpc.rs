//! What is particular to Plasma's gRPC stream: the call, its messages, and how it ends.

use bytes::Bytes;
use http::{HeaderMap, Request, header, request};

use crate::books::{Books, GAP};
use crate::wire::grpc::{self, Payload};

/// A call of the method that streams events, with their ids.
pub(super) fn call(authority: &str) -> request::Builder {
    Request::post(format!("http://{authority}/proto.StreamService/Events"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header("plasma-ids", "1")
}

/// The message that subscribes to one topic.
pub(super) fn subscription(topic: &str) -> Bytes {
    grpc::subscription(topic).into()
}

/// Whether an answer goes on, or is the end of the call already.
pub(super) fn check(headers: &HeaderMap) -> Result<(), String> {
    if headers.contains_key("grpc-status") { Err(end(Some(headers))) } else { Ok(()) }
}

/// How a call ended, in words.
pub(super) fn end(trailers: Option<&HeaderMap>) -> String {
    let field = |name| Some(trailers?.get(name)?.as_bytes());
    grpc::outcome(field("grpc-status"), field("grpc-message"))
}

/// Enters a message that arrived at `now`.
pub(super) fn note(books: &mut Books, who: u32, payload: &Payload<'_>, now: u64) {
    if payload.kind == GAP {
        books.on_gap(who);
        return;
    }
    if !payload.id.is_empty() {
        books.on_id(who, payload.id);
    }
    books.on_data(who, payload.data, now);
}
