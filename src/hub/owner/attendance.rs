//! Who is told of whom: each user who comes or goes, while they are few enough to be told of one by one; only how
//! many there are, and that once in a while, in a crowd.
//!
//! In a room of n, each user who comes is a message to each of n: n² for all of them. So a crowd costs each member
//! one message a second, however many come and go.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Mono;
use crate::base::id::Origin;
use crate::hub::event::{Attendance, Event, Outcome, Roll, Sender};
use crate::hub::name::User;
use crate::hub::owner::{EXPIRED_PER_CALL_MAX, Owner};
use crate::hub::topic::{Crossing, Record};

/// Time between two countings of a crowd: people do not read faster.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

impl Owner {
    /// The users of a topic, where they are few enough to be listed.
    pub(super) fn roll(&self, slot: u32) -> Roll {
        let record = &self.records[slot as usize].record;
        let users = record.listed_users(self.policies.row(record.row()));
        let moderators = self.moderators(slot, &users);
        Roll { users, moderators }
    }

    /// Tells the others of a user's first connection: by `event`, where users are few.
    pub(super) fn tell_of_arrival(
        &mut self,
        slot: u32,
        event: Event,
        crossing: Option<Crossing>,
        origin: Origin,
        now: Mono,
    ) {
        let record = &self.records[slot as usize].record;
        if !self.policies.row(record.row()).presence {
            return;
        }
        let event = match crossing {
            Some(_) => self.attendance(slot),
            None if record.is_crowded() => return self.count_later(slot, now),
            None => event,
        };
        self.tell(slot, &event, Sender { origin, copy: None });
    }

    /// Tells those who stay that a user is gone; `origin` is the connection with which the user went, if there was
    /// one.
    pub(super) fn tell_of_departure(
        &mut self,
        slot: u32,
        user: Arc<User>,
        origin: Option<Origin>,
        now: Mono,
    ) {
        let record = &mut self.records[slot as usize].record;
        let policy = self.policies.row(record.row());
        let crossing = if policy.crowds { record.recount(self.policies.presence_list_max) } else { None };
        let members_count = record.members_count();
        if !policy.presence {
            return;
        }
        let event = match crossing {
            Some(_) => {
                self.uncounted.cancel(slot);
                self.attendance(slot)
            }
            None if record.is_crowded() => return self.count_later(slot, now),
            None => Event::UserLeft { user, members_count },
        };
        match origin {
            Some(origin) => self.tell(slot, &event, Sender { origin, copy: None }),
            None => self.tell_all(slot, &event),
        }
    }

    /// Tells all members, whoever caused it.
    pub(super) fn tell_all(&mut self, slot: u32, event: &Event) {
        let record = &self.records[slot as usize].record;
        for (shard, _) in record.shards() {
            let (topic, event) = (record.topic().clone(), event.clone());
            self.outcomes.push_back((*shard, Outcome::Deliver { topic, event, sender: None }));
        }
    }

    /// How many there are, and who, where they are few enough.
    pub(super) fn attendance(&self, slot: u32) -> Event {
        let record = &self.records[slot as usize].record;
        let roll = (!record.is_crowded()).then(|| self.roll(slot));
        let (members_count, user_count) = (record.members_count(), record.user_count());
        Event::Attendance(Arc::new(Attendance { members_count, user_count, roll }))
    }

    /// Has a crowd counted before long, if that is not planned anyway.
    fn count_later(&mut self, slot: u32, now: Mono) {
        if !self.uncounted.has(slot) {
            self.uncounted.plan(slot, now + COUNT_INTERVAL);
        }
    }

    /// Tells the members of crowds how many they are, where that is due.
    pub(super) fn count_crowds(&mut self, now: Mono) {
        for _ in 0..EXPIRED_PER_CALL_MAX {
            let Some(slot) = self.uncounted.take(now) else { return };
            let event = self.attendance(slot);
            self.tell_all(slot, &event);
        }
    }

    /// Asserts that users are a crowd when they are too many, and only then.
    pub(super) fn check_attendance(&self, slot: u32, record: &Record) {
        let crowds = self.policies.row(record.row()).crowds;
        let max = if crowds { self.policies.presence_list_max } else { u32::MAX };
        assert!(record.is_crowded() || record.user_count() <= max, "a crowd that is not seen as one");
        assert!(!record.is_crowded() || record.user_count() > 0, "nobody is a crowd");
        assert!(!self.uncounted.has(slot) || record.is_crowded(), "only crowds are counted");
    }
}
