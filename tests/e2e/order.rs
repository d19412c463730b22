//! Every member of a room sees every message exactly once and in the room's one order, also who joins meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Client, Server, offset};

/// Reads chat messages until as many came in each room as `wanted` says; per room, who said what at which offset.
fn read_rooms(client: &mut Client, wanted: &BTreeMap<String, usize>) -> BTreeMap<String, Vec<(u64, String)>> {
    let mut seen: BTreeMap<String, Vec<_>> = wanted.keys().map(|room| (room.clone(), Vec::new())).collect();
    for _ in 0..wanted.values().sum() {
        let object = client.find("chat_message");
        let said = format!("{}:{}", object["user_id"], object["message"]);
        let room = object["room"].as_str().expect("a room");
        seen.get_mut(room).expect("a room it is in").push((offset(&object), said));
    }
    seen
}

#[test]
fn members_on_all_shards_see_the_same_sequence() {
    const ROOMS: usize = 10;
    const MEMBERS: usize = 200;
    const EACH: usize = 5;
    let server = Server::start(&["--shards", "3", "--send-queue-messages", "100000"]);
    let mut members = server.users(MEMBERS);
    let mut rooms: Vec<BTreeMap<String, usize>> = Vec::new();
    for (number, member) in members.iter_mut().enumerate() {
        let both = [number % ROOMS, (number % ROOMS + 1 + number / ROOMS % (ROOMS - 1)) % ROOMS];
        let both = both.map(|room| format!("room {room}"));
        both.iter().for_each(|room| drop(member.join(room)));
        rooms.push(both.into_iter().map(|room| (room, 0)).collect());
    }
    let sizes = rooms.iter().flat_map(BTreeMap::keys).fold(BTreeMap::new(), |mut sizes, room| {
        *sizes.entry(room.clone()).or_insert(0) += 1;
        sizes
    });
    for wanted in rooms.iter_mut().flat_map(BTreeMap::iter_mut) {
        *wanted.1 = sizes[wanted.0] * EACH;
    }
    let all: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = members
            .iter_mut()
            .zip(&rooms)
            .map(|(member, rooms)| {
                scope.spawn(move || {
                    for turn in 0..EACH {
                        rooms.keys().for_each(|room| member.say(room, turn));
                    }
                    read_rooms(member, rooms)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut sequences: BTreeMap<&String, &Vec<(u64, String)>> = BTreeMap::new();
    for (room, seen) in all.iter().flatten() {
        assert!(seen.iter().map(|(offset, _)| *offset).eq(1..=(sizes[room] * EACH) as u64), "{room}");
        assert_eq!(*sequences.entry(room).or_insert(seen), seen, "{room}");
    }
    for sequence in sequences.values() {
        let mut last: BTreeMap<&str, &str> = BTreeMap::new();
        for (_, said) in *sequence {
            let (who, turn) = said.rsplit_once(':').unwrap();
            assert!(last.insert(who, turn).is_none_or(|before| before < turn), "{who} said it in order");
        }
    }
    for (member, rooms) in members.iter_mut().zip(&rooms) {
        for room in rooms.keys() {
            assert_eq!(member.catch_up(room), Vec::<Value>::new(), "nothing more comes");
        }
    }
}

/// Says something again and again, each time after the last has come back, until told to stop.
fn chatter(client: &mut Client, room: &str, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        client.ask(json!({"type": "chat_message", "room": room, "message": "so"}));
        client.settle();
    }
}

/// Chat offsets of the next `count` messages in a room.
fn next_offsets(client: &mut Client, count: usize) -> Vec<u64> {
    (0..count).map(|_| offset(&client.find("chat_message"))).collect()
}

fn listed(snapshot: &Value) -> Vec<u64> {
    snapshot["messages"].as_array().expect("messages").iter().map(offset).collect()
}

/// Joins, checks that history, snapshot and what follows fit together; leaves and comes back the same way.
fn come_and_go(client: &mut Client, number: usize) {
    const FOLLOWING: usize = 5;
    let mut ask = json!({"type": "join_room", "room": "r"});
    if number % 2 == 1 {
        ask["history"] = json!(10);
    }
    for _ in 0..4 {
        let joined = client.ask(ask.clone());
        let head = offset(&joined);
        if ask.get("history").is_some() {
            let oldest = head.saturating_sub(9).max(1);
            assert_eq!(listed(&joined), (oldest..=head).collect::<Vec<_>>(), "{joined}");
        }
        if let Some(since) = ask.get("since") {
            let listed = listed(&joined);
            let recovered = joined["recovered"] == json!(true);
            let first =
                if recovered { offset(since) + 1 } else { listed.first().copied().unwrap_or(head + 1) };
            assert_eq!(listed, (first..=head).collect::<Vec<_>>(), "{joined}");
            assert!(recovered || head - offset(since) > 100, "the history reaches so far: {joined}");
        }
        let following = next_offsets(client, FOLLOWING);
        assert_eq!(following, (head + 1..=head + FOLLOWING as u64).collect::<Vec<_>>());
        client.send(&json!({"type": "leave_room", "room": "r", "id": "leave"}));
        let mut last = head + FOLLOWING as u64;
        loop {
            let object = client.object();
            match object["type"].as_str() {
                Some("room_left") => break,
                Some("chat_message") => {
                    assert_eq!(offset(&object), last + 1);
                    last += 1;
                }
                _ => {}
            }
        }
        let refused = client.ask(json!({"type": "get_users", "room": "r"}));
        assert_eq!(refused["code"], "not_in_room");
        assert_eq!(client.settle(), Vec::<Value>::new(), "nothing comes after the leave");
        ask = json!({"type": "join_room", "room": "r", "since": {"offset": last, "epoch": joined["epoch"]}});
    }
}

#[test]
fn who_joins_while_messages_fly_has_no_hole_and_no_duplicate() {
    let server = Server::start(&["--shards", "3"]);
    let mut publishers = server.users(3);
    for publisher in &mut publishers {
        publisher.join("r");
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for publisher in &mut publishers {
            scope.spawn(|| chatter(publisher, "r", &stop));
        }
        let joiners: Vec<_> = (0..12)
            .map(|number| {
                let mut client = server.client("/ws");
                scope.spawn(move || come_and_go(&mut client, number))
            })
            .collect();
        let ends: Vec<_> = joiners.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        ends.into_iter().for_each(|end| end.unwrap());
    });
}

#[test]
fn who_comes_back_gets_exactly_what_it_missed() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = (server.user("ann"), server.user("bob"));
    let epoch = ann.join("r")["epoch"].clone();
    bob.join("r");
    bob.close();
    for number in 1..=120 {
        ann.say("r", number);
    }
    ann.catch_up("r");
    let back = |since: u64, epoch: &Value| {
        let since = json!({"offset": since, "epoch": epoch});
        server.user("bob").ask(json!({"type": "join_room", "room": "r", "since": since}))
    };
    let joined = back(100, &epoch);
    assert_eq!((joined["recovered"].clone(), listed(&joined)), (json!(true), (101..=120).collect()));
    let joined = back(20, &epoch);
    assert_eq!((joined["recovered"].clone(), listed(&joined)), (json!(true), (21..=120).collect()));
    let joined = back(120, &epoch);
    assert_eq!((joined["recovered"].clone(), listed(&joined)), (json!(true), vec![]));
    for (since, epoch) in [(19, epoch), (100, json!("another"))] {
        let joined = back(since, &epoch);
        assert_eq!((joined["recovered"].clone(), offset(&joined)), (json!(false), 120));
        assert_eq!(listed(&joined), (21..=120).collect::<Vec<_>>());
    }
}
