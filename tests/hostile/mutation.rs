//! Catalogue 15 and 51, and cuts: good input changed at random, and good input cut at every byte.
//!
//! The seed is fixed, so a failure comes again; what was sent is in its message.

use serde_json::Value;

use roomcast::base::prng::Prng;

use crate::beside::withstands;
use crate::peer::{CLOSE, FIN, PING, PONG, Peer, Said, TEXT, close, frame, text, upgrade};
use crate::server::Server;

const SEED: u64 = 0x5eed_0fba_dc0d_e000;
const MESSAGES: u64 = 2500;
const HANDSHAKES: u64 = 400;
const STREAMS: u64 = 600;

/// Good input to begin with.
const GOOD: [&str; 12] = [
    r#"{"type":"join_room","room":"mutants","id":7,"since":{"offset":3,"epoch":"abc"}}"#,
    r#"{"type":"leave_room","room":"mutants","id":"seven"}"#,
    r#"{"type":"chat_message","room":"mutants","message":{"a":[1,2.5e3,"\u00e9\n"]},"echo":true}"#,
    r#"{"type":"typing_indicator","room":"mutants","is_typing":false}"#,
    r#"{"type":"get_history","room":"mutants","limit":5,"before":12}"#,
    r#"{"type":"get_users","room":"mutants"}"#,
    r#"{"type":"broadcast","message":"to all"}"#,
    r#"{"type":"get_stats","id":1}"#,
    r#"{"type":"ping","ts":123456}"#,
    r#"{"type":"pong"}"#,
    r#"{"action":"join","roomId":"mutants","content":null}"#,
    r#"{"type":"ack","seq":1}"#,
];
/// What is put somewhere.
const SPICE: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\0",
    b"\n",
    b"\r\n",
    b" ",
    b"null",
    b"-",
    b"1e999",
    b"\\u0000",
    b"\\ud800",
    b"\xc3\xa9",
    b"\xff",
    b"\xf0\x9f\x98\x80",
    b"__proto__",
    b"18446744073709551616",
    b"//",
    b"\"a\":1,",
];

fn below(prng: &mut Prng, bound: usize) -> usize {
    usize::try_from(prng.below(bound as u64)).expect("less than the bound")
}

/// Changes the input in one to four places.
fn mutate(prng: &mut Prng, input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=below(prng, 4) {
        let at = below(prng, bytes.len() + 1);
        let until = at + below(prng, (bytes.len() - at).min(12) + 1);
        match below(prng, 6) {
            0 => drop(bytes.drain(at..until)),
            1 => {
                let spice = SPICE[below(prng, SPICE.len())];
                bytes.splice(at..at, spice.iter().copied());
            }
            2 => {
                let copy = bytes[at..until].repeat(1 + below(prng, 5));
                bytes.splice(at..at, copy);
            }
            3 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << below(prng, 8);
                }
            }
            4 => {
                let spice = SPICE[below(prng, SPICE.len())];
                bytes.splice(at..until, spice.iter().copied());
            }
            _ => bytes.truncate(at.max(bytes.len() / 2)),
        }
    }
    bytes
}

/// Each is answered, as the mark behind it shows, or ends the connection with a code that fits.
#[test]
fn c51_mutated_messages() {
    withstands(&[], |server| {
        let mut prng = Prng::new(SEED);
        let mut peer = Peer::member(server, "/ws");
        let (mut answers, mut closes) = (0, 0);
        for number in 0..MESSAGES {
            let good = GOOD[below(&mut prng, GOOD.len())];
            let mutant = mutate(&mut prng, good.as_bytes());
            let mark = format!(r#"{{"type":"ping","id":"mark {number}"}}"#);
            peer.send([frame(FIN | TEXT, &mutant), text(&mark)].concat());
            loop {
                let shown = String::from_utf8_lossy(&mutant);
                match peer.next() {
                    Said::Frame(TEXT, payload) => {
                        let object: Value = serde_json::from_slice(&payload).unwrap_or_else(|error| {
                            panic!("{error}: {} to {shown}", String::from_utf8_lossy(&payload))
                        });
                        if object["type"] == "pong" && object["id"] == format!("mark {number}") {
                            break;
                        }
                        answers += 1;
                    }
                    Said::Frame(CLOSE, payload) => {
                        assert!(std::str::from_utf8(&mutant).is_err(), "closed for {shown}");
                        assert_eq!(payload[..2], 1007_u16.to_be_bytes(), "{shown}");
                        closes += 1;
                        peer = Peer::member(server, "/ws");
                        break;
                    }
                    said => panic!("{said:?} to {shown}"),
                }
            }
        }
        assert!(answers > MESSAGES / 3 && closes > 50, "{answers} answers, {closes} closes");
    });
}

#[test]
fn c15_mutated_handshakes() {
    withstands(&[], |server| {
        let mut prng = Prng::new(SEED + 1);
        let (mut opened, mut refused) = (0, 0);
        for _ in 0..HANDSHAKES {
            let target = ["/ws?room=mutants&user_id=%41", "/echo", "/ws/mutants", "/"][below(&mut prng, 4)];
            let mutant = mutate(&mut prng, upgrade(target).as_bytes());
            let mut peer = Peer::connect(server);
            peer.send(&mutant);
            // A client waits for its answer; what is no whole request gets none, so the second end is ours.
            if mutant.windows(4).any(|four| four == b"\r\n\r\n") {
                let shown = String::from_utf8_lossy(&mutant);
                let answer = peer.answer().unwrap_or_else(|| panic!("no answer to {shown}"));
                assert!([101, 200, 400, 404, 405, 413, 426, 505].contains(&answer.status), "{shown}");
                opened += usize::from(answer.status == 101);
                refused += usize::from(answer.status >= 400);
            }
            peer.finish();
            peer.rest();
        }
        assert!(opened > 10 && refused > 100, "{opened} opened, {refused} refused");
    });
}

/// Streams of frames, changed at random: whatever they become, the end is in order.
#[test]
fn c22_mutated_frames() {
    withstands(&[], |server| {
        let mut prng = Prng::new(SEED + 2);
        let good = [
            frame(FIN | TEXT, "a text of some length, \u{e9}".as_bytes()),
            frame(TEXT, b"in "),
            frame(FIN | PING, b"between"),
            frame(FIN, b"two"),
            frame(FIN | 2, &[9; 300]),
            close(1000, b"bye"),
        ]
        .concat();
        let mut codes = [0; 4];
        for _ in 0..STREAMS {
            let mutant = mutate(&mut prng, &good);
            let mut peer = Peer::open(server, "/echo");
            peer.try_send(&mutant);
            peer.finish();
            match peer.close_code_at_end() {
                None => codes[0] += 1,
                Some(1002) => codes[1] += 1,
                Some(1007) => codes[2] += 1,
                Some(1009 | 1000 | 1005 | 1001 | 1003 | 1008 | 1010..=1014 | 3000..=4999) => codes[3] += 1,
                Some(code) => panic!("{code} to {mutant:02x?}"),
            }
        }
        assert!(codes.iter().all(|count| *count > 5), "{codes:?}");
    });
}

/// What the server answers to one conversation, sorted, without what differs from one to the next.
#[track_caller]
fn conversation(server: &Server, probe: &mut Peer, room: &str, cut: Option<usize>) -> (usize, Vec<String>) {
    let stream = [
        upgrade(&format!("/ws/{room}?user_id=cut")).into_bytes(),
        text(&format!(r#"{{"type":"chat_message","room":"{room}","message":"café","id":1}}"#)),
        frame(TEXT, br#"{"type":"#),
        frame(FIN | PING, b"inside"),
        frame(FIN, br#""ping","id":2}"#),
    ]
    .concat();
    let mut peer = Peer::connect(server);
    let (head, tail) = stream.split_at(cut.unwrap_or(0));
    peer.send(head);
    if cut.is_some() {
        // The one shard sees what came in order: when it has answered this, it has read that.
        probe.send(frame(FIN | PING, b"probe"));
        assert_eq!(probe.next(), Said::Frame(PONG, b"probe".to_vec()));
    }
    peer.send(tail);
    peer.switched();
    let mut said: Vec<String> = (0..5)
        .map(|_| match peer.next() {
            Said::Frame(TEXT, payload) => {
                let object: Value = serde_json::from_slice(&payload).expect("JSON");
                format!("{} {} {} {}", object["type"], object["id"], object["message"], object["offset"])
            }
            other => format!("{other:?}"),
        })
        .collect();
    // Answers of the room's owner come when they come.
    said.sort_unstable();
    peer.send(close(1000, b"done"));
    assert_eq!(peer.close_code_at_end(), Some(1000));
    (stream.len(), said)
}

#[test]
fn c13_cut_at_every_byte() {
    withstands(&["--shards", "1"], |server| {
        let mut probe = Peer::open(server, "/echo");
        let (length, whole) = conversation(server, &mut probe, "cut-0000", None);
        assert!(whole.iter().any(|said| said == r#""chat_message" 1 "café" 1"#), "{whole:?}");
        for cut in 1..length {
            let (_, said) = conversation(server, &mut probe, &format!("cut-{cut:04}"), Some(cut));
            assert_eq!(said, whole, "cut behind byte {cut}");
        }
    });
}
