//! What gRPC streams are compared with: [`StreamService`] on the caller's thread.
//!
//! A runtime of one core, so that its CPU time is the server's.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use plasma::wire::grpc::proto::plasma::Payload;
use tokio::runtime::{self, Runtime};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::{StreamService, TOPIC};
use crate::Failure;
use crate::peers::Counts;
use crate::peers::topics::Topics;

/// A server that runs whenever its thread is lent to it.
pub struct TonicServer {
    runtime: Runtime,
    topics: Arc<Topics<Payload>>,
    counts: Arc<Counts>,
    address: SocketAddr,
}

impl TonicServer {
    /// One that listens.
    pub fn start() -> Result<Self, Failure> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (topics, counts) = (Arc::<Topics<Payload>>::default(), Arc::<Counts>::default());
        let service = StreamService::new(Arc::clone(&topics), Arc::clone(&counts)).into_routes();
        let address = {
            let _guard = runtime.enter();
            let incoming = TcpIncoming::bind((Ipv4Addr::UNSPECIFIED, 0).into())?.with_nodelay(Some(true));
            let port = incoming.local_addr()?.port();
            runtime.spawn(Server::builder().serve_with_incoming(service, incoming));
            SocketAddr::from((Ipv4Addr::LOCALHOST, port))
        };
        Ok(Self { runtime, topics, counts, address })
    }

    /// Where it listens, among other addresses of this machine.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counts.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
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
                self.topics.publish(TOPIC, payload.clone());
            }
            done.await;
        });
    }
}
