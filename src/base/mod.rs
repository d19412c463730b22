//! Vocabulary and containers that know nothing of networks.
//!
//! Imports nothing but std and small crates. Nothing here reads a clock, a socket or the operating
//! system's randomness: time and seeds arrive as arguments.

pub mod clock;
pub mod hash;
pub mod veil;
pub mod peer;
pub mod network;
pub mod id;
pub mod prng;
pub mod shared;
pub mod slab;
pub mod spare;
pub mod wheel;
pub mod bucket;
pub mod buffers;
