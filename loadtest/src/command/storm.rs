//! `storm`: everybody is cut off at once while events flow, and comes back to resume.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Outcome;
use super::session::{self, Meter, Session, plan};
use crate::Failure;
use crate::engine::Order;
use crate::options::Options;
use crate::publish::Extent;
use crate::report::{self, Report};

/// Runs it: a warm-up, the cut, the recovery, and the rest of the time in peace.
pub fn run(options: &Options) -> Result<Outcome, Failure> {
    let session = Session::start(options, &plan(options)?, 0..0)?;
    let cut = options.shared(100);
    let took = session.open("connecting", 0..options.subscribers)?;
    let open = |session: &Session<'_>| session.crowd.counters.open.load(Ordering::Acquire);
    let opened = session.opened();
    let publishers = session.publish(Extent::For(Duration::MAX))?;
    session.pass(options.warmup, |session| format!("{} events received", report::grouped(session.received())))?;
    // Who never had an event has nothing to resume from.
    session.catch_up()?;

    let meter = Meter::start(&session)?;
    session.crowd.order(&Order::Phase);
    let (stayed, start) = (open(&session) - cut.len() as u32, Instant::now());
    session.crowd.order(&Order::Cut(cut.clone()));
    session.wait(
        |session| open(session) <= stayed,
        |session| open(session).into(),
        options.grace,
        |session| format!("cutting: {} still up", open(session)),
    )?;
    let cut_for = start.elapsed();
    let back_for = session.open("resuming", cut.clone())? + cut_for;
    session.catch_up()?;
    let recovered_for = start.elapsed();
    let mut report = Report::default();
    meter.note(&session, &mut report)?;

    session.crowd.order(&Order::Phase);
    session.pass(options.duration, |session| format!("{} events received", report::grouped(session.received())))?;
    publishers.stop();
    let published = publishers.join()?;
    session.catch_up()?;
    let (mut whole, findings) = session.conclude(opened, took, Some(&published))?;
    whole.count("storm", "cut", "cut off", cut.len() as u64);
    whole.time("storm", "cut_seconds", "  within", cut_for);
    whole.time("storm", "back_seconds", "all back after", back_for);
    let per_second = cut.len() as f64 / (back_for - cut_for).as_secs_f64().max(1e-9);
    whole.note("storm", "back_per_second", "  per second", report::grouped(per_second as u64), per_second);
    whole.time("storm", "recovered_seconds", "nothing missing after", recovered_for);
    whole.append(report);
    report::latency(&mut whole, "after", "end to end after it", &findings.latency[2]);
    if let Some(path) = &options.hdr {
        let named = [("during", &findings.latency[1]), ("after", &findings.latency[2])];
        report::write_hdr(path, &named, options.duration)?;
    }
    let faults = session::faults(&findings, Some(&published), false);
    Ok(Outcome { reports: vec![(options.authority(), whole)], faults })
}
