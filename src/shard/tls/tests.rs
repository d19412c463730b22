//! Against rustls' own client, over a wire that takes and brings pieces of any size.

use proptest::prelude::*;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use std::io::{Read, Write};

use super::*;
use crate::base::prng::Prng;

/// A server's configuration, and a client's that trusts it.
pub(crate) fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (made.cert.der().clone(), made.signing_key.serialize_der());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.clone()], PrivatePkcs8KeyDer::from(key).into())
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

/// Both ends and what is under way.
struct Wire {
    server: Tls,
    client: ClientConnection,
    room: Room,
    /// Written by the server.
    down: Vec<u8>,
    /// Read by the server.
    plain: Vec<u8>,
    /// Read by the client.
    heard: Vec<u8>,
    prng: Prng,
}

impl Wire {
    fn new(version: &'static SupportedProtocolVersion, seed: u64) -> Wire {
        let (server, client) = configs(version);
        let name = ServerName::try_from("localhost").unwrap();
        Wire {
            server: Tls::new(server).unwrap(),
            client: ClientConnection::new(client, name).unwrap(),
            room: Room::default(),
            down: Vec::new(),
            plain: Vec::new(),
            heard: Vec::new(),
            prng: Prng::new(seed),
        }
    }

    /// What the client has to send reaches the server in pieces of at most `piece`.
    fn up(&mut self, piece: usize) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &mut bytes[..];
        while !rest.is_empty() {
            let count = 1 + usize::try_from(self.prng.below(piece as u64)).unwrap();
            let (next, behind) = rest.split_at_mut(count.min(rest.len()));
            self.server.receive(next, &mut self.plain)?;
            rest = behind;
        }
        Ok(())
    }

    /// The server writes records that wait, and the client reads what was written.
    fn down(&mut self) {
        let Wire { server, down, .. } = self;
        server.flush(|bytes| {
            down.extend_from_slice(bytes);
            Written::Bytes(bytes.len())
        });
        let mut bytes = &self.down[..];
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).unwrap();
            self.client.process_new_packets().unwrap();
            let _ = self.client.reader().read_to_end(&mut self.heard);
        }
        self.down.clear();
    }

    fn shake(&mut self, piece: usize) {
        while self.client.is_handshaking() || self.server.is_handshaking() {
            self.up(piece).unwrap();
            self.down();
        }
        self.down();
    }
}

#[test]
fn a_handshake_and_both_directions_in_pieces_of_any_size() {
    for version in [&TLS12, &TLS13] {
        for piece in [1, 3, 50, 1000, 1 << 20] {
            let mut wire = Wire::new(version, 7);
            wire.shake(piece);
            let sent: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
            for part in sent.chunks(30_000) {
                wire.client.writer().write_all(part).unwrap();
                wire.up(piece.max(50)).unwrap();
            }
            assert!(wire.plain == sent);
            let Wire { server, room, down, .. } = &mut wire;
            let slices = [IoSlice::new(b"frame"), IoSlice::new(&sent)];
            let written = server.write(&slices, true, room, |bytes| {
                down.extend_from_slice(bytes);
                Written::Bytes(bytes.len())
            });
            assert_eq!(written, Written::Bytes(sent.len() + 5));
            wire.down();
            assert_eq!(wire.heard, [b"frame", &sent[..]].concat());
            assert!(
                wire.client.process_new_packets().unwrap().peer_has_closed(),
                "close_notify came with the last"
            );
            wire.client.send_close_notify();
            assert!(!wire.server.has_ended());
            wire.up(piece).unwrap();
            assert!(wire.server.has_ended() && wire.server.came.is_empty());
        }
    }
}

/// A queue as the shard has it: what is not reported as written is offered again, in any slices.
fn drain(wire: &mut Wire, sent: &[u8], room_for: &mut impl FnMut(&mut Prng) -> usize) {
    let mut at = 0;
    let mut tries = 0;
    while at < sent.len() {
        tries += 1;
        assert!(tries < 10_000, "it comes to an end");
        let cut = at + usize::try_from(wire.prng.below((sent.len() - at) as u64)).unwrap();
        let slices = [IoSlice::new(&sent[at..cut]), IoSlice::new(&sent[cut..])];
        let Wire { server, room, down, prng, .. } = wire;
        let mut left = room_for(prng);
        let written = server.write(&slices, false, room, |bytes| {
            let count = bytes.len().min(left);
            left -= count;
            down.extend_from_slice(&bytes[..count]);
            if count == 0 { Written::Full } else { Written::Bytes(count) }
        });
        assert!(server.unsent.len() <= PIECE_BYTES + OVERHEAD_BYTES, "one piece at most");
        match written {
            Written::Bytes(count) => at += count,
            Written::Full => {}
            Written::Broken => panic!("nothing is broken"),
        }
        assert_eq!(server.has_unsent(), at < sent.len(), "what waits is known to the queue by its last byte");
        if wire.prng.below(3) == 0 {
            wire.down();
        }
    }
    wire.down();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// However little the socket takes each time, everything comes, once and in order.
    #[test]
    fn a_socket_that_takes_little_gets_everything(seed: u64, length in 2_usize..300_000, most in 1_usize..40_000) {
        let mut wire = Wire::new(&TLS13, seed);
        wire.shake(500);
        let sent: Vec<u8> = (0..length).map(|n| (n % 251).to_le_bytes()[0]).collect();
        let most = most.max(length / 1000) as u64;
        drain(&mut wire, &sent, &mut |prng| usize::try_from(prng.below(most + 1)).unwrap());
        prop_assert!(wire.heard == sent);
        prop_assert!(!wire.server.has_unsent() && wire.server.unsent.capacity() == 0);
    }

    /// Whatever comes in place of a hello: an end, and no panic, and little kept.
    #[test]
    fn garbage_ends_it(bytes in prop::collection::vec(any::<u8>(), 1..3000), cut in 1_usize..3000) {
        let mut tls = Tls::new(configs(&TLS13).0).unwrap();
        let mut plain = Vec::new();
        for piece in bytes.chunks(cut) {
            let _ = tls.receive(&mut piece.to_vec(), &mut plain);
        }
        prop_assert!(plain.is_empty() && tls.is_handshaking() | (tls.stage == Stage::Failed));
        prop_assert!(tls.came.len() <= bytes.len());
    }
}

#[test]
fn a_socket_that_takes_nothing_is_full_and_nothing_grows() {
    let mut wire = Wire::new(&TLS13, 1);
    wire.shake(500);
    let sent = vec![7; 1 << 20];
    for attempt in 0..100 {
        let Wire { server, room, .. } = &mut wire;
        let mut calls = 0;
        let written = server.write(&[IoSlice::new(&sent)], false, room, |_| {
            calls += 1;
            Written::Full
        });
        // The first piece is made into records and counts as written but for its last byte.
        let expected = if attempt == 0 { Written::Bytes(PIECE_BYTES - 1) } else { Written::Full };
        assert_eq!((written, calls), (expected, 1), "asked once for each edge");
        assert!(server.unsent.len() <= PIECE_BYTES + OVERHEAD_BYTES);
    }
}

#[test]
fn what_is_no_tls_is_told_apart_and_what_is_bad_tls_is_answered_by_an_alert() {
    let receive = |bytes: &[u8]| {
        let mut tls = Tls::new(configs(&TLS13).0).unwrap();
        let result = tls.receive(&mut bytes.to_vec(), &mut Vec::new());
        (result, tls)
    };
    for request in [&b"GET / HTTP/1.1\r\n"[..], b"P", b"o"] {
        assert!(matches!(receive(request), (Err(Fault::Plaintext), _)));
    }
    // A handshake record that holds no hello: an alert answers it.
    let (result, tls) = receive(b"\x16\x03\x01\x00\x04\x63\x00\x00\x00");
    assert!(matches!(result, Err(Fault::Protocol(_))), "{result:?}");
    assert_eq!(tls.unsent.first(), Some(&0x15), "an alert");
    // A hello that is said to be long and comes in records of one byte is not waited for.
    let mut tls = Tls::new(configs(&TLS13).0).unwrap();
    let mut result = tls.receive(&mut b"\x16\x03\x01\x00\x04\x01\x00\xff\xff".to_vec(), &mut Vec::new());
    for _ in 0..CAME_BYTES_MAX / 6 + 1 {
        result =
            result.and_then(|()| tls.receive(&mut b"\x16\x03\x03\x00\x01\x00".to_vec(), &mut Vec::new()));
    }
    assert!(result.is_err(), "it has an end");
    assert!(tls.came.is_empty());
}

/// A message may lie in several records (RFC 8446 §5.1), and records may come in any pieces. The session moves the
/// parts of a message together where they lie, over the headers between them.
#[test]
fn a_hello_may_be_spread_over_records() {
    for (most, piece) in [(1, 1), (1, 5), (3, 1000), (50, 7), (100, 1 << 20), (1000, 31)] {
        let mut wire = Wire::new(&TLS13, 5);
        let mut hello = Vec::new();
        wire.client.write_tls(&mut hello).unwrap();
        let records = hello[HEADER_BYTES..].chunks(most).flat_map(|part| {
            let length = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&[0x16, 3, 1][..], &length, part].concat()
        });
        for part in records.collect::<Vec<u8>>().chunks(piece) {
            wire.server.receive(&mut part.to_vec(), &mut wire.plain).unwrap();
        }
        wire.down();
        wire.shake(50);
        wire.client.writer().write_all(b"hi").unwrap();
        wire.up(3).unwrap();
        assert_eq!(wire.plain, b"hi", "records of {most} bytes in pieces of {piece}");
        assert!(wire.server.came.is_empty());
    }
}

#[test]
fn an_idle_connection_keeps_no_buffers() {
    let mut wire = Wire::new(&TLS13, 3);
    wire.shake(100);
    assert_eq!((wire.server.came.capacity(), wire.server.unsent.capacity()), (0, 0));
}
