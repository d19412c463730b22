//! How loaded a shard is: the smoothed time of its turns, and the age of its mail, against a mark.
//!
//! Takes no time itself, and holds nobody.

use std::time::Duration;

use crate::base::clock::Mono;
use crate::base::id::Key;

/// Turns count for the mean by this part each.
const SMOOTHING: u32 = 8;
/// Mail may be so many times older than a turn is long: it waits for the turn of its sender and of its receiver.
const TURNS_OF_MAIL: u32 = 2;
/// A mean age that is none any more.
const MAIL_NOTHING: Duration = Duration::from_micros(1);

/// How loaded a shard is, and who is held for it.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// The time of a turn, smoothed.
    mean: Duration,
    /// The age of the oldest mail that a turn found, smoothed.
    mail_mean: Duration,
    /// The same of this turn, as far as it is known.
    mail: Duration,
    /// What the shard owes itself and did not get to: so much is still to be done until what waited longest is, and
    /// since when it waits.
    own: Option<(usize, Mono)>,
    /// A mean is above its mark, or was and one is still above half of it.
    pub(crate) is_over: bool,
    /// Who brought most in this turn, and how much.
    pub(crate) loud: Vec<(usize, Key)>,
    /// Who is held until when, in order.
    pub(crate) held: Vec<(Mono, Key)>,
}

/// What a change of load means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    /// The shard is overloaded from now on.
    Over,
    /// It is no more.
    Relieved,
}

impl Load {
    /// Mail was found that is so old.
    #[inline]
    pub(crate) fn note_mail(&mut self, age: Duration) {
        self.mail = self.mail.max(age);
    }

    /// Of what the shard owes itself, `done` was done in this turn, and `left` are left.
    #[inline]
    pub(crate) fn note_own(&mut self, done: usize, left: usize, now: Mono) {
        if let Some((ahead, since)) = self.own {
            self.note_mail(now.since(since));
            self.own = ahead.checked_sub(done).filter(|ahead| *ahead > 0).map(|ahead| (ahead, since));
        }
        if self.own.is_none() && left > 0 {
            self.own = Some((left, now));
        }
    }

    /// The age of the oldest mail that this turn found.
    #[inline]
    pub(crate) fn mail_age(&self) -> Duration {
        self.mail
    }

    /// Takes the time of a turn, and the age of its mail. What has changed by it, if something has.
    pub(crate) fn take(&mut self, turn: Duration, high: Duration) -> Option<Turned> {
        self.mean = self.mean - self.mean / SMOOTHING + turn / SMOOTHING;
        let (mut mean, mail) = (self.mean, std::mem::take(&mut self.mail));
        // To divide is dear, and where there is one shard there is mostly nothing.
        if mail > Duration::ZERO || self.mail_mean > MAIL_NOTHING {
            self.mail_mean = self.mail_mean - self.mail_mean / SMOOTHING + mail / SMOOTHING;
            mean = mean.max(self.mail_mean / TURNS_OF_MAIL);
        }
        if !self.is_over && mean > high {
            self.is_over = true;
            return Some(Turned::Over);
        }
        if self.is_over && mean < high / 2 {
            self.is_over = false;
            return Some(Turned::Relieved);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_long_turns_are_no_overload_and_its_end_is_clear() {
        let (mut load, high) = (Load::default(), Duration::from_millis(50));
        assert_eq!(load.take(Duration::from_millis(300), high), None, "one may be long");
        let long = || Duration::from_millis(80);
        let turned: Vec<_> = (0..20).filter_map(|_| load.take(long(), high)).collect();
        assert_eq!((turned, load.is_over), (vec![Turned::Over], true), "said once");
        assert_eq!(load.take(Duration::from_millis(40), high), None, "not yet");
        let turned: Vec<_> = (0..20).filter_map(|_| load.take(Duration::ZERO, high)).collect();
        assert_eq!((turned, load.is_over), (vec![Turned::Relieved], false));
    }

    #[test]
    fn old_mail_is_overload_however_short_turns_are() {
        let (mut load, high) = (Load::default(), Duration::from_millis(50));
        let mut turn = |age| {
            load.note_mail(Duration::from_millis(age));
            load.take(Duration::from_millis(1), high)
        };
        assert!((0..100).all(|_| turn(99).is_none()), "mail waits for two turns");
        assert_eq!(turn(900), Some(Turned::Over));
        let turned: Vec<_> = (0..30).filter_map(|_| turn(0)).collect();
        assert_eq!(turned, [Turned::Relieved]);
    }

    #[test]
    fn what_a_shard_owes_itself_gets_old_as_well() {
        let mut load = Load::default();
        let mut age = |done, left, now| {
            load.note_own(done, left, Mono(now));
            std::mem::take(&mut load.mail)
        };
        assert_eq!(age(5, 0, 10), Duration::ZERO, "all is done");
        assert_eq!(age(5, 7, 20), Duration::ZERO, "seven wait from now on");
        assert_eq!(age(5, 9, 30), Duration::from_micros(10), "of which two are left");
        assert_eq!(age(2, 20, 40), Duration::from_micros(20), "and now others, from now on");
        assert_eq!(age(20, 0, 50), Duration::from_micros(10));
        assert_eq!(age(0, 0, 60), Duration::ZERO);
    }
}
