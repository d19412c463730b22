//! Any bytes as text in pieces: the standard library's verdict, at the first byte that decides it.
//!
//! Input: one byte that counts cuts, that many piece lengths, then the text.

#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::wire::ws::utf8::{self, Utf8};

fuzz_target!(|input: &[u8]| {
    let Some((&cuts, rest)) = input.split_first() else { return };
    let (lens, text) = rest.split_at(rest.len().min(usize::from(cuts % 16)));

    let oracle = std::str::from_utf8(text);
    assert_eq!(utf8::is_valid(text), oracle.is_ok());

    let mut utf8 = Utf8::new();
    let mut at = 0;
    for len in lens.iter().map(|len| usize::from(*len)).chain([text.len()]) {
        let end = text.len().min(at + len);
        let is_still_valid =
            std::str::from_utf8(&text[..end]).map_or_else(|error| error.error_len().is_none(), |_| true);
        let pushed = utf8.push(&text[at..end]);
        assert_eq!(pushed.is_ok(), is_still_valid, "up to byte {end}");
        if pushed.is_err() {
            return;
        }
        at = end;
    }
    assert_eq!(utf8.finish().is_ok(), oracle.is_ok());
});
