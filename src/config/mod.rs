//! What the operator wants: one table of settings, read from command line and environment, checked into a
//! plan.
//!
//! No layer below `server` sees anything of this: each gets its own small struct out of the [`plan::Plan`].
//! Nothing here opens a socket, starts a thread or logs; host names of `--listen` are looked up, though.

pub mod value;
pub mod rule;
pub mod feed;
pub mod endpoint;
pub mod proxy;
pub mod setting;
pub mod secure;
pub mod identity;
pub mod rates;
pub mod mint;
pub mod table;
pub mod flags;
pub mod source;
pub mod plan;
