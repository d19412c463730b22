//! When messages are to be sent in the open loop, whatever the server does.
//!
//! A schedule is fixed before the first message: what is late is sent late, never left out, and its latency counts
//! from the time it was due. That is what keeps a stall visible (no coordinated omission).

use roomcast::base::prng::Prng;

use crate::clock::{Nanos, SECOND};

/// How messages are spread in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrivals {
    /// Evenly.
    Even,
    /// At random with the same mean (exponential gaps), as many independent users would.
    Poisson,
}

/// The times of one thread's messages.
#[derive(Clone, Debug)]
pub struct Schedule {
    start: Nanos,
    /// Messages per second.
    rate: f64,
    /// Where this thread's even schedule begins, in gaps: threads do not send at the same instant.
    phase: f64,
    arrivals: Arrivals,
    prng: Prng,
    /// Messages taken so far.
    taken: u64,
    due: Nanos,
}

impl Schedule {
    /// `rate` messages per second from `start` on; `phase` of one gap is waited before the first.
    #[must_use]
    pub fn new(start: Nanos, rate: f64, phase: f64, arrivals: Arrivals, seed: u64) -> Schedule {
        assert!(rate > 0.0, "the options check the rate");
        let mut schedule =
            Schedule { start, rate, phase, arrivals, prng: Prng::new(seed), taken: 0, due: start };
        schedule.due = schedule.after(start);
        schedule
    }

    /// When the next message is due.
    #[must_use]
    pub fn due(&self) -> Nanos {
        self.due
    }

    /// Takes the next message if it is due, and says when it was.
    pub fn take(&mut self, now: Nanos) -> Option<Nanos> {
        if now < self.due {
            return None;
        }
        let due = self.due;
        self.taken += 1;
        self.due = self.after(due);
        Some(due)
    }

    /// When the message after one at `last` is due.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "runs last days at most, and a nanosecond is nothing"
    )]
    fn after(&mut self, last: Nanos) -> Nanos {
        match self.arrivals {
            // From the start and not from the last one, so that rounding does not add up.
            Arrivals::Even => {
                self.start + ((self.taken as f64 + self.phase) / self.rate * SECOND as f64) as Nanos
            }
            Arrivals::Poisson => {
                let uniform = (self.prng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
                last + (-(1.0 - uniform).ln() / self.rate * SECOND as f64) as Nanos
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MILLI;

    #[test]
    fn even_messages_do_not_drift_and_are_never_left_out() {
        let mut schedule = Schedule::new(100, 3000.0, 0.5, Arrivals::Even, 1);
        let mut dues = Vec::new();
        // The thread stalls for the whole second, and then catches up.
        while let Some(due) = schedule.take(100 + SECOND) {
            dues.push(due);
        }
        assert_eq!(dues.len(), 3000);
        assert_eq!(dues[0], 100 + SECOND / 6000);
        assert_eq!(dues[2999], 100 + SECOND / 6000 * 5999 + SECOND % 6000 * 5999 / 6000);
        assert!(schedule.take(100 + SECOND).is_none());
    }

    #[test]
    fn random_messages_have_the_same_rate_and_repeat_with_the_seed() {
        let run = |seed| {
            let mut schedule = Schedule::new(0, 10_000.0, 0.0, Arrivals::Poisson, seed);
            let mut dues = Vec::new();
            while let Some(due) = schedule.take(10 * SECOND) {
                dues.push(due);
            }
            dues
        };
        let dues = run(4);
        assert!((98_000..102_000).contains(&dues.len()), "{}", dues.len());
        assert!(dues.is_sorted());
        assert!(dues.windows(2).any(|pair| pair[1] - pair[0] > MILLI / 2), "gaps differ");
        assert_eq!(dues, run(4));
        assert_ne!(dues, run(5));
    }
}
