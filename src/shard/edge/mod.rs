//! The edge role: what connections do with what comes, and with the time.
//!
//! Adds to [`Shard`] how bytes become requests, frames and commands, and what deadlines bring about. Parses nothing
//! itself: bytes go to `wire`, meaning comes from `dialect`.

pub(crate) mod ends;
mod pattern;
mod membership;
pub(crate) mod session;
mod access;
mod inbox;
mod moderation;
mod unfinished;
mod binary;
mod documents;
mod rates;
mod client;
mod socket;
mod api;
mod http;
mod timers;
mod front;

use crate::base::id::Key;
use crate::shard::conn::{Conn, Phase};
use crate::shard::state::Shard;

impl Shard {
    /// Handles input until it is used up or held; what is held is kept with the connection.
    pub(crate) fn consume(&mut self, mut key: Key, mut input: &mut [u8]) {
        while !input.is_empty() {
            let Some(conn) = self.conns.get_mut(key) else { return };
            if !conn.hold.none() {
                return self.hold_input(key, input);
            }
            let used = match conn.phase {
                Phase::Head { .. } => {
                    let used = self.consume_head(key, input);
                    // A client that resumes its session has gone on as another connection.
                    key = self.follow(key, &input[used..]).unwrap_or(key);
                    used
                }
                Phase::Body { .. } => self.consume_body(key, input),
                Phase::Socket(_) => {
                    let used = self.consume_frames(key, input);
                    // Who shows its token in a message may go on as another connection, too.
                    if matches!(self.conns.get(key), Some(Conn { phase: Phase::Over, .. })) {
                        key = self.follow(key, &input[used..]).unwrap_or(key);
                    }
                    used
                }
                // Whoever waits for an answer is held, see above.
                Phase::Asking(_) | Phase::Away { .. } | Phase::Closing { .. } | Phase::Over => return,
            };
            input = &mut input[used..];
        }
    }
}
