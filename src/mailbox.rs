//! Mail between shards: one bounded lock-free lane per ordered pair, one coalesced wake-up per shard.
//!
//! Never waits: a full lane hands the value back, an empty one says so. (Under contention the lane may
//! spin for the few instructions that the peer's push or pop takes.) Knows nothing of what it carries. A
//! shard has no lane to itself; what it owes itself it keeps in its own queue. All lanes are allocated at
//! once: shards² × capacity × the size of a value.
//!
//! # Why no wake-up is lost
//!
//! A shard sleeps in `mio::Poll`; only a ring of its `mio::Waker` ends that sleep, and a ring is a system
//! call. `Wake::awake` saves most of them: whoever finds it set need not ring.
//!
//! ```text
//! sender (Wake::notify, after its push)        receiver (Wake::prepare_sleep)
//!   push the value                               awake := false
//!   ── SeqCst fence ──                           ── SeqCst fence ──
//!   awake? ─ yes: done                           mail in a lane? ─ yes: awake := true, next turn
//!          └ no: swap(true); ring if it was false                └ no: sleep
//! ```
//!
//! Of two such fences one comes first. If the sender's does, the receiver's look into the lane sees the
//! value and it does not sleep. If the receiver's does, the sender reads the receiver's `false` or something
//! written after it. If `false`, it rings. If a later `true`, then either the receiver wrote it, so it is
//! awake and will look again before it sleeps; or another sender did, which rings now, so the receiver gets
//! up, and its next look, behind a fence that comes after ours, sees our value, too. A ring that comes
//! late costs one empty turn. Sends are notified at the end of the sender's turn, which is only later.
//!
//! Room in a full lane is told by the same means, with the roles exchanged: the sender that was refused sets
//! the lane's `blocked` mark, passes a fence and tries once more; the receiver pops, passes a fence and looks
//! at the mark. So either the second try finds room, or the mark is seen, at the latest after the pop that
//! emptied the lane. The receiver then clears the mark and notifies; the refused sender, before it sleeps,
//! looks whether its mark was cleared meanwhile ([`Mailbox::regained_room`]), just as it looks for mail.

mod postmark;

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::base::clock::Mono;
use crate::base::id::ShardId;
use crate::mailbox::postmark::Postmark;

/// Values taken from one lane before the next one gets its turn.
const RUN_MAX: usize = 32;

/// Gets one sleeping thread up; shared by everybody who has something for it.
#[derive(Debug)]
pub struct Wake {
    /// False only from the announcement of sleep to the first ring, or to the end of the sleep.
    awake: AtomicBool,
    /// Comes from the sleeper's own poll, after this was handed around.
    waker: OnceLock<mio::Waker>,
}

impl Default for Wake {
    fn default() -> Wake {
        Wake { awake: AtomicBool::new(true), waker: OnceLock::new() }
    }
}

impl Wake {
    /// Sets the waker, once, before the first sleep. It rings at once, so that whatever happened before
    /// ends the first sleep.
    ///
    /// # Panics
    /// If it was armed before.
    pub fn arm(&self, waker: mio::Waker) {
        assert!(self.waker.set(waker).is_ok(), "a thread has one poll, so its wake is armed once");
        self.ring();
    }

    /// To be called after putting something where the thread looks before it sleeps. Returns whether that
    /// took a system call.
    pub fn notify(&self) -> bool {
        fence(Ordering::SeqCst);
        if self.awake.load(Ordering::Relaxed) || self.awake.swap(true, Ordering::Relaxed) {
            return false;
        }
        self.ring();
        true
    }

    /// Announces sleep, then looks: `wants_turn` has to look at *everything* that others put there before
    /// they notify (lanes, accepted sockets, stop flags). True: sleep, then call [`Wake::awoke`]. False: do
    /// another turn.
    pub fn prepare_sleep(&self, wants_turn: impl FnOnce() -> bool) -> bool {
        self.awake.store(false, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if wants_turn() {
            self.awoke();
            return false;
        }
        true
    }

    /// The sleep is over, for whatever reason: nobody needs to ring. False: nobody has rung since
    /// [`Wake::prepare_sleep`] looked, so there is nothing that it would have wanted but what comes just now, for which
    /// the next one looks.
    pub fn awoke(&self) -> bool {
        let notified = self.awake.load(Ordering::Relaxed);
        self.awake.store(true, Ordering::Relaxed);
        notified
    }

    fn ring(&self) {
        // Without a waker the thread has not slept yet, and arming will ring.
        if let Some(Err(error)) = self.waker.get().map(mio::Waker::wake) {
            // The next who notifies tries again.
            self.awake.store(false, Ordering::Relaxed);
            tracing::error!(%error, "cannot wake a thread");
        }
    }
}

/// One shard's ends of all its lanes for one class of mail.
#[derive(Debug)]
pub struct Mailbox<T> {
    /// By peer; none at the shard's own place.
    outgoing: Vec<Option<Outgoing<T>>>,
    /// By peer; none at the shard's own place.
    incoming: Vec<Option<Incoming<T>>>,
    /// Whose lane [`Mailbox::receive_any`] takes from.
    cursor: ShardId,
    /// How many values it took there in a row.
    run: usize,
    /// Something was sent since the last flush.
    any_sent: bool,
    /// Something was taken since the last flush.
    any_taken: bool,
}

#[derive(Debug)]
struct Outgoing<T> {
    lane: Sender<T>,
    /// Set by this side when refused, cleared by the other when half of the lane is free.
    blocked: Arc<AtomicBool>,
    peer: Arc<Wake>,
    /// Something was sent since the last flush.
    touched: bool,
    /// Something was refused and nothing taken since, and the owner was not yet told of room.
    refused: bool,
    /// How many values were sent.
    sent: u64,
    mark: Arc<Postmark>,
}

#[derive(Debug)]
struct Incoming<T> {
    lane: Receiver<T>,
    blocked: Arc<AtomicBool>,
    peer: Arc<Wake>,
    /// Something was taken since the last flush.
    touched: bool,
    /// How many values were taken.
    taken: u64,
    mark: Arc<Postmark>,
}

/// One mailbox per wake, each pair connected by lanes of `lane_capacity` values both ways.
///
/// # Panics
/// If the capacity is zero or there are more shards than a [`ShardId`] can name.
#[must_use]
pub fn mesh<T>(wakes: &[Arc<Wake>], lane_capacity: usize) -> Vec<Mailbox<T>> {
    assert!(lane_capacity > 0, "a lane without places would refuse everything");
    assert!(u16::try_from(wakes.len()).is_ok(), "shards are counted in 16 bits");
    let empty = || Mailbox {
        outgoing: Vec::new(),
        incoming: Vec::new(),
        cursor: ShardId(0),
        run: 0,
        any_sent: false,
        any_taken: false,
    };
    let mut boxes: Vec<Mailbox<T>> = wakes.iter().map(|_| empty()).collect();
    for (from, from_wake) in wakes.iter().enumerate() {
        for (to, to_wake) in wakes.iter().enumerate() {
            if from == to {
                boxes[from].outgoing.push(None);
                boxes[from].incoming.push(None);
                continue;
            }
            let (sender, receiver) = bounded(lane_capacity);
            let blocked = Arc::new(AtomicBool::new(false));
            let mark: Arc<Postmark> = Arc::default();
            boxes[from].outgoing.push(Some(Outgoing {
                lane: sender,
                blocked: Arc::clone(&blocked),
                peer: Arc::clone(to_wake),
                touched: false,
                refused: false,
                sent: 0,
                mark: Arc::clone(&mark),
            }));
            let peer = Arc::clone(from_wake);
            boxes[to].incoming.push(Some(Incoming {
                lane: receiver,
                blocked,
                peer,
                touched: false,
                taken: 0,
                mark,
            }));
        }
    }
    boxes
}

impl<T> Mailbox<T> {
    /// Puts `value` into the lane to another shard; the peer hears of it at [`Mailbox::flush_wakes`].
    ///
    /// # Errors
    /// The value itself: the lane is full, or the peer has ended. This shard is woken when half of the lane
    /// is free; until then it need not try.
    ///
    /// # Panics
    /// If `to` is this shard itself.
    pub fn send(&mut self, to: ShardId, value: T) -> Result<(), T> {
        let out = self.outgoing[to.index()].as_mut().expect("a shard sends no mail to itself");
        let refused = match out.lane.try_send(value) {
            Ok(()) => {
                (out.touched, out.refused) = (true, false);
                self.any_sent = true;
                out.sent += 1;
                return Ok(());
            }
            Err(TrySendError::Full(value) | TrySendError::Disconnected(value)) => value,
        };
        out.blocked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        // The mark stays if this succeeds: one wake too many is harmless.
        match out.lane.try_send(refused) {
            Ok(()) => {
                (out.touched, out.refused) = (true, false);
                self.any_sent = true;
                out.sent += 1;
                Ok(())
            }
            Err(error) => {
                out.refused = true;
                Err(error.into_inner())
            }
        }
    }

    /// Whether the lane to a shard refused a value and is not yet half empty again.
    ///
    /// # Panics
    /// If `to` is this shard itself.
    #[cfg(test)]
    fn is_blocked(&self, to: ShardId) -> bool {
        self.peek(to).blocked.load(Ordering::Relaxed)
    }

    /// So many sends to a shard will surely succeed, as nobody else sends on this lane.
    ///
    /// # Panics
    /// If `to` is this shard itself.
    #[cfg(test)]
    fn room(&self, to: ShardId) -> usize {
        let lane = &self.peek(to).lane;
        lane.capacity().map_or(0, |capacity| capacity - lane.len())
    }

    /// The oldest value that `from` sent, if any.
    pub fn receive(&mut self, from: ShardId) -> Option<T> {
        let lane = self.incoming.get_mut(from.index())?.as_mut()?;
        // Most lanes are empty most of the time, and this says so without the fence that a try passes.
        if lane.lane.is_empty() {
            return None;
        }
        let value = lane.lane.try_recv().ok()?;
        (lane.touched, self.any_taken) = (true, true);
        lane.taken += 1;
        Some(value)
    }

    /// The next value of any sender: in each sender's order, at most `RUN_MAX` from one before the others
    /// get their turn. The caller bounds how often it asks in one turn.
    pub fn receive_any(&mut self) -> Option<(ShardId, T)> {
        // One step more than there are lanes: the first may be left because its run is over, and come again.
        for _ in 0..=self.incoming.len() {
            let from = self.cursor;
            if self.run < RUN_MAX
                && let Some(value) = self.receive(from)
            {
                self.run += 1;
                return Some((from, value));
            }
            let next = from.0 + 1;
            self.cursor = ShardId(if usize::from(next) < self.incoming.len() { next } else { 0 });
            self.run = 0;
        }
        None
    }

    /// Whether any lane to this shard holds a value.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        self.incoming.iter().flatten().any(|lane| !lane.lane.is_empty())
    }

    /// For [`Wake::prepare_sleep`], beside [`Mailbox::has_mail`]: a lane that refused a value has room again. Told
    /// once; a caller with values left to send tries again in each turn.
    pub fn regained_room(&mut self) -> bool {
        let mut room = false;
        for out in self.outgoing.iter_mut().flatten() {
            if out.refused && !out.blocked.load(Ordering::Relaxed) {
                out.refused = false;
                room = true;
            }
        }
        room
    }

    /// Once a turn, after mail was taken: the age of the oldest mail to this shard, or from it, that is known. That is
    /// mail that waits, or was taken since this was asked last. Nothing where nothing is under way.
    pub fn age(&mut self, now: Mono) -> Duration {
        let came = self.incoming.iter().flatten().map(|lane| lane.mark.look(lane.taken, now)).max();
        let went = self.outgoing.iter().flatten().map(|lane| lane.mark.age(now)).max();
        came.max(went).unwrap_or_default()
    }

    /// At the end of a turn, before [`Mailbox::flush_wakes`]: what was sent in it was sent at `now`.
    pub fn stamp(&mut self, now: Mono) {
        for out in self.outgoing.iter().flatten().filter(|out| out.touched) {
            out.mark.mark(out.sent, now);
        }
    }

    /// At the end of a turn: tells each peer that was sent to that there is mail, and each that waits for
    /// room that there is some. Returns how many system calls it took.
    pub fn flush_wakes(&mut self) -> usize {
        let mut rings = 0;
        if std::mem::take(&mut self.any_sent) {
            for out in self.outgoing.iter_mut().flatten() {
                if std::mem::take(&mut out.touched) {
                    rings += usize::from(out.peer.notify());
                }
            }
        }
        if !std::mem::take(&mut self.any_taken) {
            return rings;
        }
        // One fence after all pops of this turn and before the look at any mark.
        fence(Ordering::SeqCst);
        for lane in self.incoming.iter_mut().flatten() {
            if !std::mem::take(&mut lane.touched) || !lane.blocked.load(Ordering::Relaxed) {
                continue;
            }
            // A fuller lane is looked at again after its next pop, which is due as it is not empty.
            if lane.lane.len() <= lane.lane.capacity().unwrap_or_default() / 2 {
                lane.blocked.store(false, Ordering::Relaxed);
                rings += usize::from(lane.peer.notify());
            }
        }
        rings
    }

    #[cfg(test)]
    fn peek(&self, to: ShardId) -> &Outgoing<T> {
        self.outgoing[to.index()].as_ref().expect("a shard sends no mail to itself")
    }
}

#[cfg(test)]
mod tests;
