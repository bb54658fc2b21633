//! `proto.StreamService` on tonic, as its users write it: a broadcast channel per topic, and a stream of payloads per
//! subscriber.
//!
//! Here a stream is of one topic. The messages are those that prost makes of the same `.proto`.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use plasma::wire::grpc::proto::plasma::{Payload, Request as Subscription};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codegen::http;
use tonic::codegen::{BoxFuture, Context, Poll, Service};
use tonic::server::{Grpc, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::peers::topics::Topics;
use crate::peers::{Counts, lagged_by};

/// The service itself.
#[derive(Clone)]
pub struct StreamService {
    topics: Arc<Topics<Payload>>,
    counts: Arc<Counts>,
}

type Payloads = Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>;

impl StreamService {
    /// The streams of these topics.
    pub fn new(topics: Arc<Topics<Payload>>, counts: Arc<Counts>) -> Self {
        Self { topics, counts }
    }

    /// The service behind its paths, in the shape that tonic generates.
    pub fn into_routes(self) -> Routes {
        Routes(self)
    }

    /// Subscribes to what the first message names.
    async fn events(self, request: Request<Streaming<Subscription>>) -> Result<Response<Payloads>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.unwrap_or_default();
        let [event_type] = &first.events[..] else {
            return Err(Status::unimplemented("a stream has one topic here"));
        };
        let events = BroadcastStream::new(self.topics.subscribe(&event_type.r#type));
        self.counts.subscribed.fetch_add(1, Ordering::Relaxed);
        let payloads = events.filter_map(move |event| {
            // Subscribers keep their side open.
            let _requests = &requests;
            match event {
                Ok(payload) => Some(Ok(payload)),
                Err(lag) => {
                    self.counts.missed.fetch_add(lagged_by(&lag), Ordering::Relaxed);
                    None
                }
            }
        });
        Ok(Response::new(Box::pin(payloads)))
    }
}

impl StreamingService<Subscription> for StreamService {
    type Response = Payload;
    type ResponseStream = Payloads;
    type Future = BoxFuture<Response<Payloads>, Status>;

    fn call(&mut self, request: Request<Streaming<Subscription>>) -> Self::Future {
        Box::pin(self.clone().events(request))
    }
}

/// The service behind its paths.
#[derive(Clone)]
pub struct Routes(StreamService);

impl Service<http::Request<Body>> for Routes {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.0.clone();
        Box::pin(async move {
            if request.uri().path() != "/proto.StreamService/Events" {
                return Ok(Status::unimplemented("there is one method only").into_http());
            }
            let mut grpc = Grpc::new(ProstCodec::<Payload, Subscription>::default());
            Ok(grpc.streaming(service, request).await)
        })
    }
}
