//! Request targets: nothing panics, nothing decodes to more than was sent, and an independent decoder agrees.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::dialect::route::{Endpoint, route};
use roomcast::wire::http::target::{Target, decode_segment};

/// The slow twin of `decode_segment`: by positions and the standard library.
fn twin(segment: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < segment.len() {
        if segment.as_bytes()[at] == b'%' {
            let digits =
                segment.get(at + 1..at + 3).filter(|digits| digits.bytes().all(|d| d.is_ascii_hexdigit()))?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            at += 3;
        } else {
            bytes.push(segment.as_bytes()[at]);
            at += 1;
        }
    }
    String::from_utf8(bytes).ok()
}

fuzz_target!(|raw: &str| {
    let Ok(target) = Target::parse(raw) else { return };
    assert!(target.path().starts_with('/'));
    for segment in target.path().split('/') {
        assert_eq!(decode_segment(segment).ok().as_deref(), twin(segment).as_deref());
    }
    for (key, value) in target.query() {
        assert!(key.len() + value.map_or(0, |value| value.len()) <= raw.len());
    }
    if let Ok(Endpoint::Socket { room: Some(room) }) = route("GET", &target, |_| None::<()>) {
        assert!(!room.is_empty());
    }
});
