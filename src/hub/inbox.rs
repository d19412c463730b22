//! What one user was sent and has not acknowledged: redelivered whenever the user comes back.
//!
//! The topic numbers the messages and the policy bounds them; this file only adds that an acknowledgement
//! forgets. It knows no connections: an acknowledgement by one of a user's devices holds for all.
//!
//! ```text
//! seq   1 … 40       | 41 … 43 | 44 45 … 57 | 58 …
//!       acknowledged | lost    | kept       | not yet       head = 57
//! ```

use std::sync::Arc;

use crate::base::clock::Mono;
use crate::hub::event::Publication;
use crate::hub::history::History;
use crate::hub::policy::Policy;

/// Messages of one user from the last acknowledged one on, as far as they are kept. A publication's offset is
/// its `seq`.
#[derive(Debug, Default)]
pub struct Inbox {
    kept: History,
    /// Invariant: not above `head`, and below all that is kept.
    acknowledged: u64,
    head: u64,
}

/// An acknowledgement of what was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead;

/// What somebody who comes back is sent.
#[derive(Clone, Debug)]
pub struct Redelivery {
    /// First and last `seq` of what was not acknowledged but is no longer kept; to be told first.
    pub lost: Option<(u64, u64)>,
    /// All that is kept, oldest first.
    pub messages: Vec<Arc<Publication>>,
}

impl Inbox {
    /// Keeps the user's newest message, at the price of the oldest ones where the policy's bounds ask for it.
    ///
    /// # Panics
    /// When its offset is not the one after [`Inbox::head`].
    pub fn push(&mut self, message: Arc<Publication>, now: Mono, policy: &Policy) {
        assert_eq!(message.offset, self.head + 1, "an inbox has no holes");
        self.head += 1;
        self.kept.push(message, now, policy);
    }

    /// Forgets everything up to `seq`, for good; how many messages that were. One that was acknowledged before
    /// is no error: acknowledgements of two devices cross.
    ///
    /// # Errors
    /// When no message has that number yet. Nothing is forgotten then.
    pub fn acknowledge(&mut self, seq: u64) -> Result<usize, Ahead> {
        if seq > self.head {
            return Err(Ahead);
        }
        let Some(newer) = seq.checked_sub(self.acknowledged) else { return Ok(0) };
        self.acknowledged += newer;
        let unacknowledged = usize::try_from(self.head - self.acknowledged).unwrap_or(usize::MAX);
        let before = self.kept.len();
        while self.kept.len() > unacknowledged {
            self.kept.forget_oldest();
        }
        Ok(before - self.kept.len())
    }

    /// Everything that is not acknowledged, as far as it is kept.
    pub fn redeliver(&mut self, now: Mono, policy: &Policy) -> Redelivery {
        let messages: Vec<_> = self.kept.newest(usize::MAX, None, now, policy).cloned().collect();
        let first = messages.first().map_or(self.head + 1, |message| message.offset);
        let lost = (self.acknowledged + 1 < first).then(|| (self.acknowledged + 1, first - 1));
        Redelivery { lost, messages }
    }

    /// `seq` of the newest message; 0 before the first.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// The newest `seq` that was acknowledged; 0 before that.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// When the last message will be forgotten; none if nothing is kept. The numbering may be forgotten with it
    /// only if nobody holds on to a `seq`.
    #[must_use]
    pub fn expiry(&self, policy: &Policy) -> Option<Mono> {
        self.kept.expiry(policy)
    }

    /// Forgets what is too old.
    pub fn forget_aged(&mut self, now: Mono, policy: &Policy) {
        self.kept.forget_aged(now, policy);
    }

    /// Forgets the oldest message, if there is one: memory is short.
    pub fn forget_oldest(&mut self) {
        self.kept.forget_oldest();
    }

    /// Messages that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// What is kept costs so many bytes (as `hub::history` counts them).
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.kept.bytes()
    }

    /// Asserts the invariants, in time proportional to what is kept.
    ///
    /// # Panics
    /// When one does not hold: that is a mistake in this file.
    pub fn check(&self, policy: &Policy) {
        self.kept.check(self.head, policy);
        assert!(self.acknowledged <= self.head);
        assert!(u64::try_from(self.kept.len()).is_ok_and(|len| len <= self.head - self.acknowledged));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::base::clock::Wall;
    use crate::base::shared::Shared;
    use crate::hub::event::Body;
    use crate::hub::history::PUBLICATION_BYTES;
    use crate::hub::name::User;
    use crate::hub::policy::{Options, Policies};

    fn policy() -> Policy {
        Policy {
            history_messages_max: 5,
            history_age: Duration::from_micros(100),
            history_bytes_max: 10 * PUBLICATION_BYTES,
            ..Policies::new(&Options::default()).of_kind_mut(crate::hub::name::TopicKind::Room).clone()
        }
    }

    fn message(offset: u64, bytes: usize) -> Arc<Publication> {
        Arc::new(Publication {
            offset,
            time: Wall(0),
            user: Arc::new(User { id: "sender".into(), name: None }),
            payload: Shared::copy_of(&vec![0; bytes]),
            body: Body::Value,
            frame: OnceLock::new(),
        })
    }

    /// `count` messages, one a microsecond.
    fn filled(count: u64) -> Inbox {
        let mut inbox = Inbox::default();
        for seq in 1..=count {
            inbox.push(message(seq, 1), Mono(seq), &policy());
        }
        inbox.check(&policy());
        inbox
    }

    fn told(inbox: &mut Inbox, now: u64) -> (Option<(u64, u64)>, Vec<u64>) {
        let Redelivery { lost, messages } = inbox.redeliver(Mono(now), &policy());
        (lost, messages.iter().map(|message| message.offset).collect())
    }

    #[test]
    fn everything_unacknowledged_comes_again_and_again() {
        let mut inbox = filled(4);
        assert_eq!(told(&mut inbox, 4), (None, vec![1, 2, 3, 4]));
        assert_eq!(inbox.acknowledge(2), Ok(2));
        assert_eq!(told(&mut inbox, 4), (None, vec![3, 4]));
        assert_eq!(told(&mut inbox, 4), (None, vec![3, 4]));
        assert_eq!(inbox.acknowledge(1), Ok(0), "another device's, late");
        assert_eq!(inbox.acknowledge(4), Ok(2));
        assert_eq!(told(&mut inbox, 4), (None, vec![]));
        assert_eq!((inbox.bytes(), inbox.head(), inbox.acknowledged()), (0, 4, 4));
        inbox.push(message(5, 1), Mono(5), &policy());
        assert_eq!(told(&mut inbox, 5), (None, vec![5]));
    }

    #[test]
    fn nobody_acknowledges_what_is_yet_to_come() {
        let mut inbox = filled(2);
        assert_eq!(inbox.acknowledge(3), Err(Ahead));
        assert_eq!(inbox.acknowledge(u64::MAX), Err(Ahead));
        assert_eq!(told(&mut inbox, 2), (None, vec![1, 2]));
        assert_eq!(Inbox::default().acknowledge(0), Ok(0));
        assert_eq!(Inbox::default().acknowledge(1), Err(Ahead));
    }

    #[test]
    fn what_is_lost_is_said_once_by_first_and_last() {
        let mut inbox = filled(8);
        assert_eq!(told(&mut inbox, 8), (Some((1, 3)), vec![4, 5, 6, 7, 8]));
        inbox.acknowledge(2).unwrap();
        assert_eq!(told(&mut inbox, 8), (Some((3, 3)), vec![4, 5, 6, 7, 8]));
        assert_eq!(told(&mut inbox, 106), (Some((3, 6)), vec![7, 8]), "aged");
        inbox.forget_aged(Mono(106), &policy());
        inbox.forget_oldest();
        assert_eq!(told(&mut inbox, 106), (Some((3, 7)), vec![8]));
        assert_eq!(inbox.expiry(&policy()), Some(Mono(108)));
        assert_eq!(told(&mut inbox, 108), (Some((3, 8)), vec![]));
        assert!(inbox.is_empty() && inbox.expiry(&policy()).is_none());
        inbox.acknowledge(8).unwrap();
        assert_eq!(told(&mut inbox, 108), (None, vec![]));
    }

    proptest! {
        /// Against plain numbers: what was pushed, is young, is among the newest and was not acknowledged.
        #[test]
        fn agrees_with_plain_numbers(steps in prop::collection::vec((0u8..4, 0u64..40, 0u64..30), 0..60)) {
            let (mut inbox, mut now, mut acknowledged) = (Inbox::default(), 0, 0);
            let mut pushed: Vec<u64> = Vec::new();
            for (step, number, wait) in steps {
                now += wait;
                let head = pushed.len() as u64;
                if step == 0 {
                    let expected = number <= head;
                    prop_assert_eq!(inbox.acknowledge(number).is_ok(), expected);
                    acknowledged = if expected { acknowledged.max(number) } else { acknowledged };
                } else {
                    pushed.push(now);
                    inbox.push(message(head + 1, 1), Mono(now), &policy());
                }
                inbox.check(&policy());
                let head = pushed.len() as u64;
                let kept: Vec<u64> = (1..=head)
                    .filter(|seq| *seq > acknowledged && seq + 5 > head)
                    .filter(|seq| pushed[usize::try_from(*seq).unwrap() - 1] + 100 > now)
                    .collect();
                let end = kept.first().map_or(head, |first| first - 1);
                let lost = (acknowledged < end).then_some((acknowledged + 1, end));
                prop_assert_eq!(told(&mut inbox, now), (lost, kept));
            }
        }
    }
}
