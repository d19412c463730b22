//! Messages from user to user: to all connections of the receiver, kept until somebody acknowledges them.

use serde_json::{Value, json};

use crate::support::{Client, Server, eventually};

/// Sends a message to a user; how many connections it reached.
#[track_caller]
fn tell(client: &mut Client, user: &str, message: impl Into<Value>) -> u64 {
    let message: Value = message.into();
    let ack = client.ask(json!({"type": "direct_message", "user_id": user, "message": message}));
    assert_eq!(ack["type"], "ack", "{ack}");
    ack["delivered"].as_u64().unwrap_or_else(|| panic!("no number: {ack}"))
}

/// A client of a user whose inbox is open: an acknowledgement goes the same way as the question for what is kept.
fn user(server: &Server, user: &str) -> Client {
    let mut client = server.user(user);
    client.ask(json!({"type": "ack", "seq": 0}));
    client
}

#[track_caller]
fn heard(client: &mut Client) -> (Value, u64) {
    let message = client.expect("direct_message");
    (message["message"].clone(), message["seq"].as_u64().expect("a number"))
}

#[test]
fn a_message_reaches_all_connections_of_its_user_and_nobody_else() {
    let server = Server::start(&["--shards", "3"]);
    let mut anns: Vec<Client> = (0..7).map(|_| user(&server, "ann")).collect();
    let mut bob = server.client("/ws?user_id=bob&username=Bob");
    let mut eve = user(&server, "eve");
    assert_eq!(tell(&mut bob, "ann", json!({"text": "Hello!"})), 7);
    assert_eq!(tell(&mut bob, "ann", 2), 7);
    for ann in &mut anns {
        let mut message = ann.expect("direct_message");
        assert!(message.as_object_mut().and_then(|fields| fields.remove("timestamp")).is_some());
        let expected = json!({"type": "direct_message", "user_id": "bob", "username": "Bob",
            "message": {"text": "Hello!"}, "seq": 1});
        assert_eq!(message, expected);
        assert_eq!(heard(ann), (json!(2), 2));
    }
    assert_eq!(eve.settle(), Vec::<Value>::new());
    assert_eq!(bob.settle(), Vec::<Value>::new());
    anns.truncate(2);
    eventually("five are gone", || tell(&mut bob, "ann", "?") == 2);
    assert_eq!(tell(&mut bob, "nobody", "?"), 0);
}

#[test]
fn what_is_not_acknowledged_comes_again_to_whoever_comes_back() {
    let server = Server::start(&["--shards", "2"]);
    let mut bob = server.user("bob");
    for n in 1..=5 {
        assert_eq!(tell(&mut bob, "ann", n), 0, "she is offline");
    }
    let mut ann = server.user("ann");
    for n in 1..=5 {
        assert_eq!(heard(&mut ann), (json!(n), n));
    }
    assert_eq!(ann.ask(json!({"type": "ack", "seq": 3}))["type"], "ack");
    let mut phone = user(&server, "ann");
    assert_eq!(heard(&mut phone), (json!(4), 4), "one device has acknowledged for all");
    assert_eq!(heard(&mut phone), (json!(5), 5));
    assert_eq!(tell(&mut bob, "ann", 6), 2);
    for device in [&mut ann, &mut phone] {
        assert_eq!(heard(device), (json!(6), 6));
    }
    assert_eq!(phone.ask(json!({"type": "ack", "seq": 6})), json!({"type": "ack", "id": "ask-2"}));
    let mut tablet = user(&server, "ann");
    assert_eq!(tablet.settle(), Vec::<Value>::new());
    assert_eq!(tell(&mut bob, "ann", 7), 3);
    assert_eq!(heard(&mut tablet), (json!(7), 7), "numbers go on");
}

/// Messages sent while a client connects come once: in what was kept, or after it.
#[test]
fn nothing_is_lost_and_nothing_comes_twice_while_one_connects() {
    let server = Server::start(&["--shards", "4"]);
    let mut bob = server.user("bob");
    let mut sent = 0;
    for _ in 0..20 {
        for _ in 0..4 {
            sent += 1;
            bob.send(&json!({"type": "direct_message", "user_id": "ann", "message": sent}));
        }
        let mut ann = server.user("ann");
        sent += 1;
        tell(&mut bob, "ann", sent);
        let first = heard(&mut ann).1;
        for n in first + 1..=sent {
            assert_eq!(heard(&mut ann), (json!(n), n));
        }
        assert_eq!(ann.ask(json!({"type": "ack", "seq": sent}))["type"], "ack");
        assert_eq!(ann.settle(), Vec::<Value>::new());
    }
}

#[test]
fn an_inbox_keeps_a_hundred_and_announces_the_others() {
    let server = Server::start(&[]);
    let mut bob = server.user("bob");
    for n in 0..120 {
        bob.send(&json!({"type": "direct_message", "user_id": "ann", "message": n}));
    }
    tell(&mut bob, "ann", "last");
    let mut ann = server.user("ann");
    let dropped = json!({"type": "dropped", "topic": "user:ann", "from": 1, "to": 21});
    assert_eq!(ann.object(), dropped);
    for seq in 22..=121 {
        assert_eq!(heard(&mut ann).1, seq);
    }
}

#[test]
fn presence_takes_no_notice() {
    let server = Server::start(&[]);
    let mut ann = user(&server, "ann");
    let mut bob = user(&server, "bob");
    ann.join("r");
    assert_eq!(tell(&mut bob, "ann", 1), 1);
    heard(&mut ann);
    let stats = bob.ask(json!({"type": "get_stats"}));
    assert_eq!((stats["total_rooms"].clone(), stats["rooms"].clone()), (json!(1), json!({"r": 1})));
    assert_eq!(server.health()["rooms"], 1);
}

#[test]
fn a_limit_on_connections_and_an_inbox_go_together() {
    let server = Server::start(&["--max-connections-per-user", "2"]);
    let mut bob = server.user("bob");
    assert_eq!(tell(&mut bob, "ann", 1), 0);
    let mut anns = [server.user("ann"), server.user("ann")];
    assert_eq!(server.dial("/ws?user_id=ann", None).closed(), 1008);
    for ann in &mut anns {
        assert_eq!(heard(ann), (json!(1), 1));
    }
    assert_eq!(tell(&mut bob, "ann", 2), 2);
    for ann in &mut anns {
        assert_eq!(heard(ann), (json!(2), 2));
    }
    let refused = anns[0].ask(json!({"type": "ack", "seq": 3}));
    assert_eq!((refused["type"].clone(), refused["code"].clone()), (json!("error"), json!("invalid_field")));
}

#[test]
fn a_session_counts_direct_messages_beside_their_own_numbers() {
    let server = Server::start(&["--shards", "2"]);
    let mut bob = server.user("bob");
    let mut ann = server.client("/ws?user_id=ann&last_seq=0");
    ann.ask(json!({"type": "ping"}));
    eventually("her inbox is open", || tell(&mut bob, "ann", "knock") == 1);
    let message = ann.find("direct_message");
    assert_eq!(message["session_seq"], 2);
    let seq = message["seq"].as_u64().expect("a number");
    ann.stream().shutdown(std::net::Shutdown::Both).expect("it was open");
    eventually("she is away", || tell(&mut bob, "ann", "still here?") == 0);
    let session = ann.welcome["session"].as_str().expect("a string");
    let mut back = server.client(&format!("/ws?session={session}&last_seq=2"));
    assert_eq!(back.welcome["resumed"], true);
    let message = back.expect("direct_message");
    assert_eq!((message["session_seq"].as_u64(), message["seq"].as_u64()), (Some(3), Some(seq + 1)));
}

/// What a session could not keep, an inbox still may have.
#[test]
fn direct_messages_that_a_session_lost_come_from_the_inbox() {
    let server = Server::start(&["--shards", "2"]);
    let mut bob = server.user("bob");
    let mut ann = server.client("/ws?user_id=ann&last_seq=0&room=r");
    ann.expect("room_joined");
    eventually("her inbox is open", || tell(&mut bob, "ann", "knock") == 1);
    bob.join("r");
    ann.stream().shutdown(std::net::Shutdown::Both).expect("it was open");
    (0..150).for_each(|n| bob.say("r", n));
    bob.catch_up("r");
    tell(&mut bob, "ann", "late");
    let session = ann.welcome["session"].as_str().expect("a string");
    let mut back = server.client(&format!("/ws?session={session}&last_seq=1"));
    assert_eq!(back.expect("dropped")["from"], 2);
    let mut seqs = Vec::new();
    while !seqs.contains(&1) {
        let message = back.object();
        seqs.extend(message["seq"].as_u64().filter(|_| message["type"] == "direct_message"));
    }
    seqs.extend(
        back.settle()
            .iter()
            .filter_map(|message| message["seq"].as_u64().filter(|_| message["type"] == "direct_message")),
    );
    let mut once = seqs.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), seqs.len(), "no number comes twice: {seqs:?}");
}

#[test]
fn what_cannot_be_sent_is_refused() {
    let server = Server::start(&[]);
    let mut bob = server.user("bob");
    for (wrong, code) in [
        (json!({"type": "direct_message", "message": 1}), "invalid_field"),
        (json!({"type": "direct_message", "user_id": 5, "message": 1}), "invalid_field"),
        (json!({"type": "direct_message", "user_id": "a\u{7}", "message": 1}), "invalid_field"),
        (json!({"type": "direct_message", "user_id": "x".repeat(129), "message": 1}), "invalid_field"),
        (json!({"type": "direct_message", "user_id": "ann"}), "invalid_field"),
        (json!({"type": "direct_message", "user_id": "ann", "message": ""}), "invalid_field"),
        (json!({"type": "ack"}), "invalid_field"),
        (json!({"type": "ack", "seq": -1}), "invalid_field"),
        (json!({"type": "ack", "seq": 9}), "invalid_field"),
    ] {
        let error = bob.ask(wrong.clone());
        assert_eq!((error["type"].as_str(), error["code"].as_str()), (Some("error"), Some(code)), "{wrong}");
    }
}
