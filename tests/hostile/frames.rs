//! Catalogue 22–29 and 38: frames that RFC 6455 does not allow, and just those that it does.

use crate::beside::withstands;
use crate::peer::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, Peer, TEXT, frame, header};
use crate::server::Server;

/// Both kinds of endpoint read frames.
const ENDPOINTS: [&str; 2] = ["/echo", "/ws"];
/// The default `--max-message`.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// An open WebSocket that has said what it has to.
#[track_caller]
fn open(server: &Server, target: &str) -> Peer {
    if target == "/ws" { Peer::member(server, target) } else { Peer::open(server, target) }
}

/// The bytes are answered with this close code, then the connection ends. What follows them is not.
#[track_caller]
fn fails(server: &Server, bytes: &[u8], code: u16) {
    for target in ENDPOINTS {
        let mut peer = open(server, target);
        peer.send(bytes);
        peer.try_send(frame(FIN | PING, b"ignored"));
        let reason = peer.expect_close(code);
        assert!(!reason.is_empty(), "our own reason for {code}");
    }
}

fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, u8::try_from(payload.len()).expect("short")], payload].concat()
}

/// A header with exactly this length field.
fn declares(first: u8, length: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | if length.len() == 2 { 126 } else { 127 }], length, &[1, 2, 3, 4]].concat()
}

#[test]
fn c22_unmasked_and_reserved() {
    withstands(&[], |server| {
        for first in [FIN | TEXT, FIN | BINARY, FIN | PING, FIN | PONG, FIN | CLOSE] {
            fails(server, &unmasked(first, b""), 1002);
            fails(server, &unmasked(first, b"\x03\xe8"), 1002);
        }
        for reserved in [0x40, 0x20, 0x10, 0x70] {
            fails(server, &frame(FIN | reserved | TEXT, b"a"), 1002);
            fails(server, &frame(FIN | reserved | PING, b"a"), 1002);
        }
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            fails(server, &frame(FIN | opcode, b""), 1002);
            fails(server, &frame(opcode, b"a"), 1002);
        }
    });
}

#[test]
fn c23_control_frames_long_or_in_pieces() {
    withstands(&[], |server| {
        for opcode in [PING, PONG, CLOSE] {
            fails(server, &frame(opcode, b"a"), 1002);
            fails(server, &frame(FIN | opcode, &[b'a'; 126]), 1002);
            fails(server, &header(FIN | opcode, 1 << 16), 1002);
            fails(server, &declares(FIN | opcode, &5_u16.to_be_bytes()), 1002);
        }
        let mut peer = Peer::open(server, "/echo");
        peer.send(frame(FIN | PING, &[b'a'; 125]));
        peer.expect_echo(PONG, &[b'a'; 125]);
    });
}

#[test]
fn c24_fragments_out_of_place() {
    withstands(&[], |server| {
        fails(server, &frame(CONTINUATION, b"a"), 1002);
        fails(server, &frame(FIN | CONTINUATION, b"a"), 1002);
        fails(server, &frame(FIN | CONTINUATION, b""), 1002);
        for first in [TEXT, BINARY] {
            for second in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
                fails(server, &[frame(first, b"a"), frame(second, b"b")].concat(), 1002);
            }
        }
        for target in ENDPOINTS {
            let mut peer = open(server, target);
            peer.send([frame(TEXT, b"{}"), frame(FIN | CONTINUATION, b"")].concat());
            assert_ne!(peer.next(), crate::peer::Said::End);
            peer.send(frame(FIN | CONTINUATION, b"late"));
            peer.expect_close(1002);
        }
    });
}

/// Tomcat CVE-2020-13935 looped for ever, gorilla CVE-2020-27813 overflowed, rust-websocket CVE-2022-35922 allocated.
#[test]
fn c25_length_of_all_ones() {
    withstands(&[], |server| {
        let space = server.address_space_mib();
        for (length, code) in [
            (u64::MAX, 1002),
            (1 << 63, 1002),
            ((1 << 63) - 1, 1009),
            (1 << 62, 1009),
            ((1 << 32) + 15, 1009),
            ((64 << 20) + 1, 1009),
            (MESSAGE_BYTES_MAX as u64 + 1, 1009),
        ] {
            let length = length.to_be_bytes();
            for opcode in [TEXT, BINARY] {
                // At the header, before any payload.
                fails(server, &declares(FIN | opcode, &length), code);
                fails(server, &declares(opcode, &length), code);
                let continued = [frame(opcode, b"aa"), declares(FIN | CONTINUATION, &length)].concat();
                fails(server, &continued, code);
            }
            fails(server, &[declares(FIN | TEXT, &length), vec![0; 15]].concat(), code);
        }
        let grown = server.address_space_mib() - space;
        assert!(grown < 32, "{grown} MiB of address space");
        assert!(server.peak_growth_mib() < 16, "{} MiB", server.peak_growth_mib());
    });
}

#[test]
fn c25_lengths_in_more_bytes_than_needed() {
    withstands(&[], |server| {
        for length in [0_u16, 1, 125] {
            fails(server, &declares(FIN | BINARY, &length.to_be_bytes()), 1002);
        }
        for length in [0_u64, 125, 126, 65535] {
            fails(server, &declares(FIN | BINARY, &length.to_be_bytes()), 1002);
        }
    });
}

/// Memory is for what has come, not for what was promised.
#[test]
fn c26_many_promises() {
    withstands(&[], |server| {
        let promise = [header(FIN | BINARY, MESSAGE_BYTES_MAX as u64), vec![7]].concat();
        let peers: Vec<Peer> = (0..300)
            .map(|_| {
                let mut peer = Peer::open(server, "/echo");
                peer.send(&promise);
                peer
            })
            .collect();
        assert!(server.peak_growth_mib() < 40, "{} MiB", server.peak_growth_mib());
        drop(peers);
    });
}

#[test]
fn c27_messages_without_end() {
    withstands(&["--max-message", "256KiB"], |server| {
        for target in ENDPOINTS {
            let mut peer = open(server, target);
            peer.send(frame(TEXT, b"a"));
            let piece = frame(CONTINUATION, &[b'a'; 16 << 10]);
            while peer.try_send(&piece) {}
            // It may be lost, as more was sent after it than anybody reads.
            assert_eq!(peer.close_code_at_end().unwrap_or(1009), 1009);
        }
        let before = server.growth_mib();
        let half = [header(BINARY, 200 << 10), vec![7; 100 << 10]].concat();
        let parked: Vec<Peer> = (0..100)
            .map(|_| {
                let mut peer = Peer::open(server, "/echo");
                peer.send(&half);
                peer
            })
            .collect();
        // 10 MB were sent; three times that is the most that may be kept.
        let grown = server.growth_mib().saturating_sub(before);
        assert!(grown < 30, "{grown} MiB");
        drop(parked);
    });
}

#[test]
fn c28_text_that_is_no_utf8() {
    withstands(&[], |server| {
        let bad: [&[u8]; 9] = [
            b"\xff",
            b"\xc0\xaf",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\xf8\x88\x80\x80\x80",
            b"ok \x80",
            b"cut \xf0\x9f\x98",
            b"\xe2\x28\xa1",
            b"{\"type\":\"ping\xff\"}",
        ];
        for text in bad {
            fails(server, &frame(FIN | TEXT, text), 1007);
            fails(server, &[frame(TEXT, b"good"), frame(FIN | CONTINUATION, text)].concat(), 1007);
        }
        // At once: neither the frame nor the message has ended.
        for text in [&b"\xff"[..], b"\xed\xa0", b"\xf4\x90"] {
            let begun = frame(TEXT, &[b"good ", text, &[b'a'; 100]].concat());
            fails(server, &begun[..begun.len() - 90], 1007);
            fails(server, &[frame(TEXT, b"good"), frame(CONTINUATION, text)].concat(), 1007);
        }
        // A character cut by the end of the message, but only by that.
        fails(server, &[frame(TEXT, b"\xf0\x9f"), frame(FIN | CONTINUATION, b"")].concat(), 1007);
        // Bytes are bytes.
        let mut peer = Peer::open(server, "/echo");
        peer.send(frame(FIN | BINARY, b"\xff\xc0\xaf"));
        peer.expect_echo(BINARY, b"\xff\xc0\xaf");
    });
}

#[test]
fn c29_a_character_over_fragments_with_pings_between() {
    withstands(&[], |server| {
        let mut peer = Peer::open(server, "/echo");
        let mut first = TEXT;
        for byte in "\u{1f600}".as_bytes() {
            peer.send([frame(first, &[*byte]), frame(FIN | PING, b"between")].concat());
            peer.expect_echo(PONG, b"between");
            first = CONTINUATION;
        }
        peer.send(frame(FIN | CONTINUATION, b""));
        peer.expect_echo(TEXT, "\u{1f600}".as_bytes());
    });
}

#[test]
fn c38_messages_of_every_form_of_length() {
    withstands(&[], |server| {
        let mut peer = Peer::open(server, "/echo");
        for length in [0, 1, 125, 126, 127, 65535, 65536, MESSAGE_BYTES_MAX - 1, MESSAGE_BYTES_MAX] {
            let payload = vec![b'x'; length];
            peer.send(frame(FIN | TEXT, &payload));
            peer.expect_echo(TEXT, &payload);
            let (head, tail) = payload.split_at(length / 3);
            peer.send([frame(BINARY, head), frame(FIN | CONTINUATION, tail)].concat());
            peer.expect_echo(BINARY, &payload);
        }
        peer.send(frame(BINARY, &vec![b'x'; MESSAGE_BYTES_MAX]));
        peer.send(frame(CONTINUATION, b""));
        peer.send(frame(CONTINUATION, b"x"));
        peer.expect_close(1009);
    });
}
