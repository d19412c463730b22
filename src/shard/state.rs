//! Everything that one shard holds. Data only: what it does is in the files after this one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::{Mono, Now};
use crate::base::hash::Keys;
use crate::base::id::{Key, ShardId};
use crate::base::prng::Prng;
use crate::base::slab::Slab;
use crate::base::wheel::{TimerId, Wheel};
use crate::hub::command::{Request, Tag};
use crate::hub::name::{Topic, TopicKind};
use crate::hub::owner::Owner;
use crate::hub::policy::{Options, Policies};
use crate::metrics::shard::{Gauges, Tally};
use crate::shard::conn::Conn;
use crate::shard::conn::session::Sessions;
use crate::shard::delivery::Delivery;
use crate::shard::delivery::Held;
use crate::shard::ledger::Ledger;
use crate::shard::limits::Limits;
use crate::shard::load::Load;
use crate::shard::members::{Fanout, Members};
use crate::shard::outbox::Spares;
use crate::shard::port::{Papers, Part, ToEdge};
use crate::shard::turn::Turn;
use crate::shard::users::Users;
use crate::shard::window::Window;

/// Microseconds of one tick of the timer wheel.
pub(crate) const TICK_US: u64 = 1000;

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
    /// What is no shard's.
    pub process: Arc<Gauges>,
    /// What users owe.
    pub ledger: Arc<Ledger>,
}

/// A question under way.
pub(crate) struct Gather {
    pub(crate) asker: Key,
    pub(crate) tag: Tag,
    /// None before the first answer.
    pub(crate) sum: Option<Part>,
    pub(crate) missing: u16,
    pub(crate) timer: TimerId,
}

/// A message to a user on its way to the user's connections.
pub(crate) struct Direct {
    pub(crate) delivery: Arc<Delivery>,
    /// Who is still to be given it; who came later has it already.
    pub(crate) keys: Vec<Key>,
}

/// A message to a user whose sender waits for the number of connections that it reached.
pub(crate) struct Awaited {
    pub(crate) asker: Key,
    pub(crate) tag: Tag,
    pub(crate) delivered: u32,
    /// Shards that have not answered.
    pub(crate) missing: u16,
}

/// The largest rooms of a shard with their members.
pub(super) type Census = Arc<[(Topic, u32)]>;

/// What the wheel can fire, by slot: who leaves a slot cancels its timer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timer {
    /// A connection's next deadline.
    Conn(u32),
    /// A gathered answer is overdue.
    Gather(u32),
}

/// Mail that waits for the end of the turn, by receiver; at its own place, what the shard owes itself.
pub(crate) struct Lanes {
    pub(crate) requests: Vec<VecDeque<Request>>,
    pub(crate) edges: Vec<VecDeque<ToEdge>>,
}

/// One shard as a value; its contract is the page of [`crate::shard`].
pub struct Shard {
    pub(super) id: ShardId,
    pub(super) shards: u16,
    pub(super) keys: Keys,
    pub(super) limits: Limits,
    /// Keys and rules as they were last read.
    pub(super) papers: Papers,
    pub(super) node: Arc<str>,
    pub(super) gauges: Arc<[Gauges]>,
    pub(super) process: Arc<Gauges>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) now: Now,
    pub(super) conns: Slab<Conn>,
    pub(super) wheel: Wheel<Timer>,
    pub(super) members: Members,
    pub(super) owner: Owner,
    pub(super) lanes: Lanes,
    pub(super) turn: Turn,
    pub(super) window: Window,
    /// Topics with unfinished fan-outs.
    pub(super) active: VecDeque<u32>,
    /// Unfinished fan-outs to every client.
    pub(super) everyone: VecDeque<Fanout>,
    /// Fan-outs, and answers behind them, that are not finished.
    pub(super) jobs_waiting: usize,
    pub(super) gathers: Slab<Gather>,
    /// The largest of the rooms owned here, and when they were counted.
    pub(super) largest: Option<(Mono, Census)>,
    pub(super) everyone_topic: Topic,
    pub(super) spares: Spares,
    /// Frames are encoded here before they are copied to where they stay.
    pub(super) scratch: Vec<u8>,
    /// Native clients ever opened.
    pub(super) serials: u64,
    /// Native clients that are welcomed and not closing.
    pub(super) clients_open: u64,
    pub(super) prng: Prng,
    pub(super) sessions: Sessions,
    /// Whom messages to users reach.
    pub(super) users: Users,
    /// Such messages that are not yet pushed to all.
    pub(super) directs: VecDeque<Direct>,
    /// Those sent from here that are still being counted.
    pub(super) receipts: Slab<Awaited>,
    /// What was counted here since the start.
    pub(super) tally: Tally,
    pub(super) probe: Probe,
    pub(super) unfinished: Unfinished,
    /// How loaded the shard is.
    pub(super) load: Load,
    /// What deliveries cost that are still in some queue.
    pub(super) held: Held,
    /// Nobody is looked for until then who could be let go for memory.
    pub(super) fruitless_until: Mono,
    /// Once clients are to be sent away.
    pub(super) drain: Option<Drain>,
}

/// Clients that are being sent away.
#[derive(Debug)]
pub(crate) struct Drain {
    /// Those who are still to go, the next one last.
    pub(crate) keys: Vec<Key>,
    /// How many there were at first.
    pub(crate) count: usize,
    /// When it began.
    pub(crate) began: Mono,
    /// Over which they go.
    pub(crate) window: Duration,
    /// The process ends then.
    pub(crate) last: bool,
}

/// What clients have begun and not finished.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    /// Connections that wait for a whole request.
    /// Invariant: as many as are in the phases Head and Body.
    pub(crate) requests: u32,
    /// All of those in the order in which they came, and others that are none any more.
    pub(crate) queue: VecDeque<Key>,
    /// What messages cost that have not come whole, in bytes.
    /// Invariant: the sum over all open sockets.
    pub(crate) message_bytes: usize,
    /// What connections cost whose input came before they were held, in bytes.
    /// Invariant: the sum over all connections.
    pub(crate) held_bytes: usize,
}

/// What is measured now and then.
#[derive(Debug)]
pub(crate) struct Probe {
    /// Requests for the metrics that wait until the driver has told how the process stands.
    pub(crate) scrapes: Vec<Key>,
    /// When the connections were last counted.
    pub(crate) counted: Option<Mono>,
    /// Turns so far.
    pub(crate) turns: u32,
    /// Events fanned out since the last fan-out that was timed.
    pub(crate) events: u32,
    /// The connection whose write ends the fan-out that is timed.
    pub(crate) slot: u32,
    /// When that fan-out began.
    pub(crate) since: Mono,
    /// Whether it was written to.
    pub(crate) written: bool,
}

impl Probe {
    /// In [`Probe::slot`]: none.
    pub(crate) const NOBODY: u32 = u32::MAX;
}

impl Default for Probe {
    fn default() -> Probe {
        let (scrapes, counted, turns, events, since, written) = Default::default();
        Probe { scrapes, counted, turns, events, slot: Probe::NOBODY, since, written }
    }
}

/// The first tick at or after `time`.
pub(crate) fn tick_at(time: Mono) -> u64 {
    time.0.div_ceil(TICK_US)
}

impl Shard {
    /// A shard without connections. `seed` decides its jitter.
    #[must_use]
    pub fn new(id: ShardId, setting: &Setting, seed: u64, now: Now) -> Shard {
        let Setting { shards, keys, limits, node, gauges, process, ledger } = setting.clone();
        assert!(id.0 < shards && gauges.len() == usize::from(shards));
        limits.pace.check();
        let window = Window::new(limits.coalesce, now.mono);
        let turn = Turn::new(shards, &limits.pace);
        let policies = Policies::new(&Options {
            room_members_max: limits.members_per_room_max,
            user_connections_max: limits.connections_per_user_max,
            documents: limits.documents,
            rules: limits.topics.clone(),
            feeds: limits.feeds.clone(),
            history_bytes_total_max: limits.history_memory / usize::from(shards),
            presence_grace: limits.presence_grace,
            presence_list_max: limits.presence_list_max,
            moderators: limits.moderators.clone(),
        });
        let mut owner = Owner::new(id, shards, keys, policies);
        owner.keep_journal(limits.durability);
        Shard {
            id,
            shards,
            keys,
            limits,
            papers: Papers::default(),
            node,
            gauges,
            process,
            ledger,
            now,
            conns: Slab::new(),
            wheel: Wheel::new(now.mono.0 / TICK_US),
            members: Members::new(keys),
            owner,
            lanes: Lanes {
                requests: (0..shards).map(|_| VecDeque::new()).collect(),
                edges: (0..shards).map(|_| VecDeque::new()).collect(),
            },
            turn,
            window,
            active: VecDeque::new(),
            everyone: VecDeque::new(),
            jobs_waiting: 0,
            gathers: Slab::new(),
            largest: None,
            everyone_topic: Topic::new(TopicKind::Everyone, "", keys),
            spares: Spares::default(),
            scratch: Vec::new(),
            serials: 0,
            clients_open: 0,
            prng: Prng::new(seed),
            sessions: Sessions::new(keys),
            users: Users::default(),
            directs: VecDeque::new(),
            receipts: Slab::new(),
            tally: Tally::default(),
            probe: Probe::default(),
            unfinished: Unfinished::default(),
            load: Load::default(),
            held: Held::default(),
            fruitless_until: Mono(0),
            drain: None,
        }
    }
}
