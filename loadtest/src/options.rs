//! The command line.
//!
//! Only reads what was typed; what it means is for [`crate::run`].

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::schedule::Arrivals;

/// Measures WebSocket servers, and testifies what it measured.
///
/// Exit codes: 0 = good; 1 = something was lost, doubled, out of order, corrupt, or the server failed; 2 = wrong
/// usage; 3 = the generator itself was the bottleneck, so the figures are invalid.
#[derive(Debug, Parser)]
#[command(name = "roomcast-loadtest", version)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Scenarios, and what is made of their outcomes.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Every connection sends numbered messages and wants each back.
    Echo(Echo),
    /// Members of rooms publish; every member wants each message once and in order.
    Fanout(Fanout),
    /// Open connections that do nothing: memory and idle processor time.
    Idle(Idle),
    /// Handshakes one after the other, each closed properly.
    Connect(Connect),
    /// All members drop and come back at once: how long until the last has what it missed.
    Storm(Storm),
    /// Members are cut off at random, come back and want all that they missed.
    Cuts(Cuts),
    /// Members leave and come back all the time while messages fly.
    Churn(Churn),
    /// Some members stop reading; the others must not notice.
    Slow(Slow),
    /// One scenario against several servers in turns, each started afresh.
    Compare(Compare),
    /// A page out of the JSON of earlier runs.
    Report(Report),
}

/// What all scenarios take.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Server, `ws://` or `wss://`; the scenario chooses the path if there is none.
    #[arg(long, default_value = "ws://127.0.0.1:8080")]
    pub url: String,
    /// Certificates (PEM) that `wss://` is to be signed by, in place of those that this machine trusts.
    #[arg(long, value_name = "FILE.pem")]
    pub ca: Option<PathBuf>,
    /// Believe whatever certificate `wss://` shows.
    #[arg(long, conflicts_with = "ca")]
    pub insecure: bool,
    /// Process of the server, for its processor time and memory; may be given several times.
    #[arg(long, value_name = "PID")]
    pub pid: Vec<u32>,
    /// What the run is called in reports.
    #[arg(long, default_value = "")]
    pub name: String,
    /// Threads of the generator.
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: u16,
    /// How long is measured.
    #[arg(short, long, default_value = "5s", value_parser = duration)]
    pub duration: Duration,
    /// How long messages flow before that.
    #[arg(short, long, default_value = "1s", value_parser = duration)]
    pub warmup: Duration,
    /// Connections that are being opened at the same time, for each thread; 64 if not given, and not for `connect`.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub connecting: Option<u32>,
    /// Local address to connect from; may be given several times. On loopback 127.0.0.1, .2, … are taken as needed.
    #[arg(long, value_name = "ADDR")]
    pub source: Vec<IpAddr>,
    /// Description of a server whose `[words]` are to be used.
    #[arg(long, value_name = "FILE.toml")]
    pub words: Option<PathBuf>,
    /// Seed of everything that is random.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write the outcome as JSON; `-` is standard output, in place of the table.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the latencies as HdrHistogram's percentile distribution.
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Write a page with charts.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// No progress line.
    #[arg(short, long)]
    pub quiet: bool,
}

/// How messages come about.
#[derive(Clone, Debug, Args)]
pub struct Flow {
    /// Closed loop: unanswered messages of each sender.
    #[arg(short = 'f', long, default_value_t = 1, conflicts_with = "rate",
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub in_flight: u32,
    /// Open loop: messages per second of all senders together, whatever the server does.
    #[arg(short, long, value_parser = rate)]
    pub rate: Option<f64>,
    /// How the open loop's messages are spread in time.
    #[arg(long, value_enum, default_value_t = Arrivals::Even, requires = "rate")]
    pub arrivals: Arrivals,
}

/// Longest payload of a message.
const SIZE_MAX: usize = 1 << 29;

/// See [`Command::Echo`].
#[derive(Clone, Debug, Args)]
pub struct Echo {
    /// What all scenarios take.
    #[command(flatten)]
    pub common: Common,
    /// How messages come about.
    #[command(flatten)]
    pub flow: Flow,
    /// Connections.
    #[arg(short, long, default_value_t = 100, value_parser = connections)]
    pub connections: usize,
    /// Bytes of a message, at least 16.
    #[arg(short, long, default_value = "64", value_parser = |text: &str| size(text, 16))]
    pub size: usize,
    /// Send binary messages in place of text.
    #[arg(long)]
    pub binary: bool,
}

/// Rooms and who is in them.
#[derive(Clone, Debug, Args)]
pub struct RoomShape {
    /// Rooms.
    #[arg(long, default_value_t = 1, value_parser = connections)]
    pub rooms: usize,
    /// Members of each room.
    #[arg(short, long, default_value_t = 100, value_parser = connections)]
    pub members: usize,
    /// How many members of each room publish.
    #[arg(short, long, default_value_t = 1, value_parser = connections)]
    pub publishers: usize,
    /// Bytes of a payload, at least 32.
    #[arg(short, long, default_value = "64", value_parser = |text: &str| size(text, 32))]
    pub size: usize,
}

/// See [`Command::Fanout`].
#[derive(Clone, Debug, Args)]
pub struct Fanout {
    /// What all scenarios take.
    #[command(flatten)]
    pub common: Common,
    /// How messages come about.
    #[command(flatten)]
    pub flow: Flow,
    /// Rooms and who is in them.
    #[command(flatten)]
    pub shape: RoomShape,
}

/// See [`Command::Idle`].
#[derive(Clone, Debug, Args)]
pub struct Idle {
    /// What all scenarios take; `--duration` is how long they are held.
    #[command(flatten)]
    pub common: Common,
    /// Connections.
    #[arg(short, long, default_value_t = 1000, value_parser = connections)]
    pub connections: usize,
    /// Rooms over which they are spread; 0 = none joins any.
    #[arg(long, default_value_t = 0)]
    pub rooms: usize,
}

/// See [`Command::Connect`].
#[derive(Clone, Debug, Args)]
pub struct Connect {
    /// What all scenarios take.
    #[command(flatten)]
    pub common: Common,
    /// Handshakes under way at the same time.
    #[arg(short, long, default_value_t = 16, value_parser = connections)]
    pub connections: usize,
    /// Open loop: handshakes per second.
    #[arg(short, long, value_parser = rate)]
    pub rate: Option<f64>,
    /// How the open loop's handshakes are spread in time.
    #[arg(long, value_enum, default_value_t = Arrivals::Even, requires = "rate")]
    pub arrivals: Arrivals,
}

/// See [`Command::Storm`].
#[derive(Clone, Debug, Args)]
#[command(mut_arg("duration", |duration| {
    duration.default_value("60s").help("Longest time that coming back may take")
}))]
pub struct Storm {
    /// What all scenarios take.
    #[command(flatten)]
    pub common: Common,
    /// Rooms and who is in them; publishers are not cut off.
    #[command(flatten)]
    pub shape: RoomShape,
    /// Messages per second of all publishers together. What a room misses has to fit the server's history.
    #[arg(short, long, default_value = "20", value_parser = rate)]
    pub rate: f64,
    /// Most reconnections under way at the same time, for each thread; default: all.
    #[arg(long)]
    pub at_once: Option<usize>,
}

/// See [`Command::Cuts`].
#[derive(Clone, Debug, Args)]
pub struct Cuts {
    /// What all scenarios take.
    #[command(flatten)]
    pub common: Common,
    /// Rooms and who is in them; publishers are not cut off.
    #[command(flatten)]
    pub shape: RoomShape,
    /// Messages per second of all publishers together. What a room misses has to fit the server's history.
    #[arg(short, long, default_value = "100", value_parser = rate)]
    pub rate: f64,
    /// About how long each connection lasts: from half of it to one and a half.
    #[arg(long, default_value = "2s", value_parser = duration)]
    pub every: Duration,
}

/// See [`Command::Churn`].
#[derive(Clone, Debug, Args)]
pub struct Churn {
    /// What a fan-out takes.
    #[command(flatten)]
    pub fanout: Fanout,
    /// Share of the members that come and go.
    #[arg(long, default_value_t = 0.5, value_parser = share)]
    pub share: f64,
    /// About how long they stay.
    #[arg(long, default_value = "200ms", value_parser = duration)]
    pub stay: Duration,
    /// About how long they are away.
    #[arg(long, default_value = "200ms", value_parser = duration)]
    pub away: Duration,
}

/// See [`Command::Slow`].
#[derive(Clone, Debug, Args)]
pub struct Slow {
    /// What a fan-out takes.
    #[command(flatten)]
    pub fanout: Fanout,
    /// Share of the members that read nothing while it is measured.
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    pub share: f64,
}

/// See [`Command::Compare`].
#[derive(Clone, Debug, Args)]
pub struct Compare {
    /// Description of a server; given several times. Ratios are to the first.
    #[arg(short, long, value_name = "FILE.toml", required = true)]
    pub server: Vec<PathBuf>,
    /// How often each server's turn comes.
    #[arg(short = 'n', long, default_value_t = 6)]
    pub rounds: usize,
    /// Processors of the server, as `taskset -c` takes them.
    #[arg(long, default_value = "")]
    pub server_cpus: String,
    /// Processors of the generator.
    #[arg(long, default_value = "")]
    pub client_cpus: String,
    /// The servers are built already.
    #[arg(long)]
    pub built: bool,
    /// What `{mode}` in a server's command stands for; `echo` or `rooms` by the scenario, if not given.
    #[arg(long, default_value = "")]
    pub mode: String,
    /// Count the figures of invalid runs as well: a look at a machine that is too busy for more.
    #[arg(long)]
    pub count_invalid: bool,
    /// Write all runs as JSON; `-` is standard output, in place of the table.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a page with charts.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// The scenario and its options, after `--`.
    #[arg(last = true, required = true)]
    pub scenario: Vec<String>,
}

/// See [`Command::Report`].
#[derive(Clone, Debug, Args)]
pub struct Report {
    /// Files that `--json` wrote, of runs or of comparisons.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// The page.
    #[arg(short, long, value_name = "FILE.html")]
    pub out: PathBuf,
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("no share: {text}"))?;
    if share > 0.0 && share <= 1.0 { Ok(share) } else { Err("above 0, and 1 at most".into()) }
}

/// `500ms`, `10s`, `2m`; a plain number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("no unit of time: {other}")),
    };
    let number: f64 = digits.parse().map_err(|_| format!("no duration: {text}"))?;
    Duration::try_from_secs_f64(number * unit).map_err(|error| error.to_string())
}

/// `64`, `16KiB`, `1MiB`, `10k`.
fn size(text: &str, least: usize) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        other => return Err(format!("no unit of size: {other}")),
    };
    let number: usize = digits.parse().map_err(|_| format!("no size: {text}"))?;
    match number.checked_mul(unit).filter(|bytes| *bytes <= SIZE_MAX) {
        Some(bytes) if bytes >= least => Ok(bytes),
        Some(_) => Err(format!("at least {least} bytes: a message carries its sender and number")),
        None => Err("at most half a gigabyte".into()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let number: f64 = text.trim_end_matches("/s").parse().map_err(|_| format!("no rate: {text}"))?;
    if number.is_finite() && number > 0.0 { Ok(number) } else { Err("above zero".into()) }
}

fn connections(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|_| format!("no number: {text}"))?;
    let all = 1..=crate::marker::SENDERS_MAX;
    if all.contains(&number) { Ok(number) } else { Err(format!("from 1 to {}", all.end())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Options::command().debug_assert();
    }

    /// Every option that the page names is one of the program's.
    #[test]
    fn the_page_names_options_that_exist() {
        use clap::CommandFactory as _;
        let page = include_str!("../../docs/loadtest.md");
        let command = Options::command();
        let known: Vec<&str> = command
            .get_subcommands()
            .flat_map(|sub| sub.get_arguments())
            .filter_map(|arg| arg.get_long())
            .collect();
        let named = page.split(" --").skip(1).map(|rest| {
            rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default()
        });
        // `--release` is cargo's, `--rate-limit` the server's; nothing at all separates the scenario of a comparison.
        for name in named.filter(|name| !matches!(*name, "release" | "rate-limit" | "help" | "")) {
            assert!(known.contains(&name), "docs/loadtest.md: no --{name}");
        }
    }

    #[test]
    fn what_has_no_effect_is_refused() {
        let parse = |words: &str| {
            Options::try_parse_from(std::iter::once("loadtest").chain(words.split_whitespace()))
                .map_err(|error| error.kind())
        };
        assert!(parse("echo --arrivals poisson --rate 10").is_ok() && parse("echo").is_ok());
        for words in ["echo --arrivals poisson", "connect --arrivals even", "echo --rate 1 --in-flight 2"] {
            assert!(parse(words).is_err(), "{words}");
        }
        let storm = |words| match parse(words).map(|options| options.command) {
            Ok(Command::Storm(storm)) => storm.common.duration,
            other => panic!("{other:?}"),
        };
        assert_eq!(storm("storm"), Duration::from_secs(60), "coming back takes its time");
        assert_eq!(storm("storm -d 7s"), Duration::from_secs(7));
    }

    #[test]
    fn values_are_read() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert!(duration("5x").is_err() && duration("s").is_err() && duration("-1s").is_err());
        assert_eq!(size("16KiB", 16), Ok(16_384));
        assert!(size("15", 16).is_err() && size("9999999999999999999MiB", 16).is_err());
        assert_eq!(rate("10/s"), Ok(10.0));
        assert!(rate("0").is_err() && rate("inf").is_err());
        assert!(connections("0").is_err());
    }
}
