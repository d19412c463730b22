//! What is on its way to the members here, shared by all their queues; and what all such cost together.
//!
//! A count goes up when a delivery is made and down when the last queue lets go of it, so each counts once, however
//! many share it. Decides nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::base::shared::Shared;
use crate::hub::name::Topic;

/// One event of a topic, or publications in a row, as all its members here get it.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Of which topic.
    pub(crate) topic: Topic,
    /// The first publication's offset; 0 for events that are not numbered.
    pub(crate) offset: u64,
    /// How many events; more than one are publications whose offsets follow on one another.
    pub(crate) events: u32,
    /// Whether its loss must be announced.
    pub(crate) announced: bool,
    /// Whether it makes those of its topic needless that wait.
    pub(crate) conflates: bool,
    /// The encoded frames, one for each event.
    pub(crate) frame: Shared,
    /// Sessions that keep it.
    pub(crate) keepers: Keepers,
    /// What it costs.
    pub(crate) _share: Share,
}

impl Delivery {
    /// What it costs beside its frames: itself, and what the allocator keeps.
    pub(crate) const BYTES: usize = size_of::<Delivery>() + 64;

    /// The last publication's offset.
    pub(crate) fn last_offset(&self) -> u64 {
        self.offset + u64::from(self.events.saturating_sub(1))
    }
}

/// Counts the sessions that keep a delivery, so that its bytes count once. Only its shard counts.
#[derive(Debug, Default)]
pub(crate) struct Keepers(AtomicU32);

impl Keepers {
    /// One more; how many there were.
    pub(crate) fn add(&self) -> u32 {
        let before = self.0.load(Ordering::Relaxed);
        self.0.store(before + 1, Ordering::Relaxed);
        before
    }

    /// One less; how many are left.
    pub(crate) fn sub(&self) -> u32 {
        let left = self.0.load(Ordering::Relaxed) - 1;
        self.0.store(left, Ordering::Relaxed);
        left
    }
}

/// What all deliveries of a shard cost that are still somewhere. Only its shard counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held(Arc<AtomicUsize>);

impl Held {
    /// So many bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A share of so many bytes, until it is dropped.
    #[inline]
    pub(crate) fn share(&self, bytes: usize) -> Share {
        self.0.store(self.bytes() + bytes, Ordering::Relaxed);
        Share { held: self.clone(), bytes }
    }
}

/// What one delivery costs.
#[derive(Debug)]
pub(crate) struct Share {
    held: Held,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        let held = &self.held;
        held.0.store(held.bytes() - self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_counts_until_the_last_lets_go() {
        let held = Held::default();
        let first = Arc::new(held.share(100));
        let second = Arc::clone(&first);
        let other = held.share(5);
        assert_eq!(held.bytes(), 105);
        drop(first);
        drop(other);
        assert_eq!(held.bytes(), 100);
        drop(second);
        assert_eq!(held.bytes(), 0);
    }
}
