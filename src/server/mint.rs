//! `roomcast token` at work: tokens for development, and what is right or wrong with one.
//!
//! Prints claims, which are no secret to who holds the token; never a secret, a key or a signature.

use std::fmt;
use std::io::{self, Read as _};
use std::time::Duration;

use crate::access::token::{self, Refused, TOKEN_BYTES_MAX};
use crate::base::clock::Wall;
use crate::config::mint::Wish;
use crate::config::setting::Files;
use crate::config::value::{escaped, show_duration};
use crate::dialect::timestamp;
use crate::reactor::clock::Clock;
use crate::server::papers::{self, PapersError};

/// Why nothing could be minted or explained; shown as one line.
#[derive(Debug)]
pub enum MintError {
    /// A file of keys cannot be used.
    Papers(PapersError),
    /// Standard input cannot be read.
    Input(io::Error),
    /// The library does not sign.
    Unsigned,
}

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MintError::Papers(error) => error.fmt(f),
            MintError::Input(cause) => write!(f, "the token cannot be read from standard input: {cause}"),
            MintError::Unsigned => f.write_str("the token could not be signed with this secret"),
        }
    }
}

impl std::error::Error for MintError {}

/// What to print, and whether the token that was asked about is good.
#[derive(Debug)]
pub struct Minted {
    /// For standard output.
    pub text: String,
    /// False only after a check.
    pub good: bool,
}

/// Does what was asked.
///
/// # Errors
/// Why it cannot be done.
pub fn run(wish: &Wish) -> Result<Minted, MintError> {
    let now = Clock::start().now().wall;
    match wish {
        Wish::Mint { claims, ttl, secret } => {
            let secret = papers::secret(secret).map_err(MintError::Papers)?;
            let begins = now.0 / 1000;
            let ends = begins + ttl.as_secs().max(1);
            let given = claims.iter().map(|(claim, value)| format!("\"{claim}\":{value},"));
            let claims = format!("{{{}\"iat\":{begins},\"exp\":{ends}}}", given.collect::<String>());
            let token = token::mint(&claims, &secret).map_err(|_| MintError::Unsigned)?;
            Ok(Minted { text: token + "\n", good: true })
        }
        Wish::Check { token, files, rules } => {
            let mut token = token.clone();
            if token == "-" {
                token.clear();
                let most = 2 * TOKEN_BYTES_MAX as u64;
                io::stdin().take(most).read_to_string(&mut token).map_err(MintError::Input)?;
            }
            let papers = papers::read(files).map_err(MintError::Papers)?;
            let token = token.trim();
            let judged =
                (*files != Files::default()).then(|| token::judge(token, &papers.keyring, rules, now));
            Ok(explain(token, judged.map(|judged| judged.map(|one| one.expires)), now))
        }
    }
}

/// Says what a token says, and what came of judging it, if there was a key to do so.
fn explain(token: &str, judged: Option<Result<Wall, Refused>>, now: Wall) -> Minted {
    let mut text = match token::contents(token) {
        Ok((header, claims)) => format!("header  {}\nclaims  {}\n", escaped(&header), escaped(&claims)),
        Err(_) => String::new(),
    };
    let good = matches!(judged, Some(Ok(_)));
    text.push_str(&match judged {
        None if text.is_empty() => format!("not good: {}\n", Refused::Malformed.explanation()),
        None => "not verified: give --jwt-secret-file, --jwt-public-key or --jwks-file\n".to_owned(),
        Some(Ok(expires)) => {
            let mut date = Vec::new();
            timestamp::write(&mut date, expires);
            let left = Duration::from_secs(expires.0.saturating_sub(now.0) / 1000);
            format!("good until {}, for {}\n", String::from_utf8_lossy(&date), show_duration(left))
        }
        Some(Err(refused)) => format!("not good: {}\n", refused.explanation()),
    });
    Minted { text, good }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::key::Keyring;
    use crate::access::token::Rules;

    #[test]
    fn tokens_are_explained_without_their_signature() {
        const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
        let now = Wall(1_770_000_000_000);
        let token = token::mint("{\"sub\":\"ann\",\"exp\":1770000060}", SECRET).expect("minted");
        let mut keyring = Keyring::default();
        keyring.add_secret(SECRET).expect("good");
        let at = |now| token::judge(&token, &keyring, &Rules::default(), now).map(|one| one.expires);
        let good = explain(&token, Some(at(now)), now);
        assert!(
            good.good && good.text.contains("good until 2026-02-02T02:41:00.000Z, for 1m\n"),
            "{}",
            good.text
        );
        assert!(good.text.contains("claims  {\"sub\":\"ann\""));
        let late = Wall(now.0 + 60_000);
        let late = explain(&token, Some(at(late)), late);
        assert!(!late.good && late.text.ends_with("not good: the token has expired\n"));
        let unknown = explain(&token, None, now);
        assert!(!unknown.good && unknown.text.contains("not verified"));
        let signature = token.rsplit('.').next().expect("parts");
        assert!([good, late, unknown].iter().all(|told| !told.text.contains(signature)));
        assert_eq!(
            explain("x", None, now).text,
            "not good: it is not a token in three parts, or its header is not understood\n"
        );
    }
}
