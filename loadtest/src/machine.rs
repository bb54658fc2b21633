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

/// CPU time that processes have used since they began, in user space and in the kernel, in ticks of some 10 ms.
pub fn process_cpu_time(pids: &[u32]) -> Result<Duration, Failure> {
    let mut ticks = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/stat");
        let stat = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
        ticks += parse_ticks(&stat).ok_or_else(|| format!("{path} cannot be understood"))?;
    }
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

/// The fields utime and stime. The command's name before them is in parentheses and may hold anything.
fn parse_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
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

/// What the kernel has thrown away since the machine began: a server looks guilty of it, and is not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Connections that a full backlog had no room for (`net.core.somaxconn`).
    pub backlog: u64,
    /// Received data that there was no memory for (`net.ipv4.tcp_mem`).
    pub memory: u64,
}

impl Drops {
    /// As counted now; nothing where the counters cannot be read.
    pub fn look() -> Self {
        fs::read_to_string("/proc/net/netstat").map(|text| parse_drops(&text)).unwrap_or_default()
    }

    /// What was thrown away since `before`, in words, with what to turn.
    pub fn since(self, before: Self) -> Vec<String> {
        let backlog = self.backlog.saturating_sub(before.backlog);
        let memory = self.memory.saturating_sub(before.memory);
        let mut words = Vec::new();
        if backlog > 0 {
            words.push(format!("the kernel dropped {backlog} connections from full backlogs: see net.core.somaxconn"));
        }
        if memory > 0 {
            words.push(format!(
                "the kernel dropped received data {memory} times for want of memory: see net.ipv4.tcp_mem"
            ));
        }
        words
    }
}

/// Two lines for each protocol: names, then values in the same order.
fn parse_drops(netstat: &str) -> Drops {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let value_of = |wanted: &str| {
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        pairs.find(|(name, _)| *name == wanted).and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    };
    Drops { backlog: value_of("ListenOverflows"), memory: value_of("TCPRcvQDrop") + value_of("RcvPruned") }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_found_by_their_names() {
        let netstat = "TcpExt: A ListenOverflows RcvPruned TCPRcvQDrop\nTcpExt: 1 2 3 4\nIpExt: X\nIpExt: 9\n";
        let drops = parse_drops(netstat);
        assert_eq!(drops, Drops { backlog: 2, memory: 7 });
        assert_eq!(drops.since(drops), [""; 0]);
        assert!(drops.since(Drops::default())[1].contains("net.ipv4.tcp_mem"));
        assert_eq!(parse_drops(""), Drops::default());
    }

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse_ticks(stat), Some(42));
        assert_eq!(parse_ticks("7 (a"), None);
        assert!(process_cpu_time(&[std::process::id()]).is_ok());
    }
}
