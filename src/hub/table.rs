//! A map that is a plain list while it is small: most topics have a handful of members, and a hash table
//! of three entries costs more than all of them.
//!
//! Never iterated in an order that matters; only the invariant sweep, and a search for one user's, look at all
//! entries.

use std::borrow::Borrow;
use std::hash::Hash;

use crate::base::hash::{Keys, Map};

/// Up to so many entries a scan is no slower than a keyed hash, and costs no empty buckets.
pub(super) const FEW_MAX: usize = 16;

/// How empty a hash table may get before it is made smaller: an eighth full leaves enough room between
/// growing and shrinking that neither happens often.
const SPARSE: usize = 8;

/// Below so many entries there is nothing to win.
const SHRUNK_MIN: usize = 8;

/// Keys with a small value each.
#[derive(Debug)]
pub(super) enum Table<K, V> {
    /// At most [`FEW_MAX`] entries, in no order.
    Few(Vec<(K, V)>),
    /// Boxed, so that an empty or small table costs three words.
    Many(Box<Map<K, V>>),
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Table<K, V> {
        Table::Few(Vec::new())
    }
}

impl<K: Eq + Hash, V: Copy> Table<K, V> {
    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        match self {
            Table::Few(list) => list.len(),
            Table::Many(map) => map.len(),
        }
    }

    /// The value of `key`.
    pub(super) fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        match self {
            Table::Few(list) => list.iter().find(|(k, _)| k.borrow() == key).map(|(_, value)| *value),
            Table::Many(map) => map.get(key).copied(),
        }
    }

    /// Adds `key`, which the caller knows to be absent.
    pub(super) fn insert(&mut self, key: K, value: V, keys: Keys) {
        debug_assert!(self.get(&key).is_none(), "added once");
        match self {
            Table::Few(list) if list.len() < FEW_MAX => {
                push_tightly(list, (key, value));
            }
            Table::Few(list) => {
                let mut map = Map::with_capacity_and_hasher(2 * FEW_MAX, keys);
                map.extend(list.drain(..));
                map.insert(key, value);
                *self = Table::Many(Box::new(map));
            }
            Table::Many(map) => {
                map.insert(key, value);
            }
        }
    }

    /// Takes `key` out, and gives memory back when little is left.
    pub(super) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        match self {
            Table::Few(list) => {
                let at = list.iter().position(|(k, _)| k.borrow() == key)?;
                Some(list.swap_remove(at).1)
            }
            Table::Many(map) => {
                let value = map.remove(key)?;
                if map.len() <= FEW_MAX / 2 {
                    *self = Table::Few(map.drain().collect());
                } else {
                    shrink_if_sparse(map);
                }
                Some(value)
            }
        }
    }

    /// All values, in no order that may be relied on.
    pub(super) fn entries(&self) -> Box<dyn Iterator<Item = (&K, V)> + '_> {
        match self {
            Table::Few(list) => Box::new(list.iter().map(|(key, value)| (key, *value))),
            Table::Many(map) => Box::new(map.iter().map(|(key, value)| (key, *value))),
        }
    }
}

/// Appends to a list of which there are very many, most of them with a single entry: it grows by a quarter at a time,
/// so that on average a seventh of it waits unused, not a quarter.
pub(super) fn push_tightly<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 4).max(1));
    }
    list.push(item);
}

/// Halves what a map holds for entries that went long ago; constant time on average over the removals.
pub(super) fn shrink_if_sparse<K: Eq + Hash, V>(map: &mut Map<K, V>) {
    if map.capacity() > SPARSE * map.len().max(SHRUNK_MIN) {
        map.shrink_to(2 * map.len());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_follows_the_size_both_ways() {
        let keys = Keys::new([1; 16]);
        let mut table = Table::default();
        for n in 0..1000u32 {
            table.insert(n, n, keys);
        }
        for n in 0..990 {
            assert_eq!(table.remove(&n), Some(n));
        }
        let Table::Many(map) = &table else { panic!("ten are many") };
        assert!(map.capacity() <= SPARSE * 10, "{}", map.capacity());
        for n in 990..992 {
            table.remove(&n);
        }
        assert!(matches!(&table, Table::Few(list) if list.len() == FEW_MAX / 2));
        assert_eq!(size_of::<Table<u32, u32>>(), 24);
    }

    proptest! {
        #[test]
        fn agrees_with_a_tree(steps in prop::collection::vec((any::<bool>(), 0u32..40), 0..400)) {
            let keys = Keys::new([2; 16]);
            let (mut table, mut tree) = (Table::default(), BTreeMap::new());
            for (step, (add, key)) in steps.into_iter().enumerate() {
                if !add {
                    prop_assert_eq!(table.remove(&key), tree.remove(&key));
                } else if let std::collections::btree_map::Entry::Vacant(vacant) = tree.entry(key) {
                    table.insert(key, step, keys);
                    vacant.insert(step);
                }
                prop_assert_eq!(table.len(), tree.len());
                prop_assert_eq!(table.get(&key), tree.get(&key).copied());
            }
            let entries: BTreeMap<u32, usize> = table.entries().map(|(key, value)| (*key, value)).collect();
            prop_assert_eq!(entries, tree);
        }
    }
}
