//! Questions to all shards, or to one, and their answers added up.
//!
//! A shard that does not answer within [`DEADLINE`] makes the whole answer `unavailable`: half a sum is no answer.
//! What a question costs is bounded, however large a shard is and however often it is asked.

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Mono;
use crate::base::id::{Key, ShardId, index32};
use crate::dialect::native::encode;
use crate::hub::command::Tag;
use crate::hub::event::{Refusal, Stats};
use crate::hub::name::Topic;
use crate::shard::conn::{Conn, Phase};
use crate::shard::port::{ClientSeen, Part, Question, ToEdge};
use crate::shard::state::{Census, Gather, Shard, Timer, tick_at};
use crate::wire::ws::close::CloseCode;

/// Questions of one shard under way at a time; more are refused.
const GATHERS_MAX: usize = 64;
/// How long the slowest shard may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// For each topic, the age up to which a count is good enough: a hundred times what it takes to count one.
const STALE_PER_TOPIC: Duration = Duration::from_micros(2);
/// Rooms named in `server_stats`.
const ROOMS_LISTED_MAX: usize = 100;
/// Rooms that are counted out for those who ask for more.
const ROOMS_COUNTED_MAX: usize = 1000;
/// Connections of one user that are named; all are counted.
const CLIENTS_OF_USER_MAX: usize = 1000;
/// Places for connections that one question looks at: about a tenth of a millisecond.
const SLOTS_PER_QUESTION: u32 = 4096;

impl Shard {
    /// Asks all shards, or `whom` alone, on behalf of `asker`.
    pub(crate) fn gather(
        &mut self,
        asker: Key,
        tag: Tag,
        question: Question,
        whom: Option<ShardId>,
    ) -> Result<(), Refusal> {
        if self.gathers.len() >= GATHERS_MAX {
            return Err(Refusal::Unavailable);
        }
        let asked = |shard| whom.is_none_or(|whom| whom == shard);
        let sum = asked(self.id).then(|| self.answer_question(&question));
        let peers = (0..self.shards).map(ShardId).filter(|peer| *peer != self.id && asked(*peer));
        let missing = u16::try_from(peers.clone().count()).unwrap_or(u16::MAX);
        let sum = match sum {
            Some(sum) if missing == 0 => {
                self.on_gathered(asker, &tag, sum);
                return Ok(());
            }
            sum => sum,
        };
        let number = self.gathers.next_key();
        let timer = self.wheel.insert(tick_at(self.now.mono + DEADLINE), Timer::Gather(number.slot));
        let kept = self.gathers.insert(Gather { asker, tag, sum, missing, timer });
        debug_assert_eq!(kept, number);
        for peer in peers {
            self.lanes.edges[peer.index()].push_back(ToEdge::Question {
                from: self.id,
                number,
                question: question.clone(),
            });
        }
        Ok(())
    }

    pub(crate) fn on_question(&mut self, from: ShardId, number: Key, question: &Question) {
        let part = Box::new(self.answer_question(question));
        self.lanes.edges[from.index()].push_back(ToEdge::Answer { number, part });
    }

    pub(crate) fn on_answer(&mut self, number: Key, part: Part) {
        let Some(gather) = self.gathers.get_mut(number) else { return }; // its deadline has passed
        gather.sum = Some(match gather.sum.take() {
            Some(sum) => add(sum, part),
            None => part,
        });
        gather.missing -= 1;
        if gather.missing > 0 {
            return;
        }
        let Some(gather) = self.gathers.remove(number) else { return };
        self.wheel.cancel(gather.timer);
        if let Some(sum) = gather.sum {
            self.on_gathered(gather.asker, &gather.tag, sum);
        }
    }

    /// Somebody did not answer.
    pub(crate) fn on_gather_deadline(&mut self, slot: u32) {
        if let Some(gather) = self.gathers.key_of(slot).and_then(|number| self.gathers.remove(number)) {
            // Of a shard that is stuck there are the numbers that it published last: that is when they are needed.
            if matches!(gather.sum, Some(Part::Measured)) {
                return self.answer_part(gather.asker, &Part::Measured);
            }
            self.refuse(gather.asker, gather.tag.as_deref(), &Refusal::Unavailable);
            self.refuse_request(gather.asker, &Refusal::Unavailable);
        }
    }

    /// All have answered: tells whoever asked, a client or a request for the API.
    fn on_gathered(&mut self, asker: Key, tag: &Tag, sum: Part) {
        match sum {
            Part::Stats(mut stats) => {
                stats.uptime_s = self.now.mono.since(Mono(0)).as_secs();
                self.send(asker, |out| encode::server_stats(out, tag.as_deref(), &stats));
            }
            sum => self.answer_part(asker, &sum),
        }
    }

    /// This shard's share.
    fn answer_question(&mut self, question: &Question) -> Part {
        match question {
            Question::Stats => {
                let rooms = self.largest_rooms();
                Part::Stats(Stats {
                    total_clients: self.clients_open,
                    total_rooms: self.owner.counts().rooms_with_members,
                    rooms: rooms.iter().take(ROOMS_LISTED_MAX).cloned().collect(),
                    uptime_s: 0,
                })
            }
            Question::Measure => {
                self.measure();
                Part::Measured
            }
            Question::Drain => {
                let clients = self.clients_open;
                self.handle_drain(self.limits.drain_window, false);
                Part::Draining(clients)
            }
            Question::Rooms(limit) => {
                let rooms = self.largest_rooms();
                let rooms = rooms.iter().take(*limit as usize).cloned().collect();
                Part::Rooms { total: self.owner.counts().rooms_with_members, rooms, limit: *limit }
            }
            Question::Clients { from, limit } => self.clients_from(*from, *limit),
            Question::Close(key) => Part::Closed(u64::from(self.disconnect(*key))),
            Question::User(topic) => {
                let slots = self.connections_of(topic);
                let (seen, total) = (slots.iter().take(CLIENTS_OF_USER_MAX), slots.len() as u64);
                let clients = seen.filter_map(|key| self.client_seen(key.slot)).collect();
                Part::User { topic: topic.clone(), clients, total }
            }
            Question::CloseUser(topic) => {
                let keys = self.connections_of(topic);
                Part::Closed(keys.into_iter().map(|key| u64::from(self.disconnect(key))).sum())
            }
        }
    }

    /// The largest rooms owned here. Counting looks at every topic, so it is not done again before so much time has
    /// passed that whoever keeps asking cannot take more than a small part of the shard's.
    fn largest_rooms(&mut self) -> Census {
        let now = self.now.mono;
        let topics = u32::try_from(self.owner.counts().topics).unwrap_or(u32::MAX);
        match &self.largest {
            Some((at, rooms)) if now.since(*at) < STALE_PER_TOPIC * topics => Arc::clone(rooms),
            _ => {
                let rooms: Census = self.owner.largest(ROOMS_COUNTED_MAX).into();
                self.largest = Some((now, Arc::clone(&rooms)));
                rooms
            }
        }
    }

    /// A piece of the list of clients, by place.
    fn clients_from(&self, from: u32, limit: u32) -> Part {
        let slots = index32(self.conns.slots());
        let end = slots.min(from.saturating_add(SLOTS_PER_QUESTION));
        let (mut clients, mut slot) = (Vec::new(), from);
        while slot < end && clients.len() < limit as usize {
            clients.extend(self.client_seen(slot));
            slot += 1;
        }
        Part::Clients { clients, next: (slot < slots).then_some(slot), shard: self.id }
    }

    fn client_seen(&self, slot: u32) -> Option<ClientSeen> {
        let key = self.conns.key_of(slot)?;
        let conn = self.conns.get(key).filter(|conn| conn.hears_broadcasts())?;
        let user = conn.user().cloned();
        Some(ClientSeen { id: self.client_id(key).into(), user, topics: conn.memberships.len() as u64 })
    }

    /// Closes a client for the application behind this server, or gives up its session; false if it is gone, or going.
    fn disconnect(&mut self, key: Key) -> bool {
        if matches!(self.conns.get(key), Some(Conn { phase: Phase::Away { .. }, .. })) {
            self.end_session(key);
            return true;
        }
        let open = self.conns.get_mut(key).is_some_and(|conn| conn.client().is_some());
        if open {
            self.close(key, CloseCode::DISCONNECTED, "disconnected by the API");
        }
        open
    }
}

fn add(sum: Part, part: Part) -> Part {
    match (sum, part) {
        (Part::Stats(mut sum), Part::Stats(part)) => {
            sum.total_clients += part.total_clients;
            sum.total_rooms += part.total_rooms;
            merge(&mut sum.rooms, part.rooms, ROOMS_LISTED_MAX);
            Part::Stats(sum)
        }
        (Part::Rooms { total, mut rooms, limit }, Part::Rooms { total: more, rooms: others, .. }) => {
            merge(&mut rooms, others, limit as usize);
            Part::Rooms { total: total + more, rooms, limit }
        }
        (Part::Closed(sum), Part::Closed(part)) => Part::Closed(sum + part),
        (Part::Measured, Part::Measured) => Part::Measured,
        (Part::Draining(sum), Part::Draining(part)) => Part::Draining(sum + part),
        (Part::User { topic, mut clients, total }, Part::User { clients: others, total: more, .. }) => {
            clients.extend(others);
            clients.truncate(CLIENTS_OF_USER_MAX);
            Part::User { topic, clients, total: total + more }
        }
        (sum, _) => {
            debug_assert!(
                false,
                "answers are of their question's kind, and clients are asked for shard by shard"
            );
            sum
        }
    }
}

fn merge(rooms: &mut Vec<(Topic, u32)>, others: Vec<(Topic, u32)>, limit: usize) {
    rooms.extend(others);
    rooms.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.name().cmp(b.name())));
    rooms.truncate(limit);
}
