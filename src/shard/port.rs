//! Closed enums of everything that enters and leaves a shard besides bytes.
//!
//! Two classes of mail, each in lanes of its own. [`ToOwner`] may wait: an owner that is behind simply takes no
//! more of it, and the lanes' fullness reaches the publishers' sockets. [`ToEdge`] waits for nothing but the edge's
//! own turns, and taking it never makes more mail of its own class but for one answer to a question, of which there
//! is a bounded number under way. So two shards can never block each other.

use crate::base::id::{Key, ShardId};
use crate::hub::command::Request;
use crate::hub::event::{Outcome, Stats};
use crate::shard::arrival::Arrival;

/// Mail from an edge to the owner of a topic.
pub type ToOwner = Request;

/// Mail to a shard in its role as edge.
#[derive(Debug)]
pub enum ToEdge {
    /// From the owner of a topic.
    Outcome(Outcome),
    /// How do you stand? Answered at once.
    Question {
        /// Who asks.
        from: ShardId,
        /// Given back with the answer.
        number: Key,
    },
    /// So many connections of a shard were sent a direct message.
    Receipt {
        /// Of the message, at the shard of its sender.
        number: Key,
        /// How many.
        count: u32,
    },
    /// How a shard stands.
    Answer {
        /// Of the question.
        number: Key,
        /// This shard's share of the whole.
        part: Box<Stats>,
    },
}

/// What a driver must do with a socket when [`crate::shard::Shard::poll_close`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Everything is written: tell the peer that no more comes, go on reading until it ends as well.
    Shutdown,
    /// The connection is over: free the socket. Its key is stale from now on.
    Drop,
}

/// Where a socket belongs from now on, when [`crate::shard::Shard::poll_move`] says so.
#[derive(Debug)]
pub enum Move {
    /// To this connection of the same shard, which has none.
    To(Key),
    /// To another shard, which is told by [`crate::shard::Shard::handle_arrival`]; its old key is stale.
    Shard(ShardId, Box<Arrival>),
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// So many bytes were taken; fewer than offered means that the socket is full until its next writable edge.
    Bytes(usize),
    /// Nothing was taken, the socket is full.
    Full,
    /// The connection is broken.
    Broken,
}
