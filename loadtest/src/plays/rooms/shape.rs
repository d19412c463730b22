//! Who is where: rooms, members and publishers of a whole run by number, and what upsets some of the members.

use crate::clock::Nanos;

/// The whole run's shape.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Rooms.
    pub rooms: usize,
    /// Members of each.
    pub members: usize,
    /// The first so many members of each publish.
    pub publishers: usize,
    /// Bytes of a payload.
    pub size: usize,
    /// Threads; member `m` of the whole run is on thread `m % threads`.
    pub threads: usize,
    /// What happens to restless members.
    pub upset: Upset,
    /// The last so many members of each room are restless; publishers never are.
    pub restless: usize,
}

/// What happens to restless members while it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upset {
    /// Nothing.
    None,
    /// They read nothing.
    Slow,
    /// They leave and come back, again and again.
    Churn {
        /// About how long they stay.
        stay: Nanos,
        /// About how long they are away.
        away: Nanos,
    },
    /// Each is cut off at random, again and again, and comes back at once for what it missed.
    Cuts {
        /// About how long each lasts.
        every: Nanos,
    },
    /// All are cut off at once, and come back at once.
    Storm {
        /// Most connections that are on their way at the same time, for each thread.
        at_once: usize,
    },
}

impl Shape {
    /// Members of all rooms.
    #[must_use]
    pub fn all(&self) -> usize {
        self.rooms * self.members
    }

    /// Publishers of all rooms.
    #[must_use]
    pub fn senders(&self) -> usize {
        self.rooms * self.publishers
    }

    /// The room that a member is in.
    #[must_use]
    pub fn room_of(&self, member: usize) -> usize {
        member / self.members
    }

    /// Whether a member is restless.
    #[must_use]
    pub fn is_restless(&self, member: usize) -> bool {
        self.upset != Upset::None && member % self.members >= self.members - self.restless
    }

    /// The publisher that a member is.
    #[must_use]
    pub fn sender_of(&self, member: usize) -> Option<usize> {
        let place = member % self.members;
        (place < self.publishers).then(|| self.room_of(member) * self.publishers + place)
    }

    /// How many publishers a thread has.
    #[must_use]
    pub fn senders_on(&self, thread: usize) -> usize {
        (0..self.senders()).filter(|sender| self.member_of(*sender) % self.threads == thread).count()
    }

    /// The member that a publisher is.
    #[must_use]
    pub fn member_of(&self, sender: usize) -> usize {
        sender / self.publishers * self.members + sender % self.publishers
    }

    /// Threads that have a member of `room` that is not restless.
    pub fn threads_of(&self, room: usize) -> impl Iterator<Item = usize> + '_ {
        let firm = if self.upset == Upset::None { self.members } else { self.members - self.restless };
        (0..self.threads.min(firm)).map(move |i| (room * self.members + i) % self.threads)
    }
}

/// What room number `room` is called.
#[must_use]
pub fn room_name(room: usize) -> String {
    format!("room-{room}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_publishers_are_each_others() {
        let shape = Shape {
            rooms: 3,
            members: 5,
            publishers: 2,
            size: 64,
            threads: 4,
            upset: Upset::Slow,
            restless: 2,
        };
        assert_eq!((shape.all(), shape.senders()), (15, 6));
        for sender in 0..6 {
            assert_eq!(shape.sender_of(shape.member_of(sender)), Some(sender));
            assert!(!shape.is_restless(shape.member_of(sender)));
        }
        assert_eq!([0, 1, 2, 3].map(|thread| shape.senders_on(thread)), [1, 2, 2, 1]);
        assert_eq!(shape.sender_of(4), None);
        assert_eq!(shape.room_of(5), 1);
        let restless: Vec<usize> = (0..15).filter(|member| shape.is_restless(*member)).collect();
        assert_eq!(restless, [3, 4, 8, 9, 13, 14]);
        assert_eq!(shape.threads_of(1).collect::<Vec<_>>(), [1, 2, 3]);
    }
}
