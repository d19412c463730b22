//! The opening handshake, RFC 6455 §4.2: judges a request, computes the accept key, chooses the subprotocol.
//!
//! Writes nothing (see `http::answer`), knows no origins and no tokens, and accepts no extension: whatever is
//! offered in `Sec-WebSocket-Extensions` is not even read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use crate::wire::http::answer::{Hint, Problem, Status};
use crate::wire::http::head::{Body, Head, Version};

/// RFC 6455 §1.3: what the server appends to the key, so that only who knows the protocol can answer.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A key: 16 bytes in base64 are 22 digits and two `=`.
const KEY_BYTES: usize = 24;

/// Why a request is no handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another method than `GET`.
    Method,
    /// A body is announced; its bytes would be read as frames.
    Body,
    /// No `Upgrade: websocket`: a browser that was pointed here, `h2c`, or a proxy that took the header away.
    NoUpgrade,
    /// HTTP/1.0 cannot upgrade (RFC 9110 §7.8).
    HttpVersion,
    /// `Connection` does not have `upgrade`.
    Connection,
    /// `Sec-WebSocket-Version` is not there once, or is not `13`.
    Version,
    /// No `Sec-WebSocket-Key`.
    KeyMissing,
    /// Several `Sec-WebSocket-Key`.
    KeyRepeated,
    /// `Sec-WebSocket-Key` is not 16 bytes in base64.
    Key,
}

/// A good handshake's `Sec-WebSocket-Key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a>(&'a [u8; KEY_BYTES]);

impl Key<'_> {
    /// The value of `Sec-WebSocket-Accept` (RFC 6455 §4.2.2 point 5.4).
    #[must_use]
    pub fn accept(&self) -> [u8; 28] {
        let digest = Sha1::new_with_prefix(self.0).chain_update(GUID).finalize();
        let mut accept = [0; 28];
        let written = STANDARD.encode_slice(digest, &mut accept);
        debug_assert_eq!(written, Ok(accept.len()), "20 bytes are 28 digits");
        accept
    }
}

/// Judges a request to a WebSocket endpoint by RFC 6455 §4.2.1; `Host` and the syntax are the head's own
/// care.
///
/// # Errors
/// The first rule that is broken. After a refusal the connection is to be closed: a proxy that saw the
/// upgrade may take what follows for frames.
pub fn judge<'a>(head: &Head<'a>) -> Result<Key<'a>, Refusal> {
    if head.method() != "GET" {
        return Err(Refusal::Method);
    }
    if head.body() != Body::None {
        return Err(Refusal::Body);
    }
    if !head.has_token("upgrade", "websocket") {
        return Err(Refusal::NoUpgrade);
    }
    if head.version() != Version::Http11 {
        return Err(Refusal::HttpVersion);
    }
    if !head.has_token("connection", "upgrade") {
        return Err(Refusal::Connection);
    }
    let mut versions = head.all("sec-websocket-version");
    if versions.next() != Some(b"13") || versions.next().is_some() {
        return Err(Refusal::Version);
    }
    let mut keys = head.all("sec-websocket-key");
    let key = keys.next().ok_or(Refusal::KeyMissing)?;
    if keys.next().is_some() {
        return Err(Refusal::KeyRepeated);
    }
    parse_key(key).ok_or(Refusal::Key)
}

/// Unused bits of the last digit may be anything: some clients send random digits instead of encoding random
/// bytes.
fn parse_key(key: &[u8]) -> Option<Key<'_>> {
    let key: &[u8; KEY_BYTES] = key.try_into().ok()?;
    let (digits, padding) = key.split_at(KEY_BYTES - 2);
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    (padding == b"==" && digits.iter().all(is_digit)).then_some(Key(key))
}

/// The first of the subprotocols offered that we know, as our own word; none of them: the answer names none.
/// Subprotocols are case-sensitive. `offered` is `head.tokens("sec-websocket-protocol")`.
pub fn choose<'a>(
    offered: impl IntoIterator<Item = &'a [u8]>,
    known: &[&'static str],
) -> Option<&'static str> {
    offered.into_iter().find_map(|offer| known.iter().copied().find(|ours| ours.as_bytes() == offer))
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let bad = |text| Problem::new(Status::BadRequest, text);
        match refusal {
            Refusal::Method => Problem::new(Status::MethodNotAllowed, "A WebSocket is opened with GET.")
                .with(Hint::Allow("GET")),
            Refusal::Body => bad("A WebSocket handshake has no body."),
            Refusal::NoUpgrade => Problem::new(
                Status::UpgradeRequired,
                "This is a WebSocket endpoint: send Upgrade: websocket.",
            ),
            Refusal::HttpVersion => bad("A WebSocket handshake needs HTTP/1.1."),
            Refusal::Connection => bad("The Connection header lacks Upgrade; a proxy may have removed it."),
            Refusal::Version => Problem::new(Status::UpgradeRequired, "Sec-WebSocket-Version must be 13."),
            Refusal::KeyMissing => bad("The Sec-WebSocket-Key header is missing."),
            Refusal::KeyRepeated => bad("There is more than one Sec-WebSocket-Key header."),
            Refusal::Key => bad("Sec-WebSocket-Key is not 16 bytes in base64."),
        }
    }
}

#[cfg(test)]
mod tests;
