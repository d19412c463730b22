//! Any text message through the native decoder: within its bounds, and every refusal can be told.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::base::clock::Wall;
use roomcast::dialect::native::{decode, encode};
use roomcast::hub::command::{Command, TAG_BYTES_MAX};
use serde_json::Value;

/// Whether `bytes` are JSON; numbers beyond f64 are, though serde_json has no place for them.
fn is_json(bytes: &[u8]) -> bool {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(_) => true,
        Err(error) => error.to_string().contains("out of range"),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let asked = decode::decode(text);
    if let Some(tag) = asked.tag {
        assert!(tag.len() <= TAG_BYTES_MAX && is_json(tag));
    }
    match asked.asked {
        Ok(Command::Publish { name, payload, .. }) => {
            assert!(!name.is_empty() && is_json(payload));
        }
        Ok(Command::Broadcast { payload }) => assert!(payload != b"\"\"" && is_json(payload)),
        Ok(Command::Ping { ts: Some(ts) }) => assert!(ts.len() <= TAG_BYTES_MAX && is_json(ts)),
        Ok(Command::History { limit, .. }) => assert!(limit <= decode::HISTORY_MAX),
        Ok(Command::Join { since: Some(since), .. }) => assert!(since.epoch.len() <= decode::EPOCH_BYTES_MAX),
        Ok(_) => {}
        Err(refusal) => {
            let mut out = Vec::new();
            encode::error(&mut out, asked.tag, &refusal, Wall(0));
            assert!(out.len() < 2048 && is_json(&out), "bounded, whatever was sent");
        }
    }
});
