//! What a client's token lets it do, and for how long.
//!
//! Only clients of a server that asks for tokens have one. Data only: who is let through is decided in `edge::access`.

use crate::access::grant::Grants;
use crate::access::signature::Seen;
use crate::base::clock::Mono;
use crate::hub::command::Tag;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) grants: Grants,
    /// When the token ends, and the connection with it.
    pub(crate) until: Mono,
    /// When the client is told so; never again once it was.
    pub(crate) warn: Mono,
    /// When it may show another token: each costs more than a message does.
    pub(crate) renewable: Mono,
    /// `auth_success` is still to be said, with this mark.
    pub(crate) answer: Option<Tag>,
    /// Signatures that were taken.
    pub(crate) seen: Seen,
}
