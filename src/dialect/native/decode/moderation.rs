//! What moderators ask.

use crate::dialect::native::decode::Fields;
use crate::hub::command::{Act, Command};
use crate::hub::event::Refusal;
use crate::hub::moderation::SANCTION_SECONDS_MAX;
use crate::hub::name::TopicKind;

const _: () = assert!(SANCTION_SECONDS_MAX == 31_536_000, "the text below says so");

pub(super) fn kick<'a>(fields: &Fields<'a>) -> Result<Command<'a>, Refusal> {
    let room = fields.name(TopicKind::Room)?;
    let (user_id, seconds) = (user_id(fields)?, seconds(fields)?.unwrap_or(0));
    Ok(Command::Moderate { room, act: Act::Kick { user_id, seconds } })
}

pub(super) fn mute<'a>(fields: &Fields<'a>) -> Result<Command<'a>, Refusal> {
    let room = fields.name(TopicKind::Room)?;
    let (user_id, seconds) = (user_id(fields)?, seconds(fields)?.ok_or_else(wrong_seconds)?);
    Ok(Command::Moderate { room, act: Act::Mute { user_id, seconds } })
}

pub(super) fn clear_history<'a>(fields: &Fields<'a>) -> Result<Command<'a>, Refusal> {
    Ok(Command::Moderate { room: fields.name(TopicKind::Room)?, act: Act::ClearHistory })
}

/// Whom it concerns.
fn user_id(fields: &Fields<'_>) -> Result<Box<str>, Refusal> {
    let refusal = Refusal::InvalidField { field: "user_id", expected: "a string" };
    let value = fields.get("user_id").ok_or_else(|| refusal.clone())?;
    Ok(value.text().ok_or(refusal)?.into())
}

/// For how long. More than we keep is refused, not cut: whoever says for ever must not be left to believe it.
fn seconds(fields: &Fields<'_>) -> Result<Option<u64>, Refusal> {
    match fields.integer("seconds") {
        Ok(seconds) if seconds.is_none_or(|seconds| seconds <= SANCTION_SECONDS_MAX) => Ok(seconds),
        _ => Err(wrong_seconds()),
    }
}

fn wrong_seconds() -> Refusal {
    Refusal::InvalidField { field: "seconds", expected: "an integer from 0 to 31536000" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::native::decode::decode;

    fn kicked(seconds: u64) -> Result<Command<'static>, Refusal> {
        let act = Act::Kick { user_id: "bob".into(), seconds };
        Ok(Command::Moderate { room: "r".into(), act })
    }

    #[test]
    fn acts_are_read() {
        let asked = |text| decode(text).asked;
        assert_eq!(asked(r#"{"type":"kick","room":"r","user_id":"bob"}"#), kicked(0));
        assert_eq!(
            asked(r#"{"type":"kick","room":"r","user_id":"b\u006fb","seconds":31536000}"#),
            kicked(31_536_000)
        );
        let act = Act::Mute { user_id: "bob".into(), seconds: 0 };
        let muted = Ok(Command::Moderate { room: "r".into(), act });
        assert_eq!(asked(r#"{"type":"mute","room":"r","user_id":"bob","seconds":0}"#), muted);
        let cleared = Ok(Command::Moderate { room: "r".into(), act: Act::ClearHistory });
        assert_eq!(asked(r#"{"type":"clear_history","room":"r"}"#), cleared);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let asked = |text| decode(text).asked;
        let field = |text| match asked(text) {
            Err(Refusal::InvalidField { field, .. }) => field,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(asked(r#"{"type":"kick","user_id":"bob"}"#), Err(Refusal::NameRequired(TopicKind::Room)));
        assert_eq!(asked(r#"{"type":"clear_history"}"#), Err(Refusal::NameRequired(TopicKind::Room)));
        assert_eq!(field(r#"{"type":"kick","room":"r"}"#), "user_id");
        assert_eq!(field(r#"{"type":"kick","room":"r","user_id":7}"#), "user_id");
        for seconds in ["-1", "31536001", "1.5", "\"60\"", "true"] {
            let text = format!(r#"{{"type":"kick","room":"r","user_id":"bob","seconds":{seconds}}}"#);
            assert!(
                matches!(decode(&text).asked, Err(Refusal::InvalidField { field: "seconds", .. })),
                "{text}"
            );
        }
        assert_eq!(
            field(r#"{"type":"mute","room":"r","user_id":"bob"}"#),
            "seconds",
            "nobody is muted by mistake"
        );
    }
}
