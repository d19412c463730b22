//! One connection's state, and how a socket is begun.
//!
//! Moves no bytes; [`super::Net`] does.

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::Token;

use crate::net::End;
use crate::net::stream::Stream;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Gone,
    Connecting,
    /// Our request is sent, the answer's head is awaited.
    Head,
    /// It is a WebSocket; the texts before anything else are not all exchanged.
    Greeting,
    Open,
    /// Our close frame is sent.
    Closing,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: Option<Stream>,
    pub(super) state: State,
    /// Steps of the greeting that are done.
    pub(super) greeted: usize,
    /// Counts the connections in this place: an event of an earlier one finds nothing.
    pub(super) generation: u32,
    pub(super) writable: bool,
    pub(super) is_dirty: bool,
    /// Nothing is read, whatever comes.
    pub(super) paused: bool,
    /// Something may be there to be read, of which no event will tell again.
    pub(super) is_behind: bool,
    pub(super) close_code: Option<u16>,
    /// The beginning of a frame whose end has not come: `rest[..filled]`, and the least bytes that it needs.
    pub(super) rest: Vec<u8>,
    pub(super) filled: usize,
    pub(super) need: usize,
    /// To be sent: `out[sent..]`.
    pub(super) out: Vec<u8>,
    pub(super) sent: usize,
    /// Earlier frames of a fragmented message, and the opcode of the first; none between messages.
    pub(super) fragments: Vec<u8>,
    pub(super) fragmented: Option<u8>,
}

impl Link {
    pub(super) fn new() -> Link {
        Link {
            stream: None,
            state: State::Gone,
            greeted: 0,
            generation: 0,
            writable: false,
            is_dirty: false,
            paused: false,
            is_behind: false,
            close_code: None,
            rest: Vec::new(),
            filled: 0,
            need: 0,
            out: Vec::new(),
            sent: 0,
            fragments: Vec::new(),
            fragmented: None,
        }
    }

    /// Keeps the beginning of a frame.
    pub(super) fn keep(&mut self, bytes: &[u8], buffer_bytes: usize) {
        self.filled = bytes.len();
        if self.need > buffer_bytes / 2 {
            // Grows to the whole frame at once, and stays for the next one.
            if self.rest.len() < self.need {
                self.rest.resize(self.need, 0);
            }
        } else if self.rest.len() < bytes.len() {
            self.rest.resize(bytes.len(), 0);
        }
        self.rest[..bytes.len()].copy_from_slice(bytes);
        if bytes.is_empty() {
            self.need = 0;
        }
    }

    pub(super) fn hung_up(&self) -> End {
        match (self.state, self.close_code) {
            (State::Head, _) | (State::Greeting, None) => {
                End::Failed("the server hung up during the handshake".into())
            }
            (_, Some(code)) => End::Closed(code),
            _ => End::Lost("the server hung up without a close frame".into()),
        }
    }

    pub(super) fn hung_up_with(&self, error: &io::Error) -> End {
        match (self.state, self.close_code) {
            (State::Head | State::Greeting, None) => End::Failed(error.to_string()),
            (_, None) => End::Lost(error.to_string()),
            (_, Some(code)) => End::Closed(code),
        }
    }
}

/// Bits of a token that hold the place; the rest holds the generation. Never all ones, which stand for the waker.
const PLACE_BITS: u32 = 32;
pub(super) const GENERATION_MASK: u32 = 0x7fff_ffff;

pub(super) fn token(at: usize, generation: u32) -> Token {
    Token((generation as usize) << PLACE_BITS | at)
}

#[expect(clippy::cast_possible_truncation, reason = "takes the number apart")]
pub(super) fn from_token(token: Token) -> (usize, u32) {
    (token.0 & 0xffff_ffff, (token.0 >> PLACE_BITS) as u32)
}

/// A socket on its way to `address`.
pub(super) fn start(address: SocketAddr, source: Option<IpAddr>) -> io::Result<std::net::TcpStream> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM.nonblocking(),
        Some(socket2::Protocol::TCP),
    )?;
    socket.set_tcp_nodelay(true)?;
    if let Some(source) = source {
        // Ports of closed connections that still rest may be used again.
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            Err(error)
        }
        _ => Ok(socket.into()),
    }
}
