//! Which local connections are in which topic, both ways, and what is on its way to them.
//!
//! The owner of a topic decides who is a member; this table only says whom to deliver to here. Each
//! connection keeps a [`Membership`] per topic with its place in the topic's list, so that leaving is a swap
//! with the last member, whatever the size of the room.
//!
//! Invariant: `topics[m.topic].list[m.position] == slot` for each placed membership `m` of the connection in
//! `slot`, and each entry of a list that is not vacant has such a membership.

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

use crate::base::hash::{Keys, Map};
use crate::base::id::{Origin, index32};
use crate::hub::command::Tag;
use crate::hub::event::Reply;
use crate::hub::name::Topic;
use crate::shard::outbox::Delivery;

/// In `Topic::list`: the member left while a fan-out was under way. In [`Membership::position`]: not placed yet.
pub(crate) const VACANT: u32 = u32::MAX;

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
    /// Entries of the member list visited.
    pub(crate) cursor: usize,
    /// Entries that the list had when this fan-out began.
    pub(crate) end: usize,
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
    /// Joins that the owner has not answered yet.
    pub(crate) joins_pending: u32,
}

/// All topics with connections here.
pub(crate) struct Members {
    by_topic: Map<Topic, u32>,
    topics: Slab<LocalTopic>,
}

/// The upper half of a topic's hash.
pub(crate) fn high(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl Members {
    pub(crate) fn new(keys: Keys) -> Members {
        Members { by_topic: Map::with_hasher(keys), topics: Slab::new() }
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
                    jobs: VecDeque::new(),
                }));
                self.by_topic.insert(topic.clone(), fresh);
                fresh
            }
        };
        self.topics[index as usize].holders += 1;
        Membership { topic: index, position: VACANT, hash_high: high(topic.hash()), joins_pending: 0 }
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

    /// Closes the gaps that members left during a fan-out; calls `moved(slot, position)` for each that moved.
    pub(crate) fn compact(&mut self, topic: u32, mut moved: impl FnMut(u32, u32)) {
        let entry = &mut self.topics[topic as usize];
        debug_assert!(entry.jobs.is_empty());
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
