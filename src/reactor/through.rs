//! Sockets whose bytes pass something on their way: a proxy's header, TLS.
//!
//! Adds to [`Reactor`] what is done there in place of a plain read and a plain write. Knows neither protocol.

use std::io::IoSlice;

use crate::base::id::Key;
use crate::reactor::lodger::Lodger;
use crate::reactor::socket::Got;
use crate::reactor::{Kept, Reactor, find};
use crate::shard::flush::{Outgoing, SLICES_MAX};
use crate::shard::front::{Fault, Front};
use crate::shard::port::Written;
use crate::shard::tls;

/// What the bytes of some sockets pass, by their slots. Where nobody has any, as without TLS and proxies, nobody pays
/// for a place here; else all do, up to the highest slot that ever had one.
#[derive(Default)]
pub(super) struct Fronts(Vec<Option<Box<Front>>>);

impl Fronts {
    fn get(&mut self, slot: u32) -> Option<&mut Front> {
        self.0.get_mut(slot as usize)?.as_deref_mut()
    }

    /// Puts what the socket in `slot` has, which may be none, where it is found.
    pub(super) fn put(&mut self, slot: u32, front: Option<Box<Front>>) {
        let slot = slot as usize;
        if front.is_some() && self.0.len() <= slot {
            self.0.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.0.get_mut(slot) {
            *place = front;
        }
    }

    /// Takes out what the socket in `slot` has.
    pub(super) fn take(&mut self, slot: u32) -> Option<Box<Front>> {
        self.0.get_mut(slot as usize)?.take()
    }
}

impl<T: Kept, L: Lodger> Reactor<T, L> {
    /// One read of a ready socket; how many bytes came. While the turn's handshakes are used up, one that is not
    /// through with its own stays on the ready list.
    pub(super) fn read_through(&mut self, key: Key) -> usize {
        let Some(socket) = find(&mut self.sockets, key) else { return 0 };
        let front = self.fronts.get(key.slot);
        let handshaking = front.as_ref().is_some_and(|front| front.is_handshaking());
        if handshaking && !self.parts.shard.takes_handshake() {
            socket.queued = true;
            self.ready.push_back(key);
            return 0;
        }
        // The peer may have ended by other means than the socket's.
        let ended = front.is_some_and(|front| front.has_ended());
        match if ended { Got::End } else { socket.read(&mut self.buffer) } {
            Got::Bytes { count, drained } => {
                socket.readable = !drained;
                if !drained {
                    socket.queued = true;
                    self.ready.push_back(key);
                }
                self.receive_through(key, count);
                if self.parts.shard.poll_reply(key) {
                    self.write(key);
                }
                return count;
            }
            Got::Nothing => socket.readable = false,
            Got::End => {
                socket.readable = false;
                self.parts.shard.handle_eof(key);
            }
            Got::Broken => {
                socket.readable = false;
                self.parts.shard.handle_reset(key);
            }
        }
        self.move_sockets();
        0
    }

    /// The first `count` bytes of the buffer came on the socket of `key`.
    fn receive_through(&mut self, key: Key, count: usize) {
        let Some(socket) = find(&mut self.sockets, key) else { return };
        let Some(front) = self.fronts.get(key.slot) else { return };
        self.plain.clear();
        let result = front.receive(&mut self.buffer[..count], &mut self.plain);
        let (ended, done, unsent) = (front.has_ended(), front.is_done(), front.has_unsent());
        if ended && !socket.queued {
            // What has come is handled first, and that may have to wait.
            (socket.readable, socket.queued) = (true, true);
            self.ready.push_back(key);
        }
        let flushed = front.flush(|bytes| socket.send(bytes));
        if done {
            socket.fronted = false;
            self.fronts.take(key.slot);
        }
        match result {
            Ok(came) => {
                if let Some(client) = came.client {
                    self.parts.shard.handle_client(key, client);
                }
                // What the shard has waited for may be gone by this very write, and then no edge tells of it.
                if came.opened || unsent && flushed == Written::Bytes(0) {
                    self.parts.shard.handle_writable(key);
                }
                if !self.plain.is_empty() {
                    self.parts.shard.handle_bytes(key, &mut self.plain);
                }
            }
            Err(fault) => self.on_fault(key, &fault),
        }
        self.move_sockets();
        match flushed {
            Written::Bytes(_) => {}
            Written::Full => self.watch_unsent(key),
            Written::Broken => self.parts.shard.handle_reset(key),
        }
    }

    /// Counts clients of proxies where they are.
    pub(super) fn locate_clients(&mut self) {
        while let Some((key, address)) = self.parts.shard.poll_located() {
            let Some(socket) = find(&mut self.sockets, key) else { continue };
            let judged = socket.kept().locate(address, self.turned);
            tracing::debug!(%address, shard = %self.parts.id, slot = key.slot, ?judged, "behind a proxy");
            self.parts.shard.handle_located(key, judged);
        }
    }

    fn on_fault(&mut self, key: Key, fault: &Fault) {
        tracing::debug!(shard = %self.parts.id, slot = key.slot, %fault, "connection refused");
        match fault {
            Fault::Tls(tls::Fault::Plaintext) => {
                if let Some(socket) = find(&mut self.sockets, key) {
                    socket.fronted = false;
                    self.fronts.take(key.slot);
                }
                self.parts.shard.handle_plaintext(key);
            }
            Fault::Tls(_) => self.parts.shard.handle_garbled(key),
            Fault::Proxy(_) => self.parts.shard.handle_reset(key),
        }
    }

    /// The poll tells when the socket takes bytes again, if some wait there that the shard knows nothing of.
    pub(super) fn watch_unsent(&mut self, key: Key) {
        let Some(socket) = find(&mut self.sockets, key) else { return };
        let unsent = socket.fronted && self.fronts.get(key.slot).is_some_and(|front| front.has_unsent());
        if unsent && let Err(error) = socket.watch_for_room(key, self.poll.registry()) {
            tracing::warn!(%error, "cannot watch a socket that is full");
            self.parts.shard.handle_reset(key);
        }
    }

    /// The socket takes bytes again: whether also those of the shard.
    pub(super) fn flush_front(&mut self, key: Key) -> bool {
        let Some(socket) = find(&mut self.sockets, key).filter(|socket| socket.fronted) else { return true };
        let Some(front) = self.fronts.get(key.slot) else { return true };
        match front.flush(|bytes| socket.send(bytes)) {
            Written::Bytes(_) => true,
            Written::Full => false,
            Written::Broken => {
                self.parts.shard.handle_reset(key);
                false
            }
        }
    }

    /// One write of what waits for `key` through what stands before its socket.
    pub(super) fn write_through(&mut self, key: Key) -> (Written, usize) {
        let (Some(socket), Some(front)) = (find(&mut self.sockets, key), self.fronts.get(key.slot)) else {
            return (Written::Broken, 0);
        };
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let Outgoing { used, bytes, is_last } = self.parts.shard.outgoing(key, &mut slices);
        let room = self.room.get_or_insert_default();
        let written = front.write(&slices[..used as usize], is_last, room, |bytes| socket.send(bytes));
        (written, bytes)
    }

    /// Nothing more is sent to `key`: what stands before its socket says so in its own way.
    pub(super) fn say_goodbye(&mut self, key: Key) {
        let (Some(socket), Some(front)) = (find(&mut self.sockets, key), self.fronts.get(key.slot)) else {
            return;
        };
        front.close(self.room.get_or_insert_default(), |bytes| socket.send(bytes));
    }
}
