//! What gRPC streams are compared with: `proto.StreamService` on tonic, as its users write it.
//!
//! A broadcast channel, and a stream of payloads per subscriber. Everything runs on the caller's thread, a runtime of
//! one core, so that its CPU time is the server's. The messages are those that prost makes of the same `.proto`.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use plasma::wire::grpc::proto::plasma::{Payload, Request as Subscription};
use tokio::runtime::{self, Runtime};
use tokio::sync::broadcast::{self, Sender};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codegen::http;
use tonic::codegen::{BoxFuture, Context, Poll, Service};
use tonic::server::{Grpc, StreamingService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::TOPIC;
use crate::Failure;

/// Events that a subscriber may be behind: far more than a round has, so that nobody ever lags.
const CAPACITY: usize = 1024;

/// A server that runs whenever its thread is lent to it.
pub struct TonicServer {
    runtime: Runtime,
    events: StreamService,
    address: SocketAddr,
}

impl TonicServer {
    /// One that listens.
    pub fn start() -> Result<Self, Failure> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let events = StreamService { feed: broadcast::channel(CAPACITY).0, opened: Arc::default() };
        let service = Served(events.clone());
        let address = {
            let _guard = runtime.enter();
            let incoming = TcpIncoming::bind((Ipv4Addr::UNSPECIFIED, 0).into())?.with_nodelay(Some(true));
            let port = incoming.local_addr()?.port();
            runtime.spawn(Server::builder().serve_with_incoming(service, incoming));
            SocketAddr::from((Ipv4Addr::LOCALHOST, port))
        };
        Ok(Self { runtime, events, address })
    }

    /// Where it listens, among other addresses of this machine.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Streams opened so far.
    pub fn opened(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.events.opened)
    }

    /// Lends it the thread until `done`.
    pub fn run(&self, done: impl Future<Output = ()>) {
        self.runtime.block_on(done);
    }

    /// Lends it the thread for a moment.
    pub fn turn(&self) {
        // A timer is made where its runtime is.
        self.run(async { tokio::time::sleep(Duration::from_millis(1)).await });
    }

    /// Publishes `payload` so many times at once and lends it the thread until `done`.
    pub fn publish(&self, payload: &Payload, count: u32, done: impl Future<Output = ()>) {
        self.run(async {
            for _ in 0..count {
                // Fails without subscribers only, and then the reader misses them.
                let _ = self.events.feed.send(payload.clone());
            }
            done.await;
        });
    }
}

/// The service itself.
#[derive(Clone)]
struct StreamService {
    feed: Sender<Payload>,
    opened: Arc<AtomicU64>,
}

type Payloads = Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>;

impl StreamService {
    /// Subscribes to what the first message names.
    async fn events(self, request: Request<Streaming<Subscription>>) -> Result<Response<Payloads>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.unwrap_or_default();
        if !first.events.iter().any(|event| event.r#type == TOPIC) {
            return Err(Status::not_found("there is one topic only"));
        }
        let events = BroadcastStream::new(self.feed.subscribe());
        self.opened.fetch_add(1, Ordering::Relaxed);
        let payloads = events.map(move |event| {
            // Subscribers keep their side open.
            let _requests = &requests;
            event.map_err(|lagged| Status::data_loss(lagged.to_string()))
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

/// The service behind its paths, in the shape that tonic generates.
#[derive(Clone)]
struct Served(StreamService);

impl Service<http::Request<Body>> for Served {
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
