//! How kinds of topics differ: one row of limits and rights per [`TopicKind`].
//!
//! Holds no code that acts; `hub::topic` and `hub::owner` read these rows and ask for the kind nowhere else.

use std::time::Duration;

use crate::hub::name::TopicKind;

/// Publications that a room remembers: what a client misses while it reconnects, not an archive.
pub const ROOM_HISTORY_MESSAGES: usize = 100;

/// How long a room remembers a publication.
pub const ROOM_HISTORY_AGE: Duration = Duration::from_secs(60 * 60);

/// What one room's history may cost (as `hub::history` counts it): one publication of the default
/// largest message (1 MiB, counted twice) always fits, a hundred of them never do.
pub const ROOM_HISTORY_BYTES: usize = 4 << 20;

/// What all histories of one owner may cost together: sixteen rooms at their own bound.
pub const OWNER_HISTORY_BYTES: usize = 64 << 20;

const _: () = assert!(ROOM_HISTORY_BYTES <= OWNER_HISTORY_BYTES);

/// Who may publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publishers {
    /// Members, under the user they joined as.
    Members,
    /// Anybody, under the user that comes with the publication.
    Anyone,
}

/// Where events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The shards that have members.
    Members,
    /// Every shard of the process; each delivers to all its connections.
    AllShards,
}

/// What holds for all topics of one kind.
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
    /// Who may publish.
    pub publish: Publishers,
    /// Where events go.
    pub reach: Reach,
    /// Most connections; none = unlimited, 0 = nobody can join.
    pub members_max: Option<u32>,
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
            publish,
            reach,
            members_max,
        }
    }

    /// Relations that the code relies on.
    ///
    /// # Panics
    /// When a row breaks one: that is a mistake in this file.
    fn check(&self) {
        assert!(self.numbered || self.history_messages_max == 0, "recovery counts by offsets");
        // A topic without members may be forgotten at any time; numbering it for strangers would restart at random.
        assert!(!self.numbered || self.publish == Publishers::Members, "only members' topics are numbered");
        assert!(self.reach == Reach::Members || self.members_max == Some(0), "one way of reaching, not two");
    }
}

/// What an operator can set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Connections in one room; none = unlimited.
    pub room_members_max: Option<u32>,
    /// Open connections of one user; none = unlimited.
    pub user_connections_max: Option<u32>,
}

/// All rows, and what is bounded over all topics of an owner.
#[derive(Clone, Debug)]
pub struct Policies {
    /// Chat rooms.
    pub room: Policy,
    /// All connections of one user.
    pub inbox: Policy,
    /// Every connection of the process.
    pub everyone: Policy,
    /// Most that all histories of one owner may cost together, in bytes.
    pub history_bytes_total_max: usize,
}

impl Policies {
    /// The rows under `options`.
    #[must_use]
    pub fn new(options: Options) -> Policies {
        let policies = Policies {
            room: Policy {
                numbered: true,
                history_messages_max: ROOM_HISTORY_MESSAGES,
                history_age: ROOM_HISTORY_AGE,
                history_bytes_max: ROOM_HISTORY_BYTES,
                presence: true,
                publish: Publishers::Members,
                reach: Reach::Members,
                members_max: options.room_members_max,
            },
            inbox: Policy::fleeting(Publishers::Anyone, Reach::Members, options.user_connections_max),
            everyone: Policy::fleeting(Publishers::Anyone, Reach::AllShards, Some(0)),
            history_bytes_total_max: OWNER_HISTORY_BYTES,
        };
        policies.check();
        policies
    }

    /// The row of `kind`.
    #[must_use]
    pub fn of(&self, kind: TopicKind) -> &Policy {
        match kind {
            TopicKind::Room => &self.room,
            TopicKind::Inbox => &self.inbox,
            TopicKind::Everyone => &self.everyone,
        }
    }

    /// Asserts the relations within each row.
    pub(super) fn check(&self) {
        for policy in [&self.room, &self.inbox, &self.everyone] {
            policy.check();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_reach_their_rows() {
        let policies = Policies::new(Options { room_members_max: Some(7), user_connections_max: Some(3) });
        assert_eq!(policies.of(TopicKind::Room).members_max, Some(7));
        assert_eq!(policies.of(TopicKind::Inbox).members_max, Some(3));
        assert_eq!(policies.of(TopicKind::Everyone).members_max, Some(0));
        assert!(policies.of(TopicKind::Room).numbered);
        assert!(!policies.of(TopicKind::Inbox).presence);
    }

    #[test]
    #[should_panic(expected = "recovery counts by offsets")]
    fn history_without_numbers_is_a_mistake() {
        let mut policies = Policies::new(Options::default());
        policies.room.numbered = false;
        policies.check();
    }
}
