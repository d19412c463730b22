//! Where to listen, and in which way, as people write it: `0.0.0.0:8080`, `tls:[::]:8443`, `unix:/run/roomcast.sock`.
//!
//! Opens nothing; host names are looked up.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::value::{self, Wrong};

/// Most listeners: each costs a descriptor that no connection can have.
pub const ENDPOINTS_MAX: usize = 32;
/// What may be given, for messages and docs.
pub const ACCEPTS: &str =
    "HOST:PORT or unix:PATH, with tls: before it for TLS, or several with commas between";
/// Longest path of a Unix socket: `sun_path` has 104 bytes on the BSDs, 108 on Linux, and one is the end.
const PATH_BYTES_MAX: usize = 103;

/// Where somebody can connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An address and a port.
    Inet(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A place to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where.
    pub place: Place,
    /// Whether TLS is spoken there.
    pub tls: bool,
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Endpoint {
        Endpoint { place: Place::Inet(address), tls: false }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Inet(address) => address.fmt(f),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Reads one of them. A host called `tls` or `unix` cannot be written.
///
/// # Errors
/// As [`value::address`] has them; [`Wrong::Below`] or [`Wrong::Above`] for the length of a path.
pub fn endpoint(text: &str) -> Result<Endpoint, Wrong> {
    let (tls, rest) = match text.strip_prefix("tls:") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let place = match rest.strip_prefix("unix:") {
        Some("") => return Err(Wrong::Empty),
        Some(path) if path.len() > PATH_BYTES_MAX => {
            return Err(Wrong::Above(format!("{PATH_BYTES_MAX} bytes")));
        }
        Some(path) => Place::Unix(PathBuf::from(path)),
        None => Place::Inet(value::address(rest)?),
    };
    Ok(Endpoint { place, tls })
}

/// Reads several with commas between, each once.
///
/// # Errors
/// As [`endpoint`]; [`Wrong::TooMany`].
pub fn endpoints(text: &str) -> Result<Vec<Endpoint>, Wrong> {
    let mut all: Vec<Endpoint> = Vec::new();
    for part in text.split(',') {
        let fresh = endpoint(part.trim())?;
        // Port 0 asks for any free port, so two of them are not the same.
        let any = matches!(fresh.place, Place::Inet(address) if address.port() == 0);
        if any || !all.contains(&fresh) {
            all.push(fresh);
        }
        if all.len() > ENDPOINTS_MAX {
            return Err(Wrong::TooMany(ENDPOINTS_MAX));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_with_and_without_tls() {
        let inet = |text: &str, tls| Endpoint { place: Place::Inet(text.parse().unwrap()), tls };
        for (text, expected) in [
            ("127.0.0.1:80", inet("127.0.0.1:80", false)),
            ("tls:[::]:8443", inet("[::]:8443", true)),
            ("tls::8443", inet("0.0.0.0:8443", true)),
            ("unix:/run/r.sock", Endpoint { place: Place::Unix("/run/r.sock".into()), tls: false }),
            ("tls:unix:r.sock", Endpoint { place: Place::Unix("r.sock".into()), tls: true }),
        ] {
            assert_eq!(endpoint(text), Ok(expected.clone()), "{text}");
            let written =
                if expected.tls { format!("tls:{}", expected.place) } else { expected.place.to_string() };
            assert_eq!(endpoint(&written), Ok(expected), "{written} is read again");
        }
        assert_eq!(endpoint("tls:8443"), Err(Wrong::NoPort));
        assert_eq!(endpoint("tls:"), Err(Wrong::Empty));
        assert_eq!(endpoint("unix:"), Err(Wrong::Empty));
        assert!(matches!(endpoint(&format!("unix:/{}", "x".repeat(103))), Err(Wrong::Above(_))));
    }
}
