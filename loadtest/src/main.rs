//! The `roomcast-loadtest` program: a load generator that testifies.
//!
//! Parses, runs, writes, exits with a code; `docs/loadtest.md` is for those who use it.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;

use roomcast_loadtest::options::{Command, Common, Options};
use roomcast_loadtest::outcome::Verdict;
use roomcast_loadtest::run::{self, Problem, Ran};
use roomcast_loadtest::{hgrm, table};

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
    if let Err(error) = written {
        return refuse(&error, EXIT_USAGE);
    }
    match outcome.verdict {
        Verdict::Good => 0,
        Verdict::Failed => EXIT_FAILED,
        Verdict::Invalid => EXIT_INVALID,
    }
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
