//! A client that says whatever it is told to: bytes on a TCP connection, and what comes back taken apart.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};

use crate::PATIENCE;
use crate::server::Server;

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
/// The bit of a frame's first byte that ends a message.
pub(crate) const FIN: u8 = 0x80;

const MASK: [u8; 4] = [0x12, 0x34, 0xab, 0xcd];
const READ_BYTES: usize = 64 << 10;

/// A good upgrade of `target`, up to the empty line.
pub(crate) fn upgrade(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A masked frame with this first byte.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The header of a masked frame, key included, with the shortest form of the length.
pub(crate) fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..=125), _) => header.push(0x80 | length),
        (_, Ok(length)) => {
            header.push(0xfe);
            header.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            header.push(0xff);
            header.extend_from_slice(&length.to_be_bytes());
        }
    }
    header.extend_from_slice(&MASK);
    header
}

/// A whole text message.
pub(crate) fn text(message: &str) -> Vec<u8> {
    frame(FIN | TEXT, message.as_bytes())
}

/// A close frame.
pub(crate) fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

/// What the server says on an open WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Frame(u8, Vec<u8>),
    /// The connection has ended; nothing was left half said.
    End,
}

/// An answer in HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// See the module's page.
pub(crate) struct Peer {
    stream: TcpStream,
    /// What came, from `at` on not yet looked at.
    came: Vec<u8>,
    at: usize,
}

impl Peer {
    #[track_caller]
    pub(crate) fn connect(server: &Server) -> Peer {
        Peer::new(TcpStream::connect(server.address).expect("the kernel accepts"))
    }

    /// A connection of which the kernels hold as little as they can.
    pub(crate) fn narrow(server: &Server) -> Peer {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(1).expect("a small buffer");
        socket.connect(&server.address.into()).expect("the kernel accepts");
        Peer::new(socket.into())
    }

    fn new(stream: TcpStream) -> Peer {
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        Peer { stream, came: Vec::new(), at: 0 }
    }

    /// An open WebSocket at `target`.
    #[track_caller]
    pub(crate) fn open(server: &Server, target: &str) -> Peer {
        let mut peer = Peer::connect(server);
        peer.upgrade(target);
        peer
    }

    #[track_caller]
    pub(crate) fn upgrade(&mut self, target: &str) {
        self.send(upgrade(target));
        self.switched();
    }

    /// An open native client that was welcomed.
    #[track_caller]
    pub(crate) fn member(server: &Server, target: &str) -> Peer {
        let mut peer = Peer::open(server, target);
        peer.object("welcome");
        peer
    }

    #[track_caller]
    pub(crate) fn switched(&mut self) -> Answer {
        let answer = self.answer().expect("an answer");
        assert_eq!(answer.status, 101, "{}", answer.head);
        answer
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server reads");
    }

    /// Sends as far as the server takes it; false if it has ended the connection.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends until the kernel takes nothing more for so long; returns how many bytes went.
    pub(crate) fn push(&mut self, bytes: &[u8], patience: Duration) -> usize {
        self.stream.set_write_timeout(Some(patience)).expect("a socket");
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        self.stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        sent
    }

    #[track_caller]
    pub(crate) fn say(&mut self, message: &str) {
        self.send(text(message));
    }

    /// Nothing more is sent, which the server is told.
    pub(crate) fn finish(&self) {
        // It may be over already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Ends with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a socket");
    }

    /// Reads more; false at the end. A reset counts as one: what came before it is judged.
    fn fill(&mut self) -> bool {
        self.came.drain(..self.at);
        self.at = 0;
        let before = self.came.len();
        self.came.resize(before + READ_BYTES, 0);
        let result = loop {
            match self.stream.read(&mut self.came[before..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        let count = match result {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came; before that: {:?}", String::from_utf8_lossy(&self.came[..before]))
            }
            Err(_) => 0,
        };
        self.came.truncate(before + count);
        count > 0
    }

    /// Up to so many bytes as they come, but at least one; none at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        self.came.split_off(self.at)
    }

    /// The next answer in HTTP; none if the connection ends before.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            let found = self.came[self.at..].windows(4).position(|four| four == b"\r\n\r\n");
            match found {
                Some(found) => break self.at + found + 4,
                None if self.fill() => {}
                None => return None,
            }
        };
        let head = String::from_utf8(self.came[self.at..end].to_vec()).expect("heads are ASCII");
        self.at = end;
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {head:?}"));
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("Content-Length: "));
        let length = length.map_or(0, |length| length.parse().expect("a number"));
        while self.came.len() - self.at < length {
            if !self.fill() {
                return None;
            }
        }
        let body = String::from_utf8_lossy(&self.came[self.at..self.at + length]).into_owned();
        self.at += length;
        Some(Answer { status, head, body })
    }

    /// The next frame, which must be one that a server may send.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Said {
        loop {
            if let Some((opcode, start, end)) = whole_frame(&self.came[self.at..]) {
                let payload = self.came[self.at + start..self.at + end].to_vec();
                self.at += end;
                return Said::Frame(opcode, payload);
            }
            if !self.fill() {
                return Said::End;
            }
        }
    }

    /// As [`Peer::next`], with pings answered: what a client does that keeps the rules.
    #[track_caller]
    pub(crate) fn next_message(&mut self) -> Said {
        loop {
            match self.next() {
                Said::Frame(PING, payload) => _ = self.try_send(frame(FIN | PONG, &payload)),
                said => return said,
            }
        }
    }

    /// The next message, which must be an object of this type.
    #[track_caller]
    pub(crate) fn object(&mut self, kind: &str) -> Value {
        match self.next_message() {
            Said::Frame(TEXT, payload) => {
                let object: Value = serde_json::from_slice(&payload).expect("JSON");
                assert_eq!(object["type"], kind, "{object}");
                object
            }
            said => panic!("{kind} expected: {said:?}"),
        }
    }

    /// The next message of this type; others are passed over.
    #[track_caller]
    pub(crate) fn object_among(&mut self, kind: &str) -> Value {
        loop {
            let Said::Frame(TEXT, payload) = self.next_message() else { panic!("{kind} never came") };
            let object: Value = serde_json::from_slice(&payload).expect("JSON");
            if object["type"] == kind {
                return object;
            }
        }
    }

    /// Whether the server echoes.
    #[track_caller]
    pub(crate) fn expect_echo(&mut self, opcode: u8, payload: &[u8]) {
        match self.next() {
            Said::Frame(got, echoed) if got == opcode && echoed == payload => {}
            said => panic!("{} bytes of opcode {opcode} expected: {said:?}", payload.len()),
        }
    }

    /// The next frame is a close frame with this code, and then the connection ends: code and reason.
    #[track_caller]
    pub(crate) fn expect_close(&mut self, code: u16) -> String {
        let Said::Frame(CLOSE, payload) = self.next() else { panic!("no close frame for {code}") };
        let (got, reason) = payload.split_first_chunk().expect("a code");
        assert_eq!(u16::from_be_bytes(*got), code);
        assert_eq!(self.next(), Said::End, "after close {code}");
        String::from_utf8(reason.to_vec()).expect("the reason is UTF-8")
    }

    /// Reads up to the end and gives the code of the close frame that stood there, if one did.
    #[track_caller]
    pub(crate) fn close_code_at_end(&mut self) -> Option<u16> {
        let mut code = None;
        while let Said::Frame(opcode, payload) = self.next() {
            assert!(code.is_none(), "something came after the close frame");
            if opcode == CLOSE {
                code = Some(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code)));
            }
        }
        code
    }
}

/// Where in `bytes` the payload of the first frame is, if that is whole. Holds servers to RFC 6455 §5.
#[track_caller]
fn whole_frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let [first, second, rest @ ..] = bytes else { return None };
    assert_eq!(first & 0xf0, 0x80, "the server neither fragments nor sets reserved bits");
    let opcode = first & 0x0f;
    assert!([TEXT, BINARY, CLOSE, PING, PONG].contains(&opcode), "opcode {opcode}");
    let (length, start) = match *second {
        126 => (u64::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*rest.first_chunk()?), 10),
        length => (u64::from(length), 2),
    };
    assert!(length < 0x80_0000_0000 && *second < 128, "no mask, no absurd length");
    let least = [0, 126, 0x1_0000][usize::from(start > 2) + usize::from(start > 4)];
    assert!(length >= least && (opcode < 8 || length <= 125), "length {length} of opcode {opcode}");
    let end = start + usize::try_from(length).expect("64 bits");
    (bytes.len() >= end).then_some((opcode, start, end))
}
