//! Runs one scenario against several servers in turns, each started afresh, and relates them to the first.
//!
//! The machine's speed changes from minute to minute, so single runs can't be compared: servers take turns (A B A B,
//! and the next round begins with another one), and what counts is the ratio within a round. Each run is a process of
//! its own, of this very program, so that no run inherits anything from another.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::outcome::{Outcome, Verdict};
use crate::peers::Peer;

/// A server has this long to listen.
const START_TRIES: u32 = 200;
/// Between two looks whether it does.
const START_WAIT: Duration = Duration::from_millis(50);

/// What is to be compared, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The servers; ratios are to the first.
    pub peers: Vec<Peer>,
    /// The descriptions they came from, for `--words`.
    pub files: Vec<PathBuf>,
    /// The scenario and its options.
    pub scenario: Vec<String>,
    /// How often each server's turn comes.
    pub rounds: usize,
    /// Processors for the server and for the generator, as `taskset -c` takes them; empty = any.
    pub server_cpus: String,
    /// See `server_cpus`.
    pub client_cpus: String,
    /// What `{mode}` in a server's command stands for.
    pub mode: String,
    /// Figures of invalid runs count as well.
    pub counts_invalid: bool,
    /// Nothing needs to be built.
    pub is_built: bool,
}

/// All runs of a comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// The scenario, as it was typed.
    pub scenario: String,
    /// The servers' names, the first being what the others are related to.
    pub peers: Vec<String>,
    /// For each round the runs in the order of `peers`; none where a run gave no outcome.
    pub rounds: Vec<Vec<Option<Outcome>>>,
    /// What went wrong with runs that gave none.
    pub complaints: Vec<String>,
    /// Figures of invalid runs count as well; those of failed ones never do.
    #[serde(default)]
    pub counts_invalid: bool,
}

/// A figure over all rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

/// Something that servers are compared by.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// What it is called.
    pub name: &'static str,
    /// Whether the smaller one is the better one.
    pub less_is_better: bool,
    /// Whether it is no more than a bound where the generator set the pace: then it stands, and is in no ratio.
    pub may_be_a_bound: bool,
    /// Reads it.
    pub of: fn(&Outcome) -> Option<f64>,
}

/// All figures, the most telling first.
pub const FIGURES: [Figure; 6] = [
    work("Server CPU µs", |run| Some(run.server.as_ref()?.cpu_us).filter(|us| *us > 0.0)),
    work("User-space CPU µs", |run| Some(run.server.as_ref()?.user_us).filter(|us| *us > 0.0)),
    Figure {
        name: "Per second",
        less_is_better: false,
        may_be_a_bound: false,
        of: |run| Some(run.rate).filter(|rate| *rate > 0.0 && run.rate_doubt.is_none()),
    },
    less("p50 µs", |run| Some(run.latency.as_ref()?.p50_us).filter(|_| run.latency_doubt.is_none())),
    less("p99 µs", |run| Some(run.latency.as_ref()?.p99_us).filter(|_| run.latency_doubt.is_none())),
    less("RSS B/connection", |run| {
        Some(run.server.as_ref()?.rss_per_connection).filter(|bytes| *bytes > 0.0)
    }),
];

const fn less(name: &'static str, of: fn(&Outcome) -> Option<f64>) -> Figure {
    Figure { name, less_is_better: true, may_be_a_bound: false, of }
}

const fn work(name: &'static str, of: fn(&Outcome) -> Option<f64>) -> Figure {
    Figure { name, less_is_better: true, may_be_a_bound: true, of }
}

impl Spread {
    /// Of these values; none if there are none.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[half - 1], values[half])
        } else {
            values[half]
        };
        Some(Spread { min, median, max })
    }
}

impl Comparison {
    /// A figure of the peer at `peer` in a round, if its run counts.
    fn figure(&self, round: &[Option<Outcome>], peer: usize, figure: Figure) -> Option<f64> {
        let run = round.get(peer)?.as_ref()?;
        if self.counts(run) { (figure.of)(run) } else { None }
    }

    /// Whether the figures of a run count.
    #[must_use]
    pub fn counts(&self, run: &Outcome) -> bool {
        match run.verdict {
            Verdict::Good => true,
            Verdict::Invalid => self.counts_invalid,
            Verdict::Failed => false,
        }
    }

    /// A figure of the peer at `peer`, over all rounds whose run of it counts.
    #[must_use]
    pub fn spread(&self, peer: usize, figure: Figure) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|round| self.figure(round, peer, figure)).collect())
    }

    /// A figure of the peer at `peer` as a multiple of the first one's in the same round, over all rounds in which
    /// both are figures and no bounds.
    #[must_use]
    pub fn ratio(&self, peer: usize, figure: Figure) -> Option<Spread> {
        let figure_of = |round: &Vec<Option<Outcome>>, peer: usize| {
            let is_bound = figure.may_be_a_bound && round.get(peer)?.as_ref()?.rate_doubt.is_some();
            self.figure(round, peer, figure).filter(|_| !is_bound)
        };
        let ratio = |round: &Vec<Option<Outcome>>| Some(figure_of(round, peer)? / figure_of(round, 0)?);
        Spread::of(self.rounds.iter().filter_map(ratio).collect())
    }

    /// Figures that were left out of some runs: what, of how many, and the reason that one of them gives.
    #[must_use]
    pub fn left_out(&self) -> Vec<String> {
        let runs = || self.rounds.iter().flatten().flatten();
        let uncounted = runs().filter(|run| run.verdict != Verdict::Good).count();
        let note = match (uncounted, self.counts_invalid) {
            (0, _) => None,
            (count, false) => {
                Some(format!("{count} of {} runs were not good and do not count", runs().count()))
            }
            (count, true) => Some(format!(
                "{count} of {} runs were not good; invalid ones count all the same, as was asked for",
                runs().count()
            )),
        };
        let line = |what: &str, becomes: &str, pick: fn(&Outcome) -> Option<&String>| {
            let reasons: Vec<&String> = runs().filter_map(pick).collect();
            let (first, count) = (reasons.first()?, reasons.len());
            Some(format!("{what} of {count} of {} runs {becomes} ({first})", runs().count()))
        };
        let rate = line(
            "the rate",
            "is left out, and the processor time is an upper bound and in no ratio",
            |run| run.rate_doubt.as_ref(),
        );
        let latency = line("the latency", "is left out", |run| run.latency_doubt.as_ref());
        let notes: Vec<&String> = runs().filter_map(|run| run.notes.first()).collect();
        let said = notes
            .first()
            .map(|first| format!("mind that {} of {} runs say: {first}", notes.len(), runs().count()));
        [note, rate, latency, said].into_iter().flatten().collect()
    }

    /// The worst verdict of all runs; a run without outcome has failed.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let runs = || self.rounds.iter().flatten();
        let is = |verdict| runs().any(|run| run.as_ref().is_some_and(|run| run.verdict == verdict));
        if runs().any(Option::is_none) || is(Verdict::Failed) {
            Verdict::Failed
        } else if is(Verdict::Invalid) {
            Verdict::Invalid
        } else {
            Verdict::Good
        }
    }
}

/// In which order the servers come in a round: rotated, so that none is always first.
#[must_use]
pub fn order(peers: usize, round: usize) -> Vec<usize> {
    (0..peers).map(|place| (place + round) % peers).collect()
}

/// Builds what is to be built, and runs everything.
///
/// # Errors
/// A server could not be built, or this program not be started.
pub fn compare(plan: &Plan) -> Result<Comparison, String> {
    // `rooms-batch` and its like are ways of doing `rooms`.
    let is_of = |mode: &String| plan.mode.starts_with(mode.as_str());
    if let Some(peer) = plan.peers.iter().find(|peer| !peer.modes.iter().any(is_of)) {
        return Err(format!("{} knows no {}", peer.name, plan.mode));
    }
    if !plan.is_built {
        plan.peers.iter().try_for_each(build)?;
    }
    let mut comparison = Comparison {
        scenario: plan.scenario.join(" "),
        peers: plan.peers.iter().map(|peer| peer.name.clone()).collect(),
        rounds: Vec::new(),
        complaints: Vec::new(),
        counts_invalid: plan.counts_invalid,
    };
    for round in 0..plan.rounds {
        let mut runs = vec![None; plan.peers.len()];
        for at in order(plan.peers.len(), round) {
            say(&format!("round {} of {}: {}", round + 1, plan.rounds, plan.peers[at].name));
            match one(plan, at) {
                Ok(outcome) => runs[at] = Some(outcome),
                Err(error) => {
                    say(&format!("  {error}"));
                    comparison.complaints.push(format!("{}: {error}", plan.peers[at].name));
                }
            }
        }
        comparison.rounds.push(runs);
    }
    Ok(comparison)
}

fn say(text: &str) {
    // Nobody may be left to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Builds a server if there is anything to build.
///
/// # Errors
/// The command failed.
pub fn build(peer: &Peer) -> Result<(), String> {
    if peer.build.is_empty() {
        return Ok(());
    }
    say(&format!("building {}: {}", peer.name, peer.build));
    let status = shell(&peer.build, &peer.folder)
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("{}: {error}", peer.name))?;
    if status.success() { Ok(()) } else { Err(format!("{}: its build command failed", peer.name)) }
}

fn shell(command: &str, folder: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).stdin(Stdio::null());
    if !folder.as_os_str().is_empty() {
        shell.current_dir(folder);
    }
    shell
}

/// A server that is killed when it is no longer needed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One run against one server.
fn one(plan: &Plan, at: usize) -> Result<Outcome, String> {
    let peer = &plan.peers[at];
    let port = free_port().map_err(|error| error.to_string())?;
    let filled = |text: &str| text.replace("{port}", &port.to_string()).replace("{mode}", &plan.mode);
    let command = format!("exec {}{}", pinned(&plan.server_cpus), filled(&peer.command));
    let child = shell(&command, &peer.folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start: {error}"))?;
    let mut server = Running(child);
    listening(&mut server.0, port)?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let url = filled(&peer.url);
    let mut client = if plan.client_cpus.is_empty() {
        Command::new(&program)
    } else {
        let mut taskset = Command::new("taskset");
        taskset.arg("-c").arg(&plan.client_cpus).arg(&program);
        taskset
    };
    client.args(&plan.scenario).args(["--url", &url, "--name", &peer.name, "--quiet", "--json", "-"]);
    // We have started it ourselves: whatever certificate it shows is its own.
    let chooses = |word: &String| ["--insecure", "--ca"].iter().any(|option| word.starts_with(option));
    if url.starts_with("wss://") && !plan.scenario.iter().any(chooses) {
        client.arg("--insecure");
    }
    client.arg("--words").arg(&plan.files[at]).args(["--pid", &server.0.id().to_string()]);
    let output = client
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run the generator: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).map_err(|error| format!("no outcome ({error})"))
}

/// The words that pin what follows them to processors.
fn pinned(cpus: &str) -> String {
    if cpus.is_empty() { String::new() } else { format!("taskset -c {cpus} ") }
}

/// A port that was free a moment ago.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn listening(server: &mut Child, port: u16) -> Result<(), String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    for _ in 0..START_TRIES {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        if let Ok(Some(status)) = server.try_wait() {
            return Err(format!("the server ended at once ({status})"));
        }
        // Nothing tells when another process listens.
        std::thread::park_timeout(START_WAIT);
    }
    Err("the server does not listen".into())
}

/// The comparison as text.
#[must_use]
pub fn table(comparison: &Comparison) -> String {
    use std::fmt::Write as _;
    let mut out = format!("{} ({} rounds)\n", comparison.scenario, comparison.rounds.len());
    let width = comparison.peers.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(6);
    for figure in FIGURES {
        if (0..comparison.peers.len()).all(|peer| comparison.spread(peer, figure).is_none()) {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "\n  {:<20} {:>10} {:>10}   ratio to {}: median (min–max)",
            figure.name, "min", "median", comparison.peers[0]
        );
        for (peer, name) in comparison.peers.iter().enumerate() {
            let Some(spread) = comparison.spread(peer, figure) else {
                let _ = writeln!(out, "    {name:<width$}   no figure");
                continue;
            };
            let ratio = comparison.ratio(peer, figure).map_or(String::new(), |ratio| {
                format!("{:.3} ({:.2}–{:.2})", ratio.median, ratio.min, ratio.max)
            });
            let _ = writeln!(
                out,
                "    {name:<width$} {:>pad$} {:>10}   {ratio}",
                number(spread.min),
                number(spread.median),
                pad = 28_usize.saturating_sub(width)
            );
        }
    }
    for line in comparison.left_out() {
        let _ = writeln!(out, "\n  note     {line}");
    }
    let runs =
        |verdict| comparison.rounds.iter().flatten().flatten().filter(move |run| run.verdict == verdict);
    for run in runs(Verdict::Failed) {
        let _ = writeln!(out, "  FAILED   {}: {}", run.name, run.failures.join("; "));
    }
    for run in runs(Verdict::Invalid) {
        let _ = writeln!(out, "  INVALID  {}: {}", run.name, run.doubts.join("; "));
    }
    for complaint in &comparison.complaints {
        let _ = writeln!(out, "  FAILED   {complaint}");
    }
    out
}

/// A number with as many digits as mean something.
fn number(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Server;

    #[test]
    fn everybody_is_first_once() {
        assert_eq!(order(3, 0), [0, 1, 2]);
        assert_eq!(order(3, 1), [1, 2, 0]);
        assert_eq!(order(3, 5), [2, 0, 1]);
    }

    #[test]
    fn spreads_are_right() {
        assert_eq!(Spread::of(vec![]), None);
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Some(Spread { min: 1.0, median: 2.0, max: 3.0 }));
        assert_eq!(Spread::of(vec![4.0, 1.0]), Some(Spread { min: 1.0, median: 2.5, max: 4.0 }));
    }

    fn run(name: &str, rate: f64) -> Option<Outcome> {
        Some(Outcome { name: name.into(), rate, ..Outcome::empty() })
    }

    #[test]
    fn ratios_are_taken_within_rounds() {
        let comparison = Comparison {
            scenario: "echo".into(),
            peers: vec!["a".into(), "b".into()],
            rounds: vec![
                vec![run("a", 100.0), run("b", 200.0)],
                vec![run("a", 50.0), run("b", 150.0)],
                vec![run("a", 10.0), None],
            ],
            complaints: vec!["b: gone".into()],
            counts_invalid: false,
        };
        let rate = FIGURES[2];
        assert_eq!(comparison.spread(0, rate), Some(Spread { min: 10.0, median: 50.0, max: 100.0 }));
        assert_eq!(comparison.ratio(1, rate), Some(Spread { min: 2.0, median: 2.5, max: 3.0 }));
        assert_eq!(comparison.verdict(), Verdict::Failed, "a run gave nothing");
        let mut tainted = comparison.clone();
        tainted.rounds[0][1].as_mut().unwrap().verdict = Verdict::Invalid;
        assert_eq!(tainted.ratio(1, rate), Some(Spread { min: 3.0, median: 3.0, max: 3.0 }));
        assert!(tainted.left_out()[0].contains("1 of 5 runs"));
        tainted.counts_invalid = true;
        assert_eq!(tainted.ratio(1, rate), comparison.ratio(1, rate));
        tainted.rounds[0][0].as_mut().unwrap().rate_doubt = Some("full".into());
        assert_eq!(tainted.ratio(1, rate), Some(Spread { min: 3.0, median: 3.0, max: 3.0 }));
        for run in tainted.rounds.iter_mut().flatten().flatten() {
            run.server = Some(Server { cpu_us: run.rate, ..Server::default() });
            run.notes = vec!["neither was full".into()];
        }
        let cpu = FIGURES[0];
        assert_eq!(tainted.ratio(1, cpu), Some(Spread { min: 3.0, median: 3.0, max: 3.0 }), "one is a bound");
        assert_eq!(tainted.spread(0, cpu).map(|spread| spread.max), Some(100.0), "which stands all the same");
        let left_out = tainted.left_out().join("\n");
        assert!(
            left_out.contains("the rate of 1 of 5 runs is left out, and the processor time"),
            "{left_out}"
        );
        assert!(left_out.contains("mind that 5 of 5 runs say: neither was full"), "{left_out}");
        let text = table(&comparison);
        assert!(text.contains("2.500 (2.00–3.00)") && text.contains("FAILED   b: gone"), "{text}");
    }
}
