//! Token bucket: so many at once, then so many per second, exact over any time.
//!
//! It counts debt, not tokens, in millionths of a token: a microsecond pays back exactly `per_second`
//! millionths, so nothing is ever rounded and nothing drifts. Reads no clock, holds no settings: both are
//! arguments, so that a connection pays 16 bytes for its bucket.

use std::time::Duration;

use crate::base::clock::Mono;

/// One token, in the unit of the debt.
const TOKEN: u64 = 1_000_000;

/// What the refusals of [`Bucket::draw`] may cost together, in time.
pub const PATIENCE: Duration = Duration::from_micros(PATIENCE_US);
/// The same in microseconds.
const PATIENCE_US: u64 = 2_000_000;
/// Refusals that are no persistence yet, however small the burst is.
pub const REFUSALS_MIN: u32 = 100;

/// What one sender has used up. The default is a full bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// Tokens taken and not yet paid back at `at`, in millionths; at most the burst and what refusals cost.
    debt: u64,
    /// When `debt` was computed.
    at: Mono,
}

impl Bucket {
    /// Takes one token, or says how long to wait until one is there.
    ///
    /// `burst` tokens fit in the bucket (0 counts as 1, or nothing would ever pass), `per_second` flow in.
    /// A take after exactly the wait succeeds if nobody else took in between.
    ///
    /// # Errors
    /// The wait, rounded up to a microsecond; `Duration::MAX` if nothing flows in.
    pub fn take(&mut self, now: Mono, per_second: u32, burst: u32) -> Result<(), Duration> {
        let paid = now.0.saturating_sub(self.at.0).saturating_mul(u64::from(per_second));
        let size = u64::from(burst.max(1)) * TOKEN;
        // The burst may have been lowered since the last take; the debt of the old one is forgiven.
        self.debt = self.debt.saturating_sub(paid).min(size);
        self.at = self.at.max(now);
        let wanted = self.debt + TOKEN;
        if wanted <= size {
            self.debt = wanted;
            return Ok(());
        }
        if per_second == 0 {
            return Err(Duration::MAX);
        }
        Err(Duration::from_micros((wanted - size).div_ceil(u64::from(per_second))))
    }

    /// Takes `tokens` at once, or says how long to wait and whether patience is at an end.
    ///
    /// A refusal is not free: the debt grows a little beyond the burst, so whoever goes on without waiting waits
    /// longer, up to [`PATIENCE`]. After [`REFUSALS_MIN`] refusals or the burst, whichever is more, on top of what was
    /// paid back meanwhile, it is persistent. More tokens than the bucket holds are taken from a full one.
    ///
    /// # Errors
    /// What is missing; nothing was taken then.
    #[inline]
    pub fn draw(&mut self, now: Mono, per_second: u32, burst: u32, tokens: u32) -> Result<(), Dry> {
        let paid = now.0.saturating_sub(self.at.0).saturating_mul(u64::from(per_second));
        let size = u64::from(burst.max(1)) * TOKEN;
        self.debt = self.debt.saturating_sub(paid);
        self.at = self.at.max(now);
        let wanted = self.debt + u64::from(tokens.min(burst.max(1))) * TOKEN;
        if wanted <= size {
            self.debt = wanted;
            return Ok(());
        }
        let worst = PATIENCE_US * u64::from(per_second);
        let step = worst / u64::from(burst.max(REFUSALS_MIN));
        let persistent = self.debt + step > size + worst;
        self.debt = (self.debt + step).min(size + worst);
        let wait = (wanted + step - size).div_ceil(u64::from(per_second.max(1)));
        Err(Dry { wait: Duration::from_micros(wait), persistent })
    }
}

/// For those who keep a bucket in another form, or many of them.
impl Bucket {
    /// A bucket of this debt, in millionths of a token, at this time.
    #[inline]
    #[must_use]
    pub fn from_parts(debt: u64, at: Mono) -> Bucket {
        Bucket { debt, at }
    }

    /// The debt, in millionths of a token, and its time.
    #[inline]
    #[must_use]
    pub fn parts(self) -> (u64, Mono) {
        (self.debt, self.at)
    }

    /// Whole tokens that are left of a burst.
    #[must_use]
    pub fn left(self, burst: u32) -> u32 {
        u32::try_from((u64::from(burst.max(1)) * TOKEN).saturating_sub(self.debt) / TOKEN).unwrap_or(u32::MAX)
    }

    /// When the debt is paid back.
    #[must_use]
    pub fn clear_at(self, per_second: u32) -> Mono {
        self.at + Duration::from_micros(self.debt.div_ceil(u64::from(per_second.max(1))))
    }
}

/// Why nothing could be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dry {
    /// Until then; a draw after it succeeds if there was none in between.
    pub wait: Duration,
    /// So many were refused that no more will be.
    pub persistent: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bucket_is_two_words() {
        assert!(size_of::<Bucket>() <= 16);
    }

    #[test]
    fn burst_then_steady_rate() {
        let mut bucket = Bucket::default();
        let start = Mono(5_000_000);
        for _ in 0..10 {
            assert_eq!(bucket.take(start, 4, 10), Ok(()));
        }
        let wait = Duration::from_millis(250);
        assert_eq!(bucket.take(start, 4, 10), Err(wait));
        assert_eq!(
            bucket.take(start + wait - Duration::from_micros(1), 4, 10),
            Err(Duration::from_micros(1))
        );
        assert_eq!(bucket.take(start + wait, 4, 10), Ok(()));
        // A long silence fills it again, and not beyond the burst.
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..20).filter(|_| bucket.take(later, 4, 10).is_ok()).count(), 10);
    }

    #[test]
    fn odd_rates_do_not_drift_in_a_day() {
        let (mut bucket, mut taken, mut now) = (Bucket::default(), 0u64, Mono(0));
        let day = Mono(86_400 * 1_000_000);
        while now < day {
            match bucket.take(now, 7, 2) {
                Ok(()) => taken += 1,
                Err(wait) => now = now + wait,
            }
        }
        // A seventh of a second is no whole number of microseconds, yet the fractions carry over.
        assert_eq!(taken, 86_400 * 7 + 1);
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(Mono(0), 0, 0), Ok(()), "a burst of zero counts as one");
        assert_eq!(bucket.take(Mono(u64::MAX), 0, 0), Err(Duration::MAX));
        assert_eq!(bucket.take(Mono(u64::MAX), u32::MAX, u32::MAX), Ok(()));
        assert_eq!(bucket.take(Mono(3), u32::MAX, 1), Err(Duration::from_micros(1)), "time never goes back");
    }

    #[test]
    fn refusals_cost_a_little_and_end_patience() {
        let (mut bucket, now) = (Bucket::default(), Mono(7));
        for _ in 0..400 {
            assert_eq!(bucket.draw(now, 200, 400, 1), Ok(()));
        }
        let first = bucket.draw(now, 200, 400, 1).unwrap_err();
        assert_eq!(first, Dry { wait: Duration::from_millis(10), persistent: false });
        assert_eq!({ bucket }.draw(now + first.wait, 200, 400, 1), Ok(()), "who waits goes on");
        let mut refused = 1;
        while !bucket.draw(now, 200, 400, 1).unwrap_err().persistent {
            refused += 1;
        }
        assert_eq!(refused, 400);
        let last = bucket.draw(now, 200, 400, 1).unwrap_err();
        assert!(last.wait <= PATIENCE + Duration::from_millis(10), "{last:?}");
        assert_eq!(bucket.draw(now + last.wait, 200, 400, 1), Ok(()));
        // However small the bucket is, some refusals are allowed for, and the wait stays short.
        let mut small = Bucket::default();
        assert_eq!(small.draw(now, 1, 1, 1), Ok(()));
        let waits = (1..REFUSALS_MIN).map(|_| small.draw(now, 1, 1, 1).unwrap_err());
        assert!(waits.into_iter().all(|dry| !dry.persistent && dry.wait <= Duration::from_secs(4)));
        assert!((0..2).any(|_| small.draw(now, 1, 1, 1).unwrap_err().persistent));
    }

    #[test]
    fn what_is_large_costs_more_and_passes_a_full_bucket() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.draw(Mono(0), 10, 20, 500), Ok(()), "more than it holds empties it");
        let dry = bucket.draw(Mono(0), 10, 20, 5).unwrap_err();
        assert_eq!(bucket.draw(Mono(0) + dry.wait, 10, 20, 5), Ok(()));
        assert_eq!(Bucket::default().draw(Mono(u64::MAX), u32::MAX, u32::MAX, u32::MAX), Ok(()));
    }

    proptest! {
        /// Against the definition: any window of time lets at most `burst` and what flowed in pass, and a
        /// wait is the shortest that helps.
        #[test]
        fn never_more_than_burst_and_inflow(
            per_second in 1..50_000u32, burst in 1..100u32, steps in prop::collection::vec(0..40_000u64, 1..300),
        ) {
            let (mut bucket, mut now) = (Bucket::default(), Mono(0));
            let mut passed: Vec<Mono> = Vec::new();
            for step in steps {
                now = now + Duration::from_micros(step);
                match bucket.take(now, per_second, burst) {
                    Ok(()) => passed.push(now),
                    Err(wait) => {
                        let (mut early, mut due) = (bucket, bucket);
                        let just_before = now + wait - Duration::from_micros(1);
                        prop_assert!(early.take(just_before, per_second, burst).is_err());
                        prop_assert!(due.take(now + wait, per_second, burst).is_ok());
                    }
                }
            }
            for (first, &start) in passed.iter().enumerate() {
                for (last, &end) in passed.iter().enumerate().skip(first) {
                    let count = (last - first + 1) as u128;
                    let inflow = u128::from(end.0 - start.0) * u128::from(per_second);
                    prop_assert!(count * 1_000_000 <= u128::from(burst) * 1_000_000 + inflow);
                }
            }
        }
    }
}
