//! Any bytes as a typed message: refused, or read as just what would be written so, in both forms.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::wire::typed::{AUDIO_BYTES_MAX, Delivered, Kind, Sent};

fuzz_target!(|bytes: &[u8]| {
    let mut again = Vec::new();
    if let Ok(sent) = Sent::parse(bytes) {
        assert!(sent.kind != Kind::AUDIO || sent.payload.len() <= AUDIO_BYTES_MAX);
        sent.write(&mut again);
        assert_eq!(again, bytes);
        // What members get of it says the same.
        if let Some(room) = sent.room {
            let delivered =
                Delivered { kind: sent.kind, room, user: "ann", offset: 7, payload: sent.payload };
            again.clear();
            delivered.write(&mut again);
            assert_eq!(again.len(), delivered.bytes());
            assert_eq!(Delivered::parse(&again), Some(delivered));
        }
    }
    if let Some(delivered) = Delivered::parse(bytes) {
        again.clear();
        delivered.write(&mut again);
        assert_eq!(again, bytes);
    }
});
