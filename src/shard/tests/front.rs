//! What a shard is told of what stands before its sockets.

use super::*;
use crate::base::network::{Network, Trusted};
use crate::shard::barred::Barred;

fn limits() -> Limits {
    let networks = vec![Network::parse("10.0.0.0/8").unwrap()];
    Limits { trusted: Trusted { networks, unix: false }, ..Limits::default() }
}

const UPGRADE: &str = "GET /echo HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    X-Forwarded-For: 10.0.0.7, 192.0.2.7, 10.0.0.1\r\n\r\n";

impl Rig {
    fn said_to(&self, key: Key) -> Vec<u8> {
        let own = self.written.iter().filter(|(to, _)| *to == key);
        own.flat_map(|(_, bytes)| bytes.iter().copied()).collect()
    }
}

#[test]
fn handshakes_have_a_budget_in_each_turn() {
    let mut rig = Rig::new(1, Limits::default());
    for _ in 0..3 {
        rig.shard.begin_turn(Now { mono: rig.now, wall: Wall(0) });
        let taken = (0..100).filter(|_| rig.shard.takes_handshake()).count();
        assert_eq!(taken, rig.shard.limits.pace.handshakes_per_turn as usize);
        rig.shard.end_turn();
    }
}

/// A client behind a proxy is not heard before it is known whether it may come, and loses nothing by that, wherever the
/// bytes are cut.
#[test]
fn who_comes_by_a_proxy_waits_to_be_counted() {
    let frame = [&[0x81, 0x82][..], &MASK, &[b'h' ^ 1, b'i' ^ 2]].concat();
    let bytes = [UPGRADE.as_bytes(), &frame].concat();
    for cut in 0..=bytes.len() {
        let mut rig = Rig::new(1, limits());
        let key = rig.shard.handle_open(Peer::Loopback.as_proxy());
        rig.turn(&[(key, &bytes[..cut])]);
        let mut located = rig.shard.poll_located();
        if located.is_none() {
            rig.turn(&[(key, &bytes[cut..])]);
            located = rig.shard.poll_located();
        } else if rig.shard.takes_input(key) {
            panic!("it is held");
        }
        assert_eq!(located, Some((key, "192.0.2.7".parse().unwrap())), "cut at {cut}");
        assert!(rig.said_to(key).is_empty());
        rig.shard.handle_located(key, Ok(()));
        rig.turn(&[]);
        if cut >= UPGRADE.len() {
            rig.turn(&[(key, &bytes[cut..])]);
        }
        let told = rig.said_to(key);
        assert!(told.starts_with(b"HTTP/1.1 101 ") && told.ends_with(b"\x81\x02hi"), "cut at {cut}");
    }
}

#[test]
fn one_too_many_from_there_is_told_so() {
    for why in [Barred::TooMany, Barred::TooFast, Barred::Banned] {
        let mut rig = Rig::new(1, limits());
        let key = rig.shard.handle_open(Peer::Elsewhere.as_proxy());
        rig.turn(&[(key, UPGRADE.as_bytes())]);
        let (located, _) = rig.shard.poll_located().unwrap();
        rig.shard.handle_located(located, Err(why));
        rig.turn(&[]);
        let told = String::from_utf8(rig.said_to(key)).unwrap();
        assert!(told.starts_with("HTTP/1.1 429 ") && told.contains("Retry-After: 5\r\n"), "{told}");
        assert!(told.contains(why.problem().text));
        assert_eq!(rig.closed.pop(), Some((key, Close::Shutdown)));
    }
}

#[test]
fn only_trusted_proxies_and_only_upgrades_are_located() {
    let mut rig = Rig::new(1, limits());
    let stranger = rig.shard.handle_open(Peer::Elsewhere);
    rig.turn(&[(stranger, UPGRADE.as_bytes())]);
    assert!(rig.said_to(stranger).starts_with(b"HTTP/1.1 101 "));
    let proxy = rig.shard.handle_open(Peer::Loopback.as_proxy());
    rig.turn(&[(proxy, b"GET /ready HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n")]);
    assert!(rig.said_to(proxy).starts_with(b"HTTP/1.1 200 "));
    assert_eq!(rig.shard.poll_located(), None);
    // A proxy that says by its header that it asks for another one.
    let first = rig.shard.handle_open(Peer::Loopback.as_proxy());
    rig.shard.handle_client(first, "10.1.1.1".parse().unwrap());
    assert_eq!(rig.shard.poll_located(), None);
    rig.turn(&[(first, UPGRADE.as_bytes())]);
    assert!(rig.shard.poll_located().is_some());
}

#[test]
fn what_is_no_tls_is_answered_and_what_is_broken_ends() {
    let mut rig = Rig::new(1, Limits::default());
    let plain = rig.shard.handle_open(Peer::Elsewhere);
    rig.shard.handle_plaintext(plain);
    rig.turn(&[]);
    assert!(rig.said_to(plain).starts_with(b"HTTP/1.1 400 "));
    let echo = rig.open("/echo");
    rig.shard.handle_garbled(echo);
    rig.turn(&[]);
    assert_eq!(rig.closed.pop(), Some((echo, Close::Shutdown)));
}
