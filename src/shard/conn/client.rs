//! What a shard keeps for a native client beside its socket.

use std::sync::Arc;

use crate::base::clock::Mono;
use crate::hub::name::User;
use crate::shard::arrival::Introduction;
use crate::shard::conn::deadline::Deadline;
use crate::shard::conn::session::Session;
use crate::shard::pass::Pass;
use crate::shard::purse::Purse;

/// What a shard knows about a native client.
pub(crate) struct Client {
    /// Never repeats in this process; the session's id is made of it, so that needs no memory.
    pub(crate) serial: u64,
    /// Who it is to the others: given at the handshake, or made when first needed.
    pub(crate) user: Option<Arc<User>>,
    /// Messages that it may send.
    pub(crate) purse: Purse,
    /// When the next `heartbeat` is due; never if it wants none.
    pub(crate) heartbeat_due: Mono,
    /// What few clients have; none for the others.
    pub(crate) more: Option<Box<More>>,
    /// The client was told `welcome`; before that nothing else is said.
    pub(crate) welcomed: bool,
    /// Whether one of the memberships is the user's inbox.
    pub(crate) in_inbox: bool,
    /// Whether it said which user it is.
    pub(crate) named: bool,
    /// Whether messages to its user find it, and where it stands then among the user's connections here.
    pub(crate) listed: bool,
    pub(crate) place: u32,
}

/// What few clients have.
#[derive(Default)]
pub(crate) struct More {
    /// Rooms to join once it is welcomed.
    pub(crate) rooms: Vec<Box<str>>,
    /// What it was sent lately, if it asked for that.
    pub(crate) session: Option<Session>,
    /// What its token lets it do.
    pub(crate) pass: Option<Box<Pass>>,
    /// It has not shown a token yet.
    pub(crate) guest: Option<Box<Guest>>,
}

/// Who has not shown a token yet. Such a client is not welcomed, and nothing but a token is heard from it.
#[derive(Debug)]
pub(crate) struct Guest {
    /// What it said in its request.
    pub(crate) introduction: Introduction,
    /// How long it may take.
    pub(crate) until: Mono,
}

impl More {
    /// Whether there is nothing of it.
    pub(crate) fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.session.is_none() && self.pass.is_none() && self.guest.is_none()
    }

    /// What its token, or the lack of one, brings about next.
    pub(crate) fn next_deadline(&self) -> Option<(Mono, Deadline)> {
        if let Some(guest) = &self.guest {
            return Some((guest.until, Deadline::Auth));
        }
        let pass = self.pass.as_ref()?;
        Some((pass.until.min(pass.warn), Deadline::Token))
    }
}

impl Client {
    /// A client of whom nothing is known yet.
    pub(crate) fn new(serial: u64) -> Client {
        Client {
            serial,
            user: None,
            purse: Purse::default(),
            heartbeat_due: Mono::NEVER,
            more: None,
            welcomed: false,
            in_inbox: false,
            named: false,
            listed: false,
            place: 0,
        }
    }

    /// What its token lets it do, if tokens are asked for.
    pub(crate) fn pass(&mut self) -> Option<&mut Pass> {
        self.more.as_mut()?.pass.as_deref_mut()
    }

    /// The client's session, if it has one.
    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        self.more.as_mut()?.session.as_mut()
    }
}
