//! Random runs of a whole owner with its edges, compared step by step with a model that keeps plain lists
//! and works everything out anew.
//!
//! The edges do what real ones do: a member from the `Joined` reply to the `Left` reply, skipped or served
//! its own copy as the sender. Each shard's lane is read in order, so how lanes interleave cannot matter.

mod edges;

use std::collections::{BTreeMap, BTreeSet};

use edges::Edges;

use super::*;
use crate::hub::command::Act;
use crate::hub::moderation::Appointment;
use crate::hub::pattern::NamePattern;

const CONNS: u32 = 3;
const USERS: usize = 4;
const ROOMS_MAX_MEMBERS: u32 = 6;
const INBOX: usize = 2;
/// No connection at all: whom all others are all.
const NOBODY: Origin = Origin { shard: ShardId(SHARDS), conn: Key { slot: 0, generation: 0 } };

/// What one connection sees.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Joined {
        members: u32,
        users: Vec<String>,
        offset: u64,
        recovered: Option<bool>,
        messages: Option<Vec<u64>>,
    },
    Left,
    Refused(Refusal),
    Accepted(u64),
    History {
        messages: Vec<u64>,
        offset: u64,
    },
    Users {
        members: u32,
        users: Vec<String>,
    },
    Published {
        topic: usize,
        offset: u64,
        user: String,
        payload: Vec<u8>,
        tag: Tag,
    },
    UserJoined(String, u32, bool),
    UserLeft(String, u32),
    Typing(String, bool),
    Count(u32, usize, Option<Vec<String>>),
    Cleared(u64),
    Kicked(u64),
    Muted(u64),
}

type Log = BTreeMap<Origin, Vec<Seen>>;

#[derive(Clone, Debug)]
enum Step {
    Join { since: Option<(u64, bool)>, history: u32 },
    Leave,
    Gone,
    Publish { echo: bool, tagged: bool, bytes: usize },
    Broadcast { tagged: bool },
    Typing { tagged: bool },
    History { limit: u32, before: Option<u64> },
    Users,
    Kick { user: usize, seconds: u64 },
    Mute { user: usize, seconds: u64 },
    Clear,
    Wait { ms: u64 },
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (prop::option::of((0u64..6, prop::bool::weighted(0.9))), 0u32..6)
            .prop_map(|(since, history)| Step::Join { since, history }),
        2 => Just(Step::Leave),
        2 => Just(Step::Gone),
        8 => (any::<bool>(), any::<bool>(), 0usize..1000)
            .prop_map(|(echo, tagged, bytes)| Step::Publish { echo, tagged, bytes }),
        1 => any::<bool>().prop_map(|tagged| Step::Broadcast { tagged }),
        2 => any::<bool>().prop_map(|tagged| Step::Typing { tagged }),
        2 => (0u32..6, prop::option::of(0u64..12)).prop_map(|(limit, before)| Step::History { limit, before }),
        1 => Just(Step::Users),
        1 => (0..USERS, 0u64..2).prop_map(|(user, seconds)| Step::Kick { user, seconds }),
        1 => (0..USERS, 0u64..2).prop_map(|(user, seconds)| Step::Mute { user, seconds }),
        1 => Just(Step::Clear),
        4 => prop_oneof![20 => 0u64..70, 1 => Just(1000)].prop_map(|ms| Step::Wait { ms }),
        2 => Just(Step::Expire),
    ]
}

fn everybody() -> impl Iterator<Item = Origin> {
    (0..SHARDS).flat_map(|shard| (0..CONNS).map(move |slot| origin(shard, slot)))
}

/// Connections of one user are spread over shards.
fn user_of(origin: Origin) -> String {
    format!("u{}", (usize::from(origin.shard.0) + origin.conn.slot as usize * 2) % USERS)
}

/// One user moderates the first room, another one both.
fn moderates(topic: usize, user: &str) -> bool {
    topic == 0 && user == "u0" || topic < INBOX && user == "u1"
}

/// Two rooms, an inbox, everyone.
fn topics() -> [Topic; 4] {
    let topic = |kind, name| Topic::new(kind, name, keys());
    [room("a"), room("b"), topic(TopicKind::Inbox, "u0"), topic(TopicKind::Everyone, "*")]
}

// ---- the model ----------------------------------------------------------------------------------------

/// A topic as plain lists.
#[derive(Default)]
struct Plain {
    epoch: Option<Arc<str>>,
    members: Vec<Origin>,
    users: Vec<String>,
    /// Users without a connection, and until when they may come back.
    lingering: Vec<(u64, String)>,
    /// Everything ever published: when, and what it costs.
    published: Vec<(u64, usize)>,
    /// So much of it was cleared.
    cleared: u64,
    crowded: bool,
    /// When a crowd is counted.
    counted_ms: Option<u64>,
}

impl Plain {
    /// Offsets that must still be remembered.
    fn remembered(&self, now_ms: u64) -> Vec<u64> {
        let mut bytes = 0;
        let newest = self.published.iter().enumerate().rev().take(4).take_while(|(_, (_, cost))| {
            bytes += cost;
            bytes <= 6 * PUBLICATION_BYTES
        });
        let alive = newest.filter(|(_, (ms, _))| ms + 100 > now_ms);
        let offsets = alive.map(|(index, _)| index as u64 + 1);
        let mut offsets: Vec<u64> = offsets.filter(|offset| *offset > self.cleared).collect();
        offsets.reverse();
        offsets
    }

    fn head(&self) -> u64 {
        self.published.len() as u64
    }

    fn count(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap()
    }

    /// The user, if this was its last connection.
    fn part(&mut self, me: Origin) -> Option<String> {
        self.members.retain(|member| *member != me);
        let user = user_of(me);
        self.members.iter().all(|member| user_of(*member) != user).then_some(user)
    }

    /// Whether there is nothing to keep it for.
    fn is_void(&self, now_ms: u64) -> bool {
        self.users.is_empty() && self.members.is_empty() && self.remembered(now_ms).is_empty()
    }

    /// Whether the users have become a crowd, or are none any more.
    fn crosses(&mut self, list_max: usize) -> bool {
        let before = self.crowded;
        // Below eight, an eighth is nothing.
        self.crowded = self.users.len() > list_max;
        before != self.crowded
    }

    fn listed(&self) -> Vec<String> {
        if self.crowded { Vec::new() } else { self.users.clone() }
    }

    fn count_now(&self) -> Seen {
        Seen::Count(self.count(), self.users.len(), (!self.crowded).then(|| self.users.clone()))
    }
}

#[derive(Default)]
struct Model {
    topics: [Option<Plain>; 3],
    now_ms: u64,
    grace_ms: u64,
    list_max: usize,
    bans: BTreeMap<(usize, String), u64>,
    mutes: BTreeMap<(usize, String), u64>,
}

impl Model {
    fn all_but(&self, topic: usize, me: Origin, seen: &Seen, log: &mut Log) {
        for member in self.topics[topic].iter().flat_map(|plain| &plain.members).filter(|other| **other != me)
        {
            log.entry(*member).or_default().push(seen.clone());
        }
    }

    fn is_member(&self, topic: usize, me: Origin) -> bool {
        self.topics[topic].as_ref().is_some_and(|plain| plain.members.contains(&me))
    }

    fn join(&mut self, me: Origin, topic: usize, since: Option<(u64, bool)>, history: u32, log: &mut Log) {
        let user = user_of(me);
        if let Some(until) = self.bans.get(&(topic, user.clone())).filter(|until| **until > self.now_ms) {
            let retry_after_ms = until - self.now_ms;
            log.entry(me).or_default().push(Seen::Refused(Refusal::Banned { retry_after_ms }));
            return;
        }
        let (list_max, max) = (self.list_max, if topic == INBOX { 2 } else { ROOMS_MAX_MEMBERS });
        let again = self.is_member(topic, me);
        let now_ms = self.now_ms;
        let plain = self.topics[topic].get_or_insert_default();
        if !again && plain.count() == max {
            log.entry(me).or_default().push(Seen::Refused(Refusal::RoomFull));
            return;
        }
        let first = !plain.users.contains(&user);
        let mut crosses = false;
        if !again {
            plain.members.push(me);
            plain.lingering.retain(|(_, other)| *other != user);
            if first {
                plain.users.push(user.clone());
                crosses = plain.crosses(list_max);
            }
        }
        let mut left = plain.remembered(now_ms);
        let (recovered, messages) = match since {
            Some((offset, right_epoch)) => {
                let missed: Vec<u64> = (offset + 1..=plain.head()).collect();
                let whole = right_epoch && topic != INBOX && offset <= plain.head();
                let whole = whole && missed.iter().all(|offset| left.contains(offset));
                (Some(whole), Some(if whole { missed } else { left }))
            }
            None if history > 0 => (None, Some(left.split_off(left.len().saturating_sub(history as usize)))),
            None => (None, None),
        };
        let (members, users, offset) = (plain.count(), plain.listed(), plain.head());
        log.entry(me).or_default().push(Seen::Joined { members, users, offset, recovered, messages });
        if first && topic != INBOX {
            let moderator = moderates(topic, &user);
            self.tell_of(topic, crosses, me, Seen::UserJoined(user, members, moderator), log);
        }
    }

    /// Tells all but one of a user by name, or of a crowd by number.
    fn tell_of(&mut self, topic: usize, crosses: bool, but: Origin, news: Seen, log: &mut Log) {
        let now_ms = self.now_ms;
        let plain = self.topics[topic].as_mut().unwrap();
        let seen = match (crosses, plain.crowded) {
            (true, crowded) => {
                plain.counted_ms = plain.counted_ms.filter(|_| crowded);
                plain.count_now()
            }
            (false, true) => {
                plain.counted_ms.get_or_insert(now_ms + 1000);
                return;
            }
            (false, false) => news,
        };
        self.all_but(topic, but, &seen, log);
    }

    /// A user is not there any more.
    fn is_gone(&mut self, topic: usize, user: String, log: &mut Log) {
        let list_max = self.list_max;
        let plain = self.topics[topic].as_mut().unwrap();
        plain.users.retain(|other| *other != user);
        plain.lingering.retain(|(_, other)| *other != user);
        let (crosses, members) = (plain.crosses(list_max), plain.count());
        if topic != INBOX {
            self.tell_of(topic, crosses, NOBODY, Seen::UserLeft(user, members), log);
        }
    }

    fn expire(&mut self, log: &mut Log) {
        let now_ms = self.now_ms;
        for topic in 0..INBOX {
            while let Some(plain) = &self.topics[topic]
                && let Some((_, user)) = plain.lingering.iter().filter(|(due, _)| *due <= now_ms).min()
            {
                self.is_gone(topic, user.clone(), log);
            }
        }
        for topic in 0..INBOX {
            if let Some(plain) = &mut self.topics[topic]
                && plain.counted_ms.take_if(|due| *due <= now_ms).is_some()
            {
                let seen = plain.count_now();
                self.all_but(topic, NOBODY, &seen, log);
            }
        }
        for slot in &mut self.topics {
            *slot = slot.take().filter(|plain| !plain.is_void(now_ms));
        }
    }

    /// What a moderator does; the refusal, if it may not.
    fn moderate(&mut self, me: Origin, topic: usize, step: &Step, log: &mut Log) -> Option<Refusal> {
        if !moderates(topic, &user_of(me)) {
            return Some(Refusal::Forbidden);
        }
        let now_ms = self.now_ms;
        let (Step::Kick { user, seconds } | Step::Mute { user, seconds }) = step else {
            let plain = self.topics[topic].as_mut().unwrap();
            plain.cleared = plain.head();
            let seen = Seen::Cleared(plain.cleared);
            self.all_but(topic, NOBODY, &seen, log);
            return None;
        };
        let user = format!("u{user}");
        if moderates(topic, &user) {
            return Some(Refusal::Forbidden);
        }
        let kick = matches!(step, Step::Kick { .. });
        let terms = if kick { &mut self.bans } else { &mut self.mutes };
        terms.insert((topic, user.clone()), now_ms + seconds * 1000);
        let plain = self.topics[topic].as_mut().unwrap();
        let theirs: Vec<Origin> =
            plain.members.iter().filter(|member| user_of(**member) == user).copied().collect();
        for member in theirs {
            let seen = if kick { Seen::Kicked(*seconds) } else { Seen::Muted(*seconds) };
            log.entry(member).or_default().push(seen);
        }
        if kick && plain.users.contains(&user) {
            plain.members.retain(|member| user_of(*member) != user);
            self.is_gone(topic, user, log);
        }
        None
    }

    fn part(&mut self, me: Origin, topic: usize, log: &mut Log) {
        let now_ms = self.now_ms;
        let plain = self.topics[topic].as_mut().unwrap();
        match plain.part(me) {
            Some(user) if self.grace_ms > 0 && topic != INBOX => {
                plain.lingering.push((now_ms + self.grace_ms, user));
            }
            Some(user) => self.is_gone(topic, user, log),
            None => {}
        }
        self.topics[topic].take_if(|plain| plain.is_void(now_ms));
    }

    fn publish(&mut self, me: Origin, topic: usize, echo: bool, tag: Tag, payload: Vec<u8>, log: &mut Log) {
        let inbox = topic == INBOX;
        let mut offset = 0;
        if let Some(plain) = self.topics[topic].as_mut().filter(|_| !inbox) {
            plain.published.push((self.now_ms, PUBLICATION_BYTES + 2 * payload.len()));
            offset = plain.head();
        }
        let seen = |tag| Seen::Published { topic, offset, user: user_of(me), payload: payload.clone(), tag };
        self.all_but(topic, me, &seen(None), log);
        let copied = echo && self.is_member(topic, me);
        // Where anybody may publish, the publication is not the answer.
        let answer = if copied && !inbox { None } else { tag.is_some().then_some(Seen::Accepted(offset)) };
        let copy = copied.then(|| seen(tag.filter(|_| !inbox)));
        for seen in answer.into_iter().chain(copy) {
            log.entry(me).or_default().push(seen);
        }
    }

    /// How long a user is still muted.
    fn muted_ms(&self, topic: usize, me: Origin) -> Option<u64> {
        let until = *self.mutes.get(&(topic, user_of(me)))?;
        until.checked_sub(self.now_ms).filter(|left| *left > 0)
    }

    /// What everybody must see of `step`.
    fn apply(&mut self, me: Origin, topic: usize, step: &Step, tag: Tag, payload: Vec<u8>) -> Log {
        let mut log = Log::new();
        let member = self.is_member(topic, me);
        let mut mine = |seen| log.entry(me).or_default().push(seen);
        match step {
            Step::Join { since, history } => self.join(me, topic, *since, *history, &mut log),
            Step::Wait { ms } => self.now_ms += ms,
            Step::Expire => self.expire(&mut log),
            Step::Broadcast { .. } => {
                if tag.is_some() {
                    mine(Seen::Accepted(0));
                }
                let seen = Seen::Published { topic: 3, offset: 0, user: user_of(me), payload, tag: None };
                for other in everybody().filter(|other| *other != me) {
                    log.entry(other).or_default().push(seen.clone());
                }
            }
            Step::Publish { .. } | Step::Typing { .. } if member && self.muted_ms(topic, me).is_some() => {
                let retry_after_ms = self.muted_ms(topic, me).unwrap();
                mine(Seen::Refused(Refusal::Muted { retry_after_ms }));
            }
            Step::Publish { echo, .. } if member || topic == INBOX => {
                self.publish(me, topic, *echo, tag, payload, &mut log);
            }
            Step::Gone if member => self.part(me, topic, &mut log),
            Step::Gone => {}
            _ if !member => mine(Seen::Refused(Refusal::NotMember(topics()[topic].kind()))),
            Step::Leave => {
                mine(Seen::Left);
                self.part(me, topic, &mut log);
            }
            Step::Typing { .. } => {
                if tag.is_some() {
                    mine(Seen::Accepted(0));
                }
                self.all_but(topic, me, &Seen::Typing(user_of(me), true), &mut log);
            }
            Step::History { limit, before } => {
                let plain = self.topics[topic].as_ref().unwrap();
                let mut messages = plain.remembered(self.now_ms);
                messages.retain(|offset| before.is_none_or(|before| *offset < before));
                messages.drain(..messages.len().saturating_sub(*limit as usize));
                mine(Seen::History { messages, offset: plain.head() });
            }
            Step::Users => {
                let plain = self.topics[topic].as_ref().unwrap();
                mine(Seen::Users { members: plain.count(), users: plain.listed() });
            }
            Step::Kick { .. } | Step::Mute { .. } | Step::Clear => {
                match self.moderate(me, topic, step, &mut log) {
                    Some(refusal) => log.entry(me).or_default().push(Seen::Refused(refusal)),
                    None => log.entry(me).or_default().insert(0, Seen::Accepted(0)),
                }
            }
            Step::Publish { .. } => unreachable!("members above, strangers refused"),
        }
        log
    }
}

// ---- the run ------------------------------------------------------------------------------------------

fn ask(step: &Step, me: Origin, topic: usize, epoch: Option<&Arc<str>>, payload: &[u8]) -> Option<Ask> {
    let payload = || Shared::copy_of(payload);
    Some(match step {
        Step::Join { since, history } => {
            let epoch = |right| if right { epoch.map_or("", |epoch| &**epoch) } else { "wrong" };
            let since = since.map(|(offset, right)| (offset, epoch(right).into()));
            Ask::Join { user: user(&user_of(me)), since, history: *history, by_right: false }
        }
        Step::Leave => Ask::Leave,
        Step::Gone => Ask::Gone,
        Step::Publish { echo, .. } => {
            let by = if topic == INBOX { By::Anyone(user(&user_of(me))) } else { By::Member };
            Ask::Publish { payload: payload(), by, echo: *echo }
        }
        Step::Broadcast { .. } => {
            Ask::Publish { payload: payload(), by: By::Anyone(user(&user_of(me))), echo: true }
        }
        Step::Typing { .. } => Ask::Typing { is_typing: true },
        Step::History { limit, before } => Ask::History { limit: *limit, before: *before },
        Step::Users => Ask::Users,
        Step::Kick { user, seconds } => {
            Ask::Moderate(Act::Kick { user_id: format!("u{user}").into(), seconds: *seconds })
        }
        Step::Mute { user, seconds } => {
            Ask::Moderate(Act::Mute { user_id: format!("u{user}").into(), seconds: *seconds })
        }
        Step::Clear => Ask::Moderate(Act::ClearHistory),
        Step::Wait { .. } | Step::Expire => return None,
    })
}

fn options(grace_ms: u64, list_max: usize) -> Options {
    let appoint =
        |rooms, users| Appointment { rooms: NamePattern::new(rooms), users: NamePattern::new(users) };
    Options {
        room_members_max: Some(ROOMS_MAX_MEMBERS),
        user_connections_max: Some(2),
        presence_grace: Duration::from_millis(grace_ms),
        presence_list_max: u32::try_from(list_max).unwrap(),
        moderators: vec![appoint("a", "u0"), appoint("*", "u1")],
        ..Options::default()
    }
}

fn sort(log: &mut Log) {
    log.values_mut().for_each(|seen| seen.sort_by_key(|one| format!("{one:?}")));
}

/// One run; gives back everything that was seen, to be compared with another run.
fn run(steps: &[(u16, u32, usize, Step)], grace_ms: u64, list_max: usize) -> String {
    let mut owner = Owner::new(ShardId(1), SHARDS, keys(), policies(options(grace_ms, list_max), usize::MAX));
    let mut edges = Edges::new(list_max);
    let mut model = Model { grace_ms, list_max, ..Model::default() };
    let mut epochs_used = BTreeSet::new();
    let mut transcript = String::new();
    for (number, (shard, slot, topic, step)) in steps.iter().enumerate() {
        let (me, topic) = (origin(*shard, *slot), *topic);
        let mut step = step.clone();
        if let Step::Join { since: Some((_, right)), .. } = &mut step {
            // The epoch last seen is the right one only while the topic has lived since.
            *right &= model.topics[topic].as_ref().is_some_and(|plain| plain.epoch.is_some());
        }
        model.now_ms += 1; // so that no two are due at once
        let mut tag = None;
        let mut payload = Vec::new();
        match &step {
            Step::Publish { tagged, bytes, echo } => {
                payload = vec![b'.'; *bytes];
                tag = tagged.then(|| number.to_string().into_bytes().into());
                let heard = edges.local.contains(&(topic, me)) && model.muted_ms(topic, me).is_none();
                if !echo && !tagged && heard {
                    *edges.position.get_mut(&(topic, me)).unwrap() += 1;
                }
            }
            Step::Broadcast { tagged } | Step::Typing { tagged } => {
                tag = tagged.then(|| number.to_string().into_bytes().into());
            }
            Step::Gone => {
                edges.local.remove(&(topic, me));
            }
            Step::Kick { .. } | Step::Mute { .. } | Step::Clear => tag = Some(b"1"[..].into()),
            _ => {}
        }
        let mut expected = model.apply(me, topic, &step, tag.clone(), payload.clone());
        let mut seen = Log::new();
        if let Some(ask) = ask(&step, me, topic, edges.epoch[topic].as_ref(), &payload) {
            let topic = edges.topics[if matches!(step, Step::Broadcast { .. }) { 3 } else { topic }].clone();
            owner.handle(Request { topic, origin: me, tag, ask }, at_ms(model.now_ms));
        } else if matches!(step, Step::Expire) {
            owner.expire(at_ms(model.now_ms).mono);
        }
        while let Some((shard, outcome)) = owner.poll() {
            edges.take(shard, outcome, &mut seen);
        }
        owner.check();
        if matches!(step, Step::Expire) {
            // What is due at the same moment comes in an order of its own.
            [&mut seen, &mut expected].into_iter().for_each(sort);
        }
        assert_eq!(seen, expected, "step {number}: {me:?} {topic} {step:?}");
        transcript.push_str(&format!("{seen:?} {:?}\n", edges.epoch));
        for (plain, epoch) in model.topics.iter_mut().zip(&edges.epoch).take(INBOX) {
            let Some(plain) = plain else { continue };
            if plain.epoch.is_none() {
                assert!(epochs_used.insert(epoch.clone()), "a new numbering has a new name");
                plain.epoch.clone_from(epoch);
            }
            assert_eq!(&plain.epoch, epoch);
        }
        let counts = owner.counts();
        let all = model.topics.iter().flatten();
        assert_eq!(counts.topics, all.clone().count() as u64);
        assert_eq!(counts.members, all.map(|plain| u64::from(plain.count())).sum::<u64>());
    }
    everybody_goes(owner, model.now_ms);
    transcript
}

/// Whatever happened before, nothing is left once all are gone and time has passed.
fn everybody_goes(mut owner: Owner, now_ms: u64) {
    for me in everybody() {
        for topic in topics() {
            owner.handle(Request { topic, origin: me, tag: None, ask: Ask::Gone }, at_ms(now_ms));
        }
    }
    while owner.poll().is_some() {}
    // Everybody is gone, then every history, then every ban.
    for _ in 0..3 {
        owner.expire(at_ms(now_ms).mono + Duration::from_secs(3));
        while owner.poll().is_some() {}
    }
    owner.check();
    assert_eq!(owner.counts(), Counts::default());
    assert_eq!((owner.next_expiry(), owner.slots.len(), owner.records.capacity()), (None, 0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn everybody_sees_what_the_model_says(
        steps in prop::collection::vec((0..SHARDS, 0..CONNS, 0usize..3, step()), 0..120),
        grace_ms in prop_oneof![Just(0), Just(30)],
        list_max in prop_oneof![Just(2), Just(100)],
    ) {
        let again = || run(&steps, grace_ms, list_max);
        prop_assert_eq!(again(), again(), "same requests, same outcomes");
    }
}
