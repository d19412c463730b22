//! The one table of all metrics: name, kind, help and labels.
//!
//! What shards count, what `/metrics` says and what docs/operations.md lists derive from it. Labels are closed sets of
//! fixed words: nothing that a client sends can become one. Counts nothing itself.
//!
//! Each series has a *cell*, a place in the arrays of [`crate::metrics::shard`]. A new family goes to the end of the
//! chain and into [`FAMILIES`].

use Kind::{Counter, Gauge, Histogram};

/// How Prometheus takes a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// How something stands.
    Gauge,
    /// How often times came up to these bounds, in microseconds; its cells are one for each bound, one for all that
    /// is longer, and the sum.
    Histogram(&'static [u64]),
}

/// The place of one series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell(pub(super) usize);

/// Series of one name. Times are kept in microseconds where the name says `_seconds`.
#[derive(Debug)]
pub struct Family {
    /// The name.
    pub name: &'static str,
    /// The kind.
    pub kind: Kind,
    /// One sentence.
    pub help: &'static str,
    /// Names of the labels, with commas between; empty = none.
    pub labels: &'static str,
    /// For each series the labels' values, with commas between.
    pub values: &'static [&'static str],
    /// The first of its cells.
    pub(super) first: usize,
}

/// The values of a family without labels.
const ALONE: &[&str] = &[""];

impl Family {
    /// How many cells it has.
    pub(super) const fn cells(&self) -> usize {
        match self.kind {
            Histogram(bounds) => bounds.len() + 2,
            Counter | Gauge => self.values.len(),
        }
    }

    /// The cell of its only series; of a histogram, the first.
    #[must_use]
    pub const fn cell(&self) -> Cell {
        Cell(self.first)
    }

    /// The cell of the series with these values of its labels.
    ///
    /// # Panics
    /// If there is none; at compile time, as all uses are constants.
    #[must_use]
    pub const fn of(&self, value: &str) -> Cell {
        let mut at = 0;
        while at < self.values.len() {
            if same(self.values[at], value) {
                return Cell(self.first + at);
            }
            at += 1;
        }
        panic!("a label has one of the values that the table lists")
    }

    /// The cells of all series, in the order of `values`.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, Cell)> + use<> {
        self.values.iter().copied().zip((self.first..).map(Cell))
    }

    const fn then(&self, name: &'static str, kind: Kind, help: &'static str) -> Family {
        Family { name, kind, help, labels: "", values: ALONE, first: self.first + self.cells() }
    }

    const fn by(self, labels: &'static str, values: &'static [&'static str]) -> Family {
        Family { labels, values, ..self }
    }
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// Close codes that have a series each; 1005 is a close frame without one, 1006 an end without a close frame.
const CODES: &[&str] = &[
    "client,1000",
    "client,1001",
    "client,1002",
    "client,1003",
    "client,1005",
    "client,1006",
    "client,1007",
    "client,1008",
    "client,1009",
    "client,1011",
    "client,other",
    "server,1001",
    "server,1002",
    "server,1003",
    "server,1007",
    "server,1008",
    "server,1009",
    "server,1011",
    "server,1013",
    "server,4001",
    "server,4002",
    "server,4003",
    "server,4004",
    "server,4005",
    "server,4006",
    "server,4007",
    "server,4008",
    "server,other",
];

/// What can be reached of what is limited.
const LIMITS: &[&str] = &[
    "byte_rate",
    "fragments",
    "half_open",
    "head_size",
    "head_time",
    "members_per_room",
    "memory",
    "message_rate",
    "message_size",
    "partial_memory",
    "rooms_per_connection",
    "send_queue",
    "user_byte_rate",
    "user_connections",
    "user_message_rate",
];

/// Bounds of the time of a turn: half a millisecond is a busy one, a tenth of a second a stall.
const TURN_BOUNDS: &[u64] = &[100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 1_000_000];
/// Bounds of the time from a publication to its write.
const DELIVERY_BOUNDS: &[u64] =
    &[250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/// What the connections are, and how they stand.
pub const CONNECTIONS: Family = Family {
    name: "roomcast_connections",
    kind: Gauge,
    help: "Connections by what they speak and how they stand; those that are away have no socket.",
    labels: "dialect,state",
    values: &["http,waiting", "http,asking", "echo,open", "native,open", "native,away", "any,closing"],
    first: 0,
};
/// How requests for a WebSocket ended.
pub const HANDSHAKES: Family = CONNECTIONS
    .then("roomcast_handshakes_total", Counter, "Requests for a WebSocket by how they ended.")
    .by("outcome", &["native", "echo", "refused", "draining"]);
/// Answers to other requests.
pub const ANSWERS: Family = HANDSHAKES
    .then("roomcast_http_answers_total", Counter, "Answers to HTTP requests by the class of their status.")
    .by("class", &["1xx", "2xx", "3xx", "4xx", "5xx"]);
/// Frames that came.
pub const FRAMES_RECEIVED: Family =
    ANSWERS.then("roomcast_frames_received_total", Counter, "Messages and control frames of clients.");
/// Frames that were written.
pub const FRAMES_SENT: Family = FRAMES_RECEIVED.then(
    "roomcast_frames_sent_total",
    Counter,
    "Frames written whole; an answer to an HTTP request counts as one.",
);
/// Bytes that came.
pub const BYTES_RECEIVED: Family =
    FRAMES_SENT.then("roomcast_received_bytes_total", Counter, "Bytes read from sockets.");
/// Bytes that were written.
pub const BYTES_SENT: Family =
    BYTES_RECEIVED.then("roomcast_sent_bytes_total", Counter, "Bytes written to sockets.");
/// What was published.
pub const PUBLICATIONS: Family = BYTES_SENT.then(
    "roomcast_publications_total",
    Counter,
    "Messages that were published, by clients, feeds and the API.",
);
/// What members were given.
pub const DELIVERIES: Family = PUBLICATIONS.then(
    "roomcast_deliveries_total",
    Counter,
    "Events given to the send queues of members, one for each member.",
);
/// What members were not given.
pub const DROPS: Family = DELIVERIES
    .then("roomcast_drops_total", Counter, "Deliveries that slow clients did not get, by the reason.")
    .by("reason", &["oldest", "newest", "transient", "conflated", "disconnected"]);
/// Ends of WebSockets.
pub const CLOSES: Family = DROPS
    .then(
        "roomcast_closes_total",
        Counter,
        "Ends of WebSockets by who began them and the close code; 1006 is an end without a close frame.",
    )
    .by("by,code", CODES);
/// How often a limit held.
pub const LIMITS_HIT: Family = CLOSES
    .then("roomcast_limits_hit_total", Counter, "How often a limit refused, closed or dropped something.")
    .by("limit", LIMITS);
/// Connections that were not let in.
pub const REFUSED: Family = LIMITS_HIT
    .then("roomcast_connections_refused_total", Counter, "Connections that were not let in, by the reason.")
    .by("reason", &["capacity", "address", "handshake_rate", "banned", "memory", "draining"]);
/// Pauses of the acceptor.
pub const ACCEPT_PAUSES: Family = REFUSED
    .then("roomcast_accept_pauses_total", Counter, "Times that accepting had to wait, by what was missing.")
    .by("reason", &["descriptors", "shards"]);
/// What waits in send queues.
pub const QUEUE_BYTES: Family = ACCEPT_PAUSES.then(
    "roomcast_send_queue_bytes",
    Gauge,
    "Bytes in the send queues of all clients; a frame in several queues counts in each.",
);
/// Who does not read.
pub const BLOCKED: Family = QUEUE_BYTES.then(
    "roomcast_connections_blocked",
    Gauge,
    "Connections whose socket is full, as their clients do not read.",
);
/// What memory is used for.
pub const MEMORY: Family = BLOCKED
    .then("roomcast_memory_bytes", Gauge, "Memory in use by what for; a frame in several queues counts once.")
    .by("part", &["documents", "held_input", "histories", "partial_messages", "send_queues", "sessions"]);
/// How much memory may be used.
pub const MEMORY_BUDGET: Family = MEMORY.then(
    "roomcast_memory_budget_bytes",
    Gauge,
    "Memory that these parts may have together before slow clients are let go.",
);
/// How much memory could be used.
pub const MEMORY_WORST: Family =
    MEMORY_BUDGET.then("roomcast_memory_worst_case_bytes", Gauge, "The sum of all limits on memory.");
/// Unsent mail.
pub const MAIL: Family = MEMORY_WORST
    .then("roomcast_mail_waiting", Gauge, "Mail between shards, and deliveries, that waits to be worked on.")
    .by("lane", &["edges", "fanouts", "requests"]);
/// Times of turns.
pub const TURNS: Family = MAIL.then(
    "roomcast_turn_seconds",
    Histogram(TURN_BOUNDS),
    "Time of one turn of a shard, from waking to sleeping.",
);
/// Times of deliveries.
pub const DELIVERY_TIMES: Family = TURNS.then(
    "roomcast_delivery_seconds",
    Histogram(DELIVERY_BOUNDS),
    "Time from a publication's arrival at a shard with members to the write to the last of them, of a sample.",
);
/// What owners hold.
pub const TOPICS: Family = DELIVERY_TIMES
    .then("roomcast_topics", Gauge, "Topics that are held, for their members or for what they remember.")
    .by("kind", &["room", "channel", "feed", "document", "user", "everyone", "pattern"]);
/// Rooms with members.
pub const ROOMS: Family = TOPICS.then("roomcast_rooms", Gauge, "Rooms that have members.");
/// Memberships.
pub const MEMBERSHIPS: Family = ROOMS.then("roomcast_memberships", Gauge, "Memberships in all topics.");
/// Histories that had to give.
pub const EVICTIONS: Family = MEMBERSHIPS.then(
    "roomcast_history_evictions_total",
    Counter,
    "Histories that were shortened or forgotten early, as all together were too large.",
);
/// How loaded shards are.
pub const OVERLOADED: Family = EVICTIONS.then(
    "roomcast_overloaded_shards",
    Gauge,
    "Shards that are overloaded, and so do not read from the heaviest publishers.",
);
/// Connections that are not read from for it.
pub const HELD_BACK: Family = OVERLOADED.then(
    "roomcast_publishers_held_total",
    Counter,
    "Times that a publisher was not read from, as its shard was overloaded.",
);
/// Ages of mail.
pub const MAIL_AGES: Family = HELD_BACK.then(
    "roomcast_mail_age_seconds",
    Histogram(TURN_BOUNDS),
    "Age of the oldest mail between shards, or of a shard to itself, in each turn that found mail.",
);
/// Whether clients are being sent away.
pub const DRAINING: Family =
    MAIL_AGES.then("roomcast_draining", Gauge, "Shards that send their clients away and let no new ones in.");
/// Which program this is.
pub const BUILD: Family = DRAINING
    .then("roomcast_build_info", Gauge, "Always 1; the label says which version runs.")
    .by("version", &[env!("CARGO_PKG_VERSION")]);
/// Resident memory.
pub const RESIDENT: Family =
    BUILD.then("process_resident_memory_bytes", Gauge, "Resident memory of the process.");
/// Open files.
pub const OPEN_FILES: Family = RESIDENT.then("process_open_fds", Gauge, "Open file descriptors.");
/// Most open files.
pub const MOST_FILES: Family =
    OPEN_FILES.then("process_max_fds", Gauge, "Most file descriptors that may be open.");
/// Time of the processor.
pub const CPU: Family =
    MOST_FILES.then("process_cpu_seconds_total", Counter, "Processor time of all threads.");
/// When it began.
pub const STARTED: Family =
    CPU.then("process_start_time_seconds", Gauge, "When the process started, in seconds since 1970.");

/// All families, in the order of their cells.
pub static FAMILIES: &[Family] = &[
    CONNECTIONS,
    HANDSHAKES,
    ANSWERS,
    FRAMES_RECEIVED,
    FRAMES_SENT,
    BYTES_RECEIVED,
    BYTES_SENT,
    PUBLICATIONS,
    DELIVERIES,
    DROPS,
    CLOSES,
    LIMITS_HIT,
    REFUSED,
    ACCEPT_PAUSES,
    QUEUE_BYTES,
    BLOCKED,
    MEMORY,
    MEMORY_BUDGET,
    MEMORY_WORST,
    MAIL,
    TURNS,
    DELIVERY_TIMES,
    TOPICS,
    ROOMS,
    MEMBERSHIPS,
    EVICTIONS,
    OVERLOADED,
    HELD_BACK,
    MAIL_AGES,
    DRAINING,
    BUILD,
    RESIDENT,
    OPEN_FILES,
    MOST_FILES,
    CPU,
    STARTED,
];

/// Cells of all families.
pub const CELLS: usize = STARTED.first + STARTED.cells();

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn cells_are_given_out_once_and_without_gaps() {
        let mut next = 0;
        for family in FAMILIES {
            assert_eq!(family.first, next, "{}", family.name);
            next += family.cells();
        }
        assert_eq!(next, CELLS);
    }

    /// What promtool demands, and what keeps the table readable.
    #[test]
    fn names_follow_the_customs() {
        let names: BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), FAMILIES.len(), "each name once");
        for Family { name, kind, help, labels, values, .. } in FAMILIES {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Counter, "{name}");
            assert!(matches!(kind, Histogram(_)) <= name.ends_with("_seconds"), "{name}");
            assert!(help.ends_with('.') && !help.contains(['\n', '\\', '"']), "{name}: {help}");
            let distinct: BTreeSet<_> = values.iter().collect();
            assert_eq!(distinct.len(), values.len(), "{name}");
            let count = labels.split(',').count();
            assert!(values.iter().all(|value| value.split(',').count() == count), "{name}");
            assert!(
                values.concat().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
            );
            if let Histogram(bounds) = kind {
                assert!(bounds.is_sorted() && *values == ALONE, "{name}");
            }
        }
    }

    #[test]
    fn a_series_is_found_by_its_labels() {
        assert_eq!(CONNECTIONS.of("echo,open"), Cell(2));
        assert_eq!(HANDSHAKES.of("native"), Cell(CONNECTIONS.cells()));
        assert_eq!(CLOSES.all().next(), Some(("client,1000", CLOSES.cell())));
    }
}
