//! `compare`: Plasma and others through the same scenarios in turn, in the same run, on the same machine.
//!
//! Each run has a server started anew and a load generator, `loadtest`, in processes of their own. Servers take turns
//! within a round, every other round in the opposite order, so that what else happens on the machine falls upon all of
//! them. A server that loses events, or does not come through at all, is a finding and ends nothing.

mod record;
mod report;
mod scenario;
mod server;
mod svg;
mod unit;
mod versions;

use std::path::{Path, PathBuf};
use std::{env, fs};

use lexopt::Arg::{Long, Short};
use lexopt::{Parser, ValueExt};

use self::record::Record;
use self::scenario::{Scenario, Size};
use self::versions::Circumstances;
use crate::Failure;
use crate::args::Command;
use crate::peers::{self, Peer};
use crate::stats::Spread;

/// How `bench compare` is used.
pub const HELP: &str = "\
Puts Plasma and other servers through the same scenarios in turn, and writes what came of it.

Usage: bench compare [OPTIONS]

  --scenarios LIST  of fanout, latency, idle, topics, slow, storm, grpc (all)
  --servers LIST    of plasma, bare, nchan, axum, tonic (all that are installed)
  --rounds N        runs of each server in each scenario (3)
  --quick           tiny sizes: shows that it works, and says nothing about speed
  --out DIR         where to write compare.md, compare.json, latency.svg and memory.svg (compare)
  --plasma PATH     the server; otherwise the program beside this one
  --loadtest PATH   the load generator, likewise
";

/// The part of the slowest server's capacity at which latency is measured.
const LATENCY_LOAD: f64 = 0.1;

/// Events per second at which latency is measured at least: fewer would be too few to have percentiles.
const RATE_MIN: f64 = 10.0;

/// What to compare, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    scenarios: Vec<Scenario>,
    /// `None` stands for all that are installed.
    servers: Option<Vec<Peer>>,
    rounds: u32,
    size: Size,
    out: PathBuf,
    plasma: Option<PathBuf>,
    loadtest: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scenarios: Scenario::ALL.into(),
            servers: None,
            rounds: 3,
            size: Size::WHOLE,
            out: PathBuf::from("compare"),
            plasma: None,
            loadtest: None,
        }
    }
}

/// The words after `compare`.
pub fn parse(parser: &mut Parser) -> Result<Command, Failure> {
    let mut options = Options::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("scenarios") => options.scenarios = scenarios(&parser.value()?.string()?)?,
            Long("servers") => options.servers = Some(servers(&parser.value()?.string()?)?),
            Long("rounds") => options.rounds = parser.value()?.parse::<u32>()?.max(1),
            Long("quick") => options.size = Size::QUICK,
            Long("out") => options.out = parser.value()?.into(),
            Long("plasma") => options.plasma = Some(parser.value()?.into()),
            Long("loadtest") => options.loadtest = Some(parser.value()?.into()),
            Long("help") | Short('h') => return Ok(Command::Help(HELP)),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Compare(options))
}

/// Names with commas into scenarios, in the order in which they run.
fn scenarios(words: &str) -> Result<Vec<Scenario>, Failure> {
    let is_known = |word: &str| Scenario::ALL.iter().any(|scenario| scenario.name() == word);
    match words.split(',').find(|word| !is_known(word)) {
        Some(word) => Err(format!("there is no scenario {word:?}").into()),
        None => {
            let is_wanted = |scenario: &Scenario| words.split(',').any(|word| word == scenario.name());
            Ok(Scenario::ALL.into_iter().filter(is_wanted).collect())
        }
    }
}

fn servers(words: &str) -> Result<Vec<Peer>, Failure> {
    let named = |word| Peer::named(word).ok_or_else(|| format!("{word:?} is none of {}", peers::names()).into());
    words.split(',').map(named).collect()
}

/// Compares, and writes it all down.
pub fn run(options: &Options) -> Result<(), Failure> {
    let beside = env::current_exe()?.with_file_name("loadtest");
    let loadtest = options.loadtest.as_ref().unwrap_or(&beside);
    if !loadtest.exists() {
        return Err(format!("there is no load generator {}: build it first", loadtest.display()).into());
    }
    fs::create_dir_all(&options.out)?;
    let mut comparison = Comparison { options, loadtest, servers: choose(options)?, records: Vec::new() };
    let circumstances = Circumstances::look(&comparison.servers);
    for &scenario in &options.scenarios {
        if scenario == Scenario::Latency && comparison.capacity().is_none() {
            comparison.round(Scenario::ALL[0], 1);
        }
        for round in 1..=options.rounds {
            comparison.round(scenario, round);
        }
    }
    report::write(&options.out, &circumstances, &options.size, &comparison.records)
}

/// The servers that take part: nginx does not have to be installed unless it is asked for by name.
fn choose(options: &Options) -> Result<Vec<Peer>, Failure> {
    let mut servers = options.servers.clone().unwrap_or(Peer::ALL.into());
    if let Some(at) = servers.iter().position(|peer| *peer == Peer::Nchan) {
        match (peers::nchan::module(), &options.servers) {
            (Ok(_), _) => {}
            (Err(reason), Some(_)) => return Err(reason),
            (Err(reason), None) => {
                eprintln!("without nchan: {reason}");
                servers.remove(at);
            }
        }
    }
    Ok(servers)
}

/// What has been found so far.
struct Comparison<'o> {
    options: &'o Options,
    loadtest: &'o Path,
    servers: Vec<Peer>,
    records: Vec<Record>,
}

impl Comparison<'_> {
    /// Puts every server that is fit for it through a scenario.
    fn round(&mut self, scenario: Scenario, round: u32) {
        let rate = (self.capacity().unwrap_or(0.0) * LATENCY_LOAD).max(RATE_MIN);
        let mut turns: Vec<Peer> = self.servers.iter().copied().filter(|peer| scenario.suits(*peer)).collect();
        if round.is_multiple_of(2) {
            turns.reverse();
        }
        for peer in turns {
            eprintln!("{}, round {round}: {}", scenario.key(), peer.name());
            let programs = (self.loadtest, self.options.plasma.as_deref());
            self.records.push(Record::make(peer, scenario, round, rate, &self.options.size, programs));
        }
    }

    /// Events per second to all subscribers that the slowest server can do, as far as that is known.
    fn capacity(&self) -> Option<f64> {
        let scenario = Scenario::ALL[0];
        let speed_of = |peer: &Peer| {
            let runs = self.records.iter().filter(|record| (record.peer, record.scenario) == (*peer, scenario));
            let speeds: Vec<f64> = runs.filter_map(|record| record.at("/deliveries/per_second")).collect();
            Some(Spread::of(&speeds)?.median / f64::from(scenario.subscribers(&self.options.size)))
        };
        self.servers.iter().filter_map(speed_of).min_by(f64::total_cmp)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let words = line.split_whitespace().map(OsString::from);
        parse(&mut Parser::from_args(words)).map_err(|error| error.to_string())
    }

    #[test]
    fn scenarios_run_in_their_own_order() {
        let Ok(Command::Compare(options)) = parsed("--scenarios latency,fanout --servers axum,plasma --quick --out x")
        else {
            panic!("a good line");
        };
        let keys: Vec<String> = options.scenarios.iter().map(|scenario| scenario.key()).collect();
        assert_eq!(keys, ["fanout-1", "fanout-16", "latency"]);
        assert_eq!(options.servers, Some(vec![Peer::Axum, Peer::Plasma]));
        assert_eq!((options.size, options.out), (Size::QUICK, PathBuf::from("x")));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, word) in [("--scenarios fly", "fly"), ("--servers fly", "fly"), ("--rounds x", "x"), ("y", "y")] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(word), "{line:?}: {error}");
        }
    }

    #[test]
    fn every_server_takes_part_in_something() {
        for peer in Peer::ALL {
            assert!(Scenario::ALL.iter().any(|scenario| scenario.suits(peer)), "{peer:?}");
        }
    }
}
