//! Listening sockets: opened before anything else starts, so that a port that is taken ends the start.
//!
//! Accepts nothing itself and starts no thread. A Unix socket is a file: one that nobody answers on is left from a
//! process that had no time to remove it, and is replaced; ours is removed when the listener is dropped.

use std::fmt;
use std::io;
use std::net::SocketAddr;
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mio::event::Source;
use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::endpoint::{Endpoint, Place};
use crate::server::certs::Certs;

/// Connections that the kernel completes while we do not accept; it takes less if its own limit
/// (`net.core.somaxconn`) is lower. A restart of a big site comes back all at once.
const BACKLOG: i32 = 4096;

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    /// Where it listens; the port is the real one if 0 was asked.
    pub place: Place,
    /// What those who connect need for TLS; none where it is not spoken.
    pub certs: Option<Arc<Certs>>,
    /// Nonblocking.
    door: Door,
}

/// The socket itself.
#[derive(Debug)]
enum Door {
    Inet(mio::net::TcpListener),
    #[cfg(unix)]
    Unix(UnixDoor),
}

/// A Unix socket and the file that it stands for.
#[cfg(unix)]
#[derive(Debug)]
struct UnixDoor {
    socket: mio::net::UnixListener,
    path: PathBuf,
    /// Device and number of the file: another one at its place is not ours to remove.
    file: Option<(u64, u64)>,
}

#[cfg(unix)]
impl Drop for UnixDoor {
    fn drop(&mut self) {
        if self.file.is_some() && self.file == identity(&self.path) {
            // It may be gone already.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// The next connection, nonblocking, and where it comes from; none for a Unix socket, whose peers have no address.
    ///
    /// # Errors
    /// As accept(2) has them.
    pub fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        match &self.door {
            Door::Inet(socket) => socket.accept().map(|(stream, peer)| (stream, Some(peer))),
            #[cfg(unix)]
            Door::Unix(door) => {
                let (stream, _) = door.socket.accept()?;
                // A descriptor is all that the reactor needs: it asks no socket for its address.
                let stream = std::net::TcpStream::from(std::os::fd::OwnedFd::from(stream));
                Ok((TcpStream::from_std(stream), None))
            }
        }
    }

    /// What a poll watches.
    pub fn source(&mut self) -> &mut dyn Source {
        match &mut self.door {
            Door::Inet(socket) => socket,
            #[cfg(unix)]
            Door::Unix(door) => &mut door.socket,
        }
    }
}

/// Why we cannot listen, and where.
#[derive(Debug)]
pub enum BindError {
    /// Somebody listens there.
    Taken {
        /// Where.
        place: Place,
    },
    /// The system does not let this user.
    Forbidden {
        /// Where.
        place: Place,
    },
    /// This machine has no such address.
    NotHere {
        /// Where.
        place: Place,
    },
    /// A file is there that is no socket.
    NoSocket {
        /// Where.
        place: Place,
    },
    /// Anything else.
    Other {
        /// Where.
        place: Place,
        /// What the system says.
        cause: io::Error,
    },
}

impl BindError {
    fn new(place: Place, cause: io::Error) -> BindError {
        match cause.kind() {
            io::ErrorKind::AddrInUse => BindError::Taken { place },
            io::ErrorKind::PermissionDenied => BindError::Forbidden { place },
            io::ErrorKind::AddrNotAvailable => BindError::NotHere { place },
            io::ErrorKind::AlreadyExists => BindError::NoSocket { place },
            _ => BindError::Other { place, cause },
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::Taken { place: place @ Place::Inet(_) } => {
                write!(f, "cannot listen on {place}: the port is taken; choose another with --listen")
            }
            BindError::Taken { place } => {
                write!(f, "cannot listen on {place}: another process does; choose another path with --listen")
            }
            BindError::Forbidden { place: place @ Place::Inet(_) } => write!(
                f,
                "cannot listen on {place}: permission denied; choose a port from 1024 up with --listen, \
                 or grant CAP_NET_BIND_SERVICE"
            ),
            BindError::Forbidden { place } => write!(
                f,
                "cannot listen on {place}: permission denied; choose a folder that this user may write to"
            ),
            BindError::NotHere { place } => write!(
                f,
                "cannot listen on {place}: this machine has no such address; choose another with --listen \
                 (0.0.0.0 or [::] for all)"
            ),
            BindError::NoSocket { place } => write!(
                f,
                "cannot listen on {place}: a file is there that is no socket; remove it, or choose another path"
            ),
            BindError::Other { place, cause } => write!(f, "cannot listen on {place}: {cause}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BindError::Other { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

/// Listens at all `endpoints`, or at none; those with TLS get `certs`.
///
/// An IPv6 wildcard serves IPv4 as well where the system lets it, unless IPv4 is listed for the same port.
///
/// # Errors
/// The first that failed, with what to do.
pub fn bind(endpoints: &[Endpoint], certs: Option<&Arc<Certs>>) -> Result<Vec<Listener>, BindError> {
    let is_v4_twin = |other: &Endpoint, port: u16| match other.place {
        Place::Inet(other) => other.is_ipv4() && other.port() == port,
        Place::Unix(_) => false,
    };
    endpoints
        .iter()
        .map(|endpoint| {
            let opened = match &endpoint.place {
                Place::Inet(address) => {
                    let twin = endpoints.iter().any(|other| is_v4_twin(other, address.port()));
                    bind_inet(*address, twin)
                }
                #[cfg(unix)]
                Place::Unix(path) => bind_unix(path),
                #[cfg(not(unix))]
                Place::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
            };
            let (place, door) = opened.map_err(|cause| BindError::new(endpoint.place.clone(), cause))?;
            Ok(Listener { place, certs: certs.filter(|_| endpoint.tls).cloned(), door })
        })
        .collect()
}

fn bind_inet(address: SocketAddr, v6_only: bool) -> io::Result<(Place, Door)> {
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
    Ok((Place::Inet(socket.local_addr()?), Door::Inet(socket)))
}

#[cfg(unix)]
fn bind_unix(path: &Path) -> io::Result<(Place, Door)> {
    use std::os::unix::fs::FileTypeExt as _;
    use std::os::unix::net::UnixStream;

    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) => match UnixStream::connect(path) {
            // Nobody listens: its process has ended.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => return Err(io::ErrorKind::AddrInUse.into()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    let (path, file) = (path.to_owned(), identity(path));
    let door = UnixDoor {
        socket: mio::net::UnixListener::from_std(std::os::fd::OwnedFd::from(socket).into()),
        path: path.clone(),
        file,
    };
    Ok((Place::Unix(path), Door::Unix(door)))
}

/// Device and number of a file; none if there is none.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;

    let file = std::fs::symlink_metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Endpoint {
        text.parse::<SocketAddr>().unwrap().into()
    }

    fn port(listener: &Listener) -> u16 {
        match &listener.place {
            Place::Inet(address) => address.port(),
            Place::Unix(_) => 0,
        }
    }

    #[test]
    fn port_zero_becomes_a_real_one() {
        let listeners = bind(&[address("127.0.0.1:0"), address("127.0.0.1:0")], None).unwrap();
        assert!(listeners.iter().all(|listener| port(listener) != 0));
        assert_ne!(listeners[0].place, listeners[1].place);
    }

    #[test]
    fn errors_name_the_address_and_what_to_do() {
        let held = bind(&[address("127.0.0.1:0")], None).unwrap();
        let again = Endpoint { place: held[0].place.clone(), tls: false };
        let taken = bind(&[again], None).unwrap_err().to_string();
        assert!(taken.contains(&held[0].place.to_string()), "{taken}");
        assert!(taken.contains("--listen"), "{taken}");

        // 192.0.2.0/24 is reserved for documentation; no machine has it.
        let nowhere = bind(&[address("192.0.2.1:0")], None).unwrap_err();
        assert!(matches!(nowhere, BindError::NotHere { .. }), "{nowhere}");
    }

    #[test]
    fn both_families_can_share_a_port() {
        let Ok(v4) = bind(&[address("0.0.0.0:0")], None) else { return };
        let port = port(&v4[0]);
        drop(v4);
        let both: [SocketAddr; 2] =
            [SocketAddr::new([0, 0, 0, 0].into(), port), SocketAddr::new([0u16; 8].into(), port)];
        match bind(&both.map(Endpoint::from), None) {
            Ok(listeners) => assert_eq!(listeners.len(), 2),
            // A machine without IPv6, or a neighbour that took the port meanwhile.
            Err(error) => assert!(!matches!(error, BindError::Forbidden { .. }), "{error}"),
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_unix_socket_replaces_a_stale_one_only_and_leaves_nothing() {
        let folder = std::env::temp_dir().join(format!("roomcast-listener-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("s");
        let wanted = [Endpoint { place: Place::Unix(path.clone()), tls: false }];
        std::fs::write(&path, "a file").unwrap();
        assert!(matches!(bind(&wanted, None).unwrap_err(), BindError::NoSocket { .. }));
        std::fs::remove_file(&path).unwrap();
        // As a process leaves it that is killed: std does not remove it either.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let held = bind(&wanted, None).unwrap();
        let taken = bind(&wanted, None).unwrap_err();
        assert!(matches!(taken, BindError::Taken { .. }), "{taken}");
        let client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        assert!(matches!(held[0].accept(), Ok((_, None))));
        drop((client, held));
        assert!(!path.exists(), "removed at the end");
        let held = bind(&wanted, None).unwrap();
        std::fs::remove_file(&path).unwrap();
        let other = bind(&wanted, None).unwrap();
        drop(held);
        assert!(path.exists(), "another one is not ours to remove");
        drop(other);
        std::fs::remove_dir(&folder).unwrap();
    }
}
