//! Every message as serde_json reads it, and the few that are pinned byte by byte.

use std::sync::OnceLock;

use serde_json::{Value as Tree, json};

use super::*;
use crate::base::hash::Keys;
use crate::base::shared::Shared;
use crate::hub::event::{Attendance, Cleared, Roll};
use crate::hub::name::NameError;

const NOW: Wall = Wall(1_700_000_000_123);
const NOW_TEXT: &str = "2023-11-14T22:13:20.123Z";
const TAG: Option<&[u8]> = Some(br#""t\"1""#);

fn topic(kind: TopicKind, name: &str) -> Topic {
    Topic::new(kind, name, Keys::new([1; 16]))
}

fn user(id: &str, name: Option<&str>) -> Arc<User> {
    Arc::new(User { id: id.into(), name: name.map(Into::into) })
}

fn publication(offset: u64, payload: &str) -> Arc<Publication> {
    let payload = Shared::copy_of(payload.as_bytes());
    Arc::new(Publication {
        offset,
        time: NOW,
        user: user("u\"1", Some("Zoë\n")),
        payload,
        body: Body::Value,
        frame: OnceLock::new(),
    })
}

/// Holds what `write` appends against `expected`; gives it back as text.
#[track_caller]
fn check(expected: Tree, write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = b"before".to_vec();
    write(&mut out);
    let text = String::from_utf8(out.split_off(6)).unwrap();
    assert_eq!(out, b"before");
    let tree: Tree = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(tree, expected, "{text}");
    assert!(text.starts_with(&format!(r#"{{"type":{}"#, expected["type"])), "type comes first: {text}");
    text
}

#[test]
fn welcome_says_who_and_where() {
    let mut hello = Welcome {
        client_id: "c-1",
        user_id: "Zoë \"Z\"",
        session: "s-1",
        node: "n\\1",
        heartbeat_interval: Some(Duration::from_secs(25)),
    };
    let expected = |interval: Tree| {
        json!({"type": "welcome", "message": GREETING, "client_id": "c-1", "user_id": "Zoë \"Z\"", "session": "s-1",
            "node": "n\\1", "protocol": "roomcast.v1", "heartbeat_interval": interval})
    };
    check(expected(json!(25)), |out| welcome(out, &hello));
    hello.heartbeat_interval = None;
    check(expected(json!(0)), |out| welcome(out, &hello));
    hello.heartbeat_interval = Some(Duration::from_millis(1050));
    check(expected(json!(1.05)), |out| welcome(out, &hello));
}

#[test]
fn replies_about_rooms() {
    let room = topic(TopicKind::Room, "r\"1");
    let message = |offset: u64| {
        json!({"type": "chat_message", "room": "r\"1", "user_id": "u\"1", "username": "Zoë\n", "message": [offset],
            "timestamp": NOW_TEXT, "offset": offset})
    };
    let roll = Roll { users: vec![user("a", None), user("b", Some("B"))], moderators: vec![1] };
    let listed = json!([{"user_id": "a"}, {"user_id": "b", "username": "B", "role": "moderator"}]);
    let mut snapshot = Snapshot {
        members_count: 3,
        user_count: 2,
        roll: roll.clone(),
        offset: 9,
        epoch: "e1".into(),
        recovered: None,
        messages: None,
        text: None,
    };
    let mut joined = json!({"type": "room_joined", "room": "r\"1", "members_count": 3, "user_count": 2,
        "users": listed.clone(), "offset": 9, "epoch": "e1"});
    check(joined.clone(), |out| room_joined(out, &room, None, &snapshot));
    snapshot.recovered = Some(false);
    snapshot.messages = Some(vec![publication(8, "[8]"), publication(9, "[9]")]);
    joined["recovered"] = json!(false);
    joined["messages"] = json!([message(8), message(9)]);
    joined["id"] = json!("t\"1");
    for (answer, expected) in [
        (Reply::Joined(Box::new(snapshot)), joined),
        (
            Reply::Kicked { by: user("a", Some("Ann")), seconds: 60 },
            json!({"type": "kicked", "room": "r\"1", "by": "a", "seconds": 60}),
        ),
        (
            Reply::Muted { by: user("a", None), seconds: 0 },
            json!({"type": "muted", "room": "r\"1", "by": "a", "seconds": 0}),
        ),
        (Reply::Left, json!({"type": "room_left", "id": "t\"1", "room": "r\"1"})),
        (Reply::Accepted { offset: 4 }, json!({"type": "ack", "id": "t\"1", "offset": 4})),
        (Reply::Accepted { offset: 0 }, json!({"type": "ack", "id": "t\"1"})),
        (
            Reply::History { messages: vec![publication(1, "[1]")], offset: 1, epoch: "e".into() },
            json!({"type": "message_history", "id": "t\"1", "room": "r\"1", "offset": 1, "epoch": "e",
                "messages": [message(1)]}),
        ),
        (
            Reply::History { messages: vec![], offset: 0, epoch: "e".into() },
            json!({"type": "message_history", "id": "t\"1", "room": "r\"1", "offset": 0, "epoch": "e", "messages": []}),
        ),
        (
            Reply::Users { members_count: 3, user_count: 2, roll: Box::new(roll) },
            json!({"type": "room_info", "id": "t\"1", "room": "r\"1", "members_count": 3, "user_count": 2,
                "users": listed}),
        ),
        (
            Reply::Refused(Refusal::NotMember(TopicKind::Room)),
            json!({"type": "error", "id": "t\"1", "code": "not_in_room", "message": "You are not in this room",
                "timestamp": NOW_TEXT}),
        ),
    ] {
        check(expected.clone(), |out| reply(out, &room, TAG, &answer, NOW));
        // Without a tag the same, without the id.
        let mut untagged = expected;
        untagged.as_object_mut().unwrap().remove("id");
        check(untagged, |out| reply(out, &room, None, &answer, NOW));
    }
}

#[test]
fn numbers_about_the_server() {
    let rooms = vec![(topic(TopicKind::Room, "a\u{1f}"), 7), (topic(TopicKind::Room, "b"), 1)];
    let stats = Stats { total_clients: u64::MAX, total_rooms: 2, rooms, uptime_s: 61 };
    let everyone = topic(TopicKind::Everyone, "");
    check(
        json!({"type": "server_stats", "id": 5, "total_clients": u64::MAX, "total_rooms": 2,
            "rooms": {"a\u{1f}": 7, "b": 1}, "uptime": 61}),
        |out| reply(out, &everyone, Some(b"5"), &Reply::Stats(Box::new(stats)), NOW),
    );
    check(
        json!({"type": "server_stats", "total_clients": 0, "total_rooms": 0, "rooms": {}, "uptime": 0}),
        |out| reply(out, &everyone, None, &Reply::Stats(Box::default()), NOW),
    );
}

#[test]
fn events_of_rooms() {
    let room = topic(TopicKind::Room, "r");
    let ann = user("a", Some("Ann"));
    let bob = user("b", None);
    for (what, expected) in [
        (
            Event::UserJoined { user: Arc::clone(&ann), members_count: 2, moderator: true },
            json!({"type": "user_joined", "room": "r", "user_id": "a", "username": "Ann", "role": "moderator",
                "members_count": 2}),
        ),
        (
            Event::Attendance(Arc::new(Attendance { members_count: 300, user_count: 200, roll: None })),
            json!({"type": "presence", "room": "r", "members_count": 300, "user_count": 200}),
        ),
        (
            Event::Attendance(Arc::new(Attendance {
                members_count: 2,
                user_count: 1,
                roll: Some(Roll { users: vec![Arc::clone(&bob)], moderators: vec![0] }),
            })),
            json!({"type": "presence", "room": "r", "members_count": 2, "user_count": 1,
                "users": [{"user_id": "b", "role": "moderator"}]}),
        ),
        (
            Event::HistoryCleared(Arc::new(Cleared { by: Arc::clone(&ann), offset: 7 })),
            json!({"type": "history_cleared", "room": "r", "by": "a", "offset": 7}),
        ),
        (
            Event::UserLeft { user: Arc::clone(&bob), members_count: 0 },
            json!({"type": "user_left", "room": "r", "user_id": "b", "members_count": 0}),
        ),
        (
            Event::Typing { user: ann, is_typing: true },
            json!({"type": "typing_indicator", "room": "r", "user_id": "a", "username": "Ann", "is_typing": true}),
        ),
        (
            Event::Typing { user: bob, is_typing: false },
            json!({"type": "typing_indicator", "room": "r", "user_id": "b", "is_typing": false}),
        ),
    ] {
        check(expected, |out| event(out, &room, &what, None));
    }
}

#[test]
fn publications_carry_the_bytes_that_came() {
    let room = topic(TopicKind::Room, "r");
    for payload in [
        r#""\u0000\/ \ud83c\udf89""#,
        "\"\u{2028}🎉\"",
        "{ \"a\" : [1e2 , -0.0] }",
        "12345678901234567890123",
    ] {
        let mut out = Vec::new();
        event(&mut out, &room, &Event::Published(publication(3, payload)), None);
        let rest = format!(r#""timestamp":"{NOW_TEXT}","offset":3"#);
        let expected = format!(
            r#"{{"type":"chat_message","room":"r","user_id":"u\"1","username":"Zoë\n","message":{payload},{rest}}}"#
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn the_senders_copy_has_the_id_and_a_broadcast_no_room() {
    let published = Event::Published(publication(3, "1"));
    check(
        json!({"type": "chat_message", "id": "t\"1", "room": "r", "user_id": "u\"1", "username": "Zoë\n", "message": 1,
            "timestamp": NOW_TEXT, "offset": 3}),
        |out| event(out, &topic(TopicKind::Room, "r"), &published, TAG),
    );
    check(json!({"type": "broadcast", "message": 1, "user_id": "u\"1", "timestamp": NOW_TEXT}), |out| {
        event(out, &topic(TopicKind::Everyone, ""), &published, None);
    });
}

#[test]
fn a_publication_fits_what_was_reserved() {
    let mut out = Vec::new();
    let most = publication(u64::MAX, "1");
    chat_message(&mut out, "r", &most, TAG);
    let variable = 1 + most.user.id.len() + most.user.name.as_ref().unwrap().len() + TAG.unwrap().len() + 1;
    assert!(out.len() - variable < FRAMEWORK_BYTES - 16, "leaves some for escapes");
}

#[test]
fn errors_have_code_text_and_extra() {
    for (refusal, expected) in [
        (
            Refusal::UnknownType("\"\u{1b}".into()),
            json!({"type": "error", "code": "unknown_type", "message": "Unknown message type: \"\u{1b}", "id": -1,
                "timestamp": NOW_TEXT}),
        ),
        (
            Refusal::RateLimited { retry_after_ms: 250 },
            json!({"type": "error", "code": "rate_limited", "message": "Too many messages, slow down", "id": -1,
                "retry_after_ms": 250, "timestamp": NOW_TEXT}),
        ),
        (
            Refusal::BadName { field: "room", error: NameError::TooLong { max: 255 } },
            json!({"type": "error", "code": "invalid_field", "message": "room must have at most 255 bytes", "id": -1,
                "timestamp": NOW_TEXT}),
        ),
    ] {
        check(expected, |out| error(out, Some(b"-1"), &refusal, NOW));
    }
}

#[test]
fn signs_of_life_and_of_the_end() {
    check(json!({"type": "pong", "timestamp": NOW_TEXT}), |out| pong(out, None, None, NOW));
    check(json!({"type": "pong", "id": 1, "ts": "x", "timestamp": NOW_TEXT}), |out| {
        pong(out, Some(b"1"), Some(b"\"x\""), NOW);
    });
    check(json!({"type": "heartbeat", "timestamp": NOW_TEXT}), |out| heartbeat(out, NOW));
    check(json!({"type": "server_shutdown", "reconnect_after_ms": 1500}), |out| {
        server_shutdown(out, Duration::from_millis(1500));
    });
}

#[test]
fn losses_are_told_by_topic() {
    let room = topic(TopicKind::Room, "r\"");
    let both = Dropped { offsets: Some((3, 7)), events: 2 };
    check(
        json!({"type": "dropped", "topic": "room:r\"", "room": "r\"", "from": 3, "to": 7, "events": 2}),
        |out| {
            dropped(out, &room, both);
        },
    );
    check(json!({"type": "dropped", "topic": "room:r\"", "room": "r\"", "from": 3, "to": 7}), |out| {
        dropped(out, &room, Dropped { events: 0, ..both });
    });
    check(json!({"type": "dropped", "topic": "room:r\"", "room": "r\"", "events": 2}), |out| {
        dropped(out, &room, Dropped { offsets: None, ..both });
    });
    check(json!({"type": "dropped", "topic": "user:u", "from": 1, "to": 1}), |out| {
        dropped(out, &topic(TopicKind::Inbox, "u"), Dropped { offsets: Some((1, 1)), events: 0 });
    });
}
