//! What this machine lets a generator have: open files, and ports for each source address.
//!
//! Only looks and computes, except that it raises the soft limit of open files to the hard one.

use std::net::{IpAddr, Ipv4Addr};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are open beside the connections: standard streams, epoll and timer of each thread, what is read
/// under `/proc`.
pub const FILES_BESIDE: u64 = 64;
/// The share of a source address's ports that is counted on: others hold some, and closed ones rest.
const PORTS_USABLE_PERCENT: usize = 85;
/// Linux's default range, for where it cannot be read.
const PORTS_DEFAULT: usize = 28_232;

/// Raises the soft limit of open files to the hard one, and says what it is then.
#[must_use]
pub fn raise_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let in_force = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    in_force.unwrap_or(u64::MAX)
}

/// How many connections one source address can hold to one target.
#[must_use]
pub fn ports_per_source() -> usize {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|text| port_range(&text))
        .unwrap_or(PORTS_DEFAULT)
}

fn port_range(text: &str) -> Option<usize> {
    let mut numbers = text.split_whitespace().map(str::parse::<usize>);
    let (low, high) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    high.checked_sub(low).map(|span| span + 1)
}

/// The source addresses for `connections` to `target`: those `given`; else as many of 127.0.0.1, 127.0.0.2, … as
/// it takes where the target is this machine itself; else none, and the kernel chooses.
///
/// # Errors
/// There are not enough ports; the text says what would help.
pub fn sources(
    target: IpAddr,
    connections: usize,
    given: &[IpAddr],
    ports: usize,
) -> Result<Vec<IpAddr>, String> {
    let usable = (ports * PORTS_USABLE_PERCENT / 100).max(1);
    let needed = connections.div_ceil(usable);
    if !given.is_empty() {
        return (given.len() >= needed).then(|| given.to_vec()).ok_or_else(|| {
            format!("{connections} connections need {needed} source addresses ({usable} ports each)")
        });
    }
    if needed <= 1 {
        return Ok(Vec::new());
    }
    let IpAddr::V4(v4) = target else {
        return Err(format!(
            "{connections} connections need {needed} source addresses: give them with --source"
        ));
    };
    if !v4.is_loopback() {
        return Err(format!(
            "{connections} connections need {needed} source addresses: give them with --source"
        ));
    }
    // 127.0.0.0/8 is all ours; 254 of them hold millions of connections.
    let last = |n: usize| u8::try_from(n).ok().filter(|n| *n < 255);
    (1..=needed)
        .map(|n| last(n).map(|n| IpAddr::V4(Ipv4Addr::new(127, 0, 0, n))))
        .collect::<Option<_>>()
        .ok_or_else(|| format!("{connections} connections are more than 254 source addresses have ports"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn port_ranges_are_read() {
        assert_eq!(port_range("32768\t60999\n"), Some(28_232));
        assert_eq!(port_range("9 3"), None);
        assert_eq!(port_range("x"), None);
    }

    #[test]
    fn one_source_is_left_to_the_kernel_and_more_are_spread() {
        let check = |connections| sources(LOCAL, connections, &[], 1000).map(|all| all.len());
        assert_eq!(check(850), Ok(0));
        assert_eq!(check(851), Ok(2));
        assert_eq!(check(5000), Ok(6));
        assert_eq!(sources(LOCAL, 1000, &[], 1000).unwrap()[1].to_string(), "127.0.0.2");
        assert!(check(1_000_000).is_err());
        assert!(sources("10.1.2.3".parse().unwrap(), 1000, &[], 1000).is_err());
        assert!(sources("::1".parse().unwrap(), 1000, &[], 1000).is_err());
    }

    #[test]
    fn given_sources_must_be_enough() {
        let given: Vec<IpAddr> = vec!["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        assert_eq!(sources("10.1.2.3".parse().unwrap(), 1700, &given, 1000), Ok(given.clone()));
        assert!(sources("10.1.2.3".parse().unwrap(), 1701, &given, 1000).is_err());
    }
}
