//! Catalogue 42–52: messages of the native protocol that mean no good.

use serde_json::{Value, json};

use crate::beside::withstands;
use crate::peer::{BINARY, FIN, Peer, Said, frame, text};

impl Peer {
    /// The message is answered with this error, and the connection stays.
    #[track_caller]
    fn expect_error(&mut self, message: &str, code: &str) -> Value {
        self.say(message);
        let error = self.object("error");
        let shown: String = message.chars().take(80).collect();
        assert_eq!(error["code"], code, "{error} to {shown}");
        assert!(error.to_string().len() < 1000, "{} bytes to {shown}", error.to_string().len());
        error
    }

    /// The next so many messages.
    #[track_caller]
    fn objects(&mut self, count: usize) -> Vec<Value> {
        let next = |_| match self.next_message() {
            Said::Frame(_, payload) => serde_json::from_slice(&payload).expect("JSON"),
            Said::End => panic!("the connection ended"),
        };
        (0..count).map(next).collect()
    }

    /// Everything up to the answer to a ping. What a room's owner has to answer may come later.
    #[track_caller]
    fn until_pong(&mut self) -> Vec<Value> {
        self.say(r#"{"type":"ping","id":"mark"}"#);
        let mut before = Vec::new();
        loop {
            let Said::Frame(_, payload) = self.next_message() else { panic!("the connection ended") };
            let object: Value = serde_json::from_slice(&payload).expect("JSON");
            if object["type"] == "pong" && object["id"] == "mark" {
                return before;
            }
            before.push(object);
        }
    }
}

#[test]
fn c42_malformed_json() {
    withstands(&[], |server| {
        let mut peer = Peer::member(server, "/ws");
        for malformed in [
            "",
            " ",
            "{",
            r#"{"type""#,
            r#"{"type":"#,
            r#"{"type":"ping"#,
            r#"{"type":"ping""#,
            r#"{"type":"ping"}x"#,
            r#"{"type":"ping"}{"type":"ping"}"#,
            r#"{"type":"ping",}"#,
            r#"{"type":"ping" // comment
            }"#,
            r#"{'type':'ping'}"#,
            r#"{type:"ping"}"#,
            r#"{"type":"ping","ts":NaN}"#,
            r#"{"type":"ping","ts":007}"#,
            r#"{"type":"ping","ts":1.}"#,
            r#"{"type":"ping","ts":+1}"#,
            r#"{"type":"ping","ts":Infinity}"#,
            r#"{"type":"ping","ts":0x10}"#,
            r#"{"type":"ping","ts":tru}"#,
            "{\"type\":\"ping\0\"}",
            "{\"type\":\"pi\nng\"}",
            r#"{"type":"ping","ts":"\ud800"}"#,
            r#"{"type":"ping","ts":"\udc00\ud800"}"#,
            r#"{"type":"ping","ts":"\u12g4"}"#,
            r#"{"type":"ping","ts":"\x41"}"#,
            "\u{feff}{\"type\":\"ping\"}",
            "[]",
            r#"["ping"]"#,
            r#""ping""#,
            "null",
            "1",
        ] {
            peer.expect_error(malformed, "invalid_json");
        }
        peer.send(frame(FIN | BINARY, br#"{"type":"ping"}"#));
        assert_eq!(peer.object("error")["code"], "room_required");
        assert_eq!(peer.until_pong(), [] as [Value; 0]);
    });
}

/// A stack that overflows ends the whole process.
#[test]
fn c43_nesting() {
    withstands(&[], |server| {
        let mut peer = Peer::member(server, "/ws/deep");
        peer.object("room_joined");
        let nested = |open: &str, close: &str, times| open.repeat(times) + "1" + &close.repeat(times);
        for value in [
            nested("[", "", 60_000),
            nested("[", "]", 30_000),
            nested(r#"{"a":"#, "", 10_000),
            nested(r#"{"a":"#, "}", 10_000),
            nested(r#"[{"a":"#, "}]", 25_000),
        ] {
            peer.expect_error(&value, "invalid_json");
            for field in ["type", "room", "message", "id", "since", "unknown"] {
                let message = format!(r#"{{"type":"chat_message","room":"deep","{field}":{value}}}"#);
                peer.expect_error(&message, "invalid_json");
            }
        }
        let deep = nested("[", "]", 100);
        peer.say(&format!(r#"{{"type":"chat_message","room":"deep","message":{deep}}}"#));
        assert_eq!(peer.object("chat_message")["message"].to_string(), deep);
    });
}

#[test]
fn c44_wrong_types() {
    const VALUES: [&str; 14] = [
        "null",
        "true",
        "false",
        "0",
        "-1",
        "1e400",
        "1.5",
        "18446744073709551616",
        "[]",
        "[1]",
        "{}",
        r#"{"toString":1}"#,
        r#"{"__proto__":{}}"#,
        r#"["room"]"#,
    ];
    withstands(&[], |server| {
        let mut peer = Peer::member(server, "/ws/typed");
        peer.object("room_joined");
        for value in VALUES {
            peer.expect_error(&format!(r#"{{"type":{value}}}"#), "unknown_type");
            for kind in ["join_room", "leave_room", "get_users", "get_history", "typing_indicator"] {
                let code = if value == "null" { "room_required" } else { "invalid_field" };
                peer.expect_error(&format!(r#"{{"type":"{kind}","room":{value}}}"#), code);
            }
            if value != "true" && value != "false" && value != "null" {
                peer.expect_error(
                    &format!(r#"{{"type":"typing_indicator","room":"typed","is_typing":{value}}}"#),
                    "invalid_field",
                );
            }
            if !["null", "0"].contains(&value) {
                for (kind, field) in
                    [("get_history", "before"), ("get_history", "limit"), ("join_room", "since")]
                {
                    let message = format!(r#"{{"type":"{kind}","room":"typed","{field}":{value}}}"#);
                    peer.expect_error(&message, "invalid_field");
                }
            }
        }
        for id in ["null", "true", "1.5", "1e3", "[]", "{}"] {
            peer.expect_error(&format!(r#"{{"type":"ping","id":{id}}}"#), "invalid_field");
        }
        peer.expect_error(&format!(r#"{{"type":"ping","id":"{}"}}"#, "i".repeat(300)), "invalid_field");
        peer.expect_error(r#"{"type":"chat_message","room":"typed"}"#, "message_required");
        peer.expect_error(r#"{"type":"chat_message","room":"typed","message":""}"#, "message_required");
    });
}

#[test]
fn c45_unknown_types() {
    withstands(&[], |server| {
        let mut peer = Peer::member(server, "/ws");
        let server_only = ["welcome", "error", "room_joined", "user_joined", "server_shutdown", "heartbeat"];
        let odd = ["", "PING", " ping", "ping\\u0000", "constructor", "__proto__", "toString", "admin"];
        for kind in server_only.iter().chain(&odd) {
            peer.expect_error(&format!(r#"{{"type":"{kind}","room":"r"}}"#), "unknown_type");
        }
        peer.expect_error("{}", "unknown_type");
        let long =
            peer.expect_error(&format!(r#"{{"type":"{}"}}"#, "\u{1f600}".repeat(20_000)), "unknown_type");
        assert!(long["message"].as_str().is_some_and(|text| text.chars().count() < 100));
    });
}

/// Names are plain strings: never a pattern, a path or a property.
#[test]
fn c46_names_of_rooms() {
    withstands(&["--log-level", "debug"], |server| {
        let mut peer = Peer::member(server, "/ws");
        peer.expect_error(r#"{"type":"join_room","room":""}"#, "room_required");
        for bad in ["a\\r\\nb", "a\\u001b[31mb", "a\\u0000", "\\u007f", "\\u0085", "a\\tb"] {
            peer.expect_error(&format!(r#"{{"type":"join_room","room":"{bad}"}}"#), "invalid_field");
        }
        for long in [256, 64_000] {
            let message = format!(r#"{{"type":"join_room","room":"{}"}}"#, "r".repeat(long));
            peer.expect_error(&message, "invalid_field");
        }
        for name in [
            " ",
            "*",
            "?",
            "[a]",
            "../../x",
            "${jndi:ldap://x}",
            "%s%n",
            "constructor",
            "__proto__",
            "toString",
            "\u{202e}rtl",
            "<script>",
            "' OR 1=1 --",
            "\u{fffd}",
            "everyone",
            "/ws",
        ] {
            peer.say(&json!({"type": "join_room", "room": name}).to_string());
            let joined = peer.object("room_joined");
            assert_eq!((&joined["room"], &joined["members_count"]), (&name.into(), &1.into()));
        }
        let mut other = Peer::member(server, "/ws/another");
        other.object("room_joined");
        other.say(r#"{"type":"chat_message","room":"another","message":"private"}"#);
        other.object("chat_message");
        assert_eq!(peer.until_pong(), [] as [Value; 0], "no name is a pattern");
    });
}

#[test]
fn c47_joining_twice_leaving_twice() {
    withstands(&[], |server| {
        let mut peer = Peer::member(server, "/ws");
        let not_in = |peer: &mut Peer| {
            for kind in ["leave_room", "chat_message", "typing_indicator", "get_history", "get_users"] {
                let message = format!(r#"{{"type":"{kind}","room":"twice","message":1}}"#);
                peer.expect_error(&message, "not_in_room");
            }
        };
        not_in(&mut peer);
        let mut watcher = Peer::member(server, "/ws/twice");
        watcher.object("room_joined");
        for _ in 0..3 {
            peer.say(r#"{"type":"join_room","room":"twice"}"#);
            assert_eq!(peer.object("room_joined")["members_count"], 2);
        }
        peer.say(r#"{"type":"chat_message","room":"twice","message":"once"}"#);
        assert_eq!(peer.object("chat_message")["message"], "once");
        peer.say(r#"{"type":"get_users","room":"twice"}"#);
        // Answers of one room come in order: between these two was no second copy.
        assert_eq!(peer.object("room_info")["members_count"], 2);
        peer.say(r#"{"type":"leave_room","room":"twice"}"#);
        peer.object("room_left");
        not_in(&mut peer);
        watcher.say(r#"{"type":"chat_message","room":"twice","message":"gone?"}"#);
        for heard in ["user_joined", "chat_message", "user_left", "chat_message"] {
            watcher.object(heard);
        }
        assert_eq!(peer.until_pong(), [] as [Value; 0], "nothing after leaving");
    });
}

#[test]
fn c48_what_is_not_believed() {
    withstands(&[], |server| {
        let mut peer = Peer::member(server, "/ws/forged?user_id=me");
        peer.object("room_joined");
        let forged = r#"{"type":"chat_message","room":"forged","message":"m","user_id":"admin","username":"admin",
            "timestamp":"1970-01-01T00:00:00.000Z","offset":99,"seq":99,"epoch":"x","members_count":9}"#;
        peer.say(forged);
        let told = peer.object("chat_message");
        assert_eq!((&told["user_id"], &told["offset"]), (&"me".into(), &1.into()), "{told}");
        assert!(!told.to_string().contains("admin") && !told.to_string().contains("1970"), "{told}");
    });
}

#[test]
fn c49_the_longest_message() {
    withstands(&[], |server| {
        let mut peer = Peer::member(server, "/ws/long");
        peer.object("room_joined");
        let frame = r#"{"type":"chat_message","room":"long","message":""}"#;
        let longest = "a".repeat((1 << 20) - frame.len());
        let whole = frame.replace(r#""""#, &format!("\"{longest}\""));
        assert_eq!(whole.len(), 1 << 20);
        peer.say(&whole);
        assert_eq!(peer.object("chat_message")["message"], longest);
        peer.send(text(&(whole + " ")));
        peer.expect_close(1009);
    });
}

#[test]
fn c50_rooms_without_end() {
    withstands(&[], |server| {
        let before = server.growth_mib();
        let mut peer = Peer::member(server, "/ws");
        let (mut joined, mut refused) = (0, 0);
        for batch in 0..100 {
            let rooms = batch * 100..(batch + 1) * 100;
            let joins: Vec<u8> =
                rooms.flat_map(|n| text(&format!(r#"{{"type":"join_room","room":"{n}"}}"#))).collect();
            peer.send(joins);
            for object in peer.objects(100) {
                joined += usize::from(object["type"] == "room_joined");
                refused += usize::from(object["code"] == "too_many_rooms");
            }
        }
        assert_eq!((joined, refused), (128, 9872));
        drop(peer);
        let mut peer = Peer::member(server, "/ws");
        for number in 0..3000 {
            let join = text(&format!(r#"{{"type":"join_room","room":"{number}"}}"#));
            let leave = text(&format!(r#"{{"type":"leave_room","room":"{number}"}}"#));
            peer.send([join, leave].concat());
            peer.object("room_joined");
            peer.object("room_left");
        }
        peer.send(text(r#"{"type":"get_stats"}"#).repeat(2000));
        let answers = peer.objects(2000);
        assert!(
            answers.iter().all(|object| object["type"] == "server_stats" || object["code"] == "unavailable")
        );
        let rooms = answers.last().and_then(|answer| answer["total_rooms"].as_u64());
        assert!(rooms.is_none_or(|rooms| rooms <= 2), "{rooms:?}");
        let grown = server.growth_mib().saturating_sub(before);
        assert!(grown < 24, "{grown} MiB");
    });
}

/// Names that collide under hashes with a fixed key: joins stay as quick as ever.
#[test]
fn c52_names_made_to_collide() {
    withstands(&["--max-rooms-per-connection", "100000"], |server| {
        let mut peer = Peer::member(server, "/ws");
        // Under FxHash and the like, words of zeroes and of a high bit cancel out.
        let blocks = ["AaAaAaAa", "BBBBBBBB", "AaAaBBBB", "BBBBAaAa"];
        for batch in 0..16 {
            let joins: Vec<u8> = (0..256)
                .flat_map(|number: usize| {
                    let name: String =
                        (0..6).map(|at| blocks[(batch * 256 + number) >> (2 * at) & 3]).collect();
                    text(&format!(r#"{{"type":"join_room","room":"{name}"}}"#))
                })
                .collect();
            peer.send(joins);
            assert!(peer.objects(256).iter().all(|object| object["type"] == "room_joined"));
        }
    });
}
