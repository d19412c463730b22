//! Buffers that are used again instead of being freed: a long one given back to the system costs a page fault for
//! each 4 KiB when it is needed again, which is more than it costs to fill it.
//!
//! Never holds more than it was told, never gives a long buffer to who needs a short one.

use std::ops::RangeInclusive;

use crate::base::spare::Spare;

/// From this capacity on a buffer is long: what one `recv` of short messages brings needs none.
const LONG_BYTES_MIN: usize = 16 << 10;
/// What each costs beside its capacity: its place in a table that has grown, and what the allocator puts around it.
const PLACE_BYTES: usize = 2 * size_of::<Vec<u8>>() + 16;

/// Spare buffers, empty, with their capacity.
#[derive(Debug)]
pub struct Buffers {
    short: Spare<Vec<u8>>,
    long: Spare<Vec<u8>>,
    /// Invariant: the sum of what they cost, at most `bytes_max`.
    bytes: usize,
    bytes_max: usize,
}

impl Buffers {
    /// No buffers yet; those that are kept have `bytes_max` together.
    #[must_use]
    pub fn new(bytes_max: usize) -> Buffers {
        Buffers { short: Spare::default(), long: Spare::default(), bytes: 0, bytes_max }
    }

    /// An empty buffer for so many bytes, or more; 0 where that is not known.
    #[inline]
    pub fn take(&mut self, bytes: usize) -> Vec<u8> {
        if bytes >= LONG_BYTES_MIN {
            let spare = self.take_long(bytes..=bytes.saturating_mul(2));
            return spare.unwrap_or_else(|| Vec::with_capacity(bytes));
        }
        let Some(buffer) = self.short.take() else { return Vec::new() };
        self.bytes -= cost(&buffer);
        buffer
    }

    /// An empty buffer of such a capacity, if there is a long one.
    pub fn take_long(&mut self, capacity: RangeInclusive<usize>) -> Option<Vec<u8>> {
        if *capacity.end() < LONG_BYTES_MIN {
            return None;
        }
        let buffer = self.long.take_fitting(|buffer| capacity.contains(&buffer.capacity()))?;
        self.bytes -= cost(&buffer);
        Some(buffer)
    }

    /// Takes back a buffer that nobody needs any more, whatever is in it.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity == 0 || self.bytes + cost(&buffer) > self.bytes_max {
            return;
        }
        self.bytes += cost(&buffer);
        buffer.clear();
        if capacity < LONG_BYTES_MIN { self.short.give(buffer) } else { self.long.give(buffer) }
    }

    /// Frees those that nobody needed since the last call.
    pub fn trim(&mut self) {
        let bytes = &mut self.bytes;
        self.short.trim(|buffer| *bytes -= cost(buffer));
        self.long.trim(|buffer| *bytes -= cost(buffer));
    }
}

fn cost(buffer: &Vec<u8>) -> usize {
    buffer.capacity() + PLACE_BYTES
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
        let short = buffers.take(7);
        assert_eq!((short.len(), short.capacity()), (0, 100));
        assert_eq!(buffers.take(7).capacity(), 0, "a long one is not for short things");
        assert_eq!(buffers.bytes, LONG_BYTES_MIN + PLACE_BYTES);
        assert_eq!(buffers.take(LONG_BYTES_MIN).capacity(), LONG_BYTES_MIN);
        assert_eq!(buffers.bytes, 0);
        assert!(buffers.take(LONG_BYTES_MIN).capacity() >= LONG_BYTES_MIN, "there is none");
    }

    /// In a soak each buffer was once used for a long reply, and kept that long: memory grew for hours.
    #[test]
    fn what_nobody_needs_is_given_back() {
        let mut buffers = Buffers::new(1 << 20);
        for capacity in [100, 8000, 200, LONG_BYTES_MIN] {
            buffers.give(vec![7; capacity]);
        }
        buffers.trim();
        let needed = buffers.take(7);
        buffers.give(needed);
        buffers.trim();
        assert_eq!((buffers.bytes, buffers.short.len(), buffers.long.len()), (200 + PLACE_BYTES, 1, 0));
    }

    #[test]
    fn no_more_is_kept_than_was_allowed() {
        let mut buffers = Buffers::new(2 * (100 + PLACE_BYTES));
        for _ in 0..3 {
            buffers.give(vec![0; 100]);
        }
        assert_eq!((buffers.bytes, buffers.short.len()), (buffers.bytes_max, 2));
        buffers.give(Vec::new());
        assert_eq!(buffers.short.len(), 2, "nothing is not worth a place");
    }
}
