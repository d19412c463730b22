//! `roomcast`: a realtime edge server without an async runtime.
//!
//! Modules in layer order; each imports only from those above it (held by `tests/tidy.rs`).

pub mod base;
pub mod wire;
pub mod hub;
pub mod shard;
pub mod config;
pub mod server;
