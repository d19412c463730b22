//! Documents: several write at once, and all read the same.

use serde_json::{Value, json};

use crate::support::editor::{Change, Editor};
use crate::support::{Client, Server};

/// An edit of the text of `version`.
fn edit(version: u64, change: &Change) -> Value {
    json!({"type": "text_operation", "doc_id": "d", "version": version, "operation": operation(change)})
}

/// A user with a document open.
struct Writer {
    client: Client,
    editor: Editor,
}

fn change(operation: &Value) -> Change {
    let place =
        |field: &str| usize::try_from(operation[field].as_u64().expect("a position")).expect("it fits");
    match operation["type"].as_str() {
        Some("insert") => {
            Change::Insert(place("position"), operation["text"].as_str().expect("a text").chars().collect())
        }
        Some("delete") => Change::Delete(place("start"), place("end")),
        _ => panic!("no operation: {operation}"),
    }
}

fn operation(change: &Change) -> Value {
    match change {
        Change::Insert(at, text) => {
            json!({"type": "insert", "position": at, "text": text.iter().collect::<String>()})
        }
        Change::Delete(start, end) => json!({"type": "delete", "start": start, "end": end}),
    }
}

impl Writer {
    fn open(server: &Server, user: &str) -> Writer {
        let mut writer = Writer { client: server.user(user), editor: Editor::default() };
        writer.join();
        writer
    }

    fn join(&mut self) -> Value {
        let state = self.client.ask(json!({"type": "join_document", "doc_id": "d"}));
        assert_eq!((&state["type"], &state["doc_id"]), (&json!("document_state"), &json!("d")), "{state}");
        let version = state["version"].as_u64().expect("a version");
        self.editor.begin(state["content"].as_str().expect("a text"), version);
        state
    }

    /// Edits without waiting for anything.
    fn edit(&mut self, change: &Change) {
        let version = self.editor.edit(change);
        self.client.send(&edit(version, change));
    }

    /// Takes what the server says until `done`.
    fn hear(&mut self, done: impl Fn(&Editor) -> bool) {
        while !done(&self.editor) {
            let said = self.client.object();
            let version = said["version"].as_u64();
            match said["type"].as_str() {
                Some("text_operation") => {
                    let change = change(&said["operation"]);
                    assert!(self.editor.hear(version.expect("a version"), change), "{said}");
                }
                Some("ack") => {
                    assert!(self.editor.acknowledged(version.expect("a version")), "{said}");
                    assert_eq!(said["doc_id"], "d");
                }
                Some("user_joined" | "user_left" | "cursor_update") => {}
                _ => panic!("{said}"),
            }
        }
    }
}

fn insert(at: usize, text: &str) -> Change {
    Change::Insert(at, text.chars().collect())
}

/// Complaint: two who type at once see different texts.
#[test]
fn who_write_at_once_read_the_same_in_the_end() {
    let server = Server::start(&[]);
    let mut writers: Vec<Writer> = (0..4).map(|n| Writer::open(&server, &format!("u{n}"))).collect();
    writers[0].edit(&insert(0, "The quick brown fox \u{1f98a} jumps over the lazy dog."));
    for writer in &mut writers {
        writer.hear(|editor| editor.version == 1);
    }
    // None of them reads before all have written many times, so that nearly everything crosses.
    let mut used = 0;
    for round in 0..30 {
        for (n, writer) in writers.iter_mut().enumerate() {
            let len = writer.editor.text.len();
            let at = (round * 7 + n * 11) % (len + 1);
            if (round + n) % 3 == 0 {
                writer.edit(&Change::Delete(at, (at + 4).min(len)));
            } else {
                used += 1;
                writer.edit(&insert(at, &format!("<{used}\u{e9}>")));
            }
        }
    }
    for writer in &mut writers {
        writer.hear(|editor| editor.waiting() == 0);
    }
    let newest = writers.iter().map(|writer| writer.editor.version).max().expect("four");
    for writer in &mut writers {
        writer.hear(|editor| editor.version == newest);
    }
    let text = writers[0].editor.content();
    assert!(writers.iter().all(|writer| writer.editor.content() == text));
    let late = Writer::open(&server, "late");
    assert_eq!((late.editor.content(), late.editor.version), (text, newest));
}

#[test]
fn members_see_who_is_there_and_where() {
    let server = Server::start(&[]);
    let mut ann = server.client("/ws?user_id=ann&username=Ann");
    let state = ann.ask(json!({"type": "join_document", "doc_id": "d", "user_info": {"colour": "#336"}}));
    assert_eq!(
        (&state["content"], &state["version"], &state["cursors"]),
        (&json!(""), &json!(0), &json!([]))
    );
    assert_eq!(
        state["users"],
        json!([{"user_id": "ann", "username": "Ann", "user_info": {"colour": "#336"}}])
    );
    let mut bob = server.user("bob");
    bob.ask(json!({"type": "join_document", "doc_id": "d", "user_info": [1]}));
    let joined = ann.expect("user_joined");
    let expected =
        json!({"type": "user_joined", "doc_id": "d", "user_id": "bob", "members_count": 2, "user_info": [1]});
    assert_eq!(joined, expected);
    let insert = json!({"type": "insert", "position": 0, "text": "hello"});
    let edit = json!({"type": "text_operation", "doc_id": "d", "version": 0, "operation": insert});
    let ack = ann.ask(edit);
    assert_eq!((&ack["type"], &ack["doc_id"], &ack["version"]), (&json!("ack"), &json!("d"), &json!(1)));
    let told =
        json!({"type": "text_operation", "doc_id": "d", "operation": insert, "version": 1, "user_id": "ann"});
    assert_eq!(bob.expect("text_operation"), told);
    bob.send(
        &json!({"type": "cursor_update", "doc_id": "d", "position": 5, "selection": {"start": 5, "end": 2},
        "version": 1}),
    );
    let cursor = json!({"type": "cursor_update", "doc_id": "d", "user_id": "bob", "position": 5,
        "selection": {"start": 5, "end": 2}, "version": 1});
    assert_eq!(ann.expect("cursor_update"), cursor);
    let acknowledged = bob.ask(json!({"type": "cursor_update", "doc_id": "d", "position": 1}));
    assert_eq!(acknowledged["type"], "ack");
    let state = server.user("cat").ask(json!({"type": "join_document", "doc_id": "d"}));
    assert_eq!(state["cursors"], json!([{"user_id": "bob", "position": 1}]));
    assert_eq!(ann.find("user_left")["user_id"], "cat", "it is gone with its connection");
    let left = bob.ask(json!({"type": "leave_document", "doc_id": "d"}));
    assert_eq!((&left["type"], &left["doc_id"]), (&json!("document_left"), &json!("d")));
    assert_eq!(
        ann.expect("user_left"),
        json!({"type": "user_left", "doc_id": "d", "user_id": "bob", "members_count": 1})
    );
    let stranger = bob.ask(json!({"type": "leave_document", "doc_id": "d"}));
    assert_eq!(stranger["code"], "not_in_document");
}

#[test]
fn who_is_refused_joins_again_and_goes_on() {
    let server = Server::start(&["--document-history", "3", "--max-document", "20B"]);
    let (mut ann, mut bob) = (Writer::open(&server, "ann"), Writer::open(&server, "bob"));
    for n in 0..5 {
        ann.edit(&insert(n, "x"));
        ann.hear(|editor| editor.waiting() == 0);
    }
    // Bob has heard nothing of it, and sends three at once: all are refused, whatever they are.
    for _ in 0..3 {
        bob.edit(&insert(0, "y"));
    }
    for _ in 0..3 {
        let error = bob.client.find("error");
        assert_eq!((&error["code"], &error["doc_id"]), (&json!("version_too_old"), &json!("d")));
    }
    assert_eq!(bob.join()["content"], "xxxxx");
    bob.edit(&insert(5, "z"));
    bob.hear(|editor| editor.waiting() == 0);
    for (change, code) in [
        (insert(0, "far too long for it"), "document_full"),
        (insert(7, "x"), "invalid_field"),
        (Change::Delete(3, 9), "invalid_field"),
        (Change::Delete(4, 3), "invalid_field"),
    ] {
        assert_eq!(bob.client.ask(edit(6, &change))["code"], code);
        let next = bob.client.ask(edit(6, &insert(0, "")));
        assert_eq!(next["code"], "version_too_old", "what follows was made on what never was");
        assert_eq!(bob.join()["content"], "xxxxxz");
    }
    assert_eq!(bob.client.ask(edit(7, &insert(0, "x")))["code"], "invalid_field");
    ann.hear(|editor| editor.version == 6);
    assert_eq!(ann.editor.content(), "xxxxxz");
}

/// Complaint: a burst beyond the rate limit leaves the document in pieces. What comes after an edit that was not taken
/// was made on a text that nobody else has, so it must not be taken either.
#[test]
fn an_edit_that_was_one_too_many_takes_those_after_it_along() {
    let server = Server::start(&["--rate-limit", "2/s,burst=3"]);
    let mut ann = Writer::open(&server, "ann");
    for n in 0..5 {
        ann.edit(&insert(n, &n.to_string()));
    }
    let codes: Vec<Value> = (0..5).map(|_| ann.client.object()["code"].clone()).collect();
    // Acknowledgements come from the document's owner, so what is refused before may overtake them.
    let taken = codes.iter().filter(|code| code.is_null()).count();
    assert!((1..5).contains(&taken) && codes.contains(&json!("rate_limited")), "{codes:?}");
    // Sooner or later it is heard again, and told to join.
    let mut heard = |object: Value| loop {
        let answer = ann.client.ask(object.clone());
        match answer["retry_after_ms"].as_u64() {
            Some(wait) => std::thread::park_timeout(std::time::Duration::from_millis(wait)),
            None => break answer,
        }
    };
    assert_eq!(heard(edit(0, &insert(5, "!")))["code"], "version_too_old");
    let state = heard(json!({"type": "join_document", "doc_id": "d"}));
    assert_eq!(state["content"], "01234"[..taken]);
}

/// Complaint: the document is gone when its last editor reconnects.
#[test]
fn a_text_outlives_its_last_member() {
    let server = Server::start(&[]);
    let mut ann = Writer::open(&server, "ann");
    ann.edit(&insert(0, "kept"));
    ann.hear(|editor| editor.waiting() == 0);
    ann.client.close();
    let bob = Writer::open(&server, "bob");
    assert_eq!((bob.editor.content(), bob.editor.version), ("kept".into(), 1));
}

#[test]
fn an_idle_text_is_forgotten_in_time() {
    let server = Server::start(&["--document-ttl", "1s", "--ping-interval", "2s"]);
    let mut ann = Writer::open(&server, "ann");
    ann.edit(&insert(0, "kept"));
    ann.hear(|editor| editor.waiting() == 0);
    ann.client.ask(json!({"type": "leave_document", "doc_id": "d"}));
    server.client("/ws?heartbeat=json").find("heartbeat");
    assert_eq!(ann.join()["content"], "");
}
