//! What users of other systems complain about, each as a test named after it. Where a complaint is the subject of a
//! whole file, the test is there; docs/testing.md lists them all.

use serde_json::{Value, json};

use crate::support::{Client, Server, offset};

/// Joins `room` with a position; what was answered.
#[track_caller]
fn join_since(client: &mut Client, room: &str, since: &Value) -> Value {
    let joined = client.ask(json!({"type": "join_room", "room": room, "since": since}));
    assert_eq!(joined["type"], "room_joined", "{joined}");
    joined
}

fn position(joined: &Value) -> Value {
    json!({"offset": joined["offset"], "epoch": joined["epoch"]})
}

fn messages(joined: &Value) -> Vec<&Value> {
    let all = joined["messages"].as_array().expect("an array");
    all.iter().map(|one| &one["message"]).collect()
}

/// A client that was told nothing yet has no position elsewhere, and is refused or loses what comes next.
#[test]
fn recovery_needs_no_first_event() {
    let server = Server::start(&[]);
    let mut ann = server.user("ann");
    let joined = ann.join("r");
    let since = position(&joined);
    assert_eq!(since["offset"], 0);
    // The room lives on by another member, as it would for who lost its connection a moment ago.
    let mut bob = server.user("bob");
    bob.join("r");
    ann.close();
    bob.say("r", "first of all");
    bob.catch_up("r");
    let again = join_since(&mut server.user("ann"), "r", &since);
    assert_eq!((&again["recovered"], messages(&again)), (&json!(true), vec![&json!("first of all")]));
}

/// Elsewhere what proves a position ages with the history, so a quiet client's is unknown when it comes back.
#[test]
fn a_quiet_client_recovers_though_all_history_has_aged() {
    let server = Server::start(&["--topic", "room:*,ttl=1s"]);
    let mut bob = server.user("bob");
    bob.join("r");
    bob.say("r", "old");
    bob.catch_up("r");
    let mut ann = server.user("ann");
    let since = position(&ann.join("r"));
    assert_eq!(since["offset"], 1);
    ann.close();
    let none_left = |client: &mut Client| {
        let page = client.ask(json!({"type": "get_history", "room": "r"}));
        page["messages"].as_array().is_some_and(Vec::is_empty)
    };
    crate::support::eventually("the history has aged", || none_left(&mut bob));
    let again = join_since(&mut server.user("ann"), "r", &since);
    assert_eq!((&again["recovered"], messages(&again)), (&json!(true), Vec::<&Value>::new()));
}

/// "Missed messages are silent": who cannot be given everything is told so, and is not given a part as if it were all.
#[test]
fn who_missed_too_much_is_told() {
    let server = Server::start(&["--topic", "room:*,history=3"]);
    let mut bob = server.user("bob");
    let since = position(&bob.join("r"));
    for n in 1..=5 {
        bob.say("r", n);
    }
    bob.catch_up("r");
    let mut ann = server.user("ann");
    let joined = join_since(&mut ann, "r", &since);
    assert_eq!((&joined["recovered"], &joined["offset"]), (&json!(false), &json!(5)));
    // The oldest that can still be had is enough for who has the one before it.
    let later = join_since(&mut ann, "r", &json!({"offset": 2, "epoch": since["epoch"]}));
    assert_eq!((&later["recovered"], messages(&later).len()), (&json!(true), 3));
}

/// "Connection-level resume is the wrong unit": what one room has lost does not take another's recovery along.
#[test]
fn each_room_recovers_by_itself() {
    let server = Server::start(&["--topic", "room:small,history=1"]);
    let mut bob = server.user("bob");
    let (small, large) = (position(&bob.join("small")), position(&bob.join("large")));
    for n in 1..=3 {
        bob.say("small", n);
        bob.say("large", n);
    }
    bob.catch_up("small");
    bob.catch_up("large");
    let mut ann = server.user("ann");
    assert_eq!(join_since(&mut ann, "small", &small)["recovered"], false);
    let large = join_since(&mut ann, "large", &large);
    assert_eq!((&large["recovered"], messages(&large).len()), (&json!(true), 3));
}

/// Elsewhere an unknown position hangs, or never catches up.
#[test]
fn an_unknown_position_is_an_answer_and_not_a_wait() {
    let server = Server::start(&[]);
    let mut bob = server.user("bob");
    let epoch = bob.join("r")["epoch"].clone();
    bob.say("r", 1);
    bob.catch_up("r");
    let mut ann = server.user("ann");
    for since in [
        json!({"offset": 9, "epoch": epoch}),
        json!({"offset": 1, "epoch": "another"}),
        json!({"offset": u64::MAX, "epoch": epoch}),
    ] {
        let joined = join_since(&mut ann, "r", &since);
        assert_eq!(joined["recovered"], false, "{since}");
    }
    bob.say("r", 2);
    assert_eq!(offset(&ann.find("chat_message")), 2, "and it is a member all the same");
}

/// Elsewhere requests that an application sends one behind the other overtake each other.
#[test]
fn what_an_application_publishes_in_a_row_stays_in_order() {
    let server = Server::start(&["--shards", "3"]);
    let mut ann = server.user("ann");
    ann.join("r");
    let mut app = server.connect();
    let mut requests = Vec::new();
    for n in 0..50 {
        let body = json!({"message": n}).to_string();
        let head =
            "POST /api/rooms/r/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        requests.extend(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes());
    }
    std::io::Write::write_all(&mut app, &requests).expect("the requests go out");
    for n in 0..50 {
        let said = ann.find("chat_message");
        assert_eq!((&said["message"], offset(&said)), (&json!(n), n + 1));
    }
}

/// "Ghost presence": whatever way somebody goes, nobody stays behind who is not there.
#[test]
fn nobody_is_left_in_a_room_by_connections_that_come_and_go_at_once() {
    let server = Server::start(&["--shards", "3"]);
    let mut watcher = server.user("watcher");
    watcher.join("r");
    std::thread::scope(|scope| {
        for number in 0..6 {
            let server = &server;
            scope.spawn(move || {
                for round in 0..10 {
                    let mut client = server.user(&format!("u{number}"));
                    client.send(&json!({"type": "join_room", "room": "r"}));
                    match round % 3 {
                        0 => client.close(),
                        1 => drop(client),
                        _ => client.stream().shutdown(std::net::Shutdown::Both).expect("it was open"),
                    }
                }
            });
        }
    });
    crate::support::eventually("all but one are gone", || {
        let room = watcher.ask(json!({"type": "get_users", "room": "r"}));
        room["members_count"] == 1 && room["user_count"] == 1
    });
}

/// "Fast reconnect destroys the document": who comes back at once finds what it left.
#[test]
fn a_document_survives_that_its_only_writer_reconnects() {
    let server = Server::start(&["--shards", "3"]);
    for round in 1..=20 {
        let mut ann = server.user("ann");
        let joined = ann.ask(json!({"type": "join_document", "doc_id": "d"}));
        let (version, before) = (round - 1, "x".repeat(round - 1));
        assert_eq!((&joined["version"], &joined["content"]), (&json!(version), &json!(before)));
        let insert = json!({"type": "insert", "position": 0, "text": "x"});
        let edit = json!({"type": "text_operation", "doc_id": "d", "version": version, "operation": insert});
        assert_eq!(ann.ask(edit)["type"], "ack");
        // Whether it says goodbye or not.
        if round % 2 == 0 { ann.close() } else { drop(ann) }
    }
}
