//! Unmasking and UTF-8 validation, at sizes from a chat message to a megabyte.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use roomcast::base::prng::Prng;
use roomcast::wire::ws::mask::unmask;
use roomcast::wire::ws::utf8::{Utf8, is_valid};

use crate::scenarios::input::words;

const SIZES: [usize; 4] = [64, 1 << 10, 16 << 10, 1 << 20];
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// What a packet of the internet carries: so a long message comes.
const PACKET: usize = 1400;

/// Ours against the loop that RFC 6455 §5.3 suggests. (tungstenite's is private.)
pub(crate) fn mask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let mut bytes = vec![0x55; size];
        group.bench_function(BenchmarkId::new("roomcast", size), |b| {
            b.iter(|| unmask(black_box(&mut bytes), black_box(KEY), 0));
        });
        group.bench_function(BenchmarkId::new("octet by octet", size), |b| {
            b.iter(|| {
                let key = black_box(KEY);
                for (i, byte) in black_box(&mut bytes).iter_mut().enumerate() {
                    *byte ^= key[i % 4];
                }
            });
        });
    }
}

/// Ours against the standard library, for ASCII and for a text of all widths; and a text that comes in packets.
pub(crate) fn utf8(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("utf8");
    for size in SIZES {
        let ascii = words(size, &mut Prng::new(1));
        let mut mixed = "Grüße, 世界! Привет 🎉 ".repeat(size / 32 + 1);
        mixed.truncate((0..=size).rev().find(|at| mixed.is_char_boundary(*at)).unwrap_or(0));
        for (kind, text) in [("ascii", ascii), ("mixed", mixed)] {
            group.throughput(Throughput::Bytes(text.len() as u64));
            let name = |who: &str| BenchmarkId::new(format!("{who} {kind}"), size);
            group.bench_function(name("roomcast"), |b| {
                b.iter(|| is_valid(black_box(text.as_bytes())));
            });
            group.bench_function(name("std"), |b| {
                b.iter(|| std::str::from_utf8(black_box(text.as_bytes())).is_ok());
            });
            group.bench_function(name("roomcast in packets"), |b| {
                b.iter(|| {
                    let mut utf8 = Utf8::new();
                    for packet in black_box(text.as_bytes()).chunks(PACKET) {
                        utf8.push(packet).expect("the text is valid");
                    }
                    utf8.finish()
                });
            });
        }
    }
}
