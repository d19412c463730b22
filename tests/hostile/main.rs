//! The real server under attack: hostile bytes in, a refusal or a consistent answer out, and nobody else notices.
//!
//! One test per attack, each against a process of its own, all in the shape of [`beside::withstands`]: while the
//! attack goes on, two innocent members of a room talk to each other; after it, a newcomer is served, and the server
//! is at rest with the descriptors that it had before. Attacks are numbered as in the project's catalogue of threats.
//!
//! Nothing here waits for a time to pass: a read ends with what it waits for, and [`PATIENCE`] only turns a test
//! that would hang into one that fails.

mod server;
mod peer;
mod beside;
mod handshake;
mod api;
mod frames;
mod closing;
mod floods;
mod messages;
mod documents;
mod crowds;
mod process;
mod mutation;
mod tls;
mod together;

use std::time::Duration;

/// Whatever takes longer than this has failed, also on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(30);
