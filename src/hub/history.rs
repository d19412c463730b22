//! The newest publications of one topic, bounded by count, age and bytes.
//!
//! Never answers "since" by half: everything after a position, or [`Gap`]. Never looks at a clock; the
//! age bound is applied when something is pushed or read.
//!
//! ```text
//! offsets   1 … 40 | 41 42 43 … 57 | 58 …
//!           gone   | entries       | not yet       head = 57
//! ```
//!
//! Invariant: entries are numbered without a hole, and the last one, if there is one, is the topic's head.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::clock::Mono;
use crate::hub::event::Publication;
use crate::hub::policy::Policy;

/// What a remembered publication costs beside its payload, in bytes: both reference-counted blocks, the
/// entry here, and the frame's envelope (names and timestamp).
pub const PUBLICATION_BYTES: usize = 512;

/// What remembering `publication` costs, in bytes. The payload counts twice, because the frame that its
/// first reader encodes holds a copy of it.
#[must_use]
pub fn cost(publication: &Publication) -> usize {
    2 * publication.payload.len() + PUBLICATION_BYTES
}

/// Why a position cannot be continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// It belongs to another numbering.
    Epoch,
    /// It lies ahead of the newest publication.
    Ahead,
    /// What follows it is partly forgotten.
    Forgotten,
}

/// A ring of publications, oldest first.
#[derive(Debug, Default)]
pub struct History {
    entries: VecDeque<Entry>,
    /// Invariant: sum of [`cost`] over `entries`.
    bytes: usize,
    /// Nobody misses what was published up to here: it was acknowledged, or comes from before.
    acknowledged: u64,
}

#[derive(Debug)]
struct Entry {
    /// When the owner took it, on the clock that decides deadlines.
    taken: Mono,
    publication: Arc<Publication>,
}

impl History {
    /// A history that begins after the publication `head`.
    #[must_use]
    pub fn after(head: u64) -> History {
        History { acknowledged: head, ..History::default() }
    }

    /// Forgets everything up to `offset`, of which nobody misses anything.
    pub fn acknowledge(&mut self, offset: u64) {
        self.acknowledged = self.acknowledged.max(offset);
        while self.entries.front().is_some_and(|entry| entry.publication.offset <= offset) {
            self.forget_oldest();
        }
    }

    /// Nobody misses what was published up to here.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// First and last offset of what was not acknowledged and is forgotten, while anything is remembered.
    #[must_use]
    pub fn unacknowledged_lost(&self) -> Option<(u64, u64)> {
        let first = self.entries.front()?.publication.offset;
        (self.acknowledged + 1 < first).then(|| (self.acknowledged + 1, first - 1))
    }

    /// Remembers the topic's newest publication, at the price of the oldest ones. One that alone exceeds
    /// the bound on bytes is not kept, and nothing before it either: there must be no hole.
    pub fn push(&mut self, publication: Arc<Publication>, now: Mono, policy: &Policy) {
        debug_assert!(
            self.entries.back().is_none_or(|entry| entry.publication.offset + 1 == publication.offset),
            "publications come in order"
        );
        self.forget_aged(now, policy);
        self.bytes += cost(&publication);
        self.entries.push_back(Entry { taken: now, publication });
        while self.entries.len() > policy.history_messages_max || self.bytes > policy.history_bytes_max {
            self.forget_oldest();
        }
        debug_assert!(!self.entries.is_empty() || self.bytes == 0);
    }

    /// Everything after `offset`, oldest first, in a topic whose newest publication has the offset `head`.
    /// At the head itself that is nothing, provably, however much is forgotten.
    ///
    /// # Errors
    /// When it cannot be all.
    pub fn since(
        &mut self,
        offset: u64,
        head: u64,
        now: Mono,
        policy: &Policy,
    ) -> Result<impl ExactSizeIterator<Item = &Arc<Publication>>, Gap> {
        debug_assert!(self.entries.back().is_none_or(|entry| entry.publication.offset == head));
        self.forget_aged(now, policy);
        let missing = head.checked_sub(offset).ok_or(Gap::Ahead)?;
        let missing = usize::try_from(missing).map_err(|_| Gap::Forgotten)?;
        let from = self.entries.len().checked_sub(missing).ok_or(Gap::Forgotten)?;
        Ok(self.entries.range(from..).map(|entry| &entry.publication))
    }

    /// The newest `limit` publications, oldest first; only those before offset `before` if given.
    pub fn newest(
        &mut self,
        limit: usize,
        before: Option<u64>,
        now: Mono,
        policy: &Policy,
    ) -> impl ExactSizeIterator<Item = &Arc<Publication>> {
        self.forget_aged(now, policy);
        let len = self.entries.len();
        let end = match (before, self.entries.front()) {
            (Some(before), Some(first)) => {
                usize::try_from(before.saturating_sub(first.publication.offset)).unwrap_or(len).min(len)
            }
            _ => len,
        };
        self.entries.range(end.saturating_sub(limit)..end).map(|entry| &entry.publication)
    }

    /// Forgets what has reached the policy's age.
    pub fn forget_aged(&mut self, now: Mono, policy: &Policy) {
        while self.entries.front().is_some_and(|entry| entry.taken + policy.history_age <= now) {
            self.forget_oldest();
        }
    }

    /// Forgets the oldest publication, if there is one.
    pub fn forget_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= cost(&entry.publication);
        }
    }

    /// When the last publication will have reached the policy's age; none if nothing is remembered.
    #[must_use]
    pub fn expiry(&self, policy: &Policy) -> Option<Mono> {
        self.entries.back().map(|entry| entry.taken + policy.history_age)
    }

    /// What is remembered costs so many bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many publications are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Asserts the invariants, in time proportional to what is remembered.
    pub(super) fn check(&self, head: u64, policy: &Policy) {
        let offsets = self.entries.iter().map(|entry| entry.publication.offset);
        let len = u64::try_from(self.entries.len()).unwrap_or(u64::MAX);
        assert!(len <= head && offsets.eq(head - len + 1..=head), "no hole, and up to the head");
        assert!(self.entries.iter().is_sorted_by_key(|entry| entry.taken), "oldest first");
        assert_eq!(self.bytes, self.entries.iter().map(|entry| cost(&entry.publication)).sum::<usize>());
        assert!(self.entries.len() <= policy.history_messages_max && self.bytes <= policy.history_bytes_max);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::base::clock::Wall;
    use crate::base::shared::Shared;
    use crate::hub::event::Body;
    use crate::hub::name::{TopicKind, User};
    use crate::hub::policy::{self, Options, Policies};

    const FIVE: usize = 5;

    fn policy() -> Policy {
        Policy {
            history_messages_max: FIVE,
            history_age: Duration::from_micros(100),
            history_bytes_max: 10 * PUBLICATION_BYTES,
            ..Policies::new(&Options::default()).of_kind_mut(TopicKind::Room).clone()
        }
    }

    fn publication(offset: u64, bytes: usize) -> Arc<Publication> {
        Arc::new(Publication {
            offset,
            time: Wall(0),
            user: Arc::new(User { id: "u".into(), name: None }),
            payload: Shared::copy_of(&vec![0; bytes]),
            body: Body::Value,
            frame: OnceLock::new(),
        })
    }

    /// What "since" says at `now`: the offsets, or why not.
    fn since(history: &mut History, offset: u64, head: u64, now: u64) -> Result<Vec<u64>, Gap> {
        Ok(history.since(offset, head, Mono(now), &policy())?.map(|publication| publication.offset).collect())
    }

    fn newest(history: &mut History, limit: usize, before: Option<u64>, now: u64) -> Vec<u64> {
        history.newest(limit, before, Mono(now), &policy()).map(|publication| publication.offset).collect()
    }

    /// Offsets 1..=count, one a microsecond.
    fn filled(count: u64) -> History {
        let mut history = History::default();
        for offset in 1..=count {
            history.push(publication(offset, 1), Mono(offset), &policy());
            history.check(offset, &policy());
        }
        history
    }

    #[test]
    fn the_largest_default_message_fits_into_a_rooms_history() {
        let cost = cost(&publication(1, 1 << 20));
        assert!(cost <= policy::ROOM_HISTORY_BYTES);
    }

    #[test]
    fn since_is_exact_or_not_at_all() {
        let mut history = filled(8);
        assert_eq!(since(&mut history, 2, 8, 8), Err(Gap::Forgotten));
        assert_eq!(since(&mut history, 0, 8, 8), Err(Gap::Forgotten));
        assert_eq!(since(&mut history, 3, 8, 8), Ok(vec![4, 5, 6, 7, 8]));
        assert_eq!(since(&mut history, 7, 8, 8), Ok(vec![8]));
        assert_eq!(since(&mut history, 8, 8, 8), Ok(vec![]));
        assert_eq!(since(&mut history, 9, 8, 8), Err(Gap::Ahead));
        assert_eq!(since(&mut history, u64::MAX, 8, 8), Err(Gap::Ahead));
    }

    #[test]
    fn before_the_first_publication_only_zero_is_a_position() {
        let mut history = History::default();
        assert_eq!(since(&mut history, 0, 0, 0), Ok(vec![]));
        assert_eq!(since(&mut history, 1, 0, 0), Err(Gap::Ahead));
        assert_eq!(newest(&mut history, 9, None, 0), Vec::<u64>::new());
        assert_eq!(newest(&mut history, 9, Some(4), 0), Vec::<u64>::new());
    }

    #[test]
    fn the_head_is_current_even_when_all_has_expired() {
        let mut history = filled(3);
        assert_eq!(history.expiry(&policy()), Some(Mono(103)));
        assert_eq!(since(&mut history, 1, 3, 102), Err(Gap::Forgotten));
        assert_eq!(since(&mut history, 2, 3, 102), Ok(vec![3]), "one microsecond is left");
        assert_eq!(since(&mut history, 2, 3, 103), Err(Gap::Forgotten));
        assert_eq!(since(&mut history, 3, 3, 103), Ok(vec![]));
        assert_eq!((history.len(), history.bytes()), (0, 0));
        assert_eq!(history.expiry(&policy()), None);
    }

    #[test]
    fn newest_counts_back_from_the_end_or_from_before() {
        let mut history = filled(8);
        assert_eq!(newest(&mut history, 2, None, 8), [7, 8]);
        assert_eq!(newest(&mut history, 0, None, 8), Vec::<u64>::new());
        assert_eq!(newest(&mut history, 99, None, 8), [4, 5, 6, 7, 8]);
        assert_eq!(newest(&mut history, 2, Some(7), 8), [5, 6]);
        assert_eq!(newest(&mut history, 9, Some(u64::MAX), 8), [4, 5, 6, 7, 8]);
        assert_eq!(newest(&mut history, 9, Some(5), 8), [4]);
        for nothing_before in [0, 1, 3, 4] {
            assert_eq!(newest(&mut history, 9, Some(nothing_before), 8), Vec::<u64>::new());
        }
    }

    #[test]
    fn bytes_push_out_the_oldest_and_a_giant_clears_all() {
        let mut history = filled(4);
        history.push(publication(5, 3 * PUBLICATION_BYTES), Mono(5), &policy());
        history.check(5, &policy());
        assert_eq!(newest(&mut history, 9, None, 5), [3, 4, 5], "7 of 10 units are the newest one's");
        history.push(publication(6, 5 * PUBLICATION_BYTES), Mono(6), &policy());
        assert_eq!((history.len(), history.bytes()), (0, 0), "too large alone");
        assert_eq!(since(&mut history, 5, 6, 6), Err(Gap::Forgotten));
        history.push(publication(7, 1), Mono(7), &policy());
        assert_eq!(since(&mut history, 6, 7, 7), Ok(vec![7]));
        assert_eq!(since(&mut history, 5, 7, 7), Err(Gap::Forgotten));
    }

    proptest! {
        /// Against a list of everything ever published, filtered anew at each question.
        #[test]
        fn agrees_with_a_plain_list(
            pushes in prop::collection::vec((0u64..60, 0usize..3000), 0..30),
            offset in 0u64..40,
            limit in 0usize..8,
            before in prop::option::of(0u64..40),
            wait in 0u64..120,
        ) {
            let (mut history, mut all, mut now) = (History::default(), Vec::new(), 0);
            for (head, (pause, bytes)) in (1..).zip(&pushes) {
                now += pause;
                history.push(publication(head, *bytes), Mono(now), &policy());
                history.check(head, &policy());
                all.push((head, now, 2 * bytes + PUBLICATION_BYTES));
                // Forgetting is for good: the twin cuts its list at each push as well.
                let mut keep = 0;
                while keep < FIVE.min(all.len()) && all[all.len() - 1 - keep].1 + 100 > now
                    && all[all.len() - 1 - keep..].iter().map(|entry| entry.2).sum::<usize>()
                        <= 10 * PUBLICATION_BYTES {
                    keep += 1;
                }
                all.drain(..all.len() - keep);
            }
            now += wait;
            let head = u64::try_from(pushes.len()).unwrap();
            let left: Vec<u64> =
                all.iter().filter(|entry| entry.1 + 100 > now).map(|entry| entry.0).collect();
            let wanted: Vec<u64> = (offset + 1..=head).collect();
            let expected = if offset > head { Err(Gap::Ahead) }
                else if wanted.iter().all(|offset| left.contains(offset)) { Ok(wanted) }
                else { Err(Gap::Forgotten) };
            prop_assert_eq!(since(&mut history, offset, head, now), expected);
            let mut expected: Vec<u64> =
                left.into_iter().filter(|offset| before.is_none_or(|before| *offset < before)).collect();
            expected.drain(..expected.len().saturating_sub(limit));
            prop_assert_eq!(newest(&mut history, limit, before, now), expected);
        }
    }
}
