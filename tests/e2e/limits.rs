//! Every limit that an operator can set holds exactly, and says so in its own way.

use serde_json::json;

use crate::support::{Got, Server, eventually};

#[test]
fn rooms_per_connection() {
    let server = Server::start(&["--max-rooms-per-connection", "3", "--max-connections-per-user", "9"]);
    let mut ann = server.user("ann");
    for room in ["a", "b", "c", "c"] {
        ann.join(room);
    }
    let refused = ann.ask(json!({"type": "join_room", "room": "d"}));
    assert_eq!((refused["type"].clone(), refused["code"].clone()), (json!("error"), json!("too_many_rooms")));
    ann.leave("b");
    ann.join("d");
}

#[test]
fn members_per_room() {
    let server = Server::start(&["--max-members-per-room", "5"]);
    let mut users = server.users(6);
    for user in &mut users[..5] {
        user.join("r");
    }
    let join = json!({"type": "join_room", "room": "r"});
    assert_eq!(users[5].ask(join.clone())["code"], "room_full");
    assert_eq!(users[4].ask(join.clone())["type"], "room_joined", "a member already");
    users[2].leave("r");
    assert_eq!(users[5].ask(join)["type"], "room_joined");
    let stats = users[0].ask(json!({"type": "get_stats"}));
    assert_eq!(stats["rooms"], json!({"r": 5}));
}

#[test]
fn connections_per_user_close_with_1008() {
    let server = Server::start(&["--max-connections-per-user", "3"]);
    let mut connections: Vec<_> = (0..3).map(|_| server.user("ann")).collect();
    for _ in 0..4 {
        let mut refused = server.dial("/ws?user_id=ann&room=r", None);
        assert!(matches!(refused.next(), Got::Closed(1008)), "before any message");
    }
    server.user("bob").join("r");
    for connection in &mut connections {
        connection.join("r");
    }
    connections.remove(0).close();
    eventually("there is room for another", || {
        matches!(server.dial("/ws?user_id=ann", None).next(), Got::Object(_))
    });
}

#[test]
fn connections_in_all_answer_503() {
    let server = Server::start(&["--max-connections", "3"]);
    let mut clients: Vec<_> = (0..3).map(|_| server.client("/ws")).collect();
    let request = "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n";
    for _ in 0..5 {
        let answer = server.exchange(request);
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After:"), "{answer}");
    }
    clients.remove(1).close();
    eventually("there is room for another", || {
        !server.exchange("GET /health HTTP/1.0\r\n\r\n").contains(" 503 ")
    });
    clients[0].join("r");
}

#[test]
fn connections_of_one_address_answer_429() {
    let server = Server::start(&["--max-connections-per-address", "2"]);
    let mut clients: Vec<_> = (0..2).map(|_| server.client("/ws")).collect();
    for _ in 0..5 {
        let answer = server.exchange("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    }
    clients.remove(0).close();
    eventually("there is room for another", || {
        !server.exchange("GET /health HTTP/1.0\r\n\r\n").contains(" 429 ")
    });
    clients[0].join("r");
}

#[test]
fn names_of_rooms() {
    let server = Server::start(&["--max-name", "8"]);
    let mut ann = server.user("ann");
    ann.join("12345678");
    ann.join("ääää");
    for (room, code) in [
        ("123456789", "invalid_field"),
        ("ääääa", "invalid_field"),
        ("a\nb", "invalid_field"),
        ("", "room_required"),
    ] {
        assert_eq!(ann.ask(json!({"type": "join_room", "room": room}))["code"], code, "{room:?}");
    }
    let unnamed = ann.ask(json!({"type": "join_room"}));
    assert_eq!(
        (unnamed["code"].clone(), unnamed["message"].clone()),
        (json!("room_required"), json!("Room name is required"))
    );
}

#[test]
fn too_fast_is_told_when_to_go_on() {
    let server = Server::start(&["--rate-limit", "1/s,burst=5"]);
    let mut ann = server.user("ann");
    for id in 0..50 {
        ann.send(&json!({"type": "ping", "id": id}));
    }
    let (mut pongs, mut refused) = (0, 0);
    for id in 0..50 {
        let object = ann.object();
        assert_eq!(object["id"], id, "an error carries the id of what it answers");
        match object["type"].as_str() {
            Some("pong") => pongs += 1,
            _ => {
                refused += 1;
                assert_eq!(object["code"], "rate_limited");
                let retry = object["retry_after_ms"].as_u64().unwrap();
                assert!((1..=1000).contains(&retry), "{retry}");
            }
        }
    }
    assert!(pongs >= 5 && refused > 0 && pongs + refused == 50, "{pongs} and {refused}");
    // The connection stays, and is heard again when the time has come.
    eventually("the bucket fills again", || {
        ann.send(&json!({"type": "ping"}));
        ann.object()["type"] == "pong"
    });
}
