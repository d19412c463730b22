//! Fan-out: rooms with members, some of which publish; every member wants each message of its room once and in order.
//!
//! Members of a room are spread over all threads. In the closed loop a message is in flight until the last member of
//! its room has it: each thread counts what its own members got, and tells the publisher's thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::clock::Nanos;
use crate::control::{Control, Phase};
use crate::frame;
use crate::ledger::{Chain, Faults, Track};
use crate::marker::{self, LONG_BYTES, Mark, Template};
use crate::net::{End, Net, Play};
use crate::plays::echo::Pace;
use crate::plays::{Dialing, Harvest, PATIENCE, Recorder};
use crate::schedule::Schedule;
use crate::words::Words;

/// The whole run's shape.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Rooms.
    pub rooms: usize,
    /// Members of each.
    pub members: usize,
    /// The first so many members of each publish.
    pub publishers: usize,
    /// Bytes of a payload.
    pub size: usize,
    /// Threads; member `m` of the whole run is on thread `m % threads`.
    pub threads: usize,
}

impl Shape {
    /// Members of all rooms.
    #[must_use]
    pub fn all(&self) -> usize {
        self.rooms * self.members
    }

    /// Publishers of all rooms.
    #[must_use]
    pub fn senders(&self) -> usize {
        self.rooms * self.publishers
    }

    fn room_of(&self, member: usize) -> usize {
        member / self.members
    }

    /// The publisher that a member is.
    fn sender_of(&self, member: usize) -> Option<usize> {
        let place = member % self.members;
        (place < self.publishers).then(|| self.room_of(member) * self.publishers + place)
    }

    /// The member that a publisher is.
    fn member_of(&self, sender: usize) -> usize {
        sender / self.publishers * self.members + sender % self.publishers
    }
}

/// A member on this thread.
#[derive(Debug)]
struct Member {
    room: u32,
    has_joined: bool,
    /// Number of the last delivery, where the server numbers them.
    offset: Option<u64>,
    chain: Chain,
}

/// A publisher on this thread.
#[derive(Debug)]
struct Publisher {
    /// Its index in the whole run, and its connection on this thread.
    sender: u32,
    at: usize,
    /// The next message's number; messages that all members have.
    next: u32,
    done: u32,
}

/// One thread's part of the scenario.
#[derive(Debug)]
pub struct Rooms {
    shape: Shape,
    thread: usize,
    control: Arc<Control>,
    words: Words,
    members: Vec<Member>,
    /// For each member the books on each publisher of its room.
    tracks: Vec<Track>,
    publishers: Vec<Publisher>,
    /// Index in `publishers` of every publisher of the run; `u32::MAX` for those of other threads.
    places: Vec<u32>,
    /// For each room: members on this thread, and a publication.
    local: Vec<u32>,
    templates: Vec<Template>,
    filler: Vec<u8>,
    /// Closed loop: for each publisher and message in flight, on how many members of this thread it is.
    arrived: Vec<u32>,
    window: usize,
    /// Publishers whose window has opened.
    ready: Vec<u32>,
    pace: Pace,
    schedule: Option<Schedule>,
    turn: usize,
    dialing: Dialing,
    recorder: Recorder,
    faults: Faults,
    joined: usize,
    sent: u64,
    received: u64,
    /// First arrivals, and how many there must be in the end.
    distinct: u64,
    expected: u64,
    last_progress: Nanos,
    is_patient: bool,
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
        key: [u8; 4],
    ) -> Rooms {
        let mine: Vec<usize> = (thread..shape.all()).step_by(shape.threads).collect();
        let mut local = vec![0; shape.rooms];
        let mut publishers = Vec::new();
        let mut places = vec![u32::MAX; shape.senders()];
        for (at, member) in mine.iter().enumerate() {
            local[shape.room_of(*member)] += 1;
            if let Some(sender) = shape.sender_of(*member) {
                places[sender] = small(publishers.len());
                publishers.push(Publisher { sender: small(sender), at, next: 0, done: 0 });
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
            has_joined: false,
            offset: None,
            chain: Chain::default(),
        };
        Rooms {
            members: mine.iter().map(member).collect(),
            tracks: vec![Track::default(); mine.len() * shape.publishers],
            publishers,
            places,
            local,
            templates: (0..shape.rooms).map(template).collect(),
            filler: payload[LONG_BYTES..].to_vec(),
            arrived: vec![0; shape.senders() * window],
            window,
            ready: Vec::new(),
            pace,
            schedule: None,
            turn: 0,
            dialing: Dialing::new(mine.len(), at_once),
            recorder: Recorder::default(),
            faults: Faults::default(),
            joined: 0,
            sent: 0,
            received: 0,
            distinct: 0,
            expected: 0,
            last_progress: 0,
            is_patient: true,
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
        self.schedule = if self.publishers.is_empty() { None } else { self.pace.schedule(net.now) };
        if let Pace::InFlight(count) = self.pace {
            for place in 0..self.publishers.len() {
                for _ in 0..count {
                    self.publish(place, net.now, net);
                }
            }
        }
    }

    /// A delivery to member `at`; false if `payload` is none.
    #[inline]
    fn delivery(&mut self, at: usize, payload: &[u8], net: &mut Net) -> bool {
        let found = memchr::memchr_iter(b'~', payload)
            .find_map(|start| Some((start, marker::read(&payload[start..], true)?)));
        let Some((start, mark)) = found else { return false };
        self.received += 1;
        self.last_progress = net.now;
        let after = start + LONG_BYTES + self.filler.len();
        let member = &mut self.members[at];
        let publisher = (mark.sender as usize).wrapping_sub(member.room as usize * self.shape.publishers);
        let filler = payload.get(start + LONG_BYTES..after);
        if publisher >= self.shape.publishers || filler != Some(&self.filler) {
            self.faults.corrupt += 1;
            return true;
        }
        if !self.words.offset.is_empty()
            && let Some(offset) = offset(&payload[after..], self.words.offset.as_bytes())
        {
            if member.offset.is_some_and(|last| offset != last + 1) {
                self.faults.offset_breaks += 1;
            }
            member.offset = Some(offset);
        }
        member.chain.push(mark.sender, mark.number);
        let is_new = self.tracks[at * self.shape.publishers + publisher].take(mark.number, &mut self.faults);
        if is_new {
            self.distinct += 1;
            self.recorder.latency(mark.time, net.now);
            if self.window > 0 {
                self.count(mark);
            }
        }
        true
    }

    /// One more member of this thread has the message; perhaps it was the last.
    #[inline]
    fn count(&mut self, mark: Mark) {
        let sender = mark.sender as usize;
        let arrived = &mut self.arrived[sender * self.window + (mark.number as usize & (self.window - 1))];
        *arrived += 1;
        if *arrived < self.local[sender / self.shape.publishers] {
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

    /// How many messages of `sender` have reached all members.
    fn done(&self, sender: usize) -> u32 {
        let threads = self.shape.threads;
        let room = sender / self.shape.publishers;
        // Threads that have a member of the room: all, or the first member's and those after it.
        let first = room * self.shape.members;
        let with_members = (0..threads.min(self.shape.members)).map(|i| (first + i) % threads);
        let reached = |thread: usize| self.control.reached[sender * threads + thread].load(Ordering::Acquire);
        with_members.map(reached).min().unwrap_or(0)
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
            let sender = self.publishers[place as usize].sender as usize;
            let done = self.done(sender);
            self.publishers[place as usize].done = done;
            let now = net.clock_now();
            while self.recorder.phase().flows() {
                let publisher = &self.publishers[place as usize];
                let next = publisher.next;
                if next.wrapping_sub(done) >= window {
                    break;
                }
                self.publish(place as usize, now, net);
                if self.publishers[place as usize].next == next {
                    break;
                }
            }
        }
        self.ready = ready;
    }

    /// Everything but deliveries.
    #[cold]
    fn answer(&mut self, at: usize, payload: &[u8]) {
        self.other += 1;
        let member = &mut self.members[at];
        if !member.has_joined && memchr::memmem::find(payload, self.words.joined.as_bytes()).is_some() {
            member.has_joined = true;
            self.joined += 1;
            // The join's own number: the first delivery must be the one after it.
            member.offset =
                offset(payload, self.words.offset.as_bytes()).filter(|_| !self.words.offset.is_empty());
        } else if memchr::memmem::find(payload, br#""type":"error""#).is_some() {
            self.recorder.complain(String::from_utf8_lossy(&payload[..payload.len().min(200)]).into_owned());
        }
    }

    fn close_books(&mut self) {
        for (at, member) in self.members.iter().enumerate() {
            let room = member.room as usize;
            let holes = self.faults.holes;
            for publisher in 0..self.shape.publishers {
                let end =
                    self.control.published[room * self.shape.publishers + publisher].load(Ordering::Acquire);
                self.tracks[at * self.shape.publishers + publisher].close(end, &mut self.faults);
            }
            // Who lacks something differs anyway.
            if self.faults.holes == holes
                && *self.control.chains[room].get_or_init(|| member.chain) != member.chain
            {
                self.faults.divergent += 1;
            }
        }
    }
}

impl Play for Rooms {
    type Harvest = Harvest;

    fn enter(&mut self, phase: Phase, net: &mut Net) {
        self.recorder.enter(phase, net.now);
        self.last_progress = net.now;
        self.is_patient = true;
        match phase {
            Phase::Prepare => {
                for at in 0..self.members.len() {
                    let join = self.words.join_of(&room_name(self.members[at].room as usize));
                    let key = net.key();
                    net.send(at, |out| {
                        frame::append(out, frame::TEXT, join.as_bytes(), key);
                    });
                }
                if self.words.joined.is_empty() {
                    self.joined = self.members.len();
                }
            }
            Phase::Warm => self.begin(net),
            Phase::Drain => {
                for publisher in &self.publishers {
                    self.control.published[publisher.sender as usize]
                        .store(publisher.next, Ordering::Release);
                }
            }
            Phase::Settle => {
                let sent = |sender: usize| u64::from(self.control.published[sender].load(Ordering::Acquire));
                let of_room = |room: usize| -> u64 {
                    (room * self.shape.publishers..(room + 1) * self.shape.publishers).map(sent).sum()
                };
                self.expected =
                    self.local.iter().enumerate().map(|(room, here)| u64::from(*here) * of_room(room)).sum();
            }
            Phase::Stop => self.close_books(),
            Phase::Connect | Phase::Measure => {}
        }
    }

    fn opened(&mut self, _: usize, _: &mut Net) {}

    #[inline]
    fn message(&mut self, at: usize, payload: &[u8], net: &mut Net) {
        if !self.delivery(at, payload, net) {
            self.answer(at, payload);
        }
    }

    fn closed(&mut self, _: usize, end: &End, _: &mut Net) {
        self.recorder.lost(end);
    }

    fn turn(&mut self, net: &mut Net) -> Option<Nanos> {
        self.dialing.turn(net, &mut self.recorder);
        self.is_patient = net.now.saturating_sub(self.last_progress) < PATIENCE;
        self.refill(net);
        if !self.recorder.phase().flows() {
            return None;
        }
        while let Some(schedule) = &mut self.schedule {
            let now = net.clock_now();
            let Some(due) = schedule.take(now) else { return Some(schedule.due()) };
            self.recorder.slip(due, now);
            let place = self.turn;
            self.turn = (self.turn + 1) % self.publishers.len();
            self.publish(place, due, net);
        }
        None
    }

    fn settled(&self, phase: Phase) -> bool {
        match phase {
            Phase::Connect => self.dialing.is_done(),
            Phase::Prepare => self.joined == self.members.len(),
            Phase::Settle => self.distinct >= self.expected || !self.is_patient,
            _ => true,
        }
    }

    fn counts(&self) -> (u64, u64) {
        (self.sent, self.received)
    }

    fn harvest(self, net: &Net) -> Harvest {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let extra = BTreeMap::from([("other_messages".into(), self.other as f64)]);
        self.recorder.harvest(self.faults, extra, net)
    }
}

/// What room number `room` is called.
#[must_use]
pub fn room_name(room: usize) -> String {
    format!("room-{room}")
}

/// The number after `name`: at the very end of an object if it is there, or else wherever `name` is last.
#[inline]
#[must_use]
pub fn offset(text: &[u8], name: &[u8]) -> Option<u64> {
    let inner = text.strip_suffix(b"}").unwrap_or(text);
    let digits = inner.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (before, number) = inner.split_at(inner.len() - digits);
    if digits > 0 && before.ends_with(name) {
        return std::str::from_utf8(number).ok()?.parse().ok();
    }
    let at = memchr::memmem::rfind(text, name)? + name.len();
    let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&text[at..at + digits]).ok()?.parse().ok()
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_at_the_end_and_elsewhere() {
        let name = br#","offset":"#;
        assert_eq!(offset(br#"","timestamp":"x","offset":17}"#, name), Some(17));
        assert_eq!(offset(br#"{"a":1,"offset":230,"epoch":"x"}"#, name), Some(230));
        assert_eq!(offset(br#"{"a":1}"#, name), None);
        assert_eq!(offset(br#"{"a":12,"offset":}"#, name), None);
    }

    #[test]
    fn members_and_publishers_are_each_others() {
        let shape = Shape { rooms: 3, members: 5, publishers: 2, size: 64, threads: 2 };
        assert_eq!((shape.all(), shape.senders()), (15, 6));
        for sender in 0..6 {
            assert_eq!(shape.sender_of(shape.member_of(sender)), Some(sender));
        }
        assert_eq!(shape.sender_of(4), None);
        assert_eq!(shape.room_of(5), 1);
    }
}
