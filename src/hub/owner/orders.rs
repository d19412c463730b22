//! What the application behind this server orders: it is no member of anything, and answered all the same.
//!
//! Every name of a topic is one that can be asked about: one that is not held has no members, no history and no
//! numbering. Only publishing creates.

use std::sync::Arc;

use crate::base::clock::Now;
use crate::base::shared::Shared;
use crate::hub::command::Order;
use crate::hub::event::{Body, Outcome, Roll, Sender, Stamp, Told};
use crate::hub::name::{Topic, TopicKind, User};
use crate::hub::owner::{Asker, Owner};
use crate::hub::stamps::Known;
use crate::hub::topic::fresh;

impl Owner {
    /// Does what is ordered, and answers.
    pub(super) fn order(&mut self, asker: Asker, number: u32, order: Order, now: Now) {
        let told = match order {
            Order::Post { user, payload, mark } => self.post(&asker, user, payload, mark, now),
            Order::Standing => self.standing(&asker.topic),
            Order::Users { limit } => self.users_for(&asker.topic, limit),
            Order::History { limit, before } => self.history_for(&asker.topic, limit, before, now),
        };
        let Asker { topic, origin, .. } = asker;
        self.outcomes
            .push_back((origin.shard, Outcome::Told { topic, origin, number, told: Box::new(told) }));
    }

    /// Publishes, unless that was done before.
    fn post(
        &mut self,
        asker: &Asker,
        user: Arc<User>,
        payload: Shared,
        mark: Option<u128>,
        now: Now,
    ) -> Told {
        let Some(mark) = mark else { return Told::Posted(self.post_new(asker, user, payload, now)) };
        let content = self.keys.hash(&(&*user.id, user.name.as_deref(), &*payload));
        match self.stamps.find(mark, content, now.mono) {
            Known::Done(stamp) => Told::Posted(stamp.clone()),
            Known::Taken => Told::MarkTaken,
            Known::New => {
                let stamp = self.post_new(asker, user, payload, now);
                self.stamps.keep(mark, content, stamp.clone(), now.mono);
                Told::Posted(stamp)
            }
        }
    }

    /// As a member's publication, but the publisher is reached by the answer only.
    fn post_new(&mut self, asker: &Asker, user: Arc<User>, payload: Shared, now: Now) -> Stamp {
        let topic = &asker.topic;
        let (content, sender) = ((payload, Body::Value), Sender { origin: asker.origin, copy: None });
        let slot = self.slots.get(topic).copied();
        let numbered = self.policies.row(self.policies.find(topic.kind(), topic.name())).numbered;
        let slot = if numbered { slot.or_else(|| Some(self.create(topic))) } else { slot };
        let Some(slot) = slot else {
            self.spread((topic, None), fresh(0, user, content, now), sender, true, now);
            return Stamp { offset: 0, epoch: Arc::clone(&self.no_epoch), delivered: 0 };
        };
        let epoch = Arc::clone(self.records[slot as usize].record.epoch());
        let publication = self.issue(slot, user, content, now);
        let offset = publication.offset;
        let delivered = if topic.kind() == TopicKind::Inbox {
            self.send_to_user((topic, slot), &publication, None, now);
            0
        } else {
            self.spread((topic, Some(slot)), publication, sender, true, now)
        };
        Stamp { offset, epoch, delivered }
    }

    fn standing(&self, topic: &Topic) -> Told {
        let Some(slot) = self.slots.get(topic) else {
            return Told::Standing { members_count: 0, user_count: 0, offset: 0, epoch: None };
        };
        let record = &self.records[*slot as usize].record;
        Told::Standing {
            members_count: record.members_count(),
            user_count: record.user_count(),
            offset: record.head(),
            epoch: Some(Arc::clone(record.epoch())),
        }
    }

    fn users_for(&self, topic: &Topic, limit: u32) -> Told {
        let Some(slot) = self.slots.get(topic) else {
            return Told::Users { members_count: 0, user_count: 0, roll: Roll::default() };
        };
        let record = &self.records[*slot as usize].record;
        let (members_count, user_count) = (record.members_count(), record.user_count());
        let users = record.users(limit as usize);
        let moderators = self.moderators(*slot, &users);
        Told::Users { members_count, user_count, roll: Roll { users, moderators } }
    }

    fn history_for(&mut self, topic: &Topic, limit: u32, before: Option<u64>, now: Now) -> Told {
        let Some(slot) = self.slots.get(topic).copied() else {
            return Told::History { messages: Vec::new(), offset: 0, epoch: None };
        };
        let record = &mut self.records[slot as usize].record;
        let messages = record.newest(limit, before, now.mono, self.policies.row(record.row()));
        let (offset, epoch) = (record.head(), Some(Arc::clone(record.epoch())));
        self.weigh(slot);
        // Reading may have found that the last of it is too old.
        self.settle(slot, now);
        Told::History { messages, offset, epoch }
    }
}
