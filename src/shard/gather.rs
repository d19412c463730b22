//! Questions to all shards, and their answers added up.
//!
//! A shard that does not answer within [`DEADLINE`] makes the whole answer `unavailable`: half a sum is no answer.

use std::time::Duration;

use crate::base::id::{Key, ShardId};
use crate::dialect::native::encode;
use crate::hub::command::Tag;
use crate::hub::event::{Refusal, Stats};
use crate::shard::port::ToEdge;
use crate::shard::state::{Gather, Shard, Timer, tick_at};

/// Questions of one shard under way at a time; more are refused.
const GATHERS_MAX: usize = 64;
/// How long the slowest shard may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// For each topic, the age up to which a count is good enough: a hundred times what it takes to count one.
const STALE_PER_TOPIC: Duration = Duration::from_micros(2);
/// Rooms named in an answer.
const ROOMS_LISTED_MAX: usize = 100;

impl Shard {
    /// Asks all shards how they stand, on behalf of `asker`.
    pub(crate) fn gather(&mut self, asker: Key, tag: Tag) -> Result<(), Refusal> {
        if self.gathers.len() >= GATHERS_MAX {
            return Err(Refusal::Unavailable);
        }
        let sum = self.own_stats();
        if self.shards == 1 {
            self.answer_stats(asker, &tag, sum);
            return Ok(());
        }
        let number = self.gathers.next_key();
        let timer = self.wheel.insert(tick_at(self.now.mono + DEADLINE), Timer::Gather(number.slot));
        let kept = self.gathers.insert(Gather { asker, tag, sum, missing: self.shards - 1, timer });
        debug_assert_eq!(kept, number);
        for peer in (0..self.shards).map(ShardId).filter(|peer| *peer != self.id) {
            self.lanes.edges[peer.index()].push_back(ToEdge::Question { from: self.id, number });
        }
        Ok(())
    }

    pub(crate) fn on_question(&mut self, from: ShardId, number: Key) {
        let part = Box::new(self.own_stats());
        self.lanes.edges[from.index()].push_back(ToEdge::Answer { number, part });
    }

    pub(crate) fn on_answer(&mut self, number: Key, part: Stats) {
        let Some(gather) = self.gathers.get_mut(number) else { return }; // its deadline has passed
        add(&mut gather.sum, part);
        gather.missing -= 1;
        if gather.missing > 0 {
            return;
        }
        let Some(gather) = self.gathers.remove(number) else { return };
        self.wheel.cancel(gather.timer);
        self.answer_stats(gather.asker, &gather.tag, gather.sum);
    }

    /// Somebody did not answer.
    pub(crate) fn on_gather_deadline(&mut self, slot: u32) {
        if let Some(gather) = self.gathers.key_of(slot).and_then(|number| self.gathers.remove(number)) {
            self.refuse(gather.asker, gather.tag.as_deref(), &Refusal::Unavailable);
        }
    }

    fn answer_stats(&mut self, asker: Key, tag: &Tag, mut stats: Stats) {
        stats.uptime_s = self.now.mono.since(crate::base::clock::Mono(0)).as_secs();
        self.send(asker, |out| encode::server_stats(out, tag.as_deref(), &stats));
    }

    /// This shard's share. Counting looks at every topic, so it is not done again before so much time has passed that
    /// whoever keeps asking cannot take more than a small part of the shard's.
    fn own_stats(&mut self) -> Stats {
        let now = self.now.mono;
        let topics = u32::try_from(self.owner.counts().topics).unwrap_or(u32::MAX);
        let stats = match &self.stats {
            Some((at, stats)) if now.since(*at) < STALE_PER_TOPIC * topics => stats.clone(),
            _ => {
                let counted = Stats {
                    total_clients: 0,
                    total_rooms: self.owner.counts().rooms_with_members,
                    rooms: self.owner.largest(ROOMS_LISTED_MAX),
                    uptime_s: 0,
                };
                self.stats = Some((now, counted.clone()));
                counted
            }
        };
        Stats { total_clients: self.clients_open, ..stats }
    }
}

fn add(sum: &mut Stats, part: Stats) {
    sum.total_clients += part.total_clients;
    sum.total_rooms += part.total_rooms;
    sum.rooms.extend(part.rooms);
    sum.rooms.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.name().cmp(b.name())));
    sum.rooms.truncate(ROOMS_LISTED_MAX);
}
