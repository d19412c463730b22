//! How many files this process may have open, and what else of the machine decides the plan.
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
        random: getrandom::u32().unwrap_or_else(|_| std::process::id()),
    }
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
    fn the_machine_has_cores_and_files() {
        let machine = machine();
        assert!(machine.cores >= 1 && machine.descriptors >= 64);
    }
}
