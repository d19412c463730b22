//! How long mail waits in a lane: the sender marks one piece at a time, and both sides look how old the mark is.
//!
//! One mark under way per lane, so a piece of mail costs an addition and no look at a clock. As lanes are first in,
//! first out, what is marked is as old as anything before it at least. Reads no clock; a time of 0 is none.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::base::clock::Mono;

/// The mark of one lane.
#[derive(Debug, Default)]
pub(super) struct Postmark {
    /// How many pieces had been sent when the marked one was, itself included; 0 = none is marked.
    number: AtomicU64,
    /// When that was, in microseconds.
    at: AtomicU64,
}

impl Postmark {
    /// The sender has sent so many pieces, the last of them at `now`: that is marked, if none is.
    pub(super) fn mark(&self, sent: u64, now: Mono) {
        if self.number.load(Ordering::Acquire) == 0 {
            self.at.store(now.0, Ordering::Relaxed);
            self.number.store(sent, Ordering::Release);
        }
    }

    /// How long the marked piece has been under way; nothing if none is.
    pub(super) fn age(&self, now: Mono) -> Duration {
        if self.number.load(Ordering::Acquire) == 0 {
            return Duration::ZERO;
        }
        now.since(Mono(self.at.load(Ordering::Relaxed)))
    }

    /// The same for the receiver, who has taken so many pieces: if the marked one is among them, another may be.
    pub(super) fn look(&self, taken: u64, now: Mono) -> Duration {
        let age = self.age(now);
        let number = self.number.load(Ordering::Relaxed);
        if number != 0 && number <= taken {
            self.number.store(0, Ordering::Release);
        }
        age
    }
}
