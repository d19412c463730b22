//! What `--data-dir` promises: what was told before the power went is there after it comes back.

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
