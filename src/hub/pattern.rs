//! Patterns over names: subject patterns that many subscribe by, found by a trie, and the globs of settings.
//!
//! Knows nothing of kinds of topics or of subscribers: what a pattern stands for is an id of the caller's.
//! A name is looked up in a time that its own levels bound, whatever patterns there are.
//!
//! ```text
//! news.*        one level more: news.sport, not news.sport.uk and not news
//! news.>        one or more:    news.sport, news.sport.uk, not news
//! *.*.uk        a star in any place, alone in its level; elsewhere it is a letter like others
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::hub::name::{self, NameError};

/// Most levels of a pattern; names may have more, which only `>` then reaches. A star doubles the ways by which
/// a level can be reached, so that a name is compared with at most 2^`LEVELS_MAX` nodes.
pub const LEVELS_MAX: usize = 8;

/// Divides a name into levels.
const SEPARATOR: char = '.';
/// A level that matches any one level.
const ONE: &str = "*";
/// The last level of a pattern that matches all the rest.
const REST: &str = ">";

/// Why a string is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// It would be no name either.
    Name(NameError),
    /// Nothing between two dots, or at an end.
    EmptyLevel,
    /// `>` stands before the end.
    RestNotLast,
    /// More than [`LEVELS_MAX`] levels.
    TooDeep,
}

/// A checked subject pattern. One without wildcards matches the one name that it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Whether `text` has a level that stands for others: then it is meant as a pattern, not as a name.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.split(SEPARATOR).any(|level| level == ONE || level == REST)
    }

    /// Checks `text`: a name of at most `bytes_max` bytes, of at most [`LEVELS_MAX`] levels, none of them empty.
    ///
    /// # Errors
    /// Says which rule it breaks.
    pub fn parse(text: &str, bytes_max: usize) -> Result<Pattern, PatternError> {
        name::check(text, bytes_max).map_err(PatternError::Name)?;
        let mut levels = text.split(SEPARATOR);
        if levels.clone().any(str::is_empty) {
            return Err(PatternError::EmptyLevel);
        }
        if levels.clone().nth(LEVELS_MAX).is_some() {
            return Err(PatternError::TooDeep);
        }
        levels.next_back();
        if levels.any(|level| level == REST) {
            return Err(PatternError::RestNotLast);
        }
        Ok(Pattern(text.into()))
    }

    /// Whether it matches `name`. To look for all patterns that do, see [`Patterns`].
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut levels = name.split(SEPARATOR);
        for wanted in self.0.split(SEPARATOR) {
            let Some(level) = levels.next() else { return false };
            match wanted {
                REST => return true,
                ONE => {}
                _ if wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Patterns with what they stand for, by level. Without patterns it holds nothing and a question costs nothing.
#[derive(Debug)]
pub struct Patterns<I> {
    root: Node<I>,
}

/// What can follow after the levels above. Invariant: below the root, no node is empty.
#[derive(Debug)]
struct Node<I> {
    levels: BTreeMap<Box<str>, Node<I>>,
    one: Option<Box<Node<I>>>,
    /// What ends here.
    here: BTreeSet<I>,
    /// What has `>` next.
    rest: BTreeSet<I>,
}

impl<I> Default for Node<I> {
    fn default() -> Node<I> {
        Node { levels: BTreeMap::new(), one: None, here: BTreeSet::new(), rest: BTreeSet::new() }
    }
}

impl<I> Node<I> {
    fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.one.is_none() && self.here.is_empty() && self.rest.is_empty()
    }
}

impl<I> Default for Patterns<I> {
    fn default() -> Patterns<I> {
        Patterns { root: Node::default() }
    }
}

impl<I: Copy + Ord> Patterns<I> {
    /// Adds `id` under `pattern`; whether it was not there already.
    pub fn insert(&mut self, pattern: &Pattern, id: I) -> bool {
        let mut node = &mut self.root;
        for level in pattern.0.split(SEPARATOR) {
            match level {
                REST => return node.rest.insert(id),
                ONE => node = node.one.get_or_insert_default(),
                _ => node = node.levels.entry(level.into()).or_default(),
            }
        }
        node.here.insert(id)
    }

    /// Takes `id` from `pattern`; whether it was there.
    pub fn remove(&mut self, pattern: &Pattern, id: I) -> bool {
        remove(&mut self.root, Some(&pattern.0), id)
    }

    /// Adds the ids of all patterns that match `name` to `found`: in an order that depends on the patterns only,
    /// and an id once for each pattern that it has.
    pub fn find(&self, name: &str, found: &mut Vec<I>) {
        if !self.is_empty() {
            find(&self.root, Some(name), found);
        }
    }

    /// The ids of all patterns that match `name`, as [`Patterns::find`] gives them.
    #[must_use]
    pub fn matches(&self, name: &str) -> Vec<I> {
        let mut found = Vec::new();
        self.find(name, &mut found);
        found
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

/// The first level, and what follows it if anything does.
fn split(levels: &str) -> (&str, Option<&str>) {
    levels.split_once(SEPARATOR).map_or((levels, None), |(level, after)| (level, Some(after)))
}

/// Takes `id` out where `levels` lead from `node`; no deeper than a pattern has levels.
fn remove<I: Copy + Ord>(node: &mut Node<I>, levels: Option<&str>, id: I) -> bool {
    let Some(levels) = levels else { return node.here.remove(&id) };
    match split(levels) {
        (REST, _) => node.rest.remove(&id),
        (ONE, after) => {
            let Some(next) = &mut node.one else { return false };
            let removed = remove(next, after, id);
            if next.is_empty() {
                node.one = None;
            }
            removed
        }
        (level, after) => {
            let Some(next) = node.levels.get_mut(level) else { return false };
            let removed = remove(next, after, id);
            if next.is_empty() {
                node.levels.remove(level);
            }
            removed
        }
    }
}

/// Collects what matches `levels` from `node` on; no deeper than a pattern has levels.
fn find<I: Copy + Ord>(node: &Node<I>, levels: Option<&str>, found: &mut Vec<I>) {
    let Some(levels) = levels else {
        found.extend(&node.here);
        return;
    };
    found.extend(&node.rest);
    let (level, after) = split(levels);
    if let Some(next) = node.levels.get(level) {
        find(next, after, found);
    }
    if let Some(next) = &node.one {
        find(next, after, found);
    }
}

/// A glob over whole names, as settings use it: `*` stands for anything, also for nothing, in any place and any
/// number. Everything else is itself; levels mean nothing to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    /// What stands between the stars. Invariant: at least one.
    between: Box<[Box<str>]>,
}

impl NamePattern {
    /// The pattern that `glob` writes. Every string is one.
    #[must_use]
    pub fn new(glob: &str) -> NamePattern {
        NamePattern { between: glob.split('*').map(Box::from).collect() }
    }

    /// Whether it matches the whole of `name`, in time proportional to both lengths together.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let [first, middle @ .., last] = &*self.between else { return *name == *self.between[0] };
        let Some(name) = name.strip_prefix(&**first) else { return false };
        let Some(mut name) = name.strip_suffix(&**last) else { return false };
        // The first place that fits leaves most for what follows, so no other has to be tried.
        for part in middle {
            let Some(at) = name.find(&**part) else { return false };
            name = &name[at + part.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests;
