//! TLS as a byte filter between a socket and its connection: records to plaintext, plaintext to records.
//!
//! Belongs to the socket, not to the connection, as sockets change connections where sessions are resumed. Whoever
//! drives a shard (the reactor, or a simulation) keeps it there, and phases see plaintext only. Touches no socket:
//! bytes arrive as arguments, and a closure writes. What chance and time the protocol needs is the library's own
//! affair, so two runs differ in bytes, but not in how many there are.
//!
//! rustls' unbuffered connection is used, as the buffered one keeps buffers of its own for both directions: here all
//! connections of a shard share the buffer that they are read into and the one that records are made in, and an idle
//! connection keeps its keys only.
//!
//! The bounded send queue stays the one place where output waits. A piece of it is made into records only when the last
//! ones are written, and while a record is not, its last byte of plaintext counts as not written: so the queue remains
//! blocked, its limits hold, and it keeps the half-written frame. A peer that never reads costs one piece on top of its
//! queue, and is waited for, not asked again and again (CVE-2019-15541).

use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus};
use rustls::{Error, ServerConfig};

use crate::shard::port::Written;

/// Plaintext that is made into records at once: four records of the greatest size.
pub const PIECE_BYTES: usize = 64 << 10;
/// Most that records add to a piece: header, type, tag and the nonce of TLS 1.2 for each, a key update before them.
const OVERHEAD_BYTES: usize = 1 << 10;
/// Header of a record: type, version, length (RFC 8446 §5.1).
const HEADER_BYTES: usize = 5;
/// Most bytes that wait for the rest of a message: a chain of certificates may be that long, a hello is a tenth of it.
const CAME_BYTES_MAX: usize = 48 << 10;
/// Most bytes of records that wait for the socket: a piece, and what the protocol says by itself.
const UNSENT_BYTES_MAX: usize = 128 << 10;

/// Buffers that all connections of a shard share.
pub struct Room {
    /// What several slices are gathered in to become one record.
    plain: Vec<u8>,
    /// Records before they are written.
    records: Vec<u8>,
    /// How many bytes of them there are.
    filled: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room {
            plain: Vec::with_capacity(PIECE_BYTES),
            records: vec![0; PIECE_BYTES + OVERHEAD_BYTES],
            filled: 0,
        }
    }
}

/// Why a connection cannot go on. The peer was told by an alert, where there is one for it.
#[derive(Debug)]
pub enum Fault {
    /// The first byte is that of a request without TLS.
    Plaintext,
    /// It speaks something else, or breaks the protocol, or there is no common ground.
    Protocol(Error),
    /// A message without end, or a peer that makes us speak and does not listen.
    TooLong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Plaintext => f.write_str("a request without TLS"),
            Fault::Protocol(error) => error.fmt(f),
            Fault::TooLong => f.write_str("too much at once"),
        }
    }
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has come.
    Silent,
    /// Up to the peer's last word of the handshake.
    Handshake,
    /// Both sides may speak.
    Open,
    /// The peer has said that it says nothing more (`close_notify`).
    Ended,
    /// What comes is thrown away.
    Failed,
}

/// One TLS connection; see the module's page.
pub struct Tls {
    session: UnbufferedServerConnection,
    /// What came and is no whole message yet. The session moves bytes of the whole records in it.
    came: Vec<u8>,
    /// Where the record begins in it that is not whole.
    last: usize,
    /// Records that the socket did not take, `sent` of its bytes aside.
    unsent: Vec<u8>,
    sent: usize,
    stage: Stage,
    /// The last byte of plaintext in `unsent` was reported as not written.
    owes: bool,
    /// Our `close_notify` is said.
    closed: bool,
}

impl Tls {
    /// A connection of which nothing has come.
    ///
    /// # Errors
    /// If the library cannot make one of this configuration.
    pub fn new(config: Arc<ServerConfig>) -> Result<Tls, Error> {
        let session = UnbufferedServerConnection::new(config)?;
        let (came, last, unsent, sent) = (Vec::new(), 0, Vec::new(), 0);
        Ok(Tls { session, came, last, unsent, sent, stage: Stage::Silent, owes: false, closed: false })
    }

    /// Whether the handshake is still to be finished.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        matches!(self.stage, Stage::Silent | Stage::Handshake)
    }

    /// Whether the peer has said that it says nothing more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Whether records wait for the socket.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Bytes came, which are used up: their plaintext is appended to `plain`. What is to be said for the protocol's
    /// sake waits for [`Tls::flush`].
    ///
    /// # Errors
    /// The connection cannot go on; `plain` has what came before that.
    pub fn receive(&mut self, fresh: &mut [u8], plain: &mut Vec<u8>) -> Result<(), Fault> {
        match self.stage {
            Stage::Failed => return Ok(()),
            Stage::Silent => {
                // Records begin with a number below 64; methods of HTTP are letters.
                if fresh.first().is_some_and(u8::is_ascii_alphabetic) {
                    self.stage = Stage::Failed;
                    return Err(Fault::Plaintext);
                }
                self.stage = Stage::Handshake;
            }
            Stage::Handshake | Stage::Open | Stage::Ended => {}
        }
        let result = self.take(fresh, plain);
        let failed = result.is_err() || self.unsent.len() > UNSENT_BYTES_MAX;
        if failed {
            self.stage = Stage::Failed;
            self.came = Vec::new();
        } else if self.stage == Stage::Handshake && !self.session.is_handshaking() {
            self.stage = Stage::Open;
        }
        result.and_then(|()| if failed { Err(Fault::TooLong) } else { Ok(()) })
    }

    fn take(&mut self, mut fresh: &mut [u8], plain: &mut Vec<u8>) -> Result<(), Fault> {
        // What waits is completed record by record, so that at most one of `fresh` is copied.
        while !self.came.is_empty() && !fresh.is_empty() {
            let count = missing(&self.came[self.last..]).min(fresh.len());
            let (next, rest) = fresh.split_at_mut(count);
            self.came.extend_from_slice(next);
            fresh = rest;
            let last = self.last + last_record(&self.came[self.last..]);
            let mut all = std::mem::take(&mut self.came);
            let used = self.process(&mut all, plain)?;
            self.last = last.saturating_sub(used);
            if used < all.len() {
                all.drain(..used);
                self.came = all;
            }
            if self.came.len() > CAME_BYTES_MAX {
                return Err(Fault::TooLong);
            }
        }
        if !fresh.is_empty() {
            let last = last_record(fresh);
            let used = self.process(fresh, plain)?;
            self.came = fresh[used..].to_vec();
            self.last = last.saturating_sub(used);
        }
        if self.came.len() > CAME_BYTES_MAX { Err(Fault::TooLong) } else { Ok(()) }
    }

    /// Handles the whole messages at the front of `bytes`; returns how many bytes are done with.
    fn process(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>) -> Result<usize, Fault> {
        let mut used = 0;
        loop {
            let UnbufferedStatus { discard, state } = self.session.process_tls_records(&mut bytes[used..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(Fault::Protocol)?;
                        used += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(data)) => encode(data, &mut self.unsent)?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.stage = Stage::Ended,
                // The others wait for more, or for us; early data is never accepted.
                Ok(_) => return Ok(used + discard),
                Err(error) => {
                    used += discard;
                    self.say_last_words(&mut bytes[used..]);
                    return Err(Fault::Protocol(error));
                }
            }
            used += discard;
        }
    }

    /// After an error: what is still to be said, such as the alert that tells of it.
    fn say_last_words(&mut self, bytes: &mut [u8]) {
        // Asked for more than that, the session would look at the bad bytes again.
        while self.session.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(data)) = self.session.process_tls_records(bytes).state
            else {
                return;
            };
            if encode(data, &mut self.unsent).is_err() {
                return;
            }
        }
    }

    /// Appends records that carry `plain`, which may be empty, and at last `close_notify`, to what `room` holds.
    fn seal(&mut self, plain: &[u8], last: bool, room: &mut Room) -> Result<(), Fault> {
        loop {
            let state = self.session.process_tls_records(&mut self.came).state;
            match state.map_err(Fault::Protocol)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    if !plain.is_empty() {
                        encrypt(room, |out| traffic.encrypt(plain, out))?;
                    }
                    if last && !self.closed {
                        encrypt(room, |out| traffic.queue_close_notify(out))?;
                        self.closed = true;
                    }
                    return Ok(());
                }
                ConnectionState::EncodeTlsData(data) => {
                    let mut record = Vec::new();
                    encode(data, &mut record)?;
                    encrypt(room, |out| fill(out, &record))?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.stage = Stage::Ended,
                // All that came was taken in before, so nothing else is possible but an end.
                _ => return Err(Fault::TooLong),
            }
        }
    }

    /// Writes records that wait, by `send`; `Bytes(0)` if none is left.
    pub fn flush(&mut self, mut send: impl FnMut(&[u8]) -> Written) -> Written {
        while self.sent < self.unsent.len() {
            match send(&self.unsent[self.sent..]) {
                Written::Bytes(0) => return Written::Full,
                Written::Bytes(count) => self.sent += count,
                other => return other,
            }
        }
        (self.unsent, self.sent) = (Vec::new(), 0);
        Written::Bytes(0)
    }

    /// Writes plaintext, as far as the socket takes its records. `last`: nothing follows. Returns what a write of the
    /// plaintext itself would have returned.
    pub fn write(
        &mut self,
        slices: &[IoSlice<'_>],
        last: bool,
        room: &mut Room,
        mut send: impl FnMut(&[u8]) -> Written,
    ) -> Written {
        match self.flush(&mut send) {
            Written::Bytes(_) => {}
            other => return other,
        }
        match self.stage {
            Stage::Silent | Stage::Handshake => return Written::Full,
            Stage::Failed => return Written::Broken,
            Stage::Open | Stage::Ended => {}
        }
        let mut done = usize::from(std::mem::take(&mut self.owes));
        let mut left = Left { slices, at: 0, used: done };
        while !left.is_empty() {
            let mut plain = std::mem::take(&mut room.plain);
            let piece = left.next_piece(&mut plain);
            let count = piece.len();
            room.filled = 0;
            let sealed = self.seal(piece, last && left.is_empty(), room);
            room.plain = plain;
            if sealed.is_err() {
                return Written::Broken;
            }
            done += count;
            let records = &room.records[..room.filled];
            let taken = match send(records) {
                Written::Bytes(taken) => taken,
                Written::Full => 0,
                Written::Broken => return Written::Broken,
            };
            if taken < records.len() {
                self.unsent.extend_from_slice(&records[taken..]);
                self.owes = true;
                return if done > 1 { Written::Bytes(done - 1) } else { Written::Full };
            }
        }
        Written::Bytes(done)
    }

    /// Nothing more comes from us: `close_notify`, unless it is said or there is no room for it.
    pub fn close(&mut self, room: &mut Room, mut send: impl FnMut(&[u8]) -> Written) {
        let open = matches!(self.stage, Stage::Open | Stage::Ended);
        if self.closed || !open || self.flush(&mut send) != Written::Bytes(0) {
            return;
        }
        room.filled = 0;
        if self.seal(&[], true, room).is_ok() {
            // A socket that is full does not get it: the end of the stream says the same.
            let _ = send(&room.records[..room.filled]);
        }
    }
}

/// Slices of which a part is done with.
struct Left<'a, 'b> {
    slices: &'a [IoSlice<'b>],
    /// The first slice that is not.
    at: usize,
    /// Bytes of it that are.
    used: usize,
}

impl<'a> Left<'a, '_> {
    fn skip_empty(&mut self) {
        while let Some(slice) = self.slices.get(self.at)
            && self.used >= slice.len()
        {
            self.used -= slice.len();
            self.at += 1;
        }
    }

    fn is_empty(&mut self) -> bool {
        self.skip_empty();
        self.at == self.slices.len()
    }

    /// The next bytes, at most [`PIECE_BYTES`]: where they lie, or gathered in `plain`.
    fn next_piece<'c>(&mut self, plain: &'c mut Vec<u8>) -> &'c [u8]
    where
        'a: 'c,
    {
        self.skip_empty();
        let slices = self.slices;
        let Some(first) = slices.get(self.at) else { return &[] };
        let first = &first[self.used..];
        if first.len() >= PIECE_BYTES || self.at + 1 == slices.len() {
            let piece = &first[..first.len().min(PIECE_BYTES)];
            self.used += piece.len();
            return piece;
        }
        plain.clear();
        while plain.len() < PIECE_BYTES && !self.is_empty() {
            let slice = &self.slices[self.at][self.used..];
            let count = slice.len().min(PIECE_BYTES - plain.len());
            plain.extend_from_slice(&slice[..count]);
            self.used += count;
        }
        plain
    }
}

/// Length of the record whose header `bytes` begin with; none if that is not whole.
fn record_length(bytes: &[u8]) -> Option<usize> {
    let &[_, _, _, high, low] = bytes.first_chunk::<HEADER_BYTES>()?;
    Some(HEADER_BYTES + usize::from(u16::from_be_bytes([high, low])))
}

/// Where the record begins that is not whole; the end if none has begun.
fn last_record(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = record_length(&bytes[at..]).filter(|length| at + length <= bytes.len()) {
        at += length;
    }
    at
}

/// How many bytes are missing of the header, or of the record, that has begun and is not whole.
fn missing(record: &[u8]) -> usize {
    record_length(record).unwrap_or(HEADER_BYTES) - record.len()
}

/// Appends what the protocol itself has to say.
fn encode<Side>(mut data: EncodeTlsData<'_, Side>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let before = out.len();
    let mut result = data.encode(&mut []);
    if let Err(EncodeError::InsufficientSize(error)) = &result {
        out.resize(before + error.required_size, 0);
        result = data.encode(&mut out[before..]);
    }
    match result {
        Ok(count) => out.truncate(before + count),
        Err(_) => return Err(Fault::TooLong),
    }
    Ok(())
}

fn fill(out: &mut [u8], record: &[u8]) -> Result<usize, EncryptError> {
    // Without room for it nothing is copied, which ends the connection: pieces leave enough.
    let Some(place) = out.get_mut(..record.len()) else { return Err(EncryptError::EncryptExhausted) };
    place.copy_from_slice(record);
    Ok(record.len())
}

fn encrypt(
    room: &mut Room,
    write: impl FnOnce(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<(), Fault> {
    room.filled += write(&mut room.records[room.filled..]).map_err(|_| Fault::TooLong)?;
    Ok(())
}

#[cfg(test)]
mod tests;
