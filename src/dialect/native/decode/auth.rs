//! What clients show of who they are: tokens, and signatures of messages.
//!
//! Judges neither: a token is a text here, and so is a signature.

use std::borrow::Cow;

use super::Fields;
use crate::hub::command::Command;
use crate::hub::event::Refusal;
use crate::wire::json::{self, Kind, Value};

pub(super) fn auth<'a>(fields: &Fields<'a>) -> Result<Command<'a>, Refusal> {
    let token = fields.get("token").and_then(Value::text);
    let refusal = Refusal::InvalidField { field: "token", expected: "a string" };
    Ok(Command::Authenticate { token: token.ok_or(refusal)? })
}

/// The token of a first message without a type: an object with `token`.
#[must_use]
pub fn bare_token(text: &str) -> Option<Cow<'_, str>> {
    let (mut token, mut typed) = (None, false);
    json::object(text, |name, value| match &*name.text() {
        "token" => token = value.text(),
        "type" | "action" => typed |= value.kind() != Kind::Null,
        _ => {}
    })
    .ok()?;
    token.filter(|_| !typed)
}

/// What a message shows for its signature: what is signed beside the user, as text, and the two fields.
#[derive(Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// The meaning of a string; any other value as the bytes that came.
    pub message: Cow<'a, str>,
    /// The meaning of a string, or a number as it came.
    pub timestamp: Cow<'a, str>,
    /// As it came.
    pub signature: Cow<'a, str>,
}

/// Finds what is signed in a message to others, and the signature; none where something is missing, or there twice:
/// otherwise what was signed and what is relayed could be two different fields, and one of them somebody else's.
#[must_use]
pub fn signed<'a>(text: &'a str) -> Option<Signed<'a>> {
    let (mut content, mut timestamp, mut signature) = (None, None, None);
    let mut twice = false;
    json::object(text, |name, value| {
        let field = match &*name.text() {
            "message" | "content" | "data" | "operation" => &mut content,
            "timestamp" => &mut timestamp,
            "signature" => &mut signature,
            _ => return,
        };
        twice |= field.replace(value).is_some();
    })
    .ok()?;
    if twice {
        return None;
    }
    let signature = signature.and_then(Value::text);
    let meaning = |value: Value<'a>| value.text().unwrap_or(Cow::Borrowed(value.raw()));
    let timestamp = timestamp.filter(|value| matches!(value.kind(), Kind::String | Kind::Number))?;
    Some(Signed { message: meaning(content?), timestamp: meaning(timestamp), signature: signature? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_object_needs_no_type() {
        assert_eq!(bare_token(r#"{"token":"a.b.c"}"#).as_deref(), Some("a.b.c"));
        assert_eq!(bare_token(r#"{"type":null,"token":"\u0061"}"#).as_deref(), Some("a"));
        for other in [
            r#"{"type":"ping","token":"a"}"#,
            r#"{"token":1}"#,
            "{}",
            "[]",
            "x",
            r#"{"action":"x","token":"a"}"#,
        ] {
            assert_eq!(bare_token(other), None, "{other}");
        }
    }

    #[test]
    fn strings_are_signed_by_what_they_mean_and_all_else_as_it_came() {
        let parts =
            |text| signed(text).map(|one| [one.message, one.timestamp, one.signature].map(Cow::into_owned));
        let own = |parts: [&str; 3]| Some(parts.map(String::from));
        assert_eq!(
            parts(r#"{"type":"chat_message","message":"h\u0069","timestamp":1.50,"signature":"ab"}"#),
            own(["hi", "1.50", "ab"])
        );
        assert_eq!(
            parts(r#"{"data": {"a" : 1} ,"timestamp":"2026","signature":"ab"}"#),
            own([r#"{"a" : 1}"#, "2026", "ab"])
        );
        for less in [
            r#"{"message":"m","timestamp":1}"#,
            r#"{"message":"m","signature":"ab"}"#,
            r#"{"timestamp":1,"signature":"ab"}"#,
            r#"{"message":"m","timestamp":true,"signature":"ab"}"#,
            r#"{"message":"m","timestamp":1,"signature":5}"#,
            r#"{"message":"forged","content":"m","timestamp":1,"signature":"ab"}"#,
            r#"{"message":"forged","\u006dessage":"m","timestamp":1,"signature":"ab"}"#,
            r#"{"message":"m","timestamp":1,"timestamp":2,"signature":"ab"}"#,
        ] {
            assert_eq!(parts(less), None, "{less}");
        }
    }
}
