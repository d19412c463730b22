//! The native protocol, `roomcast.v1`: one JSON object in each text message, as `docs/protocol.md` has it.
//!
//! Decides nothing: neither who may do what, nor what is sent to whom.

pub mod alias;
pub mod decode;
pub mod encode;

/// The subprotocols that mean this protocol: its own name, and the one that older clients of this vocabulary offer.
pub const SUBPROTOCOLS: [&str; 2] = [encode::PROTOCOL, "chat"];
