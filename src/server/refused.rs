//! Why a connection is not let in, and what counts as one address.
//!
//! Words only: who judges is in the files after this one.

use std::net::IpAddr;

use crate::metrics::table::{Cell, REFUSED};
use crate::shard::barred::Barred;

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many connections are open as may be.
    TooManyConnections,
    /// Nobody more may come from this address.
    Address(Barred),
    /// All memory is in use that clients may make the process remember.
    Memory,
    /// The process is going to end, or has been asked to let nobody in.
    Draining,
}

impl Refused {
    /// All of them, in order.
    pub const ALL: [Refused; 6] = [
        Refused::TooManyConnections,
        Refused::Address(Barred::TooMany),
        Refused::Address(Barred::TooFast),
        Refused::Address(Barred::Banned),
        Refused::Memory,
        Refused::Draining,
    ];

    /// Where it is counted.
    pub(super) const fn cell(self) -> Cell {
        match self {
            Refused::TooManyConnections => REFUSED.of("capacity"),
            Refused::Address(Barred::TooMany) => REFUSED.of("address"),
            Refused::Address(Barred::TooFast) => REFUSED.of("handshake_rate"),
            Refused::Address(Barred::Banned) => REFUSED.of("banned"),
            Refused::Memory => REFUSED.of("memory"),
            Refused::Draining => REFUSED.of("draining"),
        }
    }
}

/// What the per-address cap counts as one address; in bytes, as numbers would make every ticket larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Block {
    /// The address.
    V4([u8; 4]),
    /// The network's half.
    V6([u8; 8]),
}

impl Block {
    /// Whether only this machine has such an address; the network of `::1` holds nothing that others use.
    #[must_use]
    pub fn is_loopback(self) -> bool {
        matches!(self, Block::V4([127, ..]) | Block::V6([0, 0, 0, 0, 0, 0, 0, 0]))
    }

    /// What an address counts as.
    #[must_use]
    pub fn of(address: IpAddr) -> Block {
        // A listener for both families reports IPv4 peers as ::ffff:a.b.c.d; all of them are one /64.
        match address.to_canonical() {
            IpAddr::V4(v4) => Block::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Block::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}
