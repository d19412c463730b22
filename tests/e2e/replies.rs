//! What is asked is answered, under the id it was asked with.

use serde_json::{Value, json};

use crate::support::{Client, Server, offset};

#[test]
fn answers_carry_ids_and_come_in_order() {
    let server = Server::start(&[]);
    let mut ann = server.user("ann");
    let asked = [
        (json!({"type": "join_room", "room": "r", "id": 1}), "room_joined"),
        (json!({"type": "chat_message", "room": "r", "message": "hi", "id": "a\"b"}), "chat_message"),
        (json!({"type": "chat_message", "room": "r", "message": "hi", "echo": false, "id": -3}), "ack"),
        (json!({"type": "typing_indicator", "room": "r", "is_typing": true, "id": "t"}), "ack"),
        (json!({"type": "get_history", "room": "r", "id": "h"}), "message_history"),
        (json!({"type": "get_users", "room": "r", "id": "u"}), "room_info"),
        (json!({"type": "chat_message", "room": "r", "id": "e"}), "error"),
        (json!({"type": "leave_room", "room": "r", "id": "l"}), "room_left"),
        (json!({"type": "leave_room", "room": "r", "id": "l2"}), "error"),
    ];
    for (object, _) in &asked {
        ann.send(object);
    }
    // What needs no room's owner may overtake what does, so errors are looked for by their id.
    let mut answers: Vec<Value> = asked.iter().map(|_| ann.object()).collect();
    for (object, kind) in &asked {
        let at = answers.iter().position(|answer| answer["id"] == object["id"]).expect("each has its answer");
        assert_eq!(answers.remove(at)["type"], *kind, "{object}");
    }
    let pong = ann.ask(json!({"type": "ping", "ts": 17}));
    assert_eq!((pong["type"].clone(), pong["ts"].clone()), (json!("pong"), json!(17)));
    assert_eq!(ann.ask(json!({"type": "broadcast", "message": 1}))["type"], "ack");
    assert_eq!(ann.ask(json!({"type": "nonsense"}))["message"], "Unknown message type: nonsense");
    ann.send_text("{".into());
    assert_eq!(ann.expect("error")["code"], "invalid_json");
}

#[test]
fn a_message_without_echo_is_acknowledged_and_seen_by_the_others() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    ann.join("r");
    bob.join("r");
    let ack = ann.ask(json!({"type": "chat_message", "room": "r", "message": "x", "echo": false}));
    assert_eq!((ack["type"].clone(), offset(&ack)), (json!("ack"), 1));
    ann.send(&json!({"type": "chat_message", "room": "r", "message": "y", "echo": false}));
    let said = ann.ask(json!({"type": "chat_message", "room": "r", "message": "z"}));
    assert_eq!((said["type"].clone(), offset(&said)), (json!("chat_message"), 3));
    for (offset, message) in [(1, "x"), (2, "y"), (3, "z")] {
        let heard = bob.expect("chat_message");
        assert_eq!((heard["offset"].clone(), heard["message"].clone()), (json!(offset), json!(message)));
        assert_eq!(heard.get("id"), None, "an id is its sender's only");
    }
    assert_eq!(ann.catch_up("r").len(), 1, "that bob has come, but no copy of what was said without echo");
}

fn history(client: &mut Client, mut ask: Value) -> Vec<u64> {
    ask["type"] = json!("get_history");
    ask["room"] = json!("r");
    let answer = client.ask(ask);
    assert_eq!((answer["type"].clone(), offset(&answer)), (json!("message_history"), 150));
    answer["messages"].as_array().expect("messages").iter().map(offset).collect()
}

#[test]
fn history_is_the_newest_or_what_was_before() {
    let server = Server::start(&[]);
    let mut ann = server.user("ann");
    ann.join("r");
    for number in 1..=150 {
        ann.say("r", json!({"n": number, "text": "ä\u{1f600}\n"}));
    }
    assert_eq!(ann.catch_up("r").len(), 150);
    assert_eq!(history(&mut ann, json!({})), (131..=150).collect::<Vec<_>>());
    assert_eq!(history(&mut ann, json!({"limit": 3})), [148, 149, 150]);
    assert_eq!(history(&mut ann, json!({"limit": 3, "before": 100})), [97, 98, 99]);
    assert_eq!(history(&mut ann, json!({"limit": 1000})), (51..=150).collect::<Vec<_>>());
    assert_eq!(history(&mut ann, json!({"limit": 5, "before": 53})), [51, 52]);
    assert_eq!(history(&mut ann, json!({"before": 51})), Vec::<u64>::new());
    assert_eq!(history(&mut ann, json!({"limit": 0})), Vec::<u64>::new());
    let answer = ann.ask(json!({"type": "get_history", "room": "r", "limit": 1}));
    let newest = &answer["messages"][0];
    assert_eq!(
        (newest["user_id"].clone(), newest["message"]["text"].clone()),
        (json!("ann"), json!("ä\u{1f600}\n"))
    );
    let stranger = server.client("/ws").ask(json!({"type": "get_history", "room": "r"}));
    assert_eq!(stranger["code"], "not_in_room");
}

#[test]
fn the_target_can_name_user_and_rooms() {
    let server = Server::start(&["--node-name", "edge-7"]);
    let mut ann = server.client("/ws/a%20b?user_id=ann&username=Ann%20A.&room=c&room=d");
    assert_eq!(
        (ann.welcome["user_id"].clone(), ann.welcome["node"].clone()),
        (json!("ann"), json!("edge-7"))
    );
    let mut rooms: Vec<_> = (0..3).map(|_| ann.expect("room_joined")["room"].clone()).collect();
    rooms.sort_by_key(|room| room.to_string());
    assert_eq!(rooms, ["a b", "c", "d"]);
    let anonymous = server.client("/ws");
    assert_eq!(anonymous.welcome["user_id"], anonymous.welcome["client_id"]);
    assert_ne!(anonymous.welcome["client_id"], server.client("/ws").welcome["client_id"]);
}
