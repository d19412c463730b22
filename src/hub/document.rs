//! A text that many edit at once: one order of operations, and each made to fit where it comes in that order.
//!
//! Knows who edits only as [`Origin`]s, and tells nobody; keeps no text of past operations. Positions count
//! Unicode code points. `version` counts the operations that were applied, so every client can number what it
//! is sent. An operation that had to be split (a delete around a concurrent insert) counts, and travels, as
//! several; one that has nothing left to do as none.
//!
//! # What a client does
//!
//! A client holds `text`, `version` (how far it has followed the server) and `pending`: its own operations
//! that are not yet acknowledged, oldest first, each as a list of parts. It may have many on the way.
//!
//! - *Joining* (`document_state`): `text` and `version` as given, `pending` empty.
//! - *Editing*: apply the operation to `text`, append it to `pending` (as one part; as none if it does nothing, but
//!   why send it), send it with `version`.
//! - *An operation of somebody else* comes with `version + 1`. For each part of each entry of `pending`, oldest
//!   first: [`transform`] the two over each other, the client's own being late, the server's early; the part is
//!   replaced by what is left of it, and what is left of the server's goes on to the next part. Apply what is
//!   left at the end to `text`, and count `version` up.
//! - *An acknowledgement* takes the oldest entry from `pending`; `version` becomes the one acknowledged, which is
//!   greater by the number of the entry's parts. So every operation must be acknowledged, and acknowledgements
//!   and operations must come in one order: that of the owner's lane.
//! - *A refusal, or a version that is not the expected one*: drop everything and join again. Until then the
//!   server refuses what was still on the way ([`Refusal::OutOfStep`]): it was made on a text that nobody has.
//!
//! The server does the same from the other side. For each author it keeps a *bridge*: others' operations that
//! the author had not seen, moved over the author's own. An operation passes over the bridge; what is left of
//! it fits the text as it is now. Both sides move the same pairs by the same rule, so all come to the same text.

use std::collections::{BTreeMap, VecDeque};

use ropey::Rope;

use crate::base::id::Origin;
use crate::hub::operation::{Operation, Shape, Side, transform};

/// How often one operation may be moved over another until it is applied: well above any honest backlog,
/// and a millisecond or two of work for a hostile one.
pub const TRANSFORMS_MAX: usize = 1 << 18;

/// Parts that one operation may come to: each is published to everybody, so that a single delete around many inserts
/// must not become as many publications. People who write at once split a delete in two or three.
pub const PARTS_MAX: usize = 32;

/// How much longer than the history a bridge may get by splitting.
const BRIDGE_PER_HISTORY: usize = 2;

/// What a text costs per byte, at most: the rope's pieces are never less than half full for long.
const TEXT_FACTOR: usize = 3;

/// What a document costs without text, history or authors: the rope's first piece and the structures here.
pub const DOCUMENT_BYTES: usize = 2048;

/// What an author costs without a bridge: the entry of the tree, which may be half empty.
pub const AUTHOR_BYTES: usize = 2 * (size_of::<Origin>() + size_of::<Author>());

/// What an entry of a bridge costs, in a list that may be half empty.
const BRIDGED_BYTES: usize = 2 * size_of::<(u64, Shape)>();

/// What one document may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many versions an operation may be behind (`--document-history`). A client's own operations on the way
    /// count as well.
    pub history: usize,
    /// Longest text, in bytes of UTF-8.
    pub bytes_max: usize,
}

/// An operation, as it fits after all that was accepted before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The document's version now: what the author's acknowledgement says.
    pub version: u64,
    /// What the others get, in this order; the last one makes the version above, the one before it the version
    /// before, and so on. Empty if nothing was left to do.
    pub operations: Vec<Operation>,
}

/// Why an operation is not applied. Its author has to join again, unless it never had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The author is not in the document.
    NotJoined,
    /// An earlier operation of the author was refused, so nobody has the text that this one was made on.
    OutOfStep,
    /// Made on a version that is no longer remembered, or on an older one than the author's operation before.
    VersionTooOld {
        /// The oldest version that would have been taken.
        oldest: u64,
    },
    /// Made on a version that does not exist yet.
    VersionAhead {
        /// The newest version there is.
        newest: u64,
    },
    /// A position beyond the end of the text that the operation was made on.
    OutOfBounds {
        /// How long that text is, in code points.
        len: u64,
    },
    /// A deletion that ends before it starts.
    Reversed,
    /// The text would be longer than allowed, or all documents would be together.
    Full,
}

/// Where somebody is in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Before the code point at this position.
    pub position: u64,
    /// From where to where text is selected, in either direction.
    pub selection: Option<(u64, u64)>,
}

impl Cursor {
    fn map(self, place: impl Fn(u64) -> u64) -> Cursor {
        let selection = self.selection.map(|(anchor, head)| (place(anchor), place(head)));
        Cursor { position: place(self.position), selection }
    }
}

/// One shared text. See the module page for how clients follow it.
#[derive(Debug)]
pub struct Document {
    limits: Limits,
    text: Rope,
    version: u64,
    /// The newest operations, as they were applied; the last one made `version`.
    /// Invariant: all after `rested`, or `limits.history` of them.
    history: VecDeque<Shape>,
    /// The version at which nobody was left who could have needed the history.
    rested: u64,
    authors: BTreeMap<Origin, Author>,
    /// Invariant: entries of all bridges together.
    bridged: usize,
}

/// Shapes with the versions that they came with, oldest first; the parts of a split one share theirs.
type Bridge = Vec<(u64, Shape)>;

/// What is known about one connection that edits.
#[derive(Debug)]
struct Author {
    /// The newest version that the author is known to have seen.
    seen: u64,
    /// Everything up to this version is the author's own, or in the bridge, or was seen.
    taken: u64,
    /// Others' operations after `seen`, by version, moved over the author's own ones that were accepted.
    bridge: Bridge,
    /// An operation was refused since the author joined.
    out_of_step: bool,
    cursor: Option<Cursor>,
}

impl Document {
    /// An empty text of version 0.
    #[must_use]
    pub fn new(limits: Limits) -> Document {
        Document {
            limits,
            text: Rope::new(),
            version: 0,
            history: VecDeque::new(),
            rested: 0,
            authors: BTreeMap::new(),
            bridged: 0,
        }
    }

    /// A text that was kept, and its version; nobody has to fit in older operations. One that is longer than the
    /// limits allow stays as it is and does not grow.
    #[must_use]
    pub fn resume(limits: Limits, text: &str, version: u64) -> Document {
        let limits = Limits { bytes_max: limits.bytes_max.max(text.len()), ..limits };
        Document { text: Rope::from_str(text), version, rested: version, ..Document::new(limits) }
    }

    /// Lets `author` edit, beginning at the text and version as they are now. Who is in already begins anew:
    /// that is how a client comes back into step. Its cursor stays.
    pub fn join(&mut self, author: Origin) {
        let cursor = self.leave(author);
        let (seen, taken) = (self.version, self.version);
        self.authors.insert(author, Author { seen, taken, bridge: Vec::new(), out_of_step: false, cursor });
    }

    /// Forgets `author`; gives its last cursor. When the last one leaves, the history goes as well: whoever comes now
    /// begins at this version.
    pub fn leave(&mut self, author: Origin) -> Option<Cursor> {
        let author = self.authors.remove(&author)?;
        self.bridged -= author.bridge.len();
        if self.authors.is_empty() {
            (self.history, self.rested) = (VecDeque::new(), self.version);
        }
        author.cursor
    }

    /// From now on nothing of `author` fits until it joins again: one of its operations is not applied.
    pub fn put_out_of_step(&mut self, author: Origin) {
        if let Some(known) = self.authors.get_mut(&author) {
            self.bridged -= known.bridge.len();
            known.bridge = Vec::new();
            known.out_of_step = true;
        }
    }

    /// Applies what `author` did to the text as it saw it: the server's `version`, and after that the author's
    /// own operations that came before this one.
    ///
    /// # Errors
    /// When it cannot be applied; the text is unchanged, and the author has to join again.
    pub fn apply(&mut self, author: Origin, version: u64, operation: &Operation) -> Result<Applied, Refusal> {
        self.follow(author, version)?;
        let fitted = self.fit(author, operation);
        if fitted.is_err() {
            self.put_out_of_step(author);
        }
        let parts = fitted?;
        let mut applied = Applied { version, operations: Vec::with_capacity(parts.len()) };
        for part in parts {
            applied.operations.push(self.edit(author, part, operation));
        }
        if let Some(author) = self.authors.get_mut(&author) {
            author.taken = self.version;
        }
        applied.version = self.version;
        debug_assert!(self.text.len_bytes() <= self.limits.bytes_max);
        Ok(applied)
    }

    /// Takes down where `author` is; gives it as it is in the text now. `version` is what the author had seen, as
    /// with [`Document::apply`]; without one, or with a wrong one, the cursor is taken to be in the text as it is
    /// now. Positions beyond the end are at the end. None: the author is not in the document, or out of step.
    pub fn point(&mut self, author: Origin, version: Option<u64>, cursor: Cursor) -> Option<Cursor> {
        let known = version.filter(|version| self.is_known(author, *version));
        let followed = known.is_some_and(|version| self.follow(author, version).is_ok());
        let len = self.len();
        let author = self.authors.get_mut(&author).filter(|author| !author.out_of_step)?;
        let bridge = if followed { author.bridge.as_slice() } else { &[] };
        let len_seen = bridge.iter().rev().fold(len, |len, (_, shape)| shape.len_before(len));
        let cursor = cursor.map(|at| {
            let seen = at.min(len_seen);
            bridge.iter().fold(seen, |at, (_, shape)| shape.shift(at, Side::Before))
        });
        author.cursor = Some(cursor);
        Some(cursor)
    }

    /// Where everybody is who said so. Two clients that apply concurrent edits in different order may hold a
    /// cursor at different ends of a deleted range, until its owner says anew where it is.
    pub fn cursors(&self) -> impl Iterator<Item = (Origin, Cursor)> {
        self.authors.iter().filter_map(|(author, known)| Some((*author, known.cursor?)))
    }

    /// Everybody who edits.
    pub fn authors(&self) -> impl Iterator<Item = Origin> {
        self.authors.keys().copied()
    }

    /// How many operations were applied.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Length of the text in bytes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.text.len_bytes()
    }

    /// Length of the text in code points.
    #[must_use]
    pub fn len(&self) -> u64 {
        u64::try_from(self.text.len_chars()).unwrap_or(u64::MAX)
    }

    /// Whether there is no text.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.len_bytes() == 0
    }

    /// The text, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        self.text.chunks()
    }

    /// The text in one piece.
    #[must_use]
    pub fn text(&self) -> String {
        self.text.to_string()
    }

    /// What the document costs, in bytes; rather too much than too little.
    #[must_use]
    pub fn memory(&self) -> usize {
        DOCUMENT_BYTES
            + TEXT_FACTOR * self.text.len_bytes()
            + self.history.capacity() * size_of::<Shape>()
            + self.authors.len() * AUTHOR_BYTES
            + self.bridged * BRIDGED_BYTES
    }

    /// What [`Document::memory`] may grow by when `author` inserts `inserted` bytes (0: deletes, or points) having seen
    /// `version`.
    #[must_use]
    pub fn growth(&self, author: Origin, version: u64, inserted: usize) -> usize {
        if self.authors.get(&author).is_some_and(|known| known.out_of_step) {
            return 0; // nothing of it is taken
        }
        let room = self.history.capacity().max(self.history.len() + PARTS_MAX);
        let history = if room > self.history.capacity() { 2 * room - self.history.capacity() } else { 0 };
        let bridge = self.authors.get(&author).map_or(0, |known| {
            let unseen = self.version - known.taken.max(version.min(self.version));
            known.bridge.len().saturating_add(index(unseen)).saturating_mul(2)
        });
        TEXT_FACTOR.saturating_mul(inserted)
            + history * size_of::<Shape>()
            + bridge.saturating_mul(BRIDGED_BYTES)
    }

    /// The oldest version that an operation may be made on.
    fn oldest(&self) -> u64 {
        self.version.saturating_sub(u64::try_from(self.limits.history).unwrap_or(u64::MAX))
    }

    fn is_known(&self, author: Origin, version: u64) -> bool {
        let seen = self.authors.get(&author).map_or(u64::MAX, |author| author.seen);
        (seen.max(self.oldest())..=self.version).contains(&version)
    }

    /// Brings `author`'s bridge to begin after `version`, and to reach up to now.
    fn follow(&mut self, author: Origin, version: u64) -> Result<(), Refusal> {
        let (newest, oldest) = (self.version, self.oldest());
        let Some(known) = self.authors.get_mut(&author) else { return Err(Refusal::NotJoined) };
        if known.out_of_step {
            return Err(Refusal::OutOfStep);
        }
        let oldest = oldest.max(known.seen);
        if version > newest || version < oldest {
            self.put_out_of_step(author);
            return Err(if version > newest {
                Refusal::VersionAhead { newest }
            } else {
                Refusal::VersionTooOld { oldest }
            });
        }
        self.bridged -= known.bridge.len();
        known.seen = version;
        known.bridge.retain(|(at, _)| *at > version);
        known.taken = known.taken.max(version);
        // The history reaches back to `oldest`, and so to `taken`.
        let missing = usize::try_from(newest - known.taken).unwrap_or(usize::MAX);
        let missing = self.history.range(self.history.len() - missing..);
        known.bridge.extend((known.taken + 1..).zip(missing.copied()));
        known.taken = newest;
        self.bridged += known.bridge.len();
        Ok(())
    }

    /// What is left of `operation` after the bridge of `author`, who has followed; the bridge is moved over it.
    fn fit(&mut self, author: Origin, operation: &Operation) -> Result<Vec<Shape>, Refusal> {
        let len = self.len();
        let Some(known) = self.authors.get_mut(&author) else { return Err(Refusal::NotJoined) };
        let len = known.bridge.iter().rev().fold(len, |len, (_, shape)| shape.len_before(len));
        match operation {
            Operation::Insert { position, .. } if *position > len => {
                return Err(Refusal::OutOfBounds { len });
            }
            Operation::Delete { start, end } if start > end => return Err(Refusal::Reversed),
            Operation::Delete { end, .. } if *end > len => return Err(Refusal::OutOfBounds { len }),
            Operation::Insert { text, .. } if text.len() > self.limits.bytes_max - self.text.len_bytes() => {
                return Err(Refusal::Full);
            }
            _ => {}
        }
        let Some(shape) = operation.shape() else { return Ok(Vec::new()) };
        let bridge_max = self.limits.history.saturating_mul(BRIDGE_PER_HISTORY);
        // Honest clients come nowhere near the bounds: for them, the history is what ends first.
        let Some((parts, bridge)) = cross(shape, &known.bridge, bridge_max) else {
            return Err(Refusal::VersionTooOld { oldest: self.version });
        };
        self.bridged = self.bridged - known.bridge.len() + bridge.len();
        known.bridge = bridge;
        Ok(parts)
    }

    /// Does one part of an operation that fits, and says how it is passed on.
    fn edit(&mut self, author: Origin, part: Shape, operation: &Operation) -> Operation {
        let passed_on = match (part, operation) {
            (Shape::Insert { at, .. }, Operation::Insert { text, .. }) => {
                self.text.insert(index(at), text);
                Operation::Insert { position: at, text: text.clone() }
            }
            (Shape::Delete { start, end }, _) => {
                self.text.remove(index(start)..index(end));
                Operation::Delete { start, end }
            }
            (Shape::Insert { .. }, Operation::Delete { .. }) => unreachable!("moving changes no kind"),
        };
        self.version += 1;
        if self.limits.history > 0 {
            if self.history.len() == self.limits.history {
                self.history.pop_front();
            }
            self.history.push_back(part);
        }
        for (origin, known) in &mut self.authors {
            let side = if *origin == author { Side::After } else { Side::Before };
            known.cursor = known.cursor.map(|cursor| cursor.map(|at| part.shift(at, side)));
        }
        passed_on
    }

    /// Asserts the invariants, in time proportional to the document.
    ///
    /// # Panics
    /// When one does not hold: that is a mistake in this file.
    pub fn check(&self) {
        assert!(self.text.len_bytes() <= self.limits.bytes_max);
        assert!(self.text.capacity() + self.history.capacity() * size_of::<Shape>() <= self.memory());
        let kept = self.limits.history.min(index(self.version - self.rested));
        assert_eq!(self.history.len(), kept, "all, or the most");
        assert_eq!(self.bridged, self.authors.values().map(|author| author.bridge.len()).sum::<usize>());
        for author in self.authors.values() {
            assert!(author.seen <= author.taken && author.taken <= self.version);
            assert!(author.bridge.iter().all(|(at, _)| (author.seen + 1..=author.taken).contains(at)));
            assert!(author.bridge.is_sorted_by_key(|(at, _)| *at));
            assert!(author.bridge.len() <= self.limits.history * BRIDGE_PER_HISTORY);
            let within = |at: u64| at <= self.len();
            assert!(author.cursor.is_none_or(|cursor| within(cursor.position)
                && cursor.selection.is_none_or(|(anchor, head)| within(anchor) && within(head))));
        }
    }
}

/// A text after operations that were applied to it, in their order; none if one of them does not fit.
#[must_use]
pub fn replay<'a>(text: &str, operations: impl Iterator<Item = &'a Operation>) -> Option<String> {
    let mut text = Rope::from_str(text);
    for operation in operations {
        match operation {
            Operation::Insert { position, text: new } => text.try_insert(index(*position), new).ok()?,
            Operation::Delete { start, end } => text.try_remove(index(*start)..index(*end)).ok()?,
        }
    }
    Some(text.to_string())
}

/// Moves `late` and all of the `bridge`, which is earlier, over each other: what is left of both. None if that
/// takes more than [`TRANSFORMS_MAX`] steps, makes more than [`PARTS_MAX`] of `late`, or leaves more than
/// `bridge_max` of the bridge.
fn cross(late: Shape, bridge: &[(u64, Shape)], bridge_max: usize) -> Option<(Vec<Shape>, Bridge)> {
    let mut parts = vec![late];
    let mut moved = Vec::with_capacity(bridge.len());
    let mut transforms = 0;
    let mut fewer = Vec::new();
    for (version, early) in bridge {
        let mut early = [Some(*early), None];
        for part in parts.drain(..) {
            transforms += 1;
            // Only a deletion comes in parts, and then what is early stays in one.
            debug_assert!(early[1].is_none());
            let Some(one) = early[0] else {
                fewer.push(part);
                continue;
            };
            let (left, rest) = transform(part, one);
            fewer.extend(left.into_iter().flatten());
            early = rest;
        }
        std::mem::swap(&mut parts, &mut fewer);
        moved.extend(early.into_iter().flatten().map(|shape| (*version, shape)));
        if transforms > TRANSFORMS_MAX || parts.len() > PARTS_MAX || moved.len() > bridge_max {
            return None;
        }
    }
    Some((parts, moved))
}

/// A position of the text as it is now, which fits into memory.
fn index(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
