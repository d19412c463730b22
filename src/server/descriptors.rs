//! How many files this process may have open, how much memory there is, and what else of the machine decides the plan.
//!
//! Only asks the operating system; chooses nothing.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::plan::Machine;

/// Stands for "unlimited" and for limits beyond reason; Linux itself allows a process about as many
/// (`fs.nr_open` can be set to 2^31).
const UNLIMITED: u64 = 1 << 31;

/// What an unlimited hard limit is raised to first: macOS refuses more than this (`OPEN_MAX`) for
/// "unlimited".
const MODEST: u64 = 10_240;

/// Raises the soft limit of open files to the hard one, as far as the system allows. Gives what holds then.
pub fn raise() -> u64 {
    let before = getrlimit(Resource::Nofile);
    if before.current != before.maximum {
        // Refusal is no fault: the limit then stays as it is, and connections keep to that.
        for wanted in [before.maximum, Some(MODEST.min(before.maximum.unwrap_or(MODEST)))] {
            let larger = before.current.is_some_and(|now| wanted.is_none_or(|wanted| wanted > now));
            if larger && setrlimit(Resource::Nofile, Rlimit { current: wanted, ..before }).is_ok() {
                break;
            }
        }
    }
    getrlimit(Resource::Nofile).current.map_or(UNLIMITED, |limit| limit.min(UNLIMITED))
}

/// What the plan needs to know of this machine, after [`raise`].
#[must_use]
pub fn machine() -> Machine {
    Machine {
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        descriptors: raise(),
        host_name: rustix::system::uname().nodename().to_str().ok().map(str::to_owned),
        // Only names a node that has no name; without the system's randomness the process number must do.
        memory: memory(),
        random: getrandom::u32().unwrap_or_else(|_| std::process::id()),
    }
}

/// What the process may use: what the machine has, or the limit of a container (cgroup v2), whichever is less.
fn memory() -> Option<u64> {
    let read = |path| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| machine_memory(&text));
    let container: Option<u64> = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
    [machine, container].into_iter().flatten().min()
}

/// `MemTotal:       8131520 kB`, in bytes.
fn machine_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_limit_is_raised_to_the_hard_one() {
        let limit = raise();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current.map_or(UNLIMITED, |n| n.min(UNLIMITED)), limit);
        if cfg!(target_os = "linux") {
            assert_eq!(now.current, now.maximum);
        }
        assert_eq!(raise(), limit, "again changes nothing");
    }

    #[test]
    fn the_size_of_memory_is_read() {
        assert_eq!(machine_memory("MemTotal:        20 kB\nMemFree: 3 kB\n"), Some(20 << 10));
        assert_eq!(machine_memory("MemFree: 3 kB\n"), None);
    }

    #[test]
    fn the_machine_has_cores_and_files() {
        let machine = machine();
        assert!(machine.cores >= 1 && machine.descriptors >= 64);
    }
}
