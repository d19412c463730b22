//! The end of a turn: flush what was touched, shut and free what has ended, let held input go on.

use std::io::IoSlice;

use crate::base::id::{Key, index32};
use crate::dialect::native::encode;
use crate::metrics::table::BYTES_SENT;
use crate::shard::conn::socket::LINGER;
use crate::shard::conn::{Conn, Dirty, Hold, Phase};
use crate::shard::edge::ends;
use crate::shard::outbox::Spares;
use crate::shard::port::{Close, Written};
use crate::shard::state::Shard;
use crate::wire::ws::frame;

/// Frames laid out for one write.
pub const SLICES_MAX: usize = 64;
/// Replies from this length on are written at once: the replies of one turn together would leave the processor's cache
/// before their turn to be written comes.
const REPLY_BYTES_LONG: usize = 4 << 10;

/// How much is laid out for a write; small enough to be returned in registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Bytes in all.
    pub bytes: usize,
    /// Slices that are filled.
    pub used: u32,
    /// Nothing comes behind them: once they are written, [`Shard::poll_close`] ends our side in the same turn.
    pub is_last: bool,
}

impl Shard {
    /// There is something to flush for `key`.
    pub(crate) fn touch(&mut self, key: Key) {
        if let Some(conn) = self.conns.get_mut(key) {
            self.turn.mark(conn, key.slot, Dirty::Soon);
        }
    }

    /// The next connection to write to, or none if all is written or this turn's budget is spent. Ask
    /// [`Shard::outgoing`] what, and tell [`Shard::handle_written`] how it went.
    pub fn poll_flush(&mut self) -> Option<Key> {
        loop {
            let slot = self.next_dirty()?;
            let Some((key, conn)) = self.conns.at_slot_mut(slot) else { continue };
            conn.dirty = Dirty::No;
            if conn.outbox.is_blocked() || conn.outbox.is_empty() {
                continue;
            }
            announce(conn, &mut self.scratch, &mut self.spares);
            return Some(key);
        }
    }

    /// Whether `key`, just read from, is written to before others are read from, in the way of [`Shard::poll_flush`]:
    /// an echo, to which nothing can be added this turn, and long replies, while they are still in the processor's
    /// cache.
    pub fn poll_reply(&mut self, key: Key) -> bool {
        let Some(conn) = self.conns.get_mut(key) else { return false };
        let ready = conn.dirty == Dirty::Soon && !conn.outbox.is_blocked() && self.turn.flushes_left > 0;
        if !ready || !(conn.is_echo() || conn.outbox.own_bytes() >= REPLY_BYTES_LONG) {
            return false;
        }
        if self.turn.soon.back() == Some(&key.slot) {
            self.turn.soon.pop_back();
        }
        self.turn.flushes_left -= 1;
        conn.dirty = Dirty::No;
        announce(conn, &mut self.scratch, &mut self.spares);
        !conn.outbox.is_empty()
    }

    /// The next slot that may have something to flush: first those on the list for soon, then a slice of the bulk; each
    /// has its own budget, so that neither starves the other.
    fn next_dirty(&mut self) -> Option<u32> {
        let turn = &mut self.turn;
        if turn.flushes_left > 0
            && let Some(slot) = turn.soon.pop_front()
        {
            turn.flushes_left -= 1;
            if slot == self.probe.slot {
                self.probe.written = true;
            }
            return Some(slot);
        }
        while turn.bulk_left > 0 {
            let slot = turn.bulk.pop_front()?;
            // One that is soon was promoted; one that is nothing any more was flushed.
            if self.conns.by_slot(slot).is_some_and(|conn| !matches!(conn.dirty, Dirty::No | Dirty::Soon)) {
                turn.bulk_left -= 1;
                if slot == self.probe.slot {
                    self.probe.written = true;
                }
                return Some(slot);
            }
        }
        None
    }

    /// What to write to `key`, oldest first.
    pub fn outgoing<'a>(&'a self, key: Key, slices: &mut [IoSlice<'a>]) -> Outgoing {
        let Some(conn) = self.conns.get(key) else { return Outgoing::default() };
        let used = conn.outbox.slices(slices);
        let bytes = slices[..used].iter().map(|slice| slice.len()).sum();
        let is_last = matches!(conn.phase, Phase::Closing { .. }) && conn.outbox.bytes() == bytes;
        Outgoing { bytes, used: index32(used), is_last }
    }

    /// A write was tried; `offered` is how much [`Shard::outgoing`] gave.
    pub fn handle_written(&mut self, key: Key, written: Written, offered: usize) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let mut drained = false;
        match written {
            Written::Broken => return self.doom(key),
            Written::Full => conn.outbox.block(&mut self.spares),
            Written::Bytes(taken) => {
                self.tally.add(const { BYTES_SENT.cell() }, taken as u64);
                conn.outbox.written(taken, &mut self.spares);
                if taken < offered {
                    conn.outbox.block(&mut self.spares);
                } else if !conn.outbox.is_empty() {
                    self.turn.mark(conn, key.slot, Dirty::Soon);
                }
                drained = taken > 0 && conn.hold.has(Hold::OUTBOX);
            }
        }
        if conn.outbox.is_empty() && matches!(conn.phase, Phase::Closing { .. }) {
            self.turn.closing.push(key);
        }
        if drained {
            self.on_drained(key);
        }
    }

    /// The socket takes bytes again.
    pub fn handle_writable(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.outbox.is_blocked() {
            conn.outbox.unblock();
            self.turn.mark(conn, key.slot, Dirty::Soon);
        }
    }

    /// The connection is over: it leaves its topics now and is freed when the driver asks.
    pub(crate) fn doom(&mut self, key: Key) {
        if self.conns.get_mut(key).and_then(Conn::socket).is_some_and(|socket| !socket.is_closing()) {
            self.tally.count(ends::LOST);
        }
        let key = self.detach(key);
        self.end(key);
        let Some(conn) = self.conns.get_mut(key) else { return };
        if !matches!(conn.phase, Phase::Over) {
            conn.phase = Phase::Over;
            self.turn.doomed.push(key);
        }
    }

    /// The next socket to shut or to free.
    pub fn poll_close(&mut self) -> Option<(Key, Close)> {
        debug_assert!(self.turn.moves.is_empty(), "sockets are where they belong");
        while let Some(key) = self.turn.vacated.pop() {
            self.free(key);
        }
        while let Some(key) = self.turn.doomed.pop() {
            if self.free(key) {
                return Some((key, Close::Drop));
            }
        }
        while let Some(key) = self.turn.closing.pop() {
            let until = self.now.mono + LINGER;
            let Some(conn) = self.conns.get_mut(key) else { continue };
            let Phase::Closing { shut, until: deadline, ended } = &mut conn.phase else { continue };
            if *shut || !conn.outbox.is_empty() {
                continue;
            }
            if *ended {
                self.doom(key);
                return self.poll_close();
            }
            *shut = true;
            *deadline = until;
            self.rearm(key);
            return Some((key, Close::Shutdown));
        }
        None
    }

    fn free(&mut self, key: Key) -> bool {
        self.take_held(key);
        let Some(conn) = self.conns.remove(key) else { return false };
        debug_assert!(conn.memberships.is_empty());
        self.spares.forget(&conn.outbox);
        if let Some(timer) = conn.timer {
            self.wheel.cancel(timer);
        }
        true
    }

    /// Lets the input of stalled connections go on whose owner has caught up.
    pub(crate) fn release_stalled(&mut self) {
        for owner in 0..self.turn.stalled.len() {
            if self.turn.stalled[owner].is_empty()
                || self.lanes.requests[owner].len() > self.limits.pace.requests_low
            {
                continue;
            }
            for key in std::mem::take(&mut self.turn.stalled[owner]) {
                self.release(key, Hold::LANE);
            }
        }
    }

    /// One reason less to hold the input of `key`.
    pub(crate) fn release(&mut self, key: Key, reason: Hold) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if !conn.hold.has(reason) {
            return;
        }
        conn.hold.clear(reason);
        if conn.hold.none() {
            self.turn.resumed.push_back(key);
        }
    }

    /// The next connection whose input goes on: what it had sent already is handled here; the driver reads on.
    pub fn poll_resume(&mut self) -> Option<Key> {
        let key = self.turn.resumed.pop_front()?;
        if let Some(mut rest) = self.take_held(key) {
            self.consume(key, &mut rest);
        }
        Some(key)
    }
}

/// Turns the gaps that the next write reaches into frames.
fn announce(conn: &mut Conn, scratch: &mut Vec<u8>, spares: &mut Spares) {
    conn.outbox.announce(SLICES_MAX, spares, |gap, out| {
        out.extend_from_slice(frame::text(scratch, |out| encode::dropped(out, &gap.topic, gap.lost)));
    });
}
