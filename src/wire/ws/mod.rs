//! WebSocket, RFC 6455: the opening handshake, frames, messages, the closing handshake.

pub mod handshake;
pub mod mask;
pub mod utf8;
pub mod frame;
pub mod close;
pub mod message;
