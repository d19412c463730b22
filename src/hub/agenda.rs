//! What is to happen when: one moment for each key, taken out in order of time.
//!
//! Knows neither what happens nor what time it is. Moments that are the same come in the order of their keys, so that
//! runs repeat.

use std::collections::BTreeSet;
use std::hash::Hash;

use crate::base::clock::Mono;
use crate::base::hash::{Keys, Map};
use crate::hub::table::shrink_if_sparse;

/// Keys with a moment each.
#[derive(Debug)]
pub(super) struct Agenda<K> {
    /// Invariant: exactly the pairs of `moments`, turned round.
    order: BTreeSet<(Mono, K)>,
    moments: Map<K, Mono>,
}

impl<K: Copy + Ord + Hash> Agenda<K> {
    /// Nothing is to happen.
    pub(super) fn new(keys: Keys) -> Agenda<K> {
        Agenda { order: BTreeSet::new(), moments: Map::with_hasher(keys) }
    }

    /// Lets `key` happen at `moment`, whatever was planned for it before.
    pub(super) fn plan(&mut self, key: K, moment: Mono) {
        if let Some(before) = self.moments.insert(key, moment) {
            self.order.remove(&(before, key));
        }
        self.order.insert((moment, key));
    }

    /// Nothing happens to `key` any more; whether something would have.
    pub(super) fn cancel(&mut self, key: K) -> bool {
        let Some(moment) = self.moments.remove(&key) else { return false };
        shrink_if_sparse(&mut self.moments);
        self.order.remove(&(moment, key))
    }

    /// Whether something is planned for `key`.
    pub(super) fn has(&self, key: K) -> bool {
        self.moments.contains_key(&key)
    }

    /// The earliest moment.
    pub(super) fn next(&self) -> Option<Mono> {
        self.order.first().map(|(moment, _)| *moment)
    }

    /// Takes out the earliest key whose moment has come.
    pub(super) fn take(&mut self, now: Mono) -> Option<K> {
        let (moment, key) = *self.order.first()?;
        (moment <= now && self.cancel(key)).then_some(key)
    }

    /// How many keys have a moment.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nothing is planned.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Asserts the invariant.
    pub(super) fn check(&self) {
        assert_eq!(self.order.len(), self.moments.len());
        assert!(self.order.iter().all(|(moment, key)| self.moments.get(key) == Some(moment)));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_search_through_all(
            steps in prop::collection::vec((0u8..3, 0u32..12, 0u64..50), 0..200),
        ) {
            let mut agenda = Agenda::new(Keys::new([4; 16]));
            let mut plain: BTreeMap<u32, u64> = BTreeMap::new();
            for (act, key, moment) in steps {
                match act {
                    0 => {
                        agenda.plan(key, Mono(moment));
                        plain.insert(key, moment);
                    }
                    1 => prop_assert_eq!(agenda.cancel(key), plain.remove(&key).is_some()),
                    _ => {
                        let due = plain.iter().filter(|(_, at)| **at <= moment);
                        let first = due.map(|(key, at)| (*at, *key)).min().map(|(_, key)| key);
                        prop_assert_eq!(agenda.take(Mono(moment)), first);
                        first.and_then(|key| plain.remove(&key));
                    }
                }
                agenda.check();
                prop_assert_eq!(agenda.has(key), plain.contains_key(&key));
                prop_assert_eq!(agenda.next().map(|at| at.0), plain.values().min().copied());
                prop_assert_eq!((agenda.len(), agenda.is_empty()), (plain.len(), plain.is_empty()));
            }
        }
    }
}
