//! The thread that writes: gathers what all shards have sent, commits it at once, and says so.
//!
//! Ends when all senders are gone and everything is written. If the disk fails, it ends with the error, and the
//! process must end with it: what was promised cannot be kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, never, select, unbounded};

use crate::base::id::ShardId;
use crate::hub::journal::Entry;
use crate::mailbox::Wake;
use crate::store::disk::{Disk, DiskError};

/// Batches that one commit takes at most, so that a turn of the disk stays short.
const BATCHES_PER_COMMIT: usize = 1024;

/// What one shard wrote in one turn.
#[derive(Debug)]
struct Batch {
    shard: ShardId,
    entries: Vec<Entry>,
}

/// A shard's end: it sends batches, and is told how many are safe.
#[derive(Debug)]
pub struct Outlet {
    shard: ShardId,
    batches: Sender<Batch>,
    safe: Arc<AtomicU64>,
    /// How many of the safe ones the shard knows of.
    known: u64,
}

impl Outlet {
    /// Sends a batch on its way. The owner bounds how much is under way (`hub::journal`), so this never waits.
    pub fn send(&self, entries: Vec<Entry>) {
        // The other end goes only when the process ends.
        let _ = self.batches.send(Batch { shard: self.shard, entries });
    }

    /// Whether a batch became safe that the shard does not know of: looked at before each sleep, too.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.safe.load(Ordering::Acquire) != self.known
    }

    /// How many batches became safe since this was asked last.
    pub fn take_news(&mut self) -> u64 {
        let safe = self.safe.load(Ordering::Acquire);
        safe - std::mem::replace(&mut self.known, safe)
    }
}

/// The writer before it runs.
pub struct Writer {
    disk: Disk,
    inbox: Receiver<Batch>,
    /// By shard: how many batches are safe, and who sleeps until then.
    shards: Vec<(Arc<AtomicU64>, Arc<Wake>)>,
    gather: Duration,
}

/// A writer, and an outlet for each shard. `gather`: how long a commit waits for more; zero = not at all.
#[must_use]
pub fn new(disk: Disk, wakes: &[Arc<Wake>], gather: Duration) -> (Writer, Vec<Outlet>) {
    let (batches, inbox) = unbounded();
    let shards: Vec<_> = wakes.iter().map(|wake| (Arc::new(AtomicU64::new(0)), Arc::clone(wake))).collect();
    let outlets = (0..).zip(&shards).map(|(shard, (safe, _))| Outlet {
        shard: ShardId(shard),
        batches: batches.clone(),
        safe: Arc::clone(safe),
        known: 0,
    });
    let outlets = outlets.collect();
    (Writer { disk, inbox, shards, gather }, outlets)
}

impl Writer {
    /// Writes until all outlets are gone.
    ///
    /// # Errors
    /// The disk is full or broken.
    pub fn run(mut self) -> Result<(), DiskError> {
        while let Ok(first) = self.inbox.recv() {
            let mut batches = vec![first];
            self.gather(&mut batches);
            self.disk.commit(batches.iter().flat_map(|batch| &batch.entries))?;
            for batch in &batches {
                self.shards[batch.shard.index()].0.fetch_add(1, Ordering::Release);
            }
            for (_, wake) in &self.shards {
                wake.notify();
            }
        }
        self.disk.close()
    }

    /// Takes what others have sent, or send soon: a commit costs hardly more for many than for one.
    fn gather(&self, batches: &mut Vec<Batch>) {
        let over = if self.gather.is_zero() { never() } else { after(self.gather) };
        while batches.len() < BATCHES_PER_COMMIT {
            let next = match self.inbox.try_recv() {
                Ok(batch) => Ok(batch),
                Err(_) if self.gather.is_zero() => return,
                Err(_) => select! {
                    recv(self.inbox) -> batch => batch,
                    recv(over) -> _ => return,
                },
            };
            match next {
                Ok(batch) => batches.push(batch),
                Err(_) => return, // the shards have ended
            }
        }
    }
}
