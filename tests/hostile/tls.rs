//! Catalogue 31, 37, 77 and 78: TLS with those who never read, break off, trickle, or speak something else.
//!
//! The attack goes to a listener of its own, a Unix socket, so that the innocent beside it show what it costs others.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::PATIENCE;
use crate::beside::withstands;
use crate::peer::{BINARY, FIN, frame, upgrade};
use crate::server::{Server, eventually};

/// Most that anybody may cost who does not read: what is under way in one direction and in the other.
const STUCK_KIB_MAX: u64 = 1024;

/// A folder with a certificate and a socket, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("roomcast-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder for the test");
        let place = Place(path);
        place.renew();
        place
    }

    fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(self.0.join("cert"), made.cert.pem()).expect("the folder can be written to");
        std::fs::write(self.0.join("key"), made.signing_key.serialize_pem()).expect("likewise");
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("UTF-8").to_owned()
    }

    /// Attacks a server that speaks TLS on the socket, and plainly to the innocent.
    #[track_caller]
    fn withstands(&self, flags: &[&str], attack: impl FnOnce(&Server)) {
        let listen = format!("127.0.0.1:0,tls:unix:{}", self.path("socket"));
        let (cert, key) = (self.path("cert"), self.path("key"));
        let own = ["--listen", &listen, "--tls-cert", &cert, "--tls-key", &key];
        withstands(&[&own[..], flags].concat(), attack);
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.0.join("socket")).expect("the kernel accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        stream
    }

    fn session(&self) -> ClientConnection {
        let mut roots = RootCertStore::empty();
        let cert = CertificateDer::from_pem_file(self.0.join("cert")).expect("PEM");
        roots.add(cert).expect("a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the library's own")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        ClientConnection::new(Arc::new(config), name).expect("a session")
    }

    /// A connection that is through the handshake.
    fn open(&self) -> StreamOwned<ClientConnection, UnixStream> {
        let (mut session, mut socket) = (self.session(), self.connect());
        while session.is_handshaking() {
            session.complete_io(&mut socket).expect("a handshake");
        }
        StreamOwned::new(session, socket)
    }

    /// An open echo.
    fn echo(&self) -> StreamOwned<ClientConnection, UnixStream> {
        let mut stream = self.open();
        stream.write_all(upgrade("/echo").as_bytes()).expect("the request goes out");
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
        stream
    }

    /// The first flight of a client.
    fn hello(&self) -> Vec<u8> {
        let mut hello = Vec::new();
        self.session().write_tls(&mut hello).expect("to memory");
        hello
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What is left does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Sends until nothing more is taken, and reads nothing.
fn stuff(stream: &mut StreamOwned<ClientConnection, UnixStream>) {
    stream.sock.set_nonblocking(true).expect("a socket");
    let message = frame(FIN | BINARY, &[7; 16_000]);
    loop {
        match stream.write(&message) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => return, // it was let go
        }
    }
}

/// CVE-2019-15541: a client that never becomes writable made rustls' example server spin.
#[test]
fn c31_c37_clients_that_never_read() {
    let place = Place::new("deaf");
    place.withstands(&[], |server| {
        let mut deaf: Vec<_> = (0..10).map(|_| place.echo()).collect();
        let before = server.growth_mib();
        deaf.iter_mut().for_each(stuff);
        let grown = server.peak_growth_mib() - before;
        assert!(grown * 1024 < 10 * STUCK_KIB_MAX, "{grown} MiB for ten of them");
        // The innocent beside cost a little.
        let ticks = server.ticks();
        thread::park_timeout(std::time::Duration::from_millis(500));
        assert!(server.ticks() - ticks < 25, "it spins");
    });
}

/// The kernel's buffers are full before the handshake is over: it asks for the answer again and again, unread.
#[test]
fn c37_a_flight_that_nobody_reads() {
    let place = Place::new("unread");
    place.withstands(&["--handshake-timeout", "1s"], |_| {
        let hello = place.hello();
        let silent: Vec<_> = (0..50)
            .map(|_| {
                let mut stream = place.connect();
                stream.write_all(&hello).expect("the hello goes out");
                stream
            })
            .collect();
        for mut stream in silent {
            // Its own flight, perhaps, and the end.
            let mut flight = Vec::new();
            let _ = stream.read_to_end(&mut flight);
            assert!(flight.len() < 10_000);
        }
    });
}

#[test]
fn c31_c77_hellos_in_pieces_and_ends_in_the_middle() {
    let place = Place::new("pieces");
    place.withstands(&["--handshake-timeout", "2s"], |_| {
        // Byte by byte is slow, and works.
        let (mut session, mut socket) = (place.session(), place.connect());
        while session.is_handshaking() {
            let mut flight = Vec::new();
            session.write_tls(&mut flight).expect("to memory");
            for byte in flight {
                socket.write_all(&[byte]).expect("the server reads");
            }
            if session.is_handshaking() && session.wants_read() {
                session.read_tls(&mut socket).expect("an answer");
                session.process_new_packets().expect("a good one");
            }
        }
        // An end, orderly or not, at every stage.
        let hello = place.hello();
        let close_notify = [0x15, 3, 3, 0, 2, 1, 0];
        for cut in (0..hello.len()).step_by(29).chain([hello.len()]) {
            let mut stream = place.connect();
            stream.write_all(&hello[..cut]).expect("the server reads");
            if cut % 2 == 0 {
                let _ = stream.write_all(&close_notify);
            }
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
        let mut stream = place.open();
        stream.conn.send_close_notify();
        stream.flush().expect("it goes out");
        stream.read_to_end(&mut Vec::new()).expect("an orderly end");
        // Half a hello, and silence: over when its time is.
        let mut half = place.connect();
        half.write_all(&hello[..hello.len() / 2]).expect("the server reads");
        let _ = half.read_to_end(&mut Vec::new());
    });
}

#[test]
fn c77_what_is_no_tls() {
    let place = Place::new("garbage");
    place.withstands(&["--handshake-timeout", "2s"], |_| {
        let mut answer = Vec::new();
        let mut plain = place.connect();
        plain.write_all(upgrade("/ws").as_bytes()).expect("the server reads");
        plain.read_to_end(&mut answer).expect("an answer and an end");
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", answer.escape_ascii());
        let long = [&[0x16, 3, 1, 0xff, 0xff][..], &[0; 70_000]].concat();
        let nested = b"\x16\x03\x01\x00\x04\x01\xff\xff\xff".repeat(20_000);
        for garbage in
            [&[0; 40_000][..], b"\x80\x2e\x01\x03\x01", b"\x05\x01\x00", &long, &nested, &[0xff; 3]]
        {
            let mut stream = place.connect();
            // It may be over before all is sent.
            let _ = stream.write_all(garbage);
            answer.clear();
            let _ = stream.read_to_end(&mut answer);
            assert!(answer.is_empty() || answer[0] == 0x15, "an alert at most");
        }
        let hello = place.hello();
        for _ in 0..500 {
            let mut stream = place.connect();
            let _ = stream.write_all(&hello);
        }
    });
}

/// A crowd that only ever shakes hands: who is through with it is served in between.
#[test]
fn c77_a_flood_of_handshakes() {
    let place = Place::new("flood");
    place.withstands(&[], |server| {
        let hello = place.hello();
        let mut echo = place.echo();
        for round in 0..10_u8 {
            let crowd: Vec<_> = (0..200)
                .map(|_| {
                    let mut stream = place.connect();
                    let _ = stream.write_all(&hello);
                    stream
                })
                .collect();
            let message = frame(FIN | BINARY, &[round]);
            echo.write_all(&message).expect("the server reads");
            let mut answer = [0; 3];
            echo.read_exact(&mut answer).expect("an echo");
            assert_eq!(answer, [0x82, 1, round]);
            drop(crowd);
        }
        assert!(server.peak_growth_mib() < 60, "{} MiB", server.peak_growth_mib());
    });
}

#[test]
fn c78_new_certificates_during_handshakes() {
    let place = Place::new("renewed");
    place.withstands(&[], |server| {
        // The same certificate again and again, and files that are none in between.
        let (cert, key) = (place.path("cert"), place.path("key"));
        let good = std::fs::read(&cert).expect("a file");
        let session = Arc::new(|| place.session());
        let (ended, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        let hellos: Vec<_> = (0..300).map(|_| session()).collect();
        thread::scope(|scope| {
            scope.spawn(|| {
                for mut session in hellos {
                    let mut socket = place.connect();
                    while session.is_handshaking() {
                        session.complete_io(&mut socket).expect("a handshake");
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                ended.store(true, Ordering::Relaxed);
            });
            let mut round = 0;
            while !ended.load(Ordering::Relaxed) {
                round += 1;
                let text: &[u8] = [&b""[..], b"-----BEGIN CERTIFICATE-----\nAA", &good][round % 3];
                std::fs::write(&cert, text).expect("the folder can be written to");
                server.signal(Signal::HUP);
                thread::yield_now();
            }
            std::fs::write(&cert, &good).expect("the folder can be written to");
        });
        assert_eq!(done.load(Ordering::Relaxed), 300);
        std::fs::remove_file(&key).expect("it was there");
        server.signal(Signal::HUP);
        eventually("it goes on", || place.echo().write(&frame(FIN | BINARY, b"x")).is_ok());
    });
}
