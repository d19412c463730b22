//! What an owner writes to its journal, and how it begins with what a store has kept.

use std::sync::Arc;

use crate::base::clock::Now;
use crate::hub::event::Publication;
use crate::hub::journal::{Durability, Entry, Journal, Restored};
use crate::hub::owner::Owner;
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

    /// Takes over a topic that a store has kept; what has reached its age meanwhile is left out. What is left may
    /// stay for its whole age once more, as the clock that decides ages begins with the process.
    pub fn restore(&mut self, restored: Restored, now: Now) {
        let Restored { topic, epoch, head, mut publications } = restored;
        let row = self.policies.find(topic.kind(), topic.name());
        let policy = self.policies.row(row);
        let age = u64::try_from(policy.history_age.as_millis()).unwrap_or(u64::MAX);
        let (numbered, known) = (policy.numbered, self.slots.contains_key(&topic));
        debug_assert!(!known, "topics are restored before anybody asks for them");
        if known || !numbered {
            return;
        }
        publications.retain(|publication| publication.time.0.saturating_add(age) > now.wall.0);
        let slot = self.hold(&topic, epoch, row);
        self.records[slot as usize].record.restore(head, publications, now.mono, self.policies.row(row));
        self.weigh(slot);
        self.note_trimmed(slot);
        self.settle(slot, now);
        self.fit_histories(slot);
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
        let record = &self.records[slot as usize].record;
        if self.policies.row(record.row()).history_messages_max > 0 {
            let entry = Entry::Published {
                topic: record.topic().clone(),
                epoch: Arc::clone(record.epoch()),
                publication: Arc::clone(publication),
                first: record.first(),
            };
            journal.write(entry, self.polled + self.outcomes.len() as u64);
        }
    }

    pub(super) fn note_trimmed(&mut self, slot: u32) {
        let Some(journal) = &mut self.journal else { return };
        let record = &self.records[slot as usize].record;
        let entry = Entry::Trimmed { topic: record.topic().clone(), first: record.first() };
        journal.write(entry, self.polled + self.outcomes.len() as u64);
    }

    pub(super) fn note_forgotten(&mut self, record: &Record) {
        let Some(journal) = &mut self.journal else { return };
        if self.policies.row(record.row()).history_messages_max > 0 && record.head() > 0 {
            let entry = Entry::Forgotten { topic: record.topic().clone() };
            journal.write(entry, self.polled + self.outcomes.len() as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::shared::Shared;
    use crate::hub::command::{Ask, By, Request};
    use crate::hub::event::{Outcome, Reply};
    use crate::hub::owner::tests::{at_ms, keys, origin, policies, room, tag, user};
    use crate::hub::policy::Options;

    fn owner(durability: Durability) -> Owner {
        let policies = policies(Options::default(), usize::MAX);
        let mut owner = Owner::new(crate::base::id::ShardId(0), 3, keys(), policies);
        owner.keep_journal(durability);
        owner
    }

    fn ask(owner: &mut Owner, ask: Ask, ms: u64) {
        owner.handle(Request { topic: room("r"), origin: origin(0, 1), tag: tag("1"), ask }, at_ms(ms));
        owner.check();
    }

    fn join() -> Ask {
        Ask::Join { user: user("ann"), since: None, history: 9 }
    }

    fn publish() -> Ask {
        Ask::Publish { payload: Shared::copy_of(b"1"), by: By::Member, echo: true }
    }

    fn polled(owner: &mut Owner) -> usize {
        std::iter::from_fn(|| owner.poll()).count()
    }

    #[test]
    fn nobody_hears_of_what_is_not_stored() {
        let mut owner = owner(Durability::Sync);
        ask(&mut owner, join(), 0);
        assert_eq!(polled(&mut owner), 1, "there is nothing to store yet");
        ask(&mut owner, publish(), 0);
        ask(&mut owner, join(), 0);
        assert_eq!(polled(&mut owner), 0, "not even the answer that tells of it");
        assert_eq!(owner.cut_journal().map(|batch| batch.len()), Some(1));
        ask(&mut owner, publish(), 0);
        assert!(!owner.is_stored());
        owner.stored();
        assert_eq!(polled(&mut owner), 2);
        assert_eq!(owner.cut_journal().map(|batch| batch.len()), Some(1));
        owner.stored();
        assert_eq!(polled(&mut owner), 1);
        assert!(owner.is_stored());
    }

    /// What the journal says is what a reader has kept who only follows it.
    #[test]
    fn who_follows_the_journal_can_begin_again_with_it() {
        let mut first = owner(Durability::Async);
        ask(&mut first, join(), 0);
        for ms in 0..7 {
            ask(&mut first, publish(), ms);
        }
        let (mut kept, mut head, mut named) = (Vec::new(), 0, None);
        for entry in first.cut_journal().into_iter().flatten() {
            let Entry::Published { epoch, publication, first, .. } = entry else { panic!("{entry:?}") };
            (head, named) = (publication.offset, Some(epoch));
            kept.push(publication);
            kept.retain(|publication| publication.offset >= first);
        }
        let offsets: Vec<u64> = kept.iter().map(|publication| publication.offset).collect();
        assert_eq!(offsets, [4, 5, 6, 7], "the policy keeps four");
        let mut second = owner(Durability::Async);
        let (topic, epoch) = (room("r"), named.expect("an epoch"));
        second.restore(Restored { topic, epoch: Arc::clone(&epoch), head, publications: kept }, at_ms(6));
        second.check();
        let since = Some((5, Box::from(&*epoch)));
        ask(&mut second, Ask::Join { user: user("ann"), since, history: 0 }, 6);
        let Some((_, Outcome::Reply { reply: Reply::Joined(snapshot), .. })) = second.poll() else {
            panic!("an answer")
        };
        assert_eq!((snapshot.offset, snapshot.recovered), (7, Some(true)));
        assert_eq!(snapshot.messages.map(|messages| messages.len()), Some(2));
    }

    #[test]
    fn what_is_forgotten_is_forgotten_by_the_store_too() {
        let mut owner = owner(Durability::Async);
        ask(&mut owner, join(), 0);
        ask(&mut owner, publish(), 0);
        ask(&mut owner, Ask::Leave, 0);
        owner.cut_journal();
        owner.expire(owner.next_expiry().expect("the history has an age"));
        let last = owner.cut_journal().and_then(|mut batch| batch.pop());
        assert!(matches!(last, Some(Entry::Forgotten { .. })), "{last:?}");
    }
}
