//! The whole server over real sockets: the real program, clients by a WebSocket implementation that is not ours.
//!
//! Each test has a server of its own, on a port that the system chose. Nothing waits for a time to pass.

#[path = "../support/mod.rs"]
mod support;

mod order;
mod busy;
mod presence;
mod channels;
mod feeds;
mod moderation;
mod replies;
mod documents;
mod binary;
mod limits;
mod slow;
mod alive;
mod stop;
mod http;
mod sessions;
mod direct;
mod api;
mod durable;
mod tls;
mod proxies;
mod complaints;
mod storm;
mod auth;
mod grants;
mod metrics;
mod drain;
mod memory;
