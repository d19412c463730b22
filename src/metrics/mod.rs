//! Numbers that shards publish and others read, without a lock, and the text in which the outside reads them.
//!
//! Imports `base` only.

pub mod table;
pub mod shard;
pub mod text;
