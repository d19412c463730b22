//! One budget for what clients make the whole process remember, and who has to go when it is used up.
//!
//! Every part has a bound of its own; together these bounds may be more than the machine has. So each shard tells what
//! it uses, all of them look at the sum, and a shard that is over it lets go of those clients that do not read, or
//! whose input is held: those with the most waiting first, a part of them in each turn. Who reads and is heard is never
//! touched: nothing of theirs stays. A frame in many queues counts once. At the hard bound, `server::admission` lets
//! nobody in.

use std::cmp::Reverse;
use std::time::Duration;

use crate::base::id::Key;
use crate::metrics::shard::Gauges;
use crate::metrics::table::{LIMITS_HIT, MEMORY};
use crate::shard::limits::MEMORY_SOFT_PERCENT;
use crate::shard::state::Shard;
use crate::wire::ws::close::CloseCode;

/// Of those who do not read, one of so many goes in a turn, and at least one: what several share is free only when the
/// last of them is gone, and not all may have to go.
const SHED_PART: usize = 8;
/// The same from [`HURRY_PERCENT`] of the budget on, so that newcomers do not have to pay for those who do not read.
const SHED_PART_IN_A_HURRY: usize = 2;
/// Half of the way from where it begins, [`MEMORY_SOFT_PERCENT`], to where newcomers are refused.
const HURRY_PERCENT: u64 = 95;
/// How long nobody is looked for after a look that found nobody.
const FRUITLESS_PAUSE: Duration = Duration::from_millis(50);

impl Shard {
    /// What this shard remembers for clients, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let counts = self.owner.counts();
        counts.history_bytes
            + counts.document_bytes
            + self.sessions.bytes
            + self.unfinished.message_bytes
            + self.unfinished.held_bytes
            + self.queued_bytes()
    }

    /// What waits in the send queues, each frame once.
    #[inline]
    pub(crate) fn queued_bytes(&self) -> usize {
        self.held.bytes() + self.spares.own_bytes()
    }

    /// Publishes what is used, and lets go of slow clients if all shards together use too much.
    #[cold]
    #[inline(never)]
    pub(crate) fn fit_memory(&mut self) {
        let Some(budget) = self.limits.memory else { return };
        let own = self.memory_bytes();
        self.gauges[self.id.index()].set_memory(own as u64);
        // Whoever uses less than half of its part is not the cause.
        if own as u64 * 2 < budget / u64::from(self.shards) {
            return;
        }
        let used: u64 = self.gauges.iter().map(Gauges::memory).sum();
        if used > budget / 100 * MEMORY_SOFT_PERCENT && self.now.mono >= self.fruitless_until {
            let hurry = used > budget / 100 * HURRY_PERCENT;
            self.shed(if hurry { SHED_PART_IN_A_HURRY } else { SHED_PART });
        }
    }

    /// Lets go of one of so many of those who do not read, those with the most waiting first.
    fn shed(&mut self, part: usize) {
        let stuck = self.conns.iter().filter_map(|(key, conn)| {
            let held = conn.rest.as_ref().map_or(0, |rest| rest.capacity());
            let slow = conn.outbox.is_blocked() && conn.hears_broadcasts();
            let bytes = held + if slow { conn.outbox.bytes() } else { 0 };
            (bytes > 0).then_some((Reverse(bytes), key))
        });
        let mut stuck: Vec<(Reverse<usize>, Key)> = stuck.collect();
        if stuck.is_empty() {
            self.fruitless_until = self.now.mono + FRUITLESS_PAUSE;
            return;
        }
        stuck.sort_unstable_by_key(|(bytes, key)| (*bytes, key.slot));
        for (_, key) in stuck.iter().take(stuck.len().div_ceil(part)) {
            self.tally.count(const { LIMITS_HIT.of("memory") });
            let is_socket = self.conns.get_mut(*key).is_some_and(|conn| conn.socket().is_some());
            if is_socket {
                self.give_up(*key, CloseCode::SLOW_CONSUMER, "slow consumer");
            } else {
                self.doom(*key); // a request that follows another one, which is not answered yet
            }
        }
    }

    /// Publishes what this file counts.
    pub(crate) fn measure_memory(&mut self) {
        let (queued, used) = (self.queued_bytes() as u64, self.memory_bytes() as u64);
        self.tally.set(const { MEMORY.of("send_queues") }, queued);
        self.gauges[self.id.index()].set_memory(used);
    }

    /// Asserts that the sum is that of the queues.
    pub(crate) fn check_memory(&self) {
        let own: usize = self.conns.iter().map(|(_, conn)| conn.outbox.own_bytes()).sum();
        assert_eq!(own, self.spares.own_bytes(), "own frames in all queues");
    }
}
