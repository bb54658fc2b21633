//! SSE with axum, as a user writes it who cares for speed.
//!
//! A broadcast channel per topic carries frames that are made once and shared, where `axum::response::Sse` would make
//! them again for each subscriber. The lines of one request that go to the same topic are one frame. A subscriber that
//! lags behind its channel goes on with what is left there; no ids, so nobody can resume.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use bytes::Bytes;
use serde::Deserialize;
use tokio::runtime::Runtime;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

use super::topics::{Topics, events};
use super::{Counts, Place};
use crate::Failure;

/// What handlers share.
#[derive(Clone)]
struct Shared {
    topics: Arc<Topics<Bytes>>,
    counts: Arc<Counts>,
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(rename = "eventType")]
    event_type: String,
}

/// One that listens and serves on `runtime`.
pub fn start(runtime: &Runtime, port: u16, counts: Arc<Counts>) -> Result<Place, Failure> {
    let shared = Shared { topics: Arc::default(), counts };
    let router = Router::new().route("/", get(subscribe)).route("/events", post(publish));
    let router = router.layer(DefaultBodyLimit::disable()).with_state(shared);
    Ok(Place::of(serve(runtime, port, router)?))
}

/// Serves HTTP/1.1 in the background, and returns the port.
pub fn serve(runtime: &Runtime, port: u16, router: Router) -> Result<u16, Failure> {
    let listener = super::listen(port)?;
    let port = listener.local_addr()?.port();
    listener.set_nonblocking(true)?;
    let _guard = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(|socket| {
        // A socket for which this fails is one that has failed.
        let _ = socket.set_nodelay(true);
    });
    runtime.spawn(async { axum::serve(listener, router).await });
    Ok(port)
}

async fn subscribe(State(shared): State<Shared>, Query(wanted): Query<Wanted>) -> Response {
    let frames = BroadcastStream::new(shared.topics.subscribe(&wanted.event_type));
    shared.counts.subscribed.fetch_add(1, Ordering::Relaxed);
    let frames = frames.filter_map(move |frame| match frame {
        Ok(frame) => Some(Ok::<_, Infallible>(frame)),
        Err(lag) => {
            shared.counts.missed.fetch_add(super::lagged_by(&lag), Ordering::Relaxed);
            None
        }
    });
    let opening = tokio_stream::once(Ok(Bytes::from_static(b":ok\n\n")));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(opening.chain(frames))).into_response()
}

async fn publish(State(shared): State<Shared>, body: Bytes) -> StatusCode {
    let Ok(events) = events(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    for alike in events.chunk_by(|(_, one), (_, next)| one.topic() == next.topic()) {
        let mut frames = Vec::with_capacity(body.len() + 8 * alike.len());
        for (line, _) in alike {
            frames.extend_from_slice(b"data: ");
            frames.extend_from_slice(line);
            frames.extend_from_slice(b"\n\n");
        }
        shared.topics.publish(alike[0].1.topic(), frames.into());
    }
    StatusCode::ACCEPTED
}
