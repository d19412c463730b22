//! Lists that a turn fills and works off: who is flushed in which order, who ends, who goes on.

use std::collections::VecDeque;
use std::net::IpAddr;

use crate::base::id::{Key, ShardId};
use crate::shard::conn::{Conn, Dirty};
use crate::shard::limits::Pace;
use crate::shard::port::Move;

/// Lists that a turn fills and works off.
#[derive(Default)]
pub(crate) struct Turn {
    /// Slots to flush, in order of first need.
    pub(crate) soon: VecDeque<u32>,
    /// Slots to flush in slices.
    pub(crate) bulk: VecDeque<u32>,
    /// Slots to flush when the window ends.
    later: VecDeque<u32>,
    /// Those that large fan-outs reached: in slices even then.
    later_bulk: VecDeque<u32>,
    /// Connections whose last word may be written by now.
    pub(crate) closing: Vec<Key>,
    /// Connections that were closed for what they did.
    pub(crate) offences: Vec<Key>,
    /// Connections that are over; freed when the driver asks.
    pub(crate) doomed: Vec<Key>,
    /// Connections that are over and have no socket.
    pub(crate) vacated: Vec<Key>,
    /// Sockets that change hands, in order.
    pub(crate) moves: VecDeque<(Key, Move)>,
    /// Connections of which a proxy has said where their clients are.
    pub(crate) located: Vec<(Key, IpAddr)>,
    /// Connections whose input may go on.
    pub(crate) resumed: VecDeque<Key>,
    /// Connections that are not read from until the owner has caught up, by owner.
    pub(crate) stalled: Vec<Vec<Key>>,
    /// Slots whose send queue ran over.
    pub(crate) overrun: Vec<u32>,
    pub(crate) pushes_left: u32,
    pub(crate) flushes_left: u32,
    pub(crate) bulk_left: u32,
    pub(crate) handshakes_left: u32,
}

impl Turn {
    pub(crate) fn new(shards: u16, pace: &Pace) -> Turn {
        let mut turn = Turn { stalled: (0..shards).map(|_| Vec::new()).collect(), ..Turn::default() };
        turn.begin(pace);
        turn
    }

    pub(crate) fn begin(&mut self, pace: &Pace) {
        self.pushes_left = pace.pushes_per_turn;
        self.flushes_left = pace.flushes_per_turn;
        self.bulk_left = pace.bulk_flushes_per_turn;
        self.handshakes_left = pace.handshakes_per_turn;
    }

    /// Puts a connection on a flush list, unless it is on an earlier one.
    pub(crate) fn mark(&mut self, conn: &mut Conn, slot: u32, dirty: Dirty) {
        if dirty <= conn.dirty {
            return;
        }
        conn.dirty = dirty;
        match dirty {
            Dirty::No => {}
            Dirty::LaterBulk => self.later_bulk.push_back(slot),
            Dirty::Later => self.later.push_back(slot),
            Dirty::Bulk => self.bulk.push_back(slot),
            Dirty::Soon => self.soon.push_back(slot),
        }
    }

    /// The window has ended: what waited for that is flushed, those of small fan-outs before any bulk.
    pub(crate) fn end_window(&mut self) {
        self.soon.append(&mut self.later);
        self.bulk.append(&mut self.later_bulk);
    }

    /// Whether anything is left that the next turn can do without news from outside.
    pub(crate) fn unfinished(&self) -> bool {
        !(self.soon.is_empty()
            && self.bulk.is_empty()
            && self.resumed.is_empty()
            && self.doomed.is_empty()
            && self.vacated.is_empty()
            && self.moves.is_empty()
            && self.located.is_empty())
    }

    /// Whether no list holds anything.
    pub(crate) fn is_idle(&self) -> bool {
        let Turn { later, later_bulk, closing, stalled, overrun, .. } = self;
        !self.unfinished()
            && later.is_empty()
            && later_bulk.is_empty()
            && closing.is_empty()
            && stalled.iter().all(Vec::is_empty)
            && overrun.is_empty()
    }

    pub(crate) fn stall(&mut self, owner: ShardId, key: Key) {
        self.stalled[owner.index()].push(key);
    }
}
