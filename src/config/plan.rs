//! What is meant: every choice made, every relation checked, nothing left to look up.
//!
//! Reads no process state by itself: what depends on the machine arrives as a [`Machine`].

use std::path::PathBuf;
use std::time::Duration;

use crate::config::endpoint::Endpoint;
use crate::config::feed::Feed;
use crate::config::identity;
use crate::config::setting::{ByAddress, Files, Log, Typed};
use crate::config::source::Complaint;
use crate::config::table::{NODE_NAME_BYTES_MAX, SHARDS_MAX};
use crate::config::value::show_bytes;
use crate::hub::journal::Durability;
use crate::hub::name;
use crate::shard::limits::{Limits, Rate, USER_FACTOR};

/// Descriptors kept from connections: standard streams, listeners, per shard a poll and a waker, what
/// libraries open for a moment; generous, as running out of descriptors is ugly.
const DESCRIPTORS_RESERVED: u64 = 64;

/// Descriptors that a shard needs for itself: poll, waker, alarm.
const DESCRIPTORS_PER_SHARD: u64 = 3;

/// Refused sockets that may be open for a moment, so that their answer arrives (`server::linger`).
pub const DESCRIPTORS_REFUSED: u32 = 32;

/// Descriptors that the process needs beside shards and listeners.
const DESCRIPTORS_BASE: u64 = 16;

/// What a server message may put around a client's: keys, timestamp, identifiers, user, tag. The room's
/// name comes on top, twice its length at most, as JSON escapes quotes and backslashes with one more byte.
const ENVELOPE_BYTES: usize = 4 << 10;

/// What a plan needs to know of the machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// Files that this process may have open.
    pub descriptors: u64,
    /// The host's name; none if it has none.
    pub host_name: Option<String>,
    /// Any number, new at every start.
    pub random: u32,
    /// Memory that this process may use, in bytes; none if the system does not tell.
    pub memory: Option<u64>,
}

/// The files that TLS needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and those of its issuers.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who issues certificates to clients; none = clients show none.
    pub client_ca: Option<PathBuf>,
}

/// What the server is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to listen; at least one.
    pub listen: Vec<Endpoint>,
    /// What TLS needs; there where somebody listens with it.
    pub tls: Option<TlsFiles>,
    /// Whether trusted proxies say by the PROXY protocol for whom they speak; `limits` has which those are.
    pub proxy_protocol: bool,
    /// Threads with connections; at least one.
    pub shards: u16,
    /// What the shards keep to.
    pub limits: Limits,
    /// Feeds with their sources; `limits` has their names.
    pub feeds: Vec<Feed>,
    /// Most open connections of the process; fits the descriptors.
    pub max_connections: usize,
    /// Most open connections of one peer address.
    pub max_connections_per_address: ByAddress<u32>,
    /// How fast one address may open connections.
    pub handshake_rate: ByAddress<Rate>,
    /// How long repeat offenders' addresses are refused.
    pub ban_time: ByAddress<Duration>,
    /// Where histories are kept; none = in memory only.
    pub data_dir: Option<PathBuf>,
    /// Files that say who may come in.
    pub files: Files,
    /// From the signal to the exit.
    pub drain_timeout: Duration,
    /// What clients are told that they reached; 1 to 128 bytes without control characters.
    pub node_name: String,
    /// How to log.
    pub log: Log,
    /// What was changed so that the settings fit each other, one line each, for the log.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Makes the choices that `typed` left open, and settings fit each other.
    ///
    /// # Errors
    /// [`Complaint::Descriptors`] if the machine leaves no room for a single connection, [`Complaint::CommandLine`]
    /// where a setting lacks one that it cannot be without, [`Complaint::Together`] if settings about who may come in
    /// would not do what they seem to.
    pub fn new(typed: Typed, machine: &Machine) -> Result<Plan, Complaint> {
        if let Some((problem, mend)) = identity::misfit(&typed.limits, &typed.files) {
            return Err(Complaint::Together { problem, mend });
        }
        let mut warnings = Vec::new();
        let shards = shards(&typed, machine);
        let max_connections = max_connections(&typed, machine, shards, &mut warnings)?;
        if typed.proxy_protocol && typed.trusted.is_empty() {
            return Err(Complaint::CommandLine {
                problem: "--proxy-protocol trusts nobody, so nobody could connect".into(),
                mend: "give the networks of your proxies, for example --trusted-proxy 10.0.0.0/8".into(),
            });
        }
        let tls = tls_files(&typed, &mut warnings)?;
        let mut limits = limits(typed.limits, shards, &mut warnings);
        limits.trusted = typed.trusted;
        limits.feeds = typed.feeds.iter().map(|feed| feed.name.clone()).collect();
        if typed.memory_fits {
            limits.memory = machine.memory.map(|bytes| bytes / 2);
        }
        if typed.user_rate_fits {
            limits.user_rate = limits.rate.map(Rate::of_user);
        }
        if typed.user_byte_rate_fits {
            limits.user_byte_rate = limits.byte_rate.map(|bytes| bytes.saturating_mul(USER_FACTOR as usize));
        }
        limits.durability = if typed.data_dir.is_some() { typed.durability } else { Durability::Off };
        debug_assert!(!typed.listen.is_empty(), "the table's default names an address");
        Ok(Plan {
            listen: typed.listen,
            tls,
            proxy_protocol: typed.proxy_protocol,
            shards,
            limits,
            feeds: typed.feeds,
            max_connections,
            max_connections_per_address: typed.max_connections_per_address,
            handshake_rate: typed.handshake_rate,
            ban_time: typed.ban_time,
            data_dir: typed.data_dir,
            files: typed.files,
            drain_timeout: typed.drain_timeout,
            node_name: typed.node_name.unwrap_or_else(|| node_name(machine)),
            log: typed.log,
            warnings,
        })
    }
}

fn shards(typed: &Typed, machine: &Machine) -> u16 {
    let chosen = typed.shards.unwrap_or(u32::try_from(machine.cores).unwrap_or(u32::MAX));
    u16::try_from(chosen).unwrap_or(SHARDS_MAX).clamp(1, SHARDS_MAX)
}

/// What TLS needs, if somebody listens with it.
fn tls_files(typed: &Typed, warnings: &mut Vec<String>) -> Result<Option<TlsFiles>, Complaint> {
    let Typed { listen, tls_cert, tls_key, tls_client_ca, .. } = typed;
    if !listen.iter().any(|endpoint| endpoint.tls) {
        if tls_cert.is_some() || tls_key.is_some() || tls_client_ca.is_some() {
            let text =
                "--tls-cert, --tls-key and --tls-client-ca are for --listen tls:..., and there is none";
            warnings.push(text.to_owned());
        }
        return Ok(None);
    }
    let missing = |what: &str| Complaint::CommandLine {
        problem: format!("--listen tls:... has no {what}"),
        mend: "give --tls-cert FILE and --tls-key FILE, both in PEM; docs/tls.md shows how to make them"
            .into(),
    };
    let cert = tls_cert.clone().ok_or_else(|| missing("certificate"))?;
    let key = tls_key.clone().ok_or_else(|| missing("key"))?;
    Ok(Some(TlsFiles { cert, key, client_ca: tls_client_ca.clone() }))
}

fn max_connections(
    typed: &Typed,
    machine: &Machine,
    shards: u16,
    warnings: &mut Vec<String>,
) -> Result<usize, Complaint> {
    let needed = DESCRIPTORS_BASE
        + u64::from(DESCRIPTORS_REFUSED)
        + DESCRIPTORS_PER_SHARD * u64::from(shards)
        + typed.listen.len() as u64;
    let (limit, reserved) = (machine.descriptors, needed.max(DESCRIPTORS_RESERVED));
    let room = match limit.checked_sub(reserved) {
        None | Some(0) => return Err(Complaint::Descriptors { limit, reserved }),
        // Slots are numbered with 32 bits.
        Some(room) => u32::try_from(room).unwrap_or(u32::MAX),
    };
    if let Some(asked) = typed.max_connections.filter(|asked| *asked > room) {
        warnings.push(format!(
            "--max-connections {asked} is lowered to {room}: this process may open {limit} files and needs \
             {reserved} for itself; raise the limit (ulimit -n) before starting"
        ));
    }
    Ok(typed.max_connections.unwrap_or(room).min(room) as usize)
}

/// A message that is longer than the queue could never be delivered, and whoever sent it would have all
/// members of its room disconnected as slow. So the queue always holds one longest message.
fn limits(mut limits: Limits, shards: u16, warnings: &mut Vec<String>) -> Limits {
    let (queue, message) = (limits.queue_bytes_max, limits.message_bytes_max);
    let least =
        message.saturating_add(ENVELOPE_BYTES).saturating_add(limits.name_bytes_max.saturating_mul(2));
    if queue < message {
        warnings.push(format!(
            "--send-queue-bytes {} is raised to hold one message of --max-message {}; lower both to \
             use less memory",
            show_bytes(queue as u64),
            show_bytes(message as u64)
        ));
    }
    limits.queue_bytes_max = queue.max(least);
    let share = limits.history_memory / usize::from(shards);
    if let Some(bytes) =
        limits.topics.iter().filter_map(|rule| rule.bytes).filter(|bytes| *bytes > share).max()
    {
        warnings.push(format!(
            "bytes={} of a --topic is more than the {} that each shard has of --history-memory: such a history is \
             forgotten earlier",
            show_bytes(bytes as u64),
            show_bytes(share as u64)
        ));
    }
    limits
}

fn node_name(machine: &Machine) -> String {
    match &machine.host_name {
        // What the kernel says when nobody has set a name.
        Some(host) if host == "(none)" => None,
        Some(host) => name::check(host, NODE_NAME_BYTES_MAX).is_ok().then(|| host.clone()),
        None => None,
    }
    .unwrap_or_else(|| format!("node-{:08x}", machine.random))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::{Asked, read};

    const MACHINE: Machine =
        Machine { cores: 4, descriptors: 20_000, host_name: None, random: 0xbeef, memory: Some(8 << 30) };

    fn plan(args: &str, machine: &Machine) -> Result<Plan, Complaint> {
        let args = std::iter::once("roomcast").chain(args.split_whitespace()).map(Into::into);
        match read(args, |_| None) {
            Ok(Asked::Start(typed)) => Plan::new(*typed, machine),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults() {
        let plan = plan("", &MACHINE).unwrap();
        let address: std::net::SocketAddr = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(plan.listen, [address.into()]);
        assert_eq!((plan.shards, plan.max_connections), (4, 19_936));
        assert_eq!(plan.max_connections_per_address, ByAddress::by_default(1000));
        assert_eq!(plan.drain_timeout, Duration::from_secs(10));
        assert_eq!(plan.limits.reconnect_window, Duration::from_secs(10));
        assert_eq!(plan.node_name, "node-0000beef");
        assert!(plan.warnings.is_empty());
    }

    #[test]
    fn tls_needs_a_certificate_and_a_key() {
        let refused = |args| plan(args, &MACHINE).unwrap_err().to_string();
        assert!(refused("--listen tls::1").contains("no certificate; give --tls-cert FILE"));
        assert!(refused("--listen tls::1 --tls-cert c").contains("no key; give --tls-cert FILE"));
        let files = plan("--listen tls::1 --tls-cert c --tls-key k", &MACHINE).unwrap().tls;
        assert_eq!(files, Some(TlsFiles { cert: "c".into(), key: "k".into(), client_ca: None }));
        assert_eq!(plan("--tls-cert c", &MACHINE).unwrap().warnings.len(), 1);
        assert!(refused("--proxy-protocol").contains("--trusted-proxy"));
        assert!(plan("--proxy-protocol --trusted-proxy ::1", &MACHINE).unwrap().proxy_protocol);
    }

    #[test]
    fn memory_is_half_of_what_there_is_unless_it_is_said() {
        let memory = |args, memory| plan(args, &Machine { memory, ..MACHINE }).unwrap().limits.memory;
        assert_eq!(memory("", Some(4 << 30)), Some(2 << 30));
        assert_eq!(memory("", None), None);
        assert_eq!(memory("--memory 6GiB", Some(4 << 30)), Some(6 << 30));
        assert_eq!(memory("--memory off", Some(4 << 30)), None);
    }

    #[test]
    fn users_may_send_twice_what_a_connection_may_unless_it_is_said() {
        let rates = |args| {
            let limits = plan(args, &MACHINE).unwrap().limits;
            (limits.user_rate.map(|rate| (rate.per_second, rate.burst)), limits.user_byte_rate)
        };
        assert_eq!(rates(""), (Some((400, 800)), Some(8 << 20)));
        assert_eq!(rates("--rate-limit 5/s,burst=7 --byte-rate 1MiB"), (Some((10, 14)), Some(2 << 20)));
        assert_eq!(rates("--rate-limit off --byte-rate off"), (None, None));
        assert_eq!(rates("--rate-limit off --user-rate-limit 9/s"), (Some((9, 18)), Some(8 << 20)));
        assert_eq!(rates("--user-rate-limit off --user-byte-rate 1KiB"), (None, Some(1 << 10)));
    }

    #[test]
    fn shards_stay_in_bounds() {
        assert_eq!(plan("--shards 7", &MACHINE).unwrap().shards, 7);
        assert_eq!(plan("", &Machine { cores: 0, ..MACHINE }).unwrap().shards, 1);
        assert_eq!(plan("", &Machine { cores: 100_000, ..MACHINE }).unwrap().shards, 256);
    }

    #[test]
    fn connections_fit_the_descriptors() {
        let at = |args, descriptors| plan(args, &Machine { descriptors, ..MACHINE });
        assert_eq!(at("--max-connections 5", 20_000).unwrap().max_connections, 5);
        assert_eq!(at("", 65).unwrap().max_connections, 1);
        assert!(matches!(at("", 64), Err(Complaint::Descriptors { limit: 64, reserved: 64 })));
        assert!(matches!(at("--max-connections 1", 10), Err(Complaint::Descriptors { .. })));
        // Sixteen for the process, 32 for refused sockets, three for each shard, one for the listener.
        assert_eq!(at("--shards 100", 20_000).unwrap().max_connections, 20_000 - 349);
        assert_eq!(at("", u64::MAX).unwrap().max_connections, u32::MAX as usize);
        let lowered = at("--max-connections 30000", 20_000).unwrap();
        assert_eq!(lowered.max_connections, 19_936);
        assert_eq!(
            lowered.warnings,
            ["--max-connections 30000 is lowered to 19936: this process may open 20000 files and needs \
              64 for itself; raise the limit (ulimit -n) before starting"]
        );
    }

    #[test]
    fn queue_holds_one_longest_message() {
        for (args, warned) in [
            ("", false),
            ("--max-message 16MiB", true),
            ("--send-queue-bytes 64KiB", true),
            ("--send-queue-bytes 64KiB --max-message 64KiB --max-name 1024", false),
            ("--send-queue-bytes 2MiB", false),
        ] {
            let plan = plan(args, &MACHINE).unwrap();
            let envelope = ENVELOPE_BYTES + 2 * plan.limits.name_bytes_max;
            assert!(plan.limits.queue_bytes_max >= plan.limits.message_bytes_max + envelope, "{args}");
            assert_eq!(!plan.warnings.is_empty(), warned, "{args}");
        }
        assert_eq!(plan("--send-queue-bytes 2MiB", &MACHINE).unwrap().limits.queue_bytes_max, 2 << 20);
        assert_eq!(
            plan("--max-message 16MiB", &MACHINE).unwrap().warnings,
            ["--send-queue-bytes 1MiB is raised to hold one message of --max-message 16MiB; lower both to \
              use less memory"]
        );
    }

    #[test]
    fn a_topic_that_may_cost_more_than_all_together_is_warned_of() {
        let warned = |args| plan(args, &MACHINE).unwrap().warnings.len();
        assert_eq!(warned("--shards 4 --history-memory 16MiB --topic room:*,bytes=4MiB"), 0);
        assert_eq!(warned("--shards 4 --history-memory 16MiB --topic room:*,bytes=5MiB"), 1);
    }

    #[test]
    fn node_is_named_after_the_host_if_that_has_a_name() {
        let at = |host: &str, args| {
            plan(args, &Machine { host_name: Some(host.to_owned()), ..MACHINE }).unwrap().node_name
        };
        assert_eq!(at("web-3", ""), "web-3");
        assert_eq!(at("web-3", "--node-name edge"), "edge");
        for none in ["", "(none)", "a\u{1b}[31m", &"x".repeat(129)] {
            assert_eq!(at(none, ""), "node-0000beef");
        }
    }
}
