//! A deterministic simulation of the whole server but its sockets and threads: shards, lanes and clients on one thread
//! and one virtual clock, everything decided by one seed.
//!
//! A failing seed is printed with its step; `SIM_SEED=<seed>` runs it again alone and tells what every client hears,
//! `SIM_SEEDS=<count>`, or `./check --sim <count>`, runs more seeds than usual.
//! All invariants are swept after each step.
//!
//! What it finds was tried by planting faults by hand, one at a time. Seeds until each was found:
//!
//! | fault | seeds |
//! |---|---|
//! | a publisher that was held for a full lane is not read from again | 1 |
//! | held publishers are let go in `work` only, not at the end of a turn | 51 |
//! | a blocked queue is never written to again | 1 |
//! | what the flush budget left over does not keep the shard awake | 1 |
//! | an announced range is one too short | 1 |
//! | an announcement overtakes a snapshot or an own publication | 1 |
//! | a half-written delivery is dropped; a half-written frame is abandoned | 1; 1 |
//! | a member that moves in the list is not told its place | 1 |
//! | one piece of mail in 300 is lost | 1 |
//! | an owner is not told that a member has gone | 1 |
//! | answers overtake unfinished fan-outs; a fan-out misses who came before it began | 1; 1 |
//! | a slow client's close frame is forgotten when its queue overruns twice in a turn | 4 |
//! | an answer is written after the close frame | 1 |
//! | a client that was refused is not heard any more | 1 |
//! | of two texts at one place, the late one stands left; one edit in 64 is not told | 1; 1 |
//! | an edit's acknowledgement has the version before it; a lost edit is not announced | 1; 1 |
//! | what another has written is not moved over what its reader wrote; split deletes in the wrong order | 1; 1 |
//! | binary messages do not follow the list that names them; their sender gets no copy | 1; 1 |
//! | who leaves a document stays one of its authors (before the sweep asked) | not in 300 |
//!
//! Later ones, with the first seed that found each; a quarter of the seeds run at level `sync`, a quarter at `async`:
//!
//! | fault | seed |
//! |---|---|
//! | sessions: one message too many is told again; what an inbox keeps is told twice | 0; 13 |
//! | inboxes: an acknowledgement is not stored; it is answered before it is stored | 50; 249 |
//! | inboxes: an acknowledgement takes one more; numbers begin anew once one is forgotten | 30; 5 |
//! | inboxes: a message overtakes those that were kept | 12 |
//! | inboxes: numbers begin anew after a restart; what was acknowledged is announced as lost after it | 16; 16 |
//! | moderation: anybody moderates; a mute, a ban is not enforced | 1; 12; 128 |
//! | moderation: a history is not cleared; is there again after a restart; who is kicked lingers | 12; 97; 5 |
//! | patterns: told twice; a channel knows of old ones only; a publisher without echo gets its own | 0; 0; 1 |
//! | feeds: the older value waits in place of the newer; a value overtakes the answer before it | 10; 246 |
//! | journal: an outcome goes before its batch is stored; it goes once that is cut | 101; 9 |
//! | journal: what is forgotten, an edit, the second part of an edit is not written | 10; 0; 10 |
//! | journal: after a crash at `async` epochs stay; inboxes are not numbered anew | 71; 135 |
//! | tokens: one of another user renews; an end stays where it was; one that has ended is taken | 27; 4; 4 |
//! | tokens: who may not publish does; the warning comes before the welcome | 4; 27 |
//! | tokens: a session is resumed by one that grants less (what it hears then may be of before) | not in 100 |
//! | tokens: what another one does not grant is cut off when its owner has answered, not at once | 251 |
//!
//! Not found at first, which is why the model judges them now: mutes and bans that are not enforced, losses announced
//! of what was acknowledged, and what a crash right after an answer undoes (so it comes right after answers).

#![expect(clippy::print_stdout, reason = "a failing seed, and what its clients hear, are for people")]

mod channels;
#[path = "../support/editor.rs"]
mod editor;
mod model;
mod app;
mod net;
mod secure;
mod papers;
mod store;
mod disk;
mod workload;
mod world;

use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use workload::Sim;

/// Seeds of an ordinary run.
const SEEDS: u64 = 1000;
/// Steps of one seed before the end begins.
const STEPS: usize = 4000;

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

/// Runs one seed; a number that everything heard by anybody went into.
fn run(seed: u64, trace: bool) -> u64 {
    let mut beacon = Beacon { seed, step: 0 };
    let mut sim = Sim::new(seed, trace);
    while sim.step < STEPS {
        sim.step();
        beacon.step = sim.step;
        sim.check();
    }
    sim.finish();
    sim.digest
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number of the simulation"))
}

#[test]
fn whatever_happens_everybody_sees_the_same() {
    if let Some(seed) = number("SIM_SEED") {
        run(seed, true);
        return;
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

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 1000..1003 {
        assert_eq!(run(seed, false), run(seed, false), "seed {seed}");
    }
}
