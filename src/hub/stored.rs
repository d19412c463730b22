//! What a store gives back after a restart, and what becomes of it if the store may know less than clients do.
//!
//! Reads no file: a store fills an [`Image`], owners take it over topic by topic.

use std::sync::{Arc, OnceLock};

use crate::hub::event::Publication;
use crate::hub::journal::{ENTRIES_MAX, Reach};
use crate::hub::name::{Topic, TopicKind};

/// No inbox has given out more numbers than this of which a store does not know: an owner takes no request while
/// [`ENTRIES_MAX`] entries are not safe, and one request numbers far fewer than as many again.
pub const LOST_NUMBERS_MAX: u64 = 2 * ENTRIES_MAX as u64;

/// Everything that a store has kept.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// In no order.
    pub topics: Vec<Restored>,
    /// The highest number of any inbox that was forgotten: where a new one begins.
    pub inbox_floor: u64,
}

/// A topic as a store has kept it.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Which topic.
    pub topic: Topic,
    /// What it remembers.
    pub content: Content,
}

/// What a topic remembers.
#[derive(Clone, Debug)]
pub enum Content {
    /// Publications.
    History {
        /// Its numbering.
        epoch: Arc<str>,
        /// Offset of its newest publication.
        head: u64,
        /// As in [`Reach`].
        acknowledged: u64,
        /// What is remembered: oldest first, without a hole, up to `head`.
        publications: Vec<Arc<Publication>>,
    },
    /// A text.
    Text {
        /// How many operations made it.
        version: u64,
        /// The text.
        text: String,
    },
}

impl Content {
    /// How far a history reaches back; none of a text.
    #[must_use]
    pub fn reach(&self) -> Option<Reach> {
        match self {
            Content::History { head, acknowledged, publications, .. } => {
                let first = head + 1 - publications.len() as u64;
                Some(Reach { first, acknowledged: *acknowledged })
            }
            Content::Text { .. } => None,
        }
    }
}

impl Image {
    /// Makes sure that nothing in here is taken for what clients may have seen beyond it. All numberings get new
    /// names. Inboxes have none, and who has a number passes over what comes with it: so what they hold is numbered
    /// anew, beyond all that may have been given out, and `inbox_floor` with it. Texts are taken as they are: who
    /// comes back takes the text whole.
    pub fn begin_anew(&mut self, mut fresh_epoch: impl FnMut() -> Arc<str>) {
        let heads = self.topics.iter().filter(|restored| restored.topic.kind() == TopicKind::Inbox);
        let heads = heads.filter_map(|restored| match &restored.content {
            Content::History { head, .. } => Some(*head),
            Content::Text { .. } => None,
        });
        self.inbox_floor = heads.fold(self.inbox_floor, u64::max).saturating_add(LOST_NUMBERS_MAX);
        for Restored { topic, content } in &mut self.topics {
            let Content::History { epoch, head, acknowledged, publications } = content else { continue };
            if topic.kind() != TopicKind::Inbox {
                *epoch = fresh_epoch();
                continue;
            }
            // What is lost stays lost, under the numbers that come before.
            *head = self.inbox_floor.saturating_add(*head - *acknowledged);
            *acknowledged = self.inbox_floor;
            let first = *head + 1 - publications.len() as u64;
            for (publication, offset) in publications.iter_mut().zip(first..) {
                *publication = Arc::new(renumbered(publication, offset));
            }
        }
    }
}

fn renumbered(publication: &Publication, offset: u64) -> Publication {
    let Publication { time, user, payload, body, .. } = publication;
    Publication {
        offset,
        time: *time,
        user: Arc::clone(user),
        payload: payload.clone(),
        body: *body,
        frame: OnceLock::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Wall;
    use crate::base::hash::Keys;
    use crate::base::shared::Shared;
    use crate::hub::event::Body;
    use crate::hub::name::User;

    fn restored(kind: TopicKind, acknowledged: u64, head: u64, first: u64) -> Restored {
        let user = Arc::new(User { id: "u".into(), name: None });
        let publication = |offset| {
            let (time, user, payload) = (Wall(offset), Arc::clone(&user), Shared::copy_of(b"1"));
            Arc::new(Publication { offset, time, user, payload, body: Body::Value, frame: OnceLock::new() })
        };
        let publications = (first..=head).map(publication).collect();
        let content = Content::History { epoch: "old".into(), head, acknowledged, publications };
        Restored { topic: Topic::new(kind, "t", Keys::new([1; 16])), content }
    }

    #[test]
    fn what_may_have_been_seen_is_never_told_again_as_something_else() {
        let topics = vec![
            restored(TopicKind::Room, 0, 3, 1),
            restored(TopicKind::Inbox, 2, 9, 7),
            restored(TopicKind::Inbox, 12, 12, 13),
        ];
        let mut image = Image { topics, inbox_floor: 5 };
        image.begin_anew(|| "new".into());
        let floor = 12 + LOST_NUMBERS_MAX;
        assert_eq!(image.inbox_floor, floor, "beyond the highest there was");
        let told = image.topics.iter().map(|one| match &one.content {
            Content::History { epoch, head, acknowledged, publications } => {
                let offsets: Vec<u64> = publications.iter().map(|one| one.offset).collect();
                (&**epoch, *head, *acknowledged, offsets)
            }
            Content::Text { .. } => panic!("no text"),
        });
        let told: Vec<_> = told.collect();
        assert_eq!(told[0], ("new", 3, 0, vec![1, 2, 3]));
        let moved = vec![floor + 5, floor + 6, floor + 7];
        assert_eq!(told[1], ("old", floor + 7, floor, moved), "four of them are lost as before");
        assert_eq!(told[2], ("old", floor, floor, vec![]));
    }
}
