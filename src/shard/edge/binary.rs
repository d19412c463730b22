//! Binary messages of native clients: to a room that they name, or to the one room that the sender is in.
//!
//! Looks at headers only. Who may write where is for the room's owner to say.

use crate::base::id::Key;
use crate::base::shared::Shared;
use crate::dialect::native::encode::typed;
use crate::hub::command::Ask;
use crate::hub::event::{Body, Publication, Refusal, Reply};
use crate::hub::name::{Topic, TopicKind};
use crate::shard::conn::Dirty;
use crate::shard::conn::session::Kept;
use crate::shard::edge::session::deliver;
use crate::shard::state::Shard;
use crate::wire::typed::{AUDIO_BYTES_MAX, Invalid, Sent};

const _: () = assert!(AUDIO_BYTES_MAX == 1 << 20, "the text below says so");

fn refusal(invalid: Invalid) -> Refusal {
    let (field, expected) = match invalid {
        Invalid::TooShort => ("message", "longer than its own header"),
        Invalid::Reserved(_) => ("type", "1 to 3, or 16 and up"),
        Invalid::NotText => ("room", "UTF-8"),
        Invalid::TooLarge { .. } => ("message", "1 MiB of audio at most"),
    };
    Refusal::InvalidField { field, expected }
}

impl Shard {
    /// A binary message, for which there is a token. Nobody can tell answers apart without an `id`, so what went well
    /// is not answered.
    pub(crate) fn on_binary(&mut self, key: Key, message: &[u8]) {
        let done =
            Sent::parse(message).map_err(refusal).and_then(|sent| self.send_typed(key, message, &sent));
        if let Err(refusal) = done {
            self.refuse(key, None, &refusal);
        }
    }

    fn send_typed(&mut self, key: Key, message: &[u8], sent: &Sent<'_>) -> Result<(), Refusal> {
        let Some(room) = sent.room else {
            let topic = self.only_room(key).ok_or(Refusal::NameRequired(TopicKind::Room))?;
            if self.asks_for_tokens() {
                self.judge_binary(key, message.len(), topic.name())?;
            }
            self.ask(key, topic, None, Ask::Relay { payload: Shared::copy_of(message) });
            return Ok(());
        };
        if room.is_empty() {
            return Err(Refusal::NameRequired(TopicKind::Room));
        }
        if self.asks_for_tokens() {
            self.judge_binary(key, message.len(), room)?;
        }
        let ask = Ask::PublishTyped { number: sent.kind.number(), payload: Shared::copy_of(sent.payload) };
        self.ask_member(key, None, (TopicKind::Room, room), ask)
    }

    /// The room that the connection is in, or asked to be, if there is just one.
    fn only_room(&self, key: Key) -> Option<Topic> {
        let memberships = self.conns.get(key)?.memberships.iter();
        let mut rooms = memberships.filter(|membership| membership.kind == TopicKind::Room);
        let only = rooms.next().filter(|_| rooms.next().is_none())?;
        Some(self.members.topic(only.topic).topic.clone())
    }

    /// Sends what an answer could only name: the binary messages of its history, right behind it and in its order.
    pub(crate) fn send_named_in(&mut self, key: Key, topic: &Topic, reply: &Reply) {
        let messages = match reply {
            Reply::Joined(snapshot) => snapshot.messages.as_deref(),
            Reply::History { messages, .. } => Some(messages.as_slice()),
            _ => None,
        };
        for publication in messages.unwrap_or_default() {
            if publication.body != Body::Value {
                self.send_binary(key, topic, publication);
            }
        }
    }

    /// Queues a publication's frame as the connection's own.
    fn send_binary(&mut self, key: Key, topic: &Topic, publication: &Publication) {
        let Shard { conns, spares, scratch, turn, limits, sessions, .. } = self;
        let Some(conn) = conns.get_mut(key) else { return };
        if conn.client().is_none() {
            return;
        }
        let frame = match publication.frame.get() {
            Some(frame) => frame,
            None => match typed::frame(scratch, topic.name(), publication) {
                Some(frame) => frame,
                None => return,
            },
        };
        if conn.numbered {
            let message = Kept::Own(Box::from(frame));
            deliver(conn, message, scratch, spares, &mut sessions.bytes, limits);
        } else {
            conn.outbox.push_frame(spares, frame);
        }
        turn.mark(conn, key.slot, Dirty::Soon);
        conn.brake(limits);
    }
}
