//! A feed whose values a command writes: started, listened to, started again, and ended with all it has started.
//!
//! The command runs in a process group of its own. Its standard output is read as it comes, so it never waits for us
//! longer than a read takes; what it says on standard error goes to the log, a bounded number of lines of bounded
//! length.

use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::base::prng::Prng;
use crate::server::feed::line::Lines;
use crate::server::feed::post::{Post, RETRY, pause};
use crate::server::feed::report::{Log, publish};
use crate::server::feed::stop::{Ready, Stop, now};

/// Wait before a command that ended at once is started again; doubled each time.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// Longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A command that ran for so long had started well: the next wait is the shortest.
const RAN_WELL: Duration = Duration::from_secs(60);
/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_millis(500);
/// Longest line of standard error that is logged.
const COMPLAINT_BYTES_MAX: usize = 1 << 10;
/// Read at once.
const READ_BYTES: usize = 16 << 10;

/// Runs `command` until it is told to stop.
pub(super) fn run(command: &str, post: &mut Post, line_bytes_max: usize, stop: &Stop, seed: u64) {
    let mut jitter = Prng::new(seed);
    let mut backoff = BACKOFF_MIN;
    let mut log = Log::new(post.name());
    loop {
        let began = now();
        match start(command) {
            Ok(child) => {
                let stopped = follow(child, post, line_bytes_max, stop, &mut log);
                if stopped {
                    return;
                }
            }
            Err(error) => log.warn(|feed| tracing::warn!(feed, %error, "cannot start the command of a feed")),
        }
        if began.elapsed() >= RAN_WELL {
            backoff = BACKOFF_MIN;
        }
        let half = backoff / 2;
        let wait = half + Duration::from_micros(jitter.below(u64::try_from(half.as_micros()).unwrap_or(0)));
        if pause(post, stop, wait) {
            return;
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

fn start(command: &str) -> io::Result<Child> {
    Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Reads what the command writes, to the end. True if it was told to stop.
fn follow(mut child: Child, post: &mut Post, line_bytes_max: usize, stop: &Stop, log: &mut Log) -> bool {
    let (mut stdout, mut stderr) = (child.stdout.take(), child.stderr.take());
    let mut lines = Lines::new(line_bytes_max);
    let mut complaints = Lines::new(COMPLAINT_BYTES_MAX);
    let mut buffer = vec![0; READ_BYTES];
    let mut stopped = false;
    while let Some(output) = &mut stdout {
        let inputs = [Some(output.as_fd()), stderr.as_ref().map(ChildStderr::as_fd)];
        let Ready::Input([values, errors]) = stop.wait(inputs, post.is_behind().then_some(RETRY)) else {
            stopped = true;
            break;
        };
        post.retry();
        if errors {
            match stderr.as_mut().map(|stderr| read(stderr, &mut buffer)) {
                Some(count @ 1..) => complaints.take(&buffer[..count], |line| log.complaint(line)),
                _ => stderr = None,
            }
        }
        if values {
            match read(output, &mut buffer) {
                0 => stdout = None,
                count => lines.take(&buffer[..count], |line| publish(line, post, line_bytes_max, log)),
            }
        }
    }
    lines.end(|line| publish(line, post, line_bytes_max, log));
    // What it said last is often why it ended.
    if let Some(stderr) = &mut stderr
        && !stopped
        && let Ready::Input([true, _]) = stop.wait([Some(stderr.as_fd()), None], Some(Duration::ZERO))
    {
        let count = read(stderr, &mut buffer);
        complaints.take(&buffer[..count], |line| log.complaint(line));
    }
    complaints.end(|line| log.complaint(line));
    end(child, stdout.as_mut(), &mut buffer);
    if !stopped {
        log.warn(|feed| tracing::warn!(feed, "the command of a feed has ended; it is started again"));
    }
    stopped
}

/// A failed read is as good as the end.
fn read(from: &mut impl Read, buffer: &mut [u8]) -> usize {
    loop {
        match from.read(buffer) {
            Ok(count) => return count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return 0,
        }
    }
}

/// Ends what is left of the command and of all that it has started: asks first, then waits for the end of the output
/// as a sign that all are gone, then kills. Until its status is taken, nobody else can have the number of the group.
fn end(mut child: Child, output: Option<&mut ChildStdout>, buffer: &mut [u8]) {
    let group = Pid::from_child(&child);
    let is_over = || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        matches!(waitid(WaitId::Pid(group), options), Ok(Some(_)))
    };
    // An error means that all are gone.
    let _ = kill_process_group(group, Signal::TERM);
    let until = now() + GRACE;
    if let Some(output) = output {
        drain(output, buffer, until);
    }
    while !is_over() && now() < until {
        rest(Duration::from_millis(1));
    }
    let _ = kill_process_group(group, Signal::KILL);
    // It has ended or been killed: there is nothing to wait for.
    let _ = child.wait();
}

/// Reads to the end of the output, at most until then.
fn drain(output: &mut ChildStdout, buffer: &mut [u8], until: Instant) {
    loop {
        let left = until.saturating_duration_since(now());
        if left.is_zero() || !is_readable(output, left) || read(output, buffer) == 0 {
            return;
        }
    }
}

fn is_readable(output: &ChildStdout, timeout: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)];
    let timeout = Timespec::try_from(timeout).ok();
    matches!(poll(&mut fds, timeout.as_ref()), Ok(1..))
}

/// Nothing tells of the end of a process whose output has ended before.
fn rest(time: Duration) {
    let _ = rustix::event::poll(&mut [], rustix::event::Timespec::try_from(time).ok().as_ref());
}
