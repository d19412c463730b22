//! Tokens (JWT, RFC 7519): judged against our keys and rules, explained, and minted for development.
//!
//! The order is the defence: length, form, algorithm and key before any claim is looked at. Formats and signatures are
//! the library's; `exp` and its like are judged here, against a time that is an argument, and a claim of the wrong JSON
//! type is never taken for a missing one (CVE-2026-25537).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};

use crate::access::grant::{self, Grants};
use crate::access::key::Keyring;
use crate::base::clock::Wall;
use crate::hub::name::{self, USER_ID_BYTES_MAX};
use crate::wire::json::{self, Kind, Value};

/// Longest token that is looked at: as long as a request's target may be.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// What a token has to say beside who it is for.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Who has to have issued it.
    pub issuer: Option<Box<str>>,
    /// Whom it has to be meant for.
    pub audience: Option<Box<str>>,
    /// By how much clocks may differ.
    pub leeway: Duration,
}

/// Who somebody is, as a good token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `sub`: 1 to 128 bytes without control characters.
    pub user_id: Box<str>,
    /// `name`, to show.
    pub name: Option<Box<str>>,
    /// From when on the token is not good any more, the leeway included.
    pub expires: Wall,
    /// What the user may do.
    pub grants: Grants,
}

/// Why a token is not good. What comes before a good signature is told as one: who forges learns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Longer than [`TOKEN_BYTES_MAX`].
    TooLong,
    /// Not three parts of base64 with JSON in them, or an extension that has to be understood.
    Malformed,
    /// Not an algorithm of any key that it could be meant for.
    NoKey,
    /// Signed by none of the keys that it could be meant for.
    Signature,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// Issued by somebody else.
    Issuer,
    /// Meant for somebody else.
    Audience,
    /// A claim is missing or has the wrong form.
    Claim(&'static str),
}

impl Refused {
    /// What the client is told: a text that fits a close frame.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Refused::TooLong | Refused::Malformed | Refused::NoKey | Refused::Signature => "invalid token",
            Refused::Expired => "the token has expired",
            Refused::NotYet => "the token is not valid yet",
            Refused::Issuer => "the token is of another issuer",
            Refused::Audience => "the token is for another audience",
            Refused::Claim(text) => text,
        }
    }

    /// The same as a sentence, for an HTTP answer.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Refused::Expired => "The token has expired.",
            Refused::NotYet => "The token is not valid yet.",
            Refused::Issuer => "The token is of another issuer.",
            Refused::Audience => "The token is for another audience.",
            _ => "The token is not valid.",
        }
    }

    /// What somebody who holds the keys is told.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Refused::TooLong => "it is longer than 8 KiB",
            Refused::Malformed => "it is not a token in three parts, or its header is not understood",
            Refused::NoKey => "no key fits its algorithm (alg) and its kid",
            Refused::Signature => "its signature is not by the key that was given",
            refused => refused.reason(),
        }
    }
}

/// Judges a token at a time.
///
/// # Errors
/// The first thing that is wrong.
pub fn judge(token: &str, keyring: &Keyring, rules: &Rules, now: Wall) -> Result<Identity, Refused> {
    let (_, message, payload, signature) = split(token)?;
    let header = jsonwebtoken::decode_header(token).map_err(|_| Refused::Malformed)?;
    // RFC 7515 §4.1.11: what must be understood, and is not.
    if header.crit.is_some() {
        return Err(Refused::Malformed);
    }
    let mut keys = keyring.candidates(header.alg, header.kid.as_deref()).peekable();
    keys.peek().ok_or(Refused::NoKey)?;
    let is_by = |key| crypto::verify(signature, message.as_bytes(), key, header.alg).unwrap_or(false);
    if !keys.any(is_by) {
        return Err(Refused::Signature);
    }
    let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| Refused::Malformed)?;
    claims(std::str::from_utf8(&payload).map_err(|_| Refused::Malformed)?, rules, now)
}

/// Header, what is signed, claims and signature, still encoded.
fn split(token: &str) -> Result<(&str, &str, &str, &str), Refused> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refused::TooLong);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(Refused::Malformed)?;
    // An empty signature is what `none` has.
    if payload.contains('.') || signature.is_empty() {
        return Err(Refused::Malformed);
    }
    Ok((header, message, payload, signature))
}

/// Judges the claims of a token that one of our keys has signed.
fn claims(text: &str, rules: &Rules, now: Wall) -> Result<Identity, Refused> {
    let (mut expires, mut begins, mut user_id, mut shown) = (None, None, None, None);
    let (mut issuer, mut audience) = (None, Vec::new());
    let (mut grants, mut wrong) = (Grants::default(), None);
    json::object(text, |name, value| {
        let done = match &*name.text() {
            "exp" => seconds(value).map(|at| expires = Some(at)).ok_or("exp must be a number of seconds"),
            "nbf" => seconds(value).map(|at| begins = Some(at)).ok_or("nbf must be a number of seconds"),
            "iat" => seconds(value).map(drop).ok_or("iat must be a number of seconds"),
            "iss" => value.text().map(|text| issuer = Some(text)).ok_or("iss must be a string"),
            "sub" => value.text().map(|text| user_id = Some(text)).ok_or("sub must be a string"),
            "name" if value.kind() == Kind::Null => Ok(()),
            "name" => value.text().map(|text| shown = Some(text)).ok_or("name must be a string"),
            "aud" => match value.text() {
                Some(one) => Some(vec![one.into_owned()]),
                None => grant::strings(value),
            }
            .map(|all| audience = all)
            .ok_or("aud must be a string or a list of strings"),
            other => grants.claim(other, value),
        };
        wrong = wrong.or(done.err());
    })
    .map_err(|_| Refused::Malformed)?;
    if let Some(text) = wrong {
        return Err(Refused::Claim(text));
    }
    let leeway = u64::try_from(rules.leeway.as_millis()).unwrap_or(u64::MAX);
    let expires: u64 = expires.ok_or(Refused::Claim("the token has no exp"))?;
    let expires = Wall(expires.saturating_add(leeway));
    // RFC 7519 §4.1.4: "on or after".
    if now >= expires {
        return Err(Refused::Expired);
    }
    if begins.is_some_and(|begins| now.0.saturating_add(leeway) < begins) {
        return Err(Refused::NotYet);
    }
    if rules.issuer.is_some() && rules.issuer.as_deref() != issuer.as_deref() {
        return Err(Refused::Issuer);
    }
    if rules.audience.as_ref().is_some_and(|ours| !audience.iter().any(|one| **one == **ours)) {
        return Err(Refused::Audience);
    }
    let user_id = user_id.ok_or(Refused::Claim("the token has no sub"))?;
    let is_name = |text: &str| name::check(text, USER_ID_BYTES_MAX).is_ok();
    if !is_name(&user_id) {
        return Err(Refused::Claim("sub must have 1 to 128 bytes without control characters"));
    }
    if shown.as_deref().is_some_and(|name| !name.is_empty() && !is_name(name)) {
        return Err(Refused::Claim("name must have at most 128 bytes without control characters"));
    }
    let name = shown.filter(|name| !name.is_empty()).map(Into::into);
    Ok(Identity { user_id: user_id.into(), name, expires, grants })
}

/// A NumericDate (RFC 7519 §2) in milliseconds; none for all else, so also for a number that is negative or beyond
/// every date.
fn seconds(value: Value<'_>) -> Option<u64> {
    /// The last second of the year 9999.
    const LAST: f64 = 253_402_300_799.0;
    if value.kind() != Kind::Number {
        return None;
    }
    let seconds: f64 = value.raw().parse().ok()?;
    if !seconds.is_finite() || seconds < 0.0 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "its bounds are checked")]
    Some((seconds.min(LAST) * 1000.0) as u64)
}

/// What a token says, whoever says it: header and claims as JSON.
///
/// # Errors
/// It is no token.
pub fn contents(token: &str) -> Result<(String, String), Refused> {
    let (header, _, payload, _) = split(token)?;
    let part = |part: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        json::value(&text).ok()?;
        Some(text)
    };
    part(header).zip(part(payload)).ok_or(Refused::Malformed)
}

/// A token with these claims, a JSON object, signed with a secret by HS256.
///
/// # Errors
/// None that a secret of any length could cause; the library's signature says there could be one.
pub fn mint(claims: &str, secret: &[u8]) -> Result<String, Refused> {
    let header = URL_SAFE_NO_PAD.encode("{\"typ\":\"JWT\",\"alg\":\"HS256\"}");
    let message = [header, URL_SAFE_NO_PAD.encode(claims)].join(".");
    let key = EncodingKey::from_secret(secret);
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).map_err(|_| Refused::NoKey)?;
    Ok([message, signature].join("."))
}

#[cfg(test)]
mod tests;
