//! What a shard keeps for a native client beside its socket.

use std::sync::Arc;

use crate::base::bucket::Bucket;
use crate::base::clock::Mono;
use crate::hub::name::User;

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
    /// What is done once it is welcomed; none if that is nothing, or done.
    pub(crate) waiting: Option<Box<Waiting>>,
    /// The client was told `welcome`; before that nothing else is said.
    pub(crate) welcomed: bool,
    /// Whether one of the memberships is the user's inbox.
    pub(crate) in_inbox: bool,
}

/// What the handshake asked for.
pub(crate) struct Waiting {
    /// Rooms to join.
    pub(crate) rooms: Vec<Box<str>>,
}
