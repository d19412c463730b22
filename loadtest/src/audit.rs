//! Whether the generator itself was the bottleneck: then its figures say nothing about the server.
//!
//! Pure judgement over an outcome's figures. Each doubt says what was seen and what would help.

use crate::ledger::Faults;
use crate::outcome::Outcome;

/// A generator's thread that is this busy, while the server is not, holds the run back.
const OWN_BUSY_MAX: f64 = 0.93;
/// A server whose busiest thread is this busy was the bottleneck, whatever else was.
const SERVER_BUSY_MIN: f64 = 0.93;
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
