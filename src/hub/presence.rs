//! The users of one topic, counted by their connections, in order of arrival.
//!
//! Says when a user's first connection comes and the last one goes; tells nobody. Coming, going and
//! listing cost the same in a room of two and of a million.
//!
//! ```text
//! by_id:  "ann" ─► 0, "bob" ─► 2            users: [ann | free | bob]
//!                                                    ▲ first      ▲ last
//! ```
//!
//! A user stands at a fixed place while present, threaded on a list in order of arrival; free places are
//! threaded on a second list.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::base::hash::Keys;
use crate::base::id::index32;
use crate::hub::name::User;
use crate::hub::table::Table;

/// No place: the end of a list.
const NONE: u32 = u32::MAX;

/// Where a user stands in one [`Presence`], valid until its last connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

/// Users by count of connections.
#[derive(Debug)]
pub struct Presence {
    places: Vec<Standing>,
    by_id: Table<ById, u32>,
    first: u32,
    last: u32,
    free: u32,
}

#[derive(Debug)]
struct Standing {
    /// None: the place is free.
    user: Option<Arc<User>>,
    /// Invariant: zero exactly where `user` is none.
    connections: u32,
    before: u32,
    /// The next user in order of arrival, or the next free place.
    after: u32,
}

/// A user as the table tells them apart: by id, whatever name they show.
#[derive(Debug)]
struct ById(Arc<User>);

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &ById) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        &self.0.id
    }
}

impl Default for Presence {
    fn default() -> Presence {
        Presence { places: Vec::new(), by_id: Table::default(), first: NONE, last: NONE, free: NONE }
    }
}

impl Presence {
    /// Counts one more connection of `user`; says where the user stands, and whether it is the first one.
    /// A user who shows another name than before stays who came first.
    pub fn come(&mut self, user: &Arc<User>, keys: Keys) -> (Place, bool) {
        if let Some(place) = self.by_id.get(&*user.id) {
            self.places[place as usize].connections += 1;
            return (Place(place), false);
        }
        let place = self.seat(Standing {
            user: Some(Arc::clone(user)),
            connections: 1,
            before: self.last,
            after: NONE,
        });
        match self.last {
            NONE => self.first = place,
            last => self.places[last as usize].after = place,
        }
        self.last = place;
        self.by_id.insert(ById(Arc::clone(user)), place, keys);
        (Place(place), true)
    }

    /// Counts one connection less; says who it was, and whether it was the last one.
    ///
    /// # Panics
    /// When nobody stands at `place`.
    pub fn go(&mut self, Place(place): Place) -> (Arc<User>, bool) {
        let user = Arc::clone(self.user(Place(place)));
        let standing = &mut self.places[place as usize];
        standing.connections -= 1;
        if standing.connections > 0 {
            return (user, false);
        }
        let (before, after) = (standing.before, standing.after);
        *standing = Standing { user: None, connections: 0, before: NONE, after: self.free };
        self.free = place;
        match before {
            NONE => self.first = after,
            before => self.places[before as usize].after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.places[after as usize].before = before,
        }
        let found = self.by_id.remove(&*user.id);
        debug_assert_eq!(found, Some(place));
        (user, true)
    }

    /// Who stands at `place`.
    ///
    /// # Panics
    /// When nobody does.
    #[must_use]
    pub fn user(&self, Place(place): Place) -> &Arc<User> {
        self.places[place as usize].user.as_ref().expect("a place is given up with the last connection")
    }

    /// Distinct users.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether nobody is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Users in order of arrival.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        let standing = |place: u32| self.places.get(place as usize);
        std::iter::successors(standing(self.first), move |at| standing(at.after))
            .filter_map(|standing| standing.user.as_ref())
    }

    /// Puts a user on a free place, or on a new one.
    fn seat(&mut self, standing: Standing) -> u32 {
        if self.free != NONE {
            let place = self.free;
            self.free = self.places[place as usize].after;
            self.places[place as usize] = standing;
            return place;
        }
        // A quarter at a time: on average a seventh of the places waits unused, not a quarter of them.
        if self.places.len() == self.places.capacity() {
            self.places.reserve_exact((self.places.len() / 4).max(1));
        }
        self.places.push(standing);
        index32(self.places.len() - 1)
    }

    /// Asserts the invariants; `connections` is what all users together must have.
    pub(super) fn check(&self, connections: usize) {
        let mut counted = 0;
        let mut before = NONE;
        let mut at = self.first;
        let mut users = 0;
        while at != NONE {
            let standing = &self.places[at as usize];
            assert!(standing.connections > 0 && standing.before == before, "the list holds together");
            let user = standing.user.as_ref().expect("listed users are there");
            assert_eq!(self.by_id.get(&*user.id), Some(at));
            (counted, users) = (counted + standing.connections as usize, users + 1);
            (before, at) = (at, standing.after);
        }
        assert_eq!((self.last, counted, users), (before, connections, self.len()));
        let free = std::iter::successors(self.places.get(self.free as usize), |standing| {
            self.places.get(standing.after as usize)
        });
        assert_eq!(free.filter(|free| free.user.is_none()).count(), self.places.len() - users);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn user(id: &str, name: Option<&str>) -> Arc<User> {
        Arc::new(User { id: id.into(), name: name.map(Into::into) })
    }

    fn ids(presence: &Presence) -> Vec<&str> {
        presence.users().map(|user| &*user.id).collect()
    }

    #[test]
    fn first_and_last_connection_are_told_apart_and_arrival_orders() {
        let keys = Keys::new([1; 16]);
        let mut presence = Presence::default();
        let (ann, first) = presence.come(&user("ann", Some("Ann")), keys);
        assert!(first);
        let (bob, _) = presence.come(&user("bob", None), keys);
        let (again, first) = presence.come(&user("ann", Some("Anna")), keys);
        assert!(!first && again == ann);
        assert_eq!(presence.user(ann).name.as_deref(), Some("Ann"), "who came first");
        assert_eq!(ids(&presence), ["ann", "bob"]);
        assert!(!presence.go(ann).1);
        assert!(presence.go(ann).1);
        presence.come(&user("cat", None), keys);
        presence.come(&user("ann", None), keys);
        assert_eq!(ids(&presence), ["bob", "cat", "ann"], "a place used again says nothing about order");
        assert_eq!(presence.user(bob).id.as_ref(), "bob");
        presence.check(3);
    }

    #[test]
    fn a_user_costs_three_words_beside_the_table() {
        assert_eq!(size_of::<Standing>(), 24);
        assert_eq!(size_of::<(ById, u32)>(), 16);
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(steps in prop::collection::vec((any::<bool>(), 0usize..24), 0..300)) {
            let keys = Keys::new([2; 16]);
            let users: Vec<_> = (0..24).map(|n| user(&format!("u{n}"), None)).collect();
            let mut presence = Presence::default();
            let mut list: Vec<(usize, Place, u32)> = Vec::new();
            for (come, who) in steps {
                let at = list.iter().position(|entry| entry.0 == who);
                match (come, at) {
                    (true, at) => {
                        let (place, first) = presence.come(&users[who], keys);
                        prop_assert_eq!(first, at.is_none());
                        match at {
                            Some(at) => list[at].2 += 1,
                            None => list.push((who, place, 1)),
                        }
                    }
                    (false, Some(at)) => {
                        list[at].2 -= 1;
                        let (gone, last) = presence.go(list[at].1);
                        prop_assert_eq!(&gone, &users[who]);
                        prop_assert_eq!(last, list[at].2 == 0);
                        if last {
                            list.remove(at);
                        }
                    }
                    (false, None) => {}
                }
                presence.check(list.iter().map(|entry| entry.2 as usize).sum());
                let expected: Vec<&str> = list.iter().map(|entry| &*users[entry.0].id).collect();
                prop_assert_eq!(ids(&presence), expected);
            }
        }
    }
}
