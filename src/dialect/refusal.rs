//! The one table of what clients are told when something is refused: code and text.
//!
//! Decides nothing: who refuses has said why, as a [`Refusal`]. Never tells more than the client itself sent.

use std::borrow::Cow;

use crate::dialect::field;
use crate::hub::document;
use crate::hub::event::Refusal;
use crate::hub::name::{NameError, TopicKind};

/// Every code that an `error` can carry, as `docs/protocol.md` lists them.
pub const CODES: [&str; 19] = [
    "invalid_json",
    "unknown_type",
    "invalid_field",
    "room_required",
    "message_required",
    "not_in_room",
    "not_subscribed",
    "not_in_document",
    "unknown_feed",
    "version_too_old",
    "document_full",
    "forbidden",
    "room_full",
    "too_many_rooms",
    "rate_limited",
    "unavailable",
    "message_too_large",
    "bad_signature",
    "content_rejected",
];

/// A refusal as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// For programs: one of [`CODES`], never changed once published.
    pub code: &'static str,
    /// For people.
    pub text: Cow<'static, str>,
    /// When asking again makes sense, if that is known.
    pub retry_after_ms: Option<u64>,
}

/// The table.
#[must_use]
pub fn words(refusal: &Refusal) -> Words {
    let (code, text): (_, Cow<'static, str>) = match refusal {
        Refusal::InvalidJson => ("invalid_json", "Invalid JSON format".into()),
        Refusal::UnknownType(named) => ("unknown_type", format!("Unknown message type: {named}").into()),
        Refusal::InvalidField { field, expected } => {
            ("invalid_field", format!("{field} must be {expected}").into())
        }
        Refusal::BadName { field: "room", error: NameError::Empty }
        | Refusal::NameRequired(TopicKind::Room) => ("room_required", "Room name is required".into()),
        Refusal::NameRequired(kind) => {
            ("invalid_field", format!("{} must be a string, not empty", field::of(*kind)).into())
        }
        Refusal::BadName { field, error } => {
            ("invalid_field", format!("{field} must {}", rule(*error)).into())
        }
        Refusal::MessageRequired => ("message_required", "Room and message are required".into()),
        Refusal::NotMember(TopicKind::Room) => ("not_in_room", "You are not in this room".into()),
        Refusal::NotMember(TopicKind::Document) => {
            ("not_in_document", "You have not joined this document".into())
        }
        Refusal::NotMember(kind) => {
            ("not_subscribed", format!("You are not subscribed to this {}", kind.word()).into())
        }
        Refusal::UnknownFeed => ("unknown_feed", "There is no such feed".into()),
        Refusal::Forbidden => ("forbidden", "You may not do this".into()),
        Refusal::Banned { .. } => ("forbidden", "You were kicked out of this room".into()),
        Refusal::Muted { .. } => ("forbidden", "You are muted in this room".into()),
        Refusal::Edit(refusal) => edit(*refusal),
        Refusal::DocumentsFull => ("document_full", "There is no room for another document".into()),
        Refusal::RoomFull => ("room_full", "This room is full".into()),
        Refusal::TooManyRooms { max } => {
            ("too_many_rooms", format!("A connection can be in {max} rooms at most").into())
        }
        Refusal::RateLimited { .. } => ("rate_limited", "Too many messages, slow down".into()),
        Refusal::Unavailable => ("unavailable", "Not available now, try again later".into()),
        Refusal::MessageTooLarge { max } => {
            ("message_too_large", format!("A message of this user may have {max} bytes").into())
        }
        Refusal::BadSignature => ("bad_signature", "The message has no signature that is good now".into()),
        Refusal::ContentRejected => ("content_rejected", "The message holds what is not allowed".into()),
        Refusal::TokenRefused { reason } => ("forbidden", format!("Not authenticated: {reason}").into()),
    };
    let retry_after_ms = match refusal {
        Refusal::RateLimited { retry_after_ms }
        | Refusal::Banned { retry_after_ms }
        | Refusal::Muted { retry_after_ms } => Some(*retry_after_ms),
        _ => None,
    };
    Words { code, text, retry_after_ms }
}

/// Why an operation does not fit its document. Whatever it is, its author has to join again.
fn edit(refusal: document::Refusal) -> (&'static str, Cow<'static, str>) {
    match refusal {
        document::Refusal::NotJoined => ("not_in_document", "You have not joined this document".into()),
        document::Refusal::OutOfStep | document::Refusal::VersionTooOld { .. } => {
            ("version_too_old", "This version is too old, join the document again".into())
        }
        document::Refusal::VersionAhead { newest } => {
            ("invalid_field", format!("version must be one that there is, at most {newest}").into())
        }
        document::Refusal::OutOfBounds { len } => {
            ("invalid_field", format!("operation must stay within the {len} characters of the text").into())
        }
        document::Refusal::Reversed => ("invalid_field", "operation must not end before it starts".into()),
        document::Refusal::Full => ("document_full", "There is no room for more text".into()),
    }
}

/// The rule that a name breaks, said of the field that held it.
fn rule(error: NameError) -> Cow<'static, str> {
    match error {
        NameError::Empty => "not be empty".into(),
        NameError::TooLong { max } => format!("have at most {max} bytes").into(),
        NameError::Control => "have no control characters".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each, with its code and text.
    fn all() -> Vec<(Refusal, &'static str, &'static str)> {
        let bad = |field, error| Refusal::BadName { field, error };
        vec![
            (Refusal::InvalidJson, "invalid_json", "Invalid JSON format"),
            (Refusal::UnknownType("X".into()), "unknown_type", "Unknown message type: X"),
            (
                Refusal::InvalidField { field: "limit", expected: "an integer" },
                "invalid_field",
                "limit must be an integer",
            ),
            (Refusal::NameRequired(TopicKind::Room), "room_required", "Room name is required"),
            (
                Refusal::NameRequired(TopicKind::Channel),
                "invalid_field",
                "channel must be a string, not empty",
            ),
            (Refusal::MessageRequired, "message_required", "Room and message are required"),
            (bad("room", NameError::Empty), "room_required", "Room name is required"),
            (bad("user_id", NameError::Empty), "invalid_field", "user_id must not be empty"),
            (
                bad("room", NameError::TooLong { max: 255 }),
                "invalid_field",
                "room must have at most 255 bytes",
            ),
            (bad("room", NameError::Control), "invalid_field", "room must have no control characters"),
            (Refusal::NotMember(TopicKind::Room), "not_in_room", "You are not in this room"),
            (
                Refusal::NotMember(TopicKind::Channel),
                "not_subscribed",
                "You are not subscribed to this channel",
            ),
            (Refusal::NotMember(TopicKind::Document), "not_in_document", "You have not joined this document"),
            (Refusal::UnknownFeed, "unknown_feed", "There is no such feed"),
            (Refusal::Forbidden, "forbidden", "You may not do this"),
            (Refusal::Banned { retry_after_ms: 1 }, "forbidden", "You were kicked out of this room"),
            (Refusal::Muted { retry_after_ms: 1 }, "forbidden", "You are muted in this room"),
            (Refusal::DocumentsFull, "document_full", "There is no room for another document"),
            (Refusal::RoomFull, "room_full", "This room is full"),
            (Refusal::TooManyRooms { max: 9 }, "too_many_rooms", "A connection can be in 9 rooms at most"),
            (Refusal::RateLimited { retry_after_ms: 1 }, "rate_limited", "Too many messages, slow down"),
            (Refusal::Unavailable, "unavailable", "Not available now, try again later"),
            (
                Refusal::MessageTooLarge { max: 9 },
                "message_too_large",
                "A message of this user may have 9 bytes",
            ),
            (Refusal::BadSignature, "bad_signature", "The message has no signature that is good now"),
            (Refusal::ContentRejected, "content_rejected", "The message holds what is not allowed"),
            (Refusal::TokenRefused { reason: "x" }, "forbidden", "Not authenticated: x"),
        ]
    }

    /// The same for edits.
    fn edits() -> Vec<(Refusal, &'static str, &'static str)> {
        use document::Refusal as Edit;
        let again = "This version is too old, join the document again";
        let within = "operation must stay within the 3 characters of the text";
        let there_is = "version must be one that there is, at most 3";
        let told = [
            (Edit::NotJoined, "not_in_document", "You have not joined this document"),
            (Edit::OutOfStep, "version_too_old", again),
            (Edit::VersionTooOld { oldest: 3 }, "version_too_old", again),
            (Edit::VersionAhead { newest: 3 }, "invalid_field", there_is),
            (Edit::OutOfBounds { len: 3 }, "invalid_field", within),
            (Edit::Reversed, "invalid_field", "operation must not end before it starts"),
            (Edit::Full, "document_full", "There is no room for more text"),
        ];
        told.into_iter().map(|(refusal, code, text)| (Refusal::Edit(refusal), code, text)).collect()
    }

    #[test]
    fn each_refusal_has_its_code_and_text() {
        for (refusal, code, text) in [all(), edits()].concat() {
            let words = words(&refusal);
            assert_eq!((words.code, &*words.text), (code, text));
            let is_known = match refusal {
                Refusal::RateLimited { .. } | Refusal::Banned { .. } | Refusal::Muted { .. } => Some(1),
                _ => None,
            };
            assert_eq!(words.retry_after_ms, is_known);
        }
    }

    #[test]
    fn codes_in_use_and_codes_listed_are_the_same() {
        for code in CODES {
            assert!(
                [all(), edits()].concat().iter().any(|(refusal, ..)| words(refusal).code == code),
                "{code} is never used"
            );
        }
        for (refusal, ..) in [all(), edits()].concat() {
            assert!(CODES.contains(&words(&refusal).code), "{refusal:?}");
        }
    }
}
