//! What holding connections has shown, in words and as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Tally;
use crate::machine::Machine;
use crate::memory::{Process, Snapshot};
use crate::report::Table;
use crate::stats;

/// Caches named in the breakdown.
const CACHES_MAX: usize = 10;

/// One subject from the first connection to the last.
pub struct Outcome {
    /// The server's address, or which bare acceptor.
    pub name: String,
    /// Connections that were up when memory was looked at.
    pub live: u32,
    /// Streams on each.
    pub streams: u32,
    /// Time to bring them up.
    pub connect_for: Duration,
    /// Failures and times to the first byte.
    pub tally: Tally,
    /// Whom an event reached.
    pub broadcast: Option<Broadcast>,
    /// Memory before the first connection.
    pub before: Snapshot,
    /// Memory with all of them idle.
    pub idle: Snapshot,
    /// Memory after the close.
    pub closed: Snapshot,
    /// Kernel memory after the bare acceptor has ended: before that it holds its ends of the connections.
    pub closed_kernel: Option<Snapshot>,
}

/// Whom an event reached.
pub struct Broadcast {
    /// Connections that it arrived on.
    pub reached: u32,
    /// Connections that were up.
    pub of: u32,
    /// From the request to publish until the last of them was found to have it.
    pub within: Duration,
}

impl Outcome {
    fn per_connection(&self, bytes: i64) -> f64 {
        bytes as f64 / f64::from(self.live.max(1))
    }

    /// Kernel memory per connection, both ends: the caches of sockets where they can be read, else all slabs.
    fn both_ends(&self) -> f64 {
        let growth = self.idle.socket_growth_since(&self.before);
        self.per_connection(growth.unwrap_or_else(|| self.idle.slab_growth_since(&self.before)))
    }

    /// Resident memory before and with all connections idle.
    fn process(&self) -> Option<(Process, Process)> {
        self.before.process.zip(self.idle.process)
    }

    /// What the kernel still held per connection after the close.
    fn left_over(&self) -> Option<f64> {
        let closed = self.closed_kernel.as_ref().unwrap_or(&self.closed);
        closed.socket_growth_since(&self.before).map(|growth| self.per_connection(growth))
    }

    /// Growth of the resident set per connection.
    fn process_growth(&self) -> Option<f64> {
        self.process().map(|(before, idle)| self.per_connection(idle.rss as i64 - before.rss as i64))
    }

    /// The server's end, all in, next to half of a `bare` connection.
    fn server_end(&self, bare: &Self) -> (f64, f64) {
        let half = bare.both_ends() / 2.0;
        let all_in = half + self.both_ends() - bare.both_ends() + self.process_growth().unwrap_or(0.0);
        (all_in, all_in / half)
    }
}

/// A table with a line per figure and a column per subject.
pub fn to_text(outcomes: &[Outcome], machine: &Machine) -> String {
    let headings: Vec<&str> = std::iter::once("").chain(outcomes.iter().map(|outcome| outcome.name.as_str())).collect();
    let mut table = Table::new(&headings);
    let mut line = |name: &str, figure: &dyn Fn(&Outcome) -> Option<String>| {
        let figures: Vec<_> = outcomes.iter().map(figure).collect();
        if figures.iter().any(Option::is_some) {
            let cells = figures.into_iter().map(|figure| figure.unwrap_or_else(|| "-".to_owned()));
            table.row(std::iter::once(name.to_owned()).chain(cells).collect());
        }
    };
    let whole = |bytes: f64| format!("{bytes:.0} B");
    line("connections up", &|of| Some(of.live.to_string()));
    line("streams on each", &|of| (of.streams > 1).then(|| of.streams.to_string()));
    line("failed or ended", &|of| Some(of.tally.failure_count().to_string()));
    line("connected per second", &|of| Some(format!("{:.0}", f64::from(of.live) / of.connect_for.as_secs_f64())));
    for (name, quantile) in [("median", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("longest", 1.0)] {
        line(&format!("first byte, {name}"), &|of| {
            let millis = of.tally.first_byte.value_at_quantile(quantile) as f64 / 1000.0;
            (!of.tally.first_byte.is_empty()).then(|| format!("{millis:.2} ms"))
        });
    }
    line("event reached", &|of| of.broadcast.as_ref().map(|sent| format!("{} of {}", sent.reached, sent.of)));
    line("the last one within", &|of| of.broadcast.as_ref().map(|sent| format!("{:.2} s", sent.within.as_secs_f64())));
    line("kernel, both ends, per connection", &|of| Some(whole(of.both_ends())));
    line("  all slabs of the machine", &|of| Some(whole(of.per_connection(of.idle.slab_growth_since(&of.before)))));
    for cache in caches(outcomes) {
        line(&format!("  {cache}"), &|of| {
            let grown = of.idle.largest_since(&of.before, usize::MAX);
            grown.into_iter().find(|(name, _)| *name == cache).map(|(_, bytes)| whole(of.per_connection(bytes)))
        });
    }
    line("process, resident before", &|of| of.process().map(|(before, _)| stats::bytes(before.rss)));
    line("process, resident when idle", &|of| of.process().map(|(_, idle)| stats::bytes(idle.rss)));
    line("process, proportional when idle", &|of| of.process().map(|(_, idle)| stats::bytes(idle.pss)));
    line("process, growth per connection", &|of| of.process_growth().map(|growth| format!("{growth:.1} B")));
    line("process, growth per stream", &|of| {
        let growth = of.process_growth().filter(|_| of.streams > 1);
        growth.map(|growth| format!("{:.1} B", growth / f64::from(of.streams)))
    });
    line("process, all of it per connection", &|of| {
        of.process().map(|(_, idle)| format!("{:.1} B", of.per_connection(idle.rss as i64)))
    });
    line("process, resident after the close", &|of| of.closed.process.map(|closed| stats::bytes(closed.rss)));
    line("kernel after the close, per connection", &|of| of.left_over().map(whole));
    if let Some(bare) = reference(outcomes) {
        line("server's end, all in", &|of| Some(whole(of.server_end(bare).0)));
        line("  next to half a bare connection", &|of| Some(format!("{:.3} x", of.server_end(bare).1)));
    }
    let mut text = format!("{}\n\n{}", machine.line(), table.render());
    for outcome in outcomes {
        for (reason, count) in &outcome.tally.failures {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}: {count} times {reason}", outcome.name);
        }
    }
    text
}

/// The same as an object.
pub fn to_json(outcomes: &[Outcome], machine: &Machine) -> Value {
    let subject = |of: &Outcome| {
        let quantile =
            |quantile| (!of.tally.first_byte.is_empty()).then(|| of.tally.first_byte.value_at_quantile(quantile));
        let process = |process: Option<Process>| process.map(|of| json!({ "rss": of.rss, "pss": of.pss }));
        let caches = of.idle.largest_since(&of.before, CACHES_MAX).into_iter();
        let caches: serde_json::Map<String, Value> =
            caches.map(|(name, bytes)| (name, json!(of.per_connection(bytes)))).collect();
        json!({
            "name": of.name,
            "connections": of.live,
            "streams_each": of.streams,
            "failures": of.tally.failures,
            "connect_seconds": of.connect_for.as_secs_f64(),
            "first_byte_micros": {
                "p50": quantile(0.5), "p99": quantile(0.99), "p999": quantile(0.999), "max": quantile(1.0),
            },
            "broadcast": of.broadcast.as_ref().map(|sent| json!({
                "reached": sent.reached, "of": sent.of, "seconds": sent.within.as_secs_f64(),
            })),
            "kernel_bytes_both_ends": of.both_ends(),
            "kernel_bytes_all_slabs": of.per_connection(of.idle.slab_growth_since(&of.before)),
            "kernel_bytes_by_cache": caches,
            "kernel_bytes_after_close": of.left_over(),
            "process_before": process(of.before.process),
            "process_idle": process(of.idle.process),
            "process_closed": process(of.closed.process),
            "process_bytes_growth": of.process_growth(),
            "server_end_bytes": reference(outcomes).map(|bare| of.server_end(bare).0),
            "server_end_ratio": reference(outcomes).map(|bare| of.server_end(bare).1),
        })
    };
    json!({ "machine": machine.to_json(), "subjects": outcomes.iter().map(subject).collect::<Vec<_>>() })
}

/// The bare acceptor with nothing armed, if it was measured.
fn reference(outcomes: &[Outcome]) -> Option<&Outcome> {
    outcomes.iter().find(|outcome| outcome.name == "bare")
}

/// The caches that grew most under any subject.
fn caches(outcomes: &[Outcome]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for outcome in outcomes {
        for (name, _) in outcome.idle.largest_since(&outcome.before, CACHES_MAX) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}
