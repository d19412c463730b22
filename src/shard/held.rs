//! What deliveries cost that are still in some queue: each counts once, however many queues share it.
//!
//! A count that goes up when a delivery is made and down when the last queue lets go of it. Decides nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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
