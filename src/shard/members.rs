//! Which local connections are in which topic, both ways, and what is on its way to them.
//!
//! The owner of a topic decides who is a member; this table only says whom to deliver to here. Each
//! connection keeps a [`Membership`] per topic with its place in the topic's list, so that leaving is a swap
//! with the last member, whatever the size of the room.
//!
//! Invariant: `topics[m.topic].list[m.position] == slot` for each placed membership `m` of the connection in
//! `slot`, and each entry of a list that is not vacant has such a membership.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use slab::Slab;

use crate::base::clock::Mono;
use crate::base::hash::{Keys, Map};
use crate::base::id::{Origin, index32};
use crate::hub::command::Tag;
use crate::hub::event::Reply;
use crate::hub::name::{Topic, TopicKind};
use crate::shard::delivery::Delivery;
use crate::shard::window::Pulse;

/// In [`LocalTopic::list`]: the member left while a fan-out was under way. In [`Membership::position`]: not placed yet.
pub(crate) const VACANT: u32 = u32::MAX;

/// Topics whose emptied jobs are kept: as many as have some at a time, mostly.
const SPARE_JOBS_MAX: usize = ACTIVE_MAX;
/// Topics with fan-outs at which those are begun, and not only when all requests are done: in a row for each topic as
/// far as that goes, but while what they need is in the processor's cache, and little memory.
pub(crate) const ACTIVE_MAX: usize = 32;
/// Emptied jobs with room for more than this are not kept.
const KEPT_JOBS_MAX: usize = 64;

/// A topic with connections on this shard.
pub(crate) struct LocalTopic {
    /// Which topic.
    pub(crate) topic: Topic,
    /// Slots of the member connections.
    pub(crate) list: Vec<u32>,
    /// Entries of `list` that are vacant; only while a fan-out is under way.
    pub(crate) vacant: u32,
    /// Memberships that name this topic, placed or not. The entry goes when none is left.
    pub(crate) holders: u32,
    /// When its members were last written to.
    pub(crate) pulse: Pulse,
    /// The unfinished fan-out (first) and what has to wait behind it.
    pub(crate) jobs: VecDeque<Job>,
}

/// What waits for its turn in a topic.
#[derive(Debug)]
pub(crate) enum Job {
    /// An event on its way to the members.
    Deliver(Fanout),
    /// An answer that must not overtake the events before it.
    Answer {
        /// Who asked.
        origin: Origin,
        /// The client's own mark.
        tag: Tag,
        /// The answer.
        reply: Reply,
    },
    /// An answer that is being given. It keeps its place until that is done: a topic with jobs is neither forgotten
    /// nor are its gaps closed, and the answer may be that the asker, its last member, has left.
    Answering,
}

/// A fan-out and how far it has come.
#[derive(Debug)]
pub(crate) struct Fanout {
    /// What to push.
    pub(crate) delivery: Arc<Delivery>,
    /// The cause, if it is a connection here; it gets `copy` instead of the delivery.
    pub(crate) sender: Option<u32>,
    /// The sender's own frame; none = it gets nothing.
    pub(crate) copy: Option<Box<[u8]>>,
    /// Whether it may wait for what follows.
    pub(crate) waits: bool,
    /// When it began.
    pub(crate) since: Mono,
    /// Entries of the member list visited.
    pub(crate) cursor: usize,
    /// Entries that the list had when this fan-out began.
    pub(crate) end: usize,
    /// The fan-outs, two or more and in order, of which this is made: see [`crate::shard::batch`].
    pub(crate) parts: Vec<Fanout>,
}

/// One connection in one topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Membership {
    /// Index of the topic in [`Members`].
    pub(crate) topic: u32,
    /// Place in the topic's list, or [`VACANT`] until the owner has answered the join.
    pub(crate) position: u32,
    /// High half of the topic's hash: finds the topic of a name without touching the topic.
    pub(crate) hash_high: u32,
    /// Joins that the owner has not answered yet: two at most, as who asks again is answered before it is heard again.
    /// For a pattern, owners that have not answered yet, whatever they were asked.
    pub(crate) joins_pending: u16,
    /// What kind of topic.
    pub(crate) kind: TopicKind,
}

/// The topics of one connection, as a slice. Most are in one, which stands in the connection itself.
#[derive(Debug, Default)]
pub(crate) enum Memberships {
    #[default]
    None,
    One(Membership),
    #[expect(clippy::box_collection, reason = "few have it, and all pay for its place")]
    Many(Box<Vec<Membership>>),
}

impl Memberships {
    pub(crate) fn push(&mut self, more: Membership) {
        match self {
            Memberships::None => *self = Memberships::One(more),
            Memberships::One(first) => *self = Memberships::Many(Box::new(vec![*first, more])),
            Memberships::Many(list) => list.push(more),
        }
    }

    /// Takes one out; the last comes in its place.
    ///
    /// # Panics
    /// If there is none at `at`.
    pub(crate) fn swap_remove(&mut self, at: usize) -> Membership {
        let removed = self[at];
        match self {
            Memberships::Many(list) if list.len() > 1 => {
                list.swap_remove(at);
                if let [last] = list[..] {
                    *self = Memberships::One(last);
                }
            }
            _ => *self = Memberships::None,
        }
        removed
    }
}

impl Deref for Memberships {
    type Target = [Membership];

    fn deref(&self) -> &[Membership] {
        match self {
            Memberships::None => &[],
            Memberships::One(one) => std::slice::from_ref(one),
            Memberships::Many(list) => list,
        }
    }
}

impl DerefMut for Memberships {
    fn deref_mut(&mut self) -> &mut [Membership] {
        match self {
            Memberships::None => &mut [],
            Memberships::One(one) => std::slice::from_mut(one),
            Memberships::Many(list) => list,
        }
    }
}

/// All topics with connections here.
pub(crate) struct Members {
    by_topic: Map<Topic, u32>,
    topics: Slab<LocalTopic>,
    /// The emptied jobs of topics that had some last: a room has some at times only, and rooms are very many.
    spare_jobs: Vec<VecDeque<Job>>,
}

/// The upper half of a topic's hash.
pub(crate) fn high(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl Members {
    pub(crate) fn new(keys: Keys) -> Members {
        Members { by_topic: Map::with_hasher(keys), topics: Slab::new(), spare_jobs: Vec::new() }
    }

    /// Where among `memberships` that of `topic` is.
    pub(crate) fn membership(&self, memberships: &[Membership], topic: &Topic) -> Option<usize> {
        let index = self.find(topic)?;
        memberships.iter().position(|membership| membership.topic == index)
    }

    /// The topic's index, if it has connections here.
    pub(crate) fn find(&self, topic: &Topic) -> Option<u32> {
        self.by_topic.get(topic).copied()
    }

    pub(crate) fn topic(&self, index: u32) -> &LocalTopic {
        &self.topics[index as usize]
    }

    pub(crate) fn topic_mut(&mut self, index: u32) -> &mut LocalTopic {
        &mut self.topics[index as usize]
    }

    /// Queues a fan-out for a topic; true if it is the topic's first job.
    pub(crate) fn begin_job(&mut self, topic: u32, fanout: Fanout) -> bool {
        let jobs = &mut self.topics[topic as usize].jobs;
        let first = jobs.is_empty();
        if first {
            *jobs = self.spare_jobs.pop().unwrap_or_default();
        }
        jobs.push_back(Job::Deliver(fanout));
        first
    }

    /// Counts one more membership that names `topic`; not placed yet.
    pub(crate) fn hold(&mut self, topic: &Topic) -> Membership {
        let index = match self.by_topic.get(topic) {
            Some(&known) => known,
            None => {
                let fresh = index32(self.topics.insert(LocalTopic {
                    topic: topic.clone(),
                    list: Vec::new(),
                    vacant: 0,
                    holders: 0,
                    pulse: Pulse::default(),
                    jobs: VecDeque::new(),
                }));
                self.by_topic.insert(topic.clone(), fresh);
                fresh
            }
        };
        self.topics[index as usize].holders += 1;
        Membership {
            topic: index,
            position: VACANT,
            hash_high: high(topic.hash()),
            joins_pending: 0,
            kind: topic.kind(),
        }
    }

    /// Adds `slot` to the topic's list; returns its position.
    pub(crate) fn place(&mut self, topic: u32, slot: u32) -> u32 {
        let list = &mut self.topics[topic as usize].list;
        list.push(slot);
        index32(list.len() - 1)
    }

    /// Takes the entry at `position` out of the list. Returns the slot of the member that moved there, which
    /// the caller has to tell its new position.
    #[must_use]
    pub(crate) fn displace(&mut self, topic: u32, position: u32) -> Option<u32> {
        let entry = &mut self.topics[topic as usize];
        if !entry.jobs.is_empty() {
            // A cursor walks the list: positions must not change under it.
            entry.list[position as usize] = VACANT;
            entry.vacant += 1;
            return None;
        }
        entry.list.swap_remove(position as usize);
        entry.list.get(position as usize).copied()
    }

    /// Counts one membership less; forgets the topic when it was the last and nothing is under way.
    pub(crate) fn release(&mut self, topic: u32) {
        let entry = &mut self.topics[topic as usize];
        debug_assert!(entry.holders > 0);
        entry.holders -= 1;
        self.forget_unheld(topic);
    }

    /// Forgets the topic if nobody holds it and no fan-out walks it.
    pub(crate) fn forget_unheld(&mut self, topic: u32) {
        let entry = &self.topics[topic as usize];
        if entry.holders == 0 && entry.jobs.is_empty() {
            debug_assert_eq!(entry.list.len(), entry.vacant as usize);
            let entry = self.topics.remove(topic as usize);
            self.by_topic.remove(&entry.topic);
        }
    }

    /// No jobs are left: closes the gaps that members left meanwhile, and calls `moved(slot, position)` for each that
    /// moved.
    pub(crate) fn compact(&mut self, topic: u32, mut moved: impl FnMut(u32, u32)) {
        let entry = &mut self.topics[topic as usize];
        debug_assert!(entry.jobs.is_empty());
        let jobs = std::mem::take(&mut entry.jobs);
        if jobs.capacity() <= KEPT_JOBS_MAX && self.spare_jobs.len() < SPARE_JOBS_MAX {
            self.spare_jobs.push(jobs);
        }
        if entry.vacant == 0 {
            return;
        }
        let mut kept = 0;
        for position in 0..entry.list.len() {
            let slot = entry.list[position];
            if slot == VACANT {
                continue;
            }
            if position != kept {
                entry.list[kept] = slot;
                moved(slot, index32(kept));
            }
            kept += 1;
        }
        entry.list.truncate(kept);
        entry.vacant = 0;
    }

    /// Topics with connections here.
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    /// All topics with their indices.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &LocalTopic)> {
        self.topics.iter().map(|(i, topic)| (index32(i), topic))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYS: [u8; 16] = [1; 16];

    fn topic(name: &str) -> Topic {
        Topic::new(TopicKind::Room, name, Keys::new(KEYS))
    }

    /// The table, and what the connections would know: who is placed where.
    struct Table {
        members: Members,
        topic: u32,
        places: Vec<(u32, u32)>,
    }

    impl Table {
        fn new() -> Table {
            let mut members = Members::new(Keys::new(KEYS));
            let topic = members.hold(&topic("a")).topic;
            Table { members, topic, places: Vec::new() }
        }

        fn come(&mut self, slot: u32) {
            self.members.hold(&topic("a"));
            let position = self.members.place(self.topic, slot);
            self.places.push((slot, position));
            self.check();
        }

        /// The `nth` of those who are there leaves, as `shard::edge` does it.
        fn go(&mut self, nth: usize) {
            let (_, position) = self.places.swap_remove(nth);
            if let Some(moved) = self.members.displace(self.topic, position) {
                self.tell(moved, position);
            }
            self.members.release(self.topic);
            self.check();
        }

        fn tell(&mut self, slot: u32, position: u32) {
            let moved = self.places.iter_mut().find(|(known, _)| *known == slot);
            moved.expect("only members move").1 = position;
        }

        fn begin_job(&mut self) {
            self.members.topic_mut(self.topic).jobs.push_back(Job::Answering);
        }

        fn end_job(&mut self) {
            self.members.topic_mut(self.topic).jobs.clear();
            let mut moves = Vec::new();
            self.members.compact(self.topic, |slot, position| moves.push((slot, position)));
            for (slot, position) in moves {
                self.tell(slot, position);
            }
            self.check();
        }

        fn check(&self) {
            let local = self.members.topic(self.topic);
            let vacant = local.list.iter().filter(|slot| **slot == VACANT).count();
            assert_eq!(vacant, local.vacant as usize);
            assert_eq!(local.list.len() - vacant, self.places.len());
            assert_eq!(local.holders as usize, self.places.len() + 1, "one holder is not placed");
            for (slot, position) in &self.places {
                assert_eq!(local.list[*position as usize], *slot);
            }
            assert!(vacant == 0 || !local.jobs.is_empty(), "gaps are open only while a cursor may walk");
        }
    }

    #[test]
    fn the_last_member_moves_to_the_place_of_who_leaves() {
        let mut table = Table::new();
        (10..14).for_each(|slot| table.come(slot));
        assert_eq!(table.members.displace(table.topic, 3), None, "nobody is behind the last");
        assert_eq!(table.members.displace(table.topic, 0), Some(12));
        assert_eq!(table.members.topic(table.topic).list, [12, 11]);
    }

    #[test]
    fn positions_stand_still_while_a_fan_out_is_under_way() {
        let mut table = Table::new();
        (10..14).for_each(|slot| table.come(slot));
        table.begin_job();
        table.go(0);
        table.go(0);
        table.come(20);
        assert_eq!(table.members.topic(table.topic).list, [VACANT, 11, 12, VACANT, 20]);
        table.end_job();
        assert_eq!(table.members.topic(table.topic).list, [11, 12, 20]);
    }

    #[test]
    fn a_topic_is_known_while_it_is_held_or_has_jobs() {
        let mut members = Members::new(Keys::new(KEYS));
        let (first, second) = (members.hold(&topic("a")), members.hold(&topic("a")));
        assert_eq!(first.topic, second.topic);
        assert_ne!(members.hold(&topic("b")).topic, first.topic);
        members.release(first.topic);
        assert_eq!(members.find(&topic("a")), Some(first.topic));
        members.topic_mut(first.topic).jobs.push_back(Job::Answering);
        members.release(first.topic);
        assert_eq!(members.find(&topic("a")), Some(first.topic), "somebody works on it");
        members.topic_mut(first.topic).jobs.clear();
        members.forget_unheld(first.topic);
        assert_eq!(members.find(&topic("a")), None);
        assert_eq!(members.len(), 1);
    }

    proptest! {
        #[test]
        fn memberships_are_a_list(acts in prop::collection::vec((any::<bool>(), any::<usize>()), 0..60)) {
            let mut members = Members::new(Keys::new(KEYS));
            let (mut memberships, mut list) = (Memberships::default(), Vec::new());
            for (more, choice) in acts {
                if more || list.is_empty() {
                    let one = members.hold(&topic(&list.len().to_string()));
                    memberships.push(one);
                    list.push(one.topic);
                } else {
                    let at = choice % list.len();
                    prop_assert_eq!(memberships.swap_remove(at).topic, list.swap_remove(at));
                }
                prop_assert!(memberships.iter().map(|one| one.topic).eq(list.iter().copied()));
                prop_assert_eq!(matches!(memberships, Memberships::None), list.is_empty());
                prop_assert_eq!(matches!(memberships, Memberships::Many(_)), list.len() > 1);
            }
        }

        #[test]
        fn everybody_is_where_they_believe_to_be(acts in prop::collection::vec((0..4_u8, any::<usize>()), 0..200)) {
            let mut table = Table::new();
            let mut next = 0;
            for (act, choice) in acts {
                match act {
                    0 => table.begin_job(),
                    1 => table.end_job(),
                    2 if !table.places.is_empty() => table.go(choice % table.places.len()),
                    _ => {
                        table.come(next);
                        next += 1;
                    }
                }
            }
            table.end_job();
            while !table.places.is_empty() {
                table.go(0);
            }
        }
    }
}
