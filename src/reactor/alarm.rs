//! Ends a sleep: exactly, and without a timer of the kernel's being set up and torn down for every message.
//!
//! A timeout given to epoll counts whole milliseconds and costs a timer on each call. So one timer descriptor stands in
//! the reactor's poll. It is set when the next deadline comes closer, which is rare, and may ring too early, which does
//! no harm: a turn finds nothing to do. Elsewhere than on Linux the poll's own timeout ends the sleep.

#[cfg(target_os = "linux")]
pub(super) use self::linux::Alarm;
#[cfg(not(target_os = "linux"))]
pub(super) use self::none::Alarm;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    use crate::base::clock::Mono;

    pub(in crate::reactor) struct Alarm {
        timer: OwnedFd,
        /// When it rings; none = it is not set.
        due: Option<Mono>,
    }

    impl Alarm {
        /// An alarm that wakes the poll of `registry` with `token`. It is never read: each expiry is a new edge.
        pub(in crate::reactor) fn new(registry: &Registry, token: Token) -> io::Result<Alarm> {
            let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Alarm { timer, due: None })
        }

        /// Ends the coming sleep at `due` at the latest. Returns the timeout for the poll: none, unless that has to do it.
        pub(in crate::reactor) fn set(&mut self, due: Mono, now: impl FnOnce() -> Mono) -> Option<Duration> {
            if self.due.is_some_and(|set| set <= due) {
                return None;
            }
            // Zero would switch it off.
            let ahead = due.since(now()).max(Duration::from_nanos(1));
            let once = Itimerspec {
                it_interval: Timespec::default(),
                it_value: Timespec::try_from(ahead).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 }),
            };
            match timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once) {
                Ok(_) => {
                    self.due = Some(due);
                    None
                }
                Err(_) => Some(ahead),
            }
        }

        /// It woke the poll.
        pub(in crate::reactor) fn rang(&mut self) {
            self.due = None;
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod none {
    use std::io;
    use std::time::Duration;

    use mio::{Registry, Token};

    use crate::base::clock::Mono;

    pub(in crate::reactor) struct Alarm;

    impl Alarm {
        pub(in crate::reactor) fn new(_: &Registry, _: Token) -> io::Result<Alarm> {
            Ok(Alarm)
        }

        pub(in crate::reactor) fn set(&mut self, due: Mono, now: impl FnOnce() -> Mono) -> Option<Duration> {
            Some(due.since(now()))
        }

        pub(in crate::reactor) fn rang(&mut self) {}
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use mio::{Events, Poll, Token};

    use super::Alarm;
    use crate::base::clock::Mono;

    #[test]
    fn rings_once_for_the_closest_deadline() {
        let mut poll = Poll::new().unwrap();
        let mut alarm = Alarm::new(poll.registry(), Token(7)).unwrap();
        let mut events = Events::with_capacity(4);
        for (due, now) in [(5, 4), (900, 899), (1300, 1400)] {
            assert_eq!(alarm.set(Mono(due), || Mono(now)), None);
            assert_eq!(
                alarm.set(Mono(due + 1), || panic!("it rings sooner, so nobody asks for the time")),
                None
            );
            poll.poll(&mut events, None).unwrap();
            assert!(events.iter().any(|event| event.token() == Token(7)), "due {due}");
            alarm.rang();
        }
        const HOUR_US: u64 = 3_600_000_000;
        assert_eq!(alarm.set(Mono(HOUR_US), || Mono(0)), None);
        assert_eq!(alarm.set(Mono(10), || Mono(0)), None, "a deadline that comes closer");
        poll.poll(&mut events, None).unwrap();
        assert!(!events.is_empty());
    }
}
