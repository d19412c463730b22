//! The budget for the whole process: who does not read goes first, who reads notices nothing, newcomers wait; and what
//! a shard does that has too much to do.

use std::{io, thread};

use crate::metrics::{scrape, scrape_by};
use crate::support::raw::{Raw, TEXT, frame};
use crate::support::{Server, eventually, offset};

const QUEUED: &str = "roomcast_memory_bytes{part=\"send_queues\"}";

/// Threat 53, and 69 as far as one process can show it: the queues of those who do not read may each hold all of this,
/// but not together.
#[test]
fn slow_clients_are_let_go_for_memory_and_fast_ones_notice_nothing() {
    const MESSAGES: u64 = 400;
    let server = Server::start(&[
        "--memory",
        "16MiB",
        "--history-memory",
        "1MiB",
        "--send-queue-bytes",
        "512MiB",
        "--send-queue-messages",
        "100000",
    ]);
    let mut fast = server.user("fast");
    fast.join("r");
    let mut deaf: Vec<Raw> = (0..8).map(|number| Raw::user(&server, &format!("deaf{number}"))).collect();
    for raw in &mut deaf {
        raw.join("r");
    }
    let mut publisher = server.user("publisher");
    publisher.join("r");
    let text = "x".repeat(100_000);
    for number in 1..=MESSAGES {
        publisher.say("r", text.as_str());
        assert_eq!(offset(&publisher.find("chat_message")), number);
        assert_eq!(offset(&fast.find("chat_message")), number, "each, and in order");
        if number % 50 == 0 {
            let queued = scrape(&server)[QUEUED];
            assert!(queued < f64::from(18 << 20), "{queued} bytes in queues");
        }
    }
    let found = scrape(&server);
    assert!(found["roomcast_limits_hit_total{limit=\"memory\"}"] >= 1.0);
    assert!(found["roomcast_closes_total{by=\"server\",code=\"4004\"}"] >= 1.0);
    assert_eq!(found["roomcast_memory_budget_bytes"], f64::from(16 << 20));
    assert!(found["roomcast_memory_worst_case_bytes"] > found["roomcast_memory_budget_bytes"]);
    drop(deaf);
    eventually("all is given back", || scrape(&server)[QUEUED] == 0.0);
}

#[test]
fn at_the_hard_bound_newcomers_are_refused() {
    let rule = "room:*,bytes=64MiB,history=1000";
    let server = Server::start(&["--memory", "16MiB", "--topic", rule, "--shards", "1"]);
    let mut watch = server.connect();
    let mut ann = server.user("ann");
    ann.join("r");
    let text = "x".repeat(100_000);
    for _ in 0..100 {
        ann.say("r", text.as_str());
        ann.find("chat_message");
    }
    eventually("newcomers are refused", || {
        ann.settle();
        let answer = server.exchange("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n");
        answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: ")
    });
    ann.say("r", "still here");
    assert_eq!(ann.find("chat_message")["message"], "still here");
    let found = scrape_by(&mut watch);
    assert!(found["roomcast_connections_refused_total{reason=\"memory\"}"] >= 1.0);
    assert!(found["roomcast_memory_bytes{part=\"histories\"}"] > f64::from(16 << 20));
}

#[test]
fn an_overloaded_shard_does_not_hear_the_loudest_for_a_while() {
    let server = Server::start(&["--overload-turn", "1ms", "--shards", "1"]);
    let mut member = server.user("member");
    member.join("r");
    let mut loud = Raw::open(&server, "/echo");
    let mut unread = loud.stream().try_clone().expect("a socket");
    let reader = thread::spawn(move || io::copy(&mut unread, &mut io::sink()));
    let flood = frame(TEXT, &[b'x'; 100]).repeat(20_000);
    let mut watch = server.connect();
    eventually("it is held", || {
        loud.bytes(&flood);
        scrape_by(&mut watch)["roomcast_publishers_held_total"] >= 1.0
    });
    loud.shut();
    let _ = reader.join().expect("it has read");
    eventually("it ends", || {
        member.settle();
        scrape_by(&mut watch)["roomcast_overloaded_shards"] == 0.0
    });
}
