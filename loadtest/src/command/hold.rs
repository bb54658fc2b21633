//! `hold`: very many idle subscribers, what each of them costs, and that all of them are alive.
//!
//! The raw engine arms nothing here: our end of a connection then weighs what a bare socket does.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::Outcome;
use super::reference::{self, Reference, SETTLE_FOR};
use super::session::{self, Session, plan};
use crate::engine::{Kind, Order, Plan};
use crate::memory::Snapshot;
use crate::options::Options;
use crate::publish::{self, Extent};
use crate::report::{Report, seconds};
use crate::{Failure, machine, stats};

/// Caches of the kernel that are told one by one.
const CACHES_MAX: usize = 10;

/// How often idle connections are looked at: what heartbeats bring must not pile up in them.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Runs it: references, connections, memory, an event to all, a storm, the stay, the close, memory once more.
pub fn run(options: &Options) -> Result<Outcome, Failure> {
    let mut reports = Vec::new();
    let bare = options.bare.then(|| reference::measure(options, false)).transpose()?;
    let armed = options.armed.then(|| reference::measure(options, true)).transpose()?;

    let session = Session::start(options, &Plan { armed: options.engine == Kind::Uring, ..plan(options)? }, 0..0)?;
    thread::sleep(SETTLE_FOR);
    let before = Snapshot::take(&options.pids)?;
    let cpu_before = machine::process_cpu_time(&options.pids)?;
    let took = session.open("connecting", 0..options.subscribers)?;
    let opened = session.opened();
    let cpu = machine::process_cpu_time(&options.pids)?.saturating_sub(cpu_before);
    // What the server sends after its answer is taken in: unread it would count as memory.
    session.crowd.order(&Order::Sweep(SETTLE_FOR / 2));
    thread::sleep(SETTLE_FOR * 2);
    session.crowd.order(&Order::Sweep(SWEEP_EVERY));
    let idle = Snapshot::take(&options.pids)?;

    let mut report = Report::default();
    let both_ends = note_kernel(&mut report, &before, &idle, options.subscribers);
    note_process(&mut report, &before, &idle, options.subscribers);
    if let Some(bare) = &bare {
        note_server_end(&mut report, bare, both_ends, &before, &idle, options.subscribers);
    }
    if !options.pids.is_empty() {
        let each = cpu.as_secs_f64() / f64::from(options.subscribers);
        report.note(
            "server",
            "cpu_seconds_per_connection",
            "server's CPU time per connection",
            seconds(Duration::from_secs_f64(each)),
            each,
        );
    }
    let mut published = publish::Findings::none();
    if options.way.is_some() {
        broadcast(&session, &mut report, &mut published, "broadcast", "an event to all, all have it after")?;
    }
    if options.storm > 0 {
        storm(&session, &mut report, &mut published)?;
    }
    stay(&session, &mut report)?;
    let alive = session.crowd.counters.open.load(Ordering::Acquire);
    let (mut whole, findings) = session.conclude(opened, took, options.way.as_ref().map(|_| &published))?;
    thread::sleep(SETTLE_FOR);
    let closed = Snapshot::take(&options.pids)?;
    note_close(&mut report, &before, &closed, options.subscribers);

    whole.count("connect", "alive", "alive at the end", alive.into());
    whole.append(report);
    for (name, Reference { report, .. }) in
        [("bare", bare), ("armed", armed)].into_iter().filter_map(|(name, of)| Some((name, of?)))
    {
        reports.push((name.to_owned(), report));
    }
    reports.push((options.authority(), whole));
    Ok(Outcome { reports, faults: session::faults(&findings, Some(&published), false) })
}

/// Holds the subscribers, and notes what keeping them costs the server: heartbeats, above all.
fn stay(session: &Session<'_>, report: &mut Report) -> Result<(), Failure> {
    let Options { stay, pids, subscribers, .. } = session.options;
    let before = machine::process_cpu_time(pids)?;
    session.pass(*stay, |session| {
        let counters = &session.crowd.counters;
        format!("{} held, {} failed", counters.open.load(Ordering::Acquire), counters.failed.load(Ordering::Acquire))
    })?;
    let cpu = machine::process_cpu_time(pids)?.saturating_sub(before);
    if !stay.is_zero() && !pids.is_empty() {
        let each = cpu.as_secs_f64() * 60.0 / stay.as_secs_f64() / f64::from(*subscribers);
        let text = seconds(Duration::from_secs_f64(each));
        report.note("server", "cpu_seconds_held", "server's CPU time per subscriber held for a minute", text, each);
    }
    Ok(())
}

/// Publishes an event on every topic and waits until everybody has got it.
fn broadcast(
    session: &Session<'_>,
    report: &mut Report,
    published: &mut publish::Findings,
    section: &'static str,
    label: &str,
) -> Result<(), Failure> {
    session.crowd.order(&Order::Sweep(Duration::ZERO));
    let (start, received) = (Instant::now(), session.received());
    publish_once(session, published)?;
    session.catch_up()?;
    session.crowd.order(&Order::Sweep(SWEEP_EVERY));
    let reached = session.received() - received;
    report.count(section, "reached", &format!("{section} reached"), reached);
    report.time(section, "seconds", label, start.elapsed());
    Ok(())
}

fn publish_once(session: &Session<'_>, published: &mut publish::Findings) -> Result<(), Failure> {
    published.add(&session.publish(Extent::Events(session.run.board.stream_count().into()))?.join()?);
    Ok(())
}

/// Cuts some, publishes what they miss, lets them resume, and publishes to all once more.
fn storm(session: &Session<'_>, report: &mut Report, published: &mut publish::Findings) -> Result<(), Failure> {
    let cut = 0..session.options.storm;
    let open = |session: &Session<'_>| session.crowd.counters.open.load(Ordering::Acquire);
    let stayed = open(session) - cut.len() as u32;
    let start = Instant::now();
    session.crowd.order(&Order::Cut(cut.clone()));
    session.wait(
        |session| open(session) <= stayed,
        |session| open(session).into(),
        session.options.grace,
        |session| format!("cutting: {} still up", open(session)),
    )?;
    publish_once(session, published)?;
    let begin = Instant::now();
    session.open("resuming", cut.clone())?;
    let back_for = begin.elapsed();
    session.crowd.order(&Order::Sweep(Duration::ZERO));
    session.catch_up()?;
    report.count("storm", "cut", "cut off, and resumed", cut.len() as u64);
    report.time("storm", "back_seconds", "  all back after", back_for);
    report.time("storm", "recovered_seconds", "  nothing missing after", start.elapsed());
    broadcast(session, report, published, "second", "another event, all have it after")
}

/// Notes the kernel's memory per connection, and returns that of both ends.
pub fn note_kernel(report: &mut Report, before: &Snapshot, idle: &Snapshot, connections: u32) -> f64 {
    let each = |bytes: i64| bytes as f64 / f64::from(connections.max(1));
    let whole = |bytes: f64| format!("{bytes:.0} B");
    let all = each(idle.slab_growth_since(before));
    let both_ends = idle.socket_growth_since(before).map_or(all, each);
    report.note("kernel", "bytes_both_ends", "kernel, both ends, per connection", whole(both_ends), both_ends);
    report.note("kernel", "bytes_all_slabs", "  all slabs of the machine", whole(all), all);
    for (name, bytes) in idle.largest_since(before, CACHES_MAX) {
        let bytes = each(bytes);
        report.note("kernel", format!("cache {name}"), format!("  {name}"), whole(bytes), bytes);
    }
    both_ends
}

/// Notes the server's own memory.
fn note_process(report: &mut Report, before: &Snapshot, idle: &Snapshot, connections: u32) {
    let Some((before, idle)) = before.process.zip(idle.process) else { return };
    let each = |bytes: f64| bytes / f64::from(connections.max(1));
    let (growth, all) = (each(idle.rss as f64 - before.rss as f64), each(idle.rss as f64));
    report.note("process", "rss_before", "process, resident before", stats::bytes(before.rss), before.rss);
    report.note("process", "rss", "process, resident when idle", stats::bytes(idle.rss), idle.rss);
    report.note("process", "pss", "process, proportional when idle", stats::bytes(idle.pss), idle.pss);
    report.note("process", "bytes_growth", "process, growth per subscriber", format!("{growth:.1} B"), growth);
    report.note("process", "bytes_each", "process, all of it per subscriber", format!("{all:.1} B"), all);
}

/// Notes the server's end of a connection: half of a bare one, and what the server adds.
fn note_server_end(
    report: &mut Report,
    bare: &Reference,
    both_ends: f64,
    before: &Snapshot,
    idle: &Snapshot,
    connections: u32,
) {
    let growth = before.process.zip(idle.process).map_or(0, |(before, idle)| idle.rss as i64 - before.rss as i64);
    let half = bare.both_ends / 2.0;
    let all_in = half + both_ends - bare.both_ends + growth as f64 / f64::from(connections.max(1));
    report.note("server", "bytes_all_in", "server's end, all in", format!("{all_in:.0} B"), all_in);
    report.note(
        "server",
        "bare_ratio",
        "  next to half a bare connection",
        format!("{:.3} x", all_in / half),
        all_in / half,
    );
}

/// Notes what is left when all have gone.
fn note_close(report: &mut Report, before: &Snapshot, closed: &Snapshot, connections: u32) {
    if let Some(process) = closed.process {
        report.note(
            "process",
            "rss_closed",
            "process, resident after the close",
            stats::bytes(process.rss),
            process.rss,
        );
    }
    if let Some(growth) = closed.socket_growth_since(before) {
        let each = growth as f64 / f64::from(connections.max(1));
        report.note("kernel", "bytes_closed", "kernel after the close, per connection", format!("{each:.0} B"), each);
    }
}
