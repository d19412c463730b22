//! Parsed names of topics and users; unparsed strings stop here.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::base::hash::Keys;

/// Longest name of a user, in bytes of UTF-8.
pub const USER_ID_BYTES_MAX: usize = 128;

/// Why a string is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// No bytes at all.
    Empty,
    /// More bytes than allowed.
    TooLong {
        /// The limit, in bytes.
        max: usize,
    },
    /// A control character (U+0000–U+001F, U+007F–U+009F).
    Control,
}

/// Checks a name: 1 to `max` bytes of UTF-8 without control characters.
///
/// # Errors
/// Says which rule `text` breaks.
pub fn check(text: &str, max: usize) -> Result<(), NameError> {
    if text.is_empty() {
        Err(NameError::Empty)
    } else if text.len() > max {
        Err(NameError::TooLong { max })
    } else if text.chars().any(char::is_control) {
        Err(NameError::Control)
    } else {
        Ok(())
    }
}

/// What kind of topic; kinds differ by [`crate::hub::policy`] rows only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TopicKind {
    /// A chat room: members see each other and write to each other.
    Room,
    /// A channel: subscribers get what anybody publishes, and know nothing of each other.
    Channel,
    /// A feed: subscribers get the newest value of what the server itself publishes.
    Feed,
    /// A text that its members edit together.
    Document,
    /// All connections of one user; named after the user.
    Inbox,
    /// Every connection of the process; has one member list, the process itself.
    Everyone,
    /// All channels whose names match the pattern that is its name. Every shard owns a part of it: the channels that
    /// it owns.
    Pattern,
}

impl TopicKind {
    /// All kinds, in the order of their words in help and docs.
    pub const ALL: [TopicKind; 7] = [
        TopicKind::Room,
        TopicKind::Channel,
        TopicKind::Feed,
        TopicKind::Document,
        TopicKind::Inbox,
        TopicKind::Everyone,
        TopicKind::Pattern,
    ];

    /// The kind's word: before the colon where a topic is written as one string (`room:lobby`).
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            TopicKind::Room => "room",
            TopicKind::Channel => "channel",
            TopicKind::Feed => "feed",
            TopicKind::Document => "document",
            TopicKind::Inbox => "user",
            TopicKind::Everyone => "everyone",
            TopicKind::Pattern => "pattern",
        }
    }
}

/// A topic's identity: kind and name, hashed once, cloned by reference count.
#[derive(Clone)]
pub struct Topic(Arc<Inner>);

struct Inner {
    hash: u64,
    kind: TopicKind,
    name: Box<str>,
}

impl Topic {
    /// A topic whose `name` the caller has checked with [`check`].
    #[must_use]
    pub fn new(kind: TopicKind, name: &str, keys: Keys) -> Topic {
        Topic(Arc::new(Inner { hash: Topic::hash_of(kind, name, keys), kind, name: name.into() }))
    }

    /// The hash that a topic of this kind and name has: decides its owner and finds it in tables.
    #[must_use]
    pub fn hash_of(kind: TopicKind, name: &str, keys: Keys) -> u64 {
        keys.hash(&(kind, name))
    }

    /// The hash of kind and name.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.0.hash
    }

    /// Room, inbox, …
    #[must_use]
    pub fn kind(&self) -> TopicKind {
        self.0.kind
    }

    /// The name without its kind.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

impl PartialEq for Topic {
    fn eq(&self, other: &Topic) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash && self.0.kind == other.0.kind && self.0.name == other.0.name)
    }
}

impl Eq for Topic {}

impl Hash for Topic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{:?}", self.0.kind, self.0.name)
    }
}

/// Who somebody is to the others: an id and, if given, a name to show.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    /// 1 to [`USER_ID_BYTES_MAX`] bytes; what the rest of the system tells users apart by.
    pub id: Box<str>,
    /// Shown to people; says nothing about identity.
    pub name: Option<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_by_bytes_and_characters() {
        assert_eq!(check("lobby", 255), Ok(()));
        assert_eq!(check("__proto__", 255), Ok(()));
        assert_eq!(check("日本語 🎉", 255), Ok(()));
        assert_eq!(check("", 255), Err(NameError::Empty));
        assert_eq!(check(&"é".repeat(128), 255), Err(NameError::TooLong { max: 255 }));
        for control in ["a\0", "\n", "a\u{1b}[31m", "\u{7f}", "\u{85}"] {
            assert_eq!(check(control, 255), Err(NameError::Control), "{control:?}");
        }
    }

    #[test]
    fn kind_and_name_make_the_topic() {
        let keys = Keys::new([3; 16]);
        let room = Topic::new(TopicKind::Room, "a", keys);
        assert_eq!(room, Topic::new(TopicKind::Room, "a", keys));
        assert_ne!(room, Topic::new(TopicKind::Inbox, "a", keys));
        assert_ne!(room, Topic::new(TopicKind::Room, "b", keys));
    }
}
