//! Why nobody more may come from an address, and how that is said.
//!
//! Judges nothing: who counts by address is outside of the shards, and answers as they do.

use crate::wire::http::answer::{Hint, Problem, Status};

/// When those are to come back who are not let in, in seconds.
pub const RETRY_AFTER_S: u32 = 5;

/// Why nobody more may come from an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Barred {
    /// As many connections are open from there as may be.
    TooMany,
    /// They come too fast.
    TooFast,
    /// Clients from there were closed for what they did, again and again.
    Banned,
}

impl Barred {
    /// What they are told.
    #[must_use]
    pub fn problem(self) -> Problem {
        let text = match self {
            Barred::TooMany => "Too many connections from this address; close some first.",
            Barred::TooFast => "Too many new connections from this address; slow down.",
            Barred::Banned => "Clients from this address sent too much, again and again; come back later.",
        };
        Problem::new(Status::TooManyRequests, text).with(Hint::RetryAfter(RETRY_AFTER_S))
    }
}
