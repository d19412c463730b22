//! Whole turns of a shard with simulated clients: the same paths whose instructions are counted.

use criterion::{Criterion, Throughput};

use crate::scenarios;

/// Bytes in, turn, flush: everything of a message's way but the kernel's part.
pub(crate) fn turns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("turn");
    for scenario in &scenarios::ALL {
        group.throughput(Throughput::Elements(scenario.units));
        group.bench_function(format!("{} (per {})", scenario.name, scenario.unit), |bench| {
            let mut run = (scenario.build)();
            // Histories are full after so many.
            for _ in 0..scenario.runs.0 {
                run();
            }
            bench.iter(&mut run);
        });
    }
}
