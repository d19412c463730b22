//! What runs on a reactor's thread beside its shard: where there is one shard only, the acceptor.
//!
//! On one core a thread of its own would have to be woken for each connection, and to wake the shard's in turn: a
//! quarter of what a handshake costs. Does nothing itself, and waits for nothing: a lodger is asked to do what is due.

use std::io;
use std::time::Duration;

use mio::{Registry, Token};

/// Has a poll of its own, which the reactor's poll watches, and never waits in it.
pub trait Lodger {
    /// From now on `registry` tells by `token` that there is something to do.
    ///
    /// # Errors
    /// If the kernel has no memory left for it.
    fn move_in(&self, registry: &Registry, token: Token) -> io::Result<()>;

    /// Does what there is to do, within a budget.
    ///
    /// # Errors
    /// What leaves nothing to go on with; the reactor ends by it.
    fn step(&mut self) -> io::Result<Next>;
}

/// What becomes of a lodger after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is to be asked again when it rings, and without that after so long; none = only then.
    Within(Option<Duration>),
    /// It is to be dropped.
    Over,
}
