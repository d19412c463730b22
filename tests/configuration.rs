//! The program's face: help, complaints and exit codes of the real binary, and the page that is generated.
//!
//! `ROOMCAST_BLESS=1 cargo test --test configuration` writes `docs/configuration.md` anew.

use std::path::Path;
use std::process::{Command, Output};

use roomcast::config::flags;
use roomcast::config::table::SETTINGS;

/// Runs the program with nothing but these arguments and variables.
fn roomcast(args: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_roomcast"))
        .env_clear()
        .envs(environment.iter().copied())
        .args(args)
        .output()
        .expect("the program starts")
}

fn refused(args: &[&str], environment: &[(&str, &str)], expected: &str) {
    let output = roomcast(args, environment);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr, format!("roomcast: error: {expected}\n"));
    assert!(output.stdout.is_empty());
}

#[test]
fn whatever_is_wrong_is_said_in_one_line_with_exit_code_2() {
    refused(&["--max-mesage", "1MiB"], &[], "unknown flag '--max-mesage'; did you mean --max-message?");
    refused(&["--a\nb\u{1b}[31m"], &[], "unknown flag '--a\\nb\\u{1b}[31m'; see roomcast --help");
    refused(
        &["--max-message", "2GiB"],
        &[],
        "--max-message '2GiB': this is more than 1GiB; give a size from 1B to 1GiB, \
         for example --max-message 16MiB",
    );
    refused(
        &[],
        &[("ROOMCAST_DRAIN_TIMEOUT", "10")],
        "ROOMCAST_DRAIN_TIMEOUT '10': the unit is missing (ms, s, m or h); give a duration from 0 to 1h, \
         for example ROOMCAST_DRAIN_TIMEOUT=30s",
    );
}

#[test]
fn feeds_that_cannot_be_are_refused() {
    let mend = "give NAME=exec:COMMAND, NAME=file:PATH or NAME=demo:stocks|weather@DURATION; or several, each on a \
                line of its own, or none, for example";
    refused(
        &["--feed", "f=http://x"],
        &[],
        &format!(
            "--feed 'f=http://x': 'http://x' does not say where values come from; {mend} --feed load=exec:./load.sh"
        ),
    );
    refused(
        &[],
        &[("ROOMCAST_FEED", "f=exec:a; b\nf=file:x")],
        &format!(
            "ROOMCAST_FEED 'f=exec:a; b\\nf=file:x': 'f' is there twice; {mend} ROOMCAST_FEED=load=exec:./load.sh"
        ),
    );
}

#[test]
fn help_lists_every_flag_with_its_default() {
    let output = roomcast(&["--help"], &[("ROOMCAST_SHARDS", "nonsense")]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    let help = String::from_utf8(output.stdout).unwrap();
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for row in SETTINGS {
        let expected = match row.value_name() {
            Some(value) => format!("--{} <{value}> {} [default: {}]", row.name, row.help, row.default),
            None => format!("--{} {}", row.name, row.help),
        };
        assert!(words.contains(&expected), "{expected}\n{help}");
    }
    for line in help.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn version_is_the_package_version() {
    let output = roomcast(&["--version"], &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, format!("roomcast {}\n", env!("CARGO_PKG_VERSION")).into_bytes());
}

#[test]
fn page_is_generated_from_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let expected = flags::document();
    if std::env::var_os("ROOMCAST_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/configuration.md is out of date; write it anew: \
         ROOMCAST_BLESS=1 cargo test --test configuration"
    );
}
