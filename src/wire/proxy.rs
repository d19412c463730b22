//! The PROXY protocol, versions 1 and 2: what a proxy says first about the connection that it passes on.
//!
//! Reads the specification's header (haproxy.org, "The PROXY protocol", 2.1 and 2.2) and nothing behind it; judges
//! nobody: whether the sender may say so is for the caller to know. Ports and extensions are checked and left aside.
//!
//! ```text
//! version 1   PROXY TCP4 192.0.2.7 10.0.0.1 56324 443 CR LF        ≤ 107 bytes, or PROXY UNKNOWN …
//! version 2   12 bytes of signature │ 2 version, command │ family │ length, 2 bytes │ addresses │ extensions
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest header of version 1, its line end included.
const LINE_BYTES_MAX: usize = 107;
/// What version 1 begins with.
const WORD: &[u8] = b"PROXY ";
/// What version 2 begins with; no other protocol does.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 before the addresses.
const FIXED_BYTES: usize = 16;
/// Longest header: a proxy may add what it knows of the client's certificate.
pub const HEADER_BYTES_MAX: usize = 4 << 10;

/// What a proxy has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the client is; none if the proxy speaks for itself (a health check) or does not know.
    pub client: Option<IpAddr>,
    /// Length of the header: what follows is the client's.
    pub length: usize,
}

/// Why it is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyError {
    /// The connection begins with something else.
    Missing,
    /// It begins like a header and goes on otherwise.
    Malformed,
    /// Longer than [`HEADER_BYTES_MAX`].
    TooLong,
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProxyError::Missing => "no PROXY header",
            ProxyError::Malformed => "a malformed PROXY header",
            ProxyError::TooLong => "a PROXY header that is too long",
        })
    }
}

/// Reads the header at the front of `bytes`; none as long as it is not whole.
///
/// # Errors
/// It is none, and no further bytes will make it one.
pub fn read(bytes: &[u8]) -> Result<Option<Header>, ProxyError> {
    let begins = |start: &[u8]| bytes.iter().zip(start).all(|(byte, known)| byte == known);
    if begins(SIGNATURE) {
        return if bytes.len() < FIXED_BYTES { Ok(None) } else { read_binary(bytes) };
    }
    if !begins(WORD) {
        return Err(ProxyError::Missing);
    }
    let line = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    match line.windows(2).position(|two| two == b"\r\n") {
        Some(end) => {
            let client = read_line(&line[..end]).ok_or(ProxyError::Malformed)?;
            Ok(Some(Header { client, length: end + 2 }))
        }
        None if line.len() == LINE_BYTES_MAX => Err(ProxyError::TooLong),
        None => Ok(None),
    }
}

/// The client of a line without its end; none if that is no header, and `Some(None)` if it names nobody.
fn read_line(line: &[u8]) -> Option<Option<IpAddr>> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let (_, family) = (words.next(), words.next()?);
    if family == "UNKNOWN" {
        return Some(None); // whatever follows has to be ignored
    }
    let (client, server) = (words.next()?, words.next()?);
    let (from, to) = (words.next()?, words.next()?);
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let good = words.next().is_none() && address(server).is_some() && is_port(from) && is_port(to);
    address(client).filter(|_| good).map(Some)
}

/// A number up to 65535 as the specification writes it: digits, no leading zeros.
fn is_port(text: &str) -> bool {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    digits && text.parse::<u16>().is_ok()
}

/// Version 2; all of the fixed part is there.
fn read_binary(bytes: &[u8]) -> Result<Option<Header>, ProxyError> {
    let (version, family) = (bytes[12], bytes[13]);
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    if !matches!(version, 0x20 | 0x21) || !matches!(family >> 4, 0..=3) || !matches!(family & 0xf, 0..=2) {
        return Err(ProxyError::Malformed);
    }
    if length > HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong);
    }
    let Some(rest) = bytes.get(FIXED_BYTES..length) else { return Ok(None) };
    // Command LOCAL: what it says of addresses has to be ignored; so has a family of which we know no address.
    let client = match (version & 0xf, family >> 4) {
        (1, 1) => Some(IpAddr::from(first::<4>(rest, 12)?)),
        (1, 2) => Some(IpAddr::from(first::<16>(rest, 36)?)),
        _ => None,
    };
    Ok(Some(Header { client, length }))
}

/// The first address of a block that has room for both addresses and ports.
fn first<const BYTES: usize>(rest: &[u8], needed: usize) -> Result<[u8; BYTES], ProxyError> {
    let found = rest.first_chunk::<BYTES>().filter(|_| rest.len() >= needed);
    found.copied().ok_or(ProxyError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binary(version: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap();
        [&SIGNATURE[..], &[version, family], &length.to_be_bytes(), rest].concat()
    }

    fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let v6: Vec<u8> = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[1, 2, 3, 4]].concat();
        let long = [&[192, 0, 2, 7, 10, 0, 0, 1, 1, 2, 3, 4][..], &[9; 3000]].concat();
        vec![
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 56324 443\r\n".to_vec(), Some("192.0.2.7")),
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 0 65535\r\n".to_vec(), Some("192.0.2.7")),
            (b"PROXY TCP6 2001:db8::7 ::1 1 443\r\n".to_vec(), Some("2001:db8::7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 whatever 9\r\n".to_vec(), None),
            (binary(0x21, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 1, 2, 3, 4]), Some("192.0.2.7")),
            (binary(0x21, 0x11, &long), Some("192.0.2.7")),
            (binary(0x21, 0x21, &v6), Some("2001:db8::7")),
            (binary(0x20, 0x00, b""), None),
            (binary(0x20, 0x11, &[0; 12]), None),
            (binary(0x21, 0x31, &[0; 216]), None),
            (binary(0x21, 0x00, &[1, 2, 3]), None),
        ]
    }

    #[test]
    fn headers_are_read_and_what_follows_is_left_alone() {
        for (header, client) in good() {
            let client = client.map(|client| client.parse().unwrap());
            let whole = Ok(Some(Header { client, length: header.len() }));
            assert_eq!(read(&header), whole, "{}", header.escape_ascii());
            for behind in [&b"GET / HTTP/1.1\r\n"[..], b"\r\n", b"PROXY ", b"\x16\x03\x01"] {
                assert_eq!(read(&[&header, behind].concat()), whole, "{}", header.escape_ascii());
            }
        }
    }

    proptest! {
        /// Whatever comes: what was decided early is not decided otherwise later, and it is decided at last.
        #[test]
        fn a_verdict_stands(which in 0_usize..12, changes in prop::collection::vec((0_usize..60, any::<u8>()), 0..4)) {
            let mut bytes = good().swap_remove(which).0;
            for (at, byte) in changes {
                let place = at % bytes.len();
                bytes[place] = byte;
            }
            bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
            let whole = read(&bytes);
            for cut in 0..bytes.len() {
                let early = read(&bytes[..cut]);
                prop_assert!(early == Ok(None) || early == whole, "{early:?} at {cut}, then {whole:?}");
            }
            bytes.resize(HEADER_BYTES_MAX + 1, b'x');
            prop_assert_ne!(read(&bytes), Ok(None));
        }
    }

    #[test]
    fn headers_may_come_in_any_pieces() {
        for (header, _) in good() {
            for cut in 0..header.len() {
                assert_eq!(read(&header[..cut]), Ok(None), "{} of {}", cut, header.escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_that_is_certain() {
        for none in [&b"G"[..], b"PROXX", b"\x16\x03", b"\r\n\r\n\r", b"proxy TCP4", b" PROXY"] {
            assert_eq!(read(none), Err(ProxyError::Missing), "{}", none.escape_ascii());
        }
        for bad in [
            &b"PROXY\r\n"[..],
            b"PROXY \r\n",
            b"PROXY TCP4\r\n",
            b"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
            b"PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
            b"PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n",
            b"PROXY TCP4 ::1 ::1 1 1\r\n",
            b"PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n",
            b"PROXY TCP4 1.1.1.\xff 1.1.1.1 1 1\r\n",
        ] {
            let error = if bad == b"PROXY\r\n" { ProxyError::Missing } else { ProxyError::Malformed };
            assert_eq!(read(bad), Err(error), "{}", bad.escape_ascii());
        }
        for bad in [
            binary(0x11, 0x11, &[0; 12]),
            binary(0x22, 0x11, &[0; 12]),
            binary(0x21, 0x41, &[0; 12]),
            binary(0x21, 0x13, &[0; 12]),
            binary(0x21, 0x11, &[0; 11]),
            binary(0x21, 0x21, &[0; 35]),
        ] {
            assert_eq!(read(&bad), Err(ProxyError::Malformed), "{}", bad.escape_ascii());
        }
        let line = [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat();
        assert_eq!(read(&line[..106]), Ok(None));
        assert_eq!(read(&line[..107]), Err(ProxyError::TooLong));
        assert_eq!(read(&binary(0x21, 0x11, &[0; 5000])), Err(ProxyError::TooLong));
        assert_eq!(
            read(&binary(0x21, 0x11, &[0; 5000])[..16]),
            Err(ProxyError::TooLong),
            "before it has come"
        );
    }
}
