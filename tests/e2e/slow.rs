//! Who does not read: loses what the policy says and is told exactly what, and nobody else notices.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::raw::{PING, PONG, Raw, TEXT, frame};
use crate::support::{Client, Server, offset};

/// Longer than what the kernel buffers for one connection, in messages of [`MESSAGE_BYTES`].
const MESSAGES: u64 = 1000;
const MESSAGE_BYTES: usize = 8 << 10;

fn start(policy: &str) -> Server {
    let queue = ["--max-message", "16KiB", "--send-queue-bytes", "64KiB", "--send-queue-messages", "50"];
    Server::start(
        &[&queue[..], &["--slow-consumer", policy, "--ping-interval", "off", "--close-timeout", "1m"]]
            .concat(),
    )
}

/// Publishes one message; all of `fast` read it, the first of them is its publisher. Each has all of it.
fn publish(fast: &mut [Client], number: u64) {
    fast[0].say("r", format!("{number}{}", ".".repeat(MESSAGE_BYTES)));
    for member in fast {
        assert_eq!(offset(&member.find("chat_message")), number);
    }
}

/// One member that does not read, and three on all shards that do.
fn room(server: &Server) -> (Raw, Vec<Client>) {
    let mut slow = Raw::user(server, "slow");
    slow.join("r");
    let mut fast = server.users(3);
    for member in &mut fast {
        member.join("r");
    }
    (slow, fast)
}

#[test]
fn disconnect_closes_with_4004() {
    let server = start("disconnect");
    let (mut slow, mut fast) = room(&server);
    let mut number = 0;
    // The first of the fast hears of it while it publishes.
    loop {
        number += 1;
        assert!(number < 10 * MESSAGES, "it is never let go");
        publish(&mut fast, number);
        let users = fast[1].ask(json!({"type": "get_users", "room": "r"}));
        if users["members_count"] == 3 {
            break;
        }
    }
    let mut last = 0;
    let code = loop {
        let (opcode, payload) = slow.next().expect("a close frame comes first");
        if opcode != TEXT {
            assert_eq!(opcode, 8);
            break u16::from_be_bytes([payload[0], payload[1]]);
        }
        let object: Value = serde_json::from_slice(&payload).unwrap();
        if object["type"] == "chat_message" {
            assert_eq!(offset(&object), last + 1, "what came was whole and in order");
            last += 1;
        }
    };
    assert_eq!(code, 4004);
    assert!(last < number);
    slow.frame(8, &4004_u16.to_be_bytes());
    assert_eq!(slow.next(), None);
}

/// Many messages that come at once and overrun the queue are one reason to close, not many.
#[test]
fn a_burst_closes_with_4004_as_well() {
    let server = start("disconnect");
    let mut slow: Vec<Raw> = (0..4).map(|number| Raw::user(&server, &format!("slow{number}"))).collect();
    slow.iter_mut().for_each(|slow| slow.join("r"));
    let mut publisher = Raw::user(&server, "publisher");
    publisher.join("r");
    let message = json!({"type": "chat_message", "room": "r", "message": ".".repeat(1000), "echo": false});
    let all = frame(TEXT, message.to_string().as_bytes()).repeat(10_000);
    publisher.bytes(&all);
    // None of them reads before all are let go.
    for _ in &slow {
        while publisher.object()["type"] != "user_left" {}
    }
    for mut slow in slow {
        assert_eq!(slow.close_code(), Some(4004));
    }
}

/// Reads until everything after `seen` up to `last` was delivered or announced as dropped, each exactly once and
/// in order. Returns how many were dropped, and what else came.
fn account(slow: &mut Raw, mut seen: u64, last: u64) -> (u64, Vec<(u8, Vec<u8>)>) {
    let (mut dropped, mut others) = (0, Vec::new());
    while seen < last {
        let (opcode, payload) = slow.next().expect("the connection stays");
        let object: Value = serde_json::from_slice(&payload).unwrap_or_default();
        match object["type"].as_str() {
            Some("chat_message") => {
                assert_eq!(offset(&object), seen + 1);
                seen += 1;
            }
            Some("dropped") if object.get("from").is_some() => {
                assert_eq!((object["topic"].clone(), object["room"].clone()), (json!("room:r"), json!("r")));
                let [from, to] = ["from", "to"].map(|field| object[field].as_u64().expect("an offset"));
                assert!(from == seen + 1 && from <= to, "{object} after {seen}");
                dropped += to - from + 1;
                seen = to;
            }
            _ => others.push((opcode, payload)),
        }
    }
    (dropped, others)
}

fn drops_are_announced(policy: &str) {
    let server = start(policy);
    let (mut slow, mut fast) = room(&server);
    for number in 1..=MESSAGES {
        publish(&mut fast, number);
        // What is its own is never dropped.
        if number == MESSAGES / 2 {
            slow.frame(PING, b"half");
            slow.send(&json!({"type": "ping", "id": "half"}));
        }
    }
    let (dropped, others) = account(&mut slow, 0, MESSAGES);
    assert!(dropped > 0, "the kernel does not hold all of it");
    assert!(others.contains(&(PONG, b"half".to_vec())), "control frames are never dropped");
    let is_pong =
        |payload: &[u8]| serde_json::from_slice(payload).is_ok_and(|object: Value| object["id"] == "half");
    assert!(others.iter().any(|(_, payload)| is_pong(payload)), "answers are never dropped");
    // Now that it reads, nothing is dropped any more.
    for number in MESSAGES + 1..=MESSAGES + 10 {
        publish(&mut fast, number);
    }
    assert_eq!(account(&mut slow, MESSAGES, MESSAGES + 10).0, 0);
    // It can ask for what the room still has of what it lost.
    slow.send(&json!({"type": "get_history", "room": "r", "limit": 2, "before": MESSAGES}));
    let history = slow.object();
    assert_eq!(history["messages"][1]["offset"], MESSAGES - 1);
}

#[test]
fn drop_oldest_announces_what_is_lost() {
    drops_are_announced("drop-oldest");
}

#[test]
fn drop_newest_announces_what_is_lost() {
    drops_are_announced("drop-newest");
}

/// What is not numbered is counted.
#[test]
fn dropped_broadcasts_are_counted() {
    for policy in ["drop-oldest", "drop-newest"] {
        let server = start(policy);
        let (mut slow, mut fast) = room(&server);
        for number in 0..MESSAGES {
            fast[0].ask(json!({"type": "broadcast", "message": [number, ".".repeat(MESSAGE_BYTES)]}));
            for member in &mut fast[1..] {
                assert_eq!(member.find("broadcast")["message"][0], number);
            }
        }
        let (mut next, mut dropped) = (0, 0);
        while next < MESSAGES {
            let object = slow.object();
            match object["type"].as_str() {
                Some("broadcast") => {
                    assert_eq!(object["message"][0], next);
                    next += 1;
                }
                Some("dropped") if object["topic"] == "everyone:" => {
                    assert_eq!((object.get("from"), object.get("room")), (None, None));
                    let events = object["events"].as_u64().unwrap();
                    dropped += events;
                    next += events;
                }
                _ => {}
            }
        }
        assert!(dropped > 0 && next == MESSAGES, "{policy}: {dropped} of {next}");
    }
}

/// A slow member that publishes: the echoes that carry its ids are its own, and are not among what was dropped.
#[test]
fn own_echoes_are_not_announced_as_dropped() {
    for policy in ["drop-oldest", "drop-newest"] {
        let server = start(policy);
        let (mut slow, mut fast) = room(&server);
        let mut number = 0;
        for turn in 0..MESSAGES / 10 {
            for _ in 0..10 {
                number += 1;
                publish(&mut fast, number);
            }
            if turn % 10 == 5 {
                number += 1;
                slow.send(&json!({"type": "chat_message", "room": "r", "message": "mine", "id": turn}));
                for member in &mut fast {
                    assert_eq!(offset(&member.find("chat_message")), number);
                }
            }
        }
        assert!(account(&mut slow, 0, number).0 > 0, "{policy}");
    }
}

/// Asks without end and reads nothing, while others on all shards are served; its requests wait, and so take no memory.
fn requests_wait(args: &[&str], prepare: impl Fn(&mut Client), request: &Value) {
    const MEMORY_KIB_MAX: u64 = 100 << 10;
    /// So much is written only if the server takes it in.
    const FLOOD_BYTES_MAX: u64 = 200 << 20;
    let server = Server::start(args);
    let mut others = server.users(2);
    others[0].join("r");
    prepare(&mut others[0]);
    let mut flooder = Raw::user(&server, "flooder");
    flooder.join("r");
    let written = AtomicU64::new(0);
    let one = frame(TEXT, request.to_string().as_bytes());
    let (many, stream) =
        (one.repeat((64 << 10) / one.len() + 1), flooder.stream().try_clone().expect("a socket"));
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = &stream;
            while written.load(Ordering::Relaxed) < FLOOD_BYTES_MAX {
                let Ok(count) = stream.write(&many) else { return };
                written.fetch_add(count as u64, Ordering::Relaxed);
            }
        });
        let (mut still, mut before) = (0, 0);
        while still < 1000 && before < FLOOD_BYTES_MAX {
            for other in &mut others {
                assert_eq!(other.ask(json!({"type": "ping"}))["type"], "pong");
            }
            let now = written.load(Ordering::Relaxed);
            still = if now == before && now > 0 { still + 1 } else { 0 };
            before = now;
        }
        let most = server.resident_kib_most();
        flooder.shut();
        assert!(before < FLOOD_BYTES_MAX, "it is never stopped");
        assert!(most < MEMORY_KIB_MAX, "{most} KiB");
    });
    // Closing with something unread is a reset.
    drop((flooder, stream));
    others[0].find("user_left");
}

#[test]
fn answers_that_are_not_read_stop_their_asker() {
    requests_wait(&[], |_| {}, &json!({"type": "ping", "id": "x".repeat(200)}));
}

#[test]
fn echoes_that_are_not_read_stop_their_publisher() {
    let args = ["--slow-consumer", "drop-oldest"];
    requests_wait(
        &args,
        |_| {},
        &json!({"type": "chat_message", "room": "r", "message": "x".repeat(1000), "id": 1}),
    );
}

#[test]
fn long_answers_that_are_not_read_stop_their_asker() {
    let fill = |other: &mut Client| {
        for _ in 0..100 {
            other.ask(
                json!({"type": "chat_message", "room": "r", "message": "x".repeat(10_000), "echo": false}),
            );
        }
    };
    requests_wait(&[], fill, &json!({"type": "get_history", "room": "r", "limit": 100}));
    requests_wait(&[], fill, &json!({"type": "join_room", "room": "r", "history": 100}));
}
