//! What moderators do: they end memberships, keep users out or quiet for a time, and have histories forgotten.
//!
//! The owner of a room decides, between other requests: a join that is under way finds the ban, or its member is
//! kicked.
//! Moderators are out of each other's reach; only the operator makes them.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Mono, Now};
use crate::hub::command::Act;
use crate::hub::event::{Cleared, Event, Outcome, Refusal, Reply};
use crate::hub::moderation::Measure;
use crate::hub::name::{Topic, User};
use crate::hub::owner::{Asker, Owner};

/// What a client is told to wait until then.
fn wait_ms(until: Mono, now: Mono) -> u64 {
    u64::try_from(until.since(now).as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

impl Owner {
    /// Why a user may not join; none if it may.
    pub(super) fn banned(&self, topic: &Topic, user: &User, now: Now) -> Option<Refusal> {
        let until = self.sanctions.until(topic, Measure::Ban, &user.id, now.mono)?;
        Some(Refusal::Banned { retry_after_ms: wait_ms(until, now.mono) })
    }

    /// Why a member may not publish; none if it may.
    pub(super) fn muted(&self, topic: &Topic, user: &User, now: Now) -> Option<Refusal> {
        let until = self.sanctions.until(topic, Measure::Mute, &user.id, now.mono)?;
        Some(Refusal::Muted { retry_after_ms: wait_ms(until, now.mono) })
    }

    /// Does what a moderator wants done; `by_right`: the asker's token makes it one.
    pub(super) fn moderate(&mut self, asker: Asker, act: Act, by_right: bool, now: Now) {
        let Some(slot) = self.slot_of_member(&asker) else {
            return self.refuse(asker, Refusal::NotMember);
        };
        let by = self.records[slot as usize].record.member(asker.origin).cloned();
        let Some(by) = by.filter(|user| by_right || self.policies.is_moderator(&asker.topic, &user.id))
        else {
            return self.reply(asker, Reply::Refused(Refusal::Forbidden));
        };
        if by_right {
            self.appointed.set(slot, asker.origin, true); // as it said when it came
        }
        let imposed = match &act {
            Act::Kick { user_id, seconds } => self.impose(slot, Measure::Ban, user_id, *seconds, now),
            Act::Mute { user_id, seconds } => self.impose(slot, Measure::Mute, user_id, *seconds, now),
            Act::ClearHistory => {
                // Before the answer, which must not come before it is so on disk, too.
                self.records[slot as usize].record.clear_history();
                self.note_trimmed(slot);
                self.weigh(slot);
                Ok(())
            }
        };
        if let Err(refusal) = imposed {
            return self.reply(asker, Reply::Refused(refusal));
        }
        if asker.tag.is_some() {
            self.reply(asker, Reply::Accepted { offset: 0 });
        }
        match act {
            Act::Kick { user_id, seconds } => self.kick(slot, &by, &user_id, seconds, now),
            Act::Mute { user_id, seconds } => self.mute(slot, &by, &user_id, seconds),
            Act::ClearHistory => {
                let offset = self.records[slot as usize].record.head();
                self.tell_all(slot, &Event::HistoryCleared(Arc::new(Cleared { by, offset })));
            }
        }
    }

    /// Lets a measure hold from now on, or no longer. What was imposed last counts.
    fn impose(
        &mut self,
        slot: u32,
        measure: Measure,
        user_id: &str,
        seconds: u64,
        now: Now,
    ) -> Result<(), Refusal> {
        if self.is_moderator(slot, user_id) {
            return Err(Refusal::Forbidden);
        }
        let topic = self.records[slot as usize].record.topic();
        if seconds == 0 {
            self.sanctions.lift(topic, measure, user_id);
            return Ok(());
        }
        let until = now.mono + Duration::from_secs(seconds);
        self.sanctions.impose(topic, measure, user_id, until).map_err(|_| Refusal::Unavailable)
    }

    /// Ends all memberships of a user, at once and for good: there is no grace.
    fn kick(&mut self, slot: u32, by: &Arc<User>, user_id: &str, seconds: u64, now: Now) {
        let record = &mut self.records[slot as usize].record;
        let Some((place, origins)) = record.connections_of(user_id) else { return };
        let (topic, before) = (record.topic().clone(), record.members_count());
        let mut gone = None;
        if self.grace.cancel((slot, place)) {
            gone = Some(record.lapse(place).0);
        }
        for origin in origins {
            let reply = Reply::Kicked { by: Arc::clone(by), seconds };
            let told = Outcome::Reply { topic: topic.clone(), origin, tag: None, reply };
            self.outcomes.push_back((origin.shard, told));
            self.appointed.forget(slot, origin);
            gone = record
                .leave(origin, false)
                .filter(|departure| departure.last)
                .map(|departure| departure.user);
        }
        let after = record.members_count();
        self.count_members(topic.kind(), before, after);
        if let Some(user) = gone {
            self.tell_of_departure(slot, user, None, now.mono);
        }
        debug_assert!(after > 0, "the moderator is still there");
    }

    /// Tells all connections of a user that nothing of theirs is taken.
    fn mute(&mut self, slot: u32, by: &Arc<User>, user_id: &str, seconds: u64) {
        let record = &self.records[slot as usize].record;
        let Some((_, origins)) = record.connections_of(user_id) else { return };
        for origin in origins {
            let (topic, reply) = (record.topic().clone(), Reply::Muted { by: Arc::clone(by), seconds });
            self.outcomes.push_back((origin.shard, Outcome::Reply { topic, origin, tag: None, reply }));
        }
    }
}
