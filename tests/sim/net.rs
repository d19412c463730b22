//! Simulated sockets, and the little of HTTP and WebSocket that a client needs.
//!
//! A link is what lies between a client and a shard's socket: bytes on their way, what the kernel has buffered on
//! the server's side, and edges as epoll reports them. Knows nothing of what the bytes mean; judges nothing. Some links
//! carry TLS, with both ends' sessions in them.

use std::collections::VecDeque;
use std::io::IoSlice;

use roomcast::base::prng::Prng;
use roomcast::shard::port::Written;

use crate::secure::Secure;

/// Bytes that a socket of the server buffers before the client's sending is held back.
const ARRIVED_MAX: usize = 64 << 10;

/// Where all chance comes from.
pub(crate) struct Dice(Prng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(Prng::new(seed))
    }

    /// A number in `0..bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.below(bound as u64)).unwrap_or(0)
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }
}

/// How one direction of a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
}

/// What a read of the server's socket brings.
pub(crate) enum Got {
    Bytes(usize),
    Nothing,
    End,
    Broken,
}

/// One TCP connection.
pub(crate) struct Link {
    /// The client has sent it, the server's socket does not have it yet.
    rising: VecDeque<u8>,
    rising_end: Option<End>,
    /// In the server's socket, to be read.
    arrived: VecDeque<u8>,
    arrived_end: Option<End>,
    /// Written by the server, not yet read by the client.
    falling: VecDeque<u8>,
    falling_max: usize,
    falling_end: Option<End>,
    /// The client reads nothing.
    pub(crate) deaf: bool,
    /// What the client sends does not arrive.
    pub(crate) mute: bool,
    /// A write came back short: an edge is due when there is room.
    starved: bool,
    /// The server's socket is closed.
    pub(crate) dropped: bool,
    /// Read by the client, to be looked at.
    pub(crate) received: Vec<u8>,
    /// The client has read up to the end, or the connection was reset.
    pub(crate) ended: Option<End>,
    /// Edges that the server has not been told of.
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) secure: Option<Box<Secure>>,
}

impl Link {
    pub(crate) fn new(falling_max: usize) -> Link {
        Link {
            rising: VecDeque::new(),
            rising_end: None,
            arrived: VecDeque::new(),
            arrived_end: None,
            falling: VecDeque::new(),
            falling_max,
            falling_end: None,
            deaf: false,
            mute: false,
            starved: false,
            dropped: false,
            received: Vec::new(),
            ended: None,
            readable: false,
            writable: true,
            secure: None,
        }
    }

    /// The same with TLS.
    pub(crate) fn new_secure(falling_max: usize) -> Link {
        let mut secure = Box::new(Secure::new());
        let mut link = Link::new(falling_max);
        link.rising.extend(secure.unsent());
        link.secure = Some(secure);
        link
    }

    /// The client sends.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        if self.rising_end.is_none() && self.ended.is_none() {
            match &mut self.secure {
                Some(secure) => self.rising.extend(secure.seal(bytes)),
                None => self.rising.extend(bytes),
            }
        }
    }

    /// The client sends nothing more: after what it has sent, or (reset) instead of it.
    pub(crate) fn end(&mut self, end: End) {
        if end == End::Reset {
            self.rising.clear();
            self.arrived.clear();
            self.falling.clear();
            self.arrived_end = Some(End::Reset);
            self.ended = Some(End::Reset);
            self.readable = true;
            self.writable = true;
        }
        // Half of them say so in TLS as well, the others just end.
        if self.rising_end.is_none()
            && end == End::Fin
            && self.falling_max.is_multiple_of(1000)
            && let Some(secure) = &mut self.secure
        {
            self.rising.extend(secure.say_goodbye());
        }
        self.rising_end.get_or_insert(end);
    }

    /// Whether the client has ended its side.
    pub(crate) fn is_ending(&self) -> bool {
        self.rising_end.is_some() || self.ended.is_some()
    }

    /// Moves at most `piece` bytes each way. True if anything moved.
    pub(crate) fn pump(&mut self, dice: &mut Dice, piece: usize) -> bool {
        let up = !self.mute && self.pump_up(dice, piece);
        let down = !self.deaf && self.pump_down(dice, piece);
        if self.starved && self.falling.len() < self.falling_max {
            self.starved = false;
            self.writable = true;
            return true;
        }
        up || down
    }

    fn pump_up(&mut self, dice: &mut Dice, piece: usize) -> bool {
        if !self.rising.is_empty() && self.arrived.len() < ARRIVED_MAX {
            let count = (1 + dice.below(piece)).min(self.rising.len());
            let moved = self.rising.drain(..count);
            if self.dropped {
                moved.for_each(drop);
                self.be_reset();
            } else {
                self.arrived.extend(moved);
                self.readable = true;
            }
            return true;
        }
        if self.rising.is_empty() && self.rising_end.is_some() && self.arrived_end.is_none() {
            self.arrived_end = self.rising_end;
            self.readable = true;
            return true;
        }
        false
    }

    fn pump_down(&mut self, dice: &mut Dice, piece: usize) -> bool {
        if !self.falling.is_empty() {
            let count = (1 + dice.below(piece)).min(self.falling.len());
            let bytes = self.falling.drain(..count);
            let Some(secure) = &mut self.secure else {
                self.received.extend(bytes);
                return true;
            };
            secure.open(&bytes.collect::<Vec<u8>>(), &mut self.received);
            let answer = secure.unsent();
            if self.rising_end.is_none() {
                self.rising.extend(answer);
            }
            return true;
        }
        if self.falling_end.is_some() && self.ended.is_none() {
            self.ended = self.falling_end;
            return true;
        }
        false
    }

    /// The answer of a closed socket to bytes that nobody will read: it destroys what the client has not read.
    fn be_reset(&mut self) {
        self.falling.clear();
        self.falling_end = Some(End::Reset);
        self.ended.get_or_insert(End::Reset);
    }

    /// One `recv` of the server; the bytes go to the front of `buffer`.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Got {
        if self.secure.as_ref().is_some_and(|secure| secure.front.has_ended()) {
            return Got::End;
        }
        let count = buffer.len().min(self.arrived.len());
        if count > 0 {
            for (place, byte) in buffer.iter_mut().zip(self.arrived.drain(..count)) {
                *place = byte;
            }
            return Got::Bytes(count);
        }
        match self.arrived_end {
            None => Got::Nothing,
            Some(End::Fin) => Got::End,
            Some(End::Reset) => Got::Broken,
        }
    }

    /// Whether epoll would say that the peer sends no more.
    pub(crate) fn has_peer_ended(&self) -> bool {
        self.arrived_end.is_some()
    }

    /// What the server does in place of one `writev`, through TLS if the link carries it.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>], last: bool, dice: &mut Dice) -> Written {
        let Some(mut secure) = self.secure.take() else { return self.write_plain(slices, dice) };
        let Secure { front, room, .. } = &mut *secure;
        let written = front.write(slices, last, room, |bytes| self.write_plain(&[IoSlice::new(bytes)], dice));
        self.secure = Some(secure);
        written
    }

    /// The server writes what TLS says by itself; `Bytes(0)` if nothing is left.
    pub(crate) fn flush(&mut self, dice: &mut Dice) -> Written {
        let Some(mut secure) = self.secure.take() else { return Written::Bytes(0) };
        let written = secure.front.flush(|bytes| self.write_plain(&[IoSlice::new(bytes)], dice));
        self.secure = Some(secure);
        written
    }

    /// One `writev` of the server, as much as there is room for, sometimes less.
    fn write_plain(&mut self, slices: &[IoSlice<'_>], dice: &mut Dice) -> Written {
        if self.arrived_end == Some(End::Reset) {
            return Written::Broken;
        }
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let room = self.falling_max.saturating_sub(self.falling.len());
        let mut taken = offered.min(room);
        if taken > 0 && dice.once_in(8) {
            taken = dice.below(taken + 1);
        }
        self.falling.extend(slices.iter().flat_map(|slice| slice.iter().copied()).take(taken));
        self.starved = taken < offered;
        if taken == 0 { Written::Full } else { Written::Bytes(taken) }
    }

    /// The server watches the socket anew: the poll tells again what there is.
    pub(crate) fn watch_anew(&mut self) {
        self.readable = true;
        self.writable = true;
    }

    /// The server's process has died. What it has written may still be read; what it has not read destroys that.
    pub(crate) fn kill(&mut self) {
        if !std::mem::replace(&mut self.dropped, true) {
            (self.readable, self.writable, self.starved) = (false, false, false);
            if self.arrived.is_empty() {
                self.falling_end.get_or_insert(End::Fin);
            } else {
                self.arrived.clear();
                self.be_reset();
            }
        }
    }

    /// Whether the server has not ended its side.
    pub(crate) fn is_served(&self) -> bool {
        !self.dropped && self.falling_end.is_none()
    }

    /// The server sends nothing more.
    pub(crate) fn shutdown(&mut self, dice: &mut Dice) {
        if let Some(mut secure) = self.secure.take() {
            let Secure { front, room, .. } = &mut *secure;
            front.close(room, |bytes| self.write_plain(&[IoSlice::new(bytes)], dice));
            self.secure = Some(secure);
        }
        self.finish();
    }

    fn finish(&mut self) {
        self.falling_end.get_or_insert(End::Fin);
    }

    /// The server closes its socket.
    pub(crate) fn drop_server(&mut self) {
        self.dropped = true;
        if self.arrived.is_empty() { self.finish() } else { self.be_reset() }
    }
}

/// A request that asks for `path` and, if `upgrade`, for a WebSocket.
pub(crate) fn request(path: &str, upgrade: bool) -> Vec<u8> {
    let upgrade = if upgrade {
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    } else {
        ""
    };
    format!("GET {path} HTTP/1.1\r\nHost: sim\r\n{upgrade}\r\n").into_bytes()
}

/// The same for a WebSocket, with another header line.
pub(crate) fn request_with(path: &str, header: &str) -> Vec<u8> {
    let mut request = request(path, true);
    let end = request.len() - 2;
    request.splice(end..end, header.bytes());
    request
}

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

/// A client's frame, masked.
pub(crate) fn frame(opcode: u8, fin: bool, payload: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut out = vec![u8::from(fin) << 7 | opcode];
    match payload.len() {
        short @ 0..=125 => out.push(0x80 | short.to_be_bytes()[7]),
        medium @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&medium.to_be_bytes()[6..]);
        }
        long => {
            out.push(0x80 | 127);
            out.extend_from_slice(&long.to_be_bytes());
        }
    }
    let key = dice.bits().to_be_bytes();
    out.extend_from_slice(&key[..4]);
    out.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]));
    out
}

/// A text message, sometimes in fragments with a ping between them.
pub(crate) fn message(payload: &[u8], dice: &mut Dice) -> Vec<u8> {
    if !dice.once_in(6) {
        return frame(TEXT, true, payload, dice);
    }
    let cut = dice.below(payload.len() + 1);
    let mut out = frame(TEXT, false, &payload[..cut], dice);
    if dice.once_in(2) {
        out.extend(frame(PING, true, b"between", dice));
    }
    out.extend(frame(0, true, &payload[cut..], dice));
    out
}

/// What the server has said, cut into heads and frames.
#[derive(Default)]
pub(crate) struct Reader {
    bytes: Vec<u8>,
    used: usize,
}

impl Reader {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.used);
        self.used = 0;
        self.bytes.extend_from_slice(bytes);
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    /// Bytes that are not yet a whole anything.
    pub(crate) fn left(&self) -> usize {
        self.rest().len()
    }

    /// Status of the next answer, if all of it is there; the answer is then used up.
    pub(crate) fn answer(&mut self) -> Option<u16> {
        self.answer_with_body().map(|(status, _)| status)
    }

    /// Status and body of the next answer, likewise.
    pub(crate) fn answer_with_body(&mut self) -> Option<(u16, Vec<u8>)> {
        let end = self.rest().windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&self.rest()[..end]).expect("heads are ASCII");
        let status = head.strip_prefix("HTTP/1.1 ").expect("an answer begins with its version");
        let status: u16 = status[..3].parse().expect("a status has three digits");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.map_or(0, |length| length.parse().expect("a length is a number"));
        if self.left() < end + length {
            return None;
        }
        let body = self.rest()[end..end + length].to_vec();
        self.used += end + length;
        Some((status, body))
    }

    /// Opcode and payload of the next frame, if all of it is there.
    pub(crate) fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second, rest @ ..] = self.rest() else { return None };
        assert_eq!(first & 0xf0, 0x80, "servers send whole messages without reserved bits");
        let opcode = first & 0xf;
        assert!(matches!(opcode, 1 | 2 | 8 | 9 | 10), "opcode {opcode}");
        let wide = match *second {
            0..=125 => 0,
            126 => 2,
            127 => 8,
            _ => panic!("servers do not mask"),
        };
        let length = if wide == 0 {
            usize::from(*second)
        } else {
            rest.get(..wide)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
        };
        let payload = rest.get(wide..wide + length)?.to_vec();
        assert!(opcode < 8 || length <= 125, "a long control frame");
        self.used += 2 + wide + length;
        Some((opcode, payload))
    }
}
