//! What a token lets its user do: topics, commands, moderation, and limits of its own.

use serde_json::{Value, json};

use crate::auth::{code, enter, server, token};
use crate::support::eventually;

#[test]
fn topics_are_open_as_the_token_says() {
    let (server, _folder) = server(&["--feed", "f=demo:weather@1h"]);
    let mut ann = enter(
        &server,
        json!({"sub": "ann", "rooms": ["chat:*"], "channels": ["news.*"], "documents": ["d"], "can": ["publish"]}),
    );
    let forbidden = json!("forbidden");
    ann.join("chat:1");
    for (object, good) in [
        (json!({"type": "join_room", "room": "chat:2"}), true),
        (json!({"type": "join_room", "room": "lobby"}), false),
        (json!({"type": "chat_message", "room": "chat:1", "message": "hi"}), true),
        (json!({"type": "get_history", "room": "chat:1"}), true),
        (json!({"type": "get_history", "room": "lobby"}), false),
        (json!({"type": "subscribe", "channel": "news.sport"}), true),
        (json!({"type": "subscribe", "channel": "weather"}), false),
        (json!({"type": "subscribe", "channel": "news.>"}), true),
        (json!({"type": "subscribe", "channel": ">"}), false),
        (json!({"type": "subscribe", "channel": "*.sport"}), false),
        (json!({"type": "publish", "channel": "news.sport", "data": 1}), true),
        (json!({"type": "publish", "channel": "weather", "data": 1}), false),
        (json!({"type": "join_document", "doc_id": "d"}), true),
        (json!({"type": "join_document", "doc_id": "e"}), false),
        (json!({"type": "subscribe_feed", "feed": "f"}), true),
        (json!({"type": "leave_room", "room": "chat:2"}), true),
    ] {
        let answer = code(&mut ann, object.clone());
        assert_eq!(answer == forbidden, !good, "{object}: {answer}");
    }
    // The rooms of the request are held to it as well.
    let mut bob =
        server.dial(&format!("/ws/lobby?token={}", token(json!({"sub": "bob", "rooms": []}))), None);
    bob.expect("welcome");
    assert_eq!(bob.expect("error")["code"], "forbidden");
}

#[test]
fn what_reaches_strangers_needs_permission() {
    let (server, _folder) = server(&[]);
    let asks = [
        ("write", json!({"type": "chat_message", "room": "r", "message": "hi"})),
        ("publish", json!({"type": "publish", "channel": "c", "data": 1})),
        ("broadcast", json!({"type": "broadcast", "message": "hi"})),
        ("stats", json!({"type": "get_stats"})),
        ("direct", json!({"type": "direct_message", "user_id": "bob", "message": "hi"})),
        ("presence", json!({"type": "get_users", "room": "r"})),
    ];
    for (can, granted) in [
        (Value::Null, &["write", "direct", "presence"][..]),
        (json!([]), &[]),
        (json!(["publish"]), &["write", "publish"]),
        (json!(["broadcast", "stats"]), &["broadcast", "stats"]),
        (json!(["direct", "presence"]), &["direct", "presence"]),
    ] {
        let mut claims = json!({"sub": "ann"});
        if !can.is_null() {
            claims["can"] = can.clone();
        }
        let mut ann = enter(&server, claims);
        ann.join("r");
        for (right, object) in &asks {
            let done = code(&mut ann, object.clone()) != "forbidden";
            assert_eq!(done, granted.contains(right), "{right} by {can}");
        }
    }
}

#[test]
fn moderators_are_made_by_tokens() {
    let (server, _folder) = server(&[]);
    let mut ann = enter(&server, json!({"sub": "ann", "moderate": ["a*"]}));
    let mut bob = enter(&server, json!({"sub": "bob"}));
    for room in ["a", "b"] {
        ann.join(room);
        bob.join(room);
    }
    let kick = |room| json!({"type": "kick", "room": room, "user_id": "bob", "seconds": 60});
    assert_eq!(code(&mut bob, kick("a")), "forbidden");
    assert_eq!(code(&mut ann, kick("b")), "forbidden");
    assert_eq!(code(&mut ann, kick("a")), "done");
    assert_eq!(bob.find("kicked")["room"], "a");
}

#[test]
fn moderators_by_token_are_shown_as_such_and_another_token_changes_it() {
    let (server, _folder) = server(&["--shards", "2"]);
    let mut bob = enter(&server, json!({"sub": "bob"}));
    bob.join("a");
    let mut ann = enter(&server, json!({"sub": "ann", "moderate": ["a*"]}));
    ann.join("a");
    assert_eq!(bob.expect("user_joined")["role"], "moderator");
    let role_of_ann = |said: &Value| {
        let users = said["users"].as_array().expect("a list of users");
        users.iter().find(|user| user["user_id"] == "ann").expect("ann is there")["role"].clone()
    };
    let users = json!({"type": "get_users", "room": "a"});
    assert_eq!(role_of_ann(&bob.ask(users.clone())), "moderator");
    let renew = |claims: Value| json!({"type": "auth", "token": token(claims)});
    assert_eq!(ann.ask(renew(json!({"sub": "ann"})))["type"], "auth_success");
    assert_eq!(role_of_ann(&bob.expect("presence")), Value::Null);
    assert_eq!(role_of_ann(&bob.ask(users)), Value::Null);
    assert_eq!(code(&mut ann, json!({"type": "clear_history", "room": "a"})), "forbidden");
}

#[test]
fn limits_of_a_token_hold_for_its_user() {
    let (server, _folder) = server(&[]);
    let mut ann =
        enter(&server, json!({"sub": "ann", "limits": {"max_message": 200, "rate": 1, "burst": 3}}));
    ann.join("r");
    let long = json!({"type": "chat_message", "room": "r", "message": "x".repeat(300)});
    assert_eq!(code(&mut ann, long), "message_too_large");
    // As fast as one can ask, one in a second is soon too few.
    eventually("it is limited", || code(&mut ann, json!({"type": "ping"})) == "rate_limited");
}

#[test]
fn limits_of_a_token_hold_for_all_connections_of_its_user() {
    let (server, _folder) = server(&[]);
    let limits = json!({"user_rate": 1, "user_burst": 3});
    let mut both = [(); 2].map(|()| enter(&server, json!({"sub": "ann", "limits": limits})));
    let mut bob = enter(&server, json!({"sub": "bob"}));
    let codes: Vec<Value> =
        (0..10).map(|number| code(&mut both[number % 2], json!({"type": "ping"}))).collect();
    assert_eq!(codes[..3], ["done"; 3]);
    assert!(codes.iter().filter(|code| **code == "rate_limited").count() >= 4, "{codes:?}");
    assert_eq!(code(&mut bob, json!({"type": "ping"})), "done");
}
