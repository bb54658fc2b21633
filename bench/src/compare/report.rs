//! What is written in the end: a page of tables, two plots, and everything that was found.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::record::Record;
use super::scenario::{Scenario, Size};
use super::svg::{self, Series};
use super::unit::Unit;
use super::versions::Circumstances;
use crate::Failure;
use crate::peers::Peer;
use crate::stats::Spread;

/// What the plot of latencies shows: the share of deliveries that were slower, and where the figure is found.
const PERCENTILES: [(f64, &str); 5] = [
    (0.5, "/latency/p50"),
    (0.1, "/latency/p90"),
    (0.01, "/latency/p99"),
    (0.001, "/latency/p999"),
    (0.0001, "/latency/p9999"),
];

/// Writes it all into `folder`.
pub fn write(folder: &Path, circumstances: &Circumstances, size: &Size, records: &[Record]) -> Result<(), Failure> {
    let all = json!({
        "circumstances": circumstances.to_json(),
        "runs": records.iter().map(Record::to_json).collect::<Vec<Value>>(),
    });
    let put = |name: &str, text: String| fs::write(folder.join(name), text);
    put("compare.json", format!("{all:#}\n"))?;
    put("compare.md", markdown(circumstances, size, records))?;
    let latencies: Vec<Series> =
        peers_of(records, Scenario::Latency).into_iter().map(|peer| line(records, peer)).collect();
    if latencies.iter().any(|series| !series.points.is_empty()) {
        let title = format!("Latency to {} subscribers", Scenario::Latency.subscribers(size));
        put("latency.svg", svg::latency(&title, &latencies))?;
    }
    let idle = peers_of(records, Scenario::Idle);
    if !idle.is_empty() {
        let bars = |value: fn(&Record) -> Option<f64>| -> Vec<Series> {
            let bar = |peer: &Peer| {
                let value = spread(records, Scenario::Idle, *peer, value).map_or(0.0, |spread| spread.median);
                Series { points: vec![(0.0, value)], ..series(*peer) }
            };
            idle.iter().map(bar).collect()
        };
        let groups = [
            ("per connection (growth of PSS, bytes)", bars(Record::pss_growth)),
            ("in all (PSS, bytes)", bars(|record| record.at("/process/pss"))),
        ];
        let written = |value| Unit::Bytes.write(Spread { median: value, min: value, max: value });
        put("memory.svg", svg::bars(&format!("Memory with {} idle connections", size.idle), &groups, written))?;
    }
    Ok(())
}

/// Who was put through a scenario, in the order of tables.
fn peers_of(records: &[Record], scenario: Scenario) -> Vec<Peer> {
    let mut peers: Vec<Peer> =
        records.iter().filter(|record| record.scenario == scenario).map(|record| record.peer).collect();
    peers.sort_unstable();
    peers.dedup();
    peers
}

/// A figure of a server over all rounds.
fn spread(records: &[Record], scenario: Scenario, peer: Peer, value: fn(&Record) -> Option<f64>) -> Option<Spread> {
    let runs = records.iter().filter(|record| (record.scenario, record.peer) == (scenario, peer));
    Spread::of(&runs.filter_map(value).collect::<Vec<f64>>())
}

fn series(peer: Peer) -> Series {
    let colour = Peer::ALL.iter().position(|known| *known == peer).unwrap_or(0);
    Series { name: peer.name().to_owned(), colour, points: Vec::new() }
}

/// A server's line in the plot of latencies: the medians of all rounds.
fn line(records: &[Record], peer: Peer) -> Series {
    let runs = || records.iter().filter(|record| (record.scenario, record.peer) == (Scenario::Latency, peer));
    let point = |(slower, pointer): (f64, &str)| {
        let micros: Vec<f64> = runs().filter_map(|record| record.at(pointer)).collect();
        Some((slower, Spread::of(&micros)?.median * 1e3))
    };
    Series { points: PERCENTILES.into_iter().filter_map(point).collect(), ..series(peer) }
}

/// The page: circumstances, then a table for each scenario and what was wrong in it.
fn markdown(circumstances: &Circumstances, size: &Size, records: &[Record]) -> String {
    let mut out = format!("# Plasma next to others\n\n{}\n", circumstances.to_markdown());
    out.push_str("Figures are medians of all rounds, with the least and the greatest in brackets.\n");
    for scenario in Scenario::ALL {
        let peers = peers_of(records, scenario);
        if peers.is_empty() {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(out, "\n## {}\n", scenario.title(size));
        let of_this = || records.iter().filter(|record| record.scenario == scenario);
        if let Some(record) = of_this().next() {
            let _ = writeln!(out, "`loadtest {}`\n", record.words());
        }
        table(&mut out, scenario, &peers, records);
        faults(&mut out, &of_this().collect::<Vec<_>>());
    }
    out
}

fn table(out: &mut String, scenario: Scenario, peers: &[Peer], records: &[Record]) {
    let columns = scenario.columns();
    let headings: Vec<&str> = columns.iter().map(|column| column.heading).collect();
    let _ = writeln!(out, "| server | {} |\n| --- |{}", headings.join(" | "), " ---: |".repeat(columns.len()));
    for peer in peers {
        let cell = |column: &super::scenario::Column| {
            let spread = spread(records, scenario, *peer, column.value);
            spread.map_or_else(|| "–".to_owned(), |spread| column.unit.write(spread))
        };
        let cells: Vec<String> = columns.iter().map(cell).collect();
        let _ = writeln!(out, "| {} | {} |", peer.name(), cells.join(" | "));
    }
}

/// What was not as it should be, run by run.
fn faults(out: &mut String, records: &[&Record]) {
    let lines: Vec<String> = records
        .iter()
        .flat_map(|record| record.faults().into_iter().map(|fault| (record.peer, record.round, fault)))
        .map(|(peer, round, fault)| format!("- {}, round {round}: {fault}\n", peer.name()))
        .collect();
    if !lines.is_empty() {
        let _ = write!(out, "\n{}", lines.concat());
    }
}
