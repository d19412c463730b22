//! What the kernel has counted for a process or thread, read under `/proc`.
//!
//! Processor time comes from `schedstat`, exact to the nanosecond; only its split into user and system is sampled
//! by the tick (`stat`). Reads files, decides nothing. A thread that ends between two readings takes its share
//! with it, which shows as too little; servers' threads live as long as they do.

use std::collections::BTreeMap;
use std::fs;

use crate::clock::Nanos;

/// One reading of one or several processes, summed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Time on a processor, of all threads.
    pub cpu: Nanos,
    /// Each thread's times, by its number.
    pub threads: BTreeMap<u32, Thread>,
    /// Ticks in user space and in the kernel.
    pub user_ticks: u64,
    /// Ticks in the kernel.
    pub system_ticks: u64,
    /// Processors that it may run on.
    pub cpus: usize,
    /// Resident memory in bytes.
    pub rss: u64,
    /// Context switches because there was nothing to do.
    pub voluntary: u64,
    /// Context switches because somebody else had to run.
    pub involuntary: u64,
}

/// A thread's time on a processor, and its time waiting for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// On a processor.
    pub cpu: Nanos,
    /// Ready to run, while others ran.
    pub wait: Nanos,
}

/// Reads all of `pids`.
///
/// # Errors
/// One of them is not there, or may not be read.
pub fn read(pids: &[u32]) -> Result<Reading, String> {
    let mut sum = Reading::default();
    for pid in pids {
        read_one(*pid, &mut sum).ok_or_else(|| format!("cannot read /proc/{pid}"))?;
    }
    Ok(sum)
}

fn read_one(pid: u32, sum: &mut Reading) -> Option<()> {
    for entry in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A thread may have ended since the folder was read.
        let Some(thread) = thread(pid, tid) else { continue };
        sum.cpu += thread.cpu;
        sum.threads.insert(tid, thread);
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        sum.voluntary += field(&status, "voluntary_ctxt_switches:");
        sum.involuntary += field(&status, "nonvoluntary_ctxt_switches:");
        sum.cpus = sum.cpus.max(cpus(&status));
    }
    let (user, system) = ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    sum.user_ticks += user;
    sum.system_ticks += system;
    sum.rss += rss(pid)?;
    Some(())
}

/// Reads one thread.
#[must_use]
pub fn thread(pid: u32, tid: u32) -> Option<Thread> {
    schedstat(&fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).ok()?)
}

/// Resident memory. `smaps_rollup` counts pages exactly, `statm` lags behind by some pages per core.
#[must_use]
pub fn rss(pid: u32) -> Option<u64> {
    if let Ok(rollup) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        && rollup.contains("\nRss:")
    {
        return Some(field(&rollup, "Rss:") * 1024);
    }
    rss_fast(pid)
}

/// Resident memory, as quickly as it can be had.
#[must_use]
pub fn rss_fast(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn schedstat(text: &str) -> Option<Thread> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some(Thread { cpu: numbers.next()?.ok()?, wait: numbers.next()?.ok()? })
}

/// Fields 14 and 15. The second field is the program's name, which may hold blanks and parentheses.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let mut after_name = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    Some((after_name.next()?.parse().ok()?, after_name.next()?.parse().ok()?))
}

/// How many processors a list like `0-3,8` has; zero if there is none.
fn cpus(status: &str) -> usize {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default();
    let count = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(last.parse::<usize>().ok()?.checked_sub(first.parse().ok()?)? + 1)
    };
    list.trim().split(',').filter_map(count).sum()
}

/// The number after `name` at the beginning of a line; zero if there is none.
fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read() {
        assert_eq!(schedstat("123 45 6\n"), Some(Thread { cpu: 123, wait: 45 }));
        assert_eq!(schedstat("x"), None);
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 31 17 0 0 20 0 1 0 5 1 1 1";
        assert_eq!(ticks(stat), Some((31, 17)));
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t2\n";
        assert_eq!(field(status, "voluntary_ctxt_switches:"), 5);
        assert_eq!(field(status, "nonvoluntary_ctxt_switches:"), 2);
        assert_eq!(cpus("x\nCpus_allowed_list:\t0-3,8\n"), 5);
        assert_eq!((cpus("Cpus_allowed_list:\t1"), cpus("")), (1, 0));
    }

    #[test]
    fn this_very_process_is_found() {
        let reading = read(&[std::process::id()]).unwrap();
        assert!(reading.cpu > 0 && reading.rss > 100_000 && !reading.threads.is_empty());
        assert_eq!(reading.cpu, reading.threads.values().map(|thread| thread.cpu).sum::<u64>());
        assert!(read(&[u32::MAX]).is_err());
    }
}
