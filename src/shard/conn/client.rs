//! What a shard keeps for a native client beside its socket.

use std::sync::Arc;

use crate::base::bucket::Bucket;
use crate::base::clock::Mono;
use crate::hub::name::User;
use crate::shard::conn::session::Session;

/// What a shard knows about a native client.
pub(crate) struct Client {
    /// Never repeats in this process; the session's id is made of it, so that needs no memory.
    pub(crate) serial: u64,
    /// Who it is to the others: given at the handshake, or made when first needed.
    pub(crate) user: Option<Arc<User>>,
    /// Messages that it may send.
    pub(crate) bucket: Bucket,
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
}

impl Client {
    /// The client's session, if it has one.
    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        self.more.as_mut()?.session.as_mut()
    }
}
