//! The bounded send queue of one connection.
//!
//! Holds whole frames in order. Deliveries are shared with the other members' queues and can be dropped under
//! pressure; frames of the connection's own (replies, control frames) are never dropped: whoever causes them is
//! not read from while too many wait. A dropped delivery leaves a gap in its place, which is announced when the
//! queue reaches it. Nothing is dropped while the socket still takes bytes: the limits hold from the moment that a
//! write came back short; until then the turn's budgets bound the queue.
//!
//! What conflates (the values of a feed) makes no queue grow: while the socket is full, one value of each feed waits,
//! the newest, which all queues share with the feed itself. So the limits do not speak of it, and nobody is let go for
//! it.
//!
//! Most outboxes hold nothing, and most of the others one delivery until the end of the turn. So only more than that
//! is a [`Queue`] on the heap, and the shard keeps the emptied ones for the next.
//!
//! Invariants: `bytes` is the sum of the frames queued, less `head_written`; `head_written` is less than the
//! first item's length.

mod spares;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use crate::base::id::index32;
use crate::dialect::native::encode::Dropped;
use crate::hub::name::Topic;
use crate::shard::delivery::Delivery;
use crate::shard::limits::{Limits, SlowConsumer};

pub(crate) use self::spares::{Drops, Spares};

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
        let (from, to) = match self.lost.offsets {
            _ if delivery.offset == 0 => {
                self.lost.events += 1;
                return true;
            }
            // Who subscribed to a channel and by patterns gets a publication once for each.
            Some((from, to)) if from <= delivery.offset && delivery.offset <= to + 1 => {
                (from, to.max(delivery.last_offset()))
            }
            Some(_) => return false,
            None => (delivery.offset, delivery.last_offset()),
        };
        self.lost.offsets = Some((from, to));
        true
    }
}

#[derive(Debug)]
enum Item {
    Shared(Arc<Delivery>),
    /// One that conflates; told apart here, so that looking for it does not touch the others.
    Latest(Arc<Delivery>),
    Own {
        frames: Vec<u8>,
        messages: u32,
    },
    Gap(Box<Gap>),
}

impl Item {
    /// Stands where an item was taken out of a queue that is kept.
    const NOTHING: Item = Item::Own { frames: Vec::new(), messages: 0 };

    #[inline]
    fn of(delivery: Arc<Delivery>) -> Item {
        if delivery.conflates { Item::Latest(delivery) } else { Item::Shared(delivery) }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Item::Shared(delivery) | Item::Latest(delivery) => &delivery.frame,
            Item::Own { frames, .. } => frames,
            Item::Gap(_) => &[],
        }
    }

    fn messages(&self) -> u32 {
        match self {
            Item::Shared(delivery) => delivery.events,
            Item::Latest(_) | Item::Gap(_) => 1,
            Item::Own { messages, .. } => *messages,
        }
    }
}

/// What an item adds to the counts of its queue.
#[derive(Clone, Copy)]
struct Weight {
    bytes: usize,
    own_bytes: usize,
    messages: u32,
}

impl Weight {
    fn of(delivery: &Delivery) -> Weight {
        Weight { bytes: delivery.frame.len(), own_bytes: 0, messages: delivery.events }
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

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Waiting,
}

/// What waits in an outbox.
#[derive(Debug, Default)]
enum Waiting {
    #[default]
    Nothing,
    /// A delivery of which nothing is written, to a socket that takes it for all we know.
    One(Arc<Delivery>),
    /// Anything else.
    Queue(Box<Queue>),
}

/// What waits, in order; never empty.
#[derive(Debug)]
struct Queue {
    /// What is written next.
    first: Item,
    /// What follows it.
    rest: VecDeque<Item>,
    /// Bytes not yet written.
    bytes: usize,
    /// Those of them that are the connection's own.
    own_bytes: usize,
    /// Messages queued, gaps included.
    messages: u32,
    /// Bytes of the first item that are written already.
    head_written: u32,
    /// The socket took less than it was offered; nothing can be written until its next edge.
    blocked: bool,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.waiting, Waiting::Nothing)
    }

    fn queue(&self) -> Option<&Queue> {
        match &self.waiting {
            Waiting::Queue(queue) => Some(queue),
            Waiting::Nothing | Waiting::One(_) => None,
        }
    }

    /// What waits, as a queue; none if that is nothing.
    fn make_queue(&mut self, spares: &mut Spares) -> Option<&mut Queue> {
        if matches!(self.waiting, Waiting::One(_))
            && let Waiting::One(delivery) = std::mem::take(&mut self.waiting)
        {
            let weight = Weight::of(&delivery);
            self.waiting = Waiting::Queue(spares.take_queue(Item::of(delivery), weight));
        }
        match &mut self.waiting {
            Waiting::Queue(queue) => Some(queue),
            Waiting::Nothing | Waiting::One(_) => None,
        }
    }

    /// Whether the socket took less than it was offered, so that nothing can be written until its next edge.
    pub(crate) fn is_blocked(&self) -> bool {
        self.queue().is_some_and(|queue| queue.blocked)
    }

    /// The socket took less than it was offered.
    pub(crate) fn block(&mut self, spares: &mut Spares) {
        if let Some(queue) = self.make_queue(spares) {
            queue.blocked = true;
        }
    }

    /// The socket takes bytes again.
    pub(crate) fn unblock(&mut self) {
        if let Waiting::Queue(queue) = &mut self.waiting {
            queue.blocked = false;
        }
    }

    /// Bytes not yet written.
    pub(crate) fn bytes(&self) -> usize {
        match &self.waiting {
            Waiting::Nothing => 0,
            Waiting::One(delivery) => delivery.frame.len(),
            Waiting::Queue(queue) => queue.bytes,
        }
    }

    /// Bytes of own frames that wait: what the client asked for and does not read.
    pub(crate) fn own_bytes(&self) -> usize {
        self.queue().map_or(0, |queue| queue.own_bytes)
    }

    /// Whether an event of so many bytes is too much: the socket is full, and so is the queue.
    pub(crate) fn is_full_for(&self, bytes: usize, limits: &Limits) -> bool {
        self.queue().is_some_and(|queue| queue.blocked && !queue.has_room(bytes, limits))
    }

    /// Appends a frame of the connection's own.
    pub(crate) fn push_frame(&mut self, spares: &mut Spares, frame: &[u8]) {
        self.push_own(spares, frame.len(), |out| out.extend_from_slice(frame));
    }

    /// Appends a frame of the connection's own, of so many bytes as far as that is known: `write` appends it to the
    /// buffer.
    pub(crate) fn push_own(&mut self, spares: &mut Spares, bytes: usize, write: impl FnOnce(&mut Vec<u8>)) {
        if let Waiting::Queue(queue) = &mut self.waiting
            && let Some((frames, messages)) = queue.open_frames()
        {
            let before = frames.len();
            write(frames);
            let added = frames.len() - before;
            *messages += 1;
            queue.messages += 1;
            queue.bytes += added;
            queue.own_bytes += added;
            spares.own_bytes += added;
            return;
        }
        let mut frame = spares.buffers.take(bytes);
        write(&mut frame);
        self.push_whole(spares, frame);
    }

    /// Begins an outbox with what another one still had to write: its first frame may be written in part, and so must
    /// not be forgotten.
    pub(crate) fn push_begun(&mut self, spares: &mut Spares, unsent: &[u8]) {
        debug_assert!(self.is_empty());
        self.push_own(spares, unsent.len() + 1, |out| {
            out.push(0); // what is written of it
            out.extend_from_slice(unsent);
        });
        self.written(1, spares);
    }

    /// Appends a whole frame of the connection's own that has a buffer to itself.
    pub(crate) fn push_whole(&mut self, spares: &mut Spares, frame: Vec<u8>) {
        let weight = Weight { bytes: frame.len(), own_bytes: frame.len(), messages: 1 };
        let item = Item::Own { frames: frame, messages: 1 };
        match self.make_queue(spares) {
            Some(queue) => {
                queue.append(item, weight);
                spares.own_bytes += weight.own_bytes;
            }
            None => self.waiting = Waiting::Queue(spares.take_queue(item, weight)),
        }
    }

    /// Queues a delivery, or drops one as the policy says.
    #[inline]
    pub(crate) fn push(&mut self, spares: &mut Spares, delivery: &Arc<Delivery>, limits: &Limits) -> Pushed {
        if self.is_empty() {
            self.waiting = Waiting::One(Arc::clone(delivery));
            return Pushed::Queued;
        }
        self.push_behind(spares, delivery, limits)
    }

    fn push_behind(&mut self, spares: &mut Spares, delivery: &Arc<Delivery>, limits: &Limits) -> Pushed {
        let Some(queue) = self.make_queue(spares) else { return Pushed::Queued };
        if queue.blocked {
            if delivery.conflates {
                spares.dropped.conflated += u64::from(queue.conflate(delivery));
                return Pushed::Queued;
            }
            if !queue.has_room(delivery.frame.len(), limits) {
                return self.push_full(spares, delivery, limits);
            }
        }
        queue.append(Item::of(Arc::clone(delivery)), Weight::of(delivery));
        Pushed::Queued
    }

    fn push_full(&mut self, spares: &mut Spares, delivery: &Arc<Delivery>, limits: &Limits) -> Pushed {
        if !delivery.announced {
            spares.dropped.transient += 1;
            return Pushed::Queued; // a typing indicator: nobody misses it
        }
        if limits.slow_consumer == SlowConsumer::Disconnect {
            spares.dropped.disconnected += 1;
            return Pushed::Overrun;
        }
        let Waiting::Queue(mut queue) = std::mem::take(&mut self.waiting) else { return Pushed::Queued };
        let pushed = queue.in_a_row(|queue| queue.squeeze_in(delivery, limits, &mut spares.dropped));
        if queue.messages > 0 {
            self.waiting = Waiting::Queue(queue);
        } else {
            spares.give_queue(queue);
        }
        pushed
    }

    /// Forgets everything but a half-written frame, and the answer to the upgrade without which there are no frames:
    /// what is left to say is a close frame. If nothing is left, so is not that the socket was full: it is tried again.
    pub(crate) fn abandon(&mut self, spares: &mut Spares) {
        let Waiting::Queue(mut queue) = std::mem::take(&mut self.waiting) else { return };
        while let Some(item) = queue.rest.pop_front() {
            spares.give(item);
        }
        let owned = queue.own_bytes;
        // A frame of a server does not begin with `H`: that would be reserved bits.
        if queue.head_written == 0 && !queue.first.bytes().starts_with(b"HTTP/") {
            return spares.give_queue(queue);
        }
        queue.bytes = queue.first.bytes().len() - queue.head_written as usize;
        queue.own_bytes = if matches!(queue.first, Item::Own { .. }) { queue.bytes } else { 0 };
        spares.own_bytes = spares.own_bytes + queue.own_bytes - owned;
        queue.messages = queue.first.messages();
        self.waiting = Waiting::Queue(queue);
    }

    /// Moves everything that is not yet written to `out`: only own frames, of a connection that is in no topic.
    pub(crate) fn take_all(&mut self, spares: &mut Spares, out: &mut Vec<u8>) {
        let Waiting::Queue(mut queue) = std::mem::take(&mut self.waiting) else { return };
        out.extend_from_slice(&queue.first.bytes()[queue.head_written as usize..]);
        while let Some(item) = queue.rest.pop_front() {
            out.extend_from_slice(item.bytes());
            spares.give(item);
        }
        spares.give_queue(queue);
    }

    /// Gives every gap among the first `window` items its frame: `write` appends the announcement. What was
    /// announced can't grow any more.
    pub(crate) fn announce(
        &mut self,
        window: usize,
        spares: &mut Spares,
        mut write: impl FnMut(&Gap, &mut Vec<u8>),
    ) {
        let Waiting::Queue(queue) = &mut self.waiting else { return };
        // Most queues hold one frame. Only a shortcut: without it what follows would do the same.
        if queue.rest.is_empty() && !matches!(queue.first, Item::Gap(_)) {
            return;
        }
        for item in std::iter::once(&mut queue.first).chain(&mut queue.rest).take(window) {
            if let Item::Gap(gap) = item {
                let mut frames = spares.buffers.take(0);
                write(gap, &mut frames);
                queue.bytes += frames.len();
                queue.own_bytes += frames.len();
                spares.own_bytes += frames.len();
                *item = Item::Own { frames, messages: 1 };
            }
        }
    }

    /// Lays out the first frames for one write. Gaps end it: see [`Outbox::announce`]. Returns how many slices.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let Some((slice, slices)) = slices.split_first_mut() else { return 0 };
        let queue = match &self.waiting {
            Waiting::Nothing => return 0,
            Waiting::One(delivery) => {
                *slice = IoSlice::new(&delivery.frame);
                return 1;
            }
            Waiting::Queue(queue) => queue,
        };
        if matches!(queue.first, Item::Gap(_)) {
            return 0;
        }
        *slice = IoSlice::new(&queue.first.bytes()[queue.head_written as usize..]);
        if queue.rest.is_empty() {
            return 1;
        }
        let mut used = 1;
        for (slice, item) in slices.iter_mut().zip(&queue.rest) {
            if matches!(item, Item::Gap(_)) {
                break;
            }
            *slice = IoSlice::new(item.bytes());
            used += 1;
        }
        used
    }

    /// Takes `count` written bytes off the front.
    pub(crate) fn written(&mut self, mut count: usize, spares: &mut Spares) {
        if let Waiting::One(delivery) = &self.waiting
            && delivery.frame.len() == count
        {
            spares.frames_written += u64::from(delivery.events);
            // Said so, it is let go of right here.
            if let Waiting::One(delivery) = std::mem::take(&mut self.waiting) {
                drop(delivery);
            }
            return;
        }
        let Some(queue) = self.make_queue(spares) else { return debug_assert_eq!(count, 0) };
        debug_assert!(count <= queue.bytes);
        // The end of most queues. Only a shortcut: without it what follows would do the same.
        if count == queue.bytes && queue.rest.is_empty() && !matches!(queue.first, Item::Gap(_)) {
            spares.frames_written += u64::from(queue.messages);
            return self.clear(spares);
        }
        queue.bytes -= count;
        while !matches!(queue.first, Item::Gap(_)) {
            let left = queue.first.bytes().len() - queue.head_written as usize;
            if matches!(queue.first, Item::Own { .. }) {
                queue.own_bytes -= left.min(count);
                spares.own_bytes -= left.min(count);
            }
            if count < left {
                queue.head_written += index32(count);
                return;
            }
            count -= left;
            queue.head_written = 0;
            queue.messages -= queue.first.messages();
            spares.frames_written += u64::from(queue.first.messages());
            let Some(next) = queue.rest.pop_front() else {
                self.clear(spares);
                break;
            };
            spares.give(std::mem::replace(&mut queue.first, next));
        }
        debug_assert_eq!(count, 0);
    }

    /// All is written but the first item of the queue, and that is done with too.
    fn clear(&mut self, spares: &mut Spares) {
        if let Waiting::Queue(queue) = std::mem::take(&mut self.waiting) {
            spares.give_queue(queue);
        }
    }

    /// Asserts the invariants.
    pub(crate) fn check(&self) {
        let Some(queue) = self.queue() else { return };
        let items = || std::iter::once(&queue.first).chain(&queue.rest);
        let queued: usize = items().map(|item| item.bytes().len()).sum();
        assert_eq!(queue.bytes, queued - queue.head_written as usize, "bytes");
        assert_eq!(queue.messages, items().map(Item::messages).sum::<u32>(), "messages");
        assert!(queue.messages > 0, "an empty queue is none");
        let head = queue.first.bytes().len();
        assert!(queue.head_written == 0 || (queue.head_written as usize) < head, "head_written");
    }
}

impl Queue {
    /// The own frames at the end, if what is pushed now may follow them in their buffer: not in one that is partly
    /// written, as a queue that never runs empty would keep all that it ever wrote.
    fn open_frames(&mut self) -> Option<(&mut Vec<u8>, &mut u32)> {
        let last = match self.rest.back_mut() {
            Some(last) => last,
            None if self.head_written > 0 => return None,
            None => &mut self.first,
        };
        match last {
            Item::Own { frames, messages } => Some((frames, messages)),
            Item::Shared(_) | Item::Latest(_) | Item::Gap(_) => None,
        }
    }

    fn has_room(&self, more: usize, limits: &Limits) -> bool {
        self.bytes + more <= limits.queue_bytes_max && (self.messages as usize) < limits.queue_messages_max
    }

    fn append(&mut self, item: Item, weight: Weight) {
        self.bytes += weight.bytes;
        self.own_bytes += weight.own_bytes;
        self.messages += weight.messages;
        self.rest.push_back(item);
    }

    /// Queues a delivery in the place of the newest of its topic that waits. One that own frames follow goes, and this
    /// comes behind them: they may say how the topic stands, or that the connection has left it. Whether there was one.
    fn conflate(&mut self, delivery: &Arc<Delivery>) -> bool {
        let mut own_follow = false;
        let mut found = None;
        for (at, item) in self.rest.iter().enumerate().rev() {
            match item {
                Item::Own { .. } => own_follow = true,
                Item::Latest(waiting) if waiting.topic == delivery.topic => {
                    found = Some((at, waiting.frame.len()));
                    break;
                }
                _ => {}
            }
        }
        let fresh = Item::Latest(Arc::clone(delivery));
        match (found, &self.first) {
            (Some((at, bytes)), _) if own_follow => {
                self.rest.remove(at);
                self.bytes -= bytes;
                self.messages -= 1;
            }
            (Some((at, bytes)), _) => {
                self.bytes = self.bytes - bytes + delivery.frame.len();
                self.rest[at] = fresh;
                return true;
            }
            (None, Item::Latest(waiting))
                if waiting.topic == delivery.topic && self.head_written == 0 && !own_follow =>
            {
                self.bytes = self.bytes - waiting.frame.len() + delivery.frame.len();
                self.first = fresh;
                return true;
            }
            _ => {}
        }
        self.append(fresh, Weight::of(delivery));
        found.is_some()
    }

    /// Does something while all items stand in `rest`.
    fn in_a_row<R>(&mut self, act: impl FnOnce(&mut Queue) -> R) -> R {
        let first = std::mem::replace(&mut self.first, Item::NOTHING);
        self.rest.push_front(first);
        let result = act(self);
        if let Some(first) = self.rest.pop_front() {
            self.first = first;
        }
        result
    }

    /// Queues a delivery for which there is no room, and a gap where one is dropped. All items stand in a row.
    fn squeeze_in(&mut self, delivery: &Arc<Delivery>, limits: &Limits, dropped: &mut Drops) -> Pushed {
        if limits.slow_consumer == SlowConsumer::DropNewest {
            dropped.newest += 1;
            return self.drop_newest(delivery, limits);
        }
        while !self.has_room(delivery.frame.len(), limits) {
            let Some(events) = self.drop_oldest() else {
                dropped.newest += 1;
                return self.drop_newest(delivery, limits);
            };
            dropped.oldest += u64::from(events);
        }
        self.append(Item::Shared(Arc::clone(delivery)), Weight::of(delivery));
        Pushed::Queued
    }

    /// Turns the oldest delivery into (a part of) a gap; returns how many events that were. None if there is none that
    /// can go.
    fn drop_oldest(&mut self) -> Option<u32> {
        let first = usize::from(self.head_written > 0);
        let at = (first..self.rest.len()).find(|&i| matches!(self.rest[i], Item::Shared(_)))?;
        let Some(Item::Shared(delivery)) = self.rest.remove(at) else { return None };
        self.bytes -= delivery.frame.len();
        self.messages -= delivery.events;
        if delivery.announced && !self.extend_gap(at, &delivery) {
            self.insert_gap(at, &delivery);
        }
        Some(delivery.events)
    }

    /// Leaves a gap at the end instead of the delivery.
    fn drop_newest(&mut self, delivery: &Delivery, limits: &Limits) -> Pushed {
        if self.extend_gap(self.rest.len(), delivery) {
            return Pushed::Queued;
        }
        // Gaps may double the queue in messages; a client still further behind is let go.
        if self.messages as usize >= limits.queue_messages_max * 2 {
            return Pushed::Overrun;
        }
        self.insert_gap(self.rest.len(), delivery);
        Pushed::Queued
    }

    /// Adds `delivery` to its topic's gap among those directly before `at`. What is announced must not overtake an own
    /// frame, which may tell of the same topic: a snapshot says how far it goes. False if there is no such gap.
    fn extend_gap(&mut self, at: usize, delivery: &Delivery) -> bool {
        for item in self.rest.range_mut(..at).rev() {
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
        self.rest.insert(at, Item::Gap(Box::new(gap)));
        self.messages += 1;
    }
}

#[cfg(test)]
mod tests;
