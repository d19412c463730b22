//! The bounded send queue of one connection.
//!
//! Holds whole frames in order. Deliveries are shared with the other members' queues and can be dropped under
//! pressure; frames of the connection's own (replies, control frames) are never dropped: whoever causes them is
//! not read from while too many wait. A dropped delivery leaves a gap in its place, which is announced when the
//! queue reaches it. Nothing is dropped while the socket still takes bytes: the limits hold from the moment that a
//! write came back short; until then the turn's budgets bound the queue.
//!
//! Invariants: `bytes` is the sum of the frames queued, less `head_written`; `head_written` is less than the
//! first item's length.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use crate::base::id::index32;
use crate::base::shared::Shared;
use crate::dialect::native::encode::Dropped;
use crate::hub::name::Topic;
use crate::shard::limits::{Limits, SlowConsumer};

/// Bytes of buffers that a shard keeps for the next own frames instead of freeing them: enough for one turn's replies,
/// and little enough that a burst's memory goes back.
const SPARE_BYTES_MAX: usize = 4 << 20;
/// An emptied queue that had room for more items than this gives its memory back.
const KEPT_ITEMS_MAX: usize = 4;

/// One event of a topic as all its members here get it.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// Of which topic.
    pub(crate) topic: Topic,
    /// The publication's offset; 0 for events that are not numbered.
    pub(crate) offset: u64,
    /// Whether its loss must be announced.
    pub(crate) announced: bool,
    /// The encoded frame.
    pub(crate) frame: Shared,
}

/// A run of deliveries of one topic that were dropped.
#[derive(Debug)]
pub(crate) struct Gap {
    /// Of which topic.
    pub(crate) topic: Topic,
    /// What was lost of it.
    pub(crate) lost: Dropped,
}

impl Gap {
    /// Adds a delivery that follows on what was lost. False if it does not: what lies between was not lost, as it is
    /// the connection's own and so came as its own frame, or not at all where it wanted no echo.
    fn take(&mut self, delivery: &Delivery) -> bool {
        let from = match self.lost.offsets {
            _ if delivery.offset == 0 => {
                self.lost.events += 1;
                return true;
            }
            Some((from, to)) => {
                debug_assert!(to < delivery.offset, "a topic's offsets only grow");
                if to + 1 < delivery.offset {
                    return false;
                }
                from
            }
            None => delivery.offset,
        };
        self.lost.offsets = Some((from, delivery.offset));
        true
    }
}

#[derive(Debug)]
enum Item {
    Shared(Arc<Delivery>),
    Own { frames: Vec<u8>, messages: u32 },
    Gap(Box<Gap>),
}

impl Item {
    fn bytes(&self) -> &[u8] {
        match self {
            Item::Shared(delivery) => &delivery.frame,
            Item::Own { frames, .. } => frames,
            Item::Gap(_) => &[],
        }
    }

    fn messages(&self) -> u32 {
        match self {
            Item::Shared(_) | Item::Gap(_) => 1,
            Item::Own { messages, .. } => *messages,
        }
    }
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It waits, or a gap in its place does.
    Queued,
    /// The queue is full and the policy is to disconnect, or not even gaps fit any more.
    Overrun,
}

/// Buffers for own frames, kept by the shard.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    buffers: Vec<Vec<u8>>,
    /// Invariant: the sum of their capacities.
    bytes: usize,
}

impl Spares {
    fn take(&mut self) -> Vec<u8> {
        let buffer = self.buffers.pop().unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer
    }

    fn give(&mut self, mut buffer: Vec<u8>) {
        if self.bytes + buffer.capacity() <= SPARE_BYTES_MAX {
            self.bytes += buffer.capacity();
            buffer.clear();
            self.buffers.push(buffer);
        }
    }
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    items: VecDeque<Item>,
    /// Bytes not yet written.
    bytes: usize,
    /// Bytes of `items` that are the connection's own.
    own_bytes: usize,
    /// Messages queued, gaps included.
    messages: u32,
    /// Bytes of the first item that are written already.
    head_written: u32,
    /// The socket took less than it was offered; nothing can be written until its next edge.
    pub(crate) blocked: bool,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes not yet written.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of own frames that wait: what the client asked for and does not read.
    pub(crate) fn own_bytes(&self) -> usize {
        self.own_bytes
    }

    /// Appends a frame of the connection's own: `write` appends it to the buffer.
    ///
    /// But not to one that is partly written: a queue that never runs empty would keep all that it ever wrote.
    pub(crate) fn push_own(&mut self, spares: &mut Spares, write: impl FnOnce(&mut Vec<u8>)) {
        let begun = self.items.len() == 1 && self.head_written > 0;
        if begun || !matches!(self.items.back(), Some(Item::Own { .. })) {
            self.queue(Item::Own { frames: spares.take(), messages: 0 });
        }
        let Some(Item::Own { frames, messages }) = self.items.back_mut() else { return };
        let before = frames.len();
        write(frames);
        *messages += 1;
        self.messages += 1;
        let added = frames.len() - before;
        self.bytes += added;
        self.own_bytes += added;
    }

    /// Queues a delivery, or drops one as the policy says.
    pub(crate) fn push(&mut self, delivery: &Arc<Delivery>, limits: &Limits) -> Pushed {
        if self.blocked && !self.has_room(delivery.frame.len(), limits) {
            return self.push_full(delivery, limits);
        }
        self.append(delivery);
        Pushed::Queued
    }

    fn append(&mut self, delivery: &Arc<Delivery>) {
        self.bytes += delivery.frame.len();
        self.messages += 1;
        self.queue(Item::Shared(Arc::clone(delivery)));
    }

    #[inline]
    fn queue(&mut self, item: Item) {
        if self.items.capacity() == 0 {
            self.items.reserve_exact(1); // most queues never hold more, and a VecDeque would begin with four
        }
        self.items.push_back(item);
    }

    fn has_room(&self, more: usize, limits: &Limits) -> bool {
        self.bytes + more <= limits.queue_bytes_max && (self.messages as usize) < limits.queue_messages_max
    }

    fn push_full(&mut self, delivery: &Arc<Delivery>, limits: &Limits) -> Pushed {
        if !delivery.announced {
            return Pushed::Queued; // a typing indicator: nobody misses it
        }
        match limits.slow_consumer {
            SlowConsumer::Disconnect => Pushed::Overrun,
            SlowConsumer::DropNewest => self.drop_newest(delivery, limits),
            SlowConsumer::DropOldest => {
                while !self.has_room(delivery.frame.len(), limits) {
                    if !self.drop_oldest() {
                        return self.drop_newest(delivery, limits);
                    }
                }
                self.append(delivery);
                Pushed::Queued
            }
        }
    }

    /// Turns the oldest delivery into (a part of) a gap. False if there is none that can go.
    fn drop_oldest(&mut self) -> bool {
        let first = usize::from(self.head_written > 0);
        let Some(at) = (first..self.items.len()).find(|&i| matches!(self.items[i], Item::Shared(_))) else {
            return false;
        };
        let Some(Item::Shared(delivery)) = self.items.remove(at) else { return false };
        self.bytes -= delivery.frame.len();
        self.messages -= 1;
        if delivery.announced && !self.extend_gap(at, &delivery) {
            self.insert_gap(at, &delivery);
        }
        true
    }

    /// Leaves a gap at the end instead of the delivery.
    fn drop_newest(&mut self, delivery: &Delivery, limits: &Limits) -> Pushed {
        if self.extend_gap(self.items.len(), delivery) {
            return Pushed::Queued;
        }
        // Gaps may double the queue in messages; a client still further behind is let go.
        if self.messages as usize >= limits.queue_messages_max * 2 {
            return Pushed::Overrun;
        }
        self.insert_gap(self.items.len(), delivery);
        Pushed::Queued
    }

    /// Adds `delivery` to its topic's gap among those directly before `at`. What is announced must not overtake an own
    /// frame, which may tell of the same topic: a snapshot says how far it goes. False if there is no such gap.
    fn extend_gap(&mut self, at: usize, delivery: &Delivery) -> bool {
        for item in self.items.range_mut(..at).rev() {
            let Item::Gap(gap) = item else { return false };
            if gap.topic == delivery.topic {
                return gap.take(delivery);
            }
        }
        false
    }

    fn insert_gap(&mut self, at: usize, delivery: &Delivery) {
        let mut gap = Gap { topic: delivery.topic.clone(), lost: Dropped::default() };
        gap.take(delivery);
        self.items.insert(at, Item::Gap(Box::new(gap)));
        self.messages += 1;
    }

    /// Forgets everything but a half-written frame, and the answer to the upgrade without which there are no frames:
    /// what is left to say is a close frame.
    pub(crate) fn abandon(&mut self, spares: &mut Spares) {
        // A frame of a server does not begin with `H`: that would be reserved bits.
        let answer = self.items.front().is_some_and(|head| head.bytes().starts_with(b"HTTP/"));
        let keep = usize::from(self.head_written > 0 || answer);
        for item in self.items.drain(keep..) {
            if let Item::Own { frames, .. } = item {
                spares.give(frames);
            }
        }
        let (mut bytes, mut own_bytes, mut messages) = (0, 0, 0);
        if let Some(head) = self.items.front() {
            bytes = head.bytes().len() - self.head_written as usize;
            messages = head.messages();
            own_bytes = if matches!(head, Item::Own { .. }) { bytes } else { 0 };
        }
        (self.bytes, self.own_bytes, self.messages) = (bytes, own_bytes, messages);
    }

    /// Gives every gap among the first `window` items its frame: `write` appends the announcement. What was
    /// announced can't grow any more.
    pub(crate) fn announce(
        &mut self,
        window: usize,
        spares: &mut Spares,
        mut write: impl FnMut(&Gap, &mut Vec<u8>),
    ) {
        for item in self.items.iter_mut().take(window) {
            if let Item::Gap(gap) = item {
                let mut frames = spares.take();
                write(gap, &mut frames);
                self.bytes += frames.len();
                self.own_bytes += frames.len();
                *item = Item::Own { frames, messages: 1 };
            }
        }
    }

    /// Lays out the first frames for one write. Gaps end it: see [`Outbox::announce`]. Returns how many slices.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.head_written as usize;
        let mut used = 0;
        for (slice, item) in slices.iter_mut().zip(&self.items) {
            if matches!(item, Item::Gap(_)) {
                break;
            }
            *slice = IoSlice::new(&item.bytes()[skip..]);
            skip = 0;
            used += 1;
        }
        used
    }

    /// Takes `count` written bytes off the front.
    pub(crate) fn written(&mut self, mut count: usize, spares: &mut Spares) {
        debug_assert!(count <= self.bytes);
        self.bytes -= count;
        while let Some(head) = self.items.front() {
            if matches!(head, Item::Gap(_)) {
                break;
            }
            let left = head.bytes().len() - self.head_written as usize;
            let own = matches!(head, Item::Own { .. });
            if own {
                self.own_bytes -= left.min(count);
            }
            if count < left {
                self.head_written += index32(count);
                return;
            }
            count -= left;
            self.head_written = 0;
            self.messages -= head.messages();
            if let Some(Item::Own { frames, .. }) = self.items.pop_front() {
                spares.give(frames);
            }
        }
        debug_assert_eq!(count, 0);
        if self.items.is_empty() && self.items.capacity() > KEPT_ITEMS_MAX {
            self.items = VecDeque::new();
        }
    }

    /// Asserts the invariants.
    pub(crate) fn check(&self) {
        let queued: usize = self.items.iter().map(|item| item.bytes().len()).sum();
        assert_eq!(self.bytes, queued - self.head_written as usize, "bytes");
        assert_eq!(self.messages, self.items.iter().map(Item::messages).sum::<u32>(), "messages");
        if let Some(head) = self.items.front() {
            assert!(
                self.head_written == 0 || (self.head_written as usize) < head.bytes().len(),
                "head_written"
            );
        } else {
            assert_eq!(self.head_written, 0, "head_written of an empty queue");
        }
    }
}

#[cfg(test)]
mod tests;
