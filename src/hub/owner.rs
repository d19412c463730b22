//! All topics that one shard owns: asked by [`Request`], answering by [`Outcome`].
//!
//! Knows no connections, no clock and no other shard's state. Every request is done at once and leaves its
//! outcomes in one queue; whoever empties it must keep the order per shard, because that order is the
//! promise: a join's snapshot lies in the same lane as the publications, so what is before it is in it,
//! and what comes after is not.
//!
//! ```text
//! handle(request, now) ─► records ─► outcomes ─► poll() ─► (shard, outcome)
//! expire(now), next_expiry()         histories that nobody is there to read
//! ```
//!
//! A topic lives while it has members; after that while its history is worth something to somebody who
//! comes back; and its numbering lives and dies with it. Same requests, same outcomes, same order.

mod documents;
mod patterns;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;

use slab::Slab;

use crate::base::clock::{Mono, Now};
use crate::base::hash::{Keys, Map};
use crate::base::id::{Origin, ShardId, index32};
use crate::base::shared::Shared;
use crate::hub::command::{Ask, By, Request, Tag};
use crate::hub::event::{Body, Event, Outcome, Refusal, Reply, Sender};
use crate::hub::journal::Journal;
use crate::hub::name::{Topic, TopicKind, User};
use crate::hub::owner::patterns::Subscribed;
use crate::hub::policy::{Policies, Publishers, Reach, RowId};
use crate::hub::stamps::Stamps;
use crate::hub::table::shrink_if_sparse;
use crate::hub::topic::{Arrival, Full, Record, Wanted, fresh};

/// Topics that one call of [`Owner::expire`] forgets at most, so that a turn stays short.
pub const EXPIRED_PER_CALL_MAX: usize = 64;

/// Neighbours among which a victim is looked for when histories exceed their sum: enough that the largest
/// of them is large, few enough to look at on every publication.
const SAMPLE: usize = 8;

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
}

impl Counts {
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
    /// Topics without members, by the time at which the last of their history expires.
    /// Invariant: with the documents, exactly the pairs (`Held::idle_until`, slot).
    idle: BTreeSet<(Mono, u32)>,
    /// The same for documents, which make room for each other only.
    idle_documents: BTreeSet<(Mono, u32)>,
    outcomes: VecDeque<(ShardId, Outcome)>,
    /// Outcomes that were polled, ever.
    polled: u64,
    /// What a store has to be told, if there is one.
    journal: Option<Journal>,
    /// Numberings begun so far.
    epochs: u64,
    /// The epoch of all that is not numbered.
    no_epoch: Arc<str>,
    /// Where the next search for a victim begins.
    hand: u32,
    /// What the application published lately and may try again.
    stamps: Stamps,
    counts: Counts,
}

/// What the table itself holds of a topic: small, because a search for a victim looks at neighbours.
#[derive(Debug)]
struct Held {
    record: Box<Record>,
    /// Invariant: what `record` says, and part of its sum, whenever a request is done.
    bytes: usize,
    /// Invariant: some exactly while there are no members.
    idle_until: Option<Mono>,
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
            outcomes: VecDeque::new(),
            polled: 0,
            journal: None,
            epochs: 0,
            no_epoch: Arc::from(""),
            hand: 0,
            stamps: Stamps::new(keys),
            counts: Counts::default(),
        }
    }

    /// Does what is asked; what comes of it is then to be polled.
    pub fn handle(&mut self, request: Request, now: Now) {
        let Request { topic, origin, tag, ask } = request;
        debug_assert!(origin.shard.0 < self.shards);
        let asker = Asker { topic, origin, tag };
        match ask {
            Ask::Join { user, since, history } => {
                let wanted = match &since {
                    Some((offset, epoch)) => Wanted::Since(*offset, epoch),
                    None if history > 0 => Wanted::Newest(history),
                    None => Wanted::Nothing,
                };
                self.join(asker, user, wanted, now);
            }
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
            Ask::Typing { is_typing } => self.typing(asker, is_typing),
            Ask::History { limit, before } => self.history(asker, limit, before, now),
            Ask::Users => self.users(asker),
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
        let idle = self.next_idle().map(|(until, _)| until);
        [idle, self.stamps.next_expiry()].into_iter().flatten().min()
    }

    /// The topic without members that expires next.
    fn next_idle(&self) -> Option<(Mono, u32)> {
        self.idle.first().into_iter().chain(self.idle_documents.first()).min().copied()
    }

    /// Forgets topics that have neither members nor history left, at most [`EXPIRED_PER_CALL_MAX`], and stamps; if
    /// there are more, [`Owner::next_expiry`] is not later than `now`.
    pub fn expire(&mut self, now: Mono) {
        self.stamps.expire(now);
        for _ in 0..EXPIRED_PER_CALL_MAX {
            match self.next_idle() {
                Some((until, slot)) if until <= now => self.remove(slot),
                _ => return,
            }
        }
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

    fn join(&mut self, asker: Asker, user: Arc<User>, wanted: Wanted<'_>, now: Now) {
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
        let snapshot = held.record.snapshot(wanted, now.mono, policy);
        let (members_count, presence) = (snapshot.members_count, policy.presence);
        self.end_idleness(slot);
        self.weigh(slot);
        if arrival != Arrival::Again {
            self.count_members(asker.topic.kind(), members_count - 1, members_count);
        }
        let origin = asker.origin;
        self.reply(asker, Reply::Joined(Box::new(snapshot)));
        if arrival == Arrival::First && presence {
            let event = Owner::arrival(user, wanted, members_count);
            self.tell(slot, &event, Sender { origin, copy: None });
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

    /// Ends the membership of a member and tells those who stay.
    fn part(&mut self, slot: u32, origin: Origin, now: Now) {
        let record = &mut self.records[slot as usize].record;
        let Some(departure) = record.leave(origin) else {
            debug_assert!(false, "asked for members only");
            return;
        };
        let (kind, row, members_count) = (record.topic().kind(), record.row(), record.members_count());
        self.count_members(kind, members_count + 1, members_count);
        if departure.last && self.policies.row(row).presence {
            let event = Event::UserLeft { user: departure.user, members_count };
            self.tell(slot, &event, Sender { origin, copy: None });
        }
        self.weigh(slot);
        self.settle(slot, now);
    }

    fn publish(&mut self, asker: Asker, content: (Shared, Body), by: By, echo: bool, now: Now) {
        let mut slot = self.slots.get(&asker.topic).copied();
        let row = match slot {
            Some(slot) => self.records[slot as usize].record.row(),
            None => self.policies.find(asker.topic.kind(), asker.topic.name()),
        };
        let user = match self.publisher(&asker, slot, row, by) {
            Ok(user) => user,
            Err(refusal) => return self.reply(asker, Reply::Refused(refusal)),
        };
        let numbered = self.policies.row(row).numbered;
        if slot.is_none() && numbered {
            slot = Some(self.create(&asker.topic));
        }
        let policy = self.policies.row(row);
        let (reach, publication_answers) = (policy.reach, policy.publish == Publishers::Members);
        let mut member = false;
        let publication = match slot {
            Some(slot) => {
                let record = &mut self.records[slot as usize].record;
                member = record.is_member(asker.origin);
                let publication = record.publish(user, content, now, policy);
                self.weigh(slot);
                publication
            }
            None => fresh(0, user, content, now),
        };
        if let Some(slot) = slot {
            self.note_published(slot, &publication);
        }
        let Asker { topic, origin, mut tag } = asker;
        // Whoever is no member is not reachable as one, and gets an answer instead of a copy.
        let copy = (echo && member).then(|| if publication_answers { tag.take() } else { None });
        if tag.is_some() {
            let reply = Reply::Accepted { offset: publication.offset };
            self.reply(Asker { topic: topic.clone(), origin, tag }, reply);
        }
        let (event, sender) = (Event::Published(publication), Sender { origin, copy });
        match (reach, slot) {
            (Reach::AllShards, _) => self.tell_all_shards(&topic, &event, &sender),
            (Reach::Members, Some(slot)) => {
                self.tell(slot, &event, sender);
                if topic.kind() == TopicKind::Channel {
                    self.tell_patterns(slot, &event, origin, echo);
                }
                self.settle(slot, now);
                self.fit_histories(slot);
            }
            (Reach::Members, None) => {}
        }
    }

    /// Tells the others something that is neither numbered nor remembered: who gets it could not tell its place.
    fn relay(&mut self, asker: Asker, payload: Shared, now: Now) {
        let slot = self.slots.get(&asker.topic).copied();
        let member =
            slot.and_then(|slot| Some((slot, self.records[slot as usize].record.member(asker.origin)?)));
        let Some((slot, user)) = member else {
            return self.refuse(asker, Refusal::NotMember);
        };
        let publication = fresh(0, Arc::clone(user), (payload, Body::Plain), now);
        self.tell(slot, &Event::Published(publication), Sender { origin: asker.origin, copy: None });
    }

    /// The user in whose name the asker publishes.
    fn publisher(&self, asker: &Asker, slot: Option<u32>, row: RowId, by: By) -> Result<Arc<User>, Refusal> {
        match (self.policies.row(row).publish, by) {
            (_, By::Server(user)) | (Publishers::Anyone, By::Anyone(user)) => Ok(user),
            (Publishers::Members, By::Member) => slot
                .and_then(|slot| self.records[slot as usize].record.member(asker.origin).cloned())
                .ok_or(Refusal::NotMember(asker.topic.kind())),
            _ => Err(Refusal::Forbidden),
        }
    }

    fn typing(&mut self, asker: Asker, is_typing: bool) {
        let slot = self.slots.get(&asker.topic).copied();
        let member =
            slot.and_then(|slot| Some((slot, self.records[slot as usize].record.member(asker.origin)?)));
        let Some((slot, user)) = member else {
            return self.refuse(asker, Refusal::NotMember);
        };
        let (origin, event) = (asker.origin, Event::Typing { user: Arc::clone(user), is_typing });
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
        let reply = Reply::Users { members_count, user_count, users: record.listed_users() };
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
        let epoch = if self.policies.row(row).numbered {
            self.epochs += 1;
            epoch(self.keys, self.shard, self.epochs)
        } else {
            Arc::clone(&self.no_epoch)
        };
        self.hold(topic, epoch, row)
    }

    /// A record for a topic that is not held.
    fn hold(&mut self, topic: &Topic, epoch: Arc<str>, row: RowId) -> u32 {
        let record = Box::new(Record::new(topic.clone(), epoch, row));
        let slot = self.records.insert(Held { record, bytes: 0, idle_until: None });
        let slot = index32(slot);
        self.slots.insert(topic.clone(), slot);
        self.counts.topics += 1;
        if topic.kind() == TopicKind::Pattern {
            self.add_pattern(slot);
        }
        slot
    }

    /// Decides what becomes of a topic that may have no member, or a newer history: kept while it remembers
    /// something, forgotten at once otherwise.
    fn settle(&mut self, slot: u32, now: Now) {
        let held = &mut self.records[slot as usize];
        if held.record.members_count() > 0 {
            return;
        }
        self.end_idleness(slot);
        let held = &mut self.records[slot as usize];
        let policy = self.policies.row(held.record.row());
        held.idle_until = held.record.expiry(now.mono, policy);
        match held.idle_until {
            Some(until) => {
                let kind = held.record.topic().kind();
                self.idle_of(kind).insert((until, slot));
                self.weigh(slot);
            }
            None => self.remove(slot),
        }
    }

    /// The topic expires by itself no more.
    fn end_idleness(&mut self, slot: u32) {
        let held = &mut self.records[slot as usize];
        if let Some(until) = held.idle_until.take() {
            let kind = held.record.topic().kind();
            self.idle_of(kind).remove(&(until, slot));
        }
    }

    fn idle_of(&mut self, kind: TopicKind) -> &mut BTreeSet<(Mono, u32)> {
        if kind == TopicKind::Document { &mut self.idle_documents } else { &mut self.idle }
    }

    /// Takes the change of what a topic remembers into the sum of its like.
    fn weigh(&mut self, slot: u32) {
        let held = &mut self.records[slot as usize];
        let bytes = held.record.bytes();
        let sum = self.counts.sum_of(held.record.topic().kind());
        *sum = *sum - held.bytes + bytes;
        held.bytes = bytes;
    }

    /// Forgets a topic without members, and gives memory back.
    fn remove(&mut self, slot: u32) {
        let held = self.records.remove(slot as usize);
        debug_assert_eq!(held.record.members_count(), 0);
        let kind = held.record.topic().kind();
        if let Some(until) = held.idle_until {
            self.idle_of(kind).remove(&(until, slot));
        }
        *self.counts.sum_of(kind) -= held.bytes;
        self.counts.topics -= 1;
        self.note_forgotten(&held.record);
        let topic = held.record.topic();
        self.slots.remove(topic);
        if topic.kind() == TopicKind::Pattern {
            self.remove_pattern(slot, topic.name());
        }
        shrink_if_sparse(&mut self.slots);
        if self.records.is_empty() {
            self.records = Slab::new();
        }
    }

    /// Forgets until all histories together fit, after a publication to `publisher`: first whole topics that
    /// nobody is in, the soonest to expire first; then the oldest half of the largest history among the
    /// publisher and the next few topics in the table, which takes most from whoever fills most and stays cheap.
    fn fit_histories(&mut self, publisher: u32) {
        let max = self.policies.history_bytes_total_max;
        while let Some(excess) = self.counts.history_bytes.checked_sub(max).filter(|excess| *excess > 0) {
            self.counts.evicted += 1;
            if let Some((_, slot)) = self.idle.first() {
                self.remove(*slot);
                continue;
            }
            // It fitted before this publication, so the publisher has something to give: this ends.
            let victim = self.largest_nearby(publisher);
            self.records[victim as usize].record.forget(excess);
            self.note_trimmed(victim);
            self.weigh(victim);
            debug_assert!(self.counts.history_bytes < max + excess, "something was given");
        }
    }

    /// The slot with the largest history of `slot` and the next few under the hand.
    fn largest_nearby(&mut self, slot: u32) -> u32 {
        let slots = u32::try_from(self.records.capacity()).unwrap_or(u32::MAX).max(1);
        // A topic that could not even keep its newest publication is gone by now.
        let mut largest = (self.records.get(slot as usize).map_or(0, |held| held.bytes), slot);
        for _ in 0..SAMPLE {
            self.hand = (self.hand + 1) % slots;
            if let Some(held) = self.records.get(self.hand as usize) {
                // A document cannot give anything while somebody edits it.
                if held.record.topic().kind() != TopicKind::Document {
                    largest = largest.max((held.bytes, self.hand));
                }
            }
        }
        largest.1
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
            assert_eq!(held.idle_until.is_some(), members == 0, "idle exactly while without members");
            assert!(members > 0 || record.bytes() > 0, "held for a reason");
            let idle = if kind == TopicKind::Document { &self.idle_documents } else { &self.idle };
            assert!(held.idle_until.is_none_or(|until| idle.contains(&(until, slot))));
            counts.topics += 1;
            counts.topics_with_members += u64::from(members > 0);
            counts.rooms_with_members += u64::from(members > 0 && kind == TopicKind::Room);
            counts.members += u64::from(members);
            assert_eq!(held.bytes, record.bytes());
            *counts.sum_of(kind) += held.bytes;
        }
        assert_eq!(counts, self.counts);
        assert_eq!(self.slots.len(), self.records.len());
        self.stamps.check();
        let idle = self.idle.len() + self.idle_documents.len();
        assert_eq!(counts.topics - counts.topics_with_members, idle as u64);
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

mod journal;
mod orders;

#[cfg(test)]
mod tests;
