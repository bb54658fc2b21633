//! `churn`: subscribers leave and come at a rate while events flow.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::Outcome;
use super::session::{self, Meter, Session, plan};
use crate::Failure;
use crate::engine::Order;
use crate::options::Options;
use crate::publish::Extent;
use crate::report::{self, Report};

/// How often some leave and those who left before come back.
const TURN: Duration = Duration::from_millis(10);

/// Runs it: a warm-up, the time of coming and going, and the end of those who stayed.
pub fn run(options: &Options) -> Result<Outcome, Failure> {
    let session = Session::start(options, &plan(options)?, 0..0)?;
    let movers = options.shared(50);
    let stayers = 0..movers.start;
    let took = session.open("connecting", 0..options.subscribers)?;
    let publishers = session.publish(Extent::For(Duration::MAX))?;
    session.pass(options.warmup, |session| format!("{} events received", report::grouped(session.received())))?;
    session.crowd.order(&Order::Phase);
    let meter = Meter::start(&session)?;
    let left = come_and_go(&session, &movers)?;
    publishers.stop();
    let published = publishers.join()?;
    // Who came last is still on the way up.
    let up = |session: &Session<'_>| {
        let counters = &session.crowd.counters;
        counters.open.load(Ordering::Acquire) + counters.failed.load(Ordering::Acquire)
    };
    session.wait(
        |session| up(session) >= options.subscribers,
        |session| up(session).into(),
        options.grace,
        |session| format!("{} of {} up", up(session), options.subscribers),
    )?;
    session.catch_up()?;
    let mut report = Report::default();
    meter.note(&session, &mut report)?;
    let opened = session.opened();
    let (mut whole, findings) = session.conclude(opened, took, Some(&published))?;
    whole.count("churn", "stayed", "subscribers that stayed", stayers.len() as u64);
    whole.count("churn", "left", "left, and came again", left);
    whole.append(report);
    session::measured(options, whole, &findings, &published)
}

/// Lets one after the other leave and come back as somebody new, at the rate, and returns how many did.
fn come_and_go(session: &Session<'_>, movers: &Range<u32>) -> Result<u64, Failure> {
    let (start, options) = (Instant::now(), session.options);
    let (mut left, mut told_at) = (0, start);
    while start.elapsed() < options.duration && !movers.is_empty() {
        session.crowd.check()?;
        let due = (start.elapsed().as_secs_f64() * f64::from(options.churn)) as u64;
        while left < due {
            let first = movers.start + (left % movers.len() as u64) as u32;
            let last = movers.end.min(first + u32::try_from(due - left).unwrap_or(u32::MAX));
            session.crowd.order(&Order::Leave(first..last));
            session.crowd.order(&Order::Open(first..last));
            left += u64::from(last - first);
        }
        if told_at.elapsed() >= Duration::from_secs(1) {
            told_at = Instant::now();
            session.say(&format!("{left} left and came, {} events received", report::grouped(session.received())));
        }
        thread::sleep(TURN);
    }
    Ok(left)
}
