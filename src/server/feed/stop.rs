//! Waiting for bytes, for the time, or for the order to stop, whichever comes first.
//!
//! The order is the end of a pipe that nobody writes to, so every thread can wait for it in the same `poll` as for what
//! it reads.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Ends all [`Stop`]s when it is dropped.
#[derive(Debug)]
pub(super) struct Stopper {
    _writer: PipeWriter,
}

/// Tells when to stop.
#[derive(Clone, Debug)]
pub(super) struct Stop(Arc<PipeReader>);

/// What a wait ended by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// It is time to stop.
    Stop,
    /// There is something to read, by the order in which it was asked for; all false: the time has passed.
    Input([bool; 2]),
}

/// A stopper and what it stops.
///
/// # Errors
/// If the system gives no pipe.
pub(super) fn pair() -> io::Result<(Stopper, Stop)> {
    let (reader, writer) = io::pipe()?;
    Ok((Stopper { _writer: writer }, Stop(Arc::new(reader))))
}

impl Stop {
    /// Waits at most `timeout` (none = for ever) for input on any of two descriptors.
    pub(super) fn wait(&self, inputs: [Option<BorrowedFd<'_>>; 2], timeout: Option<Duration>) -> Ready {
        let mut fds = vec![PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        fds.extend(inputs.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // An interrupted wait is one that ended early, and what else can fail here is as good as an order to stop.
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ready::Input([false; 2]),
            Err(_) => return Ready::Stop,
        }
        let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
        if ready.next() == Some(true) {
            return Ready::Stop;
        }
        Ready::Input(inputs.map(|input| input.is_some() && ready.next() == Some(true)))
    }

    /// Waits for this time. True if it is time to stop.
    pub(super) fn pause(&self, time: Duration) -> bool {
        self.wait([None, None], Some(time)) == Ready::Stop
    }
}

/// What time it is.
#[expect(clippy::disallowed_methods, reason = "server reads clocks")]
pub(super) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn input_and_the_order_to_stop_end_a_wait() {
        let (stopper, stop) = pair().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        let inputs = [None, Some(reader.as_fd())];
        assert_eq!(stop.wait(inputs, Some(Duration::ZERO)), Ready::Input([false, false]));
        writer.write_all(b"x").unwrap();
        assert_eq!(stop.wait(inputs, None), Ready::Input([false, true]));
        assert!(!stop.pause(Duration::ZERO));
        drop(stopper);
        assert_eq!(stop.clone().wait(inputs, None), Ready::Stop);
        assert!(stop.pause(Duration::from_secs(3600)));
    }
}
