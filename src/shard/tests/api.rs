//! Requests for the API at one shard of one or two: cut anywhere, late, unanswered, and by those who may not ask.

use std::time::Duration;

use super::*;
use crate::hub::command::Order;
use crate::hub::event::{Stamp, Told};
use crate::shard::conn::Hold;

/// The wheel's tick: so much later than due is on time.
const MS: Duration = Duration::from_millis(1);
const BODY: &str = r#"{"message":"hi"}"#;

/// A request whose body has this length, or is in chunks.
fn head(path: &str, headers: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n")
}

fn post(path: &str) -> Vec<u8> {
    (head(path, &format!("Content-Length: {}\r\n", BODY.len())) + BODY).into_bytes()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

impl Rig {
    fn app(&mut self) -> Key {
        self.shard.handle_open(Peer::Loopback)
    }

    /// All that was written to `key` so far; it is forgotten.
    fn heard(&mut self, key: Key) -> String {
        let written = std::mem::take(&mut self.written);
        let bytes = written.into_iter().filter(|(to, _)| *to == key).flat_map(|(_, bytes)| bytes).collect();
        String::from_utf8(bytes).expect("answers are text")
    }

    /// Turns until nothing is left to do at once.
    fn settle(&mut self) {
        self.turn(&[]);
        while self.shard.is_due() {
            self.turn(&[]);
        }
    }

    /// What this request is answered with.
    #[track_caller]
    fn asked(&mut self, key: Key, request: &[u8]) -> String {
        self.turn(&[(key, request)]);
        self.told(key)
    }

    /// What else it is told, unasked.
    #[track_caller]
    fn told(&mut self, key: Key) -> String {
        self.settle();
        self.heard(key)
    }
}

/// Statuses of answers in a row.
fn statuses(answers: &str) -> Vec<&str> {
    answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect()
}

/// A room that the shard of this number owns.
fn room_of(shard: u16) -> Topic {
    let topics = (0..).map(|n| Topic::new(TopicKind::Room, &n.to_string(), Keys::new(KEYS)));
    topics
        .into_iter()
        .find(|topic| placement::owner(topic.hash(), 2) == ShardId(shard))
        .expect("there is one")
}

#[test]
fn any_cut_gives_the_same_answers() {
    let chunks = "Transfer-Encoding: chunked\r\nIdempotency-Key: k\r\n";
    let chunked =
        head("/api/rooms/r/messages", chunks) + "4;a=b\r\n{\"me\r\nc\r\nssage\":\"hi\"}\r\n0\r\nA: b\r\n\r\n";
    let plain = post("/api/rooms/r/messages");
    let requests =
        [chunked.as_bytes(), &get("/api/rooms/r"), &plain, &get("/health"), chunked.as_bytes()].concat();
    let answers = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut rig = Rig::new(1, Limits::default());
        let key = rig.app();
        for piece in pieces {
            // What is held is left in the socket.
            rig.turn(&[]);
            while !rig.shard.takes_input(key) {
                rig.turn(&[]);
            }
            rig.turn(&[(key, piece)]);
        }
        rig.settle();
        rig.shard.check_rest();
        rig.heard(key)
    };
    let whole = answers(&mut std::iter::once(&requests[..]));
    assert_eq!(statuses(&whole), ["200"; 5], "{whole}");
    assert_eq!(whole.matches(r#""offset":1,"#).count(), 3, "{whole}");
    for cut in 1..requests.len() {
        let (a, b) = requests.split_at(cut);
        assert_eq!(answers(&mut [a, b].into_iter()), whole, "cut at {cut}");
    }
    assert_eq!(answers(&mut requests.chunks(1)), whole, "byte by byte");
}

#[test]
fn strangers_are_refused_before_their_body_is_looked_at() {
    let mut rig = Rig::new(1, Limits::default());
    for request in [post("/api/broadcast"), get("/api/rooms"), get("/api/nowhere"), post("/api/rooms")] {
        let key = rig.shard.handle_open(Peer::Elsewhere);
        let answer = rig.asked(key, &request);
        assert_eq!(statuses(&answer), ["403"], "{answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"));
        assert_eq!(rig.closed.pop(), Some((key, Close::Shutdown)));
    }
    let key = rig.shard.handle_open(Peer::Elsewhere);
    assert_eq!(statuses(&rig.asked(key, &get("/health"))), ["200"], "probes are for everybody");
}

#[test]
fn lengths_are_judged_before_anything_is_kept() {
    let limits = Limits { message_bytes_max: 1000, ..Limits::default() };
    for (length, status) in [("5096", None), ("5097", Some("413")), ("18446744073709551615", Some("413"))] {
        let mut rig = Rig::new(1, limits.clone());
        let key = rig.app();
        let answer =
            rig.asked(key, head("/api/broadcast", &format!("Content-Length: {length}\r\n")).as_bytes());
        assert_eq!(statuses(&answer), Vec::from_iter(status), "{length}: {answer}");
        assert_eq!(rig.closed.is_empty(), status.is_none());
    }
    // A body that is short enough, of a message that is not.
    let mut rig = Rig::new(1, limits);
    let key = rig.app();
    let body = format!(r#"{{"message":"{}"}}"#, "x".repeat(1000));
    let answer = rig.asked(
        key,
        (head("/api/broadcast", &format!("Content-Length: {}\r\n", body.len())) + &body).as_bytes(),
    );
    assert!(statuses(&answer) == ["400"] && answer.contains("--max-message"), "{answer}");
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let mut rig = Rig::new(1, Limits::default());
    let key = rig.app();
    let request = post("/api/broadcast");
    rig.turn(&[(key, &request[..request.len() - 1])]);
    rig.now = rig.now + Limits::default().handshake_timeout + MS;
    assert_eq!(statuses(&rig.told(key)), ["408"]);
    rig.now = rig.now + LINGER + MS;
    rig.turn(&[]);
    assert!(!rig.is_open(key));
}

#[test]
fn a_body_that_ends_early_ends_the_connection() {
    let mut rig = Rig::new(1, Limits::default());
    let key = rig.app();
    let request = [get("/health"), post("/api/broadcast")].concat();
    rig.turn(&[(key, &request[..request.len() - 1])]);
    rig.shard.handle_eof(key);
    rig.turn(&[]);
    assert!(!rig.is_open(key));
    rig.shard.check_rest();
}

/// The first answer of another shard's owner.
fn stamp(topic: &Topic, key: Key, number: u32) -> ToEdge {
    let told = Box::new(Told::Posted(Stamp { offset: 7, epoch: "e".into(), delivered: 0 }));
    let origin = Origin { shard: ShardId(0), conn: key };
    ToEdge::Outcome(Outcome::Told { topic: topic.clone(), origin, number, told })
}

#[test]
fn nothing_is_heard_before_the_answer() {
    let mut rig = Rig::new(2, Limits::default());
    let (key, topic) = (rig.app(), room_of(1));
    let request = post(&format!("/api/rooms/{}/messages", topic.name()));
    assert_eq!(rig.asked(key, &[&request[..], &get("/health")].concat()), "", "the owner was asked");
    let asked = rig.shard.requests_for(ShardId(1)).pop_front().expect("a request");
    assert!(
        matches!(asked.ask, Ask::Order { number: 0, ref order } if matches!(**order, Order::Post { .. }))
    );
    assert!(!rig.shard.takes_input(key));
    rig.shard.handle_edge_mail(stamp(&topic, key, 0));
    rig.settle();
    let answers = rig.heard(key);
    assert_eq!(statuses(&answers), ["200", "200"]);
    assert!(answers.contains(r#""offset":7"#) && rig.shard.takes_input(key));
}

#[test]
fn an_answer_that_comes_too_late_finds_nobody() {
    let mut rig = Rig::new(2, Limits::default());
    let topic = room_of(1);
    let request = post(&format!("/api/rooms/{}/messages", topic.name()));
    let gone = rig.app();
    rig.asked(gone, &request);
    rig.shard.handle_reset(gone);
    rig.turn(&[]);
    let next = rig.app();
    assert_eq!((next.slot, rig.is_open(gone)), (gone.slot, false));
    rig.asked(next, &request[..10]);
    rig.shard.handle_edge_mail(stamp(&topic, gone, 0));
    assert_eq!(rig.told(next), "", "it has not asked yet");

    // And one that does not come at all.
    let patient = rig.app();
    rig.asked(patient, &request);
    rig.now = rig.now + Limits::default().handshake_timeout + MS;
    assert_eq!(statuses(&rig.told(patient)), ["503"]);
    rig.shard.handle_edge_mail(stamp(&topic, patient, 0));
    assert_eq!(rig.told(patient), "");
}

#[test]
fn a_server_that_goes_down_waits_for_answers_a_moment() {
    let mut rig = Rig::new(2, Limits::default());
    let topic = room_of(1);
    let request = post(&format!("/api/rooms/{}/messages", topic.name()));
    let [lucky, late] = [(); 2].map(|()| rig.app());
    rig.asked(lucky, &request);
    rig.asked(late, &request);
    rig.shard.handle_drain(Duration::ZERO, true);
    rig.shard.handle_edge_mail(stamp(&topic, lucky, 0));
    let answer = rig.told(lucky);
    assert!(statuses(&answer) == ["200"] && answer.contains("\r\nConnection: close\r\n"), "{answer}");
    rig.now = rig.now + LINGER + MS;
    assert_eq!(statuses(&rig.told(late)), ["503"]);
    rig.now = rig.now + LINGER + LINGER;
    rig.turn(&[]);
    rig.turn(&[]);
    assert!(rig.shard.is_empty());
}

#[test]
fn a_batch_is_answered_when_all_its_parts_are() {
    let mut rig = Rig::new(2, Limits::default());
    let (key, near, far) = (rig.app(), room_of(0), room_of(1));
    let item = |topic: &Topic| format!(r#"{{"topic":"room:{}","message":1}}"#, topic.name());
    let body = format!("[{},{},7,{}]", item(&far), item(&near), item(&far));
    let request = head("/api/batch", &format!("Content-Length: {}\r\n", body.len())) + &body;
    assert_eq!(rig.asked(key, request.as_bytes()), "");
    let numbers: Vec<u32> = std::iter::from_fn(|| rig.shard.requests_for(ShardId(1)).pop_front())
        .filter_map(|request| match request.ask {
            Ask::Order { number, .. } => Some(number),
            _ => None,
        })
        .collect();
    assert_eq!(numbers, [0, 3], "in their order");
    rig.shard.handle_edge_mail(stamp(&far, key, 3));
    assert_eq!(rig.told(key), "");
    rig.shard.handle_edge_mail(stamp(&far, key, 0));
    let answer = rig.told(key);
    let results: Vec<&str> = answer.split("{\"results\":").nth(1).expect("results").split("},").collect();
    let offsets: Vec<bool> = results.iter().map(|result| result.contains("\"offset\":7")).collect();
    assert_eq!(offsets, [true, false, false, true], "{answer}");
}

/// A question to a shard that has gone deaf is given up, and the rest of the answers with it.
#[test]
fn a_shard_that_does_not_answer_makes_the_answer_unavailable() {
    let mut rig = Rig::new(2, Limits::default());
    let key = rig.app();
    assert_eq!(rig.asked(key, &get("/api/rooms")), "");
    rig.now = rig.now + Duration::from_secs(2) + MS;
    let answer = rig.told(key);
    assert!(statuses(&answer) == ["503"] && answer.contains("\"unavailable\""), "{answer}");
    assert_eq!(statuses(&rig.asked(key, &get("/health"))), ["200"], "the connection goes on");
}

/// Who asks for much and reads nothing is not read from, as clients are not.
#[test]
fn who_does_not_read_answers_is_braked() {
    let mut rig = Rig::new(1, Limits::default());
    let key = rig.app();
    let body = format!(r#"{{"message":"{}"}}"#, "x".repeat(100_000));
    let request = head("/api/rooms/r/messages", &format!("Content-Length: {}\r\n", body.len())) + &body;
    rig.asked(key, request.as_bytes());
    rig.room = 1000;
    rig.turn(&[(key, &get("/api/rooms/r/history").repeat(100))]);
    for _ in 0..20 {
        rig.turn(&[]);
    }
    let conn = rig.shard.conns.get(key).expect("open");
    assert!(conn.hold.has(Hold::OUTBOX), "{:?}", conn.hold);
    assert!(conn.outbox.own_bytes() < 300_000, "{}", conn.outbox.own_bytes());
    rig.room = usize::MAX;
    rig.shard.handle_writable(key);
    for _ in 0..300 {
        rig.turn(&[]);
    }
    assert_eq!(statuses(&rig.heard(key)).len(), 100);
}

#[test]
fn lists_of_clients_go_on_where_they_ended() {
    let mut rig = Rig::new(1, Limits::default());
    let app = rig.app();
    let mut open: Vec<Key> = (0..5).map(|_| rig.open("/ws")).collect();
    rig.open("/echo");
    let page = |rig: &mut Rig, after: &str| {
        let answer = rig.asked(app, &get(&format!("/api/connections?limit=2{after}")));
        let next = answer
            .split("\"next\":\"")
            .nth(1)
            .map(|rest| rest.split('"').next().unwrap_or_default().to_owned());
        (answer.matches("client_id").count(), next)
    };
    let (count, next) = page(&mut rig, "");
    assert_eq!(count, 2);
    // One that was listed goes, and another takes its place: the others are found all the same.
    let gone = open.remove(0);
    rig.shard.handle_reset(gone);
    rig.turn(&[]);
    assert_eq!(rig.open("/ws").slot, gone.slot);
    let (count, next) = page(&mut rig, &format!("&after={}", next.expect("more")));
    assert_eq!(count, 2);
    let (count, next) = page(&mut rig, &format!("&after={}", next.expect("more")));
    assert_eq!((count, next), (1, None));
    let answer = rig.asked(app, &get("/api/connections?after=1.0"));
    assert_eq!(statuses(&answer), ["400"], "there is no such shard");
    assert_eq!(page(&mut rig, "&after=0.4294967295"), (0, None));
}

#[test]
fn ids_of_clients_lead_to_them_and_to_nobody_else() {
    let mut rig = Rig::new(1, Limits::default());
    let key = rig.open("/ws");
    let id = rig.shard.client_id(key);
    assert_eq!(rig.shard.place_of_client(&id), Some((ShardId(0), key)));
    rig.shard.handle_reset(key);
    rig.turn(&[]);
    let again = rig.open("/ws");
    assert!(again.slot == key.slot && rig.shard.client_id(again) != id, "never used again");
    let app = rig.app();
    let delete =
        |id: &str| format!("DELETE /api/connections/{id} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
    assert_eq!(statuses(&rig.asked(app, &delete(&id))), ["404"]);
    assert!(rig.is_open(again));
    let id = rig.shard.client_id(again);
    assert_eq!(statuses(&rig.asked(app, &delete(&id))), ["200"]);
    // One that is no client is found by nobody.
    let id = rig.shard.client_id(app);
    assert_eq!(statuses(&rig.asked(app, &delete(&id))), ["404"]);
}
