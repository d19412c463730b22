//! What real edges do with what an owner says: who is a member where, and what each hears.

use super::*;
use crate::hub::event::Roll;

/// All shards' connections, fed from their lanes.
pub(super) struct Edges {
    pub(super) topics: [Topic; 4],
    pub(super) local: BTreeSet<(usize, Origin)>,
    /// Newest offset that a member has, as a client counts.
    pub(super) position: BTreeMap<(usize, Origin), u64>,
    pub(super) epoch: [Option<Arc<str>>; 3],
    list_max: usize,
}

fn ids(users: &[Arc<User>]) -> Vec<String> {
    users.iter().map(|user| user.id.to_string()).collect()
}

fn offsets(messages: &[Arc<Publication>]) -> Vec<u64> {
    messages.iter().map(|message| message.offset).collect()
}

impl Edges {
    pub(super) fn new(list_max: usize) -> Edges {
        let (local, position, epoch) = Default::default();
        Edges { topics: topics(), local, position, epoch, list_max }
    }

    pub(super) fn take(&mut self, shard: ShardId, outcome: Outcome, log: &mut Log) {
        match outcome {
            Outcome::Reply { topic, origin, reply, .. } => {
                assert_eq!(shard, origin.shard);
                let topic = self.topics.iter().position(|known| *known == topic).unwrap();
                let seen = self.answered(topic, origin, reply);
                log.entry(origin).or_default().push(seen);
            }
            Outcome::Matched { pattern, .. } => panic!("nobody subscribed by {pattern:?}"),
            Outcome::Direct { .. } | Outcome::Told { .. } => panic!("nobody asked for that"),
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
                self.attend(snapshot.user_count, &snapshot.roll);
                Seen::Joined {
                    members: snapshot.members_count,
                    users: ids(&snapshot.roll.users),
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
            Reply::Users { members_count, user_count, roll } => {
                self.attend(user_count, &roll);
                Seen::Users { members: members_count, users: ids(&roll.users) }
            }
            Reply::Kicked { by, seconds } => {
                assert!(moderates(topic, &by.id) && self.local.remove(&(topic, origin)));
                Seen::Kicked(seconds)
            }
            Reply::Muted { by, seconds } => {
                assert!(moderates(topic, &by.id) && self.local.contains(&(topic, origin)));
                Seen::Muted(seconds)
            }
            Reply::Refused(refusal) => Seen::Refused(refusal),
            other => panic!("nobody asked for {other:?}"),
        }
    }

    /// All users are listed, or none.
    fn attend(&self, user_count: u32, roll: &Roll) {
        let all = if user_count as usize <= self.list_max { user_count as usize } else { 0 };
        assert_eq!(roll.users.len(), all);
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
            Event::UserJoined { user, members_count, moderator } => {
                Seen::UserJoined(user.id.to_string(), *members_count, *moderator)
            }
            Event::Attendance(told) => {
                let users = told.roll.as_ref().map(|roll| ids(&roll.users));
                Seen::Count(told.members_count, told.user_count as usize, users)
            }
            Event::HistoryCleared(cleared) => Seen::Cleared(cleared.offset),
            Event::UserLeft { user, members_count } => Seen::UserLeft(user.id.to_string(), *members_count),
            Event::Typing { user, is_typing } => Seen::Typing(user.id.to_string(), *is_typing),
            other => panic!("no documents here: {other:?}"),
        }
    }
}
