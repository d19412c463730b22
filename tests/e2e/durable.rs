//! What `--data-dir` promises: what was told before the power went is there after it comes back. Histories, inboxes,
//! documents.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Client, Server, offset};

/// Room for what a test publishes; and no other rule.
const LONG: &str = "room:*,history=100000,bytes=64MiB";

/// A folder of its own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name =
            format!("roomcast-durable-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Folder(std::env::temp_dir().join(name))
    }

    fn server(&self, durability: &str) -> Server {
        let path = self.0.to_str().expect("a path in UTF-8");
        Server::start(&["--data-dir", path, "--durability", durability, "--topic", LONG])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn kill(mut server: Server) {
    server.signal(Signal::KILL);
    server.exit_status();
}

/// Joins `room` with all that came after `offset` of `epoch`.
fn rejoin(client: &mut Client, room: &str, offset: u64, epoch: &Value) -> Value {
    client.ask(json!({"type": "join_room", "room": room, "since": {"offset": offset, "epoch": epoch}}))
}

fn numbers(joined: &Value) -> Vec<(u64, &Value)> {
    joined["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|one| (offset(one), &one["message"]))
        .collect()
}

/// "A publish that was acknowledged is in history": also when the process is killed in the middle of it all.
#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    const ROOMS: usize = 5;
    const ROUNDS: usize = 4;
    let folder = Folder::new();
    let mut acknowledged: Vec<Vec<(u64, Value)>> = vec![Vec::new(); ROOMS];
    let mut epochs: Vec<Option<Value>> = vec![None; ROOMS];
    for round in 0..ROUNDS {
        let server = folder.server("sync");
        let mut clients = server.users(ROOMS);
        for (number, client) in clients.iter_mut().enumerate() {
            let room = format!("r{number}");
            let joined = match &epochs[number] {
                None => client.join(&room),
                Some(epoch) => rejoin(client, &room, 0, epoch),
            };
            if round > 0 {
                assert_eq!(joined["recovered"], true, "{joined}");
                let kept: Vec<(u64, Value)> =
                    numbers(&joined).into_iter().map(|(offset, message)| (offset, message.clone())).collect();
                assert!(kept.iter().map(|(offset, _)| *offset).eq(1..=kept.len() as u64), "no hole");
                for told in &acknowledged[number] {
                    assert!(kept.contains(told), "{told:?} of {room}");
                }
                acknowledged[number] = kept;
            }
            epochs[number] = Some(joined["epoch"].clone());
        }
        // Each has some under way when the process dies.
        for message in 0..30 {
            for (number, client) in clients.iter_mut().enumerate() {
                client.say(&format!("r{number}"), format!("{round}-{message}"));
            }
            if message >= 10 {
                for (number, client) in clients.iter_mut().enumerate() {
                    let told = client.find("chat_message");
                    acknowledged[number].push((offset(&told), told["message"].clone()));
                }
            }
        }
        kill(server);
    }
}

#[test]
fn an_orderly_stop_loses_nothing_at_any_level() {
    for durability in ["sync", "async"] {
        let folder = Folder::new();
        let mut server = folder.server(durability);
        let mut ann = server.user("ann");
        let epoch = ann.join("r")["epoch"].clone();
        for number in 1..=20 {
            ann.say("r", number);
        }
        while offset(&ann.find("chat_message")) < 20 {}
        server.signal(Signal::TERM);
        assert_eq!(ann.closed(), 1001);
        assert_eq!(server.exit_status().code(), Some(0));

        let server = folder.server(durability);
        let mut ann = server.user("ann");
        let joined = rejoin(&mut ann, "r", 15, &epoch);
        assert_eq!(
            (&joined["recovered"], &joined["epoch"]),
            (&json!(true), &epoch),
            "{durability}: {joined}"
        );
        assert_eq!(numbers(&joined).len(), 5);
        ann.say("r", "next");
        assert_eq!(offset(&ann.find("chat_message")), 21, "the numbering goes on");
    }
}

/// What the disk had not reached may have been seen: a client that saw it must not take what comes for what it has.
#[test]
fn after_a_crash_at_level_async_numberings_are_new() {
    let folder = Folder::new();
    let server = folder.server("async");
    let mut ann = server.user("ann");
    let epoch = ann.join("r")["epoch"].clone();
    ann.say("r", "one");
    ann.find("chat_message");
    kill(server);
    let server = folder.server("async");
    let joined = rejoin(&mut server.user("ann"), "r", 1, &epoch);
    assert_eq!(joined["recovered"], false);
    assert_ne!(joined["epoch"], epoch);
}

/// Sends a message to ann, and waits until that is acknowledged.
fn tell_ann(client: &mut Client, message: u64) {
    let ack = client.ask(json!({"type": "direct_message", "user_id": "ann", "message": message}));
    assert_eq!(ack["type"], "ack", "{ack}");
}

/// Connects as ann; number and content of all that is sent again, in order.
fn ann(server: &Server) -> (Client, Vec<(u64, u64)>) {
    let mut ann = server.user("ann");
    // Goes the way of the question for what is kept, and so comes after its answer.
    assert_eq!(ann.ask(json!({"type": "ack", "seq": 0}))["type"], "ack");
    let kept = ann.settle();
    let number = |one: &Value, field: &str| one[field].as_u64().unwrap_or_else(|| panic!("{one}"));
    let kept = kept.iter().map(|one| (number(one, "seq"), number(one, "message"))).collect();
    (ann, kept)
}

/// Messages to users: what was acknowledged to the sender comes, what the receiver has acknowledged does not.
#[test]
fn no_inbox_is_lost_by_kill_9() {
    let folder = Folder::new();
    let (mut sent, mut told, mut done, mut last_seq) = (0, 0, 0, 0);
    for round in 0..4 {
        let server = folder.server("sync");
        let mut bob = server.user("bob");
        let (mut ann, kept) = ann(&server);
        let messages: Vec<u64> = kept.iter().map(|(_, message)| *message).collect();
        let expected: Vec<u64> = (done + 1..=done + messages.len() as u64).collect();
        assert_eq!(messages, expected, "round {round}: all that was not acknowledged, in order");
        assert!(done + messages.len() as u64 >= told, "round {round}: {told} were acknowledged to bob");
        assert!(kept.iter().is_sorted_by(|one, next| one.0 < next.0), "{kept:?}");
        sent = done + messages.len() as u64;
        for _ in 0..10 {
            sent += 1;
            tell_ann(&mut bob, sent);
            let seq = ann.expect("direct_message")["seq"].as_u64().expect("a number");
            assert!(seq > last_seq, "{seq} after {last_seq}");
            last_seq = seq;
        }
        // In the last round but one, all.
        let left = if round == 2 { 0 } else { 3 };
        assert_eq!(ann.ask(json!({"type": "ack", "seq": last_seq - left}))["type"], "ack");
        (done, told) = (sent - left, sent);
        if left > 0 {
            // Under way when the process dies.
            for _ in 0..5 {
                sent += 1;
                bob.send(&json!({"type": "direct_message", "user_id": "ann", "message": sent}));
            }
        }
        kill(server);
    }
    assert!(sent > 40);
}

/// Clients pass over a number that they have seen: after a crash that lost some, it must not stand for something else.
#[test]
fn after_a_crash_at_level_async_no_number_of_an_inbox_comes_again() {
    let folder = Folder::new();
    let mut last = 0;
    for round in 0..3 {
        let server = folder.server("async");
        let mut bob = server.user("bob");
        let (mut ann, kept) = ann(&server);
        assert!(kept.iter().all(|(seq, _)| *seq > last), "round {round}: {kept:?} after {last}");
        for message in 0..3 {
            tell_ann(&mut bob, message);
            let seq = ann.find("direct_message")["seq"].as_u64().expect("a number");
            assert!(seq > last, "round {round}: {seq} after {last}");
            last = seq;
        }
        kill(server);
    }
}

/// Whatever the level, what ends in order loses nothing and goes on with the next number.
#[test]
fn an_orderly_stop_keeps_inboxes_and_documents() {
    for durability in ["sync", "async"] {
        let folder = Folder::new();
        let mut server = folder.server(durability);
        let mut bob = server.user("bob");
        (1..=3).for_each(|message| tell_ann(&mut bob, message));
        let state = bob.ask(json!({"type": "join_document", "doc_id": "d"}));
        assert_eq!((&state["version"], &state["content"]), (&json!(0), &json!("")));
        let operation = json!({"type": "insert", "position": 0, "text": "kept"});
        let edit = json!({"type": "text_operation", "doc_id": "d", "version": 0, "operation": operation});
        assert_eq!(bob.ask(edit)["version"], 1);
        server.signal(Signal::TERM);
        assert_eq!(bob.closed(), 1001);
        assert_eq!(server.exit_status().code(), Some(0));

        let server = folder.server(durability);
        let (mut ann, kept) = ann(&server);
        assert_eq!(kept, [(1, 1), (2, 2), (3, 3)], "{durability}");
        tell_ann(&mut server.user("bob"), 4);
        assert_eq!(ann.expect("direct_message")["seq"], 4);
        let state = ann.ask(json!({"type": "join_document", "doc_id": "d"}));
        assert_eq!((&state["version"], &state["content"]), (&json!(1), &json!("kept")), "{durability}");
    }
}

/// An edit that was acknowledged is in the text, whenever the process is killed; so is each before it, and none twice.
#[test]
fn no_edit_that_was_acknowledged_is_lost_by_kill_9() {
    const EDITS: u64 = 120;
    // So much that the text is written as a whole in between.
    let piece = |version: u64| format!("{version:05}{}", "x".repeat(400));
    let folder = Folder::new();
    let (mut acknowledged, mut text, mut version) = (0, String::new(), 0);
    for _ in 0..3 {
        let server = folder.server("sync");
        let mut ann = server.user("ann");
        let state = ann.ask(json!({"type": "join_document", "doc_id": "d"}));
        let now = state["version"].as_u64().expect("a version");
        assert!(now >= acknowledged, "at {now}, {acknowledged} was acknowledged");
        for edit in version..now {
            text.push_str(&piece(edit));
        }
        assert!(state["content"] == text, "version {now} of the text");
        (version, acknowledged) = (now, now);
        let mut position = text.chars().count();
        for edit in now..now + EDITS {
            let piece = piece(edit);
            let operation = json!({"type": "insert", "position": position, "text": piece});
            position += piece.len();
            ann.send(
                &json!({"type": "text_operation", "doc_id": "d", "version": now, "operation": operation}),
            );
        }
        while acknowledged < now + EDITS * 2 / 3 {
            acknowledged = ann.expect("ack")["version"].as_u64().expect("a version");
        }
        kill(server);
    }
    assert!(version > EDITS);
}

/// A file that an earlier layout was written in is named, with what can be done.
#[test]
fn a_file_of_another_layout_ends_the_start() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).expect("a folder");
    let database = redb::Database::create(folder.0.join("roomcast.redb")).expect("a file");
    let transaction = database.begin_write().expect("a transaction");
    let marks = redb::TableDefinition::<&str, u64>::new("marks");
    transaction.open_table(marks).expect("a table").insert("layout", 1).expect("a row");
    transaction.commit().expect("written");
    drop(database);
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.env_clear().args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(&folder.0);
    let output = command.stdin(Stdio::null()).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("has layout 1 and this release knows 2"), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
}

#[test]
fn a_folder_belongs_to_one_process() {
    let folder = Folder::new();
    let _server = folder.server("sync");
    let mut second = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    second.env_clear().args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(&folder.0);
    let output = second.stdin(Stdio::null()).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("in use by another process") && said.trim_end().lines().count() == 1, "{said}");
}

/// A file that is none of ours is named, and left as it is.
#[test]
fn a_damaged_file_ends_the_start_and_is_left_alone() {
    let folder = Folder::new();
    std::fs::create_dir_all(&folder.0).expect("a folder");
    let file = folder.0.join("roomcast.redb");
    let content = b"not a store ".repeat(1000);
    std::fs::write(&file, &content).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomcast"));
    command.env_clear().args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(&folder.0);
    let output = command.stdin(Stdio::null()).output().expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("roomcast.redb"));
    assert_eq!(std::fs::read(&file).expect("still there"), content);
}
