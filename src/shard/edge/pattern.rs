//! Subscribing to channels by pattern: one question to the owners of all channels, one answer to the client.
//!
//! Any shard may own a channel that matches, so all are asked, and the client is answered when the last of them has.
//! Only then is it placed in the member list: what one owner sends before another has answered is not for it yet, as
//! nobody has told it that it is subscribed. Until then its input is held, so that there is one such question of a
//! connection at a time, and counting the answers is enough.

use crate::base::id::{Key, Origin, ShardId};
use crate::dialect::native::encode;
use crate::hub::command::{Ask, Request, Tag};
use crate::hub::event::{Refusal, Reply};
use crate::hub::name::{Topic, TopicKind};
use crate::hub::pattern::{LEVELS_MAX, Pattern, PatternError};
use crate::shard::conn::Hold;
use crate::shard::state::Shard;

/// The field that names a channel, or a pattern over channels.
const FIELD: &str = "channel";

const _: () = assert!(LEVELS_MAX == 8, "a text below says so");

/// The kind of topic that a client means: a channel's name with a level that stands for others is a pattern.
pub(crate) fn meant(kind: TopicKind, name: &str) -> TopicKind {
    if kind == TopicKind::Channel && Pattern::is_meant(name) { TopicKind::Pattern } else { kind }
}

/// Refuses a pattern where one channel has to be named.
pub(crate) fn one_topic(kind: TopicKind, name: &str) -> Result<(), Refusal> {
    match meant(kind, name) {
        TopicKind::Pattern => {
            Err(Refusal::InvalidField { field: FIELD, expected: "one channel, not a pattern" })
        }
        _ => Ok(()),
    }
}

impl Shard {
    /// Subscribes to all channels that match. There is no history to begin with: it would be that of many channels.
    pub(crate) fn join_pattern(
        &mut self,
        key: Key,
        tag: Tag,
        name: &str,
        since: bool,
        history: u32,
    ) -> Result<(), Refusal> {
        if since || history > 0 {
            let field = if since { "since" } else { "history" };
            return Err(Refusal::InvalidField { field, expected: "left out where channel is a pattern" });
        }
        if let Err(error) = Pattern::parse(name, self.limits.name_bytes_max) {
            return Err(refusal(error));
        }
        let Some(user) = self.user_of(key) else { return Ok(()) };
        let topic = Topic::new(TopicKind::Pattern, name, self.keys);
        self.check_room_for(key, &topic)?;
        self.remember(key, &topic, self.shards);
        self.ask_all(key, &topic, &tag, || Ask::Join {
            user: user.clone(),
            since: None,
            history: 0,
            by_right: false,
        });
        self.await_owners(key);
        Ok(())
    }

    /// Ends the subscription to all channels that match.
    pub(crate) fn leave_pattern(&mut self, key: Key, tag: Tag, name: &str) -> Result<(), Refusal> {
        let kind = TopicKind::Pattern;
        let topic = self.known_topic(key, (kind, name)).ok_or(Refusal::NotMember(kind))?.clone();
        self.remember(key, &topic, self.shards);
        self.ask_all(key, &topic, &tag, || Ask::Leave);
        self.await_owners(key);
        Ok(())
    }

    /// Asks every owner the same.
    pub(crate) fn ask_all(&mut self, key: Key, topic: &Topic, tag: &Tag, ask: impl Fn() -> Ask) {
        let origin = Origin { shard: self.id, conn: key };
        for owner in (0..self.shards).map(ShardId) {
            self.ask_at(owner, Request { topic: topic.clone(), origin, tag: tag.clone(), ask: ask() });
        }
    }

    fn await_owners(&mut self, key: Key) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.hold.set(Hold::OWNERS);
        }
    }

    /// One owner's answer. The client hears the last; the owners hold the same about it, so all are alike.
    pub(crate) fn on_owner_answer(&mut self, key: Key, topic: &Topic, tag: Tag, reply: &Reply) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Some(at) = self.members.membership(&conn.memberships, topic) else { return };
        let membership = &mut conn.memberships[at];
        if membership.joins_pending > 1 {
            membership.joins_pending -= 1;
            return;
        }
        match reply {
            Reply::Left => {
                membership.joins_pending = 0;
                self.settle_leave(key, topic);
            }
            reply => self.settle_join(key, topic, matches!(reply, Reply::Joined(_))),
        }
        self.release(key, Hold::OWNERS);
        let wall = self.now.wall;
        self.send(key, |out| encode::reply(out, topic, tag.as_deref(), reply, wall));
    }
}

fn refusal(error: PatternError) -> Refusal {
    let expected = match error {
        PatternError::Name(error) => return Refusal::BadName { field: FIELD, error },
        PatternError::EmptyLevel => "a pattern without empty levels",
        PatternError::RestNotLast => "a pattern with > at its end only",
        PatternError::TooDeep => "a pattern of at most 8 levels",
    };
    Refusal::InvalidField { field: FIELD, expected }
}
