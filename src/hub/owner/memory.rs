//! How long topics are kept that nobody is in, and what all histories may cost together.
//!
//! Forgets only what no member holds, or the oldest part of a history: a numbering with members goes on.

use std::collections::BTreeSet;

use slab::Slab;

use crate::base::clock::{Mono, Now};
use crate::hub::name::TopicKind;
use crate::hub::owner::{Held, Idle, Owner};
use crate::hub::table::shrink_if_sparse;

/// Neighbours among which a victim is looked for when histories exceed their sum: enough that the largest
/// of them is large, few enough to look at on every publication.
const SAMPLE: usize = 8;

impl Owner {
    /// Decides what becomes of a topic that may have no member, or a newer history: kept while it remembers
    /// something or a user may come back, forgotten at once otherwise.
    pub(super) fn settle(&mut self, slot: u32, now: Now) {
        self.settle_at(slot, now.mono);
    }

    /// As [`Owner::settle`], where only this clock is at hand.
    pub(super) fn settle_at(&mut self, slot: u32, now: Mono) {
        if self.records[slot as usize].record.members_count() > 0 {
            return;
        }
        self.rouse(slot);
        let held = &mut self.records[slot as usize];
        let policy = self.policies.row(held.record.row());
        let remembered = held.record.expiry(now, policy);
        // Whoever lingers has so long at most.
        let awaited = (held.record.user_count() > 0).then(|| now + self.policies.presence_grace);
        match remembered.max(awaited) {
            Some(until) => {
                held.idle = Some(Idle { since: now, until });
                let kind = held.record.topic().kind();
                self.idle_of(kind).insert((until, slot));
                if remembered.is_some() && kind != TopicKind::Document {
                    self.unused.insert((now, slot));
                }
                self.weigh(slot);
            }
            None => self.remove(slot),
        }
    }

    /// A topic without members is not idle any more.
    pub(super) fn rouse(&mut self, slot: u32) {
        let held = &mut self.records[slot as usize];
        if let Some(Idle { since, until }) = held.idle.take() {
            let kind = held.record.topic().kind();
            self.idle_of(kind).remove(&(until, slot));
            self.unused.remove(&(since, slot));
        }
    }

    fn idle_of(&mut self, kind: TopicKind) -> &mut BTreeSet<(Mono, u32)> {
        if kind == TopicKind::Document { &mut self.idle_documents } else { &mut self.idle }
    }

    /// Takes the change of what a topic remembers into the sum of its like.
    pub(super) fn weigh(&mut self, slot: u32) {
        let held = &mut self.records[slot as usize];
        let bytes = held.record.bytes();
        let sum = self.counts.sum_of(held.record.topic().kind());
        *sum = *sum - held.bytes + bytes;
        held.bytes = bytes;
    }

    /// Whether a topic without members has users who may come back.
    pub(super) fn is_awaited(&self, slot: u32) -> bool {
        self.records[slot as usize].record.user_count() > 0
    }

    /// Forgets a topic that has neither members nor users, and gives memory back.
    pub(super) fn remove(&mut self, slot: u32) {
        self.rouse(slot);
        self.uncounted.cancel(slot);
        let held = self.records.remove(slot as usize);
        debug_assert_eq!((held.record.members_count(), held.record.user_count()), (0, 0));
        *self.counts.sum_of(held.record.topic().kind()) -= held.bytes;
        self.counts.topics -= 1;
        self.counts.by_kind[held.record.topic().kind() as usize] -= 1;
        if held.record.topic().kind() == TopicKind::Inbox {
            self.inbox_floor = self.inbox_floor.max(held.record.head());
        }
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
    /// nobody is in, the least recently used first; then the oldest half of the largest history among the
    /// publisher and the next few topics in the table, which takes most from whoever fills most and stays cheap.
    pub(super) fn fit_histories(&mut self, publisher: u32) {
        let max = self.policies.history_bytes_total_max;
        while let Some(excess) = self.counts.history_bytes.checked_sub(max).filter(|excess| *excess > 0) {
            self.counts.evicted += 1;
            if let Some((since, slot)) = self.unused.pop_first() {
                if self.is_awaited(slot) {
                    debug_assert!(self.records[slot as usize].idle.is_some_and(|idle| idle.since == since));
                    self.records[slot as usize].record.clear_history();
                    self.note_trimmed(slot);
                    self.weigh(slot);
                } else {
                    self.remove(slot);
                }
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

    /// Asserts what must hold of a topic that is idle, or not.
    pub(super) fn check_idle(&self, slot: u32, held: &Held) {
        let record = &held.record;
        assert_eq!(held.idle.is_some(), record.members_count() == 0, "idle exactly while without members");
        let Some(Idle { since, until }) = held.idle else { return };
        assert!(record.bytes() > 0 || record.user_count() > 0, "held for a reason");
        let document = record.topic().kind() == TopicKind::Document;
        let idle = if document { &self.idle_documents } else { &self.idle };
        assert!(idle.contains(&(until, slot)));
        let can_go = record.bytes() > 0 && !document;
        assert_eq!(self.unused.contains(&(since, slot)), can_go, "what remembers can be forgotten");
    }

    /// Asserts that what is in order of time is there, and nothing else.
    pub(super) fn check_orders(&self) {
        let idle = self.records.iter().filter(|(_, held)| held.idle.is_some()).count();
        assert_eq!(idle, self.idle.len() + self.idle_documents.len());
        assert!(self.unused.len() <= self.idle.len());
        self.grace.check();
        self.uncounted.check();
    }
}
