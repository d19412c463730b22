//! One TCP socket of a reactor: reads and writes, and what their errors mean.
//!
//! Calls the kernel by `rustix`, not by `std`: libc makes every `send` and `recv` of a process with threads a point at
//! which a thread can be cancelled, which costs two atomic operations each. SIGPIPE is ignored, as std sees to.

use std::io::{self, IoSlice};
use std::net::Shutdown;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::io::{Errno, writev};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::base::id::Key;
use crate::shard::port::Written;

/// For what the end of the stream follows: the kernel waits for that, and sends both in one segment (`MSG_MORE`).
#[cfg(target_os = "linux")]
const BEFORE_THE_END: SendFlags = SendFlags::MORE;
#[cfg(not(target_os = "linux"))]
const BEFORE_THE_END: SendFlags = SendFlags::empty();

/// A socket and what the reactor knows of it.
pub(super) struct Socket<T> {
    /// With its place in the reactor's table, the key of the connection whose it is.
    pub(super) generation: u32,
    stream: TcpStream,
    /// Dropped with the socket.
    kept: T,
    /// There may be something to read: an edge came and the socket was not drained since.
    pub(super) readable: bool,
    /// An edge told that the peer sends no more: a short read is not the last one, as no edge will follow.
    pub(super) ended: bool,
    /// The poll tells when it takes bytes again. Most sockets are never full, so this is asked for at the first need.
    pub(super) watched_for_room: bool,
    /// It is on the ready list.
    pub(super) queued: bool,
    /// Its bytes pass something on both ways, which is among the reactor's [`crate::reactor::through::Fronts`].
    pub(super) fronted: bool,
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// So many bytes; drained: nothing more until the next edge.
    Bytes { count: usize, drained: bool },
    /// Nothing until the next edge.
    Nothing,
    /// The peer sends no more.
    End,
    /// The connection is gone.
    Broken,
}

impl<T> Socket<T> {
    /// A fresh socket, to be put on the ready list: its request has often come already, and to look is cheaper than to
    /// be told.
    pub(super) fn new(generation: u32, stream: TcpStream, fronted: bool, kept: T) -> Socket<T> {
        Socket {
            generation,
            stream,
            fronted,
            kept,
            readable: true,
            ended: false,
            watched_for_room: false,
            queued: true,
        }
    }

    /// What is dropped with it.
    pub(super) fn kept(&mut self) -> &mut T {
        &mut self.kept
    }

    /// One `recv`.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Got {
        loop {
            return match recv(&self.stream, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => Got::End,
                Ok((count, _)) => Got::Bytes { count, drained: count < buffer.len() && !self.ended },
                Err(Errno::AGAIN) => Got::Nothing,
                Err(Errno::INTR) => continue,
                Err(_) => Got::Broken,
            };
        }
    }

    /// One `send`, or one `writev` for several pieces. `last`: only the end follows, and does so now.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>], last: bool) -> Written {
        loop {
            let result = match slices {
                [one] => send(&self.stream, one, if last { BEFORE_THE_END } else { SendFlags::empty() }),
                many => writev(&self.stream, many),
            };
            return match result {
                Ok(count) => Written::Bytes(count),
                Err(Errno::AGAIN) => Written::Full,
                Err(Errno::INTR) => continue,
                Err(_) => Written::Broken,
            };
        }
    }

    /// The poll tells from now on when it takes bytes again, at once if it does already.
    ///
    /// # Errors
    /// If the kernel has no memory left for it.
    pub(super) fn watch_for_room(&mut self, key: Key, poll: &Registry) -> io::Result<()> {
        if self.watched_for_room {
            return Ok(());
        }
        self.watched_for_room = true;
        poll.reregister(&mut self.stream, token(key), Interest::READABLE | Interest::WRITABLE)
    }

    /// The poll tells about it under this key from now on, also what it told before.
    ///
    /// # Errors
    /// If the kernel has no memory left for it.
    pub(super) fn watch_as(&mut self, key: Key, poll: &Registry) -> io::Result<()> {
        let room = self.watched_for_room.then_some(Interest::WRITABLE);
        let interest = room.map_or(Interest::READABLE, |room| Interest::READABLE | room);
        poll.reregister(&mut self.stream, token(key), interest)
    }

    /// One `send` of one piece.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Written {
        self.write(&[IoSlice::new(bytes)], false)
    }

    /// The stream, and what is kept with it.
    pub(super) fn into_parts(self) -> (TcpStream, T) {
        (self.stream, self.kept)
    }

    /// No more comes from us. An error means that the peer is gone, which the next read tells.
    pub(super) fn shutdown(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

/// A connection's key as its token: slot and generation, so that an event for a socket that is gone finds nothing.
pub(super) fn token(key: Key) -> Token {
    const { assert!(usize::BITS == u64::BITS, "a token has room for a key") };
    #[expect(clippy::cast_possible_truncation, reason = "just asserted")]
    Token(key.to_bits() as usize)
}
