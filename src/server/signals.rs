//! What the operating system's signals ask for: read files again, send the clients away, end in order, then end at
//! once.
//!
//! `SIGPIPE` is ignored by Rust's own start-up. `SIGUSR1` would end a process that does not catch it; a stray tool
//! shall not end the service, so it does nothing.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
pub use signal_hook::iterator::Handle;

/// How to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Read again what is read from files: `SIGHUP`. A closed terminal sends it as well, which does no harm.
    Reload,
    /// Send the clients away, and stay: `SIGUSR2`.
    Leave,
    /// Begin to drain: the first `SIGTERM` or `SIGINT`.
    Drain,
    /// End at once: any further one.
    Now,
}

/// The signals of this process, from [`listen`] on.
#[derive(Debug)]
pub struct Signals {
    arriving: signal_hook::iterator::Signals,
    draining: bool,
}

/// Starts to catch signals; to be called before any thread starts.
///
/// # Errors
/// If the system refuses to install a handler.
pub fn listen() -> io::Result<Signals> {
    let arriving = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2])?;
    Ok(Signals { arriving, draining: false })
}

/// Each step waits for the next signal that asks for something; none once the [`Handle`] was closed.
impl Iterator for Signals {
    type Item = Wanted;

    fn next(&mut self) -> Option<Wanted> {
        for signal in self.arriving.forever() {
            if signal == SIGTERM || signal == SIGINT {
                let wanted = if self.draining { Wanted::Now } else { Wanted::Drain };
                self.draining = true;
                return Some(wanted);
            }
            if signal == SIGHUP {
                return Some(Wanted::Reload);
            }
            if signal == SIGUSR2 && !self.draining {
                return Some(Wanted::Leave);
            }
            tracing::debug!(signal, "signal without effect");
        }
        None
    }
}

impl Signals {
    /// Its `close` ends the wait from another thread, when there is nothing left to be ended.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.arriving.handle()
    }
}

#[cfg(test)]
mod tests {
    use signal_hook::low_level::raise;

    use super::*;

    /// The only test that may raise signals: they are the whole process's.
    #[test]
    fn one_reloads_first_drains_second_ends_others_do_nothing() {
        let mut signals = listen().unwrap();
        raise(SIGHUP).unwrap();
        assert_eq!(signals.next(), Some(Wanted::Reload));
        raise(SIGUSR1).unwrap();
        raise(SIGUSR2).unwrap();
        assert_eq!(signals.next(), Some(Wanted::Leave));
        raise(SIGTERM).unwrap();
        assert_eq!(signals.next(), Some(Wanted::Drain));
        raise(SIGUSR2).unwrap();
        raise(SIGINT).unwrap();
        assert_eq!(signals.next(), Some(Wanted::Now));
        signals.handle().close();
        assert_eq!(signals.next(), None);
    }
}
