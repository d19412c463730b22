//! An open WebSocket as its shard keeps it, and every deadline that a connection can have.
//!
//! A connection has one entry in the timer wheel. Activity only stores the time; the entry looks when it fires, acts on
//! what is due, and is armed again for what is next. So a message costs no timer work.

use std::time::Duration;

use crate::base::clock::Mono;
use crate::shard::conn::client::Client;
use crate::shard::limits::Limits;
use crate::wire::ws::message::Assembler;

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

/// The receive side and the clocks of an open WebSocket.
pub(crate) struct Socket {
    pub(crate) assembler: Assembler,
    pub(crate) role: Role,
    /// When anything last came from the peer: any traffic counts as life.
    pub(crate) last_seen: Mono,
    /// When a message last came.
    pub(crate) last_message: Mono,
    /// When the oldest ping without any sign of life since was sent.
    pub(crate) ping_unanswered: Option<Mono>,
    /// Pings in a row that stayed unanswered.
    pub(crate) pongs_missed: u32,
    /// When we sent our close frame.
    pub(crate) close_sent: Option<Mono>,
}

/// What an open WebSocket is for.
pub(crate) enum Role {
    /// Gives back what comes.
    Echo,
    /// Speaks the native protocol.
    Client(Box<Client>),
}

impl Socket {
    pub(crate) fn new(role: Role, now: Mono) -> Socket {
        Socket {
            assembler: Assembler::new(),
            role,
            last_seen: now,
            last_message: now,
            ping_unanswered: None,
            pongs_missed: 0,
            close_sent: None,
        }
    }

    /// The peer lives. True if that ends the wait for a pong: the next deadline may be earlier then than the one the
    /// wheel knows of, where pongs have more time than pings have between them.
    pub(crate) fn hear(&mut self, now: Mono) -> bool {
        self.last_seen = now;
        self.pongs_missed = 0;
        self.ping_unanswered.take().is_some()
    }

    /// The earliest deadline and what it is; none for a socket that may stay silent for ever.
    pub(crate) fn next_deadline(&self, limits: &Limits) -> Option<(Mono, Deadline)> {
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
        socket.ping_unanswered = Some(ms(32));
        assert_eq!(socket.next_deadline(&limits), Some((ms(42), Deadline::Pong)));
        socket.pongs_missed = 1;
        assert!(socket.hear(ms(40)), "a wait has ended");
        assert_eq!((socket.pongs_missed, socket.next_deadline(&limits)), (0, Some((ms(65), Deadline::Ping))));
        socket.close_sent = Some(ms(41));
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
