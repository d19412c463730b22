//! JSON of clients: the skimmer against full parsers, and whole commands.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use roomcast::base::prng::Prng;
use roomcast::dialect::native::decode;
use roomcast::wire::json;
use serde::de::IgnoredAny;

use crate::scenarios::input::{self, words};

/// A chat message, one with a payload of many small values, and one with a long text.
fn texts() -> [(&'static str, String); 3] {
    let mut prng = Prng::new(1);
    [
        ("chat", input::chat("lobby", &mut prng)),
        ("100 objects", input::objects(100)),
        (
            "16 KiB text",
            format!(
                "{{\"type\":\"chat_message\",\"room\":\"lobby\",\"message\":\"{}\"}}",
                words(16 << 10, &mut prng)
            ),
        ),
    ]
}

/// What it takes to know the fields of a message and that all of it is JSON. `simd-json` writes into its input and
/// so gets a copy each time, as it would have to where the message is relayed.
pub(crate) fn skim(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("json");
    for (name, text) in &texts() {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(format!("{name}, roomcast"), |b| {
            b.iter(|| {
                json::object(black_box(text), |name, value| _ = black_box((name, value)))
                    .expect("the text is one object");
            });
        });
        group.bench_function(format!("{name}, serde_json IgnoredAny"), |b| {
            b.iter(|| serde_json::from_str::<IgnoredAny>(black_box(text)).expect("the text is JSON"));
        });
        group.bench_function(format!("{name}, serde_json Value"), |b| {
            b.iter(|| serde_json::from_str::<serde_json::Value>(black_box(text)).expect("the text is JSON"));
        });
        let mut copy = Vec::with_capacity(text.len());
        let mut buffers = simd_json::Buffers::new(text.len());
        group.bench_function(format!("{name}, simd-json borrowed"), |b| {
            b.iter(|| {
                copy.clear();
                copy.extend_from_slice(black_box(text).as_bytes());
                let value = simd_json::to_borrowed_value_with_buffers(&mut copy, &mut buffers);
                _ = black_box(value.expect("the text is JSON"));
            });
        });
        group.bench_function(format!("{name}, simd-json tape"), |b| {
            b.iter(|| {
                copy.clear();
                copy.extend_from_slice(black_box(text).as_bytes());
                _ = black_box(simd_json::to_tape(&mut copy).expect("the text is JSON"));
            });
        });
    }
}

/// Messages to commands.
pub(crate) fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("command");
    let chat = input::chat("lobby", &mut Prng::new(2));
    for (name, text) in [
        ("chat_message", chat.as_str()),
        (
            "chat_message in other words",
            r#"{"action":"message","roomId":"lobby","content":"Hello, all of you"}"#,
        ),
        (
            "join_room",
            r#"{"type":"join_room","room":"lobby","since":{"offset":17,"epoch":"k3v9x0aa"},"id":1}"#,
        ),
        ("typing_indicator", r#"{"type":"typing_indicator","room":"lobby","is_typing":true}"#),
        ("ping", r#"{"type":"ping","ts":1770091506789}"#),
    ] {
        assert!(decode::decode(text).asked.is_ok(), "{text}");
        group.bench_function(name, |b| b.iter(|| _ = black_box(decode::decode(black_box(text)))));
    }
}
