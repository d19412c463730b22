//! Sources and their order of precedence, and every complaint word for word.

use std::os::unix::ffi::OsStringExt;

use super::*;
use crate::config::endpoint::Place;

fn run(args: &[&str], environment: &[(&str, &str)]) -> Result<Typed, String> {
    let args = std::iter::once("roomcast").chain(args.iter().copied()).map(OsString::from);
    let look =
        |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, text)| OsString::from(text));
    match read(args, look) {
        Ok(Asked::Start(typed)) => Ok(*typed),
        Ok(Asked::Token(wish)) => panic!("wished {wish:?}"),
        Ok(Asked::Print(text)) => panic!("printed {text}"),
        Err(complaint) => {
            let line = complaint.to_string();
            assert!(!line.contains(char::is_control), "{line:?}");
            Err(line)
        }
    }
}

fn complains(args: &[&str], environment: &[(&str, &str)], expected: &str) {
    assert_eq!(run(args, environment).map(|_| ()).unwrap_err(), expected);
}

#[test]
fn flag_wins_over_environment_wins_over_default() {
    let environment = [("ROOMCAST_MAX_MESSAGE", "2MiB"), ("ROOMCAST_LISTEN", "127.0.0.1:1,127.0.0.1:2")];
    assert_eq!(run(&[], &[]).unwrap().limits.message_bytes_max, 1 << 20);
    assert_eq!(run(&[], &environment).unwrap().limits.message_bytes_max, 2 << 20);
    assert_eq!(run(&["--max-message", "3MiB"], &environment).unwrap().limits.message_bytes_max, 3 << 20);
    assert_eq!(run(&["--max-message=3MiB"], &environment).unwrap().limits.message_bytes_max, 3 << 20);
    assert_eq!(run(&[], &environment).unwrap().listen.len(), 2);
    let listen = run(&["--listen", ":3", "--listen", ":4,:5"], &environment).unwrap().listen;
    let ports = listen.iter().map(|endpoint| match &endpoint.place {
        Place::Inet(address) => address.port(),
        Place::Unix(_) => 0,
    });
    assert_eq!(ports.collect::<Vec<_>>(), [3, 4, 5]);
}

#[test]
fn a_flag_hides_a_bad_variable() {
    assert!(run(&["--shards", "2"], &[("ROOMCAST_SHARDS", "many")]).is_ok());
}

#[test]
fn switches_and_empty_variables() {
    assert!(run(&[], &[]).unwrap().limits.echo);
    assert!(!run(&["--no-echo"], &[]).unwrap().limits.echo);
    assert!(!run(&[], &[("ROOMCAST_NO_ECHO", "1")]).unwrap().limits.echo);
    assert!(run(&[], &[("ROOMCAST_NO_ECHO", "false")]).unwrap().limits.echo);
    assert!(run(&[], &[("ROOMCAST_NO_ECHO", "")]).unwrap().limits.echo);
    assert!(run(&["--heartbeat-json"], &[("ROOMCAST_HEARTBEAT_JSON", "no")]).unwrap().limits.heartbeat_json);
}

#[test]
fn help_and_version_are_printed_whatever_the_environment_says() {
    for (flag, expected) in
        [("--help", "--max-message"), ("-h", "Usage:"), ("--version", "roomcast 0."), ("-V", "roomcast")]
    {
        let asked = read(["roomcast", flag].map(OsString::from), |_| Some("nonsense".into()));
        let Ok(Asked::Print(text)) = asked else { panic!("{flag}: {asked:?}") };
        assert!(text.contains(expected), "{flag}: {text}");
    }
}

#[test]
fn complaints_about_values() {
    complains(
        &["--max-message", "12Q"],
        &[],
        "--max-message '12Q': 'Q' is not a unit; give a size from 1B to 1GiB, \
         for example --max-message 16MiB",
    );
    complains(
        &[],
        &[("ROOMCAST_MAX_MESSAGE", "12Q")],
        "ROOMCAST_MAX_MESSAGE '12Q': 'Q' is not a unit; give a size from 1B to 1GiB, \
         for example ROOMCAST_MAX_MESSAGE=16MiB",
    );
    complains(
        &["--shards", "-5"],
        &[],
        "--shards '-5': this is not a whole number in decimal digits; give a number from 1 to 256, or auto, \
         for example --shards 4",
    );
    complains(
        &["--shards", "0"],
        &[],
        "--shards '0': this is less than 1; give a number from 1 to 256, or auto, for example --shards 4",
    );
    complains(
        &["--ping-interval", "25"],
        &[],
        "--ping-interval '25': the unit is missing (ms, s, m or h); give a duration from 10ms to 24h, \
         or off, for example --ping-interval 1m",
    );
    complains(
        &["--slow-consumer", "drop"],
        &[],
        "--slow-consumer 'drop': this is none of the words known here; give disconnect, drop-oldest or \
         drop-newest, for example --slow-consumer drop-oldest",
    );
    complains(
        &["--listen", "8080"],
        &[],
        "--listen '8080': the port is missing; give HOST:PORT or unix:PATH, with tls: before it for TLS, or several \
         with commas between, \
         for example --listen 0.0.0.0:8080",
    );
    complains(
        &["--rate-limit", "10"],
        &[],
        "--rate-limit '10': this is not a rate; give N/s or N/s,burst=M with numbers from 1 to 1000000, \
         or off, for example --rate-limit 20/s,burst=100",
    );
    complains(
        &["--node-name", ""],
        &[],
        "--node-name '': nothing is given; give 1 to 128 bytes of UTF-8 without control characters, or auto, \
         for example --node-name edge-1",
    );
    complains(
        &[],
        &[("ROOMCAST_NO_ECHO", "maybe\n")],
        "ROOMCAST_NO_ECHO 'maybe\\n': this is neither yes nor no; give true or false, \
         for example ROOMCAST_NO_ECHO=true",
    );
}

#[test]
fn complaints_about_the_command_line() {
    complains(&["--max-mesage", "1"], &[], "unknown flag '--max-mesage'; did you mean --max-message?");
    complains(&["--zzz"], &[], "unknown flag '--zzz'; see roomcast --help");
    complains(&["--\n\u{1b}[31m"], &[], "unknown flag '--\\n\\u{1b}[31m'; see roomcast --help");
    complains(&["serve"], &[], "unexpected 'serve'; every setting is a flag, see roomcast --help");
    complains(
        &["--shards"],
        &[],
        "--shards has no value; give a number from 1 to 256, or auto, for example --shards 4",
    );
    complains(&["--shards", "1", "--shards", "2"], &[], "--shards is given more than once; give it once");
    complains(
        &["--no-echo=false"],
        &[],
        "--no-echo takes no value; leave --no-echo out for false; ROOMCAST_NO_ECHO takes true or false",
    );
    let bytes = read(["roomcast".into(), "--node-name".into(), OsString::from_vec(vec![0xff])], |_| None);
    assert!(bytes.unwrap_err().to_string().starts_with("--node-name '\u{fffd}': this is not UTF-8; "));
    let flag = read(["roomcast".into(), OsString::from_vec(b"--\xff".to_vec())], |_| None);
    assert!(flag.unwrap_err().to_string().starts_with("unknown flag "));
}

#[test]
fn complaint_about_descriptors() {
    assert_eq!(
        Complaint::Descriptors { limit: 50, reserved: 64 }.to_string(),
        "this process may open 50 files and needs 64 for itself, which leaves none for connections; \
         raise the limit (ulimit -n 6400)"
    );
}
