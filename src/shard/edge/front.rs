//! What the edge is told of what stands before a socket: a proxy's header, TLS.
//!
//! Reads no bytes: that is done in [`crate::shard::front`] before the edge gets them.

use crate::base::id::Key;
use crate::shard::state::Shard;
use crate::wire::http::answer::{After, Problem, Status};

impl Shard {
    /// Whether one more step of a TLS handshake is taken this turn. If not, the socket waits for the next, in its
    /// place among those that are ready.
    pub fn takes_handshake(&mut self) -> bool {
        let left = &mut self.turn.handshakes_left;
        let takes = *left > 0;
        *left = left.saturating_sub(1);
        takes
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
