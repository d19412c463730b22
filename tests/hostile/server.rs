//! The program as a child process, and what the kernel knows about it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::PATIENCE;

/// Between two looks at something that sends no event.
const LOOK: Duration = Duration::from_millis(5);
/// So long the processor time of a server at rest is measured.
const REST: Duration = Duration::from_millis(300);
/// Ticks (10 ms each) that a server at rest may use in that time; one that spins uses 30, and on a machine with
/// four times the work it can do still more than this.
const REST_TICKS_MAX: u64 = 2;
/// Connections that a test needs at once, with all other tests beside it.
const DESCRIPTORS_WANTED: u64 = 4096;

/// Asks until the answer is yes.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "the guard of a test that would hang")]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        thread::park_timeout(LOOK);
    }
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    stdout: Option<ChildStdout>,
    log: Option<JoinHandle<String>>,
    pub(crate) address: SocketAddr,
    /// What it had when nobody was connected.
    descriptors: usize,
    /// KiB in use then.
    resident: u64,
}

impl Server {
    /// Starts it with two shards, unless `flags` say otherwise.
    pub(crate) fn start(flags: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
        if !flags.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        Server::run(command, flags)
    }

    /// Starts it in a process that may have this many descriptors.
    pub(crate) fn start_with_descriptors(limit: u32, flags: &[&str]) -> Server {
        let mut command = Command::new("sh");
        let script = format!("ulimit -n {limit}; exec \"$0\" --listen 127.0.0.1:0 \"$@\"");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_roomcast")]);
        Server::run(command, flags)
    }

    fn run(mut command: Command, flags: &[&str]) -> Server {
        let own = roomcast::server::descriptors::raise();
        assert!(own >= DESCRIPTORS_WANTED, "these tests need {DESCRIPTORS_WANTED} open files (ulimit -n)");
        // The attacks are to be stood without the limit that would stop most of them; those on the limit set it.
        if !flags.contains(&"--rate-limit") {
            command.args(["--rate-limit", "off"]);
        }
        if !flags.contains(&"--shards") {
            command.args(["--shards", "2"]);
        }
        // One arena for all threads: address space then shows what was asked for, not when a thread first asked.
        command.args(flags).env_clear().env("MALLOC_ARENA_MAX", "1").stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process");
        let mut log = child.stderr.take().expect("a pipe");
        let log = thread::spawn(move || {
            let mut text = Vec::new();
            log.read_to_end(&mut text).expect("the log can be read");
            String::from_utf8(text).expect("the log is UTF-8")
        });
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("UTF-8 on stdout");
        let address = line.trim_end().strip_prefix("chat page: http://");
        let address = address.and_then(|rest| rest.split('/').next()?.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        let stdout = Some(stdout.into_inner());
        let mut server = Server { child, stdout, log: Some(log), address, descriptors: 0, resident: 0 };
        server.descriptors = server.open_descriptors();
        server.resident = server.status("VmRSS:");
        server
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(path).expect("the server runs")
    }

    fn status(&self, field: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux tells");
        line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
    }

    /// MiB by which it ever exceeded what it had at its start.
    pub(crate) fn peak_growth_mib(&self) -> u64 {
        self.status("VmHWM:").saturating_sub(self.resident) / 1024
    }

    /// MiB of memory in use now, above what it had at its start.
    pub(crate) fn growth_mib(&self) -> u64 {
        self.status("VmRSS:").saturating_sub(self.resident) / 1024
    }

    /// MiB of address space, at most so far.
    pub(crate) fn address_space_mib(&self) -> u64 {
        self.status("VmPeak:") / 1024
    }

    pub(crate) fn open_descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).expect("the server runs").count()
    }

    /// Processor time used so far, in ticks of 10 ms.
    pub(crate) fn ticks(&self) -> u64 {
        let stat = self.proc("stat");
        // The name in parentheses may hold anything; utime and stime are the 12th and 13th field behind it.
        let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
        let fields: Vec<&str> = fields.split_whitespace().collect();
        [fields[11], fields[12]].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    }

    /// Waits until the server does nothing.
    #[track_caller]
    pub(crate) fn comes_to_rest(&self) {
        eventually("a server at rest", || {
            let before = self.ticks();
            thread::park_timeout(REST);
            self.ticks() - before <= REST_TICKS_MAX
        });
    }

    /// Waits until it has no more descriptors than before anybody came.
    #[track_caller]
    pub(crate) fn forgets_everybody(&self) {
        eventually("descriptors as before", || self.open_descriptors() <= self.descriptors);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the server runs");
    }

    /// Waits until it has ended: its status, and what it logged.
    #[track_caller]
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut stdout = self.stdout.take().expect("nobody else waits");
        let (ended, end): (_, Receiver<()>) = channel();
        thread::spawn(move || {
            // The pipe ends with the process.
            let _ = stdout.read_to_end(&mut Vec::new());
            let _ = ended.send(());
        });
        end.recv_timeout(PATIENCE).expect("the server ends");
        let status = self.child.wait().expect("a status");
        (status, self.log())
    }

    fn log(&mut self) -> String {
        self.log.take().expect("read once").join().expect("the log was read")
    }

    /// Ends it, and looks whether it lived until now and had nothing to complain about.
    #[track_caller]
    pub(crate) fn end_content(mut self) {
        let ended = self.child.try_wait().expect("a status");
        // It may be gone already, which is found below.
        let _ = self.child.kill();
        let log = self.log();
        assert!(ended.is_none(), "the server ended by itself ({ended:?}):\n{log}");
        assert!(!log.contains("ERROR") && !log.contains("panicked"), "{log}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
