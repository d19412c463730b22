//! Who comes: what the request for an upgrade said, on this shard or on its way to another.
//!
//! A client that resumes a session is moved, socket and all, to the shard that has the session: so nothing of the
//! session ever moves. Data only.

use crate::base::peer::Peer;
use crate::shard::pass::Pass;

/// What the handshake says about a client.
#[derive(Debug, Default)]
pub(crate) struct Introduction {
    /// The user that it says it is.
    pub(crate) user_id: Option<Box<str>>,
    /// The name to show.
    pub(crate) username: Option<Box<str>>,
    /// Rooms to join at once.
    pub(crate) rooms: Vec<Box<str>>,
    /// It asks for `heartbeat` messages.
    pub(crate) heartbeat: bool,
    /// It asks for a session, and has got everything up to this number; 0 = nothing yet.
    pub(crate) last_seq: Option<u64>,
    /// The session that it had, as it says; not yet looked at.
    pub(crate) session: Option<Box<str>>,
    /// What its token lets it do, if tokens are asked for.
    pub(crate) pass: Option<Box<Pass>>,
}

/// A client on its way to the shard that has its session.
#[derive(Debug)]
pub struct Arrival {
    pub(crate) introduction: Introduction,
    /// Where it comes from.
    pub(crate) peer: Peer,
    /// What is still to be written: the answer to the upgrade, and answers before it.
    pub(crate) unsent: Vec<u8>,
    /// What it has sent after the request.
    pub(crate) input: Vec<u8>,
}
