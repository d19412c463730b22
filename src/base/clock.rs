//! Points in time, carried and compared; reading a clock is the drivers' job.
//!
//! Two clocks that must not be confused: [`Mono`] never goes back and decides deadlines, [`Wall`] is
//! what people read in timestamps.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Monotonic time in microseconds since the process (or the simulation) began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall(pub u64);

/// Both clocks, read together once a turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Decides deadlines.
    pub mono: Mono,
    /// Is written into timestamps.
    pub wall: Wall,
}

impl Mono {
    /// Later than anything that is ever due: where the sums below end.
    pub const NEVER: Mono = Mono(u64::MAX);

    /// The earlier of two that may not come at all. Each turn asks this often: a list and its iterator cost six times
    /// as much.
    #[inline]
    #[must_use]
    pub fn earlier(one: Option<Mono>, other: Option<Mono>) -> Option<Mono> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Time passed since `earlier`; zero if `earlier` lies ahead.
    #[must_use]
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;

    fn add(self, delay: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Mono {
    type Output = Mono;

    fn sub(self, delay: Duration) -> Mono {
        Mono(self.0.saturating_sub(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Mono(5).since(Mono(9)), Duration::ZERO);
        assert_eq!(Mono(5) + Duration::MAX, Mono(u64::MAX));
        assert_eq!(Mono(5) - Duration::from_secs(1), Mono(0));
        assert_eq!((Mono(1) + Duration::from_millis(2)).since(Mono(1)), Duration::from_millis(2));
    }

    #[test]
    fn the_earlier_is_the_one_that_comes() {
        let (soon, late) = (Some(Mono(1)), Some(Mono(2)));
        for (one, other, earlier) in [
            (soon, late, soon),
            (late, soon, soon),
            (late, None, late),
            (None, soon, soon),
            (None, None, None),
        ] {
            assert_eq!(Mono::earlier(one, other), earlier);
        }
    }
}
