//! Behind proxies: whom they speak for counts, if they are trusted, and means nothing otherwise.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::metrics::scrape;
use crate::support::secure::{self, Folder};
use crate::support::{Server, eventually, head};

fn upgrade(headers: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// Asks for a WebSocket in this way; the socket, if it was given.
fn ask(server: &Server, before: &[u8], headers: &str) -> Result<TcpStream, String> {
    let mut stream = server.connect();
    stream.write_all(&[before, upgrade(headers).as_bytes()].concat()).expect("the request goes out");
    let answer = head(&mut stream);
    if answer.starts_with("HTTP/1.1 101 ") { Ok(stream) } else { Err(answer) }
}

fn binary(client: [u8; 4]) -> Vec<u8> {
    let addresses = [&client[..], &[10, 0, 0, 1, 1, 2, 3, 4]].concat();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &addresses].concat()
}

const ONE_EACH: [&str; 2] = ["--max-connections-per-address", "1"];

#[test]
fn clients_of_a_trusted_proxy_count_where_they_are() {
    let server =
        Server::start(&[&ONE_EACH[..], &["--trusted-proxy", "127.0.0.0/8", "--shards", "3"]].concat());
    let ann = ask(&server, b"", "X-Forwarded-For: 1.1.1.1, 192.0.2.7, 127.0.0.9\r\n").unwrap();
    let refused = ask(&server, b"", "X-Forwarded-For: 192.0.2.7\r\n").unwrap_err();
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    // What the client has written itself does not help.
    ask(&server, b"", "X-Forwarded-For: 5.5.5.5, 192.0.2.7\r\n").unwrap_err();
    let bob = ask(&server, b"", "X-Forwarded-For: 192.0.2.8\r\n").unwrap();
    // The proxy itself is not counted.
    let others: Vec<_> = (0..5).map(|_| ask(&server, b"", "").unwrap()).collect();
    drop(ann);
    eventually("her place is free", || ask(&server, b"", "X-Forwarded-For: 192.0.2.7\r\n").is_ok());
    drop((bob, others));
}

/// How many of so many requests in a row got a WebSocket; the others were told to come back later.
fn served(server: &Server, before: &[u8], headers: &str, count: usize) -> usize {
    let answers = (0..count).map(|_| ask(server, before, headers));
    answers
        .filter(|answer| match answer {
            Ok(_) => true,
            Err(head) => {
                assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("Retry-After: "), "{head}");
                false
            }
        })
        .count()
}

#[test]
fn who_comes_too_fast_by_a_proxy_is_told_so_and_the_proxy_is_not() {
    let flags = ["--handshake-rate", "1/s,burst=5", "--trusted-proxy", "127.0.0.1", "--shards", "2"];
    let server = Server::start(&flags);
    let ann = served(&server, b"", "X-Forwarded-For: 192.0.2.7\r\n", 30);
    assert!((5..30).contains(&ann), "{ann} of 30");
    assert_eq!(served(&server, b"", "X-Forwarded-For: 192.0.2.8\r\n", 5), 5, "another client");
    assert_eq!(served(&server, b"", "", 30), 30, "the proxy itself");
    let found = scrape(&server);
    assert_eq!(found["roomcast_connections_refused_total{reason=\"handshake_rate\"}"], (30 - ann) as f64);
    let server = Server::start(&[&flags[..], &["--proxy-protocol"]].concat());
    let ann = served(&server, &binary([192, 0, 2, 7]), "", 30);
    assert!((5..30).contains(&ann), "{ann} of 30");
    assert_eq!(served(&server, &binary([192, 0, 2, 8]), "", 5), 5);
}

/// Sends far too much, and is closed for it.
fn offend(stream: &mut TcpStream) {
    let ping = b"\x81\x8f\0\0\0\0{\"type\":\"ping\"}";
    stream.write_all(&ping.repeat(500)).expect("it is read");
    let mut told = Vec::new();
    let _ = stream.read_to_end(&mut told);
    let end = [0x0f, 0xa5]; // 4005
    assert!(told.windows(4).any(|frame| frame[0] == 0x88 && frame[2..] == end), "closed with 4005");
}

#[test]
fn repeat_offenders_behind_a_proxy_are_banned_and_the_proxy_is_not() {
    let flags = ["--rate-limit", "10/s,burst=10", "--ban-time", "1h", "--trusted-proxy", "127.0.0.1"];
    let server = Server::start(&flags);
    for _ in 0..3 {
        offend(&mut ask(&server, b"", "X-Forwarded-For: 192.0.2.7\r\n").unwrap());
        // Nobody knows whose these are: they are not the proxy's.
        offend(&mut ask(&server, b"", "").unwrap());
    }
    eventually("the client is refused", || {
        ask(&server, b"", "X-Forwarded-For: 192.0.2.7\r\n")
            .is_err_and(|head| head.starts_with("HTTP/1.1 429 "))
    });
    ask(&server, b"", "X-Forwarded-For: 192.0.2.8\r\n").expect("another client");
    ask(&server, b"", "").expect("the proxy itself");
    assert!(scrape(&server)["roomcast_connections_refused_total{reason=\"banned\"}"] >= 1.0);
}

#[test]
fn what_strangers_say_of_others_means_nothing() {
    let server = Server::start(&[&ONE_EACH[..], &["--trusted-proxy", "192.0.2.0/24"]].concat());
    let _ann = ask(&server, b"", "X-Forwarded-For: 192.0.2.7\r\n").unwrap();
    let refused = ask(&server, b"", "X-Forwarded-For: 192.0.2.8\r\n").unwrap_err();
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
}

/// A request in pieces, and frames in one piece with it: both are there when it is known who comes.
#[test]
fn nothing_is_lost_while_it_is_found_out_who_comes() {
    let server = Server::start(&[&ONE_EACH[..], &["--trusted-proxy", "127.0.0.1"]].concat());
    let request = upgrade("X-Forwarded-For: 192.0.2.7\r\n").replace("/ws", "/echo");
    let frame = b"\x81\x82\0\0\0\0hi";
    for cut in [0, 1, 40, request.len() - 1, request.len(), request.len() + 3] {
        let bytes = [request.as_bytes(), frame].concat();
        let mut stream = server.connect();
        stream.write_all(&bytes[..cut]).unwrap();
        stream.write_all(&bytes[cut..]).unwrap();
        assert!(head(&mut stream).starts_with("HTTP/1.1 101 "));
        let mut echo = [0; 4];
        stream.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"\x81\x02hi", "cut at {cut}");
        stream.write_all(b"\x88\x80\0\0\0\0").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        drop(stream);
        eventually("its place is free", || server.health()["active_connections"] == 1);
    }
}

#[test]
fn the_proxy_protocol_in_both_versions_cut_anywhere() {
    let flags = ["--trusted-proxy", "127.0.0.1", "--proxy-protocol"];
    let server = Server::start(&[&ONE_EACH[..], &flags].concat());
    for (n, header) in
        [b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n".to_vec(), binary([192, 0, 2, 8])].iter().enumerate()
    {
        let held = ask(&server, header, "").unwrap();
        let refused = ask(&server, header, "").unwrap_err();
        assert!(refused.starts_with("HTTP/1.1 429 "), "{n}: {refused}");
        drop(held);
        for cut in 0..=header.len() + 2 {
            let bytes =
                [&header[..], b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"].concat();
            eventually("an answer", || {
                let mut stream = server.connect();
                stream.write_all(&bytes[..cut]).unwrap();
                stream.write_all(&bytes[cut..]).unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).unwrap();
                // The last one may still count.
                assert!(
                    answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 429 "),
                    "{answer}"
                );
                answer.starts_with("HTTP/1.1 200 ")
            });
        }
    }
    // A health check of the proxy's own, and a proxy that does not know.
    let checks: Vec<_> = [&b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..], b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN\r\n"]
        .iter()
        .map(|header| ask(&server, header, "").unwrap())
        .collect();
    drop(checks);
    // Without a header nobody is heard.
    let mut answer = Vec::new();
    for bad in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY TCP4 x\r\n", b"\r\n\r\n\0\r\nQUIT\n\x99\0\0\0"] {
        let mut stream = server.connect();
        stream.write_all(bad).unwrap();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{}", answer.escape_ascii());
    }
}

#[test]
fn strangers_cannot_connect_where_proxies_are_expected() {
    let server = Server::start(&["--trusted-proxy", "192.0.2.0/24", "--proxy-protocol"]);
    let mut answer = Vec::new();
    let mut stream = server.connect();
    let _ = stream.write_all(&binary([192, 0, 2, 7]));
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty());
}

#[test]
fn the_header_comes_before_tls_and_another_proxy_may_follow() {
    let folder = Folder::new("proxied");
    let flags = ["--trusted-proxy", "127.0.0.1", "--trusted-proxy", "10.0.0.0/8", "--proxy-protocol"];
    let server = folder.server(&[&ONE_EACH[..], &flags].concat());
    let config = std::sync::Arc::new(folder.trust(rustls::DEFAULT_VERSIONS));
    // The load balancer speaks for the proxy at 10.1.1.1, and that for its clients.
    let open = |client: &str| {
        let mut socket = server.connect();
        socket.write_all(&binary([10, 1, 1, 1])).unwrap();
        let mut session = secure::session(&config);
        while session.is_handshaking() {
            session.complete_io(&mut socket).unwrap();
        }
        let mut stream = rustls::StreamOwned::new(session, socket);
        stream.write_all(upgrade(&format!("X-Forwarded-For: {client}\r\n")).as_bytes()).unwrap();
        let answer = head(&mut stream);
        (answer, stream)
    };
    let (answer, _held) = open("192.0.2.7");
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(open("192.0.2.7").0.starts_with("HTTP/1.1 429 "));
    assert!(open("192.0.2.8").0.starts_with("HTTP/1.1 101 "));
}

/// Whoever comes by a proxy is not of this machine, whatever is said of it.
#[test]
fn the_api_knows_who_is_behind_a_proxy() {
    let server = Server::start(&["--trusted-proxy", "127.0.0.1"]);
    let get = |headers: &str| {
        let host = server.address.port();
        server.exchange(&format!(
            "GET /api/rooms HTTP/1.1\r\nHost: localhost:{host}\r\nConnection: close\r\n{headers}\r\n"
        ))
    };
    assert!(get("").starts_with("HTTP/1.1 200 "), "{}", get(""));
    assert!(get("X-Forwarded-For: 127.0.0.1\r\n").starts_with("HTTP/1.1 403 "));
    let server = Server::start(&["--trusted-proxy", "127.0.0.1", "--proxy-protocol"]);
    let request = "GET /api/rooms HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = server.exchange(&format!("PROXY TCP4 127.9.9.9 127.0.0.1 1 1\r\n{request}"));
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let answer = server.exchange(&format!("PROXY UNKNOWN\r\n{request}"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
