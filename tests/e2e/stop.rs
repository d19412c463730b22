//! The end: every client is told, the process ends in time and with the right status, and the port is free.

use std::collections::BTreeSet;
use std::thread;

use rustix::process::Signal;
use serde_json::json;

use crate::support::raw::Raw;
use crate::support::{Got, Server, eventually, offset};

#[test]
fn every_client_is_told_when_to_come_back() {
    const CLIENTS: usize = 300;
    let mut server = Server::start(&["--shards", "3", "--drain-timeout", "1h"]);
    let mut clients = server.users(CLIENTS);
    clients[0].join("r");
    let mut echo = server.dial("/echo", None);
    server.signal(Signal::TERM);
    let mut delays = Vec::new();
    for client in &mut clients {
        let delay = client.expect("server_shutdown")["reconnect_after_ms"].as_u64().unwrap();
        assert!(delay <= 10_000);
        delays.push(delay);
    }
    // All have their close frame before any answers: reading it is answering it.
    for client in &mut clients {
        assert_eq!(client.closed(), 1001);
    }
    assert_eq!(echo.closed(), 1001);
    assert_eq!(server.exit_status().code(), Some(0));
    let distinct: BTreeSet<_> = delays.iter().collect();
    assert!(distinct.len() > CLIENTS * 9 / 10, "each has its own");
    let in_third = |third: u64| delays.iter().filter(|delay| **delay / 3334 == third).count();
    assert!((0..3).all(|third| in_third(third) > CLIENTS / 6), "spread over the window: {delays:?}");
}

/// Clients that do not answer, and clients that do not even read what fills their buffers.
fn deaf(server: &Server) -> Vec<Raw> {
    let mut deaf: Vec<Raw> = (0..20).map(|number| Raw::user(server, &format!("deaf{number}"))).collect();
    for raw in &mut deaf[..10] {
        raw.join("r");
    }
    let mut publisher = server.user("publisher");
    publisher.join("r");
    // Until one's queue has run over, which shows that the kernel's buffers are full.
    for number in 1.. {
        publisher.say("r", "x".repeat(100_000));
        assert_eq!(offset(&publisher.find("chat_message")), number);
        let users = publisher.ask(json!({"type": "get_users", "room": "r"}));
        if users["members_count"] != 11 {
            break;
        }
    }
    publisher.close();
    deaf
}

#[test]
fn the_deaf_do_not_hold_up_the_end() {
    for args in [
        ["--close-timeout", "300ms", "--drain-timeout", "1h"],
        ["--close-timeout", "1h", "--drain-timeout", "300ms"],
    ] {
        let mut server = Server::start(&args);
        let deaf = deaf(&server);
        let mut client = server.user("ann");
        server.signal(Signal::INT);
        client.expect("server_shutdown");
        assert_eq!(client.closed(), 1001);
        assert_eq!(server.exit_status().code(), Some(0));
        drop(deaf);
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = Server::start(&["--close-timeout", "1h", "--drain-timeout", "1h"]);
    let mut deaf = Raw::user(&server, "deaf");
    server.signal(Signal::TERM);
    assert_eq!(deaf.object()["type"], "server_shutdown");
    eventually("nobody is let in", || {
        server.exchange("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n").starts_with("HTTP/1.1 503 ")
    });
    server.signal(Signal::TERM);
    assert_eq!(server.exit_status().code(), Some(1));
}

#[test]
fn without_clients_the_end_is_immediate() {
    let mut server = Server::start(&["--drain-timeout", "1h"]);
    let _kept_alive = server.connect();
    server.signal(Signal::TERM);
    assert_eq!(server.exit_status().code(), Some(0));
}

#[test]
fn other_signals_do_no_harm() {
    let server = Server::start(&[]);
    let mut client = server.client("/ws");
    for signal in [Signal::HUP, Signal::USR1, Signal::PIPE] {
        server.signal(signal);
        client.join("r");
    }
    drop(client);
    for signal in [Signal::HUP, Signal::USR1, Signal::PIPE] {
        server.signal(signal);
    }
    server.client("/ws").join("r");
}

#[test]
fn the_port_is_free_at_once() {
    let mut server = Server::start(&["--drain-timeout", "1h"]);
    let address = server.address.to_string();
    for _ in 0..2 {
        let mut clients = server.users(20);
        server.signal(Signal::TERM);
        thread::scope(|scope| {
            for client in &mut clients {
                scope.spawn(|| assert!(matches!(client.next(), Got::Object(_))));
            }
        });
        for client in &mut clients {
            assert_eq!(client.closed(), 1001);
        }
        assert!(server.exit_status().success());
        server = Server::start_at(&address, &["--drain-timeout", "1h"]);
    }
    // Also after an end without any goodbye.
    let clients = server.users(20);
    drop(server);
    let server = Server::start_at(&address, &[]);
    drop(clients);
    server.client("/ws").join("r");
}
