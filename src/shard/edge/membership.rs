//! Joining, leaving, and what is asked of the owners of topics.
//!
//! The owner decides; the edge remembers what it asked, so that what a client says about a topic finds its way, and
//! places the connection in the member list when the answer comes.

use std::sync::Arc;

use crate::base::id::{Key, Origin, ShardId};
use crate::base::shared::Shared;
use crate::dialect::field;
use crate::dialect::native::encode;
use crate::hub::command::{Ask, By, Request, Tag};
use crate::hub::event::{Refusal, Reply};
use crate::hub::name::{self, Topic, TopicKind, User};
use crate::metrics::table::LIMITS_HIT;
use crate::shard::conn::{Conn, Hold, reposition};
use crate::shard::edge::pattern;
use crate::shard::members::{self, VACANT};
use crate::shard::placement;
use crate::shard::state::Shard;
use crate::wire::ws::close::CloseCode;

/// A topic's kind and name, as a client gives them.
pub(crate) type Named<'a> = (TopicKind, &'a str);

impl Shard {
    /// The owner of the user's inbox counts the user's connections: exact across shards.
    pub(crate) fn join_inbox(&mut self, key: Key, user: Arc<User>) {
        let topic = Topic::new(TopicKind::Inbox, &user.id, self.keys);
        self.remember(key, &topic, 1);
        if let Some(client) = self.conns.get_mut(key).and_then(Conn::client) {
            client.in_inbox = true;
        }
        self.ask(key, topic, None, Ask::Join { user, since: None, history: 0, by_right: false });
    }

    pub(crate) fn join(
        &mut self,
        key: Key,
        tag: Tag,
        named: Named<'_>,
        since: Option<(u64, Box<str>)>,
        history: u32,
    ) -> Result<(), Refusal> {
        let long = since.is_some() || history > 0;
        let by_right = named.0 == TopicKind::Room && self.moderates(key, named.1);
        self.enter(key, tag, named, long, |user| Ask::Join { user, since, history, by_right })
    }

    /// Asks to become a member of a topic; `long`: the answer may be.
    pub(crate) fn enter(
        &mut self,
        key: Key,
        tag: Tag,
        named: Named<'_>,
        long: bool,
        ask: impl FnOnce(Arc<User>) -> Ask,
    ) -> Result<(), Refusal> {
        let topic = self.topic(named)?;
        let Some(user) = self.user_of(key) else { return Ok(()) };
        let again = self.check_room_for(key, &topic)?;
        self.remember(key, &topic, 1);
        self.ask(key, topic, tag, ask(user));
        if again || long {
            self.await_answer(key);
        }
        Ok(())
    }

    /// Whether the connection is in this topic already, or asked to be; otherwise there has to be room for one more.
    pub(crate) fn check_room_for(&mut self, key: Key, topic: &Topic) -> Result<bool, Refusal> {
        let max = self.limits.rooms_per_connection_max;
        let Some(conn) = self.conns.get_mut(key) else { return Ok(false) };
        let inbox = usize::from(conn.client().is_some_and(|client| client.in_inbox));
        let again = self.members.membership(&conn.memberships, topic).is_some();
        if !again && conn.memberships.len() - inbox >= max as usize {
            return Err(Refusal::TooManyRooms { max });
        }
        Ok(again)
    }

    /// Handles no more input of a connection until the owner has answered it.
    pub(crate) fn await_answer(&mut self, key: Key) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.hold.set(Hold::ANSWER);
        }
    }

    /// Notes that the connection asked to join: from now on what it says about the topic goes to the owner, who
    /// judges. So many answers are to come.
    pub(crate) fn remember(&mut self, key: Key, topic: &Topic, answers: u16) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let at = match self.members.membership(&conn.memberships, topic) {
            Some(at) => at,
            None => {
                conn.memberships.push(self.members.hold(topic));
                conn.memberships.len() - 1
            }
        };
        conn.memberships[at].joins_pending += answers;
    }

    /// The topic of this name, which has to be one.
    pub(crate) fn topic(&self, (kind, name): Named<'_>) -> Result<Topic, Refusal> {
        name::check(name, self.limits.name_bytes_max)
            .map_err(|error| Refusal::BadName { field: field::of(kind), error })?;
        Ok(Topic::new(kind, name, self.keys))
    }

    /// Asks the owner of a topic that the connection is in, or asked to be in.
    pub(crate) fn ask_member(
        &mut self,
        key: Key,
        tag: Tag,
        named: Named<'_>,
        ask: Ask,
    ) -> Result<(), Refusal> {
        let topic = self.known_topic(key, named).ok_or(Refusal::NotMember(named.0))?.clone();
        self.ask(key, topic, tag, ask);
        Ok(())
    }

    /// Leaves one topic, or all that match.
    pub(crate) fn leave(&mut self, key: Key, tag: Tag, named: Named<'_>) -> Result<(), Refusal> {
        match pattern::meant(named.0, named.1) {
            TopicKind::Pattern => self.leave_pattern(key, tag, named.1),
            _ => self.ask_member(key, tag, named, Ask::Leave),
        }
    }

    /// Asks for what one topic remembers: never too much at a time.
    pub(crate) fn ask_history(
        &mut self,
        key: Key,
        tag: Tag,
        named: Named<'_>,
        ask: Ask,
    ) -> Result<(), Refusal> {
        pattern::one_topic(named.0, named.1)?;
        self.ask_member(key, tag, named, ask)?;
        self.await_answer(key);
        Ok(())
    }

    /// Publishes to a topic that one need not be in.
    pub(crate) fn publish_as_anyone(
        &mut self,
        key: Key,
        tag: Tag,
        named: Named<'_>,
        payload: Shared,
        echo: bool,
    ) -> Result<(), Refusal> {
        let topic = match self.known_topic(key, named) {
            Some(topic) => topic.clone(),
            None => {
                pattern::one_topic(named.0, named.1)?;
                self.topic(named)?
            }
        };
        if let Some(user) = self.user_of(key) {
            self.ask(key, topic, tag, Ask::Publish { payload, by: By::Anyone(user), echo });
        }
        Ok(())
    }

    /// The topic of this name, if the connection is in it or asked to be.
    pub(crate) fn known_topic(&self, key: Key, (kind, name): Named<'_>) -> Option<&Topic> {
        let hash = Topic::hash_of(kind, name, self.keys);
        let memberships = &self.conns.get(key)?.memberships;
        let high = members::high(hash);
        let mut alike = memberships.iter().filter(|known| known.hash_high == high && known.kind == kind);
        alike.find_map(|membership| {
            let topic = &self.members.topic(membership.topic).topic;
            (topic.name() == name).then_some(topic)
        })
    }

    /// Sends a request on its way; if the owner is behind, the connection is not read from until it caught up.
    pub(crate) fn ask(&mut self, key: Key, topic: Topic, tag: Tag, ask: Ask) {
        let owner = placement::owner(topic.hash(), self.shards);
        let origin = Origin { shard: self.id, conn: key };
        self.ask_at(owner, Request { topic, origin, tag, ask });
    }

    /// Sends a request on its way to a certain owner.
    pub(crate) fn ask_at(&mut self, owner: ShardId, request: Request) {
        let key = request.origin.conn;
        let lane = &mut self.lanes.requests[owner.index()];
        lane.push_back(request);
        if lane.len() > self.limits.pace.requests_high {
            let Some(conn) = self.conns.get_mut(key) else { return };
            if !conn.hold.has(Hold::LANE) {
                conn.hold.set(Hold::LANE);
                self.turn.stall(owner, key);
            }
        }
    }

    /// The owner's answer to what the connection asked.
    pub(crate) fn on_reply(&mut self, topic: &Topic, origin: Origin, tag: Tag, reply: Reply) {
        let key = origin.conn;
        if matches!(reply, Reply::Joined(_) | Reply::History { .. } | Reply::Users { .. } | Reply::Refused(_))
        {
            self.release(key, Hold::ANSWER);
        }
        if self.conns.get_mut(key).and_then(Conn::client).is_none() {
            return; // it left meanwhile, and the owner was told
        }
        match &reply {
            _ if topic.kind() == TopicKind::Pattern => {
                return self.on_owner_answer(key, topic, tag, &reply);
            }
            Reply::Joined(_) => self.settle_join(key, topic, true),
            // Only a join is refused so.
            Reply::Refused(
                Refusal::RoomFull | Refusal::DocumentsFull | Refusal::UnknownFeed | Refusal::Banned { .. },
            ) => {
                self.settle_join(key, topic, false);
            }
            Reply::Left | Reply::Kicked { .. } => self.settle_leave(key, topic),
            _ => {}
        }
        if topic.kind() == TopicKind::Inbox {
            match reply {
                Reply::Inbox(redelivery) => return self.on_inbox(key, topic, redelivery),
                Reply::Joined(_) | Reply::Refused(Refusal::RoomFull) => {
                    return self.on_admission(key, &reply);
                }
                _ => {}
            }
        }
        let wall = self.now.wall;
        self.send(key, |out| encode::reply(out, topic, tag.as_deref(), &reply, wall));
        self.send_named_in(key, topic, &reply);
        if topic.kind() == TopicKind::Feed {
            self.send_last_values(key, topic, &reply);
        }
    }

    /// After the confirmation that a feed is subscribed to: what it stands at.
    fn send_last_values(&mut self, key: Key, topic: &Topic, reply: &Reply) {
        let Reply::Joined(snapshot) = reply else { return };
        for publication in snapshot.messages.iter().flatten() {
            self.send(key, |out| encode::data_update(out, topic.name(), publication));
        }
    }

    fn on_admission(&mut self, key: Key, reply: &Reply) {
        match reply {
            Reply::Joined(_) => {
                self.welcome(key);
                self.release(key, Hold::ADMISSION);
            }
            _ => {
                self.tally.count(const { LIMITS_HIT.of("user_connections") });
                self.close(key, CloseCode::POLICY, "too many connections of this user");
            }
        }
    }

    pub(crate) fn settle_join(&mut self, key: Key, topic: &Topic, joined: bool) {
        let placed = joined && self.may_be_in(key, topic);
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Some(at) = self.members.membership(&conn.memberships, topic) else { return };
        let membership = &mut conn.memberships[at];
        debug_assert!(membership.joins_pending > 0, "an answer to a join that nobody asked for");
        membership.joins_pending -= 1;
        if placed && membership.position == VACANT {
            membership.position = self.members.place(membership.topic, key.slot);
        } else if !joined && membership.position == VACANT && membership.joins_pending == 0 {
            let membership = conn.memberships.swap_remove(at);
            self.members.release(membership.topic);
        }
    }

    pub(crate) fn settle_leave(&mut self, key: Key, topic: &Topic) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Some(at) = self.members.membership(&conn.memberships, topic) else { return };
        let mut membership = conn.memberships[at];
        if membership.joins_pending == 0 {
            conn.memberships.swap_remove(at);
        } else {
            conn.memberships[at].position = VACANT; // it asked to join again meanwhile
        }
        self.displace(membership.topic, membership.position);
        membership.position = VACANT;
        if membership.joins_pending == 0 {
            self.members.release(membership.topic);
        }
    }

    /// What is published to a topic from now on is not for the connection, though its owner does not know that yet.
    pub(crate) fn cut_off(&mut self, key: Key, topic: &Topic) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Some(at) = self.members.membership(&conn.memberships, topic) else { return };
        let membership = &mut conn.memberships[at];
        let (topic, position) = (membership.topic, std::mem::replace(&mut membership.position, VACANT));
        self.displace(topic, position);
    }

    /// Takes an entry out of a member list and tells the member that moved there.
    fn displace(&mut self, topic: u32, position: u32) {
        if position == VACANT {
            return;
        }
        let Some(moved) = self.members.displace(topic, position) else { return };
        reposition(&mut self.conns, moved, topic, position);
    }

    /// The connection is no client any more: it leaves all its topics without hearing about it.
    pub(crate) fn retire(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.hears_broadcasts() {
            self.clients_open -= 1;
        }
        self.unlist(key);
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.numbered {
            self.forget_session(key);
        }
        let Some(conn) = self.conns.get_mut(key) else { return };
        if let Some(client) = conn.client() {
            client.welcomed = false;
        }
        for membership in std::mem::take(&mut conn.memberships).iter() {
            let topic = self.members.topic(membership.topic).topic.clone();
            self.displace(membership.topic, membership.position);
            self.members.release(membership.topic);
            if topic.kind() == TopicKind::Pattern {
                self.ask_all(key, &topic, &None, || Ask::Gone);
            } else {
                self.ask(key, topic, None, Ask::Gone);
            }
        }
    }
}
