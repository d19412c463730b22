//! A connection's bytes: a socket, or a TLS session over one, with the same two calls.
//!
//! Both keep a socket's promise: a read that brings less than was asked for means that nothing more is there, so
//! that no read is spent on finding that out. Knows no frames and no events.

use std::io::{self, Read, Write};

use mio::net::TcpStream;
use rustls::ClientConnection;

use crate::tls::Secure;

/// What carries a connection's bytes.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) socket: TcpStream,
    session: Option<Box<ClientConnection>>,
}

/// Reads from the socket, and notices whether it was drained: rustls does not tell how much it asked for.
struct Drain<'a> {
    socket: &'a mut TcpStream,
    is_drained: bool,
}

impl Read for Drain<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let got = self.socket.read(room)?;
        self.is_drained = got < room.len();
        Ok(got)
    }
}

impl Stream {
    /// A connection that has just begun.
    ///
    /// # Errors
    /// No TLS session can be made.
    pub(super) fn new(socket: TcpStream, secure: Option<&Secure>) -> io::Result<Stream> {
        let session = match secure {
            None => None,
            Some(secure) => Some(Box::new(secure.session().map_err(io::Error::other)?)),
        };
        Ok(Stream { socket, session })
    }

    /// Whether something of what was written has not gone to the socket.
    #[inline]
    pub(super) fn owes(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.wants_write())
    }

    /// As a socket reads: 0 is the end, `WouldBlock` is nothing.
    #[inline]
    pub(super) fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.socket.read(room),
            Some(session) => read_secure(session, &mut self.socket, room),
        }
    }

    /// As a socket writes. What TLS has taken and not passed on is owed, see [`Stream::owes`].
    #[inline]
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else { return self.socket.write(bytes) };
        let taken = session.writer().write(bytes)?;
        while session.wants_write() {
            match session.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && taken > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }
}

fn read_secure(session: &mut ClientConnection, socket: &mut TcpStream, room: &mut [u8]) -> io::Result<usize> {
    let (mut got, mut is_drained) = (0, false);
    loop {
        match session.reader().read(&mut room[got..]) {
            // The end, with a goodbye or without: WebSocket says its own. What came before it comes first.
            Ok(0) => return Ok(got),
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(got),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Err(_) if is_drained => {
                return if got > 0 { Ok(got) } else { Err(io::ErrorKind::WouldBlock.into()) };
            }
            Err(_) => {
                let mut drain = Drain { socket, is_drained: false };
                match session.read_tls(&mut drain) {
                    Ok(_) => is_drained = drain.is_drained,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => is_drained = true,
                    Err(error) => return Err(error),
                }
                session
                    .process_new_packets()
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            }
        }
        if got == room.len() {
            return Ok(got);
        }
    }
}
