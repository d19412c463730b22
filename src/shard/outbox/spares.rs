//! What the outboxes of a shard use again instead of freeing it, and what they count together.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::buffers::Buffers;
use crate::base::clock::Mono;
use crate::base::spare::Spare;
use crate::shard::limits::SPARE_MEMORY;
use crate::shard::outbox::{Item, Outbox, Queue, Weight};

/// Bytes of buffers that a shard keeps for the next own frames and long messages instead of freeing them: eight
/// messages of the usual longest.
const SPARE_BYTES_MAX: usize = 9 << 20;
/// Emptied queues that a shard keeps: as many as a large room's fan-out has under way.
const SPARE_QUEUES_MAX: usize = 4096;
/// Items that those have room for: what a window gathers for as many members, in 4 MiB at most.
const SPARE_ITEMS_MAX: usize = 128 << 10;
/// An emptied queue that has room for more items than this is not kept: it was an exception.
const KEPT_ITEMS_MAX: usize = 256;
const _: () = {
    let queues = SPARE_QUEUES_MAX * size_of::<Queue>() + SPARE_ITEMS_MAX * size_of::<Item>();
    assert!((SPARE_BYTES_MAX + queues) as u64 <= SPARE_MEMORY);
};
/// What nobody needed for so long is not kept: a crowd that comes more often finds it as it left it.
const UNUSED_MAX: Duration = Duration::from_secs(5);

/// Deliveries that slow clients did not get, since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Drops {
    /// They had waited longest.
    pub(crate) oldest: u64,
    /// They came last.
    pub(crate) newest: u64,
    /// Nobody misses them.
    pub(crate) transient: u64,
    /// A newer value stands in their place.
    pub(crate) conflated: u64,
    /// Their client was let go instead.
    pub(crate) disconnected: u64,
}

/// What is used again instead of being freed; and what the queues of a shard have counted.
#[derive(Debug)]
pub(crate) struct Spares {
    pub(crate) dropped: Drops,
    /// Frames written whole.
    pub(crate) frames_written: u64,
    /// Invariant: the sum of own frames in all queues, in bytes.
    pub(super) own_bytes: usize,
    /// For own frames, and for messages that come in pieces.
    pub(crate) buffers: Buffers,
    queues: Spare<Box<Queue>>,
    /// Invariant: the sum of the items that they have room for.
    items: usize,
    trim_due: Mono,
}

impl Default for Spares {
    fn default() -> Spares {
        let (dropped, frames_written, own_bytes) = Default::default();
        let (buffers, queues) = (Buffers::new(SPARE_BYTES_MAX), Spare::default());
        Spares { dropped, frames_written, own_bytes, buffers, queues, items: 0, trim_due: Mono(0) }
    }
}

impl Spares {
    /// Bytes of own frames that wait in all queues.
    pub(crate) fn own_bytes(&self) -> usize {
        self.own_bytes
    }

    /// Frees what was not used for a while. To be called in each turn.
    #[inline]
    pub(crate) fn trim(&mut self, now: Mono) {
        if now >= self.trim_due {
            self.free_unused(now);
        }
    }

    #[cold]
    fn free_unused(&mut self, now: Mono) {
        self.trim_due = now + UNUSED_MAX;
        self.buffers.trim();
        let items = &mut self.items;
        self.queues.trim(|queue| *items -= queue.rest.capacity());
    }

    /// An outbox is thrown away with what waits in it.
    pub(crate) fn forget(&mut self, outbox: &Outbox) {
        self.own_bytes -= outbox.own_bytes();
    }

    /// Takes back what an item held.
    pub(super) fn give(&mut self, item: Item) {
        if let Item::Own { frames, .. } = item {
            self.buffers.give(frames);
        }
    }

    /// A queue of one item.
    #[inline]
    pub(super) fn take_queue(&mut self, first: Item, weight: Weight) -> Box<Queue> {
        let Weight { bytes, own_bytes, messages } = weight;
        self.own_bytes += own_bytes;
        let Some(mut queue) = self.queues.take() else {
            let (rest, head_written, blocked) = (VecDeque::new(), 0, false);
            return Box::new(Queue { first, rest, bytes, own_bytes, messages, head_written, blocked });
        };
        self.items -= queue.rest.capacity();
        queue.first = first;
        (queue.bytes, queue.own_bytes, queue.messages) = (bytes, own_bytes, messages);
        (queue.head_written, queue.blocked) = (0, false);
        queue
    }

    /// Takes back a queue of which all but the first item is written or forgotten.
    #[inline]
    pub(super) fn give_queue(&mut self, mut queue: Box<Queue>) {
        debug_assert!(queue.rest.is_empty());
        self.own_bytes -= queue.own_bytes;
        self.give(std::mem::replace(&mut queue.first, Item::NOTHING));
        let items = queue.rest.capacity();
        if self.queues.len() < SPARE_QUEUES_MAX
            && items <= KEPT_ITEMS_MAX
            && self.items + items <= SPARE_ITEMS_MAX
        {
            self.items += items;
            self.queues.give(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crowd_needed_is_freed_when_it_has_gone() {
        const FRAME: [u8; 5000] = [7; 5000];
        let mut spares = Spares::default();
        let mut speak = |crowd: &mut [Outbox], at_s: u64| {
            crowd.iter_mut().for_each(|outbox| outbox.push_frame(&mut spares, &FRAME));
            crowd.iter_mut().for_each(|outbox| outbox.written(FRAME.len(), &mut spares));
            spares.trim(Mono::default() + Duration::from_secs(at_s));
            spares.queues.len()
        };
        let mut crowd: Vec<Outbox> = (0..100).map(|_| Outbox::default()).collect();
        assert_eq!(speak(&mut crowd, 1), 100);
        assert_eq!(speak(&mut crowd, 6), 100);
        assert_eq!(speak(&mut crowd[..3], 10), 100, "not yet for so long");
        assert_eq!(speak(&mut crowd[..3], 11), 3);
        let buffers: Vec<usize> = (0..4).map(|_| spares.buffers.take(7).capacity()).collect();
        assert_eq!(buffers, [5000, 5000, 5000, 0]);
    }
}
