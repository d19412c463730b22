//! The books of one subscriber: each message once, in its sender's order, and what of that did not hold.
//!
//! The good case is one comparison; everything else may be slow. Knows numbers only, neither bytes nor time.

use serde::{Deserialize, Serialize};

/// What was wrong, summed over subscribers. All zeros is the only good result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Messages that never came.
    pub holes: u64,
    /// Messages that came again.
    pub duplicates: u64,
    /// Messages that came after a later one of the same sender.
    pub disorder: u64,
    /// Messages whose content was not what was sent.
    pub corrupt: u64,
    /// Deliveries whose `offset` was not the one after the last.
    pub offset_breaks: u64,
    /// Members that saw another order of senders than the first member of their room.
    pub divergent: u64,
    /// Deliveries to who had left.
    pub uninvited: u64,
}

impl Faults {
    /// Adds those of another thread.
    pub fn add(&mut self, other: &Faults) {
        self.holes += other.holes;
        self.duplicates += other.duplicates;
        self.disorder += other.disorder;
        self.corrupt += other.corrupt;
        self.offset_breaks += other.offset_breaks;
        self.divergent += other.divergent;
        self.uninvited += other.uninvited;
    }

    /// Whether nothing was wrong.
    #[must_use]
    pub fn none(&self) -> bool {
        *self == Faults::default()
    }
}

/// What one subscriber has of one sender.
#[derive(Clone, Debug, Default)]
pub struct Track {
    /// The number that should come next.
    next: u32,
    /// Ranges below `next` that have not come: start and end, in ascending order. Empty in the good case.
    missing: Vec<(u32, u32)>,
}

/// Stands for "whichever comes first"; no sender gets that far.
const UNKNOWN: u32 = u32::MAX;

impl Track {
    /// A subscriber that came later, and whose first message may have any number.
    #[must_use]
    pub fn unknown() -> Track {
        Track { next: UNKNOWN, missing: Vec::new() }
    }

    /// Whether the last of `count` messages has come, so that no other can come any more.
    #[must_use]
    pub fn has_last(&self, count: u32) -> bool {
        self.next != UNKNOWN && self.next >= count
    }

    /// Takes note of message `number`; whether it is the first time that it came.
    #[inline]
    pub fn take(&mut self, number: u32, faults: &mut Faults) -> bool {
        if number == self.next {
            self.next = number.wrapping_add(1);
            return true;
        }
        self.take_odd(number, faults)
    }

    #[cold]
    fn take_odd(&mut self, number: u32, faults: &mut Faults) -> bool {
        if self.next == UNKNOWN {
            self.next = number.wrapping_add(1);
            return true;
        }
        if number > self.next {
            self.missing.push((self.next, number));
            self.next = number.wrapping_add(1);
            return true;
        }
        let Some(at) = self.missing.iter().position(|(start, end)| (*start..*end).contains(&number)) else {
            faults.duplicates += 1;
            return false;
        };
        faults.disorder += 1;
        let (start, end) = self.missing.remove(at);
        if number + 1 < end {
            self.missing.insert(at, (number + 1, end));
        }
        if start < number {
            self.missing.insert(at, (start, number));
        }
        true
    }

    /// Closes the books: the sender has sent messages up to, not including, `end`.
    pub fn close(&self, end: u32, faults: &mut Faults) {
        if self.next == UNKNOWN {
            return;
        }
        faults.holes += self.inner_holes() + u64::from(end.saturating_sub(self.next));
        // More than was sent: nobody can have sent it.
        faults.corrupt += u64::from(self.next.saturating_sub(end));
    }

    /// Messages that have not come though a later one of the same sender has.
    #[must_use]
    pub fn inner_holes(&self) -> u64 {
        self.missing.iter().map(|(start, end)| u64::from(end - start)).sum()
    }

    /// The number that should come next.
    #[must_use]
    pub fn next(&self) -> u32 {
        self.next
    }
}

/// The order that one subscriber saw, as one number: equal for equal sequences, and practically only then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain(u64);

impl Chain {
    /// Adds one message at the end.
    #[inline]
    pub fn push(&mut self, sender: u32, number: u32) {
        let link = u64::from(sender) << 32 | u64::from(number);
        // Odd multiplier and a rotation: the place of each link matters.
        self.0 = (self.0.rotate_left(23) ^ link).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(numbers: &[u32], end: u32) -> Faults {
        let (mut track, mut faults) = (Track::default(), Faults::default());
        for number in numbers {
            track.take(*number, &mut faults);
        }
        track.close(end, &mut faults);
        faults
    }

    #[test]
    fn a_good_run_has_no_faults() {
        assert!(check(&[0, 1, 2, 3], 4).none());
        assert!(check(&[], 0).none());
    }

    #[test]
    fn planted_faults_are_found() {
        let none = Faults::default();
        assert_eq!(check(&[0, 1, 3], 4), Faults { holes: 1, ..none });
        assert_eq!(check(&[2, 3], 4), Faults { holes: 2, ..none });
        assert_eq!(check(&[0, 1], 4), Faults { holes: 2, ..none }, "the end is missing");
        assert_eq!(check(&[0, 1, 1, 2, 3], 4), Faults { duplicates: 1, ..none });
        assert_eq!(check(&[0, 2, 1, 3], 4), Faults { disorder: 1, ..none });
        assert_eq!(check(&[0, 4, 2, 1, 3, 2], 5), Faults { disorder: 3, duplicates: 1, ..none });
        assert_eq!(check(&[5, 2, 2], 6), Faults { holes: 4, disorder: 1, duplicates: 1, ..none });
        assert_eq!(check(&[0, 1, 2], 2), Faults { corrupt: 1, ..none }, "more than was sent");
    }

    #[test]
    fn who_comes_later_begins_later() {
        let (mut track, mut faults) = (Track::unknown(), Faults::default());
        track.close(9, &mut faults);
        assert!(faults.none(), "nothing is known to be missing");
        for number in [5, 6, 8] {
            track.take(number, &mut faults);
        }
        assert_eq!(track.inner_holes(), 1, "where the end is not known, its holes are all the same");
        track.close(9, &mut faults);
        assert_eq!(faults, Faults { holes: 1, ..Faults::default() });
    }

    #[test]
    fn chains_tell_orders_apart() {
        let chain = |links: &[(u32, u32)]| {
            let mut chain = Chain::default();
            links.iter().for_each(|(sender, number)| chain.push(*sender, *number));
            chain
        };
        assert_eq!(chain(&[(1, 0), (2, 0)]), chain(&[(1, 0), (2, 0)]));
        assert_ne!(chain(&[(1, 0), (2, 0)]), chain(&[(2, 0), (1, 0)]));
        assert_ne!(chain(&[(1, 0)]), chain(&[(1, 0), (0, 0)]));
    }
}
