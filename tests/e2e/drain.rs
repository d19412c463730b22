//! Clients are sent away at a pace, newcomers are told so, and the process stays if it is to stay.

use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::json;

use crate::metrics::scrape;
use crate::support::{Client, Got, Server, eventually};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn get(server: &Server, path: &str) -> String {
    server.exchange(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

/// What `roomcast drain` says to a server at this address.
fn command(address: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.env_clear().args(["drain", "--listen", address]).output().expect("the program runs")
}

/// Those of the clients that are told to go, in the order in which that shows.
fn gone(clients: Vec<Client>) -> (Vec<u64>, Vec<Client>) {
    let (mut delays, mut stay) = (Vec::new(), Vec::new());
    for mut client in clients {
        client.send(&json!({"type": "ping"}));
        let object = client.object();
        if object["type"] == "server_shutdown" {
            delays.push(object["reconnect_after_ms"].as_u64().expect("a number"));
            while !matches!(client.next(), Got::Ended(_)) {}
        } else {
            assert_eq!(object["type"], "pong");
            stay.push(client);
        }
    }
    (delays, stay)
}

#[test]
fn a_drain_is_paced_and_the_process_stays() {
    let server = Server::start(&["--drain-window", "1h"]);
    let clients = server.users(20);
    assert!(get(&server, "/ready").starts_with("HTTP/1.1 200 "));
    server.signal(Signal::USR2);
    eventually("readiness goes", || {
        let ready = get(&server, "/ready");
        ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("{\"status\":\"draining\"}\n")
    });
    eventually("both shards know", || scrape(&server)["roomcast_draining"] == 2.0);
    // Each shard sends one away at once, and the next after some minutes.
    let (delays, mut stay) = gone(clients);
    assert_eq!((delays.len(), stay.len()), (2, 18));
    let refused = server.exchange(UPGRADE);
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("\r\nRetry-After: "), "{refused}");
    assert!(get(&server, "/health").starts_with("HTTP/1.1 200 "), "whatever is no client is served");
    for client in &mut stay {
        client.join("r");
    }
    stay[0].say("r", "still here");
    assert_eq!(stay[17].find("chat_message")["message"], "still here");
    let found = scrape(&server);
    assert_eq!(found["roomcast_closes_total{by=\"server\",code=\"1001\"}"], 2.0);
    assert!(found["roomcast_handshakes_total{outcome=\"draining\"}"] >= 1.0);
}

#[test]
fn the_command_drains_a_server_that_goes_on_running() {
    let mut server = Server::start(&["--drain-window", "100ms", "--reconnect-window", "1h"]);
    let mut clients = server.users(30);
    let Output { status, stderr, .. } = command(&server.address.to_string());
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let delays = clients.iter_mut().map(|client| {
        let delay = client.expect("server_shutdown")["reconnect_after_ms"].as_u64().expect("a number");
        assert_eq!(client.closed(), 1001);
        delay
    });
    let mut delays: Vec<u64> = delays.collect();
    delays.sort_unstable();
    delays.dedup();
    assert!(delays.len() > 27, "each has its own: {delays:?}");
    assert!(get(&server, "/health").starts_with("HTTP/1.1 200 "));
    assert!(command(&server.address.to_string()).status.success(), "and again");
    server.signal(Signal::TERM);
    assert_eq!(server.exit_status().code(), Some(0));
}

#[test]
fn the_command_says_what_to_do_where_it_cannot() {
    let server = Server::start(&["--no-api"]);
    let Output { status, stderr, .. } = command(&server.address.to_string());
    let text = String::from_utf8(stderr).expect("UTF-8");
    assert!(status.code() == Some(2) && text.lines().count() == 1 && text.contains("SIGUSR2"), "{text}");
    let address = server.address.to_string();
    drop(server);
    let Output { status, stderr, .. } = command(&address);
    let text = String::from_utf8(stderr).expect("UTF-8");
    assert!(status.code() == Some(2) && text.contains("no server answers"), "{text}");
}

/// Threat 64: until the process is gone, newcomers are told to try again, and do not just fail.
#[test]
fn newcomers_of_a_server_that_ends_are_told_so() {
    for shards in ["1", "2"] {
        let args = ["--drain-window", "1h", "--drain-timeout", "1h", "--shards", shards];
        let mut server = Server::start(&args);
        let clients = server.users(10);
        server.signal(Signal::TERM);
        for path in ["/ready", "/ws", "/health"] {
            eventually("newcomers are refused", || {
                let answer = get(&server, path);
                answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: ")
            });
        }
        let (delays, mut stay) = gone(clients);
        assert!(!delays.is_empty() && stay.len() >= 8, "{delays:?}");
        stay[0].join("r");
        server.signal(Signal::TERM);
        assert_eq!(server.exit_status().code(), Some(1));
    }
}
