//! A client's text message to what it asks.
//!
//! Borrows all it can and allocates only for strings with escapes and for refusals. Checks that fields are there
//! and of the right kind; names and permissions are for others to check. What a client says about who it is or
//! when it is (`user_id`, `timestamp`, …) is not even looked at.
//!
//! `null` counts as a field that is not there (but is no `id`). A field that comes twice has its last value. Fields
//! that a message type does not have are ignored.

pub mod auth;
mod documents;
mod moderation;

use std::borrow::Cow;

use crate::dialect::field;
use crate::dialect::native::alias;
use crate::hub::command::{Command, Position, TAG_BYTES_MAX};
use crate::hub::event::Refusal;
use crate::hub::name::TopicKind;
use crate::wire::json::{self, Kind, Name, Value};

/// Publications that `get_history` yields where no `limit` is given.
pub const HISTORY_DEFAULT: u32 = 20;

/// Most publications that one message can ask for; greater numbers are taken as this one, since asking for more
/// than there is has never been an error.
pub const HISTORY_MAX: u32 = 1000;

/// Longest `epoch` that is looked at, in bytes as they came; ours are shorter.
pub const EPOCH_BYTES_MAX: usize = 128;

/// So many characters of an unknown type are repeated in the refusal.
pub const UNKNOWN_TYPE_CHARS_MAX: usize = 64;

/// What one message asks.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The JSON of `id` as it came: a string or integer of at most [`TAG_BYTES_MAX`] bytes.
    pub tag: Option<&'a [u8]>,
    /// The command, or why it is none.
    pub asked: Result<Command<'a>, Refusal>,
}

/// A message type: its canonical word, and how its fields become a command.
pub struct Type {
    /// The value of `type`.
    pub word: &'static str,
    read: for<'a> fn(&Fields<'a>) -> Result<Command<'a>, Refusal>,
}

/// Every message type that is understood, the frequent ones first.
pub const TYPES: [Type; 25] = [
    Type { word: "chat_message", read: chat_message },
    Type { word: "typing_indicator", read: typing_indicator },
    Type { word: "text_operation", read: documents::text_operation },
    Type { word: "cursor_update", read: documents::cursor_update },
    Type { word: "ping", read: ping },
    Type { word: "pong", read: |_| Ok(Command::Pong) },
    Type { word: "join_room", read: |fields| fields.join(TopicKind::Room) },
    Type { word: "leave_room", read: |fields| fields.leave(TopicKind::Room) },
    Type { word: "publish", read: publish },
    Type { word: "subscribe", read: |fields| fields.join(TopicKind::Channel) },
    Type { word: "unsubscribe", read: |fields| fields.leave(TopicKind::Channel) },
    Type { word: "subscribe_feed", read: subscribe_feed },
    Type { word: "unsubscribe_feed", read: |fields| fields.leave(TopicKind::Feed) },
    Type { word: "join_document", read: documents::join_document },
    Type { word: "leave_document", read: |fields| fields.leave(TopicKind::Document) },
    Type { word: "get_history", read: get_history },
    Type { word: "get_users", read: |fields| Ok(Command::Users { room: fields.name(TopicKind::Room)? }) },
    Type { word: "broadcast", read: |fields| Ok(Command::Broadcast { payload: fields.payload()? }) },
    Type { word: "direct_message", read: direct_message },
    Type { word: "ack", read: ack },
    Type { word: "get_stats", read: |_| Ok(Command::Stats) },
    Type { word: "kick", read: moderation::kick },
    Type { word: "mute", read: moderation::mute },
    Type { word: "clear_history", read: moderation::clear_history },
    Type { word: "auth", read: auth::auth },
];

/// Every field that some message type has, the frequent ones first.
pub const FIELDS: [&str; 24] = [
    "type",
    "room",
    "message",
    "id",
    "channel",
    "data",
    "is_typing",
    "echo",
    "ts",
    "since",
    "history",
    "limit",
    "before",
    "user_id",
    "seq",
    "feed",
    "doc_id",
    "version",
    "operation",
    "position",
    "selection",
    "user_info",
    "seconds",
    "token",
];

const ID: usize = 3;

const _: () = assert!(FIELDS[ID].len() == 2 && TAG_BYTES_MAX == 256, "the texts below say so");

/// Reads one message.
#[must_use]
pub fn decode(text: &str) -> Asked<'_> {
    let mut fields = Fields { found: [None; FIELDS.len()] };
    if json::object(text, |name, value| fields.put(name, value)).is_err() {
        return Asked { tag: None, asked: Err(Refusal::InvalidJson) };
    }
    match fields.tag() {
        Ok(tag) => Asked { tag, asked: fields.command() },
        Err(refusal) => Asked { tag: None, asked: Err(refusal) },
    }
}

/// A value, and whether it came under the field's canonical name.
#[derive(Clone, Copy)]
struct Found<'a> {
    value: Value<'a>,
    canonical: bool,
}

/// The fields of one message that mean something, each in the place that its name has in [`FIELDS`].
struct Fields<'a> {
    found: [Option<Found<'a>>; FIELDS.len()],
}

impl<'a> Fields<'a> {
    fn put(&mut self, name: Name<'a>, value: Value<'a>) {
        // A name without escapes means itself; one with escapes is equal to no word as it stands.
        let place = place(name.raw()).or_else(|| match name.text() {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => place(&text),
        });
        let Some((place, canonical)) = place else { return };
        match self.found[place] {
            Some(Found { canonical: true, .. }) if !canonical => {}
            _ => self.found[place] = Some(Found { value, canonical }),
        }
    }

    /// The value of a field of [`FIELDS`]; none if it is not there or `null`.
    #[inline]
    fn get(&self, word: &'static str) -> Option<Value<'a>> {
        debug_assert!(FIELDS.contains(&word), "{word} is in the table");
        let place = FIELDS.iter().position(|field| *field == word)?;
        self.found[place].map(|found| found.value).filter(|value| value.kind() != Kind::Null)
    }

    fn tag(&self) -> Result<Option<&'a [u8]>, Refusal> {
        let Some(Found { value, .. }) = self.found[ID] else { return Ok(None) };
        let raw = value.raw().as_bytes();
        let good = match value.kind() {
            Kind::String => true,
            Kind::Number => raw.iter().all(|byte| matches!(byte, b'-' | b'0'..=b'9')),
            _ => false,
        };
        if good && raw.len() <= TAG_BYTES_MAX {
            Ok(Some(raw))
        } else {
            Err(Refusal::InvalidField {
                field: "id",
                expected: "a string or an integer, of at most 256 bytes",
            })
        }
    }

    fn command(&self) -> Result<Command<'a>, Refusal> {
        // Clients of the same family know the answer to a message without type by this word.
        let Some(value) = self.get("type") else { return Err(unknown("None")) };
        let Some(word) = value.text() else { return Err(unknown(value.raw())) };
        let find = |word: &str| TYPES.iter().find(|known| known.word == word);
        match find(&word).or_else(|| find(alias::canonical(&alias::TYPES, &word)?)) {
            Some(known) => (known.read)(self),
            None => Err(unknown(&word)),
        }
    }

    /// The topic of this kind, which has to be named.
    fn name(&self, kind: TopicKind) -> Result<Cow<'a, str>, Refusal> {
        let field = field::of(kind);
        let value = self.get(field).ok_or(Refusal::NameRequired(kind))?;
        let name = value.text().ok_or(Refusal::InvalidField { field, expected: "a string" })?;
        if name.is_empty() { Err(Refusal::NameRequired(kind)) } else { Ok(name) }
    }

    /// The message: any value but the empty string.
    fn payload(&self) -> Result<&'a [u8], Refusal> {
        match self.get("message") {
            Some(value) if value.raw() != "\"\"" => Ok(value.raw().as_bytes()),
            _ => Err(Refusal::MessageRequired),
        }
    }

    fn join(&self, kind: TopicKind) -> Result<Command<'a>, Refusal> {
        Ok(Command::Join {
            kind,
            name: self.name(kind)?,
            since: self.since()?,
            history: self.count("history")?,
        })
    }

    fn leave(&self, kind: TopicKind) -> Result<Command<'a>, Refusal> {
        Ok(Command::Leave { kind, name: self.name(kind)? })
    }

    fn boolean_or_true(&self, field: &'static str) -> Result<bool, Refusal> {
        let Some(value) = self.get(field) else { return Ok(true) };
        value.boolean().ok_or(Refusal::InvalidField { field, expected: "true or false" })
    }

    fn integer(&self, field: &'static str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let refusal = Refusal::InvalidField { field, expected: "an integer, not negative" };
        value.integer().map(Some).ok_or(refusal)
    }

    /// How many publications are asked for.
    fn count(&self, field: &'static str) -> Result<Option<u32>, Refusal> {
        let number = self.integer(field)?;
        Ok(number.map(|number| u32::try_from(number).unwrap_or(HISTORY_MAX).min(HISTORY_MAX)))
    }

    fn since(&self) -> Result<Option<Position<'a>>, Refusal> {
        let Some(value) = self.get("since") else { return Ok(None) };
        let (mut offset, mut epoch) = (None, None);
        let short = |value: &Value<'_>| value.raw().len() <= EPOCH_BYTES_MAX;
        // The text as a whole was valid, so this can only fail where `since` is no object.
        let outcome = json::object(value.raw(), |name, value| match &*name.text() {
            "offset" => offset = value.integer(),
            "epoch" => epoch = Some(value).filter(short).and_then(Value::text),
            _ => {}
        });
        match (outcome, offset, epoch) {
            (Ok(()), Some(offset), Some(epoch)) => Ok(Some(Position { offset, epoch })),
            _ => Err(Refusal::InvalidField { field: "since", expected: "an object of offset and epoch" }),
        }
    }
}

/// Where a field has its place, and whether `word` is its canonical name.
fn place(word: &str) -> Option<(usize, bool)> {
    let find = |word: &str| FIELDS.iter().position(|field| *field == word);
    match find(word) {
        Some(place) => Some((place, true)),
        None => Some((find(alias::canonical(&alias::FIELDS, word)?)?, false)),
    }
}

fn unknown(named: &str) -> Refusal {
    let end = named.char_indices().nth(UNKNOWN_TYPE_CHARS_MAX).map_or(named.len(), |(end, _)| end);
    Refusal::UnknownType(named[..end].into())
}

fn chat_message<'a>(fields: &Fields<'a>) -> Result<Command<'a>, Refusal> {
    let kind = TopicKind::Room;
    let name = fields.name(kind).map_err(|refusal| match refusal {
        Refusal::NameRequired(_) => Refusal::MessageRequired,
        other => other,
    })?;
    Ok(Command::Publish { kind, name, payload: fields.payload()?, echo: fields.boolean_or_true("echo")? })
}

fn publish<'a>(fields: &Fields<'a>) -> Result<Command<'a>, Refusal> {
    let kind = TopicKind::Channel;
    let name = fields.name(kind)?;
    let data =
        fields.get("data").ok_or(Refusal::InvalidField { field: "data", expected: "any value but null" })?;
    let payload = data.raw().as_bytes();
    Ok(Command::Publish { kind, name, payload, echo: fields.boolean_or_true("echo")? })
}

fn direct_message<'a>(fields: &Fields<'a>) -> Result<Command<'a>, Refusal> {
    let user_id = fields.name(TopicKind::Inbox)?;
    let refusal = Refusal::InvalidField { field: "message", expected: "any value but the empty string" };
    Ok(Command::Direct { user_id, payload: fields.payload().map_err(|_| refusal)? })
}

fn ack<'a>(fields: &Fields<'a>) -> Result<Command<'a>, Refusal> {
    let refusal = Refusal::InvalidField { field: "seq", expected: "an integer, not negative" };
    Ok(Command::Acknowledge { seq: fields.integer("seq")?.ok_or(refusal)? })
}

/// The last value comes with the answer: it is what a feed is about.
fn subscribe_feed<'a>(fields: &Fields<'a>) -> Result<Command<'a>, Refusal> {
    let kind = TopicKind::Feed;
    Ok(Command::Join { kind, name: fields.name(kind)?, since: None, history: Some(1) })
}

fn typing_indicator<'a>(fields: &Fields<'a>) -> Result<Command<'a>, Refusal> {
    Ok(Command::Typing {
        room: fields.name(TopicKind::Room)?,
        is_typing: fields.boolean_or_true("is_typing")?,
    })
}

fn get_history<'a>(fields: &Fields<'a>) -> Result<Command<'a>, Refusal> {
    let limit = fields.count("limit")?.unwrap_or(HISTORY_DEFAULT);
    // Where both are named, or neither, a room is meant.
    let channel = fields.get("room").is_none() && fields.get("channel").is_some();
    let kind = if channel { TopicKind::Channel } else { TopicKind::Room };
    Ok(Command::History { kind, name: fields.name(kind)?, limit, before: fields.integer("before")? })
}

/// `ts` can be any scalar, as short as a tag since it is given back.
fn ping<'a>(fields: &Fields<'a>) -> Result<Command<'a>, Refusal> {
    let Some(value) = fields.get("ts") else { return Ok(Command::Ping { ts: None }) };
    let raw = value.raw().as_bytes();
    if matches!(value.kind(), Kind::Object | Kind::Array) || raw.len() > TAG_BYTES_MAX {
        let expected = "a string, number, true or false, of at most 256 bytes";
        return Err(Refusal::InvalidField { field: "ts", expected });
    }
    Ok(Command::Ping { ts: Some(raw) })
}

#[cfg(test)]
mod tests;
