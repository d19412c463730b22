//! What the edge is told of what stands before a socket: a proxy's header, TLS.
//!
//! Reads no bytes: that is done in [`crate::shard::front`] before the edge gets them.

use std::net::IpAddr;

use crate::base::id::Key;
use crate::base::peer::Peer;
use crate::shard::barred::Barred;
use crate::shard::conn::{Conn, Hold, Phase};
use crate::shard::state::Shard;
use crate::wire::http::answer::{After, Problem, Status};
use crate::wire::http::forwarded;
use crate::wire::http::head::Head;

impl Shard {
    /// Whether one more step of a TLS handshake is taken this turn. If not, the socket waits for the next, in its
    /// place among those that are ready.
    pub fn takes_handshake(&mut self) -> bool {
        let left = &mut self.turn.handshakes_left;
        let takes = *left > 0;
        *left = left.saturating_sub(1);
        takes
    }

    /// A proxy has said at the beginning of the connection where its client is. That may be another proxy, which says
    /// more with its request.
    pub fn handle_client(&mut self, key: Key, address: IpAddr) {
        if self.limits.trusted.covers(Some(address)) {
            if let Some(conn) = self.conns.get_mut(key) {
                conn.peer = Peer::Elsewhere.as_proxy();
            }
        } else {
            self.locate(key, address);
        }
    }

    /// A request for an upgrade comes by a trusted proxy: where the client is, if it says so and was not asked before.
    pub(crate) fn client_behind(&self, key: Key, head: &Head<'_>) -> Option<IpAddr> {
        let behind = matches!(self.conns.get(key)?.peer, Peer::Proxy { .. });
        let asks = behind && head.first("upgrade").is_some();
        if asks { forwarded::client(head, &self.limits.trusted) } else { None }
    }

    /// The connection counts where its client is, and is not heard before it is known whether it may.
    pub(crate) fn locate(&mut self, key: Key, address: IpAddr) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.peer = Peer::Elsewhere;
        conn.hold.set(Hold::ADMISSION);
        self.turn.located.push((key, address));
    }

    /// The next connection of which it is known now where its client is; to be answered by [`Shard::handle_located`].
    pub fn poll_located(&mut self) -> Option<(Key, IpAddr)> {
        self.turn.located.pop()
    }

    /// Whether there may be one more connection from where the client is; if not, why.
    pub fn handle_located(&mut self, key: Key, judged: Result<(), Barred>) {
        let Err(barred) = judged else { return self.release(key, Hold::ADMISSION) };
        // It may have come to an end meanwhile.
        let Some(Conn { phase: Phase::Head { .. }, .. }) = self.conns.get(key) else { return };
        self.take_held(key);
        self.answer_problem(key, barred.problem(), false, After::Close);
    }

    /// Where TLS was to begin a request came without it. It is answered as it came; the socket is a plain one now.
    pub fn handle_plaintext(&mut self, key: Key) {
        let text = "This port speaks TLS: ask for https:// or wss://.";
        self.answer_problem(key, Problem::new(Status::BadRequest, text), false, After::Close);
    }

    /// What comes cannot be read any more, and the peer was told so: our end, and then its.
    pub fn handle_garbled(&mut self, key: Key) {
        let key = self.detach(key);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.outbox.abandon(&mut self.spares);
        }
        self.end(key);
    }
}
