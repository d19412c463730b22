//! The sans-io core: one shard as a value that is fed and polled.
//!
//! A shard plays two roles: *edge* for its connections and *owner* for the topics that hash to it. The roles talk
//! by mail only, also within one shard. There is no socket, clock, thread or randomness here; a driver (the reactor,
//! or a simulation) brings all of it. Its methods are of four kinds:
//!
//! - `begin_turn`, `work`, `end_turn`: the frame of a turn;
//! - `handle_*`: something happened;
//! - `takes_*`: whether the shard wants more of something now;
//! - `poll_*` and `outgoing`: what must be done now, until they say `None`.
//!
//! One turn, in this order:
//!
//! 1. [`Shard::begin_turn`] tells the time; [`Shard::handle_drain`], [`Shard::handle_open`] for new sockets
//! 2. mail: [`Shard::handle_stored`]; [`Shard::handle_edge_mail`] while [`Shard::takes_edge_mail`],
//!    [`Shard::handle_request`] while [`Shard::takes_requests`]; then [`Shard::handle_mail_age`]
//! 3. sockets: [`Shard::handle_arrival`]; [`Shard::handle_writable`]; [`Shard::poll_resume`]; [`Shard::handle_bytes`]
//!    (while [`Shard::takes_input`]; [`Shard::handle_placed`] after a read to [`Shard::message_room`]; what comes
//!    through a [`front::Front`] as that says) and then
//!    [`Shard::poll_reply`]; [`Shard::handle_eof`], [`Shard::handle_reset`]
//! 4. [`Shard::handle_timers`]
//! 5. [`Shard::work`]: owner work, then unfinished fan-outs
//! 6. [`Shard::poll_flush`], [`Shard::outgoing`] (after the last bytes step 7 has to follow in the same turn),
//!    [`Shard::handle_written`]
//! 7. [`Shard::poll_close`]
//! 8. [`Shard::poll_journal`]; [`Shard::requests_for`] and [`Shard::edge_mail_for`]: into the peers' lanes, one wake
//!    each
//! 9. [`Shard::end_turn`] publishes the gauges and lets stalled publishers go on
//! 10. sleep until [`Shard::poll_due`], mail, or a socket
//!
//! Where proxies say for whom they speak: [`Shard::poll_located`], once a turn after the sockets.
//!
//! Where sessions are resumed and lost, sockets change hands: [`Shard::poll_move`] after each step.
//!
//! Handlers only queue; the end of the turn writes, closes and sends mail, but for echoes and long replies, which are
//! written right after their read. Nothing is freed in the middle.

pub mod limits;
pub(crate) mod pass;
pub mod arrival;
pub mod port;
pub mod tls;
pub mod front;
pub mod placement;
pub mod barred;
pub mod ledger;
pub(crate) mod purse;
pub(crate) mod delivery;
pub mod load;
pub(crate) mod outbox;
pub(crate) mod window;
pub(crate) mod members;
pub(crate) mod users;
pub(crate) mod conn;
pub(crate) mod turn;
pub mod state;
mod edge;
mod batch;
mod fanout;
mod gather;
pub mod drain;
mod shed;
mod overload;
pub mod measure;
pub mod flush;
mod check;

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::clock::{Mono, Now};
use crate::base::id::{Key, ShardId};
use crate::base::peer::Peer;
use crate::hub::command::Request;
use crate::hub::journal::Entry;
use crate::hub::stored::Restored;
use crate::metrics::shard::Reading;
use crate::metrics::table::BYTES_RECEIVED;
use crate::shard::conn::socket::LINGER;
use crate::shard::conn::{Conn, Phase};
use crate::shard::limits::Pace;
use crate::shard::port::{Papers, ToEdge};
use crate::shard::state::{Drain, Shard, TICK_US, Timer};

impl Shard {
    /// A turn begins; `now` holds until it ends.
    pub fn begin_turn(&mut self, now: Now) {
        debug_assert!(now.mono >= self.now.mono, "monotonic time goes back");
        self.now = now;
        let pace = &self.limits.pace;
        let pushes = pace.pushes_per_turn - self.turn.pushes_left;
        if self.window.begin_turn(now.mono, pushes, pace) {
            self.turn.end_window();
        }
        self.turn.begin(pace);
    }

    /// A socket was accepted from `peer`. Its key stays good until [`Shard::poll_close`] says drop.
    pub fn handle_open(&mut self, peer: Peer) -> Key {
        // Whoever comes at the end is told so, but not waited for.
        let patience = if self.is_ending() { LINGER } else { self.limits.handshake_timeout };
        let until = self.now.mono + patience;
        let key = self.conns.insert(Conn::new(peer, until));
        self.begin_request(key);
        self.fit_requests();
        self.rearm(key);
        key
    }

    /// Whether the input of `key` is handled now; if not, leave it in the socket until [`Shard::poll_resume`].
    #[must_use]
    pub fn takes_input(&self, key: Key) -> bool {
        self.conns.get(key).is_some_and(|conn| conn.hold.none() && conn.rest.is_none())
    }

    /// Bytes came. They are handled as far as possible; `input` may be changed.
    pub fn handle_bytes(&mut self, key: Key, input: &mut [u8]) {
        self.count_input(key, input.len());
        if self.conns.get(key).is_some_and(|conn| conn.rest.is_some()) {
            return self.hold_input(key, input); // what came before and was held goes first
        }
        self.consume(key, input);
    }

    /// Where the next bytes of a connection may be read to in place of a buffer of the driver's: into the long message
    /// that they continue. [`Shard::handle_placed`] has to follow, whatever the read gave.
    pub fn message_room(&mut self, key: Key) -> Option<&mut [u8]> {
        let least = self.limits.pace.placed_bytes_min;
        let conn = self.conns.get_mut(key).filter(|conn| conn.hold.none() && conn.rest.is_none())?;
        conn.socket()?.assembler.room(least)
    }

    #[inline]
    pub(crate) fn count_input(&mut self, key: Key, count: usize) {
        self.tally.add(const { BYTES_RECEIVED.cell() }, count as u64);
        if self.load.is_over {
            self.note_loud(key, count);
        }
    }

    /// The peer sends nothing more.
    pub fn handle_eof(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        match &mut conn.phase {
            // A peer may shut its side after a request and still wait for the answer.
            Phase::Head { .. } | Phase::Body { .. } if !conn.outbox.is_empty() => {
                self.end(key);
                self.mark_ended(key);
            }
            Phase::Closing { shut: false, .. } if !conn.outbox.is_empty() => self.mark_ended(key),
            _ => self.doom(key),
        }
    }

    /// The peer sends nothing more: no need to linger when our last word is written.
    pub(crate) fn mark_ended(&mut self, key: Key) {
        if let Some(Conn { phase: Phase::Closing { ended, .. }, .. }) = self.conns.get_mut(key) {
            *ended = true;
        }
    }

    /// The connection is broken.
    pub fn handle_reset(&mut self, key: Key) {
        self.doom(key);
    }

    /// Whether the edges keep up with the owner of this shard: not too much of what it said is still to be sent.
    #[must_use]
    pub fn takes_requests(&self) -> bool {
        let Pace { jobs_high, mail_high, .. } = self.limits.pace;
        self.jobs_waiting < jobs_high
            && !self.owner.is_ahead_of_store()
            && self.lanes.edges.iter().all(|mail| mail.len() < mail_high)
    }

    /// An edge asks this owner.
    pub fn handle_request(&mut self, request: Request) {
        self.owner.handle(request, self.now);
        self.route_outcomes();
    }

    /// Sends on their way what the owner has said, as far as it may be known.
    fn route_outcomes(&mut self) {
        while let Some((to, outcome)) = self.owner.poll() {
            if to == self.id {
                self.on_outcome(outcome);
            } else {
                self.lanes.edges[to.index()].push_back(ToEdge::Outcome(outcome));
            }
        }
    }

    /// Whether this edge keeps up with what it was told before.
    #[must_use]
    pub fn takes_edge_mail(&self) -> bool {
        self.jobs_waiting < self.limits.pace.jobs_high
    }

    /// Mail from another shard to this edge.
    pub fn handle_edge_mail(&mut self, mail: ToEdge) {
        match mail {
            ToEdge::Outcome(outcome) => self.on_outcome(outcome),
            ToEdge::Question { from, number, question } => self.on_question(from, number, &question),
            ToEdge::Answer { number, part } => self.on_answer(number, *part),
            ToEdge::Receipt { number, count } => self.on_receipt(number, count),
        }
    }

    /// The age of the oldest mail to or from other shards, after this turn's was taken: nothing if there is none.
    pub fn handle_mail_age(&mut self, age: Duration) {
        self.load.note_mail(age);
    }

    /// Fires all timers that are due.
    pub fn handle_timers(&mut self) {
        let tick = self.now.mono.0 / TICK_US;
        while let Some((_, timer)) = self.wheel.pop(tick) {
            match timer {
                Timer::Conn(slot) => self.on_timer(slot),
                Timer::Gather(slot) => self.on_gather_deadline(slot),
            }
        }
        // What is due at the owner is said to edges, so it waits for them as requests do.
        let is_due = self.owner.next_expiry().is_some_and(|due| due <= self.now.mono);
        if is_due && self.takes_requests() {
            self.owner.expire(self.now.mono);
            self.route_outcomes();
        }
        if !self.sessions.away.is_empty() {
            self.expire_sessions();
        }
        if self.drain.is_some() {
            self.send_away();
        }
    }

    /// Owner work, then fan-outs, each as far as this turn's budget reaches.
    pub fn work(&mut self) {
        let mut done = 0;
        for _ in 0..self.limits.pace.requests_per_turn {
            if !self.takes_requests() {
                break;
            }
            let Some(request) = self.lanes.requests[self.id.index()].pop_front() else { break };
            self.handle_request(request);
            done += 1;
        }
        self.load.note_own(done, self.lanes.requests[self.id.index()].len(), self.now.mono);
        self.run_fanouts();
    }

    /// Requests on their way to the owner at `peer`: to be taken from the front as far as its lane has room.
    pub fn requests_for(&mut self, peer: ShardId) -> &mut VecDeque<Request> {
        debug_assert_ne!(peer, self.id);
        &mut self.lanes.requests[peer.index()]
    }

    /// Mail on its way to the edge at `peer`, likewise.
    pub fn edge_mail_for(&mut self, peer: ShardId) -> &mut VecDeque<ToEdge> {
        debug_assert_ne!(peer, self.id);
        &mut self.lanes.edges[peer.index()]
    }

    /// Keys and rules were read: before the first turn, or anew. Who is in stays in.
    pub fn handle_papers(&mut self, papers: Papers) {
        self.papers = papers;
    }

    /// Takes over a topic that a store has kept: before the first turn.
    pub fn restore(&mut self, restored: Restored) {
        self.owner.restore(restored, self.now);
    }

    /// Takes over where the numbers of new inboxes begin: before the first topic.
    pub fn restore_inbox_floor(&mut self, floor: u64) {
        self.owner.restore_inbox_floor(floor);
    }

    /// What this turn has brought for the store, if there is one. Each batch is answered by
    /// [`Shard::handle_stored`].
    pub fn poll_journal(&mut self) -> Option<Vec<Entry>> {
        self.owner.cut_journal()
    }

    /// The oldest batch that is not stored yet, is.
    pub fn handle_stored(&mut self) {
        self.owner.stored();
        self.route_outcomes();
    }

    /// The turn is over.
    pub fn end_turn(&mut self) {
        self.release_stalled();
        self.spares.trim(self.now.mono);
        self.gauges[self.id.index()].publish(Reading {
            connections: (self.conns.len() - self.sessions.away.len()) as u64,
            clients: self.clients_open,
            rooms: self.owner.counts().rooms_with_members,
        });
    }

    /// When the next turn has to come if nothing else does: now, if this turn's budget left work; none = never.
    #[must_use]
    pub fn poll_due(&self) -> Option<Mono> {
        let own_requests = !self.lanes.requests[self.id.index()].is_empty() && self.takes_requests();
        let fanouts = !(self.active.is_empty() && self.everyone.is_empty() && self.directs.is_empty());
        if self.turn.unfinished() || fanouts || own_requests {
            return Some(self.now.mono);
        }
        let timers = self.wheel.next_deadline().map(|tick| Mono(tick.saturating_mul(TICK_US)));
        let away = self.sessions.away.first().map(|(until, _)| *until);
        let expiry = self.owner.next_expiry().filter(|_| self.takes_requests());
        let due = Mono::earlier(Mono::earlier(timers, expiry), Mono::earlier(self.window.due(), away));
        if self.drain.is_some() || self.load.is_over { self.sooner(due) } else { due }
    }

    /// Whether it has to come at once.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.poll_due().is_some_and(|due| due <= self.now.mono)
    }

    /// What is due while clients are sent away, or held for the load, if that is before `due`.
    #[cold]
    #[inline(never)]
    fn sooner(&self, due: Option<Mono>) -> Option<Mono> {
        let leaving = self.drain.as_ref().and_then(Drain::next);
        Mono::earlier(Mono::earlier(due, leaving), self.next_relief())
    }

    /// When deliveries go out that wait for one another; [`Shard::poll_due`] knows it too.
    #[must_use]
    pub fn poll_window(&self) -> Option<Mono> {
        self.window.due()
    }

    /// Whether no connection is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// Connections of any kind, and sessions that wait for their clients.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.conns.len()
    }
}

#[cfg(test)]
mod tests;
