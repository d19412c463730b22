//! Keys that tokens are signed with, each bound to the algorithms of its kind.
//!
//! What a token says decides nothing but which of our keys it is held against: there is no key of kind "none", a
//! secret verifies HMAC only and a public key never does (CVE-2022-29217, CVE-2023-48223, CVE-2026-44699), and no key
//! is fetched from where a token says (CVE-2026-32301).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey};

use crate::wire::json::{self, Value};

/// Shortest secret: as long as the digest of HS256 (RFC 7518 §3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// Most keys: a server that knows more is not asked which key it means, it searches.
pub const KEYS_MAX: usize = 64;
/// Most public keys without a name: a token may mean any of them, and each costs a verification, also by who forges.
pub const UNNAMED_MAX: usize = 4;
/// Shortest modulus of an RSA key (RFC 7518 §3.3).
const RSA_BYTES_MIN: usize = 256;
/// Longest file of keys that is looked at.
pub const FILE_BYTES_MAX: usize = 1 << 20;

const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];
const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
const P256: &[Algorithm] = &[Algorithm::ES256];
const P384: &[Algorithm] = &[Algorithm::ES384];
const ED25519: &[Algorithm] = &[Algorithm::EdDSA];

/// Why something is no key; says nothing of what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// The file is empty.
    Empty,
    /// The file is longer than any key.
    TooLong,
    /// A secret that can be guessed, with its length.
    ShortSecret(usize),
    /// A public key where a secret has to be: who has it could sign.
    PublicAsSecret,
    /// A private key where a public one has to be.
    Private,
    /// A certificate where a key has to be.
    Certificate,
    /// Neither PEM nor of a kind that is known.
    NotKey,
    /// An RSA key of less than 2048 bits.
    Weak,
    /// Two keys of one name.
    SameName,
    /// More than [`KEYS_MAX`] keys.
    TooMany,
    /// More than [`UNNAMED_MAX`] public keys without a name.
    TooManyUnnamed,
    /// Not a JSON Web Key Set.
    NotSet,
    /// A secret in a key set.
    SecretInSet,
    /// A key set without a key to verify with.
    NoneInSet,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyError::Empty => "the file is empty",
            KeyError::TooLong => "the file is longer than any key (1 MiB)",
            KeyError::ShortSecret(bytes) => {
                return write!(
                    f,
                    "the secret has {bytes} bytes and needs {SECRET_BYTES_MIN}; make one with: openssl rand -hex 32"
                );
            }
            KeyError::PublicAsSecret => "this is a key in PEM, not a secret; give a public key by --jwt-public-key",
            KeyError::Private => "this is a private key; give the public one (openssl pkey -pubout)",
            KeyError::Certificate => "this is a certificate; give its public key (openssl x509 -pubkey -noout)",
            KeyError::NotKey => "this is no public key in PEM of kind RSA, EC (P-256, P-384) or Ed25519",
            KeyError::Weak => "an RSA key needs 2048 bits at least",
            KeyError::SameName => "two keys have the same kid",
            KeyError::TooMany => "there are more than 64 keys",
            KeyError::TooManyUnnamed => "more than 4 public keys have no kid; give them names, as KID=FILE",
            KeyError::NotSet => "this is not a JSON Web Key Set: {\"keys\":[…]}",
            KeyError::SecretInSet => "a key of kind oct is a secret; give it by --jwt-secret-file",
            KeyError::NoneInSet => "the key set has no key to verify signatures with",
        })
    }
}

impl std::error::Error for KeyError {}

struct Held {
    kid: Option<Box<str>>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// All keys that tokens may be signed with.
#[derive(Default)]
pub struct Keyring(Vec<Held>);

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.0.len())
    }
}

impl Keyring {
    /// Whether no token can be good.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the secret that a file holds, without the line end after it.
    ///
    /// # Errors
    /// It is none, or a bad one.
    pub fn add_secret(&mut self, file: &[u8]) -> Result<(), KeyError> {
        let secret = secret(file)?;
        self.add(None, HMAC.to_vec(), DecodingKey::from_secret(secret))
    }

    /// Adds the public key that a PEM file holds, under this name.
    ///
    /// # Errors
    /// It is none, or a bad one.
    pub fn add_public(&mut self, kid: Option<&str>, file: &[u8]) -> Result<(), KeyError> {
        bounded(file)?;
        let has = |word: &str| memchr::memmem::find(file, word.as_bytes()).is_some();
        if has("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        if has("BEGIN CERTIFICATE") {
            return Err(KeyError::Certificate);
        }
        let key = DecodingKey::from_rsa_pem(file)
            .or_else(|_| DecodingKey::from_ec_pem(file))
            .or_else(|_| DecodingKey::from_ed_pem(file))
            .map_err(|_| KeyError::NotKey)?;
        let algorithms = algorithms(&key)?;
        self.add(kid, algorithms.to_vec(), key)
    }

    /// Adds the keys of a JSON Web Key Set (RFC 7517). Keys for encryption, and kinds that are not known, are passed
    /// over, as §5 of it has it.
    ///
    /// # Errors
    /// It is none, or one of its keys is bad, or none is left.
    pub fn add_set(&mut self, file: &[u8]) -> Result<(), KeyError> {
        bounded(file)?;
        let text = std::str::from_utf8(file).map_err(|_| KeyError::NotSet)?;
        let mut keys = None;
        json::object(text, |name, value| {
            if name.text() == "keys" {
                keys = Some(value);
            }
        })
        .map_err(|_| KeyError::NotSet)?;
        let (mut found, mut wrong) = (0, Ok(()));
        let each = |value: Value<'_>| {
            if wrong.is_ok() {
                match self.add_member(value.raw()) {
                    Ok(added) => found += usize::from(added),
                    Err(error) => wrong = Err(error),
                }
            }
        };
        json::array(keys.ok_or(KeyError::NotSet)?.raw(), each).map_err(|_| KeyError::NotSet)?;
        wrong?;
        if found == 0 { Err(KeyError::NoneInSet) } else { Ok(()) }
    }

    /// Adds a key of a set; whether it is one to verify with.
    fn add_member(&mut self, text: &str) -> Result<bool, KeyError> {
        let mut fields: [Option<String>; MEMBERS.len()] = Default::default();
        json::object(text, |name, value| {
            if let Some(place) = MEMBERS.iter().position(|known| *known == name.text()) {
                fields[place] = value.text().map(Into::into);
            }
        })
        .map_err(|_| KeyError::NotSet)?;
        let [kty, kid, usage, alg, crv, n, e, x, y] = fields;
        if usage.is_some_and(|usage| usage != "sig") {
            return Ok(false);
        }
        let part = |part: Option<String>| part.ok_or(KeyError::NotKey);
        let key = match (kty.as_deref(), crv.as_deref()) {
            (Some("oct"), _) => return Err(KeyError::SecretInSet),
            (Some("RSA"), _) => DecodingKey::from_rsa_components(&part(n)?, &part(e)?),
            (Some("EC"), Some("P-256" | "P-384")) => DecodingKey::from_ec_components(&part(x)?, &part(y)?),
            (Some("OKP"), Some("Ed25519")) => DecodingKey::from_ed_components(&part(x)?),
            (None, _) => return Err(KeyError::NotSet),
            _ => return Ok(false),
        };
        let key = key.map_err(|_| KeyError::NotKey)?;
        let mut algorithms = algorithms(&key)?.to_vec();
        if let Some(alg) = alg {
            algorithms.retain(|known| format!("{known:?}") == alg);
            if algorithms.is_empty() {
                return Err(KeyError::NotKey);
            }
        }
        self.add(kid.as_deref(), algorithms, key)?;
        Ok(true)
    }

    fn add(
        &mut self,
        kid: Option<&str>,
        algorithms: Vec<Algorithm>,
        key: DecodingKey,
    ) -> Result<(), KeyError> {
        if kid.is_some() && self.0.iter().any(|held| held.kid.as_deref() == kid) {
            return Err(KeyError::SameName);
        }
        if self.0.len() >= KEYS_MAX {
            return Err(KeyError::TooMany);
        }
        let unnamed = self.0.iter().filter(|held| held.kid.is_none() && held.algorithms != HMAC).count();
        if kid.is_none() && algorithms != HMAC && unnamed >= UNNAMED_MAX {
            return Err(KeyError::TooManyUnnamed);
        }
        self.0.push(Held { kid: kid.map(Into::into), algorithms, key });
        Ok(())
    }

    /// Keys that a token with this header may be signed with: the one of its `kid`, and those without a name. A token
    /// that names none may mean a named key only where it is the only one that fits.
    pub(super) fn candidates(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
    ) -> impl Iterator<Item = &DecodingKey> {
        let fitting = move |held: &&Held| held.algorithms.contains(&algorithm);
        let alone = self.0.iter().filter(fitting).count() == 1;
        let meant = move |held: &&Held| match (&held.kid, kid) {
            (None, _) => true,
            (Some(name), Some(kid)) => **name == *kid,
            (Some(_), None) => alone,
        };
        self.0.iter().filter(fitting).filter(meant).map(|held| &held.key)
    }
}

/// Members of a JSON Web Key that are looked at, in the order in which they are taken apart.
const MEMBERS: [&str; 9] = ["kty", "kid", "use", "alg", "crv", "n", "e", "x", "y"];

/// The secret that a file holds: all of it but the line end.
///
/// # Errors
/// It is none, or a bad one.
pub fn secret(file: &[u8]) -> Result<&[u8], KeyError> {
    bounded(file)?;
    let secret = file.strip_suffix(b"\n").unwrap_or(file);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    // Wherever it stands: who reads PEM passes over what comes before, such as a comment or a byte order mark.
    if memchr::memmem::find(secret, b"-----BEGIN").is_some() {
        return Err(KeyError::PublicAsSecret);
    }
    match secret.len() {
        0 => Err(KeyError::Empty),
        bytes if bytes < SECRET_BYTES_MIN => Err(KeyError::ShortSecret(bytes)),
        _ => Ok(secret),
    }
}

fn bounded(file: &[u8]) -> Result<(), KeyError> {
    match file.len() {
        bytes if bytes > FILE_BYTES_MAX => Err(KeyError::TooLong),
        _ if file.trim_ascii().is_empty() => Err(KeyError::Empty),
        _ => Ok(()),
    }
}

/// The algorithms of a public key's kind, and for curves of its size.
fn algorithms(key: &DecodingKey) -> Result<&'static [Algorithm], KeyError> {
    let parts = Jwk::from_decoding_key(key, None).map_err(|_| KeyError::NotKey)?;
    match parts.algorithm {
        AlgorithmParameters::RSA(parts) => {
            let modulus = URL_SAFE_NO_PAD.decode(parts.n).map_err(|_| KeyError::NotKey)?;
            let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
            if modulus.len() - zeros < RSA_BYTES_MIN { Err(KeyError::Weak) } else { Ok(RSA) }
        }
        // An uncompressed point: a byte that says so, and two numbers.
        AlgorithmParameters::EllipticCurve(_) => match key.try_get_as_bytes().map(<[u8]>::len) {
            Ok(65) => Ok(P256),
            Ok(97) => Ok(P384),
            _ => Err(KeyError::NotKey),
        },
        AlgorithmParameters::OctetKeyPair(_) => Ok(ED25519),
        _ => Err(KeyError::NotKey),
    }
}
