//! Keyed hashing, and the only map and set aliases of this crate.
//!
//! The keys come from the operating system at start (so nobody can choose names that collide) or from
//! a seed (so that a simulation repeats). SipHash-1-3 is the weakest hash that still withstands
//! flooding by chosen names.

use std::hash::{BuildHasher, Hash, Hasher};

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher24 as SipHasher24x128};

/// A map with keyed hashing; create with `Map::with_hasher(keys)`.
#[expect(clippy::disallowed_types, reason = "the one place that names them")]
pub type Map<K, V> = std::collections::HashMap<K, V, Keys>;

/// A set with keyed hashing; create with `Set::with_hasher(keys)`.
#[expect(clippy::disallowed_types, reason = "the one place that names them")]
pub type Set<K> = std::collections::HashSet<K, Keys>;

/// The secret that all hashes of this process are keyed with.
#[derive(Clone, Copy)]
pub struct Keys(u64, u64);

impl Keys {
    /// Keys from 16 bytes of seed.
    #[must_use]
    pub fn new(seed: [u8; 16]) -> Keys {
        let word = u128::from_le_bytes(seed);
        #[expect(clippy::cast_possible_truncation, reason = "splits the seed in two halves")]
        Keys(word as u64, (word >> 64) as u64)
    }

    /// The hash of `value`.
    pub fn hash<T: Hash + ?Sized>(self, value: &T) -> u64 {
        self.hash_one(value)
    }

    /// A keyed 128-bit digest of `label` and `number`: unguessable without the keys, the same for
    /// the same input. Identifiers that must not be guessed are made of it and need no storage.
    #[must_use]
    pub fn digest(self, label: &str, number: u64) -> u128 {
        let mut hasher = SipHasher24x128::new_with_keys(self.0, self.1);
        hasher.write(label.as_bytes());
        hasher.write_u64(number);
        hasher.finish128().as_u128()
    }

    /// The same of texts; where one ends and the next begins counts. Long enough to stand for the texts themselves:
    /// nobody without the keys can make two that meet.
    #[must_use]
    pub fn digest_of(self, label: &str, texts: &[&[u8]]) -> u128 {
        let mut hasher = SipHasher24x128::new_with_keys(self.0, self.1);
        hasher.write(label.as_bytes());
        for text in texts {
            hasher.write_u64(text.len() as u64);
            hasher.write(text);
        }
        hasher.finish128().as_u128()
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(secret)")
    }
}

impl BuildHasher for Keys {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_keys_same_hash_other_keys_other_hash() {
        let a = Keys::new([1; 16]);
        let b = Keys::new([2; 16]);
        assert_eq!(a.hash("room"), Keys::new([1; 16]).hash("room"));
        assert_ne!(a.hash("room"), b.hash("room"));
        assert_ne!(a.digest("session", 1), a.digest("session", 2));
        assert_ne!(a.digest("session", 1), a.digest("client", 1));
        assert_ne!(a.digest("session", 1), b.digest("session", 1));
    }

    #[test]
    fn a_digest_of_texts_knows_where_they_end() {
        let keys = Keys::new([1; 16]);
        let digest = |texts: &[&[u8]]| keys.digest_of("key", texts);
        assert_eq!(digest(&[b"ab", b"c"]), digest(&[b"ab", b"c"]));
        for other in [&[&b"a"[..], b"bc"][..], &[b"abc"], &[b"ab", b"c", b""], &[b"c", b"ab"]] {
            assert_ne!(digest(&[b"ab", b"c"]), digest(other));
        }
        assert_ne!(keys.digest_of("key", &[b"a"]), Keys::new([2; 16]).digest_of("key", &[b"a"]));
    }

    #[test]
    fn keys_do_not_print() {
        assert_eq!(format!("{:?}", Keys::new([7; 16])), "Keys(secret)");
    }
}
