//! Networks of addresses, such as those of one's own proxies: `10.0.0.0/8`, `fd00::/8`, `192.0.2.7`.
//!
//! Knows nothing of who may be trusted with what.

use std::net::IpAddr;

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// How many bits count, at most 32 or 128.
    prefix: u8,
}

impl Network {
    /// Reads `ADDRESS/BITS`, or an address that stands for itself; none for anything else. Bits behind the prefix do
    /// not count, whatever they are.
    #[must_use]
    pub fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                (address, Some(prefix.parse().ok()?))
            }
            Some(_) => return None,
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(longest);
        (prefix <= longest).then_some(Network { address, prefix })
    }

    /// Whether an address is in it. One of IPv4 that a listener for both families shows as `::ffff:a.b.c.d` is meant as
    /// what it is.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(32 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).checked_shr(128 - u32::from(self.prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Who is believed to say for whom it speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    /// By address.
    pub networks: Vec<Network>,
    /// Whoever connects by a Unix socket.
    pub unix: bool,
}

impl Trusted {
    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// Whether who connects from there is; none = by a Unix socket.
    #[must_use]
    pub fn covers(&self, address: Option<IpAddr>) -> bool {
        match address {
            Some(address) => self.networks.iter().any(|network| network.contains(address)),
            None => self.unix,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_belong_where_their_first_bits_say() {
        for (network, inside, outside) in [
            (
                "10.0.0.0/8",
                vec!["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"],
                vec!["11.0.0.0", "::a00:1"],
            ),
            ("192.0.2.7", vec!["192.0.2.7"], vec!["192.0.2.6"]),
            ("192.0.2.7/31", vec!["192.0.2.6", "192.0.2.7"], vec!["192.0.2.5", "192.0.2.8"]),
            ("0.0.0.0/0", vec!["0.0.0.0", "255.255.255.255"], vec!["::1"]),
            ("fd00::/8", vec!["fd12::1"], vec!["fe00::", "10.0.0.1"]),
            ("::1", vec!["::1"], vec!["::", "127.0.0.1"]),
            ("::/0", vec!["::1", "ffff::"], vec!["1.2.3.4", "::ffff:1.2.3.4"]),
        ] {
            let found = Network::parse(network).unwrap();
            for address in inside {
                assert!(found.contains(address.parse().unwrap()), "{address} in {network}");
            }
            for address in outside {
                assert!(!found.contains(address.parse().unwrap()), "{address} not in {network}");
            }
        }
        for none in
            ["", "10", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "::/129", "10.0.0.0/8/8", "a/8", "/8"]
        {
            assert_eq!(Network::parse(none), None, "{none}");
        }
    }
}
