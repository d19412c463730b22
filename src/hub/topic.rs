//! One topic as its owner knows it: numbering, members, presence and history, put together.
//!
//! Operations return what happened as values; telling anybody is `hub::owner`'s work. No rule about a
//! kind of topic stands here: they come in as a [`Policy`].

mod text;

use std::sync::{Arc, OnceLock};

use crate::base::clock::{Mono, Now};
use crate::base::hash::Keys;
use crate::base::id::{Origin, ShardId};
use crate::base::shared::Shared;
use crate::hub::event::{Body, LISTED_USERS_MAX, Publication, Redelivery, Roll, Snapshot};
use crate::hub::history::{Gap, History};
use crate::hub::journal::Reach;
use crate::hub::name::{Topic, User};
use crate::hub::pad::Pad;
use crate::hub::policy::{Policy, RowId};
use crate::hub::presence::{Place, Presence};
use crate::hub::table::Table;

/// Everything that is known about one topic.
#[derive(Debug)]
pub struct Record {
    topic: Topic,
    /// Names the numbering; another record of the same topic has another one.
    epoch: Arc<str>,
    /// What holds for it.
    row: RowId,
    /// Of a channel, once there have been patterns.
    pub(super) matched: Option<Box<Matched>>,
    /// The users are too many to be told of one by one.
    crowded: bool,
    /// A store knows of it.
    stored: bool,
    /// Users who have no connection left and time to come back. Presence knows each by one connection more.
    lingering: u32,
    /// Offset of the newest publication; 0 before the first.
    head: u64,
    members: Table<Origin, Place>,
    /// Members per shard, in order of the shards; none with zero.
    shards: Vec<(ShardId, u32)>,
    presence: Presence,
    /// None while nothing is remembered, which is most topics' lot.
    kept: Option<Box<Kept>>,
}

/// What a topic remembers.
#[derive(Debug)]
enum Kept {
    /// Invariant: not empty.
    History(History),
    /// Boxed once more, as histories are many and small.
    Pad(Box<Pad>),
}

/// Which patterns match a channel.
#[derive(Debug)]
pub(super) struct Matched {
    /// When the set of patterns was looked at, as `hub::owner::patterns` counts.
    pub(super) at: u32,
    /// The slots of those that matched then.
    pub(super) patterns: Vec<u32>,
}

/// How a join went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The origin had been a member already; nothing changed.
    Again,
    /// The user's first connection here.
    First,
    /// One more connection of a user who is here.
    Further,
}

/// The topic has its most members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Who left.
#[derive(Debug)]
pub struct Departure {
    /// The user that the origin had joined as.
    pub user: Arc<User>,
    /// Whether this was the user's last connection here, and the user is gone with it.
    pub last: bool,
    /// The user stays without a connection until [`Record::lapse`] is told this place.
    pub lingers: Option<Place>,
}

/// The number of users has crossed a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// They are too many to be told of one by one.
    Crowded,
    /// They are few again.
    Thinned,
}

/// So much of the bound must go before a crowd counts as thinned, so that one user who comes and goes does not have
/// everybody told anew each time.
const THINNED_PART: u32 = 8;

/// Which part of the history a join asks for.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// None of it.
    Nothing,
    /// The newest so many publications.
    Newest(u32),
    /// All after an offset of an epoch.
    Since(u64, &'a str),
    /// The text of a document, for somebody about whom this is to be known.
    Text(Option<&'a [u8]>),
}

impl Record {
    /// A topic without members whose numbering begins, named by `epoch`; `row` is the policy that holds for it.
    #[must_use]
    pub fn new(topic: Topic, epoch: Arc<str>, row: RowId) -> Record {
        Record {
            topic,
            epoch,
            row,
            matched: None,
            crowded: false,
            stored: false,
            lingering: 0,
            head: 0,
            members: Table::default(),
            shards: Vec::new(),
            presence: Presence::default(),
            kept: None,
        }
    }

    /// Makes `origin` a member as `user`.
    ///
    /// # Errors
    /// When it would be one more than the policy allows.
    pub fn join(
        &mut self,
        origin: Origin,
        user: &Arc<User>,
        policy: &Policy,
        keys: Keys,
    ) -> Result<Arrival, Full> {
        if self.is_member(origin) {
            return Ok(Arrival::Again);
        }
        if policy.members_max.is_some_and(|max| self.members_count() >= max) {
            return Err(Full);
        }
        let (place, first) = self.presence.come(user, keys);
        self.members.insert(origin, place, keys);
        match self.shards.binary_search_by_key(&origin.shard, |(shard, _)| *shard) {
            Ok(at) => self.shards[at].1 += 1,
            Err(at) => {
                // Exactly: rooms with members on one or two shards are the very many.
                self.shards.reserve_exact(1);
                self.shards.insert(at, (origin.shard, 1));
            }
        }
        Ok(if first { Arrival::First } else { Arrival::Further })
    }

    /// Ends `origin`'s membership; none if it was no member. If it was the user's last connection, the user is gone
    /// as well, or `lingers`.
    pub fn leave(&mut self, origin: Origin, lingers: bool) -> Option<Departure> {
        let place = self.members.remove(&origin)?;
        let departure = if lingers && self.presence.connections(place) == 1 {
            self.lingering += 1;
            Departure { user: Arc::clone(self.presence.user(place)), last: false, lingers: Some(place) }
        } else {
            let (user, last) = self.presence.go(place);
            Departure { user, last, lingers: None }
        };
        let at = self.shards.binary_search_by_key(&origin.shard, |(shard, _)| *shard);
        let at = at.expect("a member's shard is counted");
        self.shards[at].1 -= 1;
        if self.shards[at].1 == 0 {
            self.shards.remove(at);
        }
        if let Some(pad) = self.pad_mut() {
            pad.leave(origin, &departure.user.id, departure.last);
        }
        Some(departure)
    }

    /// A user does not linger any more; whether the user is gone with that, or has come back.
    pub fn lapse(&mut self, place: Place) -> (Arc<User>, bool) {
        self.lingering -= 1;
        self.presence.go(place)
    }

    /// Sees whether the users have become more than `max`, or clearly fewer again.
    pub fn recount(&mut self, max: u32) -> Option<Crossing> {
        let users = self.user_count();
        if !self.crowded && users > max {
            self.crowded = true;
            Some(Crossing::Crowded)
        } else if self.crowded && users <= max - max / THINNED_PART {
            self.crowded = false;
            Some(Crossing::Thinned)
        } else {
            None
        }
    }

    /// Forgets all publications; the numbering goes on.
    pub fn clear_history(&mut self) {
        debug_assert!(self.pad().is_none(), "a text is no history");
        self.kept = None;
    }

    /// Numbers, dates and remembers a publication of `user`.
    pub fn publish(
        &mut self,
        user: Arc<User>,
        (payload, body): (Shared, Body),
        now: Now,
        policy: &Policy,
    ) -> Arc<Publication> {
        let offset = if policy.numbered { self.head + 1 } else { 0 };
        let before = std::mem::replace(&mut self.head, offset);
        let publication = fresh(offset, user, (payload, body), now);
        if policy.history_messages_max > 0 {
            let kept = self.kept.get_or_insert_with(|| Box::new(Kept::History(History::after(before))));
            if let Kept::History(history) = &mut **kept {
                history.push(Arc::clone(&publication), now.mono, policy);
            }
            self.drop_empty_history();
        }
        publication
    }

    /// Takes over what a store has kept: `publications` end with offset `head`, if there are any, and nobody has missed
    /// what was published up to `acknowledged`.
    pub fn restore(
        &mut self,
        (head, acknowledged): (u64, u64),
        publications: Vec<Arc<Publication>>,
        now: Mono,
        policy: &Policy,
    ) {
        debug_assert!(publications.last().is_none_or(|newest| newest.offset == head));
        (self.head, self.stored) = (head, true);
        if policy.history_messages_max > 0 {
            let kept = self.kept.get_or_insert_with(|| Box::new(Kept::History(History::after(acknowledged))));
            if let Kept::History(history) = &mut **kept {
                publications.into_iter().for_each(|publication| history.push(publication, now, policy));
            }
        }
        self.drop_empty_history();
    }

    /// How far the history reaches back.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let Some(history) = self.history() else {
            return Reach { first: self.head + 1, acknowledged: self.head };
        };
        let first = self.head + 1 - history.len() as u64;
        Reach { first, acknowledged: history.acknowledged().min(first - 1) }
    }

    /// Whether a store knows of the topic, and so has to be told of its end.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.stored
    }

    /// A store is told of the topic.
    pub(super) fn mark_stored(&mut self) {
        self.stored = true;
    }

    /// How the topic stands, with the part of its history that is `wanted`. A position that cannot be
    /// continued without a hole gets all the history there is instead.
    pub fn snapshot(&mut self, wanted: Wanted<'_>, now: Mono, policy: &Policy) -> Snapshot {
        let (recovered, messages) = match wanted {
            Wanted::Nothing | Wanted::Text(_) => (None, None),
            Wanted::Newest(limit) => (None, Some(self.newest(limit, None, now, policy))),
            Wanted::Since(offset, epoch) => match self.since(offset, epoch, now, policy) {
                Ok(missed) => (Some(true), Some(missed)),
                Err(_) => (Some(false), Some(self.newest(u32::MAX, None, now, policy))),
            },
        };
        Snapshot {
            members_count: self.members_count(),
            user_count: self.user_count(),
            roll: Roll { users: self.listed_users(policy), moderators: Vec::new() },
            offset: self.head,
            epoch: Arc::clone(&self.epoch),
            recovered,
            messages,
            text: if let Wanted::Text(_) = wanted { self.text() } else { None },
        }
    }

    /// Everything published after `offset` of `epoch`, oldest first.
    ///
    /// # Errors
    /// When it cannot be all.
    pub fn since(
        &mut self,
        offset: u64,
        epoch: &str,
        now: Mono,
        policy: &Policy,
    ) -> Result<Vec<Arc<Publication>>, Gap> {
        if !policy.numbered || epoch != &*self.epoch {
            return Err(Gap::Epoch);
        }
        let mut nothing = History::default();
        let head = self.head;
        let history = self.history_mut().unwrap_or(&mut nothing);
        let missed = history.since(offset, head, now, policy).map(|missed| missed.cloned().collect());
        self.drop_empty_history();
        missed
    }

    /// The newest `limit` publications, oldest first; only those before offset `before` if given.
    pub fn newest(
        &mut self,
        limit: u32,
        before: Option<u64>,
        now: Mono,
        policy: &Policy,
    ) -> Vec<Arc<Publication>> {
        let Some(history) = self.history_mut() else { return Vec::new() };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let messages = history.newest(limit, before, now, policy).cloned().collect();
        self.drop_empty_history();
        messages
    }

    /// The numbering of a new record goes on after `head`.
    pub(super) fn begin_after(&mut self, head: u64) {
        debug_assert!(self.head == 0 && self.kept.is_none());
        self.head = head;
    }

    /// All that is kept and not acknowledged, oldest first.
    pub fn redelivery(&mut self, now: Mono, policy: &Policy) -> Redelivery {
        let messages = self.newest(u32::MAX, None, now, policy);
        let lost = self.history().and_then(History::unacknowledged_lost);
        Redelivery { lost, messages }
    }

    /// Forgets everything up to `offset`, for good; nobody has missed that.
    pub fn acknowledge(&mut self, offset: u64) {
        if let Some(history) = self.history_mut() {
            history.acknowledge(offset);
        }
        self.drop_empty_history();
    }

    /// When all that is remembered will have expired, if nobody comes; none if nothing is remembered at `now`.
    pub fn expiry(&mut self, now: Mono, policy: &Policy) -> Option<Mono> {
        if let Some(pad) = self.pad() {
            // Nobody misses what nobody ever wrote.
            return (pad.document().version() > 0).then(|| now + policy.history_age);
        }
        self.history_mut()?.forget_aged(now, policy);
        self.drop_empty_history();
        self.history()?.expiry(policy)
    }

    /// Forgets the oldest publications: at least one, and until `bytes` are free or half is gone.
    pub fn forget(&mut self, bytes: usize) {
        let Some(history) = self.history_mut() else { return };
        let before = history.bytes();
        history.forget_oldest();
        while before - history.bytes() < bytes && history.bytes() > before / 2 {
            history.forget_oldest();
        }
        self.drop_empty_history();
    }

    /// Kind and name.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Which policy holds for it.
    #[must_use]
    pub fn row(&self) -> RowId {
        self.row
    }

    /// The numbering's name.
    #[must_use]
    pub fn epoch(&self) -> &Arc<str> {
        &self.epoch
    }

    /// Offset of the newest publication; 0 before the first.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Whether `origin` is a member.
    #[must_use]
    pub fn is_member(&self, origin: Origin) -> bool {
        self.members.get(&origin).is_some()
    }

    /// The user that `origin` is a member as. Where one user's connections show different names, this is
    /// the user as it first came.
    #[must_use]
    pub fn member(&self, origin: Origin) -> Option<&Arc<User>> {
        self.members.get(&origin).map(|place| self.presence.user(place))
    }

    /// Where the user stands that `origin` is a member as.
    #[must_use]
    pub fn place(&self, origin: Origin) -> Option<Place> {
        self.members.get(&origin)
    }

    /// Where the user of this id stands, and all its connections in their own order. In time proportional to the
    /// topic if the user is there.
    #[must_use]
    pub fn connections_of(&self, user_id: &str) -> Option<(Place, Vec<Origin>)> {
        let (place, most) = self.presence.of(user_id)?;
        let theirs = self.members.entries().filter(|(_, at)| *at == place).map(|(origin, _)| *origin);
        let mut origins: Vec<Origin> = theirs.take(most as usize).collect();
        origins.sort_unstable();
        Some((place, origins))
    }

    /// Connections in the topic.
    #[must_use]
    pub fn members_count(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    /// Distinct users in the topic.
    #[must_use]
    pub fn user_count(&self) -> u32 {
        u32::try_from(self.presence.len()).unwrap_or(u32::MAX)
    }

    /// All users in order of arrival; none where they are a crowd, and the first [`LISTED_USERS_MAX`] where they
    /// cannot be one.
    #[must_use]
    pub fn listed_users(&self, policy: &Policy) -> Vec<Arc<User>> {
        let most = if self.crowded {
            0
        } else if policy.crowds {
            usize::MAX
        } else {
            LISTED_USERS_MAX
        };
        self.users(most)
    }

    /// The first `limit` users, in order of arrival.
    #[must_use]
    pub fn users(&self, limit: usize) -> Vec<Arc<User>> {
        self.presence.users().take(limit).cloned().collect()
    }

    /// Whether the users are too many to be told of one by one.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// Shards that have members, in order, and how many.
    #[must_use]
    pub fn shards(&self) -> &[(ShardId, u32)] {
        &self.shards
    }

    /// What is remembered costs so many bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self.kept.as_deref() {
            None => 0,
            Some(Kept::History(history)) => history.bytes(),
            Some(Kept::Pad(pad)) => pad.bytes(),
        }
    }

    fn history(&self) -> Option<&History> {
        match self.kept.as_deref()? {
            Kept::History(history) => Some(history),
            Kept::Pad(_) => None,
        }
    }

    fn history_mut(&mut self) -> Option<&mut History> {
        match self.kept.as_deref_mut()? {
            Kept::History(history) => Some(history),
            Kept::Pad(_) => None,
        }
    }

    fn drop_empty_history(&mut self) {
        if self.history().is_some_and(History::is_empty) {
            self.kept = None;
        }
    }

    /// Asserts the invariants, in time proportional to the topic.
    pub(super) fn check(&self, policy: &Policy) {
        let mut counted = std::collections::BTreeMap::new();
        for (origin, place) in self.members.entries() {
            assert!(!self.presence.user(place).id.is_empty());
            *counted.entry(origin.shard).or_insert(0) += 1;
        }
        assert_eq!(self.shards, counted.into_iter().collect::<Vec<_>>(), "members per shard");
        self.presence.check(self.members.len() + self.lingering as usize);
        assert!(policy.members_max.is_none_or(|max| self.members_count() <= max));
        assert!(policy.numbered || self.head == 0);
        if let Some(history) = self.history() {
            assert!(!history.is_empty(), "an empty history costs nothing");
            history.check(self.head, policy);
        }
        if let Some(pad) = self.pad() {
            assert!(pad.document().authors().all(|author| self.is_member(author)), "members edit");
            pad.check();
        }
    }
}

/// A publication that nobody has encoded yet.
pub(super) fn fresh(
    offset: u64,
    user: Arc<User>,
    (payload, body): (Shared, Body),
    now: Now,
) -> Arc<Publication> {
    Arc::new(Publication { offset, time: now.wall, user, payload, body, frame: OnceLock::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Wall;
    use crate::base::id::Key;
    use crate::hub::name::TopicKind;
    use crate::hub::policy::{Options, Policies};

    const KEYS: [u8; 16] = [5; 16];

    fn origin(shard: u16, slot: u32) -> Origin {
        Origin { shard: ShardId(shard), conn: Key { slot, generation: 0 } }
    }

    fn user(id: &str) -> Arc<User> {
        Arc::new(User { id: id.into(), name: None })
    }

    fn room() -> (Record, Policy, Keys) {
        let keys = Keys::new(KEYS);
        let policies = Policies::new(&Options { room_members_max: Some(3), ..Options::default() });
        let row = policies.find(TopicKind::Room, "r");
        let record = Record::new(Topic::new(TopicKind::Room, "r", keys), "e1".into(), row);
        (record, policies.row(row).clone(), keys)
    }

    fn at(micros: u64) -> Now {
        Now { mono: Mono(micros), wall: Wall(micros / 1000) }
    }

    #[test]
    fn joins_count_once_per_origin_up_to_the_limit() {
        let (mut record, policy, keys) = room();
        let ann = user("ann");
        assert_eq!(record.join(origin(1, 1), &ann, &policy, keys), Ok(Arrival::First));
        assert_eq!(record.join(origin(1, 1), &ann, &policy, keys), Ok(Arrival::Again));
        assert_eq!(record.join(origin(0, 1), &ann, &policy, keys), Ok(Arrival::Further));
        assert_eq!(record.join(origin(1, 2), &user("bob"), &policy, keys), Ok(Arrival::First));
        assert_eq!(record.join(origin(1, 3), &user("cat"), &policy, keys), Err(Full));
        assert_eq!(
            record.join(origin(1, 2), &user("bob"), &policy, keys),
            Ok(Arrival::Again),
            "even when full"
        );
        assert_eq!(record.shards(), [(ShardId(0), 1), (ShardId(1), 2)]);
        assert_eq!((record.members_count(), record.user_count()), (3, 2));
        record.check(&policy);
        assert!(!record.leave(origin(0, 1), false).expect("a member").last);
        assert!(record.leave(origin(0, 1), false).is_none());
        assert!(record.leave(origin(1, 1), false).expect("a member").last);
        assert_eq!(record.shards(), [(ShardId(1), 1)]);
        record.check(&policy);
    }

    #[test]
    fn who_lingers_is_a_user_without_a_connection() {
        let (mut record, policy, keys) = room();
        let ann = user("ann");
        for slot in [1, 2] {
            record.join(origin(0, slot), &ann, &policy, keys).expect("room");
        }
        assert_eq!(record.leave(origin(0, 1), true).expect("a member").lingers, None, "one is left");
        let place = record.leave(origin(0, 2), true).expect("a member").lingers.expect("the last");
        assert_eq!((record.members_count(), record.user_count(), record.lingering), (0, 1, 1));
        record.check(&policy);
        assert_eq!(
            record.join(origin(0, 3), &ann, &policy, keys),
            Ok(Arrival::Further),
            "has never been away"
        );
        assert_eq!(record.lapse(place), (Arc::clone(&ann), false));
        let place = record.leave(origin(0, 3), true).expect("a member").lingers.expect("the last");
        assert_eq!(record.connections_of("ann"), Some((place, vec![])));
        assert_eq!(record.lapse(place), (ann, true));
        assert_eq!(record.user_count(), 0);
        record.check(&policy);
    }

    #[test]
    fn a_crowd_is_one_until_it_has_clearly_thinned() {
        let (mut record, policy, keys) = room();
        let policy = Policy { members_max: None, ..policy };
        let mut news = Vec::new();
        let mut step = |record: &mut Record, slot: u32, comes: bool| {
            if comes {
                record.join(origin(0, slot), &user(&slot.to_string()), &policy, keys).expect("no limit");
            } else {
                record.leave(origin(0, slot), false);
            }
            if let Some(crossing) = record.recount(16) {
                news.push((slot, crossing));
            }
            record.listed_users(&policy).len()
        };
        let came: Vec<usize> = (0..20).map(|slot| step(&mut record, slot, true)).collect();
        assert_eq!(came[..17], (1..=16).chain([0]).collect::<Vec<_>>());
        let went: Vec<usize> = (0..8).map(|slot| step(&mut record, slot, false)).collect();
        assert_eq!(went, [0, 0, 0, 0, 0, 14, 13, 12], "two of sixteen below the bound");
        assert_eq!(news, [(16, Crossing::Crowded), (5, Crossing::Thinned)]);
        assert_eq!(Record::recount(&mut record, 0), Some(Crossing::Crowded), "nobody is told of");
    }

    #[test]
    fn a_snapshot_says_whether_it_is_everything() {
        let (mut record, policy, _) = room();
        for n in 1..=3 {
            record.publish(user("ann"), (Shared::copy_of(b"x"), Body::Value), at(n), &policy);
        }
        let mut told = |wanted| {
            let snapshot = record.snapshot(wanted, Mono(4), &policy);
            let messages = snapshot.messages;
            (snapshot.recovered, messages.map(|all| all.iter().map(|one| one.offset).collect::<Vec<_>>()))
        };
        assert_eq!(told(Wanted::Nothing), (None, None));
        assert_eq!(told(Wanted::Newest(2)), (None, Some(vec![2, 3])));
        assert_eq!(told(Wanted::Since(1, "e1")), (Some(true), Some(vec![2, 3])));
        assert_eq!(told(Wanted::Since(3, "e1")), (Some(true), Some(vec![])));
        assert_eq!(told(Wanted::Since(4, "e1")), (Some(false), Some(vec![1, 2, 3])), "ahead of the head");
        assert_eq!(told(Wanted::Since(1, "e0")), (Some(false), Some(vec![1, 2, 3])), "another numbering");
        // A day later all is forgotten, and yet who stands at the head has missed nothing.
        let day = Mono(86_400_000_000);
        assert_eq!(record.snapshot(Wanted::Since(3, "e1"), day, &policy).recovered, Some(true));
        assert_eq!(record.snapshot(Wanted::Since(2, "e1"), day, &policy).recovered, Some(false));
        assert_eq!(record.bytes(), 0);
        record.check(&policy);
    }

    #[test]
    fn forgetting_frees_what_is_asked_but_at_most_about_half() {
        let (mut record, policy, _) = room();
        for n in 1..=10 {
            record.publish(user("ann"), (Shared::copy_of(b""), Body::Value), at(n), &policy);
        }
        let each = record.bytes() / 10;
        record.forget(1);
        assert_eq!(record.bytes(), 9 * each);
        record.forget(each + 1);
        assert_eq!(record.bytes(), 7 * each);
        record.forget(usize::MAX);
        assert_eq!(record.bytes(), 3 * each);
        record.check(&policy);
        for _ in 0..3 {
            record.forget(usize::MAX);
        }
        assert_eq!(record.bytes(), 0);
        record.forget(1);
        record.check(&policy);
    }

    #[test]
    fn a_topic_of_one_stays_small() {
        // With what malloc puts before it, 160.
        assert!(size_of::<Record>() <= 152, "{}", size_of::<Record>());
        assert_eq!(size_of::<(Origin, Place)>(), 16);
    }
}
