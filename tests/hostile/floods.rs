//! Catalogue 32–34: more than anybody needs, with the answers read and not read.

use std::time::Duration;

use crate::beside::withstands;
use crate::peer::{BINARY, CONTINUATION, FIN, PING, PONG, Peer, Said, TEXT, frame, text};
use crate::server::Server;

/// How long the kernel must take nothing before a flood counts as held back.
const STALLED: Duration = Duration::from_millis(300);
/// The catalogue's bound for one connection that reads none of its answers.
const UNREAD_MIB_MAX: u64 = 12;

/// The server reads no more once its answers are not read, and keeps little; who reads again gets them all.
#[track_caller]
fn unread(server: &Server, target: &str, ask: &[u8], times: usize) -> Peer {
    let mut peer = Peer::open(server, target);
    let flood = ask.repeat(times);
    let sent = peer.push(&flood, STALLED);
    assert!(sent < flood.len(), "all {sent} bytes were taken");
    assert!(server.peak_growth_mib() < UNREAD_MIB_MAX, "{} MiB", server.peak_growth_mib());
    peer
}

#[test]
fn c32_pings_answered_and_read() {
    withstands(&[], |server| {
        let mut peer = Peer::open(server, "/echo");
        let batch = frame(FIN | PING, b"p").repeat(1000);
        for _ in 0..100 {
            peer.send(&batch);
            for _ in 0..1000 {
                peer.expect_echo(PONG, b"p");
            }
        }
    });
}

#[test]
fn c32_pongs_that_nobody_reads() {
    withstands(&[], |server| {
        let mut peer = unread(server, "/echo", &frame(FIN | PING, &[b'p'; 125]), 400_000);
        for _ in 0..1000 {
            peer.expect_echo(PONG, &[b'p'; 125]);
        }
    });
}

#[test]
fn c33_answers_that_nobody_reads() {
    withstands(&[], |server| {
        let mut peer = unread(server, "/ws", &text(r#"{"type":"ping"}"#), 1_000_000);
        peer.object("welcome");
        for _ in 0..1000 {
            peer.object("pong");
        }
    });
}

/// Seventeen bytes of answer for one of question.
#[test]
fn c33_errors_that_nobody_reads() {
    withstands(&[], |server| {
        let mut peer = unread(server, "/ws", &text(""), 1_000_000);
        peer.object("welcome");
        for _ in 0..1000 {
            assert_eq!(peer.object("error")["code"], "invalid_json");
        }
    });
}

#[test]
fn c33_echoes_that_nobody_reads() {
    withstands(&[], |server| {
        let mut peer = unread(server, "/echo", &frame(FIN | BINARY, &[7; 10_000]), 5_000);
        // So many at least went into the kernels' buffers.
        for _ in 0..300 {
            peer.expect_echo(BINARY, &[7; 10_000]);
        }
    });
}

/// Found here: thousands of short questions in one read, each answered with two megabytes: 2 GB.
#[test]
fn histories_that_nobody_reads() {
    withstands(&[], |server| {
        let mut writer = Peer::member(server, "/ws/archive?user_id=x");
        writer.object("room_joined");
        let long = "a".repeat(900_000);
        for _ in 0..2 {
            writer.say(&format!(r#"{{"type":"chat_message","room":"archive","message":"{long}"}}"#));
            writer.object("chat_message");
        }
        for ask in [
            r#"{"type":"get_history","room":"archive","limit":100}"#,
            r#"{"type":"join_room","room":"archive","history":100}"#,
            r#"{"type":"join_room","room":"archive","since":{"offset":0,"epoch":"x"}}"#,
        ] {
            let before = server.growth_mib();
            let mut peer = Peer::open(server, "/ws/archive?user_id=x");
            peer.send(text(ask).repeat(2000));
            peer.send(frame(FIN | PING, b"end"));
            peer.object("welcome");
            peer.object("room_joined");
            for _ in 0..3 {
                let Said::Frame(TEXT, answer) = peer.next() else { panic!("an answer to {ask}") };
                assert!(answer.len() > 900_000, "{} bytes", answer.len());
            }
            let grown = server.peak_growth_mib().saturating_sub(before);
            assert!(grown < 32, "{grown} MiB for {ask}");
        }
    });
}

/// Lists of a hundred names, asked for without end.
#[test]
fn lists_that_nobody_reads() {
    withstands(&[], |server| {
        let name = "%22".repeat(100);
        let users: Vec<Peer> = (0..100)
            .map(|number| {
                let target = format!("/ws/hall?user_id={number}{name}&username={number}{name}");
                Peer::member(server, &target)
            })
            .collect();
        let before = server.growth_mib();
        for ask in [
            r#"{"type":"get_users","room":"hall"}"#,
            r#"{"type":"join_room","room":"hall"}"#,
            r#"{"type":"get_stats"}"#,
        ] {
            let mut peer = Peer::open(server, "/ws/hall");
            peer.push(&text(ask).repeat(20_000), STALLED);
            let grown = server.peak_growth_mib().saturating_sub(before);
            assert!(grown < 2 * UNREAD_MIB_MAX, "{grown} MiB for {ask}");
        }
        // The same room a thousand times in one request.
        let peer = Peer::open(server, &format!("/ws?{}", "room=hall&".repeat(800)));
        let grown = server.peak_growth_mib().saturating_sub(before);
        assert!(grown < 2 * UNREAD_MIB_MAX, "{grown} MiB for one request");
        drop((peer, users));
    });
}

/// ws 8.21 kept a buffer for each fragment, Undertow CVE-2021-3690 for each pong.
#[test]
fn c34_pongs_and_tiny_fragments() {
    withstands(&["--max-fragments", "off"], |server| {
        let mut peer = Peer::open(server, "/echo");
        let before = server.growth_mib();
        for _ in 0..100 {
            peer.send(frame(FIN | PONG, b"unasked").repeat(1000));
        }
        peer.send(frame(TEXT, b""));
        for _ in 0..100 {
            peer.send(frame(CONTINUATION, b"").repeat(1000));
        }
        for _ in 0..100 {
            peer.send(frame(CONTINUATION, b"f").repeat(1000));
        }
        peer.send(frame(FIN | CONTINUATION, b""));
        peer.expect_echo(TEXT, &[b'f'; 100_000]);
        let grown = server.growth_mib().saturating_sub(before);
        assert!(grown < 8, "{grown} MiB");
    });
}

/// Reads a little, asks for more, and so on: the queue never runs empty.
#[test]
fn answers_read_slower_than_asked() {
    /// Always left unread.
    const LEFT: usize = 50_000;
    withstands(&[], |server| {
        let mut peer = Peer::narrow(server);
        peer.upgrade("/echo");
        let flood = frame(FIN | BINARY, &[7; 1000]).repeat(20_000);
        let (mut asked, mut read) = (0, 0);
        let mut buffer = [0; 8 << 10];
        while asked < flood.len() {
            let end = flood.len().min(asked + 100_000);
            asked += peer.push(&flood[asked..end], Duration::from_millis(1));
            // An echo's header is four bytes shorter than that of its message.
            let answers = asked / 1008 * 1004;
            while read + LEFT < answers {
                read += peer.read(&mut buffer).expect("echoes");
            }
        }
        assert!(server.peak_growth_mib() < UNREAD_MIB_MAX, "{} MiB", server.peak_growth_mib());
        peer.reset();
    });
}
