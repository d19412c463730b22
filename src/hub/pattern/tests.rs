//! Patterns and globs, each against a slow twin.

use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text, 255).unwrap()
}

#[test]
fn what_is_a_pattern_and_what_is_not() {
    for text in ["a", "a.b", "*", ">", "a.*", "a.>", "*.*.>", "a.*.b", "a*.b>", "1.2.3.4.5.6.7.8", "é.*"] {
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
        assert!(patterns.is_empty(), "nothing is left behind");
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
            prop_assert_eq!(patterns.is_empty(), list.is_empty());
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
        prop_assert!(patterns.is_empty());
    }
}
