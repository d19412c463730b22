//! Catalogue 63–67: descriptors, signals, and the end of the process.

use std::time::Duration;

use rustix::process::Signal;

use crate::beside::{Beside, newcomer_is_served, withstands};
use crate::peer::{BINARY, FIN, PING, Peer, Said, TEXT, close, frame, text, upgrade};
use crate::server::{Server, eventually};

/// Bun and libuv spun at the limit; CPython's asyncio took half a core.
#[test]
fn c63_more_clients_than_descriptors() {
    let server = Server::start_with_descriptors(256, &["--max-connections", "100000"]);
    let beside = Beside::start(&server);
    let mut clients: Vec<Peer> = Vec::new();
    for _ in 0..400 {
        let mut peer = Peer::connect(&server);
        peer.send(upgrade("/echo"));
        clients.push(peer);
    }
    // Those who came first are served; of the others each is refused, or waits in the kernel.
    for peer in &mut clients[..150] {
        peer.switched();
        peer.send(frame(FIN | BINARY, b"old"));
        peer.expect_echo(BINARY, b"old");
    }
    beside.stop();
    server.comes_to_rest();
    assert!(server.open_descriptors() <= 256);
    for peer in &mut clients[..150] {
        peer.send(frame(FIN | BINARY, b"still"));
        peer.expect_echo(BINARY, b"still");
    }
    drop(clients);
    newcomer_is_served(&server);
    server.forgets_everybody();
    server.end_content();
}

/// One more than allowed is told why, and that leaves no trace (b10: a socket for each refusal).
#[test]
fn c63_more_clients_than_allowed() {
    withstands(&["--max-connections", "10"], |server| {
        let held: Vec<Peer> = (0..8).map(|_| Peer::open(server, "/echo")).collect();
        for _ in 0..200 {
            let mut peer = Peer::connect(server);
            peer.try_send(upgrade("/echo"));
            assert_eq!(peer.answer().map(|answer| answer.status), Some(503));
        }
        drop(held);
        eventually("there is room again", || {
            let mut peer = Peer::connect(server);
            peer.send(upgrade("/echo"));
            peer.answer().is_some_and(|answer| answer.status == 101)
        });
        eventually("there is room for three", || {
            let mut peers = [(); 3].map(|()| Peer::connect(server));
            peers.iter_mut().all(|peer| {
                peer.send(upgrade("/echo"));
                peer.answer().is_some_and(|answer| answer.status == 101)
            })
        });
    });
}

#[test]
fn c64_a_drain() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start(&["--reconnect-window", "3s"]);
        let mut clients: Vec<Peer> = (0..100).map(|_| Peer::member(&server, "/ws")).collect();
        let mut echo = Peer::open(&server, "/echo");
        let mut silent = Peer::connect(&server);
        server.signal(signal);
        let mut delays = Vec::new();
        for peer in &mut clients {
            let shutdown = peer.object("server_shutdown");
            delays.push(shutdown["reconnect_after_ms"].as_u64().expect("a number"));
            let Said::Frame(_, payload) = peer.next() else { panic!("a close frame") };
            assert_eq!(payload[..2], 1001_u16.to_be_bytes());
            peer.send(close(1001, b""));
            assert_eq!(peer.next(), Said::End);
        }
        delays.sort_unstable();
        delays.dedup();
        assert!(delays.len() > 50 && delays.iter().all(|delay| *delay <= 3000), "{delays:?}");
        echo.send(close(1001, b""));
        assert_eq!(echo.close_code_at_end(), Some(1001));
        // Nothing, or if the signal was seen before the connection, why.
        let rest = silent.rest();
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 503 "), "{rest:?}");
        let address = server.address;
        let (status, log) = server.end();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(std::net::TcpStream::connect(address).is_err(), "newcomers are refused");
    }
}

/// Found here: an answer that was under way between shards came after the close frame.
#[test]
fn c64_a_drain_in_the_middle_of_questions() {
    let server = Server::start(&["--shards", "4", "--close-timeout", "500ms"]);
    let mut clients: Vec<Peer> = (0..40).map(|_| Peer::member(&server, "/ws")).collect();
    let questions = text(r#"{"type":"get_stats"}"#).repeat(200);
    for (number, peer) in clients.iter_mut().enumerate() {
        // Some questions are there when the signal comes, some come with it.
        if number == 20 {
            server.signal(Signal::TERM);
        }
        peer.try_send(&questions);
    }
    for peer in &mut clients {
        // Fails if anything follows the close frame.
        assert_eq!(peer.close_code_at_end(), Some(1001));
    }
    let (status, log) = server.end();
    assert_eq!(status.code(), Some(0), "{log}");
}

/// Clients that neither read nor answer do not keep it.
#[test]
fn c64_a_drain_with_the_stuck_and_the_vanished() {
    let flags = ["--drain-timeout", "20s", "--close-timeout", "500ms"];
    let server = Server::start(&flags);
    let mute: Vec<Peer> = (0..20).map(|_| Peer::member(&server, "/ws/stuck?user_id=x")).collect();
    let mut stuck: Vec<Peer> = (0..5).map(|_| Peer::narrow(&server)).collect();
    for peer in &mut stuck {
        peer.upgrade("/echo");
        peer.push(&frame(FIN | BINARY, &[7; 10_000]).repeat(1000), Duration::from_millis(100));
    }
    let mut half = Peer::connect(&server);
    half.send("GET /echo HT");
    server.signal(Signal::TERM);
    let (status, log) = server.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("drain timeout"), "the close timeout was enough: {log}");
    drop((mute, stuck, half));
}

#[test]
fn c64_the_drain_timeout_is_the_last_word() {
    let server = Server::start(&["--drain-timeout", "200ms", "--close-timeout", "1h"]);
    let mute: Vec<Peer> = (0..5).map(|_| Peer::member(&server, "/ws")).collect();
    server.signal(Signal::TERM);
    let (status, log) = server.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("drain timeout"), "{log}");
    drop(mute);
}

#[test]
fn c64_a_second_signal() {
    let server = Server::start(&["--drain-timeout", "1h", "--close-timeout", "1h"]);
    let mut peer = Peer::member(&server, "/ws");
    server.signal(Signal::TERM);
    peer.object("server_shutdown");
    server.signal(Signal::TERM);
    let (status, log) = server.end();
    assert_eq!(status.code(), Some(1), "{log}");
}

#[test]
fn c65_signals_without_effect() {
    withstands(&["--log-level", "debug"], |server| {
        for signal in [Signal::HUP, Signal::PIPE, Signal::USR1] {
            for _ in 0..10 {
                server.signal(signal);
            }
            newcomer_is_served(server);
        }
    });
}

/// The port is free again at once, although a hundred connections were cut.
#[test]
fn c66_killed_and_started_again() {
    let server = Server::start(&[]);
    let mut clients: Vec<Peer> = (0..100).map(|_| Peer::member(&server, "/ws")).collect();
    let address = server.address.to_string();
    server.signal(Signal::KILL);
    for peer in &mut clients {
        assert_eq!(peer.next(), Said::End);
    }
    let (status, _) = server.end();
    assert_eq!(status.code(), None);
    let again = Server::start(&["--listen", &address]);
    newcomer_is_served(&again);
    again.end_content();
}

#[test]
fn c67_unknown_options() {
    for flag in ["--unknown", "--listen=nonsense", "--shards=0", "--max-message=-1", "--\u{1b}[31m"] {
        let output =
            std::process::Command::new(env!("CARGO_BIN_EXE_roomcast")).env_clear().arg(flag).output();
        let output = output.expect("a process");
        assert_eq!(output.status.code(), Some(2), "{flag}");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(said.starts_with("roomcast: error: ") && said.lines().count() == 1, "{said}");
        assert!(!said.contains('\u{1b}') && output.stdout.is_empty(), "{said}");
    }
}

/// Whoever watches the log can close it; the service goes on.
#[test]
fn c65_nobody_reads_standard_output() {
    withstands(&[], |server| {
        let mut peer = Peer::open(server, "/echo");
        peer.send(frame(FIN | PING, b"a"));
        peer.send(frame(FIN | TEXT, b"b"));
        assert!(matches!(peer.next(), Said::Frame(..)));
    });
}
