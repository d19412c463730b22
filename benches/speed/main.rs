//! Wall-clock benchmarks: each part of the hot path beside what one would otherwise take for it.
//!
//! Inputs are the same in every run. What comes out of a busy machine is noise; to judge a change there, count
//! instructions (`benches/instructions/run`).

mod bytes;
mod frames;
mod json;
mod lanes;
mod messages;
mod timers;
mod turns;
#[path = "../scenarios/mod.rs"]
mod scenarios;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    bytes::mask,
    bytes::utf8,
    frames::headers,
    messages::assembly,
    json::skim,
    json::commands,
    timers::wheel,
    lanes::hop,
    turns::turns,
);
criterion_main!(benches);
