//! Messages and what they ask, row by row.

use super::*;

/// What `text` asks, with its tag as text.
fn check(text: &str, tag: Option<&str>, asked: Result<Command<'_>, Refusal>) {
    assert_eq!(decode(text), Asked { tag: tag.map(str::as_bytes), asked }, "{text}");
}

fn refused(text: &str) -> Refusal {
    decode(text).asked.expect_err(text)
}

fn no_type(named: &str) -> Refusal {
    Refusal::UnknownType(named.into())
}

fn invalid(field: &'static str) -> impl Fn(&Refusal) -> bool {
    move |refusal| matches!(refusal, Refusal::InvalidField { field: found, .. } if *found == field)
}

fn join(room: &str) -> Command<'_> {
    Command::Join { kind: TopicKind::Room, name: room.into(), since: None, history: None }
}

fn publish<'a>(room: &'a str, payload: &'a str) -> Command<'a> {
    Command::Publish { kind: TopicKind::Room, name: room.into(), payload: payload.as_bytes(), echo: true }
}

#[test]
fn each_type_becomes_its_command() {
    let room = || Cow::Borrowed("r");
    let since = |offset| Some(Position { offset, epoch: "e".into() });
    let join = |since, history| Command::Join { kind: TopicKind::Room, name: room(), since, history };
    let history = |limit, before| Command::History { kind: TopicKind::Room, name: room(), limit, before };
    let typing = |is_typing| Command::Typing { room: room(), is_typing };
    for (text, command) in [
        (r#"{"type":"join_room","room":"r"}"#, join(None, None)),
        (r#"{"type":"join_room","room":"r","since":{"offset":7,"epoch":"e"}}"#, join(since(7), None)),
        (r#"{"since":{"epoch":"e","x":[],"offset":0},"room":"r","type":"join_room"}"#, join(since(0), None)),
        (r#"{"type":"join_room","room":"r","history":50}"#, join(None, Some(50))),
        (r#"{"type":"join_room","room":"r","history":0,"since":null}"#, join(None, Some(0))),
        (r#"{"type":"join_room","room":"r","history":99999999999}"#, join(None, Some(HISTORY_MAX))),
        (r#"{"type":"leave_room","room":"r"}"#, Command::Leave { kind: TopicKind::Room, name: room() }),
        (r#"{"type":"chat_message","room":"r","message":"hi"}"#, publish("r", "\"hi\"")),
        (r#"{"type":"chat_message","room":"r","message":"hi","echo":true}"#, publish("r", "\"hi\"")),
        (
            r#"{"type":"chat_message","room":"r","message":"hi","echo":false}"#,
            Command::Publish { kind: TopicKind::Room, name: room(), payload: b"\"hi\"", echo: false },
        ),
        (r#"{"type":"typing_indicator","room":"r"}"#, typing(true)),
        (r#"{"type":"typing_indicator","room":"r","is_typing":true}"#, typing(true)),
        (r#"{"type":"typing_indicator","room":"r","is_typing":false}"#, typing(false)),
        (r#"{"type":"get_history","room":"r"}"#, history(HISTORY_DEFAULT, None)),
        (
            r#"{"type":"get_history","room":"r","limit":5,"before":18446744073709551615}"#,
            history(5, Some(u64::MAX)),
        ),
        (r#"{"type":"get_history","room":"r","limit":0,"before":0}"#, history(0, Some(0))),
        (r#"{"type":"get_history","room":"r","limit":5000}"#, history(HISTORY_MAX, None)),
        (r#"{"type":"get_users","room":"r"}"#, Command::Users { room: room() }),
        (r#"{"type":"broadcast","message":[1, 2]}"#, Command::Broadcast { payload: b"[1, 2]" }),
        (r#"{"type":"get_stats"}"#, Command::Stats),
        (r#"{"type":"ping"}"#, Command::Ping { ts: None }),
        (r#"{"type":"ping","ts":null}"#, Command::Ping { ts: None }),
        (r#"{"type":"ping","ts":1.5e3}"#, Command::Ping { ts: Some(b"1.5e3") }),
        (r#"{"type":"ping","ts":"a\"b"}"#, Command::Ping { ts: Some(br#""a\"b""#) }),
        (r#"{"type":"ping","ts":true}"#, Command::Ping { ts: Some(b"true") }),
        (r#"{"type":"pong"}"#, Command::Pong),
        (
            " {\n\"type\" : \"pong\" , \"user_id\":\"somebody else\",\"timestamp\":0,\"seq\":9} ",
            Command::Pong,
        ),
    ] {
        check(text, None, Ok(command));
    }
}

#[test]
fn every_alias_stands_for_its_word() {
    for (word, canonical) in alias::TYPES {
        let text = |word| format!(r#"{{"type":"{word}","room":"r","message":1}}"#);
        assert!(decode(&text(word)).asked.is_ok());
        assert_eq!(decode(&text(word)), decode(&text(canonical)));
    }
    for (word, canonical) in alias::FIELDS {
        let full = r#"{"type":"chat_message","room":"r","message":1}"#;
        let text = full.replace(&format!("\"{canonical}\""), &format!("\"{word}\""));
        assert_ne!(text, full);
        assert_eq!(decode(&text), decode(full), "{text}");
    }
    check(r#"{"action":"message","room_name":"r","content":"x"}"#, None, Ok(publish("r", "\"x\"")));
}

#[test]
fn the_tables_fit_together() {
    for (word, canonical) in alias::FIELDS {
        assert!(FIELDS.contains(&canonical) && !FIELDS.contains(&word));
    }
    for (word, canonical) in alias::TYPES {
        let known = |word| TYPES.iter().any(|known| known.word == word);
        assert!(known(canonical) && !known(word));
    }
    assert_eq!(FIELDS[ID], "id");
}

#[test]
fn the_canonical_word_wins_over_aliases_and_the_last_over_the_first() {
    let wins = publish("r", "1");
    for text in [
        r#"{"type":"chat_message","room":"r","room_id":"x","message":1,"content":2,"action":"ping"}"#,
        r#"{"action":"ping","content":2,"room_id":"x","message":1,"room":"r","type":"chat_message"}"#,
        r#"{"type":"ping","room":"x","message":2,"type":"chat_message","room":"r","message":1}"#,
        r#"{"type":"chat_message","room_id":"x","roomId":"r","content":2,"content":1}"#,
        r#"{"\u0074ype":"chat_message","r\u006fom":"\u0072","message":1}"#,
        r#"{"type":"chat\u005fmessage","room":"x","roo\u006d":"r","message":1}"#,
    ] {
        check(text, None, Ok(wins.clone()));
    }
    assert_eq!(
        refused(r#"{"type":"join_room","room":"","room_id":"x"}"#),
        Refusal::NameRequired(TopicKind::Room)
    );
    assert_eq!(
        refused(r#"{"type":"join_room","room":null,"room_id":"x"}"#),
        Refusal::NameRequired(TopicKind::Room)
    );
}

#[test]
fn ordinary_messages_are_borrowed() {
    let Ok(Command::Publish { name: room, .. }) =
        decode(r#"{"type":"chat_message","room":"日本","message":"\n"}"#).asked
    else {
        panic!("a publish")
    };
    assert!(matches!(room, Cow::Borrowed("日本")));
    check(r#"{"type":"join_room","room":"\"\u00e9\ud83c\udf89\u0000"}"#, None, Ok(join("\"é🎉\0")));
}

#[test]
fn tags_are_strings_and_integers() {
    let long = format!("\"{}\"", "x".repeat(TAG_BYTES_MAX - 2));
    for tag in ["1", "-7", "0", "123456789012345678901234567890", "\"\"", r#""a\"\u0041""#, &long] {
        check(&format!(r#"{{"id":{tag},"type":"pong"}}"#), Some(tag), Ok(Command::Pong));
        check(&format!(r#"{{"id":{tag},"type":"x"}}"#), Some(tag), Err(no_type("x")));
    }
    let longer = format!("\"{}\"", "x".repeat(TAG_BYTES_MAX - 1));
    for tag in
        ["1.0", "1e3", "true", "false", "null", "[]", "{}", "[1]", &longer, &"1".repeat(TAG_BYTES_MAX + 1)]
    {
        let text = format!(r#"{{"id":{tag},"type":"pong"}}"#);
        assert_eq!(decode(&text).tag, None);
        assert!(invalid("id")(&refused(&text)), "{text}");
    }
}

#[test]
fn unknown_types_are_repeated_as_far_as_that_is_safe() {
    for (text, named) in [
        (r#"{}"#, "None"),
        (r#"{"room":"r"}"#, "None"),
        (r#"{"type":null}"#, "None"),
        (r#"{"type":""}"#, ""),
        (r#"{"type":"PING"}"#, "PING"),
        (r#"{"type":"ping "}"#, "ping "),
        (r#"{"type":"constructor"}"#, "constructor"),
        (r#"{"type":"__proto__"}"#, "__proto__"),
        (r#"{"type":"welcome"}"#, "welcome"),
        (r#"{"type":"room_joined"}"#, "room_joined"),
        (r#"{"type":"user_left"}"#, "user_left"),
        (r#"{"type":"error"}"#, "error"),
        (r#"{"type":"\u001b[31m"}"#, "\u{1b}[31m"),
        (r#"{"type":42}"#, "42"),
        (r#"{"type":["ping"]}"#, r#"["ping"]"#),
    ] {
        check(text, None, Err(no_type(named)));
    }
    let long = format!(r#"{{"type":"{}"}}"#, "é".repeat(64_000));
    assert_eq!(refused(&long), no_type(&"é".repeat(UNKNOWN_TYPE_CHARS_MAX)));
}

/// Fourteen values that are no message type and no name of a room.
const WRONG: [&str; 14] = [
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1.5",
    "1e400",
    "[]",
    "[\"r\"]",
    "{}",
    "{\"a\":1}",
    "[[[]]]",
    "\"\"",
    "[null]",
];

#[test]
fn wrong_kinds_of_type_are_unknown_types() {
    for value in WRONG {
        let refusal = refused(&format!(r#"{{"type":{value},"room":"r","message":"m"}}"#));
        assert!(matches!(refusal, Refusal::UnknownType(_)), "{value}: {refusal:?}");
    }
}

#[test]
fn wrong_kinds_of_room_are_refused_everywhere() {
    for kind in ["join_room", "leave_room", "typing_indicator", "get_history", "get_users", "chat_message"] {
        let missing = if kind == "chat_message" {
            Refusal::MessageRequired
        } else {
            Refusal::NameRequired(TopicKind::Room)
        };
        assert_eq!(refused(&format!(r#"{{"type":"{kind}","message":1}}"#)), missing, "{kind}");
        for value in WRONG {
            let refusal = refused(&format!(r#"{{"type":"{kind}","room":{value},"message":"m"}}"#));
            if matches!(value, "null" | "\"\"") {
                assert_eq!(refusal, missing, "{kind} {value}");
            } else {
                assert!(invalid("room")(&refusal), "{kind} {value}: {refusal:?}");
            }
        }
    }
}

#[test]
fn a_message_is_any_value_but_nothing() {
    for kind in ["chat_message\",\"room\":\"r", "broadcast"] {
        assert_eq!(refused(&format!(r#"{{"type":"{kind}"}}"#)), Refusal::MessageRequired);
        for value in WRONG {
            let text = format!(r#"{{"type":"{kind}","message":{value}}}"#);
            match decode(&text).asked {
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::MessageRequired);
                    assert!(matches!(value, "null" | "\"\""), "{value}");
                }
                Ok(Command::Publish { payload, .. } | Command::Broadcast { payload }) => {
                    assert_eq!(payload, value.as_bytes());
                }
                Ok(other) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn message_bytes_are_relayed_exactly() {
    for message in [
        r#"" ""#,
        r#""\u0000""#,
        "\"\u{2028}\u{2029}\u{7f}\u{feff}\"",
        r#""\u2028\uD83C\uDF89\/""#,
        "\"🎉 astral\"",
        "1e400",
        "-0.10",
        "123456789012345678901234567890",
        "{ \"b\" : [1 , 2 , {\"a\":{}}] ,\t\"b\":\"twice\" }",
        "[[[[[[\"deep\"]]]]]]",
    ] {
        check(
            &format!(r#"{{"type":"chat_message","room":"r","message": {message} ,"id":1}}"#),
            Some("1"),
            Ok(publish("r", message)),
        );
    }
}

#[test]
fn wrong_kinds_of_optional_fields_are_refused() {
    for (kind, field, good) in [
        ("chat_message", "echo", ["true", "false", "null"]),
        ("typing_indicator", "is_typing", ["true", "false", "null"]),
        ("get_history", "limit", ["0", "7", "null"]),
        ("get_history", "before", ["0", "7", "null"]),
        ("join_room", "history", ["0", "7", "null"]),
        ("join_room", "since", [r#"{"offset":0,"epoch":""}"#, r#"{"offset":1,"epoch":"\u0061"}"#, "null"]),
    ] {
        let text = |value| format!(r#"{{"type":"{kind}","room":"r","message":1,"{field}":{value}}}"#);
        for value in good {
            assert!(decode(&text(value)).asked.is_ok(), "{}", text(value));
        }
        for value in WRONG.into_iter().chain(["1e2", "7.0", "18446744073709551616", "\"7\"", "\"true\""]) {
            if !good.contains(&value) {
                assert!(invalid(field)(&refused(&text(value))), "{}", text(value));
            }
        }
    }
    let long = format!(r#"{{"offset":1,"epoch":"{}"}}"#, "x".repeat(EPOCH_BYTES_MAX));
    for since in [
        r#"{"offset":1}"#,
        r#"{"epoch":"e"}"#,
        r#"{"offset":-1,"epoch":"e"}"#,
        r#"{"offset":"1","epoch":"e"}"#,
        r#"{"offset":1,"epoch":2}"#,
        r#"{"offset":1,"epoch":null}"#,
        r#"[1,"e"]"#,
        &long,
    ] {
        let text = format!(r#"{{"type":"join_room","room":"r","since":{since}}}"#);
        assert!(invalid("since")(&refused(&text)), "{since}");
    }
    let long = format!("\"{}\"", "x".repeat(TAG_BYTES_MAX));
    for ts in ["[]", "{}", "[1]", &long] {
        assert!(invalid("ts")(&refused(&format!(r#"{{"type":"ping","ts":{ts}}}"#))), "{ts}");
    }
}

#[test]
fn what_is_no_object_is_invalid_json() {
    let deep = format!(r#"{{"type":"chat_message","room":"r","message":{}}}"#, "[".repeat(10_000));
    let deep_unknown = format!(r#"{{"type":"ping","x":{}1{}}}"#, "[".repeat(25_000), "]".repeat(25_000));
    for text in [
        "",
        "ping",
        "[]",
        "\"ping\"",
        "null",
        r#"{"type":"ping""#,
        r#"{"type":"ping"}x"#,
        r#"{"type":"ping"}{"type":"ping"}"#,
        r#"{"type":"ping","id":1,}"#,
        r#"{"type":"chat_message","room":"r","message":"\ud800"}"#,
        &deep,
        &deep_unknown,
    ] {
        check(text, None, Err(Refusal::InvalidJson));
    }
}
