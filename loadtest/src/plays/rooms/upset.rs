//! What happens to restless members: they stop reading, come and go, or are cut off, one by one or all at once.
//!
//! Keeps their timetable; their books are kept like everybody else's, with what [`claim`] says they are owed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use roomcast::base::prng::Prng;

use crate::clock::{MILLI, Nanos};
use crate::control::Phase;
use crate::net::{End, Net};
use crate::plays::rooms::books::{Books, Claim};
use crate::plays::rooms::shape::{Shape, Upset, room_name};
use crate::plays::rooms::{Place, Rooms};
use crate::words::Words;

/// A connection that failed in a storm is tried again after about this long.
const RETRY: Nanos = 100 * MILLI;

/// What a member is owed.
#[must_use]
pub fn claim(is_restless: bool, shape: &Shape, words: &Words) -> Claim {
    match shape.upset {
        Upset::Slow if is_restless => Claim::Announced,
        Upset::Churn { .. } if is_restless => Claim::SinceJoin,
        // Who can't say where it was can't get what it missed.
        Upset::Storm { .. } | Upset::Cuts { .. }
            if is_restless && (words.rejoin.is_empty() || words.offset.is_empty()) =>
        {
            Claim::SinceJoin
        }
        _ => Claim::All,
    }
}

/// The timetable of one thread's restless members, and what came of it.
#[derive(Debug)]
pub struct Unrest {
    upset: Upset,
    prng: Prng,
    /// Churn and cuts: who is to do something, and when.
    due: BinaryHeap<Reverse<(Nanos, usize)>>,
    /// Storm and cuts: who is to connect again, in order, and not before `retry_at`.
    redial: VecDeque<usize>,
    retry_at: Nanos,
    /// Storm: when all were cut off.
    cut_at: Nanos,
    /// Storm and cuts: each room's epoch.
    epochs: BTreeMap<u32, String>,
    joins: u64,
    cuts: u64,
    attempts: u64,
    recovered: u64,
    last_back: Nanos,
    disconnected: u64,
}

impl Unrest {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(shape: &Shape, seed: u64) -> Unrest {
        Unrest {
            upset: shape.upset,
            prng: Prng::new(seed),
            due: BinaryHeap::new(),
            redial: VecDeque::new(),
            retry_at: 0,
            cut_at: 0,
            epochs: BTreeMap::new(),
            joins: 0,
            cuts: 0,
            attempts: 0,
            recovered: 0,
            last_back: 0,
            disconnected: 0,
        }
    }

    /// From half of `length` to one and a half.
    fn about(&mut self, length: Nanos) -> Nanos {
        length / 2 + self.prng.below(length.max(1))
    }

    /// Adds what is worth knowing.
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn report(&self, books: &Books, extra: &mut BTreeMap<String, f64>) {
        match self.upset {
            Upset::None => {}
            Upset::Slow => {
                extra.insert("slow_disconnected".into(), self.disconnected as f64);
                extra.insert("slow_lost".into(), books.lost as f64);
                extra.insert("slow_lost_announced".into(), books.announced as f64);
            }
            Upset::Churn { .. } => {
                extra.insert("joins".into(), self.joins as f64);
            }
            Upset::Cuts { .. } => {
                extra.insert("cuts".into(), self.cuts as f64);
                extra.insert("recovered_messages".into(), self.recovered as f64);
            }
            Upset::Storm { .. } => {
                let last = self.last_back.saturating_sub(self.cut_at);
                extra.insert("back_after_max_ms".into(), last as f64 / 1e6);
                extra.insert("recovered_messages".into(), self.recovered as f64);
                extra.insert("connection_attempts".into(), self.attempts as f64);
            }
        }
    }
}

impl Shape {
    /// Whether latencies are those of messages; in a storm they are those of coming back.
    pub(crate) fn counts_latency(&self) -> bool {
        !matches!(self.upset, Upset::Storm { .. })
    }
}

impl Rooms {
    /// The measure begins, and with it the unrest.
    pub(crate) fn upset(&mut self, net: &mut Net) {
        let restless: Vec<usize> =
            (0..self.members.len()).filter(|at| self.members[*at].is_restless).collect();
        match self.shape.upset {
            Upset::None => {}
            Upset::Slow => restless.into_iter().for_each(|at| net.pause(at, true)),
            Upset::Churn { stay: length, .. } | Upset::Cuts { every: length } => {
                for at in restless {
                    // Spread from the first moment on.
                    let first = net.now + self.unrest.prng.below(length.max(1));
                    self.unrest.due.push(Reverse((first, at)));
                }
            }
            Upset::Storm { .. } => {
                self.unrest.cut_at = net.now;
                restless.into_iter().for_each(|at| self.cut(at, net));
            }
        }
    }

    /// Ends a connection as a network that fails does; it will be dialled again.
    fn cut(&mut self, at: usize, net: &mut Net) {
        self.inside -= usize::from(self.members[at].place == Place::In);
        self.members[at].place = Place::Away;
        net.cut(at, true);
        self.unrest.redial.push_back(at);
    }

    /// The measure is over; who did not read reads again.
    pub(crate) fn calm(&mut self, net: &mut Net) {
        self.unrest.due.clear();
        if self.shape.upset == Upset::Slow {
            let restless = (0..self.members.len()).filter(|at| self.members[*at].is_restless);
            restless.for_each(|at| net.pause(at, false));
        }
    }

    /// Does what is due; when there will be more.
    pub(crate) fn fidget(&mut self, net: &mut Net) -> Option<Nanos> {
        if let Upset::Storm { at_once } = self.shape.upset {
            return self.redial(at_once, net);
        }
        let next = self.do_due(net);
        let retry = if self.unrest.redial.is_empty() { None } else { self.redial(usize::MAX, net) };
        [next, retry].into_iter().flatten().min()
    }

    /// Does what the timetable says; when it says more.
    fn do_due(&mut self, net: &mut Net) -> Option<Nanos> {
        let cuts = matches!(self.shape.upset, Upset::Cuts { .. });
        while let Some(Reverse((due, at))) = self.unrest.due.peek().copied() {
            if net.now < due {
                return Some(due);
            }
            self.unrest.due.pop();
            match self.members[at].place {
                Place::In if cuts => {
                    self.unrest.cuts += 1;
                    self.cut(at, net);
                }
                Place::In => self.leave(at, net),
                Place::Away => self.join(at, net),
                Place::Joining | Place::Leaving => {}
            }
        }
        None
    }

    fn redial(&mut self, at_once: usize, net: &mut Net) -> Option<Nanos> {
        if net.now < self.unrest.retry_at {
            return Some(self.unrest.retry_at);
        }
        while net.opening < at_once
            && let Some(at) = self.unrest.redial.pop_front()
        {
            self.unrest.attempts += 1;
            if net.connect(at).is_err() {
                self.unrest.redial.push_back(at);
                self.unrest.retry_at = net.now + RETRY;
                break;
            }
        }
        None
    }

    fn leave(&mut self, at: usize, net: &mut Net) {
        let Some(leave) = self.words.leave_of(&room_name(self.members[at].room as usize)) else { return };
        self.members[at].place = Place::Leaving;
        Rooms::send_text(at, &leave, net);
        if self.words.left.is_empty() {
            self.left(at, net.now);
        }
    }

    /// The server has answered a leave.
    pub(crate) fn left(&mut self, at: usize, now: Nanos) {
        self.members[at].place = Place::Away;
        self.inside -= 1;
        if !self.words.left.is_empty() {
            self.books.left(at);
        }
        if let Upset::Churn { away, .. } = self.shape.upset
            && self.recorder.phase().flows()
        {
            let due = now + self.unrest.about(away);
            self.unrest.due.push(Reverse((due, at)));
        }
    }

    /// The server has answered a join, perhaps not the first.
    pub(crate) fn settle_in(&mut self, at: usize, answer: &[u8], recovered: u64, now: Nanos) {
        match self.shape.upset {
            Upset::Churn { stay, .. } if self.recorder.phase().flows() && self.members[at].is_restless => {
                self.unrest.joins += 1;
                let due = now + self.unrest.about(stay);
                self.unrest.due.push(Reverse((due, at)));
            }
            Upset::Cuts { every } if self.recorder.phase() >= Phase::Measure => {
                self.unrest.recovered += recovered;
                if self.recorder.phase().flows() {
                    let due = now + self.unrest.about(every);
                    self.unrest.due.push(Reverse((due, at)));
                }
            }
            Upset::Storm { .. } if self.recorder.phase() >= Phase::Warm => {
                self.unrest.recovered += recovered;
                self.unrest.last_back = now;
                self.recorder.latency(self.unrest.cut_at, now);
            }
            Upset::Storm { .. } | Upset::Cuts { .. } => {
                let room = self.members[at].room;
                self.unrest.epochs.entry(room).or_insert_with(|| epoch(answer).unwrap_or_default());
            }
            _ => {}
        }
    }

    /// A connection that was cut off in a storm is open again.
    pub(crate) fn come_back(&mut self, at: usize, net: &mut Net) {
        let room = self.members[at].room;
        match self.books.offset(at) {
            Some(offset) if !self.words.rejoin.is_empty() => {
                let epoch = self.unrest.epochs.get(&room).map_or("", String::as_str);
                let text = self.words.rejoin_of(&room_name(room as usize), offset, epoch);
                self.members[at].place = Place::Joining;
                Rooms::send_text(at, &text, net);
            }
            _ => self.join(at, net),
        }
    }

    /// Whether the end of a connection is what the scenario is about.
    pub(crate) fn excuse(&mut self, at: usize, end: &End, now: Nanos) -> bool {
        if !self.members[at].is_restless {
            return false;
        }
        match self.shape.upset {
            Upset::Slow if !matches!(end, End::Failed(_)) && self.recorder.phase() >= Phase::Measure => {
                self.books.dismiss(at);
                self.unrest.disconnected += 1;
                true
            }
            Upset::Storm { .. } | Upset::Cuts { .. } if self.recorder.phase() >= Phase::Measure => {
                self.unrest.redial.push_back(at);
                let wait = self.unrest.about(RETRY);
                self.unrest.retry_at = now + wait;
                true
            }
            _ => false,
        }
    }
}

/// The epoch that a join's answer names.
fn epoch(answer: &[u8]) -> Option<String> {
    let start = memchr::memmem::find(answer, b"\"epoch\":\"")? + b"\"epoch\":\"".len();
    let len = memchr::memchr(b'"', &answer[start..])?;
    String::from_utf8(answer[start..start + len].to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_found() {
        assert_eq!(epoch(br#"{"offset":1,"epoch":"ab"}"#).as_deref(), Some("ab"));
        assert_eq!(epoch(br#"{"offset":1}"#), None);
    }

    #[test]
    fn members_are_owed_what_the_scenario_leaves_them() {
        let words = Words::default();
        let of = |upset, words: &Words| {
            let shape =
                Shape { rooms: 1, members: 2, publishers: 1, size: 32, threads: 1, upset, restless: 1 };
            (claim(false, &shape, words), claim(true, &shape, words))
        };
        assert_eq!(of(Upset::None, &words), (Claim::All, Claim::All));
        assert_eq!(of(Upset::Slow, &words), (Claim::All, Claim::Announced));
        assert_eq!(of(Upset::Churn { stay: 1, away: 1 }, &words), (Claim::All, Claim::SinceJoin));
        assert_eq!(of(Upset::Storm { at_once: 1 }, &words), (Claim::All, Claim::All));
        assert_eq!(of(Upset::Cuts { every: 1 }, &words), (Claim::All, Claim::All));
        let mute = Words { rejoin: String::new(), ..words };
        assert_eq!(of(Upset::Storm { at_once: 1 }, &mute), (Claim::All, Claim::SinceJoin));
    }
}
