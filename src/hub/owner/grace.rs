//! Who goes: at once, or after a time in which a user may come back as if nothing had been.
//!
//! A page that is loaded anew leaves and joins within a second; without a grace, everybody is told of it twice. Only
//! what the others are told waits: connections are counted, limited and delivered to as they are.

use crate::base::clock::{Mono, Now};
use crate::base::id::Origin;
use crate::hub::owner::{EXPIRED_PER_CALL_MAX, Owner};

/// Most users of one owner whose return is waited for; whoever leaves beyond that is gone at once. So clients that
/// join and leave under ever new names cost no more than some twenty megabytes.
pub(super) const LINGERING_MAX: usize = 100_000;

impl Owner {
    /// Ends the membership of a member, and tells those who stay if a user is gone with it.
    pub(super) fn part(&mut self, slot: u32, origin: Origin, now: Now) {
        let grace = self.policies.presence_grace;
        let record = &mut self.records[slot as usize].record;
        let policy = self.policies.row(record.row());
        let lingers =
            !grace.is_zero() && policy.presence && policy.crowds && self.grace.len() < LINGERING_MAX;
        let Some(departure) = record.leave(origin, lingers) else {
            debug_assert!(false, "asked for members only");
            return;
        };
        let (kind, members_count) = (record.topic().kind(), record.members_count());
        self.count_members(kind, members_count + 1, members_count);
        let resigned = self.appointed.forget(slot, origin)
            && !departure.last
            && !self.is_moderator(slot, &departure.user.id);
        if let Some(place) = departure.lingers {
            self.grace.plan((slot, place), now.mono + grace);
        } else if departure.last {
            self.tell_of_departure(slot, departure.user, Some(origin), now.mono);
        }
        if resigned {
            self.tell_roles(slot);
        }
        self.weigh(slot);
        self.settle(slot, now);
    }

    /// A user who was here has one more connection, and need not be waited for any longer.
    pub(super) fn welcome_back(&mut self, slot: u32, origin: Origin) {
        if self.grace.is_empty() {
            return;
        }
        let record = &mut self.records[slot as usize].record;
        if let Some(place) = record.place(origin).filter(|place| self.grace.cancel((slot, *place))) {
            record.lapse(place);
        }
    }

    /// Users are gone who have not come back in time.
    pub(super) fn lapse(&mut self, now: Mono) {
        for _ in 0..EXPIRED_PER_CALL_MAX {
            let Some((slot, place)) = self.grace.take(now) else { return };
            let (user, gone) = self.records[slot as usize].record.lapse(place);
            debug_assert!(gone, "who comes back is not waited for");
            self.tell_of_departure(slot, user, None, now);
            self.settle_at(slot, now);
        }
    }
}
