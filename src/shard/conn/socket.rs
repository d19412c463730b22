//! An open WebSocket as its shard keeps it, and every deadline that a connection can have.
//!
//! A connection has one entry in the timer wheel. Activity only stores the time; the entry looks when it fires, acts on
//! what is due, and is armed again for what is next. So a message costs no timer work.

use std::time::Duration;

use crate::base::clock::Mono;
use crate::shard::conn::client::Client;
use crate::shard::conn::deadline::Deadline;
use crate::shard::limits::Limits;
use crate::wire::ws::message::Assembler;

/// How long an ended connection waits for the peer's own end, so that what we said last arrives.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// The receive side and the clocks of an open WebSocket.
pub(crate) struct Socket {
    pub(crate) assembler: Assembler,
    pub(crate) role: Role,
    /// When a message last came.
    pub(crate) last_message: Mono,
    pub(crate) life: Life,
}

/// What the next sign of life is waited for; of the three clocks only one ever counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Something came at this time; any traffic counts as life.
    Heard(Mono),
    /// Nothing came since a ping.
    Pinged {
        /// When it was sent.
        at: Mono,
        /// Pings in a row before it that stayed unanswered.
        missed: u32,
    },
    /// Our close frame was sent at this time; nothing but the answer to it counts any more.
    Closing(Mono),
}

/// What an open WebSocket is for.
pub(crate) enum Role {
    /// Gives back what comes. Also what is left of a client's socket, which only has to be closed, when the client has
    /// a session and goes on without it.
    Echo,
    /// Speaks the native protocol.
    Client(Box<Client>),
}

impl Socket {
    pub(crate) fn new(role: Role, now: Mono) -> Socket {
        Socket { assembler: Assembler::new(), role, last_message: now, life: Life::Heard(now) }
    }

    /// The peer lives. True if that ends the wait for a pong: the next deadline may be earlier then than the one the
    /// wheel knows of, where pongs have more time than pings have between them.
    pub(crate) fn hear(&mut self, now: Mono) -> bool {
        if self.is_closing() {
            return false;
        }
        matches!(std::mem::replace(&mut self.life, Life::Heard(now)), Life::Pinged { .. })
    }

    /// Whether we sent our close frame.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.life, Life::Closing(_))
    }

    /// The earliest deadline and what it is; none for a socket that may stay silent for ever.
    pub(crate) fn next_deadline(&self, limits: &Limits) -> Option<(Mono, Deadline)> {
        let life = match self.life {
            Life::Closing(at) => return Some((at + limits.close_timeout, Deadline::CloseHandshake)),
            Life::Pinged { at, .. } => Some((at + limits.pong_timeout, Deadline::Pong)),
            Life::Heard(at) => limits.ping_interval.map(|interval| (at + interval, Deadline::Ping)),
        };
        let idle = limits.idle_timeout.map(|timeout| (self.last_message + timeout, Deadline::Idle));
        let heartbeat = match &self.role {
            Role::Client(client) if client.heartbeat_due < Mono::NEVER => {
                Some((client.heartbeat_due, Deadline::Heartbeat))
            }
            Role::Client(_) | Role::Echo => None,
        };
        let due = [life, idle, heartbeat].into_iter().flatten().min_by_key(|(due, _)| *due);
        // Few have a token, and all look here after each ping.
        match &self.role {
            Role::Client(client) if client.more.is_some() => {
                let token = client.more.as_ref().and_then(|more| more.next_deadline());
                [due, token].into_iter().flatten().min_by_key(|(due, _)| *due)
            }
            Role::Client(_) | Role::Echo => due,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn limits() -> Limits {
        Limits {
            ping_interval: Some(25 * MS),
            pong_timeout: 10 * MS,
            idle_timeout: None,
            close_timeout: 5 * MS,
            ..Limits::default()
        }
    }

    fn ms(n: u32) -> Mono {
        Mono(0) + n * MS
    }

    #[test]
    fn deadlines_follow_from_what_was_last_heard() {
        let limits = limits();
        let mut socket = Socket::new(Role::Echo, ms(0));
        assert_eq!(socket.next_deadline(&limits), Some((ms(25), Deadline::Ping)));
        assert!(!socket.hear(ms(7)));
        assert_eq!(socket.next_deadline(&limits), Some((ms(32), Deadline::Ping)));
        socket.life = Life::Pinged { at: ms(32), missed: 1 };
        assert_eq!(socket.next_deadline(&limits), Some((ms(42), Deadline::Pong)));
        assert!(socket.hear(ms(40)), "a wait has ended");
        assert_eq!(socket.next_deadline(&limits), Some((ms(65), Deadline::Ping)));
        socket.life = Life::Closing(ms(41));
        assert!(!socket.hear(ms(42)));
        assert_eq!(
            socket.next_deadline(&limits),
            Some((ms(46), Deadline::CloseHandshake)),
            "and nothing else"
        );
    }

    #[test]
    fn the_earliest_deadline_counts() {
        let limits = Limits { idle_timeout: Some(30 * MS), ..limits() };
        let mut socket = Socket::new(Role::Echo, ms(0));
        assert_eq!(socket.next_deadline(&limits), Some((ms(25), Deadline::Ping)));
        socket.hear(ms(20)); // a pong: life, but no message
        assert_eq!(socket.next_deadline(&limits), Some((ms(30), Deadline::Idle)));
    }

    #[test]
    fn without_pings_and_idle_timeout_silence_may_last_for_ever() {
        let limits = Limits { ping_interval: None, ..limits() };
        assert_eq!(Socket::new(Role::Echo, ms(0)).next_deadline(&limits), None);
    }
}
