//! Command line, environment and defaults, into what was typed; the one place that words complaints.
//!
//! Reads no process state by itself: arguments and environment arrive as arguments.

use std::ffi::{OsStr, OsString};
use std::fmt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;

use crate::config::flags;
use crate::config::mint::{self, Wish};
use crate::config::setting::{Kind, LINES, SEVERAL, Setting, Typed};
use crate::config::table::SETTINGS;
use crate::config::value::{self, Wrong};

/// What the command line asks for.
#[derive(Debug)]
pub enum Asked {
    /// To run the server.
    Start(Box<Typed>),
    /// To mint a token, or to explain one.
    Token(Box<Wish>),
    /// To print this on standard output and exit: help or version.
    Print(String),
}

/// Why the process cannot start as it was asked to; shown as one line: what is wrong, then how to mend it.
#[derive(Debug)]
pub enum Complaint {
    /// A value of a setting.
    Value {
        /// The setting.
        row: &'static Setting,
        /// Whether it stood in the environment and not on the command line.
        from_environment: bool,
        /// What stood there.
        text: String,
        /// What is wrong with it.
        wrong: Wrong,
    },
    /// Something on the command line that is no setting.
    CommandLine {
        /// What is wrong, one line.
        problem: String,
        /// How to mend it, one line.
        mend: String,
    },
    /// Settings that do not fit each other.
    Together {
        /// What is wrong, one line.
        problem: &'static str,
        /// How to mend it, one line.
        mend: &'static str,
    },
    /// Too few files may be open for any connection.
    Descriptors {
        /// How many may be.
        limit: u64,
        /// How many the process needs for itself.
        reserved: u64,
    },
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Complaint::Value { row, from_environment, text, wrong } => {
                let text = value::quoted(text);
                let (accepts, example) = (row.accepts(), row.example);
                if *from_environment {
                    let name = row.environment();
                    write!(f, "{name} {text}: {wrong}; give {accepts}, for example {name}={example}")
                } else {
                    let name = row.name;
                    write!(f, "--{name} {text}: {wrong}; give {accepts}, for example --{name} {example}")
                }
            }
            Complaint::CommandLine { problem, mend } => write!(f, "{problem}; {mend}"),
            Complaint::Together { problem, mend } => write!(f, "{problem}; {mend}"),
            Complaint::Descriptors { limit, reserved } => write!(
                f,
                "this process may open {limit} files and needs {reserved} for itself, which leaves none for \
                 connections; raise the limit (ulimit -n {})",
                reserved.saturating_mul(100)
            ),
        }
    }
}

impl std::error::Error for Complaint {}

/// Reads all sources. `args` begins with the program's name; `environment` looks one variable up.
///
/// # Errors
/// The first thing that is wrong: the command line's form, then values in the order of the table.
pub fn read(
    args: impl IntoIterator<Item = OsString>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Asked, Complaint> {
    let matches = match flags::command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => return Ok(Asked::Print(error.render().to_string())),
        Err(error) => return Err(complaint(&error)),
    };
    if let Some((mint::NAME, given)) = matches.subcommand() {
        let wish = mint::read(given, environment);
        return wish
            .map(|wish| Asked::Token(Box::new(wish)))
            .map_err(|(problem, mend)| Complaint::CommandLine { problem, mend });
    }
    let mut typed = Typed::blank();
    for row in SETTINGS {
        // A default that is no value is a fault of the table; its test finds it, and so does this.
        apply(row, &mut typed, OsStr::new(row.default), false)?;
        if matches.value_source(row.name) == Some(ValueSource::CommandLine) {
            if matches!(row.kind, Kind::Switch(_)) {
                apply(row, &mut typed, OsStr::new("true"), false)?;
                continue;
            }
            let texts: Vec<&OsStr> = matches
                .get_many::<OsString>(row.name)
                .into_iter()
                .flatten()
                .map(OsString::as_os_str)
                .collect();
            let between = match row.kind {
                Kind::Several(..) => SEVERAL,
                Kind::Lines(..) => LINES,
                _ => ',',
            };
            apply(row, &mut typed, &texts.join(OsStr::new(&between.to_string())), false)?;
        } else if let Some(text) = environment(&row.environment()).filter(|text| !text.is_empty()) {
            apply(row, &mut typed, &text, true)?;
        }
    }
    Ok(Asked::Start(Box::new(typed)))
}

fn apply(
    row: &'static Setting,
    typed: &mut Typed,
    text: &OsStr,
    from_environment: bool,
) -> Result<(), Complaint> {
    let set = text.to_str().ok_or(Wrong::NotUtf8).and_then(|text| row.apply(typed, text));
    set.map_err(|wrong| Complaint::Value {
        row,
        from_environment,
        text: text.to_string_lossy().into_owned(),
        wrong,
    })
}

/// clap's report, which has several lines and a usage, as problem and mend.
fn complaint(error: &clap::Error) -> Complaint {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(all)) => all.first().cloned(),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg).unwrap_or_default();
    // `--max-message <BYTES>` is how clap names a known flag.
    let flag = argument.split(' ').next().unwrap_or_default().to_owned();
    let row = SETTINGS.iter().find(|row| flag.strip_prefix("--") == Some(row.name));
    let help = "see roomcast --help".to_owned();
    let (problem, mend) = match (error.kind(), row) {
        (ErrorKind::UnknownArgument, _) if argument.starts_with('-') => (
            format!("unknown flag {}", value::quoted(&argument)),
            text(ContextKind::SuggestedArg).map_or(help, |flag| format!("did you mean {flag}?")),
        ),
        (ErrorKind::UnknownArgument, _) => (
            format!("unexpected {}", value::quoted(&argument)),
            "every setting is a flag, see roomcast --help".to_owned(),
        ),
        (ErrorKind::InvalidSubcommand, _) => (
            format!(
                "unexpected {}",
                value::quoted(&text(ContextKind::InvalidSubcommand).unwrap_or_default())
            ),
            "every setting is a flag, see roomcast --help".to_owned(),
        ),
        // clap says so when a value is missing.
        (ErrorKind::InvalidValue, Some(row)) => (
            format!("{flag} has no value"),
            format!("give {}, for example {flag} {}", row.accepts(), row.example),
        ),
        (ErrorKind::TooManyValues, Some(row)) => (
            format!("{flag} takes no value"),
            format!("leave {flag} out for false; {} takes true or false", row.environment()),
        ),
        (ErrorKind::ArgumentConflict, Some(_)) => {
            (format!("{flag} is given more than once"), "give it once".to_owned())
        }
        _ => {
            let report = error.render().to_string();
            let first = report.lines().next().unwrap_or_default();
            (value::escaped(first.strip_prefix("error: ").unwrap_or(first)), help)
        }
    };
    Complaint::CommandLine { problem, mend }
}

#[cfg(test)]
mod tests;
