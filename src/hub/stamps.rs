//! What became of the application's publications, for a while: so that trying one again does it once.
//!
//! Bounded by age and by count, the oldest go first. A publication is known by its mark, a digest that nobody can
//! forge; its content is remembered as a hash, to notice a mark that is used again for something else. Publishes
//! nothing itself.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::clock::Mono;
use crate::base::hash::{Keys, Map};
use crate::hub::event::Stamp;
use crate::hub::table::shrink_if_sparse;

/// How long a publication may be tried again: longer than any client's retries should last.
pub const STAMP_AGE: Duration = Duration::from_secs(5 * 60);

/// Most stamps of one owner: 436 publications a second for [`STAMP_AGE`], in some 20 MB.
pub const STAMPS_MAX: usize = 1 << 17;

/// Stamps that one call forgets at most, so that a turn stays short.
const EXPIRED_PER_CALL_MAX: usize = 1024;

#[derive(Debug)]
struct Kept {
    /// Hash of what was published, and in whose name.
    content: u64,
    stamp: Stamp,
}

/// What is known of a mark.
#[derive(Debug, PartialEq, Eq)]
pub enum Known<'a> {
    /// Nothing: it is the first try, or the last was too long ago.
    New,
    /// It was done.
    Done(&'a Stamp),
    /// Something else was done under this mark.
    Taken,
}

/// See the module's page.
#[derive(Debug)]
pub struct Stamps {
    kept: Map<u128, Kept>,
    /// Invariant: the marks of `kept`, each once, with when they came, oldest first.
    order: VecDeque<(Mono, u128)>,
}

impl Stamps {
    /// None yet.
    #[must_use]
    pub fn new(keys: Keys) -> Stamps {
        Stamps { kept: Map::with_hasher(keys), order: VecDeque::new() }
    }

    /// What is known of `mark`, which now comes with this content.
    pub fn find(&mut self, mark: u128, content: u64, now: Mono) -> Known<'_> {
        self.expire(now);
        match self.kept.get(&mark) {
            None => Known::New,
            Some(kept) if kept.content == content => Known::Done(&kept.stamp),
            Some(_) => Known::Taken,
        }
    }

    /// Remembers what became of a mark that [`Stamps::find`] called new.
    pub fn keep(&mut self, mark: u128, content: u64, stamp: Stamp, now: Mono) {
        if self.order.len() == STAMPS_MAX {
            self.forget_oldest();
        }
        let before = self.kept.insert(mark, Kept { content, stamp });
        debug_assert!(before.is_none(), "a mark is kept once");
        self.order.push_back((now, mark));
    }

    /// Forgets what is too old, some of it at a time.
    pub fn expire(&mut self, now: Mono) {
        for _ in 0..EXPIRED_PER_CALL_MAX {
            match self.next_expiry() {
                Some(due) if due <= now => self.forget_oldest(),
                _ => return,
            }
        }
    }

    /// When [`Stamps::expire`] will have something to do; none while it has nothing.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Mono> {
        self.order.front().map(|(taken, _)| *taken + STAMP_AGE)
    }

    fn forget_oldest(&mut self) {
        let Some((_, mark)) = self.order.pop_front() else { return };
        self.kept.remove(&mark);
        shrink_if_sparse(&mut self.kept);
        if self.order.is_empty() {
            self.order = VecDeque::new();
        }
    }

    /// Asserts the invariants.
    pub(super) fn check(&self) {
        assert_eq!(self.kept.len(), self.order.len(), "each mark once");
        assert!(self.order.len() <= STAMPS_MAX);
        assert!(self.order.iter().all(|(_, mark)| self.kept.contains_key(mark)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(offset: u64) -> Stamp {
        Stamp { offset, epoch: "e".into(), delivered: 1 }
    }

    fn stamps() -> Stamps {
        Stamps::new(Keys::new([1; 16]))
    }

    #[test]
    fn a_mark_is_known_for_five_minutes() {
        let mut stamps = stamps();
        let (start, end) = (Mono(7), Mono(7) + STAMP_AGE);
        assert_eq!(stamps.find(1, 10, start), Known::New);
        stamps.keep(1, 10, stamp(5), start);
        let late = Mono(end.0 - 1);
        assert_eq!(stamps.find(1, 10, late), Known::Done(&stamp(5)));
        assert_eq!(stamps.find(1, 11, late), Known::Taken, "another content");
        assert_eq!(stamps.find(2, 10, late), Known::New);
        assert_eq!(stamps.next_expiry(), Some(end));
        assert_eq!(stamps.find(1, 10, end), Known::New);
        assert_eq!(stamps.next_expiry(), None);
        stamps.check();
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let mut stamps = stamps();
        for mark in 0..STAMPS_MAX as u128 + 2 {
            stamps.keep(mark, 0, stamp(1), Mono(0));
        }
        stamps.check();
        assert_eq!(stamps.find(1, 0, Mono(1)), Known::New);
        assert_eq!(stamps.find(2, 0, Mono(1)), Known::Done(&stamp(1)));
    }

    #[test]
    fn memory_comes_back() {
        let mut stamps = stamps();
        for mark in 0..3000 {
            stamps.keep(mark, 0, stamp(1), Mono(0));
        }
        let late = Mono(0) + STAMP_AGE;
        stamps.expire(late);
        assert_eq!(stamps.kept.len(), 3000 - EXPIRED_PER_CALL_MAX, "in portions");
        stamps.expire(late);
        stamps.expire(late);
        assert_eq!((stamps.next_expiry(), stamps.order.capacity()), (None, 0));
        assert!(stamps.kept.capacity() < 100, "{}", stamps.kept.capacity());
        stamps.check();
    }
}
