//! Who moderates a room by its token: known for as long as the connection that showed it is in the room.
//!
//! The edge reads tokens and says so with each join, and again when another token changes it. Those whom the operator
//! appoints by name are in the policies; together they are a room's moderators. Judges no token.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::id::Origin;
use crate::hub::name::{TopicKind, User};
use crate::hub::owner::{Asker, Owner};

/// The connections that moderate the room of a slot.
#[derive(Debug, Default)]
pub(super) struct Appointed(BTreeMap<u32, BTreeSet<Origin>>);

impl Appointed {
    /// A connection is gone from a room. Whether it moderated there.
    pub(super) fn forget(&mut self, slot: u32, origin: Origin) -> bool {
        // Without tokens, or moderators among them, this is all.
        let Some(here) = self.0.get_mut(&slot) else { return false };
        let known = here.remove(&origin);
        if here.is_empty() {
            self.0.remove(&slot);
        }
        known
    }

    /// Notes what the token of a connection says of a room. Whether that is news.
    pub(super) fn set(&mut self, slot: u32, origin: Origin, moderates: bool) -> bool {
        if moderates {
            return self.0.entry(slot).or_default().insert(origin);
        }
        self.forget(slot, origin)
    }

    fn here(&self, slot: u32) -> impl Iterator<Item = Origin> {
        self.0.get(&slot).into_iter().flatten().copied()
    }
}

impl Owner {
    /// Whether a user moderates the topic at `slot`.
    pub(super) fn is_moderator(&self, slot: u32, user_id: &str) -> bool {
        let record = &self.records[slot as usize].record;
        self.policies.is_moderator(record.topic(), user_id)
            || self.appointed.here(slot).any(|by| record.member(by).is_some_and(|user| *user.id == *user_id))
    }

    /// Which of `users` moderate the topic at `slot`: their places, in order.
    pub(super) fn moderators(&self, slot: u32, users: &[Arc<User>]) -> Vec<u32> {
        let record = &self.records[slot as usize].record;
        let named = self.policies.moderators(record.topic(), users);
        let here = self.appointed.here(slot).filter_map(|origin| record.member(origin));
        let shown: BTreeSet<&str> = here.map(|user| &*user.id).collect();
        if shown.is_empty() {
            return named;
        }
        let is_one = |(place, user): &(u32, &Arc<User>)| {
            named.binary_search(place).is_ok() || shown.contains(&*user.id)
        };
        (0..).zip(users).filter(is_one).map(|(place, _)| place).collect()
    }

    /// Notes what the token of a member says. Whether its user is a moderator by that and was none, or the other way.
    pub(super) fn note_right(&mut self, slot: u32, origin: Origin, moderates: bool) -> bool {
        let record = &self.records[slot as usize].record;
        let user = record.member(origin).filter(|_| record.topic().kind() == TopicKind::Room).cloned();
        let Some(user) = user else { return false };
        let before = self.is_moderator(slot, &user.id);
        self.appointed.set(slot, origin, moderates) && before != self.is_moderator(slot, &user.id)
    }

    /// Another token of a member says that it moderates, or does so no more.
    pub(super) fn appoint(&mut self, asker: &Asker, moderates: bool) {
        if let Some(slot) = self.slot_of_member(asker)
            && self.note_right(slot, asker.origin, moderates)
        {
            self.tell_roles(slot);
        }
    }

    /// Who was there already is a moderator now, or none any more: all are told who is there, where they are told of
    /// users at all.
    pub(super) fn tell_roles(&mut self, slot: u32) {
        let record = &self.records[slot as usize].record;
        if self.policies.row(record.row()).presence && !record.is_crowded() {
            let event = self.attendance(slot);
            self.tell_all(slot, &event);
        }
    }

    /// Asserts that all who moderate by a token are there.
    pub(super) fn check_appointed(&self) {
        for (slot, here) in &self.appointed.0 {
            assert!(!here.is_empty(), "nobody moderates the room at {slot}");
            for origin in here {
                let record = &self.records[*slot as usize].record;
                assert!(record.is_member(*origin), "{origin:?} moderates {:?} from outside", record.topic());
            }
        }
    }
}
