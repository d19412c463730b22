//! All topics that one shard owns: asked by [`Request`], answering by [`Outcome`].
//!
//! Knows no connections, no clock and no other shard's state. Every request is done at once and leaves its
//! outcomes in one queue; whoever empties it must keep the order per shard, because that order is the
//! promise: a join's snapshot lies in the same lane as the publications, so what is before it is in it,
//! and what comes after is not.
//!
//! ```text
//! handle(request, now) ─► records ─► outcomes ─► poll() ─► (shard, outcome)
//! expire(now), next_expiry()         histories that nobody is there to read, users who do not come back, bans, …
//! ```
//!
//! Joins and publications stand here, the rest in the files below. A topic lives while it has members; after that while
//! its history, or its users' places, are worth something to somebody who comes back; and its numbering lives and dies
//! with it. Same requests, same outcomes, same order.

mod documents;
mod inbox;
mod patterns;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;

use slab::Slab;

use crate::base::clock::{Mono, Now};
use crate::base::hash::{Keys, Map};
use crate::base::id::{Origin, ShardId, index32};
use crate::base::shared::Shared;
use crate::hub::agenda::Agenda;
use crate::hub::command::{Ask, By, Request, Tag};
use crate::hub::event::{Body, Event, Outcome, Publication, Refusal, Reply, Sender};
use crate::hub::journal::Journal;
use crate::hub::moderation::Sanctions;
use crate::hub::name::{Topic, TopicKind, User};
use crate::hub::owner::appointed::Appointed;
use crate::hub::owner::patterns::Subscribed;
use crate::hub::policy::{Policies, Publishers, Reach, RowId};
use crate::hub::presence::Place;
use crate::hub::stamps::Stamps;
use crate::hub::topic::{Arrival, Full, Record, Wanted, fresh};

/// Topics that one call of [`Owner::expire`] forgets at most, so that a turn stays short.
pub const EXPIRED_PER_CALL_MAX: usize = 64;

/// Characters of an epoch; 40 bits tell all numberings of a topic apart, and processes as well.
const EPOCH_CHARS: usize = 8;

/// Digits without look-alikes.
const EPOCH_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What an owner can tell about itself; all but `evicted` are standings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Topics that are held, for members or for their history.
    pub topics: u64,
    /// Topics of all kinds that have members.
    pub topics_with_members: u64,
    /// Rooms that have members.
    pub rooms_with_members: u64,
    /// Memberships over all topics.
    pub members: u64,
    /// What all histories cost together, in bytes.
    pub history_bytes: usize,
    /// What all documents cost together, in bytes.
    pub document_bytes: usize,
    /// Topics ever forgotten, or shortened, before their time because the sum was exceeded.
    pub evicted: u64,
    /// Topics that are held, by kind, in the order of [`TopicKind::ALL`].
    pub by_kind: [u64; TopicKind::ALL.len()],
}

impl Counts {
    /// Topics of this kind that are held.
    #[must_use]
    pub fn topics_of(&self, kind: TopicKind) -> u64 {
        self.by_kind[kind as usize]
    }

    /// The sum that what a topic of this kind remembers is part of.
    fn sum_of(&mut self, kind: TopicKind) -> &mut usize {
        if kind == TopicKind::Document { &mut self.document_bytes } else { &mut self.history_bytes }
    }
}

/// The topics of one shard. See the module page for the order of calls.
#[derive(Debug)]
pub struct Owner {
    shard: ShardId,
    shards: u16,
    keys: Keys,
    policies: Policies,
    slots: Map<Topic, u32>,
    subscribed: Subscribed,
    records: Slab<Held>,
    /// Topics without members, by the time at which nothing is left to keep them for.
    /// Invariant: with the documents, exactly the pairs (`Idle::until`, slot).
    idle: BTreeSet<(Mono, u32)>,
    /// The same for documents, which make room for each other only.
    idle_documents: BTreeSet<(Mono, u32)>,
    /// Those of `idle` that remember something, by their last use.
    /// Invariant: exactly the pairs (`Idle::since`, slot) where `Held::bytes` is not zero.
    unused: BTreeSet<(Mono, u32)>,
    /// Users without a connection, by slot and place, who have until then to come back.
    /// Invariant: their presence counts one connection for each.
    grace: Agenda<(u32, Place)>,
    /// Crowded topics whose numbers have changed, and when members are told.
    uncounted: Agenda<u32>,
    sanctions: Sanctions,
    appointed: Appointed,
    outcomes: VecDeque<(ShardId, Outcome)>,
    /// Outcomes that were polled, ever.
    polled: u64,
    /// What a store has to be told, if there is one.
    journal: Option<Journal>,
    /// Numberings begun so far.
    epochs: u64,
    /// The epoch of all that is not numbered.
    no_epoch: Arc<str>,
    /// The highest number of any inbox that was forgotten: where a new one begins.
    inbox_floor: u64,
    /// Where the next search for a victim begins.
    hand: u32,
    /// What the application published lately and may try again.
    stamps: Stamps,
    counts: Counts,
    /// Publications ever.
    published: u64,
}

/// What the table itself holds of a topic: small, because a search for a victim looks at neighbours.
#[derive(Debug)]
struct Held {
    record: Box<Record>,
    /// Invariant: what `record` says, and part of its sum, whenever a request is done.
    bytes: usize,
    /// Invariant: some exactly while there are no members.
    idle: Option<Idle>,
}

/// A topic without members.
#[derive(Clone, Copy, Debug)]
struct Idle {
    /// When it was last used: left, or published to.
    since: Mono,
    /// When there will be nothing left to keep it for.
    until: Mono,
}

/// Who asked what topic, to be answered.
struct Asker {
    topic: Topic,
    origin: Origin,
    tag: Tag,
}

impl Owner {
    /// An owner of nothing yet, on `shard` of `shards`.
    #[must_use]
    pub fn new(shard: ShardId, shards: u16, keys: Keys, policies: Policies) -> Owner {
        assert!(shard.0 < shards, "shards count from zero");
        policies.check();
        Owner {
            shard,
            shards,
            keys,
            policies,
            slots: Map::with_hasher(keys),
            subscribed: Subscribed::default(),
            records: Slab::new(),
            idle: BTreeSet::new(),
            idle_documents: BTreeSet::new(),
            unused: BTreeSet::new(),
            grace: Agenda::new(keys),
            uncounted: Agenda::new(keys),
            sanctions: Sanctions::new(keys),
            appointed: Appointed::default(),
            outcomes: VecDeque::new(),
            polled: 0,
            journal: None,
            epochs: 0,
            no_epoch: Arc::from(""),
            inbox_floor: 0,
            hand: 0,
            stamps: Stamps::new(keys),
            counts: Counts::default(),
            published: 0,
        }
    }

    /// Does what is asked; what comes of it is then to be polled.
    pub fn handle(&mut self, request: Request, now: Now) {
        let Request { topic, origin, tag, ask } = request;
        debug_assert!(origin.shard.0 < self.shards);
        let asker = Asker { topic, origin, tag };
        match ask {
            Ask::Join { user, since, history, by_right } => {
                let wanted = match &since {
                    Some((offset, epoch)) => Wanted::Since(*offset, epoch),
                    None if history > 0 => Wanted::Newest(history),
                    None => Wanted::Nothing,
                };
                self.join(asker, user, wanted, by_right, now);
            }
            Ask::Appoint(moderates) => self.appoint(&asker, moderates),
            Ask::Leave => self.leave(asker, now),
            Ask::Gone => {
                if let Some(slot) = self.slot_of_member(&asker) {
                    self.part(slot, asker.origin, now);
                }
            }
            Ask::Publish { payload, by, echo } => {
                self.publish(asker, (payload, Body::Value), by, echo, now);
            }
            Ask::PublishTyped { number, payload } => {
                self.publish(asker, (payload, Body::Typed(number)), By::Member, true, now);
            }
            Ask::Relay { payload } => self.relay(asker, payload, now),
            Ask::Open { user, info } => self.open(asker, user, info, now),
            Ask::Edit { version, operation } => self.edit(asker, version, &operation),
            Ask::Point(pointer) => self.point(asker, *pointer),
            Ask::Skip => self.skip(&asker),
            Ask::Typing { is_typing } => self.typing(asker, is_typing, now),
            Ask::History { limit, before } => self.history(asker, limit, before, now),
            Ask::Users => self.users(asker),
            Ask::Direct { payload, user, receipt } => self.direct(asker, payload, user, receipt, now),
            Ask::Inbox => self.redeliver(asker, now),
            Ask::Acknowledge { seq } => self.acknowledge(asker, seq, now),
            Ask::Moderate(act) => self.moderate(asker, act, false, now),
            Ask::ModerateByRight(act) => self.moderate(asker, act, true, now),
            Ask::Order { number, order } => self.order(asker, number, *order, now),
        }
    }

    /// The next outcome and the shard that it is for, in the order in which things happened.
    pub fn poll(&mut self) -> Option<(ShardId, Outcome)> {
        if self.journal.as_ref().is_some_and(|journal| journal.released() <= self.polled) {
            return None;
        }
        let next = self.outcomes.pop_front();
        self.polled += u64::from(next.is_some());
        next
    }

    /// When [`Owner::expire`] will have something to do; none while it has nothing.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Mono> {
        // Every turn asks, and mostly there is nothing: no iterator, no list.
        let next = self.idle.first().map_or(Mono::NEVER, |(until, _)| *until);
        let next = self.idle_documents.first().map_or(next, |(until, _)| next.min(*until));
        let next = self.grace.next().map_or(next, |due| next.min(due));
        let next = self.uncounted.next().map_or(next, |due| next.min(due));
        let next = self.sanctions.next_expiry().map_or(next, |due| next.min(due));
        let next = self.stamps.next_expiry().map_or(next, |due| next.min(due));
        (next < Mono::NEVER).then_some(next)
    }

    /// The topic without members that expires next.
    fn next_idle(&self) -> Option<(Mono, u32)> {
        self.idle.first().into_iter().chain(self.idle_documents.first()).min().copied()
    }

    /// Does what is due: users are gone who have not come back, crowds are counted, bans and stamps end, and topics are
    /// forgotten that have neither members nor history left. At most [`EXPIRED_PER_CALL_MAX`] of each; if there is
    /// more, [`Owner::next_expiry`] is not later than `now`. What comes of it is to be polled.
    pub fn expire(&mut self, now: Mono) {
        self.lapse(now);
        self.count_crowds(now);
        self.sanctions.expire(now, EXPIRED_PER_CALL_MAX);
        self.stamps.expire(now);
        for _ in 0..EXPIRED_PER_CALL_MAX {
            match self.next_idle() {
                // Whom it is kept for goes first.
                Some((until, slot)) if until <= now && !self.is_awaited(slot) => self.remove(slot),
                _ => return,
            }
        }
    }

    /// How much was ever published.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published
    }

    /// Standings and counters.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The `count` largest rooms that have members, largest first, names in order where equal. Looks at every
    /// topic: for people who ask, not for every turn.
    #[must_use]
    pub fn largest(&self, count: usize) -> Vec<(Topic, u32)> {
        // The heap's top is the least of those kept so far.
        let mut kept = BinaryHeap::new();
        for (slot, held) in &self.records {
            let (topic, members) = (held.record.topic(), held.record.members_count());
            if topic.kind() == TopicKind::Room && members > 0 {
                kept.push(Reverse((members, Reverse(topic.name()), slot)));
                if kept.len() > count {
                    kept.pop();
                }
            }
        }
        let rooms = kept.into_sorted_vec().into_iter();
        rooms
            .map(|Reverse((members, _, slot))| (self.records[slot].record.topic().clone(), members))
            .collect()
    }

    fn join(&mut self, asker: Asker, user: Arc<User>, wanted: Wanted<'_>, by_right: bool, now: Now) {
        if let Some(refusal) = self.banned(&asker.topic, &user, now) {
            return self.reply(asker, Reply::Refused(refusal));
        }
        let slot = match self.slots.get(&asker.topic) {
            Some(slot) => *slot,
            None if self.is_unknown(&asker.topic) => {
                return self.reply(asker, Reply::Refused(Refusal::UnknownFeed));
            }
            None => self.create(&asker.topic),
        };
        let held = &mut self.records[slot as usize];
        let policy = self.policies.row(held.record.row());
        let arrival = match held.record.join(asker.origin, &user, policy, self.keys) {
            Ok(arrival) => arrival,
            Err(Full) => {
                self.settle(slot, now);
                return self.reply(asker, Reply::Refused(Refusal::RoomFull));
            }
        };
        if let Wanted::Text(info) = wanted {
            held.record.edit_from_now(asker.origin, &user, info, policy);
        }
        let crossing = match arrival {
            Arrival::First if policy.crowds => held.record.recount(self.policies.presence_list_max),
            Arrival::First | Arrival::Further | Arrival::Again => None,
        };
        let mut snapshot = held.record.snapshot(wanted, now.mono, policy);
        self.rouse(slot);
        self.weigh(slot);
        let turned = self.note_right(slot, asker.origin, by_right) && arrival != Arrival::First;
        snapshot.roll.moderators = self.moderators(slot, &snapshot.roll.users);
        let (origin, members_count) = (asker.origin, snapshot.members_count);
        let moderator = arrival == Arrival::First && self.is_moderator(slot, &user.id);
        if arrival != Arrival::Again {
            self.count_members(asker.topic.kind(), members_count - 1, members_count);
        }
        self.reply(asker, Reply::Joined(Box::new(snapshot)));
        match arrival {
            Arrival::First => {
                let event = Owner::arrival(user, wanted, members_count, moderator);
                self.tell_of_arrival(slot, event, crossing, origin, now.mono);
            }
            Arrival::Further => self.welcome_back(slot, origin),
            Arrival::Again => {}
        }
        if turned {
            self.tell_roles(slot);
        }
    }

    /// Whether nobody has spoken of this topic, where that makes a difference: what is not held and not declared.
    fn is_unknown(&self, topic: &Topic) -> bool {
        topic.kind() == TopicKind::Feed && !self.policies.declares_feed(topic.name())
    }

    fn leave(&mut self, asker: Asker, now: Now) {
        let Some(slot) = self.slot_of_member(&asker) else {
            return self.refuse(asker, Refusal::NotMember);
        };
        let origin = asker.origin;
        self.reply(asker, Reply::Left);
        self.part(slot, origin, now);
    }

    fn publish(&mut self, asker: Asker, content: (Shared, Body), by: By, echo: bool, now: Now) {
        let mut slot = self.slots.get(&asker.topic).copied();
        let row = match slot {
            Some(slot) => self.records[slot as usize].record.row(),
            None => self.policies.find(asker.topic.kind(), asker.topic.name()),
        };
        let user = match self.publisher(&asker, slot, row, by, now) {
            Ok(user) => user,
            Err(refusal) => return self.reply(asker, Reply::Refused(refusal)),
        };
        if slot.is_none() && self.policies.row(row).numbered {
            slot = Some(self.create(&asker.topic));
        }
        let publication_answers = self.policies.row(row).publish == Publishers::Members;
        let (member, publication) = match slot {
            Some(slot) => {
                let member = self.records[slot as usize].record.is_member(asker.origin);
                (member, self.issue(slot, user, content, now))
            }
            None => (false, fresh(0, user, content, now)),
        };
        let Asker { topic, origin, mut tag } = asker;
        // Whoever is no member is not reachable as one, and gets an answer instead of a copy.
        let copy = (echo && member).then(|| if publication_answers { tag.take() } else { None });
        if tag.is_some() {
            let reply = Reply::Accepted { offset: publication.offset };
            self.reply(Asker { topic: topic.clone(), origin, tag }, reply);
        }
        self.spread((&topic, slot), publication, Sender { origin, copy }, echo, now);
    }

    /// Numbers, dates and remembers a publication in the topic that is held at `slot`.
    fn issue(&mut self, slot: u32, user: Arc<User>, content: (Shared, Body), now: Now) -> Arc<Publication> {
        let record = &mut self.records[slot as usize].record;
        let publication = record.publish(user, content, now, self.policies.row(record.row()));
        self.weigh(slot);
        self.note_published(slot, &publication);
        publication
    }

    /// Tells everybody whom a publication concerns, then lets go of what is too much. How many connections it is on
    /// its way to, where those are counted here; `echo` is whether its publisher wants it by patterns, too.
    fn spread(
        &mut self,
        (topic, slot): (&Topic, Option<u32>),
        publication: Arc<Publication>,
        sender: Sender,
        echo: bool,
        now: Now,
    ) -> u32 {
        self.published += 1;
        let event = Event::Published(publication);
        let Some(slot) = slot else {
            if self.policies.row(self.policies.find(topic.kind(), topic.name())).reach == Reach::AllShards {
                self.tell_all_shards(topic, &event, &sender);
            }
            return 0;
        };
        let mut reached = self.records[slot as usize].record.members_count();
        let origin = sender.origin;
        self.tell(slot, &event, sender);
        if topic.kind() == TopicKind::Channel {
            reached += self.tell_patterns(slot, &event, origin, echo);
        }
        self.settle(slot, now);
        self.fit_histories(slot);
        reached
    }

    /// Tells the others something that is neither numbered nor remembered: who gets it could not tell its place.
    fn relay(&mut self, asker: Asker, payload: Shared, now: Now) {
        let (slot, user) = match self.speaker(&asker, now) {
            Ok(speaker) => speaker,
            Err(refusal) => return self.reply(asker, Reply::Refused(refusal)),
        };
        let publication = fresh(0, user, (payload, Body::Plain), now);
        self.tell(slot, &Event::Published(publication), Sender { origin: asker.origin, copy: None });
    }

    /// The topic's slot and the user of the asker, who is a member and not muted.
    fn speaker(&self, asker: &Asker, now: Now) -> Result<(u32, Arc<User>), Refusal> {
        let slot = self.slots.get(&asker.topic).copied();
        let member =
            slot.and_then(|slot| Some((slot, self.records[slot as usize].record.member(asker.origin)?)));
        let (slot, user) = member.ok_or_else(|| Refusal::NotMember(asker.topic.kind()))?;
        self.muted(&asker.topic, user, now).map_or_else(|| Ok((slot, Arc::clone(user))), Err)
    }

    /// The user in whose name the asker publishes.
    fn publisher(
        &self,
        asker: &Asker,
        slot: Option<u32>,
        row: RowId,
        by: By,
        now: Now,
    ) -> Result<Arc<User>, Refusal> {
        match (self.policies.row(row).publish, by) {
            (_, By::Server(user)) | (Publishers::Anyone, By::Anyone(user)) => Ok(user),
            (Publishers::Members, By::Member) => {
                let user = slot.and_then(|slot| self.records[slot as usize].record.member(asker.origin));
                let user = user.ok_or(Refusal::NotMember(asker.topic.kind()))?;
                self.muted(&asker.topic, user, now).map_or_else(|| Ok(Arc::clone(user)), Err)
            }
            _ => Err(Refusal::Forbidden),
        }
    }

    fn typing(&mut self, asker: Asker, is_typing: bool, now: Now) {
        let (slot, user) = match self.speaker(&asker, now) {
            Ok(speaker) => speaker,
            Err(refusal) => return self.reply(asker, Reply::Refused(refusal)),
        };
        let (origin, event) = (asker.origin, Event::Typing { user, is_typing });
        if asker.tag.is_some() {
            self.reply(asker, Reply::Accepted { offset: 0 });
        }
        self.tell(slot, &event, Sender { origin, copy: None });
    }

    fn history(&mut self, asker: Asker, limit: u32, before: Option<u64>, now: Now) {
        let Some(slot) = self.slot_of_member(&asker) else {
            return self.refuse(asker, Refusal::NotMember);
        };
        let record = &mut self.records[slot as usize].record;
        let messages = record.newest(limit, before, now.mono, self.policies.row(record.row()));
        let reply = Reply::History { messages, offset: record.head(), epoch: Arc::clone(record.epoch()) };
        self.weigh(slot);
        self.reply(asker, reply);
    }

    fn users(&mut self, asker: Asker) {
        let Some(slot) = self.slot_of_member(&asker) else {
            return self.refuse(asker, Refusal::NotMember);
        };
        let record = &self.records[slot as usize].record;
        let (members_count, user_count) = (record.members_count(), record.user_count());
        let reply = Reply::Users { members_count, user_count, roll: Box::new(self.roll(slot)) };
        self.reply(asker, reply);
    }

    /// Where the topic is held, if the asker is a member of it.
    fn slot_of_member(&self, asker: &Asker) -> Option<u32> {
        let slot = *self.slots.get(&asker.topic)?;
        self.records[slot as usize].record.is_member(asker.origin).then_some(slot)
    }

    /// Refuses for a reason that names the kind of topic.
    fn refuse(&mut self, asker: Asker, refusal: impl FnOnce(TopicKind) -> Refusal) {
        let refusal = refusal(asker.topic.kind());
        self.reply(asker, Reply::Refused(refusal));
    }

    fn reply(&mut self, asker: Asker, reply: Reply) {
        let Asker { topic, origin, tag } = asker;
        self.outcomes.push_back((origin.shard, Outcome::Reply { topic, origin, tag, reply }));
    }

    /// Tells the members, on each shard that has some. Only the sender's own shard needs to know of it;
    /// where the sender is alone and gets no copy, there is nobody to tell.
    fn tell(&mut self, slot: u32, event: &Event, sender: Sender) {
        let record = &self.records[slot as usize].record;
        let origin = sender.origin;
        let mut sender = Some(sender);
        for (shard, members) in record.shards() {
            let mut here = None;
            if *shard == origin.shard {
                here = sender.take();
                let no_copy = here.as_ref().is_some_and(|sender| sender.copy.is_none());
                if no_copy && *members == 1 && record.is_member(origin) {
                    continue;
                }
            }
            let (topic, event) = (record.topic().clone(), event.clone());
            self.outcomes.push_back((*shard, Outcome::Deliver { topic, event, sender: here }));
        }
    }

    /// Tells every connection of the process but the sender.
    fn tell_all_shards(&mut self, topic: &Topic, event: &Event, sender: &Sender) {
        for shard in (0..self.shards).map(ShardId) {
            let (topic, event) = (topic.clone(), event.clone());
            let sender = (shard == sender.origin.shard).then(|| sender.clone());
            self.outcomes.push_back((shard, Outcome::Deliver { topic, event, sender }));
        }
    }

    /// A record for a topic that is not held, with a numbering of its own.
    fn create(&mut self, topic: &Topic) -> u32 {
        let row = self.policies.find(topic.kind(), topic.name());
        let inbox = topic.kind() == TopicKind::Inbox;
        let epoch = if self.policies.row(row).numbered && !inbox {
            self.epochs += 1;
            epoch(self.keys, self.shard, self.epochs)
        } else {
            Arc::clone(&self.no_epoch)
        };
        self.hold(topic, epoch, row)
    }

    /// A record for a topic that is not held.
    fn hold(&mut self, topic: &Topic, epoch: Arc<str>, row: RowId) -> u32 {
        let mut record = Box::new(Record::new(topic.clone(), epoch, row));
        if topic.kind() == TopicKind::Inbox {
            record.begin_after(self.inbox_floor);
        }
        let slot = self.records.insert(Held { record, bytes: 0, idle: None });
        let slot = index32(slot);
        self.slots.insert(topic.clone(), slot);
        self.counts.topics += 1;
        self.counts.by_kind[topic.kind() as usize] += 1;
        if topic.kind() == TopicKind::Pattern {
            self.add_pattern(slot);
        }
        slot
    }

    /// Keeps the standings when a topic goes from `before` to `after` members.
    fn count_members(&mut self, kind: TopicKind, before: u32, after: u32) {
        self.counts.members = self.counts.members + u64::from(after) - u64::from(before);
        let room = u64::from(kind == TopicKind::Room);
        if before == 0 {
            self.counts.topics_with_members += 1;
            self.counts.rooms_with_members += room;
        }
        if after == 0 {
            self.counts.topics_with_members -= 1;
            self.counts.rooms_with_members -= room;
        }
    }

    /// Asserts every invariant, in time proportional to everything held: for tests and the simulator.
    ///
    /// # Panics
    /// When one is broken.
    pub fn check(&self) {
        let mut counts = Counts { evicted: self.counts.evicted, ..Counts::default() };
        for (slot, held) in &self.records {
            let record = &held.record;
            let kind = record.topic().kind();
            assert_eq!(record.row(), self.policies.find(kind, record.topic().name()));
            record.check(self.policies.row(record.row()));
            let slot = index32(slot);
            assert_eq!(self.slots.get(record.topic()), Some(&slot));
            let members = record.members_count();
            self.check_idle(slot, held);
            self.check_attendance(slot, record);
            counts.topics += 1;
            counts.by_kind[kind as usize] += 1;
            counts.topics_with_members += u64::from(members > 0);
            counts.rooms_with_members += u64::from(members > 0 && kind == TopicKind::Room);
            counts.members += u64::from(members);
            assert_eq!(held.bytes, record.bytes());
            *counts.sum_of(kind) += held.bytes;
        }
        assert_eq!(counts, self.counts);
        self.check_orders();
        self.sanctions.check();
        self.check_appointed();
        assert_eq!(self.slots.len(), self.records.len());
        self.stamps.check();
        assert!(counts.history_bytes <= self.policies.history_bytes_total_max);
        assert!(counts.document_bytes <= self.policies.document_bytes_total_max);
        self.check_patterns();
    }
}

/// The name of the `count`th numbering of `shard`.
#[must_use]
pub fn epoch(keys: Keys, shard: ShardId, count: u64) -> Arc<str> {
    let mut bits = keys.digest("epoch", u64::from(shard.0) << 48 | count);
    let mut text = String::with_capacity(EPOCH_CHARS);
    for _ in 0..EPOCH_CHARS {
        text.push(char::from(EPOCH_ALPHABET[(bits % 32) as usize]));
        bits /= 32;
    }
    Arc::from(text)
}

mod appointed;
mod attendance;
mod grace;
mod journal;
mod memory;
mod moderation;
mod orders;

#[cfg(test)]
mod tests;
