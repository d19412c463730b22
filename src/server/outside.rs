//! The way into the shards for threads that are none of them: a bounded lane to each owner.
//!
//! Never waits: a full lane gives back what it was given, and the caller decides what that is worth then. Nobody is
//! there to be answered, so answers go to [`Origin::nobody`].

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::base::hash::Keys;
use crate::base::id::{Origin, ShardId};
use crate::hub::command::{Ask, Request};
use crate::hub::name::{Topic, TopicKind};
use crate::mailbox::Wake;
use crate::shard::placement;
use crate::shard::port::ToOwner;

/// Requests that wait for one shard: a turn takes them all, and each may be as long as the longest message.
const LANE_CAPACITY: usize = 32;

/// The lanes to all shards.
#[derive(Clone, Debug)]
pub struct Outside {
    lanes: Arc<[(Sender<ToOwner>, Arc<Wake>)]>,
    keys: Keys,
}

impl Outside {
    /// Lanes to the shards that these wakes wake, and their other ends, by shard.
    ///
    /// # Panics
    /// If there are more shards than a [`ShardId`] can name.
    #[must_use]
    pub fn new(wakes: &[Arc<Wake>], keys: Keys) -> (Outside, Vec<Receiver<ToOwner>>) {
        assert!(u16::try_from(wakes.len()).is_ok(), "shards are counted in 16 bits");
        let (senders, receivers): (Vec<_>, Vec<_>) = wakes.iter().map(|_| bounded(LANE_CAPACITY)).unzip();
        let lanes = senders.into_iter().zip(wakes.iter().cloned()).collect();
        (Outside { lanes, keys }, receivers)
    }

    /// A topic as the shards know it; `name` is a good one.
    #[must_use]
    pub fn topic(&self, kind: TopicKind, name: &str) -> Topic {
        Topic::new(kind, name, self.keys)
    }

    /// Asks the owner of `topic`. False: its lane is full, or it has ended.
    #[must_use]
    pub fn ask(&self, topic: &Topic, ask: Ask) -> bool {
        let shards = u16::try_from(self.lanes.len()).unwrap_or(u16::MAX);
        let owner: ShardId = placement::owner(topic.hash(), shards);
        let (lane, wake) = &self.lanes[owner.index()];
        let request = Request { topic: topic.clone(), origin: Origin::nobody(owner), tag: None, ask };
        let sent = lane.try_send(request).is_ok();
        if sent {
            wake.notify();
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_lane_says_so_and_an_owner_gets_its_own() {
        let wakes: Vec<Arc<Wake>> = (0..3).map(|_| Arc::default()).collect();
        let (outside, lanes) = Outside::new(&wakes, Keys::new([1; 16]));
        for number in 0..30 {
            let topic = outside.topic(TopicKind::Feed, &format!("f{number}"));
            assert!(outside.ask(&topic, Ask::Users));
        }
        for (shard, lane) in (0..).map(ShardId).zip(&lanes) {
            assert!(!lane.is_empty());
            for request in lane.try_iter() {
                assert_eq!(placement::owner(request.topic.hash(), 3), shard);
                assert_eq!(request.origin.shard, shard);
            }
        }
        let topic = outside.topic(TopicKind::Feed, "f");
        let taken = (0..LANE_CAPACITY * 2).filter(|_| outside.ask(&topic, Ask::Users)).count();
        assert_eq!(taken, LANE_CAPACITY);
    }
}
