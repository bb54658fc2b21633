//! What all scenarios share: a crowd that is brought up, publishers, waiting with progress lines, and the verdict.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Outcome;
use crate::board::Board;
use crate::books::{Findings, Run};
use crate::engine::{Crowd, Order, Plan};
use crate::memory::Process;
use crate::options::Options;
use crate::publish::{self, Extent, Publishers};
use crate::report::{self, Report, seconds};
use crate::target::destinations;
use crate::{Failure, machine};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How often a line says how far things are.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// More failures than this, and than a hundredth of the subscribers, end the run: something is wrong, not unlucky.
const FAILURES_MAX: u32 = 100;

/// A run as far as it has come.
pub struct Session<'o> {
    /// What it is to do.
    pub options: &'o Options,
    /// What engines and publishers share.
    pub run: Run,
    /// The subscribers.
    pub crowd: Crowd,
}

impl<'o> Session<'o> {
    /// A crowd with no connections yet. Latencies of `unrecorded` do not count.
    pub fn start(options: &'o Options, plan: &Plan, unrecorded: Range<u32>) -> Result<Self, Failure> {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let board = Arc::new(Board::new(options.publishers, options.topics));
        // The clock's nanoseconds tell runs apart well enough.
        let run = Run { tag: (nanos ^ (nanos >> 32)) as u32, began: Instant::now(), board, unrecorded };
        let crowd = Crowd::start(options.engine, plan, &run, options.subscribers, options.threads)?;
        Ok(Self { options, run, crowd })
    }

    /// Brings up these subscribers and returns how long it took. Some may have failed: the books know.
    pub fn open(&self, what: &str, who: Range<u32>) -> Result<Duration, Failure> {
        let counters = &self.crowd.counters;
        let opened = |this: &Self| this.crowd.counters.opened.load(Ordering::Acquire);
        let failed = |this: &Self| this.crowd.counters.failed.load(Ordering::Acquire);
        let (opened_before, failed_before, wanted) = (opened(self), failed(self), who.len() as u64);
        let bearable = FAILURES_MAX.max(self.options.subscribers / 100);
        let start = Instant::now();
        self.crowd.order(&Order::Open(who));
        let settled = |this: &Self| opened(this) - opened_before + u64::from(failed(this) - failed_before);
        self.wait(
            |this| settled(this) >= wanted || failed(this) - failed_before > bearable,
            |this| settled(this),
            self.options.answer_for_max + Duration::from_secs(5),
            |this| format!("{what}: {} of {wanted} up, {} failed", opened(this) - opened_before, failed(this)),
        )?;
        if failed(self) - failed_before > bearable {
            return Err(format!(
                "too many failures: {} of {wanted}, with {} up",
                failed(self) - failed_before,
                counters.open.load(Ordering::Acquire)
            )
            .into());
        }
        Ok(start.elapsed())
    }

    /// Starts the publishers, who publish for so long.
    pub fn publish(&self, extent: Extent) -> Result<Publishers, Failure> {
        let way = self.options.way.as_ref().ok_or("there is nowhere to publish")?;
        let plan = publish::Plan {
            pace: self.options.rate,
            extent,
            batch: self.options.batch as usize,
            data_len: self.options.size as usize,
            topic_prefix: self.options.topic_prefix.clone(),
        };
        Publishers::start(way, &plan, &self.run)
    }

    /// The sum of where all subscribers have to get: the ends of their streams, as far as publishing has begun.
    fn owed(&self) -> u64 {
        let (board, topics, subscribers) = (&self.run.board, self.options.topics, self.options.subscribers);
        let subscribers_of = |topic: u32| u64::from((subscribers - topic).div_ceil(topics));
        let begun_of = |topic: u32| board.of_topic(topic).map(|stream| u64::from(board.begun(stream))).sum::<u64>();
        (0..topics).map(|topic| subscribers_of(topic) * begun_of(topic)).sum()
    }

    /// Waits until everybody has everything whose publishing has begun by now, or nothing has come for the time of
    /// grace: what is missing then is for the books to find.
    pub fn catch_up(&self) -> Result<(), Failure> {
        let position = |this: &Self| this.crowd.counters.positions.load(Ordering::Acquire);
        let end = self.owed();
        let outcome = self.wait(
            |this| position(this) >= end,
            |this| this.received(),
            self.options.grace,
            |this| format!("{} events missing", report::grouped(end.saturating_sub(position(this)))),
        );
        self.crowd.check()?;
        if outcome.is_err() {
            self.say(&format!("nothing more came for {}", seconds(self.options.grace)));
        }
        Ok(())
    }

    /// Lets time pass, with a line every second.
    pub fn pass(&self, time: Duration, line: impl Fn(&Self) -> String) -> Result<(), Failure> {
        let deadline = Instant::now() + time;
        self.wait(|_| Instant::now() >= deadline, |_| 0, Duration::MAX, line)
    }

    /// Waits for a condition, as long as `progress` moves at least every `patience`.
    pub fn wait(
        &self,
        done: impl Fn(&Self) -> bool,
        progress: impl Fn(&Self) -> u64,
        patience: Duration,
        line: impl Fn(&Self) -> String,
    ) -> Result<(), Failure> {
        let (mut moved_at, mut told_at, mut last) = (Instant::now(), Instant::now(), progress(self));
        while !done(self) {
            self.crowd.check()?;
            thread::sleep(LOOK_EVERY);
            let now = progress(self);
            if now != last {
                (last, moved_at) = (now, Instant::now());
            } else if moved_at.elapsed() > patience {
                return Err(format!("nothing moved for {}; {}", seconds(patience), line(self)).into());
            }
            if told_at.elapsed() >= TELL_EVERY {
                told_at = Instant::now();
                self.say(&line(self));
            }
        }
        Ok(())
    }

    /// A line for the person at the terminal.
    pub fn say(&self, line: &str) {
        if !self.options.quiet {
            eprintln!("{line}");
        }
    }

    /// Events received so far.
    pub fn received(&self) -> u64 {
        self.crowd.counters.events.load(Ordering::Acquire)
    }

    /// Ends the run, and notes what every scenario has to tell.
    pub fn conclude(
        self,
        opened: u64,
        took: Duration,
        published: Option<&publish::Findings>,
    ) -> Result<(Report, Findings), Failure> {
        let findings = self.finish()?;
        let mut report = Report::default();
        note_connecting(&mut report, opened, took, &findings);
        note_events(&mut report, published, &findings);
        Ok((report, findings))
    }

    /// Subscriptions that stood so far.
    pub fn opened(&self) -> u64 {
        self.crowd.counters.opened.load(Ordering::Acquire)
    }

    /// Ends the run.
    pub fn finish(self) -> Result<Findings, Failure> {
        self.crowd.finish(self.options.close)
    }
}

/// What every connection of a run needs to know.
pub fn plan(options: &Options) -> Result<Plan, Failure> {
    let target = options.target.as_ref().ok_or("there is no target")?;
    let connections = options.subscribers.div_ceil(options.streams);
    Ok(Plan {
        protocol: options.protocol,
        streams: options.streams,
        destinations: destinations(target.address, connections, options.destinations),
        authority: target.authority.clone(),
        path: options.path.clone(),
        topic_prefix: options.topic_prefix.clone(),
        headers: options.headers.clone(),
        pace: options.pace,
        answer_for_max: options.answer_for_max,
        armed: true,
        bare: false,
    })
}

/// CPU time and memory of the server between two moments.
pub struct Meter {
    pids: Vec<u32>,
    since: Instant,
    cpu: Duration,
    memory: Option<Process>,
    received: u64,
}

impl Meter {
    /// From now on.
    pub fn start(session: &Session<'_>) -> Result<Self, Failure> {
        let pids = session.options.pids.clone();
        Ok(Self {
            since: Instant::now(),
            cpu: machine::process_cpu_time(&pids)?,
            memory: crate::memory::processes(&pids)?,
            received: session.received(),
            pids,
        })
    }

    /// Notes what the server has used since, and for how many events.
    pub fn note(&self, session: &Session<'_>, report: &mut Report) -> Result<(), Failure> {
        let (received, elapsed) = (session.received() - self.received, self.since.elapsed());
        report.count("deliveries", "count", "deliveries while measured", received);
        let per_second = received as f64 / elapsed.as_secs_f64();
        report.note("deliveries", "per_second", "  per second", report::grouped(per_second as u64), per_second);
        report.note("deliveries", "seconds", "", "", elapsed.as_secs_f64());
        if self.pids.is_empty() {
            return Ok(());
        }
        let cpu = machine::process_cpu_time(&self.pids)?.saturating_sub(self.cpu);
        report.time("server", "cpu_seconds", "server's CPU time", cpu);
        if received > 0 && !cpu.is_zero() {
            let per_million = cpu.as_secs_f64() * 1e6 / received as f64;
            let per_cpu_second = received as f64 / cpu.as_secs_f64();
            report.note(
                "server",
                "cpu_seconds_per_million",
                "  per million deliveries",
                seconds(Duration::from_secs_f64(per_million)),
                per_million,
            );
            report.note(
                "server",
                "deliveries_per_cpu_second",
                "deliveries per second of it",
                report::grouped(per_cpu_second as u64),
                per_cpu_second,
            );
        }
        if let (Some(before), Some(after)) = (self.memory, crate::memory::processes(&self.pids)?) {
            for (name, label, bytes) in [
                ("rss_before", "server's resident memory before", before.rss),
                ("rss", "server's resident memory after", after.rss),
                ("pss", "  proportional", after.pss),
            ] {
                report.note("server", name, label, crate::stats::bytes(bytes), bytes);
            }
        }
        Ok(())
    }
}

/// Notes how the connections came up.
fn note_connecting(report: &mut Report, opened: u64, took: Duration, findings: &Findings) {
    report.count("connect", "opened", "subscriptions opened", opened);
    report.count("connect", "failed", "failed or ended", findings.failure_count().into());
    let per_second = opened as f64 / took.as_secs_f64().max(1e-9);
    report.note("connect", "per_second", "opened per second", report::grouped(per_second as u64), per_second);
    report.note("connect", "failures", "", "", serde_json::json!(findings.failures));
    report::latency(report, "first_byte", "answer", &findings.first_byte);
}

/// Notes what was published, and what became of it.
fn note_events(report: &mut Report, published: Option<&publish::Findings>, findings: &Findings) {
    if let Some(published) = published {
        report.count("events", "published", "events accepted", published.accepted);
        report.count("events", "refused", "  refused, or nobody knows", published.refused);
        let per_second = published.accepted as f64 / published.took.as_secs_f64().max(1e-9);
        report.note("events", "per_second", "  accepted per second", report::grouped(per_second as u64), per_second);
        if !published.lag.is_empty() {
            let latest = Duration::from_nanos(published.lag.max());
            report.time("events", "latest_seconds", "  sent late by at most", latest);
        }
        report.note("events", "refusals", "", "", serde_json::json!(published.refusals));
    }
    let totals = &findings.totals;
    report.count("events", "delivered", "deliveries in all", totals.delivered);
    report.count("events", "lost", "lost in silence", totals.lost);
    report.count("events", "told", "lost, and told", totals.told);
    report.count("events", "gaps", "notices of gaps", totals.gaps);
    report.count("events", "duplicated", "repeated", totals.duplicated);
    report.count("events", "out_of_order", "out of order", totals.out_of_order);
    report.count("events", "strays", "of other topics", totals.strays);
}

/// The end of a scenario whose last phase is what it measures: what came before is left out.
pub fn measured(
    options: &Options,
    mut report: Report,
    findings: &Findings,
    published: &publish::Findings,
) -> Result<Outcome, Failure> {
    let latency = findings.latency.last().expect("there is always a phase");
    report::latency(&mut report, "latency", "end to end", latency);
    if let Some(path) = &options.hdr {
        report::write_hdr(path, &[("latency", latency)], options.duration)?;
    }
    let faults = faults(findings, Some(published), false);
    Ok(Outcome { reports: vec![(options.authority(), report)], faults })
}

/// Everything that was not as it should be. Losses that were told are a fault unless they are `pardoned`.
pub fn faults(findings: &Findings, published: Option<&publish::Findings>, pardoned: bool) -> Vec<String> {
    let totals = &findings.totals;
    let mut faults = Vec::new();
    for (count, words) in [
        (totals.lost, "lost in silence"),
        (if pardoned { 0 } else { totals.told }, "lost, which the server told"),
        (totals.duplicated, "repeated"),
        (totals.out_of_order, "out of order"),
        (totals.strays, "of topics that were not asked for"),
    ] {
        if count > 0 {
            faults.push(format!("{} events {words}", report::grouped(count)));
        }
    }
    for (reason, count) in &findings.failures {
        faults.push(format!("{count} connections: {reason}"));
    }
    for (reason, count) in published.iter().flat_map(|published| &published.refusals) {
        faults.push(format!("{count} times a publisher was told: {reason}"));
    }
    faults
}
