//! The one clock that all threads of a run share.
//!
//! Everything else in this program takes time as a number; this file is where it comes from.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the run's clock was made.
pub type Nanos = u64;

/// One second, millisecond and microsecond.
pub const SECOND: Nanos = 1_000_000_000;
/// One millisecond.
pub const MILLI: Nanos = 1_000_000;
/// One microsecond.
pub const MICRO: Nanos = 1_000;

/// Counts from the moment it was made; copies count from the same moment.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place of this program that reads the clock")]
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// Time since the start.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Nanos {
        nanos(self.0.elapsed())
    }
}

/// A duration as a number; 584 years at most.
#[must_use]
pub fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A number of nanoseconds as seconds, for people.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / SECOND as f64
}

/// Milliseconds since 1970, for the head of a report.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place of this program that reads the clock")]
pub fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
