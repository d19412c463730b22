//! Every limit of a shard and its connections, in one place, with the relations that must hold between them.

use std::time::Duration;

use crate::access::Policy;
use crate::base::network::Trusted;
use crate::hub::journal::Durability;
use crate::hub::moderation::Appointment;
use crate::hub::policy::{Documents, HISTORY_MEMORY, PRESENCE_LIST_MAX, ROOM_HISTORY_BYTES, Rule};
use crate::wire::ws::message::Bounds;

/// What the sessions of one shard keep for their clients at most, in bytes.
pub const SESSIONS_MEMORY: usize = 64 << 20;
/// What the ledger of the users' rates costs at most, in bytes.
pub const LEDGER_MEMORY: u64 = 4 << 20;
/// Buffers and queues that a shard keeps at most for reuse, as long as they are needed now and then, in bytes.
pub const SPARE_MEMORY: u64 = 14 << 20;
/// Percent of the memory budget from which on slow clients are let go; at all of it newcomers are refused.
pub const MEMORY_SOFT_PERCENT: u64 = 90;
/// What an idle connection costs at most, with what the kernel needs for it (docs/performance.md).
pub const CONNECTION_BYTES: u64 = 8 << 10;
/// Input that a connection may have sent before it was held: one read.
pub const HELD_INPUT_BYTES: u64 = 256 << 10;

/// One term of the most memory that the process may need, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// What for.
    pub part: &'static str,
    /// How much.
    pub bytes: u64,
}

/// What happens to a connection that does not read as fast as it is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowConsumer {
    /// The oldest queued publications go; the client is told which.
    DropOldest,
    /// New publications are not queued; the client is told which.
    DropNewest,
    /// The connection is closed with 4004; the client comes back and recovers.
    Disconnect,
}

/// How long deliveries may wait for those that follow, so that one write carries them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coalesce {
    /// Not at all.
    Off,
    /// Up to so long after its topic's last write.
    Window(Duration),
    /// Up to 2 ms, while the shard is busy and the topic has two events or more in that time.
    Auto,
}

/// A user's rate, in those of one of its connections, where nothing else is said: one at its limit, or several that
/// share as much again. People have several devices, but write on one at a time.
pub const USER_FACTOR: u32 = 2;

/// Messages that a connection, or a user, may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Refill of the bucket.
    pub per_second: u32,
    /// Size of the bucket: so many at once after a pause.
    pub burst: u32,
}

impl Rate {
    /// What all connections of a user may send if each may send this.
    #[must_use]
    pub fn of_user(self) -> Rate {
        let times = |number: u32| number.saturating_mul(USER_FACTOR);
        Rate { per_second: times(self.per_second), burst: times(self.burst) }
    }
}

/// What bounds a shard; the same for all shards, never changed while they run. All but `pace` is an operator's.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest message from a client, in bytes of payload over all its fragments.
    pub message_bytes_max: usize,
    /// Fragments of one message; none = unlimited.
    pub fragments_max: Option<u32>,
    /// What messages of all connections of the process that have not come whole may cost together, in bytes.
    pub partial_memory: usize,
    /// Connections of the process that may be without a whole request at a time; the oldest give way to newcomers.
    pub half_open_max: u32,
    /// Messages per second of one connection; none = unlimited.
    pub rate: Option<Rate>,
    /// Bytes per second of one connection, where messages are limited: so many as `rate` allows messages; none =
    /// unlimited.
    pub byte_rate: Option<usize>,
    /// Messages per second of all connections of one user together, each up to a sixteenth of the burst ahead; none =
    /// unlimited.
    pub user_rate: Option<Rate>,
    /// Bytes per second of the same, where their messages are limited; none = unlimited.
    pub user_byte_rate: Option<usize>,
    /// Longest room name, in bytes of UTF-8.
    pub name_bytes_max: usize,
    /// Rooms that one connection may be in.
    pub rooms_per_connection_max: u32,
    /// Connections in one room; none = unlimited.
    pub members_per_room_max: Option<u32>,
    /// What holds for rooms and channels by name; the first that matches counts.
    pub topics: Vec<Rule>,
    /// Feeds that are known before their first value.
    pub feeds: Vec<Box<str>>,
    /// What all histories of the process may cost together, in bytes; each shard has its part.
    pub history_memory: usize,
    /// Time in which a user may come back to a room without anybody having been told.
    pub presence_grace: Duration,
    /// Rooms with more users than this tell how many there are, not who.
    pub presence_list_max: u32,
    /// Who moderates which rooms.
    pub moderators: Vec<Appointment>,
    /// What documents may be.
    pub documents: Documents,
    /// Open connections of one user; none = unlimited.
    pub connections_per_user_max: Option<u32>,
    /// From accept to the end of the request head.
    pub handshake_timeout: Duration,
    /// Silence after which the server pings; none = never.
    pub ping_interval: Option<Duration>,
    /// From a ping to the first sign of life.
    pub pong_timeout: Duration,
    /// Pings in a row that may stay without any sign of life before the connection is given up; at least 1.
    pub missed_pongs_max: u32,
    /// Silence (pongs do not count) after which a connection is closed with 4003; none = never.
    pub idle_timeout: Option<Duration>,
    /// How long a session waits for its client; none = there are no sessions.
    pub resume_window: Option<Duration>,
    /// Sessions of the process that may wait for their clients at a time.
    pub away_max: u32,
    /// Over which a drain spreads its closes.
    pub drain_window: Duration,
    /// Over which clients that are sent away spread their return.
    pub reconnect_window: Duration,
    /// What clients may make all shards remember together, in bytes; none = unlimited.
    pub memory: Option<u64>,
    /// Mean time of a turn above which the shard does not hear the loudest; none = it hears everybody always.
    pub overload_turn: Option<Duration>,
    /// From our close frame to the peer's.
    pub close_timeout: Duration,
    /// Whether every native connection gets `heartbeat` messages, not only those that ask for them.
    pub heartbeat_json: bool,
    /// Send queue of one connection, in bytes.
    pub queue_bytes_max: usize,
    /// Send queue of one connection, in messages.
    pub queue_messages_max: usize,
    /// What to do when the send queue is full.
    pub slow_consumer: SlowConsumer,
    /// Which deliveries wait for the next.
    pub coalesce: Coalesce,
    /// What becomes of histories when the process ends.
    pub durability: Durability,
    /// Which proxies are believed to say for whom they speak.
    pub trusted: Trusted,
    /// Whether `/echo` is served.
    pub echo: bool,
    /// Whether `/api/` is served.
    pub api: bool,
    /// Who may come in, and where from.
    pub access: Policy,
    /// Header lines that every answer gets, each with its line end.
    pub headers: Vec<u8>,
    /// Whether `/metrics` is.
    pub metrics: bool,
    /// How much at a time.
    pub pace: Pace,
}

/// How much a shard does, or lets wait, before it turns to something else. Nobody sets it but simulations, which
/// make it small so that they get to every corner.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Pushes to send queues in one turn: 4096 are about 0.1 ms of work.
    pub pushes_per_turn: u32,
    /// A room with more local members than this is flushed in slices, after all others.
    pub bulk_members: usize,
    /// Connections flushed in one turn that owe it to a large fan-out: 128 writes are about half a millisecond,
    /// and nobody else waits longer than that for a big room.
    pub bulk_flushes_per_turn: u32,
    /// Connections flushed in one turn at all.
    pub flushes_per_turn: u32,
    /// Requests of its own edge that an owner handles in one turn before sockets are looked at again.
    pub requests_per_turn: u32,
    /// Unfinished fan-outs at which an edge takes no more mail until it has caught up.
    pub jobs_high: usize,
    /// Unsent mail to one edge at which the owner takes no more requests.
    pub mail_high: usize,
    /// Unsent requests to one owner at which the publisher of the next one is not read from.
    pub requests_high: usize,
    /// Unsent requests at which such publishers go on.
    pub requests_low: usize,
    /// Own frames waiting, in bytes, at which the input of a connection that does not read is held.
    pub own_bytes_high: usize,
    /// Own frames waiting, in bytes, at which a held connection goes on.
    pub own_bytes_low: usize,
    /// Pushes in a millisecond from which on a shard counts as busy: written one by one, 64 take a quarter of it.
    pub busy_pushes_per_ms: u32,
    /// Steps of TLS handshakes in one turn, each a read from a connection that is not through with it: a signature
    /// takes up to a millisecond, and who is through must not wait for a crowd of newcomers.
    pub handshakes_per_turn: u32,
    /// Bytes of a message still to come from which on they are read into it, and not copied there.
    pub placed_bytes_min: usize,
    /// Bytes waiting for a connection at which it is written to although the window is open: a longer write is no
    /// cheaper for each byte.
    pub window_bytes_max: usize,
    /// Bytes of publications that become one delivery where a turn brought several to a topic: little enough to stay
    /// in the processor's first cache while it is written to one member after another.
    pub batch_bytes_max: usize,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            pushes_per_turn: 4096,
            bulk_members: 256,
            bulk_flushes_per_turn: 128,
            flushes_per_turn: 1024,
            requests_per_turn: 4096,
            jobs_high: 1024,
            mail_high: 1024,
            requests_high: 1024,
            requests_low: 256,
            own_bytes_high: 64 << 10,
            own_bytes_low: 16 << 10,
            handshakes_per_turn: 8,
            busy_pushes_per_ms: 64,
            placed_bytes_min: 64 << 10,
            window_bytes_max: 16 << 10,
            batch_bytes_max: 16 << 10,
        }
    }
}

impl Limits {
    /// What a message may have.
    #[inline]
    pub(crate) fn bounds(&self) -> Bounds {
        Bounds { bytes: self.message_bytes_max, fragments: self.fragments_max.unwrap_or(u32::MAX) }
    }

    /// What messages that have not come whole may cost on one shard of so many; two of the longest in any case.
    pub(crate) fn partial_share(&self, shards: u16) -> usize {
        (self.partial_memory / usize::from(shards)).max(2 * self.message_bytes_max)
    }

    /// Connections without a whole request that one shard of so many may have.
    pub(crate) fn half_open_share(&self, shards: u16) -> u32 {
        self.half_open_max.div_ceil(u32::from(shards))
    }

    /// The most memory that so many connections on so many shards can make the process need, term by term. What stands
    /// under the budget of `memory` counts as that budget, if there is one.
    #[must_use]
    pub fn worst_case(&self, shards: u16, connections: u64) -> Vec<Term> {
        let each = u64::from(shards);
        let term = |part, bytes| Term { part, bytes };
        let queue = (self.queue_bytes_max as u64).saturating_add(ROOM_HISTORY_BYTES as u64);
        let budgeted = vec![
            term("histories", self.history_memory as u64),
            term("documents", each * self.documents.bytes_total_max as u64),
            term("sessions", each * SESSIONS_MEMORY as u64),
            term("half-received messages", each * self.partial_share(shards) as u64),
            term("send queues", connections.saturating_mul(queue)),
            term("input that is held", connections.saturating_mul(HELD_INPUT_BYTES)),
        ];
        let sum = budgeted.iter().fold(0_u64, |sum, term| sum.saturating_add(term.bytes));
        let mut terms = match self.memory {
            Some(budget) if budget < sum => vec![term("all under --memory", budget)],
            _ => budgeted,
        };
        terms.push(term("connections", connections.saturating_mul(CONNECTION_BYTES)));
        terms.push(term("rates of users", LEDGER_MEMORY));
        terms.push(term("buffers kept for reuse", each * SPARE_MEMORY));
        terms
    }
}

/// Tokens that a message of this length costs where so many messages, and so many bytes, may come in a second.
#[inline]
pub(crate) fn tokens(rate: Rate, byte_rate: Option<usize>, bytes: usize) -> u32 {
    let Some(byte_rate) = byte_rate else { return 1 };
    // Most messages are short, and to divide is dear.
    if bytes as u64 * u64::from(rate.per_second) <= byte_rate as u64 {
        return 1;
    }
    let each = (byte_rate / rate.per_second as usize).max(1);
    u32::try_from(bytes.div_ceil(each).max(1)).unwrap_or(u32::MAX)
}

impl Pace {
    /// Relations without which a shard would stand still.
    ///
    /// # Panics
    /// If one does not hold.
    pub(crate) fn check(&self) {
        assert!(self.pushes_per_turn > 0 && self.requests_per_turn > 0);
        assert!(self.jobs_high > 0 && self.mail_high > 0);
        assert!(self.handshakes_per_turn > 0);
        assert!(self.placed_bytes_min > 0, "no room is none");
        assert!(self.flushes_per_turn > 0 && self.bulk_flushes_per_turn > 0);
        assert!(self.requests_low < self.requests_high, "who is held at one is let go at the other");
        assert!(self.own_bytes_low < self.own_bytes_high, "who is held at one is let go at the other");
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes_max: 1 << 20,
            fragments_max: Some(1024),
            partial_memory: 64 << 20,
            half_open_max: 10_000,
            rate: None,
            byte_rate: None,
            user_rate: None,
            user_byte_rate: None,
            name_bytes_max: 255,
            rooms_per_connection_max: 128,
            members_per_room_max: None,
            topics: Vec::new(),
            feeds: Vec::new(),
            history_memory: HISTORY_MEMORY,
            presence_grace: Duration::ZERO,
            presence_list_max: PRESENCE_LIST_MAX,
            moderators: Vec::new(),
            documents: Documents::default(),
            connections_per_user_max: None,
            handshake_timeout: Duration::from_secs(10),
            ping_interval: Some(Duration::from_secs(25)),
            pong_timeout: Duration::from_secs(10),
            missed_pongs_max: 1,
            idle_timeout: None,
            resume_window: Some(Duration::from_secs(120)),
            away_max: 10_000,
            memory: None,
            overload_turn: Some(Duration::from_millis(50)),
            drain_window: Duration::from_secs(1),
            reconnect_window: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            heartbeat_json: false,
            queue_bytes_max: 1 << 20,
            queue_messages_max: 1024,
            slow_consumer: SlowConsumer::Disconnect,
            coalesce: Coalesce::Auto,
            durability: Durability::Off,
            trusted: Trusted::default(),
            echo: true,
            api: true,
            access: Policy::default(),
            headers: Vec::new(),
            metrics: true,
            pace: Pace::default(),
        }
    }
}
