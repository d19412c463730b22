//! Who is still there: pings, heartbeats, and every deadline of a connection.

use std::thread;

use serde_json::{Value, json};

use crate::support::raw::{CLOSE, PING, PONG, Raw, TEXT};
use crate::support::{Got, Server, eventually};

/// Time for the living is long, as this machine may be busy; the dead are found soon enough.
const PATIENT: [&str; 4] = ["--ping-interval", "100ms", "--pong-timeout", "2s"];
const IMPATIENT: [&str; 4] = ["--ping-interval", "100ms", "--pong-timeout", "100ms"];

#[test]
fn a_half_open_peer_is_found_and_leaves_its_rooms() {
    let server = Server::start(&PATIENT);
    let mut watchers = server.users(2);
    for watcher in &mut watchers {
        watcher.join("r");
    }
    let mut dead = Raw::user(&server, "dead");
    dead.join("r");
    thread::scope(|scope| {
        for watcher in &mut watchers {
            scope.spawn(|| {
                assert_eq!(watcher.find("user_left")["user_id"], "dead");
                watcher.settle();
            });
        }
    });
    assert_eq!(dead.next().map(|(opcode, _)| opcode), Some(PING));
    assert_eq!(dead.close_code(), Some(4006));
    assert_eq!(dead.next(), None);
}

#[test]
fn several_pings_may_be_missed_if_so_wanted() {
    for missed in [1, 3] {
        let server = Server::start(&[&IMPATIENT[..], &["--max-missed-pongs", &missed.to_string()]].concat());
        let mut dead = Raw::open(&server, "/echo");
        for _ in 0..missed {
            assert_eq!(dead.next().map(|(opcode, _)| opcode), Some(PING));
        }
        let (opcode, payload) = dead.next().unwrap();
        assert_eq!((opcode, &payload[..2]), (CLOSE, &4006_u16.to_be_bytes()[..]));
    }
}

#[test]
fn a_pong_and_anything_else_is_a_sign_of_life() {
    let server = Server::start(&PATIENT);
    let mut living: Vec<Raw> = (0..4).map(|number| Raw::user(&server, &format!("u{number}"))).collect();
    thread::scope(|scope| {
        for (way, raw) in living.iter_mut().enumerate() {
            scope.spawn(move || {
                let mut pings = 0;
                while pings < 5 {
                    let (opcode, payload) = raw.next().expect("it lives");
                    assert_ne!(opcode, CLOSE);
                    if opcode != PING {
                        continue;
                    }
                    pings += 1;
                    match way {
                        0 => raw.frame(PONG, &payload),
                        1 => raw.frame(PONG, b"nobody asked"),
                        2 => raw.frame(PING, b""),
                        _ => raw.send(&json!({"type": "pong"})),
                    }
                }
            });
        }
    });
}

#[test]
fn the_idle_are_closed_with_4003_and_the_busy_are_not() {
    let server = Server::start(&["--idle-timeout", "2s", "--ping-interval", "50ms"]);
    let mut busy = server.user("busy");
    let mut idle = server.user("idle");
    thread::scope(|scope| {
        // It answers pings, which is life but not use.
        let idle = scope.spawn(|| idle.closed());
        while !idle.is_finished() {
            assert_eq!(busy.ask(json!({"type": "ping"}))["type"], "pong");
        }
        assert_eq!(idle.join().unwrap(), 4003);
    });
    busy.join("r");
}

#[test]
fn a_request_head_has_to_come_in_time() {
    use std::io::{Read, Write};
    let server = Server::start(&["--handshake-timeout", "200ms"]);
    let mut answer = String::new();
    server.connect().read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "", "silence meets silence");
    let mut half = server.connect();
    half.write_all(b"GET /ws HTTP/1.1\r\nHost:").unwrap();
    half.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // Byte by byte is not in time either.
    let mut trickle = server.connect();
    let writer = trickle.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let header = "GET /ws HTTP/1.1\r\nX: ".bytes().chain(std::iter::repeat(b'x'));
            for byte in header {
                if (&writer).write_all(&[byte]).is_err() {
                    break;
                }
                thread::yield_now();
            }
        });
        answer.clear();
        // The answer is a 408, or a 431 where this machine was quick; then comes the end.
        let _ = trickle.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        drop(trickle.shutdown(std::net::Shutdown::Both));
    });
    server.client("/ws").join("r");
}

#[test]
fn a_close_frame_has_to_be_answered_in_time() {
    let args = ["--idle-timeout", "100ms", "--close-timeout", "200ms", "--ping-interval", "off"];
    let server = Server::start(&args);
    let mut raw = Raw::open(&server, "/ws");
    assert_eq!(raw.close_code(), Some(4003));
    assert_eq!(raw.next(), None, "nobody answers");
    // The other way round the server answers, and ends.
    let mut raw = Raw::open(&server, "/echo");
    raw.frame(CLOSE, &4321_u16.to_be_bytes());
    assert_eq!(raw.next(), Some((CLOSE, 4321_u16.to_be_bytes().to_vec())));
    assert_eq!(raw.next(), None);
}

#[test]
fn who_keeps_the_connection_after_the_close_is_cut_off() {
    let server = Server::start(&["--shards", "1"]);
    let mut kept: Vec<Raw> = (0..10).map(|_| Raw::open(&server, "/ws")).collect();
    for raw in &mut kept {
        raw.frame(CLOSE, &[]);
        assert_eq!(raw.close_code(), Some(1005));
        assert_eq!(raw.next(), None, "the server's side has ended");
    }
    eventually("only the one who asks is there", || server.health()["active_connections"] == 1);
}

#[test]
fn heartbeats_are_for_those_who_ask_or_for_all() {
    let server = Server::start(&["--ping-interval", "100ms"]);
    let mut asks = server.client("/ws?heartbeat=json");
    let mut not = server.client("/ws");
    assert_eq!(not.welcome["heartbeat_interval"], json!(0.1));
    for _ in 0..3 {
        assert!(asks.expect("heartbeat")["timestamp"].is_string());
        asks.send(&json!({"type": "pong"}));
    }
    assert_eq!(not.settle(), Vec::<Value>::new());
    let server = Server::start(&["--ping-interval", "100ms", "--heartbeat-json"]);
    server.client("/ws").expect("heartbeat");
    let mut echo = Raw::open(&server, "/echo");
    echo.frame(TEXT, b"x");
    assert_eq!(echo.next(), Some((TEXT, b"x".to_vec())));
    assert_eq!(echo.next().map(|(opcode, _)| opcode), Some(PING), "no heartbeat at the echo");
}

#[test]
fn a_client_that_answers_pings_stays() {
    let server = Server::start(&PATIENT);
    let mut client = server.client("/ws?heartbeat=json");
    for _ in 0..5 {
        assert!(matches!(client.next(), Got::Object(object) if object["type"] == "heartbeat"));
    }
}
