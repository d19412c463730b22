//! Every deadline that a connection can have, and which comes next.
//!
//! A connection has one entry in the wheel. Activity only stores the time; the entry looks when it fires, acts on
//! what is due, and is armed again for what is next. So a message costs no timer work.

use std::time::Duration;

use crate::base::clock::Mono;
use crate::shard::conn::socket::{Role, Socket};
use crate::shard::conn::{Conn, Phase};
use crate::shard::limits::Limits;

/// How long an ended connection waits for the peer's own end, so that what we said last arrives.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// The request head did not come in time.
    Head,
    /// Silent for the ping interval.
    Ping,
    /// Still silent after a ping.
    Pong,
    /// No message for the idle timeout.
    Idle,
    /// The next `heartbeat`.
    Heartbeat,
    /// The peer did not answer our close frame.
    CloseHandshake,
    /// The peer did not end the connection.
    Linger,
}

impl Conn {
    /// The earliest deadline and what it is; none for a connection that may stay silent for ever.
    pub(crate) fn next_deadline(&self, limits: &Limits) -> Option<(Mono, Deadline)> {
        match &self.phase {
            Phase::Head { until, .. } => Some((*until, Deadline::Head)),
            Phase::Closing { until, .. } => Some((*until, Deadline::Linger)),
            Phase::Socket(socket) => socket.next_deadline(limits),
            Phase::Gone => None,
        }
    }
}

impl Socket {
    fn next_deadline(&self, limits: &Limits) -> Option<(Mono, Deadline)> {
        if let Some(sent) = self.close_sent {
            return Some((sent + limits.close_timeout, Deadline::CloseHandshake));
        }
        let life = match self.ping_unanswered {
            Some(sent) => Some((sent + limits.pong_timeout, Deadline::Pong)),
            None => limits.ping_interval.map(|interval| (self.last_seen + interval, Deadline::Ping)),
        };
        let idle = limits.idle_timeout.map(|timeout| (self.last_message + timeout, Deadline::Idle));
        let heartbeat = match &self.role {
            Role::Client(client) => client.heartbeat_due.map(|due| (due, Deadline::Heartbeat)),
            Role::Echo => None,
        };
        [life, idle, heartbeat].into_iter().flatten().min_by_key(|(due, _)| *due)
    }
}
