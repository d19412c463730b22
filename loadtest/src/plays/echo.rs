//! Echo: each connection sends numbered messages and wants each back, unchanged and in order.

use std::collections::{BTreeMap, VecDeque};

use crate::clock::Nanos;
use crate::control::Phase;
use crate::frame;
use crate::ledger::{Faults, Track};
use crate::marker::{self, Mark, SHORT_BYTES, Template};
use crate::net::{End, Net, Play};
use crate::plays::{Dialing, Harvest, PATIENCE, Recorder, Roster};
use crate::schedule::Schedule;
use crate::words::Words;

/// How the messages come about.
#[derive(Clone, Debug)]
pub enum Pace {
    /// So many unanswered messages on each connection, at all times.
    InFlight(u32),
    /// By a schedule that begins with [`Phase::Warm`]: rate of this thread, phase, arrivals, seed.
    Rate(f64, f64, crate::schedule::Arrivals, u64),
}

impl Pace {
    /// The schedule, from `now` on.
    #[must_use]
    pub fn schedule(&self, now: Nanos) -> Option<Schedule> {
        match self {
            Pace::InFlight(_) => None,
            Pace::Rate(rate, phase, arrivals, seed) => {
                Some(Schedule::new(now, *rate, *phase, *arrivals, *seed))
            }
        }
    }
}

/// One connection.
#[derive(Debug, Default)]
struct Seat {
    /// The next message's number.
    next: u32,
    track: Track,
    /// When those from `base` on were to be sent.
    times: VecDeque<Nanos>,
    base: u32,
}

/// What is sent, and what has to come back.
#[derive(Debug)]
pub struct Message {
    template: Template,
    /// What stands before the marker, where the server's words wrap a payload.
    before: Vec<u8>,
    /// What stands after it: filler, and the end of the wrapping.
    after: Vec<u8>,
}

impl Message {
    /// With a payload of `size` bytes.
    #[must_use]
    pub fn new(words: &Words, size: usize, binary: bool, key: [u8; 4]) -> Message {
        let payload = marker::payload(size, false);
        let opcode = if binary { frame::BINARY } else { frame::TEXT };
        let (before, after) = words.echo_parts();
        let whole = [before.as_bytes(), &payload, after.as_bytes()].concat();
        Message {
            template: Template::new(opcode, &whole, before.len(), false, key),
            before: before.into(),
            after: [&payload[SHORT_BYTES..], after.as_bytes()].concat(),
        }
    }

    /// The marker of `got`, if it is one of these.
    #[inline]
    fn read(&self, got: &[u8]) -> Option<Mark> {
        let rest = got.strip_prefix(self.before.as_slice())?;
        let mark = marker::read(rest, false)?;
        (rest[SHORT_BYTES..] == self.after).then_some(mark)
    }
}

/// One thread's part of the scenario.
#[derive(Debug)]
pub struct Echo {
    /// Index of this thread's first connection in the whole run.
    first: u32,
    seats: Vec<Seat>,
    message: Message,
    pace: Pace,
    roster: Roster,
    dialing: Dialing,
    recorder: Recorder,
    faults: Faults,
    sent: u64,
    received: u64,
    last_progress: Nanos,
    is_patient: bool,
}

impl Echo {
    /// `connections` of them, the first with index `first` in the whole run.
    #[must_use]
    pub fn new(first: u32, connections: usize, message: Message, pace: Pace, at_once: usize) -> Echo {
        Echo {
            first,
            seats: (0..connections).map(|_| Seat::default()).collect(),
            message,
            pace,
            roster: Roster::default(),
            dialing: Dialing::new(connections, at_once),
            recorder: Recorder::default(),
            faults: Faults::default(),
            sent: 0,
            received: 0,
            last_progress: 0,
            is_patient: true,
        }
    }

    #[inline]
    fn send(&mut self, at: usize, due: Nanos, net: &mut Net) {
        let seat = &mut self.seats[at];
        #[expect(clippy::cast_possible_truncation, reason = "the options limit the connections")]
        let mark = Mark { sender: self.first + at as u32, number: seat.next, time: 0 };
        if net.send(at, |out| self.message.template.append(out, mark)) {
            seat.next = seat.next.wrapping_add(1);
            seat.times.push_back(due);
            self.sent += 1;
        }
    }

    fn begin(&mut self, net: &mut Net) {
        self.roster.begin(self.pace.schedule(net.now));
        if let Pace::InFlight(count) = self.pace {
            for at in 0..self.seats.len() {
                for _ in 0..count {
                    self.send(at, net.now, net);
                }
            }
        }
    }
}

impl Play for Echo {
    type Harvest = Harvest;

    fn enter(&mut self, phase: Phase, net: &mut Net) {
        self.recorder.enter(phase, net.now);
        self.last_progress = net.now;
        match phase {
            Phase::Warm => self.begin(net),
            Phase::Stop => {
                for seat in &self.seats {
                    seat.track.close(seat.next, &mut self.faults);
                }
            }
            _ => {}
        }
    }

    fn opened(&mut self, _: usize, _: &mut Net) {}

    fn message(&mut self, at: usize, payload: &[u8], net: &mut Net) {
        let seat = &mut self.seats[at];
        self.received += 1;
        self.last_progress = net.now;
        let mark = self.message.read(payload);
        #[expect(clippy::cast_possible_truncation, reason = "the options limit the connections")]
        let sender = self.first + at as u32;
        match mark {
            Some(mark) if mark.sender == sender => {
                if seat.track.take(mark.number, &mut self.faults) {
                    let behind = mark.number.wrapping_sub(seat.base) as usize;
                    if let Some(due) = seat.times.get(behind) {
                        self.recorder.latency(*due, net.now);
                    }
                }
                while seat.base != seat.track.next() && seat.times.pop_front().is_some() {
                    seat.base = seat.base.wrapping_add(1);
                }
            }
            _ => self.faults.corrupt += 1,
        }
        if matches!(self.pace, Pace::InFlight(_)) && self.recorder.phase().flows() {
            self.send(at, net.now, net);
        }
    }

    fn closed(&mut self, _: usize, end: &End, _: &mut Net) {
        self.recorder.lost(end);
    }

    fn turn(&mut self, net: &mut Net) -> Option<Nanos> {
        self.dialing.turn(net, &mut self.recorder);
        if !self.recorder.phase().flows() {
            self.is_patient = net.now.saturating_sub(self.last_progress) < PATIENCE;
            return None;
        }
        loop {
            match self.roster.take(self.seats.len(), net, &mut self.recorder) {
                Ok((at, due)) => self.send(at, due, net),
                Err(next) => return next,
            }
        }
    }

    fn settled(&self, phase: Phase) -> bool {
        match phase {
            Phase::Connect => self.dialing.is_done(),
            Phase::Drain | Phase::Settle => self.received >= self.sent || !self.is_patient,
            _ => true,
        }
    }

    fn counts(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    fn harvest(self, net: &Net) -> Harvest {
        self.recorder.harvest(self.faults, BTreeMap::new(), net)
    }
}
