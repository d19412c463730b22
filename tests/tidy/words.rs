//! What must not be written, and how a file has to open.

use crate::source::{Source, Violation, follows, tokens};

/// Notes to oneself: written as an issue, or done. (Spelled in two halves, so that this file passes.)
const NOTES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// Names that fit every file, and so say nothing about one.
const EMPTY_NAMES: [&str; 13] = [
    "manager", "managers", "util", "utils", "helper", "helpers", "common", "types", "handler", "context",
    "service", "info", "data",
];
/// Where somebody's own files are; a path under one works on one machine only.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];
/// The only layers that read clocks; everywhere else time is an argument.
const CLOCK_LAYERS: [&str; 3] = ["src/reactor", "src/server", "loadtest/"];

struct Ban {
    /// Tokens in a row.
    tokens: &'static [&'static str],
    mend: &'static str,
    clock: bool,
}

const BANS: [Ban; 9] = [
    Ban { tokens: &["dbg", "!"], mend: "Remove it", clock: false },
    Ban { tokens: &["todo", "!"], mend: "Do it, or do not start it", clock: false },
    Ban { tokens: &["unimplemented", "!"], mend: "Do it, or do not start it", clock: false },
    Ban { tokens: &["#", "[", "allow", "("], mend: "Use #[expect(…, reason = \"…\")]", clock: false },
    Ban {
        tokens: &["#", "!", "[", "allow", "("], mend: "Use #[expect(…, reason = \"…\")]", clock: false
    },
    Ban { tokens: &["unsafe"], mend: "Use a crate that is known for it", clock: false },
    Ban {
        tokens: &["thread", "::", "sleep"],
        mend: "Wait for the condition, not for the time",
        clock: false,
    },
    Ban { tokens: &["Instant", "::", "now"], mend: "Take `now` as an argument", clock: true },
    Ban { tokens: &["SystemTime", "::", "now"], mend: "Take `now` as an argument", clock: true },
];

pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let mut found = Vec::new();
    for source in sources {
        found.extend(plain_words(source, &NOTES, "note", "Do it, or write it down as an issue"));
        found.extend(plain_words(
            source,
            &MACHINE_PATHS,
            "machine path",
            "Start from the root of the repository",
        ));
        if source.is_rust() {
            found.extend(opening(source));
            found.extend(empty_name(source));
            found.extend(
                source.text.find('\t').map(|at| {
                    source.violation(at, "tab", "a tab".into(), "Write blanks, or \\t in a literal")
                }),
            );
        }
        if source.is_product() {
            found.extend(banned(source));
        }
    }
    found
}

/// Finds `words` where no letter or digit stands before them, or after the ones made of letters.
fn plain_words(source: &Source, words: &[&str], rule: &'static str, mend: &'static str) -> Vec<Violation> {
    let bytes = source.text.as_bytes();
    let is_free = |byte: Option<&u8>| !byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let mut found = Vec::new();
    for word in words {
        for (at, _) in source.text.match_indices(word) {
            let before = at.checked_sub(1).and_then(|i| bytes.get(i));
            // `$dir/…`, `./…` and `…}/…` go on with a path that began elsewhere.
            let begins = is_free(before) && !matches!(before, Some(b'.' | b'}' | b'*' | b'~'));
            if begins && (word.ends_with('/') || is_free(bytes.get(at + word.len()))) {
                found.push(source.violation(at, rule, format!("`{word}`"), mend));
            }
        }
    }
    found
}

fn opening(source: &Source) -> Option<Violation> {
    let paragraph: Vec<&str> = source
        .text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let sentence = paragraph.join(" ");
    let is_sentence = sentence.contains(' ') && sentence.ends_with(['.', ':', '?', '!', ')']);
    let said = "the file does not open with a `//!` sentence".into();
    (!is_sentence).then(|| source.violation(0, "opening", said, "Say in one sentence what the file is"))
}

fn empty_name(source: &Source) -> Option<Violation> {
    let stem = source.path.strip_suffix(".rs")?;
    let word = stem.split(['/', '_', '-']).find(|word| EMPTY_NAMES.contains(word))?;
    let said = format!("`{word}` in the name of a file");
    Some(source.violation(0, "name", said, "Name it after the one noun that it is about"))
}

fn banned(source: &Source) -> Vec<Violation> {
    let tokens = tokens(&source.code);
    let reads_clocks = CLOCK_LAYERS.iter().any(|layer| source.path.starts_with(layer));
    let mut found = Vec::new();
    for i in 0..tokens.len() {
        for ban in BANS.iter().filter(|ban| follows(&tokens, i, ban.tokens) && !(ban.clock && reads_clocks)) {
            found.push(source.violation(
                tokens[i].at,
                "banned",
                format!("`{}`", ban.tokens.concat()),
                ban.mend,
            ));
        }
    }
    found
}

#[cfg(test)]
fn broken(path: &str, text: &str) -> Vec<String> {
    check(&[Source::new(path, text)]).iter().map(|v| format!("{} {}", v.line, v.rule)).collect()
}

#[test]
fn banned_words_are_found_in_code_only() {
    for line in [
        "dbg!(x);",
        "fn f() { todo!() }",
        "#[allow(dead_code)]",
        "#![allow(dead_code)]",
        "unsafe { x }",
        "std::thread::sleep(d);",
        "let now = std::time::Instant::now();",
        "let now = SystemTime::now();",
    ] {
        assert_eq!(broken("src/hub/a.rs", &format!("//! One sentence.\n{line}")), ["2 banned"], "{line}");
    }
    for line in
        ["// unsafe", "\"dbg!(x)\";", "#[expect(x, reason = \"y\")]", "unsafe_code", "Instant::nowhere()"]
    {
        assert_eq!(
            broken("src/hub/a.rs", &format!("//! One sentence.\n{line}")),
            Vec::<String>::new(),
            "{line}"
        );
    }
    let clock = "//! One sentence.\nlet now = Instant::now();";
    for path in ["src/reactor/mod.rs", "src/server/mod.rs", "loadtest/src/main.rs", "tests/e2e/main.rs"] {
        assert_eq!(broken(path, clock), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn notes_machine_paths_and_tabs_are_found_in_comments_too() {
    for note in NOTES {
        assert_eq!(broken("docs/a.md", &format!("x\n{note}: y")), ["2 note"], "{note}");
        assert_eq!(broken("docs/a.md", &format!("{note}S a{note} {note}_x")), Vec::<String>::new(), "{note}");
    }
    for path in MACHINE_PATHS {
        assert_eq!(broken("check", &format!("cd {path}x")), ["1 machine path"], "{path}");
        assert_eq!(broken("check", &format!("cd ${{a}}{path}x b{path}x")), Vec::<String>::new(), "{path}");
    }
    assert_eq!(broken("src/a.rs", "//! One sentence.\n\tx"), ["2 tab"]);
}

#[test]
fn files_open_with_a_sentence_and_have_a_name() {
    for text in ["", "use a;", "// A comment.", "//! Half a", "//!\n//! Late.", "//! Word."] {
        assert_eq!(broken("src/a.rs", text), ["1 opening"], "{text}");
    }
    assert_eq!(
        broken("src/a.rs", "//! A sentence\n//! over two lines.\n//!\n//! And more"),
        Vec::<String>::new()
    );
    let sentence = "//! One sentence.";
    for path in ["src/hub/topic_manager.rs", "src/utils/mod.rs", "tests/helpers.rs", "src/data.rs"] {
        assert_eq!(broken(path, sentence), ["1 name"], "{path}");
    }
    assert_eq!(broken("src/hub/database.rs", sentence), Vec::<String>::new());
}
