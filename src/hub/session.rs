//! What one client was sent lately, so that it can come back on another connection as if nothing had happened.
//!
//! A session exists only for clients that ask for one. It numbers what is delivered (1, 2, 3, …), keeps the newest
//! frames, and knows the topics that the client is in. It stays in them while nobody is connected, so it goes on
//! being delivered to, until the client comes back or the resume window ends. It sends nothing itself, and reads
//! no clock.
//!
//! ```text
//!          new ──► attached ── detach(now) ──► detached ── expired(now) ──► to be dropped
//!                  ▲      │ resume: takes over     │
//!                  └──────┴───────── resume ◄──────┘
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Mono;
use crate::base::hash::{Keys, Map};
use crate::base::id::Origin;
use crate::base::shared::Shared;
use crate::hub::name::{Topic, User};
use crate::hub::table::shrink_if_sparse;

/// Most frames that are kept: what a client misses in a short loss, not an archive.
pub const FRAMES_MAX: usize = 100;

/// What the kept frames may hold together, in bytes: a few of the largest messages, never a hundred of them.
pub const FRAMES_BYTES_MAX: usize = 4 << 20;

/// What a kept frame costs beside its bytes: its place in the ring, counters and rounding of its allocation.
const FRAME_BYTES: usize = 64;

/// What a membership costs: its place in a table that may be a quarter full. The topic itself is shared.
const MEMBERSHIP_BYTES: usize = 4 * (size_of::<Topic>() + 1);

/// What a client is to be sent that comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// First and last number of what it missed but is no longer kept; to be told first.
    pub lost: Option<(u64, u64)>,
    /// Number of the first frame below; the next one that is delivered if there are none.
    pub first_seq: u64,
    /// What it missed, oldest first.
    pub frames: Vec<Shared>,
    /// The connection that still had the session, to be closed: the client knows better than we that it is lost.
    pub replaced: Option<Origin>,
}

/// The client claims to have got what was never delivered: it speaks of another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead;

/// Who gets what is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Attached(Origin),
    /// Nobody, since then.
    Detached(Mono),
}

/// One client's stream over all its connections.
#[derive(Debug)]
pub struct Session {
    id: u128,
    user: Arc<User>,
    standing: Standing,
    /// Number of the newest frame; 0 before the first.
    head: u64,
    /// The newest frames, oldest first; the last one, if any is kept, is number `head`.
    frames: VecDeque<Shared>,
    /// Invariant: sum of [`cost`] over `frames`.
    bytes: usize,
    topics: Map<Topic, ()>,
}

/// What keeping `frame` costs. Frames are shared with others, so this is too much rather than too little.
fn cost(frame: &Shared) -> usize {
    frame.len() + FRAME_BYTES
}

impl Session {
    /// A session of `user` that begins on `origin`. `id` is what the client shows to come back: it must not be
    /// guessable (`base::hash::Keys::digest`).
    #[must_use]
    pub fn new(id: u128, user: Arc<User>, origin: Origin, keys: Keys) -> Session {
        Session {
            id,
            user,
            standing: Standing::Attached(origin),
            head: 0,
            frames: VecDeque::new(),
            bytes: 0,
            topics: Map::with_hasher(keys),
        }
    }

    /// Numbers a frame that is delivered, or would be if the client were there, and keeps it at the price of the
    /// oldest ones. One that alone exceeds the bound is numbered and not kept, nor anything before it.
    pub fn delivered(&mut self, frame: Shared) -> u64 {
        self.head += 1;
        self.bytes += cost(&frame);
        self.frames.push_back(frame);
        while self.frames.len() > FRAMES_MAX || self.bytes > FRAMES_BYTES_MAX {
            self.forget_oldest();
        }
        self.head
    }

    /// Forgets the oldest frame, if there is one: memory is short.
    pub fn forget_oldest(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= cost(&frame);
        }
    }

    /// The client became a member of `topic`.
    pub fn joined(&mut self, topic: Topic) {
        self.topics.insert(topic, ());
    }

    /// The client is no member of `topic` any more.
    pub fn left(&mut self, topic: &Topic) {
        self.topics.remove(topic);
        shrink_if_sparse(&mut self.topics);
    }

    /// The topics that the client is in, ordered by name.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        let mut topics: Vec<Topic> = self.topics.keys().cloned().collect();
        // Equal names of two kinds keep an order too: that of their keyed hashes.
        topics.sort_by(|a, b| (a.name(), a.hash()).cmp(&(b.name(), b.hash())));
        topics
    }

    /// The connection `origin` is gone; the resume window begins. Nothing happens if another one has taken over.
    pub fn detach(&mut self, origin: Origin, now: Mono) {
        if self.standing == Standing::Attached(origin) {
            self.standing = Standing::Detached(now);
        }
    }

    /// The client is back on `origin`, and has got everything up to number `last_seq`. A connection that still has
    /// the session loses it: clients notice a loss before the server does. What the client has got is forgotten.
    ///
    /// # Errors
    /// When no frame has that number yet; nothing changes.
    pub fn resume(&mut self, last_seq: u64, origin: Origin) -> Result<Replay, Ahead> {
        let missed = self.head.checked_sub(last_seq).ok_or(Ahead)?;
        while u64::try_from(self.frames.len()).is_ok_and(|kept| kept > missed) {
            self.forget_oldest();
        }
        let first_seq = self.first_seq();
        let replaced = match self.standing {
            Standing::Attached(before) if before != origin => Some(before),
            _ => None,
        };
        self.standing = Standing::Attached(origin);
        Ok(Replay {
            lost: (last_seq + 1 < first_seq).then(|| (last_seq + 1, first_seq - 1)),
            first_seq,
            frames: self.frames.iter().cloned().collect(),
            replaced,
        })
    }

    /// When the session is over if its client does not come back; none while it is connected.
    #[must_use]
    pub fn expiry(&self, window: Duration) -> Option<Mono> {
        match self.standing {
            Standing::Attached(_) => None,
            Standing::Detached(since) => Some(since + window),
        }
    }

    /// Whether the session is over.
    #[must_use]
    pub fn expired(&self, now: Mono, window: Duration) -> bool {
        self.expiry(window).is_some_and(|expiry| expiry <= now)
    }

    /// What the client shows to come back.
    #[must_use]
    pub fn id(&self) -> u128 {
        self.id
    }

    /// Whose session it is; who comes back must be the same.
    #[must_use]
    pub fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// The connection that has the session now.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        match self.standing {
            Standing::Attached(origin) => Some(origin),
            Standing::Detached(_) => None,
        }
    }

    /// Number of the newest frame; 0 before the first.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// What the session costs, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Session>() + self.bytes + self.topics.len() * MEMBERSHIP_BYTES
    }

    /// Number of the oldest kept frame; of the next one if none is kept.
    fn first_seq(&self) -> u64 {
        self.head + 1 - u64::try_from(self.frames.len()).unwrap_or(0)
    }

    /// Asserts the invariants, in time proportional to what is kept.
    ///
    /// # Panics
    /// When one does not hold: that is a mistake in this file.
    pub fn check(&self) {
        assert!(u64::try_from(self.frames.len()).is_ok_and(|kept| kept <= self.head));
        assert!(self.frames.len() <= FRAMES_MAX && self.bytes <= FRAMES_BYTES_MAX);
        assert_eq!(self.bytes, self.frames.iter().map(cost).sum::<usize>());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::id::{Key, ShardId};
    use crate::hub::name::TopicKind;

    const WINDOW: Duration = Duration::from_micros(50);

    fn origin(slot: u32) -> Origin {
        Origin { shard: ShardId(0), conn: Key { slot, generation: 0 } }
    }

    fn session() -> Session {
        let user = Arc::new(User { id: "ann".into(), name: None });
        Session::new(7, user, origin(1), Keys::new([4; 16]))
    }

    /// A session that was delivered frames with these contents.
    fn delivered(contents: impl IntoIterator<Item = u64>) -> Session {
        let mut session = session();
        for content in contents {
            session.delivered(Shared::copy_of(&content.to_be_bytes()));
        }
        session.check();
        session
    }

    fn contents(replay: &Replay) -> Vec<u64> {
        replay.frames.iter().map(|frame| u64::from_be_bytes(frame[..].try_into().unwrap())).collect()
    }

    #[test]
    fn a_client_that_comes_back_gets_what_it_missed() {
        let mut session = delivered(1..=5);
        session.detach(origin(1), Mono(100));
        assert_eq!(session.delivered(Shared::copy_of(&6u64.to_be_bytes())), 6, "nobody is there to get it");
        let replay = session.resume(3, origin(2)).unwrap();
        assert_eq!((replay.lost, replay.first_seq, replay.replaced), (None, 4, None));
        assert_eq!(contents(&replay), [4, 5, 6]);
        assert_eq!(session.origin(), Some(origin(2)));
        let replay = session.resume(6, origin(3)).unwrap();
        assert_eq!((replay.lost, replay.first_seq, replay.frames.len()), (None, 7, 0));
        assert_eq!(session.resume(7, origin(4)), Err(Ahead));
        assert_eq!(session.resume(u64::MAX, origin(4)), Err(Ahead));
        assert_eq!(session.origin(), Some(origin(3)), "a wrong claim takes nothing over");
        session.check();
    }

    #[test]
    fn before_anything_was_delivered_there_is_a_position_too() {
        let mut session = session();
        let replay = session.resume(0, origin(2)).unwrap();
        assert_eq!((replay.lost, replay.first_seq, replay.frames.len()), (None, 1, 0));
    }

    #[test]
    fn what_is_no_longer_kept_is_said_by_first_and_last() {
        let newest = 250;
        let mut session = delivered(1..=newest);
        session.detach(origin(1), Mono(0));
        let replay = session.resume(20, origin(2)).unwrap();
        assert_eq!((replay.lost, replay.first_seq), (Some((21, 150)), 151));
        assert_eq!(contents(&replay), (151..=newest).collect::<Vec<_>>());
        let replay = session.resume(150, origin(2)).unwrap();
        assert_eq!(replay.lost, None);
        session.forget_oldest();
        assert_eq!(session.resume(150, origin(2)).unwrap().lost, Some((151, 151)));
    }

    #[test]
    fn who_comes_back_early_takes_over() {
        let mut session = delivered(1..=2);
        let replay = session.resume(1, origin(2)).unwrap();
        assert_eq!(replay.replaced, Some(origin(1)), "the server had not noticed yet");
        // The end of the old connection, when it is noticed, is no loss of the new one.
        session.detach(origin(1), Mono(5));
        assert_eq!(session.expiry(WINDOW), None);
        assert_eq!(session.resume(2, origin(2)).unwrap().replaced, None, "it is itself");
        session.detach(origin(2), Mono(10));
        assert_eq!(session.expiry(WINDOW), Some(Mono(60)));
        assert!(!session.expired(Mono(59), WINDOW) && session.expired(Mono(60), WINDOW));
        session.detach(origin(2), Mono(50));
        assert_eq!(session.expiry(WINDOW), Some(Mono(60)), "gone once");
    }

    #[test]
    fn memberships_are_kept_with_the_session() {
        let keys = Keys::new([4; 16]);
        let topic = |name: &str| Topic::new(TopicKind::Room, name, keys);
        let mut session = session();
        let nothing = session.memory();
        for name in ["b", "a", "c", "b"] {
            session.joined(topic(name));
        }
        session.left(&topic("c"));
        session.left(&topic("never"));
        assert_eq!(session.topics(), [topic("a"), topic("b")]);
        assert_eq!(session.memory(), nothing + 2 * MEMBERSHIP_BYTES);
        assert_eq!((session.id(), &*session.user().id), (7, "ann"));
    }

    #[test]
    fn large_frames_push_out_small_ones_and_a_giant_clears_all() {
        let mut session = delivered(1..=10);
        let large = Shared::copy_of(&vec![0; FRAMES_BYTES_MAX - 3 * (FRAME_BYTES + 8)]);
        session.delivered(large);
        assert_eq!((session.frames.len(), session.first_seq()), (3, 9));
        session.delivered(Shared::copy_of(&vec![0; FRAMES_BYTES_MAX]));
        session.check();
        assert!(session.frames.is_empty());
        assert_eq!(session.memory(), size_of::<Session>());
        let replay = session.resume(10, origin(1)).unwrap();
        assert_eq!((replay.lost, replay.first_seq), (Some((11, 12)), 13));
    }

    proptest! {
        /// Whatever is delivered and wherever the client stands: lost and replayed together are what it missed.
        #[test]
        fn lost_and_replayed_are_all_that_was_missed(steps in prop::collection::vec((0u8..3, 0u64..300), 1..30)) {
            let mut session = session();
            for (step, number) in steps {
                let head = session.head();
                if step > 0 {
                    for content in head + 1..=head + number {
                        prop_assert_eq!(session.delivered(Shared::copy_of(&content.to_be_bytes())), content);
                    }
                } else {
                    let replay = session.resume(number, origin(1));
                    prop_assert_eq!(replay.is_ok(), number <= head);
                    let Ok(replay) = replay else { continue };
                    let (first, last) = replay.lost.unwrap_or((number + 1, number));
                    let told: Vec<u64> = (first..=last).chain(contents(&replay)).collect();
                    prop_assert_eq!(told, (number + 1..=head).collect::<Vec<_>>());
                    prop_assert_eq!(replay.first_seq, last + 1);
                }
                session.check();
            }
        }
    }
}
