//! The domain: what a topic is, who is in it, and in which order things happen to it.
//!
//! Knows nothing about connections (it sees an [`crate::base::id::Origin`] and never looks inside), about
//! JSON (payloads are opaque bytes), about sockets, clocks or threads. Imports `base` only.

pub mod name;
pub mod pattern;
mod table;
pub mod moderation;
pub mod operation;
pub mod document;
pub mod command;
pub mod event;
pub mod policy;
pub mod history;
mod agenda;
pub mod presence;
pub mod pad;
pub mod journal;
pub mod stored;
pub mod topic;
pub mod stamps;
pub mod owner;
