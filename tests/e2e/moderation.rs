//! Moderators: whom they can throw out, silence and make forget; and that nobody else can.

use serde_json::{Value, json};

use crate::support::{Client, Server};

/// A server on which `mod-…` moderates every room but those called `free…`.
fn server(more: &[&str]) -> Server {
    let mut args = vec!["--shards", "3", "--moderator", "r*=mod-*"];
    args.extend(more);
    Server::start(&args)
}

fn kick(room: &str, user_id: &str, seconds: u64) -> Value {
    json!({"type": "kick", "room": room, "user_id": user_id, "seconds": seconds})
}

fn joins(client: &mut Client, room: &str) -> Value {
    client.ask(json!({"type": "join_room", "room": room}))
}

#[test]
fn who_is_kicked_leaves_with_all_connections_and_cannot_come_back_before_its_time() {
    let server = server(&[]);
    let (mut moderator, mut watcher) = (server.user("mod-1"), server.user("watcher"));
    let mut ann: Vec<Client> = (0..6).map(|_| server.user("ann")).collect();
    moderator.join("r");
    watcher.join("r");
    for connection in &mut ann {
        connection.join("r");
        connection.join("r too");
    }
    moderator.catch_up("r");
    watcher.catch_up("r");
    assert_eq!(moderator.ask(kick("r", "ann", 600))["type"], "ack");
    let left = json!({"type": "user_left", "room": "r", "user_id": "ann", "members_count": 2});
    assert_eq!(watcher.expect("user_left"), left);
    assert_eq!(moderator.expect("user_left"), left);
    for connection in &mut ann {
        let kicked = json!({"type": "kicked", "room": "r", "by": "mod-1", "seconds": 600});
        assert_eq!(connection.find("kicked"), kicked);
        let said = connection.ask(json!({"type": "chat_message", "room": "r", "message": "but"}));
        assert_eq!(said["code"], "not_in_room");
        let refused = joins(connection, "r");
        assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("forbidden")));
        assert!(refused["retry_after_ms"].as_u64().is_some_and(|ms| (590_000..=600_000).contains(&ms)));
        connection.catch_up("r too");
    }
    assert_eq!(joins(&mut server.user("ann"), "r")["code"], "forbidden", "nor by another connection");
    // Nobody hears a room that it was thrown out of.
    watcher.say("r", "gone");
    watcher.catch_up("r");
    assert!(ann.iter_mut().all(|connection| connection.catch_up("r too").is_empty()));
    // The last word counts.
    assert_eq!(moderator.ask(kick("r", "ann", 0))["type"], "ack");
    assert_eq!(joins(&mut ann[0], "r")["members_count"], 3);
}

#[test]
fn a_room_on_the_way_in_is_closed_as_well() {
    let server = server(&[]);
    let mut moderator = server.user("mod-1");
    moderator.join("r");
    moderator.ask(kick("r", "ann", 600));
    let mut ann = server.client("/ws/r?user_id=ann");
    let refused = ann.expect("error");
    assert_eq!((&refused["code"], refused["retry_after_ms"].is_u64()), (&json!("forbidden"), true));
    assert_eq!(ann.settle(), Vec::<Value>::new(), "the connection stands");
}

#[test]
fn a_ban_outlives_the_room_and_ends_with_its_time() {
    let server = server(&[]);
    let mut moderator = server.user("mod-1");
    let mut ann = server.user("ann");
    moderator.join("r");
    moderator.ask(kick("r", "ann", 1));
    moderator.leave("r");
    let mut refusals = 0;
    crate::support::eventually("the ban ends", || {
        let answer = joins(&mut ann, "r");
        refusals += u32::from(answer["code"] == "forbidden");
        answer["type"] == "room_joined"
    });
    assert!(refusals > 0, "the room was forgotten, the ban was not");
}

#[test]
fn who_is_muted_is_told_and_not_heard() {
    let server = server(&[]);
    let (mut moderator, mut ann) = (server.user("mod-1"), server.user("ann"));
    moderator.join("r");
    ann.join("r");
    ann.join("free");
    moderator.catch_up("r");
    let mute = |seconds| json!({"type": "mute", "room": "r", "user_id": "ann", "seconds": seconds});
    assert_eq!(moderator.ask(mute(600))["type"], "ack");
    assert_eq!(ann.expect("muted"), json!({"type": "muted", "room": "r", "by": "mod-1", "seconds": 600}));
    for message in [
        json!({"type": "chat_message", "room": "r", "message": "x"}),
        json!({"type": "typing_indicator", "room": "r", "is_typing": true}),
    ] {
        let refused = ann.ask(message);
        assert_eq!((&refused["code"], refused["retry_after_ms"].is_u64()), (&json!("forbidden"), true));
    }
    assert_eq!(moderator.catch_up("r"), Vec::<Value>::new());
    ann.say("free", "elsewhere");
    assert_eq!(ann.expect("chat_message")["message"], "elsewhere");
    assert_eq!(moderator.ask(mute(0))["type"], "ack");
    assert_eq!(ann.expect("muted")["seconds"], 0);
    ann.say("r", "again");
    assert_eq!(moderator.expect("chat_message")["message"], "again");
}

#[test]
fn what_is_cleared_is_in_no_history_and_the_offsets_go_on() {
    let server = server(&[]);
    let (mut moderator, mut ann) = (server.user("mod-1"), server.user("ann"));
    moderator.join("r");
    let epoch = ann.join("r")["epoch"].clone();
    for n in 1..=3 {
        ann.say("r", n);
    }
    ann.catch_up("r");
    moderator.catch_up("r");
    assert_eq!(moderator.ask(json!({"type": "clear_history", "room": "r"}))["type"], "ack");
    let cleared = json!({"type": "history_cleared", "room": "r", "by": "mod-1", "offset": 3});
    assert_eq!(ann.expect("history_cleared"), cleared);
    assert_eq!(moderator.expect("history_cleared"), cleared);
    let history = ann.ask(json!({"type": "get_history", "room": "r"}));
    assert_eq!((&history["messages"], &history["offset"]), (&json!([]), &json!(3)));
    ann.say("r", 4);
    ann.catch_up("r");
    let mut since = |offset: u64| {
        let since = json!({"offset": offset, "epoch": epoch});
        let joined = ann.ask(json!({"type": "join_room", "room": "r", "since": since}));
        let offsets: Vec<u64> =
            joined["messages"].as_array().unwrap().iter().map(crate::support::offset).collect();
        (joined["recovered"].as_bool().unwrap(), offsets)
    };
    assert_eq!(since(2), (false, vec![4]));
    assert_eq!(since(3), (true, vec![4]));
}

#[test]
fn members_and_strangers_may_moderate_nothing() {
    let server = server(&[]);
    let (mut moderator, mut ann, mut bob) = (server.user("mod-1"), server.user("ann"), server.user("bob"));
    moderator.join("r");
    moderator.join("free");
    ann.join("r");
    bob.join("r");
    let acts = |room: &str, user: &str| {
        [
            kick(room, user, 60),
            json!({"type": "mute", "room": room, "user_id": user, "seconds": 60}),
            json!({"type": "clear_history", "room": room}),
        ]
    };
    for act in acts("r", "bob") {
        assert_eq!(ann.ask(act)["code"], "forbidden");
    }
    for act in acts("free", "bob") {
        assert_eq!(moderator.ask(act)["code"], "forbidden", "not that room's");
    }
    for act in &acts("r", "mod-2")[..2] {
        assert_eq!(moderator.ask(act.clone())["code"], "forbidden", "moderators are out of reach");
    }
    for act in acts("r2", "bob") {
        assert_eq!(moderator.ask(act)["code"], "not_in_room");
    }
    assert_eq!(moderator.ask(kick("r", &"x".repeat(129), 1))["code"], "invalid_field");
    assert!(bob.catch_up("r").is_empty(), "nothing happened to him");
}

#[test]
fn moderators_are_shown_as_such() {
    let server = server(&[]);
    let (mut ann, mut moderator, mut bob) = (server.user("ann"), server.user("mod-1"), server.user("bob"));
    ann.join("r");
    moderator.join("r");
    assert_eq!(ann.expect("user_joined")["role"], "moderator");
    let listed = json!([{"user_id": "ann"}, {"user_id": "mod-1", "role": "moderator"}, {"user_id": "bob"}]);
    assert_eq!(bob.join("r")["users"], listed);
    assert_eq!(ann.expect("user_joined").get("role"), None, "members have none");
    assert_eq!(ann.ask(json!({"type": "get_users", "room": "r"}))["users"], listed);
}
