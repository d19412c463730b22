//! Every limit that an operator can set holds exactly, and says so in its own way.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::json;

use crate::metrics::{scrape, scrape_by};
use crate::support::raw::{CLOSE, Raw, TEXT};
use crate::support::{Client, Got, Server, eventually};

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
    let server = Server::start(&["--max-connections", "3", "--header", "X-Mine: yes"]);
    let mut clients: Vec<_> = (0..3).map(|_| server.client("/ws")).collect();
    let request = "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n";
    for _ in 0..5 {
        let answer = server.exchange(request);
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("Retry-After:"), "{answer}");
        assert!(answer.contains("\r\nX-Mine: yes\r\n"), "{answer}");
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
                assert!((1..=3000).contains(&retry), "{retry}");
            }
        }
    }
    assert!(pongs >= 5 && refused > 0 && pongs + refused == 50, "{pongs} and {refused}");
    // The connection stays, and is heard again when the time has come.
    let mut retry = 1;
    eventually("the bucket fills again", || {
        std::thread::park_timeout(std::time::Duration::from_millis(retry));
        ann.send(&json!({"type": "ping"}));
        let object = ann.object();
        retry = object["retry_after_ms"].as_u64().unwrap_or(0);
        object["type"] == "pong"
    });
}

/// How often a limit held.
fn hits(server: &Server, limit: &str) -> f64 {
    scrape(server)[&format!("roomcast_limits_hit_total{{limit=\"{limit}\"}}")]
}

#[test]
fn who_does_not_slow_down_is_closed_with_4005_and_its_address_banned() {
    let server = Server::start(&["--rate-limit", "10/s,burst=10", "--ban-time", "1h"]);
    let mut watch = server.connect();
    let mut innocent = server.user("innocent");
    for _ in 0..3 {
        let mut flood = server.client("/ws");
        for _ in 0..1000 {
            flood.send(&json!({"type": "ping"}));
        }
        let mut refused = 0;
        let code = loop {
            match flood.next() {
                Got::Object(object) => refused += u32::from(object["code"] == "rate_limited"),
                Got::Closed(code) => break code,
                Got::Ended(_) => panic!("no word"),
            }
        };
        assert_eq!(code, 4005);
        assert!((99..150).contains(&refused), "{refused} refusals before");
    }
    eventually("the address is refused", || {
        let answer = server.exchange("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        answer.starts_with("HTTP/1.1 429 ") && answer.contains("Retry-After:")
    });
    innocent.join("r");
    let found = scrape_by(&mut watch);
    assert!(found["roomcast_connections_refused_total{reason=\"banned\"}"] >= 1.0);
    assert_eq!(found["roomcast_closes_total{by=\"server\",code=\"4005\"}"], 3.0);
    assert!(found["roomcast_limits_hit_total{limit=\"message_rate\"}"] >= 300.0);
}

#[test]
fn by_default_nobody_on_this_machine_is_banned_but_limited() {
    let server = Server::start(&["--rate-limit", "200/s,burst=400"]);
    for _ in 0..4 {
        let mut flood = server.client("/ws");
        for _ in 0..5000 {
            flood.send(&json!({"type": "ping"}));
        }
        assert_eq!(flood.closed(), 4005);
    }
    server.client("/ws").join("r");
}

#[test]
fn bytes_count_as_messages_do() {
    let server = Server::start(&["--rate-limit", "10/s,burst=20", "--byte-rate", "10KiB"]);
    let mut ann = server.user("ann");
    ann.join("r");
    let long = "x".repeat(15 << 10);
    ann.say("r", long.as_str());
    assert_eq!(ann.expect("chat_message")["message"], long);
    ann.say("r", long.as_str());
    assert_eq!(ann.expect("error")["code"], "rate_limited");
    assert_eq!(hits(&server, "byte_rate"), 1.0);
}

/// Asks for pongs in turns; how many came. Every other answer is a refusal that says when to come back.
fn pongs(clients: &mut [&mut Client], rounds: usize) -> usize {
    let mut pongs = 0;
    for _ in 0..rounds {
        for client in &mut *clients {
            client.send(&json!({"type": "ping"}));
            let object = client.object();
            if object["type"] == "pong" {
                pongs += 1;
            } else {
                assert_eq!(object["code"], "rate_limited");
                assert!(object["retry_after_ms"].as_u64().is_some_and(|wait| wait >= 1), "{object}");
            }
        }
    }
    pongs
}

/// The server has two shards, and gives each newcomer to the one with fewer connections.
#[test]
fn connections_of_one_user_share_its_rate_and_leave_that_of_others_alone() {
    let server = Server::start(&["--user-rate-limit", "1/s,burst=10"]);
    let (mut first, mut second) = (server.user("ann"), server.user("ann"));
    let (mut bob, mut nobody) = (server.user("bob"), server.client("/ws"));
    let heard = pongs(&mut [&mut first, &mut second], 15);
    assert!((10..25).contains(&heard), "{heard} of 30");
    assert!(hits(&server, "user_message_rate") >= 5.0);
    assert_eq!(pongs(&mut [&mut bob], 10), 10, "another user");
    assert_eq!(pongs(&mut [&mut nobody], 100), 100, "who is nobody has no user's rate");
    for _ in 0..1000 {
        first.send(&json!({"type": "ping"}));
    }
    let closed = std::iter::from_fn(|| match first.next() {
        Got::Object(object) => Some(Err(object)),
        Got::Closed(code) => Some(Ok(code)),
        Got::Ended(_) => None,
    });
    assert_eq!(closed.into_iter().find_map(Result::ok), Some(4005));
    // Whoever did not join in is told, too, but stays.
    pongs(&mut [&mut second], 3);
    assert_eq!(hits(&server, "message_rate"), 0.0);
}

#[test]
fn long_messages_of_one_user_count_for_its_bytes() {
    let server = Server::start(&["--user-rate-limit", "10/s,burst=20", "--user-byte-rate", "10KiB"]);
    let (mut first, mut second) = (server.user("ann"), server.user("ann"));
    first.join("r");
    second.join("r");
    let long = "x".repeat(15 << 10);
    first.say("r", long.as_str());
    assert_eq!(second.expect("chat_message")["message"], long);
    second.say("r", long.as_str());
    assert_eq!(second.expect("error")["code"], "rate_limited");
    assert_eq!(hits(&server, "user_byte_rate"), 1.0);
}

#[test]
fn without_a_users_rate_each_connection_has_its_own_only() {
    let server = Server::start(&["--rate-limit", "1/s,burst=10", "--user-rate-limit", "off"]);
    let (mut first, mut second) = (server.user("ann"), server.user("ann"));
    assert_eq!(pongs(&mut [&mut first, &mut second], 10), 20);
    let server = Server::start(&["--rate-limit", "1/s,burst=10"]);
    let mut many: Vec<Client> = (0..4).map(|_| server.user("ann")).collect();
    let heard = pongs(&mut many.iter_mut().collect::<Vec<_>>(), 10);
    assert!(
        (17..35).contains(&heard),
        "{heard} of 40: twice as much as one by default, a portion each ahead"
    );
}

#[test]
fn handshakes_of_one_address() {
    let server = Server::start(&["--handshake-rate", "1/s,burst=5"]);
    let mut watch = server.connect();
    let answers: Vec<String> = (0..9)
        .map(|_| server.exchange("GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
        .collect();
    let served = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 200 ")).count();
    assert!((4..9).contains(&served), "{answers:?}");
    assert!(answers.iter().any(|answer| answer.starts_with("HTTP/1.1 429 ")), "{answers:?}");
    assert!(scrape_by(&mut watch)["roomcast_connections_refused_total{reason=\"handshake_rate\"}"] >= 1.0);
}

/// Threat 54: those who send nothing do not keep out those who do.
#[test]
fn half_open_connections_give_way_to_newcomers() {
    let server = Server::start(&["--max-half-open", "4", "--shards", "1"]);
    let mut silent: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    server.client("/ws").join("r");
    for (number, stream) in silent.iter_mut().take(16).enumerate() {
        assert_eq!(stream.read(&mut [0]).expect("an end"), 0, "{number} was the oldest");
    }
    assert!(hits(&server, "half_open") >= 17.0);
    let mut last = silent.pop().expect("twenty of them");
    last.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it is open");
    let mut answer = String::new();
    last.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "the newest stay");
}

/// Threat 27: half messages of all connections are under a budget of their own.
#[test]
fn half_received_messages_of_all_connections() {
    let server = Server::start(&["--partial-memory", "1MiB", "--max-message", "64KiB", "--shards", "1"]);
    let mut innocent = server.user("innocent");
    innocent.join("r");
    let half = &crate::support::raw::frame(TEXT, &[b'x'; 60 << 10])[..40 << 10];
    let mut parked: Vec<Raw> = (0..60).map(|_| Raw::open(&server, "/echo")).collect();
    for raw in &mut parked {
        raw.bytes(half);
    }
    eventually("some are closed", || hits(&server, "partial_memory") >= 30.0);
    let found = scrape(&server);
    assert!(found["roomcast_memory_bytes{part=\"partial_messages\"}"] <= f64::from(1 << 20));
    innocent.say("r", "x".repeat(60 << 10));
    innocent.expect("chat_message");
    let codes = parked.iter_mut().filter_map(|raw| {
        // Whoever was not closed ends in the middle of a message, without a word.
        let _ = raw.stream().shutdown(Shutdown::Write);
        raw.close_code()
    });
    let codes: Vec<u16> = codes.collect();
    assert!(codes.len() >= 30 && codes.iter().all(|code| *code == 1013), "{codes:?}");
}

#[test]
fn fragments_of_one_message() {
    let server = Server::start(&[]);
    for (continuations, code) in [(1023, None), (1024, Some(1008))] {
        let mut raw = Raw::open(&server, "/echo");
        let mut bytes = vec![TEXT, 0x80, 0, 0, 0, 0];
        for _ in 1..continuations {
            bytes.extend([0, 0x80, 0, 0, 0, 0]);
        }
        bytes.extend([0x80, 0x80, 0, 0, 0, 0]);
        raw.bytes(&bytes);
        let (opcode, payload) = raw.next().expect("an answer");
        match code {
            None => assert_eq!((opcode, payload), (TEXT, Vec::new())),
            Some(code) => assert_eq!((opcode, &payload[..2]), (CLOSE, &u16::to_be_bytes(code)[..])),
        }
    }
    assert_eq!(hits(&server, "fragments"), 1.0);
}
