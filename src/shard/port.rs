//! Closed enums of everything that enters and leaves a shard besides bytes.
//!
//! Two classes of mail, each in lanes of its own. [`ToOwner`] may wait: an owner that is behind simply takes no
//! more of it, and the lanes' fullness reaches the publishers' sockets. [`ToEdge`] waits for nothing but the edge's
//! own turns, and taking it never makes more mail of its own class but for one answer to a question, of which there
//! is a bounded number under way. So two shards can never block each other.

use std::sync::Arc;

use crate::base::id::{Key, ShardId};
use crate::hub::command::Request;
use crate::hub::event::{Outcome, Stats};
use crate::hub::name::{Topic, User};
use crate::shard::arrival::Arrival;

/// Keys and rules that were read anew, for all shards.
pub type Papers = Arc<crate::access::Papers>;

/// Mail from an edge to the owner of a topic.
pub type ToOwner = Request;

/// Mail to a shard in its role as edge.
#[derive(Debug)]
pub enum ToEdge {
    /// From the owner of a topic.
    Outcome(Outcome),
    /// Answered at once.
    Question {
        /// Who asks.
        from: ShardId,
        /// Given back with the answer.
        number: Key,
        /// What is asked.
        question: Question,
    },
    /// So many connections of a shard were sent a direct message.
    Receipt {
        /// Of the message, at the shard of its sender.
        number: Key,
        /// How many.
        count: u32,
    },
    /// What a shard answers.
    Answer {
        /// Of the question.
        number: Key,
        /// This shard's share of the whole.
        part: Box<Part>,
    },
}

/// What one shard asks others.
#[derive(Clone, Debug)]
pub enum Question {
    /// How do you stand?
    Stats,
    /// Publish what you have counted.
    Measure,
    /// Send your clients away.
    Drain,
    /// Which are your largest rooms, so many at most?
    Rooms(u32),
    /// Which clients are connected to you?
    Clients {
        /// The first place to look at.
        from: u32,
        /// At most so many.
        limit: u32,
    },
    /// Close this client.
    Close(Key),
    /// Which clients have you of the user whose inbox this is?
    User(Topic),
    /// Close those.
    CloseUser(Topic),
}

/// The answer to a [`Question`], or the sum of several.
#[derive(Debug)]
pub enum Part {
    /// How a shard stands.
    Stats(Stats),
    /// The largest rooms with their members, of all that have some.
    Rooms {
        /// All of them.
        total: u64,
        /// The largest, in the order of [`Stats::rooms`].
        rooms: Vec<(Topic, u32)>,
        /// At most so many.
        limit: u32,
    },
    /// A piece of the list of clients.
    Clients {
        /// Those that were found.
        clients: Vec<ClientSeen>,
        /// The first place that was not looked at; none at the end.
        next: Option<u32>,
        /// The shard that answers.
        shard: ShardId,
    },
    /// Clients of the user whose inbox this is.
    User {
        /// The inbox.
        topic: Topic,
        /// The first so many of them.
        clients: Vec<ClientSeen>,
        /// All of them.
        total: u64,
    },
    /// So many clients were closed.
    Closed(u64),
    /// What was counted is published.
    Measured,
    /// So many clients are being sent away.
    Draining(u64),
}

/// A client in a list.
#[derive(Debug)]
pub struct ClientSeen {
    /// Its id.
    pub id: Box<str>,
    /// Its user; none if it did not say.
    pub user: Option<Arc<User>>,
    /// Topics that it is in.
    pub topics: u64,
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
