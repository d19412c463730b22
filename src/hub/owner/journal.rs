//! What an owner writes to its journal, and how it begins with what a store has kept.

use std::sync::Arc;

use crate::base::clock::Now;
use crate::hub::document::Applied;
use crate::hub::event::Publication;
use crate::hub::journal::{Durability, Entry, Journal, Reach};
use crate::hub::name::Topic;
use crate::hub::operation::Operation;
use crate::hub::owner::Owner;
use crate::hub::stored::{Content, Restored};
use crate::hub::topic::Record;

/// Outcomes that may wait for the store before the owner takes no more requests.
const OUTCOMES_HELD_MAX: usize = 16 << 10;

impl Owner {
    /// From now on everything that is remembered is written to a journal.
    pub fn keep_journal(&mut self, durability: Durability) {
        self.journal = match durability {
            Durability::Off => None,
            Durability::Async => Some(Journal::new(false)),
            Durability::Sync => Some(Journal::new(true)),
        };
    }

    /// Takes over where the numbers of new inboxes begin: before the first topic.
    pub fn restore_inbox_floor(&mut self, floor: u64) {
        self.inbox_floor = self.inbox_floor.max(floor);
    }

    /// Takes over a topic that a store has kept; what has reached its age meanwhile is left out. What is left may
    /// stay for its whole age once more, as the clock that decides ages begins with the process.
    pub fn restore(&mut self, restored: Restored, now: Now) {
        let Restored { topic, content } = restored;
        let row = self.policies.find(topic.kind(), topic.name());
        let known = self.slots.contains_key(&topic);
        debug_assert!(!known, "topics are restored before anybody asks for them");
        let policy = self.policies.row(row);
        if known || !policy.durable {
            return;
        }
        match content {
            Content::Text { version, text } => self.restore_text(&topic, &text, version, now),
            Content::History { .. } if !policy.numbered => {}
            Content::History { epoch, head, acknowledged, mut publications } => {
                let age = u64::try_from(policy.history_age.as_millis()).unwrap_or(u64::MAX);
                // From the front only: should the clock have been set back, there must be no hole.
                let old =
                    |publication: &&Arc<Publication>| publication.time.0.saturating_add(age) <= now.wall.0;
                let aged = publications.iter().take_while(old).count();
                let kept = Reach { first: head + 1 - publications.len() as u64, acknowledged };
                publications.drain(..aged);
                let slot = self.hold(&topic, epoch, row);
                let record = &mut self.records[slot as usize].record;
                record.restore((head, acknowledged), publications, now.mono, self.policies.row(row));
                let news = record.reach() != kept;
                self.weigh(slot);
                if news {
                    self.note_trimmed(slot);
                }
                self.settle(slot, now);
                self.fit_histories(slot);
            }
        }
    }

    fn restore_text(&mut self, topic: &Topic, text: &str, version: u64, now: Now) {
        let row = self.policies.find(topic.kind(), topic.name());
        let slot = self.hold(topic, Arc::clone(&self.no_epoch), row);
        self.records[slot as usize].record.restore_text(text, version, self.policies.row(row));
        self.weigh(slot);
        self.settle(slot, now);
        // All are idle: there is always one that can go.
        self.make_room(0, None);
    }

    /// What is to be stored since this was asked last, if anything is.
    pub fn cut_journal(&mut self) -> Option<Vec<Entry>> {
        self.journal.as_mut()?.cut()
    }

    /// The oldest batch of [`Owner::cut_journal`] is safe: more may be polled.
    pub fn stored(&mut self) {
        if let Some(journal) = &mut self.journal {
            journal.stored();
        }
    }

    /// Whether the store is too far behind to take more requests.
    #[must_use]
    pub fn is_ahead_of_store(&self) -> bool {
        let full = |journal: &Journal| journal.is_full() || self.outcomes.len() > OUTCOMES_HELD_MAX;
        self.journal.as_ref().is_some_and(full)
    }

    /// Whether everything is stored that has to be.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.journal.as_ref().is_none_or(Journal::is_safe)
    }

    pub(super) fn note_published(&mut self, slot: u32, publication: &Arc<Publication>) {
        let Some(journal) = &mut self.journal else { return };
        let record = &mut self.records[slot as usize].record;
        let policy = self.policies.row(record.row());
        if policy.durable && policy.history_messages_max > 0 {
            record.mark_stored();
            let entry = Entry::Published {
                topic: record.topic().clone(),
                epoch: Arc::clone(record.epoch()),
                publication: Arc::clone(publication),
                reach: record.reach(),
            };
            journal.write(entry, self.polled + self.outcomes.len() as u64);
        }
    }

    pub(super) fn note_trimmed(&mut self, slot: u32) {
        let Some(journal) = &mut self.journal else { return };
        let record = &self.records[slot as usize].record;
        if record.is_stored() {
            let entry = Entry::Trimmed { topic: record.topic().clone(), reach: record.reach() };
            journal.write(entry, self.polled + self.outcomes.len() as u64);
        }
    }

    /// To be called before anybody is told.
    pub(super) fn note_edited(&mut self, slot: u32, applied: &Applied) {
        let Some(journal) = &mut self.journal else { return };
        let record = &mut self.records[slot as usize].record;
        let (topic, outcomes) = (record.topic().clone(), self.polled + self.outcomes.len() as u64);
        let Some(pad) = record.pad_mut() else { return };
        let parts = applied.operations.len() as u64;
        let mut whole = None;
        for (version, operation) in (applied.version + 1 - parts..).zip(&applied.operations) {
            let inserted = if let Operation::Insert { text, .. } = operation { text.len() } else { 0 };
            whole = pad.store_edit(inserted).or(whole);
            let (topic, operation) = (topic.clone(), operation.clone());
            journal.write(Entry::Edited { topic, version, operation }, outcomes);
        }
        if let Some(text) = whole {
            journal.write(Entry::Written { topic, version: applied.version, text }, outcomes);
        }
        if parts > 0 {
            record.mark_stored();
        }
    }

    pub(super) fn note_forgotten(&mut self, record: &Record) {
        let Some(journal) = &mut self.journal else { return };
        if record.is_stored() {
            let entry = Entry::Forgotten { topic: record.topic().clone() };
            journal.write(entry, self.polled + self.outcomes.len() as u64);
        }
    }
}

#[cfg(test)]
mod tests;
