//! What an owner tells a store, in the order in which it happened, and what it gets back after a restart.
//!
//! Writes nothing and waits for nothing: entries are handed out in batches, and whoever stores them says when a batch
//! is safe. Until then the outcomes that came after its first entry may be held back, so that nobody hears of what a
//! crash would undo.
//!
//! ```text
//! outcomes  1 2 3 │ 4 5 6 7 │ 8 9 …            may go: all before the first entry that is not safe
//! entries         a b       c                  batches cut: [a b] [c], safe: none ─► 1 2 3 may go
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use crate::hub::event::Publication;
use crate::hub::name::Topic;
use crate::hub::operation::Operation;

/// Entries that may be unsafe at a time: beyond that the owner takes no more requests until the store has caught up.
pub const ENTRIES_MAX: usize = 16 << 10;

/// Bytes of payload in them, likewise.
pub const BYTES_MAX: usize = 16 << 20;

/// What becomes of what topics remember when the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It is gone.
    Off,
    /// It is on disk soon after clients heard of it.
    Async,
    /// It is on disk before anybody hears of it.
    Sync,
}

/// How far a history reaches back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Offset of the oldest publication that is still remembered; one more than the newest if none is.
    pub first: u64,
    /// Nobody misses what was published up to here; what lies between is lost, and known to be. Less than `first`.
    pub acknowledged: u64,
}

/// Something that happened to a topic.
#[derive(Clone, Debug)]
pub enum Entry {
    /// It has a publication more.
    Published {
        /// Which topic.
        topic: Topic,
        /// Its numbering.
        epoch: Arc<str>,
        /// Its newest publication.
        publication: Arc<Publication>,
        /// What is remembered now.
        reach: Reach,
    },
    /// Its older publications are forgotten.
    Trimmed {
        /// Which topic.
        topic: Topic,
        /// What is remembered now.
        reach: Reach,
    },
    /// Its text was edited.
    Edited {
        /// Which topic.
        topic: Topic,
        /// The version that this makes: one more than the last.
        version: u64,
        /// As it was applied.
        operation: Operation,
    },
    /// Its text as a whole, after so many edits that keeping them would cost more.
    Written {
        /// Which topic.
        topic: Topic,
        /// The version that this is.
        version: u64,
        /// The text.
        text: Arc<String>,
    },
    /// All of it is forgotten: its numbering is over. Of an inbox, a store remembers how far that went.
    Forgotten {
        /// Which topic.
        topic: Topic,
    },
}

impl Entry {
    fn bytes(&self) -> usize {
        match self {
            Entry::Published { publication, .. } => publication.payload.len(),
            Entry::Edited { operation: Operation::Insert { text, .. }, .. } => text.len(),
            Entry::Written { text, .. } => text.len(),
            Entry::Trimmed { .. } | Entry::Edited { .. } | Entry::Forgotten { .. } => 0,
        }
    }
}

/// Entries on their way to a store.
#[derive(Debug)]
pub struct Journal {
    /// Whether outcomes wait until what is before them is safe.
    holds: bool,
    entries: Vec<Entry>,
    /// What `entries` come to.
    open: Sum,
    /// The same for each batch that is cut and not safe, oldest first.
    cut: VecDeque<Sum>,
    /// All of these together; `from` means nothing.
    all: Sum,
}

/// What a batch comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    /// Outcomes queued, ever, when the first of the entries was written.
    from: u64,
    entries: usize,
    bytes: usize,
}

impl Journal {
    /// An empty journal; `holds`: outcomes wait until what is before them is safe.
    #[must_use]
    pub fn new(holds: bool) -> Journal {
        Journal {
            holds,
            entries: Vec::new(),
            open: Sum::default(),
            cut: VecDeque::new(),
            all: Sum::default(),
        }
    }

    /// Writes an entry; so many outcomes were queued before it, ever.
    pub fn write(&mut self, entry: Entry, outcomes: u64) {
        if self.entries.is_empty() {
            self.open = Sum { from: outcomes, ..Sum::default() };
        }
        for sum in [&mut self.open, &mut self.all] {
            sum.entries += 1;
            sum.bytes += entry.bytes();
        }
        self.entries.push(entry);
    }

    /// What was written since the last batch, to be stored; none if nothing was.
    pub fn cut(&mut self) -> Option<Vec<Entry>> {
        if self.entries.is_empty() {
            return None;
        }
        self.cut.push_back(self.open);
        Some(std::mem::take(&mut self.entries))
    }

    /// The oldest batch that was cut is safe.
    pub fn stored(&mut self) {
        let Some(batch) = self.cut.pop_front() else {
            debug_assert!(false, "what was not cut cannot be safe");
            return;
        };
        self.all.entries -= batch.entries;
        self.all.bytes -= batch.bytes;
    }

    /// So many outcomes, counted from the first ever, may go.
    #[must_use]
    pub fn released(&self) -> u64 {
        match (self.holds, self.cut.front()) {
            (false, _) => u64::MAX,
            (true, Some(batch)) => batch.from,
            (true, None) if !self.entries.is_empty() => self.open.from,
            (true, None) => u64::MAX,
        }
    }

    /// Whether the store is too far behind to be given more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.all.entries >= ENTRIES_MAX || self.all.bytes >= BYTES_MAX
    }

    /// Whether all that was written is safe.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        self.cut.is_empty() && self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::Keys;
    use crate::hub::name::TopicKind;

    fn entry() -> Entry {
        Entry::Forgotten { topic: Topic::new(TopicKind::Room, "r", Keys::new([1; 16])) }
    }

    #[test]
    fn outcomes_wait_for_what_is_before_them() {
        let mut journal = Journal::new(true);
        assert_eq!(journal.released(), u64::MAX);
        journal.write(entry(), 3);
        journal.write(entry(), 5);
        assert_eq!(journal.released(), 3, "written, not even cut");
        assert_eq!(journal.cut().map(|batch| batch.len()), Some(2));
        journal.write(entry(), 8);
        assert_eq!(journal.released(), 3);
        journal.stored();
        assert_eq!(journal.released(), 8);
        assert!(journal.cut().is_some() && journal.cut().is_none());
        assert_eq!(journal.released(), 8);
        journal.stored();
        assert_eq!(journal.released(), u64::MAX);
        assert!(journal.is_safe());
    }

    #[test]
    fn a_journal_that_does_not_hold_only_counts() {
        let mut journal = Journal::new(false);
        for _ in 0..ENTRIES_MAX / 2 {
            assert!(!journal.is_full());
            journal.write(entry(), 0);
            journal.write(entry(), 0);
            assert!(journal.cut().is_some());
        }
        assert!(journal.is_full() && journal.released() == u64::MAX);
        journal.stored();
        assert!(!journal.is_full());
    }
}
