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

/// A file of this content that is removed at the end.
struct Temporary(std::path::PathBuf);

impl Temporary {
    fn new(name: &str, content: &str) -> Temporary {
        let path = std::env::temp_dir().join(format!("roomcast-configuration-{}-{name}", std::process::id()));
        std::fs::write(&path, content).expect("a file for the test");
        Temporary(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn doors_that_would_be_left_open_by_mistake_are_refused() {
    let keys = "--jwt-secret-file, --jwt-public-key or --jwks-file";
    let open = "no token is asked for; add --auth token, or leave it out";
    refused(
        &["--auth", "token"],
        &[],
        &format!("--auth token has no key to verify tokens with; give {keys}"),
    );
    refused(&["--jwks-file", "x"], &[], &format!("keys for tokens are given, but {open}"));
    refused(&["--auth-cookie", "x"], &[], &format!("--auth-cookie is given, but {open}"));
    refused(
        &["--require-signatures"],
        &[],
        "--require-signatures needs to know its users; add --auth token, or leave it out",
    );
    refused(
        &["--auth", "token", "--jwks-file", "x", "--auth-cookie", "c"],
        &[],
        "--auth-cookie lets pages of every origin act for their visitors; say by --allow-origin which may, or show \
         tokens otherwise",
    );
    refused(
        &["--allow-origin", "https://*"],
        &[],
        "--allow-origin 'https://*': * stands for the first label only, with a domain after it; give http://HOST or \
         https://HOST, with :PORT where it is not the usual one; or several with semicolons between, or any, for \
         example --allow-origin https://chat.example",
    );
}

#[test]
fn files_that_cannot_protect_anything_are_refused() {
    let (empty, short) = (Temporary::new("empty", ""), Temporary::new("short", "secret\n"));
    let token = |flag, path| ["--listen", "127.0.0.1:0", "--auth", "token", flag, path];
    let (e, s) = (empty.path(), short.path());
    refused(&token("--jwt-secret-file", e), &[], &format!("--jwt-secret-file {e}: the file is empty"));
    refused(
        &token("--jwt-secret-file", s),
        &[],
        &format!(
            "--jwt-secret-file {s}: the secret has 6 bytes and needs 32; make one with: openssl rand -hex 32"
        ),
    );
    refused(
        &token("--jwt-public-key", s),
        &[],
        &format!(
            "--jwt-public-key {s}: this is no public key in PEM of kind RSA, EC (P-256, P-384) or Ed25519"
        ),
    );
    refused(
        &token("--jwks-file", s),
        &[],
        &format!("--jwks-file {s}: this is not a JSON Web Key Set: {{\"keys\":[…]}}"),
    );
    refused(
        &["--listen", "127.0.0.1:0", "--api-key-file", e],
        &[],
        &format!("--api-key-file {e}: there is no key in it; write one per line: KEY SCOPE…"),
    );
    refused(
        &["--listen", "127.0.0.1:0", "--reject-content", e],
        &[],
        &format!("--reject-content {e}: there is no pattern in it; write one per line"),
    );
    refused(
        &token("--jwt-secret-file", "/nowhere/secret"),
        &[],
        "--jwt-secret-file /nowhere/secret: the file cannot be read: No such file or directory (os error 2)",
    );
}

#[test]
fn tokens_are_minted_and_explained() {
    let secret = Temporary::new("secret", "0123456789abcdef0123456789abcdef\n");
    let keyed = |args: &[&str]| {
        let args = [&["token"], args, &["--jwt-secret-file", secret.path()]].concat();
        let output = roomcast(&args, &[]);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8");
        (output.status.code(), text)
    };
    let (status, token) = keyed(&["--user", "ann", "--rooms", "chat:*", "--ttl", "15m"]);
    assert_eq!((status, token.matches('.').count()), (Some(0), 2), "{token}");
    let (status, told) = keyed(&["--check", token.trim()]);
    assert!(status == Some(0) && told.contains(r#"{"sub":"ann","rooms":["chat:*"],"iat":"#), "{told}");
    assert!(told.contains("good until "), "{told}");
    let forged = [token.trim(), "x"].concat();
    let (status, told) = keyed(&["--check", &forged]);
    assert!(
        status == Some(1) && told.ends_with("its signature is not by the key that was given\n"),
        "{told}"
    );
    refused(
        &["token", "--user", "ann"],
        &[],
        "there is no secret to sign with; give --jwt-secret-file; \
        openssl rand -hex 32 makes one",
    );
    let help = String::from_utf8(roomcast(&["token", "--help"], &[]).stdout).expect("UTF-8");
    for flag in
        ["--user <ID>", "--rooms <PATTERN>", "--ttl <DURATION>", "--check <TOKEN>", "openssl rand -hex 32"]
    {
        assert!(help.contains(flag), "{flag} in:\n{help}");
    }
}
