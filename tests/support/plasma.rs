//! The server as a process of its own: the built binary, any settings, any free port.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::lines::{Lines, json, says};
use super::wait::{Deadline, until};

/// Ports are the kernel's choice unless a test says otherwise, so that tests may run beside each other.
const FREE_PORTS: &[(&str, &str)] =
    &[("PLASMA_PORT", "0"), ("PLASMA_GRPC_PORT", "0"), ("PLASMA_METRICS_PORT", "0"), ("PLASMA_PPROF_PORT", "0")];

/// Flags under which no port is opened, so that none need be chosen.
const FLAGS_WITHOUT_PORTS: &[&str] = &["--check", "--print-config", "--help"];

/// A server about to be started. Inherits no settings from the environment of the tests.
#[derive(Clone, Default)]
pub struct Setup {
    settings: Vec<(String, String)>,
    flags: Vec<String>,
}

impl Setup {
    /// Sets a variable.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets several variables.
    pub fn set_all(self, settings: &[(&str, &str)]) -> Self {
        settings.iter().fold(self, |setup, (name, value)| setup.set(name, value))
    }

    /// Adds command-line arguments.
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// Starts the server and waits until it listens.
    pub fn start(&self) -> Plasma {
        let mut plasma = self.spawn();
        let line =
            plasma.stderr.wait_for("the line that says `listening`", Deadline::patient(), |l| says(l, "listening"));
        plasma.listening = json(&line);
        plasma
    }

    /// Starts the server without waiting for it.
    pub fn spawn(&self) -> Plasma {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plasma"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if !self.flags.iter().any(|flag| FLAGS_WITHOUT_PORTS.contains(&flag.as_str())) {
            command.envs(FREE_PORTS.iter().copied());
        }
        command.envs(self.settings.iter().map(|(name, value)| (name, value))).args(&self.flags);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the built binary can be started");
        let stdout = Lines::follow(child.stdout.take().expect("stdout is piped"));
        let stderr = Lines::follow(child.stderr.take().expect("stderr is piped"));
        Plasma { child, stdout, stderr, listening: Value::Null }
    }

    /// Runs the server to its own end, which must come soon.
    pub fn run(&self) -> Ended {
        let mut plasma = self.spawn();
        let code = plasma.wait_exit(Deadline::patient());
        plasma.take_end(code)
    }
}

/// What is left of a server that ended by itself.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A running server; killed when dropped.
pub struct Plasma {
    child: Child,
    /// The access log.
    pub stdout: Lines,
    /// The error log.
    pub stderr: Lines,
    /// The line with which it said that it listens.
    pub listening: Value,
}

impl Plasma {
    /// A server with default settings.
    pub fn setup() -> Setup {
        Setup::default()
    }

    /// Where it speaks HTTP.
    pub fn http(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.http_port()))
    }

    /// The port on which it speaks HTTP.
    pub fn http_port(&self) -> u16 {
        let port = self.listening["http_port"].as_u64().expect("the listening line has an http_port");
        u16::try_from(port).expect("a port")
    }

    /// Where it speaks gRPC.
    pub fn grpc(&self) -> SocketAddr {
        let port = self.listening["grpc_port"].as_u64().expect("the listening line has a grpc_port");
        SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).expect("a port")))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the server's process is there");
    }

    /// Waits for the process to end and says with which code; a death by signal is 128 and the signal's number.
    pub fn wait_exit(&mut self, deadline: Deadline) -> i32 {
        let child = &mut self.child;
        let status = until("the end of the server", deadline, || child.try_wait().expect("our own child"));
        std::os::unix::process::ExitStatusExt::signal(&status)
            .map_or_else(|| status.code().expect("ended by itself"), |signal| 128 + signal)
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    /// Everything it printed, once it has ended with `code`.
    pub fn take_end(&mut self, code: i32) -> Ended {
        let deadline = Deadline::after(Duration::from_secs(5));
        let (stdout, stderr) = (self.stdout.wait_end(deadline).join("\n"), self.stderr.wait_end(deadline).join("\n"));
        Ended { code, stdout, stderr }
    }

    /// Waits for an error-log line with this `msg`.
    pub fn wait_for_log(&self, msg: &str) -> Value {
        json(&self.stderr.wait_for(&format!("an error-log line `{msg}`"), Deadline::patient(), |line| says(line, msg)))
    }

    /// Waits for the `nth` access-log line with this `msg`.
    pub fn wait_for_access(&self, msg: &str, nth: usize) -> String {
        let what = format!("an access-log line `{msg}`");
        self.stdout.wait_for_nth(&what, nth, Deadline::patient(), |line| says(line, msg))
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a process has a size");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
        kib * 1024
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Plasma {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let lines = self.stderr.all();
            let tail = &lines[lines.len().saturating_sub(60)..];
            eprintln!("--- the server's error log, last {} lines\n{}", tail.len(), tail.join("\n"));
        }
    }
}
