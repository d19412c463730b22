//! What one client was sent lately, so that it can come back on another connection as if nothing had happened.
//!
//! Only clients that ask for a session have one. It numbers what is delivered (1, 2, 3, …) and keeps the newest
//! messages; binary ones have a number, too, which they do not carry. The connection's place in its topics is kept
//! beside it, by the shard: while nobody is connected it goes on being delivered to, until the client comes back or the
//! resume window ends. Sends nothing itself, reads no clock.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::base::clock::Mono;
use crate::base::hash::{Keys, Map};
use crate::hub::name::TopicKind;
use crate::shard::delivery::Delivery;
use crate::shard::limits::SESSIONS_MEMORY;

/// Most messages that are kept: what a client misses in a short loss, not an archive.
pub(crate) const MESSAGES_MAX: usize = 100;
/// What the kept messages of one session may hold together, in bytes: a few of the largest, never a hundred of them.
pub(crate) const SESSION_BYTES_MAX: usize = 4 << 20;
/// What all sessions of a shard may keep; beyond it those that wait for their clients go, the oldest first.
pub(crate) const SESSIONS_BYTES_MAX: usize = SESSIONS_MEMORY;
/// Beyond this a session keeps no more than others let it: what one turn can bring before the oldest go.
const BYTES_HARD_MAX: usize = SESSIONS_BYTES_MAX + (16 << 20);
/// What a kept message costs beside its bytes: its place, and the rounding of its allocation.
const MESSAGE_BYTES: usize = 32;

/// One message as it is kept, without its number.
#[derive(Clone, Debug)]
pub(crate) enum Kept {
    /// As all members of a topic got it; shared with their queues.
    Shared(Arc<Delivery>),
    /// The client's own: the frame of an answer.
    Own(Box<[u8]>),
}

impl Kept {
    /// The message's frame, which is text or binary, without a number.
    pub(crate) fn frame(&self) -> &[u8] {
        match self {
            Kept::Shared(delivery) => &delivery.frame,
            Kept::Own(frame) => frame,
        }
    }

    /// The number of a direct message in its user's inbox.
    pub(crate) fn inbox_seq(&self) -> Option<u64> {
        match self {
            Kept::Shared(delivery) if delivery.topic.kind() == TopicKind::Inbox => Some(delivery.offset),
            Kept::Shared(_) | Kept::Own(_) => None,
        }
    }

    /// Counts one more session that keeps it; what that costs the shard. What is shared costs its bytes once.
    fn hold(&self) -> usize {
        MESSAGE_BYTES
            + match self {
                Kept::Shared(delivery) if delivery.keepers.add() > 0 => 0,
                Kept::Shared(_) | Kept::Own(_) => self.frame().len(),
            }
    }

    /// The inverse of [`Kept::hold`].
    fn release(&self) -> usize {
        MESSAGE_BYTES
            + match self {
                Kept::Shared(delivery) if delivery.keepers.sub() > 0 => 0,
                Kept::Shared(_) | Kept::Own(_) => self.frame().len(),
            }
    }
}

/// The client claims to have got what was never delivered: it speaks of another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeverDelivered;

/// One client's stream over all its connections.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Number of the newest message; 0 before the first.
    head: u64,
    /// The newest messages, oldest first; the last one, if any is kept, is number `head`.
    kept: VecDeque<Kept>,
    /// Bytes of `kept`, each message counted as if it were not shared.
    bytes: usize,
    /// Some while the client's inbox was asked what it keeps.
    recall: Option<Box<Recall>>,
}

/// Questions to an inbox under way. What the client was told meanwhile is in their answers, too.
#[derive(Debug, Default)]
struct Recall {
    pending: u32,
    /// Numbers of direct messages that were told on the client's present connection.
    told: BTreeSet<u64>,
}

impl Session {
    /// The number of what is delivered next.
    pub(crate) fn next_seq(&self) -> u64 {
        self.head + 1
    }

    /// Keeps the message that was given the next number, at the price of the oldest ones. `sum` is what all sessions of
    /// the shard keep, in bytes.
    pub(crate) fn keep(&mut self, message: Kept, sum: &mut usize) {
        self.head += 1;
        if let (Some(recall), Some(seq)) = (&mut self.recall, message.inbox_seq()) {
            recall.told.insert(seq);
        }
        self.bytes += message.frame().len() + MESSAGE_BYTES;
        *sum += message.hold();
        self.kept.push_back(message);
        while self.kept.len() > MESSAGES_MAX || self.bytes > SESSION_BYTES_MAX || *sum > BYTES_HARD_MAX {
            if !self.forget_oldest(sum) {
                return;
            }
        }
    }

    /// Forgets the oldest message; false if there is none.
    fn forget_oldest(&mut self, sum: &mut usize) -> bool {
        let Some(message) = self.kept.pop_front() else { return false };
        self.bytes -= message.frame().len() + MESSAGE_BYTES;
        *sum -= message.release();
        true
    }

    /// Forgets everything; the numbering goes on.
    pub(crate) fn clear(&mut self, sum: &mut usize) {
        while self.forget_oldest(sum) {}
    }

    /// Whether a client that has got everything up to `last_seq` can be this session's.
    ///
    /// # Errors
    /// When nothing has that number yet.
    pub(crate) fn accepts(&self, last_seq: u64) -> Result<(), NeverDelivered> {
        if last_seq <= self.head { Ok(()) } else { Err(NeverDelivered) }
    }

    /// The client is back and has got everything up to `last_seq`, which is forgotten. First and last number of what it
    /// missed but is no longer kept.
    pub(crate) fn resume(&mut self, last_seq: u64, sum: &mut usize) -> Option<(u64, u64)> {
        debug_assert!(last_seq <= self.head);
        let missed = self.head.saturating_sub(last_seq);
        while u64::try_from(self.kept.len()).is_ok_and(|kept| kept > missed) {
            self.forget_oldest(sum);
        }
        if let Some(recall) = &mut self.recall {
            recall.told = self.kept.iter().filter_map(Kept::inbox_seq).collect();
        }
        let first = self.first_seq();
        (last_seq + 1 < first).then(|| (last_seq + 1, first - 1))
    }

    /// The client's inbox is asked what it keeps.
    pub(crate) fn recalls(&mut self) {
        let kept = &self.kept;
        let recall = self.recall.get_or_insert_with(|| {
            let told = kept.iter().filter_map(Kept::inbox_seq).collect();
            Box::new(Recall { pending: 0, told })
        });
        recall.pending += 1;
    }

    /// The inbox tells that it keeps the message of this number: whether the client is still to be told.
    pub(crate) fn lacks(&self, seq: u64) -> bool {
        self.recall.as_ref().is_none_or(|recall| !recall.told.contains(&seq))
    }

    /// All that the inbox keeps was told.
    pub(crate) fn recalled(&mut self) {
        let Some(recall) = &mut self.recall else { return };
        recall.pending -= 1;
        if recall.pending == 0 {
            self.recall = None;
        }
    }

    /// All that is kept with its numbers, oldest first.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (u64, &Kept)> {
        (self.first_seq()..).zip(&self.kept)
    }

    /// Number of the oldest kept message; of the next one if none is kept.
    fn first_seq(&self) -> u64 {
        self.head + 1 - u64::try_from(self.kept.len()).unwrap_or(0)
    }

    /// Asserts the invariants, in time proportional to what is kept.
    pub(crate) fn check(&self) {
        assert!(u64::try_from(self.kept.len()).is_ok_and(|kept| kept <= self.head));
        assert!(self.kept.len() <= MESSAGES_MAX && self.bytes <= SESSION_BYTES_MAX);
        let bytes: usize = self.kept.iter().map(|message| message.frame().len() + MESSAGE_BYTES).sum();
        assert_eq!(self.bytes, bytes);
    }
}

/// All sessions of a shard.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// The slot of each, by the serial of its client.
    pub(crate) slots: Map<u64, u32>,
    /// Those that wait for their clients, by the time at which that ends, with their slots.
    pub(crate) away: BTreeSet<(Mono, u32)>,
    /// What all of them keep, in bytes; what several keep counts once.
    pub(crate) bytes: usize,
}

impl Sessions {
    pub(crate) fn new(keys: Keys) -> Sessions {
        Sessions { slots: Map::with_hasher(keys), away: BTreeSet::new(), bytes: 0 }
    }
}

/// What `sessions` cost a shard: the slow twin of [`Sessions::bytes`].
pub(crate) fn cost<'a>(sessions: impl Iterator<Item = &'a Session>) -> usize {
    let mut seen = BTreeSet::new();
    let mut sum = 0;
    for message in sessions.flat_map(|session| &session.kept) {
        let again = match message {
            Kept::Shared(delivery) => !seen.insert(Arc::as_ptr(delivery)),
            Kept::Own(_) => false,
        };
        sum += MESSAGE_BYTES + if again { 0 } else { message.frame().len() };
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A session that was delivered messages with these contents.
    fn delivered(contents: impl IntoIterator<Item = u64>) -> (Session, usize) {
        let (mut session, mut sum) = (Session::default(), 0);
        for content in contents {
            session.keep(own(content), &mut sum);
        }
        session.check();
        (session, sum)
    }

    fn own(content: u64) -> Kept {
        Kept::Own(Box::from(content.to_be_bytes()))
    }

    fn contents(session: &Session) -> Vec<(u64, u64)> {
        let content = |kept: &Kept| u64::from_be_bytes(kept.frame().try_into().unwrap());
        session.kept().map(|(seq, kept)| (seq, content(kept))).collect()
    }

    #[test]
    fn a_client_that_comes_back_gets_what_it_missed() {
        let (mut session, mut sum) = delivered(1..=6);
        assert_eq!(session.resume(3, &mut sum), None);
        assert_eq!(contents(&session), [(4, 4), (5, 5), (6, 6)]);
        assert_eq!(session.resume(6, &mut sum), None);
        assert_eq!((contents(&session), session.next_seq(), sum), (vec![], 7, 0));
        assert_eq!(session.accepts(6), Ok(()));
        assert_eq!(session.accepts(7), Err(NeverDelivered));
        assert_eq!(session.accepts(u64::MAX), Err(NeverDelivered));
    }

    /// Recovery needs a first event elsewhere: here there is a position before anything was delivered.
    #[test]
    fn before_anything_was_delivered_there_is_a_position_too() {
        let (mut session, mut sum) = delivered([]);
        assert_eq!(session.accepts(0), Ok(()));
        assert_eq!((session.resume(0, &mut sum), session.next_seq()), (None, 1));
    }

    #[test]
    fn what_is_no_longer_kept_is_said_by_first_and_last() {
        let (mut session, mut sum) = delivered(1..=250);
        assert_eq!(session.resume(20, &mut sum), Some((21, 150)));
        assert_eq!(contents(&session).len(), MESSAGES_MAX);
        assert_eq!(session.resume(150, &mut sum), None);
        session.forget_oldest(&mut sum);
        assert_eq!(session.resume(150, &mut sum), Some((151, 151)));
    }

    #[test]
    fn large_messages_push_out_small_ones_and_a_giant_clears_all() {
        let (mut session, mut sum) = delivered(1..=10);
        let large = SESSION_BYTES_MAX - MESSAGE_BYTES - 2 * (MESSAGE_BYTES + 8);
        session.keep(Kept::Own(vec![0; large].into()), &mut sum);
        assert_eq!((session.kept.len(), session.first_seq()), (3, 9));
        session.keep(Kept::Own(vec![0; SESSION_BYTES_MAX].into()), &mut sum);
        session.check();
        assert_eq!((session.kept.len(), sum), (0, 0));
        assert_eq!(session.resume(10, &mut sum), Some((11, 12)));
    }

    proptest! {
        /// Whatever is delivered and wherever the client stands: lost and kept together are what it missed.
        #[test]
        fn lost_and_kept_are_all_that_was_missed(steps in prop::collection::vec((0u8..3, 0u64..300), 1..30)) {
            let (mut session, mut sum) = delivered([]);
            for (step, number) in steps {
                let head = session.next_seq() - 1;
                if step > 0 {
                    for content in head + 1..=head + number {
                        session.keep(own(content), &mut sum);
                    }
                } else {
                    prop_assert_eq!(session.accepts(number).is_ok(), number <= head);
                    if number > head {
                        continue;
                    }
                    let lost = session.resume(number, &mut sum);
                    let (first, last) = lost.unwrap_or((number + 1, number));
                    let told: Vec<(u64, u64)> =
                        (first..=last).map(|seq| (seq, seq)).chain(contents(&session)).collect();
                    prop_assert_eq!(told, (number + 1..=head).map(|seq| (seq, seq)).collect::<Vec<_>>());
                }
                session.check();
                prop_assert_eq!(sum, cost(std::iter::once(&session)));
            }
        }
    }
}
