//! `slow`: some subscribers stop reading or trickle, and the others must not notice.

use super::Outcome;
use super::session::{self, Meter, Session, plan};
use crate::Failure;
use crate::engine::{Order, Reading};
use crate::options::Options;
use crate::publish::Extent;
use crate::report::{self, Report};

/// Runs it: a warm-up, the time before, as long again with the slow ones slow, and their return.
pub fn run(options: &Options) -> Result<Outcome, Failure> {
    let slow = options.shared(10);
    let session = Session::start(options, &plan(options)?, slow.clone())?;
    let took = session.open("connecting", 0..options.subscribers)?;
    let opened = session.opened();
    let publishers = session.publish(Extent::For(options.warmup + options.duration * 2))?;
    let line = |what: &'static str| {
        move |session: &Session<'_>| format!("{what}: {} events received", report::grouped(session.received()))
    };
    session.pass(options.warmup, line("warm-up"))?;
    session.crowd.order(&Order::Phase);
    session.pass(options.duration, line("before"))?;
    let reading = if options.trickle == 0 { Reading::Stopped } else { Reading::Trickle(options.trickle) };
    session.crowd.order(&Order::Read(slow.clone(), reading));
    session.crowd.order(&Order::Phase);
    let meter = Meter::start(&session)?;
    session.pass(options.duration, line("during"))?;
    let mut report = Report::default();
    meter.note(&session, &mut report)?;
    let published = publishers.join()?;
    session.crowd.order(&Order::Phase);
    session.crowd.order(&Order::Read(slow.clone(), Reading::Full));
    session.catch_up()?;
    let (mut whole, findings) = session.conclude(opened, took, Some(&published))?;
    whole.count("slow", "subscribers", "slow subscribers", slow.len() as u64);
    whole.append(report);
    let phases = [("before", 1), ("during", 2), ("after", 3)];
    for (name, phase) in phases {
        report::latency(&mut whole, name, &format!("the others {name}"), &findings.latency[phase]);
    }
    if let Some(path) = &options.hdr {
        let named: Vec<_> = phases.map(|(name, phase)| (name, &findings.latency[phase])).into();
        report::write_hdr(path, &named, options.duration)?;
    }
    // Who does not read loses something at last; what counts is that it is told.
    let faults = session::faults(&findings, Some(&published), true);
    Ok(Outcome { reports: vec![(options.authority(), whole)], faults })
}
