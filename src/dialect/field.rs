//! The fields by which messages name topics, the same word in all dialects.

use crate::hub::name::TopicKind;

/// The field that names a topic of this kind.
#[must_use]
pub const fn of(kind: TopicKind) -> &'static str {
    match kind {
        TopicKind::Room => "room",
        TopicKind::Channel | TopicKind::Pattern => "channel",
        TopicKind::Feed => "feed",
        TopicKind::Document => "doc_id",
        TopicKind::Inbox => "user_id",
        TopicKind::Everyone => "topic",
    }
}
