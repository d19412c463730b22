//! The invariant sweep: one function per invariant, for tests and simulations. Panics with what is broken.

use std::collections::VecDeque;

use crate::shard::conn::{Hold, Phase, session};
use crate::shard::members::VACANT;
use crate::shard::state::Shard;

impl Shard {
    /// Checks everything that must hold between two calls.
    ///
    /// # Panics
    /// If something does not hold.
    pub fn check(&self) {
        self.check_memberships();
        self.check_lists();
        self.check_counts();
        self.check_unfinished();
        self.check_memory();
        self.check_sessions();
        for (_, conn) in self.conns.iter() {
            conn.outbox.check();
        }
        self.owner.check();
    }

    /// Checks that nothing is under way: for a moment at which all mail has arrived, all peers read, and the shard
    /// sleeps.
    ///
    /// # Panics
    /// If something is.
    pub fn check_rest(&self) {
        self.check();
        assert!(self.gathers.is_empty(), "{} gathers", self.gathers.len());
        assert!(
            self.active.is_empty() && self.everyone.is_empty() && self.directs.is_empty(),
            "unfinished fan-outs"
        );
        assert!(self.receipts.is_empty(), "{} receipts", self.receipts.len());
        assert!(self.lanes.requests.iter().all(VecDeque::is_empty), "unsent requests");
        assert!(self.lanes.edges.iter().all(VecDeque::is_empty), "unsent mail");
        assert!(self.turn.is_idle(), "an unfinished turn");
        assert!(self.owner.is_stored(), "something is not stored");
        assert!(!self.is_due(), "nothing to do, and no sleep");
        for (key, conn) in self.conns.iter() {
            assert!(conn.outbox.is_empty(), "{key:?} is not written to");
            assert!(conn.hold.none() && conn.rest.is_none(), "{key:?} is held: {:?}", conn.hold);
            let placed = conn.memberships.iter().all(|membership| membership.position != VACANT);
            assert!(placed, "{key:?} waits to come or go");
        }
    }

    /// Checks that nothing is left of all that was: for the end of a simulation, when every connection is gone and
    /// every history has expired.
    ///
    /// # Panics
    /// If something is left.
    pub fn check_empty(&self) {
        self.check_rest();
        assert!(self.conns.is_empty(), "{} connections", self.conns.len());
        assert_eq!((self.held.bytes(), self.spares.own_bytes()), (0, 0), "something is held for nobody");
        assert!(self.wheel.is_empty(), "{} timers", self.wheel.len());
        assert_eq!(self.owner.counts().topics, 0, "topics");
        assert_eq!(self.owner.counts().history_bytes, 0, "history");
        assert_eq!(self.poll_due(), None, "nothing is left to wait for");
    }

    /// Each placed membership stands in its topic's list.
    fn check_memberships(&self) {
        for (key, conn) in self.conns.iter() {
            for membership in conn.memberships.iter() {
                let local = self.members.topic(membership.topic);
                if membership.position == VACANT {
                    // Or for its end, which a new token has brought about.
                    let waits = membership.joins_pending > 0 || self.limits.access.tokens;
                    assert!(waits, "a membership that waits for nothing");
                } else {
                    assert_eq!(local.list[membership.position as usize], key.slot, "{:?}", local.topic);
                }
            }
            if matches!(conn.phase, Phase::Asking(_)) {
                assert!(conn.hold.has(Hold::ANSWER), "who asks is not heard before the answer");
            }
            if matches!(conn.phase, Phase::Closing { .. } | Phase::Over) {
                assert!(conn.memberships.is_empty(), "a closing connection is in no topic");
            }
        }
    }

    /// Each entry of a list belongs to a membership, and is held.
    fn check_lists(&self) {
        for (index, local) in self.members.iter() {
            let vacant = local.list.iter().filter(|slot| **slot == VACANT).count();
            assert_eq!(vacant, local.vacant as usize, "vacant entries of {:?}", local.topic);
            assert!(vacant == 0 || !local.jobs.is_empty(), "gaps stay open in {:?}", local.topic);
            let holders =
                self.conns.iter().flat_map(|(_, conn)| conn.memberships.iter()).filter(|m| m.topic == index);
            assert_eq!(holders.count(), local.holders as usize, "holders of {:?}", local.topic);
            assert!(local.list.len() - vacant <= local.holders as usize, "members of {:?}", local.topic);
        }
    }

    /// Who has a session is found by it, who is away is waited for, and who has an inbox is listed.
    fn check_sessions(&self) {
        let (mut numbered, mut away, mut listed, mut sessions) = (0, 0, 0, Vec::new());
        for (key, conn) in self.conns.iter() {
            numbered += usize::from(conn.numbered);
            if let Phase::Away { until, .. } = &conn.phase {
                away += 1;
                assert!(conn.numbered && conn.outbox.is_empty() && conn.rest.is_none(), "{key:?} is away");
                assert!(self.sessions.away.contains(&(*until, key.slot)), "{key:?} is not waited for");
            }
            let Some(client) = conn.any_client() else { continue };
            listed += usize::from(client.listed);
            let session = client.more.as_ref().and_then(|more| more.session.as_ref());
            assert_eq!(conn.numbered, session.is_some() && client.welcomed, "{key:?}");
            if let Some(session) = session.filter(|_| conn.numbered) {
                session.check();
                assert_eq!(self.sessions.slots.get(&client.serial), Some(&key.slot));
                sessions.push(session);
            }
        }
        assert_eq!((numbered, away), (self.sessions.slots.len(), self.sessions.away.len()), "sessions");
        assert_eq!(session::cost(sessions.into_iter()), self.sessions.bytes, "what sessions keep");
        assert_eq!(listed, self.users.len(), "connections of users");
    }

    /// Counters equal what they count.
    fn check_counts(&self) {
        let clients = self.conns.iter().filter(|(_, conn)| conn.hears_broadcasts()).count();
        assert_eq!(clients as u64, self.clients_open, "clients_open");
        let waiting: usize = self.members.iter().map(|(_, local)| local.jobs.len()).sum();
        assert_eq!(waiting + self.everyone.len() + self.directs.len(), self.jobs_waiting, "jobs_waiting");
        let timers = self.conns.iter().filter(|(_, conn)| conn.timer.is_some()).count();
        assert_eq!(timers + self.gathers.len(), self.wheel.len(), "timers");
        if self.conns.is_empty() && self.active.is_empty() {
            assert_eq!(self.members.len(), 0, "topics without connections");
        }
    }
}
