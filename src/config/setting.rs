//! What a setting is: name, value, default, words for people, and where its value goes in [`Typed`].
//!
//! Names no setting (the table does) and checks each value by itself only; relations are the plan's.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::network::Trusted;
use crate::config::endpoint::{self, Endpoint};
use crate::config::feed::Feed;
use crate::config::value::{self, Wrong, show_bytes, show_duration};
use crate::hub::journal::Durability;
use crate::hub::name;
use crate::shard::limits::{Limits, Rate};

/// Before the names of the environment variables. No setting may be called `port`, `host` or `service-…`:
/// Kubernetes sets `ROOMCAST_PORT` and its like in containers next to a service called `roomcast`.
const ENVIRONMENT_PREFIX: &str = "ROOMCAST_";

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// The least severe lines that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something is broken.
    Error,
    /// Something needs attention.
    Warn,
    /// Start, stop and what an operator asked for.
    Info,
    /// Every connection.
    Debug,
}

/// How to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// Which lines there are.
    pub level: LogLevel,
}

/// Files that say who may come in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The secret that tokens are signed with.
    pub secret: Option<PathBuf>,
    /// Public keys of issuers, each with its name, if it has one.
    pub public: Vec<(Option<String>, PathBuf)>,
    /// A JSON Web Key Set.
    pub set: Option<PathBuf>,
    /// Keys of the API.
    pub api_keys: Option<PathBuf>,
    /// What no message may hold.
    pub content: Option<PathBuf>,
}

/// What holds for each address that clients come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByAddress<T> {
    /// The limit; none = there is none.
    pub limit: Option<T>,
    /// Whether loopback addresses are exempt: a proxy on this machine has one of them for all its clients.
    pub spares_loopback: bool,
}

impl<T> ByAddress<T> {
    /// No limit.
    pub const OFF: ByAddress<T> = ByAddress { limit: None, spares_loopback: false };

    /// A limit that holds for whomever.
    pub const fn all(limit: T) -> ByAddress<T> {
        ByAddress { limit: Some(limit), spares_loopback: false }
    }

    /// A limit that nobody has asked for, so that it must not stop who is behind a proxy.
    pub const fn by_default(limit: T) -> ByAddress<T> {
        ByAddress { limit: Some(limit), spares_loopback: true }
    }
}

/// What was typed, each value in its range; `None` where the operator leaves the choice to us.
#[derive(Clone, Debug)]
pub struct Typed {
    /// Where to listen.
    pub listen: Vec<Endpoint>,
    /// The server's certificate, and those of its issuers, in PEM.
    pub tls_cert: Option<PathBuf>,
    /// Its key, in PEM.
    pub tls_key: Option<PathBuf>,
    /// Who issues certificates to clients, which then have to show one.
    pub tls_client_ca: Option<PathBuf>,
    /// Threads with connections; none = one per core.
    pub shards: Option<u32>,
    /// Connections of the process; none = as many as there are descriptors for.
    pub max_connections: Option<u32>,
    /// Who may speak for others.
    pub trusted: Trusted,
    /// Whether they say for whom by the PROXY protocol.
    pub proxy_protocol: bool,
    /// Connections of one peer address.
    pub max_connections_per_address: ByAddress<u32>,
    /// Connections that one address may open.
    pub handshake_rate: ByAddress<Rate>,
    /// How long repeat offenders' addresses are refused.
    pub ban_time: ByAddress<Duration>,
    /// Whether the memory budget is what fits the machine.
    pub memory_fits: bool,
    /// Whether a user's rate is what fits that of a connection.
    pub user_rate_fits: bool,
    /// Whether a user's bytes are.
    pub user_byte_rate_fits: bool,
    /// What the shards keep to.
    pub limits: Limits,
    /// Feeds with their sources.
    pub feeds: Vec<Feed>,
    /// Where histories are kept; none = in memory only.
    pub data_dir: Option<PathBuf>,
    /// How far what clients hear of may be ahead of the disk.
    pub durability: Durability,
    /// Files that say who may come in.
    pub files: Files,
    /// From the signal to the exit.
    pub drain_timeout: Duration,
    /// What clients are told that they reached; none = the host's name.
    pub node_name: Option<String>,
    /// How to log.
    pub log: Log,
}

impl Typed {
    /// Before any row has set its value; every field is overwritten by the default of a row.
    pub(super) fn blank() -> Typed {
        Typed {
            listen: Vec::new(),
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            shards: None,
            max_connections: None,
            trusted: Trusted::default(),
            proxy_protocol: false,
            max_connections_per_address: ByAddress::OFF,
            handshake_rate: ByAddress::OFF,
            ban_time: ByAddress::OFF,
            memory_fits: false,
            user_rate_fits: false,
            user_byte_rate_fits: false,
            limits: Limits::default(),
            feeds: Vec::new(),
            data_dir: None,
            durability: Durability::Sync,
            files: Files::default(),
            drain_timeout: Duration::ZERO,
            node_name: None,
            log: Log { format: LogFormat::Text, level: LogLevel::Info },
        }
    }
}

/// Where a setting stands in help and docs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Where to listen, with how many threads.
    Server,
    /// Who may come in, and what they may do.
    Identity,
    /// Whom to believe that they speak for others, and how to speak in secret.
    Tls,
    /// What one client, or all of them, may use.
    Limits,
    /// When silence ends a connection.
    Timeouts,
    /// What waits for slow readers.
    Queues,
    /// How the process leaves.
    Shutdown,
    /// What the process says about itself.
    Logging,
}

impl Category {
    /// In the order of help and docs.
    pub const ALL: [Category; 8] = [
        Category::Server,
        Category::Identity,
        Category::Tls,
        Category::Limits,
        Category::Timeouts,
        Category::Queues,
        Category::Shutdown,
        Category::Logging,
    ];

    /// Heading in help and docs.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Category::Server => "Server",
            Category::Identity => "Identity",
            Category::Tls => "TLS and proxies",
            Category::Limits => "Limits",
            Category::Timeouts => "Heartbeats and timeouts",
            Category::Queues => "Send queues",
            Category::Shutdown => "Shutdown",
            Category::Logging => "Logging",
        }
    }
}

/// A word that may be given, and what it sets.
pub type Word = (&'static str, fn(&mut Typed));

/// Which values there are, in which bounds (both included), and what a value sets.
#[derive(Debug)]
pub enum Kind {
    /// Present or not.
    Switch(fn(&mut Typed, bool)),
    /// Addresses to listen on; replaces them all.
    Addresses(fn(&mut Typed, Vec<Endpoint>)),
    /// A whole number.
    Count(u32, u32, fn(&mut Typed, u32)),
    /// A size; bounds in bytes.
    Bytes(u32, u32, fn(&mut Typed, usize)),
    /// A size beyond what 32 bits count; the least of it, in bytes.
    Memory(u64, fn(&mut Typed, u64)),
    /// A duration.
    Time(Duration, Duration, fn(&mut Typed, Duration)),
    /// A rate; the bound of both its numbers.
    Rate(u32, fn(&mut Typed, Rate)),
    /// A name; most bytes.
    Name(usize, fn(&mut Typed, String)),
    /// A file or folder.
    Path(fn(&mut Typed, PathBuf)),
    /// One of these words.
    Choice(&'static [Word]),
    /// Several values of a form of their own: its name and description, and what each sets.
    Several(&'static str, &'static str, fn(&mut Typed, &str) -> Result<(), Wrong>),
    /// The same for values that may hold semicolons.
    Lines(&'static str, &'static str, fn(&mut Typed, &str) -> Result<(), Wrong>),
}

/// Divides values that may hold semicolons.
pub const LINES: char = '\n';

/// Divides several values in one text; flags given several times are joined by it.
pub const SEVERAL: char = ';';

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Long name of the flag, without dashes.
    pub name: &'static str,
    /// Where it stands.
    pub category: Category,
    /// What values there are.
    pub kind: Kind,
    /// Words that may stand in place of such a value, and what they set.
    pub words: &'static [Word],
    /// What holds where nothing is said, as it would be typed.
    pub default: &'static str,
    /// A value that somebody may want, as it would be typed.
    pub example: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What else there is to know, for the docs; may be empty.
    pub details: &'static str,
}

impl Setting {
    /// The environment variable.
    #[must_use]
    pub fn environment(&self) -> String {
        format!("{ENVIRONMENT_PREFIX}{}", self.name.replace('-', "_").to_ascii_uppercase())
    }

    /// What stands for the value in help, such as `BYTES` or `N|off`; none for switches.
    #[must_use]
    pub fn value_name(&self) -> Option<String> {
        let name = match &self.kind {
            Kind::Switch(_) => return None,
            Kind::Choice(words) => return Some(names(words).join("|")),
            Kind::Addresses(_) => "ADDR",
            Kind::Count(..) => "N",
            Kind::Bytes(..) | Kind::Memory(..) => "BYTES",
            Kind::Time(..) => "DURATION",
            Kind::Rate(..) => "N/s",
            Kind::Name(..) => "NAME",
            Kind::Path(..) => "PATH",
            Kind::Several(name, ..) | Kind::Lines(name, ..) => name,
        };
        Some([name].into_iter().chain(names(self.words)).collect::<Vec<_>>().join("|"))
    }

    /// What may be given: kind, range and words.
    #[must_use]
    pub fn accepts(&self) -> String {
        let values = match &self.kind {
            Kind::Switch(_) => "true or false".to_owned(),
            Kind::Addresses(_) => endpoint::ACCEPTS.to_owned(),
            Kind::Count(min, max, _) => format!("a number from {min} to {max}"),
            Kind::Bytes(min, max, _) => {
                format!("a size from {} to {}", show_bytes((*min).into()), show_bytes((*max).into()))
            }
            Kind::Memory(min, _) => format!("a size from {}", show_bytes(*min)),
            Kind::Time(min, max, _) => {
                format!("a duration from {} to {}", show_duration(*min), show_duration(*max))
            }
            Kind::Rate(max, _) => format!("N/s or N/s,burst=M with numbers from 1 to {max}"),
            Kind::Name(max, _) => format!("1 to {max} bytes of UTF-8 without control characters"),
            Kind::Path(_) => "a path".to_owned(),
            Kind::Choice(words) => match names(words).split_last() {
                Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
                _ => names(words).concat(),
            },
            Kind::Several(_, accepts, _) => format!("{accepts}; or several with semicolons between"),
            Kind::Lines(_, accepts, _) => format!("{accepts}; or several, each on a line of its own"),
        };
        match self.words {
            [] => values,
            words => format!("{values}, or {}", names(words).join(" or ")),
        }
    }

    /// Reads `text` and sets it in `typed`.
    ///
    /// # Errors
    /// Says what is wrong with `text`; then nothing is set.
    pub fn apply(&self, typed: &mut Typed, text: &str) -> Result<(), Wrong> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Wrong::Empty);
        }
        if let Some((_, set)) = self.words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            set(typed);
            return Ok(());
        }
        match &self.kind {
            Kind::Switch(set) => set(typed, value::switch(text)?),
            Kind::Addresses(set) => set(typed, endpoint::endpoints(text)?),
            Kind::Count(min, max, set) => {
                set(typed, value::ranged(value::count(text)?, *min, *max, |n| n.to_string())?);
            }
            Kind::Bytes(min, max, set) => {
                set(typed, value::ranged(value::bytes(text)?, *min, *max, show_bytes)? as usize);
            }
            Kind::Memory(min, set) => match value::bytes(text)? {
                bytes if bytes < *min => return Err(Wrong::Below(show_bytes(*min))),
                bytes => set(typed, bytes),
            },
            Kind::Time(min, max, set) => set(typed, value::between(value::duration(text)?, *min, *max)?),
            Kind::Rate(max, set) => set(typed, value::rate(text, *max)?),
            Kind::Name(max, set) => {
                name::check(text, *max).map_err(Wrong::Name)?;
                set(typed, text.to_owned());
            }
            Kind::Path(set) => set(typed, PathBuf::from(text)),
            Kind::Choice(words) => {
                let (_, set) =
                    words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).ok_or(Wrong::NotWord)?;
                set(typed);
            }
            Kind::Several(_, _, set) | Kind::Lines(_, _, set) => {
                let between = if matches!(self.kind, Kind::Lines(..)) { LINES } else { SEVERAL };
                for part in text.split(between).map(str::trim).filter(|part| !part.is_empty()) {
                    set(typed, part)?;
                }
            }
        }
        Ok(())
    }
}

fn names(words: &[Word]) -> Vec<&'static str> {
    words.iter().map(|(word, _)| *word).collect()
}
