//! Origins of web pages (RFC 6454) held against a list: whole labels, never parts of a text.
//!
//! Only browsers send an origin, and they send the page's own: so this keeps other people's pages from acting in the
//! name of who is logged in. It keeps out nobody else.

use std::fmt;

/// Why a text names no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginError {
    /// Neither `http://` nor `https://` before it.
    Scheme,
    /// Something after the host and the port.
    Path,
    /// No host, or one with characters that no host has.
    Host,
    /// A star that is not the whole of the first label, or the only one.
    Star,
    /// A port that is none.
    Port,
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OriginError::Scheme => "it does not begin with http:// or https://",
            OriginError::Path => "nothing may follow host and port, no / either",
            OriginError::Host => "this is not a host",
            OriginError::Star => "* stands for the first label only, with a domain after it",
            OriginError::Port => "the port is not a number from 1 to 65535",
        })
    }
}

/// One origin of the list, or all that differ from it in their first label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    origin: Origin,
    any_first_label: bool,
}

/// Scheme, host in lower case, and port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

impl Allowed {
    /// Reads an origin such as `https://app.example` or `https://*.example:8443`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Allowed, OriginError> {
        let origin = parse(text, true)?;
        match origin.host.strip_prefix("*.") {
            Some(host) if !host.contains('*') && !host.is_empty() => {
                let origin = Origin { host: host.to_owned(), ..origin };
                Ok(Allowed { origin, any_first_label: true })
            }
            None if !origin.host.contains('*') => Ok(Allowed { origin, any_first_label: false }),
            _ => Err(OriginError::Star),
        }
    }

    fn allows(&self, origin: &Origin) -> bool {
        let Origin { secure, host, port } = origin;
        if (*secure, *port) != (self.origin.secure, self.origin.port) {
            return false;
        }
        if !self.any_first_label {
            return *host == self.origin.host;
        }
        host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == self.origin.host)
    }
}

/// Whether a page of this origin is on the list. One that is no origin (`null`, junk) is not.
#[must_use]
pub fn is_allowed(list: &[Allowed], origin: &[u8]) -> bool {
    let text = std::str::from_utf8(origin).ok();
    let origin = text.and_then(|text| parse(text, false).ok());
    origin.is_some_and(|origin| list.iter().any(|allowed| allowed.allows(&origin)))
}

fn parse(text: &str, star: bool) -> Result<Origin, OriginError> {
    let (scheme, rest) = text.split_once("://").ok_or(OriginError::Scheme)?;
    let secure = match scheme {
        _ if scheme.eq_ignore_ascii_case("https") => true,
        _ if scheme.eq_ignore_ascii_case("http") => false,
        _ => return Err(OriginError::Scheme),
    };
    if rest.contains(['/', '?', '#', '@', '\\']) {
        return Err(OriginError::Path);
    }
    // The colons of an IPv6 address stand in brackets.
    let end = rest.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match rest[end..].find(':') {
        Some(at) => (&rest[..end + at], Some(&rest[end + at + 1..])),
        None => (rest, None),
    };
    let is_part =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte) || (star && byte == b'*');
    if host.is_empty() || !host.bytes().all(is_part) {
        return Err(OriginError::Host);
    }
    let port = match port {
        None => {
            if secure {
                443
            } else {
                80
            }
        }
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port > 0).ok_or(OriginError::Port)?
        }
        Some(_) => return Err(OriginError::Port),
    };
    Ok(Origin { secure, host: host.to_ascii_lowercase(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(list: &[&str], origin: &str) -> bool {
        let list: Vec<Allowed> = list.iter().map(|text| Allowed::parse(text).expect(text)).collect();
        is_allowed(&list, origin.as_bytes())
    }

    /// c.18 of the catalogue: look-alikes, other ports and schemes.
    #[test]
    fn attack_c18_only_the_very_origin_is_allowed() {
        let list = ["https://good.example", "http://localhost:3000", "http://[::1]:8080"];
        for origin in
            ["https://good.example", "https://GOOD.example:443", "http://localhost:3000", "http://[::1]:8080"]
        {
            assert!(allowed(&list, origin), "{origin}");
        }
        for origin in [
            "https://good.example.evil.example",
            "https://evilgood.example",
            "https://evil.example",
            "https://sub.good.example",
            "http://good.example",
            "https://good.example:8443",
            "https://good.example.",
            "https://good.example/",
            "https://good.example@evil.example",
            "https://evil.example#https://good.example",
            "https://evil.example/https://good.example",
            "https://evil.example\\.good.example",
            "http://localhost",
            "http://[::1]",
            "null",
            "",
            "file://",
            "https://",
            "good.example",
            "wss://good.example",
            "https://good.example:",
            "https://good.example:443x",
            "https://good.example:65979",
            " https://good.example",
            "https://good.example\u{0}",
        ] {
            assert!(!allowed(&list, origin), "{origin:?}");
        }
        assert!(!is_allowed(&[], b"https://good.example"));
        assert!(!is_allowed(
            &[Allowed::parse("https://good.example").expect("good")],
            b"https://good.example\xff"
        ));
    }

    #[test]
    fn a_star_stands_for_one_whole_label_on_the_left() {
        let list = ["https://*.good.example:8443"];
        assert!(
            allowed(&list, "https://a.good.example:8443") && allowed(&list, "https://A-1.good.example:8443")
        );
        for origin in [
            "https://good.example:8443",
            "https://.good.example:8443",
            "https://a.b.good.example:8443",
            "https://a.good.example",
            "https://evilgood.example:8443",
            "https://a.good.example.evil.example:8443",
            "https://*.good.example:8443",
        ] {
            assert!(!allowed(&list, origin), "{origin}");
        }
    }

    #[test]
    fn what_is_no_origin_is_not_taken() {
        for (text, error) in [
            ("*", OriginError::Scheme),
            ("example.com", OriginError::Scheme),
            ("ftp://x", OriginError::Scheme),
            ("https://x/", OriginError::Path),
            ("https://u@x", OriginError::Path),
            ("https://", OriginError::Host),
            ("https://a b", OriginError::Host),
            ("https://ä.example", OriginError::Host),
            ("https://*", OriginError::Star),
            ("https://*.", OriginError::Star),
            ("https://a*.example", OriginError::Star),
            ("https://a.*.example", OriginError::Star),
            ("https://*.*.example", OriginError::Star),
            ("https://x:0", OriginError::Port),
            ("https://x:y", OriginError::Port),
            ("https://x:65536", OriginError::Port),
        ] {
            assert_eq!(Allowed::parse(text), Err(error), "{text}");
        }
    }
}
