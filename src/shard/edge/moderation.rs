//! What moderators ask, on its way to the owner of the room, who judges.

use crate::base::id::Key;
use crate::hub::command::{Act, Ask, Tag};
use crate::hub::event::Refusal;
use crate::hub::name::{self, TopicKind, USER_ID_BYTES_MAX};
use crate::shard::state::Shard;

impl Shard {
    /// Asks for a moderator's act, if it names a user that there can be.
    pub(crate) fn moderate(&mut self, key: Key, tag: Tag, room: &str, act: Act) -> Result<(), Refusal> {
        if let Act::Kick { user_id, .. } | Act::Mute { user_id, .. } = &act {
            name::check(user_id, USER_ID_BYTES_MAX)
                .map_err(|error| Refusal::BadName { field: "user_id", error })?;
        }
        let by_right = self.moderates(key, room);
        let ask = if by_right { Ask::ModerateByRight(act) } else { Ask::Moderate(act) };
        self.ask_member(key, tag, (TopicKind::Room, room), ask)
    }
}
