//! Listening sockets: opened before anything else starts, so that a port that is taken ends the start.
//!
//! Accepts nothing itself and starts no thread.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel completes while we do not accept; it takes less if its own limit
/// (`net.core.somaxconn`) is lower. A restart of a big site comes back all at once.
const BACKLOG: i32 = 4096;

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    /// Where it listens; the port is the real one if 0 was asked.
    pub address: SocketAddr,
    /// Nonblocking.
    pub socket: mio::net::TcpListener,
}

/// Why we cannot listen, and where.
#[derive(Debug)]
pub enum BindError {
    /// Somebody listens there.
    Taken {
        /// Where.
        address: SocketAddr,
    },
    /// The system does not let this user.
    Forbidden {
        /// Where.
        address: SocketAddr,
    },
    /// This machine has no such address.
    NotHere {
        /// Where.
        address: SocketAddr,
    },
    /// Anything else.
    Other {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        cause: io::Error,
    },
}

impl BindError {
    fn new(address: SocketAddr, cause: io::Error) -> BindError {
        match cause.kind() {
            io::ErrorKind::AddrInUse => BindError::Taken { address },
            io::ErrorKind::PermissionDenied => BindError::Forbidden { address },
            io::ErrorKind::AddrNotAvailable => BindError::NotHere { address },
            _ => BindError::Other { address, cause },
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::Taken { address } => {
                write!(f, "cannot listen on {address}: the port is taken; choose another with --listen")
            }
            BindError::Forbidden { address } => write!(
                f,
                "cannot listen on {address}: permission denied; choose a port from 1024 up with --listen, \
                 or grant CAP_NET_BIND_SERVICE"
            ),
            BindError::NotHere { address } => write!(
                f,
                "cannot listen on {address}: this machine has no such address; choose another with --listen \
                 (0.0.0.0 or [::] for all)"
            ),
            BindError::Other { address, cause } => write!(f, "cannot listen on {address}: {cause}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BindError::Other { cause, .. } => Some(cause),
            BindError::Taken { .. } | BindError::Forbidden { .. } | BindError::NotHere { .. } => None,
        }
    }
}

/// Listens on all `addresses`, or on none.
///
/// An IPv6 wildcard serves IPv4 as well where the system lets it, unless IPv4 is listed for the same port.
///
/// # Errors
/// The first address that failed, with what to do.
pub fn bind(addresses: &[SocketAddr]) -> Result<Vec<Listener>, BindError> {
    addresses
        .iter()
        .map(|&address| {
            let both_listed = addresses.iter().any(|other| other.is_ipv4() && other.port() == address.port());
            bind_one(address, both_listed).map_err(|cause| BindError::new(address, cause))
        })
        .collect()
}

fn bind_one(address: SocketAddr, v6_only: bool) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Without it a restart fails for a minute, as long as old connections linger in TIME_WAIT.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // Some systems refuse to serve both families with one socket; IPv6 alone is better than nothing.
        if let Err(error) = socket.set_only_v6(v6_only) {
            tracing::debug!(%address, %error, "cannot choose whether to serve IPv4 as well");
        }
    }
    socket.set_nonblocking(true)?;
    // Small messages must not wait for each other. Accepted sockets inherit it, on the BSDs and macOS as well.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let socket = mio::net::TcpListener::from_std(socket.into());
    Ok(Listener { address: socket.local_addr()?, socket })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn port_zero_becomes_a_real_one() {
        let listeners = bind(&[address("127.0.0.1:0"), address("127.0.0.1:0")]).unwrap();
        assert!(listeners.iter().all(|listener| listener.address.port() != 0));
        assert_ne!(listeners[0].address, listeners[1].address);
    }

    #[test]
    fn errors_name_the_address_and_what_to_do() {
        let held = bind(&[address("127.0.0.1:0")]).unwrap();
        let taken = bind(&[held[0].address]).unwrap_err().to_string();
        assert!(taken.contains(&held[0].address.to_string()), "{taken}");
        assert!(taken.contains("--listen"), "{taken}");

        // 192.0.2.0/24 is reserved for documentation; no machine has it.
        let nowhere = bind(&[address("192.0.2.1:0")]).unwrap_err();
        assert!(matches!(nowhere, BindError::NotHere { .. }), "{nowhere}");
    }

    #[test]
    fn both_families_can_share_a_port() {
        let Ok(v4) = bind(&[address("0.0.0.0:0")]) else { return };
        let port = v4[0].address.port();
        drop(v4);
        let both = [SocketAddr::new([0, 0, 0, 0].into(), port), SocketAddr::new([0u16; 8].into(), port)];
        match bind(&both) {
            Ok(listeners) => assert_eq!(listeners.len(), 2),
            // A machine without IPv6, or a neighbour that took the port meanwhile.
            Err(error) => assert!(!matches!(error, BindError::Forbidden { .. }), "{error}"),
        }
    }
}
