//! The scenarios: each says what one thread's connections do, and keeps their books.
//!
//! None of them touches a socket or reads the clock; [`crate::net`] does both.

pub mod echo;
pub mod rooms;
pub mod idle;
pub mod connect;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::clock::{Nanos, SECOND};
use crate::control::Phase;
use crate::ledger::Faults;
use crate::net::{End, Net, Work};
use crate::schedule::Schedule;
use crate::stopped;

/// Longest latency that is told apart from longer ones.
const LATENCY_MAX: Nanos = 120 * SECOND;
/// Significant digits of latencies.
const DIGITS: u8 = 3;
/// Distinct complaints that are kept.
const COMPLAINTS_MAX: usize = 20;
/// Messages that a schedule that is behind sends before it looks at anything else.
const SENT_PER_TURN_MAX: usize = 1024;
/// Silence after which what has not come is taken for lost.
pub const PATIENCE: Nanos = 3 * SECOND;

/// What a thread brings home.
#[derive(Debug)]
pub struct Harvest {
    /// Latencies in nanoseconds.
    pub latency: Histogram<u64>,
    /// How late messages were sent that had their time.
    pub slip: Histogram<u64>,
    /// What the books say.
    pub faults: Faults,
    /// What else was wrong, each text once with how often.
    pub complaints: BTreeMap<String, u64>,
    /// Numbers that only this scenario has.
    pub extra: BTreeMap<String, f64>,
    /// For the self-audit.
    pub work: Work,
}

impl Harvest {
    /// Adds what another thread has.
    pub fn merge(&mut self, other: Harvest) {
        // Both were made by `histogram`, so each holds what the other does.
        let _ = self.latency.add(&other.latency);
        let _ = self.slip.add(&other.slip);
        self.faults.add(&other.faults);
        for (text, count) in other.complaints {
            *self.complaints.entry(text).or_default() += count;
        }
        for (name, value) in other.extra {
            let mine = self.extra.entry(name.clone()).or_default();
            // Sums, but for what is named a longest time.
            *mine = if name.ends_with("_max_ms") { mine.max(value) } else { *mine + value };
        }
        self.work.reads += other.work.reads;
        self.work.writes += other.work.writes;
        self.work.queued_bytes_max += other.work.queued_bytes_max;
    }
}

/// An empty histogram of times.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX, DIGITS)
        .unwrap_or_else(|_| unreachable!("the bounds are constants"))
}

/// What all plays record, and which phase decides over it.
#[derive(Debug)]
pub struct Recorder {
    phase: Phase,
    /// When [`Phase::Measure`] began and ended.
    from: Nanos,
    until: Nanos,
    latency: Histogram<u64>,
    slip: Histogram<u64>,
    complaints: BTreeMap<String, u64>,
    /// Connections may end without it being a fault.
    pub is_ending: bool,
}

impl Default for Recorder {
    /// With nothing recorded.
    fn default() -> Recorder {
        Recorder {
            phase: Phase::Connect,
            from: u64::MAX,
            until: u64::MAX,
            latency: histogram(),
            slip: histogram(),
            complaints: BTreeMap::new(),
            is_ending: false,
        }
    }
}

impl Recorder {
    /// A phase has begun.
    pub fn enter(&mut self, phase: Phase, now: Nanos) {
        self.phase = phase;
        match phase {
            Phase::Measure => self.from = now,
            Phase::Drain => self.until = now,
            Phase::Stop => self.is_ending = true,
            _ => {}
        }
    }

    /// The phase that is on.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// A message that was to be sent at `sent` is here. Those that were due while it was measured count, also
    /// if they come later: a stall at the end is a stall.
    #[inline]
    pub fn latency(&mut self, sent: Nanos, now: Nanos) {
        if self.is_measured(sent) {
            self.latency.saturating_record(now.saturating_sub(sent).max(1));
        }
    }

    /// Whether a message that was due at `due` is one of those that count.
    #[must_use]
    pub fn is_measured(&self, due: Nanos) -> bool {
        due >= self.from && due < self.until
    }

    /// A message that was due at `due` is sent now.
    #[inline]
    pub fn slip(&mut self, due: Nanos, now: Nanos) {
        if self.is_measured(due) {
            self.slip.saturating_record(now.saturating_sub(due).max(1));
        }
    }

    /// Something was wrong that no book counts.
    pub fn complain(&mut self, text: String) {
        let text = stopped::explained(text);
        if self.complaints.len() < COMPLAINTS_MAX || self.complaints.contains_key(&text) {
            *self.complaints.entry(text).or_default() += 1;
        }
    }

    /// A connection has ended though nobody asked for it.
    pub fn lost(&mut self, end: &End) {
        if self.is_ending {
            return;
        }
        self.complain(match end {
            End::Failed(why) => format!("no connection: {why}"),
            End::Closed(code) => format!("the server closed with {code}"),
            End::Lost(why) => format!("connection lost: {why}"),
            End::Dropped => "connection dropped".into(),
        });
    }

    /// Gives everything away.
    #[must_use]
    pub fn harvest(self, faults: Faults, extra: BTreeMap<String, f64>, net: &Net) -> Harvest {
        Harvest {
            latency: self.latency,
            slip: self.slip,
            faults,
            complaints: self.complaints,
            extra,
            work: net.work,
        }
    }
}

/// Whose turn it is by a thread's schedule.
#[derive(Debug, Default)]
pub struct Roster {
    /// None in the closed loop.
    schedule: Option<Schedule>,
    turn: usize,
    /// Messages that were sent in this turn without a look at anything else.
    at_once: usize,
}

impl Roster {
    /// Begins `schedule`, if there is one.
    pub fn begin(&mut self, schedule: Option<Schedule>) {
        self.schedule = schedule;
    }

    /// The next of `senders` in turn whose message is due, and since when; else when to ask again.
    ///
    /// # Errors
    /// Nothing is to be sent now: the time until there is, none if there never will be.
    pub fn take(
        &mut self,
        senders: usize,
        net: &Net,
        recorder: &mut Recorder,
    ) -> Result<(usize, Nanos), Option<Nanos>> {
        let schedule = self.schedule.as_mut().ok_or(None)?;
        self.at_once += 1;
        if self.at_once > SENT_PER_TURN_MAX {
            self.at_once = 0;
            return Err(Some(net.now));
        }
        let now = net.clock_now();
        let Some(due) = schedule.take(now) else {
            self.at_once = 0;
            return Err(Some(schedule.due()));
        };
        recorder.slip(due, now);
        let turn = self.turn;
        self.turn = (turn + 1) % senders;
        Ok((turn, due))
    }
}

/// Opens the connections of a thread, some at a time.
#[derive(Debug)]
pub struct Dialing {
    next: usize,
    end: usize,
    at_once: usize,
}

impl Dialing {
    /// Opens `0..end`, with `at_once` on their way.
    #[must_use]
    pub fn new(end: usize, at_once: usize) -> Dialing {
        Dialing { next: 0, end, at_once }
    }

    /// Begins as many as may be; a failure is a complaint, and there is no second attempt.
    pub fn turn(&mut self, net: &mut Net, recorder: &mut Recorder) {
        while self.next < self.end && net.opening < self.at_once {
            if let Err(why) = net.connect(self.next) {
                recorder.complain(format!("no connection: {why}"));
            }
            self.next += 1;
        }
    }

    /// Whether all have been begun.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.next == self.end
    }
}
