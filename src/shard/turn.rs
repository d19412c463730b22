//! The end of a turn: who is flushed in which order, who ends, who goes on.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::base::id::{Key, ShardId};
use crate::dialect::native::encode;
use crate::shard::Shard;
use crate::shard::conn::timers::LINGER;
use crate::shard::conn::{Conn, Dirty, Hold, Phase};
use crate::shard::fanout::framed;
use crate::shard::limits::Pace;
use crate::shard::port::{Close, Written};

/// Frames laid out for one write.
pub const SLICES_MAX: usize = 64;

/// Lists that a turn fills and works off.
#[derive(Default)]
pub(crate) struct Turn {
    /// Slots to flush, in order of first need.
    soon: VecDeque<u32>,
    /// Slots to flush in slices.
    bulk: VecDeque<u32>,
    /// Connections whose last word may be written by now.
    pub(crate) closing: Vec<Key>,
    /// Connections that are over; freed when the driver asks.
    doomed: Vec<Key>,
    /// Connections whose input may go on.
    pub(crate) resumed: VecDeque<Key>,
    /// Connections that are not read from until the owner has caught up, by owner.
    pub(crate) stalled: Vec<Vec<Key>>,
    /// Slots whose send queue ran over.
    pub(crate) overrun: Vec<u32>,
    pub(crate) pushes_left: u32,
    flushes_left: u32,
    bulk_left: u32,
}

impl Turn {
    pub(crate) fn new(shards: u16) -> Turn {
        Turn { stalled: (0..shards).map(|_| Vec::new()).collect(), ..Turn::default() }
    }

    pub(crate) fn begin(&mut self, pace: &Pace) {
        self.pushes_left = pace.pushes_per_turn;
        self.flushes_left = pace.flushes_per_turn;
        self.bulk_left = pace.bulk_flushes_per_turn;
    }

    /// Puts a connection on a flush list, unless it is on an earlier one.
    pub(crate) fn mark(&mut self, conn: &mut Conn, slot: u32, dirty: Dirty) {
        match (conn.dirty, dirty) {
            (Dirty::Soon, _) | (_, Dirty::No) | (Dirty::Bulk, Dirty::Bulk) => {}
            (_, Dirty::Soon) => {
                conn.dirty = Dirty::Soon;
                self.soon.push_back(slot);
            }
            (Dirty::No, Dirty::Bulk) => {
                conn.dirty = Dirty::Bulk;
                self.bulk.push_back(slot);
            }
        }
    }

    /// Whether anything is left that the next turn can do without news from outside.
    pub(crate) fn unfinished(&self) -> bool {
        !(self.soon.is_empty() && self.bulk.is_empty() && self.resumed.is_empty() && self.doomed.is_empty())
    }

    /// Whether no list holds anything.
    pub(crate) fn is_idle(&self) -> bool {
        let Turn { closing, stalled, overrun, .. } = self;
        !self.unfinished() && closing.is_empty() && stalled.iter().all(Vec::is_empty) && overrun.is_empty()
    }

    pub(crate) fn stall(&mut self, owner: ShardId, key: Key) {
        self.stalled[owner.index()].push(key);
    }
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
            let slot = if self.turn.flushes_left == 0 {
                return None;
            } else if let Some(slot) = self.turn.soon.pop_front() {
                slot
            } else if self.turn.bulk_left == 0 {
                return None;
            } else {
                let slot = self.turn.bulk.pop_front()?;
                let key = self.conns.key_of(slot);
                if !key.and_then(|key| self.conns.get(key)).is_some_and(|conn| conn.dirty == Dirty::Bulk) {
                    continue; // was promoted, and flushed
                }
                self.turn.bulk_left -= 1;
                slot
            };
            let Some(key) = self.conns.key_of(slot) else { continue };
            let Some(conn) = self.conns.get_mut(key) else { continue };
            conn.dirty = Dirty::No;
            if conn.outbox.blocked || conn.outbox.is_empty() {
                continue;
            }
            self.turn.flushes_left -= 1;
            let scratch = &mut self.scratch;
            conn.outbox.announce(SLICES_MAX, &mut self.spares, |gap, out| {
                out.extend_from_slice(framed(scratch, |out| encode::dropped(out, &gap.topic, gap.lost)));
            });
            return Some(key);
        }
    }

    /// What to write to `key`, oldest first. Returns how many slices are filled and their bytes in all.
    pub fn outgoing<'a>(&'a self, key: Key, slices: &mut [IoSlice<'a>; SLICES_MAX]) -> (usize, usize) {
        let Some(conn) = self.conns.get(key) else { return (0, 0) };
        let used = conn.outbox.slices(slices);
        (used, slices[..used].iter().map(|slice| slice.len()).sum())
    }

    /// A write was tried; `offered` is what [`Shard::outgoing`] said.
    pub fn handle_written(&mut self, key: Key, written: Written, offered: usize) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        match written {
            Written::Broken => return self.doom(key),
            Written::Full => conn.outbox.blocked = true,
            Written::Bytes(taken) => {
                conn.outbox.written(taken, &mut self.spares);
                conn.outbox.blocked = taken < offered;
                if !conn.outbox.blocked && !conn.outbox.is_empty() {
                    self.turn.mark(conn, key.slot, Dirty::Soon);
                }
                if taken > 0 && conn.hold.has(Hold::OUTBOX) {
                    self.on_drained(key);
                }
            }
        }
        if self
            .conns
            .get(key)
            .is_some_and(|conn| conn.outbox.is_empty() && matches!(conn.phase, Phase::Closing { .. }))
        {
            self.turn.closing.push(key);
        }
    }

    /// The socket takes bytes again.
    pub fn handle_writable(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.outbox.blocked {
            conn.outbox.blocked = false;
            if !conn.outbox.is_empty() {
                self.turn.mark(conn, key.slot, Dirty::Soon);
            }
        }
    }

    /// The connection is over: it leaves its topics now and is freed when the driver asks.
    pub(crate) fn doom(&mut self, key: Key) {
        if self.conns.get(key).is_none_or(|conn| matches!(conn.phase, Phase::Gone)) {
            return;
        }
        self.end(key);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.phase = Phase::Gone;
        }
        self.turn.doomed.push(key);
    }

    /// The next socket to shut or to free.
    pub fn poll_close(&mut self) -> Option<(Key, Close)> {
        while let Some(key) = self.turn.doomed.pop() {
            let Some(conn) = self.conns.remove(key) else { continue };
            debug_assert!(conn.memberships.is_empty());
            if let Some(timer) = conn.timer {
                self.wheel.cancel(timer);
            }
            return Some((key, Close::Drop));
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

    /// Lets the input of stalled connections go on whose owner has caught up.
    pub(crate) fn release_stalled(&mut self) {
        for owner in 0..self.turn.stalled.len() {
            if self.turn.stalled[owner].is_empty() || self.lanes.requests[owner].len() > self.limits.pace.requests_low {
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
        let rest = self.conns.get_mut(key).map(|conn| std::mem::take(&mut conn.rest)).unwrap_or_default();
        if !rest.is_empty() {
            let mut rest = rest;
            self.consume(key, &mut rest);
        }
        Some(key)
    }
}
