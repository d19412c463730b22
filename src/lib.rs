//! `roomcast`: a realtime edge server without an async runtime.
//!
//! Modules in layer order; each imports only from those above it (held by `tests/tidy.rs`).

pub mod base;
pub mod wire;
pub mod hub;
pub mod access;
pub mod dialect;
pub mod pages;
pub mod metrics;
pub mod shard;
pub mod mailbox;
pub mod store;
pub mod reactor;
pub mod config;
pub mod server;
