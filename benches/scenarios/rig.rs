//! A shard without sockets: driven as the reactor drives it, by its public calls only; writes are counted, not done.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use roomcast::base::clock::{Mono, Now, Wall};
use roomcast::base::hash::Keys;
use roomcast::base::id::{Key, ShardId};
use roomcast::base::peer::Peer;
use roomcast::metrics::shard::Gauges;
use roomcast::shard::flush::SLICES_MAX;
use roomcast::shard::ledger::Ledger;
use roomcast::shard::limits::Limits;
use roomcast::shard::port::{Close, Written};
use roomcast::shard::state::{Setting, Shard};

use super::input;

/// Milliseconds since 1970 at which every run begins: 2026-02-03T04:05:06Z.
const BEGAN: u64 = 1_770_091_506_000;
/// Microseconds from one turn to the next: so few that nobody falls silent for long enough to be pinged.
const TURN_US: u64 = 1;

/// What a shard wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Write calls that a reactor would have made.
    pub(crate) writes: u64,
    /// Frames, or other pieces, that they would have taken.
    pub(crate) slices: u64,
    pub(crate) bytes: u64,
}

/// One shard that is the whole server.
///
/// Its calls are never inlined: else a new scenario would change what the compiler makes of the others.
pub(crate) struct Rig {
    pub(crate) shard: Shard,
    now: Mono,
    tally: Tally,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        let setting = Setting {
            shards: 1,
            keys: Keys::new([7; 16]),
            limits: Limits::default(),
            node: Arc::from("bench"),
            gauges: Arc::from([Gauges::default()]),
            process: Arc::default(),
            ledger: Arc::new(Ledger::new(Keys::new([7; 16]))),
        };
        let now = Mono(0);
        Rig { shard: Shard::new(ShardId(0), &setting, 1, at(now)), now, tally: Tally::default() }
    }

    /// Opens a connection and asks for `target`, as a browser does.
    pub(crate) fn connect(&mut self, target: &str) -> Key {
        self.connect_with(&mut input::upgrade(target))
    }

    /// As [`Rig::connect`], for a request that is at hand.
    #[inline(never)]
    pub(crate) fn connect_with(&mut self, request: &mut [u8]) -> Key {
        self.begin();
        let key = self.shard.handle_open(Peer::Loopback);
        self.shard.handle_bytes(key, request);
        self.settle();
        key
    }

    /// Connects `count` native clients; they all join `room` in one turn, so that it costs few writes.
    pub(crate) fn room(&mut self, room: &str, count: usize) -> Vec<Key> {
        let keys: Vec<Key> = (0..count).map(|i| self.connect(&format!("/ws?user_id=user-{i}"))).collect();
        let mut join =
            input::Sent::new(input::text(&join(room), &mut roomcast::base::prng::Prng::new(count as u64)));
        self.begin();
        for key in &keys {
            self.feed(*key, join.fresh());
        }
        self.settle();
        keys
    }

    /// A turn begins.
    #[inline(never)]
    pub(crate) fn begin(&mut self) {
        self.now = Mono(self.now.0 + TURN_US);
        self.shard.begin_turn(at(self.now));
    }

    /// Bytes came; within a turn.
    #[inline(never)]
    pub(crate) fn feed(&mut self, key: Key, bytes: &mut [u8]) {
        debug_assert!(self.shard.takes_input(key), "a simulated client is never held");
        self.shard.handle_bytes(key, bytes);
        if self.shard.poll_reply(key) {
            self.write(key);
        }
    }

    fn write(&mut self, key: Key) {
        let mut few = [IoSlice::new(&[]); 2];
        let mut out = self.shard.outgoing(key, &mut few);
        if out.used as usize == few.len() {
            out = self.shard.outgoing(key, &mut [IoSlice::new(&[]); SLICES_MAX]);
        }
        self.tally.writes += 1;
        self.tally.slices += u64::from(out.used);
        self.tally.bytes += out.bytes as u64;
        self.shard.handle_written(key, Written::Bytes(out.bytes), out.bytes);
    }

    /// The turn ends.
    #[inline(never)]
    pub(crate) fn finish(&mut self) {
        self.shard.handle_timers();
        self.shard.work();
        while let Some(key) = self.shard.poll_flush() {
            self.write(key);
        }
        while let Some((key, close)) = self.shard.poll_close() {
            if close == Close::Shutdown {
                self.shard.handle_eof(key); // every simulated client answers at once
            }
        }
        self.shard.end_turn();
    }

    /// The turn ends, and others follow until nothing is left to do.
    #[inline(never)]
    pub(crate) fn settle(&mut self) {
        self.finish();
        while self.shard.is_due() {
            self.begin();
            while self.shard.poll_resume().is_some() {}
            self.finish();
        }
    }

    /// One turn with `bytes` from `key`, and what it causes.
    #[inline(never)]
    pub(crate) fn turn(&mut self, key: Key, bytes: &mut [u8]) {
        self.begin();
        self.feed(key, bytes);
        self.settle();
    }

    /// Nothing happens for so long; then a turn begins.
    #[inline(never)]
    pub(crate) fn sleep(&mut self, time: Duration) {
        self.now = self.now + time;
        self.begin();
    }

    /// What was written since the last call.
    #[inline(never)]
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    pub(crate) fn connections(&self) -> usize {
        self.shard.connections()
    }
}

/// The message that joins a room.
pub(crate) fn join(room: &str) -> String {
    format!("{{\"type\":\"join_room\",\"room\":\"{room}\"}}")
}

fn at(mono: Mono) -> Now {
    Now { mono, wall: Wall(BEGAN + mono.0 / 1000) }
}
