//! Whole runs of the program: against servers that misbehave on purpose, which it must find out, and against roomcast.
//!
//! What is asserted are books and exit codes, never speed: the machine may be busy.

mod liar;
mod veil;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use liar::{Fault, Liar};
use roomcast_loadtest::compare::Comparison;
use roomcast_loadtest::ledger::Faults;
use roomcast_loadtest::outcome::{Latency, Outcome, Server, Verdict};

/// Runs the program; its exit code and outcome.
fn run(url: &str, words: &[&str]) -> (i32, Option<Outcome>, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_roomcast-loadtest"))
        .args(words)
        .args(["--url", url, "--quiet", "--json", "-", "--warmup", "50ms"])
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&stderr).into_owned();
    (status.code().unwrap_or(-1), serde_json::from_slice(&stdout).ok(), said)
}

/// A run against a server that does `fault` once; the books must say `want`, and nothing else.
fn check(fault: Fault, words: &[&str], want: Faults) {
    let liar = Liar::start(fault);
    let (code, outcome, said) = run(&liar.url(), words);
    let outcome = outcome.unwrap_or_else(|| panic!("{fault:?}: no outcome: {said}"));
    assert_eq!(outcome.faults, want, "{fault:?} {words:?}: {:?}", outcome.failures);
    if want.none() {
        assert_ne!(code, 1, "{fault:?}: {:?}", outcome.failures);
    } else {
        assert_eq!((code, outcome.verdict), (1, Verdict::Failed), "{fault:?}");
        assert!(!outcome.failures.is_empty());
    }
    assert!(outcome.units > 0);
}

const ECHO: [&str; 7] = ["echo", "-c", "3", "-r", "500", "-d", "400ms"];
const ROOMS: [&str; 13] =
    ["fanout", "--rooms", "2", "-m", "4", "-p", "2", "-r", "400", "-d", "400ms", "-t", "2"];

#[test]
fn an_honest_server_is_believed() {
    check(Fault::None, &ECHO, Faults::default());
    check(
        Fault::None,
        &["echo", "-c", "2", "-f", "8", "-s", "100KiB", "-d", "300ms", "--binary"],
        Faults::default(),
    );
    check(Fault::None, &ROOMS, Faults::default());
    check(
        Fault::None,
        &["fanout", "-m", "5", "-p", "3", "-f", "4", "-d", "300ms", "-t", "3"],
        Faults::default(),
    );
}

#[test]
fn planted_faults_of_an_echo_are_found() {
    let none = Faults::default();
    check(Fault::Drop, &ECHO, Faults { holes: 1, ..none });
    check(Fault::Double, &ECHO, Faults { duplicates: 1, ..none });
    check(Fault::Swap, &ECHO, Faults { disorder: 1, ..none });
    check(Fault::Damage, &ECHO, Faults { corrupt: 1, holes: 1, ..none });
}

#[test]
fn planted_faults_of_a_room_are_found() {
    let none = Faults::default();
    check(Fault::Drop, &ROOMS, Faults { holes: 1, offset_breaks: 1, ..none });
    check(Fault::Double, &ROOMS, Faults { duplicates: 1, offset_breaks: 1, ..none });
    check(Fault::Damage, &ROOMS, Faults { corrupt: 1, holes: 1, offset_breaks: 1, ..none });
}

#[test]
fn a_lost_message_ends_a_closed_loop_instead_of_hanging_it() {
    let liar = Liar::start(Fault::Drop);
    let (code, outcome, _) = run(&liar.url(), &["fanout", "-m", "3", "-d", "60s"]);
    let outcome = outcome.expect("an outcome");
    assert_eq!((code, outcome.faults.holes), (1, 1));
    assert!(outcome.failures.iter().any(|failure| failure.contains("cut short")), "{:?}", outcome.failures);
}

#[test]
fn a_generator_that_cannot_keep_up_says_so() {
    let liar = Liar::start(Fault::None);
    let (code, outcome, _) = run(&liar.url(), &["echo", "-c", "4", "-r", "50000000", "-d", "300ms"]);
    let outcome = outcome.expect("an outcome");
    assert_eq!((code, outcome.verdict), (3, Verdict::Invalid), "{:?}", outcome.failures);
    assert!(outcome.doubts.iter().any(|doubt| doubt.contains("were sent")), "{:?}", outcome.doubts);
}

/// A loop that takes all it can get of processor 0, as do those beside it.
struct Hog(Child);

impl Hog {
    fn start() -> Hog {
        let mut command = Command::new("taskset");
        Hog(command.args(["-c", "0", "sh", "-c", "while :; do :; done"]).spawn().expect("taskset and sh"))
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_generator_that_is_starved_of_its_processor_says_so() {
    let liar = Liar::start(Fault::None);
    let _hogs = [(); 6].map(|()| Hog::start());
    let output = Command::new("taskset")
        .args(["-c", "0", env!("CARGO_BIN_EXE_roomcast-loadtest"), "echo", "-c", "8", "-f", "4", "-d", "1s"])
        .args(["--url", &liar.url(), "--quiet", "--json", "-", "--warmup", "50ms"])
        .output()
        .expect("the program starts");
    let outcome: Outcome = serde_json::from_slice(&output.stdout).expect("an outcome");
    assert_eq!(
        (output.status.code(), outcome.verdict),
        (Some(3), Verdict::Invalid),
        "{:?}",
        outcome.failures
    );
    assert!(outcome.doubts.iter().any(|doubt| doubt.contains("processor")), "{:?}", outcome.doubts);
}

#[test]
fn a_limit_of_open_files_is_refused_by_name() {
    let liar = Liar::start(Fault::None);
    let program = env!("CARGO_BIN_EXE_roomcast-loadtest");
    let script = format!("ulimit -n 80; exec {program} echo -c 100 -d 100ms --url {}", liar.url());
    let output = Command::new("sh").args(["-c", &script]).output().expect("sh");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("100 connections, but only 80 open files"), "{said}");
    assert!(output.stdout.is_empty(), "no figures");
}

#[test]
fn ports_are_refused_by_name() {
    let (code, _, said) = run("ws://127.0.0.1:1", &["echo", "-c", "100000", "--source", "127.0.0.1"]);
    assert_eq!(code, 3, "{said}");
    // Whichever of the two this machine has less of.
    assert!(said.contains("source addresses") || said.contains("open files"), "{said}");
}

#[test]
fn a_server_that_greets_wraps_and_pings_is_spoken_to() {
    let liar = Liar::start(Fault::None);
    let words = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/socketio.toml");
    for scenario in [
        &["echo", "-c", "3", "-f", "2", "-d", "300ms"][..],
        &["fanout", "-m", "4", "-p", "2", "-d", "300ms", "-t", "2"],
        &["idle", "-c", "4", "--rooms", "2", "-d", "100ms"],
    ] {
        let (_, outcome, said) = run(&liar.url(), &[scenario, &["--words", words]].concat());
        let outcome = outcome.unwrap_or_else(|| panic!("{scenario:?}: {said}"));
        assert!(outcome.failures.is_empty() && outcome.faults.none(), "{scenario:?}: {:?}", outcome.failures);
    }
    assert_eq!(liar.unanswered_pings(), 0);
}

#[test]
fn a_room_with_a_path_of_its_own_needs_no_join() {
    let liar = Liar::start(Fault::None);
    let words = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/nchan.toml");
    let fanout =
        ["fanout", "--rooms", "3", "-m", "4", "-p", "2", "-r", "300", "-d", "300ms", "--words", words];
    check_clean(&liar.url(), &fanout);
}

/// A run in which the books find nothing.
fn check_clean(url: &str, words: &[&str]) {
    let (code, outcome, said) = run(url, words);
    let outcome = outcome.unwrap_or_else(|| panic!("{words:?}: {said}"));
    assert!(outcome.faults.none() && outcome.failures.is_empty(), "{words:?}: {:?}", outcome.failures);
    assert!(outcome.units > 0 && code != 1, "{words:?}: {code}");
}

#[test]
fn tls_is_spoken_to_those_who_are_trusted_and_to_nobody_else() {
    let liar = Liar::start(Fault::None);
    let veil = veil::Veil::start(liar.address());
    let url = format!("wss://localhost:{}", veil.port());
    let ca = veil.certificate().to_str().expect("a path of ours");
    for trust in [&["--ca", ca][..], &["--insecure"]] {
        check_clean(&url, &[&["echo", "-c", "3", "-f", "4", "-d", "300ms"], trust].concat());
        check_clean(&url, &[&["echo", "-c", "2", "-f", "2", "-s", "300KiB", "-d", "300ms"], trust].concat());
        check_clean(&url, &[&["fanout", "-m", "4", "-p", "2", "-d", "300ms", "-t", "2"], trust].concat());
        check_clean(&url, &[&["connect", "-c", "2", "-d", "300ms"], trust].concat());
    }
    let (code, outcome, _) = run(&url, &["echo", "-c", "2"]);
    let failures = outcome.expect("an outcome").failures;
    assert_eq!(code, 1, "{failures:?}");
    assert!(failures.iter().any(|failure| failure.contains("certificate")), "{failures:?}");
    assert_eq!(run(&liar.url(), &["echo", "--insecure"]).0, 2, "what is not encrypted needs no trust");
}

#[test]
fn a_rate_is_kept_where_one_thread_alone_has_publishers() {
    let liar = Liar::start(Fault::None);
    let (_, outcome, said) =
        run(&liar.url(), &["fanout", "-m", "4", "-p", "1", "-t", "2", "-r", "200", "-d", "500ms"]);
    let outcome = outcome.unwrap_or_else(|| panic!("{said}"));
    // Half would be that of the thread without one; a busy machine sends late, but sends.
    assert!(outcome.sent >= 75, "{} of 100", outcome.sent);
    assert!(outcome.faults.none() && outcome.failures.is_empty(), "{:?}", outcome.failures);
}

#[test]
fn what_no_server_may_send_ends_the_connection() {
    let ended = |fault, words: &[&str], want| {
        let liar = Liar::start(fault);
        let (code, outcome, said) = run(&liar.url(), words);
        let failures = outcome.unwrap_or_else(|| panic!("{fault:?}: {said}")).failures;
        assert!(failures.iter().any(|failure| failure.contains(want)), "{fault:?}: {failures:?}");
        assert_eq!(code, 1);
    };
    // At once, as each waits for what the broken connection owes.
    std::thread::scope(|scope| {
        scope.spawn(|| ended(Fault::Continue, &ECHO, "a continuation of nothing"));
        scope.spawn(|| ended(Fault::Interrupt, &ECHO, "amid the fragments"));
        scope.spawn(|| ended(Fault::Retype, &ECHO, "bytes for a text"));
        scope.spawn(|| ended(Fault::Swell, &ECHO, "longer than any answer"));
        scope.spawn(|| ended(Fault::Swell, &ROOMS, "longer than any answer"));
    });
}

#[test]
fn a_damaged_time_and_a_missing_number_are_found() {
    let none = Faults::default();
    check(Fault::Blur, &ROOMS, Faults { corrupt: 1, holes: 1, offset_breaks: 1, ..none });
    check(Fault::Unnumber, &ROOMS, Faults { offset_breaks: 1, ..none });
}

/// Not a test: the server of the comparison below, which starts this very program for it.
#[test]
#[ignore = "serves a comparison until it is killed"]
fn serve_a_comparison() {
    let Ok(port) = std::env::var("LIAR_PORT") else { return };
    let fault = if std::env::var_os("LIAR_DROPS").is_some() { Fault::Drop } else { Fault::None };
    // The comparison looks whether somebody listens: its look is the first connection.
    Liar::serve(("127.0.0.1", port.parse().expect("a port")), fault, 1);
    std::thread::park();
}

#[test]
fn a_comparison_finds_the_liar_among_two() {
    let folder = folder("compare");
    let this = std::env::current_exe().expect("this program");
    for (name, drops) in [("honest", ""), ("liar", "LIAR_DROPS=1 ")] {
        let command =
            format!("env LIAR_PORT={{port}} {drops}{} --exact serve_a_comparison --ignored", this.display());
        std::fs::write(folder.join(name).with_extension("toml"), format!("command = {command:?}\n"))
            .expect("a folder of ours");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_roomcast-loadtest"))
        .args(["compare", "-s", "honest.toml", "-s", "liar.toml", "-n", "1", "--count-invalid"])
        .args(["--json", "compare.json", "--", "echo", "-c", "2", "-r", "300", "-d", "300ms", "-w", "50ms"])
        .current_dir(&folder)
        .output()
        .expect("the program starts");
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{table}");
    assert!(table.contains("FAILED   liar: 1 messages never came"), "{table}");
    assert!(!table.contains("FAILED   honest"), "{table}");
    let json = std::fs::read_to_string(folder.join("compare.json")).expect("what it wrote");
    let comparison: Comparison = serde_json::from_str(&json).expect("a comparison");
    assert_eq!((comparison.peers.len(), comparison.rounds.len()), (2, 1));
    let holes = |at: usize| comparison.rounds[0][at].as_ref().map(|run| run.faults.holes);
    assert_eq!((holes(0), holes(1)), (Some(0), Some(1)));
}

/// A folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder of ours");
    folder
}

/// `loadtest/figures` on rounds of which some do not count.
#[test]
fn figures_leave_out_what_does_not_count() {
    if Command::new("python3").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("no python3: left out");
        return;
    }
    let good = |name: &str, cpu_us: f64| Outcome {
        name: name.into(),
        rate: 1000.0 * cpu_us,
        latency: Some(Latency { p50_us: cpu_us, p99_us: 20.0, p999_us: 30.0, ..Latency::default() }),
        server: Some(Server { cpu_us, user_us: 0.5, ..Server::default() }),
        ..Outcome::empty()
    };
    let failures = vec!["1 messages never came".to_owned()];
    let failed = Outcome { verdict: Verdict::Failed, failures, latency: None, ..good("roomcast", 1.0) };
    let doubt = |text: &str| Some(text.to_owned());
    let struck = Outcome { rate_doubt: doubt("full"), latency_doubt: doubt("busy"), ..good("roomcast", 2.0) };
    let idle = Outcome { server: Some(Server::default()), ..good("floor", 9.0) };
    let round = |first: Outcome, second: Option<Outcome>| vec![Some(first), second];
    let comparison = Comparison {
        scenario: "echo -c 1".into(),
        peers: vec!["floor".into(), "roomcast".into()],
        rounds: vec![
            round(good("floor", 4.0), Some(good("roomcast", 6.0))),
            round(good("floor", 5.0), Some(failed)),
            round(good("floor", 8.0), Some(struck)),
            round(idle, Some(good("roomcast", 3.0))),
            round(good("floor", 7.0), None),
        ],
        complaints: vec!["roomcast: no outcome".into()],
        counts_invalid: false,
    };
    let folder = folder("figures");
    let json = serde_json::to_string(&comparison).expect("plain values");
    std::fs::write(folder.join("echo-1.json"), json).expect("a folder of ours");
    std::fs::write(folder.join("echo-1.txt"), "$ roomcast-loadtest compare --server-cpus 0\n")
        .expect("a folder of ours");
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/figures"))
        .arg("--retable")
        .arg(&folder)
        .arg("echo-1")
        .output()
        .expect("python3 runs it");
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "something was left out: {text}{output:?}");
    for want in [
        "| floor | 4.00 | 1.00 (1.00–1.00) | 0.50 | 6,000 | 6 / 20 / 30 | 4 of 5 |",
        "| roomcast | 6.00 | 1.50 (1.50–1.50) | 0.50 | 6,000 | 6 / 20 / 30 | 2 of 5 |",
        "- roomcast: no outcome\n- roomcast: 1 of 5 runs failed: 1 messages never came",
        "1 of 8 good runs, such as: full",
        "- echo-1: uwebsockets was not measured",
        "- echo-1: runs that gave no outcome",
        "Not measured here",
    ] {
        assert!(text.contains(want), "{want}\n{text}");
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    let (code, _, said) = run("ws://127.0.0.1:1", &["echo", "-c", "16000000"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("open files"), "{said}");
    assert_eq!(run("http://127.0.0.1:1", &["echo"]).0, 2);
    assert_eq!(run("ws://127.0.0.1:1", &["connect", "--connecting", "3"]).0, 2, "it would do nothing");
    assert_eq!(run("ws://127.0.0.1:1", &["idle", "--hgrm", "x"]).0, 2, "it would be empty");
    let (code, outcome, _) = run("ws://127.0.0.1:1", &["echo", "-c", "2"]);
    assert_eq!(code, 1, "nobody listens there");
    let failures = outcome.expect("an outcome").failures;
    assert!(failures[0].contains("not all were connected"), "{failures:?}");
}

/// The server of this workspace, where it has been built beside this program.
struct Roomcast {
    child: Child,
    port: u16,
}

impl Roomcast {
    /// None where it has not been built; all else has to work.
    fn start() -> Option<Roomcast> {
        let beside = Path::new(env!("CARGO_BIN_EXE_roomcast-loadtest")).with_file_name("roomcast");
        let program = std::env::var_os("ROOMCAST_BIN").map_or(beside, PathBuf::from);
        if !program.exists() {
            return None;
        }
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
        let port = free.expect("a free port").port();
        let listen = format!("127.0.0.1:{port}");
        let mut command = Command::new(program);
        command
            .args(["--listen", &listen, "--shards", "2", "--rate-limit", "off"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().expect("a program that exists starts");
        let server = Roomcast { child, port };
        let listens = (0..1000).any(|_| {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() || {
                std::thread::park_timeout(std::time::Duration::from_millis(10));
                false
            }
        });
        assert!(listens, "roomcast does not listen");
        Some(server)
    }
}

impl Drop for Roomcast {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn roomcast_keeps_its_promises() {
    let Some(server) = Roomcast::start() else {
        println!("no roomcast beside this program: left out (cargo build --workspace makes one)");
        return;
    };
    let url = format!("ws://127.0.0.1:{}", server.port);
    let pid = server.child.id().to_string();
    for words in [
        &["echo", "-c", "20", "-f", "4", "-d", "300ms"][..],
        &["fanout", "-m", "20", "-p", "4", "-d", "300ms", "-t", "2"],
        &["churn", "-m", "20", "-p", "2", "-r", "500", "--stay", "20ms", "--away", "20ms", "-d", "500ms"],
        &["storm", "-m", "50", "-p", "2", "-r", "100"],
        &["slow", "-m", "10", "-p", "2", "-r", "500", "-d", "300ms"],
        &["connect", "-c", "4", "-d", "300ms"],
        &["idle", "-c", "50", "--rooms", "5", "-d", "200ms"],
    ] {
        let (code, outcome, said) = run(&url, &[words, &["--pid", &pid]].concat());
        let outcome = outcome.unwrap_or_else(|| panic!("{words:?}: {said}"));
        assert!(outcome.failures.is_empty() && outcome.faults.none(), "{words:?}: {:?}", outcome.failures);
        assert!(code == 0 || code == 3, "{words:?}: {code}");
        assert!(outcome.server.is_some());
    }
}
