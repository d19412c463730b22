//! Holds very many simulated connections in one shard, and prints what each costs: bytes asked of the allocator, by
//! part, and the time of a turn among them.
//!
//! `roomcast-crowd [CONNECTIONS]`; a million if nothing is said. Bytes repeat exactly; times are this machine's.

#![expect(dead_code, reason = "shares the rig with benchmarks that use more of it")]

#[path = "../../scenarios/input.rs"]
mod input;
#[path = "../../scenarios/rig.rs"]
mod rig;

use std::alloc::System;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use roomcast::base::id::Key;
use roomcast::shard::port::Written;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use rig::Rig;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Members of each room.
const MEMBERS: usize = 10;
/// Turns of which the median is taken.
const TURNS: usize = 1001;
/// Simulated time between the measured turns: short beside the interval of pings.
const PAUSE: Duration = Duration::from_micros(10);

/// Who the connections are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Open,
    Named,
    Joined,
    JoinedTwice,
}

fn main() -> ExitCode {
    let count = match std::env::args().nth(1).map(|text| text.parse::<usize>()) {
        None => 1_000_000,
        Some(Ok(count)) if count >= MEMBERS => count,
        Some(_) => {
            eprintln!("usage: roomcast-crowd [CONNECTIONS]; at least {MEMBERS}");
            return ExitCode::from(2);
        }
    };
    println!("{count} connections in one shard, rooms of {MEMBERS}\n");
    println!("| part | bytes per connection |\n|---|---|");
    let mut sum = 0;
    let stages = [
        (Stage::Open, "open: its places in the slab and in the timer wheel, its WebSocket, its client"),
        (Stage::Named, "user id and name"),
        (Stage::Joined, "first room: membership, its share of the room at the edge and at the owner"),
        (Stage::JoinedTwice, "second room"),
    ];
    for (stage, what) in stages {
        let (bytes, crowd) = held(|| Crowd::new(stage, count));
        println!("| {what} | {} |", (bytes - sum).div_euclid(as_signed(count)));
        sum = bytes;
        if stage == Stage::Joined {
            let waiting = crowd.backlog();
            println!("| a message that waits for a full socket | {} |", waiting / as_signed(count));
        }
    }
    println!("| all | {} |\n", sum / as_signed(count));
    Crowd::new(Stage::Joined, count).turns();
    ExitCode::SUCCESS
}

/// A shard and everybody in it.
struct Crowd {
    rig: Rig,
    keys: Vec<Key>,
}

impl Crowd {
    fn new(stage: Stage, count: usize) -> Crowd {
        let mut rig = Rig::new();
        let keys = (0..count).map(|number| rig.connect(&target(stage, number))).collect();
        Crowd { rig, keys }
    }

    /// What it costs that everybody's socket is full and one message waits.
    fn backlog(mut self) -> isize {
        let (bytes, ()) = held(|| {
            let mut broadcast = input::Sent::new(input::text(
                r#"{"type":"broadcast","message":"!"}"#,
                &mut roomcast::base::prng::Prng::new(1),
            ));
            self.rig.begin();
            self.rig.shard.handle_bytes(self.keys[0], broadcast.fresh());
            // Everybody is tried once, and found full.
            while self.rig.shard.is_due() {
                self.rig.shard.work();
                while let Some(key) = self.rig.shard.poll_flush() {
                    self.rig.shard.handle_written(key, Written::Full, 1);
                }
                self.rig.shard.end_turn();
                self.rig.begin();
            }
        });
        bytes
    }

    fn turns(mut self) {
        let empty = median(|| {
            self.rig.sleep(PAUSE);
            self.rig.finish();
        });
        let mut ping =
            input::Sent::new(input::text(r#"{"type":"ping"}"#, &mut roomcast::base::prng::Prng::new(2)));
        let (keys, mut next) = (&self.keys, 0);
        let answered = median(|| {
            next = (next + 7919) % keys.len();
            self.rig.turn(keys[next], ping.fresh());
        });
        println!("| turn | median |\n|---|---|");
        println!("| with nothing to do | {} ns |", empty.as_nanos());
        println!("| that answers one `ping`, each time of another connection | {} ns |", answered.as_nanos());
        black_box(self.rig.connections());
    }
}

fn target(stage: Stage, number: usize) -> String {
    let room = number / MEMBERS;
    match stage {
        Stage::Open => "/ws".to_owned(),
        Stage::Named => format!("/ws?user_id=user-{number}"),
        Stage::Joined => format!("/ws/room-{room}?user_id=user-{number}"),
        Stage::JoinedTwice => format!("/ws/room-{room}?user_id=user-{number}&room=other-{room}"),
    }
}

/// Runs `make`, and says how many bytes more are held after it.
fn held<T>(make: impl FnOnce() -> T) -> (isize, T) {
    let before = ALLOCATOR.stats();
    let made = make();
    let after = ALLOCATOR.stats() - before;
    (as_signed(after.bytes_allocated) - as_signed(after.bytes_deallocated), made)
}

fn as_signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

#[expect(clippy::disallowed_methods, reason = "measures turns")]
fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..TURNS)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[TURNS / 2]
}
