//! Unwanted words: a text holds one exactly if a plain search says so, and so does the same text as JSON, escaped.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use roomcast::access::content::Content;

/// Patterns like those that servers have: making a searcher takes a thousand times as long as searching a short text.
const USUAL: &str = "# words\n<script\nBad Word\nстоп\n\u{1f600}\n\\u00\naab\nab\n";
static SEARCHER: LazyLock<Content> =
    LazyLock::new(|| Content::read(USUAL.as_bytes()).expect("good patterns"));
/// Longest file of patterns here, in bytes.
const FILE_BYTES_MAX: usize = 64;
/// Of the inputs that could have patterns of their own, one in so many does.
const OWN_ONCE_IN: u8 = 64;

fuzz_target!(|data: &[u8]| {
    // One input in many brings patterns of its own, which end with a NUL. Not each that could: they are all that a
    // fuzzer would keep.
    let sum = data.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
    let file = data.strip_prefix(b"\x01").filter(|_| sum % OWN_ONCE_IN == 0).and_then(|rest| {
        let end = rest.iter().take(FILE_BYTES_MAX).position(|byte| *byte == 0)?;
        Some(rest.split_at(end))
    });
    match file {
        None => searched(&SEARCHER, USUAL, data),
        Some((file, text)) => {
            if let (Ok(content), Ok(file)) = (Content::read(file), std::str::from_utf8(file)) {
                searched(&content, file, text);
            }
        }
    }
});

fn searched(content: &Content, file: &str, text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    assert_eq!(content.is_in(text), plainly(file, text));
    let json = serde_json::to_string(text).expect("any text is one");
    assert_eq!(content.is_in_json(&json), plainly(file, &format!("\"{text}\"")));
    // No JSON at all, perhaps: nothing to be said of it, but that nothing breaks.
    let _ = content.is_in_json(text);
}

/// The slow twin.
fn plainly(file: &str, text: &str) -> bool {
    let patterns = file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let holds = |pattern: &str| {
        text.as_bytes().windows(pattern.len()).any(|part| part.eq_ignore_ascii_case(pattern.as_bytes()))
    };
    patterns.into_iter().any(holds)
}
