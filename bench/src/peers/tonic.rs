//! gRPC with tonic: the service that `fanout` measures on one thread, here on all CPUs and with a way in for events.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use plasma::wire::grpc::proto::plasma::{EventType, Payload};
use tokio::runtime::Runtime;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::topics::{Topics, events};
use super::{Counts, Place, axum as http};
use crate::Failure;
use crate::grpc::StreamService;

/// One that listens, for streams and for publishers, and serves on `runtime`.
pub fn start(runtime: &Runtime, port: u16, counts: Arc<Counts>) -> Result<Place, Failure> {
    let topics: Arc<Topics<Payload>> = Arc::default();
    let router = Router::new().route("/events", post(publish)).layer(DefaultBodyLimit::disable());
    let publish_port = http::serve(runtime, 0, router.with_state(Arc::clone(&topics)))?;
    let listener = super::listen(port)?;
    let port = listener.local_addr()?.port();
    listener.set_nonblocking(true)?;
    let _guard = runtime.enter();
    let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?).with_nodelay(Some(true));
    let service = StreamService::new(topics, counts).into_routes();
    runtime.spawn(Server::builder().serve_with_incoming(service, incoming));
    Ok(Place { publish_port, ..Place::of(port) })
}

async fn publish(State(topics): State<Arc<Topics<Payload>>>, body: Bytes) -> StatusCode {
    let Ok(events) = events(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    for (_, event) in events {
        let event_type = Some(EventType { r#type: event.topic().to_owned() });
        let payload = Payload { event_type, data: event.data.get().to_owned(), id: String::new() };
        topics.publish(event.topic(), payload);
    }
    StatusCode::ACCEPTED
}
