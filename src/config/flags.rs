//! The table as a command line with its `--help`, and as `docs/configuration.md`.
//!
//! Reads nothing and checks nothing: values are taken as text, so that all sources share one check.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

use crate::config::mint;
use crate::config::setting::{Category, Kind, Setting};
use crate::config::table::SETTINGS;

/// Columns of `--help`; a narrower terminal makes it narrower.
const HELP_COLUMNS: usize = 100;

const ABOUT: &str = "A realtime edge server: very many WebSocket connections, rooms in order.";

/// Paragraphs without line breaks of their own: clap wraps them.
const AFTER_HELP: &str = "\
Sizes take B, KiB, MiB, GiB (1024) and k, M, G (1000), or no unit for bytes; durations take ms, s, m, h.

Every setting can also come from the environment: ROOMCAST_MAX_MESSAGE stands for --max-message, and so on; \
switches are true or false there. A flag wins over the environment, the environment over the default.

`roomcast drain` asks the server that listens on --listen to send its clients away and let no new ones in; the \
server goes on running.

Example: roomcast --listen 0.0.0.0:8080 --rate-limit 20/s --log-format json";

/// The command line.
#[must_use]
pub fn command() -> Command {
    let other = "Help";
    Command::new("roomcast")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_help(AFTER_HELP)
        .override_usage(
            "roomcast [OPTIONS]\n       roomcast token [OPTIONS]\n       roomcast drain [OPTIONS]",
        )
        .subcommand(mint::command())
        .disable_help_subcommand(true)
        .max_term_width(HELP_COLUMNS)
        // Side by side, the longest flag of a category leaves no room for the words.
        .next_line_help(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(SETTINGS.iter().map(flag))
        .arg(
            Arg::new("help")
                .short('h')
                .long("help")
                .action(ArgAction::Help)
                .help("Print this.")
                .help_heading(other),
        )
        .arg(
            Arg::new("version")
                .short('V')
                .long("version")
                .action(ArgAction::Version)
                .help("Print the version.")
                .help_heading(other),
        )
}

fn flag(row: &'static Setting) -> Arg {
    let arg = Arg::new(row.name).long(row.name).help_heading(row.category.title());
    let arg = match row.value_name() {
        None => return arg.action(ArgAction::SetTrue).help(row.help),
        Some(name) => arg.value_name(name).help(format!("{} [default: {}]", row.help, row.default)),
    };
    // Negative numbers get our message about the range, not clap's about an unknown flag.
    let arg = arg.value_parser(clap::value_parser!(std::ffi::OsString)).allow_negative_numbers(true);
    match row.kind {
        Kind::Addresses(_) | Kind::Several(..) | Kind::Lines(..) => arg.action(ArgAction::Append),
        _ => arg.action(ArgAction::Set),
    }
}

const DOCUMENT_HEAD: &str = "\
# Configuration

For those who run roomcast: every setting, what it means and which values it takes. This page is generated
from the table in `src/config/table.rs`; a test fails when the two differ, and `ROOMCAST_BLESS=1 cargo test
--test configuration` writes it anew.

roomcast needs no configuration: without any it listens on 127.0.0.1:8080 and keeps to the defaults below.

```sh
roomcast --listen 0.0.0.0:8080 --rate-limit 20/s,burst=100 --log-format json
ROOMCAST_LISTEN=0.0.0.0:8080,[::1]:8080 ROOMCAST_NO_ECHO=true roomcast
```

## Where settings come from

A flag wins over the environment, the environment over the default. Lists do not add up: one `--listen`
replaces all of `ROOMCAST_LISTEN`. An environment variable that is empty counts as not set. A flag other
than `--listen` is given at most once.

A value that cannot be used ends the process before it has opened anything: exit code 2, and one line on
standard error that names the flag or the variable, what is wrong with its value, and what it takes. Where
two settings do not fit each other (more connections than open files, a queue shorter than a message), the
process starts with what does fit, and logs a warning.

## Units

| what | units | examples |
|---|---|---|
| size | `B`, `KiB`, `MiB`, `GiB` (1024 each), `k` or `kB`, `M` or `MB`, `G` or `GB` (1000 each), in \
upper or lower case; a plain number is bytes | `65536`, `64KiB`, `16MiB`, `1M` |
| duration | `ms`, `s`, `m`, `h`; only `0` needs no unit, as `10` means seconds to some and milliseconds \
to others | `500ms`, `10s`, `2m`, `1h` |
| rate | `N/s`, `N/s,burst=M`; without a burst it is twice the rate | `20/s`, `20/s,burst=100` |
| switch | a flag without a value; in the environment `true`, `yes`, `on`, `1` or `false`, `no`, `off`, \
`0` | `--no-echo`, `ROOMCAST_NO_ECHO=true` |

Numbers are whole and in decimal digits: `1536KiB`, not `1.5MiB`. `off` means that there is no such limit,
`auto` that roomcast chooses.
";

/// `docs/configuration.md`, whole.
#[must_use]
pub fn document() -> String {
    let mut page = DOCUMENT_HEAD.to_owned();
    for category in Category::ALL {
        let rows = || SETTINGS.iter().filter(move |row| row.category == category);
        let _ = write!(
            page,
            "\n## {}\n\n| flag | environment | default | meaning |\n|---|---|---|---|\n",
            category.title()
        );
        for row in rows() {
            let value =
                row.value_name().map_or(String::new(), |name| format!(" {}", name.replace('|', "\\|")));
            let (name, variable) = (row.name, row.environment());
            let _ = writeln!(page, "| `--{name}{value}` | `{variable}` | `{}` | {} |", row.default, row.help);
        }
        page.push('\n');
        for row in rows() {
            let _ = match row.kind {
                Kind::Switch(_) => write!(page, "- `--{}` takes no value.", row.name),
                _ => write!(page, "- `--{}` takes {}, such as `{}`.", row.name, row.accepts(), row.example),
            };
            let _ = match row.details {
                "" => writeln!(page),
                details => writeln!(page, " {details}"),
            };
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_no_fault() {
        command().debug_assert();
    }

    #[test]
    fn help_has_every_flag_with_default_in_its_category_and_fits() {
        let help = command().render_help().to_string();
        for row in SETTINGS {
            let flag =
                row.value_name().map_or(format!("--{}", row.name), |name| format!("--{} <{name}>", row.name));
            assert!(help.contains(&flag), "{flag}");
        }
        for category in Category::ALL {
            assert!(help.contains(&format!("\n{}:\n", category.title())));
        }
        for line in help.lines() {
            assert!(line.chars().count() <= HELP_COLUMNS, "{line}");
        }
    }

    #[test]
    fn document_names_every_setting_once_in_its_table() {
        let page = document();
        for row in SETTINGS {
            assert_eq!(page.matches(&format!("| `{}` |", row.environment())).count(), 1, "{}", row.name);
            assert_eq!(page.matches(&format!("\n- `--{}` takes ", row.name)).count(), 1, "{}", row.name);
        }
    }
}
