//! Publications that one turn brought to one topic, made one delivery.
//!
//! Where many publish to a room, a turn brings many publications to the same members. Pushed one by one, each costs a
//! place in each member's queue and a slice of its write; their frames behind one another are one of both. Who gets an
//! event in a way of its own still gets each by itself: who published it, who has a session, and whoever does not read
//! as fast, as the limits of its queue are for events. Order is that of the jobs, and nothing overtakes an answer that
//! stands between them.

use std::sync::Arc;

use crate::base::shared::Shared;
use crate::shard::delivery::{Delivery, Keepers};
use crate::shard::members::{Fanout, Job, LocalTopic};
use crate::shard::state::Shard;

/// Members for whom it is worth to copy the frames once more: one or two may have published them.
const MEMBERS_MIN: usize = 3;
/// Most publications in one: each is looked at for who published it.
const EVENTS_MAX: usize = 64;

impl Shard {
    /// Makes the fan-out at the front of a topic's jobs, if it has not begun, one with those behind it that can go with
    /// it.
    pub(crate) fn batch(&mut self, index: u32) {
        let LocalTopic { jobs, list, .. } = self.members.topic_mut(index);
        if jobs.len() < 2 || list.len() < MEMBERS_MIN {
            return;
        }
        let Some(Job::Deliver(first)) = jobs.front() else { return };
        if first.cursor > 0 || !is_plain(first) {
            return;
        }
        let (mut count, mut room) = (1, self.limits.pace.batch_bytes_max);
        room = room.saturating_sub(first.delivery.frame.len());
        for job in jobs.range(1..jobs.len().min(EVENTS_MAX)) {
            let Job::Deliver(next) = job else { break };
            let bytes = next.delivery.frame.len();
            if bytes > room || !follows(first, count, next) {
                break;
            }
            room -= bytes;
            count += 1;
        }
        if count == 1 {
            return;
        }
        let end = first.end;
        let parts: Vec<Fanout> = jobs
            .drain(..count as usize)
            .filter_map(|job| if let Job::Deliver(fanout) = job { Some(fanout) } else { None })
            .collect();
        self.jobs_waiting -= parts.len() - 1;
        self.scratch.clear();
        parts.iter().for_each(|part| self.scratch.extend_from_slice(&part.delivery.frame));
        let (frame, of) = (Shared::copy_of(&self.scratch), &parts[0].delivery);
        let share = self.held.share(frame.len() + Delivery::BYTES);
        let delivery = Arc::new(Delivery {
            topic: of.topic.clone(),
            offset: of.offset,
            events: count,
            announced: true,
            conflates: false,
            frame,
            keepers: Keepers::default(),
            _share: share,
        });
        let Fanout { waits, since, .. } = parts[0];
        let whole = Fanout { delivery, sender: None, copy: None, waits, since, cursor: 0, end, parts };
        jobs.push_front(Job::Deliver(whole));
    }
}

/// Whether it is a publication that may be one of several.
fn is_plain(fanout: &Fanout) -> bool {
    let Delivery { offset, announced, conflates, .. } = *fanout.delivery;
    offset > 0 && announced && !conflates && fanout.parts.is_empty()
}

/// Whether `next` is the publication that comes `count` after the first.
fn follows(first: &Fanout, count: u32, next: &Fanout) -> bool {
    let (before, after) = (&first.delivery, &next.delivery);
    is_plain(next)
        && next.waits == first.waits
        && after.offset == before.offset + u64::from(count)
        && after.topic == before.topic
}
