//! Feeds: known or not, the last value first, and sources that are commands and files.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Client, Server, eventually};

#[track_caller]
fn subscribe(client: &mut Client, feed: &str) {
    let confirmed = client.ask(json!({"type": "subscribe_feed", "feed": feed}));
    assert_eq!((&confirmed["type"], &confirmed["feed"]), (&json!("subscription_confirmed"), &json!(feed)));
}

#[track_caller]
fn update(client: &mut Client) -> Value {
    client.find("data_update")["data"].clone()
}

/// A path of its own, gone with the test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("roomcast-e2e-{}-{name}", std::process::id()));
        let _ = fs::remove_file(&path);
        Place(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }

    fn append(&self, text: &str) {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(&self.0).expect("a file");
        file.write_all(text.as_bytes()).expect("room on the disk");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn unknown_feeds_are_refused_and_leave_nothing() {
    let server = Server::start(&["--feed", "known=exec:sleep 60"]);
    let mut ann = server.user("ann");
    let error = ann.ask(json!({"type": "subscribe_feed", "feed": "unknown"}));
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("unknown_feed")));
    let error = ann.ask(json!({"type": "unsubscribe_feed", "feed": "unknown"}));
    assert_eq!(error["code"], "not_subscribed");
    subscribe(&mut ann, "known");
    let ended = ann.ask(json!({"type": "unsubscribe_feed", "feed": "known"}));
    assert_eq!((&ended["type"], &ended["feed"]), (&json!("subscription_ended"), &json!("known")));
    assert_eq!(ann.settle(), Vec::<Value>::new(), "a feed without a value says nothing");
}

#[test]
fn lines_of_a_command_are_values() {
    let lines = "echo '{\"a\": [1]}'; echo plain; echo; echo 17; exec sleep 60";
    let server = Server::start(&["--feed", &format!("f=exec:{lines}")]);
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    // Whatever came before the subscription is known by its last value.
    subscribe(&mut ann, "f");
    while update(&mut ann) != 17 {}
    subscribe(&mut bob, "f");
    let said = bob.expect("data_update");
    assert_eq!((&said["source"], &said["data"]), (&json!("f"), &json!(17)));
    assert!(said["timestamp"].is_string() && said.get("offset").is_none(), "{said}");
    assert_eq!(bob.settle(), Vec::<Value>::new());
}

#[test]
fn a_command_that_ends_is_started_again() {
    let place = Place::new("again");
    let command = format!("echo x >> {0}; wc -l < {0}", place.text());
    let server = Server::start(&["--feed", &format!("f=exec:{command}")]);
    let mut ann = server.user("ann");
    subscribe(&mut ann, "f");
    let first = update(&mut ann).as_u64().expect("a number");
    assert_eq!(update(&mut ann), first + 1);
}

#[test]
fn a_file_is_followed_from_its_last_line() {
    let place = Place::new("file");
    place.append("1\n2\n3\n");
    let server = Server::start(&["--feed", &format!("f=file:{}", place.text())]);
    let mut ann = server.user("ann");
    subscribe(&mut ann, "f");
    assert_eq!(update(&mut ann), 3);
    place.append("{\"n\":4}\n5");
    assert_eq!(update(&mut ann), json!({"n": 4}));
    place.append("5\n");
    assert_eq!(update(&mut ann), 55);
    fs::remove_file(&place.0).expect("it was there");
    place.append("\"after rotation\"\n");
    assert_eq!(update(&mut ann), "after rotation");
}

#[test]
fn demo_values_come_by_themselves() {
    let args = ["--feed", "s=demo:stocks@10ms", "--feed", "w=demo:weather@10ms", "--shards", "1"];
    let server = Server::start(&args);
    let mut ann = server.user("ann");
    subscribe(&mut ann, "s");
    let (first, second) = (update(&mut ann), update(&mut ann));
    assert!(first["ACME"].is_number() && first != second, "{first} {second}");
    subscribe(&mut ann, "w");
    while ann.expect("data_update")["source"] != "w" {}
}

/// A client that reads nothing for thousands of values is neither let go nor told of a loss: it gets the newest.
#[test]
fn slow_readers_of_a_feed_get_the_newest_value() {
    let padding = "x".repeat(2000);
    let counting = format!(
        "i=0; while [ $i -lt 6000 ]; do i=$((i+1)); echo \"[$i,\\\"{padding}\\\"]\"; done; exec sleep 60"
    );
    let args =
        ["--feed", &format!("f=exec:{counting}"), "--send-queue-messages", "8", "--max-message", "4KiB"];
    let server = Server::start(&args);
    let (mut slow, mut quick) = (server.user("slow"), server.user("quick"));
    subscribe(&mut slow, "f");
    subscribe(&mut quick, "f");
    while update(&mut quick)[0] != 6000 {}
    let mut last = 0;
    while last != 6000 {
        let said = slow.object();
        assert_eq!(said["type"], "data_update", "{said}");
        let next = said["data"][0].as_u64().expect("a number");
        assert!(next > last, "{next} after {last}");
        last = next;
    }
}

/// The whole group goes, also what the command has started and what does not listen to SIGTERM.
#[test]
fn commands_end_with_the_server() {
    let place = Place::new("group");
    let command = format!("trap '' TERM; (echo $$ >> {0}; sleep 60) & echo up; wait; sleep 60", place.text());
    let mut server = Server::start(&["--feed", &format!("f=exec:{command}")]);
    let mut ann = server.user("ann");
    subscribe(&mut ann, "f");
    assert_eq!(update(&mut ann), "up");
    eventually("the command has told its number", || {
        fs::read_to_string(&place.0).is_ok_and(|text| text.ends_with('\n'))
    });
    let number = fs::read_to_string(&place.0).expect("it was read before");
    let group = number.trim();
    assert!(running(group) > 1);
    server.signal(Signal::TERM);
    ann.close();
    assert_eq!(server.exit_status().code(), Some(0));
    assert_eq!(running(group), 0);
}

/// Processes of a group; those that are dead but not yet buried by their parent do not count.
fn running(group: &str) -> usize {
    let processes = fs::read_dir("/proc").expect("Linux tells");
    let stats = processes.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok());
    // `number (name) state parent group …`; a name may hold blanks.
    let of_group = |stat: &String| {
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        fields.first() != Some(&"Z") && fields.get(2) == Some(&group)
    };
    stats.filter(of_group).count()
}
