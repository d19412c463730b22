//! 100,000 timers, as many connections have them, against an ordered set of the standard library.

use std::collections::BTreeSet;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use roomcast::base::prng::Prng;
use roomcast::base::wheel::{TimerId, Wheel};

const TIMERS: u64 = 100_000;
/// Deadlines lie up to so many ticks (milliseconds) ahead.
const AHEAD: u64 = 30_000;

fn deadlines(seed: u64) -> Vec<u64> {
    let mut prng = Prng::new(seed);
    (0..TIMERS).map(|_| 1 + prng.below(AHEAD)).collect()
}

fn filled(deadlines: &[u64]) -> (Wheel<u64>, Vec<TimerId>) {
    let mut wheel = Wheel::new(0);
    let ids = (0..).zip(deadlines).map(|(i, deadline)| wheel.insert(*deadline, i)).collect();
    (wheel, ids)
}

fn filled_set(deadlines: &[u64]) -> BTreeSet<(u64, u64)> {
    deadlines.iter().copied().zip(0..).collect()
}

/// Set, put off, and fired.
pub(crate) fn wheel(criterion: &mut Criterion) {
    let (first, second) = (deadlines(1), deadlines(2));
    let mut group = criterion.benchmark_group("timers");
    group.throughput(Throughput::Elements(TIMERS)).sample_size(20);

    group.bench_function("insert, roomcast", |b| b.iter_with_large_drop(|| filled(&first)));
    group.bench_function("insert, BTreeSet", |b| {
        b.iter_with_large_drop(|| {
            let mut set = BTreeSet::new();
            set.extend(first.iter().copied().zip(0_u64..));
            set
        });
    });

    let (mut wheel, ids) = filled(&first);
    group.bench_function("reschedule, roomcast", |b| {
        b.iter(|| {
            for (id, deadline) in ids.iter().zip(&second) {
                wheel.reschedule(*id, *deadline);
            }
        });
    });
    group.bench_function("reschedule, BTreeSet", |b| {
        b.iter_batched_ref(
            || filled_set(&first),
            |set| {
                for (i, (old, new)) in (0..).zip(first.iter().zip(&second)) {
                    set.remove(&(*old, i));
                    set.insert((*new, i));
                }
            },
            BatchSize::LargeInput,
        );
    });

    group.bench_function("pop, roomcast", |b| {
        b.iter_batched_ref(
            || filled(&first).0,
            |wheel| {
                for tick in 0..=AHEAD {
                    while let Some(fired) = wheel.pop(tick) {
                        black_box(fired);
                    }
                }
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("pop, BTreeSet", |b| {
        b.iter_batched_ref(
            || filled_set(&first),
            |set| {
                for tick in 0..=AHEAD {
                    while set.first().is_some_and(|(deadline, _)| *deadline <= tick) {
                        black_box(set.pop_first());
                    }
                }
            },
            BatchSize::LargeInput,
        );
    });
}
