//! A server that is compared, as its own process, and what all of its processes hold and have used.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::Failure;
use crate::peers::{Peer, Place};

/// Longest time for a server to close its sockets and end.
const END_FOR_MAX: Duration = Duration::from_secs(30);

/// A running server. Dropping it ends it.
pub struct Server {
    process: Child,
    place: Place,
}

impl Server {
    /// Starts `bench serve` with the name of `peer`, and waits until it listens.
    pub fn start(peer: Peer, plasma: Option<&Path>) -> Result<Self, Failure> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["serve", peer.name()]);
        if let Some(program) = plasma {
            command.arg("--plasma").arg(program);
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().ok_or("the server has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let place = Place::parse(&line).ok_or_else(|| format!("{} does not start", peer.name()))?;
        Ok(Self { process, place })
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Its process and the workers of that.
    pub fn pids(&self) -> Result<Vec<u32>, Failure> {
        let parents = parents()?;
        let mut pids = vec![self.place.pid];
        let mut looked_at = 0;
        while let Some(&parent) = pids.get(looked_at) {
            pids.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| pid));
            looked_at += 1;
        }
        pids[1..].sort_unstable();
        Ok(pids)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends with its input, and ends its workers first.
        drop(self.process.stdin.take());
        let deadline = Instant::now() + END_FOR_MAX;
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.process.kill();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The parent of each process there is.
fn parents() -> Result<HashMap<u32, u32>, Failure> {
    let mut parents = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else { continue };
        // One that has just ended has no parent any more.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name may hold anything, parentheses too; state and parent follow the last one.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            parents.insert(pid, parent);
        }
    }
    Ok(parents)
}
