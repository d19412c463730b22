//! The `roomcast-loadtest` program: a load generator that testifies.
//!
//! Parses, runs, writes, exits with a code; `docs/loadtest.md` is for those who use it.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use roomcast_loadtest::compare::{self, Comparison, Plan};
use roomcast_loadtest::options::{Command, Common, Compare, Options, Report};
use roomcast_loadtest::outcome::Verdict;
use roomcast_loadtest::peers::Peer;
use roomcast_loadtest::run::{self, Problem, Ran};
use roomcast_loadtest::{hgrm, report, table};

/// Something was lost, doubled, out of order or corrupt, or the server failed.
const EXIT_FAILED: u8 = 1;
/// Wrong usage.
const EXIT_USAGE: u8 = 2;
/// The generator was the bottleneck.
const EXIT_INVALID: u8 = 3;

fn main() -> ExitCode {
    let code = match Options::parse().command {
        Command::Echo(options) => finish(run::echo(&options), &options.common),
        Command::Fanout(options) => finish(run::fanout(&options), &options.common),
        Command::Idle(options) => finish(run::idle(&options), &options.common),
        Command::Connect(options) => finish(run::connect(&options), &options.common),
        Command::Storm(options) => finish(run::storm(&options), &options.common),
        Command::Cuts(options) => finish(run::cuts(&options), &options.common),
        Command::Churn(options) => finish(run::churn(&options), &options.fanout.common),
        Command::Slow(options) => finish(run::slow(&options), &options.fanout.common),
        Command::Compare(options) => compared(&options),
        Command::Report(options) => reported(&options),
    };
    ExitCode::from(code)
}

/// Writes what was asked for; the exit code.
fn finish(ran: Result<Ran, Problem>, common: &Common) -> u8 {
    let (outcome, latencies) = match ran {
        Ok(ran) => ran,
        Err(problem) => {
            return refuse(
                &problem.to_string(),
                match problem {
                    Problem::Usage(_) => EXIT_USAGE,
                    Problem::Server(_) => EXIT_FAILED,
                    Problem::Machine(_) => EXIT_INVALID,
                },
            );
        }
    };
    let mut written = Ok(());
    let mut to_stdout = false;
    if let Some(file) = &common.json {
        to_stdout = file == Path::new("-");
        written = serde_json::to_string(&outcome)
            .map_err(|error| error.to_string())
            .and_then(|json| if to_stdout { print(&(json + "\n")) } else { save(file, &json) });
    }
    if !to_stdout {
        written = written.and_then(|()| print(&table::table(&outcome)));
    }
    if let Some(file) = &common.hgrm {
        written = written.and_then(|()| save(file, &hgrm::hgrm(&latencies)));
    }
    if let Some(file) = &common.report {
        written = written.and_then(|()| save(file, &report::of_runs(std::slice::from_ref(&outcome))));
    }
    if let Err(error) = written {
        return refuse(&error, EXIT_USAGE);
    }
    code(outcome.verdict)
}

fn code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Good => 0,
        Verdict::Failed => EXIT_FAILED,
        Verdict::Invalid => EXIT_INVALID,
    }
}

/// Runs a comparison.
fn compared(options: &Compare) -> u8 {
    let peers: Result<Vec<Peer>, String> = options.server.iter().map(|file| Peer::read(file)).collect();
    let plan = peers.map(|peers| Plan {
        peers,
        files: options.server.clone(),
        scenario: options.scenario.clone(),
        rounds: options.rounds,
        server_cpus: options.server_cpus.clone(),
        client_cpus: options.client_cpus.clone(),
        counts_invalid: options.count_invalid,
        is_built: options.built,
        mode: if options.mode.is_empty() { mode(&options.scenario).into() } else { options.mode.clone() },
    });
    let comparison = match plan.and_then(|plan| compare::compare(&plan)) {
        Ok(comparison) => comparison,
        Err(error) => return refuse(&error, EXIT_USAGE),
    };
    let to_stdout = options.json.as_deref() == Some(Path::new("-"));
    let mut written = Ok(());
    if let Some(file) = &options.json {
        let json = serde_json::to_string(&comparison).map_err(|error| error.to_string());
        written = json.and_then(|json| if to_stdout { print(&(json + "\n")) } else { save(file, &json) });
    }
    if !to_stdout {
        written = written.and_then(|()| print(&compare::table(&comparison)));
    }
    if let Some(file) = &options.report {
        written = written.and_then(|()| save(file, &report::of_comparison(&comparison)));
    }
    match written {
        Ok(()) => code(comparison.verdict()),
        Err(error) => refuse(&error, EXIT_USAGE),
    }
}

/// What a scenario needs of a server that can do one thing only.
fn mode(scenario: &[String]) -> &'static str {
    let is_echo = scenario.first().is_some_and(|first| first == "echo" || first == "connect");
    if is_echo { "echo" } else { "rooms" }
}

/// Makes a page out of earlier runs.
fn reported(options: &Report) -> u8 {
    let mut runs = Vec::new();
    for file in &options.files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => return refuse(&format!("{}: {error}", file.display()), EXIT_USAGE),
        };
        if let Ok(comparison) = serde_json::from_str::<Comparison>(&text) {
            if options.files.len() > 1 {
                return refuse("a comparison is a page of its own: give it alone", EXIT_USAGE);
            }
            return saved(&options.out, &report::of_comparison(&comparison));
        }
        match serde_json::from_str(&text) {
            Ok(run) => runs.push(run),
            Err(error) => return refuse(&format!("{}: {error}", file.display()), EXIT_USAGE),
        }
    }
    saved(&options.out, &report::of_runs(&runs))
}

fn saved(file: &Path, text: &str) -> u8 {
    save(file, text).map_or_else(|error| refuse(&error, EXIT_USAGE), |()| 0)
}

fn print(text: &str) -> Result<(), String> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| format!("standard output: {error}"))
}

fn save(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}

fn refuse(text: &str, code: u8) -> u8 {
    // Nobody may be left to tell.
    let _ = writeln!(std::io::stderr(), "roomcast-loadtest: {text}");
    code
}
