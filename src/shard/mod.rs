//! The sans-io core: one shard as a value that is fed and polled.

pub mod limits;
