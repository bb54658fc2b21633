//! The machine under the measurement: its name for the report, its limits, its cores, its clocks.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::Failure;

/// CPU time that the calling thread has used, in user space and in the kernel.
pub fn thread_cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), u32::try_from(spent.tv_nsec).unwrap_or(0))
}

/// Binds the calling thread to one CPU.
pub fn pin(cpu: usize) -> Result<(), Failure> {
    let mut set = CpuSet::new();
    if cpu >= CpuSet::MAX_CPU {
        return Err(format!("there is no CPU {cpu}").into());
    }
    set.set(cpu);
    sched_setaffinity(None, &set).map_err(|error| format!("cannot run on CPU {cpu}: {error}"))?;
    Ok(())
}

/// Raises the soft limit of open files to the hard one: it also bounds a ring's table of sockets.
pub fn raise_file_limit() -> Result<(), Failure> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .map_err(|error| format!("cannot raise the limit of open files: {error}").into())
}

/// How many files this process may have open, and how many sockets one ring may hold.
pub fn file_limit() -> u32 {
    getrlimit(Resource::Nofile).current.map_or(u32::MAX, |limit| u32::try_from(limit).unwrap_or(u32::MAX))
}

/// How many local ports the kernel chooses from for outgoing connections.
pub fn local_port_count() -> u32 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = range.split_whitespace().filter_map(|word| word.parse::<u32>().ok());
    match (bounds.next(), bounds.next()) {
        (Some(first), Some(last)) if last >= first => last - first + 1,
        // The kernel's default, 32768 to 60999.
        _ => 28_232,
    }
}

/// What a reader needs to judge the figures.
pub struct Machine {
    kernel: String,
    cpu: String,
    cpu_count: usize,
    load: String,
}

impl Machine {
    /// As it is now.
    pub fn look() -> Self {
        let cpu_info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model =
            cpu_info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            cpu: model.unwrap_or("unknown CPU").to_owned(),
            cpu_count: std::thread::available_parallelism().map_or(1, usize::from),
            load: load.split(' ').next().unwrap_or("?").to_owned(),
        }
    }

    /// One line for the head of a table.
    pub fn line(&self) -> String {
        let Self { kernel, cpu, cpu_count, load } = self;
        format!("Linux {kernel}, {cpu_count} x {cpu}, load {load} before the run")
    }

    /// The same as an object.
    pub fn to_json(&self) -> Value {
        json!({ "kernel": self.kernel, "cpu": self.cpu, "cpus": self.cpu_count, "load": self.load })
    }
}
