//! HTTP on the same port: connections that are kept, requests in a row, upgrades, and the longest message.

use std::io::{Read, Write};
use std::net::Shutdown;

use serde_json::json;

use crate::support::raw::{Raw, TEXT};
use crate::support::{Server, eventually, head};

const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n";

/// Reads answers with bodies of known length; returns status lines and bodies.
fn answers(stream: &mut impl Read, count: usize) -> Vec<(String, String)> {
    let read = |_| {
        let head = head(stream);
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        stream.read_exact(&mut body).expect("a body");
        let status = head.lines().next().expect("a status line").to_owned();
        (status, String::from_utf8(body).expect("UTF-8"))
    };
    (0..count).map(read).collect()
}

#[test]
fn a_connection_is_kept_and_requests_may_come_in_a_row() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    for _ in 0..3 {
        stream.write_all(HEALTH).unwrap();
        assert_eq!(answers(&mut stream, 1)[0].0, "HTTP/1.1 200 OK");
    }
    let requests =
        [HEALTH, b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", HEALTH]
            .concat();
    stream.write_all(&requests).unwrap();
    let answers = answers(&mut stream, 4);
    let statuses: Vec<_> = answers.iter().map(|(status, _)| &status[9..12]).collect();
    assert_eq!(statuses, ["200", "404", "200", "200"]);
    assert!(answers[2].1.contains("<html"));
    // An upgrade may be the last of them.
    stream.write_all(HEALTH).unwrap();
    stream
        .write_all(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    assert_eq!(self::answers(&mut stream, 1)[0].0, "HTTP/1.1 200 OK");
    let mut upgraded = [0; 12];
    stream.read_exact(&mut upgraded).unwrap();
    assert_eq!(&upgraded, b"HTTP/1.1 101");
}

#[test]
fn a_half_closed_request_is_answered() {
    let server = Server::start(&[]);
    for requests in [1, 3] {
        let mut stream = server.connect();
        stream.write_all(&HEALTH.repeat(requests)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(answers(&mut stream, requests).len(), requests);
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn health_counts_connections_and_rooms() {
    let server = Server::start(&["--shards", "3"]);
    let mut clients = server.users(20);
    for (number, client) in clients.iter_mut().enumerate() {
        client.join(&format!("room {}", number % 4));
    }
    // The one who asks is a connection as well.
    let is = |connections: u64, rooms: u64| {
        let health = server.health();
        health["active_connections"] == connections && health["rooms"] == rooms && health["status"] == "ok"
    };
    eventually("20 clients in 4 rooms", || is(21, 4));
    clients.truncate(2);
    eventually("2 clients in 2 rooms", || is(3, 2));
}

#[test]
fn the_first_known_subprotocol_is_chosen() {
    let server = Server::start(&[]);
    let request = |offered: &str| {
        let mut stream = server.connect();
        write!(
            stream,
            "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {offered}\r\n\r\n"
        )
        .unwrap();
        let head = head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: ")).map(str::to_owned)
    };
    for (offered, chosen) in [
        ("roomcast.v1", Some("roomcast.v1")),
        ("chat, roomcast.v1", Some("chat")),
        ("mqtt, roomcast.v1, chat", Some("roomcast.v1")),
        ("mqtt", None),
    ] {
        assert_eq!(request(offered).as_deref(), chosen, "{offered}");
    }
    assert_eq!(server.dial("/ws", Some("roomcast.v1")).subprotocol.as_deref(), Some("roomcast.v1"));
}

#[test]
fn the_longest_message_goes_through_and_one_byte_more_does_not() {
    const LONGEST: usize = 1 << 20;
    let server = Server::start(&[]);
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    ann.join("r");
    bob.join("r");
    let frame = r#"{"type":"chat_message","room":"r","message":""}"#.len();
    for length in [LONGEST - 1, LONGEST] {
        let message = "x".repeat(length - frame);
        let text = format!(r#"{{"type":"chat_message","room":"r","message":"{message}"}}"#);
        assert_eq!(text.len(), length);
        ann.send_text(text);
        for member in [&mut ann, &mut bob] {
            assert!(member.find("chat_message")["message"] == message.as_str());
        }
    }
    let fragmented = |total: usize| {
        let raw = Raw::open(&server, "/echo");
        let mut bytes = Vec::new();
        for (number, piece) in vec![b'x'; total].chunks(100_000).enumerate() {
            let opcode = if number == 0 { TEXT } else { 0 };
            let mut frame = crate::support::raw::frame(opcode, piece);
            frame[0] &= 0x7f;
            bytes.extend_from_slice(&frame);
        }
        bytes.extend_from_slice(&crate::support::raw::frame(0, b""));
        // The rest may meet a connection that is closed already.
        let _ = raw.stream().write_all(&bytes);
        raw
    };
    assert_eq!(
        fragmented(LONGEST).next().map(|(opcode, payload)| (opcode, payload.len())),
        Some((TEXT, LONGEST))
    );
    assert_eq!(fragmented(LONGEST + 1).close_code(), Some(1009));
    ann.send(&json!({"type": "chat_message", "room": "r", "message": "x".repeat(LONGEST + 1 - frame)}));
    assert_eq!(ann.closed(), 1009);
    assert_eq!(bob.find("user_left")["user_id"], "ann");
}
