//! Numbers that shards publish and others read, without a lock.
//!
//! Imports `base` only.

pub mod shard;
