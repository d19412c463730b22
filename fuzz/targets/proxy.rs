//! PROXY headers: nothing panics, pieces make no difference, and what follows is not looked at.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::wire::proxy::{HEADER_BYTES_MAX, read};

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes);
    if let Ok(Some(header)) = whole {
        assert!(header.length <= bytes.len() && header.length <= HEADER_BYTES_MAX);
        assert_eq!(read(&bytes[..header.length]), whole);
        for cut in 0..header.length {
            assert_eq!(read(&bytes[..cut]), Ok(None), "certain before its end");
        }
    }
    // What was refused stays refused, whatever comes; so does what was taken.
    for cut in 0..bytes.len() {
        match read(&bytes[..cut]) {
            Ok(None) => {}
            early => assert_eq!(early, whole),
        }
    }
    assert!(bytes.len() < HEADER_BYTES_MAX || whole != Ok(None), "it has an end");
});
