//! Binary messages: who gets them, and that a place in the room's order is kept for each that has one.

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::raw::{CLOSE, Raw, TEXT};

const BINARY: u8 = 2;

fn plain(kind: u32, payload: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], payload].concat()
}

fn addressed(kind: u32, room: &str, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(room.len()).expect("a short name");
    [&(kind | 1 << 31).to_be_bytes()[..], &length.to_be_bytes(), room.as_bytes(), payload].concat()
}

fn delivered(kind: u32, room: &str, user: &str, offset: u64, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(user.len()).expect("a short name");
    let head = addressed(kind, room, &[]);
    [&head[..], &length.to_be_bytes(), user.as_bytes(), &offset.to_be_bytes(), payload].concat()
}

impl Raw {
    /// The next message, which has to be binary.
    #[track_caller]
    fn binary(&mut self) -> Vec<u8> {
        let (opcode, payload) = self.next().expect("a frame");
        assert_eq!(opcode, BINARY, "{}", String::from_utf8_lossy(&payload));
        payload
    }

    #[track_caller]
    fn expect_error(&mut self, code: &str) {
        let error = self.object();
        assert_eq!((&error["code"], error.get("id")), (&json!(code), None), "{error}");
    }

    fn ask_to_join(&mut self, room: &str, more: &Value) -> Value {
        let mut join = json!({"type": "join_room", "room": room});
        more.as_object().into_iter().flatten().for_each(|(name, value)| join[name] = value.clone());
        self.send(&join);
        self.object()
    }

    /// Nothing has come up to now.
    #[track_caller]
    fn expect_nothing(&mut self) {
        self.send(&json!({"type": "ping", "id": "now"}));
        assert_eq!(self.object()["id"], "now");
    }
}

/// Two members of room `r`, on different shards.
fn two(server: &Server) -> (Raw, Raw) {
    let (mut ann, mut bob) = (Raw::user(server, "ann"), Raw::user(server, "bob"));
    ann.join("r");
    bob.join("r");
    assert_eq!(ann.object()["type"], "user_joined");
    (ann, bob)
}

#[test]
fn a_plain_message_goes_to_the_others_byte_for_byte() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = two(&server);
    // Not UTF-8, empty, and as long as a message may be.
    for payload in [&[0xff, 0x00, 0xfe][..], b"", &vec![7; (1 << 20) - 4]] {
        for kind in [1, 2, 3, 16, (1 << 31) - 1] {
            ann.frame(BINARY, &plain(kind, payload));
            assert_eq!(bob.binary(), plain(kind, payload));
        }
    }
    ann.expect_nothing();
    // It has no place in the room's numbers.
    ann.send(&json!({"type": "chat_message", "room": "r", "message": 1}));
    assert_eq!(ann.object()["offset"], 1);
    assert_eq!(bob.object()["offset"], 1);
    assert_eq!(
        Raw::user(&server, "cat").ask_to_join("r", &json!({"history": 9}))["messages"][0]["offset"],
        1
    );
}

#[test]
fn a_plain_message_needs_one_room() {
    let server = Server::start(&[]);
    let mut ann = Raw::user(&server, "ann");
    ann.frame(BINARY, &plain(1, b"x"));
    ann.expect_error("room_required");
    ann.join("r");
    ann.frame(BINARY, &plain(1, b"alone"));
    // Channels are no rooms.
    ann.send(&json!({"type": "subscribe", "channel": "c"}));
    assert_eq!(ann.object()["type"], "subscribed");
    // The answer of the room comes after what was sent to it.
    ann.join("r");
    let mut bob = Raw::user(&server, "bob");
    bob.join("r");
    assert_eq!(ann.object()["type"], "user_joined");
    ann.frame(BINARY, &plain(1, b"x"));
    assert_eq!(bob.binary(), plain(1, b"x"));
    ann.join("s");
    ann.frame(BINARY, &plain(1, b"x"));
    ann.expect_error("room_required");
    ann.send(&json!({"type": "leave_room", "room": "r"}));
    assert_eq!(ann.object()["type"], "room_left");
    ann.frame(BINARY, &plain(1, b"x"));
    ann.expect_nothing();
    assert_eq!(bob.object()["type"], "user_left");
    bob.expect_nothing();
}

#[test]
fn an_addressed_message_is_a_publication() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = two(&server);
    ann.send(&json!({"type": "chat_message", "room": "r", "message": 1}));
    ann.frame(BINARY, &addressed(2, "r", b"\xff\xd8"));
    ann.frame(BINARY, &addressed(1 << 20, "r", b""));
    ann.send(&json!({"type": "chat_message", "room": "r", "message": 4}));
    for member in [&mut ann, &mut bob] {
        assert_eq!(member.object()["offset"], 1);
        assert_eq!(member.binary(), delivered(2, "r", "ann", 2, b"\xff\xd8"));
        assert_eq!(member.binary(), delivered(1 << 20, "r", "ann", 3, b""));
        assert_eq!(member.object()["offset"], 4);
    }
    ann.frame(BINARY, &addressed(2, "elsewhere", b"x"));
    ann.expect_error("not_in_room");
    ann.frame(BINARY, &addressed(2, "", b"x"));
    ann.expect_error("room_required");
}

/// Reads a list of publications and the binary messages that follow it: what came, by offset.
fn publications(client: &mut Raw, answer: &Value) -> Vec<(u64, Result<Value, Vec<u8>>)> {
    let messages = answer["messages"].as_array().expect("a list").clone();
    let place = |message: Value| {
        let offset = message["offset"].as_u64().expect("an offset");
        if message["type"] != "binary" {
            return (offset, Ok(message["message"].clone()));
        }
        let bytes = client.binary();
        assert_eq!(message["bytes"].as_u64(), Some(bytes.len() as u64 - 4 - 2 - 1 - 2 - 3 - 8), "{message}");
        assert_eq!(
            (&message["room"], &message["user_id"], &message["kind"]),
            (&json!("r"), &json!("ann"), &json!(16))
        );
        (offset, Err(bytes))
    };
    messages.into_iter().map(place).collect()
}

/// Complaint: messages are missing, or come twice, after a reconnect.
#[test]
fn what_was_missed_is_recovered_in_order_whatever_it_was() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = two(&server);
    let mut expected = Vec::new();
    for n in 1..=40_u64 {
        if n % 3 == 0 {
            ann.send(&json!({"type": "chat_message", "room": "r", "message": n}));
            expected.push((n, Ok(json!(n))));
        } else {
            let payload = n.to_be_bytes().repeat(usize::try_from(n * 100).expect("small"));
            ann.frame(BINARY, &addressed(16, "r", &payload));
            expected.push((n, Err(delivered(16, "r", "ann", n, &payload))));
        }
        ann.frame(BINARY, &plain(1, b"stale"));
    }
    let mut heard = Vec::new();
    while heard.len() < 40 {
        match bob.next().expect("a frame") {
            (TEXT, text) => {
                let said: Value = serde_json::from_slice(&text).expect("JSON");
                heard.push((said["offset"].as_u64().expect("an offset"), Ok(said["message"].clone())));
            }
            (BINARY, bytes) if bytes == plain(1, b"stale") => {}
            (BINARY, bytes) => heard.push((heard.len() as u64 + 1, Err(bytes))),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(heard, expected, "live");
    let mut cat = Raw::user(&server, "cat");
    let joined = cat.ask_to_join("r", &json!({"history": 100}));
    assert_eq!(publications(&mut cat, &joined), expected, "as history of a join");
    cat.send(&json!({"type": "get_history", "room": "r", "limit": 10, "before": 31}));
    let history = cat.object();
    assert_eq!(publications(&mut cat, &history), expected[20..30], "as history");
    let epoch = &joined["epoch"];
    for since in [0, 7, 39, 40] {
        let mut dan = Raw::user(&server, "dan");
        let joined = dan.ask_to_join("r", &json!({"since": {"offset": since, "epoch": epoch}}));
        assert_eq!(joined["recovered"], true);
        assert_eq!(publications(&mut dan, &joined), expected[since..], "since {since}");
        dan.frame(CLOSE, &1000_u16.to_be_bytes());
        assert_eq!(dan.close_code(), Some(1000), "and nothing comes twice");
    }
}

#[test]
fn what_is_no_message_is_refused_and_goes_to_nobody() {
    let server = Server::start(&["--max-message", "2MiB"]);
    let (mut ann, mut bob) = two(&server);
    let too_long = vec![0; (1 << 20) + 1];
    for bad in [
        vec![],
        vec![0, 0, 0],
        plain(0, b"reserved"),
        plain(4, b"reserved"),
        plain(15, b"reserved"),
        addressed(0, "r", b"reserved"),
        addressed(16, "room", b"")[..9].to_vec(),
        vec![0x80, 0, 0, 16, 0],
        vec![0x80, 0, 0, 16, 0xff, 0xff],
        vec![0x80, 0, 0, 16, 0, 1, 0xff, b'x'],
        plain(1, &too_long),
        addressed(1, "r", &too_long),
    ] {
        ann.frame(BINARY, &bad);
        ann.expect_error("invalid_field");
    }
    ann.frame(BINARY, &plain(1, &too_long[1..]));
    assert_eq!(bob.binary().len(), (1 << 20) + 4, "the first that bob hears of");
    ann.frame(BINARY, &plain(2, &too_long));
    assert_eq!(bob.binary().len(), (1 << 20) + 5, "the bound is that of sound");
}

/// Complaint: binary messages slip past the rate limit.
#[test]
fn binary_messages_count_for_the_rate_limit() {
    let server = Server::start(&["--rate-limit", "1/s,burst=3"]);
    let mut ann = Raw::user(&server, "ann");
    ann.join("r");
    for _ in 0..6 {
        ann.frame(BINARY, &plain(0, b"reserved"));
    }
    let codes: Vec<Value> = (0..6).map(|_| ann.object()["code"].clone()).collect();
    assert_eq!(codes[..2], [json!("invalid_field"), json!("invalid_field")]);
    assert!(codes.contains(&json!("rate_limited")), "{codes:?}");
}
