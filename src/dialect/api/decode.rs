//! A request's body to what is to be published.
//!
//! As in the native protocol: payloads are passed on as the bytes that came, `null` counts as a field that is not
//! there, a field that comes twice has its last value, and unknown fields are ignored. Names of topics are for others
//! to check.

use std::borrow::Cow;

use crate::hub::event::Refusal;
use crate::hub::name::{self, TopicKind, USER_ID_BYTES_MAX};
use crate::wire::json::{self, Kind, Value};

/// Most publications of one batch.
pub const BATCH_MAX: usize = 100;

/// Longest `Idempotency-Key`, in bytes; a UUID has 36.
pub const KEY_BYTES_MAX: usize = 255;

/// In whose name is published where the body does not say.
pub const SERVER_USER: &str = "server";

/// One publication.
#[derive(Debug, PartialEq, Eq)]
pub struct Post<'a> {
    /// The value, as the bytes that came.
    pub payload: &'a [u8],
    /// In whose name: a good id of a user.
    pub user_id: Cow<'a, str>,
    /// The name to show.
    pub username: Option<Cow<'a, str>>,
}

/// One publication of a batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// Room, channel, feed, inbox or everyone.
    pub kind: TopicKind,
    /// The topic's name; everyone has none.
    pub name: Cow<'a, str>,
    /// What is published.
    pub post: Post<'a>,
}

/// Reads the body of a request that publishes to a topic of this kind.
///
/// # Errors
/// It is no object, or lacks what it has to have.
pub fn post(body: &[u8], kind: TopicKind) -> Result<Post<'_>, Refusal> {
    fields(text(body)?)?.post(kind)
}

/// Reads the body of a batch: an array of objects, each judged by itself.
///
/// # Errors
/// It is no array, or has too many members.
pub fn batch(body: &[u8]) -> Result<Vec<Result<Item<'_>, Refusal>>, Refusal> {
    let (mut items, mut count) = (Vec::new(), 0);
    let valid = json::array(text(body)?, |value| {
        count += 1;
        if count <= BATCH_MAX {
            items.push(value);
        }
    });
    valid.map_err(|_| Refusal::InvalidJson)?;
    if count > BATCH_MAX {
        return Err(Refusal::InvalidField { field: "batch", expected: "an array of at most 100 objects" });
    }
    Ok(items.into_iter().map(|value| fields(value.raw())?.item()).collect())
}

const _: () = assert!(BATCH_MAX == 100, "the text above says so");

fn text(body: &[u8]) -> Result<&str, Refusal> {
    simdutf8::basic::from_utf8(body).map_err(|_| Refusal::InvalidJson)
}

/// The fields that mean something.
#[derive(Default)]
struct Fields<'a> {
    topic: Option<Value<'a>>,
    message: Option<Value<'a>>,
    data: Option<Value<'a>>,
    user_id: Option<Value<'a>>,
    username: Option<Value<'a>>,
}

fn fields(text: &str) -> Result<Fields<'_>, Refusal> {
    let mut found = Fields::default();
    let outcome = json::object(text, |name, value| {
        let place = match &*name.text() {
            "topic" => &mut found.topic,
            "message" => &mut found.message,
            "data" => &mut found.data,
            "user_id" => &mut found.user_id,
            "username" => &mut found.username,
            _ => return,
        };
        *place = Some(value).filter(|value| value.kind() != Kind::Null);
    });
    outcome.map(|()| found).map_err(|_| Refusal::InvalidJson)
}

impl<'a> Fields<'a> {
    fn post(&self, kind: TopicKind) -> Result<Post<'a>, Refusal> {
        let payload = match kind {
            TopicKind::Channel | TopicKind::Feed => {
                self.data.ok_or(Refusal::InvalidField { field: "data", expected: "any value but null" })?
            }
            _ => self.message.filter(|value| value.raw() != "\"\"").ok_or(Refusal::InvalidField {
                field: "message",
                expected: "any value but null and the empty string",
            })?,
        };
        Ok(Post {
            payload: payload.raw().as_bytes(),
            user_id: user_name("user_id", self.user_id)?.unwrap_or(Cow::Borrowed(SERVER_USER)),
            username: user_name("username", self.username)?,
        })
    }

    fn item(&self) -> Result<Item<'a>, Refusal> {
        let (kind, name) = self.topic.and_then(Value::text).and_then(topic).ok_or(Refusal::InvalidField {
            field: "topic",
            expected: "room:…, channel:…, feed:…, user:… or everyone",
        })?;
        Ok(Item { kind, name, post: self.post(kind)? })
    }
}

/// A user's id or name, if there is one.
fn user_name<'a>(field: &'static str, value: Option<Value<'a>>) -> Result<Option<Cow<'a, str>>, Refusal> {
    let Some(value) = value else { return Ok(None) };
    let text = value.text().ok_or(Refusal::InvalidField { field, expected: "a string" })?;
    match name::check(&text, USER_ID_BYTES_MAX) {
        Ok(()) => Ok(Some(text)),
        Err(error) => Err(Refusal::BadName { field, error }),
    }
}

/// A topic that is written as one string: the word of its kind, a colon and the name.
fn topic(text: Cow<'_, str>) -> Option<(TopicKind, Cow<'_, str>)> {
    if *text == *TopicKind::Everyone.word() {
        return Some((TopicKind::Everyone, Cow::Borrowed("")));
    }
    let kinds = [TopicKind::Room, TopicKind::Channel, TopicKind::Feed, TopicKind::Inbox];
    let (word, _) = text.split_once(':')?;
    let kind = kinds.into_iter().find(|kind| kind.word() == word)?;
    let start = word.len() + 1;
    let name = match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[start..]),
        Cow::Owned(text) => Cow::Owned(text[start..].to_owned()),
    };
    Some((kind, name))
}

/// Whether this can be the value of an `Idempotency-Key`; as it comes from a header, it has no control characters.
#[must_use]
pub fn is_key(value: &[u8]) -> bool {
    (1..=KEY_BYTES_MAX).contains(&value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(payload: &str) -> Post<'_> {
        Post { payload: payload.as_bytes(), user_id: "server".into(), username: None }
    }

    #[test]
    fn payloads_are_passed_on_as_they_came() {
        let room = |body: &'static str| post(body.as_bytes(), TopicKind::Room);
        assert_eq!(room(r#"{"message": {"a" : 1e400} }"#), Ok(plain(r#"{"a" : 1e400}"#)));
        assert_eq!(room(r#"{"message":false,"data":1,"timestamp":7}"#), Ok(plain("false")));
        assert_eq!(room(r#"{"message":1,"m\u0065ssage":2}"#), Ok(plain("2")));
        let named = room(r#"{"message":1,"user_id":"b\u00f6t","username":"Bot"}"#).expect("good");
        assert_eq!((&*named.user_id, named.username.as_deref()), ("böt", Some("Bot")));
        for kind in [TopicKind::Channel, TopicKind::Feed] {
            assert_eq!(post(br#"{"data":"","message":1}"#, kind), Ok(plain(r#""""#)));
        }
        for kind in [TopicKind::Inbox, TopicKind::Everyone] {
            assert_eq!(post(br#"{"message":[],"user_id":null}"#, kind), Ok(plain("[]")));
        }
    }

    #[test]
    fn what_is_missing_or_malformed_is_said() {
        let code = |body: &[u8], kind| match post(body, kind) {
            Err(Refusal::InvalidJson) => "json",
            Err(Refusal::InvalidField { field, .. } | Refusal::BadName { field, .. }) => field,
            other => panic!("{other:?}"),
        };
        for body in [&b""[..], b"x", b"[]", b"{\"message\":1}x", b"{\"message\":}", b"{\"message\":\"\xff\"}"]
        {
            assert_eq!(code(body, TopicKind::Room), "json", "{body:?}");
        }
        for body in [r#"{}"#, r#"{"message":null}"#, r#"{"message":""}"#, r#"{"data":1}"#] {
            assert_eq!(code(body.as_bytes(), TopicKind::Room), "message", "{body}");
        }
        assert_eq!(code(br#"{"message":1}"#, TopicKind::Feed), "data");
        for user in ["1", r#""""#, r#""\n""#, "{}", &format!("\"{}\"", "x".repeat(129))] {
            for field in ["user_id", "username"] {
                let body = format!(r#"{{"message":1,"{field}":{user}}}"#);
                assert_eq!(code(body.as_bytes(), TopicKind::Room), field, "{body}");
            }
        }
    }

    #[test]
    fn each_item_of_a_batch_is_judged_by_itself() {
        let body = r#" [ {"topic":"room:a:b","message":1}, {"topic":"everyone","message":2}, 7,
            {"topic":"channel:\u0063","data":3}, {"topic":"user:ann","message":4},
            {"topic":"feed:f","message":5}, {"message":6}, {"topic":"document:d","message":7}, {"topic":"room"} ] "#;
        let items = batch(body.as_bytes()).expect("an array");
        let good: Vec<_> =
            items.iter().map(|item| item.as_ref().ok().map(|item| (item.kind, &*item.name))).collect();
        assert_eq!(
            good,
            [
                Some((TopicKind::Room, "a:b")),
                Some((TopicKind::Everyone, "")),
                None,
                Some((TopicKind::Channel, "c")),
                Some((TopicKind::Inbox, "ann")),
                None,
                None,
                None,
                None,
            ]
        );
        assert_eq!(items[2], Err(Refusal::InvalidJson));
        assert!(matches!(items[5], Err(Refusal::InvalidField { field: "data", .. })));
        assert!(matches!(items[7], Err(Refusal::InvalidField { field: "topic", .. })));
    }

    #[test]
    fn a_batch_is_an_array_of_a_hundred_at_most() {
        assert_eq!(batch(b"[]"), Ok(vec![]));
        for body in ["", "{}", "[1", "[1,]"] {
            assert_eq!(batch(body.as_bytes()), Err(Refusal::InvalidJson), "{body}");
        }
        let of = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
        assert_eq!(batch(of(BATCH_MAX).as_bytes()).map(|items| items.len()), Ok(BATCH_MAX));
        let refused = batch(of(BATCH_MAX + 1).as_bytes()).map(|items| items.len());
        assert!(matches!(refused, Err(Refusal::InvalidField { field: "batch", .. })));
    }

    #[test]
    fn keys_have_a_length() {
        assert!(is_key(b"8e03978e-40d5-43dd-bc93-6894a57f9324") && is_key(&[b'k'; KEY_BYTES_MAX]));
        assert!(!is_key(b"") && !is_key(&[b'k'; KEY_BYTES_MAX + 1]));
    }
}
