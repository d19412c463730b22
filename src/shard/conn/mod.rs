//! One connection: its phases, and what they share.
//!
//! ```text
//!             request answered, kept alive
//!                  ┌──────┐
//!                  ▼      │
//! accepted ─► Head ───────┴─► Closing ─► Over
//!              │ ▲               ▲
//!              │ │   answered    │
//!              ├─┴─[Body]─ Asking┤
//!              │                 │
//!              └─► Socket ───────┘
//!                  upgraded      both close frames, a violation, a deadline
//! ```
//!
//! Body and Asking are those of requests for the API: its body comes, its answer is awaited from others. Meanwhile
//! no further input is handled, so answers keep the order of their requests.
//!
//! Closing means: everything that is to be said is in the outbox; what comes in is thrown away; when the outbox is
//! empty the peer is told that no more comes, and the connection ends with the peer's own end or at a deadline. So
//! an answer is not destroyed by a reset that unread input would cause.
//!
//! A client with a session survives its socket: its connection is then away, without one, until the client comes
//! back or the resume window ends.
//!
//! Data only: what a connection does is in `shard::edge`.

pub(crate) mod deadline;
pub(crate) mod session;
pub(crate) mod client;
pub(crate) mod request;
pub(crate) mod socket;

use std::sync::Arc;

use crate::base::clock::Mono;
use crate::base::peer::Peer;
use crate::base::slab::Slab;
use crate::base::wheel::TimerId;
use crate::hub::name::User;
use crate::shard::conn::client::Client;
use crate::shard::conn::deadline::Deadline;
use crate::shard::conn::request::{Asking, Pending};
use crate::shard::conn::socket::{Role, Socket};
use crate::shard::limits::Limits;
use crate::shard::members::Memberships;
use crate::shard::outbox::Outbox;
use crate::wire::http::head::HeadReader;

/// Everything a shard keeps for one connection.
pub(crate) struct Conn {
    pub(crate) phase: Phase,
    pub(crate) outbox: Outbox,
    /// Topics that the connection is in, or asked to be in.
    pub(crate) memberships: Memberships,
    /// Input that came while it was held; never empty.
    #[expect(clippy::box_collection, reason = "hardly any connection has one, and all pay for its place")]
    pub(crate) rest: Option<Box<Vec<u8>>>,
    /// The connection's one entry in the wheel.
    pub(crate) timer: Option<TimerId>,
    /// Why its input is not handled now.
    pub(crate) hold: Hold,
    /// Which flush list it is on.
    pub(crate) dirty: Dirty,
    /// Its client has a session: whatever is delivered is numbered and kept.
    pub(crate) numbered: bool,
    /// Where the other end is.
    pub(crate) peer: Peer,
}

/// See the module's drawing.
pub(crate) enum Phase {
    /// Waits for a request; what has come of its head; until when it may take.
    Head { reader: Option<Box<HeadReader>>, until: Mono },
    /// Waits for the body of a request; until when it may take.
    Body { pending: Box<Pending>, until: Mono },
    /// Waits for what others answer. Invariant: [`Hold::ANSWER`] is set.
    Asking(Box<Asking>),
    /// An open WebSocket.
    Socket(Socket),
    /// A client whose socket is gone and that may come back until then.
    Away {
        /// Who it is; its topics and its session go on.
        client: Box<Client>,
        /// When it is given up.
        until: Mono,
    },
    /// On the way out.
    Closing {
        /// The connection ends then, whatever the peer does.
        until: Mono,
        /// The peer was told that no more comes.
        shut: bool,
        /// The peer itself ended, or has said that it sends nothing more: no need to linger.
        ended: bool,
    },
    /// Gone but for being freed at the end of the turn: nothing is due any more.
    Over,
}

/// Reasons not to handle a connection's input; all must be gone before it goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hold(u8);

impl Hold {
    /// The owner of a topic it publishes to is behind.
    pub(crate) const LANE: Hold = Hold(1);
    /// It does not read the answers to what it asked.
    pub(crate) const OUTBOX: Hold = Hold(2);
    /// Whether the user may have one more connection is being asked.
    pub(crate) const ADMISSION: Hold = Hold(4);
    /// It asked for what can be long (a history, a list) and is answered before it asks again: questions are short,
    /// so a read could bring thousands before the first answer counts against it.
    pub(crate) const ANSWER: Hold = Hold(8);

    /// It asked all owners at once, and is answered before it asks again: so counting the answers is enough.
    pub(crate) const OWNERS: Hold = Hold(16);

    /// It brings most to a shard that has too much to do.
    pub(crate) const LOAD: Hold = Hold(32);

    pub(crate) fn none(self) -> bool {
        self.0 == 0
    }

    /// Whether there is a reason that is not of the peer's making.
    pub(crate) fn is_ours(self) -> bool {
        self.0 & !Hold::OUTBOX.0 != 0
    }

    pub(crate) fn has(self, reason: Hold) -> bool {
        self.0 & reason.0 != 0
    }

    pub(crate) fn set(&mut self, reason: Hold) {
        self.0 |= reason.0;
    }

    pub(crate) fn clear(&mut self, reason: Hold) {
        self.0 &= !reason.0;
    }
}

/// Which flush list a connection is on, and so how soon its turn comes; the later, the sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dirty {
    /// Nothing to flush.
    No,
    /// A large fan-out reached it: flushed in slices when the window ends.
    LaterBulk,
    /// A large fan-out reached it: flushed in slices.
    Bulk,
    /// Flushed when the window ends, and until then when the turn of its bulk comes.
    Later,
    /// Flushed before any bulk.
    Soon,
}

impl Conn {
    pub(crate) fn new(peer: Peer, until: Mono) -> Conn {
        Conn {
            phase: Phase::Head { reader: None, until },
            outbox: Outbox::default(),
            memberships: Memberships::default(),
            rest: None,
            timer: None,
            hold: Hold::default(),
            dirty: Dirty::No,
            numbered: false,
            peer,
        }
    }

    /// Holds the input of a peer that asks without reading the answers.
    pub(crate) fn brake(&mut self, limits: &Limits) {
        let high = if self.outbox.is_blocked() { limits.pace.own_bytes_high } else { limits.queue_bytes_max };
        if self.outbox.own_bytes() > high {
            self.hold.set(Hold::OUTBOX);
        }
    }

    /// The open WebSocket, if it is one.
    pub(crate) fn socket(&mut self) -> Option<&mut Socket> {
        match &mut self.phase {
            Phase::Socket(socket) => Some(socket),
            _ => None,
        }
    }

    /// Whether this is an open WebSocket that only gives back what comes.
    pub(crate) fn is_echo(&self) -> bool {
        matches!(&self.phase, Phase::Socket(Socket { role: Role::Echo, .. }))
    }

    /// The native client, if it is one and was not closed; also one that is away.
    pub(crate) fn client(&mut self) -> Option<&mut Client> {
        match &mut self.phase {
            Phase::Socket(socket) if socket.is_closing() => None,
            Phase::Socket(Socket { role: Role::Client(client), .. }) | Phase::Away { client, .. } => {
                Some(client)
            }
            _ => None,
        }
    }

    /// The client, in whatever state it is.
    pub(crate) fn any_client(&self) -> Option<&Client> {
        match &self.phase {
            Phase::Socket(Socket { role: Role::Client(client), .. }) | Phase::Away { client, .. } => {
                Some(client)
            }
            _ => None,
        }
    }

    /// The native client's user, if it is one that is connected and has said who it is.
    pub(crate) fn user(&self) -> Option<&Arc<User>> {
        match &self.phase {
            Phase::Socket(Socket { role: Role::Client(client), .. }) => client.user.as_ref(),
            _ => None,
        }
    }

    /// Whether this is an open native client that was welcomed, and is not away.
    pub(crate) fn hears_broadcasts(&self) -> bool {
        matches!(&self.phase, Phase::Socket(socket @ Socket { role: Role::Client(client), .. })
            if client.welcomed && !socket.is_closing())
    }

    /// Whether the next frame may be handled now.
    pub(crate) fn takes_frames(&self) -> bool {
        self.hold.none() && matches!(self.phase, Phase::Socket(_))
    }

    /// The earliest deadline and what it is; none for a connection that may stay silent for ever.
    pub(crate) fn next_deadline(&self, limits: &Limits) -> Option<(Mono, Deadline)> {
        match &self.phase {
            Phase::Head { until, .. } | Phase::Body { until, .. } => Some((*until, Deadline::Head)),
            Phase::Asking(asking) => Some((asking.until, Deadline::Answer)),
            Phase::Closing { until, .. } => Some((*until, Deadline::Linger)),
            Phase::Away { .. } | Phase::Over => None,
            Phase::Socket(socket) => socket.next_deadline(limits),
        }
    }
}

/// Tells the connection in `slot` that its entry in the member list of `topic` has moved.
pub(crate) fn reposition(conns: &mut Slab<Conn>, slot: u32, topic: u32, position: u32) {
    let conn = conns.by_slot_mut(slot).expect("a member list names open connections only");
    for membership in conn.memberships.iter_mut() {
        if membership.topic == topic {
            membership.position = position;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Less than half of what an idle connection costs is this; the rest is its client, and its entries in the slab,
    /// the wheel and the reactor. The whole sum stands in docs/performance.md.
    #[test]
    fn a_connection_is_small() {
        assert_eq!(size_of::<Phase>(), 40);
        assert_eq!(size_of::<Outbox>(), 16);
        assert_eq!(size_of::<Memberships>(), 16, "the first membership stands in the connection");
        assert_eq!(size_of::<Conn>(), 88);
        // With what malloc puts before it, 64.
        assert_eq!(size_of::<Client>(), 56);
    }

    #[test]
    fn input_is_held_until_the_last_reason_is_gone() {
        let mut hold = Hold::default();
        assert!(hold.none() && !hold.is_ours());
        hold.set(Hold::OUTBOX);
        assert!(!hold.none() && !hold.is_ours(), "who does not read causes it");
        hold.set(Hold::LANE);
        hold.clear(Hold::OUTBOX);
        assert!(hold.has(Hold::LANE) && !hold.has(Hold::OUTBOX) && hold.is_ours());
        hold.clear(Hold::LANE);
        assert!(hold.none());
    }

    #[test]
    fn a_blocked_connection_is_braked_sooner() {
        let mut limits = Limits { queue_bytes_max: 1000, ..Limits::default() };
        limits.pace.own_bytes_high = 100;
        let mut spares = crate::shard::outbox::Spares::default();
        let mut conn = Conn::new(Peer::Loopback, Mono(0));
        let mut brake = |bytes, blocked| {
            conn.hold = Hold::default();
            conn.outbox.push_own(&mut spares, bytes, |out| out.resize(out.len() + bytes, 0));
            if blocked {
                conn.outbox.block(&mut spares)
            } else {
                conn.outbox.unblock()
            }
            conn.brake(&limits);
            conn.hold.has(Hold::OUTBOX)
        };
        assert!(!brake(100, true));
        assert!(brake(1, true));
        assert!(!brake(0, false), "the socket takes it all, for all we know");
        assert!(!brake(899, false));
        assert!(brake(1, false));
    }
}
