//! Ends a sleep more exactly than epoll's timeout, which counts whole milliseconds.
//!
//! One timer descriptor in the reactor's poll. Set only for the end of a window, where half a millisecond matters, and
//! only when that has moved: one system call for each window. Where the kernel has no such descriptor there is nothing
//! to do, as kqueue's timeout is exact.

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
        /// What it is set to.
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

        /// Ends a sleep at `due`; asks for the time only if that is news.
        pub(in crate::reactor) fn set(&mut self, due: Mono, now: impl FnOnce() -> Mono) {
            if self.due.replace(due) == Some(due) {
                return;
            }
            // Zero would switch it off.
            let ahead = due.since(now()).max(Duration::from_nanos(1));
            let (zero, ahead) = (Timespec::default(), Timespec::try_from(ahead).unwrap_or_default());
            let once = Itimerspec { it_interval: zero, it_value: ahead };
            // Should it fail, the poll's own timeout ends the sleep, a little later.
            let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod none {
    use std::io;

    use mio::{Registry, Token};

    use crate::base::clock::Mono;

    pub(in crate::reactor) struct Alarm;

    impl Alarm {
        pub(in crate::reactor) fn new(_: &Registry, _: Token) -> io::Result<Alarm> {
            Ok(Alarm)
        }

        pub(in crate::reactor) fn set(&mut self, _: Mono, _: impl FnOnce() -> Mono) {}
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use mio::{Events, Poll, Token};

    use super::Alarm;
    use crate::base::clock::Mono;

    #[test]
    fn every_setting_wakes_once() {
        let mut poll = Poll::new().unwrap();
        let mut alarm = Alarm::new(poll.registry(), Token(7)).unwrap();
        let mut events = Events::with_capacity(4);
        for due in [5, 900, 1300] {
            alarm.set(Mono(due), || Mono(due - 1));
            poll.poll(&mut events, None).unwrap();
            assert!(events.iter().any(|event| event.token() == Token(7)), "due {due}");
        }
        alarm.set(Mono(1300), || panic!("nothing new, so nobody asks for the time"));
        alarm.set(Mono(1200), || Mono(1400));
        poll.poll(&mut events, None).unwrap();
        assert!(!events.is_empty(), "what is overdue wakes at once");
    }
}
