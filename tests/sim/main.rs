//! A deterministic simulation of the whole server but its sockets and threads: shards, lanes and clients on one thread
//! and one virtual clock, everything decided by one seed.
//!
//! A failing seed is printed with its step; `SIM_SEED=<seed>` runs it again alone and tells what every client hears,
//! `SIM_SEEDS=<count>` runs more seeds than usual.

mod model;
mod net;
mod workload;
mod world;

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use workload::Sim;

/// Seeds of an ordinary run.
const SEEDS: u64 = 300;
/// Steps of one seed before the end begins.
const STEPS: usize = 4000;
/// Steps between two sweeps over all invariants.
const CHECK_EVERY: usize = 16;

/// Prints where a run was when it failed.
struct Beacon {
    seed: u64,
    step: usize,
}

impl Drop for Beacon {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("SIM_SEED={} fails at step {} of {STEPS}", self.seed, self.step);
        }
    }
}

fn run(seed: u64, trace: bool) {
    let mut beacon = Beacon { seed, step: 0 };
    let mut sim = Sim::new(seed, trace);
    while sim.step < STEPS {
        sim.step();
        beacon.step = sim.step;
        if sim.step.is_multiple_of(CHECK_EVERY) {
            sim.check();
        }
    }
    sim.finish();
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number of the simulation"))
}

#[test]
fn whatever_happens_everybody_sees_the_same() {
    if let Some(seed) = number("SIM_SEED") {
        return run(seed, true);
    }
    let long = env::var_os("ROOMCAST_LONG").is_some();
    let count = number("SIM_SEEDS").unwrap_or(if long { 10 * SEEDS } else { SEEDS });
    let next = AtomicU64::new(0);
    let workers = thread::available_parallelism().map_or(1, |count| count.get().min(8));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    run(seed, false);
                }
            });
        }
    });
}
