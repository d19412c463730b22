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
    len: usize,
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
        Patterns { root: Node::default(), len: 0 }
    }
}

impl<I: Copy + Ord> Patterns<I> {
    /// Adds `id` under `pattern`; whether it was not there already.
    pub fn insert(&mut self, pattern: &Pattern, id: I) -> bool {
        let mut node = &mut self.root;
        for level in pattern.0.split(SEPARATOR) {
            match level {
                REST => {
                    let added = node.rest.insert(id);
                    self.len += usize::from(added);
                    return added;
                }
                ONE => node = node.one.get_or_insert_default(),
                _ => node = node.levels.entry(level.into()).or_default(),
            }
        }
        let added = node.here.insert(id);
        self.len += usize::from(added);
        added
    }

    /// Takes `id` from `pattern`; whether it was there.
    pub fn remove(&mut self, pattern: &Pattern, id: I) -> bool {
        let removed = remove(&mut self.root, Some(&pattern.0), id);
        self.len -= usize::from(removed);
        removed
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

    /// Pairs of pattern and id.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text, 255).unwrap()
    }

    #[test]
    fn what_is_a_pattern_and_what_is_not() {
        for text in ["a", "a.b", "*", ">", "a.*", "a.>", "*.*.>", "a.*.b", "a*.b>", "1.2.3.4.5.6.7.8", "é.*"]
        {
            assert!(Pattern::parse(text, 255).is_ok(), "{text}");
        }
        for (text, error) in [
            ("", PatternError::Name(NameError::Empty)),
            ("a\n.*", PatternError::Name(NameError::Control)),
            ("toolong.*", PatternError::Name(NameError::TooLong { max: 8 })),
            (".", PatternError::EmptyLevel),
            ("a..b", PatternError::EmptyLevel),
            (".*", PatternError::EmptyLevel),
            ("*.", PatternError::EmptyLevel),
            (">.a", PatternError::RestNotLast),
            ("a.>.>", PatternError::RestNotLast),
        ] {
            assert_eq!(Pattern::parse(text, 8), Err(error), "{text}");
        }
        assert_eq!(Pattern::parse("1.2.3.4.5.6.7.8.>", 255), Err(PatternError::TooDeep));
        assert!(Pattern::is_meant("a.*") && Pattern::is_meant(">.b") && !Pattern::is_meant("a*.b"));
        assert_eq!(pattern("a.*").text(), "a.*");
    }

    #[test]
    fn stars_take_one_level_and_the_rest_takes_all_that_is_left() {
        for (text, yes, no) in [
            ("news.*", vec!["news.sport", "news."], vec!["news", "news.sport.uk", "old.sport"]),
            ("news.>", vec!["news.sport", "news.sport.uk", "news.1.2.3.4.5.6.7.8.9"], vec!["news", "new.s"]),
            (">", vec!["a", "a.b", ""], vec![]),
            ("*.b", vec!["a.b", "*.b"], vec!["b", "a.c", "a.b.c"]),
            ("a.b", vec!["a.b"], vec!["a", "a.b.c", "a.*"]),
        ] {
            let (pattern, mut patterns) = (pattern(text), Patterns::default());
            assert!(patterns.insert(&pattern, 7) && !patterns.insert(&pattern, 7));
            for (names, expected) in [(yes, true), (no, false)] {
                for name in names {
                    assert_eq!(pattern.matches(name), expected, "{text} {name}");
                    assert_eq!(patterns.matches(name) == [7], expected, "{text} {name}");
                }
            }
            assert!(patterns.remove(&pattern, 7) && !patterns.remove(&pattern, 7));
            assert!(patterns.is_empty() && patterns.root.is_empty(), "nothing is left behind");
        }
    }

    /// Every pattern over `a` and `*` of full depth, none of which matches but all of which almost do.
    #[test]
    fn a_name_costs_no_more_than_its_levels_allow() {
        let mut patterns = Patterns::default();
        let stems = 1 << (LEVELS_MAX - 1);
        for stem in 0..stems {
            let levels: Vec<&str> =
                (0..LEVELS_MAX - 1).map(|bit| if stem >> bit & 1 == 0 { "a" } else { "*" }).collect();
            for end in 0..20 {
                patterns.insert(&pattern(&format!("{}.z{end}", levels.join("."))), stem);
            }
        }
        assert_eq!(patterns.len(), stems * 20);
        let name = vec!["a"; 128].join(".");
        assert_eq!(visited(&patterns.root, Some(&name)), (1 << LEVELS_MAX) - 1);
        assert_eq!(patterns.matches(&name), Vec::<usize>::new());
        assert_eq!(patterns.matches("a.a.a.a.a.a.a.z3").len(), stems);
    }

    /// How many nodes a search comes by.
    fn visited<I>(node: &Node<I>, levels: Option<&str>) -> usize {
        let Some(levels) = levels else { return 1 };
        let (level, after) = split(levels);
        let next = node.levels.get(level).into_iter().chain(node.one.as_deref());
        1 + next.map(|next| visited(next, after)).sum::<usize>()
    }

    #[test]
    fn globs_match_whole_names() {
        for (glob, yes, no) in [
            ("chat:*", vec!["chat:", "chat:a", "chat:*"], vec!["chat", "achat:a"]),
            ("lobby", vec!["lobby"], vec!["lobby2", "", "a lobby"]),
            ("*", vec!["", "anything.at all"], vec![]),
            ("", vec![""], vec!["a"]),
            ("*-private", vec!["a-private", "-private", "-private-private"], vec!["a-private2"]),
            ("a*b*c", vec!["abc", "a-b-b-c", "abbc"], vec!["ab", "acb", "abcd"]),
            ("ab*ba", vec!["abba", "ab-ba"], vec!["aba"]),
            ("a**b", vec!["ab", "a*b"], vec!["a"]),
            ("é*", vec!["é", "éa"], vec!["e\u{301}"]),
        ] {
            let pattern = NamePattern::new(glob);
            for (names, expected) in [(yes, true), (no, false)] {
                for name in names {
                    assert_eq!(pattern.matches(name), expected, "{glob} {name}");
                }
            }
        }
    }

    #[test]
    fn a_hostile_glob_is_linear() {
        let name = "a".repeat(100_000);
        assert!(!NamePattern::new(&format!("{}b", "a*".repeat(1000))).matches(&name));
        assert!(!NamePattern::new(&format!("*{}*", "b*a".repeat(1000))).matches(&name));
    }

    /// A glob by its definition: every length that a star can take is tried.
    fn slow(glob: &[char], name: &[char]) -> bool {
        match (glob, name) {
            ([], _) => name.is_empty(),
            (['*', rest @ ..], _) => (0..=name.len()).any(|skip| slow(rest, &name[skip..])),
            ([c, rest @ ..], [d, after @ ..]) => c == d && slow(rest, after),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn globs_agree_with_their_slow_twin(glob in "[ab*é]{0,8}", name in "[ab*é]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(NamePattern::new(&glob).matches(&name), slow(&chars(&glob), &chars(&name)));
        }

        /// The trie against a list of patterns, each asked one by one.
        #[test]
        fn agrees_with_a_list(
            steps in prop::collection::vec((0u8..4, "([ab*]\\.){0,3}[ab*>]", 0u32..3), 0..60),
            names in prop::collection::vec("([ab*>]?\\.){0,4}[ab*>]?", 1..20),
        ) {
            let mut patterns = Patterns::default();
            let mut list = BTreeSet::new();
            for (step, text, id) in steps {
                let pattern = pattern(&text);
                if step > 0 {
                    prop_assert_eq!(patterns.insert(&pattern, id), list.insert((pattern, id)));
                } else {
                    prop_assert_eq!(patterns.remove(&pattern, id), list.remove(&(pattern, id)));
                }
                prop_assert_eq!(patterns.len(), list.len());
            }
            for name in names {
                let mut found = patterns.matches(&name);
                let expected = list.iter().filter(|(pattern, _)| pattern.matches(&name));
                let mut expected: Vec<u32> = expected.map(|(_, id)| *id).collect();
                found.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(found, expected);
            }
            for (pattern, id) in &list {
                prop_assert!(patterns.remove(pattern, *id));
            }
            prop_assert!(patterns.is_empty() && patterns.root.is_empty());
        }
    }
}
