//! From one event to the send queues of all local members: encoded once, pushed in slices.
//!
//! A fan-out that the turn's budget cuts short stays with its topic and goes on next turn; what comes for the same
//! topic meanwhile, answers included, waits behind it, so members see the owner's order. Other topics go on.

use std::sync::Arc;

use crate::base::id::index32;
use crate::base::shared::Shared;
use crate::dialect::native::encode::{self, typed};
use crate::hub::event::{Event, Outcome, Publication, Sender};
use crate::hub::name::{Topic, TopicKind};
use crate::metrics::table::DELIVERIES;
use crate::shard::conn::session::Kept;
use crate::shard::conn::{Conn, Dirty, reposition};
use crate::shard::delivery::{Delivery, Keepers};
use crate::shard::edge::session::{deliver, keep};
use crate::shard::limits::Limits;
use crate::shard::members::{ACTIVE_MAX, Fanout, Job, LocalTopic};
use crate::shard::outbox::{Pushed, Spares};
use crate::shard::state::Shard;
use crate::shard::turn::Turn;
use crate::wire::ws::frame;

impl Shard {
    /// Takes an owner's word: an answer, or an event for the members here.
    pub(crate) fn on_outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Reply { topic, origin, tag, reply } => match self.members.find(&topic) {
                Some(index) if !self.members.topic(index).jobs.is_empty() => {
                    self.jobs_waiting += 1;
                    self.members.topic_mut(index).jobs.push_back(Job::Answer { origin, tag, reply });
                }
                _ => self.on_reply(&topic, origin, tag, reply),
            },
            Outcome::Direct { topic, message, receipt } => self.on_direct(&topic, message, receipt),
            Outcome::Told { topic, origin, number, told } => self.on_told(&topic, origin.conn, number, &told),
            Outcome::Deliver { topic, event, sender } if topic.kind() == TopicKind::Everyone => {
                let fanout = self.prepare(&topic, &event, sender, self.conns.slots());
                self.jobs_waiting += 1;
                self.everyone.push_back(fanout);
            }
            Outcome::Deliver { topic, event, sender } => self.begin_fanout(&topic, &topic, &event, sender),
            Outcome::Matched { pattern, topic, event, sender } => {
                self.begin_fanout(&pattern, &topic, &event, sender);
            }
        }
    }

    /// An event of `topic` for the members here of `list`: the topic itself, or a pattern that matches it.
    #[inline]
    fn begin_fanout(&mut self, list: &Topic, topic: &Topic, event: &Event, sender: Option<Sender>) {
        let Some(index) = self.members.find(list) else { return };
        let end = self.members.topic(index).list.len();
        let mut fanout = self.prepare(topic, event, sender, end);
        let pulse = &mut self.members.topic_mut(index).pulse;
        fanout.waits = self.window.waits(pulse, self.now.mono);
        if self.members.begin_job(index, fanout) {
            self.active.push_back(index);
        }
        self.jobs_waiting += 1;
        if self.active.len() >= ACTIVE_MAX {
            self.run_topics();
        }
    }

    /// Goes on with unfinished fan-outs as far as the budget reaches, a slice of each topic in turns. Broadcasts have
    /// half of it while rooms wait, so that neither holds up the other.
    pub(crate) fn run_fanouts(&mut self) {
        if !self.directs.is_empty() {
            let others = !(self.everyone.is_empty() && self.active.is_empty());
            self.run_directs(if others { self.turn.pushes_left / 2 } else { 0 });
        }
        if self.everyone.is_empty() {
            return self.run_topics();
        }
        self.run_broadcasts(if self.active.is_empty() { 0 } else { self.turn.pushes_left / 2 });
        self.run_topics();
        self.run_broadcasts(0);
    }

    #[inline]
    fn run_topics(&mut self) {
        if !self.active.is_empty() {
            self.run_active();
        }
    }

    fn run_active(&mut self) {
        while self.turn.pushes_left > 0 {
            let Some(index) = self.active.pop_front() else { return };
            if !self.run_topic(index) {
                self.active.push_back(index);
            }
        }
    }

    /// Goes on with fan-outs to everybody until so many pushes are left for others.
    fn run_broadcasts(&mut self, left: u32) {
        while self.turn.pushes_left > left {
            let Some(mut fanout) = self.everyone.pop_front() else { return };
            let done = self.run_everyone(&mut fanout, left);
            self.drop_overrun();
            if !done {
                self.everyone.push_front(fanout);
                return;
            }
            self.jobs_waiting -= 1;
        }
    }

    /// Works off the jobs of one topic. True when none is left.
    fn run_topic(&mut self, index: u32) -> bool {
        while let Some(job) = self.members.topic_mut(index).jobs.front_mut() {
            match job {
                Job::Deliver(_) => {
                    self.batch(index);
                    let done = self.run_front(index);
                    self.drop_overrun();
                    if !done {
                        return false;
                    }
                }
                Job::Answer { .. } => {
                    let answer = std::mem::replace(job, Job::Answering);
                    let topic = self.members.topic(index).topic.clone();
                    if let Job::Answer { origin, tag, reply } = answer {
                        self.on_reply(&topic, origin, tag, reply);
                    }
                }
                Job::Answering => {}
            }
            self.members.topic_mut(index).jobs.pop_front();
            self.jobs_waiting -= 1;
            self.begin_next(index);
        }
        self.close_gaps(index);
        self.members.forget_unheld(index);
        true
    }

    /// The next fan-out of the topic reaches those who are members now.
    fn begin_next(&mut self, index: u32) {
        let local = self.members.topic_mut(index);
        let end = local.list.len();
        if let Some(Job::Deliver(fanout)) = local.jobs.front_mut() {
            fanout.end = end;
        }
    }

    /// Members that moved while gaps were closed learn their new positions.
    fn close_gaps(&mut self, index: u32) {
        let conns = &mut self.conns;
        self.members.compact(index, |slot, position| reposition(conns, slot, index, position));
    }

    /// Pushes the topic's first job to the members from its cursor on. True when all have it.
    fn run_front(&mut self, index: u32) -> bool {
        let local = self.members.topic_mut(index);
        let is_large = local.list.len() > self.limits.pace.bulk_members;
        let (at_once, later) =
            if is_large { (Dirty::Bulk, Dirty::LaterBulk) } else { (Dirty::Soon, Dirty::Later) };
        let LocalTopic { list, jobs, .. } = local;
        let Some(Job::Deliver(fanout)) = jobs.front_mut() else { return true };
        // One that a budget cut short may outlive its window.
        let waits = fanout.waits && self.window.due().is_some();
        let slice = (fanout.end - fanout.cursor).min(self.turn.pushes_left as usize);
        let (from, to) = (fanout.cursor, fanout.cursor + slice);
        fanout.cursor = to;
        self.turn.pushes_left -= index32(slice);
        let events = u64::from(fanout.delivery.events);
        let Shard { conns, scratch, spares, sessions, limits, turn, .. } = self;
        let session_bytes = &mut sessions.bytes;
        let missed = 0;
        let mut push = Push { scratch, spares, session_bytes, limits, turn, waits, at_once, later, missed };
        for &slot in &list[from..to] {
            // Nobody is in a vacant slot.
            let Some(conn) = conns.by_slot_mut(slot) else {
                push.missed += events;
                continue;
            };
            if fanout.is_for_all_alike(conn, slot) {
                push.shared(conn, slot, &fanout.delivery);
            } else if fanout.parts.is_empty() {
                push.one(conn, slot, fanout);
            } else {
                push.parts(conn, slot, &fanout.parts);
            }
        }
        let missed = push.missed;
        self.tally.add(const { DELIVERIES.cell() }, slice as u64 * events - missed);
        let done = fanout.cursor == fanout.end;
        if let Some(&last) = list.get(to.wrapping_sub(1)).filter(|_| done) {
            let (since, events) = (fanout.since, fanout.delivery.events);
            self.sample(since, last, events);
        }
        done
    }

    /// Pushes to every native client from the cursor on. True when all have it.
    fn run_everyone(&mut self, fanout: &mut Fanout, left: u32) -> bool {
        while fanout.cursor < fanout.end {
            if self.turn.pushes_left == left {
                return false;
            }
            self.turn.pushes_left -= 1;
            let slot = index32(fanout.cursor);
            fanout.cursor += 1;
            let Some(conn) = self.conns.by_slot_mut(slot) else { continue };
            if fanout.sender == Some(slot) {
                continue;
            }
            if conn.numbered {
                self.tally.count(const { DELIVERIES.cell() });
                let Shard { scratch, spares, sessions, limits, turn, .. } = self;
                let message = Kept::Shared(Arc::clone(&fanout.delivery));
                match deliver(conn, message, scratch, spares, &mut sessions.bytes, limits) {
                    Pushed::Overrun => turn.overrun.push(slot),
                    Pushed::Queued => turn.mark(conn, slot, Dirty::Bulk),
                }
                continue;
            }
            if !conn.hears_broadcasts() {
                continue;
            }
            if conn.outbox.push(&mut self.spares, &fanout.delivery, &self.limits) == Pushed::Overrun {
                self.turn.overrun.push(slot);
                continue;
            }
            self.tally.count(const { DELIVERIES.cell() });
            self.turn.mark(conn, slot, Dirty::Bulk);
        }
        true
    }

    /// Encodes the event, unless another shard has, and the sender's own copy.
    fn prepare(&mut self, topic: &Topic, event: &Event, sender: Option<Sender>, end: usize) -> Fanout {
        let delivery = self.delivery(topic, event);
        let here =
            sender.filter(|sender| sender.origin.shard == self.id && self.conns.contains(sender.origin.conn));
        let (sender, copy) = match here {
            None | Some(Sender { copy: Some(None), .. }) => (None, None), // its copy is like everybody's
            Some(Sender { origin, copy: None }) => (Some(origin.conn.slot), None),
            Some(Sender { origin, copy: Some(tag) }) => {
                let frame =
                    frame::text(&mut self.scratch, |out| encode::event(out, topic, event, tag.as_deref()));
                (Some(origin.conn.slot), Some(Box::from(frame)))
            }
        };
        Fanout {
            delivery,
            sender,
            copy,
            waits: false,
            since: self.now.mono,
            cursor: 0,
            end,
            parts: Vec::new(),
        }
    }

    pub(crate) fn delivery(&mut self, topic: &Topic, event: &Event) -> Arc<Delivery> {
        let scratch = &mut self.scratch;
        let (offset, frame) = match event {
            Event::Published(publication) => {
                let frame = match publication.frame.get() {
                    Some(frame) => frame.clone(),
                    None => {
                        let frame = encoded(scratch, topic, event, publication);
                        // Another shard may have been first: both made the same bytes, and neither waited.
                        let _ = publication.frame.set(frame.clone());
                        frame
                    }
                };
                (publication.offset, frame)
            }
            _ => (0, Shared::copy_of(frame::text(scratch, |out| encode::event(out, topic, event, None)))),
        };
        let (announced, conflates) = (event.is_announced(), topic.kind() == TopicKind::Feed);
        let (keepers, _share) = (Keepers::default(), self.held.share(frame.len() + Delivery::BYTES));
        Arc::new(Delivery {
            topic: topic.clone(),
            offset,
            events: 1,
            announced,
            conflates,
            frame,
            keepers,
            _share,
        })
    }

    /// Lets go of clients that did not read as fast as their topics went: before anything else is queued for them, as
    /// what they lost is not announced, and whatever they see after it would hide the hole.
    pub(crate) fn drop_overrun(&mut self) {
        while let Some(slot) = self.turn.overrun.pop() {
            if let Some(key) = self.conns.key_of(slot) {
                self.on_overrun(key);
            }
        }
    }
}

impl Fanout {
    /// Whether the member in `slot` gets of it what everybody gets.
    #[inline]
    fn is_for_all_alike(&self, conn: &Conn, slot: u32) -> bool {
        if conn.numbered || self.sender == Some(slot) {
            return false;
        }
        // The limits of a queue are for events, and hold while the socket is full.
        self.parts.is_empty()
            || !(conn.outbox.is_blocked() || self.parts.iter().any(|part| part.sender == Some(slot)))
    }
}

/// What pushing to one member after another needs.
struct Push<'a> {
    scratch: &'a mut Vec<u8>,
    spares: &'a mut Spares,
    session_bytes: &'a mut usize,
    limits: &'a Limits,
    turn: &'a mut Turn,
    /// Whether what everybody gets may wait for the window's end.
    waits: bool,
    at_once: Dirty,
    later: Dirty,
    /// Events that members did not get: who has left, wanted no echo, or was let go for being slow. Rare, so they are
    /// counted, and not those that members got.
    missed: u64,
}

impl Push<'_> {
    /// One event, which a member gets in its own way if it has a session or has caused it.
    #[inline(never)]
    fn one(&mut self, conn: &mut Conn, slot: u32, fanout: &Fanout) -> Pushed {
        if conn.numbered {
            let Some(message) = kept(fanout, slot) else {
                self.missed += 1;
                return Pushed::Queued;
            };
            let pushed = deliver(conn, message, self.scratch, self.spares, self.session_bytes, self.limits);
            match pushed {
                Pushed::Overrun => self.turn.overrun.push(slot),
                Pushed::Queued => self.turn.mark(conn, slot, self.at_once),
            }
            return pushed;
        }
        if fanout.sender == Some(slot) {
            let Some(copy) = &fanout.copy else {
                self.missed += 1;
                return Pushed::Queued;
            };
            conn.outbox.push_frame(self.spares, copy);
            conn.brake(self.limits);
            self.turn.mark(conn, slot, Dirty::Soon); // it is the reply
            return Pushed::Queued;
        }
        self.shared(conn, slot, &fanout.delivery)
    }

    /// Several events one by one, until it is too much.
    fn parts(&mut self, conn: &mut Conn, slot: u32, parts: &[Fanout]) {
        let mut parts = parts.iter();
        for part in parts.by_ref() {
            if self.one(conn, slot, part) == Pushed::Overrun {
                break;
            }
        }
        // Who is let go of gets no more, but its session keeps what it has not seen.
        for part in parts {
            match kept(part, slot).filter(|_| conn.numbered) {
                Some(message) => keep(conn, message, self.session_bytes),
                None => self.missed += 1,
            }
        }
    }

    /// What all get alike.
    #[inline]
    fn shared(&mut self, conn: &mut Conn, slot: u32, delivery: &Arc<Delivery>) -> Pushed {
        let pushed = conn.outbox.push(self.spares, delivery, self.limits);
        if pushed == Pushed::Overrun {
            self.turn.overrun.push(slot);
            self.missed += u64::from(delivery.events);
            return pushed;
        }
        let waits = self.waits && conn.outbox.bytes() < self.limits.pace.window_bytes_max;
        self.turn.mark(conn, slot, if waits { self.later } else { self.at_once });
        pushed
    }
}

/// What a client with a session gets of a fan-out; none if it wanted no echo.
fn kept(fanout: &Fanout, slot: u32) -> Option<Kept> {
    if fanout.sender != Some(slot) {
        return Some(Kept::Shared(Arc::clone(&fanout.delivery)));
    }
    fanout.copy.as_ref().map(|copy| Kept::Own(copy.clone()))
}

/// The frame of a publication as all members get it.
fn encoded(scratch: &mut Vec<u8>, topic: &Topic, event: &Event, publication: &Publication) -> Shared {
    match typed::frame(scratch, topic.name(), publication) {
        Some(frame) => Shared::copy_of(frame),
        None => Shared::copy_of(frame::text(scratch, |out| encode::event(out, topic, event, None))),
    }
}
