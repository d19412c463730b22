//! Where a connection comes from, as far as rights depend on it.
//!
//! Knows addresses, opens no socket and asks no network. The address is that of the other end of the connection: a
//! proxy on this machine hides who is behind it, and unless it is a trusted one, which says so, it is told by other
//! signs.

use std::net::IpAddr;

/// Where the other end of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of this machine, by a loopback address.
    Loopback,
    /// Anywhere else, as far as we know: also this machine, by an address that others can reach.
    Elsewhere,
    /// Where trusted proxies are. Who is behind it is not known before it says so.
    Proxy {
        /// It is on this machine, as other processes are.
        local: bool,
    },
}

impl Peer {
    /// Judges an address: 127.0.0.0/8 and `::1` are loopback, also where a dual-stack listener shows the former as
    /// `::ffff:127.0.0.1`.
    #[must_use]
    pub fn of(address: IpAddr) -> Peer {
        if address.to_canonical().is_loopback() { Peer::Loopback } else { Peer::Elsewhere }
    }

    /// Whether it may be a process of this machine.
    #[must_use]
    pub fn is_local(self) -> bool {
        matches!(self, Peer::Loopback | Peer::Proxy { local: true })
    }

    /// The same peer where it may be a trusted proxy.
    #[must_use]
    pub fn as_proxy(self) -> Peer {
        Peer::Proxy { local: self.is_local() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_loopback() {
        for address in ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(Peer::of(address.parse().unwrap()), Peer::Loopback, "{address}");
        }
        // The middle ones look alike: the unspecified address, and the deprecated IPv4-compatible form.
        for address in ["128.0.0.1", "10.0.0.1", "0.0.0.0", "::", "::127.0.0.1", "::ffff:10.0.0.1", "fe80::1"]
        {
            assert_eq!(Peer::of(address.parse().unwrap()), Peer::Elsewhere, "{address}");
        }
    }
}
