//! The sans-io core: one shard as a value that is fed and polled.
//!
//! A shard plays two roles: *edge* for its connections and *owner* for the topics that hash to it. The roles talk
//! by mail only, also within one shard. There is no socket, clock, thread or randomness here; a driver (the reactor,
//! or a simulation) brings all of it. Its methods are of four kinds:
//!
//! - `begin_turn`, `work`: the frame of a turn;
//! - `handle_*`: something happened;
//! - `takes_*`: whether the shard wants more of something now;
//! - `poll_*` and `outgoing`: what must be done now, until they say `None`.
//!
//! One turn, in this order:
//!
//! 1. [`Shard::begin_turn`] tells the time; `handle_open` for new sockets
//! 2. mail: [`Shard::handle_edge_mail`] while [`Shard::takes_edge_mail`], [`Shard::handle_request`] while
//!    [`Shard::takes_requests`]
//! 3. sockets: [`Shard::handle_writable`]; [`Shard::poll_resume`]; [`Shard::handle_bytes`] (while
//!    [`Shard::takes_input`]), [`Shard::handle_eof`], [`Shard::handle_reset`]
//! 4. [`Shard::handle_timers`]
//! 5. [`Shard::work`]: owner work, then unfinished fan-outs
//! 6. [`Shard::poll_flush`], [`Shard::outgoing`], [`Shard::handle_written`]
//! 7. [`Shard::poll_close`]
//! 8. [`Shard::requests_for`] and [`Shard::edge_mail_for`]: into the peers' lanes, one wake each
//! 9. [`Shard::end_turn`] publishes the gauges
//! 10. sleep until [`Shard::poll_timeout`], mail, or a socket
//!
//! Handlers only queue; the end of the turn writes, closes and sends mail. Nothing is freed in the middle.

pub mod limits;
pub mod port;
pub mod placement;
pub(crate) mod members;
pub(crate) mod conn;
pub(crate) mod fanout;
pub(crate) mod turn;
pub(crate) mod gather;
mod check;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Mono, Now};
use crate::base::hash::Keys;
use crate::base::id::{Key, ShardId};
use crate::base::prng::Prng;
use crate::base::slab::Slab;
use crate::base::wheel::Wheel;
use crate::dialect::native::encode;
use crate::hub::command::Request;
use crate::hub::event::Stats;
use crate::hub::name::{Topic, TopicKind};
use crate::hub::owner::Owner;
use crate::hub::policy::{Options, Policies};
use crate::metrics::shard::{Gauges, Reading};
use crate::shard::conn::timers::Deadline;
use crate::shard::conn::{Conn, Phase};
use crate::shard::fanout::Fanout;
use crate::shard::gather::Gather;
use crate::shard::limits::Limits;
use crate::shard::members::Members;
use crate::shard::port::ToEdge;
use crate::shard::turn::Turn;
use crate::wire::http::answer::{After, Problem, Status};
use crate::wire::ws::close::CloseCode;
use crate::wire::ws::frame::Opcode;

pub use crate::shard::turn::SLICES_MAX;

/// Microseconds of one tick of the timer wheel.
const TICK_US: u64 = 1000;

/// What all shards of a process are told.
#[derive(Clone, Debug)]
pub struct Setting {
    /// How many shards there are.
    pub shards: u16,
    /// Keys of all hashes and identifiers; the same for all shards.
    pub keys: Keys,
    /// What an operator can set.
    pub limits: Limits,
    /// The server's own name.
    pub node: Arc<str>,
    /// One per shard.
    pub gauges: Arc<[Gauges]>,
}

/// What the wheel can fire.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timer {
    /// A connection's next deadline.
    Conn(Key),
    /// A gathered answer is overdue.
    Gather(Key),
}

/// Mail that waits for the end of the turn, by receiver; at its own place, what the shard owes itself.
pub(crate) struct Lanes {
    pub(crate) requests: Vec<VecDeque<Request>>,
    pub(crate) edges: Vec<VecDeque<ToEdge>>,
}

/// See the module's page.
pub struct Shard {
    id: ShardId,
    shards: u16,
    keys: Keys,
    limits: Limits,
    node: Arc<str>,
    gauges: Arc<[Gauges]>,
    now: Now,
    conns: Slab<Conn>,
    wheel: Wheel<Timer>,
    members: Members,
    owner: Owner,
    lanes: Lanes,
    turn: Turn,
    /// Topics with unfinished fan-outs.
    active: VecDeque<u32>,
    /// Unfinished fan-outs to every client.
    everyone: VecDeque<Fanout>,
    /// Fan-outs, and answers behind them, that are not finished.
    jobs_waiting: usize,
    gathers: Slab<Gather>,
    /// This shard's share of `get_stats` since the owner last did something.
    stats: Option<Stats>,
    everyone_topic: Topic,
    spares: conn::outbox::Spares,
    /// Frames are encoded here before they are copied to where they stay.
    scratch: Vec<u8>,
    /// Native clients ever opened.
    serials: u64,
    /// Native clients that are welcomed and not closing.
    clients_open: u64,
    prng: Prng,
    draining: bool,
}

/// The first tick at or after `time`.
pub(crate) fn tick_at(time: Mono) -> u64 {
    time.0.div_ceil(TICK_US)
}

impl Shard {
    /// A shard without connections. `seed` decides its jitter.
    #[must_use]
    pub fn new(id: ShardId, setting: &Setting, seed: u64, now: Now) -> Shard {
        let Setting { shards, keys, limits, node, gauges } = setting.clone();
        assert!(id.0 < shards && gauges.len() == usize::from(shards));
        limits.pace.check();
        let policies = Policies::new(Options {
            room_members_max: limits.members_per_room_max,
            user_connections_max: limits.connections_per_user_max,
        });
        Shard {
            id,
            shards,
            keys,
            limits,
            node,
            gauges,
            now,
            conns: Slab::new(),
            wheel: Wheel::new(now.mono.0 / TICK_US),
            members: Members::new(keys),
            owner: Owner::new(id, shards, keys, policies),
            lanes: Lanes {
                requests: (0..shards).map(|_| VecDeque::new()).collect(),
                edges: (0..shards).map(|_| VecDeque::new()).collect(),
            },
            turn: Turn::new(shards),
            active: VecDeque::new(),
            everyone: VecDeque::new(),
            jobs_waiting: 0,
            gathers: Slab::new(),
            stats: None,
            everyone_topic: Topic::new(TopicKind::Everyone, "", keys),
            spares: conn::outbox::Spares::default(),
            scratch: Vec::new(),
            serials: 0,
            clients_open: 0,
            prng: Prng::new(seed),
            draining: false,
        }
    }

    /// A turn begins; `now` holds until it ends.
    pub fn begin_turn(&mut self, now: Now) {
        debug_assert!(now.mono >= self.now.mono, "monotonic time goes back");
        self.now = now;
        self.turn.begin(&self.limits.pace);
    }

    /// A socket was accepted. Its key stays good until [`Shard::poll_close`] says drop.
    pub fn handle_open(&mut self) -> Key {
        let until = self.now.mono + self.limits.handshake_timeout;
        let key = self.conns.insert(Conn::new(until));
        self.rearm(key);
        key
    }

    /// Whether the input of `key` is handled now; if not, leave it in the socket until [`Shard::poll_resume`].
    #[must_use]
    pub fn takes_input(&self, key: Key) -> bool {
        self.conns.get(key).is_some_and(|conn| conn.hold.none() && conn.rest.is_empty())
    }

    /// Bytes came. They are handled as far as possible; `input` may be changed.
    pub fn handle_bytes(&mut self, key: Key, input: &mut [u8]) {
        match self.conns.get_mut(key) {
            // What came before and was held goes first.
            Some(conn) if !conn.rest.is_empty() => conn.rest.extend_from_slice(input),
            _ => self.consume(key, input),
        }
    }

    /// Handles input until it is used up or held; what is held is kept with the connection.
    pub(crate) fn consume(&mut self, key: Key, mut input: &mut [u8]) {
        while !input.is_empty() {
            let Some(conn) = self.conns.get_mut(key) else { return };
            if !conn.hold.none() {
                conn.rest.extend_from_slice(input);
                return;
            }
            let used = match conn.phase {
                Phase::Head { .. } => self.consume_head(key, input),
                Phase::Socket(_) => self.consume_frames(key, input),
                Phase::Closing { .. } | Phase::Gone => return,
            };
            input = &mut input[used..];
        }
    }

    /// The peer sends nothing more.
    pub fn handle_eof(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        match &mut conn.phase {
            // A peer may shut its side after a request and still wait for the answer.
            Phase::Head { .. } if !conn.outbox.is_empty() => {
                self.end(key);
                self.mark_ended(key);
            }
            Phase::Closing { shut: false, .. } if !conn.outbox.is_empty() => self.mark_ended(key),
            _ => self.doom(key),
        }
    }

    fn mark_ended(&mut self, key: Key) {
        if let Some(Conn { phase: Phase::Closing { ended, .. }, .. }) = self.conns.get_mut(key) {
            *ended = true;
        }
    }

    /// The connection is broken.
    pub fn handle_reset(&mut self, key: Key) {
        self.doom(key);
    }

    /// Whether the owner of this shard keeps up: nothing that it said before is stuck.
    #[must_use]
    pub fn takes_requests(&self) -> bool {
        self.jobs_waiting < self.limits.pace.jobs_high
            && self
                .lanes
                .edges
                .iter()
                .enumerate()
                .all(|(peer, mail)| peer == self.id.index() || mail.is_empty())
    }

    /// An edge asks this owner.
    pub fn handle_request(&mut self, request: Request) {
        self.stats = None;
        self.owner.handle(request, self.now);
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
            ToEdge::Question { from, number } => self.on_question(from, number),
            ToEdge::Answer { number, part } => self.on_answer(number, *part),
        }
    }

    /// Fires all timers that are due.
    pub fn handle_timers(&mut self) {
        let tick = self.now.mono.0 / TICK_US;
        while let Some((_, timer)) = self.wheel.pop(tick) {
            match timer {
                Timer::Conn(key) => self.on_timer(key),
                Timer::Gather(number) => self.on_gather_deadline(number),
            }
        }
        self.owner.expire(self.now.mono);
    }

    fn on_timer(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.timer = None;
        if let Some((due, deadline)) = conn.next_deadline(&self.limits)
            && due <= self.now.mono
        {
            self.on_deadline(key, deadline);
        }
        self.rearm(key);
    }

    fn on_deadline(&mut self, key: Key, deadline: Deadline) {
        let now = self.now;
        match deadline {
            Deadline::Head => self.on_head_deadline(key),
            Deadline::CloseHandshake | Deadline::Linger => self.doom(key),
            Deadline::Idle => self.close(key, CloseCode::IDLE_TIMEOUT, "idle timeout"),
            Deadline::Ping => self.on_ping_due(key),
            Deadline::Pong => {
                let Some(socket) = self.conns.get_mut(key).and_then(Conn::socket) else { return };
                socket.pongs_missed += 1;
                if socket.pongs_missed < self.limits.missed_pongs_max {
                    return self.on_ping_due(key);
                }
                self.fail(key, CloseCode::HEARTBEAT_TIMEOUT, "heartbeat timeout");
            }
            Deadline::Heartbeat => {
                let Some(interval) = self.limits.ping_interval else { return };
                if let Some(client) = self.conns.get_mut(key).and_then(Conn::client) {
                    client.heartbeat_due = Some(now.mono + interval);
                }
                self.send(key, |out| encode::heartbeat(out, now.wall));
            }
        }
    }

    fn on_head_deadline(&mut self, key: Key) {
        match self.conns.get(key).map(|conn| &conn.phase) {
            // A request was begun: say why it ends. Without one, silence meets silence.
            Some(Phase::Head { reader: Some(_), .. }) => {
                let problem = Problem::new(Status::RequestTimeout, "The request did not come in time.");
                self.answer_problem(key, problem, false, After::Close);
            }
            _ => self.doom(key),
        }
    }

    fn on_ping_due(&mut self, key: Key) {
        let now = self.now.mono;
        let Some(conn) = self.conns.get_mut(key) else { return };
        let held = conn.hold.has(conn::Hold::LANE);
        let Some(socket) = conn.socket() else { return };
        if held {
            socket.last_seen = now; // we do not listen: its silence says nothing
            return;
        }
        socket.ping_unanswered = Some(now);
        self.send_control(key, Opcode::Ping, b"");
    }

    /// Makes sure that the wheel fires no later than the connection's next deadline. An entry that fires too early
    /// looks and is armed again: activity never touches the wheel.
    pub(crate) fn rearm(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Some((due, _)) = conn.next_deadline(&self.limits) else { return };
        match conn.timer {
            Some(_) if conn.armed <= due => return,
            Some(timer) => self.wheel.reschedule(timer, tick_at(due)),
            None => conn.timer = Some(self.wheel.insert(tick_at(due), Timer::Conn(key))),
        }
        conn.armed = due;
    }

    /// Owner work, then fan-outs, each as far as this turn's budget reaches.
    pub fn work(&mut self) {
        for _ in 0..self.limits.pace.requests_per_turn {
            if !self.takes_requests() {
                break;
            }
            let Some(request) = self.lanes.requests[self.id.index()].pop_front() else { break };
            self.handle_request(request);
        }
        self.run_fanouts();
        self.drop_overrun();
        self.release_stalled();
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

    /// The turn is over.
    pub fn end_turn(&mut self) {
        self.release_stalled();
        self.gauges[self.id.index()].publish(Reading {
            connections: self.conns.len() as u64,
            clients: self.clients_open,
            rooms: self.owner.counts().rooms_with_members,
        });
    }

    /// How long the driver may sleep if nothing comes: zero if this turn's budget left work, none = for ever.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let own_requests = !self.lanes.requests[self.id.index()].is_empty() && self.takes_requests();
        if self.turn.unfinished() || !self.active.is_empty() || !self.everyone.is_empty() || own_requests {
            return Some(Duration::ZERO);
        }
        let timers = self.wheel.next_deadline().map(|tick| Mono(tick.saturating_mul(TICK_US)));
        let due = [timers, self.owner.next_expiry()].into_iter().flatten().min()?;
        Some(due.since(self.now.mono))
    }

    /// The server is going down: every client is told when to come back, each its own moment within `window`, and
    /// is closed with 1001; requests are answered no more. [`Shard::is_empty`] tells when all are gone.
    pub fn handle_drain(&mut self, window: Duration) {
        self.draining = true;
        let keys: Vec<Key> = self.conns.iter().map(|(key, _)| key).collect();
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        for key in keys {
            let delay = Duration::from_millis(self.prng.below(window_ms.saturating_add(1)));
            let Some(conn) = self.conns.get_mut(key) else { continue };
            match conn.phase {
                Phase::Head { .. } if conn.outbox.is_empty() => self.doom(key),
                Phase::Head { .. } => self.end(key),
                Phase::Closing { .. } | Phase::Gone => {}
                Phase::Socket(_) => {
                    if conn.hears_broadcasts() {
                        self.send(key, |out| encode::server_shutdown(out, delay));
                    }
                    self.close(key, CloseCode::GOING_AWAY, "server shutdown");
                }
            }
        }
    }

    /// Whether no connection is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    /// Connections of any kind.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.conns.len()
    }
}
