//! What idle gRPC streams take of a server's memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use loadtest::board::Board;
use loadtest::books::Run;
use loadtest::child::Child;
use loadtest::engine::{Close, Crowd, Kind, Order, Plan, Protocol};
use loadtest::memory::Snapshot;

use super::served::Server;
use crate::Failure;

/// Longest time for all streams to be there.
const CONNECT_FOR_MAX: Duration = Duration::from_secs(60);

/// Time for a server to go to rest.
const SETTLE_FOR: Duration = Duration::from_secs(1);

/// What idle streams of a server take of its memory.
pub struct Footprint {
    grown: i64,
    connections: u32,
    streams: u32,
}

impl Footprint {
    /// Resident memory per stream, its share of the connection included.
    pub fn per_stream(&self) -> f64 {
        self.per_connection() / f64::from(self.streams)
    }

    /// Resident memory per connection, its streams included.
    pub fn per_connection(&self) -> f64 {
        self.grown as f64 / f64::from(self.connections)
    }
}

/// What `streams` idle gRPC streams on each of so many connections take of the memory of a server of ours.
pub fn measure(server: Server, connections: u32, streams: u32) -> Result<Footprint, Failure> {
    let mut child = Child::start(["streams", server.name(), &connections.to_string()])?;
    let address = SocketAddr::from(child.address());
    let plan = Plan {
        protocol: Protocol::Grpc,
        streams,
        destinations: vec![address],
        authority: address.to_string(),
        path: String::new(),
        topic_prefix: "idle".to_owned(),
        headers: Vec::new(),
        pace: 256,
        answer_for_max: CONNECT_FOR_MAX,
        armed: true,
        bare: false,
    };
    let run = Run { tag: 0, began: Instant::now(), board: Arc::new(Board::new(1, 1)), unrecorded: 0..0 };
    let count = connections * streams;
    let crowd = Crowd::start(Kind::Uring, &plan, &run, count, 1)?;
    thread::sleep(SETTLE_FOR);
    let before = Snapshot::take(&[child.pid()])?;
    crowd.order(&Order::Open(0..count));
    let deadline = Instant::now() + CONNECT_FOR_MAX;
    while crowd.counters.open.load(Ordering::Acquire) < count {
        crowd.check()?;
        let failed = crowd.counters.failed.load(Ordering::Acquire);
        if failed > 0 || Instant::now() > deadline {
            return Err(format!("{}: {failed} of {count} streams failed", server.name()).into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(SETTLE_FOR);
    let counted = child.count()?;
    if counted != u64::from(count) {
        return Err(format!("{count} streams are up, but the server has counted {counted}").into());
    }
    let idle = Snapshot::take(&[child.pid()])?;
    crowd.finish(Close::Reset)?;
    child.stop()?;
    let rss = |snapshot: &Snapshot| snapshot.process.map_or(0, |process| process.rss as i64);
    Ok(Footprint { grown: rss(&idle) - rss(&before), connections, streams })
}
