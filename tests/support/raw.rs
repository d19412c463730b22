//! A WebSocket client that does nothing by itself: it answers no ping, and reads only when told to.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, SockRef, Socket, Type};

use super::{Server, guarded, head};

/// Opcodes of RFC 6455 §5.2.
pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// Fits one receive buffer that is as small as the kernel allows.
const RECEIVE_BYTES: usize = 4096;
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// See the module's page.
pub(crate) struct Raw(BufReader<TcpStream>);

/// A whole masked frame.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    if let Ok(length @ 0..=125) = u8::try_from(payload.len()) {
        frame.push(0x80 | length);
    } else if let Ok(length) = u16::try_from(payload.len()) {
        frame.push(0x80 | 126);
        frame.extend_from_slice(&length.to_be_bytes());
    } else {
        frame.push(0x80 | 127);
        frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

impl Raw {
    /// Upgrades at `target`; the kernel holds as little as possible of what is not read.
    pub(crate) fn open(server: &Server, target: &str) -> Raw {
        Raw::open_with(server, target, &[])
    }

    /// As [`Raw::open`]; `input` is sent with the request.
    pub(crate) fn open_with(server: &Server, target: &str, input: &[u8]) -> Raw {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(RECEIVE_BYTES).expect("a small buffer");
        socket.connect(&server.address.into()).expect("the server accepts");
        let mut stream = TcpStream::from(socket);
        guarded(&stream);
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(&[request.as_bytes(), input].concat()).expect("the request goes out");
        let mut raw = Raw(BufReader::new(stream));
        let head = head(&mut raw.0);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw
    }

    /// Opens a native client and reads its welcome.
    pub(crate) fn user(server: &Server, user: &str) -> Raw {
        let mut raw = Raw::open(server, &format!("/ws?user_id={user}"));
        assert_eq!(raw.object()["type"], "welcome");
        raw
    }

    /// Joins a room and reads the answer.
    pub(crate) fn join(&mut self, room: &str) {
        self.send(&serde_json::json!({"type": "join_room", "room": room}));
        assert_eq!(self.object()["type"], "room_joined");
    }

    /// Sends a frame.
    pub(crate) fn frame(&mut self, opcode: u8, payload: &[u8]) {
        self.bytes(&frame(opcode, payload));
    }

    /// Sends an object.
    pub(crate) fn send(&mut self, object: &Value) {
        self.frame(TEXT, object.to_string().as_bytes());
    }

    /// Sends bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("the bytes go out");
    }

    /// The next frame: opcode and payload; none at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.read(&mut head)?;
        assert_eq!(head[0] & 0xf0, 0x80, "the server does not fragment");
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.read(&mut length)?;
                usize::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.read(&mut length)?;
                usize::try_from(u64::from_be_bytes(length)).expect("it fits")
            }
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.read(&mut payload)?;
        Some((head[0] & 0x0f, payload))
    }

    fn read(&mut self, buffer: &mut [u8]) -> Option<()> {
        match self.0.read_exact(buffer) {
            Ok(()) => Some(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("nothing came in time"),
            Err(_) => None,
        }
    }

    /// The next frame, which has to be a message.
    #[track_caller]
    pub(crate) fn object(&mut self) -> Value {
        let (opcode, payload) = self.next().expect("a frame");
        assert_eq!(opcode, TEXT, "{}", String::from_utf8_lossy(&payload));
        serde_json::from_slice(&payload).expect("a JSON object")
    }

    /// Reads until the close frame and returns its code; none if the connection ends without.
    pub(crate) fn close_code(&mut self) -> Option<u16> {
        while let Some((opcode, payload)) = self.next() {
            if opcode == CLOSE {
                return Some(payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]])));
            }
        }
        None
    }

    /// The connection below.
    pub(crate) fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(self.stream()).set_linger(Some(Duration::ZERO)).expect("a socket");
    }

    /// Ends both directions, whoever holds the socket.
    pub(crate) fn shut(&self) {
        // It may be gone already.
        let _ = self.stream().shutdown(Shutdown::Both);
    }
}
