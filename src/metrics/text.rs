//! The Prometheus text format, version 0.0.4, of all that was published.
//!
//! Reads what shards have published, never a shard itself, and repeats nothing but the table's own words.

use std::io::Write as _;

use crate::metrics::shard::Gauges;
use crate::metrics::table::{Cell, FAMILIES, Family, Kind};

/// What the format is called in a `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Microseconds of a second.
const SECOND: u64 = 1_000_000;

/// Writes every family, each series the sum over all that publish.
pub fn write<'a>(out: &mut Vec<u8>, publishers: impl Iterator<Item = &'a Gauges> + Clone) {
    let sum = |cell: Cell| publishers.clone().map(|gauges| gauges.get(cell)).fold(0, u64::wrapping_add);
    for family in FAMILIES {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let name = family.name;
        // Writing to a Vec cannot fail.
        let _ = write!(out, "# HELP {name} {}\n# TYPE {name} {kind}\n", family.help);
        match family.kind {
            Kind::Histogram(bounds) => histogram(out, family, bounds, &sum),
            Kind::Counter | Kind::Gauge => {
                for (values, cell) in family.all() {
                    out.extend_from_slice(name.as_bytes());
                    labels(out, family.labels, values);
                    let value = sum(cell);
                    let is_time = name.trim_end_matches("_total").ends_with("_seconds");
                    let _ = if is_time {
                        writeln!(out, " {}", Seconds(value))
                    } else {
                        writeln!(out, " {value}")
                    };
                }
            }
        }
    }
}

/// Buckets count what came up to their bound, so each has all that is in those before it.
fn histogram(out: &mut Vec<u8>, family: &Family, bounds: &[u64], sum: &impl Fn(Cell) -> u64) {
    let (name, mut count) = (family.name, 0);
    for (at, bound) in bounds.iter().enumerate() {
        count += sum(Cell(family.first + at));
        let _ = writeln!(out, "{name}_bucket{{le=\"{}\"}} {count}", Seconds(*bound));
    }
    count += sum(Cell(family.first + bounds.len()));
    let total = Seconds(sum(Cell(family.first + bounds.len() + 1)));
    let _ = write!(out, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {total}\n{name}_count {count}\n");
}

fn labels(out: &mut Vec<u8>, names: &str, values: &str) {
    if names.is_empty() {
        return;
    }
    let mut before = '{';
    for (name, value) in names.split(',').zip(values.split(',')) {
        let _ = write!(out, "{before}{name}=\"{value}\"");
        before = ',';
    }
    out.push(b'}');
}

/// Microseconds, shown as seconds without a needless digit.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, rest) = (self.0 / SECOND, self.0 % SECOND);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let rest = format!("{rest:06}");
        write!(f, "{whole}.{}", rest.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::shard::Tally;
    use crate::metrics::table::{CONNECTIONS, CPU, FRAMES_SENT, TURNS};

    #[test]
    fn every_series_is_written_and_shards_are_added_up() {
        let (one, other) = (Gauges::default(), Gauges::default());
        let mut tally = Tally::default();
        tally.add(FRAMES_SENT.cell(), 5);
        tally.set(CONNECTIONS.of("native,open"), 3);
        tally.add(CPU.cell(), 1_250_000);
        tally.observe(&TURNS, 200);
        one.publish_all(&tally);
        tally.observe(&TURNS, 2_000_000);
        other.publish_all(&tally);
        let mut out = Vec::new();
        write(&mut out, [&one, &other].into_iter());
        let text = String::from_utf8(out).unwrap();
        for line in [
            "# HELP roomcast_frames_sent_total Frames written whole; an answer to an HTTP request counts as one.",
            "# TYPE roomcast_frames_sent_total counter",
            "roomcast_frames_sent_total 10",
            "# TYPE roomcast_connections gauge",
            "roomcast_connections{dialect=\"native\",state=\"open\"} 6",
            "roomcast_connections{dialect=\"echo\",state=\"open\"} 0",
            "process_cpu_seconds_total 2.5",
            "# TYPE roomcast_turn_seconds histogram",
            "roomcast_turn_seconds_bucket{le=\"0.0001\"} 0",
            "roomcast_turn_seconds_bucket{le=\"0.00025\"} 2",
            "roomcast_turn_seconds_bucket{le=\"1\"} 2",
            "roomcast_turn_seconds_bucket{le=\"+Inf\"} 3",
            "roomcast_turn_seconds_sum 2.0004",
            "roomcast_turn_seconds_count 3",
        ] {
            assert!(text.lines().any(|written| written == line), "{line}\n{text}");
        }
        assert_eq!(text.matches("# TYPE ").count(), FAMILIES.len());
        assert!(text.ends_with('\n'));
    }
}
