//! Sessions: who comes back in time finds its place kept, and gets what it missed, once and in order.

use serde_json::{Value, json};

use crate::support::raw::{CLOSE, Raw, TEXT};
use crate::support::{Client, Got, Server, eventually};

/// A client with a session, that has got everything up to `last_seq` of the session that `welcome` named.
fn resume(server: &Server, welcome: &Value, last_seq: u64) -> Client {
    let session = welcome["session"].as_str().expect("every client has one");
    server.client(&format!("/ws?session={session}&last_seq={last_seq}"))
}

/// The number of a message in the session.
fn seq(message: &Value) -> u64 {
    let number = message.get("session_seq").unwrap_or(&message["seq"]);
    number.as_u64().unwrap_or_else(|| panic!("no number: {message}"))
}

/// The next messages, as many as that.
fn take(client: &mut Client, count: usize) -> Vec<Value> {
    (0..count).map(|_| client.object()).collect()
}

/// Cuts the connection without a word.
fn cut(client: &Client) {
    client.stream().shutdown(std::net::Shutdown::Both).expect("it was open");
}

#[test]
fn who_comes_back_gets_what_it_missed_and_is_still_in_its_rooms() {
    let server = Server::start(&["--shards", "3"]);
    let mut speaker = server.user("speaker");
    speaker.join("r");
    // Neighbours are on different shards, and so is who comes back.
    for round in 0..6 {
        let mut ann = server.client(&format!("/ws?user_id=ann{round}&last_seq=0&room=r"));
        assert_eq!(ann.welcome["resumed"], false);
        assert_eq!(ann.welcome.get("seq"), None, "the welcome is about the session, not of it");
        assert_eq!(seq(&ann.expect("room_joined")), 1);
        speaker.find("user_joined");
        speaker.say("r", "heard");
        assert_eq!(seq(&ann.expect("chat_message")), 2);
        cut(&ann);
        for n in 0..5 {
            speaker.say("r", n);
        }
        speaker.catch_up("r");
        let mut back = resume(&server, &ann.welcome, 2);
        let told = |field: &str| (back.welcome[field].clone(), ann.welcome[field].clone());
        for field in ["session", "client_id", "user_id"] {
            assert_eq!(told(field).0, told(field).1);
        }
        assert_eq!(back.welcome["resumed"], true);
        for (n, message) in take(&mut back, 5).iter().enumerate() {
            assert_eq!((message["message"].clone(), seq(message)), (json!(n), 3 + n as u64));
        }
        speaker.say("r", "and on");
        assert_eq!(seq(&back.expect("chat_message")), 8);
        back.say("r", "still a member");
        assert_eq!(seq(&back.expect("chat_message")), 9);
        back.leave("r");
        assert_eq!(speaker.find("user_left")["user_id"], format!("ann{round}"));
        back.close();
    }
}

/// A new socket that comes before the server has noticed the end of the old one is no stranger.
#[test]
fn a_session_is_taken_over_from_a_connection_that_still_looks_alive() {
    let server = Server::start(&["--shards", "2"]);
    let mut first = server.client("/ws?user_id=ann&last_seq=0&room=r");
    first.expect("room_joined");
    let mut second = resume(&server, &first.welcome, 0);
    assert_eq!(second.welcome["resumed"], true);
    assert_eq!((seq(&second.expect("room_joined")), first.closed()), (1, 4008));
    let mut third = resume(&server, &first.welcome, 1);
    assert_eq!(second.closed(), 4008);
    let info = third.ask(json!({"type": "get_users", "room": "r"}));
    assert_eq!((info["members_count"].clone(), seq(&info)), (json!(1), 2));
}

/// Recovery needs a first event elsewhere: here a client that got nothing at all can come back.
#[test]
fn a_session_without_events_can_be_resumed() {
    let server = Server::start(&[]);
    let first = server.client("/ws?last_seq=0");
    cut(&first);
    let mut back = resume(&server, &first.welcome, 0);
    assert_eq!(back.welcome["resumed"], true);
    assert_eq!(seq(&back.ask(json!({"type": "ping"}))), 1);
}

#[test]
fn what_is_too_much_to_keep_is_announced_first() {
    // With more of them who comes back may overtake what another shard has for its session, and then it gets all.
    let server = Server::start(&["--shards", "1"]);
    let mut speaker = server.user("speaker");
    let mut ann = server.client("/ws?user_id=ann&last_seq=0&room=r");
    ann.expect("room_joined");
    speaker.join("r");
    ann.expect("user_joined");
    cut(&ann);
    for n in 0..150 {
        speaker.say("r", n);
    }
    speaker.catch_up("r");
    let mut back = resume(&server, &ann.welcome, 2);
    let dropped = json!({"type": "dropped", "topic": "session", "from": 3, "to": 52});
    assert_eq!(back.object(), dropped);
    for (message, expected) in take(&mut back, 100).iter().zip(53..) {
        assert_eq!((seq(message), message["offset"].as_u64()), (expected, Some(expected - 2)));
    }
    assert_eq!(seq(&back.ask(json!({"type": "ping"}))), 153);
}

#[test]
fn a_page_that_is_left_may_come_back_and_who_is_done_does_not() {
    let server = Server::start(&[]);
    for (code, resumed) in [(Some(1001_u16), true), (Some(4321), true), (Some(1000), false), (None, false)] {
        let mut raw = Raw::open(&server, "/ws?last_seq=0");
        let welcome = raw.object();
        raw.frame(CLOSE, &code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec()));
        assert_eq!(raw.close_code(), Some(code.unwrap_or(1005)));
        assert_eq!(raw.next(), None);
        assert_eq!(resume(&server, &welcome, 0).welcome["resumed"], resumed, "{code:?}");
    }
}

#[test]
fn who_violates_the_protocol_or_is_idle_can_come_back() {
    let server = Server::start(&["--idle-timeout", "100ms", "--max-message", "100B"]);
    let mut idle = server.client("/ws?last_seq=0&room=r");
    assert_eq!(idle.closed(), 4003);
    assert_eq!(resume(&server, &idle.welcome, 1).welcome["resumed"], true);
    let mut raw = Raw::open(&server, "/ws?last_seq=0&room=r");
    let welcome = raw.object();
    raw.frame(TEXT, &[b'x'; 200]);
    assert_eq!(raw.close_code(), Some(1009));
    assert_eq!(resume(&server, &welcome, 1).welcome["resumed"], true);
}

#[test]
fn after_the_window_its_place_is_gone() {
    let server = Server::start(&["--resume-window", "200ms"]);
    let mut watcher = server.user("watcher");
    watcher.join("r");
    let ann = server.client("/ws?user_id=ann&last_seq=0&room=r");
    watcher.expect("user_joined");
    cut(&ann);
    assert_eq!(watcher.expect("user_left")["user_id"], "ann");
    let mut back = resume(&server, &ann.welcome, 1);
    assert_eq!(back.welcome["resumed"], false);
    assert_ne!(back.welcome["session"], ann.welcome["session"]);
    assert_eq!(seq(&back.ask(json!({"type": "ping"}))), 1, "a new numbering");
}

#[test]
fn others_do_not_see_who_is_away_go() {
    let server = Server::start(&[]);
    let mut watcher = server.user("watcher");
    watcher.join("r");
    let ann = server.client("/ws?user_id=ann&last_seq=0&room=r");
    watcher.expect("user_joined");
    cut(&ann);
    eventually("the end is noticed", || server.health()["active_connections"] == 2);
    assert_eq!(watcher.ask(json!({"type": "get_users", "room": "r"}))["members_count"], 2);
    resume(&server, &ann.welcome, 1).leave("r");
    assert_eq!(watcher.find("user_left")["user_id"], "ann");
}

#[test]
fn nobody_takes_over_what_is_not_its_own() {
    let server = Server::start(&["--shards", "2"]);
    let mut ann = server.client("/ws?user_id=ann&last_seq=0");
    let session = ann.welcome["session"].as_str().expect("a string").to_owned();
    let mut other = session.clone();
    let last = if other.pop() == Some('b') { 'c' } else { 'b' };
    other.push(last);
    for target in [
        format!("/ws?session={other}&last_seq=0"),
        format!("/ws?session={session}x&last_seq=0"),
        "/ws?session=&last_seq=0".to_owned(),
        format!("/ws?session={session}&last_seq=7"),
        format!("/ws?session={session}&last_seq=0&user_id=eve"),
    ] {
        let stranger = server.client(&target);
        assert_eq!(stranger.welcome["resumed"], false, "{target}");
        assert_ne!(stranger.welcome["session"], json!(session));
    }
    assert_eq!(server.client(&format!("/ws?session={session}")).welcome.get("resumed"), None);
    assert_eq!(seq(&ann.ask(json!({"type": "ping"}))), 1, "the claims took nothing over");
    let again = server.client(&format!("/ws?session={session}&last_seq=1&user_id=ann"));
    assert_eq!((again.welcome["resumed"].clone(), ann.closed()), (json!(true), 4008));
}

#[test]
fn what_is_sent_right_behind_the_request_goes_along() {
    let server = Server::start(&["--shards", "4"]);
    for _ in 0..8 {
        let first = server.client("/ws?last_seq=0");
        cut(&first);
        let session = first.welcome["session"].as_str().expect("a string");
        let ping = crate::support::raw::frame(TEXT, br#"{"type":"ping","id":7}"#);
        let mut raw = Raw::open_with(&server, &format!("/ws?session={session}&last_seq=0"), &ping);
        assert_eq!(raw.object()["resumed"], true);
        let pong = raw.object();
        assert_eq!((pong["id"].as_u64(), seq(&pong)), (Some(7), 1));
    }
}

/// A reply that was lost with the connection comes again like anything else.
#[test]
fn a_lost_reply_is_told_again() {
    let server = Server::start(&["--shards", "2"]);
    let mut raw = Raw::open(&server, "/ws?last_seq=0");
    let welcome = raw.object();
    raw.send(&json!({"type": "join_room", "room": "r", "id": 1}));
    raw.send(&json!({"type": "chat_message", "room": "r", "message": "x", "id": 2}));
    let mut watcher = server.user("watcher");
    eventually("it was said", || watcher.ask(json!({"type": "join_room", "room": "r"}))["offset"] == 1);
    raw.reset();
    let mut back = resume(&server, &welcome, 0);
    let ids: Vec<_> =
        take(&mut back, 2).iter().map(|message| (message["id"].clone(), seq(message))).collect();
    assert_eq!(ids, [(json!(1), 1), (json!(2), 2)]);
}

/// A client that does not read is closed as others are, whatever `--slow-consumer` says, and comes back to its session.
#[test]
fn a_slow_client_with_a_session_is_closed_and_comes_back() {
    let server = Server::start(&["--slow-consumer", "drop-oldest", "--send-queue-messages", "50"]);
    let mut speaker = server.user("speaker");
    let mut slow = Raw::open(&server, "/ws?user_id=slow&last_seq=0&room=r");
    let welcome = slow.object();
    assert_eq!(slow.object()["type"], "room_joined");
    speaker.join("r");
    let large = "x".repeat(100_000);
    let mut said = 0;
    while server.health()["active_connections"] != 2 {
        speaker.say("r", large.as_str());
        speaker.expect("chat_message");
        said += 1;
        assert!(said < 1000, "nobody buffers that much");
    }
    speaker.catch_up("r");
    let mut back = resume(&server, &welcome, 1);
    assert_eq!(back.welcome["resumed"], true);
    // How much the kernel has buffered decides whether all of it is still kept.
    let first = back.object();
    let mut next = 3;
    if first["type"] == "dropped" {
        assert_eq!((first["topic"].clone(), first["from"].clone()), (json!("session"), json!(2)));
        next = first["to"].as_u64().expect("a number") + 1;
    } else {
        assert_eq!(seq(&first), 2);
    }
    while next <= said + 2 {
        assert_eq!(seq(&back.object()), next);
        next += 1;
    }
}

#[test]
fn the_oldest_sessions_go_when_too_many_wait() {
    let server = Server::start(&["--shards", "1", "--max-detached", "3"]);
    let clients: Vec<Client> = (0..5).map(|_| server.client("/ws?last_seq=0")).collect();
    for (gone, client) in clients.iter().enumerate() {
        cut(client);
        eventually("its end is noticed", || server.health()["active_connections"] == 5 - gone);
    }
    // Who begins anew and goes would wait, too.
    let back: Vec<Client> = clients.iter().map(|client| resume(&server, &client.welcome, 0)).collect();
    let resumed: Vec<_> = back.iter().map(|client| client.welcome["resumed"].clone()).collect();
    assert_eq!(resumed, [false, false, true, true, true]);
}

#[test]
fn sessions_can_be_off_and_cost_nothing_then() {
    let server = Server::start(&["--resume-window", "off"]);
    let mut client = server.client("/ws?last_seq=0");
    assert_eq!(client.welcome.get("resumed"), None);
    assert_eq!(client.ask(json!({"type": "ping"})).get("seq"), None);
    let mut raw = Raw::open(&server, "/ws?last_seq=0");
    raw.object();
    assert!(matches!(client.settle()[..], []));
}

#[test]
fn a_bad_number_is_refused() {
    let server = Server::start(&[]);
    for number in ["", "-1", "x", "%2B1", "1.5", "99999999999999999999"] {
        let answer = server.exchange(&format!(
            "GET /ws?last_seq={number} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ));
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("last_seq"), "{number}: {answer}");
    }
}

#[test]
fn a_stopping_server_keeps_nobody() {
    let mut server = Server::start(&["--shards", "2"]);
    let away = server.client("/ws?last_seq=0&room=r");
    cut(&away);
    let mut there = server.client("/ws?last_seq=0");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(seq(&there.expect("server_shutdown")), 1);
    assert_eq!(there.closed(), 1001);
    assert!(server.exit_status().success());
    assert!(matches!(there.next(), Got::Ended(_)));
}
