//! How big things may get: files, functions, lines; and how many promises of "cannot fail" the code may make.

use crate::source::{Source, Violation, closing, follows, tokens};

/// Of a file, tests not counted. Above it, two nouns share a file.
const FILE_LINES_MAX: usize = 700;
/// Of a function, tests included: what fits a screen.
const FUNCTION_LINES_MAX: usize = 70;
/// rustfmt keeps code to 110; this is for what it leaves alone.
const LINE_COLUMNS_MAX: usize = 120;
/// `unwrap` and `expect` per 1,000 non-blank lines of code, tests not counted.
const PROMISES_PER_KLOC_MAX: usize = 1;
/// Shorter than this, a text gives no reason.
const REASON_CHARS_MIN: usize = 10;

const MEND_SPLIT: &str =
    "Split it by noun: branches stay in the parent, straight work goes to functions below";
const MEND_PROMISE: &str = "Return an error, or match; a promise is for proven invariants only";

pub(crate) fn check(sources: &[Source]) -> Vec<Violation> {
    let mut found: Vec<Violation> = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        found.extend(wide_lines(source));
        found.extend(long_functions(source));
        if source.is_product() {
            found.extend(long_file(source));
            found.extend(promises(source).into_iter().filter_map(|promise| promise.violation));
        }
    }
    found.extend(too_many_promises(sources, PROMISES_PER_KLOC_MAX));
    found
}

fn wide_lines(source: &Source) -> Vec<Violation> {
    let wide = source.text.lines().enumerate().filter(|(_, line)| line.chars().count() > LINE_COLUMNS_MAX);
    wide.map(|(i, line)| Violation {
        path: source.path.clone(),
        line: i + 1,
        rule: "line width",
        said: format!("{} columns, at most {LINE_COLUMNS_MAX}", line.chars().count()),
        mend: "Break the line",
    })
    .collect()
}

fn long_file(source: &Source) -> Option<Violation> {
    let lines = source.text.lines().count();
    let tests = source.code_lines().filter(|(_, start, _)| source.is_test_at(*start)).count();
    let said = format!("{} lines without tests, at most {FILE_LINES_MAX}", lines - tests);
    (lines - tests > FILE_LINES_MAX).then(|| source.violation(0, "file length", said, MEND_SPLIT))
}

fn long_functions(source: &Source) -> Vec<Violation> {
    let tokens = tokens(&source.code);
    let mut found = Vec::new();
    for i in (0..tokens.len()).filter(|i| tokens[*i].text == "fn") {
        // In a type, `fn` has no name.
        let Some(name) = tokens.get(i + 1).filter(|name| name.text != "(") else { continue };
        let mut body = i + 2;
        while body < tokens.len() && !matches!(tokens[body].text, "{" | ";") {
            body = if matches!(tokens[body].text, "(" | "[") { closing(&tokens, body) + 1 } else { body + 1 };
        }
        if tokens.get(body).is_none_or(|open| open.text != "{") {
            continue;
        }
        let end = tokens[closing(&tokens, body)].at;
        let lines = source.line_of(end) - source.line_of(tokens[i].at) + 1;
        if lines > FUNCTION_LINES_MAX {
            let said = format!("`{}` has {lines} lines, at most {FUNCTION_LINES_MAX}", name.text);
            found.push(source.violation(tokens[i].at, "function length", said, MEND_SPLIT));
        }
    }
    found
}

/// An `unwrap` or `expect` outside of tests.
struct Promise {
    line: usize,
    /// If it gives no reason.
    violation: Option<Violation>,
}

fn promises(source: &Source) -> Vec<Promise> {
    let tokens = tokens(&source.code);
    let calls = (0..tokens.len()).filter(|i| {
        (follows(&tokens, *i, &[".", "unwrap", "(", ")"]) || follows(&tokens, *i, &[".", "expect", "("]))
            && !source.is_test_at(tokens[*i].at)
            // A parser's own method, as in `self.expect(b':')`.
            && !(*i > 0 && tokens[*i - 1].text == "self")
    });
    calls
        .map(|i| {
            let (at, end) = (tokens[i + 2].at + 1, tokens[closing(&tokens, i + 2)].at);
            let argument = source.text[at..end].trim().trim_end_matches(',');
            let reason =
                argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
            let short = reason.chars().count() < REASON_CHARS_MIN;
            let said = format!("`.{}({argument})` gives no reason", tokens[i + 1].text);
            let violation = short.then(|| source.violation(tokens[i].at, "promise", said, MEND_PROMISE));
            Promise { line: source.line_of(tokens[i].at), violation }
        })
        .collect()
}

fn too_many_promises(sources: &[Source], per_kloc: usize) -> Option<Violation> {
    let product = || sources.iter().filter(|source| source.is_product());
    let places: Vec<String> = product()
        .flat_map(|source| {
            promises(source).into_iter().map(|promise| format!("{}:{}", source.path, promise.line))
        })
        .collect();
    let is_code =
        |source: &Source, start: usize, line: &str| !line.trim().is_empty() && !source.is_test_at(start);
    let lines: usize = product()
        .map(|source| source.code_lines().filter(|(_, start, line)| is_code(source, *start, line)).count())
        .sum();
    let most = (lines * per_kloc).div_ceil(1000);
    (places.len() > most).then(|| Violation {
        path: "src".into(),
        line: 0,
        rule: "promise",
        said: format!(
            "{} `unwrap` and `expect` in {lines} lines of code, at most {most}: {}",
            places.len(),
            places.join(" ")
        ),
        mend: MEND_PROMISE,
    })
}

#[cfg(test)]
fn broken(path: &str, text: &str) -> Vec<String> {
    check(&[Source::new(path, text)]).iter().map(|v| format!("{} {}", v.line, v.rule)).collect()
}

#[test]
fn long_files_functions_and_lines_are_found() {
    assert_eq!(broken("src/a.rs", &"\n".repeat(701)), ["1 file length"]);
    let with_tests = format!("{}#[cfg(test)]\nmod tests {{{}}}\n", "\n".repeat(700), "\n".repeat(100));
    assert_eq!(broken("src/a.rs", &with_tests), Vec::<String>::new());
    assert_eq!(broken("src/a/tests.rs", &"\n".repeat(701)), Vec::<String>::new());

    let function = |lines: usize| format!("\nfn f(a: [u8; 2]) -> u8 {{{}}}\n", "\n".repeat(lines - 1));
    assert_eq!(broken("src/a.rs", &function(71)), ["2 function length"]);
    assert_eq!(broken("src/a.rs", &function(70)), Vec::<String>::new());
    let declared = format!("trait T {{ fn f(&self); }}\ntype F = fn(u8);\n{}", "\n".repeat(80));
    assert_eq!(broken("src/a.rs", &declared), Vec::<String>::new());

    assert_eq!(broken("src/a.rs", &format!("\n// {}\n", "é".repeat(118))), ["2 line width"]);
    assert_eq!(broken("src/a.rs", &format!("// {}\n", "é".repeat(117))), Vec::<String>::new());
}

#[test]
fn promises_are_counted_and_need_a_reason() {
    let code = "let a = 1;\n".repeat(499);
    for (line, rules) in [
        ("x.unwrap();", ["500 promise"].as_slice()),
        ("x.expect(\"fine\");", &["500 promise"]),
        ("x.expect(reason);", &["500 promise"]),
        ("x.expect(\"the caller checked it\");", &[]),
        ("x\n  .expect(\n    \"the caller checked it\",\n  );", &[]),
        ("x.unwrap_or(1); // .unwrap()", &[]),
        ("self.expect(b':')?;", &[]),
        ("#[cfg(test)]\nmod tests { fn f() { x.unwrap(); y.unwrap(); } }", &[]),
    ] {
        assert_eq!(broken("src/a.rs", &format!("{code}{line}")), rules, "{line}");
    }
    let two = format!("{code}x.expect(\"the caller checked it\").expect(\"and this as well\");");
    assert_eq!(broken("src/a.rs", &two), ["0 promise"]);
}
