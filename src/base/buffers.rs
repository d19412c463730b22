//! Buffers that are used again instead of being freed: a long one given back to the system costs a page fault for
//! each 4 KiB when it is needed again, which is more than it costs to fill it.
//!
//! Never holds more than it was told, never gives a long buffer to who needs a short one.

use std::ops::RangeInclusive;

/// From this capacity on a buffer is long: what one `recv` of short messages brings needs none.
const LONG_BYTES_MIN: usize = 16 << 10;

/// Spare buffers, empty, with their capacity.
#[derive(Debug)]
pub struct Buffers {
    short: Vec<Vec<u8>>,
    long: Vec<Vec<u8>>,
    /// Invariant: the sum of their capacities, at most `bytes_max`.
    bytes: usize,
    bytes_max: usize,
}

impl Buffers {
    /// No buffers yet; those that are kept have `bytes_max` together.
    #[must_use]
    pub fn new(bytes_max: usize) -> Buffers {
        Buffers { short: Vec::new(), long: Vec::new(), bytes: 0, bytes_max }
    }

    /// An empty buffer for something short.
    pub fn take(&mut self) -> Vec<u8> {
        let buffer = self.short.pop().unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer
    }

    /// An empty buffer of such a capacity, if there is a long one.
    pub fn take_long(&mut self, capacity: RangeInclusive<usize>) -> Option<Vec<u8>> {
        if *capacity.end() < LONG_BYTES_MIN {
            return None;
        }
        let fits = self.long.iter().position(|buffer| capacity.contains(&buffer.capacity()))?;
        let buffer = self.long.swap_remove(fits);
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Takes back a buffer that nobody needs any more, whatever is in it.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity == 0 || self.bytes + capacity > self.bytes_max {
            return;
        }
        self.bytes += capacity;
        buffer.clear();
        if capacity < LONG_BYTES_MIN { self.short.push(buffer) } else { self.long.push(buffer) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_taken_again_by_who_needs_such_a_one() {
        let mut buffers = Buffers::new(1 << 20);
        buffers.give(vec![7; 100]);
        buffers.give(vec![7; LONG_BYTES_MIN]);
        buffers.give(vec![7; 2 * LONG_BYTES_MIN]);
        assert!(buffers.take_long(0..=LONG_BYTES_MIN - 1).is_none());
        assert!(buffers.take_long(LONG_BYTES_MIN + 1..=2 * LONG_BYTES_MIN - 1).is_none());
        let long = buffers.take_long(LONG_BYTES_MIN + 1..=usize::MAX).expect("the longest fits");
        assert_eq!((long.len(), long.capacity()), (0, 2 * LONG_BYTES_MIN));
        let short = buffers.take();
        assert_eq!((short.len(), short.capacity()), (0, 100));
        assert_eq!(buffers.take().capacity(), 0, "a long one is not for short things");
        assert_eq!(buffers.bytes, LONG_BYTES_MIN);
    }

    #[test]
    fn no_more_is_kept_than_was_allowed() {
        let mut buffers = Buffers::new(250);
        for _ in 0..3 {
            buffers.give(vec![0; 100]);
        }
        assert_eq!((buffers.bytes, buffers.short.len()), (200, 2));
        buffers.give(Vec::new());
        assert_eq!(buffers.short.len(), 2, "nothing is not worth a place");
    }
}
