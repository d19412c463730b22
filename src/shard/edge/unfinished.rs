//! What clients begin and do not finish: requests and messages, of all connections together.
//!
//! A client that is slow is no attack, many that wait for nothing are. So each shard has a share of a common bound, and
//! when that is used up those go that have waited longest, or hold most; who finishes what it began is not touched.

use crate::base::id::Key;
use crate::metrics::table::{LIMITS_HIT, MEMORY};
use crate::shard::conn::socket::Socket;
use crate::shard::conn::{Conn, Phase};
use crate::shard::state::Shard;
use crate::wire::ws::close::CloseCode;

/// Entries of the queue that are none any more, beyond which they are thrown out.
const STALE_MAX: usize = 1024;

/// Whether a connection waits for a whole request.
fn waits(conn: &Conn) -> bool {
    matches!(conn.phase, Phase::Head { .. } | Phase::Body { .. })
}

impl Shard {
    /// A connection waits for a request from now on, as the newest.
    pub(crate) fn begin_request(&mut self, key: Key) {
        self.unfinished.requests += 1;
        self.unfinished.queue.push_back(key);
        if self.unfinished.queue.len() > 2 * self.unfinished.requests as usize + STALE_MAX {
            // A connection that is kept for the next request stands there once for each that it has sent.
            let (conns, mut seen) = (&self.conns, vec![false; self.conns.slots()]);
            self.unfinished.queue.retain(|key| {
                conns.get(*key).is_some_and(waits) && !std::mem::replace(&mut seen[key.slot as usize], true)
            });
        }
    }

    /// Lets those go that have waited longest, if too many wait.
    pub(crate) fn fit_requests(&mut self) {
        while self.unfinished.requests > self.limits.half_open_share(self.shards) {
            let Some(oldest) = self.unfinished.queue.pop_front() else { return };
            if self.conns.get(oldest).is_some_and(waits) {
                self.tally.count(const { LIMITS_HIT.of("half_open") });
                self.doom(oldest);
            }
        }
    }

    /// The connection is about to leave the phase that it is in.
    pub(crate) fn leave_phase(&mut self, key: Key) {
        let Some(conn) = self.conns.get(key) else { return };
        match &conn.phase {
            Phase::Head { .. } | Phase::Body { .. } => self.unfinished.requests -= 1,
            Phase::Socket(Socket { assembler, .. }) => {
                self.unfinished.message_bytes -= assembler.buffered_bytes();
            }
            Phase::Asking(_) | Phase::Away { .. } | Phase::Closing { .. } | Phase::Over => {}
        }
    }

    /// So much of a message has come, and not all of it.
    #[inline(never)]
    pub(crate) fn keep_message(&mut self, bytes: usize) {
        self.unfinished.message_bytes += bytes;
        let share = self.limits.partial_share(self.shards);
        if self.unfinished.message_bytes > share {
            self.fit_messages(share);
        }
    }

    /// Closes the connections with the most of a message that has not come whole, until a quarter of the share is free:
    /// so whoever wants us to look at all connections again has to send that much first.
    #[cold]
    fn fit_messages(&mut self, share: usize) {
        let held = self.conns.iter().filter_map(|(key, conn)| match &conn.phase {
            Phase::Socket(Socket { assembler, .. }) => Some((assembler.buffered_bytes(), key)),
            _ => None,
        });
        let mut held: Vec<(usize, Key)> = held.filter(|(bytes, _)| *bytes > 0).collect();
        held.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        for (_, key) in held {
            if self.unfinished.message_bytes <= share / 4 * 3 {
                return;
            }
            self.tally.count(const { LIMITS_HIT.of("partial_memory") });
            self.fail(key, CloseCode::TRY_AGAIN_LATER, "too many messages are half received");
        }
    }

    /// Keeps input that is not handled now.
    #[cold]
    pub(crate) fn hold_input(&mut self, key: Key, input: &[u8]) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let rest = conn.rest.get_or_insert_default();
        let before = rest.capacity();
        rest.extend_from_slice(input);
        self.unfinished.held_bytes += rest.capacity() - before;
    }

    /// Takes the input that a connection has kept, to handle it or to forget it.
    #[inline]
    pub(crate) fn take_held(&mut self, key: Key) -> Option<Vec<u8>> {
        let rest = self.conns.get_mut(key)?.rest.take()?;
        self.unfinished.held_bytes -= rest.capacity();
        Some(*rest)
    }

    /// Publishes what this file counts.
    pub(crate) fn measure_unfinished(&mut self) {
        self.tally.set(const { MEMORY.of("held_input") }, self.unfinished.held_bytes as u64);
        self.tally.set(const { MEMORY.of("partial_messages") }, self.unfinished.message_bytes as u64);
    }

    /// Asserts that the counts are those of the connections.
    pub(crate) fn check_unfinished(&self) {
        let requests = self.conns.iter().filter(|(_, conn)| waits(conn)).count();
        assert_eq!(requests, self.unfinished.requests as usize, "connections that wait for a request");
        let bytes = self.conns.iter().map(|(_, conn)| match &conn.phase {
            Phase::Socket(Socket { assembler, .. }) => assembler.buffered_bytes(),
            _ => 0,
        });
        assert_eq!(bytes.sum::<usize>(), self.unfinished.message_bytes, "what half messages cost");
        let held = self.conns.iter().filter_map(|(_, conn)| conn.rest.as_ref()).map(|rest| rest.capacity());
        assert_eq!(held.sum::<usize>(), self.unfinished.held_bytes, "what held input costs");
        for (key, conn) in self.conns.iter() {
            assert!(!waits(conn) || self.unfinished.queue.contains(&key), "{key:?} can be found");
        }
    }
}
