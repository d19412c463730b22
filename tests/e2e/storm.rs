//! All clients of a server lose their connections at once and come back at once, each to what it missed.

use std::io::Write;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::raw::Raw;
use crate::support::{Server, head};

/// As many as there are files to be opened (`ulimit -n`), in rooms of [`ROOM`], where time does not matter.
const SESSIONS_LONG: usize = 19_500;
const SESSIONS: usize = 600;
const ROOM: usize = 20;
/// Publications in each room while nobody is there.
const MISSED: u64 = 5;
/// Threads that bring the clients back.
const CROWDS: usize = 6;

/// Publishes a number in each room.
fn publish(server: &Server, rooms: usize, message: u64) {
    let mut app = server.connect();
    for room in 0..rooms {
        let body = json!({ "message": message }).to_string();
        let length = body.len();
        let request = format!(
            "POST /api/rooms/r{room}/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        app.write_all(request.as_bytes()).expect("the request goes out");
        let head = head(&mut app);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        std::io::Read::read_exact(&mut app, &mut body).expect("a body");
    }
}

#[track_caller]
fn hear(client: &mut Raw, seq: u64, message: u64) {
    let object = client.object();
    let told = (&object["type"], &object["seq"], &object["message"]);
    assert_eq!(told, (&json!("chat_message"), &json!(seq), &json!(message)), "{object}");
}

/// Does something to all at the same time, a part of them in each thread.
fn at_once<T: Send>(number: usize, each: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let share = number.div_ceil(CROWDS);
    thread::scope(|scope| {
        let crowds: Vec<_> = (0..CROWDS)
            .map(|crowd| {
                let each = &each;
                scope.spawn(move || {
                    (crowd * share..number.min((crowd + 1) * share)).map(each).collect::<Vec<_>>()
                })
            })
            .collect();
        crowds.into_iter().flat_map(|crowd| crowd.join().expect("no client failed")).collect()
    })
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it says how long it took")]
fn all_sessions_come_back_at_once_and_miss_nothing() {
    let long = std::env::var_os("ROOMCAST_LONG").is_some();
    let number = if long { SESSIONS_LONG } else { SESSIONS };
    let rooms = number / ROOM;
    let topic = "room:*,presence=off";
    let server = Server::start(&["--topic", topic, "--max-detached", "20000", "--ping-interval", "off"]);
    let opened = at_once(number, |client| {
        let mut raw =
            Raw::open(&server, &format!("/ws?user_id=u{client}&last_seq=0&room=r{}", client % rooms));
        let session = raw.object()["session"].as_str().expect("a session").to_owned();
        assert_eq!(raw.object()["seq"], 1, "the room was joined");
        (raw, session)
    });
    publish(&server, rooms, 0);
    let sessions: Vec<String> = opened
        .into_iter()
        .map(|(mut raw, session)| {
            hear(&mut raw, 2, 0);
            raw.reset();
            session
        })
        .collect();
    for message in 1..=MISSED {
        publish(&server, rooms, message);
    }
    let began = Instant::now();
    let mut back = at_once(number, |client| {
        let mut raw = Raw::open(&server, &format!("/ws?session={}&last_seq=2", sessions[client]));
        let welcome: Value = raw.object();
        assert_eq!(welcome["resumed"], true, "{welcome}");
        (1..=MISSED).for_each(|message| hear(&mut raw, 2 + message, message));
        raw
    });
    println!("{number} sessions came back and had what they missed within {:?}", began.elapsed());
    publish(&server, rooms, MISSED + 1);
    for raw in &mut back {
        hear(raw, 3 + MISSED, MISSED + 1);
    }
}
