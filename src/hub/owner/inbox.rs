//! Inboxes: what users send each other, kept until it is acknowledged.
//!
//! An inbox is a topic whose messages go to all shards, as each knows by itself which of its connections are the
//! user's. So nobody has to be a member, and there is a record only while it holds messages (or counts the user's
//! connections). Numbers are never given twice to one user: the numbering of a new record begins where the highest
//! of those forgotten has ended.

use std::sync::Arc;

use super::{Asker, Owner};
use crate::base::clock::Now;
use crate::base::id::{Key, ShardId};
use crate::base::shared::Shared;
use crate::hub::event::{Body, Outcome, Publication, Receipt, Redelivery, Refusal, Reply};
use crate::hub::name::{Topic, User};

impl Owner {
    /// Numbers and keeps a message for the user whose inbox it is, and sends it to wherever the user may be.
    pub(super) fn direct(
        &mut self,
        asker: Asker,
        payload: Shared,
        user: Arc<User>,
        receipt: Option<Key>,
        now: Now,
    ) {
        let Asker { topic, origin, .. } = asker;
        let slot = match self.slots.get(&topic) {
            Some(slot) => *slot,
            None => self.create(&topic),
        };
        let message = self.issue(slot, user, (payload, Body::Value), now);
        let receipt = receipt.map(|number| Receipt { shard: origin.shard, number });
        self.send_to_user((&topic, slot), &message, receipt, now);
    }

    /// Sends a message to all shards, as any may have connections of the user, then lets go of what is too much.
    pub(super) fn send_to_user(
        &mut self,
        (topic, slot): (&Topic, u32),
        message: &Arc<Publication>,
        receipt: Option<Receipt>,
        now: Now,
    ) {
        self.published += 1;
        for shard in (0..self.shards).map(ShardId) {
            let (topic, message) = (topic.clone(), Arc::clone(message));
            self.outcomes.push_back((shard, Outcome::Direct { topic, message, receipt }));
        }
        self.settle(slot, now);
        self.fit_histories(slot);
    }

    /// Tells all that is kept and not acknowledged.
    pub(super) fn redeliver(&mut self, asker: Asker, now: Now) {
        let mut redelivery = Redelivery::default();
        if let Some(slot) = self.slots.get(&asker.topic).copied() {
            let record = &mut self.records[slot as usize].record;
            redelivery = record.redelivery(now.mono, self.policies.row(record.row()));
            self.weigh(slot);
            self.settle(slot, now);
        }
        self.reply(asker, Reply::Inbox(redelivery));
    }

    /// Forgets everything up to `seq`, for all connections of the user.
    pub(super) fn acknowledge(&mut self, asker: Asker, seq: u64, now: Now) {
        let slot = self.slots.get(&asker.topic).copied();
        let head = slot.map_or(self.inbox_floor, |slot| self.records[slot as usize].record.head());
        if seq > head {
            let refusal = Refusal::InvalidField { field: "seq", expected: "that of a message that was sent" };
            return self.reply(asker, Reply::Refused(refusal));
        }
        if let Some(slot) = slot {
            let record = &mut self.records[slot as usize].record;
            let before = record.reach();
            record.acknowledge(seq);
            let news = record.reach() != before;
            self.weigh(slot);
            if news {
                // Before the answer: what it says is done must not come again after a restart.
                self.note_trimmed(slot);
            }
            self.settle(slot, now);
        }
        if asker.tag.is_some() {
            self.reply(asker, Reply::Accepted { offset: 0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::{Mono, Wall};
    use crate::base::hash::Keys;
    use crate::base::id::Origin;
    use crate::hub::command::{Ask, Request};
    use crate::hub::name::{Topic, TopicKind};
    use crate::hub::policy::{INBOX_AGE, INBOX_MESSAGES, Options, Policies};

    const SHARDS: u16 = 3;

    struct Post {
        owner: Owner,
        now: Mono,
    }

    impl Post {
        fn new() -> Post {
            let policies = Policies::new(&Options::default());
            Post { owner: Owner::new(ShardId(0), SHARDS, Keys::new([6; 16]), policies), now: Mono(0) }
        }

        /// Asks in the name of `user`; what is answered to the asker, and how many shards are sent something.
        fn ask(&mut self, user: &str, ask: Ask) -> (Option<Reply>, usize) {
            let topic = Topic::new(TopicKind::Inbox, user, Keys::new([6; 16]));
            let origin = Origin { shard: ShardId(1), conn: Key { slot: 1, generation: 0 } };
            let tag = Some(Box::from(&b"1"[..]));
            let now = Now { mono: self.now, wall: Wall(0) };
            self.owner.handle(Request { topic, origin, tag, ask }, now);
            self.owner.check();
            let (mut reply, mut sent) = (None, 0);
            while let Some((_, outcome)) = self.owner.poll() {
                match outcome {
                    Outcome::Direct { .. } => sent += 1,
                    Outcome::Reply { reply: told, .. } => reply = Some(told),
                    Outcome::Deliver { .. } | Outcome::Matched { .. } | Outcome::Told { .. } => {
                        panic!("nobody asked for that")
                    }
                }
            }
            (reply, sent)
        }

        fn send(&mut self, to: &str) {
            let user = Arc::new(User { id: "sender".into(), name: None });
            let ask = Ask::Direct { payload: Shared::copy_of(b"1"), user, receipt: None };
            assert_eq!(self.ask(to, ask).1, usize::from(SHARDS));
        }

        fn kept(&mut self, user: &str) -> (Option<(u64, u64)>, Vec<u64>) {
            match self.ask(user, Ask::Inbox).0 {
                Some(Reply::Inbox(Redelivery { lost, messages })) => {
                    (lost, messages.iter().map(|message| message.offset).collect())
                }
                other => panic!("{other:?}"),
            }
        }

        fn acknowledge(&mut self, user: &str, seq: u64) -> bool {
            matches!(self.ask(user, Ask::Acknowledge { seq }).0, Some(Reply::Accepted { .. }))
        }
    }

    #[test]
    fn everything_unacknowledged_comes_again_and_again() {
        let mut post = Post::new();
        assert_eq!(post.kept("ann"), (None, vec![]));
        (0..4).for_each(|_| post.send("ann"));
        assert_eq!(post.kept("ann"), (None, vec![1, 2, 3, 4]));
        assert!(post.acknowledge("ann", 2));
        assert_eq!(post.kept("ann"), (None, vec![3, 4]));
        assert!(post.acknowledge("ann", 1), "another device's, late");
        assert_eq!(post.kept("ann"), (None, vec![3, 4]));
        assert!(!post.acknowledge("ann", 5) && !post.acknowledge("ann", u64::MAX), "yet to come");
        assert_eq!(post.kept("ann"), (None, vec![3, 4]));
    }

    #[test]
    fn an_emptied_inbox_costs_nothing_and_no_number_comes_twice() {
        let mut post = Post::new();
        (0..3).for_each(|_| post.send("ann"));
        assert!(post.acknowledge("ann", 3));
        assert_eq!(post.owner.counts().topics, 0);
        assert!(post.acknowledge("ann", 3) && !post.acknowledge("ann", 4));
        post.send("ann");
        assert_eq!(post.kept("ann"), (None, vec![4]));
        post.send("bob");
        assert_eq!(post.kept("bob"), (None, vec![4]), "holes between two fillings are nothing to bob");
    }

    #[test]
    fn the_newest_are_kept_for_a_day_and_the_others_are_announced() {
        let mut post = Post::new();
        (0..INBOX_MESSAGES + 7).for_each(|_| post.send("ann"));
        let (lost, messages) = post.kept("ann");
        assert_eq!((lost, messages.len()), (Some((1, 7)), INBOX_MESSAGES));
        assert!(post.acknowledge("ann", 5));
        assert_eq!(post.kept("ann").0, Some((6, 7)));
        post.now = post.now + INBOX_AGE;
        post.owner.expire(post.now);
        assert_eq!(post.owner.counts().topics, 0);
        assert_eq!(post.kept("ann"), (None, vec![]));
    }
}
