//! TLS: everything goes through it as it goes without, in both versions; certificates are read again; and what is not
//! TLS, or not welcome, is told so.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use rustix::process::Signal;
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DEFAULT_VERSIONS, HandshakeKind, ProtocolVersion};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::support::secure::{self, Folder, Stream};
use crate::support::{Server, eventually};

fn next(socket: &mut WebSocket<Stream>) -> Value {
    loop {
        match socket.read().expect("a message") {
            Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
            Message::Ping(_) => {}
            other => panic!("a text message expected: {other:?}"),
        }
    }
}

fn say(socket: &mut WebSocket<Stream>, object: &Value) {
    socket.send(Message::text(object.to_string())).expect("the message goes out");
}

/// The next message of this type.
fn find(socket: &mut WebSocket<Stream>, kind: &str) -> Value {
    loop {
        let object = next(socket);
        if object["type"] == kind {
            return object;
        }
    }
}

#[test]
fn echo_in_both_versions_and_all_sizes() {
    let folder = Folder::new("echo");
    let server = folder.server(&["--max-message", "4MiB"]);
    for (version, spoken) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let config = Arc::new(folder.trust(&[version]));
        let mut socket = secure::websocket(&server, &config, "/echo");
        assert_eq!(socket.get_ref().conn.protocol_version(), Some(spoken));
        assert_eq!(socket.get_ref().conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        for size in [0, 1, 125, 126, 16_370, 16_384, 65_535, 65_536, 300_000, 4 << 20] {
            let sent: Vec<u8> = (0..size).map(|n: u32| (n % 251) as u8).collect();
            socket.send(Message::binary(sent.clone())).unwrap();
            assert!(socket.read().unwrap() == Message::binary(sent), "{size} bytes");
        }
        // Many at once: several frames share a record.
        for n in 0..1000 {
            socket.write(Message::text(n.to_string())).unwrap();
        }
        socket.flush().unwrap();
        for n in 0..1000 {
            assert_eq!(socket.read().unwrap(), Message::text(n.to_string()));
        }
        socket.close(None).unwrap();
        assert!(matches!(socket.read(), Ok(Message::Close(_))));
        assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
        let stream = socket.get_mut();
        assert_eq!(stream.read(&mut [0]).expect("close_notify, then the end"), 0);
    }
}

#[test]
fn members_of_a_room_may_come_with_and_without() {
    let folder = Folder::new("room");
    let socket = folder.text("plain.sock");
    let server = folder.server(&["--listen", &format!("unix:{socket}")]);
    let config = Arc::new(folder.trust(DEFAULT_VERSIONS));
    let mut ann = secure::websocket(&server, &config, "/ws/r?user_id=ann");
    let mut bob = secure::websocket(&server, &config, "/ws/r?user_id=bob");
    find(&mut ann, "room_joined");
    find(&mut bob, "room_joined");
    let stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let (mut eve, _) = tungstenite::client::client("ws://localhost/ws/r?user_id=eve", stream).unwrap();
    find(&mut ann, "user_joined");
    let text = "x".repeat(500_000);
    say(&mut bob, &json!({"type": "chat_message", "room": "r", "message": text}));
    assert_eq!(find(&mut ann, "chat_message")["message"], text);
    loop {
        let message = eve.read().unwrap().into_text().unwrap();
        if message.contains("chat_message") {
            assert!(message.contains(&text));
            break;
        }
    }
    // An end without any goodbye is an end.
    bob.get_ref().sock.shutdown(Shutdown::Both).unwrap();
    assert_eq!(find(&mut ann, "user_left")["user_id"], "bob");
}

#[test]
fn a_session_is_resumed_on_whatever_shard_it_is() {
    let folder = Folder::new("session");
    let server = folder.server(&["--shards", "3"]);
    let config = Arc::new(folder.trust(DEFAULT_VERSIONS));
    let mut socket = secure::websocket(&server, &config, "/ws/r?user_id=ann&last_seq=0");
    let session = next(&mut socket)["session"].as_str().expect("a session").to_owned();
    find(&mut socket, "room_joined");
    let mut seq = 1;
    for round in 0..8 {
        socket.get_ref().sock.shutdown(Shutdown::Both).unwrap();
        let mut bob = secure::websocket(&server, &config, "/ws/r?user_id=bob");
        find(&mut bob, "room_joined");
        say(&mut bob, &json!({"type": "chat_message", "room": "r", "message": round}));
        let target = format!("/ws?session={session}&last_seq={seq}");
        socket = secure::websocket(&server, &config, &target);
        assert_eq!(next(&mut socket)["resumed"], true);
        let missed = find(&mut socket, "chat_message");
        assert_eq!(missed["message"], round);
        seq = missed["seq"].as_u64().unwrap();
    }
}

/// More than all buffers hold: what waits goes through the bounded queue and comes whole, once the peer reads.
#[test]
fn who_reads_late_gets_everything() {
    let folder = Folder::new("late");
    let server = folder.server(&[]);
    let config = Arc::new(folder.trust(DEFAULT_VERSIONS));
    for size in [1000_usize, 1_000_000] {
        let mut socket = secure::websocket(&server, &config, "/echo");
        // With a limit, a client that is full seems to have ended.
        socket.get_mut().conn.set_buffer_limit(None);
        let count = 24_000_000 / size;
        let sent: Vec<Vec<u8>> =
            (0..count).map(|n| (n..n + size).map(|at| at.to_le_bytes()[0]).collect()).collect();
        // Sends until nothing more is taken, reads a little, and so on.
        let stream = socket.get_mut().sock.try_clone().unwrap();
        stream.set_nonblocking(true).unwrap();
        let (mut out, mut back) = (0, 0);
        let mut pending = false;
        while back < count {
            while out < count && !pending {
                pending = match socket.send(Message::binary(sent[out].clone())) {
                    Ok(()) => false,
                    Err(tungstenite::Error::Io(error)) => {
                        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                        true
                    }
                    Err(error) => panic!("{error}"),
                };
                out += 1;
            }
            match socket.read() {
                Ok(message) => {
                    assert!(message == Message::binary(sent[back].clone()), "message {back}");
                    back += 1;
                }
                Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    thread::yield_now();
                }
                Err(error) => panic!("{error}"),
            }
            if pending {
                pending = socket.flush().is_err();
            }
        }
    }
    assert!(server.resident_kib_most() < 100 << 10, "{} KiB", server.resident_kib_most());
}

#[test]
fn requests_are_answered_and_the_end_is_said() {
    let folder = Folder::new("http");
    let server = folder.server(&[]);
    let config = Arc::new(folder.trust(DEFAULT_VERSIONS));
    let page = secure::exchange(&server, &config, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && body.contains("</html>"), "{head}");
    let missing =
        secure::exchange(&server, &config, "BREW /pot HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(missing.starts_with("HTTP/1.1 4"), "{missing}");
}

#[test]
fn who_comes_back_is_spared_half_of_the_handshake() {
    let folder = Folder::new("ticket");
    let server = folder.server(&[]);
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(folder.trust(&[version]));
        for (round, kind) in
            [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed].iter().enumerate()
        {
            let mut socket = secure::websocket(&server, &config, "/echo");
            assert_eq!(socket.get_ref().conn.handshake_kind(), Some(*kind), "{version:?}");
            // Tickets of TLS 1.3 come behind the handshake: with what is read first.
            socket.send(Message::text("hi")).unwrap();
            assert_eq!(socket.read().unwrap(), Message::text("hi"));
            if round == 1 {
                server.signal(Signal::HUP);
            }
        }
    }
}

/// The certificate that the server shows.
fn shown(server: &Server, config: &Arc<ClientConfig>) -> Option<Vec<u8>> {
    let stream = secure::connect(server, config).ok()?;
    Some(stream.conn.peer_certificates()?.first()?.to_vec())
}

#[test]
fn a_new_certificate_counts_for_new_connections_only_and_a_bad_one_for_none() {
    let folder = Folder::new("renew");
    let server = folder.server(&[]);
    // A ticket would spare the server to show what it has.
    let trust = || {
        let mut config = folder.trust(DEFAULT_VERSIONS);
        config.resumption = Resumption::disabled();
        Arc::new(config)
    };
    let old = trust();
    let mut open = secure::websocket(&server, &old, "/echo");
    folder.renew();
    let new = trust();
    assert!(shown(&server, &new).is_none(), "not before the signal");
    server.signal(Signal::HUP);
    eventually("the new certificate is shown", || shown(&server, &new).is_some());
    assert!(shown(&server, &old).is_none());
    let good = shown(&server, &new);
    folder.write("key", "nothing");
    server.signal(Signal::HUP);
    folder.write("cert", "nothing");
    server.signal(Signal::HUP);
    for _ in 0..20 {
        assert_eq!(shown(&server, &new), good);
    }
    open.send(Message::text("still here")).unwrap();
    assert_eq!(open.read().unwrap(), Message::text("still here"));
}

#[test]
fn with_an_authority_for_clients_strangers_do_not_get_in() {
    let folder = Folder::new("mutual");
    folder.add_client();
    let server = folder.server(&["--tls-client-ca", &folder.text("ca")]);
    let get = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let known = Arc::new(folder.trust_and_show());
    assert!(secure::exchange(&server, &known, get).starts_with("HTTP/1.1 200 "));
    let refused = |config: ClientConfig| {
        // In TLS 1.3 the client is through before the server has seen its certificate.
        let Ok(mut stream) = secure::connect(&server, &Arc::new(config)) else { return true };
        stream.write_all(get.as_bytes()).is_err() || stream.read_to_string(&mut String::new()).is_err()
    };
    assert!(refused(folder.trust(DEFAULT_VERSIONS)), "who shows none");
    let stranger = Folder::new("mutual-stranger");
    stranger.add_client();
    stranger.write("cert", &std::fs::read_to_string(folder.path("cert")).unwrap());
    assert!(refused(stranger.trust_and_show()), "whom somebody else has sent");
}

#[test]
fn a_request_without_tls_is_told_so() {
    let folder = Folder::new("plain");
    let server = folder.server(&[]);
    let answer = server.exchange("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("https://"), "{answer}");
}

#[test]
fn a_handshake_has_to_come_in_time() {
    let folder = Folder::new("late-hello");
    let server = folder.server(&["--handshake-timeout", "200ms"]);
    let config = Arc::new(folder.trust(DEFAULT_VERSIONS));
    let mut answer = Vec::new();
    server.connect().read_to_end(&mut answer).unwrap();
    let mut half = Vec::new();
    secure::session(&config).write_tls(&mut half).unwrap();
    for cut in [1, half.len() / 2, half.len()] {
        let mut stream = server.connect();
        stream.write_all(&half[..cut]).unwrap();
        // The server's part of the handshake may come, and then the end.
        stream.read_to_end(&mut answer).unwrap();
    }
    // After the handshake the head of a request has to come in the same time.
    let mut stream = secure::connect(&server, &config).unwrap();
    answer.clear();
    stream.read_to_end(&mut answer).expect("the end is said");
    assert!(answer.is_empty());
}

#[test]
fn what_cannot_be_used_ends_the_start_with_one_line() {
    let folder = Folder::new("start");
    let other = Folder::new("start-other");
    let (cert, key, strange) = (folder.text("cert"), folder.text("key"), other.text("key"));
    let nowhere = folder.text("nowhere");
    for (flags, said) in [
        (vec![], "has no certificate; give --tls-cert"),
        (vec!["--tls-cert", &cert], "has no key; give --tls-cert"),
        (vec!["--tls-cert", &cert, "--tls-key", &nowhere], "cannot read "),
        (vec!["--tls-cert", &key, "--tls-key", &key], "there is no certificate in it"),
        (vec!["--tls-cert", &cert, "--tls-key", &strange], "is not that of the first certificate"),
        (
            vec!["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &key],
            "there is no certificate in it",
        ),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
        command.env_clear().args(["--listen", "tls:127.0.0.1:0"]).args(&flags);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(line.contains(said) && line.lines().count() == 1, "{flags:?}: {line}");
    }
}

/// TLS by somebody else: what is on most machines.
#[test]
fn curl_and_openssl_understand_us() {
    let folder = Folder::new("openssl");
    let server = folder.server(&[]);
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--cacert", &folder.text("cert"), "--resolve"]);
    command.arg(format!("localhost:{}:127.0.0.1", server.address.port()));
    command.arg(format!("https://localhost:{}/health", server.address.port()));
    if let Ok(output) = command.output() {
        let answer = String::from_utf8_lossy(&output.stdout);
        assert!(answer.contains("\"status\":\"ok\""), "{answer}{}", String::from_utf8_lossy(&output.stderr));
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-verify_return_error", version, "-servername", "localhost"]);
        command.args(["-connect", &server.address.to_string(), "-CAfile", &folder.text("cert")]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let Ok(mut child) = child else { return };
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let output = child.wait_with_output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}{}", String::from_utf8_lossy(&output.stderr));
        drop(stdin);
    }
}

/// Who is too many is told by an alert, without a handshake.
#[test]
fn a_full_server_ends_the_handshake_with_an_alert() {
    let folder = Folder::new("full");
    let server = folder.server(&["--max-connections", "1"]);
    let _held = server.connect();
    let mut alert = Vec::new();
    eventually("there is no room", || {
        let mut refused = server.connect();
        alert.clear();
        let _ = refused.write_all(&hello(&folder));
        let _ = refused.read_to_end(&mut alert);
        alert.len() == 7
    });
    assert_eq!(alert, [21, 3, 3, 0, 2, 2, 80], "fatal, internal_error");
    // What a client makes of it.
    let mut session = secure::session(&Arc::new(folder.trust(DEFAULT_VERSIONS)));
    session.read_tls(&mut &alert[..]).unwrap();
    let error = session.process_new_packets().unwrap_err();
    assert_eq!(error, rustls::Error::AlertReceived(rustls::AlertDescription::InternalError));
}

/// The first words of a client.
fn hello(folder: &Folder) -> Vec<u8> {
    let mut session = secure::session(&Arc::new(folder.trust(DEFAULT_VERSIONS)));
    let mut hello = Vec::new();
    session.write_tls(&mut hello).expect("a vector takes all");
    hello
}
