//! What clients are told, as JSON appended to a buffer: one function for each message type.
//!
//! Adds no frame header and decides neither who gets what nor whether to answer. Payloads and tags are copied as
//! the bytes that came, all other text is escaped. `type` is always the first field.

pub mod auth;
mod documents;
pub mod inbox;
mod moderation;
pub mod session;
pub mod typed;

use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Wall;
use crate::dialect::{field, refusal, timestamp};
use crate::hub::event::{Body, Event, Publication, Refusal, Reply, Snapshot, Stats};
use crate::hub::name::{Topic, TopicKind, User};
use crate::wire::json;

/// The protocol's name, also offered as a WebSocket subprotocol.
pub const PROTOCOL: &str = "roomcast.v1";

/// The greeting in `welcome`.
pub const GREETING: &str = "Connected to roomcast";

/// More than the names of the fields and the numbers of one message take up together.
const FRAMEWORK_BYTES: usize = 192;

/// Who a new connection is, and where it has come to.
#[derive(Clone, Copy, Debug)]
pub struct Welcome<'a> {
    /// This connection.
    pub client_id: &'a str,
    /// Its user; the same as `client_id` for who has not said.
    pub user_id: &'a str,
    /// Names the connection to a later one that takes its place.
    pub session: &'a str,
    /// Whether that was its session before, too; none for who asked for none.
    pub resumed: Option<bool>,
    /// The server's own name.
    pub node: &'a str,
    /// Silence after which the server pings; none = never, written as 0.
    pub heartbeat_interval: Option<Duration>,
}

/// `welcome`, the first message of all.
pub fn welcome(out: &mut Vec<u8>, welcome: &Welcome<'_>) {
    open(out, "welcome");
    text(out, ",\"message\":", GREETING);
    text(out, ",\"client_id\":", welcome.client_id);
    text(out, ",\"user_id\":", welcome.user_id);
    text(out, ",\"session\":", welcome.session);
    if let Some(resumed) = welcome.resumed {
        boolean(out, ",\"resumed\":", resumed);
    }
    text(out, ",\"node\":", welcome.node);
    text(out, ",\"protocol\":", PROTOCOL);
    let interval = welcome.heartbeat_interval.unwrap_or_default();
    number(out, ",\"heartbeat_interval\":", interval.as_secs());
    if interval.subsec_millis() > 0 {
        out.extend_from_slice(format!(".{:03}", interval.subsec_millis()).as_bytes());
    }
    out.push(b'}');
}

/// An answer to something asked of `topic` (which for `Accepted`, `Stats` and `Refused` makes no difference).
pub fn reply(out: &mut Vec<u8>, topic: &Topic, tag: Option<&[u8]>, reply: &Reply, now: Wall) {
    let room = topic.name();
    match reply {
        Reply::Joined(snapshot) => match topic.kind() {
            TopicKind::Channel => subscribed(out, topic, tag, Some(snapshot)),
            TopicKind::Pattern => subscribed(out, topic, tag, None),
            TopicKind::Feed => bare(out, "subscription_confirmed", topic, tag),
            TopicKind::Document => documents::state(out, topic, tag, snapshot),
            _ => room_joined(out, topic, tag, snapshot),
        },
        Reply::Left => match topic.kind() {
            TopicKind::Channel | TopicKind::Pattern => unsubscribed(out, topic, tag),
            TopicKind::Feed => bare(out, "subscription_ended", topic, tag),
            TopicKind::Document => bare(out, "document_left", topic, tag),
            _ => bare(out, "room_left", topic, tag),
        },
        Reply::Accepted { offset } => ack(out, tag, *offset),
        Reply::Edited { version } => documents::edited(out, topic, tag, *version),
        Reply::History { messages, offset, epoch } => {
            open(out, "message_history");
            id(out, tag);
            named(out, topic);
            number(out, ",\"offset\":", *offset);
            text(out, ",\"epoch\":", epoch);
            publications(out, topic, messages);
            out.push(b'}');
        }
        Reply::Users { members_count, user_count, roll } => {
            open(out, "room_info");
            id(out, tag);
            text(out, ",\"room\":", room);
            number(out, ",\"members_count\":", u64::from(*members_count));
            number(out, ",\"user_count\":", u64::from(*user_count));
            users(out, &roll.users, &roll.moderators);
            out.push(b'}');
        }
        // Its messages are told one by one.
        Reply::Inbox(_) => debug_assert!(false, "an inbox is no answer"),
        Reply::Kicked { by, seconds } => moderation::sanction(out, "kicked", topic, by, *seconds),
        Reply::Muted { by, seconds } => moderation::sanction(out, "muted", topic, by, *seconds),
        Reply::Stats(stats) => server_stats(out, tag, stats),
        Reply::Refused(refusal) => refused(out, topic, tag, refusal, now),
    }
}

fn room_joined(out: &mut Vec<u8>, topic: &Topic, tag: Option<&[u8]>, snapshot: &Snapshot) {
    open(out, "room_joined");
    id(out, tag);
    named(out, topic);
    number(out, ",\"members_count\":", u64::from(snapshot.members_count));
    number(out, ",\"user_count\":", u64::from(snapshot.user_count));
    users(out, &snapshot.roll.users, &snapshot.roll.moderators);
    recovered(out, topic, snapshot);
    out.push(b'}');
}

/// A pattern has no numbering, so there is no snapshot of it.
fn subscribed(out: &mut Vec<u8>, topic: &Topic, tag: Option<&[u8]>, snapshot: Option<&Snapshot>) {
    open(out, "subscribed");
    id(out, tag);
    named(out, topic);
    text(out, ",\"status\":", "subscribed");
    if let Some(snapshot) = snapshot {
        recovered(out, topic, snapshot);
    }
    out.push(b'}');
}

fn unsubscribed(out: &mut Vec<u8>, topic: &Topic, tag: Option<&[u8]>) {
    open(out, "unsubscribed");
    id(out, tag);
    named(out, topic);
    text(out, ",\"status\":", "unsubscribed");
    out.push(b'}');
}

/// A reply that says no more than which topic it is about.
fn bare(out: &mut Vec<u8>, kind: &str, topic: &Topic, tag: Option<&[u8]>) {
    open(out, kind);
    id(out, tag);
    named(out, topic);
    out.push(b'}');
}

/// Where the numbering stands, and what was asked of the history.
fn recovered(out: &mut Vec<u8>, topic: &Topic, snapshot: &Snapshot) {
    number(out, ",\"offset\":", snapshot.offset);
    text(out, ",\"epoch\":", &snapshot.epoch);
    if let Some(recovered) = snapshot.recovered {
        boolean(out, ",\"recovered\":", recovered);
    }
    if let Some(messages) = &snapshot.messages {
        publications(out, topic, messages);
    }
}

/// `server_stats`, gathered from all shards.
pub fn server_stats(out: &mut Vec<u8>, tag: Option<&[u8]>, stats: &Stats) {
    open(out, "server_stats");
    id(out, tag);
    number(out, ",\"total_clients\":", stats.total_clients);
    number(out, ",\"total_rooms\":", stats.total_rooms);
    out.extend_from_slice(b",\"rooms\":{");
    list(out, &stats.rooms, |out, (topic, members)| {
        json::write_string(out, topic.name());
        number(out, ":", u64::from(*members));
    });
    out.push(b'}');
    number(out, ",\"uptime\":", stats.uptime_s);
    out.push(b'}');
}

/// `ack`, for what has no answer of its own; with the offset where one was given (it begins at 1).
pub fn ack(out: &mut Vec<u8>, tag: Option<&[u8]>, offset: u64) {
    open(out, "ack");
    id(out, tag);
    if offset > 0 {
        number(out, ",\"offset\":", offset);
    }
    out.push(b'}');
}

/// `error`: why something was not done. The texts are in [`refusal::words`].
pub fn error(out: &mut Vec<u8>, tag: Option<&[u8]>, refusal: &Refusal, now: Wall) {
    open(out, "error");
    id(out, tag);
    reason(out, refusal, now);
}

/// The same from the owner of a topic. An edit needs no `id`, so its error says what it was about.
fn refused(out: &mut Vec<u8>, topic: &Topic, tag: Option<&[u8]>, refusal: &Refusal, now: Wall) {
    open(out, "error");
    id(out, tag);
    if matches!(refusal, Refusal::Edit(_)) {
        named(out, topic);
    }
    reason(out, refusal, now);
}

fn reason(out: &mut Vec<u8>, refusal: &Refusal, now: Wall) {
    let words = refusal::words(refusal);
    text(out, ",\"code\":", words.code);
    text(out, ",\"message\":", &words.text);
    if let Some(retry_after_ms) = words.retry_after_ms {
        number(out, ",\"retry_after_ms\":", retry_after_ms);
    }
    time(out, now);
    out.push(b'}');
}

/// `pong`, with what came as `ts`.
pub fn pong(out: &mut Vec<u8>, tag: Option<&[u8]>, ts: Option<&[u8]>, now: Wall) {
    open(out, "pong");
    id(out, tag);
    if let Some(ts) = ts {
        out.extend_from_slice(b",\"ts\":");
        out.extend_from_slice(ts);
    }
    time(out, now);
    out.push(b'}');
}

/// `heartbeat`, which asks for a `pong`.
pub fn heartbeat(out: &mut Vec<u8>, now: Wall) {
    open(out, "heartbeat");
    time(out, now);
    out.push(b'}');
}

/// `server_shutdown`: when this client is to come back.
pub fn server_shutdown(out: &mut Vec<u8>, reconnect_after: Duration) {
    open(out, "server_shutdown");
    let reconnect_after_ms = u64::try_from(reconnect_after.as_millis()).unwrap_or(u64::MAX);
    number(out, ",\"reconnect_after_ms\":", reconnect_after_ms);
    out.push(b'}');
}

/// What a slow consumer did not get of one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// First and last offset of the publications lost; they can be asked for. None = only events were.
    pub offsets: Option<(u64, u64)>,
    /// How many messages without offset were lost; they are gone for good.
    pub events: u64,
}

/// `dropped`: what a slow consumer lost.
pub fn dropped(out: &mut Vec<u8>, topic: &Topic, dropped: Dropped) {
    open(out, "dropped");
    text(out, ",\"topic\":", &format!("{}:{}", topic.kind().word(), topic.name()));
    if !matches!(topic.kind(), TopicKind::Inbox | TopicKind::Everyone) {
        named(out, topic);
    }
    if let Some((from, to)) = dropped.offsets {
        debug_assert!(0 < from && from <= to, "offsets begin at 1 and grow");
        number(out, ",\"from\":", from);
        number(out, ",\"to\":", to);
    }
    if dropped.events > 0 {
        number(out, ",\"events\":", dropped.events);
    }
    out.push(b'}');
}

/// What happened in `topic`, as its members get it. `tag` is for the sender's own copy of a publication.
pub fn event(out: &mut Vec<u8>, topic: &Topic, event: &Event, tag: Option<&[u8]>) {
    match event {
        Event::Published(publication) => published(out, topic, publication, tag),
        Event::UserJoined { user, members_count, moderator } => {
            presence(out, "user_joined", topic, user, *moderator, *members_count);
        }
        Event::UserLeft { user, members_count } => {
            presence(out, "user_left", topic, user, false, *members_count);
        }
        Event::Attendance(told) => moderation::attendance(out, topic, told),
        Event::HistoryCleared(cleared) => moderation::history_cleared(out, topic, cleared),
        Event::EditorJoined(editor) => documents::joined(out, topic, editor),
        Event::Edited(edit) => documents::operation(out, topic, edit),
        Event::Pointed(pointed) => documents::cursor(out, topic, pointed),
        Event::Typing { user, is_typing } => {
            open(out, "typing_indicator");
            named(out, topic);
            shown(out, ",\"user_id\":", user);
            boolean(out, ",\"is_typing\":", *is_typing);
            out.push(b'}');
        }
    }
}

/// A publication, as the members of its topic get it.
fn published(out: &mut Vec<u8>, topic: &Topic, publication: &Publication, tag: Option<&[u8]>) {
    if let Body::Typed(kind) = publication.body {
        return typed::stub(out, topic.name(), publication, kind);
    }
    match topic.kind() {
        TopicKind::Everyone => broadcast(out, publication),
        TopicKind::Channel => message(out, topic.name(), publication),
        TopicKind::Inbox => inbox::direct_message(out, publication),
        TopicKind::Feed => data_update(out, topic.name(), publication),
        // Nothing publishes to the others yet.
        TopicKind::Room | TopicKind::Document | TopicKind::Pattern => {
            chat_message(out, topic.name(), publication, tag);
        }
    }
}

fn presence(out: &mut Vec<u8>, kind: &str, topic: &Topic, user: &User, moderator: bool, members_count: u32) {
    open(out, kind);
    named(out, topic);
    shown(out, ",\"user_id\":", user);
    role(out, moderator);
    number(out, ",\"members_count\":", u64::from(members_count));
    out.push(b'}');
}

/// `chat_message`: made once for all members, and once more with `id` where its sender asked for that.
pub fn chat_message(out: &mut Vec<u8>, room: &str, publication: &Publication, tag: Option<&[u8]>) {
    let Publication { offset, time: taken, user, payload, .. } = publication;
    let name_bytes = user.name.as_ref().map_or(0, |name| name.len());
    let tag_bytes = tag.map_or(0, <[u8]>::len);
    out.reserve(FRAMEWORK_BYTES + room.len() + user.id.len() + name_bytes + tag_bytes + payload.len());
    open(out, "chat_message");
    id(out, tag);
    text(out, ",\"room\":", room);
    shown(out, ",\"user_id\":", user);
    out.extend_from_slice(b",\"message\":");
    out.extend_from_slice(payload);
    time(out, *taken);
    number(out, ",\"offset\":", *offset);
    out.push(b'}');
}

/// `message`: a channel's publication.
pub fn message(out: &mut Vec<u8>, channel: &str, publication: &Publication) {
    let Publication { offset, time: taken, user, payload, .. } = publication;
    out.reserve(FRAMEWORK_BYTES + channel.len() + user.id.len() + payload.len());
    open(out, "message");
    text(out, ",\"channel\":", channel);
    text(out, ",\"user_id\":", &user.id);
    out.extend_from_slice(b",\"data\":");
    out.extend_from_slice(payload);
    time(out, *taken);
    number(out, ",\"offset\":", *offset);
    out.push(b'}');
}

/// `data_update`: what a feed stands at.
pub fn data_update(out: &mut Vec<u8>, feed: &str, publication: &Publication) {
    let Publication { time: taken, payload, .. } = publication;
    out.reserve(FRAMEWORK_BYTES + feed.len() + payload.len());
    open(out, "data_update");
    text(out, ",\"source\":", feed);
    out.extend_from_slice(b",\"data\":");
    out.extend_from_slice(payload);
    time(out, *taken);
    out.push(b'}');
}

/// `broadcast`, to everybody.
pub fn broadcast(out: &mut Vec<u8>, publication: &Publication) {
    out.reserve(FRAMEWORK_BYTES + publication.user.id.len() + publication.payload.len());
    open(out, "broadcast");
    out.extend_from_slice(b",\"message\":");
    out.extend_from_slice(&publication.payload);
    text(out, ",\"user_id\":", &publication.user.id);
    time(out, publication.time);
    out.push(b'}');
}

/// Begins an object; every field after this brings its comma.
fn open(out: &mut Vec<u8>, kind: &str) {
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.push(b'"');
}

/// `before` is what stands before a value: comma, name and colon.
pub(crate) fn text(out: &mut Vec<u8>, before: &str, value: &str) {
    out.extend_from_slice(before.as_bytes());
    json::write_string(out, value);
}

pub(crate) fn number(out: &mut Vec<u8>, before: &str, value: u64) {
    out.extend_from_slice(before.as_bytes());
    json::write_integer(out, value);
}

fn boolean(out: &mut Vec<u8>, before: &str, value: bool) {
    out.extend_from_slice(before.as_bytes());
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// The topic, in the field of its kind.
fn named(out: &mut Vec<u8>, topic: &Topic) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(field::of(topic.kind()).as_bytes());
    out.extend_from_slice(b"\":");
    json::write_string(out, topic.name());
}

fn id(out: &mut Vec<u8>, tag: Option<&[u8]>) {
    if let Some(tag) = tag {
        out.extend_from_slice(b",\"id\":");
        out.extend_from_slice(tag);
    }
}

fn time(out: &mut Vec<u8>, time: Wall) {
    out.extend_from_slice(b",\"timestamp\":\"");
    timestamp::write(out, time);
    out.push(b'"');
}

/// A user's id and, if there is one, name.
fn shown(out: &mut Vec<u8>, before: &str, user: &User) {
    text(out, before, &user.id);
    if let Some(name) = &user.name {
        text(out, ",\"username\":", name);
    }
}

/// What a user is in a room; nothing is said of those who are simply members, as nearly all are.
fn role(out: &mut Vec<u8>, moderator: bool) {
    if moderator {
        out.extend_from_slice(b",\"role\":\"moderator\"");
    }
}

pub(crate) fn users(out: &mut Vec<u8>, users: &[Arc<User>], moderators: &[u32]) {
    out.extend_from_slice(b",\"users\":[");
    let mut moderators = moderators.iter().map(|place| *place as usize).peekable();
    for (place, user) in users.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        shown(out, "{\"user_id\":", user);
        role(out, moderators.next_if_eq(&place).is_some());
        out.push(b'}');
    }
    out.push(b']');
}

/// History, each message as its members once got it.
pub(crate) fn publications(out: &mut Vec<u8>, topic: &Topic, messages: &[Arc<Publication>]) {
    out.extend_from_slice(b",\"messages\":[");
    list(out, messages, |out, publication| published(out, topic, publication, None));
    out.push(b']');
}

pub(crate) fn list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
}

#[cfg(test)]
mod tests;
