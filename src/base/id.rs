//! Who is meant: shards, connections, and where an answer goes.

use std::fmt;

/// A shard of this process, counted from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl ShardId {
    /// Position in a table of all shards.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An index into a table, as the 32 bits that links and keys have for it. What fills tables is limited far below
/// that: connections by descriptors, all else by connections or memory.
///
/// # Panics
/// If there are 2^32 entries.
#[must_use]
#[inline]
pub fn index32(index: usize) -> u32 {
    u32::try_from(index).expect("tables have fewer than 2^32 entries")
}

/// A slot of a [`crate::base::slab::Slab`] together with the generation that used it: once the slot
/// is used again, an old key finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Index of the slot.
    pub slot: u32,
    /// How many times the slot had been freed when this key was made.
    pub generation: u32,
}

impl Key {
    /// The key as one number, for `mio::Token`.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The inverse of [`Key::to_bits`].
    #[must_use]
    pub fn from_bits(bits: u64) -> Key {
        #[expect(clippy::cast_possible_truncation, reason = "splits the number in two halves")]
        Key { slot: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// Where an answer goes: a connection of a shard. The hub stores it and never looks inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The shard that owns the connection.
    pub shard: ShardId,
    /// The connection within the shard.
    pub conn: Key,
}

impl Origin {
    /// Nobody, on `shard`: for what is asked from outside all connections. An answer finds no one.
    #[must_use]
    pub fn nobody(shard: ShardId) -> Origin {
        Origin { shard, conn: Key { slot: u32::MAX, generation: u32::MAX } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_survives_the_trip_through_a_number() {
        for key in [Key { slot: 0, generation: 0 }, Key { slot: u32::MAX, generation: 7 }] {
            assert_eq!(Key::from_bits(key.to_bits()), key);
        }
    }
}
