//! `X-Forwarded-For`: whom a proxy speaks for.
//!
//! Each proxy on the way appends the address that it was asked from. Only what trusted proxies have appended is to be
//! believed, so the list is read from its end: the first address that is no trusted proxy's own is the client's, and
//! what stands before it anybody may have written. Judges nobody, asks nobody.

use std::net::{IpAddr, SocketAddr};

use crate::base::network::Trusted;
use crate::wire::http::head::Head;

const HEADER: &str = "x-forwarded-for";

/// Where the client is for whom a trusted proxy asks; none if it did not say so. Of a client that is in a trusted
/// network itself, it is the first address of the list.
#[must_use]
pub fn client(head: &Head<'_>, trusted: &Trusted) -> Option<IpAddr> {
    let mut first_trusted = None;
    let lines: Vec<&[u8]> = head.all(HEADER).collect();
    for entry in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
        match address(entry) {
            Some(found) if !trusted.covers(Some(found)) => return Some(found),
            Some(found) => first_trusted = Some(found),
            // Beyond what cannot be read nothing is certain.
            None => return first_trusted,
        }
    }
    first_trusted
}

/// An address, as it is or with a port behind it, as some proxies write it.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let found = bare.parse::<IpAddr>().ok();
    found
        .or_else(|| text.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()))
        .map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::network::Network;
    use crate::wire::http::head::{HeadReader, Slots};

    fn found(headers: &str) -> Option<String> {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|text| Network::parse(text).expect("a network"));
        let trusted = Trusted { networks: networks.into(), unix: true };
        let bytes = format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        let (mut reader, mut slots) = (HeadReader::new(), Slots::new());
        let (head, _) = reader.read(bytes.as_bytes(), &mut slots).expect("a good head").expect("a whole one");
        client(&head, &trusted).map(|client| client.to_string())
    }

    #[test]
    fn the_last_address_that_is_no_proxys_is_the_clients() {
        for (headers, client) in [
            ("X-Forwarded-For: 192.0.2.7\r\n", Some("192.0.2.7")),
            ("x-forwarded-for:\t192.0.2.7 , 10.0.0.1\r\n", Some("192.0.2.7")),
            // What the client itself has written stands before what the proxy has.
            ("X-Forwarded-For: 127.0.0.1, 192.0.2.8, 192.0.2.7, 10.0.0.1\r\n", Some("192.0.2.7")),
            ("X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 192.0.2.7,fd00::1\r\n", Some("192.0.2.7")),
            ("X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: 10.0.0.9\r\n", Some("192.0.2.7")),
            ("X-Forwarded-For: nonsense, 192.0.2.7\r\n", Some("192.0.2.7")),
            ("X-Forwarded-For: 2001:db8::7\r\n", Some("2001:db8::7")),
            ("X-Forwarded-For: [2001:db8::7]:4711\r\n", Some("2001:db8::7")),
            ("X-Forwarded-For: [2001:db8::7]\r\n", Some("2001:db8::7")),
            ("X-Forwarded-For: 192.0.2.7:4711\r\n", Some("192.0.2.7")),
            ("X-Forwarded-For: ::ffff:192.0.2.7\r\n", Some("192.0.2.7")),
            ("X-Forwarded-For: 10.0.0.7, 10.0.0.1\r\n", Some("10.0.0.7")),
            ("X-Forwarded-For: nonsense, 10.0.0.1\r\n", Some("10.0.0.1")),
            ("", None),
            ("X-Forwarded-For:\r\n", None),
            ("X-Forwarded-For: 192.0.2.7, unknown\r\n", None),
            ("X-Forwarded-For: 192.0.2.7, \r\n", None),
            ("X-Forwarded-For: 192.0.2.7, \u{e9}\r\n", None),
            ("X-Real-IP: 192.0.2.7\r\nForwarded: for=192.0.2.7\r\n", None),
        ] {
            assert_eq!(found(headers).as_deref(), client, "{headers}");
        }
    }
}
