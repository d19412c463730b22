//! Bytes into lines of bounded length, and a line into the value of a feed.
//!
//! Keeps no more than one line that is not yet whole, and of one that is too long nothing.

use crate::base::shared::Shared;
use crate::wire::json;

/// Cuts a stream into lines.
#[derive(Debug)]
pub(super) struct Lines {
    /// What has come of the line that is under way; at most `max` bytes.
    held: Vec<u8>,
    max: usize,
    /// The line under way is too long: it is skipped to its end.
    skips: bool,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A whole line, without its end.
    Whole(&'a [u8]),
    /// One that was longer than allowed.
    TooLong,
}

impl Lines {
    /// A stream of which nothing has come; lines of more than `max` bytes are too long.
    pub(super) fn new(max: usize) -> Lines {
        Lines { held: Vec::new(), max, skips: false }
    }

    /// Takes what came and gives each line that it ends.
    pub(super) fn take(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.skips || self.held.len() + line.len() > self.max {
                each(Line::TooLong);
            } else if self.held.is_empty() {
                each(Line::Whole(line));
            } else {
                self.held.extend_from_slice(line);
                each(Line::Whole(&self.held));
            }
            self.forget();
            bytes = rest;
        }
        if self.skips || self.held.len() + bytes.len() > self.max {
            self.forget();
            self.skips = true;
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    /// The stream has ended: what is left of it is a line as well.
    pub(super) fn end(&mut self, mut each: impl FnMut(Line<'_>)) {
        if self.skips {
            each(Line::TooLong);
        } else if !self.held.is_empty() {
            each(Line::Whole(&self.held));
        }
        self.forget();
    }

    /// Begins anew.
    pub(super) fn forget(&mut self) {
        self.held = Vec::new();
        self.skips = false;
    }
}

/// The value that a line stands for: the JSON that it is, or else a JSON string of its text. None for a blank line.
pub(super) fn value(line: &[u8]) -> Option<Shared> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if let Ok(value) = json::value(text) {
        return Some(Shared::copy_of(value.raw().as_bytes()));
    }
    let mut string = Vec::with_capacity(text.len() + 2);
    json::write_string(&mut string, text);
    Some(Shared::copy_of(&string))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(lines: &mut Lines, bytes: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        lines.take(bytes, |line| found.push(word(line)));
        assert!(lines.held.len() <= lines.max);
        found
    }

    fn word(line: Line<'_>) -> String {
        match line {
            Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
            Line::TooLong => "too long".into(),
        }
    }

    proptest! {
        /// However the stream is cut, against lines of the whole.
        #[test]
        fn cuts_make_no_difference(
            text in "[a\n]{0,60}",
            cuts in prop::collection::vec(0..8_usize, 0..30),
        ) {
            let mut lines = Lines::new(4);
            let (mut found, mut rest) = (Vec::new(), text.as_bytes());
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                found.extend(words(&mut lines, piece));
                rest = after;
            }
            found.extend(words(&mut lines, rest));
            lines.end(|line| found.push(word(line)));
            let slow = text.split_terminator('\n').map(|line| if line.len() > 4 { "too long" } else { line });
            prop_assert_eq!(found, slow.collect::<Vec<_>>());
        }
    }

    #[test]
    fn json_stays_as_it_is_and_the_rest_becomes_a_string() {
        let value = |line: &[u8]| value(line).map(|value| String::from_utf8_lossy(&value).into_owned());
        for json in ["17", "-0.5e3", "true", "null", "\"a\\n\"", "{\"a\": [1, {}]}", "[]"] {
            assert_eq!(value(json.as_bytes()).as_deref(), Some(json));
        }
        assert_eq!(value(b" {\"a\":1} \r").as_deref(), Some("{\"a\":1}"));
        assert_eq!(value(b"up 3 days").as_deref(), Some("\"up 3 days\""));
        assert_eq!(value(b"{\"a\":1} x\t\"").as_deref(), Some("\"{\\\"a\\\":1} x\\t\\\"\""));
        assert_eq!(value(b"1,\"v\":2").as_deref(), Some("\"1,\\\"v\\\":2\""));
        assert_eq!(value(b"\xff"), Some("\"\u{fffd}\"".into()));
        assert_eq!(value(b"  \r"), None);
    }
}
