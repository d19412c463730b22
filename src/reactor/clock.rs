//! The two clocks of a reactor: one origin for all reactors, one system clock read per turn.
//!
//! Deadlines need the monotonic clock in each turn. Timestamps can do with less: what people call the time is carried
//! on by the monotonic clock and looked up now and then, as a turn that serves one message notices each look.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::base::clock::{Mono, Now, Wall};

/// Age up to which the system's time of day is carried on: so late a clock that is set shows in timestamps.
const WALL_AGE_MAX: Duration = Duration::from_millis(10);

/// See the module's page.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The kernel's monotonic clock when ours began, in microseconds.
    origin: u64,
    /// When the time of day was looked up.
    looked_up: Mono,
    /// What it was, since 1970.
    wall: Duration,
}

impl Clock {
    /// A clock that begins now.
    #[must_use]
    pub fn start() -> Clock {
        Clock { origin: monotonic_us(), looked_up: Mono(0), wall: time_of_day() }
    }

    /// The monotonic clock.
    #[must_use]
    pub fn mono(&self) -> Mono {
        Mono(monotonic_us().saturating_sub(self.origin))
    }

    /// Both clocks.
    #[must_use]
    pub fn now(&mut self) -> Now {
        let mono = self.mono();
        Now { mono, wall: self.wall_at(mono, time_of_day) }
    }

    fn wall_at(&mut self, mono: Mono, time_of_day: impl FnOnce() -> Duration) -> Wall {
        if mono.since(self.looked_up) > WALL_AGE_MAX {
            (self.looked_up, self.wall) = (mono, time_of_day());
        }
        let wall = self.wall + mono.since(self.looked_up);
        Wall(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The kernel's monotonic clock, in microseconds.
fn monotonic_us() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // Both parts are never negative on this clock.
    time.tv_sec.cast_unsigned() * 1_000_000 + time.tv_nsec.cast_unsigned() / 1000
}

/// Since 1970; zero before.
#[expect(clippy::disallowed_methods, reason = "the drivers read the clocks")]
fn time_of_day() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_is_carried_on_and_looked_up_when_it_is_old() {
        let mut clock = Clock { origin: 0, looked_up: Mono(0), wall: Duration::from_millis(1000) };
        let never = || panic!("not that old");
        assert_eq!(clock.wall_at(Mono(999), never), Wall(1000));
        assert_eq!(clock.wall_at(Mono(10_000), never), Wall(1010));
        assert_eq!(clock.wall_at(Mono(10_001), || Duration::from_millis(500)), Wall(500), "it was set back");
        assert_eq!(clock.wall_at(Mono(20_001), never), Wall(510));
    }

    #[test]
    fn both_clocks_are_those_of_the_system() {
        let mut clock = Clock::start();
        let (before, now, after) = (clock.mono(), clock.now(), clock.mono());
        assert!(before <= now.mono && now.mono <= after);
        assert!(now.wall.0 > 1_500_000_000_000, "after 2017");
    }
}
