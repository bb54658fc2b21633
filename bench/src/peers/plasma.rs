//! Plasma as its users run it: the built program with its defaults, and the right for everybody to publish.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::{env, thread};

use serde_json::Value;

use super::Place;
use crate::Failure;

/// The built server, running. Dropping it ends it.
pub struct Process {
    child: Child,
    place: Place,
}

impl Process {
    /// Runs `program`, or the one beside this program, and waits until it listens.
    pub fn start(program: Option<&Path>, port: u16) -> Result<Self, Failure> {
        let beside = env::current_exe()?.with_file_name("plasma");
        let program = program.unwrap_or(&beside);
        let mut command = Command::new(program);
        // Nobody's settings but ours.
        for (name, _) in env::vars().filter(|(name, _)| name.starts_with("PLASMA_") && name != "PLASMA_SHARDS") {
            command.env_remove(name);
        }
        command.args(["--port", &port.to_string(), "--grpc-port", "0", "--metrics-port", "0", "--pprof-port", "0"]);
        // As for nginx: no line per client.
        command.args(["--publish-open", "--access-log-out", "discard", "--drain", "0s"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        let mut process = Self { place: Place { pid: child.id(), ..Place::of(0) }, child };
        let mut log = BufReader::new(process.child.stderr.take().ok_or("the server has no log")?);
        let port = port_of(&mut log)?;
        (process.place.port, process.place.publish_port) = (port, port);
        thread::spawn(move || pass_on(log));
        Ok(process)
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        super::end(&mut self.child);
    }
}

/// Shows what is worse than slow clients, which are the point of some scenarios.
fn pass_on(log: impl BufRead) {
    for line in log.lines().map_while(Result::ok) {
        let told = serde_json::from_str::<Value>(&line).unwrap_or_default();
        if !matches!(told["level"].as_str(), Some("debug" | "info" | "warn")) {
            eprintln!("plasma: {line}");
        }
    }
}

/// Reads the log up to the line that says where it listens.
fn port_of(log: &mut BufReader<impl Read>) -> Result<u16, Failure> {
    let mut said = String::new();
    loop {
        let mut line = String::new();
        if log.read_line(&mut line)? == 0 {
            return Err(format!("plasma has ended:\n{said}").into());
        }
        let told = serde_json::from_str::<Value>(&line).unwrap_or_default();
        if let Some(port) = told["http_port"].as_u64() {
            return Ok(u16::try_from(port)?);
        }
        said.push_str(&line);
    }
}
