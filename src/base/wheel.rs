//! Hierarchical timer wheel: insert, cancel and reschedule in constant time, the next deadline by bit scan.
//!
//! Eleven levels of 64 slots cover all 64 bits of a tick, six bits each, so no deadline lies beyond the
//! wheel. A deadline lives on the level of the highest six-bit digit in which it differs from the wheel's
//! present tick, in the slot named by its own digit there:
//!
//! ```text
//! tick      level 10 … │ level 2 │ level 1 │ level 0     now 0:1:5, deadline 0:1:9 → level 0, slot 9
//! 64 bits =   4 bits   │ 6 bits  │ 6 bits  │ 6 bits                 deadline 0:3:7 → level 1, slot 3
//! ```
//!
//! It follows that whatever is on a level is due before anything on a higher one; that the first occupied
//! slot of the lowest occupied level comes next; and that the place of a timer can be computed from the
//! two ticks at any time, so it is stored nowhere. Time jumps from occupied slot to occupied slot: days
//! cost no more than milliseconds. A slot of a higher level that is reached hands its timers down; a timer
//! moves down at most ten times in its life, in practice two or three times.
//!
//! Reads no clock and knows no unit: a tick is what the caller says. Calls nobody back. Keeps no order
//! among timers of the same tick (but always the same one for the same calls).

use std::num::NonZeroU32;

use crate::base::id::index32;

/// Levels that cover 64 bits, six at a time.
const LEVELS: usize = 11;
/// Bits of a digit; one `u64` is then the occupancy of a level.
const DIGIT_BITS: u32 = 6;
/// Slots of a level.
const SLOTS: usize = 1 << DIGIT_BITS;
/// The link that leads nowhere.
const NONE: u32 = u32::MAX;

/// A timer that was inserted and neither popped nor cancelled. Whoever keeps one after that holds a
/// number that may name another timer; the owner of the timer forgets it in the same step.
///
/// One more than its index, so that an optional one takes no more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId(NonZeroU32);

impl TimerId {
    fn of(index: u32) -> TimerId {
        TimerId(NonZeroU32::MIN.saturating_add(index))
    }

    fn index(self) -> u32 {
        self.0.get() - 1
    }
}

/// Timers with a value each.
#[derive(Debug)]
pub struct Wheel<T> {
    /// No deadline on the wheel is earlier. Only grows.
    now: u64,
    /// Bit `slot` is set if and only if `heads[level][slot]` leads somewhere.
    occupied: [u64; LEVELS],
    /// First entry of each slot's list.
    heads: Box<[[u32; SLOTS]; LEVELS]>,
    /// All entries, live and free; the free ones are chained by `next`.
    entries: Vec<Entry<T>>,
    /// First free entry.
    free: u32,
    len: usize,
}

/// One timer in the doubly linked list of its slot, or a free place.
#[derive(Debug)]
struct Entry<T> {
    deadline: u64,
    prev: u32,
    next: u32,
    /// None while the entry is free.
    value: Option<T>,
}

impl<T> Wheel<T> {
    /// An empty wheel at tick `now`.
    #[must_use]
    pub fn new(now: u64) -> Wheel<T> {
        Wheel {
            now,
            occupied: [0; LEVELS],
            heads: Box::new([[NONE; SLOTS]; LEVELS]),
            entries: Vec::new(),
            free: NONE,
            len: 0,
        }
    }

    /// How many timers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Starts a timer. A deadline that has passed is due at the next [`Wheel::pop`].
    pub fn insert(&mut self, deadline: u64, value: T) -> TimerId {
        let index = match self.free {
            NONE => {
                let index = index32(self.entries.len());
                assert!(index != NONE, "the last number marks the end of lists");
                self.entries.push(Entry { deadline: 0, prev: NONE, next: NONE, value: None });
                index
            }
            index => {
                self.free = self.entries[index as usize].next;
                index
            }
        };
        self.entries[index as usize].value = Some(value);
        self.len += 1;
        self.link(index, deadline);
        TimerId::of(index)
    }

    /// Ends a timer before its time and returns its value.
    ///
    /// # Panics
    /// If the timer has been popped or cancelled already.
    pub fn cancel(&mut self, id: TimerId) -> T {
        self.check_live(id);
        self.unlink(id.index());
        self.release(id.index())
    }

    /// Moves a timer to another deadline, as cancel and insert would, under the same id.
    ///
    /// # Panics
    /// If the timer has been popped or cancelled already.
    pub fn reschedule(&mut self, id: TimerId, deadline: u64) {
        self.check_live(id);
        self.unlink(id.index());
        self.link(id.index(), deadline);
    }

    /// When a timer is due.
    ///
    /// # Panics
    /// If the timer has been popped or cancelled already.
    #[must_use]
    pub fn deadline(&self, id: TimerId) -> u64 {
        self.check_live(id);
        self.entries[id.index() as usize].deadline
    }

    /// Removes one timer whose deadline is `now` or earlier, earliest first; to be repeated until `None`.
    /// Never early, each timer once. `now` never goes back; an earlier one counts as the last.
    pub fn pop(&mut self, now: u64) -> Option<(TimerId, T)> {
        let now = now.max(self.now);
        while let Some((level, slot, start)) = self.first() {
            if start > now {
                break;
            }
            // Nothing lies before `start`: going there moves no timer to another place but those of this slot.
            self.now = self.now.max(start);
            if level == 0 {
                let index = self.heads[0][slot];
                self.unlink(index);
                return Some((TimerId::of(index), self.release(index)));
            }
            self.hand_down(level, slot);
        }
        self.now = now;
        None
    }

    /// When to look again: never later than the earliest deadline, and after [`Wheel::pop`] returned `None`
    /// for a tick always later than that tick, so that waiting for it makes progress. It may be earlier
    /// than the earliest deadline, as timers far ahead are known by their slot only.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        self.first().map(|(_, _, start)| start)
    }

    /// Level, slot and first tick of the occupied slot that comes next.
    fn first(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let slot = self.occupied[level].trailing_zeros();
        #[expect(clippy::cast_possible_truncation, reason = "below LEVELS")]
        let shift = DIGIT_BITS * level as u32;
        // All digits above this level are those of `now`; on the top level there are none.
        let above = shift + DIGIT_BITS;
        let common = self.now.checked_shr(above).map_or(0, |high| high << above);
        Some((level, slot as usize, common | u64::from(slot) << shift))
    }

    /// Empties a slot whose first tick is now; its timers go to lower levels.
    fn hand_down(&mut self, level: usize, slot: usize) {
        let mut index = std::mem::replace(&mut self.heads[level][slot], NONE);
        self.occupied[level] &= !(1 << slot);
        while index != NONE {
            let Entry { next, deadline, .. } = self.entries[index as usize];
            debug_assert!(
                place(self.now, deadline).0 < level,
                "a timer moves down, or the loop would not end"
            );
            self.link(index, deadline);
            index = next;
        }
    }

    /// Puts an entry at the head of the list where `deadline` belongs.
    fn link(&mut self, index: u32, deadline: u64) {
        let deadline = deadline.max(self.now);
        let (level, slot) = place(self.now, deadline);
        let head = std::mem::replace(&mut self.heads[level][slot], index);
        self.occupied[level] |= 1 << slot;
        if head != NONE {
            self.entries[head as usize].prev = index;
        }
        let entry = &mut self.entries[index as usize];
        (entry.deadline, entry.prev, entry.next) = (deadline, NONE, head);
    }

    /// Takes an entry out of its list.
    fn unlink(&mut self, index: u32) {
        let Entry { deadline, prev, next, .. } = self.entries[index as usize];
        if next != NONE {
            self.entries[next as usize].prev = prev;
        }
        if prev != NONE {
            self.entries[prev as usize].next = next;
            return;
        }
        let (level, slot) = place(self.now, deadline);
        debug_assert_eq!(self.heads[level][slot], index, "a timer is where its deadline says");
        self.heads[level][slot] = next;
        if next == NONE {
            self.occupied[level] &= !(1 << slot);
        }
    }

    /// Frees an unlinked entry.
    fn release(&mut self, index: u32) -> T {
        let entry = &mut self.entries[index as usize];
        entry.next = std::mem::replace(&mut self.free, index);
        self.len -= 1;
        entry.value.take().expect("only live entries are linked")
    }

    fn check_live(&self, id: TimerId) {
        let live = self.entries.get(id.index() as usize).is_some_and(|entry| entry.value.is_some());
        assert!(live, "a timer was used after its end");
    }
}

/// Level and slot of `deadline` as seen from `now`, which is not later.
fn place(now: u64, deadline: u64) -> (usize, usize) {
    debug_assert!(now <= deadline);
    let highest_bit = u64::BITS - 1 - ((now ^ deadline) | 1).leading_zeros();
    let level = highest_bit / DIGIT_BITS;
    let digit = (deadline >> (level * DIGIT_BITS)) & (SLOTS as u64 - 1);
    #[expect(clippy::cast_possible_truncation, reason = "a digit has six bits")]
    (level as usize, digit as usize)
}

#[cfg(test)]
mod tests;
