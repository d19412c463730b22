//! Whether the generator itself was the bottleneck: then its figures say nothing about the server.
//!
//! Pure judgement over an outcome's figures. Each doubt says what was seen and what would help.

use crate::ledger::Faults;
use crate::outcome::Outcome;

/// A generator's thread that is this busy, while the server is not, holds the run back.
const OWN_BUSY_MAX: f64 = 0.95;
/// A server whose busiest thread is this busy was a bottleneck, whatever else was one. Over loopback the generator
/// pays for half of each delivery, so both may well be full.
const SERVER_BUSY_MIN: f64 = 0.90;
/// A thread that waits for a processor more than this share of the time was starved by others.
const OWN_WAIT_MAX: f64 = 0.10;
/// The 99th percentile of how late messages were sent, at most, and as a share of that of the latency.
const SLIP_P99_MAX_US: f64 = 1000.0;
const SLIP_P99_SHARE_MAX: f64 = 0.10;
/// Below this a slip is nothing, whatever share of the latency it is: it is how exactly a timer wakes.
const SLIP_P99_FREE_US: f64 = 200.0;
/// The share of an open loop's messages that must have been sent in time.
const SENT_SHARE_MIN: f64 = 0.99;
/// A conductor that wakes this late was not run.
const LATE_MAX_MS: f64 = 250.0;

/// Why the run may not be believed; empty is good.
#[must_use]
pub fn doubts(outcome: &Outcome, rate: Option<f64>) -> Vec<String> {
    let mut doubts = Vec::new();
    let generator = &outcome.generator;
    let busiest = generator.threads.iter().map(|(cpu, _)| *cpu).fold(0.0, f64::max);
    let waited = generator.threads.iter().map(|(_, wait)| *wait).fold(0.0, f64::max);
    let is_server_full = outcome.server.as_ref().is_some_and(|server| server.busiest >= SERVER_BUSY_MIN);
    if waited > OWN_WAIT_MAX {
        doubts.push(format!(
            "a generator thread waited for a processor {:.0} % of the time: give it a core of its own (taskset)",
            100.0 * waited
        ));
    } else if rate.is_none() && busiest + waited >= OWN_BUSY_MAX && !is_server_full {
        let server = outcome.server.as_ref().map_or_else(
            || "the server's load is unknown (give --pid)".to_owned(),
            |server| format!("the server's busiest thread only {:.0} %", 100.0 * server.busiest),
        );
        doubts.push(format!(
            "the generator's busiest thread ran {:.0} % of the time, {server}: use more --threads",
            100.0 * busiest
        ));
    }
    if let Some(slip) = &outcome.slip {
        let latency = outcome.latency.as_ref().map_or(f64::MAX, |latency| latency.p99_us);
        let share = (latency * SLIP_P99_SHARE_MAX).max(SLIP_P99_FREE_US);
        if slip.p99_us > SLIP_P99_MAX_US.min(share) {
            doubts.push(format!(
                "messages were sent up to {:.0} µs late at the 99th percentile (latency there: {latency:.0} µs): \
                 lower the --rate or use more --threads",
                slip.p99_us
            ));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    if let Some(rate) = rate
        && (outcome.sent as f64) < SENT_SHARE_MIN * rate * outcome.measured_s - 1.0
    {
        doubts.push(format!(
            "only {:.0} of {rate:.0} messages per second were sent",
            outcome.sent as f64 / outcome.measured_s
        ));
    }
    if generator.late_max_ms > LATE_MAX_MS {
        doubts.push(format!("the generator was not run for {:.0} ms", generator.late_max_ms));
    }
    doubts
}

/// What the books hold against the server.
#[must_use]
pub fn failures(faults: &Faults) -> Vec<String> {
    let named = [
        ("messages never came", faults.holes),
        ("messages came twice", faults.duplicates),
        ("messages came after a later one of the same sender", faults.disorder),
        ("messages had another content than was sent", faults.corrupt),
        ("deliveries did not have the next offset", faults.offset_breaks),
        ("members saw another order than the rest of their room", faults.divergent),
        ("messages came to members that had left", faults.uninvited),
    ];
    named.iter().filter(|(_, count)| *count > 0).map(|(text, count)| format!("{count} {text}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Generator, Latency, Server};

    /// What is said of a closed loop whose threads ran and waited so long, against a server that was so busy.
    fn closed(ran: f64, waited: f64, server: Option<f64>) -> Vec<String> {
        let server = server.map(|busiest| Server { busiest, ..Server::default() });
        let generator = Generator { threads: vec![(0.1, 0.0), (ran, waited)], ..Generator::default() };
        doubts(&Outcome { generator, server, ..Outcome::empty() }, None)
    }

    /// The same of an open loop of 1000/s with such 99th percentiles, in which so many were sent in 10 s.
    fn open(slip_us: f64, latency_us: f64, sent: u64) -> Vec<String> {
        let latency = |p99_us| Some(Latency { p99_us, ..Latency::default() });
        let (latency, slip) = (latency(latency_us), latency(slip_us));
        doubts(&Outcome { latency, slip, sent, measured_s: 10.0, ..Outcome::empty() }, Some(1000.0))
    }

    #[test]
    fn who_is_full_is_the_bottleneck() {
        assert_eq!(closed(0.90, 0.0, None), [""; 0], "there was room");
        assert_eq!(closed(0.99, 0.0, Some(0.95)), [""; 0], "the server was full as well");
        assert!(closed(0.99, 0.0, Some(0.5))[0].contains("only 50 %"));
        assert!(closed(0.99, 0.0, None)[0].contains("unknown"));
    }

    #[test]
    fn who_is_starved_says_so_whatever_the_server_does() {
        assert!(closed(0.30, 0.40, Some(0.99))[0].contains("waited for a processor 40 %"));
    }

    #[test]
    fn lateness_is_measured_against_latency() {
        assert_eq!(open(150.0, 160.0, 10_000), [""; 0], "no timer is more exact");
        assert_eq!(open(900.0, 20_000.0, 10_000), [""; 0], "a small part of the latency");
        assert!(open(900.0, 1000.0, 10_000)[0].contains("900 µs late"));
        assert!(open(1500.0, 100_000.0, 10_000)[0].contains("1500 µs late"));
        assert!(open(1.0, 1.0, 9000)[0].contains("only 900 of 1000"));
    }

    #[test]
    fn every_fault_is_named() {
        let one = Faults {
            holes: 1,
            duplicates: 1,
            disorder: 1,
            corrupt: 1,
            offset_breaks: 1,
            divergent: 1,
            uninvited: 1,
        };
        assert_eq!(failures(&one).len(), 7);
        assert!(failures(&Faults::default()).is_empty());
    }
}
