//! Slots that are used again, with keys that notice it: the crate `slab` with generations on top.
//!
//! A [`Key`] finds its value and nothing else: once a slot was freed, its old keys find nothing, however
//! often it is used again. Generations number what is inserted, and wrap after 2^32; a key would have to be kept
//! across exactly that many, or a multiple, to find a stranger. Memory is never given back: a slab stays as large as it
//! ever was. Hands out no references that outlive a call, shares nothing, knows no order of insertion.

use crate::base::id::{Key, index32};

/// Values under generational keys; every operation takes constant time.
#[derive(Debug)]
pub struct Slab<T> {
    entries: slab::Slab<Entry<T>>,
    /// The generation of what is inserted next.
    next: u32,
    /// One more than the highest slot ever used.
    slots: u32,
}

/// A value with its generation beside it.
#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: T,
}

impl<T> Default for Slab<T> {
    fn default() -> Slab<T> {
        Slab::new()
    }
}

impl<T> Slab<T> {
    /// An empty slab without an allocation.
    #[must_use]
    pub fn new() -> Slab<T> {
        Slab { entries: slab::Slab::new(), next: 0, slots: 0 }
    }

    /// Keeps `value`. Freed slots are used first, the last freed one before the others.
    pub fn insert(&mut self, value: T) -> Key {
        let key = self.next_key();
        self.next = self.next.wrapping_add(1);
        self.slots = self.slots.max(key.slot + 1);
        let index = self.entries.insert(Entry { generation: key.generation, value });
        debug_assert_eq!(index, key.slot as usize, "the vacant key is where the next value goes");
        key
    }

    /// The key that the next [`Slab::insert`] will return, for values that hold their own key.
    #[must_use]
    pub fn next_key(&self) -> Key {
        Key { slot: index32(self.entries.vacant_key()), generation: self.next }
    }

    /// The value of `key`, if it was not removed since.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.slot as usize)?;
        (entry.generation == key.generation).then_some(&entry.value)
    }

    /// The value of `key`, to be changed, if it was not removed since.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.slot as usize)?;
        (entry.generation == key.generation).then_some(&mut entry.value)
    }

    /// Takes the value of `key` out and frees its slot; a stale key does nothing.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        Some(self.entries.remove(key.slot as usize).value)
    }

    /// Whether `key` still finds a value.
    #[must_use]
    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// The present key of an occupied slot and its value, for indices kept inside one turn.
    pub fn at_slot_mut(&mut self, slot: u32) -> Option<(Key, &mut T)> {
        let Entry { generation, value } = self.entries.get_mut(slot as usize)?;
        Some((Key { slot, generation: *generation }, value))
    }

    /// The present key of an occupied slot, for indices kept inside one turn.
    #[must_use]
    pub fn key_of(&self, slot: u32) -> Option<Key> {
        let entry = self.entries.get(slot as usize)?;
        Some(Key { slot, generation: entry.generation })
    }

    /// Whatever is in `slot` now. Only for indices that are dropped together with the value (member
    /// lists, wheel entries); for anything else use keys.
    #[must_use]
    pub fn by_slot(&self, slot: u32) -> Option<&T> {
        self.entries.get(slot as usize).map(|entry| &entry.value)
    }

    /// As [`Slab::by_slot`], to be changed.
    pub fn by_slot_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.entries.get_mut(slot as usize).map(|entry| &mut entry.value)
    }

    /// One more than the highest slot ever used.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots as usize
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All values with their keys, by rising slot. Takes time for free slots, too.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.entries.iter().map(|(index, entry)| (key_at(index, entry.generation), &entry.value))
    }

    /// As [`Slab::iter`], to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.entries.iter_mut().map(|(index, entry)| (key_at(index, entry.generation), &mut entry.value))
    }
}

/// The key of an occupied index.
fn key_at(index: usize, generation: u32) -> Key {
    #[expect(clippy::cast_possible_truncation, reason = "`insert` only hands out slots that fit")]
    Key { slot: index as u32, generation }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stale_key_finds_nothing_however_often_its_slot_is_used() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        assert_eq!(slab.remove(first), Some("first"));
        for _ in 0..1000 {
            let again = slab.insert("again");
            assert_eq!(again.slot, first.slot);
            assert_eq!(slab.get(first), None);
            assert_eq!(slab.get_mut(first), None);
            assert_eq!(slab.remove(first), None);
            assert_eq!(slab.get(again), Some(&"again"));
            assert_eq!(slab.key_of(first.slot), Some(again));
            assert_eq!(slab.remove(again), Some("again"));
        }
        assert_eq!(slab.next_key().generation, 1001);
        assert!(slab.is_empty());
    }

    #[test]
    fn generations_wrap_instead_of_overflowing() {
        let mut slab = Slab::new();
        let key = slab.insert(1);
        slab.remove(key);
        slab.next = u32::MAX;
        let last = slab.insert(2);
        assert_eq!(last.generation, u32::MAX);
        assert_eq!(slab.remove(last), Some(2));
        assert_eq!(slab.insert(3).generation, 0);
    }

    #[test]
    fn a_key_from_nowhere_finds_nothing() {
        let mut slab: Slab<u8> = Slab::default();
        let nowhere = Key { slot: u32::MAX, generation: 0 };
        assert_eq!(slab.remove(nowhere), None);
        assert_eq!((slab.get(nowhere), slab.by_slot(9)), (None, None));
        assert_eq!(slab.key_of(9), None);
    }

    proptest! {
        /// The slow twin is a list of (key, value) that is searched from the front.
        #[test]
        fn agrees_with_a_list_of_pairs(steps in prop::collection::vec((0..4u8, any::<prop::sample::Index>()), 1..200)) {
            let mut slab = Slab::new();
            let mut live: Vec<(Key, u64)> = Vec::new();
            let mut dead: Vec<Key> = Vec::new();
            for (number, (step, pick)) in (0u64..).zip(steps) {
                if step < 2 || live.is_empty() {
                    let expected = slab.next_key();
                    let key = slab.insert(number);
                    prop_assert_eq!(key, expected);
                    live.push((key, number));
                } else {
                    let (key, value) = live.swap_remove(pick.index(live.len()));
                    prop_assert_eq!(slab.remove(key), Some(value));
                    dead.push(key);
                }
                prop_assert_eq!(slab.len(), live.len());
                prop_assert!(dead.iter().all(|&key| !slab.contains(key)));
                prop_assert!(live.iter().all(|(key, value)| slab.get(*key) == Some(value)));
                let mut listed: Vec<_> = slab.iter().map(|(key, &value)| (key, value)).collect();
                listed.sort_unstable();
                live.sort_unstable();
                prop_assert_eq!(&listed, &live);
            }
        }
    }
}
