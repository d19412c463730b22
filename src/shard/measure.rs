//! What a shard tells about itself: everything that it counted, how it stands, and how long it takes.
//!
//! Publishes when somebody asks, on all shards at once; looks at each connection then, so not too often. Decides
//! nothing by it.

use std::time::Duration;

use crate::base::clock::Mono;
use crate::base::id::Key;
use crate::hub::name::TopicKind;
use crate::metrics::table::{
    BLOCKED, BUILD, CONNECTIONS, CPU, Cell, DELIVERY_TIMES, DRAINING, DROPS, EVICTIONS, FRAMES_SENT, MAIL,
    MAIL_AGES, MEMBERSHIPS, MEMORY, MOST_FILES, OPEN_FILES, PUBLICATIONS, QUEUE_BYTES, RESIDENT, ROOMS,
    STARTED, TOPICS, TURNS,
};
use crate::metrics::text;
use crate::shard::conn::Phase;
use crate::shard::conn::request::Terms;
use crate::shard::conn::socket::Role;
use crate::shard::load::Turned;
use crate::shard::port::{Part, Question};
use crate::shard::state::{Probe, Shard};
use crate::wire::http::answer::{After, Answer, NOSNIFF, Status};
use crate::wire::http::head::Head;
use crate::wire::http::target::Target;

/// For each connection, the age up to which a count of them is good enough: a hundred times what it takes.
const STALE_PER_CONNECTION: Duration = Duration::from_nanos(500);
/// What waits in send queues, in bytes, from which on a shard looks after each turn whether that is too much.
const QUEUED_NOTICED: usize = 1 << 20;
/// Memory is looked at every so many turns, however little waits in queues.
const WEIGHED_EVERY: u32 = 64;
/// The fan-out of one event of so many is timed.
const TIMED_EVERY: u32 = 64;

/// How the process stands, as its driver reads it from the system. What the system does not tell is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Open descriptors.
    pub files: u64,
    /// Most that may be open.
    pub files_max: u64,
    /// Processor time so far.
    pub cpu: Duration,
}

impl Shard {
    /// A request for the metrics.
    pub(crate) fn on_scrape(&mut self, key: Key, head: &Head<'_>, target: &Target<'_>, terms: Terms) {
        let Some(conn) = self.conns.get(key) else { return };
        match self.judge_reader(conn.peer, head, target) {
            Ok(()) => {
                self.await_orders(key, terms, None);
                self.probe.scrapes.push(key);
            }
            Err(problem) => self.answer_problem(key, problem, terms.head_only, After::Close),
        }
    }

    /// Whether the driver has to say how the process stands: by [`Shard::handle_process`], before the turn ends.
    #[must_use]
    pub fn wants_process(&self) -> bool {
        !self.probe.scrapes.is_empty()
    }

    /// How the process stands. Whoever has asked for the metrics is answered when all shards have published theirs.
    pub fn handle_process(&mut self, process: Process) {
        let started_ms = self.now.wall.0.saturating_sub(self.now.mono.0 / 1000);
        for (cell, value) in [
            (RESIDENT.cell(), process.resident_bytes),
            (OPEN_FILES.cell(), process.files),
            (MOST_FILES.cell(), process.files_max),
            (CPU.cell(), u64::try_from(process.cpu.as_micros()).unwrap_or(u64::MAX)),
            (STARTED.cell(), started_ms.saturating_mul(1000)),
            (BUILD.cell(), 1),
        ] {
            self.process.set(cell, value);
        }
        for key in std::mem::take(&mut self.probe.scrapes) {
            if self.gather(key, None, Question::Measure, None).is_err() {
                // Too much is being asked: better old numbers than none.
                self.answer_part(key, &Part::Measured);
            }
        }
    }

    /// Answers with what all shards have published.
    pub(crate) fn answer_metrics(&mut self, key: Key, terms: Terms) {
        let mut body = Vec::new();
        text::write(&mut body, self.gauges.iter().chain([&*self.process]));
        let headers = [NOSNIFF, ("Cache-Control", "no-store")];
        let Terms { head_only, after } = terms;
        let (status, content_type) = (Status::Ok, text::CONTENT_TYPE);
        self.answer(key, &Answer { status, content_type, headers: &headers, body: &body, head_only, after });
    }

    /// Publishes all that this shard has counted, and how it stands.
    pub(crate) fn measure(&mut self) {
        self.measure_connections();
        self.measure_unfinished();
        self.measure_memory();
        self.measure_load();
        let counts = self.owner.counts();
        let dropped = self.spares.dropped;
        let [requests, edges] = [
            self.lanes.requests.iter().map(|lane| lane.len()).sum::<usize>(),
            self.lanes.edges.iter().map(|lane| lane.len()).sum(),
        ];
        let tally = &mut self.tally;
        for (cell, value) in [
            (MEMORY.of("histories"), counts.history_bytes as u64),
            (MEMORY.of("documents"), counts.document_bytes as u64),
            (MEMORY.of("sessions"), self.sessions.bytes as u64),
            (MAIL.of("requests"), requests as u64),
            (MAIL.of("edges"), edges as u64),
            (MAIL.of("fanouts"), self.jobs_waiting as u64),
            (ROOMS.cell(), counts.rooms_with_members),
            (MEMBERSHIPS.cell(), counts.members),
            (EVICTIONS.cell(), counts.evicted),
            (PUBLICATIONS.cell(), self.owner.published()),
            (FRAMES_SENT.cell(), self.spares.frames_written),
            (DROPS.of("oldest"), dropped.oldest),
            (DROPS.of("newest"), dropped.newest),
            (DROPS.of("transient"), dropped.transient),
            (DROPS.of("conflated"), dropped.conflated),
            (DROPS.of("disconnected"), dropped.disconnected),
        ] {
            tally.set(cell, value);
        }
        tally.set(DRAINING.cell(), u64::from(self.drain.is_some()));
        for ((_, cell), kind) in TOPICS.all().zip(TopicKind::ALL) {
            tally.set(cell, counts.topics_of(kind));
        }
        self.gauges[self.id.index()].publish_all(tally);
    }

    /// Counts the connections by phase, and what waits for them.
    fn measure_connections(&mut self) {
        let now = self.now.mono;
        let count = u32::try_from(self.conns.len()).unwrap_or(u32::MAX);
        if self.probe.counted.is_some_and(|at| now.since(at) < STALE_PER_CONNECTION * count) {
            return;
        }
        self.probe.counted = Some(now);
        let (mut states, mut queued, mut blocked) = ([0_u64; 6], 0_u64, 0_u64);
        for (_, conn) in self.conns.iter() {
            let state = match &conn.phase {
                Phase::Head { .. } | Phase::Body { .. } => 0,
                Phase::Asking(_) => 1,
                Phase::Socket(socket) if socket.is_closing() => 5,
                Phase::Socket(socket) if matches!(socket.role, Role::Echo) => 2,
                Phase::Socket(_) => 3,
                Phase::Away { .. } => 4,
                Phase::Closing { .. } | Phase::Over => 5,
            };
            states[state] += 1;
            queued += conn.outbox.bytes() as u64;
            blocked += u64::from(conn.outbox.is_blocked());
        }
        const STATES: [Cell; 6] = [
            CONNECTIONS.of("http,waiting"),
            CONNECTIONS.of("http,asking"),
            CONNECTIONS.of("echo,open"),
            CONNECTIONS.of("native,open"),
            CONNECTIONS.of("native,away"),
            CONNECTIONS.of("any,closing"),
        ];
        for (cell, count) in STATES.into_iter().zip(states) {
            self.tally.set(cell, count);
        }
        self.tally.set(QUEUE_BYTES.cell(), queued);
        self.tally.set(BLOCKED.cell(), blocked);
    }

    /// A fan-out of so many events that began at `since` has been pushed to all members, to the one in `last` at the
    /// end: now and then the time until that is written to is taken.
    #[inline]
    pub(crate) fn sample(&mut self, since: Mono, last: u32, events: u32) {
        self.probe.events += events;
        if self.probe.events >= TIMED_EVERY {
            let Probe { events, slot, since: began, written, .. } = &mut self.probe;
            (*events, *slot, *began, *written) = (0, last, since, false);
        }
    }

    /// The turn is over and its work was done at `end`: how long it took, and how long what is timed and was written in
    /// it. Says when the shard begins or ceases to be overloaded.
    pub fn handle_turned(&mut self, end: Mono) -> Option<Turned> {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.tally.observe(&TURNS, micros(end.since(self.now.mono)));
        if self.load.mail_age() > Duration::ZERO {
            self.tally.observe(&MAIL_AGES, micros(self.load.mail_age()));
        }
        self.probe.turns = self.probe.turns.wrapping_add(1);
        if self.queued_bytes() > QUEUED_NOTICED || self.probe.turns.is_multiple_of(WEIGHED_EVERY) {
            self.fit_memory();
        }
        if self.probe.written {
            self.tally.observe(&DELIVERY_TIMES, micros(end.since(self.probe.since)));
            (self.probe.slot, self.probe.written) = (Probe::NOBODY, false);
        }
        self.weigh_turn(end.since(self.now.mono), end)
    }
}
