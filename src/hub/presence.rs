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
//! threaded on a second list. Few users are found by walking the list; only many have a table by id.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::base::hash::{Keys, Map};
use crate::base::id::index32;
use crate::hub::name::User;
use crate::hub::table::{FEW_MAX, push_tightly, shrink_if_sparse};

/// No place: the end of a list.
const NONE: u32 = u32::MAX;

/// Where a user stands in one [`Presence`], valid until its last connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place(u32);

/// Users by count of connections.
#[derive(Debug)]
pub struct Presence {
    places: Vec<Standing>,
    /// None while users are few.
    by_id: Option<Box<Map<ById, u32>>>,
    users: u32,
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
    /// The [`mark`] of the user's id: most others are told apart without a look at them.
    mark: u32,
}

/// The end of an id and its length. Ids that share theirs cost a comparison each, of a few.
fn mark(id: &str) -> u32 {
    let end = id.bytes().rev().take(size_of::<u32>());
    end.fold(index32(id.len()), |mark, byte| mark.rotate_left(u8::BITS) ^ u32::from(byte))
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
        Presence { places: Vec::new(), by_id: None, users: 0, first: NONE, last: NONE, free: NONE }
    }
}

impl Presence {
    /// Counts one more connection of `user`; says where the user stands, and whether it is the first one.
    /// A user who shows another name than before stays who came first.
    pub fn come(&mut self, user: &Arc<User>, keys: Keys) -> (Place, bool) {
        if let Some(place) = self.find(&user.id) {
            self.places[place as usize].connections += 1;
            return (Place(place), false);
        }
        let place = self.seat(Standing {
            user: Some(Arc::clone(user)),
            connections: 1,
            before: self.last,
            after: NONE,
            mark: mark(&user.id),
        });
        match self.last {
            NONE => self.first = place,
            last => self.places[last as usize].after = place,
        }
        self.last = place;
        self.users += 1;
        self.list(user, place, keys);
        (Place(place), true)
    }

    /// Enters a user that came into the table by id, if there is one now.
    fn list(&mut self, user: &Arc<User>, place: u32, keys: Keys) {
        if let Some(map) = &mut self.by_id {
            map.insert(ById(Arc::clone(user)), place);
        } else if self.len() > FEW_MAX {
            let mut map = Map::with_capacity_and_hasher(2 * FEW_MAX, keys);
            for (place, standing) in self.standing() {
                map.extend(standing.user.iter().map(|user| (ById(Arc::clone(user)), place)));
            }
            self.by_id = Some(Box::new(map));
        }
    }

    /// Where the user of this id stands.
    fn find(&self, id: &str) -> Option<u32> {
        if let Some(map) = &self.by_id {
            return map.get(id).copied();
        }
        let mark = mark(id);
        let is_it =
            |one: &Standing| one.mark == mark && one.user.as_ref().is_some_and(|user| *user.id == *id);
        self.standing().find(|(_, one)| is_it(one)).map(|(place, _)| place)
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
        *standing = Standing { user: None, connections: 0, before: NONE, after: self.free, mark: 0 };
        self.free = place;
        match before {
            NONE => self.first = after,
            before => self.places[before as usize].after = after,
        }
        match after {
            NONE => self.last = before,
            after => self.places[after as usize].before = before,
        }
        self.users -= 1;
        let few = self.len() <= FEW_MAX / 2;
        if let Some(map) = &mut self.by_id {
            let found = map.remove(&*user.id);
            debug_assert_eq!(found, Some(place));
            shrink_if_sparse(map);
            if few {
                self.by_id = None;
            }
        }
        (user, true)
    }

    /// Where the user of this id stands, and its connections.
    #[must_use]
    pub fn of(&self, id: &str) -> Option<(Place, u32)> {
        let place = self.find(id)?;
        Some((Place(place), self.places[place as usize].connections))
    }

    /// Connections of who stands at `place`; 0 where nobody does.
    #[must_use]
    pub fn connections(&self, Place(place): Place) -> u32 {
        self.places[place as usize].connections
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
        self.users as usize
    }

    /// Whether nobody is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Users in order of arrival.
    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.standing().filter_map(|(_, standing)| standing.user.as_ref())
    }

    /// Who stands where, in order of arrival.
    fn standing(&self) -> impl Iterator<Item = (u32, &Standing)> {
        let at = |place: u32| Some((place, self.places.get(place as usize)?));
        std::iter::successors(at(self.first), move |(_, standing)| at(standing.after))
    }

    /// Puts a user on a free place, or on a new one.
    fn seat(&mut self, standing: Standing) -> u32 {
        if self.free != NONE {
            let place = self.free;
            self.free = self.places[place as usize].after;
            self.places[place as usize] = standing;
            return place;
        }
        push_tightly(&mut self.places, standing);
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
            assert_eq!((self.find(&user.id), standing.mark), (Some(at), mark(&user.id)));
            (counted, users) = (counted + standing.connections as usize, users + 1);
            (before, at) = (at, standing.after);
        }
        assert_eq!((self.last, counted, users), (before, connections, self.len()));
        match &self.by_id {
            Some(map) => assert!(map.len() == users && users > FEW_MAX / 2, "a table of all users, of many"),
            None => assert!(users <= FEW_MAX, "{users} are few"),
        }
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
    fn a_user_costs_three_words_among_few_and_two_more_among_many() {
        assert_eq!(size_of::<Standing>(), 24);
        assert_eq!(size_of::<(ById, u32)>(), 16);
    }

    #[test]
    fn users_whose_ids_end_alike_are_told_apart() {
        let keys = Keys::new([1; 16]);
        let mut presence = Presence::default();
        assert_eq!(mark("xx-1234"), mark("yy-1234"));
        let (first, _) = presence.come(&user("xx-1234", None), keys);
        let (second, is_first) = presence.come(&user("yy-1234", None), keys);
        assert!(is_first && second != first);
        assert_eq!(presence.come(&user("xx-1234", None), keys), (first, false));
        presence.check(3);
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(steps in prop::collection::vec((any::<bool>(), 0usize..40), 0..300)) {
            let keys = Keys::new([2; 16]);
            let users: Vec<_> = (0..40).map(|n| user(&format!("u{n}"), None)).collect();
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
