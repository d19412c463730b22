//! What one shard publishes once a turn for whoever asks how the process stands.

use std::sync::atomic::{AtomicU64, Ordering};

/// Gauges of one shard. Written by the shard alone; a reader may see them up to a turn old.
#[derive(Debug, Default)]
pub struct Gauges {
    connections: AtomicU64,
    clients: AtomicU64,
    rooms: AtomicU64,
}

/// The gauges at one moment, or the sum over several shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Open connections of any kind.
    pub connections: u64,
    /// Open WebSocket connections that speak the native protocol.
    pub clients: u64,
    /// Topics with members that the shard owns.
    pub rooms: u64,
}

impl Gauges {
    /// Publishes a new reading.
    pub fn publish(&self, reading: Reading) {
        self.connections.store(reading.connections, Ordering::Relaxed);
        self.clients.store(reading.clients, Ordering::Relaxed);
        self.rooms.store(reading.rooms, Ordering::Relaxed);
    }

    /// The last reading published.
    #[must_use]
    pub fn read(&self) -> Reading {
        Reading {
            connections: self.connections.load(Ordering::Relaxed),
            clients: self.clients.load(Ordering::Relaxed),
            rooms: self.rooms.load(Ordering::Relaxed),
        }
    }
}

/// The sum over all shards.
#[must_use]
pub fn total(gauges: &[Gauges]) -> Reading {
    gauges.iter().map(Gauges::read).fold(Reading::default(), |sum, one| Reading {
        connections: sum.connections + one.connections,
        clients: sum.clients + one.clients,
        rooms: sum.rooms + one.rooms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up() {
        let gauges = [Gauges::default(), Gauges::default()];
        gauges[0].publish(Reading { connections: 3, clients: 2, rooms: 1 });
        gauges[1].publish(Reading { connections: 4, clients: 4, rooms: 0 });
        assert_eq!(total(&gauges), Reading { connections: 7, clients: 6, rooms: 1 });
    }
}
