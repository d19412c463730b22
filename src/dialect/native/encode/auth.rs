//! What a client is told of its token: that it is good, and that its time ends.
//!
//! Never repeats a token.

use std::time::Duration;

use super::{id, number, open, text};

/// A token was good.
#[derive(Clone, Copy, Debug)]
pub struct Success<'a> {
    /// Who the client is from now on.
    pub user_id: &'a str,
    /// How long the token is good.
    pub expires_in: Duration,
    /// What its messages are to be signed with, where they have to be.
    pub session_key: Option<&'a str>,
}

/// `auth_success`.
pub fn success(out: &mut Vec<u8>, tag: Option<&[u8]>, success: &Success<'_>) {
    open(out, "auth_success");
    id(out, tag);
    text(out, ",\"user_id\":", success.user_id);
    number(out, ",\"expires_in\":", success.expires_in.as_secs());
    if let Some(key) = success.session_key {
        text(out, ",\"session_key\":", key);
    }
    out.push(b'}');
}

/// `token_expiring`: the token ends in so long, and the connection with it.
pub fn expiring(out: &mut Vec<u8>, expires_in: Duration) {
    open(out, "token_expiring");
    number(out, ",\"expires_in\":", expires_in.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX));
    out.push(b'}');
}
