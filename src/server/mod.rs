//! Start and stop, in order, written once.
//!
//! Everything that touches the operating system beside the shards' own loops is here: listeners, signals,
//! threads, clocks at their source. Nothing below imports it.

pub mod admission;
pub mod listener;
pub mod linger;
pub mod acceptor;
pub mod signals;
