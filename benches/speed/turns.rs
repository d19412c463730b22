//! Whole turns of a shard with simulated clients: the same paths whose instructions are counted.

use criterion::{Criterion, Throughput};

use crate::scenarios;

/// Bytes in, turn, flush: everything of a message's way but the kernel's part. Times are per run, which may be many
/// units, as the name says; "elem/s" counts units.
pub(crate) fn turns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("turn");
    for scenario in &scenarios::ALL {
        group.throughput(Throughput::Elements(scenario.units));
        let name = format!("{} ({} × {})", scenario.name, scenario.units, scenario.unit);
        group.bench_function(name, |bench| {
            let mut run = (scenario.build)();
            // Histories are full after so many.
            for _ in 0..scenario.runs.0 {
                run();
            }
            bench.iter(&mut run);
        });
    }
}
