//! Catalogue 30, 31, 35 and 36: ends of connections, in order, against the rules and without a word.

use std::thread;

use crate::beside::withstands;
use crate::peer::{BINARY, CLOSE, FIN, PING, PONG, Peer, Said, TEXT, close, frame, header, text, upgrade};
use crate::server::eventually;

#[test]
fn c30_close_codes() {
    withstands(&[], |server| {
        let ends = |payload: &[u8], code: u16| {
            for target in ["/echo", "/ws"] {
                let mut peer = Peer::open(server, target);
                peer.send(frame(FIN | CLOSE, payload));
                assert_eq!(peer.close_code_at_end(), Some(code), "{payload:02x?}");
            }
        };
        ends(b"", 1005);
        ends(b"\x03", 1002);
        for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
            ends(&u16::to_be_bytes(code), 1002);
        }
        for code in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4999]) {
            ends(&u16::to_be_bytes(code), code);
            ends(&[&code.to_be_bytes()[..], "grüße".as_bytes()].concat(), code);
        }
        ends(b"\x03\xe8\xff", 1007);
        ends(b"\x03\xe8cut \xf0\x9f\x98", 1007);
        ends(&[&b"\x03\xe8"[..], &[b'a'; 123]].concat(), 1000);
        // ws 8.20.1: memory of others in a close frame. Ours hold the code, and no reason that we did not write.
        let mut peer = Peer::open(server, "/echo");
        peer.send(close(4321, b"a reason of mine"));
        assert_eq!(peer.next(), Said::Frame(CLOSE, 4321_u16.to_be_bytes().to_vec()));
        assert_eq!(peer.next(), Said::End);
    });
}

#[test]
fn c31_nothing_is_obeyed_after_close() {
    withstands(&[], |server| {
        let mut listener = Peer::member(server, "/ws/closing");
        listener.object("room_joined");
        let after = [
            text(r#"{"type":"chat_message","room":"closing","message":"after close"}"#),
            text(r#"{"type":"broadcast","message":"after close"}"#),
            frame(FIN | PING, b"after close"),
            frame(FIN | TEXT, b"\xff"),
            frame(FIN | 3, b"no such opcode"),
            close(1000, b""),
        ]
        .concat();
        for target in ["/echo", "/ws/closing"] {
            let mut peer = Peer::open(server, target);
            peer.send(frame(FIN | PING, b"open"));
            while peer.next() != Said::Frame(PONG, b"open".to_vec()) {}
            peer.send([close(1000, b""), after.clone()].concat());
            peer.try_send(&after);
            assert_eq!(peer.close_code_at_end(), Some(1000), "one close frame, and nothing behind it");
        }
        listener.object("user_joined");
        listener.object("user_left");
    });
}

/// Answers that are under way, from other shards too, when the close frame comes.
#[test]
fn nothing_is_answered_after_close() {
    withstands(&["--shards", "4"], |server| {
        for round in 0..100 {
            let mut peer = Peer::member(server, "/ws/asked");
            let asks = [
                r#"{"type":"get_stats"}"#,
                r#"{"type":"get_users","room":"asked"}"#,
                r#"{"type":"leave_room","room":"asked"}"#,
                r#"{"type":"get_stats"}"#,
            ];
            let asks: Vec<u8> = asks.iter().flat_map(|ask| text(ask)).collect();
            peer.send([asks, close(1000, b"")].concat());
            assert_eq!(peer.close_code_at_end(), Some(1000), "round {round}");
        }
    });
}

/// Undertow CVE-2017-2670: an unclean end in the middle of a frame, and the loop spun for ever.
#[test]
fn c35_ends_in_the_middle() {
    withstands(&[], |server| {
        let message = text(r#"{"type":"chat_message","room":"ghosts","message":"half"}"#);
        let mut watcher = Peer::member(server, "/ws/ghosts?user_id=watcher");
        watcher.object("room_joined");
        for round in 0..60 {
            let mut peer = Peer::member(server, "/ws/ghosts");
            peer.object("room_joined");
            peer.send(&message[..message.len() * (round % 10) / 10]);
            match round % 3 {
                0 => peer.reset(),
                1 => peer.finish(),
                _ => drop(peer),
            }
            watcher.object("user_joined");
            assert_eq!(watcher.object("user_left")["members_count"], 1, "no ghosts");
        }
        for part in [1, upgrade("/echo").len() / 2] {
            let mut peer = Peer::connect(server);
            peer.send(&upgrade("/echo")[..part]);
            peer.reset();
        }
        // While the server writes.
        for _ in 0..10 {
            let mut peer = Peer::open(server, "/echo");
            peer.send(frame(FIN | BINARY, &vec![7; 1 << 20]));
            peer.reset();
        }
    });
}

/// The peer is there, or is not, but shows no life: it goes, and its place is free.
#[test]
fn c36_no_sign_of_life() {
    withstands(&["--ping-interval", "1s", "--pong-timeout", "2s"], |server| {
        let mut mute = Peer::member(server, "/ws/mute?user_id=mute");
        mute.object("room_joined");
        let mut half = Peer::open(server, "/echo");
        half.send(header(FIN | BINARY, 1000));
        thread::scope(|scope| {
            for peer in [&mut mute, &mut half] {
                scope.spawn(|| {
                    assert!(matches!(peer.next(), Said::Frame(PING, _)));
                    assert_eq!(peer.close_code_at_end(), Some(4006));
                });
            }
            // One that answers stays.
            let mut alive = Peer::open(server, "/echo");
            for _ in 0..3 {
                let Said::Frame(PING, payload) = alive.next() else { panic!("a ping expected") };
                alive.send(frame(FIN | PONG, &payload));
            }
            alive.send(frame(FIN | TEXT, b"still here"));
            alive.expect_echo(TEXT, b"still here");
        });
        let mut watcher = Peer::member(server, "/ws/mute?user_id=watcher");
        eventually("the mute one is gone", || {
            watcher.say(r#"{"type":"get_users","room":"mute"}"#);
            watcher.object_among("room_info")["members_count"] == 1
        });
    });
}

/// A client that closes and shuts its side at once still hears our close frame.
#[test]
fn close_and_end_in_one_packet() {
    withstands(&[], |server| {
        for target in ["/echo", "/ws"] {
            for _ in 0..20 {
                let mut peer = Peer::open(server, target);
                peer.send(close(1001, b"leaving"));
                peer.finish();
                assert_eq!(peer.close_code_at_end(), Some(1001));
            }
        }
    });
}
