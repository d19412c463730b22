//! What one shard counts, and what it publishes for whoever asks how the process stands.
//!
//! While it works a shard counts in plain numbers of its own, a [`Tally`]: an addition to memory that is in the cache
//! anyway. It publishes them when somebody asks, and only three gauges once a turn. So nobody pays for what nobody
//! reads. Takes no lock; who reads may see numbers of different moments.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::table::{CELLS, Cell, Family, Kind};

/// What a shard has counted, in the cells of [`crate::metrics::table`].
#[derive(Debug)]
pub struct Tally([u64; CELLS]);

impl Default for Tally {
    fn default() -> Tally {
        Tally([0; CELLS])
    }
}

impl Tally {
    /// So many more.
    #[inline]
    pub fn add(&mut self, cell: Cell, count: u64) {
        self.0[cell.0] += count;
    }

    /// One more.
    #[inline]
    pub fn count(&mut self, cell: Cell) {
        self.add(cell, 1);
    }

    /// How something stands.
    pub fn set(&mut self, cell: Cell, value: u64) {
        self.0[cell.0] = value;
    }

    /// What was counted.
    #[must_use]
    pub fn get(&self, cell: Cell) -> u64 {
        self.0[cell.0]
    }

    /// One more time of a histogram.
    ///
    /// # Panics
    /// If the family is none.
    pub fn observe(&mut self, family: &Family, micros: u64) {
        let Kind::Histogram(bounds) = family.kind else { panic!("only histograms have times") };
        let at = bounds.partition_point(|bound| *bound < micros);
        self.0[family.first + at] += 1;
        self.0[family.first + bounds.len() + 1] += micros;
    }
}

/// What one shard, or the process as a whole, has published. Each is written by few and read by any.
#[derive(Debug)]
pub struct Gauges {
    connections: AtomicU64,
    clients: AtomicU64,
    rooms: AtomicU64,
    memory: AtomicU64,
    cells: [AtomicU64; CELLS],
}

impl Default for Gauges {
    fn default() -> Gauges {
        let (connections, clients, rooms, memory) = Default::default();
        Gauges { connections, clients, rooms, memory, cells: [const { AtomicU64::new(0) }; CELLS] }
    }
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
    /// Publishes a new reading, once a turn.
    pub fn publish(&self, reading: Reading) {
        self.connections.store(reading.connections, Ordering::Relaxed);
        self.clients.store(reading.clients, Ordering::Relaxed);
        self.rooms.store(reading.rooms, Ordering::Relaxed);
    }

    /// Publishes what clients make a shard remember, in bytes.
    pub fn set_memory(&self, bytes: u64) {
        self.memory.store(bytes, Ordering::Relaxed);
    }

    /// What was published so.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// Publishes all that was counted.
    pub fn publish_all(&self, tally: &Tally) {
        for (cell, value) in self.cells.iter().zip(&tally.0) {
            cell.store(*value, Ordering::Relaxed);
        }
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

    /// Counts one more where there is no shard to do it.
    pub fn count(&self, cell: Cell) {
        self.cells[cell.0].fetch_add(1, Ordering::Relaxed);
    }

    /// How something stands that is no shard's.
    pub fn set(&self, cell: Cell, value: u64) {
        self.cells[cell.0].store(value, Ordering::Relaxed);
    }

    /// What was published.
    #[must_use]
    pub fn get(&self, cell: Cell) -> u64 {
        self.cells[cell.0].load(Ordering::Relaxed)
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
    use crate::metrics::table::{DROPS, FRAMES_SENT, TURNS};

    #[test]
    fn totals_add_up() {
        let gauges = [Gauges::default(), Gauges::default()];
        gauges[0].publish(Reading { connections: 3, clients: 2, rooms: 1 });
        gauges[1].publish(Reading { connections: 4, clients: 4, rooms: 0 });
        assert_eq!(total(&gauges), Reading { connections: 7, clients: 6, rooms: 1 });
    }

    #[test]
    fn what_is_counted_is_published_as_it_is() {
        let (mut tally, gauges) = (Tally::default(), Gauges::default());
        tally.add(FRAMES_SENT.cell(), 5);
        tally.count(DROPS.of("newest"));
        assert_eq!(gauges.get(FRAMES_SENT.cell()), 0);
        gauges.publish_all(&tally);
        assert_eq!((gauges.get(FRAMES_SENT.cell()), gauges.get(DROPS.of("newest"))), (5, 1));
        assert_eq!(gauges.get(DROPS.of("oldest")), 0);
    }

    #[test]
    fn times_fall_into_the_first_bucket_that_holds_them() {
        let Kind::Histogram(bounds) = TURNS.kind else { panic!("a histogram") };
        let mut tally = Tally::default();
        for micros in [0, bounds[0], bounds[0] + 1, u64::from(u32::MAX)] {
            tally.observe(&TURNS, micros);
        }
        let cells = &tally.0[TURNS.first..TURNS.first + bounds.len() + 2];
        assert_eq!((cells[0], cells[1], cells[bounds.len()]), (2, 1, 1));
        assert_eq!(cells[bounds.len() + 1], 2 * bounds[0] + 1 + u64::from(u32::MAX));
    }
}
