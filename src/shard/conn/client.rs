//! A client of the native protocol: its messages become commands, answers and events become its messages.

use std::sync::Arc;
use std::time::Duration;

use crate::base::bucket::Bucket;
use crate::base::clock::Mono;
use crate::base::id::{Key, Origin};
use crate::base::shared::Shared;
use crate::dialect::native::{decode, encode};
use crate::hub::command::{Ask, Command, Request, Tag};
use crate::hub::event::{Refusal, Reply};
use crate::hub::name::{self, Topic, TopicKind, User};
use crate::shard::Shard;
use crate::shard::conn::socket::{Role, Socket};
use crate::shard::conn::{Conn, Dirty, Hold, Phase};
use crate::shard::fanout::framed;
use crate::shard::members::{self, VACANT};
use crate::shard::placement;
use crate::wire::ws::close::CloseCode;
use crate::wire::ws::frame::Opcode;

/// Letters of identifiers: lower case and digits without those that look alike.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Letters of a client id: 80 bits, so that ids don't meet by chance, nor across nodes.
const CLIENT_ID_LETTERS: usize = 16;
/// Letters of a session id: 125 bits, as it is a secret.
const SESSION_ID_LETTERS: usize = 25;

/// What a shard knows about a native client.
pub(crate) struct Client {
    /// Never repeats in this process; the ids are made of it, so they need no memory.
    serial: u64,
    /// Who it is to the others: given at the handshake, or made when first needed.
    user: Option<Arc<User>>,
    /// Messages that it may send.
    bucket: Bucket,
    /// When the next `heartbeat` is due; none if it wants none.
    pub(crate) heartbeat_due: Option<Mono>,
    /// The client was told `welcome`; before that nothing else is said.
    welcomed: bool,
    /// Whether one of the memberships is the user's inbox.
    in_inbox: bool,
    /// Rooms to join once welcomed.
    rooms: Vec<Box<str>>,
}

/// What the handshake says about a client.
#[derive(Debug, Default)]
pub(crate) struct Introduction {
    /// The user that it says it is.
    pub(crate) user_id: Option<Box<str>>,
    /// The name to show.
    pub(crate) username: Option<Box<str>>,
    /// Rooms to join at once.
    pub(crate) rooms: Vec<Box<str>>,
    /// It asks for `heartbeat` messages.
    pub(crate) heartbeat: bool,
}

fn letters(mut digest: u128, count: usize) -> String {
    let mut text = String::with_capacity(count);
    for _ in 0..count {
        text.push(char::from(LETTERS[(digest % 32) as usize]));
        digest /= 32;
    }
    text
}

impl Client {
    /// Whether the connection gets what is broadcast.
    pub(crate) fn is_welcomed(&self) -> bool {
        self.welcomed
    }
}

impl Conn {
    pub(crate) fn client(&mut self) -> Option<&mut Client> {
        match &mut self.phase {
            Phase::Socket(Socket { role: Role::Client(client), close_sent: None, .. }) => Some(client),
            _ => None,
        }
    }

    /// Whether this is an open native client that was welcomed.
    pub(crate) fn hears_broadcasts(&self) -> bool {
        matches!(&self.phase, Phase::Socket(Socket { role: Role::Client(client), close_sent: None, .. })
            if client.is_welcomed())
    }
}

impl Shard {
    /// A connection becomes a native client.
    pub(crate) fn open_client(&mut self, key: Key, introduction: Introduction) {
        let now = self.now.mono;
        let wants = introduction.heartbeat || self.limits.heartbeat_json;
        let heartbeat_due = self.limits.ping_interval.filter(|_| wants).map(|interval| now + interval);
        self.serials += 1;
        let serial = u64::from(self.id.0) << 48 | self.serials;
        let named = introduction.user_id.is_some();
        let user = match (introduction.user_id, introduction.username) {
            (None, None) => None, // made when it is first needed: most memory is that of idle connections
            (Some(id), name) => Some(User { id, name }),
            (None, name) => Some(User { id: self.client_id(serial).into(), name }),
        };
        let client = Client {
            serial,
            user: user.map(Arc::new),
            bucket: Bucket::default(),
            heartbeat_due,
            welcomed: false,
            in_inbox: false,
            rooms: introduction.rooms,
        };
        let user = client.user.clone();
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.phase = Phase::Socket(Socket::new(Role::Client(Box::new(client)), now));
        match user {
            Some(user) if named && self.limits.connections_per_user_max.is_some() => {
                conn.hold.set(Hold::ADMISSION);
                self.join_inbox(key, user);
            }
            _ => self.welcome(key),
        }
    }

    /// The owner of the user's inbox counts the user's connections: exact across shards.
    fn join_inbox(&mut self, key: Key, user: Arc<User>) {
        let topic = Topic::new(TopicKind::Inbox, &user.id, self.keys);
        self.remember(key, &topic);
        if let Some(client) = self.conns.get_mut(key).and_then(Conn::client) {
            client.in_inbox = true;
        }
        self.ask(key, topic, None, Ask::Join { user, since: None, history: 0 });
    }

    fn welcome(&mut self, key: Key) {
        let Some(client) = self.conns.get_mut(key).and_then(Conn::client) else { return };
        client.welcomed = true;
        self.clients_open += 1;
        let rooms = std::mem::take(&mut client.rooms);
        let serial = client.serial;
        let user_id = client.user.as_ref().map(|user| user.id.to_string());
        let client_id = self.client_id(serial);
        let session = letters(self.keys.digest("session", serial), SESSION_ID_LETTERS);
        let node = Arc::clone(&self.node);
        let heartbeat_interval = self.limits.ping_interval;
        self.send(key, |out| {
            encode::welcome(
                out,
                &encode::Welcome {
                    client_id: &client_id,
                    user_id: user_id.as_deref().unwrap_or(&client_id),
                    session: &session,
                    node: &node,
                    heartbeat_interval,
                },
            );
        });
        for room in rooms {
            if self.known_room(key, &room).is_some() {
                continue; // named twice
            }
            let join = Command::Join { room: (&*room).into(), since: None, history: None };
            self.on_command(key, None, join);
        }
    }

    /// One message of a native client.
    pub(crate) fn on_client_message(&mut self, key: Key, opcode: Opcode, payload: &[u8]) {
        if let Err(retry) = self.take_token(key) {
            let retry_after_ms = u64::try_from(retry.as_millis()).unwrap_or(u64::MAX).max(1);
            return self.refuse(key, None, &Refusal::RateLimited { retry_after_ms });
        }
        if opcode != Opcode::Text {
            let refusal = Refusal::InvalidField {
                field: "message",
                expected: "a text frame that holds one JSON object",
            };
            return self.refuse(key, None, &refusal);
        }
        // The assembler has validated it; only its type has forgotten.
        let Ok(text) = simdutf8::basic::from_utf8(payload) else { return };
        let asked = decode::decode(text);
        let tag = asked.tag.map(Into::into);
        match asked.asked {
            Ok(command) => self.on_command(key, tag, command),
            Err(refusal) => self.refuse(key, tag.as_deref(), &refusal),
        }
    }

    fn take_token(&mut self, key: Key) -> Result<(), Duration> {
        let Some(rate) = self.limits.rate else { return Ok(()) };
        let now = self.now.mono;
        match self.conns.get_mut(key).and_then(Conn::client) {
            Some(client) => client.bucket.take(now, rate.per_second, rate.burst),
            None => Ok(()),
        }
    }

    fn on_command(&mut self, key: Key, tag: Tag, command: Command<'_>) {
        let mark = tag.clone();
        let done = match command {
            Command::Join { room, since, history } => {
                let since = since.map(|position| (position.offset, position.epoch.into()));
                self.join(key, tag, &room, since, history.unwrap_or(0))
            }
            Command::Leave { room } => self.ask_room(key, tag, &room, Ask::Leave),
            Command::Publish { room, payload, echo } => {
                let ask = Ask::Publish { payload: Shared::copy_of(payload), user: None, echo };
                self.ask_room(key, tag, &room, ask)
            }
            Command::Typing { room, is_typing } => self.ask_room(key, tag, &room, Ask::Typing { is_typing }),
            Command::History { room, limit, before } => self
                .ask_room(key, tag, &room, Ask::History { limit, before })
                .map(|()| self.await_answer(key)),
            Command::Users { room } => {
                self.ask_room(key, tag, &room, Ask::Users).map(|()| self.await_answer(key))
            }
            Command::Broadcast { payload } => {
                if let Some(user) = self.user_of(key) {
                    let ask =
                        Ask::Publish { payload: Shared::copy_of(payload), user: Some(user), echo: false };
                    self.ask(key, self.everyone_topic.clone(), tag, ask);
                }
                Ok(())
            }
            Command::Stats => self.gather(key, tag),
            Command::Ping { ts } => {
                let wall = self.now.wall;
                self.send(key, |out| encode::pong(out, tag.as_deref(), ts, wall));
                Ok(())
            }
            Command::Pong => {
                if tag.is_some() {
                    self.send(key, |out| encode::ack(out, tag.as_deref(), 0));
                }
                Ok(())
            }
        };
        if let Err(refusal) = done {
            self.refuse(key, mark.as_deref(), &refusal);
        }
    }

    fn join(
        &mut self,
        key: Key,
        tag: Tag,
        room: &str,
        since: Option<(u64, Box<str>)>,
        history: u32,
    ) -> Result<(), Refusal> {
        name::check(room, self.limits.name_bytes_max)
            .map_err(|error| Refusal::BadName { field: "room", error })?;
        let topic = Topic::new(TopicKind::Room, room, self.keys);
        let Some(user) = self.user_of(key) else { return Ok(()) };
        let max = self.limits.rooms_per_connection_max;
        let Some(conn) = self.conns.get_mut(key) else { return Ok(()) };
        let inbox = usize::from(conn.client().is_some_and(|client| client.in_inbox));
        let again = self.members.membership(conn, &topic).is_some();
        if !again && conn.memberships.len() - inbox >= max as usize {
            return Err(Refusal::TooManyRooms { max });
        }
        let long = again || since.is_some() || history > 0;
        self.remember(key, &topic);
        self.ask(key, topic, tag, Ask::Join { user, since, history });
        if long {
            self.await_answer(key);
        }
        Ok(())
    }

    /// Handles no more input of a connection until the owner has answered it.
    fn await_answer(&mut self, key: Key) {
        if let Some(conn) = self.conns.get_mut(key) {
            conn.hold.set(Hold::ANSWER);
        }
    }

    /// Notes that the connection asked to join: from now on what it says about the topic goes to the owner, who
    /// judges.
    fn remember(&mut self, key: Key, topic: &Topic) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let at = match self.members.membership(conn, topic) {
            Some(at) => at,
            None => {
                conn.memberships.push(self.members.hold(topic));
                conn.memberships.len() - 1
            }
        };
        conn.memberships[at].joins_pending += 1;
    }

    /// Asks the owner of a room that the connection is in, or asked to be in.
    fn ask_room(&mut self, key: Key, tag: Tag, room: &str, ask: Ask) -> Result<(), Refusal> {
        let topic = self.known_room(key, room).ok_or(Refusal::NotInRoom)?.clone();
        self.ask(key, topic, tag, ask);
        Ok(())
    }

    /// The room of this name, if the connection is in it or asked to be.
    fn known_room(&self, key: Key, room: &str) -> Option<&Topic> {
        let hash = Topic::hash_of(TopicKind::Room, room, self.keys);
        let memberships = &self.conns.get(key)?.memberships;
        let mut known = memberships.iter().filter(|membership| membership.hash_high == members::high(hash));
        known.find_map(|membership| {
            let topic = &self.members.topic(membership.topic).topic;
            (topic.name() == room && topic.kind() == TopicKind::Room).then_some(topic)
        })
    }

    /// Sends a request on its way; if the owner is behind, the connection is not read from until it caught up.
    fn ask(&mut self, key: Key, topic: Topic, tag: Tag, ask: Ask) {
        let owner = placement::owner(topic.hash(), self.shards);
        let origin = Origin { shard: self.id, conn: key };
        let lane = &mut self.lanes.requests[owner.index()];
        lane.push_back(Request { topic, origin, tag, ask });
        if lane.len() > self.limits.pace.requests_high {
            let Some(conn) = self.conns.get_mut(key) else { return };
            if !conn.hold.has(Hold::LANE) {
                conn.hold.set(Hold::LANE);
                self.turn.stall(owner, key);
            }
        }
    }

    /// Who the client is to the others; a client that did not say gets its client id.
    fn user_of(&mut self, key: Key) -> Option<Arc<User>> {
        let client = self.conns.get_mut(key)?.client()?;
        if let Some(user) = &client.user {
            return Some(Arc::clone(user));
        }
        let serial = client.serial;
        let user = Arc::new(User { id: self.client_id(serial).into(), name: None });
        self.conns.get_mut(key)?.client()?.user = Some(Arc::clone(&user));
        Some(user)
    }

    fn client_id(&self, serial: u64) -> String {
        letters(self.keys.digest("client", serial), CLIENT_ID_LETTERS)
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
            Reply::Joined(_) => self.settle_join(key, topic, true),
            Reply::Refused(Refusal::RoomFull) => self.settle_join(key, topic, false), // only a join is refused so
            Reply::Left => self.settle_leave(key, topic),
            _ => {}
        }
        if topic.kind() == TopicKind::Inbox {
            return self.on_admission(key, &reply);
        }
        let wall = self.now.wall;
        self.send(key, |out| encode::reply(out, topic, tag.as_deref(), &reply, wall));
    }

    fn on_admission(&mut self, key: Key, reply: &Reply) {
        match reply {
            Reply::Joined(_) => {
                self.welcome(key);
                self.release(key, Hold::ADMISSION);
            }
            _ => self.close(key, CloseCode::POLICY, "too many connections of this user"),
        }
    }

    fn settle_join(&mut self, key: Key, topic: &Topic, joined: bool) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Some(at) = self.members.membership(conn, topic) else { return };
        let membership = &mut conn.memberships[at];
        debug_assert!(membership.joins_pending > 0, "an answer to a join that nobody asked for");
        membership.joins_pending -= 1;
        if joined && membership.position == VACANT {
            membership.position = self.members.place(membership.topic, key.slot);
        } else if !joined && membership.position == VACANT && membership.joins_pending == 0 {
            let membership = conn.memberships.swap_remove(at);
            self.members.release(membership.topic);
        }
    }

    fn settle_leave(&mut self, key: Key, topic: &Topic) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let Some(at) = self.members.membership(conn, topic) else { return };
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

    /// Takes an entry out of a member list and tells the member that moved there.
    fn displace(&mut self, topic: u32, position: u32) {
        if position == VACANT {
            return;
        }
        let Some(moved) = self.members.displace(topic, position) else { return };
        let conn = self.conns.by_slot_mut(moved).expect("a member list names open connections only");
        for membership in &mut conn.memberships {
            if membership.topic == topic {
                membership.position = position;
            }
        }
    }

    /// The connection is no client any more: it leaves all its topics without hearing about it.
    pub(crate) fn retire(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.hears_broadcasts() {
            self.clients_open -= 1;
        }
        if let Some(client) = conn.client() {
            client.welcomed = false;
        }
        for membership in std::mem::take(&mut conn.memberships) {
            let topic = self.members.topic(membership.topic).topic.clone();
            self.displace(membership.topic, membership.position);
            self.members.release(membership.topic);
            self.ask(key, topic, None, Ask::Gone);
        }
    }

    /// Queues one text frame for `key`; after a close frame nothing is said (RFC 6455 §5.5.1), as an answer that was
    /// under way would be.
    pub(crate) fn send(&mut self, key: Key, write: impl FnOnce(&mut Vec<u8>)) {
        let Shard { conns, spares, scratch, turn, limits, .. } = self;
        let Some(conn) = conns.get_mut(key) else { return };
        if conn.client().is_none() {
            return;
        }
        let frame = framed(scratch, write);
        conn.outbox.push_own(spares, |out| out.extend_from_slice(frame));
        turn.mark(conn, key.slot, Dirty::Soon);
        conn.brake(limits);
    }

    /// Tells a client that something cannot be done.
    pub(crate) fn refuse(&mut self, key: Key, tag: Option<&[u8]>, refusal: &Refusal) {
        let wall = self.now.wall;
        self.send(key, |out| encode::error(out, tag, refusal, wall));
    }

    /// A client does not read as fast as its topics go.
    pub(crate) fn on_overrun(&mut self, key: Key) {
        self.give_up(key, CloseCode::SLOW_CONSUMER, "slow consumer");
    }

    /// It reads again: once little enough waits, its input goes on.
    pub(crate) fn on_drained(&mut self, key: Key) {
        let now = self.now.mono;
        let Some(conn) = self.conns.get_mut(key) else { return };
        let low = conn.outbox.own_bytes() <= self.limits.pace.own_bytes_low;
        if let Some(socket) = conn.socket() {
            socket.last_seen = now; // it can't be heard while it is held, but it reads: it lives
            socket.ping_unanswered = None;
        }
        if low {
            self.release(key, Hold::OUTBOX);
        }
    }
}
