//! A client of the native protocol: its messages become commands, answers and events become its messages.

use std::sync::Arc;

use crate::base::clock::Mono;
use crate::base::id::{Key, ShardId};
use crate::base::shared::Shared;
use crate::base::veil;
use crate::dialect::native::{decode, encode};
use crate::hub::command::{Ask, By, Command, Tag};
use crate::hub::event::Refusal;
use crate::hub::name::{TopicKind, User};
use crate::metrics::table::{Cell, LIMITS_HIT};
use crate::shard::arrival::Introduction;
use crate::shard::conn::client::{Client, More};
use crate::shard::conn::session::Session;
use crate::shard::conn::socket::{Role, Socket};
use crate::shard::conn::{Conn, Dirty, Hold, Phase};
use crate::shard::edge::pattern;
use crate::shard::edge::session::{SERIAL_BITS, digits, letters, session_id};
use crate::shard::port::Question;
use crate::shard::state::Shard;
use crate::wire::ws::close::CloseCode;
use crate::wire::ws::frame::{self, Opcode};

/// Letters of a client id: 80 bits, so that ids don't meet by chance across nodes.
const CLIENT_ID_LETTERS: usize = 16;
const _: () = assert!(CLIENT_ID_LETTERS * 5 == veil::BITS as usize);

impl Shard {
    /// A connection becomes a native client.
    pub(crate) fn open_client(&mut self, key: Key, introduction: Introduction) {
        let now = self.now.mono;
        let heartbeat_due = self.heartbeat_due(introduction.heartbeat);
        let Introduction { user_id, username, rooms, last_seq, pass, .. } = introduction;
        self.serials += 1;
        let serial = u64::from(self.id.0) << SERIAL_BITS | self.serials;
        let named = user_id.is_some();
        let user = match (user_id, username) {
            (None, None) => None, // made when it is first needed: most memory is that of idle connections
            (Some(id), name) => Some(User { id, name }),
            (None, name) => Some(User { id: self.client_id(key).into(), name }),
        };
        let session = last_seq.and(self.limits.resume_window).map(|_| Session::default());
        let more = More { rooms, session, pass, guest: None };
        let more = (!more.is_empty()).then(|| Box::new(more));
        let client = Client { user: user.map(Arc::new), heartbeat_due, more, named, ..Client::new(serial) };
        let user = client.user.clone();
        self.leave_phase(key);
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

    /// When a client that comes now gets its first `heartbeat`.
    pub(crate) fn heartbeat_due(&self, asked: bool) -> Mono {
        let interval = self.limits.ping_interval.filter(|_| asked || self.limits.heartbeat_json);
        interval.map_or(Mono::NEVER, |interval| self.now.mono + interval)
    }

    pub(crate) fn welcome(&mut self, key: Key) {
        let Some(client) = self.conns.get_mut(key).and_then(Conn::client) else { return };
        client.welcomed = true;
        self.clients_open += 1;
        let rooms = client.more.as_mut().map(|more| std::mem::take(&mut more.rooms)).unwrap_or_default();
        let has_session = client.session().is_some();
        client.more.take_if(|more| more.is_empty());
        let named = client.named;
        self.greet(key, has_session.then_some(false));
        self.begin_session(key);
        self.tell_success(key);
        if self.asks_for_tokens() {
            self.warn_late(key);
        }
        self.enter_rooms(key, rooms);
        if named {
            self.open_inbox(key);
        }
    }

    /// Says `welcome`, and to whom asked for a session whether it goes on.
    pub(crate) fn greet(&mut self, key: Key, resumed: Option<bool>) {
        let Some(client) = self.conns.get_mut(key).and_then(Conn::client) else { return };
        let serial = client.serial;
        let user_id = client.user.as_ref().map(|user| user.id.to_string());
        let client_id = self.client_id(key);
        let session = session_id(self.keys, serial);
        let node = Arc::clone(&self.node);
        let heartbeat_interval = self.limits.ping_interval;
        self.speak(key, |out| {
            encode::welcome(
                out,
                &encode::Welcome {
                    client_id: &client_id,
                    user_id: user_id.as_deref().unwrap_or(&client_id),
                    session: &session,
                    resumed,
                    node: &node,
                    heartbeat_interval,
                },
            );
        });
    }

    /// Joins the rooms that the handshake named, but those that the client is in.
    pub(crate) fn enter_rooms(&mut self, key: Key, rooms: Vec<Box<str>>) {
        for room in rooms {
            let (kind, name) = (TopicKind::Room, &*room);
            if self.known_topic(key, (kind, name)).is_some() {
                continue; // named twice, or known from before
            }
            let join = Command::Join { kind, name: name.into(), since: None, history: None };
            self.guarded_command(key, None, "", join);
        }
    }

    /// One message of a native client.
    pub(crate) fn on_client_message(&mut self, key: Key, opcode: Opcode, payload: &[u8]) {
        if self.asks_for_tokens() && self.is_guest(key) {
            return self.on_guest_message(key, opcode, payload);
        }
        let limited = self.take_tokens(key, payload.len()).err().map(|dry| {
            if dry.persistent {
                self.close(key, CloseCode::RATE_LIMITED, "too many messages");
                self.turn.offences.push(key);
            }
            let retry_after_ms = u64::try_from(dry.wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
            Refusal::RateLimited { retry_after_ms }
        });
        if opcode != Opcode::Text {
            return match limited {
                Some(refusal) => self.refuse(key, None, &refusal),
                None => self.on_binary(key, payload),
            };
        }
        // The assembler has validated it; only its type has forgotten.
        let Ok(text) = simdutf8::basic::from_utf8(payload) else { return };
        let asked = decode::decode(text);
        if let Some(refusal) = limited {
            if let Ok(command) = &asked.asked {
                self.on_rate_limited(key, command);
            }
            return self.refuse(key, asked.tag, &refusal);
        }
        let tag = asked.tag.map(Into::into);
        match asked.asked {
            Ok(command) => self.guarded_command(key, tag, text, command),
            Err(refusal) => self.refuse(key, tag.as_deref(), &refusal),
        }
    }

    /// A command of the message `text`, which may be forbidden. An edit that is not taken is one that its document has
    /// to know of, as those after it fit nothing.
    fn guarded_command(&mut self, key: Key, tag: Tag, text: &str, command: Command<'_>) {
        if self.is_guarded()
            && let Err(refusal) = self.judge_command(key, text, &command)
        {
            self.on_rate_limited(key, &command);
            return self.refuse(key, tag.as_deref(), &refusal);
        }
        self.on_command(key, tag, command);
    }

    /// The next connection that was closed for what it did, again and again: its driver may know where it comes from.
    pub fn poll_offence(&mut self) -> Option<Key> {
        self.turn.offences.pop()
    }

    fn on_command(&mut self, key: Key, tag: Tag, command: Command<'_>) {
        let mark = tag.clone();
        let done = match command {
            Command::Join { kind, name, since, history } => {
                let since = since.map(|position| (position.offset, position.epoch.into()));
                let (named, history) = ((pattern::meant(kind, &name), &*name), history.unwrap_or(0));
                match named.0 {
                    TopicKind::Pattern => self.join_pattern(key, tag, &name, since.is_some(), history),
                    _ => self.join(key, tag, named, since, history),
                }
            }
            Command::Leave { kind, name } => self.leave(key, tag, (kind, &name)),
            Command::Publish { kind, name, payload, echo } => {
                let (named, payload) = ((kind, &*name), Shared::copy_of(payload));
                if kind == TopicKind::Room {
                    self.ask_member(key, tag, named, Ask::Publish { payload, by: By::Member, echo })
                } else {
                    self.publish_as_anyone(key, tag, named, payload, echo)
                }
            }
            Command::Open { document, info } => self.open_document(key, tag, &document, info),
            Command::Edit { document, version, operation } => {
                let ask = Ask::Edit { version, operation };
                self.ask_member(key, tag, (TopicKind::Document, &document), ask)
            }
            Command::Point { document, pointer } => {
                let ask = Ask::Point(Box::new(pointer));
                self.ask_member(key, tag, (TopicKind::Document, &document), ask)
            }
            Command::Typing { room, is_typing } => {
                self.ask_member(key, tag, (TopicKind::Room, &room), Ask::Typing { is_typing })
            }
            Command::History { kind, name, limit, before } => {
                self.ask_history(key, tag, (kind, &name), Ask::History { limit, before })
            }
            Command::Users { room } => self
                .ask_member(key, tag, (TopicKind::Room, &room), Ask::Users)
                .map(|()| self.await_answer(key)),
            Command::Moderate { room, act } => self.moderate(key, tag, &room, act),
            Command::Broadcast { payload } => {
                self.broadcast(key, tag, payload);
                Ok(())
            }
            Command::Direct { user_id, payload } => self.send_direct(key, tag, &user_id, payload),
            Command::Acknowledge { seq } => {
                self.acknowledge(key, tag, seq);
                Ok(())
            }
            Command::Authenticate { token } => self.renew(key, tag, &token),
            Command::Stats => self.gather(key, tag, Question::Stats, None),
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

    fn broadcast(&mut self, key: Key, tag: Tag, payload: &[u8]) {
        if let Some(user) = self.user_of(key) {
            let payload = Shared::copy_of(payload);
            let ask = Ask::Publish { payload, by: By::Anyone(user), echo: false };
            self.ask(key, self.everyone_topic.clone(), tag, ask);
        }
    }

    /// Who the client is to the others; a client that did not say gets its client id.
    pub(crate) fn user_of(&mut self, key: Key) -> Option<Arc<User>> {
        let client = self.conns.get_mut(key)?.client()?;
        if let Some(user) = &client.user {
            return Some(Arc::clone(user));
        }
        let user = Arc::new(User { id: self.client_id(key).into(), name: None });
        self.conns.get_mut(key)?.client()?.user = Some(Arc::clone(&user));
        Some(user)
    }

    /// The id of the client at `key`: says, to us alone, where that is, and is never used again.
    pub(crate) fn client_id(&self, key: Key) -> String {
        letters(
            veil::veil(self.keys, u128::from(self.id.0) << 64 | u128::from(key.to_bits())),
            CLIENT_ID_LETTERS,
        )
    }

    /// Where the client of this id is, if it is there still; none if nobody ever had it.
    pub(crate) fn place_of_client(&self, id: &str) -> Option<(ShardId, Key)> {
        let place = veil::unveil(self.keys, digits(id).filter(|_| id.len() == CLIENT_ID_LETTERS)?);
        let shard = u16::try_from(place >> 64).ok().filter(|shard| *shard < self.shards)?;
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        Some((ShardId(shard), Key::from_bits(place as u64)))
    }

    /// Queues one text frame for `key`, numbered if the client has a session.
    pub(crate) fn send(&mut self, key: Key, write: impl FnOnce(&mut Vec<u8>)) {
        if self.conns.get(key).is_some_and(|conn| conn.numbered) {
            return self.send_numbered(key, write);
        }
        self.speak(key, write);
    }

    /// Queues one text frame for `key`; after a close frame nothing is said (RFC 6455 §5.5.1), as an answer that was
    /// under way would be.
    pub(crate) fn speak(&mut self, key: Key, write: impl FnOnce(&mut Vec<u8>)) {
        let Shard { conns, spares, scratch, turn, limits, .. } = self;
        let Some(conn) = conns.get_mut(key) else { return };
        if conn.client().is_none() {
            return;
        }
        let frame = frame::text(scratch, write);
        conn.outbox.push_frame(spares, frame);
        turn.mark(conn, key.slot, Dirty::Soon);
        conn.brake(limits);
    }

    /// Tells a client that something cannot be done.
    pub(crate) fn refuse(&mut self, key: Key, tag: Option<&[u8]>, refusal: &Refusal) {
        if let Some(limit) = limit_of(refusal) {
            self.tally.count(limit);
        }
        let wall = self.now.wall;
        self.send(key, |out| encode::error(out, tag, refusal, wall));
    }

    /// A client does not read as fast as its topics go.
    pub(crate) fn on_overrun(&mut self, key: Key) {
        self.tally.count(const { LIMITS_HIT.of("send_queue") });
        self.give_up(key, CloseCode::SLOW_CONSUMER, "slow consumer");
    }

    /// It reads again: once little enough waits, its input goes on.
    pub(crate) fn on_drained(&mut self, key: Key) {
        let now = self.now.mono;
        let Some(conn) = self.conns.get_mut(key) else { return };
        let low = conn.outbox.own_bytes() <= self.limits.pace.own_bytes_low;
        // It can't be heard while it is held, but it reads: it lives.
        if conn.socket().is_some_and(|socket| socket.hear(now)) {
            self.rearm(key);
        }
        if low {
            self.release(key, Hold::OUTBOX);
        }
    }
}

/// The limit that a refusal tells of, if it tells of one.
fn limit_of(refusal: &Refusal) -> Option<Cell> {
    match refusal {
        Refusal::TooManyRooms { .. } => Some(const { LIMITS_HIT.of("rooms_per_connection") }),
        Refusal::RoomFull => Some(const { LIMITS_HIT.of("members_per_room") }),
        _ => None,
    }
}
