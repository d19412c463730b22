//! Connect: handshakes one after the other, each closed properly, on so many places at once.
//!
//! A handshake's latency counts from the connect call (or, by a schedule, from when it was due) to the answer. By a
//! schedule, what is due while all places are busy waits for one: the server's time, and so no slip of ours.

use std::collections::{BTreeMap, VecDeque};

use crate::clock::{Nanos, SECOND};
use crate::control::Phase;
use crate::ledger::Faults;
use crate::net::{End, Net, Play};
use crate::plays::echo::Pace;
use crate::plays::{Harvest, Recorder};
use crate::schedule::Schedule;

/// A server that has not hung up so long after the close handshake is hung up on.
const CLOSE_PATIENCE: Nanos = 2 * SECOND;
/// Name of the count of handshakes that were due while all places were busy.
pub const WAITED_FOR_A_PLACE: &str = "waited_for_a_place";
/// Retries of a place that could not even begin.
const RETRY: Nanos = SECOND / 100;

/// One thread's part of the scenario.
#[derive(Debug)]
pub struct Connect {
    /// When each place's handshake was due; 0 = the place is free.
    since: Vec<Nanos>,
    free: Vec<usize>,
    /// Places in their close handshake, in order, with since when and which connection of the place it was.
    closing: VecDeque<(Nanos, usize, u64)>,
    round: Vec<u64>,
    pace: Pace,
    schedule: Option<Schedule>,
    /// Handshakes that were due while no place was free, and how many there have been.
    waiting: VecDeque<Nanos>,
    waited: u64,
    recorder: Recorder,
    begun: u64,
    opened: u64,
    closed: u64,
    cut: u64,
    retry_at: Nanos,
}

impl Connect {
    /// On `places` at once.
    #[must_use]
    pub fn new(places: usize, pace: Pace) -> Connect {
        Connect {
            since: vec![0; places],
            free: (0..places).rev().collect(),
            closing: VecDeque::new(),
            round: vec![0; places],
            pace,
            schedule: None,
            waiting: VecDeque::new(),
            waited: 0,
            recorder: Recorder::default(),
            begun: 0,
            opened: 0,
            closed: 0,
            cut: 0,
            retry_at: 0,
        }
    }

    fn dial(&mut self, due: Nanos, net: &mut Net) -> bool {
        let Some(at) = self.free.pop() else { return false };
        if let Err(why) = net.connect(at) {
            self.recorder.complain(format!("no connection: {why}"));
            self.free.push(at);
            self.retry_at = net.now + RETRY;
            return false;
        }
        self.since[at] = due;
        self.begun += 1;
        true
    }

    /// Begins what is due; until when there is nothing more to begin.
    fn keep_schedule(&mut self, net: &mut Net) -> Option<Nanos> {
        let now = net.clock_now();
        while let Some(due) = self.waiting.front().copied() {
            if !self.dial(due, net) {
                break;
            }
            self.waiting.pop_front();
        }
        while let Some(due) = self.schedule.as_mut()?.take(now) {
            if self.waiting.is_empty() && self.dial(due, net) {
                self.recorder.slip(due, now);
            } else {
                self.waiting.push_back(due);
                self.waited += u64::from(self.recorder.is_measured(due));
            }
        }
        self.schedule.as_ref().map(Schedule::due)
    }

    fn release(&mut self, at: usize) {
        self.since[at] = 0;
        self.round[at] += 1;
        self.free.push(at);
    }
}

impl Play for Connect {
    type Harvest = Harvest;

    fn enter(&mut self, phase: Phase, net: &mut Net) {
        self.recorder.enter(phase, net.now);
        match phase {
            Phase::Warm => self.schedule = self.pace.schedule(net.now),
            // They will never begin: so long they have waited at least, and a stall at the end is a stall.
            Phase::Drain => self.waiting.drain(..).for_each(|due| self.recorder.latency(due, net.now)),
            _ => {}
        }
    }

    fn opened(&mut self, at: usize, net: &mut Net) {
        self.opened += 1;
        self.recorder.latency(self.since[at], net.now);
        self.closing.push_back((net.now, at, self.round[at]));
        net.close(at);
    }

    fn message(&mut self, _: usize, _: &[u8], _: &mut Net) {}

    fn closed(&mut self, at: usize, end: &End, _: &mut Net) {
        self.closed += 1;
        self.release(at);
        // Some servers hang up at once where a close frame was sent to them.
        if !matches!(end, End::Closed(_)) {
            self.recorder.lost(end);
        }
    }

    fn turn(&mut self, net: &mut Net) -> Option<Nanos> {
        while let Some((since, at, round)) = self.closing.front().copied() {
            if self.round[at] == round {
                if net.now.saturating_sub(since) < CLOSE_PATIENCE {
                    break;
                }
                net.cut(at, true);
                self.cut += 1;
                self.recorder.complain("a close frame was not answered in 2 seconds".into());
                self.closed += 1;
                self.release(at);
            }
            self.closing.pop_front();
        }
        if !self.recorder.phase().flows() {
            return None;
        }
        if net.now < self.retry_at {
            return Some(self.retry_at);
        }
        if self.schedule.is_some() {
            return self.keep_schedule(net);
        }
        while self.dial(net.clock_now(), net) {}
        None
    }

    fn settled(&self, phase: Phase) -> bool {
        match phase {
            Phase::Drain | Phase::Settle => self.closed == self.begun,
            _ => true,
        }
    }

    fn counts(&self) -> (u64, u64) {
        (self.begun, self.opened)
    }

    fn harvest(self, net: &Net) -> Harvest {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let extra = BTreeMap::from([
            ("closes_not_answered".into(), self.cut as f64),
            (WAITED_FOR_A_PLACE.into(), self.waited as f64),
        ]);
        self.recorder.harvest(Faults::default(), extra, net)
    }
}
