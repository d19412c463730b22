//! An outcome as text that a person can read.

use std::fmt::Write as _;

use crate::outcome::{Latency, Outcome, Verdict};

/// The whole outcome, in lines.
#[must_use]
pub fn table(outcome: &Outcome) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_table(&mut out, outcome);
    out
}

fn write_table(out: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let Outcome { name, scenario, settings, unit, .. } = outcome;
    writeln!(out, "{name}: {scenario}, {settings}")?;
    if unit == "connection" {
        writeln!(out, "  held         {} connections for {:.1} s", outcome.connections, outcome.measured_s)?;
    } else {
        let plural = plural(unit);
        writeln!(
            out,
            "  {plural:<12} {} in {:.2} s: {:.0}/s ({} connections, {} sent)",
            outcome.units, outcome.measured_s, outcome.rate, outcome.connections, outcome.sent
        )?;
    }
    doubt(out, "rate", outcome.rate_doubt.as_ref())?;
    latency(out, "latency", outcome.latency.as_ref())?;
    doubt(out, "latency", outcome.latency_doubt.as_ref().filter(|_| outcome.latency.is_some()))?;
    doubt(out, "p99.9 and max", outcome.tail_doubt.as_ref())?;
    latency(out, "sent late by", outcome.slip.as_ref())?;
    server(out, outcome)?;
    generator(out, outcome)?;
    if !outcome.extra.is_empty() {
        let also = outcome.extra.iter().map(|(name, value)| format!("{} {value:.0}", name.replace('_', " ")));
        writeln!(out, "  also         {}", also.collect::<Vec<_>>().join("; "))?;
    }
    for note in &outcome.notes {
        writeln!(out, "  note         {note}")?;
    }
    for failure in &outcome.failures {
        writeln!(out, "  FAILED       {failure}")?;
    }
    for doubt in &outcome.doubts {
        writeln!(out, "  INVALID      {doubt}")?;
    }
    writeln!(out, "  verdict      {}", verdict(outcome))
}

/// Says below a figure that it is not the server's.
fn doubt(out: &mut String, figure: &str, doubt: Option<&String>) -> std::fmt::Result {
    doubt.map_or(Ok(()), |doubt| writeln!(out, "    NOT the server's {figure}: {doubt}"))
}

/// What a verdict says in one line.
#[must_use]
pub fn verdict(outcome: &Outcome) -> &'static str {
    match outcome.verdict {
        Verdict::Good if matches!(outcome.unit.as_str(), "connection" | "handshake") => "good",
        Verdict::Good if outcome.rate_doubt.is_some() => {
            "good as to content and processor time only: the generator set the pace"
        }
        Verdict::Good if outcome.latency_doubt.is_some() => {
            "good, but for the latencies: every message once, in order, unchanged"
        }
        Verdict::Good => {
            "good: every message once, in order, unchanged; the generator was not the bottleneck"
        }
        Verdict::Failed => "FAILED",
        Verdict::Invalid => "INVALID: these figures say more about the generator than about the server",
    }
}

fn latency(out: &mut String, name: &str, latency: Option<&Latency>) -> std::fmt::Result {
    let Some(latency) = latency else { return Ok(()) };
    writeln!(
        out,
        "  {name:<12} p50 {}  p90 {}  p99 {}  p99.9 {}  max {}",
        time(latency.p50_us),
        time(latency.p90_us),
        time(latency.p99_us),
        time(latency.p999_us),
        time(latency.max_us)
    )
}

fn server(out: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let Some(server) = &outcome.server else { return Ok(()) };
    if outcome.unit == "connection" {
        writeln!(out, "  server CPU   {:.3} µs per connection and second", server.cpu_us_per_connection_s)?;
    } else {
        writeln!(
            out,
            "  server CPU   {:.3} µs per {} ({:.3} user, {:.3} system); {:.2} cores, busiest thread {:.2}",
            server.cpu_us, outcome.unit, server.user_us, server.system_us, server.busy, server.busiest
        )?;
    }
    writeln!(
        out,
        "  server RSS   {} empty, {} connected ({:.0} B per connection), {} at the end",
        bytes(server.rss_empty),
        bytes(server.rss_ready),
        server.rss_per_connection,
        bytes(server.rss_end)
    )?;
    writeln!(
        out,
        "  switches     {:.0}/s voluntary, {:.0}/s involuntary, {} threads",
        server.voluntary, server.involuntary, server.threads
    )
}

fn generator(out: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let generator = &outcome.generator;
    let threads: Vec<String> = generator
        .threads
        .iter()
        .map(|(cpu, wait)| format!("{:.0} % busy, {:.0} % waiting", 100.0 * cpu, 100.0 * wait))
        .collect();
    write!(out, "  generator    {}", threads.join("; "))?;
    if outcome.unit == "connection" {
        return writeln!(out);
    }
    writeln!(
        out,
        "; {:.3} µs, {:.2} recv, {:.2} send per {}",
        generator.cpu_us, generator.reads, generator.writes, outcome.unit
    )
}

/// More than one of a unit.
#[must_use]
pub fn plural(unit: &str) -> String {
    unit.strip_suffix('y').map_or_else(|| format!("{unit}s"), |stem| format!("{stem}ies"))
}

/// Microseconds in the unit that fits.
#[must_use]
pub fn time(us: f64) -> String {
    match us {
        us if us < 1000.0 => format!("{us:.1} µs"),
        us if us < 1_000_000.0 => format!("{:.2} ms", us / 1000.0),
        us => format!("{:.2} s", us / 1_000_000.0),
    }
}

/// Bytes in the unit that fits.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub fn bytes(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes < 1024.0 => format!("{bytes:.0} B"),
        bytes if bytes < 1_048_576.0 => format!("{:.1} KiB", bytes / 1024.0),
        bytes => format!("{:.1} MiB", bytes / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_fit() {
        assert_eq!(
            (time(12.34), time(1234.5), time(2_500_000.0)),
            ("12.3 µs".into(), "1.23 ms".into(), "2.50 s".into())
        );
        assert_eq!(
            (bytes(12), bytes(2048), bytes(3 << 20)),
            ("12 B".into(), "2.0 KiB".into(), "3.0 MiB".into())
        );
    }
}
