//! Any bytes as frames: no panic, nothing kept beyond the limit, and the same story however they are cut.
//!
//! Input: one byte that chooses the limit, one that counts cuts, that many piece lengths, then the stream.

#![no_main]

#[path = "../../tests/support/received.rs"]
mod received;

use libfuzzer_sys::fuzz_target;
use received::receive;

/// Limits around the places where lengths change form.
const LIMITS: [usize; 6] = [0, 7, 125, 126, 4096, 1 << 20];

fuzz_target!(|input: &[u8]| {
    let Some((&[limit, cuts], rest)) = input.split_first_chunk() else { return };
    let max = LIMITS[usize::from(limit) % LIMITS.len()];
    let (lens, stream) = rest.split_at(rest.len().min(usize::from(cuts % 16)));

    let whole = receive(stream, [], max);
    let pieces = receive(stream, lens.iter().map(|len| usize::from(*len)), max);
    assert_eq!(pieces, whole);
    // The chosen pieces over and over: cuts at every place of a longer stream, single bytes among them.
    let again = lens.iter().map(|len| usize::from(*len).max(1)).cycle();
    assert_eq!(receive(stream, again, max), whole);
});
