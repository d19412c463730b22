//! Who is there: users come with their first connection and go with their last, and all numbers are exact.

use serde_json::{Value, json};

use crate::support::raw::Raw;
use crate::support::{Client, Server, eventually};

#[test]
fn a_user_comes_with_the_first_and_goes_with_the_last_connection() {
    let server = Server::start(&[]);
    let mut watcher = server.user("watcher");
    assert_eq!(watcher.join("r")["members_count"], 1);
    let mut connections: Vec<_> = (0..6).map(|_| server.client("/ws?user_id=ann&username=Ann")).collect();
    for (number, connection) in (2..).zip(&mut connections) {
        let joined = connection.join("r");
        assert_eq!(joined["members_count"], number);
        assert_eq!(joined["user_count"], 2);
        assert_eq!(joined["users"], json!([{"user_id": "watcher"}, {"user_id": "ann", "username": "Ann"}]));
        assert_eq!(connection.join("r")["members_count"], number, "joining again changes nothing");
    }
    let joined = watcher.expect("user_joined");
    let expected =
        json!({"type": "user_joined", "room": "r", "user_id": "ann", "username": "Ann", "members_count": 2});
    assert_eq!(joined, expected);
    // One leaves, one closes, one is cut off; who stays hears of none of them.
    connections.remove(0).leave("r");
    connections.remove(0).close();
    drop(connections.remove(0));
    let count = |watcher: &mut Client| {
        watcher.ask(json!({"type": "get_users", "room": "r"}))["members_count"].clone()
    };
    eventually("three are gone", || count(&mut watcher) == 4);
    assert_eq!(watcher.catch_up("r"), Vec::<Value>::new());
    connections.drain(..2).for_each(|connection| connection.close());
    connections.remove(0).leave("r");
    let left = watcher.expect("user_left");
    assert_eq!((left["user_id"].as_str(), left["members_count"].as_u64()), (Some("ann"), Some(1)));
    assert_eq!(watcher.catch_up("r"), Vec::<Value>::new());
}

#[test]
fn the_last_connection_may_go_in_any_way() {
    let server = Server::start(&[]);
    let mut watcher = server.user("watcher");
    watcher.join("r");
    let half_a_frame = &crate::support::raw::frame(1, &[b'x'; 100])[..50];
    for way in ["close", "end", "reset", "reset in a frame", "violation"] {
        let mut raw = Raw::user(&server, way.replace(' ', "+").as_str());
        raw.join("r");
        assert_eq!(watcher.expect("user_joined")["members_count"], 2);
        match way {
            "close" => raw.frame(8, &1000_u16.to_be_bytes()),
            "end" => raw.shut(),
            "reset" => raw.reset(),
            "reset in a frame" => {
                raw.bytes(half_a_frame);
                raw.reset();
            }
            _ => raw.bytes(&[0xff; 20]),
        }
        assert_eq!(watcher.expect("user_left")["members_count"], 1, "{way}");
    }
    let info = watcher.ask(json!({"type": "get_users", "room": "r"}));
    assert_eq!((info["members_count"].clone(), info["user_count"].clone()), (json!(1), json!(1)));
}

#[test]
fn get_users_lists_up_to_a_hundred_and_counts_all() {
    let server = Server::start(&[]);
    let mut users = server.users(130);
    let ask = |user: &mut Client| user.ask(json!({"type": "get_users", "room": "r"}));
    for user in &mut users[..100] {
        user.join("r");
    }
    let info = ask(&mut users[7]);
    assert_eq!(info["type"], "room_info");
    let listed: Vec<_> =
        info["users"].as_array().unwrap().iter().map(|user| user["user_id"].clone()).collect();
    assert_eq!(listed, (0..100).map(|number| json!(format!("u{number}"))).collect::<Vec<_>>());
    for user in &mut users[100..] {
        assert_eq!(user.join("r")["users"], json!([]));
    }
    let info = ask(&mut users[7]);
    assert_eq!((info["members_count"].clone(), info["user_count"].clone()), (json!(130), json!(130)));
    assert_eq!(info["users"], json!([]), "counts only");
}

/// What melts large rooms elsewhere: each who comes is told to each who is there.
#[test]
fn a_storm_of_joins_is_told_as_counts() {
    let server = Server::start(&["--shards", "2", "--presence-list-max", "10"]);
    let mut watcher = server.user("watcher");
    watcher.join("r");
    let mut users = server.users(60);
    for user in &mut users {
        user.join("r");
    }
    let mut told = watcher.catch_up("r");
    let named = told.iter().filter(|said| said["type"] == "user_joined").count();
    assert_eq!(named, 9, "ten are told of, oneself among them");
    let crowded = told.iter().find(|said| said["type"] == "presence").expect("a count at once").clone();
    let expected = json!({"type": "presence", "room": "r", "members_count": 11, "user_count": 11});
    assert_eq!(crowded, expected);
    // All counts that came, however long it took, are far fewer than the joins.
    let mut counted = told.pop().unwrap();
    let mut counts = 0;
    while counted["user_count"] != 61 {
        counted = watcher.expect("presence");
        counts += 1;
        assert!(counts < 60, "one count for each join");
    }
    // Enough of them go, and all are told who is left: from then on it is as it was.
    for user in users.drain(7..) {
        user.close();
    }
    let thinned = loop {
        let told = watcher.expect("presence");
        if told.get("users").is_some() {
            break told;
        }
    };
    assert_eq!((thinned["user_count"].clone(), thinned["users"].as_array().unwrap().len()), (json!(9), 9));
    assert_eq!(watcher.expect("user_left")["members_count"], 8);
    users[0].leave("r");
    assert_eq!(watcher.expect("user_left")["user_id"], "u0");
}

/// What every chat complains about: a page that is loaded anew is told to everybody, twice.
#[test]
fn a_reload_within_the_grace_is_told_to_nobody() {
    let server = Server::start(&["--shards", "2", "--presence-grace", "1h"]);
    let mut watcher = server.user("watcher");
    watcher.join("r");
    let mut page = server.user("ann");
    let epoch = page.join("solo")["epoch"].clone();
    page.join("r");
    for way in ["close", "drop", "leave"] {
        match way {
            "close" => page.close(),
            "drop" => drop(page),
            _ => {
                page.leave("r");
                page.leave("solo");
            }
        }
        let ask = |watcher: &mut Client| watcher.ask(json!({"type": "get_users", "room": "r"}));
        eventually("the connection is counted out", || ask(&mut watcher)["members_count"] == 1);
        assert_eq!(ask(&mut watcher)["user_count"], 2, "the user is not");
        page = server.user("ann");
        assert_eq!(page.join("r")["members_count"], 2);
        assert_eq!(page.join("solo")["epoch"], epoch, "nor is a room of hers forgotten");
    }
    let told = watcher.catch_up("r");
    assert_eq!(told.len(), 1, "she came, and that is all: {told:?}");
}

#[test]
fn who_does_not_come_back_is_gone_after_the_grace() {
    let server = Server::start(&["--presence-grace", "20ms"]);
    let mut watcher = server.user("watcher");
    watcher.join("r");
    server.user("ann").join("r");
    assert_eq!(watcher.expect("user_joined")["members_count"], 2);
    let left = watcher.expect("user_left");
    assert_eq!(left, json!({"type": "user_left", "room": "r", "user_id": "ann", "members_count": 1}));
}

#[test]
fn stats_add_up_over_all_shards() {
    let server = Server::start(&["--shards", "4"]);
    let mut users = server.users(40);
    for (number, user) in users.iter_mut().enumerate() {
        for room in 0..=number % 4 {
            user.join(&format!("room {room}"));
        }
    }
    let _echo = server.dial("/echo", None);
    let mut asker = server.client("/ws");
    let stats = asker.ask(json!({"type": "get_stats"}));
    let rooms = json!({"room 0": 40, "room 1": 30, "room 2": 20, "room 3": 10});
    assert_eq!((stats["total_clients"].clone(), stats["total_rooms"].clone()), (json!(41), json!(4)));
    assert_eq!(stats["rooms"], rooms);
    assert!(stats["uptime"].is_u64());
    // Largest first, also as text.
    asker.send(&json!({"type": "get_stats"}));
    for user in users.iter_mut().skip(3).step_by(4) {
        user.leave("room 3");
    }
    drop(users.split_off(20));
    let expected = json!({"room 0": 20, "room 1": 15, "room 2": 10});
    eventually("they are gone, and an emptied room with them", || {
        let stats = asker.ask(json!({"type": "get_stats"}));
        stats["rooms"] == expected && stats["total_rooms"] == 3 && stats["total_clients"] == 21
    });
    eventually("health says the same", || {
        let health = server.health();
        health["rooms"] == 3 && health["active_connections"] == 23 && health["status"] == "ok"
    });
}

#[test]
fn typing_is_for_the_others_and_not_kept() {
    let server = Server::start(&[]);
    let mut users = server.users(4);
    for user in &mut users {
        user.join("r");
    }
    for user in &mut users {
        user.catch_up("r");
    }
    users[0].send(&json!({"type": "typing_indicator", "room": "r", "is_typing": true}));
    users[0].send(&json!({"type": "typing_indicator", "room": "r", "is_typing": false}));
    users[0].say("r", "done");
    for user in &mut users[1..] {
        for is_typing in [true, false] {
            let typing = user.expect("typing_indicator");
            let expected =
                json!({"type": "typing_indicator", "room": "r", "user_id": "u0", "is_typing": is_typing});
            assert_eq!(typing, expected);
        }
        assert_eq!(user.expect("chat_message")["offset"], 1);
    }
    assert_eq!(users[0].expect("chat_message")["message"], "done", "not one's own typing");
}

#[test]
fn a_broadcast_is_for_everybody_but_its_sender() {
    let server = Server::start(&["--shards", "3"]);
    let mut users = server.users(30);
    let ack = users[0].ask(json!({"type": "broadcast", "message": {"all": [1, 2]}}));
    assert_eq!(ack["type"], "ack");
    for user in &mut users[1..] {
        let heard = user.expect("broadcast");
        assert_eq!(
            (heard["message"].clone(), heard["user_id"].clone()),
            (json!({"all": [1, 2]}), json!("u0"))
        );
        assert!(heard["timestamp"].is_string());
    }
    users[1].send(&json!({"type": "broadcast", "message": "again"}));
    assert_eq!(users[0].expect("broadcast")["message"], "again", "the first was not its own");
    for user in &mut users[2..] {
        assert_eq!(user.expect("broadcast")["message"], "again");
        assert_eq!(user.settle(), Vec::<Value>::new());
    }
}
