//! What the threads of a run share: the phase, their counts, and what publishers are told across threads.
//!
//! Everything is an atomic that one side writes and the other reads; nothing here waits.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use mio::Waker;

use crate::clock::{MILLI, Nanos};
use crate::ledger::Chain;

/// Between two samples of the time series.
pub const SAMPLE: Nanos = 100 * MILLI;

/// The stages of every run, in order. A worker acts on entering one, and reports when it is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Connections are opened.
    Connect,
    /// Rooms are joined.
    Prepare,
    /// Messages flow, nothing is recorded.
    Warm,
    /// Messages flow and are recorded.
    Measure,
    /// Nothing new is sent; what is under way arrives.
    Drain,
    /// All know what was sent, and wait for the rest of it.
    Settle,
    /// Books are closed, threads end.
    Stop,
}

impl Phase {
    /// All of them.
    pub const ALL: [Phase; 7] = [
        Phase::Connect,
        Phase::Prepare,
        Phase::Warm,
        Phase::Measure,
        Phase::Drain,
        Phase::Settle,
        Phase::Stop,
    ];

    /// Whether messages are to be sent.
    #[must_use]
    pub fn flows(self) -> bool {
        matches!(self, Phase::Warm | Phase::Measure)
    }
}

/// One thread's counts, in cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Tally {
    /// Messages sent.
    pub sent: AtomicU64,
    /// Messages received: echoes, or deliveries to members; handshakes where those are counted.
    pub received: AtomicU64,
    /// Open connections.
    pub open: AtomicU64,
    /// Times that anything was read at all.
    pub reads: AtomicU64,
    /// The thread's number, for `/proc`.
    pub tid: AtomicU32,
    /// Set by another thread that completed a message of this one's publishers.
    pub nudged: AtomicBool,
}

/// Shared by all threads of a run.
pub struct Control {
    phase: AtomicU8,
    /// One for each worker.
    pub tallies: Vec<Tally>,
    /// One for each worker.
    pub wakers: Vec<Waker>,
    /// Messages that each publisher has sent in all; final from [`Phase::Settle`] on.
    pub published: Vec<AtomicU32>,
    /// For each publisher and thread: how many of its messages have reached all members on that thread.
    pub reached: Vec<AtomicU32>,
    /// For each room the chain of its first member, as soon as there is one; see [`crate::ledger::Chain`].
    pub chains: Vec<std::sync::OnceLock<Chain>>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Control({:?}, {} threads)", self.phase(), self.tallies.len())
    }
}

impl Control {
    /// For `wakers.len()` threads.
    #[must_use]
    pub fn new(wakers: Vec<Waker>, publishers: usize, rooms: usize) -> Control {
        let threads = wakers.len();
        Control {
            phase: AtomicU8::new(Phase::Connect as u8),
            tallies: (0..threads).map(|_| Tally::default()).collect(),
            wakers,
            published: (0..publishers).map(|_| AtomicU32::new(0)).collect(),
            reached: (0..publishers * threads).map(|_| AtomicU32::new(0)).collect(),
            chains: (0..rooms).map(|_| std::sync::OnceLock::new()).collect(),
        }
    }

    /// The phase that is on.
    #[must_use]
    pub fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::Acquire))]
    }

    /// Begins a phase, and wakes everybody.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
        for waker in &self.wakers {
            // A worker that is not woken looks at the phase a moment later by itself.
            let _ = waker.wake();
        }
    }

    /// Wakes `thread`, unless it has been woken and has not looked yet.
    pub fn nudge(&self, thread: usize) {
        if !self.tallies[thread].nudged.swap(true, Ordering::AcqRel) {
            let _ = self.wakers[thread].wake();
        }
    }

    /// Sums of all threads: sent, received, open.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let sum = |pick: fn(&Tally) -> &AtomicU64| {
            self.tallies.iter().map(|tally| pick(tally).load(Ordering::Relaxed)).sum()
        };
        Totals {
            sent: sum(|t| &t.sent),
            received: sum(|t| &t.received),
            open: sum(|t| &t.open),
            reads: sum(|t| &t.reads),
        }
    }
}

/// Counts of all threads at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Open connections.
    pub open: u64,
    /// Times that anything was read at all.
    pub reads: u64,
}
