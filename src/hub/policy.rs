//! How topics differ: a row of limits and rights for each [`TopicKind`], and one for each of the operator's rules.
//!
//! Holds no code that acts; `hub::topic` and `hub::owner` read these rows. A topic's row is looked for once, when its
//! record is made.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::hub::document;
use crate::hub::moderation::{self, Appointment};
use crate::hub::name::{Topic, TopicKind, User};
use crate::hub::pattern::NamePattern;

/// Publications that a room or channel remembers: what a client misses while it reconnects, not an archive.
pub const ROOM_HISTORY_MESSAGES: usize = 100;

/// How long a room or channel remembers a publication.
pub const ROOM_HISTORY_AGE: Duration = Duration::from_secs(60 * 60);

/// Messages that an inbox keeps for its user.
pub const INBOX_MESSAGES: usize = 100;

/// How long an inbox keeps a message.
pub const INBOX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// What remembers for ever forgets after a hundred years.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What one topic's history may cost (as `hub::history` counts it): one publication of the default
/// largest message (1 MiB, counted twice) always fits, a hundred of them never do.
pub const ROOM_HISTORY_BYTES: usize = 4 << 20;

/// What all histories of a process may cost together: 64 rooms at their own bound.
pub const HISTORY_MEMORY: usize = 256 << 20;

/// Users up to which members are told of each of them: what people look through, and a join or leave costs each
/// of them one message.
pub const PRESENCE_LIST_MAX: u32 = 100;

/// Operations that a document remembers: how far a client may be behind and still be understood.
pub const DOCUMENT_HISTORY: usize = 1000;

/// How long a document that nobody is in keeps its text.
pub const DOCUMENT_AGE: Duration = Duration::from_secs(60 * 60);

/// Longest text of a document, in bytes.
pub const DOCUMENT_BYTES: usize = 1 << 20;

/// What all documents of one owner may cost together, in bytes.
pub const OWNER_DOCUMENT_BYTES: usize = 64 << 20;

/// More rules than anybody writes; a [`RowId`] can name them all.
const RULES_MAX: usize = 65_000;

const _: () = assert!(ROOM_HISTORY_BYTES <= HISTORY_MEMORY);

/// Who may publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publishers {
    /// Members, under the user they joined as. The publication that comes back is their answer.
    Members,
    /// Anybody, under the user that comes with the publication.
    Anyone,
    /// Nobody but the server and who commands it.
    Server,
}

/// Where events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The shards that have members.
    Members,
    /// Every shard of the process; each delivers to all its connections.
    AllShards,
}

/// What holds for a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether publications are counted 1, 2, 3, …; otherwise their offset is 0.
    pub numbered: bool,
    /// Most publications remembered; 0 = no history.
    pub history_messages_max: usize,
    /// Age at which a publication is forgotten.
    pub history_age: Duration,
    /// Most that the history of one topic may cost, in bytes.
    pub history_bytes_max: usize,
    /// Whether members are told who comes and goes.
    pub presence: bool,
    /// Whether it may be crowded, so that users are counted instead, and whether they have time to come back. Not
    /// where more hangs on a user than being there.
    pub crowds: bool,
    /// Whether a store keeps what it remembers, where there is one. Not where a newer value comes by itself.
    pub durable: bool,
    /// Who may publish.
    pub publish: Publishers,
    /// Where events go.
    pub reach: Reach,
    /// Most connections; none = unlimited, 0 = nobody can join.
    pub members_max: Option<u32>,
    /// What a text may be, where the topic is one.
    pub document: document::Limits,
}

impl Policy {
    /// A row that neither counts nor remembers.
    const fn fleeting(publish: Publishers, reach: Reach, members_max: Option<u32>) -> Policy {
        Policy {
            numbered: false,
            history_messages_max: 0,
            history_age: Duration::ZERO,
            history_bytes_max: 0,
            presence: false,
            crowds: false,
            durable: false,
            publish,
            reach,
            members_max,
            document: document::Limits { history: 0, bytes_max: 0 },
        }
    }

    /// A row that counts and remembers.
    const fn lasting(publish: Publishers, messages: usize, age: Duration) -> Policy {
        Policy {
            numbered: true,
            history_messages_max: messages,
            history_age: age,
            history_bytes_max: ROOM_HISTORY_BYTES,
            crowds: true,
            durable: true,
            ..Policy::fleeting(publish, Reach::Members, None)
        }
    }

    /// The row of `kind` where no rule says otherwise.
    fn of(kind: TopicKind, options: &Options) -> Policy {
        let remembered = |publish| Policy::lasting(publish, ROOM_HISTORY_MESSAGES, ROOM_HISTORY_AGE);
        match kind {
            TopicKind::Room => Policy {
                presence: true,
                members_max: options.room_members_max,
                ..remembered(Publishers::Members)
            },
            TopicKind::Channel => remembered(Publishers::Anyone),
            TopicKind::Feed => Policy { durable: false, ..Policy::lasting(Publishers::Server, 1, FOR_EVER) },
            TopicKind::Document => Policy {
                history_age: options.documents.age,
                presence: true,
                durable: true,
                document: options.documents.limits,
                ..Policy::fleeting(Publishers::Server, Reach::Members, None)
            },
            TopicKind::Inbox => Policy {
                members_max: options.user_connections_max,
                ..Policy::lasting(Publishers::Anyone, INBOX_MESSAGES, INBOX_AGE)
            },
            TopicKind::Everyone => Policy::fleeting(Publishers::Anyone, Reach::AllShards, Some(0)),
            TopicKind::Pattern => Policy::fleeting(Publishers::Server, Reach::Members, None),
        }
    }

    /// Relations that the code relies on.
    ///
    /// # Panics
    /// When a row breaks one: that is a mistake in this file.
    fn check(&self) {
        assert!(self.numbered || self.history_messages_max == 0, "recovery counts by offsets");
        assert!(self.reach == Reach::Members || self.members_max == Some(0), "one way of reaching, not two");
        assert!(
            self.reach == Reach::Members || !self.numbered,
            "what nobody joins has no numbering to hand out"
        );
    }
}

/// What an operator says of the topics of one kind whose names match. What is none stays as the kind has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Rooms or channels.
    pub kind: TopicKind,
    /// Which of them.
    pub names: NamePattern,
    /// Most publications remembered; 0 = no history.
    pub history: Option<usize>,
    /// Age at which a publication is forgotten.
    pub ttl: Option<Duration>,
    /// Most that the history of one topic may cost, in bytes.
    pub bytes: Option<usize>,
    /// Whether members are told who comes and goes.
    pub presence: Option<bool>,
    /// Most connections.
    pub members: Option<u32>,
}

impl Rule {
    /// A rule that changes nothing yet.
    #[must_use]
    pub fn new(kind: TopicKind, names: NamePattern) -> Rule {
        Rule { kind, names, history: None, ttl: None, bytes: None, presence: None, members: None }
    }

    fn apply(&self, policy: Policy) -> Policy {
        Policy {
            history_messages_max: self.history.unwrap_or(policy.history_messages_max),
            history_age: self.ttl.unwrap_or(policy.history_age),
            history_bytes_max: self.bytes.unwrap_or(policy.history_bytes_max),
            presence: self.presence.unwrap_or(policy.presence),
            members_max: self.members.or(policy.members_max),
            ..policy
        }
    }
}

/// What holds for all documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Documents {
    /// What one text may be.
    pub limits: document::Limits,
    /// How long the text outlives its last member.
    pub age: Duration,
    /// Most that all documents of one owner may cost together, in bytes.
    pub bytes_total_max: usize,
}

impl Default for Documents {
    fn default() -> Documents {
        Documents {
            limits: document::Limits { history: DOCUMENT_HISTORY, bytes_max: DOCUMENT_BYTES },
            age: DOCUMENT_AGE,
            bytes_total_max: OWNER_DOCUMENT_BYTES,
        }
    }
}

/// What an operator can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Connections in one room; none = unlimited.
    pub room_members_max: Option<u32>,
    /// Open connections of one user; none = unlimited.
    pub user_connections_max: Option<u32>,
    /// What documents may be.
    pub documents: Documents,
    /// The first that matches a topic holds for it.
    pub rules: Vec<Rule>,
    /// Feeds that are known before their first value.
    pub feeds: Vec<Box<str>>,
    /// Most that all histories of one owner may cost together, in bytes.
    pub history_bytes_total_max: usize,
    /// Time in which a user may come back without anybody having been told.
    pub presence_grace: Duration,
    /// Topics with more users than this tell how many there are, not who.
    pub presence_list_max: u32,
    /// Who moderates which rooms.
    pub moderators: Vec<Appointment>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            room_members_max: None,
            user_connections_max: None,
            documents: Documents::default(),
            rules: Vec::new(),
            feeds: Vec::new(),
            history_bytes_total_max: HISTORY_MEMORY,
            presence_grace: Duration::ZERO,
            presence_list_max: PRESENCE_LIST_MAX,
            moderators: Vec::new(),
        }
    }
}

/// Which row: those of the kinds come first, then those of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowId(u16);

/// All rows, and what is bounded over all topics of an owner.
#[derive(Clone, Debug)]
pub struct Policies {
    rows: Vec<Policy>,
    rules: Vec<(TopicKind, NamePattern)>,
    feeds: BTreeSet<Box<str>>,
    /// Most that all histories of one owner may cost together, in bytes.
    pub history_bytes_total_max: usize,
    /// Time in which a user may come back without anybody having been told.
    pub presence_grace: Duration,
    /// Topics with more users than this tell how many there are, not who.
    pub presence_list_max: u32,
    /// Who moderates which rooms.
    pub moderators: Vec<Appointment>,
    /// Most that all documents of one owner may cost together, in bytes.
    pub document_bytes_total_max: usize,
}

impl Policies {
    /// The rows under `options`, of which the first 65,000 rules count.
    #[must_use]
    pub fn new(options: &Options) -> Policies {
        let rules = options.rules.iter().take(RULES_MAX);
        let of_kinds = TopicKind::ALL.iter().map(|kind| Policy::of(*kind, options));
        let of_rules = rules.clone().map(|rule| rule.apply(Policy::of(rule.kind, options)));
        let policies = Policies {
            rows: of_kinds.chain(of_rules).collect(),
            rules: rules.map(|rule| (rule.kind, rule.names.clone())).collect(),
            feeds: options.feeds.iter().cloned().collect(),
            history_bytes_total_max: options.history_bytes_total_max,
            presence_grace: options.presence_grace,
            presence_list_max: options.presence_list_max,
            moderators: options.moderators.clone(),
            document_bytes_total_max: options.documents.bytes_total_max,
        };
        policies.check();
        policies
    }

    /// Finds the row of a topic: that of the first rule that matches, or else of its kind.
    #[must_use]
    pub fn find(&self, kind: TopicKind, name: &str) -> RowId {
        let matches = |(of, names): &(TopicKind, NamePattern)| *of == kind && names.matches(name);
        let row = match self.rules.iter().position(matches) {
            Some(rule) => TopicKind::ALL.len() + rule,
            None => kind as usize,
        };
        RowId(u16::try_from(row).unwrap_or(kind as u16))
    }

    /// Whether the operator has declared a feed of this name.
    #[must_use]
    pub fn declares_feed(&self, name: &str) -> bool {
        self.feeds.contains(name)
    }

    /// Whether a user moderates a topic.
    #[must_use]
    pub fn is_moderator(&self, topic: &Topic, user_id: &str) -> bool {
        moderation::is_moderator(&self.moderators, topic, user_id)
    }

    /// Which of `users` moderate a topic: their places, in order.
    #[must_use]
    pub fn moderators(&self, topic: &Topic, users: &[Arc<User>]) -> Vec<u32> {
        moderation::moderators(&self.moderators, topic, users)
    }

    /// What holds for a topic of this row.
    #[must_use]
    pub fn row(&self, RowId(row): RowId) -> &Policy {
        &self.rows[usize::from(row)]
    }

    /// The row of `kind` where no rule says otherwise, to be changed.
    pub fn of_kind_mut(&mut self, kind: TopicKind) -> &mut Policy {
        &mut self.rows[kind as usize]
    }

    /// Asserts the relations within each row.
    pub(super) fn check(&self) {
        assert!(TopicKind::ALL.iter().enumerate().all(|(row, kind)| *kind as usize == row), "rows by kind");
        self.rows.iter().for_each(Policy::check);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(policies: &'a Policies, kind: TopicKind, name: &str) -> &'a Policy {
        policies.row(policies.find(kind, name))
    }

    #[test]
    fn options_reach_their_rows() {
        let options =
            Options { room_members_max: Some(7), user_connections_max: Some(3), ..Options::default() };
        let policies = Policies::new(&options);
        assert_eq!(row(&policies, TopicKind::Room, "a").members_max, Some(7));
        assert_eq!(row(&policies, TopicKind::Inbox, "a").members_max, Some(3));
        assert_eq!(row(&policies, TopicKind::Everyone, "a").members_max, Some(0));
        assert!(row(&policies, TopicKind::Room, "a").numbered);
        assert!(!row(&policies, TopicKind::Inbox, "a").presence);
    }

    #[test]
    fn the_first_rule_that_matches_holds() {
        let rule = |kind, glob: &str| Rule::new(kind, NamePattern::new(glob));
        let policies = Policies::new(&Options {
            room_members_max: Some(7),
            rules: vec![
                Rule { history: Some(500), presence: Some(false), ..rule(TopicKind::Room, "chat:*") },
                Rule { history: Some(1), members: Some(2), ..rule(TopicKind::Room, "*") },
                Rule { ttl: Some(Duration::from_secs(9)), ..rule(TopicKind::Channel, "news") },
            ],
            ..Options::default()
        });
        let chat = row(&policies, TopicKind::Room, "chat:1");
        assert_eq!((chat.history_messages_max, chat.presence, chat.members_max), (500, false, Some(7)));
        let other = row(&policies, TopicKind::Room, "other");
        assert_eq!((other.history_messages_max, other.presence, other.members_max), (1, true, Some(2)));
        assert_eq!(row(&policies, TopicKind::Channel, "news").history_age, Duration::from_secs(9));
        assert_eq!(row(&policies, TopicKind::Channel, "chat:1").history_age, ROOM_HISTORY_AGE);
    }

    #[test]
    #[should_panic(expected = "recovery counts by offsets")]
    fn history_without_numbers_is_a_mistake() {
        let mut policies = Policies::new(&Options::default());
        policies.of_kind_mut(TopicKind::Room).numbered = false;
        policies.check();
    }
}
