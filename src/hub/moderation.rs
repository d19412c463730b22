//! Who moderates which rooms, and who is kept out of them, or quiet in them, until when.
//!
//! Decides nothing about memberships and tells nobody. What is imposed is known by the topic's name, not by its
//! record: a room may be forgotten and come back, and who was kept out of it stays out. It lasts in memory only.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::clock::Mono;
use crate::base::hash::{Keys, Map};
use crate::hub::name::{Topic, TopicKind, User};
use crate::hub::pattern::NamePattern;
use crate::hub::table::shrink_if_sparse;

/// Users that can be kept out of one topic, or quiet in it, at a time: more than people name one by one.
pub const SANCTIONS_PER_TOPIC_MAX: usize = 1000;

/// The same over all topics of an owner: some ten megabytes.
pub const SANCTIONS_MAX: usize = 65_536;

/// Longest time for which a moderator may keep somebody out or quiet, in seconds: a year.
pub const SANCTION_SECONDS_MAX: u64 = 365 * 24 * 3600;

/// Who moderates which rooms, as the operator says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appointment {
    /// Rooms by name.
    pub rooms: NamePattern,
    /// Users by id.
    pub users: NamePattern,
}

/// Whether a user moderates a topic; only rooms have moderators.
#[must_use]
pub fn is_moderator(appointments: &[Appointment], topic: &Topic, user_id: &str) -> bool {
    topic.kind() == TopicKind::Room
        && appointments.iter().any(|one| one.users.matches(user_id) && one.rooms.matches(topic.name()))
}

/// Which of `users` moderate a topic: their places, in order.
#[must_use]
pub fn moderators(appointments: &[Appointment], topic: &Topic, users: &[Arc<User>]) -> Vec<u32> {
    let here =
        appointments.iter().filter(|one| topic.kind() == TopicKind::Room && one.rooms.matches(topic.name()));
    let here: Vec<&NamePattern> = here.map(|one| &one.users).collect();
    if here.is_empty() {
        return Vec::new();
    }
    let places = (0..).zip(users).filter(|(_, user)| here.iter().any(|ids| ids.matches(&user.id)));
    places.map(|(place, _)| place).collect()
}

/// What can be imposed on a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Cannot join.
    Ban,
    /// Can neither publish nor be seen typing.
    Mute,
}

/// As many measures stand as can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// All that is imposed in the topics of one owner.
#[derive(Debug)]
pub struct Sanctions {
    /// Invariant: no entry is empty.
    by_topic: Map<Topic, [BTreeMap<Arc<str>, Term>; 2]>,
    /// What ends when. Invariant: exactly one entry for each [`Term`], under its own number.
    ends: BTreeMap<Term, (Topic, Measure, Arc<str>)>,
    /// Terms ever begun.
    begun: u64,
}

/// How long something lasts; no two are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Term {
    until: Mono,
    number: u64,
}

impl Sanctions {
    /// Nothing is imposed on anybody.
    #[must_use]
    pub fn new(keys: Keys) -> Sanctions {
        Sanctions { by_topic: Map::with_hasher(keys), ends: BTreeMap::new(), begun: 0 }
    }

    /// Until when `measure` holds for a user; none if it does not hold at `now`.
    #[must_use]
    pub fn until(&self, topic: &Topic, measure: Measure, user_id: &str, now: Mono) -> Option<Mono> {
        if self.ends.is_empty() {
            return None; // which is nearly always so
        }
        let term = self.by_topic.get(topic)?[measure as usize].get(user_id)?;
        Some(term.until).filter(|until| *until > now)
    }

    /// Lets `measure` hold for a user until then, whatever was imposed before.
    ///
    /// # Errors
    /// When it would be one too many; what was imposed before stands.
    pub fn impose(
        &mut self,
        topic: &Topic,
        measure: Measure,
        user_id: &str,
        until: Mono,
    ) -> Result<(), TooMany> {
        let terms = self.by_topic.get(topic);
        let known = terms.is_some_and(|terms| terms[measure as usize].contains_key(user_id));
        let here = terms.map_or(0, |terms| terms[0].len() + terms[1].len());
        if !known && (here >= SANCTIONS_PER_TOPIC_MAX || self.ends.len() >= SANCTIONS_MAX) {
            return Err(TooMany);
        }
        self.lift(topic, measure, user_id);
        self.begun += 1;
        let (user, term): (Arc<str>, _) = (user_id.into(), Term { until, number: self.begun });
        self.by_topic.entry(topic.clone()).or_default()[measure as usize].insert(Arc::clone(&user), term);
        self.ends.insert(term, (topic.clone(), measure, user));
        Ok(())
    }

    /// Ends `measure` for a user, if it holds.
    pub fn lift(&mut self, topic: &Topic, measure: Measure, user_id: &str) {
        let Some(terms) = self.by_topic.get_mut(topic) else { return };
        let Some(term) = terms[measure as usize].remove(user_id) else { return };
        if terms.iter().all(BTreeMap::is_empty) {
            self.by_topic.remove(topic);
            shrink_if_sparse(&mut self.by_topic);
        }
        self.ends.remove(&term);
    }

    /// When [`Sanctions::expire`] will have something to do.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Mono> {
        self.ends.first_key_value().map(|(term, _)| term.until)
    }

    /// Forgets what no longer holds, at most so many.
    pub fn expire(&mut self, now: Mono, most: usize) {
        for _ in 0..most {
            match self.ends.first_key_value() {
                Some((term, (topic, measure, user))) if term.until <= now => {
                    let (topic, measure, user) = (topic.clone(), *measure, Arc::clone(user));
                    self.lift(&topic, measure, &user);
                }
                _ => return,
            }
        }
    }

    /// How many measures are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Asserts the invariants.
    pub(super) fn check(&self) {
        let mut count = 0;
        for (topic, terms) in &self.by_topic {
            let here = terms[0].len() + terms[1].len();
            assert!(0 < here && here <= SANCTIONS_PER_TOPIC_MAX, "{topic:?} has {here} measures");
            for (measure, terms) in [(Measure::Ban, &terms[0]), (Measure::Mute, &terms[1])] {
                for (user, term) in terms {
                    assert_eq!(self.ends.get(term), Some(&(topic.clone(), measure, Arc::clone(user))));
                }
            }
            count += here;
        }
        assert!(count == self.ends.len() && count <= SANCTIONS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topic(kind: TopicKind, name: &str) -> Topic {
        Topic::new(kind, name, Keys::new([6; 16]))
    }

    fn room(name: &str) -> Topic {
        topic(TopicKind::Room, name)
    }

    #[test]
    fn moderators_are_found_by_room_and_user() {
        let appointment =
            |rooms, users| Appointment { rooms: NamePattern::new(rooms), users: NamePattern::new(users) };
        let all = [appointment("chat:*", "admin-*"), appointment("*", "root")];
        assert!(is_moderator(&all, &room("chat:1"), "admin-ann"));
        assert!(!is_moderator(&all, &room("news"), "admin-ann"));
        assert!(is_moderator(&all, &room("news"), "root"));
        assert!(!is_moderator(&all, &topic(TopicKind::Channel, "news"), "root"), "rooms only");
        let users: Vec<_> =
            ["bob", "root", "admin-a", "cat"].map(|id| Arc::new(User { id: id.into(), name: None })).into();
        assert_eq!(moderators(&all, &room("chat:1"), &users), [1, 2]);
        assert_eq!(moderators(&all, &room("news"), &users), [1]);
        assert_eq!(moderators(&all, &topic(TopicKind::Document, "chat:1"), &users), [0; 0]);
        assert_eq!(moderators(&[], &room("news"), &users), [0; 0]);
    }

    #[test]
    fn measures_are_bounded_by_topic_and_in_all() {
        let mut sanctions = Sanctions::new(Keys::new([6; 16]));
        let mut impose = |room: &Topic, n: usize| {
            sanctions.impose(room, Measure::Ban, &format!("u{n}"), Mono(9 + n as u64))
        };
        for n in 0..SANCTIONS_PER_TOPIC_MAX {
            assert_eq!(impose(&room("0"), n), Ok(()));
        }
        assert_eq!(impose(&room("0"), SANCTIONS_PER_TOPIC_MAX), Err(TooMany));
        assert_eq!(impose(&room("0"), 1), Ok(()), "again is not one more");
        for n in SANCTIONS_PER_TOPIC_MAX..SANCTIONS_MAX {
            assert_eq!(impose(&room(&(n / SANCTIONS_PER_TOPIC_MAX).to_string()), n), Ok(()));
        }
        assert_eq!(impose(&room("one more"), 0), Err(TooMany));
        sanctions.check();
        sanctions.expire(Mono(u64::MAX), SANCTIONS_MAX - 1);
        assert_eq!(sanctions.len(), 1);
        sanctions.expire(Mono(u64::MAX), 1);
        assert!(sanctions.is_empty() && sanctions.by_topic.capacity() < 100);
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(
            steps in prop::collection::vec((0u8..4, 0u8..2, 0u8..4, any::<bool>(), 0u64..9), 0..100),
        ) {
            let mut sanctions = Sanctions::new(Keys::new([6; 16]));
            let mut plain: BTreeMap<(u8, u8, bool), u64> = BTreeMap::new();
            let mut now = 0;
            for (act, place, who, mute, time) in steps {
                let (topic, user) = (room(&place.to_string()), format!("u{who}"));
                let measure = if mute { Measure::Mute } else { Measure::Ban };
                match act {
                    0 => now += time,
                    1 => {
                        sanctions.expire(Mono(now), usize::MAX);
                        plain.retain(|_, until| *until > now);
                        prop_assert_eq!(sanctions.len(), plain.len());
                    }
                    2 => {
                        sanctions.lift(&topic, measure, &user);
                        plain.remove(&(place, who, mute));
                    }
                    _ => {
                        sanctions.impose(&topic, measure, &user, Mono(now + time)).expect("few");
                        plain.insert((place, who, mute), now + time);
                    }
                }
                sanctions.check();
                let until = sanctions.until(&topic, measure, &user, Mono(now)).map(|until| until.0);
                let expected = plain.get(&(place, who, mute)).copied().filter(|until| *until > now);
                prop_assert_eq!(until, expected);
                prop_assert_eq!(sanctions.next_expiry().map(|at| at.0), plain.values().min().copied());
            }
        }
    }
}
