//! Messages from user to user: sending them, counting whom they reached, and getting what was kept.
//!
//! A client that says which user it is asks the owner of the user's inbox what is kept, and is found by messages from
//! the answer on: what came before is in the answer, what comes after follows it. So no message comes twice.

use std::sync::Arc;

use crate::base::id::Key;
use crate::base::shared::Shared;
use crate::dialect::native::encode;
use crate::hub::command::{Ask, Tag};
use crate::hub::event::{Event, Publication, Receipt, Redelivery, Refusal};
use crate::hub::name::{self, Topic, TopicKind, USER_ID_BYTES_MAX};
use crate::shard::conn::session::{Kept, Session};
use crate::shard::conn::{Conn, Dirty, Hold};
use crate::shard::edge::session::{deliver, keep};
use crate::shard::outbox::Pushed;
use crate::shard::port::ToEdge;
use crate::shard::state::{Awaited, Direct, Shard};

/// Receipts of one shard under way at a time; more are refused. A connection waits for each of its own.
const RECEIPTS_MAX: usize = 4096;

impl Shard {
    /// Sends a message to a user; with a tag, its answer says how many connections it reached.
    pub(crate) fn send_direct(
        &mut self,
        key: Key,
        tag: Tag,
        user_id: &str,
        payload: &[u8],
    ) -> Result<(), Refusal> {
        name::check(user_id, USER_ID_BYTES_MAX)
            .map_err(|error| Refusal::BadName { field: "user_id", error })?;
        let Some(user) = self.user_of(key) else { return Ok(()) };
        let receipt = match tag {
            Some(_) if self.receipts.len() >= RECEIPTS_MAX => return Err(Refusal::Unavailable),
            Some(_) => {
                Some(self.receipts.insert(Awaited { asker: key, tag, delivered: 0, missing: self.shards }))
            }
            None => None,
        };
        let topic = Topic::new(TopicKind::Inbox, user_id, self.keys);
        let payload = Shared::copy_of(payload);
        self.ask(key, topic, None, Ask::Direct { payload, user, receipt });
        if receipt.is_some() {
            self.await_answer(key);
        }
        Ok(())
    }

    /// The client has handled all messages to its user up to `seq`.
    pub(crate) fn acknowledge(&mut self, key: Key, tag: Tag, seq: u64) {
        let Some(user) = self.user_of(key) else { return };
        let topic = Topic::new(TopicKind::Inbox, &user.id, self.keys);
        self.ask(key, topic, tag, Ask::Acknowledge { seq });
    }

    /// Asks what is kept for the client's user, if it said which one it is.
    pub(crate) fn open_inbox(&mut self, key: Key) {
        let Some(client) = self.conns.get_mut(key).and_then(Conn::client) else { return };
        if !client.named {
            return;
        }
        if let Some(session) = client.session() {
            session.recalls();
        }
        if let Some(user) = &client.user {
            let topic = Topic::new(TopicKind::Inbox, &user.id, self.keys);
            self.ask(key, topic, None, Ask::Inbox);
        }
    }

    /// The owner has told what is kept.
    pub(crate) fn on_inbox(&mut self, key: Key, topic: &Topic, redelivery: Redelivery) {
        self.list(key, topic.hash());
        let Redelivery { lost, messages } = redelivery;
        if let Some(lost) = lost {
            self.send(key, |out| encode::inbox::inbox_lost(out, topic.name(), lost));
        }
        let mut pushed = Pushed::Queued;
        for message in messages {
            if !self.session_of(key).is_none_or(|session| session.lacks(message.offset)) {
                continue;
            }
            let delivery = self.delivery(topic, &Event::Published(message));
            let Shard { conns, spares, scratch, sessions, limits, turn, .. } = self;
            let Some(conn) = conns.get_mut(key) else { return };
            if conn.numbered {
                let message = Kept::Shared(delivery);
                // What does not fit is kept all the same, so the rest has to be, too.
                if pushed == Pushed::Overrun {
                    keep(conn, message, &mut sessions.bytes);
                } else {
                    pushed = deliver(conn, message, scratch, spares, &mut sessions.bytes, limits);
                }
            } else {
                conn.outbox.push_frame(spares, &delivery.frame);
            }
            turn.mark(conn, key.slot, Dirty::Soon);
            conn.brake(limits);
        }
        if let Some(session) = self.session_of(key) {
            session.recalled();
        }
        if pushed == Pushed::Overrun {
            self.on_overrun(key);
        }
    }

    fn session_of(&mut self, key: Key) -> Option<&mut Session> {
        self.conns.get_mut(key)?.client()?.session()
    }

    /// From now on messages to its user find the client.
    fn list(&mut self, key: Key, hash: u64) {
        let Shard { conns, users, .. } = self;
        let Some(client) = conns.get(key).and_then(Conn::any_client).filter(|client| !client.listed) else {
            return;
        };
        let Some(user) = &client.user else { return };
        let place = users.insert(hash, key.slot, |slot| is_of(conns.by_slot(slot), &user.id));
        if let Some(client) = conns.get_mut(key).and_then(Conn::client) {
            (client.listed, client.place) = (true, place);
        }
    }

    /// Messages to its user do not find the client any more.
    pub(crate) fn unlist(&mut self, key: Key) {
        let Shard { conns, users, keys, .. } = self;
        let Some(client) = conns.get(key).and_then(Conn::any_client).filter(|client| client.listed) else {
            return;
        };
        let (place, Some(user)) = (client.place, &client.user) else { return };
        let hash = Topic::hash_of(TopicKind::Inbox, &user.id, *keys);
        let moved = users.remove(hash, key.slot, place, |slot| is_of(conns.by_slot(slot), &user.id));
        if let Some(moved) = moved.and_then(|slot| conns.by_slot_mut(slot)).and_then(Conn::client) {
            moved.place = place;
        }
        if let Some(client) = conns.get_mut(key).and_then(Conn::client) {
            client.listed = false;
        }
    }

    /// The connections here of the user whose inbox `topic` is, those of clients that are away among them.
    pub(crate) fn connections_of(&self, topic: &Topic) -> Vec<Key> {
        let conns = &self.conns;
        let slots = self.users.find(topic.hash(), |slot| is_of(conns.by_slot(slot), topic.name()));
        slots.iter().filter_map(|slot| conns.key_of(*slot)).collect()
    }

    /// A message to a user, who may be here.
    pub(crate) fn on_direct(&mut self, topic: &Topic, message: Arc<Publication>, receipt: Option<Receipt>) {
        let keys = self.connections_of(topic);
        let there = keys.iter().filter(|key| {
            self.conns.get(**key).is_some_and(Conn::hears_broadcasts) // not one that is away
        });
        let count = u32::try_from(there.count()).unwrap_or(u32::MAX);
        if let Some(Receipt { shard, number }) = receipt {
            if shard == self.id {
                self.on_receipt(number, count);
            } else {
                self.lanes.edges[shard.index()].push_back(ToEdge::Receipt { number, count });
            }
        }
        if keys.is_empty() {
            return;
        }
        let delivery = self.delivery(topic, &Event::Published(message));
        self.jobs_waiting += 1;
        self.directs.push_back(Direct { delivery, keys });
        if self.directs.len() == 1 {
            self.run_directs(0);
        }
    }

    /// So many connections on one shard were sent the message of this number.
    pub(crate) fn on_receipt(&mut self, number: Key, count: u32) {
        let Some(awaited) = self.receipts.get_mut(number) else { return };
        awaited.delivered += count;
        awaited.missing -= 1;
        if awaited.missing > 0 {
            return;
        }
        let Some(Awaited { asker, tag, delivered, .. }) = self.receipts.remove(number) else { return };
        self.release(asker, Hold::ANSWER);
        self.send(asker, |out| encode::inbox::delivered(out, tag.as_deref(), delivered));
    }

    /// Goes on with messages to users until so many pushes are left for others.
    pub(crate) fn run_directs(&mut self, left: u32) {
        while let Some(mut direct) = self.directs.pop_front() {
            while self.turn.pushes_left > left
                && let Some(key) = direct.keys.pop()
            {
                self.turn.pushes_left -= 1;
                self.push_direct(key, &direct);
            }
            self.drop_overrun();
            if !direct.keys.is_empty() {
                self.directs.push_front(direct);
                return;
            }
            self.jobs_waiting -= 1;
        }
    }

    fn push_direct(&mut self, key: Key, direct: &Direct) {
        let Shard { conns, spares, scratch, sessions, limits, turn, .. } = self;
        let Some(conn) = conns.get_mut(key) else { return };
        if !conn.client().is_some_and(|client| client.listed) {
            return; // it left meanwhile
        }
        let pushed = if conn.numbered {
            let message = Kept::Shared(Arc::clone(&direct.delivery));
            deliver(conn, message, scratch, spares, &mut sessions.bytes, limits)
        } else {
            conn.outbox.push(spares, &direct.delivery, limits)
        };
        match pushed {
            Pushed::Queued => turn.mark(conn, key.slot, Dirty::Soon),
            Pushed::Overrun => turn.overrun.push(key.slot),
        }
    }
}

/// Whether this is a connection of the user with this id.
fn is_of(conn: Option<&Conn>, user_id: &str) -> bool {
    let user = conn.and_then(Conn::any_client).and_then(|client| client.user.as_ref());
    user.is_some_and(|user| *user.id == *user_id)
}
