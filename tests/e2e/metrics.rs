//! `/metrics`: who may read it, what it counts, and that nothing that a client sends becomes a label.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use crate::support::{Server, eventually, head};

/// An answer to `GET /metrics` with these headers, head and body.
fn ask(server: &Server, method: &str, headers: &str) -> (String, String) {
    let request = format!("{method} /metrics HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    let answer = server.exchange(&request);
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    (head.to_owned(), body.to_owned())
}

/// All series with their values.
pub(crate) fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let (head, body) = ask(server, "GET", "Host: localhost\r\n");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    series(&body)
}

/// The same by a connection that is open, for when no new one is let in.
pub(crate) fn scrape_by(stream: &mut TcpStream) -> BTreeMap<String, f64> {
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("the request goes out");
    let head = head(stream);
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    stream.read_exact(&mut body).expect("a body");
    series(&String::from_utf8(body).expect("text"))
}

fn series(body: &str) -> BTreeMap<String, f64> {
    let series = body.lines().filter(|line| !line.starts_with('#'));
    series
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn what_happens_is_counted_on_all_shards() {
    let server = Server::start(&[]);
    let mut users = server.users(4);
    for user in &mut users {
        user.join("r");
    }
    for number in 0..10 {
        users[0].say("r", number);
    }
    for user in &mut users {
        user.catch_up("r");
    }
    let _echo = server.dial("/echo", None);
    let found = scrape(&server);
    for (series, value) in [
        ("roomcast_connections{dialect=\"native\",state=\"open\"}", 4.0),
        ("roomcast_connections{dialect=\"echo\",state=\"open\"}", 1.0),
        ("roomcast_connections{dialect=\"http\",state=\"asking\"}", 1.0),
        ("roomcast_handshakes_total{outcome=\"native\"}", 4.0),
        ("roomcast_handshakes_total{outcome=\"echo\"}", 1.0),
        ("roomcast_publications_total", 10.0),
        ("roomcast_topics{kind=\"room\"}", 1.0),
        ("roomcast_rooms", 1.0),
        ("roomcast_build_info{version=\"0.1.0\"}", 1.0),
        ("roomcast_draining", 0.0),
        ("roomcast_send_queue_bytes", 0.0),
    ] {
        assert_eq!(found[series], value, "{series}");
    }
    for (series, least) in [
        ("roomcast_deliveries_total", 40.0),
        ("roomcast_frames_received_total", 18.0),
        ("roomcast_frames_sent_total", 50.0),
        ("roomcast_received_bytes_total", 1_000.0),
        ("roomcast_sent_bytes_total", 2_000.0),
        ("roomcast_memory_bytes{part=\"histories\"}", 1_000.0),
        ("roomcast_turn_seconds_count", 10.0),
        ("process_resident_memory_bytes", 1_000_000.0),
        ("process_open_fds", 10.0),
        ("process_max_fds", 64.0),
        ("process_start_time_seconds", 1_700_000_000.0),
    ] {
        assert!(found[series] >= least, "{series} is {}", found[series]);
    }
    let again = scrape(&server);
    for (series, value) in found.iter().filter(|(series, _)| series.contains("_total")) {
        assert!(again[series] >= *value, "{series} has gone down");
    }
    assert_eq!(again["roomcast_http_answers_total{class=\"2xx\"}"], 1.0, "the first scrape's own");
}

#[test]
fn ends_are_counted_by_code() {
    let server = Server::start(&["--max-connections-per-user", "1"]);
    server.client("/ws").close();
    let _ann = server.user("ann");
    assert_eq!(server.dial("/ws?user_id=ann", None).closed(), 1008);
    drop(server.client("/ws"));
    eventually("all three are counted", || {
        let found = scrape(&server);
        found["roomcast_closes_total{by=\"client\",code=\"1005\"}"] == 1.0
            && found["roomcast_closes_total{by=\"client\",code=\"1006\"}"] == 1.0
            && found["roomcast_closes_total{by=\"server\",code=\"1008\"}"] == 1.0
            && found["roomcast_limits_hit_total{limit=\"user_connections\"}"] == 1.0
    });
}

#[test]
fn the_head_is_that_of_prometheus_and_strangers_get_nothing() {
    let server = Server::start(&[]);
    let (head, body) = ask(&server, "HEAD", "Host: localhost\r\n");
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{head}");
    assert!(head.starts_with("HTTP/1.1 200 ") && body.is_empty());
    for stranger in
        ["Host: evil.example\r\n", "Host: localhost\r\nOrigin: null\r\n", "Host: localhost\r\nVia: x\r\n"]
    {
        let (head, body) = ask(&server, "GET", stranger);
        assert!(head.starts_with("HTTP/1.1 403 ") && !body.contains("roomcast_"), "{stranger}");
    }
    assert!(ask(&server, "POST", "Host: localhost\r\n").0.starts_with("HTTP/1.1 405 "));
    let without = Server::start(&["--no-metrics"]);
    assert!(ask(&without, "GET", "Host: localhost\r\n").0.starts_with("HTTP/1.1 404 "));
}

/// Threat 60, CVE-2022-21698: names and methods that clients choose never become series.
#[test]
fn labels_are_a_closed_set() {
    let server = Server::start(&["--max-rooms-per-connection", "400"]);
    let before: Vec<String> = scrape(&server).into_keys().collect();
    let mut ann = server.client("/ws?user_id=label-ann&username=label-name");
    for number in 0..300 {
        ann.join(&format!("label-{number}"));
    }
    ann.ask(json!({"type": "label-type"}));
    for request in ["LABEL /health", "BREW /label-path", "GET /label-path?label=1"] {
        server.exchange(&format!("{request} HTTP/1.1\r\nHost: label.example\r\nConnection: close\r\n\r\n"));
    }
    let found = scrape(&server);
    assert_eq!(found["roomcast_rooms"], 300.0);
    assert_eq!(found.into_keys().collect::<Vec<_>>(), before);
    assert!(!before.concat().contains("label-"));
}

/// Who wants no echo gets nothing, and a broadcast goes to all others, one with a session among them.
#[test]
fn each_delivery_is_counted_once_and_a_missing_echo_is_none() {
    let server = Server::start(&["--shards", "2"]);
    let mut users = server.users(4);
    users.push(server.client("/ws?user_id=away&last_seq=0"));
    for user in &mut users {
        user.join("r");
    }
    for user in &mut users {
        user.catch_up("r");
    }
    let before = scrape(&server)["roomcast_deliveries_total"];
    for number in 0..10 {
        let message = json!({"type": "chat_message", "room": "r", "message": number, "echo": number < 3});
        let answer = users[0].ask(message);
        assert!(answer["type"] == "ack" || answer["type"] == "chat_message", "{answer}");
    }
    assert_eq!(users[0].ask(json!({"type": "broadcast", "message": "all"}))["type"], "ack");
    let expected = f64::from(3 * 5 + 7 * 4 + 4);
    eventually("all are counted", || scrape(&server)["roomcast_deliveries_total"] - before >= expected);
    assert_eq!(scrape(&server)["roomcast_deliveries_total"] - before, expected);
}

#[test]
fn the_time_of_deliveries_is_sampled() {
    let server = Server::start(&["--shards", "1"]);
    let mut users = server.users(3);
    for user in &mut users {
        user.join("r");
    }
    for number in 0..200 {
        users[1].say("r", number);
    }
    for user in &mut users {
        user.catch_up("r");
    }
    let found = scrape(&server);
    assert_eq!(found["roomcast_publications_total"], 200.0);
    assert!(found["roomcast_delivery_seconds_count"] >= 1.0, "one fan-out of 64 is timed");
    assert!(
        found["roomcast_delivery_seconds_bucket{le=\"+Inf\"}"]
            >= found["roomcast_delivery_seconds_bucket{le=\"0.001\"}"]
    );
}
