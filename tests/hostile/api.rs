//! The HTTP API asked by those who may not, and by those who lie about what they send.

use std::time::Duration;

use crate::beside::withstands;
use crate::peer::{FIN, PING, PONG, Peer, Said, frame};
use crate::server::Server;

/// What must never be published.
const SMUGGLED: &str = "POST /api/broadcast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
    Content-Length: 22\r\n\r\n{\"message\":\"smuggled\"}";

/// A request for a broadcast with these headers, and what follows it.
fn broadcast(headers: &str, rest: &str) -> String {
    format!("POST /api/broadcast HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{rest}")
}

/// The request is answered once, with this status, and the connection ends; what follows it is never done.
#[track_caller]
fn refused(server: &Server, request: &str, status: u16) {
    let mut peer = Peer::connect(server);
    peer.try_send(format!("{request}{SMUGGLED}"));
    let answer = String::from_utf8(peer.rest()).expect("text");
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer:?} for {request:?}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer:?} for {request:?}");
}

/// Runs an attack on the API with somebody listening who must not hear a word.
fn unheard(flags: &[&str], attack: impl FnOnce(&Server)) {
    withstands(flags, |server| {
        let mut listener = Peer::member(server, "/ws");
        attack(server);
        listener.send(frame(FIN | PING, b"end"));
        assert_eq!(listener.next(), Said::Frame(PONG, b"end".to_vec()), "nothing was published");
    });
}

#[test]
fn bodies_that_can_be_read_in_two_ways() {
    unheard(&[], |server| {
        let json = "Content-Type: application/json\r\n";
        let body = r#"{"message":"x"}"#;
        for length in ["-15", "+15", "15, 15", "0x0f", "", "15 15", "18446744073709551616"] {
            refused(server, &broadcast(&format!("{json}Content-Length: {length}\r\n"), body), 400);
        }
        for lengths in
            ["Content-Length: 15\r\nContent-Length: 16", "Content-Length: 15\r\nTransfer-Encoding: chunked"]
        {
            refused(server, &broadcast(&format!("{json}{lengths}\r\n"), body), 400);
        }
        for coding in ["gzip", "chunked, chunked", "gzip, chunked", "chunked;q=1", "xchunked", "identity"] {
            refused(server, &broadcast(&format!("{json}Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n"), 400);
        }
        for length in ["18446744073709551615", "9999999999", "1052673"] {
            refused(server, &broadcast(&format!("{json}Content-Length: {length}\r\n"), body), 413);
        }
        let chunked = format!("{json}Transfer-Encoding: chunked\r\n");
        for chunks in [
            "f\n{\"message\":\"x\"}\r\n0\r\n\r\n",
            "0x0f\r\n{\"message\":\"x\"}\r\n0\r\n\r\n",
            "-1\r\n",
            "fffffffffffffff1\r\n",
            "f\r\n{\"message\":\"x\"}\n0\r\n\r\n",
            "f\r\n{\"message\":\"x\"}0\r\n\r\n",
            "0\r\n\n",
            "0\r\nA\rB\r\n\r\n",
        ] {
            refused(server, &broadcast(&chunked, chunks), 400);
        }
        refused(server, &broadcast(&chunked, "7fffffff\r\n"), 413);
        refused(server, &broadcast(&chunked, &format!("1;{}\r\n", "x".repeat(5000))), 400);
        refused(server, &broadcast(&chunked, &format!("0\r\n{}", "A: b\r\n".repeat(5000))), 400);
        // Where no body belongs, none is read over.
        refused(server, "GET /api/rooms HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n", 413);
        refused(
            server,
            "DELETE /api/connections/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
            413,
        );
    });
}

/// All that a page from anywhere can make the browser of this machine send, with and without its author's DNS.
#[test]
fn pages_that_use_the_browser_of_this_machine() {
    let body = r#"{"message":"csrf"}"#;
    let length = format!("Content-Length: {}\r\n", body.len());
    unheard(&[], |server| {
        for kind in [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain",
            "text/plain;application/json",
        ] {
            refused(server, &broadcast(&format!("Content-Type: {kind}\r\n{length}"), body), 415);
        }
        refused(server, &broadcast(&length, body), 415);
        let json = format!("Content-Type: application/json\r\n{length}");
        for header in [
            "Origin: https://evil.example",
            "Origin: null",
            "Origin: http://localhost:8080",
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Site: same-site",
            "X-Forwarded-For: 127.0.0.1",
            "Connection: upgrade",
        ] {
            refused(server, &broadcast(&format!("{header}\r\n{json}"), body), 403);
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example:8080", "localhost.evil.example", "0.0.0.0:8080", ""]
        {
            let request = broadcast(&json, body).replacen("Host: localhost", &format!("Host: {host}"), 1);
            refused(server, &request, 403);
        }
        let absolute = broadcast(&json, body).replacen("POST ", "POST http://evil.example", 1);
        refused(server, &absolute, 403);
        refused(server, &broadcast(&json, body).replacen("HTTP/1.1", "HTTP/1.0", 1), 403);
        // A preflight is answered, but not with leave.
        let mut peer = Peer::connect(server);
        peer.send(
            "OPTIONS /api/broadcast HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\
             Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: content-type\r\n\r\n",
        );
        let answer = String::from_utf8(peer.rest()).expect("text").to_lowercase();
        assert!(answer.starts_with("http/1.1 403 ") && !answer.contains("access-control"), "{answer}");
    });
}

#[test]
fn bodies_that_never_come() {
    unheard(&["--handshake-timeout", "1s"], |server| {
        let head = broadcast("Content-Type: application/json\r\nContent-Length: 1000000\r\n", "{");
        let mut peers: Vec<Peer> = (0..200).map(|_| Peer::connect(server)).collect();
        peers.iter_mut().for_each(|peer| peer.send(&head));
        for peer in &mut peers {
            let answer = String::from_utf8(peer.rest()).expect("text");
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        }
        assert!(server.peak_growth_mib() < 20, "{} MiB", server.peak_growth_mib());
    });
}

/// Everything that is dear, in a row, by many who read nothing and go when it suits them.
#[test]
fn crowds_that_ask_and_do_not_listen() {
    let questions = [
        "/api/rooms?limit=1000",
        "/api/connections?limit=1000",
        "/api/rooms/r/history?limit=1000",
        "/api/nodes",
    ];
    let questions: String =
        questions.iter().map(|path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).collect();
    let batch =
        format!("[{}]", vec![r#"{"topic":"room:r","message":"xxxxxxxxxxxxxxxxxxxxxxxx"}"#; 100].join(","));
    let batch = format!(
        "POST /api/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{batch}",
        batch.len()
    );
    withstands(&[], |server| {
        let mut peers: Vec<Peer> = (0..100).map(|_| Peer::narrow(server)).collect();
        let row = (questions.clone() + &batch).repeat(20);
        for peer in &mut peers {
            peer.push(row.as_bytes(), Duration::from_millis(20));
        }
        assert!(server.peak_growth_mib() < 150, "{} MiB", server.peak_growth_mib());
        for (number, peer) in peers.into_iter().enumerate() {
            if number % 2 == 0 {
                peer.reset();
            }
        }
    });
}
