//! The `roomcast` program: parses, runs, exits with a code.
//!
//! Exit codes: 0 after help, version and an orderly stop; 1 if a second signal cut the stop short, or a checked token
//! is not good; 2 if it cannot start as it was asked to; 70 if a part of it failed.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use roomcast::config::mint::Wish;
use roomcast::config::plan::Plan;
use roomcast::config::source::{self, Asked};
use roomcast::server::mint::{self, Minted};
use roomcast::server::{self, Ended};

/// A second signal cut the drain short: clients were left without a word.
const EXIT_CUT_SHORT: u8 = 1;
/// A token that was checked is not good.
const EXIT_NOT_GOOD: u8 = 1;
/// The conventional code of wrong usage.
const EXIT_USAGE: u8 = 2;

/// Asks a running server to send its clients away; found by the settings that follow.
const DRAIN: &str = "drain";

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let drains = args.get(1).is_some_and(|word| word == DRAIN);
    if drains {
        args.remove(1);
    }
    let typed = match source::read(args, |name| std::env::var_os(name)) {
        Ok(Asked::Start(typed)) => *typed,
        Ok(Asked::Token(wish)) => return token(&wish),
        Ok(Asked::Print(text)) => {
            // Whoever closed the pipe has read enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(complaint) => return refuse(&complaint),
    };
    if drains {
        return match server::ask::drain(&typed.listen, typed.files.api_keys.as_deref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(&error),
        };
    }
    let plan = match Plan::new(typed, &server::descriptors::machine()) {
        Ok(plan) => plan,
        Err(complaint) => return refuse(&complaint),
    };
    server::log::init(plan.log);
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
    match server::run(&plan) {
        Ok(Ended::Drained) => ExitCode::SUCCESS,
        Ok(Ended::AtOnce) => ExitCode::from(EXIT_CUT_SHORT),
        Err(error) => refuse(&error),
    }
}

/// Mints a token, or explains one.
fn token(wish: &Wish) -> ExitCode {
    match mint::run(wish) {
        Ok(Minted { text, good }) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            if good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_NOT_GOOD) }
        }
        Err(error) => refuse(&error),
    }
}

/// One line, whatever the log's format: this is for whoever typed the command.
fn refuse(error: &dyn Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "roomcast: error: {error}");
    ExitCode::from(EXIT_USAGE)
}
