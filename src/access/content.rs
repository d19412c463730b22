//! What no message may hold: literal patterns, in any case of ASCII letters, searched for in one pass.
//!
//! A rule keeps out words, nothing else. It does not make a message safe to show: that is what escaping is for, where
//! the message is shown. Who wants to get around a word spells it differently.

use std::borrow::Cow;
use std::fmt;

use aho_corasick::AhoCorasick;

/// Most patterns.
pub const PATTERNS_MAX: usize = 10_000;
/// Longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// What is wrong with a file of patterns, and in which line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileError {
    /// There is no pattern in it.
    NoPatterns,
    /// Not UTF-8.
    NotUtf8,
    /// More than are taken, in number or in size.
    TooMany,
    /// One that is too long.
    TooLong(usize),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::NoPatterns => f.write_str("there is no pattern in it; write one per line"),
            FileError::NotUtf8 => f.write_str("it is not UTF-8"),
            FileError::TooMany => write!(f, "there are more than {PATTERNS_MAX} patterns"),
            FileError::TooLong(line) => {
                write!(f, "line {line}: a pattern has at most {PATTERN_BYTES_MAX} bytes")
            }
        }
    }
}

impl std::error::Error for FileError {}

/// The patterns, ready to be searched for.
pub struct Content(AhoCorasick);

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} patterns)", self.0.patterns_len())
    }
}

impl Content {
    /// Reads a file of patterns: one on each line, blanks around it aside; `#` begins a comment line.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read(file: &[u8]) -> Result<Content, FileError> {
        let text = std::str::from_utf8(file).map_err(|_| FileError::NotUtf8)?;
        let mut patterns = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.len() > PATTERN_BYTES_MAX {
                return Err(FileError::TooLong(number));
            }
            patterns.push(line);
        }
        match patterns.len() {
            0 => return Err(FileError::NoPatterns),
            count if count > PATTERNS_MAX => return Err(FileError::TooMany),
            _ => {}
        }
        let searcher = AhoCorasick::builder().ascii_case_insensitive(true).build(patterns);
        searcher.map(Content).map_err(|_| FileError::TooMany)
    }

    /// Whether a JSON text holds one of the patterns, however it is escaped.
    #[must_use]
    pub fn is_in_json(&self, json: &str) -> bool {
        self.0.is_match(&*unescaped(json))
    }

    /// Whether a text holds one of the patterns.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

/// A valid JSON text with all its escapes resolved, wherever they stand; borrows where there are none. What comes out
/// is no JSON any more.
fn unescaped(json: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\\', json.as_bytes()).is_none() {
        return json.into();
    }
    let mut text = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let mut chars = after.chars();
        let Some(escape) = chars.next() else { break };
        rest = chars.as_str();
        match escape {
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'u' => {
                let unit = |text: &str| u16::from_str_radix(text.get(..4)?, 16).ok();
                let first = unit(rest).unwrap_or_default();
                rest = rest.get(4..).unwrap_or_default();
                // The other half of a character, if this is one.
                let second = rest.strip_prefix("\\u").and_then(unit);
                let units = [first, second.unwrap_or_default()];
                match char::decode_utf16(units).next() {
                    Some(Ok(char)) => {
                        text.push(char);
                        if char.len_utf16() == 2 {
                            rest = &rest[6..];
                        }
                    }
                    _ => text.push(char::REPLACEMENT_CHARACTER),
                }
            }
            other => text.push(other),
        }
    }
    text.push_str(rest);
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Content {
        Content::read("# words\n<script\n  Bad Word \nстоп\n\u{1f600}\n".as_bytes()).expect("good")
    }

    #[test]
    fn patterns_are_found_in_any_case_of_ascii_letters() {
        let rules = rules();
        for json in
            ["\"a bad word b\"", "{\"a\":[\"x<SCRIPT>\"]}", "\"BAD WORD\"", "\"стоп\"", "\"\u{1f600}\""]
        {
            assert!(rules.is_in_json(json), "{json}");
        }
        for json in ["\"badword\"", "\"script\"", "\"СТОП\"", "\"bad\",\"word\"", "\"\""] {
            assert!(!rules.is_in_json(json), "{json}");
        }
        assert!(rules.is_in("a Bad wOrd") && !rules.is_in("fine"));
    }

    #[test]
    fn escapes_hide_nothing() {
        let rules = rules();
        for json in [
            r#""\u003cscript""#,
            r#""\u003Cscr\u0069pt""#,
            r#"{"a":"bad\u0020w\u006frd"}"#,
            r#""\ud83d\ude00""#,
            r#""\\\"bad word""#,
        ] {
            assert!(rules.is_in_json(json), "{json}");
        }
        for json in [r#""\\u003cscript""#, r#""bad\nword""#, r#""\ud83dx""#, r#""\ude00\ud83d""#] {
            assert!(!rules.is_in_json(json), "{json}");
        }
    }

    /// The slow twin: serde_json resolves the same escapes.
    #[test]
    fn escapes_mean_what_they_mean_elsewhere() {
        for json in [r#""a\"b\\c\/d\b\f\n\r\t\u00e9\u20ac\ud83d\ude00é""#, r#""\u0041\u0042""#, r#""plain""#]
        {
            let text: String = serde_json::from_str(json).expect("JSON");
            assert_eq!(unescaped(json), format!("\"{text}\""));
        }
        for odd in ["\\", "\\u", "\\u00", "\\u12345\\", "\\ud83d\\u", "\\ud83d\\u12"] {
            let _ = unescaped(odd); // whatever it is
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told() {
        let error = |file: &[u8]| Content::read(file).map(drop).expect_err("wrong");
        assert_eq!(error(b"# only\n \n"), FileError::NoPatterns);
        assert_eq!(error(b"\xff"), FileError::NotUtf8);
        assert_eq!(error(format!("a\n{}", "x".repeat(1025)).as_bytes()), FileError::TooLong(2));
        assert_eq!(error("ab\n".repeat(PATTERNS_MAX + 1).as_bytes()), FileError::TooMany);
    }
}
