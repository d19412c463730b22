//! How loaded a shard is: the smoothed time of its turns, against a mark.

use std::time::Duration;

use crate::base::clock::Mono;
use crate::base::id::Key;

/// Turns count for the mean by this part each.
const SMOOTHING: u32 = 8;

/// How loaded a shard is, and who is held for it.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// The time of a turn, smoothed.
    mean: Duration,
    /// The mean is above the mark, or was and is still above half of it.
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
    /// Takes the time of a turn. What has changed by it, if something has.
    pub(crate) fn take(&mut self, turn: Duration, high: Duration) -> Option<Turned> {
        self.mean = self.mean - self.mean / SMOOTHING + turn / SMOOTHING;
        if !self.is_over && self.mean > high {
            self.is_over = true;
            return Some(Turned::Over);
        }
        if self.is_over && self.mean < high / 2 {
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
}
