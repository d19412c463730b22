//! `roomcast drain`: asks the server that runs on this machine to send its clients away.
//!
//! One request to its API over plain TCP; changes nothing by itself, and finds the server by the same settings that the
//! server was started with.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Longest that the server may take for any step.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Why the server could not be asked; shown as one line: what is wrong, then how to mend it.
#[derive(Debug)]
pub enum AskError {
    /// It cannot be reached.
    Unreachable {
        /// Where it should be.
        address: SocketAddr,
        /// What the system says.
        cause: io::Error,
    },
    /// It does not do it.
    Refused {
        /// Where it is.
        address: SocketAddr,
        /// The status of its answer; empty if it gave none.
        status: String,
    },
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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

/// Asks the server that listens on `listen` to drain; it goes on running.
///
/// # Errors
/// If it cannot be reached, or does not do it.
pub fn drain(listen: SocketAddr) -> Result<(), AskError> {
    let address = reachable(listen);
    let unreachable = |cause| AskError::Unreachable { address, cause };
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(unreachable)?;
    let mut ask = || {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(b"POST /api/drain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
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
    Err(AskError::Refused { address, status })
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
