//! Clients are sent away, a few at a time: because the process ends, or because somebody wants it empty.
//!
//! Who asks whether the server is ready learns first that it is not; then clients are told when to come back, each at
//! its own moment, and closed with 1001. They go in a random order, evenly over a window, so that where they go instead
//! is not met by all at once. Newcomers get 503. If the process is to stay, whatever is no client is served as before.

use std::time::Duration;

use crate::base::clock::Mono;
use crate::base::id::Key;
use crate::dialect::native::encode;
use crate::shard::conn::Phase;
use crate::shard::state::{Drain, Shard};
use crate::wire::ws::close::CloseCode;

impl Shard {
    /// Sends every client away within `window`. With `last` the process ends: requests are answered no more, and
    /// [`Shard::is_empty`] tells when all are gone. May be asked again: the last word counts.
    pub fn handle_drain(&mut self, window: Duration, last: bool) {
        let mut keys: Vec<Key> = self.conns.iter().map(|(key, _)| key).collect();
        for key in keys.iter().filter(|_| last) {
            match self.conns.get(*key).map(|conn| &conn.phase) {
                Some(Phase::Head { .. } | Phase::Body { .. }) => self.end(*key),
                Some(Phase::Asking(_)) => self.hurry(*key),
                _ => {}
            }
        }
        keys.retain(|key| {
            let phase = self.conns.get(*key).map(|conn| &conn.phase);
            matches!(phase, Some(Phase::Socket(_) | Phase::Away { .. }))
        });
        // A fair shuffle, from the end.
        for left in (2..=keys.len()).rev() {
            let other = self.prng.below(left as u64);
            keys.swap(left - 1, usize::try_from(other).unwrap_or(0));
        }
        let (began, count) = (self.now.mono, keys.len());
        self.drain = Some(Drain { keys, count, began, window, last });
        self.send_away();
    }

    /// Whether no new clients are taken.
    pub(crate) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Whether the process ends when all are gone.
    pub(crate) fn is_ending(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.last)
    }

    /// A client came by another shard that had let it in before it heard of the drain.
    pub(crate) fn came_late(&mut self, key: Key) {
        if let Some(drain) = &mut self.drain {
            drain.keys.push(key);
            drain.count += 1;
        }
    }

    /// Sends those away whose moment has come.
    #[cold]
    #[inline(never)]
    pub(crate) fn send_away(&mut self) {
        while let Some(drain) = &mut self.drain
            && drain.next().is_some_and(|due| due <= self.now.mono)
            && let Some(key) = drain.keys.pop()
        {
            let window = u64::try_from(self.limits.reconnect_window.as_millis()).unwrap_or(u64::MAX);
            let delay = Duration::from_millis(self.prng.below(window.saturating_add(1)));
            let Some(conn) = self.conns.get_mut(key) else { continue };
            match conn.phase {
                Phase::Away { .. } => self.end_session(key),
                Phase::Socket(_) => {
                    if conn.hears_broadcasts() {
                        self.send(key, |out| encode::server_shutdown(out, delay));
                    }
                    self.close(key, CloseCode::GOING_AWAY, "server shutdown");
                }
                Phase::Head { .. } | Phase::Body { .. } | Phase::Asking(_) => {}
                Phase::Closing { .. } | Phase::Over => {}
            }
        }
    }
}

impl Drain {
    /// When the next client goes; none if all have.
    pub(crate) fn next(&self) -> Option<Mono> {
        let gone = u32::try_from(self.count - self.keys.len()).unwrap_or(u32::MAX);
        let count = u32::try_from(self.count).unwrap_or(u32::MAX).max(1);
        // In this order, as the window times a count could overflow only beyond 2^31 hours.
        (!self.keys.is_empty()).then(|| self.began + self.window.saturating_mul(gone) / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_spread_evenly_over_the_window() {
        let key = Key { slot: 0, generation: 0 };
        let window = Duration::from_secs(1);
        let mut drain = Drain { keys: vec![key; 4], count: 4, began: Mono(100), window, last: true };
        let mut moments = Vec::new();
        while let Some(due) = drain.next() {
            moments.push(due.0);
            drain.keys.pop();
        }
        assert_eq!(moments, [100, 250_100, 500_100, 750_100]);
        let at_once = Drain { keys: vec![key], count: 10, window: Duration::ZERO, ..drain };
        assert_eq!(at_once.next(), Some(Mono(100)));
    }
}
