//! Who comes in, and until when, and what is signed: the whole server, with tokens minted here.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roomcast::access::token::mint;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::raw::{self, Raw};
use crate::support::{Client, Got, Server, eventually};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "another secret that is long enough";
const OTHER_KEY: &str = "another-key-of-the-api";

/// A folder of its own for each test; removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("roomcast-auth-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder for the test");
        Folder(path)
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).expect("a file for the test");
        path.to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that asks for tokens signed with [`SECRET`].
pub(crate) fn server(more: &[&str]) -> (Server, Folder) {
    let folder = Folder::new();
    let secret = folder.file("secret", SECRET);
    let server = Server::start(&[&["--auth", "token", "--jwt-secret-file", &secret], more].concat());
    (server, folder)
}

#[expect(clippy::disallowed_methods, reason = "tokens are good by the calendar")]
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before 584 million")
}

fn now_s() -> u64 {
    now_ms() / 1000
}

/// A token with these claims; `exp` an hour from now unless they say otherwise.
fn token_by(secret: &str, mut claims: Value) -> String {
    if claims.get("exp").is_none() {
        claims["exp"] = json!(now_s() + 3600);
    }
    mint(&claims.to_string(), secret.as_bytes()).expect("minted")
}

pub(crate) fn token(claims: Value) -> String {
    token_by(SECRET, claims)
}

pub(crate) fn enter(server: &Server, claims: Value) -> Client {
    server.client(&format!("/ws?token={}", token(claims)))
}

#[track_caller]
pub(crate) fn code(client: &mut Client, object: Value) -> Value {
    let answer = client.ask(object);
    if answer["type"] == "error" { answer["code"].clone() } else { json!("done") }
}

#[test]
fn a_token_can_come_in_a_header_a_subprotocol_the_query_a_cookie_or_a_message() {
    let page = "https://app.example";
    let (server, _folder) = server(&["--auth-cookie", "sid", "--allow-origin", page]);
    let ann = token(json!({"sub": "ann", "name": "Ann"}));
    let welcomed = |mut client: Client| {
        let welcome = client.expect("welcome");
        assert_eq!(welcome["user_id"], "ann");
        client
    };
    // What the request says about its user is not believed.
    welcomed(server.dial(&format!("/ws?user_id=root&username=root&token={ann}"), None));
    let bearer = format!("bEARER {ann}");
    welcomed(server.dial_with("/ws", &[], &[("Authorization", &bearer)]));
    let chosen = |offered: &[&str]| welcomed(server.dial_with("/ws", offered, &[])).subprotocol;
    assert_eq!(chosen(&["bearer", &ann, "roomcast.v1"]).as_deref(), Some("roomcast.v1"));
    assert_eq!(chosen(&["chat", "bearer", &ann]).as_deref(), Some("chat"));
    assert_eq!(chosen(&["bearer", &ann]).as_deref(), Some("bearer"), "never the token");
    let cookies = format!("a=b; sid={ann}; sidx=y");
    welcomed(server.dial_with("/ws", &[], &[("Cookie", &cookies), ("Origin", page)]));
    // As the first message, in both forms; the answer has its id.
    let mut client = server.dial("/ws?room=r", None);
    client.send(&json!({"type": "auth", "token": ann, "id": 7}));
    let mut client = welcomed(client);
    let success = client.expect("auth_success");
    assert_eq!((&success["id"], &success["user_id"]), (&json!(7), &json!("ann")));
    assert!(success["expires_in"].as_u64().is_some_and(|left| (3500..=3600).contains(&left)));
    let joined = client.expect("room_joined");
    assert_eq!(joined["users"][0]["user_id"], "ann");
    assert_eq!(joined["users"][0]["username"], "Ann");
    let mut client = server.dial("/ws", None);
    client.send(&json!({"token": ann}));
    welcomed(client).expect("auth_success");
}

#[test]
fn who_shows_no_good_token_is_closed_with_4001_and_hears_nothing() {
    let (server, _folder) = server(&["--jwt-issuer", "us", "--jwt-audience", "chat"]);
    let claims = json!({"sub": "ann", "iss": "us", "aud": ["x", "chat"]});
    let good = token(claims.clone());
    server.client(&format!("/ws?token={good}"));
    let for_ever = good_for_ever(&claims);
    server.client(&format!("/ws?token={for_ever}")).settle();
    let with = |field: &str, value: Value| {
        let mut claims = claims.clone();
        claims[field] = value;
        token(claims)
    };
    let refused = [
        String::new(),
        "x".to_owned(),
        good[..good.len() - 2].to_owned(),
        token_by(OTHER, claims.clone()),
        with("exp", json!(now_s() - 1)),
        with("exp", json!("9999999999")),
        with("exp", json!(-1)),
        with("nbf", json!(now_s() + 600)),
        with("iss", json!("them")),
        with("aud", json!(["x", "chats"])),
        with("sub", json!("")),
        with("rooms", json!("*")),
        "x".repeat(7000),
    ];
    for token in &refused {
        assert_eq!(server.dial(&format!("/ws?token={token}"), None).closed(), 4001, "{token}");
        let mut client = server.dial("/ws", None);
        client.send(&json!({"type": "auth", "token": token}));
        assert_eq!(client.closed(), 4001, "{token}");
    }
    // Nothing else is obeyed first.
    for first in [
        json!({"type": "join_room", "room": "r"}),
        json!({"type": "ping"}),
        json!({"type": "auth"}),
        json!({"type": "x", "token": good}),
        json!(["token", good]),
    ] {
        let mut client = server.dial("/ws?room=r", None);
        client.send(&first);
        match client.next() {
            Got::Closed(code) => assert_eq!(code, 4001, "{first}"),
            other => panic!("{first} was answered: {other:?}"),
        }
    }
    let mut client = server.dial("/ws", None);
    client.send(&json!({"type": "auth", "token": "x".repeat(10_000)}));
    assert_eq!(client.closed(), 1009, "no room for more than a token");
    assert_eq!(server.health()["rooms"], 0);
}

/// As a date, `exp` is beyond all that there are.
fn good_for_ever(claims: &Value) -> String {
    let text = claims.to_string();
    let claims = format!("{},\"exp\":1e300}}", text.strip_suffix('}').expect("an object"));
    mint(&claims, SECRET.as_bytes()).expect("minted")
}

/// c.19: unsigned, in every spelling.
#[test]
fn attack_c19_unsigned_tokens_are_never_believed() {
    let (server, _folder) = server(&[]);
    let claims = json!({"sub": "forged-admin", "exp": now_s() + 3600, "role": "moderator"}).to_string();
    for none in ["none", "None", "NONE", "nOnE", "NoNe", "none ", ""] {
        let header = json!({"alg": none, "typ": "JWT"}).to_string();
        let unsigned = [URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(&claims)].join(".");
        for end in [".", "", ".AA"] {
            let unsigned = format!("{unsigned}{end}");
            assert_eq!(server.dial(&format!("/ws?token={unsigned}"), None).closed(), 4001, "{unsigned}");
        }
    }
}

#[test]
fn who_says_nothing_is_closed_with_4002() {
    let (server, _folder) = server(&["--auth-timeout", "200ms"]);
    assert_eq!(server.dial("/ws", None).closed(), 4002);
    // Who is in time stays.
    let mut client = server.dial("/ws", None);
    client.send(&json!({"type": "auth", "token": token(json!({"sub": "ann"}))}));
    client.expect("welcome");
    assert_eq!(server.dial("/ws", None).closed(), 4002, "and in that time the other was not closed");
    client.settle();
}

/// c.21: whatever happens to a token, it is never written anywhere.
#[test]
fn attack_c21_tokens_and_secrets_reach_no_log_and_no_answer() {
    let folder = Folder::new();
    let secret = folder.file("secret", SECRET);
    let log = folder.0.join("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command
        .env_clear()
        .args([
            "--listen",
            "127.0.0.1:0",
            "--log-level",
            "debug",
            "--auth",
            "token",
            "--jwt-secret-file",
            &secret,
        ])
        .stderr(fs::File::create(&log).expect("a file for the log"));
    let mut server = Server::of(command);
    let good = token(json!({"sub": "ann"}));
    let bad = token_by(OTHER, json!({"sub": "ann"}));
    let mut answers = String::new();
    for token in [&good, &bad] {
        for (target, header) in [
            (format!("/ws?token={token}"), "X: y".to_owned()),
            (format!("/echo?token={token}"), "X: y".to_owned()),
            (format!("/nowhere?token={token}"), "X: y".to_owned()),
            ("/ws".to_owned(), format!("Authorization: Bearer {token}")),
            ("/ws".to_owned(), format!("Sec-WebSocket-Protocol: bearer, {token}")),
            ("/api/rooms".to_owned(), format!("X-API-Key: {token}")),
        ] {
            // Without an upgrade, and so refused.
            answers += &server.exchange(&format!(
                "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n\r\n"
            ));
        }
        let mut client = server.dial(&format!("/ws?token={token}"), None);
        if let Got::Object(welcome) = client.next() {
            answers += &welcome.to_string();
            client.send(&json!({"type": "auth", "token": token}));
            client.send(&json!({"type": token, "token": token_by(OTHER, json!({}))}));
            answers += &format!("{:?}", client.settle());
        }
    }
    server.signal(Signal::TERM);
    assert!(server.exit_status().success());
    let log = fs::read_to_string(&log).expect("a log");
    assert!(log.contains("connection opened"), "it was a log of everything");
    // An unknown type is repeated to who sent it, as far as a name is long; a signature is what makes it a token.
    for token in [&good, &bad] {
        let signature = token.rsplit('.').next().expect("parts");
        for (name, text) in [("log", &log), ("answer", &answers)] {
            assert!(!text.contains(signature), "a token in the {name}");
            assert!(!text.contains(SECRET), "the secret in the {name}");
        }
    }
}

#[test]
fn a_token_that_ends_is_warned_of_and_can_be_renewed() {
    let (server, _folder) = server(&["--token-warning", "1h"]);
    let ends = now_s() + 3;
    let mut ann = enter(&server, json!({"sub": "ann", "exp": ends}));
    let mut bob = enter(&server, json!({"sub": "bob", "exp": ends}));
    let warning = ann.expect("token_expiring");
    assert!(warning["expires_in"].as_u64().is_some_and(|left| left <= 3), "{warning}");
    for room in ["keeps", "loses"] {
        ann.join(room);
    }
    assert_eq!(ann.ask(json!({"type": "subscribe", "channel": "c.*"}))["type"], "subscribed");
    // Nobody becomes somebody else.
    let other = ann.ask(json!({"type": "auth", "token": token(json!({"sub": "eve"}))}));
    assert_eq!((&other["type"], &other["code"]), (&json!("error"), &json!("forbidden")));
    let fresh = token(json!({"sub": "ann", "rooms": ["keeps"], "channels": []}));
    let renewed = loop {
        let renewed = ann.ask(json!({"type": "auth", "token": fresh}));
        // One in a second.
        if renewed["code"] != "rate_limited" {
            break renewed;
        }
    };
    assert_eq!((&renewed["type"], &renewed["user_id"]), (&json!("auth_success"), &json!("ann")));
    assert_eq!(ann.find("unsubscribed")["channel"], "c.*");
    assert_eq!(ann.find("room_left")["room"], "loses");
    assert_eq!(code(&mut ann, json!({"type": "join_room", "room": "loses"})), "forbidden");
    assert_eq!(bob.closed(), 4007);
    ann.catch_up("keeps");
}

#[test]
fn a_session_is_resumed_by_its_own_user_only() {
    let (server, _folder) = server(&[]);
    let dial =
        |claims: Value, rest: &str| server.client(&format!("/ws?token={}&last_seq={rest}", token(claims)));
    let mut ann = dial(json!({"sub": "ann"}), "0");
    ann.join("r");
    let session = ann.welcome["session"].as_str().expect("a session").to_owned();
    drop(ann);
    let rest = format!("0&session={session}");
    assert_eq!(dial(json!({"sub": "eve"}), &rest).welcome["resumed"], false);
    // Nor with a token that is not good for what the session is in.
    assert_eq!(dial(json!({"sub": "ann", "rooms": []}), &rest).welcome["resumed"], false);
    assert_eq!(dial(json!({"sub": "ann"}), &rest).welcome["resumed"], true);
    // The same by a message, from every shard.
    for _ in 0..4 {
        let mut ann = server.dial(&format!("/ws?last_seq=0&session={session}"), None);
        ann.send(&json!({"token": token(json!({"sub": "ann"}))}));
        ann.send(&json!({"type": "ping", "id": "behind"}));
        assert_eq!(ann.expect("welcome")["resumed"], true);
        while ann.find("pong")["id"] != "behind" {}
        ann.join("r");
    }
}

/// An answer's status line and the rest of it.
fn request(server: &Server, method: &str, target: &str, headers: &str, body: &str) -> String {
    server.exchange(&format!(
        "{method} {target} HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// c.32 by who has shown no token: pings unread, and half a message of each of many.
#[test]
fn attack_c32_a_guest_makes_nothing_grow() {
    const GROWTH_KIB_MAX: u64 = 12 << 10;
    let (server, _folder) = server(&["--auth-timeout", "1h", "--max-message", "16MiB"]);
    let before = server.resident_kib_most();
    let guest = Raw::open(&server, "/ws");
    let mut stream = guest.stream();
    stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a socket");
    let flood = raw::frame(raw::PING, &[b'p'; 125]).repeat(1000);
    let taken = (0..400).take_while(|_| stream.write_all(&flood).is_ok()).count();
    assert!(taken < 400, "all of it was taken");
    // Each begins a message that is as long as one may be, and never ends it.
    let mut half = raw::frame(raw::TEXT, &[b' '; 9000]);
    half.truncate(8000);
    let guests: Vec<Raw> = (0..300).map(|_| Raw::open_with(&server, "/ws", &half)).collect();
    enter(&server, json!({"sub": "ann"})).join("r");
    let growth = server.resident_kib_most() - before;
    assert!(growth < GROWTH_KIB_MAX, "{growth} KiB for {} guests", guests.len());
}

#[test]
fn the_api_is_open_to_its_keys() {
    let folder = Folder::new();
    let file = format!("# keys\n{SECRET}-p publish\n{SECRET}-r read\n{SECRET}-a admin\n");
    let keys = folder.file("keys", &file);
    let server = Server::start(&["--api-key-file", &keys]);
    let ask = |method, target: &str, key: &str| {
        let body = if method == "POST" { r#"{"message":"hi"}"# } else { "" };
        let answer = request(&server, method, target, key, body);
        answer.split(' ').nth(1).map(String::from).expect("a status")
    };
    let by = |key: &str| format!("X-API-Key: {SECRET}-{key}\r\n");
    let (post, get, delete) = ("/api/rooms/r/messages", "/api/rooms", "/api/users/ann/connections");
    // c.58: without, with an empty one, with a wrong one, in the query.
    for key in [
        String::new(),
        "X-API-Key: \r\n".into(),
        by("x"),
        format!("X-API-Key: {SECRET}\r\n"),
        format!("Authorization: Basic {SECRET}-a\r\n"),
        format!("Authorization: Bearer {SECRET}-x\r\n"),
    ] {
        assert_eq!(ask("POST", post, &key), "401", "{key}");
        assert_eq!(ask("GET", "/api/nothing", &key), "401", "nothing is told of what there is");
    }
    assert_eq!(ask("POST", &format!("{post}?key={SECRET}-a&api_key={SECRET}-a"), ""), "401");
    let refused = request(&server, "GET", get, "", "");
    assert!(refused.contains("\r\nWWW-Authenticate: Bearer\r\n"), "{refused}");
    assert!(refused.contains(r#"{"error":{"code":"unauthorized""#), "{refused}");
    for (key, statuses) in
        [("p", ["200", "403", "403"]), ("r", ["403", "200", "403"]), ("a", ["200", "200", "404"])]
    {
        let bearer = format!("Authorization: Bearer {SECRET}-{key}\r\n");
        for header in [by(key), bearer] {
            let got = [("POST", post), ("GET", get), ("DELETE", delete)].map(|(m, t)| ask(m, t, &header));
            assert_eq!(got, statuses, "{key}");
        }
    }
}

#[test]
fn pages_of_other_origins_are_refused() {
    let server = Server::start(&["--allow-origin", "https://good.example;https://*.wide.example:8443"]);
    let dial = |origin: &str| {
        let answer = server.exchange(&format!(
            "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{origin}\r\n"
        ));
        assert!(
            answer.starts_with("HTTP/1.1 403 ") && answer.contains("origin_not_allowed"),
            "{origin}: {answer}"
        );
    };
    for origin in [
        "https://evil.example",
        "null",
        "junk",
        "",
        "https://good.example.evil.example",
        "https://evilgood.example",
        "http://good.example",
        "https://good.example:8443",
        "https://wide.example:8443",
        "https://a.b.wide.example:8443",
        "https://good.example\r\nOrigin: https://evil.example",
    ] {
        dial(&format!("Origin: {origin}\r\n"));
    }
    for origin in ["https://good.example", "https://a.wide.example:8443"] {
        server.dial_with("/ws", &[], &[("Origin", origin)]).expect("welcome");
    }
    server.client("/ws"); // no page
}

#[test]
fn an_echo_asks_for_a_token_as_well() {
    let (server, _folder) = server(&[]);
    let upgrade = |target: &str| {
        server.exchange(&format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ))
    };
    for target in ["/echo", "/echo?token=x"] {
        let answer = upgrade(target);
        assert!(
            answer.starts_with("HTTP/1.1 401 ") && answer.contains("WWW-Authenticate: Bearer"),
            "{answer}"
        );
    }
    let mut client = server.dial(&format!("/echo?token={}", token(json!({"sub": "ann"}))), None);
    client.send(&json!({"a": 1}));
    assert_eq!(client.object(), json!({"a": 1}));
}

#[test]
fn keys_are_read_again_without_anybody_noticing() {
    let folder = Folder::new();
    let (secret, keys) = (folder.file("secret", SECRET), folder.file("keys", &format!("{SECRET} read")));
    let server = Server::start(&["--auth", "token", "--jwt-secret-file", &secret, "--api-key-file", &keys]);
    let mut ann = enter(&server, json!({"sub": "ann"}));
    ann.join("r");
    let good = |secret: &str| {
        let token = token_by(secret, json!({"sub": "bob"}));
        let mut client = server.dial(&format!("/ws?token={token}"), None);
        matches!(client.next(), Got::Object(_))
    };
    let has_key = |key: &str| {
        request(&server, "GET", "/api/rooms", &format!("X-API-Key: {key}\r\n"), "")
            .starts_with("HTTP/1.1 200 ")
    };
    assert!(good(SECRET) && !good(OTHER) && has_key(SECRET));
    // A file that is no good changes nothing, not even what is good in the others.
    fs::write(Path::new(&secret), "short").expect("written");
    fs::write(Path::new(&keys), format!("{OTHER_KEY} read")).expect("written");
    server.signal(Signal::HUP);
    fs::remove_file(Path::new(&secret)).expect("removed");
    server.signal(Signal::HUP);
    assert!(good(SECRET) && has_key(SECRET));
    fs::write(Path::new(&secret), OTHER).expect("written");
    server.signal(Signal::HUP);
    eventually("the new secret is in force", || good(OTHER));
    eventually("on every shard", || (0..4).all(|_| !good(SECRET)));
    assert!(!has_key(SECRET) && has_key(OTHER_KEY));
    ann.catch_up("r");
}

fn signed(client: &mut Client, key: &str, message: &str, timestamp: Value) -> Value {
    let at = timestamp.as_str().map_or_else(|| timestamp.to_string(), String::from);
    let hmac = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let signature = hmac::sign(&hmac, format!("ann:{message}:{at}").as_bytes());
    let signature: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    client.ask(json!({
        "type": "chat_message", "room": "r", "message": message, "timestamp": timestamp, "signature": signature
    }))
}

#[test]
fn messages_are_relayed_with_a_good_signature_only() {
    let (server, _folder) = server(&["--require-signatures"]);
    let mut ann = enter(&server, json!({"sub": "ann", "can": ["publish", "broadcast", "direct"]}));
    let mut bob = enter(&server, json!({"sub": "bob"}));
    let key = ann.expect("auth_success")["session_key"].as_str().expect("a key").to_owned();
    assert_ne!(bob.expect("auth_success")["session_key"], key.as_str());
    ann.join("r");
    bob.join("r");
    assert_eq!(signed(&mut ann, &key, "one", json!(now_s()))["type"], "chat_message");
    assert_eq!(signed(&mut ann, &key, "two", json!(now_ms()))["type"], "chat_message");
    assert_eq!(signed(&mut ann, &key, "old", json!(now_s() - 299))["type"], "chat_message");
    let copied = json!(now_s() - 1);
    assert_eq!(signed(&mut ann, &key, "copy", copied.clone())["type"], "chat_message");
    for (what, answer) in [
        ("a copy", signed(&mut ann, &key, "copy", copied)),
        ("too old", signed(&mut ann, &key, "x", json!(now_s() - 302))),
        ("ahead", signed(&mut ann, &key, "x", json!(now_s() + 400))),
        ("another key", signed(&mut ann, &key.replace('a', "b"), "x", json!(now_s()))),
        ("no time", signed(&mut ann, &key, "x", json!("soon"))),
        ("unsigned", ann.ask(json!({"type": "chat_message", "room": "r", "message": "x"}))),
        ("channel", ann.ask(json!({"type": "publish", "channel": "c", "data": "x"}))),
        ("broadcast", ann.ask(json!({"type": "broadcast", "message": "x"}))),
        ("direct", ann.ask(json!({"type": "direct_message", "user_id": "bob", "message": "x"}))),
    ] {
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("bad_signature")), "{what}");
    }
    let heard: Vec<Value> = bob.catch_up("r").iter().filter_map(|one| one.get("message").cloned()).collect();
    assert_eq!(heard, ["one", "two", "old", "copy"], "and nothing else");
}

#[test]
fn words_that_are_not_wanted_are_not_relayed() {
    let folder = Folder::new();
    let words = folder.file("words", "# none of these\nBad Word\n<script\n");
    let server = Server::start(&["--reject-content", &words]);
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    ann.join("r");
    bob.join("r");
    for message in [json!("a BAD word"), json!({"deep": ["<SCRIPT>"]}), json!("bad word")] {
        let said = json!({"type": "chat_message", "room": "r", "message": message});
        assert_eq!(code(&mut ann, said), "content_rejected", "{message}");
        assert_eq!(
            code(&mut ann, json!({"type": "publish", "channel": "c", "data": message})),
            "content_rejected"
        );
    }
    ann.send_text(r#"{"type":"chat_message","room":"r","message":"\u0062ad\u0020word"}"#.to_owned());
    assert_eq!(ann.find("error")["code"], "content_rejected");
    assert_eq!(ann.ask(json!({"type": "join_document", "doc_id": "d"}))["type"], "document_state");
    let insert = json!({"type": "insert", "position": 0, "text": "bad word"});
    let edit = json!({"type": "text_operation", "doc_id": "d", "version": 0, "operation": insert});
    assert_eq!(code(&mut ann, edit), "content_rejected");
    assert_eq!(
        code(&mut ann, json!({"type": "chat_message", "room": "r", "message": "a good word"})),
        "done"
    );
    let heard: Vec<Value> = bob.catch_up("r").iter().filter_map(|one| one.get("message").cloned()).collect();
    assert_eq!(heard, ["a good word"]);
}

#[test]
fn the_operators_headers_are_on_every_answer() {
    let server = Server::start(&["--header", "X-One: 1", "--header", "X-Two: a; b"]);
    for target in ["/", "/health", "/nowhere", "/api/rooms"] {
        let answer = server
            .exchange(&format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        let (head, _) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains("\r\nX-One: 1\r\nX-Two: a; b\r\n"), "{target}: {head}");
    }
}

#[test]
fn without_tokens_all_is_as_before() {
    let server = Server::start(&[]);
    let mut ann = server.client(&format!("/ws?user_id=ann&token={}", token(json!({"sub": "eve"}))));
    assert_eq!(ann.welcome["user_id"], "ann");
    for object in [json!({"type": "auth", "token": "x"}), json!({"token": "x"})] {
        assert_eq!(code(&mut ann, object), "unknown_type");
    }
    assert_eq!(code(&mut ann, json!({"type": "broadcast", "message": "x"})), "done");
}
