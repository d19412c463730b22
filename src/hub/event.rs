//! Everything that can be told: answers to one origin ([`Reply`]), events to all members ([`Event`]), and
//! refusals ([`Refusal`]).

use std::sync::{Arc, OnceLock};

use crate::base::clock::Wall;
use crate::base::id::{Key, Origin, ShardId};
use crate::base::shared::Shared;
use crate::hub::command::Tag;
use crate::hub::document::{self, Cursor};
use crate::hub::name::{NameError, Topic, TopicKind, User};
use crate::hub::operation::Operation;

/// Most users that are listed where a topic does not count a crowd instead.
pub const LISTED_USERS_MAX: usize = 100;

/// What the bytes of a publication are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// A value of the dialect that it came in.
    #[default]
    Value,
    /// Bytes of this type.
    Typed(u32),
    /// A whole message, which goes on as it came. Never numbered.
    Plain,
}

/// One message of a topic, numbered and dated by the owner.
#[derive(Debug)]
pub struct Publication {
    /// The topic's own count: 1, 2, 3, … without a hole; 0 where the topic does not number.
    pub offset: u64,
    /// When the owner took it.
    pub time: Wall,
    /// Who published it.
    pub user: Arc<User>,
    /// Opaque; relayed as the bytes that came.
    pub payload: Shared,
    /// What the payload is.
    pub body: Body,
    /// The whole frame as members get it, made by the first shard that needs it.
    pub frame: OnceLock<Shared>,
}

/// A part of an edit, as everybody but its author gets it.
#[derive(Debug)]
pub struct Edit {
    /// Whose.
    pub user: Arc<User>,
    /// What to do to the text of the version before.
    pub operation: Operation,
    /// The version that it makes.
    pub version: u64,
}

/// Where somebody is in a document.
#[derive(Debug)]
pub struct Pointed {
    /// Who.
    pub user: Arc<User>,
    /// Where, in the text of `version`.
    pub cursor: Cursor,
    /// The document's version.
    pub version: u64,
}

/// A user who came to a document and said something about itself.
#[derive(Debug)]
pub struct Editor {
    /// Who.
    pub user: Arc<User>,
    /// Opaque; relayed as the bytes that came.
    pub info: Box<[u8]>,
    /// Connections in the document now.
    pub members_count: u32,
}

/// What happens in a topic, told to all its members in the owner's order.
#[derive(Clone, Debug)]
pub enum Event {
    /// A publication.
    Published(Arc<Publication>),
    /// A user's first connection came.
    UserJoined {
        /// Who.
        user: Arc<User>,
        /// Connections in the topic now.
        members_count: u32,
        /// Whether the user moderates the topic.
        moderator: bool,
    },
    /// A user's last connection went, some time ago where users have time to come back.
    UserLeft {
        /// Who.
        user: Arc<User>,
        /// Connections in the topic now.
        members_count: u32,
    },
    /// Somebody began or stopped typing.
    Typing {
        /// Who.
        user: Arc<User>,
        /// Began or stopped.
        is_typing: bool,
    },
    /// How many are there, in a topic that has too many users to tell of each of them.
    Attendance(Arc<Attendance>),
    /// A moderator had everything forgotten that was published.
    HistoryCleared(Arc<Cleared>),
    /// A user's first connection came to a document, with something to know about the user.
    EditorJoined(Arc<Editor>),
    /// The text of a document changed.
    Edited(Arc<Edit>),
    /// Somebody moved in a document.
    Pointed(Arc<Pointed>),
}

impl Event {
    /// Whether who misses it has to be told. What only shows for a moment is better forgotten.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        !matches!(self, Event::Typing { .. } | Event::Pointed(_))
    }
}

/// Who and how many are in a topic.
#[derive(Debug)]
pub struct Attendance {
    /// Connections in the topic.
    pub members_count: u32,
    /// Distinct users in the topic.
    pub user_count: u32,
    /// All users, once they are few enough again to be told of one by one.
    pub roll: Option<Roll>,
}

/// The end of a history.
#[derive(Debug)]
pub struct Cleared {
    /// The moderator.
    pub by: Arc<User>,
    /// The last publication that was forgotten.
    pub offset: u64,
}

/// Users of a topic, in order of arrival; empty where there are too many.
#[derive(Clone, Debug, Default)]
pub struct Roll {
    /// The users.
    pub users: Vec<Arc<User>>,
    /// Places in `users` of those who moderate the topic, in order.
    pub moderators: Vec<u32>,
}

/// A document at the moment somebody joins it.
#[derive(Debug)]
pub struct Text {
    /// All of it; shared by those who join at one version.
    pub content: Arc<String>,
    /// How many operations made it.
    pub version: u64,
    /// What is to know of the snapshot's users, in their order.
    pub infos: Vec<Option<Box<[u8]>>>,
    /// Where members are who said so, at most [`LISTED_USERS_MAX`].
    pub cursors: Vec<(Arc<User>, Cursor)>,
}

/// How a topic stands at the moment a join, or a question, is answered.
#[derive(Debug)]
pub struct Snapshot {
    /// Connections in the topic.
    pub members_count: u32,
    /// Distinct users in the topic.
    pub user_count: u32,
    /// Who they are.
    pub roll: Roll,
    /// Offset of the newest publication; 0 before the first.
    pub offset: u64,
    /// Changes when the numbering restarts.
    pub epoch: Arc<str>,
    /// Whether everything since the asked position is in `messages`; none if no position was asked.
    pub recovered: Option<bool>,
    /// History, oldest first; none if none was asked.
    pub messages: Option<Vec<Arc<Publication>>>,
    /// What a document says; none for other kinds.
    pub text: Option<Box<Text>>,
}

/// An answer to one origin.
#[derive(Debug)]
pub enum Reply {
    /// To `Join`.
    Joined(Box<Snapshot>),
    /// To `Leave`.
    Left,
    /// To `Publish` without echo, and to `Broadcast`; the offset is 0 where the topic does not number.
    Accepted {
        /// The number it was given.
        offset: u64,
    },
    /// To `Edit`: what the author has to know, asked or not.
    Edited {
        /// The version that the operation made, in all its parts.
        version: u64,
    },
    /// To `History`.
    History {
        /// Oldest first.
        messages: Vec<Arc<Publication>>,
        /// Offset of the newest publication of the topic.
        offset: u64,
        /// The numbering.
        epoch: Arc<str>,
    },
    /// To `Users`.
    Users {
        /// Connections in the topic.
        members_count: u32,
        /// Distinct users.
        user_count: u32,
        /// Who they are.
        roll: Box<Roll>,
    },
    /// Unasked: the membership has ended.
    Kicked {
        /// The moderator.
        by: Arc<User>,
        /// Time in which a join will be refused.
        seconds: u64,
    },
    /// Unasked: publications of this user are refused.
    Muted {
        /// The moderator.
        by: Arc<User>,
        /// For so long; 0 = no longer.
        seconds: u64,
    },
    /// To `Stats`, gathered from all shards.
    Stats(Box<Stats>),
    /// To `Inbox`.
    Inbox(Redelivery),
    /// To anything that cannot be done.
    Refused(Refusal),
}

/// What is kept for a user that comes back.
#[derive(Debug, Default)]
pub struct Redelivery {
    /// First and last number of what was not acknowledged but is no longer kept; to be told first.
    pub lost: Option<(u64, u64)>,
    /// All that is kept and not acknowledged, oldest first.
    pub messages: Vec<Arc<Publication>>,
}

/// Where the sender of a direct message waits for how many connections it reached.
#[derive(Clone, Copy, Debug)]
pub struct Receipt {
    /// The sender's shard.
    pub shard: ShardId,
    /// A number of that shard.
    pub number: Key,
}

/// What the application's publication was given, and whom it reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The number it was given; 0 where the topic does not number.
    pub offset: u64,
    /// The numbering; empty where there is none.
    pub epoch: Arc<str>,
    /// Connections in the topic, which it is on its way to.
    pub delivered: u32,
}

/// An answer to the application behind this server, see [`crate::hub::command::Order`].
#[derive(Debug)]
pub enum Told {
    /// To `Post`: it is done, now or when it was first tried.
    Posted(Stamp),
    /// To `Post`: its mark stands for another publication, which was done; this one was not.
    MarkTaken,
    /// To `Standing`.
    Standing {
        /// Connections in the topic.
        members_count: u32,
        /// Distinct users.
        user_count: u32,
        /// Offset of the newest publication; 0 before the first.
        offset: u64,
        /// The numbering; none while there is none.
        epoch: Option<Arc<str>>,
    },
    /// To `Users`.
    Users {
        /// Connections in the topic.
        members_count: u32,
        /// Distinct users.
        user_count: u32,
        /// The first so many.
        roll: Roll,
    },
    /// To `History`.
    History {
        /// Oldest first.
        messages: Vec<Arc<Publication>>,
        /// Offset of the newest publication of the topic.
        offset: u64,
        /// The numbering; none while there is none.
        epoch: Option<Arc<str>>,
    },
}

/// Numbers about the whole process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Open WebSocket connections that speak the native protocol.
    pub total_clients: u64,
    /// Rooms that have members.
    pub total_rooms: u64,
    /// Largest rooms with their members, largest first, names in order where equal.
    pub rooms: Vec<(Topic, u32)>,
    /// Seconds since start.
    pub uptime_s: u64,
}

/// Why a command is not done. Each has one code and one text, in `dialect::refusal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not a JSON object.
    InvalidJson,
    /// `type` names nothing we know; what it said, cut to a length that is safe to repeat.
    UnknownType(Box<str>),
    /// A field is missing, has the wrong type or a value out of bounds.
    InvalidField {
        /// The field's canonical name.
        field: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// No topic was named where one of this kind has to be.
    NameRequired(TopicKind),
    /// Room or message is missing or empty.
    MessageRequired,
    /// The name breaks a rule.
    BadName {
        /// Canonical name of the field that held it.
        field: &'static str,
        /// Which rule.
        error: NameError,
    },
    /// The sender is no member of the topic, which is of this kind.
    NotMember(TopicKind),
    /// The policy, or lack of a role, keeps the sender from this.
    Forbidden,
    /// No feed has this name.
    UnknownFeed,
    /// The user was kicked out of the room and may not join yet.
    Banned {
        /// When a join will be taken.
        retry_after_ms: u64,
    },
    /// The user was muted in the room.
    Muted {
        /// When a publication will be taken.
        retry_after_ms: u64,
    },
    /// The room has its most members.
    RoomFull,
    /// There is no memory for another document.
    DocumentsFull,
    /// An operation does not fit its document.
    Edit(document::Refusal),
    /// The connection is in as many rooms as it may be.
    TooManyRooms {
        /// The limit.
        max: u32,
    },
    /// More commands than allowed.
    RateLimited {
        /// When the next one will be taken.
        retry_after_ms: u64,
    },
    /// A part of the server cannot answer now.
    Unavailable,
}

/// What an owner sends to an edge. Between two shards these travel in one order.
#[derive(Debug)]
pub enum Outcome {
    /// An answer to one origin.
    Reply {
        /// The topic that was asked.
        topic: Topic,
        /// Who asked.
        origin: Origin,
        /// The client's own mark.
        tag: Tag,
        /// The answer.
        reply: Reply,
    },
    /// A message for all connections of the user whose inbox the topic is.
    Direct {
        /// The inbox.
        topic: Topic,
        /// Its newest message.
        message: Arc<Publication>,
        /// Whom to tell how many connections it reached.
        receipt: Option<Receipt>,
    },
    /// A publication in a channel, for those on the receiving shard who subscribed by a pattern that matches.
    Matched {
        /// The pattern.
        pattern: Topic,
        /// The channel.
        topic: Topic,
        /// What happened.
        event: Event,
        /// Who caused it, if it is to get nothing.
        sender: Option<Sender>,
    },
    /// An answer to the application behind this server.
    Told {
        /// The topic that was asked.
        topic: Topic,
        /// Who asked.
        origin: Origin,
        /// Of the order.
        number: u32,
        /// The answer.
        told: Box<Told>,
    },
    /// An event for the members of a topic on the receiving shard.
    Deliver {
        /// The topic.
        topic: Topic,
        /// What happened.
        event: Event,
        /// Who caused it, and what becomes of its own copy.
        sender: Option<Sender>,
    },
}

/// The cause of an event, and what its own copy looks like.
#[derive(Clone, Debug)]
pub struct Sender {
    /// Who caused it.
    pub origin: Origin,
    /// Some: the sender gets its own copy, carrying this tag (or none). None: the sender gets nothing.
    pub copy: Option<Tag>,
}
