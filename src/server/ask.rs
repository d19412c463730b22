//! `roomcast drain`: asks the server that runs on this machine to send its clients away.
//!
//! One request to its API over plain TCP; changes nothing by itself, and finds the server by the same settings that the
//! server was started with.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::access::api_key;
use crate::config::endpoint::{Endpoint, Place};

/// Longest that the server may take for any step.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Why the server could not be asked; shown as one line: what is wrong, then how to mend it.
#[derive(Debug)]
pub enum AskError {
    /// It cannot be asked without TLS.
    Secret,
    /// The file of keys cannot be read.
    Keys(io::Error),
    /// No key of the file may do it.
    NoKey,
    /// It cannot be reached.
    Unreachable {
        /// Where it should be.
        address: Place,
        /// What the system says.
        cause: io::Error,
    },
    /// It does not do it.
    Refused {
        /// Where it is.
        address: Place,
        /// The status of its answer; empty if it gave none.
        status: String,
    },
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Secret => f.write_str(
                "every --listen speaks TLS, or is a Unix socket, and this asks over plain TCP; send SIGUSR2 to the \
                 server",
            ),
            AskError::Keys(cause) => write!(f, "cannot read the file of --api-key-file: {cause}"),
            AskError::NoKey => f.write_str(
                "no key in the file of --api-key-file has the scope admin; send SIGUSR2 to the server",
            ),
            AskError::Unreachable { address, cause } => write!(
                f,
                "no server answers at {address}: {cause}; give the --listen that it was started with, or send \
                 SIGUSR2 to it"
            ),
            AskError::Refused { address, status } => write!(
                f,
                "the server at {address} answers {status:?}; is its API switched off (--no-api)? Then send SIGUSR2 \
                 to it"
            ),
        }
    }
}

impl std::error::Error for AskError {}

/// Asks the server that listens on one of `listen` to drain, with a key of the file if it has keys; it goes on running.
///
/// # Errors
/// If it cannot be reached, or does not do it.
pub fn drain(listen: &[Endpoint], api_keys: Option<&Path>) -> Result<(), AskError> {
    let plain = listen.iter().filter(|endpoint| !endpoint.tls);
    let mut inet = plain.filter_map(|endpoint| match endpoint.place {
        Place::Inet(address) => Some(reachable(address)),
        Place::Unix(_) => None,
    });
    let address = inet.next().ok_or(AskError::Secret)?;
    let key = match api_keys.map(std::fs::read).transpose().map_err(AskError::Keys)? {
        Some(file) => {
            let key = api_key::admin(&file).ok_or(AskError::NoKey)?;
            format!("X-API-Key: {key}\r\n")
        }
        None => String::new(),
    };
    let request = format!("POST /api/drain HTTP/1.1\r\nHost: localhost\r\n{key}Connection: close\r\n\r\n");
    let unreachable = |cause| AskError::Unreachable { address: Place::Inet(address), cause };
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(unreachable)?;
    let mut ask = || {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        (&mut stream).take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(unreachable)?;
    if answer.starts_with(b"HTTP/1.1 200 ") {
        return Ok(());
    }
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let status = String::from_utf8_lossy(line).trim_start_matches("HTTP/1.1 ").to_owned();
    Err(AskError::Refused { address: Place::Inet(address), status })
}

/// Who listens on all addresses is reached by loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_reached_by_loopback() {
        for (listen, reached) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()), reached.parse().unwrap());
        }
    }
}
