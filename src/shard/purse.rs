//! What a connection may still send, of its own and of its user's: two counts in the sixteen bytes of one bucket.
//!
//! Of its user's it has what it drew from the [`Ledger`](crate::shard::ledger::Ledger) and has not sent, or how often
//! that has said no. Asks nobody itself.

use crate::base::bucket::{Bucket, Dry, REFUSALS_MIN};
use crate::base::clock::Mono;
use crate::shard::ledger::PORTION_MAX;
use crate::shard::limits::Rate;

/// The bits of [`Purse::word`] that hold the bucket's debt: rates and bursts end at a million, in millionths, and
/// refusals cost no more than twice that on top.
const DEBT_BITS: u32 = 48;
const DEBT: u64 = (1 << DEBT_BITS) - 1;
/// The rest of it: how many of the user's tokens are left, or with this bit, how often none was given.
const REFUSED: u64 = 1 << 15;
const _: () = assert!((PORTION_MAX as u64) < REFUSED && DEBT_BITS + 16 == u64::BITS);

/// See the module's page. The default is that of a connection that has sent nothing, and so asks the ledger first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Purse {
    /// The connection's debt, and above it what concerns the ledger.
    word: u64,
    at: Mono,
}

impl Purse {
    /// As [`Bucket::draw`], for the connection itself.
    #[inline]
    pub(crate) fn draw(&mut self, now: Mono, rate: Rate, tokens: u32) -> Result<(), Dry> {
        let mut bucket = Bucket::from_parts(self.word & DEBT, self.at);
        let drawn = bucket.draw(now, rate.per_second, rate.burst, tokens);
        let (debt, at) = bucket.parts();
        (self.word, self.at) = (self.word & !DEBT | debt.min(DEBT), at);
        drawn
    }

    /// Spends `tokens` of what was drawn for the user. False if there are too few, and the ledger has to be asked.
    #[inline]
    pub(crate) fn spend(&mut self, tokens: u32) -> bool {
        let left = self.word >> DEBT_BITS;
        if left < u64::from(tokens) || left >= REFUSED {
            return false;
        }
        self.word -= u64::from(tokens) << DEBT_BITS;
        true
    }

    /// The ledger was asked for a message, and gave so many tokens beyond it, or none. One refusal is nobody's end: who
    /// shares a user with somebody loud may have sent this one message. So a connection is persistent only if its user
    /// is, and if it was itself refused [`REFUSALS_MIN`] times in a row.
    pub(crate) fn asked(&mut self, drawn: Result<u32, Dry>) -> Result<(), Dry> {
        let before = self.word >> DEBT_BITS;
        let refused = before.saturating_sub(REFUSED);
        let keep = |purse: &mut Purse, count: u64| purse.word = purse.word & DEBT | count << DEBT_BITS;
        match drawn {
            Ok(more) => {
                keep(self, more.into());
                Ok(())
            }
            Err(Dry { wait, persistent }) => {
                let refused = (refused + 1).min(REFUSALS_MIN.into());
                keep(self, REFUSED + refused);
                Err(Dry { wait, persistent: persistent && refused == u64::from(REFUSALS_MIN) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::base::hash::Keys;
    use crate::shard::ledger::Ledger;

    const RATE: Rate = Rate { per_second: 100, burst: 320 };

    #[test]
    fn is_no_larger_than_a_bucket_and_counts_like_one() {
        assert_eq!(size_of::<Purse>(), size_of::<Bucket>());
        let (mut purse, mut bucket) = (Purse::default(), Bucket::default());
        let most = Rate { per_second: 1_000_000, burst: 1_000_000 };
        for (step, rate) in (0..4000u64).zip([RATE, most].into_iter().cycle()) {
            let (now, tokens) = (Mono(step * 700), 1 + (step % 900) as u32 * 40);
            let given = if step % 3 == 0 {
                Ok(PORTION_MAX)
            } else {
                Err(Dry { wait: Duration::ZERO, persistent: true })
            };
            let _ = purse.asked(given);
            let drawn = bucket.draw(now, rate.per_second, rate.burst, tokens);
            assert_eq!(purse.draw(now, rate, tokens), drawn, "{step}");
        }
    }

    #[test]
    fn the_ledger_is_asked_first_and_then_when_all_is_spent() {
        let mut purse = Purse::default();
        assert!(!purse.spend(1), "a newcomer asks");
        assert_eq!(purse.asked(Ok(20)), Ok(()));
        assert!(purse.spend(5) && !purse.spend(16) && purse.spend(15) && !purse.spend(1));
        assert_eq!(purse.asked(Ok(0)), Ok(()));
        assert!(!purse.spend(1));
    }

    #[test]
    fn only_who_was_refused_often_is_persistent() {
        let mut purse = Purse::default();
        let dry = |persistent| Dry { wait: Duration::from_millis(3), persistent };
        for _ in 1..REFUSALS_MIN {
            assert_eq!(purse.asked(Err(dry(true))), Err(dry(false)));
            assert!(!purse.spend(1), "who was refused asks again");
        }
        assert_eq!(purse.asked(Err(dry(false))), Err(dry(false)), "the user is not at its end");
        assert_eq!(purse.asked(Err(dry(true))), Err(dry(true)));
        assert_eq!(purse.asked(Ok(0)), Ok(()));
        assert_eq!(purse.asked(Err(dry(true))), Err(dry(false)), "who was heard begins anew");
    }

    proptest! {
        /// The bound that the documentation gives: in any time no more than the burst, what flowed in, and a sixteenth
        /// of the burst for each connection.
        #[test]
        fn connections_together_are_a_portion_each_ahead_at_most(
            count in 1..6usize, steps in prop::collection::vec((0..6usize, 0..20_000u64, 1..5u32), 1..600),
        ) {
            let ledger = Ledger::new(Keys::new([1; 16]));
            let rate = Rate { per_second: 200, burst: 64 };
            let mut purses = vec![Purse::default(); count];
            let (mut now, mut passed) = (Mono(1_000_000), Vec::new());
            for (which, pause, tokens) in steps {
                now = now + Duration::from_micros(pause);
                let purse = &mut purses[which % count];
                if purse.spend(tokens) || purse.asked(ledger.draw("u", now, rate, tokens)).is_ok() {
                    passed.push((now, tokens));
                }
            }
            let ahead = count as u64 * u64::from(rate.burst / 16);
            for (first, (start, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (end, tokens) in &passed[first..] {
                    sum += u64::from(*tokens);
                    let inflow = (end.0 - start.0) * u64::from(rate.per_second) / 1_000_000;
                    prop_assert!(sum <= u64::from(rate.burst) + inflow + ahead + 1, "{sum}");
                }
            }
        }
    }
}
