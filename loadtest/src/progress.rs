//! A line on standard error that shows how the run goes, if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock::{MILLI, SECOND};
use crate::control::{Phase, SAMPLE, Totals};

/// The line, or nothing.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    phase: Phase,
    connections: u64,
    length: Duration,
    last: Totals,
}

impl Progress {
    /// For a run with so many connections and a measure of `length`; indicatif itself hides it where no terminal is.
    #[must_use]
    pub fn new(name: &str, connections: u64, length: Duration, quiet: bool) -> Progress {
        let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::new(connections) };
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {msg} {elapsed_precise}") {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        Progress { bar, phase: Phase::Connect, connections, length, last: Totals::default() }
    }

    /// A phase begins.
    pub fn phase(&mut self, phase: Phase) {
        self.phase = phase;
        match phase {
            Phase::Measure => {
                self.bar.set_length(u64::try_from(self.length.as_millis()).unwrap_or(u64::MAX));
                self.bar.set_position(0);
            }
            Phase::Stop => self.bar.finish_and_clear(),
            _ => {}
        }
    }

    /// A sample was taken.
    pub fn show(&mut self, totals: Totals) {
        let samples_per_s = SECOND / SAMPLE;
        let rate = totals.received.saturating_sub(self.last.received) * samples_per_s;
        self.last = totals;
        match self.phase {
            Phase::Connect => {
                self.bar.set_position(totals.open);
                self.bar.set_message(format!("{} of {} connected", totals.open, self.connections));
            }
            Phase::Measure => {
                self.bar.inc(SAMPLE / MILLI);
                self.bar.set_message(format!("{rate}/s"));
            }
            phase => self.bar.set_message(format!("{phase:?} {rate}/s").to_lowercase()),
        }
    }
}
