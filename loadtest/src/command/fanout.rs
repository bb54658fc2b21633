//! `fanout`: events to subscribers that keep up.

use super::Outcome;
use super::session::{self, Meter, Session, plan};
use crate::Failure;
use crate::engine::Order;
use crate::options::Options;
use crate::publish::Extent;
use crate::report::{self, Report};

/// Runs it.
pub fn run(options: &Options) -> Result<Outcome, Failure> {
    let session = Session::start(options, &plan(options)?, 0..0)?;
    let took = session.open("connecting", 0..options.subscribers)?;
    let opened = session.opened();
    let publishers = session.publish(Extent::For(options.warmup + options.duration))?;
    let line = |session: &Session<'_>| {
        format!(
            "{} events published, {} received",
            session.run.board.begun_in_all(),
            report::grouped(session.received())
        )
    };
    session.pass(options.warmup, line)?;
    session.crowd.order(&Order::Phase);
    let meter = Meter::start(&session)?;
    session.pass(options.duration, line)?;
    let published = publishers.join()?;
    session.catch_up()?;
    let mut report = Report::default();
    meter.note(&session, &mut report)?;
    let (mut whole, findings) = session.conclude(opened, took, Some(&published))?;
    whole.append(report);
    session::measured(options, whole, &findings, &published)
}
