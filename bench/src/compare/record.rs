//! One run of the load generator against one server, and what came of it.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use loadtest::memory::{self, Process};
use serde_json::{Value, json};

use super::scenario::{Scenario, Size, place_words};
use super::server::Server;
use crate::Failure;
use crate::peers::Peer;

/// Longest time for a run: far more than any takes, so that one that hangs does not keep the others from running.
const RUN_FOR_MAX: Duration = Duration::from_secs(180);

/// Time for a server to start all of its workers and to go to rest.
const SETTLE_FOR: Duration = Duration::from_millis(500);

/// Who went through what.
pub struct Record {
    /// Who.
    pub peer: Peer,
    /// What.
    pub scenario: Scenario,
    /// In which round, from 1 on.
    pub round: u32,
    /// What the server held before.
    pub before: Option<Process>,
    /// The load generator's words, but for the place of the server.
    words: Vec<String>,
    /// What it found, or why it found nothing.
    pub found: Result<Value, String>,
    subscribers: u32,
}

impl Record {
    /// Starts the server anew and runs the load generator.
    pub fn make(
        peer: Peer,
        scenario: Scenario,
        round: u32,
        rate: f64,
        size: &Size,
        (loadtest, plasma): (&Path, Option<&Path>),
    ) -> Self {
        let subscribers = scenario.subscribers(size);
        let words: Vec<String> = scenario.words(size, rate).split_whitespace().map(str::to_owned).collect();
        let mut record = Self { peer, scenario, round, before: None, words, found: Err(String::new()), subscribers };
        record.found = record.run(loadtest, plasma).map_err(|error| error.to_string());
        record
    }

    fn run(&mut self, loadtest: &Path, plasma: Option<&Path>) -> Result<Value, Failure> {
        let server = Server::start(self.peer, plasma)?;
        thread::sleep(SETTLE_FOR);
        let pids = server.pids()?;
        self.before = memory::processes(&pids)?;
        let mut command = Command::new(loadtest);
        command.args(&self.words).args(place_words(self.peer, server.place(), &pids));
        command.args(["--json", "--quiet"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("cannot run {}: {error}", loadtest.display()))?;
        let (said, complaints) = (collect(child.stdout.take()), collect(child.stderr.take()));
        wait(&mut child)?;
        let (said, complaints) = (said.join().unwrap_or_default(), complaints.join().unwrap_or_default());
        // Its exit code is bad when an event was lost; that is a finding, and not ours to judge.
        serde_json::from_str(&said).map_err(|_| complaints.trim().to_owned().into())
    }

    /// The load generator's words, but for the place of the server.
    pub fn words(&self) -> String {
        self.words.join(" ")
    }

    /// A figure by its place in what the load generator found.
    pub fn at(&self, pointer: &str) -> Option<f64> {
        self.found.as_ref().ok()?.pointer(pointer)?.as_f64()
    }

    /// How much the server's memory has grown for each subscriber, with shared pages divided among its processes.
    pub fn pss_growth(&self) -> Option<f64> {
        Some((self.at("/process/pss")? - self.before?.pss as f64) / f64::from(self.subscribers))
    }

    /// What was not as it should be, in words.
    pub fn faults(&self) -> Vec<String> {
        match &self.found {
            Err(error) => vec![format!("came to no result: {error}")],
            Ok(found) => {
                let faults = found["faults"].as_array().into_iter().flatten();
                faults.filter_map(Value::as_str).map(str::to_owned).collect()
            }
        }
    }

    /// As an object.
    pub fn to_json(&self) -> Value {
        json!({
            "server": self.peer.name(),
            "scenario": self.scenario.key(),
            "round": self.round,
            "words": self.words(),
            "before": self.before.map(|before| json!({ "rss": before.rss, "pss": before.pss })),
            "found": self.found.as_ref().ok(),
            "error": self.found.as_ref().err(),
        })
    }
}

/// Reads to the end, in the background: nobody waits for a full pipe.
fn collect(output: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut output) = output {
            // What came before an error is all there is.
            let _ = output.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child) -> Result<(), Failure> {
    let deadline = Instant::now() + RUN_FOR_MAX;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Err(format!("the load generator did not end within {} s", RUN_FOR_MAX.as_secs()).into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
