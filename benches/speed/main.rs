//! Wall-clock benchmarks.
fn main() {}
