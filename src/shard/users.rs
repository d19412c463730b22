//! Which local connections are which user's: whom messages to a user reach here.
//!
//! Eight bytes and a control byte for a user, more only where one has several connections. Compared by the users'
//! ids, which stand with the clients: the caller looks there. Coming and going take constant time, however many
//! connections one user has. Sends nothing.

use slab::Slab;

use crate::base::hash::HashTable;
use crate::base::id::index32;

/// Set in [`Entry::place`] where a user has several connections: the rest is their index in [`Users::several`].
const SEVERAL: u32 = 1 << 31;
/// How empty the table may get before it is made smaller.
const SPARSE: usize = 8;

/// A user.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// High half of the hash of the user's inbox, so that growing looks at no client.
    hash: u32,
    /// The slot of the only connection, or where the several are.
    place: u32,
}

/// All users with connections here.
#[derive(Debug, Default)]
pub(crate) struct Users {
    table: HashTable<Entry>,
    several: Slab<Vec<u32>>,
}

/// The table takes positions from the low bits and tags from the high ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

fn high(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl Users {
    /// Adds the connection in `slot`. `hash` is that of its user's inbox, `same` says whether a slot is the same
    /// user's. Its place among the user's connections, to be kept for [`Users::remove`].
    pub(crate) fn insert(&mut self, hash: u64, slot: u32, same: impl Fn(u32) -> bool) -> u32 {
        assert!(slot < SEVERAL, "descriptors run out long before");
        let Users { table, several } = self;
        let hash = high(hash);
        let found = table.find_mut(spread(hash), |entry| entry.hash == hash && same(first(several, *entry)));
        let Some(entry) = found else {
            table.insert_unique(spread(hash), Entry { hash, place: slot }, |entry| spread(entry.hash));
            return 0;
        };
        if entry.place & SEVERAL == 0 {
            let index = index32(several.insert(vec![entry.place]));
            entry.place = SEVERAL | index;
        }
        let list = &mut several[(entry.place & !SEVERAL) as usize];
        list.push(slot);
        index32(list.len() - 1)
    }

    /// Takes out the connection in `slot`, which has this `place`. The slot of the connection that has the place now,
    /// if one has.
    pub(crate) fn remove(
        &mut self,
        hash: u64,
        slot: u32,
        place: u32,
        same: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let Users { table, several } = self;
        let hash = high(hash);
        let is = |entry: &Entry| entry.hash == hash && same(first(several, *entry));
        let Ok(mut found) = table.find_entry(spread(hash), is) else {
            debug_assert!(false, "only who was added is taken out");
            return None;
        };
        let entry = found.get_mut();
        if entry.place & SEVERAL == 0 {
            debug_assert_eq!(entry.place, slot);
            found.remove();
            if table.capacity() > SPARSE * table.len().max(SPARSE) {
                table.shrink_to(2 * table.len(), |entry| spread(entry.hash));
            }
            return None;
        }
        let index = (entry.place & !SEVERAL) as usize;
        let list = &mut several[index];
        debug_assert_eq!(list[place as usize], slot);
        list.swap_remove(place as usize);
        let moved = list.get(place as usize).copied();
        if let [last] = list[..] {
            entry.place = last;
            several.remove(index);
            if several.is_empty() {
                *several = Slab::new();
            }
        }
        moved
    }

    /// The slots of a user's connections.
    pub(crate) fn find(&self, hash: u64, same: impl Fn(u32) -> bool) -> &[u32] {
        let hash = high(hash);
        let is = |entry: &Entry| entry.hash == hash && same(first(&self.several, *entry));
        match self.table.find(spread(hash), is) {
            Some(Entry { place, .. }) if place & SEVERAL != 0 => &self.several[(place & !SEVERAL) as usize],
            Some(Entry { place, .. }) => std::slice::from_ref(place),
            None => &[],
        }
    }

    /// How many connections there are: for the invariant sweep.
    pub(crate) fn len(&self) -> usize {
        self.table.len() + self.several.iter().map(|(_, list)| list.len() - 1).sum::<usize>()
    }
}

/// A connection of the entry's user.
fn first(several: &Slab<Vec<u32>>, entry: Entry) -> u32 {
    if entry.place & SEVERAL == 0 { entry.place } else { several[(entry.place & !SEVERAL) as usize][0] }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against plain lists; half of the users have the same hash.
        #[test]
        fn agrees_with_plain_lists(steps in prop::collection::vec((any::<bool>(), 0u32..40, 0u32..8), 0..300)) {
            let hash = |user: u32| u64::from(user / 2) << 32;
            let mut users = Users::default();
            // By slot: its user and its place.
            let mut plain: BTreeMap<u32, (u32, u32)> = BTreeMap::new();
            for (comes, slot, user) in steps {
                if comes && !plain.contains_key(&slot) {
                    let place = users.insert(hash(user), slot, |other| plain[&other].0 == user);
                    plain.insert(slot, (user, place));
                } else if let Some((user, place)) = plain.get(&slot).copied() {
                    let moved = users.remove(hash(user), slot, place, |other| plain[&other].0 == user);
                    plain.remove(&slot);
                    if let Some(moved) = moved {
                        plain.get_mut(&moved).expect("known").1 = place;
                    }
                }
                prop_assert_eq!(users.len(), plain.len());
                for user in 0..8 {
                    let found = users.find(hash(user), |other| plain[&other].0 == user);
                    for (place, slot) in found.iter().enumerate() {
                        prop_assert_eq!(plain[slot], (user, index32(place)));
                    }
                    prop_assert_eq!(found.len(), plain.values().filter(|(of, _)| *of == user).count());
                }
            }
        }
    }
}
