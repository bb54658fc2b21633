//! The reference for memory: the same connections to a process that accepts them and does nothing else.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use super::session::{Session, plan};
use crate::Failure;
use crate::child::Child;
use crate::engine::Plan;
use crate::memory::Snapshot;
use crate::options::Options;
use crate::report::Report;
use crate::target::destinations;

/// Connections that one ring of the acceptor gets on average: hashing spreads them unevenly, by a tenth or so.
const ACCEPTOR_SHARE: u32 = 15_000;

/// Time for what the kernel frees late, and for a server to go to rest.
pub const SETTLE_FOR: Duration = Duration::from_secs(2);

/// What a connection that nobody does anything with takes.
pub struct Reference {
    /// Kernel memory of one connection, both ends, in bytes.
    pub both_ends: f64,
    /// Its figures.
    pub report: Report,
}

/// Measures as many bare connections as there are subscribers, with a poll armed on each if asked for.
pub fn measure(options: &Options, armed: bool) -> Result<Reference, Failure> {
    let rings = options.subscribers.div_ceil(ACCEPTOR_SHARE).to_string();
    let words = ["acceptor", &rings];
    let mut child = Child::start(words.into_iter().chain(armed.then_some("armed")))?;
    let address = SocketAddr::from(child.address());
    let plan = Plan {
        destinations: destinations(address, options.subscribers, options.destinations),
        armed: false,
        bare: true,
        ..plan(options)?
    };
    let session = Session::start(options, &plan, 0..0)?;
    thread::sleep(SETTLE_FOR);
    let before = Snapshot::take(&[child.pid()])?;
    let took = session.open(if armed { "armed sockets" } else { "bare sockets" }, 0..options.subscribers)?;
    thread::sleep(SETTLE_FOR);
    let idle = Snapshot::take(&[child.pid()])?;
    let counted = child.count()?;
    if counted != u64::from(options.subscribers) {
        return Err(
            format!("{} connections are up, but the acceptor has counted {counted}", options.subscribers).into()
        );
    }
    let findings = session.finish()?;
    child.stop()?;
    if findings.failure_count() > 0 {
        return Err(format!("bare sockets failed: {:?}", findings.failures).into());
    }
    thread::sleep(SETTLE_FOR);
    let mut report = Report::default();
    let per_second = f64::from(options.subscribers) / took.as_secs_f64();
    report.note("connect", "per_second", "opened per second", crate::report::grouped(per_second as u64), per_second);
    let both_ends = super::hold::note_kernel(&mut report, &before, &idle, options.subscribers);
    Ok(Reference { both_ends, report })
}
