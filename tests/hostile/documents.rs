//! Documents and binary messages that mean no good.

use serde_json::{Value, json};

use crate::beside::withstands;
use crate::peer::{BINARY, FIN, PING, Peer, Said, TEXT, frame, text};
use crate::server::Server;

const JOIN: &str = r#"{"type":"join_document","doc_id":"d"}"#;

fn edit(version: u64, operation: &Value) -> String {
    json!({"type": "text_operation", "doc_id": "d", "version": version, "operation": operation}).to_string()
}

fn insert(version: u64, position: u64, text: &str) -> String {
    edit(version, &json!({"type": "insert", "position": position, "text": text}))
}

impl Peer {
    /// A client with document `d` open.
    fn writer(server: &Server, user: &str) -> Peer {
        let mut peer = Peer::member(server, &format!("/ws?user_id={user}"));
        peer.say(JOIN);
        peer.object("document_state");
        peer
    }

    /// The next message with this `id`; others are passed over.
    #[track_caller]
    fn answer_to(&mut self, id: &Value) -> Value {
        loop {
            match self.next_message() {
                Said::Frame(TEXT, payload) => {
                    let object: Value = serde_json::from_slice(&payload).expect("JSON");
                    if object["id"] == *id {
                        return object;
                    }
                }
                Said::Frame(..) => {}
                Said::End => panic!("the connection ended"),
            }
        }
    }

    /// The text, as it is now.
    fn content(&mut self) -> String {
        self.say(JOIN);
        let state = self.object_among("document_state");
        state["content"].as_str().expect("a text").to_owned()
    }
}

#[test]
fn positions_beyond_all_numbers() {
    withstands(&[], |server| {
        let mut peer = Peer::writer(server, "mallory");
        peer.say(&insert(0, 0, "abc"));
        peer.object("ack");
        let numbers = ["4", "4294967296", "18446744073709551615", "18446744073709551616"];
        let far = [&["-1", "1.5", "1e3", "\"0\"", "null", "[]"][..], &numbers].concat();
        for start in far {
            for (operation, end) in [("insert", "0"), ("delete", "0"), ("delete", start)] {
                let message = format!(
                    r#"{{"type":"text_operation","doc_id":"d","version":1,
                    "operation":{{"type":"{operation}","position":{start},"text":"x","start":{start},"end":{end}}}}}"#
                );
                peer.say(&message);
                assert_eq!(peer.object("error")["code"], "invalid_field", "{message}");
                assert_eq!(peer.content(), "abc");
            }
            // Beyond the end is at the end.
            peer.say(&format!(r#"{{"type":"cursor_update","doc_id":"d","position":{start},"id":1}}"#));
            peer.answer_to(&json!(1));
        }
        for version in ["-1", "2", "18446744073709551615", "null", "{}"] {
            let operation = r#"{"type":"delete","start":0,"end":1}"#;
            let message = format!(
                r#"{{"type":"text_operation","doc_id":"d","version":{version},"operation":{operation}}}"#
            );
            peer.say(&message);
            assert_eq!(peer.object("error")["code"], "invalid_field", "{message}");
            assert_eq!(peer.content(), "abc");
        }
    });
}

/// Review finding: one delete that crosses hundreds of inserts was published to everybody in hundreds of pieces.
#[test]
fn one_delete_is_not_hundreds() {
    withstands(&[], |server| {
        let (mut writer, mut mallory) = (Peer::writer(server, "ann"), Peer::writer(server, "mallory"));
        writer.object("user_joined");
        writer.say(&insert(0, 0, &"x".repeat(2000)));
        writer.object("ack");
        for n in 0..500 {
            writer.say(&insert(1 + n, 3 * (500 - n), "y"));
            writer.object("ack");
        }
        mallory.say(&edit(1, &json!({"type": "delete", "start": 0, "end": 2000})));
        assert_eq!(mallory.object_among("error")["code"], "version_too_old");
        assert_eq!(writer.content().len(), 2500, "nobody hears of it");
    });
}

/// Short questions in one read, each answered with a megabyte.
#[test]
fn texts_that_nobody_reads() {
    withstands(&[], |server| {
        let mut writer = Peer::writer(server, "ann");
        writer.say(&insert(0, 0, &"a".repeat(900_000)));
        writer.object("ack");
        let before = server.growth_mib();
        let mut peer = Peer::open(server, "/ws");
        peer.send(text(JOIN).repeat(2000));
        peer.send(frame(FIN | PING, b"end"));
        peer.object("welcome");
        for _ in 0..3 {
            let Said::Frame(TEXT, answer) = peer.next() else { panic!("an answer") };
            assert!(answer.len() > 900_000, "{} bytes", answer.len());
        }
        let grown = server.peak_growth_mib().saturating_sub(before);
        assert!(grown < 32, "{grown} MiB");
    });
}

/// Documents for ever, each as long as it may be.
#[test]
fn documents_fill_what_they_may_and_no_more() {
    withstands(&["--max-rooms-per-connection", "1000", "--shards", "1"], |server| {
        let mut peer = Peer::member(server, "/ws");
        let long = "a".repeat(1 << 19);
        let (mut taken, mut refused) = (0, 100);
        for n in 0..100 {
            peer.say(&format!(r#"{{"type":"join_document","doc_id":"{n}"}}"#));
            peer.object("document_state");
            for version in 0..2 {
                let operation = json!({"type": "insert", "position": 0, "text": long});
                let edit = json!({"type": "text_operation", "doc_id": n.to_string(), "version": version,
                    "operation": operation, "id": n});
                peer.say(&edit.to_string());
                let answer = peer.answer_to(&json!(n));
                if answer["type"] == "ack" {
                    taken += 1;
                    continue;
                }
                let code = if refused == n { "version_too_old" } else { "document_full" };
                assert_eq!(answer["code"], code, "{answer}");
                refused = n;
            }
        }
        assert!((30..45).contains(&taken), "{taken} half megabytes");
        assert!(server.peak_growth_mib() < 160, "{} MiB", server.peak_growth_mib());
    });
}

/// Whatever binary messages say of themselves, nobody gets more than the sender sent, and nobody outside the room.
#[test]
fn binary_headers_that_lie() {
    withstands(&[], |server| {
        let mut peer = Peer::member(server, "/ws/mine?user_id=mallory");
        peer.object("room_joined");
        let mut other = Peer::member(server, "/ws/theirs?user_id=ann");
        other.object("room_joined");
        for word in [0_u32, 1, 4, 15, 16, 1 << 31, 1 << 31 | 1, 1 << 31 | 16, u32::MAX] {
            for room in [&b""[..], b"theirs", b"mine", b"\xff", &[b'x'; 300], b"beside"] {
                for claimed in [0, room.len(), room.len() + 1, 0xffff] {
                    let claimed = u16::try_from(claimed).expect("it fits");
                    peer.send(frame(
                        FIN | BINARY,
                        &[&word.to_be_bytes()[..], &claimed.to_be_bytes(), room].concat(),
                    ));
                }
            }
        }
        peer.say(r#"{"type":"ping","id":"mark"}"#);
        peer.answer_to(&json!("mark"));
        other.say(r#"{"type":"ping","id":"mark"}"#);
        assert_eq!(other.object("pong")["id"], "mark", "nothing came before it");
    });
}
