//! One file as the rules see it: its text, its code with comments and literals blanked, its tokens, its tests.

use std::fmt;
use std::ops::Range;

/// A broken rule, where it is broken, and what to do about it.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) path: String,
    /// From 1, also for a rule about the whole file; 0 for one about the whole tree.
    pub(crate) line: usize,
    pub(crate) rule: &'static str,
    pub(crate) said: String,
    pub(crate) mend: &'static str,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}. {}.", self.path, self.line, self.rule, self.said, self.mend)
    }
}

/// A word, a number, `::`, or one character of punctuation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    /// Byte offset in the file.
    pub(crate) at: usize,
}

/// A file of the tree.
pub(crate) struct Source {
    /// From the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// For Rust: `text` with every byte of a comment or inside a literal turned into a blank (line ends stay), so
    /// that offsets and lines are the same. For the rest: empty.
    pub(crate) code: String,
    /// Items under `#[cfg(test)]` or `#[test]`, in bytes.
    tests: Vec<Range<usize>>,
    line_starts: Vec<usize>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let code = if path.ends_with(".rs") { blank(text) } else { String::new() };
        let tests = test_items(&tokens(&code));
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Source { path: path.into(), text: text.into(), code, tests, line_starts }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// A source file of the product: the server or the load generator.
    pub(crate) fn is_product(&self) -> bool {
        self.is_rust() && (self.path.starts_with("src/") || self.path.starts_with("loadtest/src/"))
    }

    /// A file that is compiled for tests only, by our habit of naming.
    pub(crate) fn is_test_file(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/") || self.path.starts_with("tests/")
    }

    pub(crate) fn is_test_at(&self, at: usize) -> bool {
        self.is_test_file() || self.tests.iter().any(|item| item.contains(&at))
    }

    /// The line that byte `at` is on, from 1.
    pub(crate) fn line_of(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at)
    }

    /// Lines of the code, each with its number and offset.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, usize, &str)> {
        self.code.lines().zip(&self.line_starts).enumerate().map(|(i, (line, start))| (i + 1, *start, line))
    }

    pub(crate) fn violation(
        &self,
        at: usize,
        rule: &'static str,
        said: String,
        mend: &'static str,
    ) -> Violation {
        Violation { path: self.path.clone(), line: self.line_of(at), rule, said, mend }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Turns comments and the insides of literals into blanks.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (inside, next) = skip(bytes, at);
        for byte in &mut code[inside] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = next;
    }
    String::from_utf8(code).expect("whole characters were blanked, by whole bytes")
}

/// What starts at `at`: the bytes to blank (maybe none), and where to go on.
fn skip(bytes: &[u8], at: usize) -> (Range<usize>, usize) {
    let rest = &bytes[at..];
    let before = at.checked_sub(1).map_or(b' ', |i| bytes[i]);
    if rest.starts_with(b"//") {
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |n| at + n);
        (at..end, end)
    } else if rest.starts_with(b"/*") {
        let end = block_comment_end(bytes, at);
        (at..end, end)
    } else if let Some(hashes) =
        raw_string(rest).filter(|_| !is_word(before) || matches!(before, b'b' | b'c'))
    {
        let start = at + 2 + hashes;
        let close: Vec<u8> = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
        let length = bytes[start..].windows(close.len()).position(|window| window == close);
        let end = length.map_or(bytes.len(), |n| start + n);
        (start..end, (end + close.len()).min(bytes.len()))
    } else if rest[0] == b'"' {
        let end = quoted_end(bytes, at + 1, b'"');
        (at + 1..end, (end + 1).min(bytes.len()))
    } else if rest[0] == b'\'' && is_char_literal(rest) {
        let end = quoted_end(bytes, at + 1, b'\'');
        (at + 1..end, (end + 1).min(bytes.len()))
    } else {
        (at..at, at + 1)
    }
}

fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut end) = (0_usize, at);
    while end < bytes.len() {
        if bytes[end..].starts_with(b"/*") {
            depth += 1;
            end += 2;
        } else if bytes[end..].starts_with(b"*/") {
            depth -= 1;
            end += 2;
            if depth == 0 {
                return end;
            }
        } else {
            end += 1;
        }
    }
    bytes.len()
}

/// The number of `#` if a raw string starts here.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let after = rest.strip_prefix(b"r")?;
    let hashes = after.iter().take_while(|byte| **byte == b'#').count();
    (after.get(hashes) == Some(&b'"')).then_some(hashes)
}

fn quoted_end(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

/// Tells `'a'` and `'\n'` from the lifetime `'a`.
fn is_char_literal(rest: &[u8]) -> bool {
    match rest.get(1) {
        None => false,
        Some(b'\\') => true,
        Some(first) => {
            let length = match first {
                0..0x80 => 1,
                0x80..0xe0 => 2,
                0xe0..0xf0 => 3,
                _ => 4,
            };
            rest.get(1 + length) == Some(&b'\'')
        }
    }
}

/// Splits blanked code.
pub(crate) fn tokens(code: &str) -> Vec<Token<'_>> {
    let bytes = code.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let mut end = at + 1;
        if is_word(bytes[at]) {
            while end < bytes.len() && is_word(bytes[end]) {
                end += 1;
            }
        } else if bytes[at..].starts_with(b"::") {
            end += 1;
        } else if bytes[at].is_ascii_whitespace() {
            at = end;
            continue;
        }
        found.push(Token { text: &code[at..end], at });
        at = end;
    }
    found
}

/// Whether the texts of the tokens from `at` on are `wanted`.
pub(crate) fn follows(tokens: &[Token<'_>], at: usize, wanted: &[&str]) -> bool {
    tokens.len() >= at + wanted.len()
        && wanted.iter().zip(&tokens[at..]).all(|(want, token)| *want == token.text)
}

/// The index of the bracket that closes the one at `open`, or of the last token.
pub(crate) fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth <= 1 => return i,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
    }
    tokens.len() - 1
}

fn test_items(tokens: &[Token<'_>]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let starts = [
            ["#", "[", "cfg", "(", "test", ")", "]"].as_slice(),
            &["#", "[", "cfg", "(", "all", "(", "test"],
            &["#", "[", "test", "]"],
        ];
        if starts.iter().any(|start| follows(tokens, i, start)) {
            let end = item_end(tokens, i);
            found.push(tokens[i].at..tokens[end].at + 1);
            i = end;
        }
        i += 1;
    }
    found
}

/// The last token of the item whose first attribute starts at `i`.
fn item_end(tokens: &[Token<'_>], mut i: usize) -> usize {
    while follows(tokens, i, &["#", "["]) {
        i = closing(tokens, i + 1) + 1;
    }
    // A field or an arm ends at its comma; the commas of an item are those of its generics.
    let words = ["pub", "fn", "mod", "use", "impl", "struct", "enum", "const", "static", "type", "trait"];
    let is_item = tokens.get(i).is_some_and(|token| words.contains(&token.text));
    while i < tokens.len() {
        match tokens[i].text {
            ";" | "}" => return i,
            "," if !is_item => return i,
            "{" => return closing(tokens, i),
            "(" | "[" => i = closing(tokens, i),
            _ => {}
        }
        i += 1;
    }
    tokens.len() - 1
}

#[test]
fn comments_and_literals_are_blanked_and_nothing_else() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"f("x\"y", 'z')"#, r#"f("    ", ' ')"#),
        (r##"r#"a"b"# c"##, r##"r#"   "# c"##),
        (r#"br"\" c"#, r#"br" " c"#),
        ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
        (r"['\'', '\\', 'é'] x", r"['  ', '  ', '  '] x"),
        ("r#type \"//\" x", "r#type \"  \" x"),
    ] {
        assert_eq!(blank(text), code, "{text}");
    }
}

#[test]
fn test_items_are_told_from_code() {
    let source = Source::new(
        "src/hub/x.rs",
        "fn a() { A }\n#[cfg(test)]\nuse b::{B};\nfn c() { C }\n#[cfg(test)]\nmod tests {\n\
         fn d() { D }\n}\nfn e() { E }\n",
    );
    let is_test = |word: &str| source.is_test_at(source.text.find(word).expect("it is there"));
    assert_eq!(["A", "B", "C", "D", "E"].map(is_test), [false, true, false, true, false]);
    assert_eq!(source.line_of(source.text.find('D').expect("it is there")), 7);
    let field = Source::new("src/hub/y.rs", "struct S {\n#[cfg(test)]\n a: u8,\n b: u8,\n}\nfn f() { F }");
    assert!(!field.is_test_at(field.text.find("b:").expect("it is there")));
}
