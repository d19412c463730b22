//! Rooms with members, some of which publish; every member wants each message of its room once and in order.
//!
//! Members of a room are spread over all threads. In the closed loop a message is in flight until the last member of
//! its room has it (restless ones do not count): each thread counts what its own members got, and tells the
//! publisher's thread. What upsets restless members is in [`upset`], the books are in [`books`].

pub mod shape;
pub mod books;
pub mod upset;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::clock::{MILLI, Nanos};
use crate::control::{Control, Phase};
use crate::frame;
use crate::marker::{self, LONG_BYTES, Mark, Template};
use crate::net::{End, Net, Play};
use crate::plays::echo::Pace;
use crate::plays::{Dialing, Harvest, PATIENCE, Recorder, Roster};
use crate::words::Words;

use books::{Books, Claim, Entry};
use shape::{Shape, Upset, room_name};
use upset::Unrest;

/// Members that were slow or away have all that was on its way once nothing came for so long.
const QUIET: Nanos = 300 * MILLI;
/// Silence after which nothing more comes to those who did not read, beside the time that they did not: a sender asks
/// whether there is room, and sends again what found none, after twice the time that it has waited so far (RFC 9293
/// §3.8.6.1, RFC 6298 §5.5).
const PATIENCE_AFTER_STALL: Nanos = 5_000 * MILLI;
/// So much of an error is repeated in a complaint.
const ERROR_BYTES_MAX: usize = 120;

/// Where a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not in its room, and not on its way.
    Away,
    /// Its join is not answered.
    Joining,
    /// In its room.
    In,
    /// In its room; its leave is not answered.
    Leaving,
}

/// A member on this thread.
#[derive(Debug)]
pub(crate) struct Member {
    room: u32,
    place: Place,
    is_restless: bool,
}

/// A publisher on this thread.
#[derive(Debug)]
struct Publisher {
    /// Its index in the whole run, and its connection on this thread.
    sender: u32,
    at: usize,
    /// The next message's number.
    next: u32,
}

/// One thread's part of the scenario.
#[derive(Debug)]
pub struct Rooms {
    shape: Shape,
    thread: usize,
    control: Arc<Control>,
    words: Words,
    members: Vec<Member>,
    books: Books,
    unrest: Unrest,
    publishers: Vec<Publisher>,
    /// Index in `publishers` of every publisher of the run; `u32::MAX` for those of other threads.
    places: Vec<u32>,
    /// For each room: members on this thread that are not restless.
    firm: Vec<u32>,
    /// For each room a publication.
    templates: Vec<Template>,
    /// Closed loop: for each publisher and message in flight, how many firm members of this thread have it.
    arrived: Vec<u32>,
    window: usize,
    /// Publishers whose window may have opened.
    ready: Vec<u32>,
    pace: Pace,
    roster: Roster,
    dialing: Dialing,
    recorder: Recorder,
    /// Members that are in their rooms.
    inside: usize,
    sent: u64,
    received: u64,
    /// Deliveries that there must be in the end at members that are owed all.
    expected: u64,
    last_progress: Nanos,
    now: Nanos,
    /// How long the measure took; until its end, when it began.
    measured_for: Nanos,
    /// Messages that were no deliveries.
    other: u64,
}

impl Rooms {
    /// The members of `thread`.
    #[must_use]
    pub fn new(
        shape: Shape,
        thread: usize,
        control: Arc<Control>,
        words: Words,
        pace: Pace,
        at_once: usize,
        (key, seed): ([u8; 4], u64),
    ) -> Rooms {
        let mine: Vec<usize> = (thread..shape.all()).step_by(shape.threads).collect();
        let (mut firm, mut publishers) = (vec![0; shape.rooms], Vec::new());
        let mut places = vec![u32::MAX; shape.senders()];
        for (at, member) in mine.iter().enumerate() {
            firm[shape.room_of(*member)] += u32::from(!shape.is_restless(*member));
            if let Some(sender) = shape.sender_of(*member) {
                places[sender] = small(publishers.len());
                publishers.push(Publisher { sender: small(sender), at, next: 0 });
            }
        }
        let payload = marker::payload(shape.size, true);
        let template = |room: usize| {
            let (message, in_payload) = words.publish_of(&room_name(room), &payload);
            Template::new(frame::TEXT, &message, in_payload, true, key)
        };
        let window = if let Pace::InFlight(count) = pace { (count as usize).next_power_of_two() } else { 0 };
        let member = |member: &usize| Member {
            room: small(shape.room_of(*member)),
            place: Place::Away,
            is_restless: shape.is_restless(*member),
        };
        let members: Vec<Member> = mine.iter().map(member).collect();
        let claims: Vec<(u32, Claim)> = members
            .iter()
            .map(|member| (member.room, upset::claim(member.is_restless, &shape, &words)))
            .collect();
        Rooms {
            books: Books::new(&shape, &claims, &words.offset, &payload[LONG_BYTES..]),
            unrest: Unrest::new(&shape, seed),
            templates: (0..shape.rooms).map(template).collect(),
            arrived: vec![0; shape.senders() * window],
            dialing: Dialing::new(members.len(), at_once),
            members,
            publishers,
            places,
            firm,
            window,
            ready: Vec::new(),
            pace,
            roster: Roster::default(),
            recorder: Recorder::default(),
            inside: 0,
            sent: 0,
            received: 0,
            expected: 0,
            last_progress: 0,
            now: 0,
            measured_for: 0,
            other: 0,
            shape,
            thread,
            control,
            words,
        }
    }

    /// Publishes one message of this thread's publisher `place`.
    #[inline]
    fn publish(&mut self, place: usize, due: Nanos, net: &mut Net) {
        let publisher = &mut self.publishers[place];
        let room = self.members[publisher.at].room as usize;
        let mark = Mark { sender: publisher.sender, number: publisher.next, time: due };
        if net.send(publisher.at, |out| self.templates[room].append(out, mark)) {
            publisher.next = publisher.next.wrapping_add(1);
            self.sent += 1;
        }
    }

    fn begin(&mut self, net: &mut Net) {
        if !self.publishers.is_empty() {
            self.roster.begin(self.pace.schedule(net.now));
        }
        if let Pace::InFlight(count) = self.pace {
            for place in 0..self.publishers.len() {
                for _ in 0..count {
                    self.publish(place, net.now, net);
                }
            }
        }
    }

    /// One more member of this thread has the message; perhaps it was the last.
    #[inline]
    fn count(&mut self, mark: Mark) {
        let sender = mark.sender as usize;
        let arrived = &mut self.arrived[sender * self.window + (mark.number as usize & (self.window - 1))];
        *arrived += 1;
        if *arrived < self.firm[sender / self.shape.publishers] {
            return;
        }
        *arrived = 0;
        let threads = self.shape.threads;
        self.control.reached[sender * threads + self.thread].fetch_add(1, Ordering::Release);
        if self.places[sender] == u32::MAX {
            self.control.nudge(self.shape.member_of(sender) % threads);
        } else {
            self.ready.push(self.places[sender]);
        }
    }

    /// How many messages of `sender` have reached all members that count.
    fn done(&self, sender: usize) -> u32 {
        let reached = |thread: usize| {
            self.control.reached[sender * self.shape.threads + thread].load(Ordering::Acquire)
        };
        self.shape.threads_of(sender / self.shape.publishers).map(reached).min().unwrap_or(0)
    }

    /// Publishes what the windows allow.
    fn refill(&mut self, net: &mut Net) {
        if self.control.tallies[self.thread].nudged.swap(false, Ordering::AcqRel) {
            self.ready.clear();
            self.ready.extend(0..small(self.publishers.len()));
        }
        let Pace::InFlight(window) = self.pace else { return };
        let mut ready = std::mem::take(&mut self.ready);
        for place in ready.drain(..) {
            let done = self.done(self.publishers[place as usize].sender as usize);
            let now = net.clock_now();
            while self.recorder.phase().flows() {
                let next = self.publishers[place as usize].next;
                if next.wrapping_sub(done) >= window {
                    break;
                }
                self.publish(place as usize, now, net);
                if self.publishers[place as usize].next == next {
                    // Its connection is gone.
                    break;
                }
            }
        }
        self.ready = ready;
    }

    /// Sends what the schedule says; when there will be more.
    fn keep_schedule(&mut self, net: &mut Net) -> Option<Nanos> {
        loop {
            match self.roster.take(self.publishers.len(), net, &mut self.recorder) {
                Ok((place, due)) => self.publish(place, due, net),
                Err(next) => return next,
            }
        }
    }

    /// Everything but deliveries.
    #[cold]
    fn answer(&mut self, at: usize, payload: &[u8], net: &mut Net) {
        self.other += 1;
        let has = |text: &str| !text.is_empty() && memchr::memmem::find(payload, text.as_bytes()).is_some();
        match self.members[at].place {
            Place::Joining if has(&self.words.joined) => self.joined(at, payload, net),
            Place::Leaving if has(&self.words.left) => self.left(at, net.now),
            _ if has(r#""type":"dropped""#) => {
                self.last_progress = net.now;
                self.books.dropped(at, payload);
            }
            _ if has(r#""type":"error""#) => {
                if has("\"rate_limited\"") {
                    return self.recorder.complain("the server answered `rate_limited`".to_owned());
                }
                let text = &payload[..payload.len().min(ERROR_BYTES_MAX)];
                self.recorder.complain(String::from_utf8_lossy(text).into_owned());
            }
            _ => {}
        }
    }

    fn send_text(at: usize, text: &str, net: &mut Net) {
        let key = net.key();
        net.send(at, |out| {
            frame::append(out, frame::TEXT, text.as_bytes(), key);
        });
    }

    /// Asks for member `at` to be let in.
    fn join(&mut self, at: usize, net: &mut Net) {
        let room = room_name(self.members[at].room as usize);
        self.members[at].place = Place::Joining;
        let join = self.words.join_of(&room);
        if let Some(join) = &join {
            Rooms::send_text(at, join, net);
        }
        if join.is_none() || self.words.joined.is_empty() {
            self.joined(at, b"", net);
        }
    }

    fn joined(&mut self, at: usize, answer: &[u8], net: &mut Net) {
        self.members[at].place = Place::In;
        self.inside += 1;
        self.last_progress = net.now;
        let recovered = self.books.joined(at, answer);
        self.received += recovered;
        self.settle_in(at, answer, recovered, net.now);
    }

    fn is_patient(&self) -> bool {
        let is_slow = self.shape.upset == Upset::Slow;
        let patience = if is_slow { self.measured_for + PATIENCE_AFTER_STALL } else { PATIENCE };
        self.now.saturating_sub(self.last_progress) < patience
    }

    /// Nothing more is on its way to members of whom it can't be known otherwise.
    fn is_quiet(&self) -> bool {
        match self.shape.upset {
            Upset::None => true,
            // Unless nothing more can come, they are waited for as long as there is patience.
            Upset::Slow => (0..self.members.len()).all(|at| self.books.is_done(at, &self.control)),
            _ => self.now.saturating_sub(self.last_progress) > QUIET,
        }
    }

    /// How many deliveries there have to be at those of this thread's members that are meant.
    fn sum_sent(&self, meant: impl Fn(usize) -> bool) -> u64 {
        let sent = |sender: usize| u64::from(self.control.published[sender].load(Ordering::Acquire));
        let of_room = |room: usize| -> u64 {
            (room * self.shape.publishers..(room + 1) * self.shape.publishers).map(sent).sum()
        };
        let rooms: Vec<u64> = (0..self.shape.rooms).map(of_room).collect();
        let owed = self.members.iter().enumerate().filter(|(at, _)| meant(*at));
        owed.map(|(_, member)| rooms[member.room as usize]).sum()
    }
}

impl Play for Rooms {
    type Harvest = Harvest;

    fn enter(&mut self, phase: Phase, net: &mut Net) {
        self.recorder.enter(phase, net.now);
        (self.last_progress, self.now) = (net.now, net.now);
        match phase {
            Phase::Prepare => (0..self.members.len()).for_each(|at| self.join(at, net)),
            Phase::Warm => self.begin(net),
            Phase::Measure => {
                self.measured_for = net.now;
                self.upset(net);
            }
            Phase::Drain => {
                self.measured_for = net.now.saturating_sub(self.measured_for);
                for publisher in &self.publishers {
                    self.control.published[publisher.sender as usize]
                        .store(publisher.next, Ordering::Release);
                }
                self.calm(net);
            }
            Phase::Settle => self.expected = self.sum_sent(|at| self.books.claim(at) == Claim::All),
            Phase::Stop => self.books.close(&self.control),
            Phase::Connect => {
                self.members.iter().enumerate().for_each(|(at, member)| net.route(at, member.room));
            }
        }
    }

    fn opened(&mut self, at: usize, net: &mut Net) {
        if self.recorder.phase() >= Phase::Warm {
            self.come_back(at, net);
        }
    }

    #[inline]
    fn message(&mut self, at: usize, payload: &[u8], net: &mut Net) {
        if self.members[at].place == Place::Joining {
            return self.answer(at, payload, net);
        }
        match self.books.take(at, payload) {
            Entry::None => return self.answer(at, payload, net),
            Entry::Fault => {}
            Entry::New(mark) => {
                let is_restless = self.members[at].is_restless;
                if !is_restless && self.shape.counts_latency() {
                    self.recorder.latency(mark.time, net.now);
                }
                if self.window > 0 && !is_restless {
                    self.count(mark);
                }
            }
        }
        self.received += 1;
        self.last_progress = net.now;
    }

    fn closed(&mut self, at: usize, end: &End, net: &mut Net) {
        if matches!(self.members[at].place, Place::In | Place::Leaving) {
            self.inside -= 1;
        }
        self.members[at].place = Place::Away;
        if !self.excuse(at, end, net.now) {
            self.recorder.lost(end);
        }
    }

    fn turn(&mut self, net: &mut Net) -> Option<Nanos> {
        self.now = net.now;
        self.dialing.turn(net, &mut self.recorder);
        if !self.recorder.phase().flows() {
            // Whoever is away is still to come back.
            return if matches!(self.shape.upset, Upset::Cuts { .. }) { self.fidget(net) } else { None };
        }
        self.refill(net);
        let restless = self.fidget(net);
        [self.keep_schedule(net), restless].into_iter().flatten().min()
    }

    fn settled(&self, phase: Phase) -> bool {
        match phase {
            Phase::Connect => self.dialing.is_done(),
            Phase::Prepare | Phase::Measure => self.inside == self.members.len(),
            Phase::Settle => (self.books.distinct >= self.expected && self.is_quiet()) || !self.is_patient(),
            _ => true,
        }
    }

    fn counts(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn harvest(self, net: &Net) -> Harvest {
        let mut extra = BTreeMap::from([("other_messages".into(), self.other as f64)]);
        self.unrest.report(&self.books, &mut extra);
        self.recorder.harvest(self.books.faults, extra, net)
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
