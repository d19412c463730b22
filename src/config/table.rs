//! The one table of all settings.
//!
//! Command line, `--help`, environment and `docs/configuration.md` derive from it: a new setting is a new
//! row here, a field in [`Typed`](crate::config::setting::Typed), and its way into the plan.

use std::time::Duration;

use crate::config::rates::{RATE_MAX, SIZE_MAX};
use crate::config::setting::{ByAddress, Category, Kind, LogFormat, LogLevel, Setting};
use crate::config::{feed, identity, rates, rule, secure};
use crate::hub::journal::Durability;
use crate::shard::limits::{Coalesce, Rate, SlowConsumer};

/// Longest name of a node, in bytes: it is repeated in every `welcome`.
pub const NODE_NAME_BYTES_MAX: usize = 128;
/// Shortest time that a setting takes: below it the turns of a shard are too coarse.
const TIME_MIN: Duration = Duration::from_millis(10);
/// Longest time for a step that a waiting peer has to take.
const STEP_MAX: Duration = Duration::from_secs(3_600);
/// Longest silence; also the longest time over which clients are told to come back.
const SILENCE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Shortest window that gathers anything.
const COALESCE_MIN: Duration = Duration::from_millis(1);
/// Longest window: beyond it people notice.
const COALESCE_MAX: Duration = Duration::from_secs(1);
/// Most connections, members or messages a setting may speak of: beyond what one machine holds, below
/// overflow.
const MANY: u32 = 100_000_000;

/// Least memory that anything can be done with.
const MEMORY_MIN: u64 = 16 << 20;

/// Most users that a room may list: the list goes to each who joins.
const PRESENCE_LIST_MAX: u32 = 10_000;

/// Most shards: two shards talk over their own lane, so lanes grow with the square.
pub const SHARDS_MAX: u16 = 256;
/// Longest room name that can be allowed, in bytes: it stands in every event of its room.
const NAME_BYTES_MAX: u32 = 1_024;
/// Longest text of a document that can be allowed: several of them fit what one shard has for all.
const DOCUMENT_BYTES_MAX: u32 = 16 << 20;
/// Most operations that a client may be behind: to fit one in takes a step for each.
const DOCUMENT_HISTORY_MAX: u32 = 10_000;
/// Longest time that a document outlives its last member.
const DOCUMENT_AGE_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);

/// All settings, in the order of help and docs.
pub static SETTINGS: &[Setting] = &[
    Setting {
        name: "listen",
        category: Category::Server,
        kind: Kind::Addresses(|t, v| t.listen = v),
        words: &[],
        default: "127.0.0.1:8080",
        example: "0.0.0.0:8080",
        help: "Address to listen on; may be given several times.",
        details: "`HOST:PORT`, `[IPV6]:PORT`, or `:PORT` for every IPv4 address of this machine. A host name \
            stands for one address: its first IPv4 one, or else its first IPv6 one. Port 0 takes any \
            free port; the log says which. The default can only be reached from the same machine. \
            HTTP and WebSocket are served on every address, and with `tls:` before it, such as `tls::8443`, HTTPS and \
            WSS instead. `unix:PATH` is a Unix socket: whoever may write to it may connect, which the umask of the \
            process decides (often only its own user; 007 lets its group in), a stale one is replaced, and it is \
            removed at the end. The environment variable, and a flag too, may hold several with commas between.",
    },
    Setting {
        name: "shards",
        category: Category::Server,
        kind: Kind::Count(1, SHARDS_MAX as u32, |t, v| t.shards = Some(v)),
        words: &[("auto", |t| t.shards = None)],
        default: "auto",
        example: "4",
        help: "Threads that hold connections; auto is one per core.",
        details: "`auto` counts the cores that this process may use, so it respects CPU affinity and the \
            quota of a container. Connections are spread evenly over the shards.",
    },
    Setting {
        name: "node-name",
        category: Category::Server,
        kind: Kind::Name(NODE_NAME_BYTES_MAX, |t, v| t.node_name = Some(v)),
        words: &[("auto", |t| t.node_name = None)],
        default: "auto",
        example: "edge-1",
        help: "Name of this node, shown to clients in `welcome`; auto is the host's name.",
        details: "Should the host have no name, `auto` makes one up that is new at every start.",
    },
    Setting {
        name: "feed",
        category: Category::Server,
        kind: Kind::Lines("NAME=SOURCE", feed::ACCEPTS, |t, v| feed::add(&mut t.feeds, v)),
        words: &[("none", |t| t.feeds.clear())],
        default: "none",
        example: "load=exec:./load.sh",
        help: "A feed that clients can subscribe to, and its source; may be given several times.",
        details: "`exec:` runs a command by `sh -c` in a process group of its own: each line that it writes to \
            standard output is a value, what it writes to standard error goes to the log. When it ends it is started \
            again, at first after half a second, later after up to a minute; when the server stops it gets SIGTERM, \
            and half a second later SIGKILL. `file:` begins with the last line of a file and follows what is \
            appended, looking every 250ms, also after the file was truncated or replaced. `demo:` makes values up. A \
            line that is JSON is relayed as it is, another one as a JSON string; one longer than `--max-message` is \
            left out. A shard that is behind skips to the newest value.",
    },
    Setting {
        name: "data-dir",
        category: Category::Server,
        kind: Kind::Path(|t, v| t.data_dir = Some(v)),
        words: &[("off", |t| t.data_dir = None)],
        default: "off",
        example: "/var/lib/roomcast",
        help: "Folder to keep histories, inboxes and documents in, over a restart; off keeps them in memory only.",
        details: "It is made if it is not there, holds one file, and belongs to one process. What rooms and channels \
            remember is written to it and read again at the next start, with their epochs, so that clients recover; \
            and so are messages to users, with what was acknowledged, and the texts of documents. All of it has the \
            same limits as without, but what outlives a restart may be kept for its whole time once more. Nothing \
            else is kept: not the values of feeds, which their sources set anew, nor who is where, sessions, bans or \
            idempotency keys.",
    },
    Setting {
        name: "durability",
        category: Category::Server,
        kind: Kind::Choice(&[
            ("sync", |t| t.durability = Durability::Sync),
            ("async", |t| t.durability = Durability::Async),
        ]),
        words: &[],
        default: "sync",
        example: "async",
        help: "With --data-dir: whether anybody hears of a message, an edit or an ack before it is on disk.",
        details: "`sync`: nobody does. Whatever was acknowledged or delivered survives the end of the process and of \
            the machine, at any moment, and what a user has acknowledged does not come again; each message waits for \
            the disk, together with all others of that moment. \
            `async`: nothing waits, and the disk follows within 50 ms and the time of a write. After a crash what it \
            had not reached is lost; then all epochs are new, so that clients that come back are told so \
            (`recovered` is false), and what inboxes hold comes again under new, higher numbers.",
    },
    Setting {
        name: "no-echo",
        category: Category::Server,
        kind: Kind::Switch(|t, v| t.limits.echo = !v),
        words: &[],
        default: "false",
        example: "true",
        help: "Do not serve the echo endpoint `/echo`.",
        details: "`/echo` sends every message back to its sender; conformance and load tests need it, \
            production does not.",
    },
    Setting {
        name: "no-api",
        category: Category::Server,
        kind: Kind::Switch(|t, v| t.limits.api = !v),
        words: &[],
        default: "false",
        example: "true",
        help: "Do not serve the HTTP API under `/api/`.",
        details: "Without `--api-key-file` it answers processes of this machine only. A proxy on this machine may \
            then ask in the place of anybody: let it refuse `/api`, or switch the API off (docs/api.md).",
    },
    Setting {
        name: "no-metrics",
        category: Category::Server,
        kind: Kind::Switch(|t, v| t.limits.metrics = !v),
        words: &[],
        default: "false",
        example: "true",
        help: "Do not serve metrics under `/metrics`.",
        details: "They are in the Prometheus text format, and read by whom the API answers: processes of this machine, \
            or who shows a key with the scope `read` (docs/operations.md).",
    },
    identity::AUTH,
    identity::JWT_SECRET_FILE,
    identity::JWT_PUBLIC_KEY,
    identity::JWKS_FILE,
    identity::JWT_ISSUER,
    identity::JWT_AUDIENCE,
    identity::JWT_LEEWAY,
    identity::AUTH_TIMEOUT,
    identity::TOKEN_WARNING,
    identity::AUTH_COOKIE,
    identity::ALLOW_ORIGIN,
    identity::API_KEY_FILE,
    identity::REQUIRE_SIGNATURES,
    identity::REJECT_CONTENT,
    identity::HEADER,
    secure::TLS_CERT,
    secure::TLS_KEY,
    secure::TLS_CLIENT_CA,
    secure::TRUSTED_PROXY,
    secure::PROXY_PROTOCOL,
    Setting {
        name: "max-connections",
        category: Category::Limits,
        kind: Kind::Count(1, MANY, |t, v| t.max_connections = Some(v)),
        words: &[("auto", |t| t.max_connections = None)],
        default: "auto",
        example: "50000",
        help: "Most open connections; auto is the limit of open files minus 64.",
        details: "At start the soft limit of open files (`ulimit -Sn`) is raised to the hard limit (`ulimit \
            -Hn`). Files that the process itself needs are set aside: 64, or 16 plus 3 per shard and \
            one per listener where that is more. A number that does not fit is lowered, and a warning \
            says to what.",
    },
    Setting {
        name: "max-connections-per-address",
        category: Category::Limits,
        kind: Kind::Count(1, MANY, |t, v| t.max_connections_per_address = ByAddress::all(v)),
        words: &[
            ("auto", |t| t.max_connections_per_address = ByAddress::by_default(1000)),
            ("off", |t| t.max_connections_per_address = ByAddress::OFF),
        ],
        default: "auto",
        example: "100",
        help: "Most open connections of one peer address, or of one IPv6 network (/64).",
        details: "One more is answered with 429. `auto` is 1000, but for loopback addresses, which a proxy on this \
            machine has for all its clients. Clients behind one NAT share an address, too.",
    },
    Setting {
        name: "handshake-rate",
        category: Category::Limits,
        kind: Kind::Rate(RATE_MAX, |t, v| t.handshake_rate = ByAddress::all(v)),
        words: &[
            ("auto", |t| t.handshake_rate = ByAddress::by_default(Rate { per_second: 100, burst: 1000 })),
            ("off", |t| t.handshake_rate = ByAddress::OFF),
        ],
        default: "auto",
        example: "20/s,burst=200",
        help: "Connections per second that one peer address, or IPv6 network (/64), may open.",
        details: "One more is answered with 429. `auto` is 100/s,burst=1000, but for loopback addresses. Clients \
            behind a `--trusted-proxy` count where they are, the proxy not at all.",
    },
    Setting {
        name: "ban-time",
        category: Category::Limits,
        kind: Kind::Time(TIME_MIN, SILENCE_MAX, |t, v| t.ban_time = ByAddress::all(v)),
        words: &[
            ("auto", |t| t.ban_time = ByAddress::by_default(Duration::from_secs(60))),
            ("off", |t| t.ban_time = ByAddress::OFF),
        ],
        default: "auto",
        example: "10m",
        help: "Time for which an address is refused after three of its connections were closed with 4005.",
        details: "Connections are answered with 429 then; open ones stay. `auto` is 1m, but for loopback addresses. \
            Clients behind a `--trusted-proxy` are refused where they are, the proxy never.",
    },
    Setting {
        name: "max-connections-per-user",
        category: Category::Limits,
        kind: Kind::Count(1, MANY, |t, v| t.limits.connections_per_user_max = Some(v)),
        words: &[("off", |t| t.limits.connections_per_user_max = None)],
        default: "off",
        example: "5",
        help: "Most open connections of one user.",
        details: "One more is closed with 1008.",
    },
    Setting {
        name: "max-detached",
        category: Category::Limits,
        kind: Kind::Count(1, MANY, |t, v| t.limits.away_max = v),
        words: &[],
        default: "10000",
        example: "100000",
        help: "Most sessions that may wait for their clients at a time.",
        details: "Beyond it the oldest are given up, on each shard its share. They are no connections and need no \
            files, so they do not count for `--max-connections`, but they do as members and for \
            `--max-connections-per-user`.",
    },
    Setting {
        name: "max-message",
        category: Category::Limits,
        kind: Kind::Bytes(1, SIZE_MAX, |t, v| t.limits.message_bytes_max = v),
        words: &[],
        default: "1MiB",
        example: "16MiB",
        help: "Longest message from a client, all its fragments together.",
        details: "A longer one closes its connection with 1009. The send queues must hold such a message: \
            see `--send-queue-bytes`.",
    },
    Setting {
        name: "max-fragments",
        category: Category::Limits,
        kind: Kind::Count(1, MANY, |t, v| t.limits.fragments_max = Some(v)),
        words: &[("off", |t| t.limits.fragments_max = None)],
        default: "1024",
        example: "65536",
        help: "Most fragments of one message from a client.",
        details: "One more closes its connection with 1008.",
    },
    Setting {
        name: "partial-memory",
        category: Category::Limits,
        kind: Kind::Bytes(1 << 20, SIZE_MAX, |t, v| t.limits.partial_memory = v),
        words: &[],
        default: "64MiB",
        example: "256MiB",
        help: "Memory for messages of all clients that have not come whole.",
        details: "Each shard has an equal part of it, and two of the longest messages in any case. When a part is \
            used up, those connections are closed with 1013 whose messages take most of it.",
    },
    Setting {
        name: "max-half-open",
        category: Category::Limits,
        kind: Kind::Count(1, MANY, |t, v| t.limits.half_open_max = v),
        words: &[],
        default: "10000",
        example: "2000",
        help: "Most connections that may wait for a whole request at a time.",
        details: "Each shard has an equal part of it. One more takes the place of the one that has waited longest, so \
            those who send nothing do not keep out those who do.",
    },
    Setting {
        name: "memory",
        category: Category::Limits,
        kind: Kind::Memory(MEMORY_MIN, |t, v| (t.limits.memory, t.memory_fits) = (Some(v), false)),
        words: &[
            ("auto", |t| (t.limits.memory, t.memory_fits) = (None, true)),
            ("off", |t| (t.limits.memory, t.memory_fits) = (None, false)),
        ],
        default: "auto",
        example: "2GiB",
        help: "Memory for what clients make the process remember; auto is half of the machine's.",
        details: "Histories, documents, sessions, half-received messages and send queues together; a message in many \
            queues counts once. From nine tenths of it on, clients that do not read are closed with 4004, those with \
            the most waiting first; at all of it newcomers get 503. `auto` knows the limit of a container.",
    },
    Setting {
        name: "max-rooms-per-connection",
        category: Category::Limits,
        kind: Kind::Count(1, MANY, |t, v| t.limits.rooms_per_connection_max = v),
        words: &[],
        default: "128",
        example: "1000",
        help: "Most rooms that one connection may be in.",
        details: "One more is answered with the error `too_many_rooms`.",
    },
    Setting {
        name: "max-members-per-room",
        category: Category::Limits,
        kind: Kind::Count(1, MANY, |t, v| t.limits.members_per_room_max = Some(v)),
        words: &[("off", |t| t.limits.members_per_room_max = None)],
        default: "off",
        example: "500",
        help: "Most connections in one room.",
        details: "One more is answered with the error `room_full`.",
    },
    Setting {
        name: "topic",
        category: Category::Limits,
        kind: Kind::Several("RULE", rule::ACCEPTS, |t, v| {
            t.limits.topics.push(rule::rule(v)?);
            Ok(())
        }),
        words: &[("none", |t| t.limits.topics.clear())],
        default: "none",
        example: "room:chat:*,history=500,ttl=24h",
        help: "What holds for topics by name; may be given several times, and the first that matches counts.",
        details: "`history` is the number of publications remembered (100), `ttl` their age (1h), `bytes` what they \
            may cost in memory (4MiB), `presence` whether members are told who comes and goes (on for rooms, off for \
            channels), `members` the most connections. In the glob `*` stands for anything. What a rule does not \
            mention stays as it is for all.",
    },
    Setting {
        name: "history-memory",
        category: Category::Limits,
        kind: Kind::Bytes(1 << 20, rule::HISTORY_MEMORY_MAX, |t, v| t.limits.history_memory = v),
        words: &[],
        default: "256MiB",
        example: "1GiB",
        help: "Memory for the histories of all topics together.",
        details: "Each shard has an equal part of it for the topics that it owns. When a part is used up, topics \
            without members are forgotten first, the least recently used of them before others; then the oldest \
            publications of the largest histories. Publications cost their size twice and half a KiB.",
    },
    Setting {
        name: "presence-grace",
        category: Category::Limits,
        kind: Kind::Time(Duration::ZERO, STEP_MAX, |t, v| t.limits.presence_grace = v),
        words: &[],
        default: "0",
        example: "3s",
        help: "Time for a user to come back to a room before the others are told `user_left`.",
        details: "So a page that is loaded anew does not flicker: who comes back in time causes neither `user_left` \
            nor `user_joined`. Until then the user counts in `user_count` and `users`, not in `members_count`, which \
            counts connections. Who is kicked is gone at once.",
    },
    Setting {
        name: "presence-list-max",
        category: Category::Limits,
        kind: Kind::Count(0, PRESENCE_LIST_MAX, |t, v| t.limits.presence_list_max = v),
        words: &[],
        default: "100",
        example: "1000",
        help: "Users up to which a room lists them and tells of each who comes or goes.",
        details: "Rooms with more users give counts only: `users` is empty, and instead of `user_joined` and \
            `user_left` members get `presence` with the counts, once a second at most. In a room of thousands, each \
            user who comes would otherwise be thousands of messages.",
    },
    Setting {
        name: "moderator",
        category: Category::Limits,
        kind: Kind::Several("ROOMS=USERS", rule::APPOINTS, |t, v| {
            t.limits.moderators.push(rule::appointment(v)?);
            Ok(())
        }),
        words: &[("none", |t| t.limits.moderators.clear())],
        default: "none",
        example: "chat:*=admin-*",
        help: "Users who moderate rooms, both by glob; may be given several times.",
        details: "In a glob `*` stands for anything. Moderators may `kick`, `mute` and `clear_history`. Without \
            `--auth token` a `user_id` is what the client says it is: then set this only where a proxy in front of \
            roomcast decides which `user_id` a client may give. Tokens can make moderators as well.",
    },
    Setting {
        name: "max-document",
        category: Category::Limits,
        kind: Kind::Bytes(1, DOCUMENT_BYTES_MAX, |t, v| t.limits.documents.limits.bytes_max = v),
        words: &[],
        default: "1MiB",
        example: "256KiB",
        help: "Longest text of a document, counted in bytes of UTF-8.",
        details: "What would make it longer is answered with the error `document_full`. All documents of one shard \
            together cost at most 64 MiB, with three bytes for one of text; when that is reached, those that nobody \
            has open are forgotten first, and then nothing more can be written.",
    },
    Setting {
        name: "document-history",
        category: Category::Limits,
        kind: Kind::Count(1, DOCUMENT_HISTORY_MAX, |t, v| t.limits.documents.limits.history = v as usize),
        words: &[],
        default: "1000",
        example: "200",
        help: "Operations that a client may be behind the newest version of a document.",
        details: "What was made on an older version is answered with the error `version_too_old`. An operation \
            costs 24 bytes, and up to 128 more for each client that is so far behind.",
    },
    Setting {
        name: "document-ttl",
        category: Category::Limits,
        kind: Kind::Time(Duration::from_secs(1), DOCUMENT_AGE_MAX, |t, v| t.limits.documents.age = v),
        words: &[],
        default: "1h",
        example: "24h",
        help: "Time that a document keeps its text when nobody has it open any more.",
        details: "The text is in memory, and on disk with `--data-dir`; after that time it is gone from \
            both. What has to last longer must be saved by one of its clients.",
    },
    Setting {
        name: "max-name",
        category: Category::Limits,
        kind: Kind::Bytes(1, NAME_BYTES_MAX, |t, v| t.limits.name_bytes_max = v),
        words: &[],
        default: "255B",
        example: "64B",
        help: "Longest room name, counted in bytes of UTF-8.",
        details: "A longer one is answered with the error `invalid_field`.",
    },
    rates::RATE_LIMIT,
    rates::BYTE_RATE,
    rates::USER_RATE_LIMIT,
    rates::USER_BYTE_RATE,
    Setting {
        name: "overload-turn",
        category: Category::Limits,
        kind: Kind::Time(Duration::from_millis(1), STEP_MAX, |t, v| t.limits.overload_turn = Some(v)),
        words: &[("off", |t| t.limits.overload_turn = None)],
        default: "50ms",
        example: "20ms",
        help: "Mean time of a shard's turn above which it does not read from the heaviest publishers.",
        details: "A turn serves everybody once, so its length is how long anybody waits. Those who bring most are held \
            for 100 ms at a time until the mean is below half of this; the log and the metrics tell. Mail between \
            shards that is older than twice this in the mean counts as well.",
    },
    Setting {
        name: "handshake-timeout",
        category: Category::Timeouts,
        kind: Kind::Time(TIME_MIN, STEP_MAX, |t, v| t.limits.handshake_timeout = v),
        words: &[],
        default: "10s",
        example: "5s",
        help: "Time for a new connection to send its whole request head.",
        details: "Afterwards it is closed; this is what stops clients that send one byte at a time. A connection \
            that is kept for another request has as long for that.",
    },
    Setting {
        name: "ping-interval",
        category: Category::Timeouts,
        kind: Kind::Time(TIME_MIN, SILENCE_MAX, |t, v| t.limits.ping_interval = Some(v)),
        words: &[("off", |t| t.limits.ping_interval = None)],
        default: "25s",
        example: "1m",
        help: "Silence of a client after which it is sent a ping.",
        details: "Keep it below the idle timeout of proxies on the way; many close after 30s or 60s.",
    },
    Setting {
        name: "pong-timeout",
        category: Category::Timeouts,
        kind: Kind::Time(TIME_MIN, STEP_MAX, |t, v| t.limits.pong_timeout = v),
        words: &[],
        default: "10s",
        example: "5s",
        help: "Time for a pinged client to show any sign of life.",
        details: "Any bytes from the client count, not only a pong. Without effect where `--ping-interval` \
            is off.",
    },
    Setting {
        name: "max-missed-pongs",
        category: Category::Timeouts,
        kind: Kind::Count(1, 100, |t, v| t.limits.missed_pongs_max = v),
        words: &[],
        default: "1",
        example: "3",
        help: "Unanswered pings in a row after which a connection is closed with 4006.",
        details: "More than 1 is kinder to phones on bad networks, and slower to notice who is gone.",
    },
    Setting {
        name: "idle-timeout",
        category: Category::Timeouts,
        kind: Kind::Time(TIME_MIN, SILENCE_MAX, |t, v| t.limits.idle_timeout = Some(v)),
        words: &[("off", |t| t.limits.idle_timeout = None)],
        default: "off",
        example: "30m",
        help: "Silence of a client, pongs aside, after which it is closed with 4003.",
        details: "For clients that are there but do nothing; who is no longer there is found by pings.",
    },
    Setting {
        name: "close-timeout",
        category: Category::Timeouts,
        kind: Kind::Time(TIME_MIN, STEP_MAX, |t, v| t.limits.close_timeout = v),
        words: &[],
        default: "5s",
        example: "1s",
        help: "Time for a client to answer a close frame before its connection is cut.",
        details: "",
    },
    Setting {
        name: "heartbeat-json",
        category: Category::Timeouts,
        kind: Kind::Switch(|t, v| t.limits.heartbeat_json = v),
        words: &[],
        default: "false",
        example: "true",
        help: "Send `heartbeat` messages to every client, not only to those that ask.",
        details: "For clients that cannot see protocol pings. A single one may ask with \
            `/ws?heartbeat=json`; protocol pings go out in any case.",
    },
    Setting {
        name: "resume-window",
        category: Category::Timeouts,
        kind: Kind::Time(TIME_MIN, SILENCE_MAX, |t, v| t.limits.resume_window = Some(v)),
        words: &[("off", |t| t.limits.resume_window = None)],
        default: "2m",
        example: "30s",
        help: "Time for which a client that lost its connection keeps its place in its rooms.",
        details: "Only clients that ask for a session (`last_seq`) have one. Until it comes back, or the time is over, \
            such a client counts as a member, and the last 100 messages for it are kept, in 64 MiB per shard for all \
            together. `off`: there are no sessions.",
    },
    Setting {
        name: "send-queue-bytes",
        category: Category::Queues,
        kind: Kind::Bytes(1 << 10, SIZE_MAX, |t, v| t.limits.queue_bytes_max = v),
        words: &[],
        default: "1MiB",
        example: "256KiB",
        help: "Bytes that may wait for one slow client.",
        details: "The queue must hold at least one longest message, or that could never be delivered: where \
            the value is less than `--max-message` and its envelope, that much may wait instead. To \
            bound memory, lower both. The worst case for each connection is this, one answer of at most the \
            history of a room (4 MiB), a message that is half received, and 256 KiB of input that waits for an answer.",
    },
    Setting {
        name: "send-queue-messages",
        category: Category::Queues,
        kind: Kind::Count(1, MANY, |t, v| t.limits.queue_messages_max = v as usize),
        words: &[],
        default: "1024",
        example: "256",
        help: "Messages that may wait for one slow client.",
        details: "Whichever bound is reached first counts.",
    },
    Setting {
        name: "coalesce",
        category: Category::Queues,
        kind: Kind::Time(COALESCE_MIN, COALESCE_MAX, |t, v| t.limits.coalesce = Coalesce::Window(v)),
        words: &[
            ("off", |t| t.limits.coalesce = Coalesce::Off),
            ("auto", |t| t.limits.coalesce = Coalesce::Auto),
        ],
        default: "auto",
        example: "5ms",
        help: "Longest time that messages of a busy room wait to go out together, one write per member.",
        details: "A room that was silent for so long waits for nothing, and replies never wait, the \
            sender's copy with its `id` among them. `auto` opens a window of 2 ms, and only while the shard is \
            busy (64 deliveries in a millisecond) and the room has two messages or more in that time. A longer window \
            costs each delivery less: docs/performance.md has figures. What one turn of a \
            shard has brought goes out in one write in any case.",
    },
    Setting {
        name: "slow-consumer",
        category: Category::Queues,
        kind: Kind::Choice(&[
            ("disconnect", |t| t.limits.slow_consumer = SlowConsumer::Disconnect),
            ("drop-oldest", |t| t.limits.slow_consumer = SlowConsumer::DropOldest),
            ("drop-newest", |t| t.limits.slow_consumer = SlowConsumer::DropNewest),
        ]),
        words: &[],
        default: "disconnect",
        example: "drop-oldest",
        help: "What happens to a client whose queue is full.",
        details: "`disconnect` closes it with 4004, so that it comes back and asks for what it missed. \
            `drop-oldest` throws away what waits longest, `drop-newest` what is new; either way \
            `dropped` tells the client which messages it lost.",
    },
    Setting {
        name: "drain-timeout",
        category: Category::Shutdown,
        kind: Kind::Time(Duration::ZERO, STEP_MAX, |t, v| t.drain_timeout = v),
        words: &[],
        default: "10s",
        example: "30s",
        help: "Time from SIGTERM or SIGINT until the process exits.",
        details: "In it, clients are told when to come back (`server_shutdown`), sent what waits for them, \
            and closed with 1001. 0 exits at once. Keep it below the grace period of whatever stops \
            the process (Docker 10s, Kubernetes 30s).",
    },
    Setting {
        name: "drain-window",
        category: Category::Shutdown,
        kind: Kind::Time(Duration::ZERO, STEP_MAX, |t, v| t.limits.drain_window = v),
        words: &[],
        default: "1s",
        example: "30s",
        help: "Time over which the closes of a drain are spread.",
        details: "Clients go in a random order, evenly over it. SIGTERM and SIGINT begin a drain, which takes at most \
            half of `--drain-timeout` then; SIGUSR2 and `roomcast drain` begin one after which the process stays.",
    },
    Setting {
        name: "reconnect-window",
        category: Category::Shutdown,
        kind: Kind::Time(Duration::ZERO, SILENCE_MAX, |t, v| t.limits.reconnect_window = v),
        words: &[],
        default: "10s",
        example: "1m",
        help: "Time over which the clients of a stopping server spread their return.",
        details: "Each client is told its own random delay from 0 to this, so that the next server is not \
            met by all of them at once. The more clients, the longer it should be.",
    },
    Setting {
        name: "log-format",
        category: Category::Logging,
        kind: Kind::Choice(&[
            ("text", |t| t.log.format = LogFormat::Text),
            ("json", |t| t.log.format = LogFormat::Json),
        ]),
        words: &[],
        default: "text",
        example: "json",
        help: "How log lines look on standard error.",
        details: "Either way an event is one line with a UTC timestamp, and control characters in whatever \
            clients sent are escaped. `text` has colours where standard error is a terminal, unless \
            `NO_COLOR` is set.",
    },
    Setting {
        name: "log-level",
        category: Category::Logging,
        kind: Kind::Choice(&[
            ("error", |t| t.log.level = LogLevel::Error),
            ("warn", |t| t.log.level = LogLevel::Warn),
            ("info", |t| t.log.level = LogLevel::Info),
            ("debug", |t| t.log.level = LogLevel::Debug),
        ]),
        words: &[],
        default: "info",
        example: "debug",
        help: "The least severe lines that are logged.",
        details: "`error`: something is broken; `warn`: something needs attention; `info`: start and stop; \
            `debug`: every connection.",
    },
];

#[cfg(test)]
mod tests;
