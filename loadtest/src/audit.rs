//! Whether the generator itself was the bottleneck: then its figures say nothing about the server, or not all of them.
//!
//! Pure judgement over an outcome's figures. Each doubt says what was seen and what would help. Three figures fall
//! separately. *Latency* falls first: a message that has arrived and waits for a busy generator to read it is counted
//! as under way. The *rate* of a closed loop falls when the generator was full and the server was not. The server's
//! *processor time per message* is the kernel's count and stands longest; it falls when the server slept so much that
//! it mostly shows what waking up costs, and when the generator was starved, as bursts are cheaper than messages.

use crate::ledger::Faults;
use crate::outcome::Outcome;
use crate::plays::connect::WAITED_FOR_A_PLACE;

/// A generator's thread that is this busy, while the server is not, holds the run back.
const OWN_BUSY_MAX: f64 = 0.95;
/// A server whose busiest thread wants this much of a processor was a bottleneck, whatever else was one. Over loopback
/// the generator pays for half of each delivery, so both may well be full.
const SERVER_BUSY_MIN: f64 = 0.90;
/// Below this a server that the generator could not fill shows what sleeping costs rather than what messages do.
const SERVER_AWAKE_MIN: f64 = 0.70;
/// A closed loop whose generator is busier than this finds it busy at every second message that arrives.
const OWN_QUEUE_MAX: f64 = 0.50;
/// A thread that waits for a processor more than this share of the time was starved by others.
const OWN_WAIT_MAX: f64 = 0.10;
/// A server that waits more than this for a processor, and not for itself, was starved by others.
const SERVER_WAIT_MAX: f64 = 0.10;
/// A server that uses this much of all processors it may use waits for itself.
const SERVER_CPUS_USED_MIN: f64 = 0.85;
/// The 99th percentile of how late messages were sent, at most, and as a share of that of the latency.
const SLIP_P99_MAX_US: f64 = 1000.0;
const SLIP_P99_SHARE_MAX: f64 = 0.10;
/// Below this a slip is nothing, whatever share of the latency it is: it is how exactly a timer wakes.
const SLIP_P99_FREE_US: f64 = 200.0;
/// The slip's 99.9th percentile, as a share of the latency's: above it the tail of the latency is the generator's own.
const SLIP_P999_SHARE_MAX: f64 = 0.10;
/// The share of an open loop's messages that must have been sent in time.
const SENT_SHARE_MIN: f64 = 0.99;
/// A conductor that wakes this late was not run.
const LATE_MAX_MS: f64 = 250.0;

/// What is not to be believed of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Why nothing of it is.
    pub doubts: Vec<String>,
    /// Why the rate is not the server's.
    pub rate: Option<String>,
    /// Why the latencies are not the server's.
    pub latency: Option<String>,
    /// Why the last of them are not, the 99.9th percentile and the longest.
    pub tail: Option<String>,
    /// What is true all the same, and easily misread.
    pub note: Option<String>,
}

/// Judges a run; `rate` is that of its timetable, and none in a closed loop.
#[must_use]
pub fn judge(outcome: &Outcome, rate: Option<f64>) -> Judgement {
    let mut judgement = Judgement::default();
    let waited = outcome.generator.threads.iter().map(|(_, wait)| *wait).fold(0.0, f64::max);
    if waited > OWN_WAIT_MAX {
        judgement.doubts.push(format!(
            "a generator thread waited for a processor {:.0} % of the time: give it a core of its own (taskset)",
            100.0 * waited
        ));
    } else if rate.is_none() {
        closed_loop(outcome, &mut judgement);
    }
    #[expect(clippy::cast_precision_loss, reason = "a few processors")]
    if let Some(server) = &outcome.server
        && server.waited > SERVER_WAIT_MAX
        && server.busy < SERVER_CPUS_USED_MIN * server.cpus.max(1) as f64
    {
        judgement.doubts.push(format!(
            "the server's busiest thread waited for a processor {:.0} % of the time while others ran there: give it a \
             core of its own (taskset)",
            100.0 * server.waited
        ));
    }
    open_loop(outcome, rate, &mut judgement);
    if outcome.generator.late_max_ms > LATE_MAX_MS {
        judgement
            .doubts
            .push(format!("the generator was not run for {:.0} ms", outcome.generator.late_max_ms));
    }
    judgement
}

/// Whether the timetable was kept, and who is to blame if not.
fn open_loop(outcome: &Outcome, rate: Option<f64>, judgement: &mut Judgement) {
    if let Some(slip) = &outcome.slip {
        let latency = outcome.latency.as_ref().map_or(f64::MAX, |latency| latency.p99_us);
        let share = (latency * SLIP_P99_SHARE_MAX).max(SLIP_P99_FREE_US);
        if slip.p99_us > SLIP_P99_MAX_US.min(share) {
            judgement.doubts.push(format!(
                "messages were sent up to {:.0} µs late at the 99th percentile (latency there: {latency:.0} µs): \
                 the generator's processor time was short; lower the --rate or use more --threads",
                slip.p99_us
            ));
        }
        let tail = outcome.latency.as_ref().map_or(f64::MAX, |latency| latency.p999_us);
        if slip.p999_us > SLIP_P999_SHARE_MAX * tail {
            judgement.tail = Some(format!(
                "messages were sent up to {:.0} µs late at the 99.9th percentile, more than a tenth of the latency \
                 there ({tail:.0} µs)",
                slip.p999_us
            ));
        }
    }
    let Some(rate) = rate else { return };
    let waited = outcome.extra.get(WAITED_FOR_A_PLACE).copied().unwrap_or(0.0);
    let busy = "all places (--connections) were busy, so the server was slower than the timetable, or there are too \
                few of them";
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    if (outcome.sent as f64) < SENT_SHARE_MIN * rate * outcome.measured_s - 1.0 {
        let why = if waited > 0.0 { busy } else { "the generator's processor time was short" };
        judgement.doubts.push(format!(
            "only {:.0} of {rate:.0} {}s per second were sent: {why}",
            outcome.sent as f64 / outcome.measured_s,
            if outcome.unit == "handshake" { "handshake" } else { "message" },
        ));
    } else if waited > 0.0 {
        judgement.note = Some(format!("{waited:.0} handshakes had to wait: {busy}; their latency holds it"));
    }
}

/// Who set the pace of a closed loop, and in whose queue messages waited.
fn closed_loop(outcome: &Outcome, judgement: &mut Judgement) {
    let wanted = |(cpu, wait): &(f64, f64)| cpu + wait;
    let own = outcome.generator.threads.iter().map(wanted).fold(0.0, f64::max);
    let server = outcome.server.as_ref().map(|server| server.busiest + server.waited);
    let (own_percent, percent) = (100.0 * own, 100.0 * server.unwrap_or(0.0));
    if own >= OWN_BUSY_MAX && server.is_none_or(|server| server < SERVER_BUSY_MIN) {
        match server {
            None => judgement.doubts.push(format!(
                "the generator's busiest thread ran {own_percent:.0} % of the time, the server's load is unknown \
                 (give --pid): use more --threads"
            )),
            // How fast all came back is what such a run is for.
            Some(server) if server < SERVER_AWAKE_MIN || outcome.unit == "return" => {
                judgement.doubts.push(format!(
                    "the generator's busiest thread ran {own_percent:.0} % of the time, the server's only \
                     {percent:.0} %: use more --threads"
                ));
            }
            Some(_) => {
                judgement.rate = Some(format!(
                    "the generator was full ({own_percent:.0} %), the server's busiest thread was not \
                     ({percent:.0} %): it can do more, and for less processor time each"
                ));
            }
        }
    }
    let is_rate = !matches!(outcome.unit.as_str(), "return" | "connection");
    if own < OWN_BUSY_MAX && is_rate && server.is_some_and(|server| server < SERVER_BUSY_MIN) {
        judgement.note = Some(format!(
            "neither was full (generator {own_percent:.0} %, server {percent:.0} %): the rate is that of the round \
             trip, and the processor time holds what sleeping and waking cost; more in flight changes both"
        ));
    }
    if own >= OWN_QUEUE_MAX && is_rate {
        judgement.latency = Some(format!(
            "closed loop, and the generator {own_percent:.0} % busy: messages waited in it as well; \
             --rate measures latency"
        ));
    }
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
    fn closed(ran: f64, waited: f64, server: Option<f64>) -> Judgement {
        let server = server.map(|busiest| Server { busiest, ..Server::default() });
        let generator = Generator { threads: vec![(0.1, 0.0), (ran, waited)], ..Generator::default() };
        judge(&Outcome { generator, server, ..Outcome::empty() }, None)
    }

    /// The same of an open loop of 1000/s with such 99th percentiles, in which so many were sent in 10 s.
    fn open(slip_us: f64, latency_us: f64, sent: u64) -> Vec<String> {
        let latency = |p99_us| Some(Latency { p99_us, ..Latency::default() });
        let (latency, slip) = (latency(latency_us), latency(slip_us));
        judge(&Outcome { latency, slip, sent, measured_s: 10.0, ..Outcome::empty() }, Some(1000.0)).doubts
    }

    #[test]
    fn who_is_full_is_the_bottleneck() {
        assert_eq!(closed(0.90, 0.0, None).doubts, [""; 0], "there was room");
        let both = closed(0.99, 0.0, Some(0.95));
        assert!(both.doubts.is_empty() && both.rate.is_none(), "the server was full as well");
        let nearly = closed(0.99, 0.0, Some(0.8));
        assert!(nearly.doubts.is_empty() && nearly.rate.unwrap().contains("80 %"), "the rate is ours");
        assert!(closed(0.99, 0.0, Some(0.5)).doubts[0].contains("only 50 %"));
        assert!(closed(0.99, 0.0, None).doubts[0].contains("unknown"));
    }

    #[test]
    fn latencies_of_a_busy_closed_loop_are_not_believed() {
        let easy = closed(0.40, 0.05, Some(0.5));
        assert!(easy.latency.is_none() && easy.rate.is_none() && easy.doubts.is_empty());
        assert!(easy.note.unwrap().contains("neither was full"));
        assert!(closed(0.40, 0.05, Some(0.95)).note.is_none());
        assert!(closed(0.60, 0.0, Some(0.99)).latency.unwrap().contains("60 %"));
    }

    #[test]
    fn a_storm_is_all_rate_and_latency() {
        let server = Some(Server { busiest: 0.8, ..Server::default() });
        let generator = Generator { threads: vec![(0.97, 0.0)], ..Generator::default() };
        let storm = Outcome { unit: "return".into(), generator, server, ..Outcome::empty() };
        let judgement = judge(&storm, None);
        assert!(judgement.rate.is_none() && judgement.doubts[0].contains("only 80 %"));
    }

    #[test]
    fn who_is_starved_says_so_whatever_the_server_does() {
        assert!(closed(0.30, 0.40, Some(0.99)).doubts[0].contains("waited for a processor 40 %"));
    }

    #[test]
    fn a_server_that_others_starve_is_not_to_blame() {
        let starved = |waited, busy, cpus| {
            let server = Some(Server { waited, busy, busiest: 0.5, cpus, ..Server::default() });
            judge(&Outcome { server, ..Outcome::empty() }, Some(1.0)).doubts
        };
        let others = starved(0.4, 0.5, 1);
        assert!(
            others.iter().any(|doubt| doubt.contains("the server's busiest thread waited")),
            "{others:?}"
        );
        assert_eq!(starved(0.4, 0.95, 1), starved(0.0, 0.5, 1), "its own threads share one core");
        assert_ne!(starved(0.4, 0.95, 2), starved(0.0, 0.5, 2), "there was another core for them");
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
    fn a_tail_that_is_mostly_our_own_is_struck() {
        let tail = |slip, latency| {
            let of = |p999_us| Some(Latency { p999_us, ..Latency::default() });
            let outcome = Outcome { latency: of(latency), slip: of(slip), ..Outcome::empty() };
            judge(&outcome, Some(1000.0)).tail
        };
        assert_eq!(tail(99.0, 1000.0), None);
        assert!(tail(101.0, 1000.0).unwrap().contains("101 µs late"));
    }

    #[test]
    fn who_waits_for_a_busy_server_is_not_to_blame() {
        let connect = |sent, waited| {
            let extra = [(WAITED_FOR_A_PLACE.to_owned(), waited)].into();
            let unit = "handshake".to_owned();
            judge(&Outcome { unit, extra, sent, measured_s: 10.0, ..Outcome::empty() }, Some(100.0))
        };
        let slow = connect(900, 100.0).doubts;
        assert!(slow[0].contains("only 90 of 100 handshakes") && slow[0].contains("were busy"), "{slow:?}");
        let late = connect(1000, 3.0);
        assert!(late.doubts.is_empty() && late.note.unwrap().contains("3 handshakes had to wait"));
        assert_eq!(connect(1000, 0.0), Judgement::default());
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
