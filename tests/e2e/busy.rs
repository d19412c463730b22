//! Large rooms and floods: nobody loses anything, and those who come and go meanwhile are not mixed up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use crate::support::raw::{Raw, TEXT, frame};
use crate::support::{Client, Server, eventually, offset};

/// Sends `count` chat messages at once, each of about `bytes` bytes.
fn flood(raw: &mut Raw, room: &str, count: usize, bytes: usize) {
    let mut all = Vec::new();
    for number in 0..count {
        let message = format!("{number}{}", ".".repeat(bytes));
        let object = json!({"type": "chat_message", "room": room, "message": message});
        all.extend_from_slice(&frame(TEXT, object.to_string().as_bytes()));
    }
    raw.bytes(&all);
}

/// Reads chat messages until the one with offset `last`; they have to follow on each other.
fn read_up_to(client: &mut Client, first: u64, last: u64) {
    for expected in first..=last {
        assert_eq!(offset(&client.find("chat_message")), expected);
    }
}

/// Joins and leaves again and again; between the two nothing is missing, and after it nothing comes.
fn come_and_go(client: &mut Client, room: &str, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut last = offset(&client.join(room));
        client.send(&json!({"type": "leave_room", "room": room, "id": "leave"}));
        loop {
            let object = client.object();
            match object["type"].as_str() {
                Some("chat_message") => {
                    assert_eq!(offset(&object), last + 1);
                    last += 1;
                }
                Some("room_left") => break,
                _ => {}
            }
        }
        let after = client.settle();
        assert!(after.iter().all(|object| object["type"] != "chat_message"), "{after:?}");
    }
}

/// Uses rooms of its own for as long as it takes to say one thing: they come and go behind the others' fan-outs.
fn use_and_forget(client: &mut Client, name: &str, stop: &AtomicBool) {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let room = format!("{name} {}", number % 7);
        client.send(&json!({"type": "join_room", "room": room}));
        client.send(&json!({"type": "chat_message", "room": room, "message": number}));
        client.leave(&room);
        let answers = client.settle();
        let kinds: Vec<_> = answers.iter().map(|object| object["type"].as_str().expect("a type")).collect();
        assert_eq!(kinds, ["room_joined", "chat_message"]);
    }
}

/// Comes, joins and is gone, in every way there is.
fn visit(server: &Server, room: &str, stop: &AtomicBool) {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let mut raw = Raw::open(server, &format!("/ws?room={room}"));
        match number % 4 {
            0 => raw.reset(),
            1 => raw.frame(8, &[]),
            2 => drop(raw.next()),
            _ => {
                raw.send(&json!({"type": "leave_room", "room": room}));
                raw.next();
                raw.next();
            }
        }
    }
}

#[test]
fn a_large_room_stays_whole_while_members_come_and_go() {
    const STAYERS: usize = 320;
    const MESSAGES: u16 = 300;
    let server = Server::start(&["--send-queue-messages", "100000", "--send-queue-bytes", "64MiB"]);
    let mut stayers = server.users(STAYERS);
    for stayer in &mut stayers {
        stayer.join("large");
    }
    let mut publisher = Raw::user(&server, "publisher");
    publisher.join("large");
    let mut movers: Vec<Client> = (0..4).map(|_| server.user("mover")).collect();
    let mut tourists: Vec<Client> = (0..2).map(|_| server.client("/ws")).collect();
    let stop = AtomicBool::new(false);
    let stop = &stop;
    thread::scope(|scope| {
        let mut restless = Vec::new();
        for mover in &mut movers {
            restless.push(scope.spawn(move || come_and_go(mover, "large", stop)));
        }
        for (number, tourist) in tourists.iter_mut().enumerate() {
            restless.push(scope.spawn(move || use_and_forget(tourist, &format!("tour {number}"), stop)));
        }
        restless.push(scope.spawn(|| visit(&server, "large", stop)));
        flood(&mut publisher, "large", usize::from(MESSAGES), 20);
        let readers: Vec<_> = stayers
            .chunks_mut(STAYERS / 4)
            .map(|chunk| {
                scope.spawn(|| chunk.iter_mut().for_each(|stayer| read_up_to(stayer, 1, MESSAGES.into())))
            })
            .collect();
        let ends: Vec<_> = readers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        ends.into_iter()
            .chain(restless.into_iter().map(thread::ScopedJoinHandle::join))
            .for_each(|end| end.unwrap());
    });
    let stats = stayers[0].ask(json!({"type": "get_stats"}));
    assert_eq!(stats["type"], "server_stats");
    for stayer in &mut stayers {
        assert!(stayer.catch_up("large").iter().all(|object| object["type"] != "chat_message"), "once each");
    }
}

#[test]
fn a_flood_reaches_its_own_publisher_and_leaves_room_for_others() {
    const FLOOD: usize = 20_000;
    let server = Server::start(&["--send-queue-messages", "100000", "--send-queue-bytes", "64MiB"]);
    let mut publisher = server.user("publisher");
    publisher.join("flood");
    let mut others = server.users(8);
    for (number, other) in others.iter_mut().enumerate() {
        other.join(&format!("room {}", number / 2));
    }
    let writer = publisher.stream().try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut all = Vec::new();
            for number in 0..FLOOD {
                let object =
                    json!({"type": "chat_message", "room": "flood", "message": number, "id": number});
                all.extend_from_slice(&frame(TEXT, object.to_string().as_bytes()));
            }
            std::io::Write::write_all(&mut &writer, &all).unwrap();
        });
        let reader = scope.spawn(|| {
            for number in 0..FLOOD {
                let echo = publisher.expect("chat_message");
                assert_eq!((echo["id"].clone(), echo["message"].clone()), (json!(number), json!(number)));
                assert_eq!(offset(&echo), number as u64 + 1);
            }
        });
        while !reader.is_finished() {
            for (number, other) in others.iter_mut().enumerate() {
                let said = other.ask(
                    json!({"type": "chat_message", "room": format!("room {}", number / 2), "message": 1}),
                );
                assert_eq!(said["type"], "chat_message");
            }
        }
    });
    let counts: Vec<usize> = (0..)
        .zip(&mut others)
        .map(|(number, other)| {
            let heard = other.catch_up(&format!("room {}", number / 2));
            heard.iter().filter(|object| object["type"] == "chat_message").count()
        })
        .collect();
    assert!(counts.iter().all(|count| *count == counts[0]), "each heard its neighbour as often: {counts:?}");
}

/// Requests of one write are handled in one turn, so the room's fan-outs are unfinished when it is left.
#[test]
fn leaving_behind_unfinished_fan_outs() {
    let server = Server::start(&["--shards", "1", "--send-queue-messages", "100000"]);
    let mut members = server.users(100);
    for member in &mut members {
        member.join("large");
    }
    let said = |room: &str| {
        frame(TEXT, json!({"type": "chat_message", "room": room, "message": 1}).to_string().as_bytes())
    };
    let asked =
        |kind: &str, room: &str| frame(TEXT, json!({"type": kind, "room": room}).to_string().as_bytes());
    for round in 0..20 {
        let mut guest = Raw::user(&server, "guest");
        guest.join("large");
        let mut last = Raw::user(&server, "last");
        last.join("large");
        let mut all = said("large").repeat(100);
        for part in [
            asked("join_room", "small"),
            said("small"),
            asked("leave_room", "small"),
            asked("leave_room", "large"),
        ] {
            all.extend_from_slice(&part);
        }
        guest.bytes(&all);
        // Meanwhile the last of the list goes.
        match round % 2 {
            0 => last.reset(),
            _ => last.shut(),
        }
        let mut left = Vec::new();
        while left.len() < 2 {
            let object = guest.object();
            if object["type"] == "room_left" {
                left.push(object["room"].clone());
            }
        }
        assert!(left.contains(&json!("small")) && left.contains(&json!("large")));
    }
    read_up_to(&mut members[0], 1, 2000);
    eventually("only those stay who did not leave", || {
        members[0].ask(json!({"type": "get_stats"}))["rooms"] == json!({"large": 100})
    });
}

/// Writes these frames while somebody else reads the same connection.
fn write_all(stream: &std::net::TcpStream, frames: &[u8]) {
    std::io::Write::write_all(&mut &*stream, frames).expect("the frames go out");
}

/// Every shard owns rooms that all others publish to: no two may wait for each other.
#[test]
fn floods_in_all_directions_come_to_an_end() {
    const EACH: usize = 500;
    let server =
        Server::start(&["--shards", "4", "--send-queue-messages", "1000000", "--send-queue-bytes", "1GiB"]);
    let rooms: Vec<String> = (0..5).map(|number| format!("room {number}")).collect();
    let mut clients = server.users(8);
    for client in &mut clients {
        rooms.iter().for_each(|room| drop(client.join(room)));
    }
    let count = clients.len();
    thread::scope(|scope| {
        for client in &mut clients {
            let mut frames = Vec::new();
            for number in 0..EACH {
                for room in &rooms {
                    let object = json!({"type": "chat_message", "room": room, "message": number});
                    frames.extend_from_slice(&frame(TEXT, object.to_string().as_bytes()));
                }
            }
            let writer = client.stream().try_clone().unwrap();
            scope.spawn(move || write_all(&writer, &frames));
            let rooms = &rooms;
            scope.spawn(move || {
                let mut heads = vec![0; rooms.len()];
                while heads.iter().any(|head| *head < (EACH * count) as u64) {
                    let object = client.find("chat_message");
                    let room = rooms.iter().position(|room| object["room"] == room.as_str()).unwrap();
                    heads[room] += 1;
                    assert_eq!(offset(&object), heads[room]);
                }
            });
        }
    });
}

#[test]
fn a_flood_of_broadcasts_reaches_everybody_in_order() {
    const BROADCASTS: u64 = 1000;
    let server =
        Server::start(&["--shards", "3", "--send-queue-messages", "1000000", "--send-queue-bytes", "1GiB"]);
    let mut clients = server.users(60);
    let mut publisher = server.user("publisher");
    let mut frames = Vec::new();
    for number in 0..BROADCASTS {
        let object = json!({"type": "broadcast", "message": number});
        frames.extend_from_slice(&frame(TEXT, object.to_string().as_bytes()));
    }
    thread::scope(|scope| {
        scope.spawn(|| write_all(publisher.stream(), &frames));
        for chunk in clients.chunks_mut(20) {
            scope.spawn(move || {
                for number in 0..BROADCASTS {
                    for client in &mut *chunk {
                        assert_eq!(client.expect("broadcast")["message"], number);
                    }
                }
            });
        }
    });
    assert!(publisher.settle().is_empty());
}

#[test]
fn nothing_is_left_of_those_who_came_and_went() {
    let server = Server::start(&["--shards", "3", "--max-connections-per-user", "1000"]);
    thread::scope(|scope| {
        for thread in 0..4 {
            let server = &server;
            scope.spawn(move || {
                for number in 0..60 {
                    let target =
                        format!("/ws/all?room=r{}&room=t{thread}&user_id=u{}", number % 5, number % 7);
                    let mut raw = Raw::open(server, &target);
                    raw.send(
                        &json!({"type": "chat_message", "room": "all", "message": "x".repeat(number * 10)}),
                    );
                    if number % 3 == 0 {
                        raw.frame(8, &[]);
                        raw.close_code();
                    } else if number % 3 == 1 {
                        raw.reset();
                    }
                }
            });
        }
    });
    let mut last = server.client("/ws");
    eventually("all are gone", || {
        let stats = last.ask(json!({"type": "get_stats"}));
        stats["total_clients"] == 1 && stats["total_rooms"] == 0 && stats["rooms"] == json!({})
    });
    eventually("only these two are there", || {
        let health = server.health();
        health["active_connections"] == 2 && health["rooms"] == 0
    });
}
