//! What outlives the process: histories, inboxes and texts on disk, in one file of an embedded store (redb), written by
//! one thread.
//!
//! Knows nothing of shards but that each sends batches and is told when they are safe. Imports `base`, `hub` and
//! `mailbox`. Invariant: a batch is reported as safe only after the commit that holds it; batches of one shard are
//! committed in the order in which they came.

mod format;
pub mod disk;
pub mod writer;
