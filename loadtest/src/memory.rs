//! What connections cost: the kernel's slab caches and resident memory of processes, read from `/proc`.
//!
//! Kernel memory counts for both ends of a loopback connection. A cache is counted in whole slabs, as the kernel takes
//! them from the machine, not in objects.

use std::collections::BTreeMap;
use std::fs;

use crate::Failure;

/// Bytes of a page, the unit of slabs.
const PAGE_LEN: u64 = 4096;

/// What the kernel and the server's processes held at one moment.
pub struct Snapshot {
    /// Slab caches by name, in bytes. Empty where `/proc/slabinfo` is for root only.
    slabs: BTreeMap<String, u64>,
    /// All slabs by `/proc/meminfo`, in bytes.
    slab_total: u64,
    /// The processes together, if any are watched.
    pub process: Option<Process>,
}

/// Memory of processes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// Resident set.
    pub rss: u64,
    /// Resident set with shared pages divided among their holders.
    pub pss: u64,
}

impl Snapshot {
    /// Reads it all now; `pids` are the processes to watch.
    pub fn take(pids: &[u32]) -> Result<Self, Failure> {
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        Ok(Self {
            slabs: fs::read_to_string("/proc/slabinfo").map(|text| parse_slabs(&text)).unwrap_or_default(),
            slab_total: kilobytes(&meminfo, "Slab:").ok_or("/proc/meminfo has no Slab")?,
            process: processes(pids)?,
        })
    }

    /// How far all slabs have grown since `before`, in bytes.
    pub fn slab_growth_since(&self, before: &Self) -> i64 {
        growth(self.slab_total, before.slab_total)
    }

    /// How far the caches that sockets and rings live in have grown since `before`, in bytes: what other processes do
    /// to file caches meanwhile is left out. `None` where the caches cannot be read.
    pub fn socket_growth_since(&self, before: &Self) -> Option<i64> {
        let sum = self.caches_since(before).filter(|(name, _)| is_of_sockets(name)).map(|(_, growth)| growth).sum();
        (!self.slabs.is_empty()).then_some(sum)
    }

    /// The caches of sockets and rings that have grown most since `before`, largest first.
    pub fn largest_since(&self, before: &Self, count: usize) -> Vec<(String, i64)> {
        let of_sockets = self.caches_since(before).filter(|(name, growth)| is_of_sockets(name) && *growth > 0);
        let mut caches: Vec<_> = of_sockets.map(|(name, growth)| (name.to_owned(), growth)).collect();
        caches.sort_by_key(|(_, growth)| -growth);
        caches.truncate(count);
        caches
    }

    fn caches_since(&self, before: &Self) -> impl Iterator<Item = (&str, i64)> {
        self.slabs.iter().map(|(name, &now)| (name.as_str(), growth(now, before.slabs.get(name).copied().unwrap_or(0))))
    }
}

fn growth(now: u64, before: u64) -> i64 {
    i64::try_from(now).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX)
}

/// What processes hold together; `None` for none.
pub fn processes(pids: &[u32]) -> Result<Option<Process>, Failure> {
    let mut all: Option<Process> = None;
    for pid in pids {
        let path = format!("/proc/{pid}/smaps_rollup");
        let rollup = fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))?;
        let one = parse_process(&rollup).ok_or_else(|| format!("{path} has no Rss and Pss"))?;
        let sum = all.get_or_insert_default();
        *sum = Process { rss: sum.rss + one.rss, pss: sum.pss + one.pss };
    }
    Ok(all)
}

/// Whether objects of a connection, of its file or of a request in a ring live in this cache.
fn is_of_sockets(cache: &str) -> bool {
    const PREFIXES: [&str; 15] = [
        "TCP",
        "async_poll",
        "dentry",
        "eventpoll_",
        "filp",
        "io_",
        "kmalloc-",
        "lsm_",
        "pid",
        "request_sock_",
        "skbuff_",
        "sock_",
        "tcp_",
        "tw_sock_",
        "names_cache",
    ];
    PREFIXES.iter().any(|prefix| cache.starts_with(prefix))
}

/// `/proc/slabinfo`: name, active objects, objects, object size, objects per slab, pages per slab, …, slabs, ….
fn parse_slabs(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        let pages: u64 = words.nth(4)?.parse().ok()?;
        let slabs: u64 = line.rsplit(':').next()?.split_whitespace().nth(2)?.parse().ok()?;
        Some((name, slabs * pages * PAGE_LEN))
    };
    text.lines().filter_map(line).collect()
}

fn parse_process(rollup: &str) -> Option<Process> {
    Some(Process { rss: kilobytes(rollup, "Rss:")?, pss: kilobytes(rollup, "Pss:")? })
}

/// The value of a line `label … kB`, in bytes.
fn kilobytes(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(label))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLABS: &str = "\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> : slabdata
TCP                   26     52   2432   13    8 : tunables    0    0    0 : slabdata      4      4      0
inode_cache         1000   1024    600   13    2 : tunables    0    0    0 : slabdata     80     80      0
";

    #[test]
    fn caches_count_whole_slabs() {
        let slabs = parse_slabs(SLABS);
        assert_eq!(slabs.get("TCP"), Some(&(4 * 8 * 4096)));
        assert_eq!(slabs.len(), 2);
    }

    #[test]
    fn only_caches_of_sockets_are_charged_to_connections() {
        let snapshot = |slabs| Snapshot { slabs, slab_total: 0, process: None };
        let (before, after) = (snapshot(BTreeMap::new()), snapshot(parse_slabs(SLABS)));
        assert_eq!(after.socket_growth_since(&before), Some(4 * 8 * 4096));
        assert_eq!(after.largest_since(&before, 9), [("TCP".to_owned(), 4 * 8 * 4096)]);
        assert_eq!(before.socket_growth_since(&before), None);
    }

    #[test]
    fn a_process_is_read_from_its_rollup() {
        let rollup = "55e0-7ffd ---p 00000000 00:00 0 [rollup]\nRss:     5012 kB\nPss:     1300 kB\nPss_Anon: 7 kB\n";
        assert_eq!(parse_process(rollup), Some(Process { rss: 5012 * 1024, pss: 1300 * 1024 }));
        assert_eq!(parse_process("Rss: 1 kB"), None);
    }
}
