//! Everything that can be asked: by a client ([`Command`]), and by an edge of a topic's owner ([`Request`]).
//!
//! All dialects translate to these words; payloads are bytes that nobody here looks into.

use std::borrow::Cow;
use std::sync::Arc;

use crate::base::id::{Key, Origin};
use crate::base::shared::Shared;
use crate::hub::document::Cursor;
use crate::hub::name::{Topic, TopicKind, User};
use crate::hub::operation::Operation;

/// The client's own mark of a request, given back with the reply as the bytes that came (for the native
/// protocol: the JSON of `id`, a string or an integer).
pub type Tag = Option<Box<[u8]>>;

/// Longest [`Tag`] that is taken, in bytes.
pub const TAG_BYTES_MAX: usize = 256;

/// A place in a topic's numbering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position<'a> {
    /// Offset of the last publication that the client has; 0 is before the first.
    pub offset: u64,
    /// The numbering that the offset belongs to.
    pub epoch: Cow<'a, str>,
}

/// Where somebody is in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// The version that the cursor's positions belong to; none: the newest.
    pub version: Option<u64>,
    /// Where.
    pub cursor: Cursor,
}

/// What a client asks, borrowing from the message it came in. Names are not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Become a member of a topic.
    Join {
        /// Room, channel, …
        kind: TopicKind,
        /// The topic's name.
        name: Cow<'a, str>,
        /// Send everything after this position first.
        since: Option<Position<'a>>,
        /// Or send the last so many publications first.
        history: Option<u32>,
    },
    /// Stop being a member of a topic.
    Leave {
        /// Room, channel, …
        kind: TopicKind,
        /// The topic's name.
        name: Cow<'a, str>,
    },
    /// Publish to a topic.
    Publish {
        /// Room or channel.
        kind: TopicKind,
        /// The topic's name.
        name: Cow<'a, str>,
        /// Any value of the dialect's own, as the bytes that came.
        payload: &'a [u8],
        /// Whether the sender gets the publication too.
        echo: bool,
    },
    /// Join a document, or join it again from its text as it is now.
    Open {
        /// The document's name.
        document: Cow<'a, str>,
        /// What the others are to know of the user, as the bytes that came.
        info: Option<&'a [u8]>,
    },
    /// Change the text of a document.
    Edit {
        /// The document's name.
        document: Cow<'a, str>,
        /// The version that the sender had seen.
        version: u64,
        /// What it did.
        operation: Operation,
    },
    /// Tell the others of a document where the sender is.
    Point {
        /// The document's name.
        document: Cow<'a, str>,
        /// Where it is.
        pointer: Pointer,
    },
    /// Tell the others of a room that the sender began or stopped typing.
    Typing {
        /// The room's name.
        room: Cow<'a, str>,
        /// Began (true) or stopped.
        is_typing: bool,
    },
    /// Read back what was published.
    History {
        /// Room or channel.
        kind: TopicKind,
        /// The topic's name.
        name: Cow<'a, str>,
        /// At most so many, the newest.
        limit: u32,
        /// Only publications with a smaller offset.
        before: Option<u64>,
    },
    /// Who is in a room.
    Users {
        /// The room's name.
        room: Cow<'a, str>,
    },
    /// What only moderators may do.
    Moderate {
        /// The room's name.
        room: Cow<'a, str>,
        /// What is to be done.
        act: Act,
    },
    /// Publish to every connection but the sender.
    Broadcast {
        /// As in `Publish`.
        payload: &'a [u8],
    },
    /// Send a message to a user, wherever that is connected.
    Direct {
        /// To whom.
        user_id: Cow<'a, str>,
        /// As in `Publish`.
        payload: &'a [u8],
    },
    /// Messages to the client's own user up to this number need not come again.
    Acknowledge {
        /// The last of them.
        seq: u64,
    },
    /// Show who one is, for the first time or again.
    Authenticate {
        /// A token, not yet looked at.
        token: Cow<'a, str>,
    },
    /// Numbers about the server.
    Stats,
    /// Application-level ping, answered at once.
    Ping {
        /// Given back as the bytes that came.
        ts: Option<&'a [u8]>,
    },
    /// Answer to a heartbeat; only counts as life.
    Pong,
}

/// What a moderator does in a room. Users are named by id, and need not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// End all memberships of a user, who may not come back for so long; 0 = may, at once.
    Kick {
        /// Whom.
        user_id: Box<str>,
        /// For how long.
        seconds: u64,
    },
    /// Keep a user from publishing for so long; 0 = no longer.
    Mute {
        /// Whom.
        user_id: Box<str>,
        /// For how long.
        seconds: u64,
    },
    /// Forget everything that was published.
    ClearHistory,
}

/// What an edge asks the owner of a topic.
#[derive(Debug)]
pub struct Request {
    /// Which topic.
    pub topic: Topic,
    /// Who asks; the answer goes there.
    pub origin: Origin,
    /// The client's own mark, given back with the answer.
    pub tag: Tag,
    /// What is asked.
    pub ask: Ask,
}

/// Who publishes, and by what right.
#[derive(Clone, Debug)]
pub enum By {
    /// A member, as the user that it joined as.
    Member,
    /// A client, where the policy lets anyone publish.
    Anyone(Arc<User>),
    /// The application behind this server, which may publish everywhere, in this user's name.
    Server(Arc<User>),
}

/// What the application behind this server asks of a topic: it is no member, and may do everything.
#[derive(Debug)]
pub enum Order {
    /// Publish, and say what became of it.
    Post {
        /// In whose name.
        user: Arc<User>,
        /// Opaque.
        payload: Shared,
        /// Digest of topic and key of a publication that may be tried again: it is done once.
        mark: Option<u128>,
    },
    /// How the topic stands.
    Standing,
    /// Who is in it.
    Users {
        /// At most so many, in order of arrival.
        limit: u32,
    },
    /// As `Ask::History`.
    History {
        /// At most so many.
        limit: u32,
        /// Exclusive upper bound of the offsets; none = the newest.
        before: Option<u64>,
    },
}

/// What can be asked of a topic.
#[derive(Debug)]
pub enum Ask {
    /// Make `origin` a member. Asking again is answered the same way and changes nothing.
    Join {
        /// Who the member is to the others.
        user: Arc<User>,
        /// Recover everything after this offset of this epoch.
        since: Option<(u64, Box<str>)>,
        /// Or send the last so many publications.
        history: u32,
        /// Whether the member's token makes it a moderator of the room.
        by_right: bool,
    },
    /// A member's token makes it a moderator of the room, or does so no more.
    Appoint(bool),
    /// End the membership and say so.
    Leave,
    /// End the membership; nobody is there to hear the answer.
    Gone,
    /// Order, number, remember and fan out.
    Publish {
        /// Opaque.
        payload: Shared,
        /// Who publishes.
        by: By,
        /// Whether the publisher gets it too, if it is a member.
        echo: bool,
    },
    /// Order, number, remember and fan out bytes of a type, to the publisher as well.
    PublishTyped {
        /// What the bytes are.
        number: u32,
        /// Opaque.
        payload: Shared,
    },
    /// Fan out bytes to the others as they came, unnumbered.
    Relay {
        /// Opaque.
        payload: Shared,
    },
    /// Make `origin` a member of a document that begins at the text as it is now. Asking again is how one comes back
    /// into step.
    Open {
        /// Who the member is to the others.
        user: Arc<User>,
        /// What the others are to know of the user; opaque.
        info: Option<Box<[u8]>>,
    },
    /// Fit into the order of operations, do, and fan out to the others.
    Edit {
        /// The version that the author had seen.
        version: u64,
        /// What it did.
        operation: Operation,
    },
    /// Take down where the author is and fan it out to the others.
    Point(Box<Pointer>),
    /// An operation of the author's was lost on the way: what comes after it fits nothing. Not answered.
    Skip,
    /// Fan out to the others, unnumbered.
    Typing {
        /// Began or stopped.
        is_typing: bool,
    },
    /// The newest `limit` publications before offset `before`.
    History {
        /// At most so many.
        limit: u32,
        /// Exclusive upper bound of the offsets; none = the newest.
        before: Option<u64>,
    },
    /// Who is in it.
    Users,
    /// Of an inbox: number, keep, and send to all connections of its user.
    Direct {
        /// Opaque.
        payload: Shared,
        /// Who sends it.
        user: Arc<User>,
        /// Whom each shard tells how many connections it reached: a number of the asker's shard.
        receipt: Option<Key>,
    },
    /// Of an inbox: what is kept.
    Inbox,
    /// Of an inbox: forget everything up to this number.
    Acknowledge {
        /// The last of them.
        seq: u64,
    },
    /// What only moderators may do.
    Moderate(Act),
    /// The same by who moderates the room by its token, as the edge has seen.
    ModerateByRight(Act),
    /// Of the application behind this server.
    Order {
        /// Tells the orders of one origin apart; given back with the answer.
        number: u32,
        /// What is asked.
        order: Box<Order>,
    },
}
