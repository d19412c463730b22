//! The result of a run as plain values: what `--json` writes, and what tables, pages and comparisons read.
//!
//! Computes figures from a [`Record`]; measures nothing and prints nothing.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::clock::{Nanos, seconds};
use crate::conduct::{Record, Snapshot};
use crate::ledger::Faults;
use crate::proc;

/// The percentiles of tables.
pub const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];

/// How a run is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything arrived as it should, and the generator was not the bottleneck.
    Good,
    /// The server (or the way to it) did something wrong: exit code 1.
    Failed,
    /// The figures say more about the generator than about the server: exit code 3.
    Invalid,
}

/// Everything about one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// What the run was called.
    pub name: String,
    /// Which scenario.
    pub scenario: String,
    /// Its settings, as one line.
    pub settings: String,
    /// What is counted: "message", "delivery", "handshake", "connection".
    pub unit: String,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// How to take it.
    pub verdict: Verdict,
    /// What was wrong with what arrived.
    pub failures: Vec<String>,
    /// Why none of the figures can be trusted.
    pub doubts: Vec<String>,
    /// Why the rate is not the server's, though other figures are.
    #[serde(default)]
    pub rate_doubt: Option<String>,
    /// Why the latencies are not the server's, though other figures are.
    #[serde(default)]
    pub latency_doubt: Option<String>,
    /// Why the end of the latencies (99.9 % and the longest) is not the server's, though its lower percentiles are.
    #[serde(default)]
    pub tail_doubt: Option<String>,
    /// Worth knowing.
    pub notes: Vec<String>,
    /// Connections that were opened.
    pub connections: u64,
    /// Seconds that were measured.
    pub measured_s: f64,
    /// Sent in that time.
    pub sent: u64,
    /// Units in that time.
    pub units: u64,
    /// Units each second.
    pub rate: f64,
    /// From when a message was to be sent until it was there.
    pub latency: Option<Latency>,
    /// How late messages were sent that had their time.
    pub slip: Option<Latency>,
    /// The books.
    pub faults: Faults,
    /// The server's side.
    pub server: Option<Server>,
    /// Our own side.
    pub generator: Generator,
    /// Figures that only this scenario has.
    pub extra: BTreeMap<String, f64>,
    /// The run over time.
    pub series: Vec<Point>,
}

/// A distribution of times, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// See [`PERCENTILES`].
    pub p50_us: f64,
    /// See [`PERCENTILES`].
    pub p90_us: f64,
    /// See [`PERCENTILES`].
    pub p99_us: f64,
    /// See [`PERCENTILES`].
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// Percentile and time, for charts.
    pub curve: Vec<(f64, f64)>,
}

/// What the server used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Processor time for each unit, in microseconds.
    pub cpu_us: f64,
    /// Its part in user space; the split is sampled by the kernel's tick.
    pub user_us: f64,
    /// Its part in the kernel.
    pub system_us: f64,
    /// Processors used.
    pub busy: f64,
    /// Processors used by the busiest thread.
    pub busiest: f64,
    /// The share of the time that this thread was ready to run and others ran.
    #[serde(default)]
    pub waited: f64,
    /// Processors that the server may use.
    #[serde(default)]
    pub cpus: usize,
    /// Threads.
    pub threads: usize,
    /// Resident memory before the first connection, with all of them, and at the end of the measure.
    pub rss_empty: u64,
    /// See `rss_empty`.
    pub rss_ready: u64,
    /// See `rss_empty`.
    pub rss_end: u64,
    /// Growth for each connection.
    pub rss_per_connection: f64,
    /// Context switches each second, because there was nothing to do.
    pub voluntary: f64,
    /// Context switches each second, because somebody else had to run.
    pub involuntary: f64,
    /// Processor time for each connection and second, in microseconds.
    pub cpu_us_per_connection_s: f64,
}

/// What the generator used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// Processor time for each unit, in microseconds.
    pub cpu_us: f64,
    /// For each thread the share of the time that it ran, and that it waited for a processor.
    pub threads: Vec<(f64, f64)>,
    /// How late its conductor woke at worst, in milliseconds.
    pub late_max_ms: f64,
    /// `recv` calls and `send` calls for each unit.
    pub reads: f64,
    /// See `reads`.
    pub writes: f64,
    /// Most bytes that waited for sockets that took no more.
    pub queued_bytes_max: usize,
}

/// A moment of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Seconds since the measure began; negative before.
    pub s: f64,
    /// Units each second.
    pub rate: f64,
    /// Processors used by the server.
    pub server: Option<f64>,
    /// Processors used by the generator.
    pub own: f64,
    /// The server's resident memory.
    pub rss: Option<u64>,
    /// Open connections.
    pub open: u64,
}

impl Outcome {
    /// A good outcome of nothing.
    #[must_use]
    pub fn empty() -> Outcome {
        Outcome {
            name: String::new(),
            scenario: String::new(),
            settings: String::new(),
            unit: "message".into(),
            began_ms: 0,
            verdict: Verdict::Good,
            failures: Vec::new(),
            doubts: Vec::new(),
            rate_doubt: None,
            latency_doubt: None,
            tail_doubt: None,
            notes: Vec::new(),
            connections: 0,
            measured_s: 0.0,
            sent: 0,
            units: 0,
            rate: 0.0,
            latency: None,
            slip: None,
            faults: Faults::default(),
            server: None,
            generator: Generator::default(),
            extra: BTreeMap::new(),
            series: Vec::new(),
        }
    }
}

impl Latency {
    /// Reads a histogram of nanoseconds; none if it is empty.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn of(histogram: &Histogram<u64>) -> Option<Latency> {
        if histogram.is_empty() {
            return None;
        }
        let us = |nanos: u64| nanos as f64 / 1000.0;
        let at = |percentile| us(histogram.value_at_percentile(percentile));
        // Five points for each halving of the distance to 100 %: what HdrHistogram's own tools draw.
        let steps = histogram
            .iter_quantiles(5)
            .map(|step| (100.0 * step.quantile_iterated_to(), us(step.value_iterated_to())));
        Some(Latency {
            count: histogram.len(),
            mean_us: histogram.mean() / 1000.0,
            p50_us: at(50.0),
            p90_us: at(90.0),
            p99_us: at(99.0),
            p999_us: at(99.9),
            max_us: us(histogram.max()),
            curve: steps.collect(),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn per(nanos: Nanos, units: u64) -> f64 {
    if units == 0 { 0.0 } else { nanos as f64 / 1000.0 / units as f64 }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Server {
    /// What the server used between two snapshots, and what its memory was before.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn of(record: &Record, units: u64, connections: u64) -> Option<Server> {
        let (empty, ready) = (record.empty.server.as_ref()?, record.ready.server.as_ref()?);
        let (begin, end) = (record.begin.server.as_ref()?, record.end.server.as_ref()?);
        let wall = record.end.at.saturating_sub(record.begin.at);
        let cpu = end.cpu.saturating_sub(begin.cpu);
        let user = end.user_ticks.saturating_sub(begin.user_ticks);
        let system = end.system_ticks.saturating_sub(begin.system_ticks);
        let cpu_us = per(cpu, units);
        let in_user = share(user, user + system);
        let used = |(tid, now): (&u32, &proc::Thread)| {
            let then = begin.threads.get(tid).copied().unwrap_or_default();
            (now.cpu.saturating_sub(then.cpu), now.wait.saturating_sub(then.wait))
        };
        let (ran, waited) = end.threads.iter().map(used).max().unwrap_or_default();
        let growth = ready.rss.saturating_sub(empty.rss) as f64;
        Some(Server {
            cpu_us,
            user_us: cpu_us * in_user,
            system_us: cpu_us - cpu_us * in_user,
            busy: share(cpu, wall),
            busiest: share(ran, wall),
            waited: share(waited, wall),
            cpus: end.cpus,
            threads: end.threads.len(),
            rss_empty: empty.rss,
            rss_ready: ready.rss,
            rss_end: end.rss,
            rss_per_connection: if connections == 0 { 0.0 } else { growth / connections as f64 },
            voluntary: end.voluntary.saturating_sub(begin.voluntary) as f64 / seconds(wall.max(1)),
            involuntary: end.involuntary.saturating_sub(begin.involuntary) as f64 / seconds(wall.max(1)),
            cpu_us_per_connection_s: per(cpu, connections) / seconds(wall.max(1)),
        })
    }
}

impl Generator {
    /// What we ourselves used.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn of(record: &Record, units: u64, all_units: u64) -> Generator {
        let Record { begin, end, harvest, .. } = record;
        let wall = end.at.saturating_sub(begin.at);
        let used = |(end, begin): (&proc::Thread, &proc::Thread)| {
            (end.cpu.saturating_sub(begin.cpu), end.wait.saturating_sub(begin.wait))
        };
        let threads: Vec<(Nanos, Nanos)> = end.own.iter().zip(&begin.own).map(used).collect();
        Generator {
            cpu_us: per(threads.iter().map(|(cpu, _)| cpu).sum(), units),
            threads: threads.iter().map(|(cpu, wait)| (share(*cpu, wall), share(*wait, wall))).collect(),
            late_max_ms: record.late_max as f64 / 1e6,
            reads: share(harvest.work.reads, all_units),
            writes: share(harvest.work.writes, all_units),
            queued_bytes_max: harvest.work.queued_bytes_max,
        }
    }
}

/// The time series of a record.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub fn series(record: &Record) -> Vec<Point> {
    let zero = record.begin.at;
    let point = |pair: &[crate::conduct::Sample]| {
        let (before, after) = (&pair[0], &pair[1]);
        let wall = after.at.saturating_sub(before.at).max(1);
        let cpu = |(now, _): (Nanos, u64)| {
            share(now.saturating_sub(before.server.map_or(now, |(then, _)| then)), wall)
        };
        Point {
            s: (after.at as f64 - zero as f64) / 1e9,
            rate: after.totals.received.saturating_sub(before.totals.received) as f64 / seconds(wall),
            server: after.server.map(cpu),
            own: share(after.own_cpu.saturating_sub(before.own_cpu), wall),
            rss: after.server.map(|(_, rss)| rss),
            open: after.totals.open,
        }
    };
    record.samples.windows(2).map(point).collect()
}

/// Units and messages sent between two snapshots.
#[must_use]
pub fn between(begin: &Snapshot, end: &Snapshot) -> (u64, u64) {
    (
        end.totals.received.saturating_sub(begin.totals.received),
        end.totals.sent.saturating_sub(begin.totals.sent),
    )
}
