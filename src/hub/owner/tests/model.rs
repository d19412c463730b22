//! Random runs of a whole owner with its edges, compared step by step with a model that keeps plain lists
//! and works everything out anew.
//!
//! The edges do what real ones do: a member from the `Joined` reply to the `Left` reply, skipped or served
//! its own copy as the sender. Each shard's lane is read in order, so how lanes interleave cannot matter.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const CONNS: u32 = 3;
const USERS: usize = 4;
const ROOMS_MAX_MEMBERS: u32 = 6;
const INBOX: usize = 2;

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
    UserJoined(String, u32),
    UserLeft(String, u32),
    Typing(String, bool),
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
        2 => (0u64..70).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Expire),
    ]
}

fn everybody() -> impl Iterator<Item = Origin> {
    (0..SHARDS).flat_map(|shard| (0..CONNS).map(move |slot| origin(shard, slot)))
}

/// Connections of one user are spread over shards.
fn user_of(origin: Origin) -> String {
    format!("u{}", (usize::from(origin.shard.0) + origin.conn.slot as usize * 2) % USERS)
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
    /// Everything ever published: when, and what it costs.
    published: Vec<(u64, usize)>,
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
        let mut offsets: Vec<u64> = alive.map(|(index, _)| index as u64 + 1).collect();
        offsets.reverse();
        offsets
    }

    fn head(&self) -> u64 {
        self.published.len() as u64
    }

    fn count(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap()
    }

    fn part(&mut self, me: Origin) -> Option<String> {
        self.members.retain(|member| *member != me);
        let user = user_of(me);
        let last = self.members.iter().all(|member| user_of(*member) != user);
        self.users.retain(|other| !(last && *other == user));
        last.then_some(user)
    }
}

#[derive(Default)]
struct Model {
    topics: [Option<Plain>; 3],
    now_ms: u64,
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
        let max = if topic == INBOX { 2 } else { ROOMS_MAX_MEMBERS };
        let again = self.is_member(topic, me);
        let now_ms = self.now_ms;
        let plain = self.topics[topic].get_or_insert_default();
        if !again && plain.count() == max {
            log.entry(me).or_default().push(Seen::Refused(Refusal::RoomFull));
            return;
        }
        let user = user_of(me);
        let first = !plain.users.contains(&user);
        if !again {
            plain.members.push(me);
            if first {
                plain.users.push(user.clone());
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
        let (members, users, offset) = (plain.count(), plain.users.clone(), plain.head());
        log.entry(me).or_default().push(Seen::Joined { members, users, offset, recovered, messages });
        if first && topic != INBOX {
            self.all_but(topic, me, &Seen::UserJoined(user, members), log);
        }
    }

    fn part(&mut self, me: Origin, topic: usize, log: &mut Log) {
        let now_ms = self.now_ms;
        let plain = self.topics[topic].as_mut().unwrap();
        let (last, members) = (plain.part(me), plain.count());
        let forgotten = members == 0 && plain.remembered(now_ms).is_empty();
        if let Some(user) = last.filter(|_| topic != INBOX) {
            self.all_but(topic, me, &Seen::UserLeft(user, members), log);
        }
        if forgotten {
            self.topics[topic] = None;
        }
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

    /// What everybody must see of `step`.
    fn apply(&mut self, me: Origin, topic: usize, step: &Step, tag: Tag, payload: Vec<u8>) -> Log {
        let mut log = Log::new();
        let member = self.is_member(topic, me);
        let mut mine = |seen| log.entry(me).or_default().push(seen);
        match step {
            Step::Join { since, history } => self.join(me, topic, *since, *history, &mut log),
            Step::Wait { ms } => self.now_ms += ms,
            Step::Expire => {
                let now_ms = self.now_ms;
                for slot in &mut self.topics {
                    *slot =
                        slot.take().filter(|plain| plain.count() > 0 || !plain.remembered(now_ms).is_empty());
                }
            }
            Step::Broadcast { .. } => {
                if tag.is_some() {
                    mine(Seen::Accepted(0));
                }
                let seen = Seen::Published { topic: 3, offset: 0, user: user_of(me), payload, tag: None };
                for other in everybody().filter(|other| *other != me) {
                    log.entry(other).or_default().push(seen.clone());
                }
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
                mine(Seen::Users { members: plain.count(), users: plain.users.clone() });
            }
            Step::Publish { .. } => unreachable!("members above, strangers refused"),
        }
        log
    }
}

// ---- the edges ----------------------------------------------------------------------------------------

/// All shards' connections, fed from their lanes.
struct Edges {
    topics: [Topic; 4],
    local: BTreeSet<(usize, Origin)>,
    /// Newest offset that a member has, as a client counts.
    position: BTreeMap<(usize, Origin), u64>,
    epoch: [Option<Arc<str>>; 3],
}

fn ids(users: &[Arc<User>]) -> Vec<String> {
    users.iter().map(|user| user.id.to_string()).collect()
}

fn offsets(messages: &[Arc<crate::hub::event::Publication>]) -> Vec<u64> {
    messages.iter().map(|message| message.offset).collect()
}

impl Edges {
    fn take(&mut self, shard: ShardId, outcome: Outcome, log: &mut Log) {
        match outcome {
            Outcome::Reply { topic, origin, reply, .. } => {
                assert_eq!(shard, origin.shard);
                let topic = self.topics.iter().position(|known| *known == topic).unwrap();
                let seen = self.answered(topic, origin, reply);
                log.entry(origin).or_default().push(seen);
            }
            Outcome::Matched { pattern, .. } => panic!("nobody subscribed by {pattern:?}"),
            Outcome::Told { .. } => panic!("nobody orders anything"),
            Outcome::Deliver { topic, event, sender } => {
                let topic = self.topics.iter().position(|known| *known == topic).unwrap();
                assert!(sender.as_ref().is_none_or(|sender| sender.origin.shard == shard));
                for member in everybody().filter(|member| member.shard == shard) {
                    let own = sender.as_ref().filter(|sender| sender.origin == member);
                    let listens = topic == 3 || self.local.contains(&(topic, member));
                    if listens && own.is_none_or(|sender| sender.copy.is_some()) {
                        let tag = own.and_then(|sender| sender.copy.clone().flatten());
                        let seen = self.told(topic, member, &event, tag);
                        log.entry(member).or_default().push(seen);
                    }
                }
            }
        }
    }

    fn answered(&mut self, topic: usize, origin: Origin, reply: Reply) -> Seen {
        match reply {
            Reply::Joined(snapshot) => {
                self.local.insert((topic, origin));
                self.position.insert((topic, origin), snapshot.offset);
                self.epoch[topic] = Some(snapshot.epoch);
                assert_eq!(snapshot.user_count as usize, snapshot.users.len());
                Seen::Joined {
                    members: snapshot.members_count,
                    users: ids(&snapshot.users),
                    offset: snapshot.offset,
                    recovered: snapshot.recovered,
                    messages: snapshot.messages.map(|messages| offsets(&messages)),
                }
            }
            Reply::Left => {
                self.local.remove(&(topic, origin));
                Seen::Left
            }
            Reply::Accepted { offset } => {
                if offset > 0 {
                    self.position.insert((topic, origin), offset);
                }
                Seen::Accepted(offset)
            }
            Reply::History { messages, offset, epoch } => {
                assert_eq!(self.epoch[topic].as_ref(), Some(&epoch));
                Seen::History { messages: offsets(&messages), offset }
            }
            Reply::Users { members_count, user_count, users } => {
                assert_eq!(user_count as usize, users.len());
                Seen::Users { members: members_count, users: ids(&users) }
            }
            Reply::Refused(refusal) => Seen::Refused(refusal),
            other => panic!("nobody asked for {other:?}"),
        }
    }

    fn told(&mut self, topic: usize, member: Origin, event: &Event, tag: Tag) -> Seen {
        match event {
            Event::Published(publication) => {
                if topic < INBOX {
                    // A client's own view: the snapshot and what follows have neither hole nor duplicate.
                    let position = self.position.get_mut(&(topic, member)).unwrap();
                    assert_eq!(publication.offset, *position + 1);
                    *position = publication.offset;
                }
                let (user, payload) = (publication.user.id.to_string(), publication.payload.to_vec());
                Seen::Published { topic, offset: publication.offset, user, payload, tag }
            }
            Event::UserJoined { user, members_count } => {
                Seen::UserJoined(user.id.to_string(), *members_count)
            }
            Event::UserLeft { user, members_count } => Seen::UserLeft(user.id.to_string(), *members_count),
            Event::Typing { user, is_typing } => Seen::Typing(user.id.to_string(), *is_typing),
            other => panic!("no documents here: {other:?}"),
        }
    }
}

// ---- the run ------------------------------------------------------------------------------------------

fn ask(step: &Step, me: Origin, topic: usize, epoch: Option<&Arc<str>>, payload: &[u8]) -> Option<Ask> {
    let payload = || Shared::copy_of(payload);
    Some(match step {
        Step::Join { since, history } => {
            let epoch = |right| if right { epoch.map_or("", |epoch| &**epoch) } else { "wrong" };
            let since = since.map(|(offset, right)| (offset, epoch(right).into()));
            Ask::Join { user: user(&user_of(me)), since, history: *history }
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
        Step::Wait { .. } | Step::Expire => return None,
    })
}

/// One run; gives back everything that was seen, to be compared with another run.
fn run(steps: &[(u16, u32, usize, Step)]) -> String {
    let (rooms, users) = (Some(ROOMS_MAX_MEMBERS), Some(2));
    let options = Options { room_members_max: rooms, user_connections_max: users, ..Options::default() };
    let mut owner = Owner::new(ShardId(1), SHARDS, keys(), policies(options, usize::MAX));
    let mut edges = Edges {
        topics: topics(),
        local: BTreeSet::new(),
        position: BTreeMap::new(),
        epoch: Default::default(),
    };
    let mut model = Model::default();
    let mut epochs_used = BTreeSet::new();
    let mut transcript = String::new();
    for (number, (shard, slot, topic, step)) in steps.iter().enumerate() {
        let (me, topic) = (origin(*shard, *slot), *topic);
        let mut step = step.clone();
        if let Step::Join { since: Some((_, right)), .. } = &mut step {
            // The epoch last seen is the right one only while the topic has lived since.
            *right &= model.topics[topic].as_ref().is_some_and(|plain| plain.epoch.is_some());
        }
        let mut tag = None;
        let mut payload = Vec::new();
        match &step {
            Step::Publish { tagged, bytes, echo } => {
                payload = vec![b'.'; *bytes];
                tag = tagged.then(|| number.to_string().into_bytes().into());
                if !echo && !tagged && edges.local.contains(&(topic, me)) {
                    *edges.position.get_mut(&(topic, me)).unwrap() += 1;
                }
            }
            Step::Broadcast { tagged } | Step::Typing { tagged } => {
                tag = tagged.then(|| number.to_string().into_bytes().into());
            }
            Step::Gone => {
                edges.local.remove(&(topic, me));
            }
            _ => {}
        }
        let expected = model.apply(me, topic, &step, tag.clone(), payload.clone());
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
    owner.expire(at_ms(now_ms).mono + AGE);
    owner.check();
    assert_eq!(owner.counts(), Counts::default());
    assert_eq!((owner.next_expiry(), owner.slots.len(), owner.records.capacity()), (None, 0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn everybody_sees_what_the_model_says(
        steps in prop::collection::vec((0..SHARDS, 0..CONNS, 0usize..3, step()), 0..120),
    ) {
        prop_assert_eq!(run(&steps), run(&steps), "same requests, same outcomes");
    }
}
